#include "proxy/rewrite.h"

#include "base/hex.h"
#include "http/forwarded.h"
#include "http/rules.h"
#include "http/trace.h"
#include "proxy/proxy.h"

/* Our own lines without what trusted peers said before: that part is as long as the head at most. */
#define OWN_FIELDS_BYTES 1024
#define REQUEST_ID_HEX   32
#define OWN_IDS_BYTES    (64 + 32 + TRACEPARENT_BYTES) /* X-Request-Id and traceparent, with their names */

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

static void make_id(struct exchange *x, char *to)
{
    hex_write(to, balance_random(&x->pw->random));
    hex_write(to + 16, balance_random(&x->pw->random));
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
    char hex[REQUEST_ID_HEX];
    make_id(x, hex);
    writer_str(w, STR("X-Request-Id: "));
    x->request_id = str_make(w->p + w->len, sizeof hex); /* stays there: own_fields is in the arena */
    writer_put(w, hex, sizeof hex);
    writer_str(w, STR("\r\n"));
    if (w->overflow)
        x->request_id = STR_NULL;
}

static void put_traceparent(struct exchange *x, struct writer *w)
{
    struct message *m = &x->req;
    struct str given = message_value(m, FIELD_TRACEPARENT);
    if (given.p && traceparent_valid(given))
        return;
    for (uint16_t i = 0; given.p && i < m->field_count; i++) /* a broken traceparent voids its tracestate */
        if (m->fields[i].id == FIELD_TRACEPARENT || m->fields[i].id == FIELD_TRACESTATE)
            m->fields[i].flags |= FIELD_FLAG_DROP;
    if (!x->pw->settings->traceparent)
        return;
    char text[TRACEPARENT_BYTES];
    traceparent_make(text, balance_random(&x->pw->random), balance_random(&x->pw->random));
    writer_str(w, STR("traceparent: "));
    writer_put(w, text, sizeof text);
    writer_str(w, STR("\r\n"));
}

/* What depends on the connection and the Host alone: the same for request after request, so it is kept. */
static void put_origin_fields(struct exchange *x, struct writer *w, struct str peer)
{
    const struct settings *s = x->pw->settings;
    struct forwarded_info info = {
        .client_ip = peer,
        .client_is_v6 = peer.p && str_find(peer, ':') >= 0,
        .proto = rewrite_scheme(x),
        .host = message_str(&x->req, x->req.authority),
        .port = x->session->local_port,
        .trusted_peer = x->session->trusted,
    };
    if (s->forwarded)
        forwarded_write_rfc7239(&x->req, w, &info);
    forwarded_write_for(&x->req, w, &info);
    forwarded_write_rest(&x->req, w, &info);
    if (s->via)
        forwarded_write_via(&x->req, w, str_of(s->server_name));
}

static struct origin_entry *entry_of(struct exchange *x)
{
    const struct session *s = x->session;
    struct str host = message_str(&x->req, x->req.authority);
    uint32_t h = s->ip[15] + s->ip[14] * 31u + s->ip[13] * 17u + (uint32_t)host.n * 7u;
    return host.n > ORIGIN_HOST_BYTES ? NULL : &x->pw->origins[h % ORIGIN_ENTRIES];
}

static bool entry_matches(const struct origin_entry *e, const struct exchange *x)
{
    const struct session *s = x->session;
    struct str host = message_str(&x->req, x->req.authority);
    return e->text_len && e->family == s->family && e->port == s->local_port && e->host_len == host.n &&
           e->secure == !!(x->req.flags & MSG_SECURE) && e->trusted == s->trusted &&
           e->version == x->req.version && memcmp(e->ip, s->ip, 16) == 0 &&
           memcmp(e->host, host.p, host.n) == 0;
}

/* The lines of put_request_id and put_traceparent for a request that brings neither. */
static void fill_ids(struct origin_entry *e, const struct settings *s, struct writer *w)
{
    static const char blank[TRACEPARENT_BYTES] = {0};
    e->id_at = e->trace_at = 0;
    if (s->request_id) {
        writer_str(w, STR("X-Request-Id: "));
        e->id_at = (uint16_t)w->len;
        writer_put(w, blank, REQUEST_ID_HEX);
        writer_str(w, STR("\r\n"));
    }
    if (s->traceparent) {
        writer_str(w, STR("traceparent: "));
        e->trace_at = (uint16_t)w->len;
        writer_put(w, blank, TRACEPARENT_BYTES);
        writer_str(w, STR("\r\n"));
    }
    e->full_len = w->overflow ? 0 : (uint16_t)w->len;
}

