#include "http/rules.h"

#include <arpa/inet.h>

#include "http/h1_check.h"
#include "http/scan.h"
#include "http/word.h"

#define BIT(id) (1ull << (id))
/* Longest host name (RFC 1035 2.3.4) and port. */
#define HOST_BYTES_MAX  255
#define PORT_DIGITS_MAX 5

/* ---- authority ---- */

static bool is_port(struct str s)
{
    uint64_t port;
    return s.n <= PORT_DIGITS_MAX && str_to_u64(s, &port) && port <= UINT16_MAX;
}

static bool is_ipv6(struct str s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char address[16];
    if (s.n == 0 || s.n >= sizeof text || memchr(s.p, 0, s.n))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    return inet_pton(AF_INET6, text, address) == 1;
}

/* "[" IPv6address "]" [":" port]; no zone and no IPvFuture: nobody sends them in good faith. */
static bool is_bracketed(struct str s)
{
    ptrdiff_t close = str_find(s, ']');
    if (close < 0 || !is_ipv6(str_make(s.p + 1, (size_t)close - 1)))
        return false;
    size_t rest = (size_t)close + 1;
    return rest == s.n || (s.p[rest] == ':' && is_port(str_make(s.p + rest + 1, s.n - rest - 1)));
}

/* Escapes and commas are legal in a reg-name, but every parser reads them in its own way: not here (H17). */
bool rules_authority_valid(struct str s)
{
    if (s.n == 0)
        return false;
    if (s.p[0] == '[')
        return is_bracketed(s);
    size_t n = 0;
    while (n < s.n && scan_is(s.p[n], SCAN_REG_NAME))
        n++;
    if (n == 0 || n > HOST_BYTES_MAX)
        return false;
    return n == s.n || (s.p[n] == ':' && is_port(str_make(s.p + n + 1, s.n - n - 1)));
}

struct str rules_authority_host(struct str authority)
{
    size_t n = authority.n;
    while (n && scan_is(authority.p[n - 1], SCAN_DIGIT))
        n--;
    if (n && authority.p[n - 1] == ':' && n < authority.n)
        return str_make(authority.p, n - 1);
    return authority;
}

/* ---- hop-by-hop ---- */

/* Dropped whatever Connection says (RFC 9110 7.6.1); writers make their own where one is needed. */
#define ALWAYS_DROPPED                                                                                       \
    (BIT(FIELD_CONNECTION) | BIT(FIELD_KEEP_ALIVE) | BIT(FIELD_PROXY_CONNECTION) | BIT(FIELD_TE) |           \
     BIT(FIELD_TRANSFER_ENCODING) | BIT(FIELD_HTTP2_SETTINGS))

/* What Connection can never remove (H26): who is asked, who asks, with what right, and what the body is. */
#define PROTECTED                                                                                            \
    (BIT(FIELD_HOST) | BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_CONTENT_TYPE) | BIT(FIELD_CONTENT_ENCODING) |   \
     BIT(FIELD_CONTENT_RANGE) | BIT(FIELD_COOKIE) | BIT(FIELD_SET_COOKIE) | BIT(FIELD_AUTHORIZATION) |       \
     BIT(FIELD_PROXY_AUTHORIZATION) | BIT(FIELD_FORWARDED) | BIT(FIELD_X_FORWARDED_FOR) |                    \
     BIT(FIELD_X_FORWARDED_PROTO) | BIT(FIELD_X_FORWARDED_HOST) | BIT(FIELD_X_FORWARDED_PORT) |              \
     BIT(FIELD_X_REAL_IP) | BIT(FIELD_VIA) | BIT(FIELD_X_REQUEST_ID) | BIT(FIELD_TRACEPARENT) |              \
     BIT(FIELD_UPGRADE) | BIT(FIELD_EXPECT) | BIT(FIELD_STATUS) | BIT(FIELD_LOCATION))

/* Names that mean something else where '_' is read as '-' (H37). */
#define SHADOWED                                                                                             \
    (BIT(FIELD_HOST) | BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_TRANSFER_ENCODING) | BIT(FIELD_CONTENT_TYPE) |  \
     BIT(FIELD_X_FORWARDED_FOR) | BIT(FIELD_X_FORWARDED_PROTO) | BIT(FIELD_X_FORWARDED_HOST) |               \
     BIT(FIELD_X_FORWARDED_PORT) | BIT(FIELD_X_REAL_IP) | BIT(FIELD_X_REQUEST_ID) |                          \
     BIT(FIELD_HTTP2_SETTINGS) | BIT(FIELD_PROXY_CONNECTION) | BIT(FIELD_PROXY_AUTHORIZATION))
#define SHADOW_BYTES_MAX 24

static void drop_ids(struct message *m, uint64_t ids)
{
    for (struct field *f = m->fields, *end = f + m->field_count; f < end; f++)
        if (BIT(f->id) & ids)
            f->flags |= FIELD_FLAG_DROP;
}

static bool has_prefix_ignoring_case(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_ieq(str_make(s.p, prefix.n), prefix);
}

/* X-Forwarded-* and Content-* are protected beyond the few that have an id. */
static bool is_protected_name(struct str name)
{
    return has_prefix_ignoring_case(name, STR("content-")) ||
           has_prefix_ignoring_case(name, STR("x-forwarded-"));
}

