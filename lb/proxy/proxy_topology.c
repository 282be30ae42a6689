/* Topologies in the control thread: taken from the master or the orchestrator, built, published to every
 * worker. */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "proxy/hold.h"
#include "proxy/proxy.h"
#include "run/channel.h"
#include "topo/token.h"

#define GUARDS_WAIT_MS 15000 /* a reload takes less, or is given up */

/* One publication: a mail for each worker, and one back when the last has taken it. */
struct publication {
    struct mail done;
    struct proxy *proxy;
    uint64_t epoch, number;
    _Atomic int pending;
};

struct topology_mail {
    struct mail mail;
    struct view *view; /* passed on */
    struct publication *publication;
};

static void on_all_taken(struct worker *none, struct mail *m)
{
    struct publication *pub = CONTAINER_OF(m, struct publication, done);
    struct proxy *p = pub->proxy;
    struct packer ack = {.len = 0};
    (void)none;
    pack_u64(&ack, pub->epoch);
    pack_u64(&ack, pub->number);
    if (p->orchestrator)
        channel_send(p->orchestrator, CHANNEL_TOPOLOGY_ACK, pack_result(&ack), NULL, 0);
    if (!p->ready_sent && p->master) {
        p->ready_sent = true;
        secure_tell(p);
        channel_send(p->master, CHANNEL_READY, STR_NULL, NULL, 0);
    }
    free(pub);
}

/* Worker's thread: from now on requests are routed by it. */
static void on_topology_mail(struct worker *w, struct mail *m)
{
    struct pworker *pw = pworker_of(w);
    struct topology_mail *t = CONTAINER_OF(m, struct topology_mail, mail);
    struct publication *pub = t->publication;
    bool first = pw->view == NULL;
    if (!first)
        uplink_pool_sweep(pw, pw->view->topology, t->view->topology);
    view_replace(pw, t->view);
    free(t);
    if (first && !acceptors_start(pw))
        PANIC("worker %d: listeners could not be registered", w->index);
    if (first)
        atomic_store_explicit(&pw->shared.serving, true, memory_order_release);
    hold_release(pw);
    if (atomic_fetch_sub_explicit(&pub->pending, 1, memory_order_acq_rel) == 1)
        mailbox_send(&pw->proxy->mailbox, &pub->done);
}

static void publish(struct proxy *p, struct topology *t)
{
    struct publication *pub = must(malloc(sizeof *pub));
    *pub = (struct publication){
        .done = {.fn = on_all_taken}, .proxy = p, .epoch = t->epoch, .number = t->number};
    atomic_store(&pub->pending, p->worker_count);
    for (int i = 0; i < p->worker_count; i++) {
        struct topology_mail *m = must(malloc(sizeof *m));
        *m = (struct topology_mail){
            .mail = {.fn = on_topology_mail}, .view = view_create(t), .publication = pub};
        mailbox_send(&p->workers[i].w.mailbox, &m->mail);
    }
}

/* A reload replaces the orchestrator before the proxy: what the new one publishes may name guards that only
 * the next generation knows, and until that one is ready requests are not to fail for it. So this generation
 * goes on with the topology that it has, for a while: a name that nobody ever explains is refused after it.
 */
static bool must_wait(struct proxy *p, const struct topology *t)
{
    if (!p->topology || p->draining)
        return false;
    if (p->waits_for_guards)
        return !guards_know(p->guards, t);
    return t->epoch != p->topology->epoch && !guards_know(p->guards, t);
}

static void on_waited(void *ctx)
{
    struct proxy *p = ctx;
    if (!p->waits_for_guards)
        return;
    log_warn("the topology names a guard that this generation does not have: its requests get 503");
    p->waits_for_guards = false;
    publish(p, p->topology);
}

static void take_over(struct proxy *p, struct topology *t)
{
    bool waits = must_wait(p, t), was_waiting = p->waits_for_guards;
    p->waits_for_guards = waits;
    if (waits && !was_waiting) {
        log_info("the topology names guards of another config: the last one goes on serving");
        if (!p->guard_timer.ready)
            timer_init(&p->guard_timer, &p->loop, on_waited, p);
        timer_arm(&p->guard_timer, GUARDS_WAIT_MS);
    }
    if (!waits) {
        timer_stop(&p->guard_timer);
        publish(p, t);
    }
    if (p->topology)
        topology_unref(&p->topology);
    p->topology = t; /* differences are from this one, published or not */
}

/* Slots index arrays: nothing from outside is trusted with them. */
static bool slots_fit(const struct proxy *p, const struct topology *t)
{
    for (uint32_t c = 0; c < t->cluster_count; c++) {
        const struct cluster *cl = t->clusters[c];
        if (cl->slot >= p->ledger.header->max_clusters || !cl->has_all_slots ||
            cl->endpoint_slots > p->ledger.header->max_endpoints)
            return false;
    }
    return true;
}

static bool take(struct proxy *p, struct topology *t, struct buf *error)
{
    if (t && slots_fit(p, t)) {
        if (!topology_sign(t, p->settings->sticky_key))
            log_warn("a cluster is sticky, but there is no sticky_secret: its cookie is left out");
        secure_sign(p, t);
        take_over(p, t);
        return true;
    }
    if (t)
        topology_unref(&t);
    log_warn("topology refused: %.*s", error->len ? (int)error->len : 18,
             error->len ? error->p : "slots out of range");
    return false;
}

bool proxy_first_topology(struct proxy *p)
{
    struct str bytes;
    struct buf error;
    buf_init(&error);
    if (!sealed_map(p->role->topology_fd, &bytes)) {
        log_error("the first topology cannot be read");
        return false;
    }
    bool ok = take(p, topology_decode(bytes, &error), &error);
    sealed_unmap(bytes);
    buf_fini(&error);
    return ok;
}

void proxy_on_topology(struct proxy *p, struct str payload, bool is_diff)
{
    struct buf error;
    buf_init(&error);
    struct topology *t =
        is_diff ? topology_diff_apply(p->topology, payload, &error) : topology_decode(payload, &error);
    /* Whatever is wrong is put right by one whole topology; the old one serves meanwhile. */
    if (!take(p, t, &error) && p->orchestrator)
        channel_send(p->orchestrator, CHANNEL_TOPOLOGY_ASK, STR_NULL, NULL, 0);
    buf_fini(&error);
}
