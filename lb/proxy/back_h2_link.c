/* Connections to HTTP/2 servers: opened, read, written, kept alive, closed. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/panic.h"
#include "proxy/back_h2.h"
#include "proxy/proxy.h"

#define TURN_READS    4     /* of one link in one turn of the loop */
#define FILL_BYTES    65536 /* gathered before the sink is asked for more room */
#define CLOSE_WAIT_MS 1000  /* the server may close first, so that TIME_WAIT is not ours */

/* ---- out of the world ---- */

static void reclaim(struct parked *p)
{
    struct h2_link *l = CONTAINER_OF(p, struct h2_link, parked);
    l->magic = 0;
    pool_give(&l->pw->h2_pool->links, l);
}

static void leave_idle(struct h2_link *l)
{
    if (l->idle)
        l->entry->idle_count--;
    l->idle = false;
}

static void dispose(struct h2_link *l)
{
    struct pworker *pw = l->pw;
    leave_idle(l);
    deadline_stop(&pw->w.wheel, &l->deadline);
    run_queue_remove(&l->run);
    sink_fini(&l->sink);
    conn_close(&l->conn);
    h2_client_destroy(&l->h2);
    if (l->secure)
        tls_client_unref(&l->secure);
    list_remove(&l->node);
    list_remove(&l->all);
    uplink_count(pw, -1);
    worker_park(&pw->w, &l->parked, reclaim);
}

void h2_link_fail(struct h2_link *l, enum reason why)
{
    struct list *node;
    CHECK_MAGIC(l, H2_LINK_MAGIC);
    if (!l->h2)
        return;
    dispose(l);
    while ((node = list_shift(&l->streams)))
        link_stream_fail(CONTAINER_OF(node, struct link_stream, node), why);
}

/* ---- writing ---- */

/* False: the connection is broken. */
static bool flush(struct h2_link *l)
{
    while (!sink_is_blocked(&l->sink)) {
        ssize_t n = h2_client_fill(l->h2, sink_reserve(&l->sink, FILL_BYTES), FILL_BYTES);
        if (n <= 0)
            break;
        sink_commit(&l->sink, (size_t)n);
    }
    return sink_flush(&l->sink) && !l->conn.broken;
}

void h2_link_run(struct h2_link *l)
{
    run_queue_add(&l->pw->w, &l->run);
}

/* ---- idle ---- */

static void arm(struct h2_link *l)
{
    uint64_t now = l->pw->w.now_ms, at = l->idle ? l->idle_at_ms : UINT64_MAX;
    uint64_t ping = l->read_ms + l->ping_interval_ms + (l->pinged ? l->ping_timeout_ms : 0);
    if (l->ping_interval_ms && ping < at)
        at = ping;
    worker_deadline(&l->pw->w, &l->deadline, at == UINT64_MAX ? 0 : at > now ? at - now : 1);
}

void h2_link_leave(struct h2_link *l)
{
    ASSERT(!l->stream_count);
    if (l->closing || !l->h2)
        return;
    leave_idle(l);
    l->closing = l->retired = true;
    h2_client_goaway(l->h2);
    if (l->connecting || l->eof || !flush(l) || !sink_is_empty(&l->sink))
        dispose(l);
    else
        worker_deadline(&l->pw->w, &l->deadline, CLOSE_WAIT_MS);
}

/* Its last stream has ended. */
static void rest(struct h2_link *l)
{
    if (l->idle || l->closing || l->connecting)
        return;
    bool keep = !l->retired && !h2_client_is_leaving(l->h2) && !l->pw->draining &&
                l->entry->idle_count < l->max_idle && l->idle_timeout_ms;
    if (!keep) {
        h2_link_leave(l);
        return;
    }
    l->idle = true;
    l->entry->idle_count++;
    l->idle_at_ms = l->pw->w.now_ms + l->idle_timeout_ms;
    arm(l);
}

/* ---- reading ---- */

/* What became of it; anything but OK ends the link once its streams have had their say. */
static enum reason read_some(struct h2_link *l)
{
    struct worker *w = &l->pw->w;
    for (int i = 0; i < TURN_READS && l->conn.may_read; i++) {
        ssize_t got = conn_read(&l->conn, w->scratch, WORKER_READ_BYTES);
        if (got == CONN_AGAIN)
            break;
        if (got <= 0) {
            l->eof = true;
            return got == 0 ? REASON_SERVER_CLOSED : REASON_SERVER_RESET;
        }
        l->read_ms = w->now_ms;
        l->pinged = false;
        if (!h2_client_feed(l->h2, w->scratch, (size_t)got, w->now_ms))
            return REASON_SERVER_PROTOCOL;
        if (l->stream_count)
            l->conn.may_read = true; /* a reset that came along is not announced again */
    }
    return REASON_OK;
}

