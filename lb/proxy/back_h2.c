/* The HTTP/2 back: exchanges as streams; requests to a server, its answers back. */
#include "proxy/back_h2.h"

#include "base/panic.h"
#include "http/rules.h"
#include "proxy/back_h2_tunnel.h"
#include "proxy/patience.h"
#include "proxy/proxy.h"
#include "proxy/rewrite.h"

#define H2_CANCEL   8u
#define H2_NO_ERROR 0u

static struct link_stream *stream_of(struct exchange *x)
{
    struct link_stream *s = x->back_state;
    CHECK_MAGIC(s, LINK_STREAM_MAGIC);
    return s;
}

static struct link_stream *stream_of_h2(struct h2_client_stream *h2)
{
    struct link_stream *s = CONTAINER_OF(h2, struct link_stream, h2);
    CHECK_MAGIC(s, LINK_STREAM_MAGIC);
    return s;
}

/* ---- life ---- */

static void reclaim(struct parked *p)
{
    struct link_stream *s = CONTAINER_OF(p, struct link_stream, parked);
    struct pworker *pw = s->pw;
    s->magic = 0;
    pool_give(&pw->h2_pool->streams, s);
}

static void drop_queue(struct link_stream *s)
{
    while (s->first) {
        struct chunk *c = s->first;
        s->first = c->next;
        chunk_give(&s->pw->w, c);
    }
    s->last = NULL;
    s->h2.out_bytes = 0;
    s->h2.out_trailers = NULL; /* in the arena of an exchange that is leaving */
}

/* Goes when both have let go. */
static void maybe_give(struct link_stream *s)
{
    if (s->x || s->link)
        return;
    drop_queue(s);
    worker_park(&s->pw->w, &s->parked, reclaim);
}

static void leave_link(struct link_stream *s)
{
    s->link->stream_count--;
    list_remove(&s->node);
    list_remove(&s->woken);
    if (!s->link->stream_count)
        h2_link_run(s->link);
    s->link = NULL;
}

static void leave_exchange(struct link_stream *s)
{
    struct exchange *x = s->x;
    s->x = NULL;
    deadline_stop(&s->pw->w.wheel, &s->deadline);
    if (x->endpoint_counted) {
        struct ledger_endpoint *cell = &s->pw->ledger.endpoints[s->slot];
        ledger_add(&cell->tx_bytes, s->tx_bytes);
        ledger_add(&cell->rx_bytes, s->rx_bytes);
    }
    x->back_state = NULL;
    exchange_endpoint_done(x);
}

/* Both sides are not through: the server is told to stop. Servers count resets and end the connections of
 * those who send many (T1), so such a connection takes no more streams before that happens. */
static void give_up(struct link_stream *s, uint32_t code)
{
    struct h2_link *l = s->link;
    drop_queue(s);
    if (!l)
        return;
    if (s->waiting) {
        leave_link(s);
        return;
    }
    if (s->closed || !l->h2) /* over, or the link is about to say so */
        return;
    if (s->h2.sent && ++l->reset_count >= l->max_resets)
        l->retired = true;
    h2_client_reset(l->h2, &s->h2, code);
    h2_link_run(l);
}

static void detach(struct link_stream *s)
{
    leave_exchange(s);
    if (!s->h2.ended || !s->h2.end_sent)
        give_up(s, s->h2.ended ? H2_NO_ERROR : H2_CANCEL);
    maybe_give(s);
}

/* The attempt failed; the link goes on. */
static void fail(struct link_stream *s, enum reason why, bool sent, bool stale)
{
    struct exchange *x = s->x;
    detach(s);
    exchange_attempt_failed(x, why, sent, stale);
}

void link_stream_fail(struct link_stream *s, enum reason why)
{
    struct exchange *x = s->x;
    bool sent = s->h2.sent, stale = s->reused && !s->got_bytes && why != REASON_SERVER_TIMEOUT;
    list_remove(&s->woken);
    s->link = NULL;
    s->closed = true;
    if (x)
        leave_exchange(s);
    maybe_give(s);
    if (x)
        exchange_attempt_failed(x, why, sent, stale);
}

void link_stream_want_turn(struct link_stream *s)
{
    if (!s->link)
        return;
    if (list_is_empty(&s->woken))
        list_push(&s->link->woken, &s->woken);
    h2_link_run(s->link);
}

static void note_move(struct link_stream *s)
{
    s->moved_ms = s->pw->w.now_ms;
}

/* ---- request ---- */

