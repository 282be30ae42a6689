/* balance_policy: what the policies of balance.h share. Numbers of candidates are indexes of
 * cluster->candidates. Pure; a worker's thread. */
#ifndef COX_TOPO_BALANCE_POLICY_H
#define COX_TOPO_BALANCE_POLICY_H

#include "topo/balance.h"

#define BALANCE_NONE UINT32_MAX

/* Two different candidates by weight; the one with fewer attempts in flight for its weight. A tie goes to the
 * first that was drawn. */
uint32_t balance_p2c(const struct cluster *c, struct balance_request *r);
/* Every candidate exactly as often as its weight says in each round of the sum of weights, interleaved. */
uint32_t balance_round_robin(const struct cluster *c, struct balance_request *r);

bool balance_was_tried(const struct cluster *c, const struct balance_request *r, uint32_t candidate);
/* The candidate whose share of the weights holds `position`, 0 .. balance_total - 1. */
uint32_t balance_at(const struct cluster *c, uint32_t position);
/* The first candidate from `from` on, around the end, that was not tried and is not `other`; or BALANCE_NONE.
 */
uint32_t balance_scan(const struct cluster *c, const struct balance_request *r, uint32_t from,
                      uint32_t other);

static inline uint32_t balance_total(const struct cluster *c)
{
    return c->weight_sums[c->candidate_count - 1];
}

static inline uint32_t balance_start(const struct cluster *c, uint32_t candidate)
{
    return candidate ? c->weight_sums[candidate - 1] : 0;
}

static inline uint32_t balance_weight(const struct cluster *c, uint32_t candidate)
{
    return c->weight_sums[candidate] - balance_start(c, candidate);
}

/* 0 .. below - 1 without a division; the bias is below 2^-12 for every total that can occur, and far below in
 * practice. */
static inline uint32_t balance_draw(uint64_t *random, uint32_t below)
{
    return (uint32_t)(((balance_random(random) >> 32) * below) >> 32);
}

#endif
