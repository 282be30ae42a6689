/* fuzz_h2_front: what a client may send to an HTTP/2 listener. The same bytes whole and in pieces give the
 * same events; every request that is accepted, written as HTTP/1, is one request to our own strict parser;
 * whatever happens each stream that was opened is told once that it is gone, and what is sent stays within
 * bounds. */
#include <stdlib.h>

#include "base/list.h"
#include "base/panic.h"
#include "http/h1_parse.h"
#include "http/h1_write.h"
#include "http/h2_server_priv.h"
#include "http/rules.h"

#define FIELDS  40
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

static const struct h2_server_limits limits = {
    .head = {.bytes = 4096, .path_bytes = 512, .fields = FIELDS},
    .streams = 8,
    .stream_window = 65535,
    .connection_window = 65535,
    .reset_burst = 10,
    .control_burst = 20,
    .continuations = 4,
    .queued_frames = 1u << 20,
    .extended_connect = true,
};

struct fake {
    struct h2_server *srv;
    uint64_t events; /* a hash of all that was told */
    int opened, gone;
    size_t sent;
    struct list streams;
};

struct fake_stream {
    struct h2_stream h2;
    struct list node;
    struct message m;
    struct field fields[FIELDS];
    struct arena arena;
    char first[1024];
    size_t body;
};

static struct fake_stream *of(struct h2_stream *st)
{
    return CONTAINER_OF(st, struct fake_stream, h2);
}

static void tell(struct fake *f, char what, int32_t id, const char *p, size_t n)
{
    uint64_t h = (f->events ^ (uint64_t)what) * 0x100000001b3u;
    h = (h ^ (uint64_t)id) * 0x100000001b3u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 0x100000001b3u;
    f->events = h;
}

static struct h2_stream *on_open(void *ctx, struct message **out_m, struct arena **out_arena)
{
    struct fake *f = ctx;
    struct fake_stream *s = calloc(1, sizeof *s);
    ASSERT(s);
    message_init(&s->m, s->fields, FIELDS);
    arena_init(&s->arena, s->first, sizeof s->first, 1 << 16);
    list_init(&s->node);
    list_push(&f->streams, &s->node);
    f->opened++;
    *out_m = &s->m;
    *out_arena = &s->arena;
    return &s->h2;
}

static bool on_trailers(void *ctx, struct h2_stream *st, struct message **out_m, struct arena **out_arena)
{
    struct fake_stream *s = of(st);
    (void)ctx;
    message_init(&s->m, s->fields, FIELDS);
    *out_m = &s->m;
    *out_arena = &s->arena;
    return true;
}

/* T7 to T11: what goes to a server of HTTP/1 is exactly one head. */
static void check_as_http1(const struct message *m)
{
    static char text[16384];
    struct field fields[FIELDS + 8];
    struct message again;
    struct writer w;
    struct h1_parser parser = {0};
    const struct h1_limits wide = {.line_bytes = 8192, .head_bytes = 16384, .field_count = FIELDS + 8};
    writer_init(&w, text, sizeof text);
    h1_write_request_line(&w, m, message_str(m, m->target), message_str(m, m->authority));
    h1_write_fields(&w, m);
    h1_write_framing(&w, m->framing, m->content_length);
    writer_str(&w, STR("\r\n"));
    ASSERT(!w.overflow);
    message_init(&again, fields, FIELDS + 8);
    int got = h1_parse_request(&parser, text, w.len, &wide, &again);
    ASSERT(got == (int)w.len);
    ASSERT(again.method == m->method && again.target.len == m->target.len);
    ASSERT(str_eq(message_str(&again, again.authority), message_str(m, m->authority)));
    ASSERT(again.content_length == m->content_length);
}

static void on_request(void *ctx, struct h2_stream *st, enum reason why, struct h2_head *head)
{
    static const struct h2_extra extra = {STR("x-extra"), STR("1")};
    struct fake *f = ctx;
    struct fake_stream *s = of(st);
    struct message answer;
    tell(f, why ? 'R' : 'r', st->id, s->m.base, why ? 0 : s->m.head_len);
    if (!why) {
        if (head->protocol.len && !h2_head_as_upgrade(head, STR("AAAAAAAAAAAAAAAAAAAAAA==")))
            why = REASON_HEAD_LIMIT;
        else
            check_as_http1(&s->m);
    }
    message_init(&answer, NULL, 0);
    answer.base = "";
    answer.status = why ? 400 : 200;
    answer.content_length = s->body = (size_t)st->id * 1000u % 40000u;
    if (!h2_server_respond(f->srv, st, &answer, true, &extra, 1, s->body == 0))
        s->body = 0;
}

