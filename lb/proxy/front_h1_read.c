/* The reading half of the HTTP/1.x front: requests from the client. */
#include "base/panic.h"
#include "http/h1_parse.h"
#include "proxy/front_h2.h"
#include "proxy/proxy.h"

/* Of one client in one turn of the loop; then others have theirs. */
#define TURN_EXCHANGES 8
/* What is read and thrown away to keep a connection whose request was answered early (H20). */
#define DRAIN_BYTES_MAX (256u << 10)
/* Payload of small chunks that is handed on in one run. */
#define GATHER_BYTES 16384
/* As much may have left the socket and not come out of TLS. */
#define TLS_UNREAD_BYTES 32768

static struct session *session_of_conn(struct conn *c)
{
    struct session *s = CONTAINER_OF(c, struct session, conn);
    CHECK_MAGIC(s, SESSION_MAGIC);
    return s;
}

static struct h1_limits limits_of(const struct listener_settings *l)
{
    return (struct h1_limits){
        .line_bytes = (uint32_t)l->max_line_bytes,
        .head_bytes = (uint32_t)l->max_header_bytes,
        .field_count = (uint16_t)l->max_header_count,
    };
}

/* A refused head: answer and close; nothing behind it is ever parsed (H1 to H24). */
static void refuse(struct session *s, enum reason why)
{
    s->close_after = true;
    session_set_state(s, SESSION_WAIT); /* whatever comes is not looked at, even if the answer has to wait */
    ledger_add(&s->pw->ledger.row->unrouted, 1);
    exchange_reply(s->x, why);
}

static bool begin_exchange(struct session *s)
{
    s->x = exchange_create(s->pw, s, &front_h1);
    if (!s->x) {
        session_close(s, false);
        return false;
    }
    s->parser = (struct h1_parser){0};
    return true;
}

/* The head is whole: its text moves into the exchange's arena, its body is set up, and off it goes. */
static void start_exchange(struct session *s, const char *p, size_t head_bytes)
{
    struct exchange *x = s->x;
    struct str text = arena_copy(&x->arena, str_make(p, head_bytes));
    if (!text.p) {
        refuse(s, REASON_NO_MEMORY);
        return;
    }
    x->req.base = text.p;
    x->req.head_len = (uint32_t)head_bytes;
    s->request_count++;
    h1_body_init(&s->body, &x->req);
    s->body_bytes = 0;
    s->body_started_ms = s->body_seen_ms = s->pw->w.now_ms;
    session_set_state(s, s->body.done ? SESSION_WAIT : SESSION_BODY);
    if (s->body.done)
        x->request_ended = true; /* known before the answer: decides about keep-alive */
    if (session_is_secure(s))
        x->req.flags |= MSG_SECURE;
    exchange_start(x);
    if (s->x == x && x->state != EXCHANGE_DONE && s->state == SESSION_WAIT)
        exchange_request_end(x, NULL);
}

/* The first bytes of a connection. True: they begin the preface of HTTP/2, or may do so; *out_used of them
 * are used up. */
static bool take_preface(struct session *s, const char *p, size_t n, size_t *out_used)
{
    enum h2_sniff what = front_h2_sniff(p, n);
    *out_used = what == H2_SNIFF_YES ? n : 0;
    if (what == H2_SNIFF_MORE)
        return true;
    s->may_be_h2 = false;
    if (what == H2_SNIFF_YES && !front_h2_begin(s, p, n))
        session_close(s, false);
    return what == H2_SNIFF_YES;
}

/* Each consumer uses up some of p[0..n) and returns how much; 0: needs more bytes, or must wait. */
static size_t take_head(struct session *s, const char *p, size_t n)
{
    struct h1_limits limits = limits_of(s->listener);
    size_t used;
    if (s->may_be_h2 && take_preface(s, p, n, &used))
        return used;
    if (!s->x && !begin_exchange(s))
        return n;
    struct message *m = &s->x->req;
    m->base = p;
    int got = h1_parse_request(&s->parser, p, n, &limits, m);
    if (got == H1_MORE) {
        if (s->state == SESSION_IDLE)
            session_set_state(s, SESSION_HEAD); /* a head that comes whole never sees this state */
        return 0;
    }
    if (got < 0) {
        m->base = "";
        m->head_len = 0;
        refuse(s, (enum reason) - got);
        return n; /* never look at it again */
    }
    start_exchange(s, p, (size_t)got);
    return (size_t)got;
}