static int64_t length_of(const struct exchange *x)
{
    if (x->req.framing == BODY_NONE)
        return -1;
    if (x->req.framing == BODY_LENGTH)
        return (int64_t)x->req.content_length;
    if (x->request_ended && !x->req_trailers) /* collected: the length is known by now */
        return (int64_t)x->req_body.pushed_bytes;
    return -1;
}

static bool submit(struct link_stream *s)
{
    struct exchange *x = s->x;
    int64_t length = length_of(x);
    struct h2_request r = {
        .m = &x->req,
        .scheme = rewrite_scheme(x),
        .authority = x->opt->host ? str_of(x->opt->host) : message_str(&x->req, x->req.authority),
        .target = rules_target(&x->req),
        .own_fields = x->own_fields,
        .protocol = s->extended ? message_value(&x->req, FIELD_UPGRADE) : STR_NULL,
        .content_length = length,
        .has_body = s->extended || (x->req.framing != BODY_NONE && length != 0),
    };
    s->waiting = false;
    s->tx_bytes += x->req.head_len + x->own_fields.n;
    return h2_client_request(s->link->h2, &s->h2, &r);
}

static void wait_for_answer(struct link_stream *s)
{
    struct exchange *x = s->x;
    if (!s->h2.head_done)
        worker_deadline(&s->pw->w, &s->deadline, x->opt->response_timeout_ms);
}

static size_t h2_data(struct exchange *x, const char *p, size_t n, bool last)
{
    struct link_stream *s = stream_of(x);
    /* Nothing is taken before there is a connection, so that it can be sent over another one. */
    uint32_t most = quota_is_exceeded(x->req_body.quota) ? 1 : H2_QUEUE_BYTES;
    if (s->waiting || (s->link && (s->link->connecting || s->h2.out_bytes >= most))) {
        s->blocked = true;
        return 0;
    }
    if (!s->link || s->closed || s->h2.abandoned)
        return n; /* what a broken stream cannot take is dropped */
    size_t had = s->h2.out_bytes;
    if (!chunks_append(&s->pw->w, &s->first, &s->last, p, n, x->req_body.quota)) {
        s->blocked = true; /* part may be in: the stream is of no use any more, and its timeout ends it */
        h2_client_reset(s->link->h2, &s->h2, H2_CANCEL);
        return n;
    }
    if (!had) /* from now on it is the server's turn */
        note_move(s);
    s->h2.out_bytes = (uint32_t)(had + n);
    s->h2.out_ended = last && !x->is_tunnel;
    h2_client_resume(s->link->h2, &s->h2);
    h2_link_run(s->link);
    if (x->is_tunnel)
        worker_deadline(&s->pw->w, &s->deadline, x->opt->tunnel_timeout_ms);
    else
        wait_for_answer(s);
    return n;
}

static void h2_end(struct exchange *x, struct message *trailers)
{
    struct link_stream *s = stream_of(x);
    if (!s->link || s->closed)
        return;
    if (!s->h2.out_bytes)
        note_move(s);
    if (x->is_tunnel || (!s->waiting && !s->extended)) { /* else the end is that of the tunnel, to come yet */
        s->h2.out_ended = true;
        s->h2.out_trailers = trailers;
        h2_client_resume(s->link->h2, &s->h2);
        h2_link_run(s->link);
    }
    if (!s->link->connecting)
        wait_for_answer(s);
}

static bool h2_is_flushed(struct exchange *x)
{
    struct link_stream *s = x->back_state;
    return !s || !s->link || s->closed || !s->h2.out_bytes;
}

static void h2_want_response(struct exchange *x)
{
    note_move(stream_of(x)); /* until now it was not allowed to send */
    link_stream_want_turn(stream_of(x));
}

static void h2_abort(struct exchange *x)
{
    detach(stream_of(x));
}

/* Takes from the front of the queue; the codec calls it while it fills a buffer. */
static void on_copy(struct h2_client_stream *h2, char *to, size_t n)
{
    struct link_stream *s = stream_of_h2(h2);
    s->tx_bytes += n;
    note_move(s);
    h2->out_bytes -= (uint32_t)n;
    while (n) {
        struct chunk *c = s->first;
        size_t have = c->to - c->from, take = n < have ? n : have;
        memcpy(to, c->data + c->from, take);
        c->from += (uint32_t)take;
        to += take;
        n -= take;
        if (c->from < c->to)
            break;
        s->first = c->next;
        if (!s->first)
            s->last = NULL;
        chunk_give(&s->pw->w, c);
    }
    if ((s->blocked && h2->out_bytes <= H2_QUEUE_BYTES / 2) || (h2->out_bytes == 0 && s->extended))
        link_stream_want_turn(s);
}

