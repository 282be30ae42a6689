/* gate: what the workers of one generation must tell each other about an endpoint beyond the ledger: how much
 * of its max_in_flight is taken (by other generations, too: places.h), and whether real traffic found it
 * broken (passive ejection).
 *
 * What was found broken is one segment in the proxy's memory, one cache line an endpoint slot, made with the
 * proxy and freed with it: a new generation starts with its own, empty one. The line is written only when
 * something failed; healthy traffic reads it at most. Any worker.
 *
 * `mark` ties a line to the endpoint whose failures it tells of: a slot that was given to another endpoint
 * starts anew. */
#ifndef COX_TOPO_GATE_H
#define COX_TOPO_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "topo/places.h"
#include "topo/topology.h"

#define GATE_GROWTH_MAX 10 /* the n-th ejection in a row lasts n times eject_time, up to this */

struct gate {
    _Alignas(64) _Atomic uint32_t failures; /* in a row */
    _Atomic uint32_t times;                 /* ejections in a row */
    _Atomic uint32_t mark;                  /* endpoint.mark of the other three */
    _Atomic uint64_t until_ms;              /* monotonic; ejected until then */
    /* outlier.c's, under gate_cluster.busy: counts at the last look, and since */
    uint64_t seen_attempts, seen_failures;
    uint32_t look_attempts, look_failures;
};

_Static_assert(sizeof(struct gate) == 64, "a line for each endpoint, and no more");

struct gate_cluster {
    _Alignas(64) _Atomic uint64_t until_ms; /* none of its endpoints is ejected after this */
    _Atomic uint64_t judge_ms;              /* when failures are compared next (outlier.h) */
    _Atomic bool busy;                      /* a worker is deciding on an ejection */
};

struct gates {
    struct gate *endpoints;        /* by slot */
    struct gate_cluster *clusters; /* by slot */
    struct places places;          /* of this process alone until gates_share */
    void *base;                    /* owned mapping; pages appear when they are written */
    size_t bytes;
};

/* False when memory is out. */
bool gates_init(struct gates *g, uint32_t max_clusters, uint32_t max_endpoints)
    __attribute__((warn_unused_result));
/* The places are those of all generations from now on; row is ours. Before workers start. False: they stay
 * our own. */
bool gates_share(struct gates *g, int places_fd, uint32_t row) __attribute__((warn_unused_result));
void gates_fini(struct gates *g);

static inline bool gate_is_ejected(const struct gate *g, uint32_t mark, uint64_t now_ms)
{
    return atomic_load_explicit(&g->until_ms, memory_order_relaxed) > now_ms &&
           atomic_load_explicit(&g->mark, memory_order_relaxed) == mark;
}

/* An attempt on this endpoint of the cluster failed by the server's or the network's fault. Not 0: it was
 * ejected now, until then. */
uint64_t gate_failed(struct gates *g, const struct cluster *c, const struct endpoint *e, uint64_t now_ms);
/* For a reason of the caller's, who holds `busy`. 0: it is out already, or no more may go. */
uint64_t gate_eject(struct gates *g, const struct cluster *c, const struct endpoint *e, uint64_t now_ms);
/* The slot may have been another endpoint's before: then it starts anew, and this is true. */
bool gate_adopt(struct gate *g, uint32_t mark);
void gate_recovered(struct gate *g, uint64_t eject_ms, uint64_t now_ms); /* the slow road of gate_worked */

/* It answered. Reads only, unless there were failures. */
static inline void gate_worked(struct gate *g, uint64_t eject_ms, uint64_t now_ms)
{
    if (atomic_load_explicit(&g->failures, memory_order_relaxed) |
        atomic_load_explicit(&g->times, memory_order_relaxed))
        gate_recovered(g, eject_ms, now_ms);
}

#endif
