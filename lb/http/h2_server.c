/* The reading half of an HTTP/2 connection, and its life. */
#include "http/h2_server.h"

#include <stdlib.h>

#include "base/panic.h"
#include "http/h2_server_priv.h"

struct h2_stream *h2_server_stream(struct h2_server *srv, int32_t id)
{
    if (id <= 0)
        return NULL;
    if (srv->last_id != id) {
        srv->last = nghttp2_session_get_stream_user_data(srv->ng, id);
        srv->last_id = srv->last ? id : 0; /* who is none may be one later */
    }
    return srv->last;
}

void h2_server_set_why(struct h2_server *srv, enum reason why)
{
    if (!srv->why)
        srv->why = (uint8_t)why;
}

/* nghttp2 stops reading; h2_server_recv says goodbye. */
static int flood(struct h2_server *srv)
{
    h2_server_set_why(srv, REASON_H2_FLOOD);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

#define FRAME_HEAD_BYTES 9
/* A DATA frame of so many bytes pays for a control frame. */
#define WORTH_BYTES 256

/* ---- heads ---- */

static int refuse(struct h2_server *srv, int32_t id)
{
    nghttp2_submit_rst_stream(srv->ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int begin_request(struct h2_server *srv, int32_t id)
{
    struct message *m;
    struct arena *arena;
    struct h2_stream *st = srv->ops->open(srv->ctx, &m, &arena);
    if (!st)
        return refuse(srv, id);
    *st = (struct h2_stream){.id = id};
    if (nghttp2_session_set_stream_user_data(srv->ng, id, st) != 0) {
        st->closed = true;
        srv->ops->gone(srv->ctx, st, REASON_NO_MEMORY);
        return refuse(srv, id);
    }
    srv->head_stream = srv->last = st;
    srv->last_id = id;
    h2_head_init(&srv->head, H2_HEAD_REQUEST, m, arena, &srv->limits.head);
    return 0;
}

static void begin_trailers(struct h2_server *srv, int32_t id)
{
    struct message *m = NULL;
    struct arena *arena = NULL;
    struct h2_stream *st = h2_server_stream(srv, id);
    if (st && !srv->ops->trailers(srv->ctx, st, &m, &arena))
        m = NULL;
    srv->head_stream = st;
    h2_head_init(&srv->head, H2_HEAD_TRAILERS, m, arena, &srv->limits.head);
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
    struct h2_server *srv = ctx;
    (void)ng;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        return begin_request(srv, frame->hd.stream_id);
    begin_trailers(srv, frame->hd.stream_id);
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *ctx)
{
    struct h2_server *srv = ctx;
    (void)ng;
    (void)frame;
    (void)flags;
    nghttp2_vec n = nghttp2_rcbuf_get_buf(name), v = nghttp2_rcbuf_get_buf(value);
    h2_head_field(&srv->head, str_make((const char *)n.base, n.len), str_make((const char *)v.base, v.len));
    return h2_head_is_bomb(&srv->head) ? flood(srv) : 0; /* T4 */
}

/* Left to itself nghttp2 would pass over such a field in silence (RFC 9113 8.2.1 wants the stream reset). */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                             nghttp2_rcbuf *value, uint8_t flags, void *ctx)
{
    on_header(ng, frame, name, value, flags, ctx);
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static void reset_malformed(struct h2_server *srv, struct h2_stream *st, enum reason why)
{
    st->why = (uint8_t)why;
    nghttp2_submit_rst_stream(srv->ng, NGHTTP2_FLAG_NONE, st->id, NGHTTP2_PROTOCOL_ERROR);
}

/* T12: WebSocket alone, and a tunnel that is closed from the start is none. */
static bool is_protocol_offered(const struct h2_server *srv, bool end)
{
    struct str protocol = message_str(srv->head.m, srv->head.protocol);
    return srv->limits.extended_connect && !end && str_eq(protocol, STR("websocket"));
}

static void take_request(struct h2_server *srv, struct h2_stream *st, bool end)
{
    enum reason why = h2_head_request_done(&srv->head, end);
    st->remote_ended = end;
    if (why == REASON_H2_MALFORMED || (srv->head.protocol.len && !is_protocol_offered(srv, end)))
        reset_malformed(srv, st, REASON_H2_MALFORMED);
    else
        srv->ops->request(srv->ctx, st, why, &srv->head);
}

static void take_trailers(struct h2_server *srv, struct h2_stream *st)
{
    enum reason why = h2_head_trailers_done(&srv->head);
    if (why) {
        reset_malformed(srv, st, why == REASON_HEAD_LIMIT ? REASON_TRAILER : why);
        return;
    }
    st->remote_ended = true;
    srv->ops->end(srv->ctx, st, srv->head.m);
}

static void take_head(struct h2_server *srv, const nghttp2_frame *frame)
{
    struct h2_stream *st = srv->head_stream;
    srv->head_stream = NULL;
    if (!st || st->closed)
        return;
    if (srv->head.kind == H2_HEAD_REQUEST)
        take_request(srv, st, frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    else
        take_trailers(srv, st);
}

/* ---- bodies ---- */

void h2_server_give_window(struct h2_server *srv)
{
    if (!srv->owed || srv->unread > srv->limits.connection_window)
        return;
    nghttp2_session_consume_connection(srv->ng, srv->owed);
    srv->owed = 0;
}

/* The connection's window is given back at once, so that a stream whose server is slow stops itself and
 * nobody else; but for what lies here beyond a whole connection window. */
static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *ctx)
{
    struct h2_server *srv = ctx;
    struct h2_stream *st = h2_server_stream(srv, id);
    (void)ng;
    (void)flags;
    srv->owed += n;
    if (n >= WORTH_BYTES)
        h2_budget_give(&srv->guard.control, 1);
    if (st) {
        st->unread += (uint32_t)n;
        srv->unread += n;
        srv->ops->data(srv->ctx, st, (const char *)p, n);
    }
    h2_server_give_window(srv);
    return 0;
}

void h2_server_consumed(struct h2_server *srv, struct h2_stream *st, uint32_t n)
{
    ASSERT(n <= st->unread);
    st->unread -= n;
    srv->unread -= n;
    if (n && !st->closed && !st->remote_ended)
        nghttp2_session_consume_stream(srv->ng, st->id, n);
    h2_server_give_window(srv);
}

/* T5: frames without payload that end nothing. */
static int take_data(struct h2_server *srv, const nghttp2_frame *frame)
{
    struct h2_stream *st = h2_server_stream(srv, frame->hd.stream_id);
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (!end && frame->hd.length && frame->hd.length == frame->data.padlen)
        return h2_budget_take(&srv->guard.control, srv->now_ms) ? 0 : flood(srv);
    if (end && st) {
        st->remote_ended = true;
        srv->ops->end(srv->ctx, st, NULL);
    }
    return 0;
}

/* ---- frames and streams ---- */

static void finish_shutdown(struct h2_server *srv)
{
    if (srv->shut)
        return;
    srv->shut = true;
    nghttp2_submit_goaway(srv->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(srv->ng),
                          NGHTTP2_NO_ERROR, NULL, 0);
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
    struct h2_server *srv = ctx;
    (void)ng;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        take_head(srv, frame);
        return 0;
    case NGHTTP2_DATA:
        return take_data(srv, frame);
    case NGHTTP2_RST_STREAM:
        h2_server_count(srv, H2_RESET_RECEIVED);
        return 0;
    case NGHTTP2_GOAWAY:
        srv->peer_left = true;
        return 0;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) && srv->notice_sent)
            finish_shutdown(srv);
        return 0;
    default:
        return 0;
    }
}