static void body_failed(struct session *s, enum reason why)
{
    s->close_after = true;
    if (!s->x) {
        session_linger(s);
        return;
    }
    session_set_state(s, SESSION_WAIT); /* nothing behind the fault is parsed */
    exchange_request_failed(s->x, why);
}

static size_t take_trailers(struct session *s, const char *p, size_t n)
{
    struct h1_limits limits = limits_of(s->listener);
    struct message m;
    struct h1_parser parser = {0};
    message_init(&m, s->pw->fields, (uint16_t)s->listener->max_header_count);
    m.base = p;
    int got = h1_parse_fields(&parser, p, n, &limits, false, &m);
    if (got == H1_MORE)
        return 0;
    if (got < 0) {
        body_failed(s, got == -REASON_HEAD_LIMIT ? REASON_HEAD_LIMIT : REASON_TRAILER);
        return n;
    }
    m.head_len = (uint32_t)got;
    h1_body_trailers_done(&s->body);
    if (s->state == SESSION_BODY) {
        session_set_state(s, SESSION_WAIT);
        exchange_request_end(s->x, &m);
    }
    return (size_t)got;
}

/* A chunk that announces more than may come is refused before its bytes are waited for. */
static bool is_over_limit(const struct session *s, size_t more)
{
    uint64_t limit = s->listener->max_body_bytes;
    return limit && s->state == SESSION_BODY && s->body.framing == BODY_CHUNKED &&
           (s->body.left > limit || s->x->rx_bytes + more > limit - s->body.left);
}

/* One run of payload, or that of many small chunks moved together in the scratch buffer, so that a client
 * cannot make us write a byte at a time (H7). Returns the bytes used, or -(enum reason). */
static ssize_t gather(struct session *s, const char *p, size_t n, struct str *out_data)
{
    size_t used = 0;
    *out_data = STR_NULL;
    for (;;) {
        struct str run;
        ssize_t step = h1_body_step(&s->body, p + used, n - used, &run);
        if (step < 0)
            return step;
        used += (size_t)step;
        h1_body_join(out_data, run);
        if (is_over_limit(s, out_data->n))
            return -REASON_BODY_LIMIT;
        if (step == 0 || used == n || s->body.done || s->body.in_trailers ||
            s->body.framing != BODY_CHUNKED || out_data->n >= GATHER_BYTES)
            return (ssize_t)used;
    }
}

/* In SESSION_DRAIN payload goes nowhere. */
static size_t take_body(struct session *s, const char *p, size_t n)
{
    struct str data;
    if (s->body.in_trailers)
        return take_trailers(s, p, n);
    ssize_t used = gather(s, p, n, &data);
    if (used < 0) {
        body_failed(s, (enum reason) - used);
        return n;
    }
    s->body_bytes += data.n;
    s->body_seen_ms = s->pw->w.now_ms;
    if (s->state == SESSION_DRAIN) {
        s->drained_bytes += (uint64_t)used;
    } else if (data.n) {
        exchange_request_data(s->x, data.p, data.n);
    }
    if (s->body.done && s->state == SESSION_BODY && s->x) {
        session_set_state(s, SESSION_WAIT);
        exchange_request_end(s->x, NULL);
    }
    return (size_t)used;
}

static size_t drain_body(struct session *s, const char *p, size_t n)
{
    size_t used = take_body(s, p, n);
    if (s->state != SESSION_DRAIN)
        return used;
    if (s->body.done)
        front_h1_next(s);
    else if (s->drained_bytes > DRAIN_BYTES_MAX)
        session_linger(s);
    return used;
}

static size_t take_tunnel(struct session *s, const char *p, size_t n)
{
    s->body_seen_ms = s->pw->w.now_ms;
    exchange_request_data(s->x, p, n);
    return n;
}

/* May bytes be used up in this state? */
static bool is_hungry(struct session *s)
{
    switch (s->state) {
    case SESSION_IDLE:
    case SESSION_HEAD:
    case SESSION_DRAIN:
    case SESSION_LINGER:
        return true;
    case SESSION_BODY:
    case SESSION_TUNNEL:
        return exchange_can_take(s->x);
    default:
        return false;
    }
}

