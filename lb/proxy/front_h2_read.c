/* The reading half of the HTTP/2 front: what the codec says becomes exchanges. */
#include "base/panic.h"
#include "proxy/front_h2_priv.h"

static void reclaim(struct parked *p)
{
    struct stream *t = CONTAINER_OF(p, struct stream, parked);
    t->magic = 0;
    pool_give(&t->pw->h2->streams, t);
}

static struct stream *stream_create(struct h2_session *h)
{
    struct session *s = h->s;
    struct stream *t = pool_take(&s->pw->h2->streams);
    if (!t)
        return NULL;
    *t = (struct stream){.magic = H2_STREAM_MAGIC, .h = h, .pw = s->pw};
    t->x = exchange_create(s->pw, s, &front_h2);
    if (!t->x) {
        pool_give(&s->pw->h2->streams, t);
        return NULL;
    }
    t->x->front_state = t;
    quota_take(&h->requests, H2_STREAM_BYTES);
    front_h2_charge(t);
    list_init(&t->node);
    list_push(&h->streams, &t->node);
    return t;
}

static void count_streams(struct pworker *pw, int change)
{
    struct ledger_row *row = pw->ledger.row;
    ledger_add(&row->h2_streams, (uint64_t)(int64_t)change);
    if (change > 0)
        ledger_add(&row->h2_streams_begun, 1);
}

static struct h2_stream *on_open(void *ctx, struct message **out_m, struct arena **out_arena)
{
    struct h2_session *h = ctx;
    struct session *s = h->s;
    uint64_t limit = (uint64_t)s->listener->max_requests;
    struct stream *t = h->closing || quota_is_short(&h->requests) ? NULL : stream_create(h);
    if (!t)
        return NULL;
    h->stream_count++;
    count_streams(s->pw, 1);
    if (s->state == SESSION_IDLE)
        session_set_state(s, SESSION_STREAMS);
    if (++s->request_count == limit)
        front_h2_drain(s);
    *out_m = &t->x->req;
    *out_arena = &t->x->arena;
    return &t->h2;
}

static bool on_trailers(void *ctx, struct h2_stream *st, struct message **out_m, struct arena **out_arena)
{
    struct h2_session *h = ctx;
    struct exchange *x = stream_of_codec(st)->x;
    uint16_t fields = H2_FIELDS_FIRST;
    if (!x || quota_is_short(&h->memory) ||
        quota_is_short(&h->requests)) /* they may be left out (RFC 9110 6.5.1) */
        return false;
    if (fields > h->s->listener->max_header_count)
        fields = (uint16_t)h->s->listener->max_header_count;
    struct message *m = arena_alloc(&x->arena, sizeof *m);
    struct field *array = arena_alloc(&x->arena, fields * sizeof *array);
    if (!m || !array)
        return false;
    message_init(m, array, fields);
    m->in_arena = true;
    *out_m = m;
    *out_arena = &x->arena;
    return true;
}

/* RFC 8441: WebSocket over a stream; for a server of HTTP/1.1 it is an upgrade, and its key is ours. */
static enum reason as_upgrade(struct stream *t, struct h2_head *head)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char key[24];
    uint64_t random[3];
    for (int i = 0; i < 3; i++)
        random[i] = balance_random(&t->pw->random);
    for (int i = 0; i < 21; i++)
        key[i] = digits[random[i / 8] >> (i % 8 * 8) & 63];
    memcpy(key + 21, "A==", 3); /* 16 bytes: the last four bits of the 22nd digit are zero */
    t->connect = true;
    return h2_head_as_upgrade(head, str_make(key, sizeof key)) ? REASON_OK : REASON_HEAD_LIMIT;
}

static void on_request(void *ctx, struct h2_stream *st, enum reason why, struct h2_head *head)
{
    struct h2_session *h = ctx;
    struct stream *t = stream_of_codec(st);
    struct exchange *x = t->x;
    uint64_t now = h->s->pw->w.now_ms;
    if (!x)
        return;
    if (!why && head->protocol.len)
        why = as_upgrade(t, head);
    if (why) {
        ledger_add(&h->s->pw->ledger.row->unrouted, 1);
        x->request_ended = st->remote_ended;
        exchange_reply(x, why);
        return;
    }
    t->body_started_ms = t->body_seen_ms = now;
    if (session_is_secure(h->s))
        x->req.flags |= MSG_SECURE;
    x->request_ended = st->remote_ended || t->connect; /* known before the answer */
    if (h->first_new)
        h->last_new->next_new = t;
    else
        h->first_new = t;
    h->last_new = t;
}

/* Streams that have ended meanwhile are parked, not gone; a fault of the client leaves a reset to be sent. */
void front_h2_start(struct h2_session *h)
{
    struct stream *next;
    for (struct stream *t = h->first_new; t; t = next) {
        struct exchange *x = t->x;
        next = t->next_new;
        h->first_new = next;
        t->next_new = NULL;
        if (!x || t->h2.why || h->closing)
            continue;
        exchange_start(x);
        if (t->x && x->request_ended)
            exchange_request_end(x, NULL);
    }
}

void front_h2_consumed(struct stream *t)
{
    if (!t->h2.unread)
        return;
    h2_server_consumed(t->h->srv, &t->h2, t->h2.unread);
    h2_wake(t->h);
}

