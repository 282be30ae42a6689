/* h2_client against the server's half of nghttp2: streams, windows, ends of every kind (RFC 9113). */
#include "support.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>

#include "http/h2_client.h"
#include "http/websocket.h"

#define STREAMS 8

struct seen {
    struct h2_client_stream h2; /* first */
    int status, interims, ends, closes;
    enum h2_closed how;
    size_t got, copied;
    bool last;
    char trailer[32];
};

struct pair {
    struct h2_client *client;
    nghttp2_session *server;
    struct seen streams[STREAMS];
    /* what the server saw */
    int requests, resets, ended, pings;
    size_t body;
    uint32_t reset_code;
    char fields[2048];
    uint64_t now_ms;
};

static struct seen *of(struct h2_client_stream *s)
{
    return (struct seen *)(void *)s;
}

static void on_head(struct h2_client_stream *s, struct message *m)
{
    if (m->status < 200)
        of(s)->interims++;
    else
        of(s)->status = m->status;
}

static void on_data(struct h2_client_stream *s, const char *p, size_t n, bool last)
{
    assert_non_null(p);
    assert_false(of(s)->last);
    of(s)->got += n;
    of(s)->last = last;
}

static void on_end(struct h2_client_stream *s, struct message *trailers)
{
    of(s)->ends++;
    if (trailers) {
        struct str v = field_value_of(trailers, &trailers->fields[0]);
        memcpy(of(s)->trailer, v.p, v.n < 31 ? v.n : 31);
    }
}

static void on_closed(struct h2_client_stream *s, enum h2_closed how)
{
    of(s)->closes++;
    of(s)->how = how;
}

static void on_copy(struct h2_client_stream *s, char *to, size_t n)
{
    memset(to, 'x', n);
    s->out_bytes -= (uint32_t)n;
    of(s)->copied += n;
}

static const struct h2_client_ops ops = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_closed = on_closed, .copy = on_copy};

static int server_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct pair *p = user;
    (void)session;
    p->requests += frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST;
    p->pings += frame->hd.type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK);
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        p->ended++;
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        p->resets++;
        p->reset_code = frame->rst_stream.error_code;
    }
    return 0;
}

static int server_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                         const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct pair *p = user;
    size_t at = strlen(p->fields);
    (void)session, (void)frame, (void)flags;
    snprintf(p->fields + at, sizeof p->fields - at, "%.*s=%.*s\n", (int)name_len, name, (int)value_len, value);
    return 0;
}

static int server_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t n, void *user)
{
    (void)session, (void)flags, (void)id, (void)data;
    ((struct pair *)user)->body += n;
    return 0;
}

static void setup(struct pair *p, uint32_t stream_window, bool server_opens_windows)
{
    nghttp2_session_callbacks *cb;
    nghttp2_option *option;
    memset(p, 0, sizeof *p);
    struct h2_client_limits limits = {
        .head_bytes = 4096, .stream_window = stream_window, .connection_window = 1 << 20, .control_frames = 100};
    p->client = h2_client_create(&ops, &limits, NULL);
    assert_non_null(p->client);
    nghttp2_session_callbacks_new(&cb);
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, !server_opens_windows);
    nghttp2_option_set_no_http_messaging(option, 1);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, server_frame);
    nghttp2_session_callbacks_set_on_header_callback(cb, server_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, server_data);
    assert_int_equal(nghttp2_session_server_new2(&p->server, cb, p, option), 0);
    nghttp2_session_callbacks_del(cb);
    nghttp2_option_del(option);
    nghttp2_settings_entry max = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 7};
    nghttp2_submit_settings(p->server, NGHTTP2_FLAG_NONE, &max, 1);
    p->now_ms = 1000;
}

static void teardown(struct pair *p)
{
    h2_client_destroy(&p->client);
    nghttp2_session_del(p->server);
}

/* Until neither has anything to say. False: the client gave up. */
static bool talk(struct pair *p)
{
    static char room[H2_FILL_BYTES];
    const uint8_t *from;
    bool ok = true, moved = true;
    while (moved) {
        moved = false;
        ssize_t n;
        while ((n = h2_client_fill(p->client, room, sizeof room)) > 0) {
            assert_int_equal(nghttp2_session_mem_recv(p->server, (uint8_t *)room, (size_t)n), n);
            moved = true;
        }
        while ((n = nghttp2_session_mem_send(p->server, &from)) > 0) {
            ok &= h2_client_feed(p->client, (const char *)from, (size_t)n, p->now_ms);
            moved = ok;
        }
    }
    return ok;
}