/* ---- answer ---- */

/* Bounded in number (H28). */
static void take_interim(struct link_stream *s, struct message *m)
{
    struct exchange *x = s->x;
    if (++x->interim_count > x->opt->max_interim)
        fail(s, REASON_SERVER_INTERIM, true, false);
    else
        exchange_interim(x, m);
}

static void on_head(struct h2_client_stream *h2, struct message *m)
{
    struct link_stream *s = stream_of_h2(h2);
    struct exchange *x = s->x;
    s->got_bytes = true;
    note_move(s);
    s->rx_bytes += m->head_len;
    if (m->status < 200) {
        take_interim(s, m);
        return;
    }
    bool opens = s->extended && m->status < 300;
    worker_deadline(&s->pw->w, &s->deadline, opens ? x->opt->tunnel_timeout_ms : x->opt->body_timeout_ms);
    if (opens && !h2_tunnel_answer(x, m)) {
        fail(s, REASON_NO_MEMORY, true, false);
        return;
    }
    (void)!exchange_response(x, m); /* when it ended there, it has aborted us */
}

/* The server may send as much again once the front is willing to take it. */
static void open_window(struct link_stream *s)
{
    if (!s->owed_bytes || !exchange_can_give(s->x))
        return;
    h2_client_consume(s->link->h2, &s->h2, s->owed_bytes);
    s->owed_bytes = 0;
    h2_link_run(s->link);
}

static void on_data(struct h2_client_stream *h2, const char *p, size_t n, bool last)
{
    struct link_stream *s = stream_of_h2(h2);
    struct exchange *x = s->x;
    s->rx_bytes += n;
    s->owed_bytes += n;
    note_move(s);
    worker_deadline(&s->pw->w, &s->deadline,
                    x->is_tunnel ? x->opt->tunnel_timeout_ms : x->opt->body_timeout_ms);
    exchange_response_data(x, p, n, last && !x->is_tunnel);
    if (s->x && !last)
        open_window(s);
}

/* The stream is free before the client has read the last byte of the answer. */
static void on_end(struct h2_client_stream *h2, struct message *trailers)
{
    struct link_stream *s = stream_of_h2(h2);
    struct exchange *x = s->x;
    if (!x->is_tunnel) {
        detach(s);
        exchange_response_end(x, trailers);
    } else if (!x->response_ended)
        exchange_response_end(x, NULL);
}

static void on_closed(struct h2_client_stream *h2, enum h2_closed how)
{
    struct link_stream *s = stream_of_h2(h2);
    s->closed = true;
    s->how = (uint8_t)how;
    link_stream_want_turn(s);
}

const struct h2_client_ops link_stream_ops = {
    .on_head = on_head, .on_data = on_data, .on_end = on_end, .on_closed = on_closed, .copy = on_copy};

/* ---- what the link tells ---- */

static enum reason reason_of(const struct link_stream *s)
{
    switch ((enum h2_closed)s->how) {
    case H2_CLOSED_REFUSED:
    case H2_CLOSED_GOAWAY:
    case H2_CLOSED_NOT_SENT:
        return REASON_SERVER_OVERLOADED;
    case H2_CLOSED_HEAD_LIMIT:
        return REASON_SERVER_HEAD_LIMIT;
    case H2_CLOSED_MALFORMED:
        return s->h2.head_done ? REASON_SERVER_BODY : REASON_SERVER_HEAD;
    case H2_CLOSED_ABANDONED:
        return REASON_NO_MEMORY;
    default:
        return REASON_SERVER_RESET;
    }
}

/* It ended without an answer, or in the middle of one. */
static void fail_closed(struct link_stream *s)
{
    struct exchange *x = s->x;
    enum reason why = reason_of(s);
    bool untouched =
        s->how == H2_CLOSED_REFUSED || s->how == H2_CLOSED_GOAWAY || s->how == H2_CLOSED_NOT_SENT;
    /* A server that leaves in order, or has no room on this connection, has not failed: the same again, over
     * another one, once. */
    bool stale = untouched && !x->fresh_uplink;
    leave_exchange(s);
    maybe_give(s);
    exchange_attempt_failed(x, why, !untouched, stale);
}

static void finish(struct link_stream *s)
{
    leave_link(s);
    if (!s->x)
        maybe_give(s);
    else if (s->x->is_tunnel && s->how == H2_CLOSED_DONE)
        exchange_back_ready(s->x); /* both sides ended it; the exchange looks whether its client has, too */
    else
        fail_closed(s);
}

