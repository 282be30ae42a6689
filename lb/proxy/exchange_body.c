/* The two directions of an exchange: how payload moves, stops and ends. */
#include "base/panic.h"
#include "proxy/change.h"
#include "proxy/choose.h"
#include "proxy/compress.h"
#include "proxy/exchange_priv.h"
#include "proxy/files.h"
#include "proxy/guard.h"
#include "proxy/mirror.h"
#include "proxy/proxy.h"
#include "proxy/reply.h"
#include "proxy/rewrite.h"

/* Of one exchange in one go; then others have their turn. */
#define PUMP_BYTES (256u << 10)
/* What a back is given at a time while its client has used up its memory: what the kernel does not take of
 * it waits in the smallest of blocks. */
#define PIECE_BYTES 960

/* ---- request: front → back ---- */

static bool back_is_open(const struct exchange *x)
{
    return x->back_state &&
           (x->state == EXCHANGE_ATTEMPT || x->state == EXCHANGE_RELAY || x->state == EXCHANGE_TUNNEL);
}

static void wake_front(struct exchange *x)
{
    if (!x->request_paused || !pipe_is_low(&x->req_body))
        return;
    x->request_paused = false;
    x->front->want_request(x);
}

static void drop_own(void *ctx, struct str name, struct str value)
{
    (void)value;
    guard_drop_fields(ctx, name);
}

/* The same of the fields that the route sets or takes away. */
static void drop_ruled(const struct field_changes *rules, struct message *trailers)
{
    for (uint32_t i = 0; i < rules->count; i++)
        if (rules->v[i].kind != FIELD_ADD)
            guard_drop_fields(trailers, rules->v[i].name);
}

/* What the proxy tells servers is not to be said once more by clients, behind the body. Only when they go to
 * a server: they may come before it is known what is told. */
static void drop_claims(struct exchange *x, struct message *trailers)
{
    rewrite_each(x, drop_own, trailers);
    if (x->rules)
        drop_ruled(&x->rules->request, trailers);
    if (x->pw->settings->asks_clients)
        secure_drop_claims(x, trailers);
    if (x->pass)
        guard_drop_claims(x->pass, trailers);
}

static void end_request(struct exchange *x)
{
    x->request_end_sent = true;
    if (x->req_trailers)
        drop_claims(x, x->req_trailers);
    x->back->end(x, x->req_trailers);
}

/* What goes to the back next of s. */
static struct str piece_of(const struct exchange *x, struct str s)
{
    if (s.n > PIECE_BYTES && quota_is_exceeded(x->req_body.quota))
        s.n = PIECE_BYTES;
    return s;
}

static void pump_request(struct exchange *x)
{
    struct pipe *p = &x->req_body;
    bool ok = true;
    uint64_t stop_at = p->taken_bytes + PUMP_BYTES;
    while (pipe_queued(p) && back_is_open(x)) {
        struct str s = pipe_peek(p, &ok);
        if (s.n && p->taken_bytes >= stop_at) {
            x->back->want_response(x); /* comes back here from the run queue */
            break;
        }
        if (!ok) {
            exchange_reply(x, REASON_SPILL);
            return;
        }
        if (!s.n)
            break;
        s = piece_of(x, s);
        bool last = x->request_ended && pipe_queued(p) == s.n && !x->req_trailers;
        size_t took = x->back->data(x, s.p, s.n, last);
        if (!took) {
            pipe_give_window(p);
            break;
        }
        pipe_take(p, took);
    }
    if (!back_is_open(x))
        return;
    if (x->request_ended && !x->request_end_sent && pipe_queued(p) == 0)
        end_request(x);
    wake_front(x);
    if (x->is_tunnel)
        exchange_check_end(x);
}

void exchange_back_ready(struct exchange *x)
{
    if (x->state != EXCHANGE_DONE)
        pump_request(x);
}

void exchange_connected(struct exchange *x)
{
    x->connect_ns = x->pw->w.now_ns;
}

/* Straight through when nothing is queued and the bytes need not be kept for a second attempt. */
static bool pass_request(struct exchange *x, const char *p, size_t n)
{
    struct pipe *q = &x->req_body;
    bool is_kept = q->keep && q->pushed_bytes + n <= q->keep_max && !quota_is_short(q->quota);
    if (!back_is_open(x) || pipe_queued(q) || is_kept)
        return false;
    if (n > PIECE_BYTES && quota_is_exceeded(q->quota))
        return false;
    if (x->back->data(x, p, n, false) == 0)
        return false;
    pipe_pass(q, n);
    return true;
}

