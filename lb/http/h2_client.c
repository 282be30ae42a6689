#include "http/h2_client.h"

#include <stdlib.h>

#include "base/panic.h"
#include "http/h2_client_priv.h"
#include "http/h2_nv.h"

#define CREDIT_PER_STREAM  32 /* frames that a server may need for one exchange: windows, PINGs, the head */
#define CREDIT_PER_MESSAGE 4  /* the same for a piece of a body that its window did not cut short */
#define BURST_SECONDS      2
#define TEACH_EVERY        256 /* requests: names of fields that differ each time go into the server's table */
#define SEND_HEAD_MAX      (1u << 20)
#define PEER_STREAMS_MAX   (1u << 20) /* the caller keeps to what the server wants */

/* ---- what is sent ---- */

static ssize_t read_source(nghttp2_session *session, int32_t id, uint8_t *buf, size_t room, uint32_t *flags,
                           nghttp2_data_source *source, void *user)
{
    struct h2_client *c = user;
    struct h2_client_stream *s = source->ptr;
    size_t n = s->out_bytes < room ? s->out_bytes : room;
    (void)buf;
    if (s->abandoned || (!n && !s->out_ended))
        return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n < s->out_bytes) {
        client_earn_bytes(c, n);
        return (ssize_t)n;
    }
    client_earn(c, CREDIT_PER_MESSAGE);
    if (!s->out_ended)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s->out_trailers) {
        struct h2_nv nv;
        h2_nv_init(&nv);
        h2_nv_trailers(&nv, s->out_trailers);
        if (nv.count && !nv.overflow && nghttp2_submit_trailer(session, id, nv.v, nv.count) == 0)
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
    return (ssize_t)n;
}

/* Straight into the buffer of fill: a body is not copied through the session. */
static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t n,
                     nghttp2_data_source *source, void *user)
{
    struct h2_client *c = user;
    struct h2_client_stream *s = source->ptr;
    (void)session;
    (void)frame;
    if (c->room - c->len < n + 9)
        return NGHTTP2_ERR_WOULDBLOCK;
    if (s->abandoned) /* its bytes are gone; the stream is about to be reset */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    memcpy(c->to + c->len, head, 9);
    if (n)
        c->ops->copy(s, c->to + c->len + 9, n);
    c->len += n + 9;
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_client *c = user;
    struct h2_client_stream *s = client_stream_of(c, frame->hd.stream_id);
    (void)session;
    if (s && frame->hd.type == NGHTTP2_HEADERS)
        s->sent = true;
    if (s && (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        s->end_sent = true;
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
        (void)client_give_up(c, nghttp2_http2_strerror(frame->goaway.error_code));
    return 0;
}

static enum h2_closed judge(const struct h2_client_stream *s, uint32_t code)
{
    if (s->abandoned)
        return H2_CLOSED_ABANDONED;
    if (s->fault)
        return s->fault == REASON_SERVER_HEAD_LIMIT ? H2_CLOSED_HEAD_LIMIT : H2_CLOSED_MALFORMED;
    if (!s->sent)
        return H2_CLOSED_NOT_SENT;
    if (s->peer_reset)
        return code == NGHTTP2_REFUSED_STREAM && !s->head_done ? H2_CLOSED_REFUSED : H2_CLOSED_RESET;
    if (code == NGHTTP2_REFUSED_STREAM)
        return H2_CLOSED_GOAWAY;
    return code == NGHTTP2_NO_ERROR ? H2_CLOSED_DONE : H2_CLOSED_MALFORMED;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
    struct h2_client *c = user;
    struct h2_client_stream *s = client_stream_of(c, id);
    (void)session;
    if (s && c->data_of == s)
        h2_client_flush_data(c, false);
    c->last_id = 0;
    if (s)
        c->ops->on_closed(s, judge(s, code));
    return 0;
}

/* ---- life ---- */

static nghttp2_session_callbacks *callbacks_of_ours(void)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb))
        return NULL;
    h2_client_recv_callbacks(cb);
    nghttp2_session_callbacks_set_send_data_callback(cb, send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    return cb;
}

static bool open_session(struct h2_client *c, struct h2_mem *mem)
{
    nghttp2_session_callbacks *cb = callbacks_of_ours();
    nghttp2_option *option = NULL;
    if (!cb || nghttp2_option_new(&option)) {
        nghttp2_session_callbacks_del(cb);
        return false;
    }
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_reserved_remote_streams(option, 0);
    nghttp2_option_set_peer_max_concurrent_streams(option, PEER_STREAMS_MAX);
    nghttp2_option_set_max_send_header_block_length(option, SEND_HEAD_MAX);
    for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
        nghttp2_option_set_user_recv_extension_type(option, (uint8_t)type);
    int failed = nghttp2_session_client_new3(&c->session, cb, c, option, h2_mem_of(mem));
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    return failed == 0;
}

static bool greet(struct h2_client *c)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, c->limits.stream_window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, c->limits.head_bytes},
    };
    return nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
                                   sizeof settings / sizeof *settings) == 0 &&
           nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0,
                                                 (int32_t)c->limits.connection_window) == 0;
}

struct h2_client *h2_client_create(const struct h2_client_ops *ops, const struct h2_client_limits *limits,
                                   struct h2_mem *mem)
{
    struct h2_client *c = malloc(sizeof *c);
    if (!c)
        return NULL;
    memset(c, 0, offsetof(struct h2_client, fields));
    c->ops = ops;
    c->limits = *limits;
    c->max_streams = UINT32_MAX;
    c->credit = c->credit_max = (uint64_t)BURST_SECONDS * limits->control_frames;
    if (!open_session(c, mem) || !greet(c))
        h2_client_destroy(&c);
    return c;
}

