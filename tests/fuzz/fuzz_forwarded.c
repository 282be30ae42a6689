/* fuzz_forwarded: what is told to a server about the client. A request head with X-Forwarded-* and Forwarded
 * of any kind goes through dropping, reading and writing; what comes out is parsed again. An untrusted peer's
 * claims leave no trace, ours stands last, and the client's address is the one that a second, simpler reading
 * finds. */
#include <stdio.h>

#include "heads.h"
#include "http/forwarded.h"
#include "http/h1_write.h"
#include "http/rules.h"

static const struct h1_limits limits = {
    .line_bytes = 1024, .head_bytes = 8192, .field_count = HEAD_FIELDS_MAX};

/* Half of all addresses are ours: those of an odd length. */
static bool is_trusted(void *arg, struct str ip)
{
    (void)arg;
    return ip.n % 2 == 1;
}

static bool is_address(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!strchr("0123456789abcdefABCDEF.:", s.p[i]) || !s.p[i])
            return false;
    return s.n > 0 && s.n <= 45;
}

/* "1.2.3.4:80" and "[::1]:80" without what is no address. */
static struct str bare(struct str s)
{
    if (s.n && s.p[0] == '[') {
        for (size_t i = 1; i < s.n; i++)
            if (s.p[i] == ']')
                return str_make(s.p + 1, i - 1);
        return STR_NULL;
    }
    size_t colons = 0, at = 0;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == ':' && colons++ == 0)
            at = i;
    return colons == 1 ? str_make(s.p, at) : s;
}

/* All elements of all lines in order, then from the last to the first. */
static struct str client_again(const struct message *m, struct str peer)
{
    struct str items[4096], found = peer;
    int n = 0, hops = 0;
    if (!is_trusted(NULL, peer))
        return peer;
    for (unsigned i = 0; i < m->field_count; i++) {
        if (m->fields[i].id != FIELD_X_FORWARDED_FOR)
            continue;
        struct str rest = field_value_of(m, &m->fields[i]), item;
        while (n < 4096 && str_next(&rest, ',', &item))
            items[n++] = item;
    }
    while (n--) {
        if (!items[n].n)
            continue;
        struct str ip = bare(items[n]);
        if (!is_address(ip) || ++hops > FORWARDED_HOPS_MAX)
            break;
        found = ip;
        if (!is_trusted(NULL, ip))
            break;
    }
    return found;
}

static void write_again(struct fuzz_head *h, const struct forwarded_info *info, struct fuzz_head *out,
                        char *to, size_t cap)
{
    struct writer w;
    writer_init(&w, to, cap);
    h1_write_request_line(&w, &h->m, message_str(&h->m, h->m.target), message_str(&h->m, h->m.authority));
    if (info->port % 2)
        forwarded_write_rfc7239(&h->m, &w, info);
    forwarded_write_for(&h->m, &w, info);
    forwarded_write_rest(&h->m, &w, info);
    forwarded_write_via(&h->m, &w, STR("coxswain"));
    h1_write_fields(&w, &h->m);
    writer_put(&w, "\r\n", 2);
    ASSERT(!w.overflow);
    struct h1_parser p = {0};
    message_init(&out->m, out->fields, HEAD_FIELDS_MAX);
    out->m.base = to;
    out->got = h1_parse_request(&p, to, w.len, &limits, &out->m);
}

static unsigned count(const struct message *m, enum field_id id)
{
    unsigned n = 0;
    for (unsigned i = 0; i < m->field_count; i++)
        n += m->fields[i].id == id;
    return n;
}

static void check_out(const struct fuzz_head *out, const struct forwarded_info *info)
{
    const struct message *m = &out->m;
    struct str list = message_value(m, FIELD_X_FORWARDED_FOR);
    ASSERT(count(m, FIELD_X_FORWARDED_FOR) == 1 && str_ends(list, info->client_ip));
    if (info->port % 2) /* written here: then it is the only one */
        ASSERT(count(m, FIELD_FORWARDED) == 1);
    if (info->trusted_peer)
        return;
    ASSERT(str_eq(list, info->client_ip) && count(m, FIELD_X_REAL_IP) == 0);
    ASSERT(count(m, FIELD_X_FORWARDED_PROTO) == 1 && count(m, FIELD_X_FORWARDED_HOST) == 1);
    ASSERT(str_eq(message_value(m, FIELD_X_FORWARDED_PROTO), info->proto));
    ASSERT(str_eq(message_value(m, FIELD_X_FORWARDED_HOST), info->host));
    ASSERT(count(m, FIELD_FORWARDED) <= 1);
    if (message_has(m, FIELD_FORWARDED))
        ASSERT(str_starts(message_value(m, FIELD_FORWARDED), STR("for=")));
}

/* The first byte: who the peer is. The rest: field lines. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[8192], made[32768];
    static const struct str peers[] = {STR("192.0.2.1"), STR("192.0.2.10"), STR("2001:db8::1"), STR("::1")};
    struct fuzz_head h, out;
    struct h1_parser p = {0};
    if (size < 1 || size > 4096)
        return 0;
    size_t n = (size_t)snprintf(text, sizeof text, "GET /x HTTP/1.1\r\nHost: web.test\r\n");
    memcpy(text + n, data + 1, size - 1);
    n += size - 1;
    memcpy(text + n, "\r\n\r\n", 4);
    message_init(&h.m, h.fields, HEAD_FIELDS_MAX / 2);
    h.m.base = text;
    h.got = h1_parse_request(&p, text, n + 4, &limits, &h.m);
    if (h.got <= 0)
        return 0;
    struct str peer = peers[data[0] & 3];
    struct forwarded_info info = {.client_ip = peer,
                                  .client_is_v6 = str_find(peer, ':') >= 0,
                                  .proto = STR("https"),
                                  .host = message_str(&h.m, h.m.authority),
                                  .port = (uint16_t)(8080 + (data[0] >> 3 & 1)),
                                  .trusted_peer = data[0] >> 2 & 1};
    rules_drop_hop_by_hop(&h.m);
    struct str client = forwarded_client(&h.m, peer, is_trusted, NULL);
    ASSERT(str_eq(client, client_again(&h.m, peer)));
    forwarded_drop_forged(&h.m, info.trusted_peer);
    write_again(&h, &info, &out, made, sizeof made);
    if (out.got > 0) /* a head may have grown above the limits, never into another one */
        check_out(&out, &info);
    else
        ASSERT(-out.got == REASON_HEAD_LIMIT);
    return 0;
}
