/* outlier: passive ejection by failure rate: an endpoint that fails clearly more often than the others of its
 * cluster is left out for a while, whether or not its failures come in a row.
 *
 * Counted over an interval, by all workers: n_i attempts of endpoint i, f_i of them failed (no connection, no
 * answer, a broken one, or a status of 500 and above). For each candidate with at least
 * `eject_min_requests` attempts, against all others together (N attempts, F failures, at least as many):
 *
 *     difference  d = f_i / n_i - F / N
 *     pooled      p = (f_i + F) / (n_i + N)
 *     ejected if  d >= eject_rate / 100   and   d² >= 9 · p · (1 - p) · (1 / n_i + 1 / N)
 *
 * The first asks whether it matters, the second whether it can be chance: it is the test for two proportions
 * at three standard errors. A cluster that fails as a whole ejects nobody: there is no difference. The worst
 * goes first, and never more than `eject_max_percent` of the candidates are out (gate.h).
 *
 * Driven by failures alone: a healthy cluster costs nothing. The first failure after a quiet time opens an
 * interval, the first one after its end closes it, judges, and opens the next; one interval that nobody
 * closed for twice its length is thrown away. Any worker; one at a time judges a cluster. */
#ifndef COX_TOPO_OUTLIER_H
#define COX_TOPO_OUTLIER_H

#include "topo/gate.h"

struct outlier_count {
    uint64_t attempts, failures; /* ever; only differences matter */
};

struct outlier_ops {
    /* The counts of an endpoint, over all workers. */
    void (*count)(void *ctx, uint32_t slot, struct outlier_count *out);
    /* It was ejected, until then; why: what it failed, and the others, in parts of a thousand. */
    void (*ejected)(void *ctx, const struct endpoint *e, uint64_t until_ms, unsigned mine, unsigned others);
};

/* The slow road of outlier_look. */
void outlier_judge(struct gates *g, const struct cluster *c, uint64_t now_ms, const struct outlier_ops *ops,
                   void *ctx);

/* Something of this cluster failed. */
static inline void outlier_look(struct gates *g, const struct cluster *c, uint64_t now_ms,
                                const struct outlier_ops *ops, void *ctx)
{
    if (c->options.eject_rate &&
        now_ms >= atomic_load_explicit(&g->clusters[c->slot].judge_ms, memory_order_relaxed))
        outlier_judge(g, c, now_ms, ops, ctx);
}

#endif