static size_t consume_once(struct session *s, const char *p, size_t n)
{
    switch (s->state) {
    case SESSION_IDLE:
    case SESSION_HEAD:
        return take_head(s, p, n);
    case SESSION_BODY:
        return take_body(s, p, n);
    case SESSION_DRAIN:
        return drain_body(s, p, n);
    case SESSION_TUNNEL:
        return take_tunnel(s, p, n);
    default:
        s->drained_bytes += n; /* LINGER, CLOSED */
        return n;
    }
}

/* Uses up what it can of p[0..n) within the budget; returns how much. */
static size_t consume(struct session *s, const char *p, size_t n)
{
    size_t used = 0;
    int budget = TURN_EXCHANGES;
    while (used < n && is_hungry(s)) {
        bool between = s->state == SESSION_IDLE;
        if (between && budget-- == 0) {
            front_h1_resume(s);
            break;
        }
        size_t step = consume_once(s, p + used, n - used);
        if (!step)
            break;
        used += step;
    }
    return used;
}

static void on_eof(struct session *s)
{
    switch (s->state) {
    case SESSION_IDLE:
    case SESSION_LINGER:
    case SESSION_DRAIN:
        session_close(s, false);
        break;
    case SESSION_HEAD:
    case SESSION_BODY:
        s->broken = true; /* no half request is ever answered: nobody waits for it */
        exchange_request_failed(s->x, REASON_CLIENT_GONE);
        break;
    case SESSION_TUNNEL:
        if (!s->x->request_ended)
            exchange_request_end(s->x, NULL);
        break;
    default: /* WAIT: half-closed, the answer is still wanted (RFC 9112 9.6) */
        s->close_after = true;
    }
}

static void on_broken(struct session *s)
{
    s->broken = true;
    if (s->x)
        exchange_request_failed(s->x, REASON_CLIENT_GONE);
    else
        session_close(s, true);
}

/* A short read says that the socket is empty, but not that it is alive: a reset that came along with the data
 * is not announced a second time (libevent shows EPOLLERR as readable and writable, nothing more). So whoever
 * still waits for bytes of a request reads once more. */
static bool look_again(struct session *s)
{
    if (s->state != SESSION_HEAD && s->state != SESSION_BODY && s->state != SESSION_TUNNEL)
        return false;
    s->conn.may_read = true;
    return true;
}

/* The client sent FIN: can what it sent before that, and nobody has read yet, be the rest of its request? */
static bool is_cut_short(const struct session *s)
{
    if (s->state != SESSION_BODY)
        return false;
    size_t have = s->in_len + conn_unread_bytes(&s->conn) + (conn_is_secure(&s->conn) ? TLS_UNREAD_BYTES : 0);
    return !have || (s->body.framing == BODY_LENGTH && s->body.left > have);
}

/* An event while nothing is to be read: is the client still there? A reset is asked for where bytes hide it,
 * but not in a tunnel: what came before it is the server's. A FIN alone may be a half-close, and then the
 * answer is still wanted; but nobody keeps a place in a waiting room for a client that has most likely left
 * it. */
static void look(struct session *s)
{
    if (!s->conn.may_read || !s->x)
        return;
    bool is_tunnel = s->state == SESSION_TUNNEL;
    int seen = is_tunnel ? conn_peek(&s->conn) : conn_ask_peer(&s->conn);
    if (seen == CONN_AGAIN && conn_is_secure(&s->conn))
        seen = conn_peek(&s->conn); /* the end may be said in TLS alone */
    if (seen == CONN_ERROR || (seen == 0 && (s->x->state == EXCHANGE_HOLD || is_cut_short(s))))
        on_broken(s);
}

/* Payload of a large body, from socket to socket. False: it has to be read. */
static bool splice_body(struct session *s)
{
    struct exchange *x = s->x;
    ssize_t got = x->back->splice(x, &s->conn, h1_body_run(&s->body));
    if (got == CONN_AGAIN)
        return !s->conn.may_read;
    if (got == CONN_ERROR)
        on_broken(s);
    else if (got == 0)
        on_eof(s);
    else if (got == CONN_BLOCKED) /* woken by want_request */
        look(s);
    if (got <= 0)
        return true;
    s->body_bytes += (uint64_t)got;
    s->body_seen_ms = s->pw->w.now_ms;
    h1_body_skip(&s->body, (uint64_t)got);
    exchange_request_spliced(x, (size_t)got);
    if (s->body.done) {
        session_set_state(s, SESSION_WAIT);
        exchange_request_end(x, NULL);
    } else
        front_h1_resume(s);
    return true;
}

