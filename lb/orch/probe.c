#include "orch/probe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "net/tls_link.h"
#include "net/proxyproto.h"
#include "orch/eager.h"
#include "orch/probe_talk.h"
#include "topo/cluster.h"
#include "topo/index.h"

#define PROBER_MAGIC 0x63787072u

enum prober_state { PROBER_WAITING, PROBER_CONNECTING, PROBER_SECURING, PROBER_TALKING };

struct probe_cluster {
    struct str id;                  /* owned bytes */
    struct probe_settings settings; /* borrowed texts: of the topology that probes holds */
    int send_proxy;                 /* enum send_proxy */
    uint32_t slot;
    struct buf tls_key;     /* owned; the options that `tls` was made of */
    struct tls_client *tls; /* counted; NULL: plain, or its files are no good */
    bool wants_tls;
    struct index probers; /* by endpoint id, owned */
};

struct prober {
    uint32_t magic;
    struct probes *probes;
    struct probe_cluster *cluster;
    struct str id, member; /* owned bytes, one block */
    struct addr addr;
    uint32_t slot;
    bool is_starting, is_seen;
    enum prober_state state;
    enum endpoint_health health;
    bool has_told;      /* its verdict went out once */
    unsigned good, bad; /* in a row */
    uint64_t traffic;   /* when it was last asked */
    int fd;
    struct timer timer;      /* next question, or time-out of this one */
    struct eager_node eager; /* next question in its place, while requests are held for it */
    bool is_eager;           /* this question was asked eagerly */
    unsigned disliked;       /* connections in a row whose answer was no good */
    struct watch watch;
    struct tls_link *link; /* owned; NULL: plain */
    char *answer;          /* owned while talking */
    size_t answer_len;
};

struct probes {
    struct loop *loop;
    const struct probe_ops *ops;
    void *ctx;
    struct topology *seen; /* counted; NULL at first */
    struct index clusters; /* owned */
    int busy;              /* sockets open */
    uint32_t spread;
    struct eager eager;
    struct bundle files; /* of TLS; empty: none */
};

static void ask(struct prober *p);

/* ---- the end of one question ---- */

static void hang_up(struct prober *p)
{
    if (p->fd < 0)
        return;
    watch_stop(&p->watch);
    tls_link_destroy(&p->link);
    close(p->fd);
    p->fd = -1;
    p->probes->busy--;
    free(p->answer);
    p->answer = NULL;
    p->answer_len = 0;
}

static void tell(struct prober *p, enum endpoint_health health, const char *why)
{
    const bool is_change = p->health != health;
    p->health = health;
    if (p->has_told && !is_change)
        return;
    p->has_told = true;
    if (is_change && health == HEALTH_DOWN)
        log_warn("endpoint %.*s of %.*s is unhealthy: %s", STR_ARG(p->id), STR_ARG(p->cluster->id), why);
    else if (is_change && !p->is_starting)
        log_info("endpoint %.*s of %.*s is healthy", STR_ARG(p->id), STR_ARG(p->cluster->id));
    p->probes->ops->verdict(p->probes->ctx, p->cluster->id, p->id, p->member, health == HEALTH_UP);
}

/* A server that is there but not well is not to be stormed: 1, 2, 4 … milliseconds. */
static bool wait_eagerly(struct prober *p)
{
    struct probes *ps = p->probes;
    uint64_t at_least = p->disliked ? NS_PER_MS << (p->disliked < 7 ? p->disliked - 1 : 6) : 0;
    if (!p->is_starting || !ps->ops->holds || !ps->ops->holds(ps->ctx, p->cluster->slot) ||
        !eager_add(&ps->eager, &p->eager, clock_now_ns(),
                   at_least > EAGER_LAST_NS ? EAGER_LAST_NS : at_least))
        return false;
    timer_stop(&p->timer);
    return true;
}

static void wait_for_next(struct prober *p)
{
    p->state = PROBER_WAITING;
    p->is_eager = false;
    if (!wait_eagerly(p))
        timer_arm(&p->timer, p->is_starting ? PROBE_FAST_MS : p->cluster->settings.interval_ms);
}