static void ask(struct pair *p, int i, bool has_body, const char *lines)
{
    static const char text[] = "POST /path?q example.com";
    struct field none[1];
    struct message m;
    message_init(&m, none, 1);
    m.base = text;
    m.method = METHOD_POST;
    m.method_text = (struct span){0, 4};
    m.flags = MSG_TE_TRAILERS;
    struct h2_request r = {.m = &m,
                           .scheme = STR("http"),
                           .authority = STR("example.com"),
                           .target = STR("/path?q"),
                           .own_fields = str_of(lines),
                           .content_length = -1,
                           .has_body = has_body};
    assert_true(h2_client_request(p->client, &p->streams[i].h2, &r));
}

static void give(struct pair *p, int i, uint32_t n, bool end)
{
    p->streams[i].h2.out_bytes += n;
    p->streams[i].h2.out_ended = end;
    h2_client_resume(p->client, &p->streams[i].h2);
}

#define NV(n, v) {(uint8_t *)(n), (uint8_t *)(v), sizeof(n) - 1, sizeof(v) - 1, 0}

static ssize_t endless(nghttp2_session *session, int32_t id, uint8_t *buf, size_t n, uint32_t *flags,
                       nghttp2_data_source *source, void *user)
{
    size_t *left = source->ptr;
    size_t now = n < *left ? n : *left;
    (void)session, (void)id, (void)user;
    memset(buf, 'y', now);
    *left -= now;
    if (!*left)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)now;
}

static void answer(struct pair *p, int i, size_t *body)
{
    nghttp2_nv nv[] = {NV(":status", "200"), NV("x-a", "b")};
    nghttp2_data_provider source = {.source.ptr = body, .read_callback = endless};
    nghttp2_submit_response(p->server, p->streams[i].h2.id, nv, 2, body ? &source : NULL);
}

static void a_request_and_its_answer(void **state)
{
    (void)state;
    struct pair p;
    size_t body = 5;
    setup(&p, 65536, true);
    ask(&p, 0, false, "X-Forwarded-For: 1.2.3.4\r\n");
    assert_false(p.streams[0].h2.sent);
    assert_true(talk(&p));
    assert_true(p.streams[0].h2.sent);
    assert_string_equal(p.fields, ":method=POST\n:scheme=http\n:authority=example.com\n:path=/path?q\n"
                                  "x-forwarded-for=1.2.3.4\nte=trailers\n");
    assert_int_equal(p.ended, 1);
    assert_true(h2_client_is_ready(p.client));
    assert_int_equal(h2_client_max_streams(p.client), 7);
    answer(&p, 0, &body);
    assert_true(talk(&p));
    struct seen *s = &p.streams[0];
    assert_int_equal(s->status, 200);
    assert_int_equal(s->got, 5);
    assert_true(s->last);
    assert_int_equal(s->ends, 1);
    assert_int_equal(s->closes, 1);
    assert_int_equal(s->how, H2_CLOSED_DONE);
    teardown(&p);
}

static void bodies_wait_for_the_window_of_the_server(void **state)
{
    (void)state;
    struct pair p;
    setup(&p, 65536, false);
    ask(&p, 0, true, "");
    give(&p, 0, 200000, true);
    assert_true(talk(&p));
    assert_int_equal(p.body, 65535);
    assert_int_equal(p.streams[0].h2.out_bytes, 200000 - 65535);
    assert_int_equal(p.ended, 0);
    nghttp2_session_consume(p.server, p.streams[0].h2.id, 65535);
    assert_true(talk(&p));
    assert_int_equal(p.body, 2 * 65535);
    teardown(&p);
}

static void answers_wait_for_consume(void **state)
{
    (void)state;
    struct pair p;
    size_t body = 200000, other = 100;
    setup(&p, 65536, true);
    ask(&p, 0, false, "");
    ask(&p, 1, false, "");
    assert_true(talk(&p));
    answer(&p, 0, &body);
    assert_true(talk(&p));
    assert_int_equal(p.streams[0].got, 65536);
    answer(&p, 1, &other); /* the connection's window is open: others go on */
    assert_true(talk(&p));
    assert_int_equal(p.streams[1].ends, 1);
    h2_client_consume(p.client, &p.streams[0].h2, 65536);
    assert_true(talk(&p));
    assert_int_equal(p.streams[0].got, 2 * 65536);
    teardown(&p);
}

