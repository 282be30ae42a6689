/* h2_mem: what connections that share a frame buffer send is what they would send alone, whoever writes in
 * between; and all memory comes back. */
#include "support.h"

#include <stdio.h>

#include "http/h2_server_priv.h"

#define REQUESTS   3
#define CROWD      200 /* more than fit into the first table of streams */
#define OUT_BYTES  (1u << 20)
#define BODY_BYTES 50000u
#define EXTRAS     24

struct peer {
    struct h2_server *srv;
    char letter; /* it answers with nothing else */
    struct side_stream {
        struct h2_stream h2; /* first */
        struct message m;
        struct field fields[8];
        struct arena arena;
        char room[512];
        size_t body;
    } streams[CROWD];
    int opened, gone;
    char *out;
    size_t len;
};

static struct h2_stream *on_open(void *ctx, struct message **out_m, struct arena **out_arena)
{
    struct peer *p = ctx;
    assert_true(p->opened < CROWD);
    struct side_stream *s = &p->streams[p->opened++];
    message_init(&s->m, s->fields, 8);
    arena_init(&s->arena, s->room, sizeof s->room, 4096);
    *out_m = &s->m;
    *out_arena = &s->arena;
    return &s->h2;
}

/* A head of two frames, so that the answer needs more than the one buffer. */
static void on_request(void *ctx, struct h2_stream *st, enum reason why, struct h2_head *head)
{
    static char names[EXTRAS][8], values[EXTRAS][1800];
    struct peer *p = ctx;
    struct h2_extra extra[EXTRAS];
    struct message m;
    (void)head;
    assert_int_equal(why, REASON_OK);
    for (int i = 0; i < EXTRAS; i++) {
        snprintf(names[i], sizeof names[i], "x-%d", i);
        memset(values[i], p->letter + i % 3 * 2, sizeof values[i]);
        extra[i] = (struct h2_extra){str_of(names[i]), str_make(values[i], sizeof values[i])};
    }
    message_init(&m, NULL, 0);
    m.base = "";
    m.status = 200;
    m.content_length = ((struct side_stream *)(void *)st)->body = BODY_BYTES;
    assert_true(h2_server_respond(p->srv, st, &m, true, extra, st->id == 1 ? EXTRAS : 1, false));
}

static void on_gone(void *ctx, struct h2_stream *st, enum reason why)
{
    struct peer *p = ctx;
    assert_int_equal(why, REASON_OK);
    arena_fini(&((struct side_stream *)(void *)st)->arena);
    p->gone++;
}

static void on_available(void *ctx, struct h2_stream *st, struct h2_available *out)
{
    (void)ctx;
    *out = (struct h2_available){.bytes = ((struct side_stream *)(void *)st)->body, .last = true};
}

static void on_pull(void *ctx, struct h2_stream *st, size_t n)
{
    struct peer *p = ctx;
    char bytes[16384];
    assert_true(n <= sizeof bytes);
    memset(bytes, p->letter, n);
    ((struct side_stream *)(void *)st)->body -= n;
    h2_server_put(p->srv, bytes, n);
}

static void on_emit(void *ctx, const char *bytes, size_t n)
{
    struct peer *p = ctx;
    assert_true(p->len + n <= OUT_BYTES);
    memcpy(p->out + p->len, bytes, n);
    p->len += n;
}

static void on_sent_end(void *ctx, struct h2_stream *st)
{
    (void)ctx;
    (void)st;
}

static const struct h2_server_ops ops = {
    .open = on_open,
    .request = on_request,
    .gone = on_gone,
    .available = on_available,
    .pull = on_pull,
    .sent_end = on_sent_end,
    .emit = on_emit,
};

static void ask(struct peer *p, int i)
{
    static const char get[] = "\0\0\6\1\5\0\0\0\0\x82\x86\x84\x41\1a"; /* GET / of a, END_STREAM */
    char frame[sizeof get];
    int id = 1 + 2 * i;
    memcpy(frame, get, sizeof get);
    frame[7] = (char)(id >> 8);
    frame[8] = (char)id;
    assert_true(h2_server_recv(p->srv, frame, sizeof get - 1, 1));
}

