#include "proxy/session.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "proxy/berth.h"
#include "proxy/front_h2.h"
#include "proxy/intro.h"
#include "proxy/proxy.h"

#define LINGER_MS          2000  /* without a byte from the client */
#define LINGER_TOTAL_MS    30000 /* an uploader gets this long to see our early answer before the reset */
#define BODY_RATE_GRACE_MS 10000

static void on_run(struct run_node *n)
{
    struct session *s = CONTAINER_OF(n, struct session, run);
    s->conn.on_ready(&s->conn);
}

/* No byte of the answer was taken for the whole time-out. */
static bool write_is_stuck(struct session *s)
{
    if (!s->write_watched)
        return false;
    if (s->sink.sent_bytes != s->write_progress) {
        s->write_progress = s->sink.sent_bytes;
        s->write_seen_ms = s->pw->w.now_ms;
    }
    return s->pw->w.now_ms - s->write_seen_ms >= s->listener->client_write_timeout_ms;
}

static bool body_is_slow(const struct session *s)
{
    const struct listener_settings *l = s->listener;
    uint64_t now = s->pw->w.now_ms, took = now - s->body_started_ms;
    if (s->state != SESSION_BODY || !s->x || s->x->request_paused)
        return false;
    if (exchange_awaits_continue(s->x))
        return false; /* it waits for a 100 of the server, which has its own time-out */
    if (now - s->body_seen_ms >= l->client_body_timeout_ms)
        return true;
    return l->client_body_min_rate && took > BODY_RATE_GRACE_MS &&
           s->body_bytes * 1000 / took < l->client_body_min_rate;
}

static void check_busy(struct session *s)
{
    const struct listener_settings *l = s->listener;
    if (write_is_stuck(s)) {
        s->broken = true;
        exchange_request_failed(s->x, REASON_CLIENT_WRITE_TIMEOUT);
        return;
    }
    if (body_is_slow(s)) {
        s->close_after = true;
        exchange_request_failed(s->x, REASON_CLIENT_BODY_TIMEOUT);
        return;
    }
    uint64_t next = s->write_watched ? l->client_write_timeout_ms : l->client_body_timeout_ms;
    if (s->state == SESSION_BODY && next > 1000)
        next = 1000; /* the rate is looked at once a second */
    if (s->state == SESSION_BODY || s->write_watched)
        worker_deadline(&s->pw->w, &s->deadline, next);
}

/* 408, but not for stray line ends behind a request: nobody waits for an answer to those. */
static void on_head_timeout(struct session *s)
{
    bool stray = s->request_count > 0;
    for (uint32_t i = 0; stray && i < s->in_len; i++)
        stray = s->in[i] == '\r' || s->in[i] == '\n';
    s->close_after = true;
    s->broken |= stray;
    session_set_state(s, SESSION_WAIT);
    exchange_reply(s->x, REASON_CLIENT_HEADER_TIMEOUT);
}

static void on_timeout(struct deadline *d)
{
    struct session *s = CONTAINER_OF(d, struct session, deadline);
    struct worker *w = &s->pw->w;
    CHECK_MAGIC(s, SESSION_MAGIC);
    if (s->h2) {
        front_h2_on_timeout(s);
        cork_flush(w);
        return;
    }
    switch (s->state) {
    case SESSION_HEAD:
        on_head_timeout(s);
        break;
    case SESSION_BODY:
    case SESSION_WAIT:
    case SESSION_TUNNEL:
        if (s->x)
            check_busy(s);
        break;
    case SESSION_IDLE:
    case SESSION_DRAIN:
        session_linger(s);
        break;
    default: /* HANDSHAKE, LINGER */
        if (s->state == SESSION_HANDSHAKE)
            secure_count_failed(s, TLS_FAIL_TIMEOUT);
        session_close(s, false);
    }
    cork_flush(w);
}

/* The time-out that belongs to a state. */
static uint64_t timeout_of(const struct session *s)
{
    const struct listener_settings *l = s->listener;
    switch (s->state) {
    case SESSION_IDLE:
        return l->client_idle_timeout_ms;
    case SESSION_HANDSHAKE:
        return l->tls.handshake_timeout_ms;
    case SESSION_HEAD:
        return l->client_header_timeout_ms;
    case SESSION_BODY:
        return l->client_body_timeout_ms < 1000 ? l->client_body_timeout_ms : 1000;
    case SESSION_STREAMS:
        return front_h2_tick_ms(s);
    case SESSION_DRAIN:
    case SESSION_LINGER:
        return LINGER_MS;
    default:
        return 0;
    }
}

