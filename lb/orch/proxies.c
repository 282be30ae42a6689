#include "orch/proxies.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/seal.h"

#define PROXY_MAGIC 0x63787078u
/* From the end of one copy of the whole to the next: so much, and of a large topology so much more that the
 * copies take a hundredth of a processor. */
#define SEAL_INTERVAL_MS     1000
#define SEAL_INTERVAL_MAX_MS 10000
#define SEAL_SHARE           100

struct proxy_link {
    uint32_t magic;
    struct list node;
    struct proxies *proxies;
    uint64_t generation;
    struct channel *channel; /* owned; NULL once it is gone */
    struct ledger ledger;
    bool has_ledger;       /* false: it cannot be read; the proxy is only waited for */
    struct topology *sent; /* counted: what its next difference starts from; NULL: send the whole */
    uint64_t acknowledged; /* number, of our epoch */
};

struct proxies {
    struct loop *loop;
    struct channel *master; /* borrowed */
    const struct proxies_ops *ops;
    void *ctx;
    struct list links;
    int count;
    struct topology *current; /* counted */
    struct timer seal_timer;
    const char *dir;   /* borrowed, or NULL */
    struct seal *seal; /* owned */
    bool is_seal_due;
    uint64_t sealing, sealed; /* numbers: under way, and in the master's hands */
    struct buf certificates;  /* as proxy certificates_of said */
    uint64_t certificates_of;
};

/* ---- sending ---- */

static void send_whole(struct proxy_link *l, struct topology *t)
{
    struct buf bytes;
    buf_init(&bytes);
    topology_encode(t, &bytes);
    const bool sent = channel_send(l->channel, CHANNEL_TOPOLOGY, buf_str(&bytes), NULL, 0);
    buf_fini(&bytes);
    topology_unref(&l->sent);
    if (!sent)
        return; /* on_gone follows */
    topology_ref(t);
    l->sent = t;
}

static void send_difference(struct proxy_link *l, struct topology *t)
{
    struct buf bytes;
    buf_init(&bytes);
    topology_diff_encode(l->sent, t, &bytes);
    const bool sent = channel_send(l->channel, CHANNEL_TOPOLOGY_DIFF, buf_str(&bytes), NULL, 0);
    buf_fini(&bytes);
    topology_unref(&l->sent);
    if (!sent)
        return;
    topology_ref(t);
    l->sent = t;
}

static void send_current(struct proxy_link *l)
{
    struct topology *t = l->proxies->current;
    if (!l->channel || !t || l->sent == t)
        return;
    if (!l->sent || channel_take_lost(l->channel))
        send_whole(l, t);
    else
        send_difference(l, t);
    /* A backlog that was cut while this very message was queued: one whole says it all. */
    if (l->sent && channel_take_lost(l->channel))
        send_whole(l, t);
}

void proxies_keep_in(struct proxies *p, const char *dir)
{
    p->dir = dir;
}

static uint64_t seal_interval_ms(uint64_t cost_ms)
{
    uint64_t wanted = cost_ms * SEAL_SHARE;
    return wanted < SEAL_INTERVAL_MS       ? SEAL_INTERVAL_MS
           : wanted > SEAL_INTERVAL_MAX_MS ? SEAL_INTERVAL_MAX_MS
                                           : wanted;
}

/* The copy on disk is for the next start of everything. Nothing waits for it, and nothing fails without it.
 */
static void on_sealed(void *ctx, int fd, int error, int keep_error)
{
    struct proxies *p = ctx;
    if (fd < 0)
        log_error("the topology could not be handed to the master: %s", strerror(error));
    else if (!channel_send(p->master, CHANNEL_PUBLISHED, STR_NULL, &fd, 1))
        log_error("the topology could not be handed to the master: %s", strerror(errno));
    if (keep_error)
        LOG_LIMITED(LOG_WARN, 1, "cannot keep the topology in %s: %s", p->dir, strerror(keep_error));
    timer_arm(&p->seal_timer, seal_interval_ms(seal_cost_ms(p->seal)));
    p->sealed = p->sealing; /* one that failed is waited for no longer */
    p->ops->moved(p->ctx);
}

static void seal_now(struct proxies *p)
{
    p->is_seal_due = false;
    p->sealing = p->current->number;
    seal_start(p->seal, p->current, p->dir);
}

