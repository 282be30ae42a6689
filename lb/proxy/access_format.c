#include "proxy/access_format.h"

#include <time.h>

#include "base/panic.h"
#include "net/addr.h"
#include "proxy/proxy.h"
#include "proxy/rewrite.h"

struct line {
    char *at, *end; /* end: of the segment being written, what those behind it need is beyond */
    bool json;
};

static void put(struct line *l, struct str s)
{
    ASSERT(s.n <= (size_t)(l->end - l->at)); /* reserved when the format was compiled */
    if (s.n)
        memcpy(l->at, s.p, s.n);
    l->at += s.n;
}

static void put_u64(struct line *l, uint64_t v)
{
    char digits[20];
    size_t n = sizeof digits;
    do
        digits[--n] = (char)('0' + v % 10);
    while (v /= 10);
    put(l, str_make(digits + n, sizeof digits - n));
}

static void put_absent(struct line *l, bool number)
{
    if (!l->json)
        put(l, STR("-"));
    else if (number)
        put(l, STR("null"));
}

/* One byte as it may stand in the log, at most 6; returns how many. Bytes above 0x7e are those of the code
 * points 0x7f to 0xff in JSON: whoever reads gets every byte back, valid UTF-8 or not. */
static size_t escape(char *to, unsigned char c, bool json)
{
    static const char hex[] = "0123456789abcdef";
    char high = hex[c >> 4], low = hex[c & 15];
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
        to[0] = (char)c;
        return 1;
    }
    if (json && (c == '"' || c == '\\')) {
        to[0] = '\\';
        to[1] = (char)c;
        return 2;
    }
    memcpy(to, json ? "\\u00" : "\\x", json ? 4 : 2);
    to += json ? 4 : 2;
    to[0] = high;
    to[1] = low;
    return json ? 6 : 4;
}

/* Never ends within an escape. */
static void put_escaped(struct line *l, struct str s)
{
    char text[6];
    for (size_t i = 0; i < s.n && i < ACCESS_TEXT_MAX; i++) {
        size_t n = escape(text, (unsigned char)s.p[i], l->json);
        if (n > (size_t)(l->end - l->at))
            return;
        put(l, str_make(text, n));
    }
}

static void put_text(struct line *l, struct str s)
{
    if (s.n)
        put_escaped(l, s);
    else
        put_absent(l, false);
}

static void put_span(struct line *l, uint64_t from_ns, uint64_t to_ns)
{
    if (!from_ns || to_ns < from_ns)
        put_absent(l, true);
    else
        put_u64(l, (to_ns - from_ns) / NS_PER_US);
}

static struct str protocol_of(const struct exchange *x)
{
    if (!x->req.head_len)
        return STR_NULL;
    return x->req.version == 10 ? STR("HTTP/1.0") : x->req.version == 20 ? STR("HTTP/2.0") : STR("HTTP/1.1");
}

/* ---- dates ---- */

static struct access_clock *clock_of(struct exchange *x)
{
    struct access_clock *c = &x->pw->log_clock;
    uint64_t second = worker_wall_ns(&x->pw->w) / NS_PER_S;
    if (second != c->second) {
        time_t t = (time_t)second;
        struct tm tm;
        gmtime_r(&t, &tm);
        c->local_len = (uint32_t)strftime(c->local, sizeof c->local, "%d/%b/%Y:%H:%M:%S +0000", &tm);
        c->iso_len = (uint32_t)strftime(c->iso, sizeof c->iso, "%Y-%m-%dT%H:%M:%S", &tm);
        c->second = second;
    }
    return c;
}

static void put_iso(struct line *l, struct exchange *x)
{
    struct access_clock *c = clock_of(x);
    unsigned ms = (unsigned)(worker_wall_ns(&x->pw->w) / NS_PER_MS % 1000);
    char tail[5] = {'.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z'};
    put(l, str_make(c->iso, c->iso_len));
    put(l, str_make(tail, sizeof tail));
}

static void put_local(struct line *l, struct exchange *x)
{
    struct access_clock *c = clock_of(x);
    put(l, str_make(c->local, c->local_len));
}

/* ---- the request ---- */

static struct str field_named(const struct message *m, struct str name)
{
    for (uint16_t i = 0; i < m->field_count; i++)
        if (str_ieq(field_name_of(m, &m->fields[i]), name))
            return field_value_of(m, &m->fields[i]);
    return STR_NULL;
}

static void put_request(struct line *l, const struct exchange *x)
{
    const struct message *m = &x->req;
    struct str protocol = protocol_of(x);
    char *end = l->end;
    if (end - l->at < (ptrdiff_t)protocol.n + 3)
        return;
    l->end -= protocol.n + 1;
    put_escaped(l, message_str(m, m->method_text));
    if (l->at < l->end)
        put(l, STR(" "));
    put_escaped(l, message_str(m, m->target));
    l->end = end;
    put(l, STR(" "));
    put(l, protocol);
}

