/* A session that speaks HTTP/2: its birth, its events, its time-outs, its end. */
#include <stdlib.h>

#include "base/log.h"
#include "base/panic.h"
#include "proxy/front_h2_priv.h"
#include "proxy/patience.h"

/* Frames made in one go; then the socket, and others, have their turn. */
#define SEND_BYTES   65536
#define STREAMS_KEPT 1024
/* So long may requests be read in a turn, or for half of it if that is longer. */
#define REQUESTS_NS (2 * NS_PER_MS)
/* And so long those of clients who take most of theirs back: what they asked for costs more than its reading.
 */
#define UNRULY_NS (NS_PER_MS / 4)
/* Open on a connection that takes no more bytes: then no more are read. */
#define UNREAD_STREAMS 16
/* A client that does not answer the PING behind the first GOAWAY has had its time (RFC 9113 6.8). */
#define NOTICE_MS     1000
#define TICK_MS       1000
#define RATE_GRACE_MS 10000

struct front_h2_shared *front_h2_shared_create(void)
{
    struct front_h2_shared *shared = calloc(1, sizeof *shared);
    if (!shared)
        return NULL;
    shared->nv = h2_nv_create();
    if (!shared->nv) {
        free(shared);
        return NULL;
    }
    pool_init(&shared->streams, sizeof(struct stream), STREAMS_KEPT);
    return shared;
}

void front_h2_shared_destroy(struct front_h2_shared **shared)
{
    if (!*shared)
        return;
    pool_fini(&(*shared)->streams);
    h2_nv_destroy(&(*shared)->nv);
    free(*shared);
    *shared = NULL;
}

void front_h2_shared_trim(struct front_h2_shared *shared)
{
    if (!shared)
        return;
    pool_trim(&shared->streams);
    h2_nv_trim(shared->nv);
}

enum h2_sniff front_h2_sniff(const char *p, size_t n)
{
    struct str preface = H2_PREFACE;
    size_t look = n < preface.n ? n : preface.n;
    if (memcmp(p, preface.p, look) != 0)
        return H2_SNIFF_NO;
    return look == preface.n ? H2_SNIFF_YES : H2_SNIFF_MORE;
}

/* ---- birth and end ---- */

static struct h2_server_limits limits_of(const struct listener_settings *l)
{
    const struct h2_settings *o = &l->h2;
    return (struct h2_server_limits){
        .head = {.bytes = (uint32_t)l->max_header_bytes,
                 .path_bytes = (uint32_t)l->max_line_bytes,
                 .fields = (uint16_t)l->max_header_count},
        .streams = (uint32_t)o->max_streams,
        .stream_window = (uint32_t)o->stream_window_bytes,
        .connection_window = (uint32_t)o->connection_window_bytes,
        .reset_burst = (uint32_t)o->max_resets,
        .reset_rate = (uint32_t)o->reset_rate,
        .control_burst = (uint32_t)o->max_control,
        .control_rate = (uint32_t)o->control_rate,
        .continuations = (uint32_t)o->max_continuations,
        .queued_frames = (uint32_t)o->max_queued_frames,
        .extended_connect = o->websocket,
    };
}

/* As many requests as may be open find room, with little in them, and leave some to answers. */
static void set_quotas(struct h2_session *h, const struct h2_settings *o)
{
    uint64_t least = (uint64_t)o->max_streams * H2_STREAM_BYTES, most = o->max_memory_bytes / 4 * 3;
    h->requests.limit_bytes = most > least ? most : least;
    h->requests.whole = &h->memory;
    h->memory.limit_bytes = h->requests.limit_bytes + o->max_memory_bytes / 16;
    h->answers.limit_bytes = o->max_memory_bytes / 16;
}

static struct h2_session *h2_session_create(struct session *s)
{
    struct pworker *pw = s->pw;
    struct h2_server_limits limits = limits_of(s->listener);
    if (!pw->h2)
        pw->h2 = front_h2_shared_create();
    struct h2_session *h = pw->h2 ? calloc(1, sizeof *h) : NULL;
    if (!h)
        return NULL;
    h->s = s;
    list_init(&h->streams);
    set_quotas(h, &s->listener->h2);
    h->srv = h2_server_create(&front_h2_events, h, &limits, pw->h2->nv);
    if (!h->srv) {
        free(h);
        return NULL;
    }
    ledger_add(&pw->ledger.row->h2_sessions, 1);
    ledger_add(&pw->ledger.row->h2_sessions_begun, 1);
    return h;
}