/* Those that have something to do; what they ask for while they do it is for the next pass. */
static void wake_streams(struct h2_link *l)
{
    struct list batch, *node;
    list_init(&batch);
    list_splice(&batch, &l->woken);
    while ((node = list_shift(&batch)))
        link_stream_wake(CONTAINER_OF(node, struct link_stream, woken));
}

/* The server takes fewer streams than we hoped when it had not spoken yet: those that it has not seen go
 * elsewhere. */
static void move_surplus(struct h2_link *l)
{
    uint32_t kept = 0;
    for (struct list *node = l->streams.next; node != &l->streams; node = node->next) {
        struct link_stream *s = CONTAINER_OF(node, struct link_stream, node);
        if (s->h2.sent || kept < l->entry->max_streams) {
            kept++;
            continue;
        }
        s->surplus = true;
        link_stream_want_turn(s);
    }
}

static void wake_all(struct h2_link *l)
{
    for (struct list *node = l->streams.next; node != &l->streams; node = node->next)
        link_stream_want_turn(CONTAINER_OF(node, struct link_stream, node));
}

static void note_settings(struct h2_link *l)
{
    if (!h2_client_is_ready(l->h2))
        return;
    uint32_t max = h2_client_max_streams(l->h2);
    if (!l->greeted)
        wake_all(l); /* some may wait to know what it can do */
    l->greeted = true;
    l->entry->max_streams = max;
    if (l->known_max > max && l->stream_count > max)
        move_surplus(l);
    l->known_max = max;
}

static void say_why(const struct h2_link *l)
{
    const char *trouble = h2_client_trouble(l->h2);
    if (trouble)
        LOG_LIMITED(LOG_WARN, 5, "a server's HTTP/2 connection is given up: %s", trouble);
}

/* ---- the turn of a link ---- */

static bool is_socket_ready(struct h2_link *l)
{
    if (!l->conn.may_write && !l->conn.broken)
        return false;
    int err = conn_connect_error(&l->conn);
    if (!err)
        return true;
    log_debug("connect: errno %d", err);
    h2_link_fail(l, REASON_CONNECT_FAILED);
    return false;
}

/* Begins TLS. True: it is over already. */
static bool begin_tls(struct h2_link *l)
{
    struct secure *sec = &l->pw->secure;
    struct tls_resume *resume = l->slot < sec->resume_count ? &sec->resumes[l->slot] : NULL;
    if (tls_connect(&l->conn, sec->worker, l->secure, &l->addr, "h2", resume))
        return tls_on_event(&l->conn);
    h2_link_fail(l, REASON_NO_MEMORY);
    return false;
}

/* RFC 9113 3.2: over TLS it is HTTP/2 only when both sides said so. */
static bool is_secured(struct h2_link *l)
{
    if (!l->conn.broken && conn_alpn(&l->conn) == ALPN_H2)
        return true;
    LOG_LIMITED(LOG_WARN, 1, "a server of HTTP/2 over TLS: %s%s%s",
                l->conn.broken ? tls_failure_name(tls_failure(&l->conn)) : "it did not agree to h2",
                l->conn.broken ? ", " : "", l->conn.broken ? tls_failure_text(&l->conn) : "");
    h2_link_fail(l, REASON_SERVER_TLS);
    return false;
}

/* The socket is connected, then TLS, then the requests. */
static bool is_connected(struct h2_link *l)
{
    if (!conn_is_secure(&l->conn)) {
        if (!is_socket_ready(l))
            return false;
        if (!l->secure)
            return true;
        if (!begin_tls(l))
            return false;
    }
    return (l->conn.broken || !tls_is_handshaking(&l->conn)) && is_secured(l);
}

static bool finish_connect(struct h2_link *l)
{
    if (!is_connected(l))
        return false;
    l->connecting = false;
    l->read_ms = l->pw->w.now_ms;
    for (struct list *node = l->streams.next, *next; node != &l->streams; node = next) {
        next = node->next;
        link_stream_connected(CONTAINER_OF(node, struct link_stream, node));
    }
    arm(l);
    return true;
}

static void step_closing(struct h2_link *l)
{
    enum reason why = read_some(l);
    if (why != REASON_OK)
        dispose(l);
}

