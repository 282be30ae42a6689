/* What the server sends: heads, payload, settings, and what it may not send. */
#include "http/h2_client_priv.h"

#define CONTINUATIONS_MAX 8

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user)
{
    struct h2_client *c = user;
    (void)session;
    switch (hd->type) {
    case NGHTTP2_DATA:
        return hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM) ? client_spend(c) : 0;
    case NGHTTP2_CONTINUATION:
        return ++c->continuations > CONTINUATIONS_MAX ? client_give_up(c, "too many CONTINUATION frames")
                                                      : client_spend(c);
    case NGHTTP2_HEADERS:
        c->continuations = 0;
        return client_spend(c);
    default:
        return client_spend(c);
    }
}

void h2_client_drop_head(struct h2_client *c)
{
    if (c->collecting)
        arena_fini(&c->arena);
    c->collecting = false;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_client *c = user;
    struct h2_client_stream *s = client_stream_of(c, frame->hd.stream_id);
    struct h2_head_limits limits = {.bytes = c->limits.head_bytes, .fields = MESSAGE_FIELDS_MAX};
    (void)session;
    bool wanted = s && !s->abandoned && !s->fault;
    enum h2_head_kind kind = s && s->head_done ? H2_HEAD_TRAILERS : H2_HEAD_RESPONSE;
    h2_client_drop_head(c);
    message_init(&c->m, c->fields, MESSAGE_FIELDS_MAX);
    arena_init(&c->arena, c->head_room, sizeof c->head_room, 8u * c->limits.head_bytes + 65536u);
    c->collecting = true;
    h2_head_init(&c->head, kind, wanted ? &c->m : NULL, wanted ? &c->arena : NULL, &limits);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct h2_client *c = user;
    (void)session;
    (void)frame;
    (void)flags;
    if (!c->collecting)
        return 0;
    h2_head_field(&c->head, str_make((const char *)name, name_len), str_make((const char *)value, value_len));
    return h2_head_is_bomb(&c->head) ? client_give_up(c, "a head far above its limits") : 0;
}

/* A stream that we end for what the server did. */
static void refuse(struct h2_client *c, struct h2_client_stream *s, enum reason why)
{
    s->fault = (uint8_t)why;
    (void)nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_PROTOCOL_ERROR);
}

void h2_client_flush_data(struct h2_client *c, bool last)
{
    struct h2_client_stream *s = c->data_of;
    struct str data = c->data;
    c->data_of = NULL;
    if (s && !s->abandoned && !s->fault)
        c->ops->on_data(s, data.p, data.n, last);
}

static void end_stream(struct h2_client *c, struct h2_client_stream *s, struct message *trailers)
{
    if (s->abandoned || s->fault || s->ended)
        return;
    s->ended = true;
    c->ops->on_end(s, trailers);
}

static void take_head(struct h2_client *c, struct h2_client_stream *s, bool ends)
{
    enum reason why = h2_head_response_done(&c->head, (enum http_method)s->method, ends);
    if (why) {
        refuse(c, s, why);
        return;
    }
    s->head_done = c->m.status >= 200;
    c->ops->on_head(s, &c->m);
    if (ends)
        end_stream(c, s, NULL);
}

/* Trailers end a stream (RFC 9113 8.1, T16). */
static void take_trailers(struct h2_client *c, struct h2_client_stream *s, bool ends)
{
    enum reason why = h2_head_trailers_done(&c->head);
    if (why || !ends)
        refuse(c, s, why == REASON_HEAD_LIMIT ? REASON_SERVER_HEAD_LIMIT : REASON_SERVER_BODY);
    else
        end_stream(c, s, c->m.field_count ? &c->m : NULL);
}

static void take_headers(struct h2_client *c, struct h2_client_stream *s, bool ends)
{
    if (s && !s->abandoned && !s->fault && c->head.m) {
        if (c->head.kind == H2_HEAD_TRAILERS)
            take_trailers(c, s, ends);
        else
            take_head(c, s, ends);
    }
    h2_client_drop_head(c);
}

static void take_settings(struct h2_client *c, const nghttp2_frame *frame)
{
    if (frame->hd.flags & NGHTTP2_FLAG_ACK)
        return;
    c->ready = true;
    c->max_streams = nghttp2_session_get_remote_settings(c->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    c->has_connect =
        nghttp2_session_get_remote_settings(c->session, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

static void take_data_end(struct h2_client *c, const nghttp2_frame *frame)
{
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    struct h2_client_stream *s = client_stream_of(c, frame->hd.stream_id);
    h2_client_flush_data(c, ends);
    if (ends && s)
        end_stream(c, s, NULL);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_client *c = user;
    struct h2_client_stream *s;
    (void)session;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        take_data_end(c, frame);
        /* Nothing but padding carries nothing. */
        return frame->hd.length && frame->hd.length == frame->data.padlen ? client_spend(c) : 0;
    case NGHTTP2_HEADERS:
        take_headers(c, client_stream_of(c, frame->hd.stream_id), frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
        break;
    case NGHTTP2_SETTINGS:
        take_settings(c, frame);
        break;
    case NGHTTP2_GOAWAY:
        c->leaving = true;
        break;
    case NGHTTP2_RST_STREAM:
        if ((s = client_stream_of(c, frame->hd.stream_id)))
            s->peer_reset = true;
        break;
    default:
        break;
    }
    return 0;
}

/* A frame that nghttp2 found wrong and answered by RST_STREAM. */
static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
    struct h2_client *c = user;
    struct h2_client_stream *s = client_stream_of(c, frame->hd.stream_id);
    (void)session;
    (void)error;
    if (s && !s->fault)
        s->fault = s->head_done ? REASON_SERVER_BODY : REASON_SERVER_HEAD;
    if (frame->hd.type == NGHTTP2_HEADERS)
        h2_client_drop_head(c);
    return 0;
}

static int on_data_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t n,
                         void *user)
{
    struct h2_client *c = user;
    (void)flags;
    h2_client_flush_data(c, false);
    c->data_of = client_stream_of(c, id);
    c->data = str_make((const char *)data, n);
    client_earn_bytes(c, n);
    return nghttp2_session_consume_connection(session, n);
}

/* Of a type that nobody knows: seen, so that it is counted, and ignored (RFC 9113 4.1, 5.5). */
static int on_extension(nghttp2_session *session, void **out, const nghttp2_frame_hd *hd, void *user)
{
    (void)session;
    (void)out;
    (void)hd;
    (void)user;
    return NGHTTP2_ERR_CANCEL;
}

void h2_client_recv_callbacks(nghttp2_session_callbacks *cb)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(cb, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_unpack_extension_callback(cb, on_extension);
}