static void move_list(struct session *s)
{
    struct pworker *pw = s->pw;
    list_remove(&s->node);
    if (s->state == SESSION_CLOSED)
        return;
    list_push(s->state == SESSION_IDLE ? &pw->idle_sessions : &pw->sessions, &s->node);
}

void session_set_state(struct session *s, enum session_state state)
{
    bool was_idle = s->state == SESSION_IDLE, is_idle = state == SESSION_IDLE;
    ASSERT(s->state != SESSION_CLOSED);
    s->state = (uint8_t)state;
    if (was_idle != is_idle || state == SESSION_CLOSED)
        move_list(s);
    if (state != SESSION_CLOSED && !s->write_watched)
        worker_deadline(&s->pw->w, &s->deadline, timeout_of(s));
}

/* False: this address has all the connections that it may have. */
static bool enter_limits(struct session *s)
{
    const struct listener_settings *l = s->listener;
    if (!l->max_sessions_per_client || s->family == AF_UNIX || s->trusted)
        return true;
    if (!l->limit_loopback && clients_is_loopback(s->ip))
        return true;
    s->limited = clients_enter(s->pw->proxy->clients, s->ip, (uint32_t)l->max_sessions_per_client);
    if (!s->limited)
        LOG_LIMITED(LOG_WARN, 1, "listener %s: a client has %lld connections, one more was refused", l->name,
                    (long long)l->max_sessions_per_client);
    return s->limited;
}

/* A client at a unix socket is as local as loopback; but not one that sits at a proxy's unix socket. */
static void set_peer(struct session *s, const struct addr *peer, const struct addr *local, bool is_proxied)
{
    s->family = (uint8_t)peer->sa.sa_family;
    s->port = addr_port(peer);
    if (addr_ip16(peer, s->ip))
        s->trusted = cidr_list_has(&s->listener->trusted, s->ip);
    else
        s->trusted = !is_proxied && s->listener->trusted.count > 0;
    s->local_port = addr_port(local);
    (void)addr_ip16(local, s->local_ip);
}

/* Whose connection it is. False when memory is out. */
static bool set_origin(struct session *s, const struct addr *peer, const struct proxyproto *said)
{
    const struct addr *bound = proxy_bound_to(s->pw->proxy, s->listener);
    struct addr local = {.len = sizeof local.un};
    if (said && !said->is_local) {
        set_peer(s, &said->from, &said->to, true);
        s->secure_before = said->has_tls && (said->tls_client & PROXYPROTO_TLS);
        return intro_keep(said, &s->proxied);
    }
    if (bound) {
        set_peer(s, peer, bound, false);
        return true;
    }
    if (getsockname(s->conn.fd, &local.sa, &local.len) < 0)
        local = (struct addr){.len = 0};
    set_peer(s, peer, &local, false);
    return true;
}

static void leave_limits(struct session *s)
{
    if (s->limited)
        clients_leave(s->pw->proxy->clients, s->ip);
    s->limited = false;
}

/* From now on the front listens. The first request has the time of a head, not of an idle keep-alive. */
static void begin_front(struct session *s)
{
    s->conn.on_ready = front_h1_on_ready;
    session_set_state(s, SESSION_IDLE);
    worker_deadline(&s->pw->w, &s->deadline, s->listener->client_header_timeout_ms);
}

/* conn.on_ready of a session that waits for TLS. */
static void on_secured(struct conn *c)
{
    struct session *s = CONTAINER_OF(c, struct session, conn);
    CHECK_MAGIC(s, SESSION_MAGIC);
    secure_count_accepted(s);
    if (c->broken) {
        session_close(s, false);
        return;
    }
    begin_front(s);
    if (conn_alpn(c) == ALPN_H2 && !front_h2_begin(s, NULL, 0))
        session_close(s, false);
    else
        c->on_ready(c);
}

static bool begin_secure(struct session *s)
{
    s->conn.on_ready = on_secured;
    s->state = SESSION_HANDSHAKE;
    worker_deadline(&s->pw->w, &s->deadline, timeout_of(s));
    return secure_accept(s);
}