static void step(struct h2_link *l)
{
    if (l->connecting && !finish_connect(l))
        return;
    if (l->closing) {
        step_closing(l);
        return;
    }
    enum reason why = read_some(l);
    note_settings(l);
    wake_streams(l);
    if (l->conn.may_write && sink_is_blocked(&l->sink) && !sink_drain(&l->sink) && why == REASON_OK)
        why = REASON_SERVER_RESET;
    if (!flush(l) && why == REASON_OK)
        why =
            l->conn.may_read ? REASON_OK : REASON_SERVER_RESET; /* an answer may have come before the reset */
    wake_streams(l);                                            /* room came about, or streams are closed */
    if (why == REASON_OK && h2_client_trouble(l->h2))
        why = REASON_SERVER_PROTOCOL;
    if (why != REASON_OK) {
        say_why(l);
        h2_link_fail(l, why);
        return;
    }
    if (!l->stream_count)
        rest(l);
    if (l->h2 && (l->conn.may_read || !list_is_empty(&l->woken) ||
                  (!sink_is_blocked(&l->sink) && h2_client_wants_write(l->h2))))
        h2_link_run(l);
}

static void on_ready(struct conn *c)
{
    struct h2_link *l = CONTAINER_OF(c, struct h2_link, conn);
    struct worker *w = c->worker;
    CHECK_MAGIC(l, H2_LINK_MAGIC);
    if (l->h2)
        step(l);
    cork_flush(w);
}

static void on_run(struct run_node *n)
{
    on_ready(&CONTAINER_OF(n, struct h2_link, run)->conn);
}

static void keep_alive(struct h2_link *l)
{
    uint64_t now = l->pw->w.now_ms, silent = now - l->read_ms;
    if (l->idle && now >= l->idle_at_ms) {
        h2_link_leave(l);
        return;
    }
    if (l->ping_interval_ms && l->pinged && silent >= l->ping_interval_ms + l->ping_timeout_ms) {
        log_debug("no answer to PING");
        h2_link_fail(l, REASON_SERVER_TIMEOUT);
        return;
    }
    if (l->ping_interval_ms && !l->pinged && silent >= l->ping_interval_ms) {
        l->pinged = true;
        h2_client_ping(l->h2);
        h2_link_run(l);
    }
    arm(l);
}

static void on_deadline(struct deadline *d)
{
    struct h2_link *l = CONTAINER_OF(d, struct h2_link, deadline);
    struct worker *w = &l->pw->w;
    CHECK_MAGIC(l, H2_LINK_MAGIC);
    if (l->closing)
        dispose(l);
    else if (l->connecting)
        h2_link_fail(l, REASON_CONNECT_TIMEOUT);
    else
        keep_alive(l);
    cork_flush(w);
}

/* ---- into the world ---- */

static void set_options(struct h2_link *l, const struct cluster_options *opt)
{
    l->idle_timeout_ms = opt->idle_timeout_ms;
    l->ping_interval_ms = opt->h2.ping_interval_ms;
    l->ping_timeout_ms = opt->h2.ping_timeout_ms;
    l->max_idle = (uint32_t)opt->max_idle;
    l->max_requests = (uint32_t)opt->max_uplink_requests;
    l->max_resets = (uint32_t)opt->h2.max_resets;
    l->own_max = (uint32_t)opt->h2.max_streams;
}

static struct h2_client *client_for(const struct cluster_options *opt, struct h2_mem *mem)
{
    struct h2_client_limits limits = {
        .head_bytes = (uint32_t)opt->max_response_header_bytes,
        .stream_window = (uint32_t)opt->h2.stream_window_bytes,
        .connection_window = (uint32_t)opt->h2.connection_window_bytes,
        .control_frames = (uint32_t)opt->h2.max_control_frames,
    };
    return h2_client_create(&link_stream_ops, &limits, mem);
}

static enum reason no_connection(void)
{
    return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? REASON_NO_MEMORY : REASON_CONNECT_FAILED;
}