static void drop_nominated(struct message *m, struct str option)
{
    enum field_id id = field_lookup(option);
    if (id != FIELD_OTHER) {
        if (!(BIT(id) & PROTECTED) && message_has(m, id))
            drop_ids(m, BIT(id));
        return;
    }
    if (!message_has(m, FIELD_OTHER) || is_protected_name(option))
        return;
    for (unsigned i = 0; i < m->field_count; i++) {
        struct field *f = &m->fields[i];
        if (f->id == FIELD_OTHER && f->name_len == option.n && str_ieq(field_name_of(m, f), option))
            f->flags |= FIELD_FLAG_DROP;
    }
}

/* The three common options name no field worth looking for. */
static bool is_plain_option(struct str option)
{
    return option.n == 0 || str_ieq(option, STR("keep-alive")) || str_ieq(option, STR("close")) ||
           str_ieq(option, STR("upgrade"));
}

/* The number of options was bounded when the head was checked. */
static void drop_all_nominated(struct message *m)
{
    for (unsigned i = 0; i < m->field_count; i++) {
        if (m->fields[i].id != FIELD_CONNECTION)
            continue;
        struct str list = field_value_of(m, &m->fields[i]), option;
        if (list.n == 10 && word_same(list.p, "keep-alive", 10))
            continue;
        for (int n = 0; n < H1_LIST_MAX && str_next(&list, ',', &option); n++)
            if (!is_plain_option(option))
                drop_nominated(m, option);
    }
}

/* Narrows a list to its first protocol that is not h2c; false when there is none. */
static bool keep_one_protocol(struct message *m, struct field *f)
{
    struct str list = field_value_of(m, f), protocol;
    while (str_next(&list, ',', &protocol)) {
        if (protocol.n == 0 || str_ieq(protocol, STR("h2c")))
            continue;
        f->value = (uint32_t)(protocol.p - m->base);
        f->value_len = (uint32_t)protocol.n;
        f->flags &= (uint8_t)~FIELD_FLAG_LINE;
        return true;
    }
    return false;
}

/* H23 */
static void narrow_upgrade(struct message *m)
{
    bool kept = !(m->flags & MSG_UPGRADE);
    for (unsigned i = 0; i < m->field_count; i++) {
        struct field *f = &m->fields[i];
        if (f->id != FIELD_UPGRADE)
            continue;
        if (kept || !keep_one_protocol(m, f))
            f->flags |= FIELD_FLAG_DROP;
        else
            kept = true;
    }
}

/* H37 */
static bool is_shadow(struct str name)
{
    char dashed[SHADOW_BYTES_MAX];
    if (name.n > sizeof dashed || !memchr(name.p, '_', name.n))
        return false;
    for (size_t i = 0; i < name.n; i++)
        dashed[i] = name.p[i] == '_' ? '-' : name.p[i];
    enum field_id id = field_lookup(str_make(dashed, name.n));
    return id != FIELD_OTHER && (BIT(id) & SHADOWED);
}

static void drop_shadows(struct message *m)
{
    for (struct field *f = m->fields, *end = f + m->field_count; f < end; f++)
        if (f->id == FIELD_OTHER && !(f->flags & FIELD_FLAG_DASHED) && is_shadow(field_name_of(m, f)))
            f->flags |= FIELD_FLAG_DROP;
}

void rules_drop_hop_by_hop(struct message *m)
{
    if (message_has(m, FIELD_OTHER))
        drop_shadows(m);
    if (message_has(m, FIELD_CONNECTION))
        drop_all_nominated(m);
    if (message_has(m, FIELD_UPGRADE))
        narrow_upgrade(m);
    /* An expectation in HTTP/1.0 is ignored (RFC 9110 10.1.1); forwarded as HTTP/1.1 it would come to life.
     */
    uint64_t drop = ALWAYS_DROPPED | (m->version == 10 ? BIT(FIELD_EXPECT) : 0);
    if (m->present & drop)
        drop_ids(m, drop);
}

/* ---- trailers ---- */

/* Other names that RFC 9110 6.5.1 keeps out of trailers: response control, request modifiers, authentication.
 */
static bool is_forbidden_trailer(struct str name)
{
    static const struct str whole[] = {STR("cache-control"),
                                       STR("expires"),
                                       STR("age"),
                                       STR("vary"),
                                       STR("warning"),
                                       STR("pragma"),
                                       STR("www-authenticate"),
                                       STR("authentication-info"),
                                       STR("proxy-authentication-info"),
                                       STR("allow")};
    static const struct str prefixes[] = {STR("content-"), STR("accept"), STR("if-"), STR("x-forwarded-")};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (str_ieq(name, whole[i]))
            return true;
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (has_prefix_ignoring_case(name, prefixes[i]))
            return true;
    return false;
}

bool rules_trailer_allowed(enum field_id id, struct str name)
{
    if (id != FIELD_OTHER)
        return id == FIELD_ETAG; /* RFC 9110 8.8.3 allows it; all others that we know steer something */
    return !is_forbidden_trailer(name) && !is_shadow(name);
}