/* An idle one that is in no loop yet; NULL (and fd closed) when memory is out. */
static struct session *make(struct pworker *pw, const struct listener_settings *listener, int fd)
{
    struct session *s = pool_take(&pw->session_pool);
    if (!s) {
        close(fd);
        return NULL;
    }
    memset(s, 0, sizeof *s);
    s->magic = SESSION_MAGIC;
    s->pw = pw;
    s->listener = listener;
    list_init(&s->node);
    list_init(&s->own_uplinks);
    s->may_be_h2 = listener->h2.prior_knowledge && !listener->tls.certificates.count;
    s->conn.fd = fd;
    return s;
}

/* False, and it is gone: the loop has no room. */
static bool join_loop(struct session *s, int fd)
{
    if (!conn_open(&s->conn, &s->pw->w, fd, front_h1_on_ready)) {
        leave_limits(s);
        free(s->proxied);
        pool_give(&s->pw->session_pool, s);
        return false;
    }
    sink_init(&s->sink, &s->conn);
    deadline_init(&s->deadline, on_timeout);
    run_node_init(&s->run, on_run);
    list_push(&s->pw->idle_sessions, &s->node);
    return true;
}

void session_open(struct pworker *pw, const struct listener_settings *listener, int fd,
                  const struct addr *peer, const struct proxyproto *said)
{
    struct session *s = make(pw, listener, fd);
    if (!s)
        return;
    if (!set_origin(s, peer, said) || !enter_limits(s)) {
        close(fd);
        free(s->proxied);
        pool_give(&pw->session_pool, s);
        return;
    }
    if (!join_loop(s, fd))
        return;
    pworker_count_session(pw, 1);
    ledger_add(&pw->ledger.row->accepted, 1);
    if (!listener->tls.certificates.count)
        begin_front(s);
    else if (!begin_secure(s))
        session_close(s, false);
}

struct session *session_revive(struct pworker *pw, const struct session_kept *kept)
{
    struct session *s = make(pw, kept->listener, kept->fd);
    if (!s || !join_loop(s, kept->fd)) {
        if (kept->limited)
            clients_leave(pw->proxy->clients, kept->ip);
        pworker_count_session(pw, -1);
        return NULL;
    }
    s->request_count = kept->request_count;
    s->may_be_h2 &= kept->request_count == 0;
    s->port = kept->port;
    s->local_port = kept->local_port;
    s->family = kept->family;
    s->trusted = kept->trusted;
    s->limited = kept->limited;
    s->secure_before = kept->secure_before;
    memcpy(s->ip, kept->ip, sizeof s->ip);
    memcpy(s->local_ip, kept->local_ip, sizeof s->local_ip);
    return s;
}

bool session_can_be_kept(const struct session *s)
{
    return !s->h2 && s->conn.ops == &conn_plain && s->conn.on_ready == front_h1_on_ready && !s->in &&
           !s->proxied && !s->write_watched && !s->close_after && !s->broken &&
           list_is_empty(&s->own_uplinks) && list_is_empty(&s->run.node) && sink_is_empty(&s->sink) &&
           !s->conn.may_read && !s->conn.peer_done;
}

/* conn.on_ready of a session whose exchange sleeps. */
static void on_disturbed(struct conn *c)
{
    struct session *s = CONTAINER_OF(c, struct session, conn);
    CHECK_MAGIC(s, SESSION_MAGIC);
    if (berth_leave(s->asleep))
        c->on_ready(c);
}

bool session_may_sleep(const struct session *s)
{
    return s->x && !s->h2 && s->state == SESSION_WAIT && s->conn.on_ready == front_h1_on_ready &&
           !s->write_watched && !s->broken && list_is_empty(&s->run.node) && sink_is_empty(&s->sink) &&
           !s->conn.broken && !s->conn.eof && !s->conn.peer_done;
}

void session_sleep(struct session *s, struct hold_place *place)
{
    s->x = NULL;
    s->asleep = place;
    s->conn.on_ready = on_disturbed;
}

void session_wake_up(struct session *s)
{
    s->asleep = NULL;
    s->conn.on_ready = front_h1_on_ready;
}

static void reclaim(struct parked *p)
{
    struct session *s = CONTAINER_OF(p, struct session, parked);
    s->magic = 0;
    pool_give(&s->pw->session_pool, s);
}