static void on_seal_timer(void *ctx)
{
    struct proxies *p = ctx;
    if (p->is_seal_due)
        seal_now(p);
}

void proxies_publish(struct proxies *p, struct topology *t)
{
    topology_ref(t);
    topology_unref(&p->current);
    p->current = t;
    for (struct list *n = p->links.next; n != &p->links; n = n->next)
        send_current(CONTAINER_OF(n, struct proxy_link, node));
    p->is_seal_due = true;
    if (!timer_is_armed(&p->seal_timer) && !seal_is_busy(p->seal))
        seal_now(p);
}

void proxies_flush(struct proxies *p)
{
    seal_finish(p->seal);
    if (p->is_seal_due && p->current) {
        seal_now(p);
        seal_finish(p->seal);
    }
}

/* ---- receiving ---- */

static void on_ack(struct proxy_link *l, struct str payload)
{
    uint64_t epoch, number;
    if (!unpack_u64(&payload, &epoch) || !unpack_u64(&payload, &number)) {
        log_error("proxy %llu: malformed acknowledgement", (unsigned long long)l->generation);
        return;
    }
    /* One of an earlier orchestrator says nothing about ours. */
    if (!l->proxies->current || epoch != l->proxies->current->epoch || number <= l->acknowledged)
        return;
    l->acknowledged = number;
    l->proxies->ops->moved(l->proxies->ctx);
}

static void on_wake(struct proxy_link *l, struct str payload, enum wake_kind kind)
{
    struct wake w;
    struct packer ack;
    if (!wake_unpack(payload, kind, &w)) {
        log_error("proxy %llu: malformed wake", (unsigned long long)l->generation);
        return;
    }
    l->proxies->ops->woken(l->proxies->ctx, &w);
    wake_ack_pack(&w, &ack);
    (void)channel_send(l->channel, CHANNEL_WAKE_ACK, pack_result(&ack), NULL, 0); /* false: on_gone follows */
}

static void on_certificates(struct proxy_link *l, struct str said)
{
    struct proxies *p = l->proxies;
    if (l->generation < p->certificates_of)
        return;
    p->certificates_of = l->generation;
    p->certificates.len = 0;
    buf_put_str(&p->certificates, said);
}

struct str proxies_certificates(const struct proxies *p)
{
    return buf_str(&p->certificates);
}

static void on_message(void *owner, struct channel *c, struct channel_message *m)
{
    struct proxy_link *l = owner;
    struct str payload = m->payload;
    (void)c;
    CHECK_MAGIC(l, PROXY_MAGIC);
    switch (m->type) {
    case CHANNEL_TOPOLOGY_ACK:
        on_ack(l, payload);
        break;
    case CHANNEL_TOPOLOGY_ASK:
        topology_unref(&l->sent);
        send_current(l);
        break;
    case CHANNEL_WAKE:
    case CHANNEL_SATURATED:
        on_wake(l, payload, m->type == CHANNEL_SATURATED ? WAKE_SATURATED : WAKE_HELD);
        break;
    case CHANNEL_CERTIFICATES:
        on_certificates(l, payload);
        break;
    default:
        break; /* of a later version */
    }
}

static void on_gone(void *owner, struct channel *c)
{
    struct proxy_link *l = owner;
    (void)c;
    CHECK_MAGIC(l, PROXY_MAGIC);
    log_info("proxy %llu: its channel is closed", (unsigned long long)l->generation);
    channel_destroy(&l->channel);
    topology_unref(&l->sent);
}

static const struct channel_ops link_ops = {.on_message = on_message, .on_gone = on_gone};

/* ---- coming and going ---- */

static void link_destroy(struct proxy_link *l)
{
    channel_destroy(&l->channel);
    topology_unref(&l->sent);
    if (l->has_ledger)
        ledger_close(&l->ledger);
    list_remove(&l->node);
    l->proxies->count--;
    l->magic = 0;
    free(l);
}

static struct proxy_link *find_link(struct proxies *p, uint64_t generation)
{
    for (struct list *n = p->links.next; n != &p->links; n = n->next) {
        struct proxy_link *l = CONTAINER_OF(n, struct proxy_link, node);
        if (l->generation == generation)
            return l;
    }
    return NULL;
}