static void limit_keep(struct exchange *x, size_t n)
{
    struct pipe *q = &x->req_body;
    if (q->keep && q->keep_max < UINT64_MAX && q->pushed_bytes + n > q->keep_max)
        pipe_forget(q);
}

/* The server answered early and has gone, and we still pass its answer on. */
static bool answer_is_all_ours(const struct exchange *x)
{
    return x->head_forwarded && !x->back_state && !x->is_tunnel;
}

void exchange_request_data(struct exchange *x, const char *p, size_t n)
{
    uint64_t limit = x->session->listener->max_body_bytes;
    if (x->state == EXCHANGE_DONE)
        return;
    x->rx_bytes += n;
    if (x->is_tunnel)
        x->tunnel_seen_ms = x->pw->w.now_ms;
    if (x->mirror)
        mirror_data(x, p, n);
    if (answer_is_all_ours(x))
        return; /* nobody is left to take it; the client reads its answer once it has sent all */
    if (limit && !x->is_tunnel && x->rx_bytes > limit) {
        exchange_request_failed(x, REASON_BODY_LIMIT);
        return;
    }
    if (pass_request(x, p, n))
        return;
    limit_keep(x, n);
    if (!pipe_push(&x->req_body, p, n)) {
        exchange_request_failed(x, REASON_SPILL);
        return;
    }
    pump_request(x);
}

bool exchange_can_splice_request(const struct exchange *x)
{
    const struct pipe *q = &x->req_body;
    return back_is_open(x) && x->back->splice && !x->is_tunnel && !x->mirror && !pipe_queued(q) && !q->keep;
}

void exchange_request_spliced(struct exchange *x, size_t n)
{
    x->rx_bytes += n;
    pipe_pass(&x->req_body, n);
}

/* The temporary file is at its limit. What has a length, or a back that needs none, goes on unbuffered: the
 * rest waits at the client. */
static bool stop_collecting(struct exchange *x)
{
    if (x->req.framing != BODY_LENGTH && x->opt->protocol == PROTOCOL_FASTCGI) {
        exchange_request_failed(x, REASON_BODY_LIMIT);
        return false;
    }
    pipe_forget(&x->req_body);
    exchange_collected(x);
    return x->state != EXCHANGE_DONE;
}

bool exchange_can_take(struct exchange *x)
{
    if (x->state == EXCHANGE_DONE)
        return false;
    if (x->state == EXCHANGE_COLLECT && pipe_is_full(&x->req_body) && !stop_collecting(x))
        return false;
    if (x->state == EXCHANGE_COLLECT || answer_is_all_ours(x))
        return true;
    bool full = pipe_is_full(&x->req_body);
    if (full || (pipe_queued(&x->req_body) && !x->req_body.keep)) {
        x->request_paused = true;
        return false;
    }
    return true;
}

/* NULL when there are none, or no memory: trailers may be dropped (RFC 9110 6.5.1). */
static struct message *keep_trailers(struct exchange *x, struct message *trailers)
{
    if (!trailers || !trailers->field_count)
        return NULL;
    if (trailers->in_arena)
        return trailers;
    struct message *copy = arena_alloc(&x->arena, sizeof *copy);
    if (!copy)
        return NULL;
    *copy = *trailers;
    return message_keep(copy, &x->arena) ? copy : NULL;
}

void exchange_request_end(struct exchange *x, struct message *trailers)
{
    if (x->state == EXCHANGE_DONE)
        return;
    if (x->mirror)
        mirror_end(x);
    if (x->request_end_sent && !x->is_tunnel)
        return; /* passed on already: the front said so with the head */
    x->req_trailers = keep_trailers(x, trailers);
    x->request_ended = true;
    x->req_body.ended = true;
    if (x->state == EXCHANGE_COLLECT)
        exchange_collected(x);
    else
        pump_request(x);
}

/* ---- answer: back → front ---- */

/* What the route sets or takes away in answers, and what only the proxy says, servers do not say behind the
 * body. */
static void drop_told(struct exchange *x, struct message *trailers)
{
    if (x->rules)
        drop_ruled(&x->rules->answer, trailers);
    if (x->pw->settings->reason_header)
        reply_hide_reason(trailers);
}

static void client_gone(struct exchange *x)
{
    exchange_request_failed(x, x->session->conn.broken || x->session->broken ? REASON_CLIENT_GONE
                                                                             : REASON_NO_MEMORY);
}

