#include "proxy/uplink.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/panic.h"
#include "proxy/front_h2.h"
#include "proxy/patience.h"
#include "proxy/proxy.h"
#include "proxy/send_proxy.h"

/* Taken from a server at a time. With the heads of frames of HTTP/2, or those of records of TLS, that goes to
 * the client in a packet of the largest kind (that of the loopback interface, or of a card that cuts it up);
 * a little more would need a second one each time, which holds next to nothing. */
#define UPLINK_READ_BYTES (WORKER_READ_BYTES - 320)
/* Uplinks that are not kept: the server may close first, so that TIME_WAIT is not ours. */
#define UPLINK_CLOSE_WAIT_MS 1000

void uplink_count(struct pworker *pw, int delta)
{
    pw->uplink_count += (uint32_t)delta;
    ledger_set(&pw->ledger.row->uplinks, pw->uplink_count);
}

static void reclaim(struct parked *p)
{
    struct uplink *u = CONTAINER_OF(p, struct uplink, parked);
    u->magic = 0;
    pool_give(&u->pw->uplink_pool_mem, u);
}

static void leave_pool(struct uplink *u)
{
    if (!u->idle)
        return;
    u->idle = false;
    list_remove(&u->node);
    list_remove(&u->own);
    u->pw->pool.by_slot[u->slot]->count--;
}

static void dispose(struct uplink *u)
{
    struct pworker *pw = u->pw;
    if (!conn_is_open(&u->conn))
        return;
    leave_pool(u);
    deadline_stop(&pw->w.wheel, &u->deadline);
    run_queue_remove(&u->run);
    sink_fini(&u->sink);
    conn_close(&u->conn);
    free(u->in);
    u->in = NULL;
    list_remove(&u->all);
    uplink_count(pw, -1);
    worker_park(&pw->w, &u->parked, reclaim);
}

static void detach(struct uplink *u)
{
    struct exchange *x = u->x;
    u->x = NULL;
    if (!x)
        return;
    u->sink.quota = NULL;
    if (x->endpoint_counted) {
        struct ledger_endpoint *cell = &u->pw->ledger.endpoints[u->slot];
        ledger_add(&cell->tx_bytes, u->sink.sent_bytes - u->sent_before);
        ledger_add(&cell->rx_bytes, u->received_bytes);
    }
    x->back_state = NULL;
    exchange_endpoint_done(x);
}

void uplink_close(struct uplink *u)
{
    CHECK_MAGIC(u, UPLINK_MAGIC);
    detach(u);
    dispose(u);
}

bool uplink_has_sent(const struct uplink *u)
{
    return u->sink.sent_bytes > u->sent_before;
}

void uplink_fail(struct uplink *u, enum reason why)
{
    struct exchange *x = u->x;
    bool sent = uplink_has_sent(u), stale = u->reused && !u->got_bytes && why != REASON_SERVER_TIMEOUT;
    uplink_close(u);
    if (x)
        exchange_attempt_failed(x, why, sent, stale);
}

void uplink_look_at_patience(struct uplink *u)
{
    struct exchange *x = u->x;
    enum reason why = REASON_OK;
    uint64_t wait_ms = patience_left_ms(x, sink_is_blocked(&u->sink), u->moved_ms, &why);
    if (wait_ms)
        worker_deadline(&u->pw->w, &u->deadline, wait_ms);
    else if (why == REASON_SERVER_STALL)
        uplink_fail(u, why);
    else
        exchange_reply(x, why);
}

/* Nobody waits for it any more; the server closes, or we do a little later. */
static void wait_for_close(struct uplink *u)
{
    u->closing = true;
    if (u->conn.peer_done || u->conn.broken || sink_is_blocked(&u->sink)) {
        dispose(u);
        return;
    }
    worker_deadline(&u->pw->w, &u->deadline, UPLINK_CLOSE_WAIT_MS);
}

static bool may_pool(const struct uplink *u)
{
    const struct exchange *x = u->x;
    const struct cluster_options *opt = x->opt;
    if (u->conn.peer_done || u->conn.broken || !sink_is_empty(&u->sink) || u->pw->draining)
        return false;
    if (opt->max_uplink_requests && u->request_count >= opt->max_uplink_requests)
        return false;
    struct uplink_pool_entry *e = u->pw->pool.by_slot[u->slot];
    return e && e->count < opt->max_idle && addr_eq(&e->addr, &u->addr);
}

void uplink_give(struct uplink *u, bool keep)
{
    CHECK_MAGIC(u, UPLINK_MAGIC);
    struct pworker *pw = u->pw;
    uint64_t idle_ms = u->x->opt->idle_timeout_ms;
    struct session *s = u->x->session;
    keep = keep && may_pool(u);
    bool polite = !keep && u->request_done && sink_is_empty(&u->sink);
    detach(u);
    if (u->in)
        free(u->in);
    u->in = NULL;
    u->in_len = u->in_cap = 0;
    run_queue_remove(&u->run);
    if (!keep) {
        if (polite)
            wait_for_close(u);
        else
            dispose(u);
        return;
    }
    struct uplink_pool_entry *e = pw->pool.by_slot[u->slot];
    u->idle = true;
    e->count++;
    list_push(&e->idle, &u->node);
    if (u->introduced)
        list_push(&s->own_uplinks, &u->own);
    worker_deadline(&pw->w, &u->deadline, idle_ms);
}