static void finish(struct prober *p, enum probe_verdict verdict, bool is_timeout, const char *why)
{
    const struct probe_settings *s = &p->cluster->settings;
    bool was_connected = p->state > PROBER_CONNECTING;
    hang_up(p);
    p->disliked = verdict == PROBE_GOOD || !was_connected ? 0 : p->disliked + 1;
    wait_for_next(p);
    const uint64_t before = p->traffic;
    p->traffic = p->probes->ops->traffic(p->probes->ctx, p->slot);
    if (verdict == PROBE_GOOD) {
        p->bad = 0;
        if (++p->good >= s->rise)
            tell(p, HEALTH_UP, "");
        return;
    }
    if (is_timeout && p->traffic != before)
        return; /* slow to us, yet it serves */
    p->good = 0;
    /* What never served is not unhealthy, only not there yet: its start_timeout judges. */
    if (++p->bad >= s->fall && !p->is_starting)
        tell(p, HEALTH_DOWN, why);
}

/* ---- one question ---- */

static ssize_t receive(struct prober *p, char *to, size_t room)
{
    if (p->link)
        return tls_link_read(p->link, to, room);
    const ssize_t n = recv(p->fd, to, room, 0);
    return n >= 0 ? n : errno == EAGAIN || errno == EINTR ? CONN_AGAIN : CONN_ERROR;
}

static bool put(struct prober *p, const char *from, size_t n)
{
    return (p->link ? tls_link_write(p->link, from, n) : send(p->fd, from, n, MSG_NOSIGNAL)) == (ssize_t)n;
}

static void read_answer(struct prober *p)
{
    const ssize_t n = receive(p, p->answer + p->answer_len, PROBE_ANSWER_MAX - p->answer_len);
    if (n == CONN_AGAIN)
        return;
    if (n < 0) {
        finish(p, PROBE_BAD, false, p->link ? tls_link_why(p->link) : strerror(errno));
        return;
    }
    p->answer_len += (size_t)n;
    const bool is_end = n == 0 || p->answer_len == PROBE_ANSWER_MAX;
    const char *why;
    const enum probe_verdict v =
        probe_judge(&p->cluster->settings, str_make(p->answer, p->answer_len), is_end, &why);
    if (v != PROBE_MORE)
        finish(p, v, false, why);
    else if (is_end)
        finish(p, PROBE_BAD, false, "answer too long");
}

static void on_readable(int fd, short events, void *ctx)
{
    struct prober *p = ctx;
    (void)fd;
    (void)events;
    CHECK_MAGIC(p, PROBER_MAGIC);
    read_answer(p);
}

/* A fresh connection takes a question of 2 KiB in one piece, or something is wrong. */
static void talk(struct prober *p)
{
    char request[PROBE_REQUEST_MAX];
    const size_t n = probe_request(&p->cluster->settings, request, sizeof request);
    if (n == 0 || !put(p, request, n)) {
        finish(p, PROBE_BAD, false, n ? "it does not take the question" : "the question is too long");
        return;
    }
    p->state = PROBER_TALKING;
    p->answer = must(malloc(PROBE_ANSWER_MAX));
    p->answer_len = 0;
    watch_stop(&p->watch);
    watch_start(&p->watch, p->probes->loop, p->fd, EV_READ, on_readable, p);
    if (p->link) /* it may have come along with the handshake, and lie in there already */
        read_answer(p);
}

/* Connected, and over TLS if need be: a bare probe has its answer. */
static void on_ready(struct prober *p)
{
    const int kind = p->cluster->settings.kind;
    if (kind == PROBE_TCP || kind == PROBE_NONE)
        finish(p, PROBE_GOOD, false, "");
    else
        talk(p);
}

static void secure(struct prober *p);

static void on_secure_event(int fd, short events, void *ctx)
{
    struct prober *p = ctx;
    (void)fd;
    (void)events;
    CHECK_MAGIC(p, PROBER_MAGIC);
    secure(p);
}

static void secure(struct prober *p)
{
    const enum tls_link_step step = tls_link_handshake(p->link);
    watch_stop(&p->watch);
    if (step == TLS_LINK_DONE)
        on_ready(p);
    else if (step == TLS_LINK_FAILED)
        finish(p, PROBE_BAD, false, tls_link_why(p->link));
    else
        watch_start(&p->watch, p->probes->loop, p->fd, step == TLS_LINK_WANT_READ ? EV_READ : EV_WRITE,
                    on_secure_event, p);
}