/* How long this turn has read requests of HTTP/2. */
static uint64_t *spent_ns(struct pworker *pw)
{
    struct front_h2_shared *shared = pw->h2;
    if (shared->turn_ns != pw->w.turn_ns) {
        shared->turn_ns = pw->w.turn_ns;
        shared->spent_ns = shared->unruly_ns = 0;
    }
    return &shared->spent_ns;
}

static void take_bytes(struct h2_session *h, const char *p, size_t n)
{
    struct worker *w = &h->s->pw->w;
    worker_read_clock(w);
    uint64_t began_ns = w->now_ns;
    h->in_codec = true;
    if (!h2_server_recv(h->srv, p, n, h->s->pw->w.now_ms))
        h->closing = true;
    front_h2_gathered(h->s->pw->h2);
    front_h2_start(h);
    h->in_codec = false;
    worker_read_clock(w);
    *spent_ns(h->s->pw) += w->now_ns - began_ns;
    if (h2_server_is_unruly(h->srv))
        h->s->pw->h2->unruly_ns += w->now_ns - began_ns;
    uint32_t block = h2_server_block(h->srv);
    if (!h->began && h2_server_has_begun(h->srv)) {
        h->began = true; /* from now on it is idle as others are */
        session_set_state(h->s, (enum session_state)h->s->state);
    }
    if (!block)
        h->block_since_ms = 0;
    else if (!h->block_since_ms || block != h->block)
        h->block_since_ms = h->s->pw->w.now_ms;
    h->block = block;
}

bool front_h2_begin(struct session *s, const char *p, size_t n)
{
    ASSERT(!s->x && !s->h2 && s->state == SESSION_IDLE);
    s->h2 = h2_session_create(s);
    if (!s->h2)
        return false;
    s->conn.on_ready = front_h2_on_ready;
    if (s->pw->draining)
        front_h2_drain(s);
    if (n)
        take_bytes(s->h2, p, n);
    h2_wake(s->h2);
    return true;
}

/* Exchanges first, while the codec still knows their streams. */
static void end_streams(struct h2_session *h, enum reason why)
{
    bool broken = h->s->broken;
    h->closing = true;
    h->s->broken = true; /* no answer is made for anybody any more */
    for (struct list *n = h->streams.next; n != &h->streams; n = n->next) {
        struct stream *t = CONTAINER_OF(n, struct stream, node);
        struct exchange *x = stream_exchange(t);
        if (x)
            exchange_request_failed(x, why);
        ASSERT(!t->x);
    }
    h->s->broken = broken;
}

void front_h2_cut(struct session *s, enum reason why)
{
    end_streams(s->h2, why);
}

void front_h2_free(struct session *s)
{
    struct h2_session *h = s->h2;
    struct ledger_row *row = s->pw->ledger.row;
    h2_server_destroy(&h->srv);
    while (!list_is_empty(&h->streams)) {
        struct stream *t = CONTAINER_OF(list_shift(&h->streams), struct stream, node);
        ASSERT(!t->x);
        t->magic = 0;
        pool_give(&s->pw->h2->streams, t);
    }
    ASSERT(!h->memory.used_bytes && !h->answers.used_bytes);
    ledger_add(&row->h2_streams, -(uint64_t)h->stream_count);
    ledger_add(&row->h2_sessions, UINT64_MAX);
    if (s->pw->h2->urgent == h)
        s->pw->h2->urgent = NULL;
    free(h);
    s->h2 = NULL;
}

void front_h2_lost(struct h2_session *h, enum reason why)
{
    struct session *s = h->s;
    s->broken = true;
    end_streams(h, why);
    session_close(s, true);
}

/* All that was to be said is with the kernel: FIN, and what still comes is thrown away (by the HTTP/1 front,
 * which lingers for all). */