static inline bool wants_splice(const struct session *s)
{
    return s->state == SESSION_BODY && s->conn.may_read && !s->in_len &&
           h1_body_run(&s->body) >= CONDUIT_WORTH_BYTES && exchange_can_splice_request(s->x);
}

/* Buffered bytes first, then one read behind them. */
static void read_some(struct session *s)
{
    char *buf = s->pw->w.scratch;
    size_t have = s->in_len;
    ssize_t got = 0;
    if (have)
        memcpy(buf, s->in, have);
    if (s->conn.may_read && have < WORKER_SCRATCH_BYTES - WORKER_READ_BYTES) {
        got = conn_read(&s->conn, buf + have, WORKER_READ_BYTES);
        if (got > 0)
            have += (size_t)got;
    }
    size_t used = have ? consume(s, buf, have) : 0;
    if (s->h2)
        return; /* it goes on from the run queue */
    if (s->state != SESSION_CLOSED && !session_keep_input(s, buf + used, have - used)) {
        on_broken(s);
        return;
    }
    if (s->state == SESSION_CLOSED)
        return;
    if (got == CONN_ERROR)
        on_broken(s);
    else if (s->conn.eof && (s->in_len == 0 || (is_hungry(s) && list_is_empty(&s->run.node))))
        on_eof(s); /* what is buffered but has to wait goes first */
    else if (s->state == SESSION_LINGER)
        session_go_on_lingering(s, got > 0);
    else if ((s->conn.may_read || (got > 0 && look_again(s))) && is_hungry(s))
        front_h1_resume(s);
}

static void drain_sink(struct session *s)
{
    if (!sink_drain(&s->sink)) {
        on_broken(s);
        return;
    }
    if (sink_is_blocked(&s->sink))
        return;
    s->write_watched = false;
    if (s->shut_pending)
        conn_shutdown(&s->conn);
}

static void step(struct session *s)
{
    if (s->conn.broken) {
        on_broken(s);
        return;
    }
    if (s->conn.may_write && sink_is_blocked(&s->sink))
        drain_sink(s);
    if (s->x && s->conn.may_write && !sink_is_blocked(&s->sink)) {
        s->write_watched = false;
        exchange_front_ready(s->x);
    }
    if (s->state == SESSION_CLOSED)
        return;
    if ((s->conn.may_read || s->in_len || s->conn.eof) && is_hungry(s)) {
        if (!wants_splice(s) || !splice_body(s))
            read_some(s);
    } else
        look(s);
}

void front_h1_on_ready(struct conn *c)
{
    struct session *s = session_of_conn(c);
    struct worker *w = c->worker;
    if (s->state != SESSION_CLOSED)
        step(s);
    cork_flush(w);
}

void front_h1_resume(struct session *s)
{
    if (s->state != SESSION_CLOSED)
        run_queue_add(&s->pw->w, &s->run);
}

/* A client that said "close" itself and sent its whole request sends nothing more that a reset could answer,
 * so there is nothing to linger for. */
static void end_session(struct session *s)
{
    if (s->client_closes && s->body.done && !s->in_len && !s->conn.may_read && s->conn.ops == &conn_plain)
        session_close(s, false);
    else
        session_linger(s);
}

void front_h1_next(struct session *s)
{
    s->drained_bytes = 0;
    if (s->conn.broken) {
        session_close(s, true);
        return;
    }
    if (!s->body.done && s->request_count && s->state == SESSION_BODY && !s->close_after) {
        session_set_state(s, SESSION_DRAIN);
        front_h1_resume(s);
        return;
    }
    if (s->close_after) {
        end_session(s);
        return;
    }
    session_set_state(s, SESSION_IDLE);
    if (s->in_len || s->conn.may_read || s->conn.eof)
        front_h1_resume(s);
}