void exchange_interim(struct exchange *x, struct message *m)
{
    if (x->state != EXCHANGE_ATTEMPT)
        return;
    if (m->status == 100) {
        bool wanted = (x->req.flags & MSG_EXPECT_CONTINUE) && !x->continue_sent;
        x->continue_sent = true;
        if (!wanted) /* the client did not ask, or has had one (H21) */
            return;
    }
    if (!x->front->interim(x, m))
        client_gone(x);
}

/* Event streams and answers that say so are never buffered; tunnels neither. */
static bool wants_buffer(const struct exchange *x, const struct message *m)
{
    if (!x->opt->response_buffer || m->status == 101 || x->back == &back_files)
        return false;
    if (str_ieq(message_value(m, FIELD_X_ACCEL_BUFFERING), STR("no")))
        return false;
    struct str type = message_value(m, FIELD_CONTENT_TYPE);
    return !(type.n >= 17 && str_ieq(str_make(type.p, 17), STR("text/event-stream")));
}

static bool begin_tunnel(struct exchange *x)
{
    x->is_tunnel = true;
    exchange_set_state(x, EXCHANGE_TUNNEL);
    exchange_count_tunnel(x);
    /* The request head is all there was; what comes now is the tunnel's. */
    x->request_ended = x->request_end_sent = false;
    x->req_body.ended = false;
    x->tunnel_seen_ms = x->pw->w.now_ms;
    x->front->tunnel(x);
    return x->state != EXCHANGE_DONE;
}

bool exchange_response(struct exchange *x, struct message *m)
{
    if (x->state != EXCHANGE_ATTEMPT)
        return false;
    choose_answered(x, m->status);
    bool accel = message_has(m, FIELD_X_ACCEL_REDIRECT) || message_has(m, FIELD_X_SENDFILE);
    if (accel && !x->redirected && files_accel(x, m))
        return false;
    if (x->pw->settings->reason_header)
        reply_hide_reason(m);
    x->status = m->status;
    x->first_byte_ns = x->pw->w.now_ns;
    pipe_forget(&x->req_body);
    x->buffered_response = wants_buffer(x, m);
    if (x->buffered_response)
        x->rsp_body.file_max = x->opt->buffer_file_bytes;
    bool is_servers = x->rules && x->back != &back_files;
    if ((is_servers && !change_back(x, m)) ||
        !change_answer(x, m)) { /* before compress, which goes by what the client will see */
        exchange_request_failed(x, REASON_NO_MEMORY);
        return false;
    }
    if (x->opt->compress.gzip && !x->is_mirror)
        compress_head(x, m);
    exchange_set_state(x, EXCHANGE_RELAY);
    if (!x->front->head(x, m)) { /* too large for us, unless the client is gone */
        compress_fini(x);        /* what we say instead is said plainly */
        exchange_request_failed(x, x->session->conn.broken ? REASON_CLIENT_GONE : REASON_SERVER_HEAD_LIMIT);
        return false;
    }
    x->head_forwarded = true;
    return m->status != 101 || begin_tunnel(x);
}

bool exchange_is_last(const struct exchange *x, size_t n)
{
    return x->response_ended && !x->rsp_trailers && pipe_queued(&x->rsp_body) == n;
}

static void pump_response(struct exchange *x)
{
    struct pipe *p = &x->rsp_body;
    bool ok = true;
    uint64_t stop_at = p->taken_bytes + PUMP_BYTES;
    for (;;) {
        struct str s = pipe_peek(p, &ok);
        if (s.n && p->taken_bytes >= stop_at) {
            x->front->again(x);
            break;
        }
        if (!ok) {
            exchange_reply(x, REASON_SPILL); /* cuts: the head is out */
            return;
        }
        if (!s.n)
            break;
        ssize_t took = x->front->data(x, s.p, s.n, exchange_is_last(x, s.n));
        if (took < 0) {
            client_gone(x);
            return;
        }
        if (!took)
            break;
        x->tx_bytes += (size_t)took;
        pipe_take(p, (size_t)took);
    }
    if (x->response_paused && pipe_is_low(p) && x->back_state) {
        x->response_paused = false;
        x->back->want_response(x);
    }
    exchange_check_end(x);
}

void exchange_front_ready(struct exchange *x)
{
    if (x->state == EXCHANGE_RELAY || x->state == EXCHANGE_TUNNEL || x->state == EXCHANGE_FINISH)
        pump_response(x);
}