static void leave(struct h2_session *h)
{
    struct session *s = h->s;
    end_streams(h, REASON_CLIENT_GONE);
    front_h2_free(s);
    s->conn.on_ready = front_h1_on_ready;
    if (s->state == SESSION_STREAMS)
        session_set_state(s, SESSION_IDLE);
    session_linger(s);
}

/* ---- writing ---- */

static bool is_over(const struct h2_session *h)
{
    if (h2_server_wants_send(h->srv) || sink_is_blocked(&h->s->sink))
        return false;
    return h->closing || h2_server_is_over(h->srv) || (h2_server_is_shut(h->srv) && !h->stream_count) ||
           (h->s->conn.eof && !h->stream_count);
}

static bool send_some(struct h2_session *h)
{
    struct session *s = h->s;
    uint64_t before = h->emitted_bytes;
    if (sink_is_blocked(&s->sink))
        return true;
    h->in_codec = true;
    bool sent = h2_server_send(h->srv, SEND_BYTES);
    h->in_codec = false;
    if (!sent || !sink_flush(&s->sink))
        return false;
    if (h2_server_why(h->srv))
        h->closing = true;
    if (h->emitted_bytes != before && h2_server_wants_send(h->srv) && !sink_is_blocked(&s->sink))
        h2_wake(h);
    return true;
}

static void watch_write(struct h2_session *h)
{
    struct session *s = h->s;
    if (s->sink.sent_bytes == h->write_progress && sink_is_blocked(&s->sink) && h->write_seen_ms)
        return;
    bool watched = h->write_seen_ms != 0;
    h->write_progress = s->sink.sent_bytes;
    h->write_seen_ms = sink_is_blocked(&s->sink) ? s->pw->w.now_ms : 0;
    if (watched && !h->write_seen_ms && s->state == SESSION_IDLE && !h->notice_ms)
        session_set_state(s, SESSION_IDLE); /* all has left: the idle time-out again */
    if (h->write_seen_ms && s->state == SESSION_IDLE)
        worker_deadline(&s->pw->w, &s->deadline, front_h2_tick_ms(s));
}

/* There is room again: answers that were left with their servers are asked for, oldest first. */
static void relieve(struct h2_session *h)
{
    uint64_t used = h->memory.used_bytes + h->answers.used_bytes;
    if (used > h->s->listener->h2.max_memory_bytes / 2 && h->answers.used_bytes > h->answers.limit_bytes / 2)
        return;
    h->crowded = false;
    for (struct list *n = h->streams.next; n != &h->streams; n = n->next) {
        struct stream *t = CONTAINER_OF(n, struct stream, node);
        if (t->x)
            exchange_room_again(t->x);
    }
}

static void pump(struct h2_session *h)
{
    if (!send_some(h)) {
        front_h2_lost(h, REASON_CLIENT_GONE);
        return;
    }
    if (h->closing && h->stream_count)
        end_streams(h, h2_server_why(h->srv) ? h2_server_why(h->srv) : REASON_CLIENT_GONE);
    if (is_over(h)) {
        leave(h);
        return;
    }
    if (h->crowded)
        relieve(h);
    watch_write(h);
}

void front_h2_hurry(struct pworker *pw)
{
    struct h2_session *h = pw->h2 ? pw->h2->urgent : NULL;
    if (!h)
        return;
    pw->h2->urgent = NULL;
    pump(h);
}

/* ---- reading ---- */

/* Nobody sends half a request any more; answers to whole ones are still wanted. */
static void on_eof(struct h2_session *h)
{
    for (struct list *n = h->streams.next; n != &h->streams; n = n->next) {
        struct stream *t = CONTAINER_OF(n, struct stream, node);
        struct exchange *x = stream_exchange(t);
        if (x && (!t->h2.remote_ended || x->state == EXCHANGE_HOLD || x->is_tunnel))
            exchange_request_failed(x, REASON_CLIENT_GONE);
    }
}

