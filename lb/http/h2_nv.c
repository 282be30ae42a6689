#include "http/h2_nv.h"

#include "http/field_table.h"
#include "http/rules.h"
#include "http/scan.h"

#define BIT(id) (1ull << (id))
/* RFC 9113 8.2.2, and what the writers of heads make themselves. */
#define NEVER_COPIED                                                                                         \
    (BIT(FIELD_HOST) | BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_TRANSFER_ENCODING) | BIT(FIELD_CONNECTION) |    \
     BIT(FIELD_KEEP_ALIVE) | BIT(FIELD_PROXY_CONNECTION) | BIT(FIELD_TE) | BIT(FIELD_UPGRADE) |              \
     BIT(FIELD_HTTP2_SETTINGS))

/* The names that we know, as they stand in HTTP/2: they live for ever, so that nobody has to copy them, nor
 * to put them into lower case. */
static const char lower_names[FIELD_COUNT][24] = {
    [FIELD_HOST] = "host",
    [FIELD_CONNECTION] = "connection",
    [FIELD_CONTENT_LENGTH] = "content-length",
    [FIELD_TRANSFER_ENCODING] = "transfer-encoding",
    [FIELD_CONTENT_TYPE] = "content-type",
    [FIELD_EXPECT] = "expect",
    [FIELD_UPGRADE] = "upgrade",
    [FIELD_KEEP_ALIVE] = "keep-alive",
    [FIELD_PROXY_CONNECTION] = "proxy-connection",
    [FIELD_PROXY_AUTHENTICATE] = "proxy-authenticate",
    [FIELD_PROXY_AUTHORIZATION] = "proxy-authorization",
    [FIELD_TE] = "te",
    [FIELD_TRAILER] = "trailer",
    [FIELD_HTTP2_SETTINGS] = "http2-settings",
    [FIELD_VIA] = "via",
    [FIELD_FORWARDED] = "forwarded",
    [FIELD_X_FORWARDED_FOR] = "x-forwarded-for",
    [FIELD_X_FORWARDED_PROTO] = "x-forwarded-proto",
    [FIELD_X_FORWARDED_HOST] = "x-forwarded-host",
    [FIELD_X_FORWARDED_PORT] = "x-forwarded-port",
    [FIELD_X_REAL_IP] = "x-real-ip",
    [FIELD_X_REQUEST_ID] = "x-request-id",
    [FIELD_TRACEPARENT] = "traceparent",
    [FIELD_TRACESTATE] = "tracestate",
    [FIELD_MAX_FORWARDS] = "max-forwards",
    [FIELD_AUTHORIZATION] = "authorization",
    [FIELD_COOKIE] = "cookie",
    [FIELD_SET_COOKIE] = "set-cookie",
    [FIELD_PROXY] = "proxy",
    [FIELD_SERVER] = "server",
    [FIELD_DATE] = "date",
    [FIELD_LOCATION] = "location",
    [FIELD_STATUS] = "status",
    [FIELD_USER_AGENT] = "user-agent",
    [FIELD_REFERER] = "referer",
    [FIELD_RANGE] = "range",
    [FIELD_IF_RANGE] = "if-range",
    [FIELD_IF_MATCH] = "if-match",
    [FIELD_IF_NONE_MATCH] = "if-none-match",
    [FIELD_IF_MODIFIED_SINCE] = "if-modified-since",
    [FIELD_IF_UNMODIFIED_SINCE] = "if-unmodified-since",
    [FIELD_ETAG] = "etag",
    [FIELD_LAST_MODIFIED] = "last-modified",
    [FIELD_ACCEPT_RANGES] = "accept-ranges",
    [FIELD_CONTENT_RANGE] = "content-range",
    [FIELD_CONTENT_ENCODING] = "content-encoding",
    [FIELD_X_ACCEL_REDIRECT] = "x-accel-redirect",
    [FIELD_X_ACCEL_BUFFERING] = "x-accel-buffering",
    [FIELD_X_SENDFILE] = "x-sendfile",
    [FIELD_RETRY_AFTER] = "retry-after",
};

const char *h2_nv_lower_name(enum field_id id)
{
    return lower_names[id];
}

static nghttp2_nv *next(struct h2_nv *nv)
{
    if (nv->overflow || nv->count == H2_NV_MAX) {
        nv->overflow = true;
        return NULL;
    }
    return &nv->v[nv->count++];
}

static void put(struct h2_nv *nv, struct str name, struct str value, uint8_t flags)
{
    nghttp2_nv *v = next(nv);
    if (v)
        *v = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.p,
                          .namelen = name.n,
                          .value = (uint8_t *)(uintptr_t)(value.n ? value.p : ""),
                          .valuelen = value.n,
                          .flags = flags};
}

void h2_nv_put(struct h2_nv *nv, struct str name, struct str value)
{
    put(nv, name, value, NGHTTP2_NV_FLAG_NO_COPY_NAME);
}

#define ONES 0x0101010101010101ull

/* Eight at once; bytes above 0x7f stay. */
static uint64_t lower8(uint64_t x)
{
    uint64_t low = x & ~(0x80 * ONES);
    uint64_t is_capital = (low + (0x80 - 'A') * ONES) & ~(low + (0x80 - 'Z' - 1) * ONES) & ~x & (0x80 * ONES);
    return x | is_capital >> 2;
}