static void fill_entry(struct origin_entry *e, struct exchange *x)
{
    const struct session *s = x->session;
    struct str host = message_str(&x->req, x->req.authority), peer;
    struct writer w;
    char text[ADDR_TEXT_BYTES];
    e->text_len = 0;
    peer = peer_text(s, text);
    writer_init(&w, e->text, sizeof e->text);
    put_origin_fields(x, &w, peer);
    if (w.overflow || peer.n > sizeof e->ip_text)
        return;
    memcpy(e->ip, s->ip, 16);
    memcpy(e->host, host.p, host.n);
    memcpy(e->ip_text, peer.p ? peer.p : "", peer.n);
    e->ip_len = (uint8_t)peer.n;
    e->host_len = (uint8_t)host.n;
    e->family = s->family;
    e->port = s->local_port;
    e->trusted = s->trusted;
    e->version = x->req.version;
    e->secure = !!(x->req.flags & MSG_SECURE);
    e->text_len = (uint16_t)w.len;
    fill_ids(e, x->pw->settings, &w);
}

/* Fields of trusted proxies change from request to request, and are merged into ours. */
static bool is_plain_origin(const struct exchange *x)
{
    const uint64_t claims = 1ull << FIELD_FORWARDED | 1ull << FIELD_X_FORWARDED_FOR |
                            1ull << FIELD_X_FORWARDED_PROTO | 1ull << FIELD_X_FORWARDED_HOST |
                            1ull << FIELD_X_FORWARDED_PORT | 1ull << FIELD_VIA;
    return !x->session->trusted || !(x->req.present & claims);
}

static struct origin_entry *cached_origin(struct exchange *x)
{
    struct origin_entry *e = is_plain_origin(x) && !message_has(&x->req, FIELD_VIA) ? entry_of(x) : NULL;
    if (e && !entry_matches(e, x))
        fill_entry(e, x);
    return e && e->text_len ? e : NULL;
}

/* The usual request: all lines in one copy, and the new ids written into it. */
static bool copy_own_fields(struct exchange *x, const struct origin_entry *e)
{
    char *text = arena_alloc(&x->arena, e->full_len);
    if (!text)
        return false;
    memcpy(text, e->text, e->full_len);
    /* One number for both, so that a trace and a line of the log find each other. */
    uint64_t high = balance_random(&x->pw->random), low = balance_random(&x->pw->random);
    if (e->id_at) {
        hex_write(text + e->id_at, high);
        hex_write(text + e->id_at + 16, low);
        x->request_id = str_make(text + e->id_at, REQUEST_ID_HEX);
    }
    if (e->trace_at)
        traceparent_make(text + e->trace_at, high, low);
    x->own_fields = str_make(text, e->full_len);
    return true;
}

static bool put_own_fields(struct exchange *x, const struct origin_entry *e, struct str peer)
{
    const uint64_t given = 1ull << FIELD_X_REQUEST_ID | 1ull << FIELD_TRACEPARENT;
    if (e && e->full_len && !(x->req.present & given))
        return copy_own_fields(x, e);
    size_t cap = e ? (size_t)e->text_len + OWN_IDS_BYTES : OWN_FIELDS_BYTES + (size_t)x->req.head_len;
    struct writer w;
    char *room = arena_alloc(&x->arena, cap);
    if (!room)
        return false;
    writer_init(&w, room, cap);
    if (e)
        writer_put(&w, e->text, e->text_len);
    else
        put_origin_fields(x, &w, peer);
    put_request_id(x, &w);
    put_traceparent(x, &w);
    x->own_fields = str_make(w.p, w.len);
    return !w.overflow;
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
    const struct origin_entry *e = cached_origin(x);
    struct str peer = e ? str_make(e->ip_text, e->ip_len) : peer_text(s, text), client = peer;
    if (s->trusted)
        client = forwarded_client(m, peer, is_trusted, (void *)(uintptr_t)&s->listener->trusted);
    x->client_ip = arena_copy(&x->arena, client);
    if (!x->client_ip.p || !put_own_fields(x, e, peer))
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
        put(ctx, str_make(line.p, (size_t)colon),
            str_trim(str_make(line.p + colon + 1, line.n - (size_t)colon - 1)));
    }
}