/* False: the session is gone. */
static bool read_some(struct h2_session *h)
{
    struct session *s = h->s;
    char *buf = s->pw->w.scratch;
    ssize_t got = conn_read(&s->conn, buf, WORKER_READ_BYTES);
    if (got == CONN_ERROR) {
        front_h2_lost(h, REASON_CLIENT_GONE);
        return false;
    }
    if (got > 0 && !h->closing)
        take_bytes(h, buf, (size_t)got);
    else if (got == 0)
        on_eof(h);
    if (s->conn.may_read)
        h2_wake(h);
    return true;
}

/* A client that does not take the answers that it has asked for asks for no more (T17): what it sends waits
 * with the kernel until the socket has taken what lies here. Few requests do not count as that: their
 * uploads, resets and window updates are worth more. */
static bool is_choked(struct h2_session *h)
{
    return h->stream_count >= UNREAD_STREAMS && sink_is_blocked(&h->s->sink);
}

/* It could not send meanwhile, which is not its fault. */
static void excuse(struct h2_session *h)
{
    uint64_t now = h->s->pw->w.now_ms;
    h->choked = false;
    if (h->block_since_ms)
        h->block_since_ms = now;
    for (struct list *n = h->streams.next; n != &h->streams; n = n->next) {
        struct stream *t = CONTAINER_OF(n, struct stream, node);
        t->body_started_ms = t->body_seen_ms = now;
        t->body_bytes = 0;
    }
}

/* One read may bring a hundred requests. When all connections have some at once, those that have waited for
 * their first byte of anything else must not wait for all of them: the rest comes with the next turn. */
static bool is_turn_over(const struct h2_session *h)
{
    struct pworker *pw = h->s->pw;
    uint64_t spent = *spent_ns(pw);
    if (pw->h2->unruly_ns >= UNRULY_NS && h2_server_is_unruly(h->srv))
        return true;
    return spent >= REQUESTS_NS && spent >= worker_busy_ns(&pw->w) / 2;
}

static bool may_read(struct h2_session *h)
{
    if (is_choked(h)) {
        h->choked = true;
        return false;
    }
    if (h->choked)
        excuse(h);
    if (!is_turn_over(h))
        return true;
    h2_wake(h);
    return false;
}

static void step(struct h2_session *h)
{
    struct session *s = h->s;
    if (s->conn.broken || (s->conn.may_write && sink_is_blocked(&s->sink) && !sink_drain(&s->sink))) {
        front_h2_lost(h, REASON_CLIENT_GONE);
        return;
    }
    if (s->conn.may_read && may_read(h) && !read_some(h))
        return;
    pump(h);
}

void front_h2_on_ready(struct conn *c)
{
    struct session *s = CONTAINER_OF(c, struct session, conn);
    struct worker *w = c->worker;
    CHECK_MAGIC(s, SESSION_MAGIC);
    if (s->state != SESSION_CLOSED && s->h2)
        step(s->h2);
    cork_flush(w);
}

/* ---- time ---- */

void front_h2_drain(struct session *s)
{
    struct h2_session *h = s->h2;
    if (h->notice_ms)
        return;
    h->notice_ms = s->pw->w.now_ms;
    h2_server_shutdown(h->srv);
    if (s->state == SESSION_IDLE)
        worker_deadline(&s->pw->w, &s->deadline, NOTICE_MS);
    h2_wake(h);
}

void front_h2_rest(struct session *s)
{
    if (!s->h2->stream_count)
        h2_server_rest(s->h2->srv);
}

uint64_t front_h2_tick_ms(const struct session *s)
{
    const struct listener_settings *l = s->listener;
    uint64_t ms = TICK_MS;
    ms = l->client_body_timeout_ms < ms ? l->client_body_timeout_ms : ms;
    ms = l->client_write_timeout_ms < ms ? l->client_write_timeout_ms : ms;
    return l->client_header_timeout_ms < ms ? l->client_header_timeout_ms : ms;
}