static void begin_secure(struct prober *p)
{
    struct tls_client *tls = p->cluster->tls;
    const int kind = p->cluster->settings.kind;
    const bool is_h2 = kind == PROBE_H2 || kind == PROBE_GRPC;
    p->link = tls ? tls_link_create(tls, p->fd, &p->addr, is_h2) : NULL;
    p->state = PROBER_SECURING;
    if (p->link)
        secure(p);
    else
        finish(p, PROBE_BAD, false, "the files of TLS are no good");
}

/* A server that wants a PROXY header is told that nobody's connection is passed on: it is our own. */
static bool introduce(const struct prober *p)
{
    const struct proxyproto local = {.is_local = true};
    char header[PROXYPROTO_V1_MAX];
    if (p->cluster->send_proxy == SEND_PROXY_OFF)
        return true;
    const size_t n =
        proxyproto_write(&local, p->cluster->send_proxy == SEND_PROXY_V1 ? 1 : 2, header, sizeof header);
    return send(p->fd, header, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static void on_connected(struct prober *p)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (p->is_eager && !error) /* it is there: now it has its time */
        timer_arm(&p->timer, p->cluster->settings.timeout_ms);
    if (error)
        finish(p, PROBE_BAD, error == ETIMEDOUT, strerror(error));
    else if (!introduce(p))
        finish(p, PROBE_BAD, false, "it does not take a PROXY header");
    else if (p->cluster->wants_tls)
        begin_secure(p);
    else
        on_ready(p);
}

static void on_writable(int fd, short events, void *ctx)
{
    struct prober *p = ctx;
    (void)fd;
    (void)events;
    CHECK_MAGIC(p, PROBER_MAGIC);
    on_connected(p);
}

/* A first packet that a network in the making has lost is sent again after a second: too late for an eager
 * question, which gives up and connects anew, with more patience each time. */
static uint64_t patience_of(const struct prober *p)
{
    uint64_t all = p->cluster->settings.timeout_ms, first = (uint64_t)PROBE_EAGER_MS * (p->bad + 1);
    return p->is_eager && first < all ? first : all;
}

/* A refusal on this machine is there when connect() returns: without a turn of the loop it costs half. */
static bool is_refused(const struct prober *p, int *out_error)
{
    socklen_t len = sizeof *out_error;
    return p->is_eager && getsockopt(p->fd, SOL_SOCKET, SO_ERROR, out_error, &len) == 0 && *out_error;
}

static void ask(struct prober *p)
{
    int error = 0;
    if (p->probes->busy >= PROBES_AT_ONCE) {
        timer_arm(&p->timer, 20);
        return;
    }
    p->fd = socket(p->addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0) { /* our own trouble, not the endpoint's */
        LOG_LIMITED(LOG_ERROR, 1, "no socket for health probes: %s", strerror(errno));
        timer_arm(&p->timer, p->cluster->settings.interval_ms);
        return;
    }
    p->probes->busy++;
    p->state = PROBER_CONNECTING;
    timer_arm(&p->timer, patience_of(p));
    const int result = connect(p->fd, &p->addr.sa, p->addr.len);
    if (result < 0 && errno != EINPROGRESS)
        finish(p, PROBE_BAD, errno == EAGAIN,
               strerror(errno)); /* EAGAIN: the queue of a unix socket is full */
    else if (result == 0)
        on_connected(p);
    else if (is_refused(p, &error))
        finish(p, PROBE_BAD, false, strerror(error));
    else
        watch_start(&p->watch, p->probes->loop, p->fd, EV_WRITE, on_writable, p);
}

static void on_timer(void *ctx)
{
    struct prober *p = ctx;
    CHECK_MAGIC(p, PROBER_MAGIC);
    if (p->state == PROBER_WAITING)
        ask(p);
    else
        finish(p, PROBE_BAD, true, "timed out");
}

static void on_eager(struct eager_node *n)
{
    struct prober *p = CONTAINER_OF(n, struct prober, eager);
    CHECK_MAGIC(p, PROBER_MAGIC);
    if (p->state != PROBER_WAITING)
        return;
    p->is_eager = true;
    ask(p);
}

void probes_hurry(struct probes *ps, struct str cluster)
{
    struct probe_cluster *pc = index_get(&ps->clusters, cluster);
    struct prober *p;
    for (uint32_t at = 0; pc && (p = index_next(&pc->probers, &at));)
        if (p->state == PROBER_WAITING && list_is_empty(&p->eager.node))
            (void)wait_eagerly(p);
}

/* ---- following the topology ---- */

static void prober_destroy(struct prober *p)
{
    hang_up(p);
    eager_remove(&p->probes->eager, &p->eager, true);
    timer_stop(&p->timer);
    p->magic = 0;
    free((char *)(uintptr_t)p->id.p);
    free(p);
}

static struct prober *prober_create(struct probes *ps, struct probe_cluster *c, const struct endpoint *e)
{
    struct prober *p = must(calloc(1, sizeof *p));
    p->magic = PROBER_MAGIC;
    p->probes = ps;
    p->cluster = c;
    p->fd = -1;
    struct str id = endpoint_id(e), member = endpoint_member(e);
    char *bytes = must(malloc(id.n + member.n + 1)), *at = bytes;
    text_move(&id, &at);
    text_move(&member, &at);
    p->id = id;
    p->member = member;
    p->health = (enum endpoint_health)e->health; /* a restarted orchestrator starts from what was known */
    timer_init(&p->timer, ps->loop, on_timer, p);
    eager_node_init(&p->eager, on_eager);
    index_put(&c->probers, p->id, p);
    return p;
}

/* Members that are being stopped, or do not run, are not asked. */
static bool wants_probe(const struct cluster *c, const struct endpoint *e, bool *out_is_starting)
{
    *out_is_starting = endpoint_member(e).n && e->member_state < MEMBER_ACTIVE;
    if (endpoint_member(e).n &&
        (e->member_state == MEMBER_READY_TO_SHUT_DOWN || e->member_state == MEMBER_TERMINATED))
        return false;
    return c->options.protocol != PROTOCOL_FILES && (c->options.probe.kind != PROBE_NONE || *out_is_starting);
}

static void follow_endpoint(struct probes *ps, struct probe_cluster *pc, const struct cluster *c,
                            const struct endpoint *e)
{
    bool is_starting;
    if (!wants_probe(c, e, &is_starting))
        return;
    struct prober *p = index_get(&pc->probers, endpoint_id(e));
    const bool is_same = p && addr_eq(&p->addr, e->addr) && p->is_starting == is_starting &&
                         str_eq(p->member, endpoint_member(e));
    if (p && !str_eq(p->member, endpoint_member(e))) {
        index_remove(&pc->probers, p->id);
        prober_destroy(p);
        p = NULL;
    }
    if (!p)
        p = prober_create(ps, pc, e);
    p->is_seen = true;
    p->slot = e->slot;
    p->addr = *e->addr;
    p->is_starting = is_starting;
    if (is_same)
        return;
    hang_up(p);
    p->has_told &= !is_starting; /* one that is to start anew is not up before it is told so anew */
    eager_remove(&ps->eager, &p->eager, !is_starting);
    p->state = PROBER_WAITING;
    /* Spread out, so that ten thousand endpoints are not asked in one moment. */
    timer_arm(&p->timer, is_starting ? 0 : ps->spread++ % PROBE_SPREAD_MS);
}

static void drop_unseen(struct probe_cluster *pc)
{
    struct prober *p;
    for (uint32_t at = 0; (p = index_next(&pc->probers, &at));) {
        if (p->is_seen)
            continue;
        index_remove(&pc->probers, p->id);
        prober_destroy(p);
        at = 0; /* removing moves entries */
    }
}

/* Only when its options changed: the CAs of a system take a while to read. */
static void follow_tls(struct probes *ps, struct probe_cluster *pc, const struct cluster *c)
{
    struct buf key, errors;
    char who[TOPOLOGY_ID_MAX + 64];
    pc->wants_tls = c->options.tls.enabled;
    if (!pc->wants_tls || c->options.probe.kind == PROBE_NONE)
        return;
    buf_init(&key);
    options_encode(&tls_cluster_table, &c->options.tls, &key);
    buf_printf(&key, "\n%s", c->options.host ? c->options.host : "");
    if (pc->tls && str_eq(buf_str(&key), buf_str(&pc->tls_key))) {
        buf_fini(&key);
        return;
    }
    buf_fini(&pc->tls_key);
    pc->tls_key = key;
    tls_client_unref(&pc->tls);
    buf_init(&errors);
    snprintf(who, sizeof who, "probes of %.*s", STR_ARG(c->id));
    pc->tls = tls_client_create(&c->options.tls, c->options.host, &ps->files, who, &errors);
    if (errors.len)
        log_error("%.*s", STR_ARG(str_trim(buf_str(&errors))));
    buf_fini(&errors);
}

static void follow_cluster(struct probes *ps, const struct cluster *c)
{
    struct probe_cluster *pc = index_get(&ps->clusters, c->id);
    struct prober *p;
    if (!pc) {
        pc = must(calloc(1, sizeof *pc));
        pc->id = str_make(must(str_dup(c->id)), c->id.n);
        index_put(&ps->clusters, pc->id, pc);
    }
    pc->settings = c->options.probe;
    pc->slot = c->slot;
    follow_tls(ps, pc, c);
    pc->send_proxy = c->options.send_proxy;
    for (uint32_t at = 0; (p = index_next(&pc->probers, &at));)
        p->is_seen = false;
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        follow_endpoint(ps, pc, c, &c->endpoints[i]);
    drop_unseen(pc);
}

static void drop_cluster(struct probes *ps, struct str id)
{
    struct probe_cluster *pc = index_get(&ps->clusters, id);
    struct prober *p;
    if (!pc)
        return;
    for (uint32_t at = 0; (p = index_next(&pc->probers, &at));)
        prober_destroy(p);
    index_fini(&pc->probers);
    index_remove(&ps->clusters, pc->id);
    tls_client_unref(&pc->tls);
    buf_fini(&pc->tls_key);
    free((char *)(uintptr_t)pc->id.p);
    free(pc);
}

void probes_follow(struct probes *ps, struct topology *t)
{
    /* Both are sorted by id, and what did not change is the same object: one walk side by side. */
    struct topology *old = ps->seen;
    uint32_t i = 0, k = 0;
    const uint32_t old_count = old ? old->cluster_count : 0;
    while (i < old_count || k < t->cluster_count) {
        int order = i == old_count ? 1 : k == t->cluster_count ? -1 : 0;
        if (order == 0)
            order = cluster_order(old->clusters[i], t->clusters[k]);
        if (order < 0)
            drop_cluster(ps, old->clusters[i]->id);
        else if (order > 0 || old->clusters[i] != t->clusters[k])
            follow_cluster(ps, t->clusters[k]);
        i += order <= 0;
        k += order >= 0;
    }
    topology_ref(t);
    topology_unref(&ps->seen);
    ps->seen = t;
}

struct probes *probes_create(struct loop *loop, const struct probe_ops *ops, void *ctx)
{
    struct probes *ps = must(calloc(1, sizeof *ps));
    ps->loop = loop;
    ps->ops = ops;
    ps->ctx = ctx;
    eager_init(&ps->eager, loop);
    return ps;
}

void probes_set_files(struct probes *ps, int fd)
{
    struct bundle fresh;
    const struct probe_cluster *pc;
    if (fd < 0 || !bundle_open(&fresh, fd))
        return;
    bundle_close(&ps->files);
    ps->files = fresh;
    for (uint32_t at = 0; (pc = index_next(&ps->clusters, &at));)
        tls_client_unref(&((struct probe_cluster *)(uintptr_t)pc)->tls);
    for (uint32_t i = 0; ps->seen && i < ps->seen->cluster_count; i++)
        follow_cluster(ps, ps->seen->clusters[i]);
}

void probes_destroy(struct probes **pps)
{
    struct probes *ps = *pps;
    *pps = NULL;
    if (!ps)
        return;
    while (ps->clusters.count) {
        uint32_t at = 0;
        const struct probe_cluster *pc = index_next(&ps->clusters, &at);
        drop_cluster(ps, pc->id);
    }
    index_fini(&ps->clusters);
    eager_fini(&ps->eager);
    topology_unref(&ps->seen);
    bundle_close(&ps->files);
    free(ps);
}