static void hand_on(struct stream *t, const char *p, size_t n)
{
    if (t->x)
        exchange_request_data(t->x, p, n);
    else if ((t->drained_bytes += n) > H2_DRAIN_BYTES && t->over_ms)
        h2_server_reset(t->h->srv, &t->h2, REASON_OK);
    if (!t->x || exchange_can_take(t->x)) /* else want_request says when */
        front_h2_consumed(t);
}

void front_h2_gathered(struct front_h2_shared *shared)
{
    struct stream *t = shared->gathering;
    size_t n = shared->gathered;
    shared->gathering = NULL;
    shared->gathered = 0;
    if (t)
        hand_on(t, shared->gather, n);
}

/* Small frames of one stream in a row go on as one, so that a client cannot make us write a byte at a time.
 */
static bool gather(struct stream *t, const char *p, size_t n)
{
    struct front_h2_shared *shared = t->pw->h2;
    if (shared->gathering && (shared->gathering != t || n > sizeof shared->gather - shared->gathered))
        front_h2_gathered(shared);
    if (n > H2_SMALL_BYTES)
        return false;
    memcpy(shared->gather + shared->gathered, p, n);
    shared->gathering = t;
    shared->gathered += (uint32_t)n;
    return true;
}

static void on_data(void *ctx, struct h2_stream *st, const char *p, size_t n)
{
    struct h2_session *h = ctx;
    struct stream *t = stream_of_codec(st);
    if (h->first_new)
        front_h2_start(h);
    t->body_bytes += n;
    t->body_seen_ms = h->s->pw->w.now_ms;
    if (t->connect && t->x && !t->x->is_tunnel) { /* H22: it is no tunnel yet */
        exchange_request_failed(t->x, REASON_H2_MALFORMED);
        return;
    }
    if (!gather(t, p, n)) {
        front_h2_gathered(t->pw->h2); /* what came before it */
        hand_on(t, p, n);
    }
}

static void on_end(void *ctx, struct h2_stream *st, struct message *trailers)
{
    struct h2_session *h = ctx;
    struct stream *t = stream_of_codec(st);
    if (h->first_new)
        front_h2_start(h);
    front_h2_gathered(t->pw->h2);
    struct exchange *x = t->x;
    if (!x)
        return;
    if (x->req.framing == BODY_LENGTH && x->rx_bytes != x->req.content_length && !x->head_forwarded)
        exchange_request_failed(x, REASON_LENGTH); /* T10: the codec has looked, too */
    else
        exchange_request_end(x, trailers);
}

static void on_gone(void *ctx, struct h2_stream *st, enum reason why)
{
    struct h2_session *h = ctx;
    struct session *s = h->s;
    struct stream *t = stream_of_codec(st);
    if (t->pw->h2->gathering == t) {
        t->pw->h2->gathering = NULL;
        t->pw->h2->gathered = 0;
    }
    struct exchange *x = stream_exchange(t);
    if (x && x->state == EXCHANGE_HEAD)
        ledger_add(&s->pw->ledger.row->unrouted, 1);
    if (x)
        exchange_request_failed(x, why == REASON_OK ? REASON_CLIENT_GONE : why);
    ASSERT(!t->x);
    list_remove(&t->node);
    h->stream_count--;
    count_streams(s->pw, -1);
    worker_park(&s->pw->w, &t->parked, reclaim);
    if (!h->stream_count && s->state == SESSION_STREAMS && !h->closing)
        session_set_state(s, SESSION_IDLE);
    h2_wake(h);
}

static void on_available(void *ctx, struct h2_stream *st, struct h2_available *out)
{
    struct stream *t = stream_of_codec(st);
    struct exchange *x = t->x;
    (void)ctx;
    if (!x) /* its reset is on the way */
        return;
    out->bytes = t->no_body ? 0 : pipe_queued(&x->rsp_body) + direct_available(t);
    out->last = x->response_ended;
    out->trailers = x->rsp_trailers;
}

static void on_pull(void *ctx, struct h2_stream *st, size_t n)
{
    struct stream *t = stream_of_codec(st);
    (void)ctx;
    if (direct_available(t)) {
        direct_pull(t, n);
        return;
    }
    t->room = n;
    if (t->x)
        exchange_front_ready(t->x);
    t->room = 0;
}

static void on_sent_end(void *ctx, struct h2_stream *st)
{
    struct stream *t = stream_of_codec(st);
    (void)ctx;
    if (t->x)
        exchange_front_ready(t->x);
}

static void on_emit(void *ctx, const char *p, size_t n)
{
    struct h2_session *h = ctx;
    h->emitted_bytes += n;
    if (h->direct) {
        direct_emit(h, p, n);
        return;
    }
    memcpy(sink_reserve(&h->s->sink, n), p, n);
    sink_commit(&h->s->sink, n);
}

static void on_count(void *ctx, enum h2_count what)
{
    struct h2_session *h = ctx;
    struct ledger_row *row = h->s->pw->ledger.row;
    _Static_assert(H2_GOAWAY_INTERNAL - H2_GOAWAY_DONE == LEDGER_GOAWAY_INTERNAL, "in one order");
    if (what >= H2_GOAWAY_DONE)
        ledger_add(&row->h2_goaways[what - H2_GOAWAY_DONE], 1);
    else
        ledger_add(what == H2_RESET_SENT ? &row->h2_resets_sent : &row->h2_resets_received, 1);
}

const struct h2_server_ops front_h2_events = {
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
    .count = on_count,
};