void session_give_up(struct session *s, struct session_kept *out_kept)
{
    ASSERT(s->state == SESSION_IDLE && !s->x && !s->in && !s->proxied);
    *out_kept = (struct session_kept){.listener = s->listener,
                                      .request_count = s->request_count,
                                      .port = s->port,
                                      .local_port = s->local_port,
                                      .family = s->family,
                                      .trusted = s->trusted,
                                      .limited = s->limited,
                                      .secure_before = s->secure_before};
    memcpy(out_kept->ip, s->ip, sizeof s->ip);
    memcpy(out_kept->local_ip, s->local_ip, sizeof s->local_ip);
    session_set_state(s, SESSION_CLOSED);
    deadline_stop(&s->pw->w.wheel, &s->deadline);
    run_queue_remove(&s->run);
    sink_fini(&s->sink);
    worker_park(&s->pw->w, &s->parked, reclaim);
    out_kept->fd = conn_release(&s->conn);
}

void session_close(struct session *s, bool reset)
{
    struct pworker *pw = s->pw;
    if (s->state == SESSION_CLOSED)
        return;
    ASSERT(!s->x);
    bool tls_was_abused = tls_failure(&s->conn) == TLS_FAIL_ABUSE;
    if (s->h2)
        front_h2_free(s);
    session_set_state(s, SESSION_CLOSED);
    deadline_stop(&pw->w.wheel, &s->deadline);
    run_queue_remove(&s->run);
    sink_fini(&s->sink);
    if (reset)
        conn_reset(&s->conn);
    else
        conn_close(&s->conn);
    free(s->in);
    s->in = NULL;
    free(s->proxied);
    s->proxied = NULL;
    while (!list_is_empty(&s->own_uplinks))
        uplink_close(CONTAINER_OF(s->own_uplinks.next, struct uplink, own));
    leave_limits(s);
    if (tls_was_abused)
        secure_count_failed(s, TLS_FAIL_ABUSE);
    pworker_count_session(pw, -1);
    acceptors_resume(pw);
    worker_park(&pw->w, &s->parked, reclaim);
}

void session_linger(struct session *s)
{
    if (s->state == SESSION_CLOSED || s->state == SESSION_LINGER)
        return;
    ASSERT(!s->x);
    if (s->conn.broken || s->broken) {
        session_close(s, true);
        return;
    }
    free(s->in);
    s->in = NULL;
    s->in_len = s->in_cap = 0;
    s->drained_bytes = 0;
    s->linger_until_ms = s->pw->w.now_ms + LINGER_TOTAL_MS;
    conn_shutdown(&s->conn);
    if (s->conn.eof) {
        session_close(s, false);
        return;
    }
    session_set_state(s, SESSION_LINGER);
    if (s->conn.may_read)
        front_h1_resume(s);
}

void session_go_on_lingering(struct session *s, bool got_some)
{
    if (s->pw->w.now_ms >= s->linger_until_ms) {
        session_close(s, true);
        return;
    }
    if (got_some)
        worker_deadline(&s->pw->w, &s->deadline, LINGER_MS);
    if (s->conn.may_read)
        front_h1_resume(s);
}

void session_drain(struct session *s)
{
    if (s->h2) {
        front_h2_drain(s);
        return;
    }
    if (s->state == SESSION_IDLE && !s->in_len && !s->conn.may_read)
        session_linger(s);
    else if (s->state == SESSION_HANDSHAKE)
        session_close(s, false);
}

bool session_keep_input(struct session *s, const char *p, size_t n)
{
    if (!n) {
        if (s->in)
            free(s->in);
        s->in = NULL;
        s->in_len = s->in_cap = 0;
        return true;
    }
    if (n > s->in_cap) {
        uint32_t cap = (uint32_t)(n < 2048                       ? 2048
                                  : n < WORKER_SCRATCH_BYTES / 2 ? n * 2
                                                                 : WORKER_SCRATCH_BYTES);
        char *grown = realloc(s->in, cap);
        if (!grown)
            return false;
        s->in = grown;
        s->in_cap = cap;
    }
    memcpy(s->in, p, n); /* p lies in the scratch buffer */
    s->in_len = (uint32_t)n;
    return true;
}
