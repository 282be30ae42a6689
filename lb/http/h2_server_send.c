/* The writing half of an HTTP/2 connection. */
#include "base/panic.h"
#include "http/h2_server_priv.h"

static const char zeros[256];

static void emit(struct h2_server *srv, const char *p, size_t n)
{
    srv->emitted += n;
    srv->ops->emit(srv->ctx, p, n);
}

void h2_server_put(struct h2_server *srv, const char *p, size_t n)
{
    emit(srv, p, n);
}

/* ---- bodies ---- */

static bool submit_trailers(struct h2_server *srv, struct h2_stream *st, const struct message *trailers)
{
    struct h2_nv *nv = srv->nv;
    h2_nv_init(nv);
    h2_nv_trailers(nv, trailers);
    if (nv->overflow || !nv->count)
        return false;
    return nghttp2_submit_trailer(srv->ng, st->id, nv->v, nv->count) == 0;
}

/* How much of a stream's body goes into the next DATA frame. */
static ssize_t read_body(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
                         nghttp2_data_source *source, void *ctx)
{
    struct h2_server *srv = ctx;
    struct h2_stream *st = source->ptr;
    struct h2_available have = {0};
    (void)ng;
    (void)id;
    (void)buf;
    srv->ops->available(srv->ctx, st, &have);
    if (!have.bytes && !have.last) {
        st->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t n = have.bytes < length ? have.bytes : length;
    if (n)
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (have.last && n == have.bytes) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (have.trailers && submit_trailers(srv, st, have.trailers))
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
    }
    return (ssize_t)n;
}

/* The frame's head, then its payload straight from the front. We never pad. */
static int send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t length,
                     nghttp2_data_source *source, void *ctx)
{
    struct h2_server *srv = ctx;
    struct h2_stream *st = source->ptr;
    (void)ng;
    (void)frame;
    emit(srv, (const char *)head, 9);
    size_t before = srv->emitted;
    srv->ops->pull(srv->ctx, st, length);
    size_t put = srv->emitted - before;
    ASSERT(put <= length);
    while (put <
           length) { /* its answer was cut in this moment: what is announced must come, then the reset */
        size_t n = length - put < sizeof zeros ? length - put : sizeof zeros;
        emit(srv, zeros, n);
        put += n;
    }
    return srv->emitted >= srv->budget ? NGHTTP2_ERR_PAUSE : 0; /* else it would go on with the next frame */
}

/* The first step of a graceful end is a notice: streams on their way are still taken. */
static void count_goaway(struct h2_server *srv, const nghttp2_goaway *frame)
{
    uint32_t code = frame->error_code;
    bool notice = code == NGHTTP2_NO_ERROR && frame->last_stream_id == INT32_MAX;
    if (notice || srv->goaway_counted)
        return;
    srv->goaway_counted = true;
    h2_server_count(srv, code == NGHTTP2_NO_ERROR            ? H2_GOAWAY_DONE
                         : code == NGHTTP2_ENHANCE_YOUR_CALM ? H2_GOAWAY_FLOOD
                         : code == NGHTTP2_INTERNAL_ERROR    ? H2_GOAWAY_INTERNAL
                                                             : H2_GOAWAY_MALFORMED);
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
    struct h2_server *srv = ctx;
    (void)ng;
    if (frame->hd.type == NGHTTP2_DATA) {
        h2_guard_sent_data(&srv->guard);
        h2_budget_give(&srv->guard.control, 8); /* the WINDOW_UPDATEs that it will cause */
    }
    if (frame->hd.type == NGHTTP2_GOAWAY)
        count_goaway(srv, &frame->goaway);
    if (frame->hd.type == NGHTTP2_RST_STREAM) {
        h2_server_count(srv, H2_RESET_SENT);
        uint32_t code = frame->rst_stream.error_code;
        /* Refused for want of room: cheap, and no fault; but not for ever. */
        bool refused = code == NGHTTP2_REFUSED_STREAM;
        bool ours =
            refused || code == NGHTTP2_NO_ERROR || code == NGHTTP2_INTERNAL_ERROR || code == NGHTTP2_CANCEL;
        struct h2_stream *st = h2_server_stream(srv, frame->hd.stream_id);
        if (refused && !h2_budget_take(&srv->guard.control, srv->now_ms))
            h2_server_set_why(srv, REASON_H2_FLOOD);
        if (!ours && st && !st->why)
            st->why = REASON_H2_MALFORMED;
        if (!ours && !h2_budget_take(&srv->guard.resets, srv->now_ms)) /* T2 */
            h2_server_set_why(srv, REASON_H2_FLOOD);
        return 0;
    }
    if (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    struct h2_stream *st = h2_server_stream(srv, frame->hd.stream_id);
    if (st && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)) {
        st->end_sent = true;
        srv->ops->sent_end(srv->ctx, st);
    }
    return 0;
}