static void on_data(void *ctx, struct h2_stream *st, const char *p, size_t n)
{
    struct fake *f = ctx;
    (void)p; /* a body above its length ends sooner or later, by how it is cut */
    (void)n;
    if (st->id % 4 == 1)
        h2_server_consumed(f->srv, st, st->unread);
}

static void on_end(void *ctx, struct h2_stream *st, struct message *trailers)
{
    tell(ctx, 'e', st->id, trailers ? trailers->base : "", trailers ? trailers->head_len : 0);
}

static void on_gone(void *ctx, struct h2_stream *st, enum reason why)
{
    struct fake *f = ctx;
    struct fake_stream *s = of(st);
    (void)why;
    f->gone++;
    list_remove(&s->node);
    arena_fini(&s->arena);
    free(s);
}

static void on_available(void *ctx, struct h2_stream *st, struct h2_available *out)
{
    (void)ctx;
    out->bytes = of(st)->body;
    out->last = true;
}

static void on_pull(void *ctx, struct h2_stream *st, size_t n)
{
    static const char bytes[16384];
    struct fake *f = ctx;
    ASSERT(n <= of(st)->body && n <= sizeof bytes);
    h2_server_put(f->srv, bytes, n);
    of(st)->body -= n;
}

static void on_sent_end(void *ctx, struct h2_stream *st)
{
    struct fake *f = ctx;
    if (!st->remote_ended)
        h2_server_reset(f->srv, st, REASON_OK);
}

static void on_emit(void *ctx, const char *p, size_t n)
{
    struct fake *f = ctx;
    (void)p;
    f->sent += n;
}

static const struct h2_server_ops ops = {
    .open = on_open,
    .trailers = on_trailers,
    .request = on_request,
    .data = on_data,
    .end = on_end,
    .gone = on_gone,
    .available = on_available,
    .pull = on_pull,
    .sent_end = on_sent_end,
    .emit = on_emit,
};

/* step 0: all at once, and what is to be sent is sent at the end alone, as from one read of the socket. 0:
 * the client said GOAWAY; streams that it opens behind that are taken when they came in the same read, and
 * else the connection is over. */
static uint64_t run(const char *data, size_t size, size_t step, struct h2_nv *nv)
{
    struct fake f = {0};
    list_init(&f.streams);
    f.srv = h2_server_create(&ops, &f, &limits, nv);
    ASSERT(f.srv);
    bool going = h2_server_recv(f.srv, PREFACE, sizeof PREFACE - 1, 1);
    for (size_t at = 0; going && at < size;) {
        size_t n = step && size - at > step ? step : size - at;
        going = h2_server_recv(f.srv, data + at, n, 1);
        at += n;
    }
    for (int i = 0; i < 100 && h2_server_wants_send(f.srv); i++)
        if (!h2_server_send(f.srv, 65536))
            break;
    ASSERT(f.sent < (8u << 20));
    ASSERT(f.gone <= f.opened && f.opened - f.gone <= (int)limits.streams + 1);
    while (!list_is_empty(&f.streams)) {
        struct h2_stream *st = &CONTAINER_OF(f.streams.next, struct fake_stream, node)->h2;
        on_gone(&f, st, REASON_CLIENT_GONE);
    }
    bool has_left = f.srv->peer_left;
    h2_server_destroy(&f.srv);
    return has_left ? 0 : f.events;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 65536)
        return 0;
    struct h2_nv *nv = h2_nv_create();
    ASSERT(nv);
    uint64_t whole = run((const char *)data, size, 0, nv);
    ASSERT(run((const char *)data, size, 1, nv) == whole);
    ASSERT(run((const char *)data, size, 7, nv) == whole);
    h2_nv_destroy(&nv);
    return 0;
}