static void trailers_go_both_ways(void **state)
{
    (void)state;
    struct pair p;
    static const char text[] = "x-late: yes\r\ncontent-length: 1\r\n";
    struct field fields[2] = {{.name = 0, .name_len = 6, .value = 8, .value_len = 3},
                              {.name = 13, .name_len = 14, .value = 29, .value_len = 1, .id = FIELD_CONTENT_LENGTH}};
    struct message m;
    message_init(&m, fields, 2);
    m.base = text;
    m.field_count = 2;
    setup(&p, 65536, true);
    ask(&p, 0, true, "");
    p.streams[0].h2.out_trailers = &m;
    give(&p, 0, 10, true);
    assert_true(talk(&p));
    assert_non_null(strstr(p.fields, "x-late=yes\n"));
    assert_null(strstr(p.fields, "content-length"));
    nghttp2_nv head[] = {NV(":status", "200")}, late[] = {NV("grpc-status", "7")};
    nghttp2_submit_headers(p.server, NGHTTP2_FLAG_NONE, p.streams[0].h2.id, NULL, head, 1, NULL);
    nghttp2_submit_headers(p.server, NGHTTP2_FLAG_END_STREAM, p.streams[0].h2.id, NULL, late, 1, NULL);
    assert_true(talk(&p));
    assert_string_equal(p.streams[0].trailer, "7");
    teardown(&p);
}

static void ends_of_a_stream(void **state)
{
    (void)state;
    struct pair p;
    setup(&p, 65536, true);
    for (int i = 0; i < 5; i++)
        ask(&p, i, false, "");
    h2_client_reset(p.client, &p.streams[4].h2, 8); /* before it was sent: nothing is */
    assert_true(talk(&p));
    assert_int_equal(p.requests, 4);
    assert_int_equal(p.streams[4].how, H2_CLOSED_ABANDONED);
    assert_false(p.streams[4].h2.sent);
    nghttp2_submit_rst_stream(p.server, NGHTTP2_FLAG_NONE, p.streams[0].h2.id, NGHTTP2_REFUSED_STREAM);
    nghttp2_submit_rst_stream(p.server, NGHTTP2_FLAG_NONE, p.streams[1].h2.id, NGHTTP2_INTERNAL_ERROR);
    h2_client_reset(p.client, &p.streams[2].h2, 8);
    assert_true(talk(&p));
    assert_int_equal(p.streams[0].how, H2_CLOSED_REFUSED);
    assert_int_equal(p.streams[1].how, H2_CLOSED_RESET);
    assert_int_equal(p.streams[2].how, H2_CLOSED_ABANDONED);
    assert_int_equal(p.resets, 1);
    assert_int_equal(p.reset_code, NGHTTP2_CANCEL);
    nghttp2_submit_goaway(p.server, NGHTTP2_FLAG_NONE, p.streams[2].h2.id, NGHTTP2_NO_ERROR, NULL, 0);
    ask(&p, 5, false, ""); /* on its way when GOAWAY comes */
    assert_true(talk(&p));
    assert_int_equal(p.streams[3].how, H2_CLOSED_GOAWAY);
    assert_true(h2_client_is_leaving(p.client));
    assert_true(p.streams[5].how == H2_CLOSED_GOAWAY || p.streams[5].how == H2_CLOSED_NOT_SENT);
    for (int i = 0; i < 6; i++)
        assert_int_equal(p.streams[i].closes, 1);
    teardown(&p);
}

static void frames_that_carry_nothing_are_counted(void **state)
{
    (void)state;
    struct pair p;
    static const char ping[] = "\0\0\x08\6\0\0\0\0\0" "12345678";
    setup(&p, 65536, true);
    assert_true(talk(&p));
    int taken = 0;
    while (taken < 1000 && h2_client_feed(p.client, ping, sizeof ping - 1, p.now_ms))
        taken++;
    assert_in_range(taken, 150, 200); /* two seconds' worth, less what the greeting took */
    assert_string_equal(h2_client_trouble(p.client), "too many frames that carry nothing");
    teardown(&p);

    setup(&p, 65536, true);
    assert_true(talk(&p));
    for (taken = 0; taken < 1000; taken++) { /* a hundred a second may go on for ever */
        p.now_ms += 10;
        assert_true(h2_client_feed(p.client, ping, sizeof ping - 1, p.now_ms));
    }
    teardown(&p);
}

static void the_sum_of_a_websocket(void **state)
{
    (void)state;
    char sum[WEBSOCKET_ACCEPT_BYTES];
    websocket_accept(STR("dGhlIHNhbXBsZSBub25jZQ=="), sum); /* RFC 6455 1.3 */
    assert_memory_equal(sum, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", sizeof sum);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_and_its_answer),
        cmocka_unit_test(bodies_wait_for_the_window_of_the_server),
        cmocka_unit_test(answers_wait_for_consume),
        cmocka_unit_test(trailers_go_both_ways),
        cmocka_unit_test(ends_of_a_stream),
        cmocka_unit_test(frames_that_carry_nothing_are_counted),
        cmocka_unit_test(the_sum_of_a_websocket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