/* A head that cannot be sent: without it the stream would wait for ever. */
static int on_frame_not_send(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *ctx)
{
    (void)ctx;
    (void)error;
    if (frame->hd.type == NGHTTP2_HEADERS)
        return nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_INTERNAL_ERROR);
    return 0;
}

void h2_server_set_send_callbacks(nghttp2_session_callbacks *c)
{
    nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_frame_not_send);
    nghttp2_session_callbacks_set_send_data_callback(c, send_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
}

bool h2_server_send(struct h2_server *srv, size_t budget)
{
    bool was_well = !srv->why;
    srv->emitted = 0;
    srv->budget = budget;
    while (srv->emitted < budget) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(srv->ng, &p);
        if (n < 0)
            return false;
        if (n == 0) {
            if (!was_well || !srv->why)
                break;
            h2_server_fail(srv, (enum reason)srv->why); /* a budget was used up by what we had to send */
            was_well = false;
            continue;
        }
        emit(srv, (const char *)p, (size_t)n);
    }
    return true;
}

bool h2_server_wants_send(const struct h2_server *srv)
{
    return nghttp2_session_want_write(srv->ng);
}

bool h2_server_is_over(const struct h2_server *srv)
{
    return !nghttp2_session_want_read(srv->ng) && !nghttp2_session_want_write(srv->ng);
}

void h2_server_resume(struct h2_server *srv, struct h2_stream *st)
{
    if (!st->deferred || st->closed)
        return;
    st->deferred = false;
    nghttp2_session_resume_data(srv->ng, st->id);
}

bool h2_server_is_stalled(const struct h2_server *srv, const struct h2_stream *st)
{
    return !st->closed && !st->deferred &&
           (nghttp2_session_get_stream_remote_window_size(srv->ng, st->id) <= 0 ||
            nghttp2_session_get_remote_window_size(srv->ng) <= 0);
}

/* ---- heads ---- */

static void put_status(struct h2_nv *nv, uint16_t status, char text[3])
{
    text[0] = (char)('0' + status / 100 % 10);
    text[1] = (char)('0' + status / 10 % 10);
    text[2] = (char)('0' + status % 10);
    h2_nv_init(nv);
    h2_nv_put(nv, STR(":status"), str_make(text, 3));
}

bool h2_server_respond(struct h2_server *srv, struct h2_stream *st, const struct message *m, bool length,
                       const struct h2_extra *extra, size_t extra_count, bool end)
{
    struct h2_nv *nv = srv->nv;
    char status[3], length_text[24];
    if (st->closed)
        return false;
    ASSERT(!st->responded);
    put_status(nv, m->status, status);
    h2_nv_fields(nv, m);
    if (length)
        h2_nv_length(nv, m->content_length, length_text);
    for (size_t i = 0; i < extra_count; i++)
        h2_nv_put(nv, extra[i].name, extra[i].value);
    if (nv->overflow)
        return false;
    nghttp2_data_provider body = {.source.ptr = st, .read_callback = read_body};
    if (nghttp2_submit_response(srv->ng, st->id, nv->v, nv->count, end ? NULL : &body) != 0)
        return false; /* out of memory: what is said instead may have its turn */
    st->responded = true;
    st->has_body = !end;
    return true;
}

void h2_server_interim(struct h2_server *srv, struct h2_stream *st, const struct message *m)
{
    struct h2_nv *nv = srv->nv;
    char status[3];
    if (st->closed || st->responded)
        return;
    put_status(nv, m->status, status);
    h2_nv_fields(nv, m);
    if (!nv->overflow)
        nghttp2_submit_headers(srv->ng, NGHTTP2_FLAG_NONE, st->id, NULL, nv->v, nv->count, NULL);
}

void h2_server_reset(struct h2_server *srv, struct h2_stream *st, enum reason why)
{
    uint32_t code = why == REASON_OK ? NGHTTP2_NO_ERROR
                    : why == REASON_CLIENT_WRITE_TIMEOUT || why == REASON_SHUTDOWN ||
                            why == REASON_TUNNEL_IDLE || why == REASON_STREAM_IDLE
                        ? NGHTTP2_CANCEL
                    : why == REASON_H2_MALFORMED                ? NGHTTP2_PROTOCOL_ERROR
                    : why == REASON_NO_MEMORY && !st->responded ? NGHTTP2_REFUSED_STREAM
                                                                : NGHTTP2_INTERNAL_ERROR;
    if (!st->closed)
        nghttp2_submit_rst_stream(srv->ng, NGHTTP2_FLAG_NONE, st->id, code);
}