void exchange_response_data(struct exchange *x, const char *p, size_t n, bool last)
{
    if (x->state != EXCHANGE_RELAY && x->state != EXCHANGE_TUNNEL)
        return;
    if (x->compress)
        compress_data(x, p, n, last);
    else
        exchange_pass_data(x, p, n, last);
}

void exchange_pass_data(struct exchange *x, const char *p, size_t n, bool last)
{
    if (pipe_queued(&x->rsp_body) == 0) {
        ssize_t took = x->front->data(x, p, n, last);
        if (took < 0) {
            client_gone(x);
            return;
        }
        if (x->state == EXCHANGE_DONE) /* it wrote, and learnt of its client's end */
            return;
        x->tx_bytes += (size_t)took;
        if (took)
            pipe_pass(&x->rsp_body, (size_t)took);
        if ((size_t)took == n)
            return;
        p += took;
        n -= (size_t)took;
    }
    if (!pipe_push(&x->rsp_body, p, n))
        exchange_reply(x, REASON_SPILL);
}

bool exchange_can_splice_response(const struct exchange *x)
{
    return x->state == EXCHANGE_RELAY && x->front->splice && !x->compress && !x->buffered_response &&
           !pipe_queued(&x->rsp_body);
}

void exchange_response_spliced(struct exchange *x, size_t n, bool ok)
{
    x->tx_bytes += n;
    pipe_pass(&x->rsp_body, n);
    if (!ok)
        client_gone(x);
}

void exchange_room_again(struct exchange *x)
{
    if (x->state != EXCHANGE_ATTEMPT || !x->response_paused || !x->back_state)
        return;
    x->response_paused = false;
    x->back->want_response(x);
}

bool exchange_can_give(struct exchange *x)
{
    if (x->state == EXCHANGE_ATTEMPT) {
        x->response_paused = x->front->has_room && !x->front->has_room(x);
        return !x->response_paused;
    }
    if (x->state != EXCHANGE_RELAY && x->state != EXCHANGE_TUNNEL)
        return false;
    bool room = x->buffered_response ? !pipe_is_full(&x->rsp_body) : pipe_queued(&x->rsp_body) == 0;
    if (room && !x->buffered_response)
        room = x->front->is_flushed(x);
    if (!room)
        x->response_paused = true;
    return room;
}

/* The server has gone before the request was whole. What it left of that is thrown away, and so is what is
 * still to come: see answer_is_all_ours. */
static void drop_request(struct exchange *x)
{
    pipe_drop(&x->req_body);
    wake_front(x);
}

void exchange_response_end(struct exchange *x, struct message *trailers)
{
    if (x->state != EXCHANGE_RELAY && x->state != EXCHANGE_TUNNEL)
        return;
    if (x->compress) {
        compress_end(x, trailers != NULL);
        if (x->state == EXCHANGE_DONE)
            return;
    }
    x->response_ended = true;
    x->rsp_trailers = keep_trailers(x, trailers);
    if (x->rsp_trailers)
        drop_told(x, x->rsp_trailers);
    x->rsp_body.ended = true;
    x->server_done_ns = x->pw->w.now_ns;
    choose_completed(x);
    if (x->request_paused && answer_is_all_ours(x))
        drop_request(x);
    if (pipe_queued(&x->rsp_body) == 0 && !x->response_end_sent) {
        x->response_end_sent = true;
        if (!x->front->end(x, x->rsp_trailers)) {
            client_gone(x);
            return;
        }
    }
    exchange_check_end(x);
}

void exchange_check_end(struct exchange *x)
{
    if (x->state == EXCHANGE_DONE || !x->response_ended)
        return;
    if (pipe_queued(&x->rsp_body)) {
        if (!x->is_tunnel) { /* the server is through; the rest is between the client and us */
            exchange_set_state(x, EXCHANGE_FINISH);
            exchange_count_finishing(x);
        }
        return;
    }
    if (!x->response_end_sent) {
        x->response_end_sent = true;
        if (!x->front->end(x, x->rsp_trailers)) {
            client_gone(x);
            return;
        }
    }
    if (x->is_tunnel && !(x->request_end_sent && x->back->is_flushed(x)))
        return;
    if (x->front->is_flushed(x)) {
        exchange_finish(x, false);
        return;
    }
    if (!x->is_tunnel) {
        exchange_set_state(x, EXCHANGE_FINISH);
        exchange_count_finishing(x);
    }
}