/* The request body: silent for too long, or too slow on average (H32). */
static bool is_body_slow(const struct stream *t, uint64_t now)
{
    const struct listener_settings *l = t->h->s->listener;
    const struct exchange *x = t->x;
    if (t->h2.remote_ended || x->state == EXCHANGE_HEAD || x->request_paused || x->is_tunnel)
        return false;
    if (exchange_awaits_continue(x))
        return false; /* it waits for a 100 of the server, which has its own time-out */
    if (t->connect)
        return false; /* no body before it is a tunnel */
    if (x->head_forwarded && x->back_state && patience_is_conversation(x))
        return false; /* proxy/patience.h watches over it */
    if (now - t->body_seen_ms >= l->client_body_timeout_ms)
        return true;
    uint64_t took = now - t->body_started_ms;
    return l->client_body_min_rate && took > RATE_GRACE_MS &&
           t->body_bytes * 1000 / took < l->client_body_min_rate;
}

/* The answer waits for room that the client does not make, or makes by the spoon (T6). */
static bool is_stalled(struct stream *t, uint64_t now)
{
    const struct listener_settings *l = t->h->s->listener;
    struct exchange *x = t->x;
    if (!pipe_queued(&x->rsp_body) || x->is_tunnel || !h2_server_is_stalled(t->h->srv, &t->h2)) {
        t->stall_ms = 0;
        return false;
    }
    uint64_t took = now - t->stall_ms;
    if (t->stall_ms && took < l->client_write_timeout_ms)
        return false;
    uint64_t need = l->h2.min_rate * took / 1000;
    if (!t->stall_ms)
        ledger_add(&x->pw->ledger.row->h2_stalls, 1);
    bool stalled = t->stall_ms && x->tx_bytes - t->stall_bytes < (need ? need : 1);
    t->stall_ms = now;
    t->stall_bytes = x->tx_bytes;
    return stalled;
}

static void check_streams(struct h2_session *h)
{
    uint64_t now = h->s->pw->w.now_ms;
    for (struct list *n = h->streams.next; n != &h->streams; n = n->next) {
        struct stream *t = CONTAINER_OF(n, struct stream, node);
        if (!t->x && t->over_ms && !t->h2.remote_ended && now - t->over_ms >= H2_DRAIN_MS)
            h2_server_reset(h->srv, &t->h2, REASON_OK);
        if (t->x && !h->choked && is_body_slow(t, now))
            exchange_request_failed(t->x, REASON_CLIENT_BODY_TIMEOUT);
        if (t->x && t->x->is_tunnel && t->h2.remote_ended && !t->x->request_ended)
            exchange_request_end(t->x, NULL); /* its end came before the server's 101 */
        if (t->x && h->s->conn.eof && h2_server_is_stalled(h->srv, &t->h2))
            exchange_request_failed(t->x, REASON_CLIENT_GONE); /* who sent FIN opens no window any more */
        if (t->x && is_stalled(t, now))
            exchange_request_failed(t->x, REASON_CLIENT_WRITE_TIMEOUT);
    }
}

static bool is_late(uint64_t since, uint64_t now, uint64_t limit)
{
    return since && now - since >= limit;
}

void front_h2_on_timeout(struct session *s)
{
    struct h2_session *h = s->h2;
    const struct listener_settings *l = s->listener;
    uint64_t now = s->pw->w.now_ms;
    /* A reset that came along with data is not announced again, and not every stream writes. */
    if (h->stream_count && conn_ask_peer(&s->conn) == CONN_ERROR) {
        front_h2_lost(h, REASON_CLIENT_GONE);
        return;
    }
    if (is_late(h->write_seen_ms, now, l->client_write_timeout_ms)) {
        front_h2_lost(h, REASON_CLIENT_WRITE_TIMEOUT);
        return;
    }
    if (!h->choked && is_late(h->block_since_ms, now, l->client_header_timeout_ms)) {
        h2_server_fail(h->srv, REASON_H2_FLOOD); /* T3 */
        h->closing = true;
    } else if (h->notice_ms) {
        if (now - h->notice_ms >= NOTICE_MS)
            h2_server_shutdown(h->srv);
    } else if (s->state == SESSION_IDLE && !h->write_seen_ms) {
        h2_server_fail(h->srv, REASON_OK);
        h->closing = true;
    }
    check_streams(h);
    worker_deadline(&s->pw->w, &s->deadline, front_h2_tick_ms(s));
    pump(h);
}