/* What is only there when a head was read. */
static void put_head(struct line *l, const struct exchange *x, const struct log_segment *s)
{
    const struct message *m = &x->req;
    if (!m->head_len) {
        put_absent(l, false);
        return;
    }
    switch ((enum log_var)s->var) {
    case LOG_VAR_METHOD:
        put_text(l, message_str(m, m->method_text));
        break;
    case LOG_VAR_TARGET:
        put_text(l, message_str(m, m->target));
        break;
    case LOG_VAR_PATH:
        put_text(l, message_str(m, m->path));
        break;
    case LOG_VAR_QUERY:
        put_text(l, message_str(m, m->query));
        break;
    case LOG_VAR_HOST:
        put_text(l, message_str(m, m->authority));
        break;
    case LOG_VAR_REFERER:
        put_text(l, message_value(m, FIELD_REFERER));
        break;
    case LOG_VAR_USER_AGENT:
        put_text(l, message_value(m, FIELD_USER_AGENT));
        break;
    case LOG_VAR_HEADER:
        put_text(l, field_named(m, s->text));
        break;
    default:
        put_request(l, x);
    }
}

/* A request that was refused before anybody asked who sent it has the address of its connection. */
static void put_client(struct line *l, const struct exchange *x)
{
    const struct session *s = x->session;
    struct addr a = {.len = sizeof a.in6};
    char text[ADDR_TEXT_BYTES];
    if (x->client_ip.n || s->family == AF_UNIX) {
        put_text(l, x->client_ip);
        return;
    }
    a.in6.sin6_family = AF_INET6;
    memcpy(&a.in6.sin6_addr, s->ip, sizeof s->ip);
    put_text(l, str_make(text, addr_print_ip(&a, text)));
}

/* ---- numbers ---- */

static void put_number(struct line *l, const struct exchange *x, enum log_var var)
{
    switch (var) {
    case LOG_VAR_CLIENT_PORT:
        put_u64(l, x->session->port);
        break;
    case LOG_VAR_STATUS:
        put_u64(l, x->status);
        break;
    case LOG_VAR_BYTES_SENT:
        put_u64(l, x->tx_bytes);
        break;
    case LOG_VAR_BYTES_RECEIVED:
        put_u64(l, x->rx_bytes);
        break;
    case LOG_VAR_ATTEMPTS:
        put_u64(l, x->attempts);
        break;
    case LOG_VAR_HOLD_US:
        put_span(l, x->route_ns, x->pick_ns);
        break;
    case LOG_VAR_CONNECT_US:
        put_span(l, x->pick_ns, x->connect_ns);
        break;
    case LOG_VAR_FIRST_BYTE_US:
        put_span(l, x->pick_ns, x->first_byte_ns);
        break;
    case LOG_VAR_SERVER_US:
        put_span(l, x->pick_ns, x->server_done_ns);
        break;
    case LOG_VAR_TOTAL_US:
        put_span(l, x->start_ns, x->pw->w.now_ns);
        break;
    case LOG_VAR_START_NS:
        put_u64(l, x->start_ns);
        break;
    case LOG_VAR_ROUTE_NS:
        put_u64(l, x->route_ns);
        break;
    case LOG_VAR_END_NS:
        put_u64(l, x->pw->w.now_ns);
        break;
    case LOG_VAR_TIME_MS:
        put_u64(l, worker_wall_ns(&x->pw->w) / NS_PER_MS);
        break;
    default:
        put_u64(l, (uint64_t)x->pw->w.index);
    }
}

static void put_segment(struct line *l, struct exchange *x, const struct log_segment *s)
{
    switch ((enum log_var)s->var) {
    case LOG_VAR_LITERAL:
        put(l, s->text);
        break;
    case LOG_VAR_CLIENT_IP:
        put_client(l, x);
        break;
    case LOG_VAR_LISTENER:
        put_text(l, str_of(x->session->listener->name));
        break;
    case LOG_VAR_PROTOCOL:
        put_text(l, protocol_of(x));
        break;
    case LOG_VAR_SCHEME:
        put_text(l, rewrite_scheme(x));
        break;
    case LOG_VAR_CLUSTER:
        put_text(l, x->cluster ? x->cluster->id : STR_NULL);
        break;
    case LOG_VAR_ENDPOINT:
        put_text(l, x->endpoint ? endpoint_id(x->endpoint) : STR_NULL);
        break;
    case LOG_VAR_REASON:
        put(l, str_of(reason_id((enum reason)x->reason)));
        break;
    case LOG_VAR_REQUEST_ID:
        put_text(l, x->request_id);
        break;
    case LOG_VAR_USER:
        put_text(l, x->pass ? x->pass->user : STR_NULL);
        break;
    case LOG_VAR_TIME_LOCAL:
        put_local(l, x);
        break;
    case LOG_VAR_TIME_ISO8601:
        put_iso(l, x);
        break;
    case LOG_VAR_HEADER:
    case LOG_VAR_METHOD:
    case LOG_VAR_TARGET:
    case LOG_VAR_PATH:
    case LOG_VAR_QUERY:
    case LOG_VAR_HOST:
    case LOG_VAR_REFERER:
    case LOG_VAR_USER_AGENT:
    case LOG_VAR_REQUEST:
        put_head(l, x, s);
        break;
    default:
        put_number(l, x, (enum log_var)s->var);
    }
}

size_t access_format_line(struct exchange *x, const struct log_format *f, char *to)
{
    struct line l = {.at = to, .json = f->json};
    for (size_t i = 0; i < f->count; i++) {
        l.end = to + LOG_LINE_BYTES - f->segments[i].reserve;
        put_segment(&l, x, &f->segments[i]);
    }
    *l.at++ = '\n';
    return (size_t)(l.at - to);
}