static void lower(char *to, const char *p, size_t n)
{
    for (size_t i = 0; n >= 8; i = i + 16 <= n ? i + 8 : n - 8) {
        uint64_t x;
        memcpy(&x, p + i, 8);
        x = lower8(x);
        memcpy(to + i, &x, 8);
        if (i + 8 == n)
            return;
    }
    for (size_t i = 0; i < n; i++)
        to[i] = char_lower(p[i]);
}

static struct str lowered(struct h2_nv *nv, struct str name)
{
    if (name.n > sizeof nv->names - nv->names_len) {
        nv->overflow = true;
        return STR_NULL;
    }
    char *to = nv->names + nv->names_len;
    lower(to, name.p, name.n);
    nv->names_len += (uint32_t)name.n;
    return str_make(to, name.n);
}

/* A secret is not put where guesses about it can be made by length (RFC 7541 7.1.3); a value that never comes
 * twice would only push others out of the table, but for the sake of its name. */
static bool stays_out_of_table(const struct h2_nv *nv, enum field_id id, struct str value)
{
    const uint64_t unique = BIT(FIELD_X_REQUEST_ID) | BIT(FIELD_TRACEPARENT);
    const uint64_t secret = BIT(FIELD_AUTHORIZATION) | BIT(FIELD_PROXY_AUTHORIZATION);
    const uint64_t cookie = BIT(FIELD_COOKIE) | BIT(FIELD_SET_COOKIE);
    if (!(BIT(id) & (unique | secret | cookie)))
        return false;
    if (BIT(id) & unique)
        return !nv->teaches;
    return (BIT(id) & secret) || value.n < 20;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* Nearly all values have no white space at their ends (RFC 9113 8.2.1). */
static void put_lowered(struct h2_nv *nv, enum field_id id, struct str name, struct str value)
{
    uint8_t flags = NGHTTP2_NV_FLAG_NONE;
    if (id != FIELD_OTHER) {
        name.p = lower_names[id];
        flags = NGHTTP2_NV_FLAG_NO_COPY_NAME;
    } else if (!scan_is_plain_name(name.p, name.n)) {
        name = lowered(nv, name);
        if (!name.p)
            return;
    }
    if (value.n && (is_space(value.p[0]) || is_space(value.p[value.n - 1])))
        value = str_trim(value);
    if (stays_out_of_table(nv, id, value))
        flags |= NGHTTP2_NV_FLAG_NO_INDEX;
    put(nv, name, value, flags);
}

/* H36: checked though it is ours. */
void h2_nv_field(struct h2_nv *nv, struct str name, struct str value)
{
    enum field_id id = field_lookup_inline(name.p, name.n);
    const char *end = value.p + value.n;
    bool is_name = id != FIELD_OTHER || scan_is_plain_name(name.p, name.n) || scan_is_token(name.p, name.n);
    if (!is_name || (value.n && scan_value(value.p, value.p, end) != end)) {
        nv->overflow = true;
        return;
    }
    if (!(BIT(id) & NEVER_COPIED))
        put_lowered(nv, id, name, value);
}

void h2_nv_fields(struct h2_nv *nv, const struct message *m)
{
    for (uint16_t i = 0; i < m->field_count; i++) {
        const struct field *f = &m->fields[i];
        if (!(f->flags & FIELD_FLAG_DROP) && !(BIT(f->id) & NEVER_COPIED))
            put_lowered(nv, (enum field_id)f->id, field_name_of(m, f), field_value_of(m, f));
    }
}

/* Up to the line end, or to the end; without the carriage return. */
static struct str take_line(struct str *rest)
{
    const char *end = memchr(rest->p, '\n', rest->n);
    struct str line = str_make(rest->p, end ? (size_t)(end - rest->p) : rest->n);
    size_t whole = line.n + (end != NULL);
    *rest = str_make(rest->p + whole, rest->n - whole);
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    return line;
}

void h2_nv_lines(struct h2_nv *nv, struct str lines)
{
    while (lines.n) {
        struct str line = take_line(&lines);
        ptrdiff_t colon = str_find(line, ':');
        if (colon <= 0)
            continue;
        size_t at = (size_t)colon + 1;
        at += at < line.n && line.p[at] == ' ';
        h2_nv_field(nv, str_make(line.p, (size_t)colon), str_make(line.p + at, line.n - at));
    }
}

void h2_nv_length(struct h2_nv *nv, uint64_t n, char text[24])
{
    char *p = text + 24;
    do {
        *--p = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    h2_nv_put(nv, STR("content-length"), str_make(p, (size_t)(text + 24 - p)));
}

void h2_nv_trailers(struct h2_nv *nv, const struct message *trailers)
{
    for (uint16_t i = 0; i < trailers->field_count; i++) {
        const struct field *f = &trailers->fields[i];
        if (!(f->flags & FIELD_FLAG_DROP) &&
            rules_trailer_allowed((enum field_id)f->id, field_name_of(trailers, f)))
            h2_nv_field(nv, field_name_of(trailers, f), field_value_of(trailers, f));
    }
}
