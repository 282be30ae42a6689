/* balance: which endpoint of a cluster gets the next attempt.
 *
 * A policy is one function over an immutable cluster, the worker's own small state and a reader of in-flight
 * counts. It skips endpoints already tried. Runs on the request path: no allocation, no lock, no division by
 * input. */
#ifndef COX_TOPO_BALANCE_H
#define COX_TOPO_BALANCE_H

#include <stdint.h>

#include "base/ledger.h"
#include "topo/topology.h"

#define BALANCE_TRIED_MAX 8

/* What the policies may look at. Made on the stack for each pick. */
struct balance_request {
    const struct ledger *ledger;
    uint64_t *random;  /* the worker's xorshift state */
    uint32_t *cursor;  /* the worker's round-robin cursor of this cluster */
    uint32_t tried[BALANCE_TRIED_MAX]; /* endpoint slots */
    uint32_t tried_count;
};

/* Index into cluster->endpoints, or -1 when nothing is left. When every candidate was tried already: -1. */
int balance_pick(const struct cluster *c, struct balance_request *r);

uint64_t balance_random(uint64_t *state);

#endif
