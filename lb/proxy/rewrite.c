#include "proxy/rewrite.h"

#include "http/forwarded.h"
#include "http/rules.h"
#include "http/trace.h"
#include "proxy/proxy.h"

/* Our own lines without what trusted peers said before: that part is as long as the head at most. */
#define OWN_FIELDS_BYTES 1024

struct str rewrite_scheme(const struct exchange *x)
{
    return x->req.flags & MSG_SECURE ? STR("https") : STR("http");
}

uint16_t rewrite_local_port(const struct exchange *x)
{
    return x->session->local_port;
}

static bool is_trusted(void *arg, struct str ip)
{
    const struct cidr_list *list = arg;
    uint8_t bytes[16];
    return cidr_ip_parse(ip, bytes) && cidr_list_has(list, bytes);
}

static struct str peer_text(const struct session *s, char *to)
{
    struct addr a = {.len = sizeof a.in6};
    if (s->family == AF_UNIX)
        return STR_NULL;
    a.in6.sin6_family = AF_INET6;
    memcpy(&a.in6.sin6_addr, s->ip, 16);
    return str_make(to, addr_print_ip(&a, to)); /* v4-mapped prints as IPv4 */
}

static void put_hex(char *to, uint64_t v)
{
    for (int i = 15; i >= 0; i--, v >>= 4)
        to[i] = "0123456789abcdef"[v & 15];
}

static void put_request_id(struct exchange *x, struct writer *w)
{
    struct message *m = &x->req;
    struct str id = message_value(m, FIELD_X_REQUEST_ID);
    if (id.p && request_id_valid(id)) {
        x->request_id = id;
        return; /* goes on as it came */
    }
    for (uint16_t i = 0; id.p && i < m->field_count; i++)
        if (m->fields[i].id == FIELD_X_REQUEST_ID)
            m->fields[i].flags |= FIELD_FLAG_DROP;
    if (!x->pw->settings->request_id)
        return;
    char *hex = arena_alloc(&x->arena, 32);
    if (!hex)
        return;
    put_hex(hex, balance_random(&x->pw->random));
    put_hex(hex + 16, balance_random(&x->pw->random));
    x->request_id = str_make(hex, 32);
    writer_field(w, STR("X-Request-Id"), x->request_id);
}

static void put_traceparent(struct exchange *x, struct writer *w)
{
    struct message *m = &x->req;
    struct str given = message_value(m, FIELD_TRACEPARENT);
    if (given.p && traceparent_valid(given))
        return;
    for (uint16_t i = 0; i < m->field_count; i++) /* a broken traceparent voids its tracestate */
        if (m->fields[i].id == FIELD_TRACEPARENT || (given.p && m->fields[i].id == FIELD_TRACESTATE))
            m->fields[i].flags |= FIELD_FLAG_DROP;
    if (!x->pw->settings->traceparent)
        return;
    char text[TRACEPARENT_BYTES];
    traceparent_make(text, balance_random(&x->pw->random), balance_random(&x->pw->random));
    writer_field(w, STR("traceparent"), str_make(text, sizeof text));
}

static bool put_own_fields(struct exchange *x, struct str peer)
{
    const struct settings *s = x->pw->settings;
    size_t cap = OWN_FIELDS_BYTES + x->req.head_len;
    char *room = (char *)x->pw->w.cork; /* only lent while nothing is corked */
    struct writer w;
    struct forwarded_info info = {
        .client_ip = peer,
        .client_is_v6 = peer.p && str_find(peer, ':') >= 0,
        .proto = rewrite_scheme(x),
        .host = message_str(&x->req, x->req.authority),
        .port = x->session->local_port,
        .trusted_peer = x->session->trusted,
    };
    cork_flush(&x->pw->w);
    writer_init(&w, room, cap < WORKER_CORK_BYTES ? cap : WORKER_CORK_BYTES);
    if (s->forwarded)
        forwarded_write_rfc7239(&x->req, &w, &info);
    forwarded_write_for(&x->req, &w, &info);
    forwarded_write_rest(&x->req, &w, &info);
    if (s->via)
        forwarded_write_via(&x->req, &w, str_of(s->server_name));
    put_request_id(x, &w);
    put_traceparent(x, &w);
    x->own_fields = arena_copy(&x->arena, str_make(w.p, w.len));
    return !w.overflow && x->own_fields.p;
}

enum reason rewrite_request(struct exchange *x)
{
    struct session *s = x->session;
    struct message *m = &x->req;
    char text[ADDR_TEXT_BYTES];
    rules_drop_hop_by_hop(m);
    forwarded_drop_forged(m, s->trusted);
    enum reason why = rules_normalise_path(m, &x->arena, s->listener->merge_slashes);
    if (why != REASON_OK)
        return why;
    struct str peer = peer_text(s, text), client = peer;
    if (s->trusted)
        client = forwarded_client(m, peer, is_trusted, (void *)(uintptr_t)&s->listener->trusted);
    x->client_ip = arena_copy(&x->arena, client);
    if (!x->client_ip.p || !put_own_fields(x, peer))
        return REASON_NO_MEMORY;
    return REASON_OK;
}

void rewrite_each(struct exchange *x, void (*put)(void *ctx, struct str name, struct str value), void *ctx)
{
    struct str rest = x->own_fields, line;
    while (rest.n && str_next(&rest, '\n', &line)) {
        ptrdiff_t colon = str_find(line, ':');
        if (colon <= 0)
            continue;
        if (line.p[line.n - 1] == '\r')
            line.n--;
        put(ctx, str_make(line.p, (size_t)colon), str_trim(str_make(line.p + colon + 1, line.n - (size_t)colon - 1)));
    }
}