void h2_client_destroy(struct h2_client **cp)
{
    struct h2_client *c = *cp;
    *cp = NULL;
    if (!c)
        return;
    ASSERT(!c->busy);
    h2_client_drop_head(c);
    nghttp2_session_del(c->session); /* calls nobody */
    free(c);
}

/* RFC 8441 5.1: a WebSocket over HTTP/2 needs no key. */
static void drop_websocket_key(struct h2_nv *nv)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < nv->count; i++)
        if (!str_eq(str_make((char *)nv->v[i].name, nv->v[i].namelen), STR("sec-websocket-key")))
            nv->v[kept++] = nv->v[i];
    nv->count = kept;
}

/* Pseudo-header fields first (RFC 9113 8.3), then the message's, then our own. */
static void put_request(struct h2_nv *nv, const struct h2_request *r, char length_text[24])
{
    bool extended = r->protocol.n > 0;
    h2_nv_put(nv, STR(":method"), extended ? STR("CONNECT") : message_str(r->m, r->m->method_text));
    h2_nv_put(nv, STR(":scheme"), r->scheme);
    h2_nv_put(nv, STR(":authority"), r->authority);
    h2_nv_put(nv, STR(":path"), r->target);
    if (extended)
        h2_nv_put(nv, STR(":protocol"), r->protocol);
    h2_nv_fields(nv, r->m);
    if (extended)
        drop_websocket_key(nv);
    h2_nv_lines(nv, r->own_fields);
    if (r->content_length >= 0)
        h2_nv_length(nv, (uint64_t)r->content_length, length_text);
    if (r->m->flags & MSG_TE_TRAILERS)
        h2_nv_put(nv, STR("te"), STR("trailers"));
}

bool h2_client_request(struct h2_client *c, struct h2_client_stream *s, const struct h2_request *r)
{
    struct h2_nv nv;
    char length_text[24];
    nghttp2_data_provider source = {.source.ptr = s, .read_callback = read_source};
    *s = (struct h2_client_stream){.method = r->protocol.n ? METHOD_CONNECT : r->m->method};
    h2_nv_init(&nv);
    nv.teaches = c->requests++ % TEACH_EVERY == 0;
    put_request(&nv, r, length_text);
    if (nv.overflow)
        return false;
    int32_t id = nghttp2_submit_request(c->session, NULL, nv.v, nv.count, r->has_body ? &source : NULL, s);
    if (id < 0) {
        c->leaving |= id == NGHTTP2_ERR_STREAM_ID_NOT_AVAILABLE;
        return false;
    }
    s->id = id;
    client_earn(c, CREDIT_PER_STREAM);
    return true;
}

void h2_client_resume(struct h2_client *c, struct h2_client_stream *s)
{
    (void)nghttp2_session_resume_data(c->session, s->id); /* fails when it was not waiting */
}

void h2_client_reset(struct h2_client *c, struct h2_client_stream *s, uint32_t error_code)
{
    if (s->abandoned)
        return;
    s->abandoned = true;
    if (!s->fault)
        (void)nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, s->id, error_code);
}

void h2_client_consume(struct h2_client *c, struct h2_client_stream *s, size_t n)
{
    if (n && !s->abandoned && !s->ended)
        (void)nghttp2_session_consume_stream(c->session, s->id, n);
}

/* ---- bytes ---- */

bool h2_client_feed(struct h2_client *c, const char *p, size_t n, uint64_t now_ms)
{
    ASSERT(!c->busy);
    client_earn_time(c, now_ms);
    c->busy = true;
    ssize_t used = c->trouble ? -1 : nghttp2_session_mem_recv(c->session, (const uint8_t *)p, n);
    h2_client_flush_data(c, false);
    c->busy = false;
    if (used < 0)
        (void)client_give_up(c, used == NGHTTP2_ERR_FLOODED ? "it floods" : "it broke the protocol");
    return !c->trouble;
}

static bool put_held(struct h2_client *c)
{
    if (c->held.n > c->room - c->len)
        return false;
    if (c->held.n)
        memcpy(c->to + c->len, c->held.p, c->held.n);
    c->len += c->held.n;
    c->held = STR_NULL;
    return true;
}

ssize_t h2_client_fill(struct h2_client *c, char *to, size_t room)
{
    ASSERT(!c->busy && room >= H2_FILL_BYTES);
    c->to = to;
    c->room = room;
    c->len = 0;
    c->busy = true;
    while (put_held(c) && c->room - c->len >= 16) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(c->session, &p);
        if (n < 0)
            (void)client_give_up(c, "out of memory");
        if (n <= 0)
            break;
        c->held = str_make((const char *)p, (size_t)n);
    }
    c->busy = false;
    return c->len || !c->trouble ? (ssize_t)c->len : -1;
}

bool h2_client_wants_write(const struct h2_client *c)
{
    return c->held.n || nghttp2_session_want_write(c->session);
}

void h2_client_ping(struct h2_client *c)
{
    (void)nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL);
}

void h2_client_goaway(struct h2_client *c)
{
    c->leaving = true;
    (void)nghttp2_submit_goaway(c->session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
}

bool h2_client_is_ready(const struct h2_client *c)
{
    return c->ready;
}

bool h2_client_is_leaving(const struct h2_client *c)
{
    return c->leaving;
}

uint32_t h2_client_max_streams(const struct h2_client *c)
{
    return c->max_streams;
}

bool h2_client_has_connect(const struct h2_client *c)
{
    return c->has_connect;
}

const char *h2_client_trouble(const struct h2_client *c)
{
    return c->trouble;
}
