/* balance: which endpoint of a cluster gets the next attempt.
 *
 * A policy is one function over an immutable cluster, the worker's own small state and a reader of in-flight
 * counts. It skips endpoints already tried, those at max_in_flight, and, while there are others, those that
 * real traffic found broken (gate.h); when that leaves nothing of a tier the next one serves. An endpoint in its slow start takes part in a growing share of the
 * picks only. Runs on the request path: no allocation, no lock, no division by input. */
#ifndef COX_TOPO_BALANCE_H
#define COX_TOPO_BALANCE_H

#include <stdint.h>

#include "base/ledger.h"
#include "topo/gate.h"
#include "topo/topology.h"

#define BALANCE_TRIED_MAX 8
#define BALANCE_FULL      (-2)

/* How long answers of an endpoint take, as one worker sees it: a mean that jumps up at once and comes down
 * slowly, so that a server that begins to struggle is avoided before the mean would tell. */
struct balance_ewma {
    uint64_t at_ns; /* of the last sample; 0: none yet */
    double value_ns;
};

/* Sums over many workers, kept for as long as one reading of the clock is valid: what the other workers have
 * in flight at an endpoint. With few workers reading their cells is cheaper. A worker's own, by endpoint
 * slot. */
struct balance_load {
    uint64_t at_ns; /* 0: none yet */
    uint32_t others;
};
#define BALANCE_READ_WORKERS 8 /* up to so many are read directly */

/* What the policies may look at. Made on the stack for each pick, or kept over the attempts of one request.
 */
struct balance_request {
    const struct ledger *ledger;
    const struct gates *gates;         /* NULL: neither limits nor ejection */
    const struct ledger_writer *own;   /* the worker's own cells; with loads */
    struct balance_load *loads;        /* the worker's; NULL: the cells of all workers are read each time */
    struct balance_load *cluster_load; /* with loads: of this cluster */
    const struct balance_ewma *ewma;   /* the worker's, by endpoint slot; for peak_ewma */
    uint64_t *random;                  /* the worker's xorshift state */
    uint32_t *cursor;                  /* the worker's round-robin cursor of this cluster */
    uint64_t now_ns, wall_ns;          /* of this pick */
    uint64_t hash;                     /* of what consistent_hash goes by */
    int preferred;                     /* endpoint index + 1 that a sticky cookie names, or 0 */
    uint32_t tried[BALANCE_TRIED_MAX]; /* endpoint slots */
    uint32_t tried_count;
    /* the policies' own, during a pick */
    uint32_t checks;  /* enum balance_check: what must be looked at besides `tried` */
    bool saw_full;    /* an endpoint was left out only because it is at max_in_flight */
    uint64_t lottery; /* decides who of those in slow start takes part */
};

/* Index into cluster->endpoints, -1 when nothing is left (all were tried, or there is none), BALANCE_FULL
 * when what is left is at max_in_flight. The caller takes the place (places_take) and picks again when another
 * worker was faster. */
int balance_pick(const struct cluster *c, struct balance_request *r);

/* xorshift; any state. */
static inline uint64_t balance_random(uint64_t *state)
{
    uint64_t x = *state ? *state : 0x9e3779b97f4a7c15ull; /* zero is the one state that it never leaves */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x;
}
/* The same in every process and build: what one proxy hashes, the next does alike. */
uint64_t balance_hash(struct str text, uint64_t seed);

/* An answer was complete after so long, or an attempt failed (then it counts as BALANCE_EWMA_FAILED_NS). */
#define BALANCE_EWMA_FAILED_NS 1000000000ull
void balance_ewma_feed(struct balance_ewma *e, uint64_t sample_ns, uint64_t now_ns);

#endif
