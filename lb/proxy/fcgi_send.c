/* The sending half of the FastCGI back: what is told about a request, in records. */
#include "proxy/fcgi_send.h"

#include "base/panic.h"
#include "http/fcgi_codec.h"
#include "http/rules.h"
#include "proxy/proxy.h"
#include "proxy/rewrite.h"

#define OWN_FIELDS_MAX 16
#define BEGIN_BYTES    (2 * FCGI_HEADER_BYTES)

struct collect {
    struct fcgi_pair *pairs;
    size_t count, max;
};

static void put_pair(void *ctx, struct str name, struct str value)
{
    struct collect *c = ctx;
    if (c->count < c->max)
        c->pairs[c->count++] = (struct fcgi_pair){.name = name, .value = value};
}

static bool collect_fields(struct exchange *x, struct fcgi_request *r)
{
    struct message *m = &x->req;
    size_t max = m->field_count + OWN_FIELDS_MAX;
    struct collect c = {.pairs = arena_alloc(&x->arena, max * sizeof(struct fcgi_pair)), .max = max};
    if (!c.pairs)
        return false;
    for (uint16_t i = 0; i < m->field_count; i++)
        if (!(m->fields[i].flags & FIELD_FLAG_DROP))
            put_pair(&c, field_name_of(m, &m->fields[i]), field_value_of(m, &m->fields[i]));
    rewrite_each(x, put_pair, &c);
    r->fields = c.pairs;
    r->field_count = c.count;
    return fcgi_merge_fields(c.pairs, c.count, &x->arena);
}

/* Known before the first byte, or the request was collected (F12): PHP reads exactly so many bytes. */
static struct str content_length(const struct exchange *x, char *to, size_t cap)
{
    struct writer w;
    if (x->req.framing == BODY_NONE)
        return STR("");
    writer_init(&w, to, cap);
    writer_u64(&w, x->req.framing == BODY_LENGTH ? x->req.content_length : x->req_body.pushed_bytes);
    return str_make(to, w.len);
}

static struct str server_ip(const struct exchange *x, char *to)
{
    struct addr local = {.len = sizeof local.in6};
    if (x->session->family == AF_UNIX)
        return STR("");
    local.in6.sin6_family = AF_INET6;
    memcpy(&local.in6.sin6_addr, x->session->local_ip, 16);
    return str_make(to, addr_print_ip(&local, to));
}

static struct str protocol_of(const struct message *m)
{
    return m->version >= 20 ? STR("HTTP/2.0") : m->version == 10 ? STR("HTTP/1.0") : STR("HTTP/1.1");
}

enum reason fcgi_describe(struct exchange *x, struct fcgi_build *b)
{
    struct message *m = &x->req;
    struct fcgi_request *r = &b->r;
    *r = (struct fcgi_request){
        .settings = &x->opt->fastcgi,
        .method = message_str(m, m->method_text),
        .uri = rules_target(m),
        .query = m->query.len ? message_str(m, m->query) : STR(""),
        .protocol = protocol_of(m),
        .scheme = rewrite_scheme(x),
        .authority = x->opt->host ? str_of(x->opt->host) : message_str(m, m->authority),
        .content_type = message_value(m, FIELD_CONTENT_TYPE),
        .content_length = content_length(x, b->length, sizeof b->length),
        .client_ip = x->client_ip,
        .server_ip = server_ip(x, b->server_ip),
        .client_port = x->session->port,
        .server_port = x->session->local_port,
    };
    enum reason why = fcgi_find_script(r->settings, message_str(m, m->path), &x->arena, &r->script);
    if (why == REASON_OK && !collect_fields(x, r))
        why = REASON_NO_MEMORY;
    return why;
}