/* The first bytes of a connected uplink, where its cluster wants a PROXY header. */
static bool introduce(struct uplink *u)
{
    if (u->x->opt->send_proxy == SEND_PROXY_OFF)
        return true;
    u->introduced = true;
    return send_proxy_begin(u);
}

static void start_talking(struct uplink *u)
{
    u->connecting = false;
    if (conn_is_secure(&u->conn))
        secure_count_connected(u);
    worker_deadline(&u->pw->w, &u->deadline, u->x->opt->response_timeout_ms);
    exchange_connected(u->x);
    u->ops->on_ready(u);
}

static void on_not_secured(struct uplink *u)
{
    LOG_LIMITED(LOG_WARN, 1, "cluster %.*s, endpoint %.*s: TLS handshake: %s, %s", STR_ARG(u->x->cluster->id),
                STR_ARG(endpoint_id(u->x->endpoint)), tls_failure_name(tls_failure(&u->conn)),
                tls_failure_text(&u->conn));
    uplink_fail(u, REASON_SERVER_TLS);
}

static void go_on_connecting(struct uplink *u);

/* The socket is connected; a PROXY header goes first, then TLS, then the request. */
static void on_connected(struct uplink *u)
{
    int err = conn_connect_error(&u->conn);
    if (err)
        log_debug("connect: errno %d", err);
    if (err || !introduce(u))
        uplink_fail(u, REASON_CONNECT_FAILED);
    else if (!u->x->opt->tls.enabled)
        start_talking(u);
    else if (!secure_connect(u, u->x->cluster, "http/1.1"))
        uplink_fail(u, REASON_NO_MEMORY);
    else if (tls_on_event(&u->conn))
        go_on_connecting(u); /* a server next door may be that fast */
}

static void go_on_connecting(struct uplink *u)
{
    if (!conn_is_secure(&u->conn)) {
        if (u->conn.may_write)
            on_connected(u);
    } else if (u->conn.broken)
        on_not_secured(u);
    else
        start_talking(u);
}

static void handle_ready(struct uplink *u)
{
    if (!conn_is_open(&u->conn))
        return;
    if (u->idle || u->closing) {
        /* Bytes or FIN on an uplink that has no request: never reused (H29). A bare EPOLLOUT says nothing. */
        if (!conn_is_quiet(&u->conn))
            dispose(u);
    } else if (u->connecting)
        go_on_connecting(u);
    else if (u->x)
        u->ops->on_ready(u);
}

static void on_ready(struct conn *c)
{
    struct uplink *u = CONTAINER_OF(c, struct uplink, conn);
    struct worker *w = c->worker;
    CHECK_MAGIC(u, UPLINK_MAGIC);
    handle_ready(u);
    front_h2_hurry(pworker_of(w));
    cork_flush(w);
}

static void on_run(struct run_node *n)
{
    on_ready(&CONTAINER_OF(n, struct uplink, run)->conn);
}

static void on_timeout(struct deadline *d)
{
    struct uplink *u = CONTAINER_OF(d, struct uplink, deadline);
    struct worker *w = &u->pw->w;
    CHECK_MAGIC(u, UPLINK_MAGIC);
    if (u->idle || u->closing || !u->x)
        dispose(u);
    else if (u->connecting)
        uplink_fail(u, REASON_CONNECT_TIMEOUT);
    else
        u->ops->on_timeout(u);
    cork_flush(w);
}

static struct uplink_pool_entry *pool_entry(struct pworker *pw, const struct endpoint *e)
{
    struct uplink_pool_entry **slot = &pw->pool.by_slot[e->slot];
    if (!*slot) {
        *slot = malloc(sizeof **slot);
        if (!*slot)
            return NULL;
        list_init(&(*slot)->idle);
        (*slot)->count = 0;
        (*slot)->slot = e->slot;
        (*slot)->addr = *e->addr;
    } else if (list_is_empty(&(*slot)->idle))
        (*slot)->addr = *e->addr; /* the endpoint moved while none was idle */
    return *slot;
}

static bool is_fit(struct uplink *u, const struct cluster *c, const struct endpoint *e)
{
    return addr_eq(&u->addr, e->addr) && conn_is_quiet(&u->conn) && secure_fits(u, c);
}

/* One that has spoken of this client already. */
static struct uplink *take_own(struct session *s, const struct cluster *c, const struct endpoint *e,
                               bool must_live)
{
    struct list *node = s->own_uplinks.next;
    while (node != &s->own_uplinks) {
        struct uplink *u = CONTAINER_OF(node, struct uplink, own);
        node = node->next;
        if (u->slot != e->slot)
            continue;
        if (is_fit(u, c, e) && (!must_live || conn_peek(&u->conn) == CONN_AGAIN)) {
            leave_pool(u);
            return u;
        }
        dispose(u);
    }
    return NULL;
}