static void open_peer(struct peer *p, struct h2_nv *nv, char letter)
{
    static const struct h2_server_limits limits = {.head = {.bytes = 4096, .path_bytes = 64, .fields = 8},
                                                   .streams = CROWD,
                                                   .stream_window = 65535,
                                                   .connection_window = 65535,
                                                   .reset_burst = 10,
                                                   .control_burst = 100,
                                                   .continuations = 4,
                                                   .queued_frames = 2 * CROWD};
    static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                "\0\0\6\4\0\0\0\0\0\0\4\0\x10\0\0" /* SETTINGS: streams of 1 MiB */
                                "\0\0\4\x8\0\0\0\0\0\0\x10\0\0";   /* WINDOW_UPDATE: the connection too */
    memset(p, 0, sizeof *p);
    p->letter = letter;
    p->out = malloc(OUT_BYTES);
    p->srv = h2_server_create(&ops, p, &limits, nv);
    assert_non_null(p->srv);
    assert_true(h2_server_recv(p->srv, hello, sizeof hello - 1, 1));
    for (int i = 0; i < REQUESTS; i++)
        ask(p, i);
}

static void close_peer(struct peer *p)
{
    assert_int_equal(p->gone, REQUESTS);
    h2_server_destroy(&p->srv);
    free(p->out);
}

static void send_all(struct peer *p)
{
    while (h2_server_wants_send(p->srv))
        assert_true(h2_server_send(p->srv, 65536));
}

static void frames_of_two_connections_do_not_meet(void **state)
{
    struct h2_nv *nv = h2_nv_create(), *own = h2_nv_create();
    struct peer a, b, alone_a, alone_b;
    (void)state;
    open_peer(&a, nv, 'a');
    open_peer(&b, nv, 'b');
    open_peer(&alone_a, own, 'a');
    send_all(&alone_a);
    open_peer(&alone_b, own, 'b');
    send_all(&alone_b);
    while (h2_server_wants_send(a.srv) || h2_server_wants_send(b.srv)) {
        assert_true(h2_server_send(a.srv, 1)); /* one piece of a frame each */
        assert_true(h2_server_send(b.srv, 1));
    }
    assert_true(a.len > REQUESTS * BODY_BYTES + 16384);
    assert_int_equal(a.len, alone_a.len);
    assert_memory_equal(a.out, alone_a.out, a.len);
    assert_int_equal(b.len, alone_b.len);
    assert_memory_equal(b.out, alone_b.out, b.len);
    close_peer(&a);
    close_peer(&b);
    close_peer(&alone_a);
    close_peer(&alone_b);
    h2_nv_destroy(&nv); /* looks whether all of it came back */
    h2_nv_destroy(&own);
}

/* Its table of streams grew, and the old one was freed: nobody may look at that again. From some version
 * after 1.52 on, nghttp2's first table is smaller than a page and comes with the first stream: nothing to
 * watch. */
static void a_page_is_forgotten_when_it_is_freed(void **state)
{
    struct h2_nv *nv = h2_nv_create();
    struct peer few, many;
    (void)state;
    open_peer(&few, nv, 'a');
    open_peer(&many, nv, 'b');
    bool has_page = many.srv->page != NULL;
    assert_int_equal(has_page, few.srv->page != NULL);
    if (nghttp2_version(0)->version_num <= 0x013400)
        assert_true(has_page);
    for (int i = REQUESTS; i < CROWD; i++)
        ask(&many, i);
    assert_int_equal(many.opened, CROWD);
    assert_null(many.srv->page);
    h2_server_rest(many.srv);
    assert_int_equal(has_page, few.srv->page != NULL);
    h2_server_rest(few.srv);
    h2_server_destroy(&few.srv);
    h2_server_destroy(&many.srv);
    free(few.out);
    free(many.out);
    h2_nv_destroy(&nv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_two_connections_do_not_meet),
        cmocka_unit_test(a_page_is_forgotten_when_it_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