/* The usual case: everything in one record, in the cork, its length filled in behind. */
static bool cork_head(struct uplink *u, const struct fcgi_request *r, bool keep, size_t bound)
{
    struct writer w, header;
    size_t room = bound + BEGIN_BYTES + 2 * FCGI_HEADER_BYTES;
    writer_init(&w, sink_reserve(&u->sink, room), room);
    fcgi_put_begin(&w, keep);
    size_t from = w.len;
    w.len += FCGI_HEADER_BYTES;
    fcgi_write_params(r, &w);
    size_t content = w.len - from - FCGI_HEADER_BYTES;
    writer_init(&header, w.p + from, FCGI_HEADER_BYTES);
    fcgi_put_header(&header, FCGI_PARAMS, (uint16_t)content);
    fcgi_put_header(&w, FCGI_PARAMS, 0);
    if (w.overflow)
        return false;
    sink_commit(&u->sink, w.len);
    return true;
}

static bool write_large_head(struct uplink *u, const struct fcgi_request *r, bool keep, size_t bound)
{
    struct arena *arena = &u->x->arena;
    size_t room = bound + BEGIN_BYTES + (bound / FCGI_RECORD_MAX + 2) * FCGI_HEADER_BYTES;
    char *params = arena_alloc(arena, bound), *framed = arena_alloc(arena, room);
    struct writer w, out;
    if (!params || !framed)
        return false;
    writer_init(&w, params, bound);
    fcgi_write_params(r, &w);
    writer_init(&out, framed, room);
    fcgi_put_begin(&out, keep);
    fcgi_put_params(&out, str_make(params, w.len));
    if (w.overflow || out.overflow)
        return false;
    struct iovec iov = {framed, out.len};
    if (!sink_write(&u->sink, &iov, 1))
        fcgi_write_failed(u);
    return true;
}

bool fcgi_send_head(struct uplink *u, const struct fcgi_request *r)
{
    bool keep = r->settings->keep_conn;
    size_t bound = fcgi_params_bound(r);
    if (bound <= FCGI_RECORD_MAX && bound + BEGIN_BYTES + 2 * FCGI_HEADER_BYTES <= WORKER_CORK_BYTES)
        return cork_head(u, r, keep, bound);
    return write_large_head(u, r, keep, bound);
}

static struct iovec record_header(char *to, size_t content)
{
    struct writer w;
    writer_init(&w, to, FCGI_HEADER_BYTES);
    fcgi_put_header(&w, FCGI_STDIN, (uint16_t)content);
    return (struct iovec){to, w.len};
}

static bool send_record(struct uplink *u, const char *p, size_t n, bool last)
{
    char head[FCGI_HEADER_BYTES], tail[FCGI_HEADER_BYTES];
    struct iovec iov[3];
    int count = 0;
    iov[count++] = record_header(head, n);
    iov[count++] = (struct iovec){(void *)(uintptr_t)p, n};
    if (last)
        iov[count++] = record_header(tail, 0);
    return sink_write(&u->sink, iov, count);
}

void fcgi_write_failed(struct uplink *u)
{
    u->broken_write = true;
    u->conn.may_read = true; /* an answer may have come before the reset; if not, the read says so */
    run_queue_add(&u->pw->w, &u->run);
}

void fcgi_send_body(struct uplink *u, const char *p, size_t n, bool last)
{
    for (size_t at = 0, step; at < n && !u->broken_write; at += step) {
        step = n - at < FCGI_RECORD_MAX ? n - at : FCGI_RECORD_MAX;
        if (!send_record(u, p + at, step, last && at + step == n))
            fcgi_write_failed(u);
    }
    u->last_sent = last;
}

void fcgi_send_end(struct uplink *u)
{
    if (!u->last_sent && !u->broken_write) {
        (void)record_header(sink_reserve(&u->sink, FCGI_HEADER_BYTES), 0);
        sink_commit(&u->sink, FCGI_HEADER_BYTES);
    }
    if (!u->connecting && !u->broken_write && !sink_flush(&u->sink))
        fcgi_write_failed(u);
}