bool proxies_on_up(struct proxies *p, struct channel_message *m)
{
    struct str payload = m->payload;
    uint64_t generation;
    if (!unpack_u64(&payload, &generation) || m->fd_count < 2 || m->fds[0] < 0 || m->fds[1] < 0 ||
        p->count >= PROXIES_MAX)
        return false;
    struct proxy_link *l = find_link(p, generation);
    if (l)
        link_destroy(l); /* the master made the pair anew */
    l = must(calloc(1, sizeof *l));
    l->magic = PROXY_MAGIC;
    l->proxies = p;
    l->generation = generation;
    l->has_ledger = ledger_open(&l->ledger, m->fds[1], false);
    if (!l->has_ledger)
        log_warn("proxy %llu: its ledger cannot be read", (unsigned long long)generation);
    list_init(&l->node);
    list_push(&p->links, &l->node);
    p->count++;
    l->channel = channel_create(p->loop, m->fds[0], &link_ops, l);
    m->fds[0] = -1;
    if (!l->channel)
        log_error("proxy %llu: no channel to it", (unsigned long long)generation);
    send_current(l);
    p->ops->moved(p->ctx);
    return true;
}

bool proxies_on_gone(struct proxies *p, const struct channel_message *m)
{
    struct str payload = m->payload;
    uint64_t generation;
    if (!unpack_u64(&payload, &generation))
        return false;
    struct proxy_link *l = find_link(p, generation);
    if (l)
        link_destroy(l);
    p->ops->moved(p->ctx);
    return true;
}

struct proxies *proxies_create(struct loop *loop, struct channel *master, const struct proxies_ops *ops,
                               void *ctx)
{
    struct proxies *p = must(calloc(1, sizeof *p));
    p->loop = loop;
    p->master = master;
    p->ops = ops;
    p->ctx = ctx;
    list_init(&p->links);
    timer_init(&p->seal_timer, loop, on_seal_timer, p);
    p->seal = must(seal_create(loop, on_sealed, p));
    return p;
}

void proxies_destroy(struct proxies **pp)
{
    struct proxies *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    while (!list_is_empty(&p->links))
        link_destroy(CONTAINER_OF(p->links.next, struct proxy_link, node));
    seal_destroy(&p->seal);
    timer_stop(&p->seal_timer);
    topology_unref(&p->current);
    buf_fini(&p->certificates);
    free(p);
}

/* ---- asking ---- */

int proxies_count(const struct proxies *p)
{
    return p->count;
}

void proxies_each(const struct proxies *p, proxies_fn *fn, void *ctx)
{
    for (const struct list *n = p->links.next; n != &p->links; n = n->next) {
        const struct proxy_link *l = CONTAINER_OF(n, struct proxy_link, node);
        fn(ctx, l->generation, l->acknowledged, l->has_ledger ? &l->ledger : NULL);
    }
}

uint64_t proxies_sealed(const struct proxies *p)
{
    return p->sealed;
}

uint64_t proxies_acknowledged(const struct proxies *p)
{
    uint64_t least = UINT64_MAX;
    for (const struct list *n = p->links.next; n != &p->links; n = n->next) {
        const struct proxy_link *l = CONTAINER_OF(n, struct proxy_link, node);
        least = l->acknowledged < least ? l->acknowledged : least;
    }
    return least;
}

bool proxies_endpoint(const struct proxies *p, uint32_t slot, struct ledger_endpoint_sum *sum)
{
    bool all = true;
    const uint64_t now = clock_now_ns();
    memset(sum, 0, sizeof *sum);
    for (const struct list *n = p->links.next; n != &p->links; n = n->next) {
        const struct proxy_link *l = CONTAINER_OF(n, struct proxy_link, node);
        if (l->has_ledger)
            ledger_sum_endpoint(&l->ledger, slot, true, now, sum);
        all &= l->has_ledger;
    }
    return all;
}

bool proxies_cluster(const struct proxies *p, uint32_t slot, struct ledger_cluster_sum *sum)
{
    bool all = true;
    const uint64_t now = clock_now_ns();
    memset(sum, 0, sizeof *sum);
    for (const struct list *n = p->links.next; n != &p->links; n = n->next) {
        const struct proxy_link *l = CONTAINER_OF(n, struct proxy_link, node);
        if (l->has_ledger)
            ledger_sum_cluster(&l->ledger, slot, true, now, sum);
        all &= l->has_ledger;
    }
    return all;
}