static void begin_waiting(struct link_stream *s)
{
    if (!h2_client_is_ready(s->link->h2))
        return;
    s->extended = h2_client_has_connect(s->link->h2);
    if (!submit(s)) {
        s->waiting = true;
        fail(s, REASON_NO_MEMORY, false, false);
    }
}

void link_stream_wake(struct link_stream *s)
{
    struct exchange *x = s->x;
    if (s->closed) {
        finish(s);
        return;
    }
    if (s->surplus && s->x &&
        !s->h2.sent) { /* nothing was sent: the same again, over another connection, once */
        fail(s, REASON_SERVER_OVERLOADED, false, !x->fresh_uplink);
        return;
    }
    if (s->waiting)
        begin_waiting(s);
    if (!s->x)
        return;
    if (!s->waiting) {
        s->blocked = false;
        exchange_back_ready(x);
    }
    if (s->x == x && s->link)
        open_window(s);
}

void link_stream_connected(struct link_stream *s)
{
    if (!s->x)
        return;
    worker_deadline(&s->pw->w, &s->deadline, s->x->opt->response_timeout_ms);
    exchange_connected(s->x);
    if (s->blocked)
        link_stream_want_turn(s);
}

/* ---- time ---- */

static bool tunnel_was_used(const struct link_stream *s)
{
    return s->x->tunnel_seen_ms + s->x->opt->tunnel_timeout_ms > s->pw->w.now_ms;
}

/* In the middle of the answer. */
static void look_at_patience(struct link_stream *s)
{
    enum reason why = REASON_OK;
    uint64_t wait_ms = patience_left_ms(s->x, s->h2.out_bytes > 0, s->moved_ms, &why);
    if (wait_ms)
        worker_deadline(&s->pw->w, &s->deadline, wait_ms);
    else if (why == REASON_SERVER_STALL)
        fail(s, why, true, false);
    else
        exchange_reply(s->x, why);
}

static void on_timeout(struct deadline *d)
{
    struct link_stream *s = CONTAINER_OF(d, struct link_stream, deadline);
    struct worker *w = &s->pw->w;
    struct exchange *x = s->x;
    CHECK_MAGIC(s, LINK_STREAM_MAGIC);
    if (x->is_tunnel) {
        if (tunnel_was_used(s))
            worker_deadline(w, d, x->opt->tunnel_timeout_ms);
        else
            exchange_reply(x, REASON_TUNNEL_IDLE);
    } else if (s->h2.head_done)
        look_at_patience(s);
    else if (patience_is_clients(x, s->h2.out_bytes > 0))
        worker_deadline(w, d, x->opt->response_timeout_ms);
    else
        fail(s, REASON_SERVER_TIMEOUT, s->h2.sent, false);
    cork_flush(w);
}

/* ---- beginning ---- */

static struct link_stream *open_stream(struct exchange *x, enum reason *out_why)
{
    struct pworker *pw = x->pw;
    struct link_stream *s = pool_take(&pw->h2_pool->streams);
    *out_why = REASON_NO_MEMORY;
    if (!s)
        return NULL;
    memset(s, 0, sizeof *s);
    struct h2_link *l = h2_link_for(x, out_why);
    if (!l) {
        pool_give(&pw->h2_pool->streams, s);
        return NULL;
    }
    s->magic = LINK_STREAM_MAGIC;
    s->pw = pw;
    s->slot = x->endpoint->slot;
    s->link = l;
    s->x = x;
    s->reused = !l->connecting && !x->fresh_uplink;
    list_init(&s->woken);
    list_push(&l->streams, &s->node);
    deadline_init(&s->deadline, on_timeout);
    x->back_state = s;
    return s;
}

static enum reason h2_start(struct exchange *x)
{
    enum reason why;
    struct link_stream *s = open_stream(x, &why);
    if (!s)
        return why;
    s->waiting = h2_tunnel_is_wanted(x);
    if (!s->waiting && !submit(s)) {
        s->waiting = true; /* nothing to reset */
        detach(s);
        return REASON_NO_MEMORY;
    }
    ledger_add(&x->pw->ledger.endpoints[s->slot].requests, 1);
    if (!s->link->connecting)
        link_stream_connected(s);
    if (s->waiting)
        link_stream_want_turn(s);
    h2_link_run(s->link);
    return REASON_OK;
}

const struct back_ops back_h2 = {
    .name = "h2",
    .start = h2_start,
    .data = h2_data,
    .end = h2_end,
    .is_flushed = h2_is_flushed,
    .want_response = h2_want_response,
    .abort = h2_abort,
};