static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *ctx)
{
    struct h2_server *srv = ctx;
    (void)ng;
    (void)error;
    struct h2_stream *st = h2_server_stream(srv, frame->hd.stream_id);
    if (st && !st->why)
        st->why = REASON_H2_MALFORMED;
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *ctx)
{
    struct h2_server *srv = ctx;
    struct h2_stream *st = h2_server_stream(srv, id);
    srv->last_id = 0;
    if (!st)
        return 0;
    bool well = st->end_sent && st->remote_ended;
    st->closed = true;
    srv->unread -= st->unread;
    st->unread = 0;
    if (srv->head_stream == st)
        srv->head_stream = NULL;
    if (srv->head.m && !srv->head_stream)
        srv->head.m = NULL; /* its memory goes with the stream */
    nghttp2_session_set_stream_user_data(ng, id, NULL);
    if (well)
        h2_budget_give(&srv->guard.resets, 1);
    (void)code;
    srv->ops->gone(srv->ctx, st, well ? REASON_OK : st->why ? (enum reason)st->why : REASON_CLIENT_GONE);
    h2_server_give_window(srv);
    return 0;
}

/* ---- life ---- */

static bool submit_settings(struct h2_server *srv)
{
    const struct h2_server_limits *l = &srv->limits;
    nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, l->streams},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, l->stream_window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, l->head.bytes},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    size_t count = sizeof entries / sizeof *entries - !l->extended_connect;
    return nghttp2_submit_settings(srv->ng, NGHTTP2_FLAG_NONE, entries, count) == 0 &&
           nghttp2_session_set_local_window_size(srv->ng, NGHTTP2_FLAG_NONE, 0,
                                                 (int32_t)l->connection_window) == 0;
}

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *c;
    if (nghttp2_session_callbacks_new(&c) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(c, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(c, on_invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, on_invalid_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
    h2_server_set_send_callbacks(c);
    return c;
}

/* Not every version has it; those that do count a frame again each time a piece of its head arrives. */
extern void nghttp2_option_set_max_continuations(nghttp2_option *o, size_t n) __attribute__((weak));

#define HEAD_SEND_MAX (1u << 20)

static nghttp2_option *make_options(const struct h2_server_limits *limits)
{
    nghttp2_option *o;
    if (nghttp2_option_new(&o) != 0)
        return NULL;
    nghttp2_option_set_no_auto_window_update(o, 1);
    nghttp2_option_set_no_closed_streams(o, 1);
    nghttp2_option_set_max_send_header_block_length(o, HEAD_SEND_MAX); /* our own limits are below */
    nghttp2_option_set_builtin_recv_extension_type(o, NGHTTP2_PRIORITY_UPDATE);
    if (nghttp2_option_set_max_continuations)
        nghttp2_option_set_max_continuations(o, (limits->continuations + 1u) * FRAME_HEAD_BYTES);
    return o;
}

static bool open_session(struct h2_server *srv)
{
    nghttp2_session_callbacks *c = make_callbacks();
    nghttp2_option *o = make_options(&srv->limits);
    h2_mem_begin(srv->nv->mem);
    bool ok = c && o && nghttp2_session_server_new3(&srv->ng, c, srv, o, h2_mem_of(srv->nv->mem)) == 0;
    srv->page = h2_mem_end(srv->nv->mem);
    if (c)
        nghttp2_session_callbacks_del(c);
    if (o)
        nghttp2_option_del(o);
    return ok && submit_settings(srv);
}

struct h2_server *h2_server_create(const struct h2_server_ops *ops, void *ctx,
                                   const struct h2_server_limits *limits, struct h2_nv *nv)
{
    struct h2_server *srv = calloc(1, sizeof *srv);
    if (!srv)
        return NULL;
    srv->ops = ops;
    srv->ctx = ctx;
    srv->limits = *limits;
    srv->nv = nv;
    h2_guard_init(&srv->guard, limits->continuations);
    h2_budget_init(&srv->guard.resets, limits->reset_burst, limits->reset_rate);
    h2_budget_init(&srv->guard.control, limits->control_burst, limits->control_rate);
    if (!open_session(srv))
        h2_server_destroy(&srv);
    return srv;
}

void h2_server_destroy(struct h2_server **srv)
{
    if (!*srv)
        return;
    if ((*srv)->ng)
        nghttp2_session_del((*srv)->ng);
    free(*srv);
    *srv = NULL;
}

void h2_server_rest(struct h2_server *srv)
{
    if (!srv->rested)
        h2_page_rest(srv->page);
    srv->rested = true;
}

struct h2_nv *h2_nv_create(void)
{
    struct h2_nv *nv = malloc(sizeof *nv);
    if (!nv)
        return NULL;
    nv->mem = h2_mem_create();
    if (!nv->mem) {
        free(nv);
        return NULL;
    }
    return nv;
}

void h2_nv_trim(struct h2_nv *nv)
{
    h2_mem_trim(nv->mem);
}

void h2_nv_destroy(struct h2_nv **nv)
{
    if (*nv)
        h2_mem_destroy(&(*nv)->mem);
    free(*nv);
    *nv = NULL;
}

/* New streams come nowhere else, so that the page with their table is freed in here or with the session. */
static ssize_t read_frames(struct h2_server *srv, const char *p, size_t n)
{
    struct h2_mem *mem = srv->nv->mem;
    void *outer = h2_mem_watch(mem, srv->page);
    ssize_t got = nghttp2_session_mem_recv(srv->ng, (const uint8_t *)p, n);
    srv->page = h2_mem_watch(mem, outer);
    return got;
}

bool h2_server_recv(struct h2_server *srv, const char *p, size_t n, uint64_t now_ms)
{
    srv->now_ms = now_ms;
    srv->rested = false;
    size_t good = h2_guard_look(&srv->guard, p, n, now_ms);
    ssize_t got = read_frames(srv, p, good);
    size_t queued = nghttp2_session_get_outbound_queue_size(srv->ng);
    if (srv->guard.flood || queued > srv->limits.queued_frames || got == NGHTTP2_ERR_FLOODED)
        h2_server_set_why(srv, REASON_H2_FLOOD); /* T17 */
    if (got < 0)
        h2_server_set_why(srv, got == NGHTTP2_ERR_NOMEM ? REASON_NO_MEMORY : REASON_H2_MALFORMED);
    if (got >= 0 && !nghttp2_session_want_read(srv->ng) && !srv->peer_left)
        h2_server_set_why(srv, REASON_H2_MALFORMED); /* nghttp2 has queued its own GOAWAY */
    else if (srv->guard.code)
        h2_server_set_why(srv, REASON_H2_MALFORMED);
    if (srv->why)
        h2_server_fail(srv, (enum reason)srv->why);
    return !srv->why;
}

void h2_server_forget_head(struct h2_server *srv, const struct h2_stream *st)
{
    if (srv->head_stream != st)
        return;
    srv->head.m = NULL;
    srv->head.arena = NULL;
}

bool h2_server_has_begun(const struct h2_server *srv)
{
    return srv->guard.began;
}

uint32_t h2_server_block(const struct h2_server *srv)
{
    return h2_guard_block(&srv->guard);
}

bool h2_server_is_unruly(const struct h2_server *srv)
{
    return h2_budget_is_strained(&srv->guard.resets, srv->now_ms);
}

enum reason h2_server_why(const struct h2_server *srv)
{
    return (enum reason)srv->why;
}

void h2_server_shutdown(struct h2_server *srv)
{
    static const uint8_t opaque[8] = "coxswain";
    if (srv->notice_sent) {
        finish_shutdown(srv);
        return;
    }
    srv->notice_sent = true;
    nghttp2_submit_shutdown_notice(srv->ng);
    nghttp2_submit_ping(srv->ng, NGHTTP2_FLAG_NONE, opaque);
}

bool h2_server_is_shut(const struct h2_server *srv)
{
    return srv->shut;
}

void h2_server_fail(struct h2_server *srv, enum reason why)
{
    uint32_t code = why == REASON_OK             ? NGHTTP2_NO_ERROR
                    : why == REASON_H2_FLOOD     ? NGHTTP2_ENHANCE_YOUR_CALM
                    : why == REASON_H2_MALFORMED ? srv->guard.code ? srv->guard.code : NGHTTP2_PROTOCOL_ERROR
                                                 : NGHTTP2_INTERNAL_ERROR;
    h2_server_set_why(srv, why);
    srv->shut = true;
    nghttp2_session_terminate_session(srv->ng, code);
}