static struct h2_link *open_link(struct exchange *x, struct h2_entry *entry, enum reason *out_why)
{
    struct pworker *pw = x->pw;
    struct h2_link *l = pool_take(&pw->h2_pool->links);
    *out_why = REASON_NO_MEMORY;
    if (!l)
        return NULL;
    memset(l, 0, sizeof *l);
    l->magic = H2_LINK_MAGIC;
    l->pw = pw;
    l->entry = entry;
    l->slot = x->endpoint->slot;
    l->addr = *x->endpoint->addr;
    l->opened_ns = pw->w.now_ns;
    list_init(&l->streams);
    list_init(&l->woken);
    set_options(l, x->opt);
    deadline_init(&l->deadline, on_deadline);
    run_node_init(&l->run, on_run);
    l->h2 = client_for(x->opt, l->pw->h2_pool->mem);
    if (!l->h2 || !conn_connect(&l->conn, &pw->w, &l->addr, on_ready)) {
        *out_why = l->h2 ? no_connection() : REASON_NO_MEMORY;
        h2_client_destroy(&l->h2);
        pool_give(&pw->h2_pool->links, l);
        return NULL;
    }
    sink_init(&l->sink, &l->conn);
    l->secure = x->opt->tls.enabled ? tls_client_ref(x->cluster->secure) : NULL;
    l->known_max = UINT32_MAX;
    l->connecting = true; /* even when it is not: on_ready finds out and tells everybody */
    list_push(&entry->links, &l->node);
    list_push(&pw->h2_pool->all, &l->all);
    uplink_count(pw, 1);
    worker_deadline(&pw->w, &l->deadline, x->opt->connect_timeout_ms);
    h2_link_run(l);
    return l;
}

static struct h2_entry *entry_for(struct pworker *pw, const struct endpoint *e)
{
    struct h2_entry **slot = &pw->h2_pool->by_slot[e->slot];
    if (!*slot) {
        *slot = malloc(sizeof **slot);
        if (!*slot)
            return NULL;
        **slot = (struct h2_entry){.max_streams = UINT32_MAX, .addr = *e->addr};
        list_init(&(*slot)->links);
    }
    if (!addr_eq(&(*slot)->addr, e->addr)) { /* another server, of which nothing is known */
        (*slot)->addr = *e->addr;
        (*slot)->max_streams = UINT32_MAX;
    }
    return *slot;
}

/* How many streams it may have. Before SETTINGS came, what its server said before is the best guess. */
static uint32_t room_of(const struct h2_link *l)
{
    uint32_t max = l->entry->max_streams;
    if (h2_client_is_ready(l->h2))
        max = h2_client_max_streams(l->h2);
    else if (!max)
        max = 1;
    if (max > l->own_max)
        max = l->own_max;
    return max > l->stream_count ? max - l->stream_count : 0;
}

static bool is_usable(const struct h2_link *l, const struct exchange *x)
{
    if (l->retired || l->closing || l->eof || l->conn.broken || l->conn.peer_done ||
        h2_client_is_leaving(l->h2) || !addr_eq(&l->addr, x->endpoint->addr))
        return false;
    if (l->secure != (x->opt->tls.enabled ? x->cluster->secure : NULL))
        return false;
    /* What failed on an older connection wants one that cannot be as stale. */
    return !x->fresh_uplink || l->opened_ns >= x->route_ns;
}

/* A FIN or GOAWAY may wait whose event this turn has not come to: what cannot be sent twice is worth a look.
 */
static bool looks_alive(struct h2_link *l, const struct exchange *x)
{
    return !l->idle || method_is_idempotent((enum http_method)x->req.method) ||
           (!l->conn.may_read && conn_is_quiet(&l->conn));
}

static void take(struct h2_link *l)
{
    leave_idle(l);
    l->stream_count++;
    l->request_count++;
    if (l->max_requests && l->request_count >= l->max_requests)
        l->retired = true;
}

/* The oldest with room: the younger ones fall idle and close. */
struct h2_link *h2_link_for(struct exchange *x, enum reason *out_why)
{
    struct h2_entry *entry = entry_for(x->pw, x->endpoint);
    bool refuses = false;
    *out_why = REASON_NO_MEMORY;
    if (!entry)
        return NULL;
    if (x->opt->tls.enabled && !x->cluster->secure) { /* its files are no good */
        *out_why = REASON_SERVER_TLS;
        return NULL;
    }
    for (struct list *node = entry->links.next; node != &entry->links; node = node->next) {
        struct h2_link *l = CONTAINER_OF(node, struct h2_link, node);
        if (!is_usable(l, x))
            continue;
        refuses |= h2_client_is_ready(l->h2) && !h2_client_max_streams(l->h2);
        if (room_of(l) && looks_alive(l, x)) {
            take(l);
            return l;
        }
    }
    if (refuses) { /* it takes none at all, and a further connection would hear the same */
        *out_why = REASON_SERVER_OVERLOADED;
        return NULL;
    }
    struct h2_link *l = open_link(x, entry, out_why);
    if (l)
        take(l);
    return l;
}
