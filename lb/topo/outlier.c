#include "topo/outlier.h"

#include "topo/cluster.h"

#define ERRORS_SQUARED 9 /* three standard errors */

/* What one look knows of the cluster: sums over the candidates that take part. */
struct look {
    struct gates *gates;
    const struct cluster *cluster;
    uint64_t now_ms;
    const struct outlier_ops *ops;
    void *ctx;
    uint64_t attempts, failures;
};

/* Since the last look, and sets the mark for the next. An endpoint that is new in its slot has no past. */
static struct outlier_count take_count(const struct look *l, const struct endpoint *e)
{
    struct gate *g = &l->gates->endpoints[e->slot];
    struct outlier_count now = {0, 0}, since;
    bool is_new = gate_adopt(g, e->mark);
    l->ops->count(l->ctx, e->slot, &now);
    if (is_new) {
        g->seen_attempts = now.attempts;
        g->seen_failures = now.failures;
    }
    since.attempts = now.attempts - g->seen_attempts;
    since.failures = now.failures - g->seen_failures;
    g->seen_attempts = now.attempts;
    g->seen_failures = now.failures;
    if (since.failures > since.attempts) /* what failed was begun before */
        since.failures = since.attempts;
    return since;
}

/* Of the interval; kept in the gate between the two walks of one look. */
static struct outlier_count count_of(const struct look *l, const struct endpoint *e)
{
    const struct gate *g = &l->gates->endpoints[e->slot];
    return (struct outlier_count){g->look_attempts, g->look_failures};
}

static void walk(struct look *l)
{
    for (uint32_t i = 0; i < l->cluster->candidate_count; i++) {
        const struct endpoint *e = &l->cluster->endpoints[l->cluster->candidates[i]];
        struct gate *g = &l->gates->endpoints[e->slot];
        struct outlier_count n = take_count(l, e);
        g->look_attempts = n.attempts < UINT32_MAX ? (uint32_t)n.attempts : UINT32_MAX;
        g->look_failures = n.failures < UINT32_MAX ? (uint32_t)n.failures : UINT32_MAX;
        l->attempts += g->look_attempts;
        l->failures += g->look_failures;
    }
}

/* How much more often it fails than the others, or 0 when that is too little, or may be chance. */
static double excess(const struct look *l, struct outlier_count mine)
{
    double least = (double)l->cluster->options.eject_min_requests, n = (double)mine.attempts,
           others = (double)(l->attempts - mine.attempts);
    if (n < least || others < least || n < 1 || others < 1)
        return 0;
    double d = (double)mine.failures / n - (double)(l->failures - mine.failures) / others;
    double p = (double)l->failures / (double)l->attempts;
    bool matters = d * 100 >= (double)l->cluster->options.eject_rate;
    return matters && d * d >= ERRORS_SQUARED * p * (1 - p) * (1 / n + 1 / others) ? d : 0;
}

static const struct endpoint *find_worst(const struct look *l)
{
    const struct endpoint *worst = NULL;
    double most = 0;
    for (uint32_t i = 0; i < l->cluster->candidate_count; i++) {
        const struct endpoint *e = &l->cluster->endpoints[l->cluster->candidates[i]];
        double d = excess(l, count_of(l, e));
        if (d > most && !gate_is_ejected(&l->gates->endpoints[e->slot], e->mark, l->now_ms)) {
            most = d;
            worst = e;
        }
    }
    return worst;
}

static unsigned thousandths(uint64_t part, uint64_t whole)
{
    return whole ? (unsigned)(part * 1000 / whole) : 0;
}

/* The worst, then the worst of the rest: without it the others look as they are. */
static void eject(struct look *l)
{
    const struct endpoint *e;
    while ((e = find_worst(l))) {
        struct outlier_count n = count_of(l, e);
        uint64_t until_ms = gate_eject(l->gates, l->cluster, e, l->now_ms);
        if (!until_ms)
            return; /* no more may go */
        l->ops->ejected(l->ctx, e, until_ms, thousandths(n.failures, n.attempts),
                        thousandths(l->failures - n.failures, l->attempts - n.attempts));
        l->attempts -= n.attempts;
        l->failures -= n.failures;
        l->gates->endpoints[e->slot].look_attempts = l->gates->endpoints[e->slot].look_failures = 0;
    }
}

void outlier_judge(struct gates *g, const struct cluster *c, uint64_t now_ms, const struct outlier_ops *ops,
                   void *ctx)
{
    struct gate_cluster *all = &g->clusters[c->slot];
    struct look l = {.gates = g, .cluster = cluster_widest(c), .now_ms = now_ms, .ops = ops, .ctx = ctx};
    if (atomic_exchange_explicit(&all->busy, true, memory_order_acquire))
        return; /* another worker does */
    uint64_t due_ms = atomic_load_explicit(&all->judge_ms, memory_order_relaxed);
    if (now_ms >= due_ms) {
        walk(&l);
        if (due_ms && now_ms < due_ms + c->options.eject_interval_ms)
            eject(&l);
        atomic_store_explicit(&all->judge_ms, now_ms + c->options.eject_interval_ms, memory_order_relaxed);
    }
    atomic_store_explicit(&all->busy, false, memory_order_release);
}