/* The most recently used one: the others may grow old and close. */
static struct uplink *take_idle(struct pworker *pw, const struct cluster *c, const struct endpoint *e,
                                bool must_live)
{
    struct uplink_pool_entry *entry = pool_entry(pw, e);
    while (entry && !list_is_empty(&entry->idle)) {
        struct uplink *u = CONTAINER_OF(entry->idle.prev, struct uplink, node);
        bool fit = is_fit(u, c, e) && !u->introduced;
        /* A FIN may wait whose event this turn has not come to: what cannot be sent twice is worth a look. */
        if (fit && (!must_live || conn_peek(&u->conn) == CONN_AGAIN)) {
            leave_pool(u);
            return u;
        }
        dispose(u);
    }
    return NULL;
}

static struct uplink *open_uplink(struct pworker *pw, const struct cluster *c, const struct endpoint *e,
                                  enum reason *out_why)
{
    if (c->options.tls.enabled && !c->secure) { /* its files are no good */
        *out_why = REASON_SERVER_TLS;
        return NULL;
    }
    struct uplink *u = pool_take(&pw->uplink_pool_mem);
    if (!u) {
        *out_why = REASON_NO_MEMORY;
        return NULL;
    }
    memset(u, 0, sizeof *u);
    u->magic = UPLINK_MAGIC;
    u->pw = pw;
    u->slot = e->slot;
    u->addr = *e->addr;
    list_init(&u->node);
    list_init(&u->own);
    deadline_init(&u->deadline, on_timeout);
    run_node_init(&u->run, on_run);
    if (!conn_connect(&u->conn, &pw->w, e->addr, on_ready)) {
        *out_why =
            errno == EMFILE || errno == ENFILE || errno == ENOMEM ? REASON_NO_MEMORY : REASON_CONNECT_FAILED;
        pool_give(&pw->uplink_pool_mem, u);
        return NULL;
    }
    sink_init(&u->sink, &u->conn);
    u->connecting = !u->conn.may_write || c->options.tls.enabled;
    list_push(&pw->uplinks, &u->all);
    uplink_count(pw, 1);
    return u;
}

static void attach(struct uplink *u, struct exchange *x, const struct uplink_ops *ops)
{
    u->x = x;
    u->ops = ops;
    u->got_bytes = u->request_done = u->may_keep = u->head_done = u->chunked_out = u->last_sent = false;
    u->shut_pending = u->want_read = u->broken_write = u->head_due = false;
    u->request_count++;
    u->sent_before = u->sink.sent_bytes;
    u->received_bytes = 0;
    x->back_state = u;
    worker_deadline(&u->pw->w, &u->deadline,
                    u->connecting ? x->opt->connect_timeout_ms : x->opt->response_timeout_ms);
}

struct uplink *uplink_take(struct exchange *x, const struct uplink_ops *ops, bool reuse, enum reason *out_why)
{
    struct uplink *u = NULL;
    bool must_live = !method_is_idempotent(x->req.method);
    if (reuse && !x->fresh_uplink)
        u = x->opt->send_proxy == SEND_PROXY_OFF ? take_idle(x->pw, x->cluster, x->endpoint, must_live)
                                                 : take_own(x->session, x->cluster, x->endpoint, must_live);
    bool reused = u != NULL;
    if (!u)
        u = open_uplink(x->pw, x->cluster, x->endpoint, out_why);
    if (!u)
        return NULL;
    (void)pool_entry(x->pw, x->endpoint);
    attach(u, x, ops);
    u->reused = reused;
    if (!reused && !u->connecting && !introduce(u)) {
        uplink_close(u);
        *out_why = REASON_CONNECT_FAILED;
        return NULL;
    }
    if (!u->connecting)
        exchange_connected(x);
    ledger_add(&x->pw->ledger.endpoints[u->slot].requests, 1);
    *out_why = REASON_OK;
    return u;
}

bool uplink_keep_input(struct uplink *u, const char *p, size_t n, size_t max)
{
    if (!n) {
        if (u->in)
            free(u->in);
        u->in = NULL;
        u->in_len = u->in_cap = 0;
        return true;
    }
    if (n > max || n > WORKER_SCRATCH_BYTES - WORKER_READ_BYTES)
        return false;
    if (n > u->in_cap) {
        uint32_t cap = (uint32_t)(n < 2048 ? 4096 : n * 2);
        char *grown = realloc(u->in, cap);
        if (!grown)
            return false;
        u->in = grown;
        u->in_cap = cap;
    }
    memmove(u->in, p, n);
    u->in_len = (uint32_t)n;
    return true;
}

ssize_t uplink_read(struct uplink *u, struct str *out_all)
{
    char *buf = u->pw->w.scratch;
    size_t have = u->in_len;
    if (have)
        memcpy(buf, u->in, have);
    ssize_t got = conn_read(&u->conn, buf + have, UPLINK_READ_BYTES);
    if (got > 0) {
        u->got_bytes = true;
        u->received_bytes += (uint64_t)got;
        have += (size_t)got;
    }
    *out_all = str_make(buf, have);
    return got;
}
