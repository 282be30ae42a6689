/* balance_policy: what the policies of balance.h share. Numbers of candidates are indexes of
 * cluster->candidates. Pure; a worker's thread. */
#ifndef COX_TOPO_BALANCE_POLICY_H
#define COX_TOPO_BALANCE_POLICY_H

#include "topo/balance.h"

#define BALANCE_NONE UINT32_MAX

enum balance_check { CHECK_FULL = 1, CHECK_EJECTED = 2, CHECK_RAMP = 4 };

/* Two different candidates by weight; the one with fewer attempts in flight for its weight. A tie goes to the
 * first that was drawn. */
uint32_t balance_p2c(const struct cluster *c, struct balance_request *r);
/* The same with (attempts in flight + 1) times the time that answers take. */
uint32_t balance_peak_ewma(const struct cluster *c, struct balance_request *r);
/* Of all candidates one of those with the fewest attempts in flight for their weight; ties by weight. */
uint32_t balance_least_in_flight(const struct cluster *c, struct balance_request *r);
/* By weight alone. */
uint32_t balance_by_weight(const struct cluster *c, struct balance_request *r);
/* Every candidate exactly as often as its weight says in each round of the sum of weights, interleaved. */
uint32_t balance_round_robin(const struct cluster *c, struct balance_request *r);
/* The first on the ring from r->hash on that has not more than hash_balance times its share in flight. */
uint32_t balance_consistent_hash(const struct cluster *c, struct balance_request *r);

/* The road of balance_is_out when there is something to check. */
bool balance_is_barred(const struct cluster *c, struct balance_request *r, uint32_t candidate);
bool balance_was_tried(const struct cluster *c, const struct balance_request *r, uint32_t candidate);
/* Loses its draw for this pick: it has only just begun to serve. The same answer throughout one pick. */
bool balance_sits_out(const struct cluster *c, const struct balance_request *r, uint32_t candidate);
/* The candidate whose share of the weights holds `position`, 0 .. balance_total - 1. */
uint32_t balance_at(const struct cluster *c, uint32_t position);
/* The first candidate from `from` on, around the end, that is not out and is not `other`; or BALANCE_NONE.
 */
uint32_t balance_scan(const struct cluster *c, struct balance_request *r, uint32_t from, uint32_t other);

/* Of others as of this reading of the clock, of our own as of now. */
uint64_t balance_kept_load(const struct balance_request *r, uint32_t slot);
/* In flight of the whole cluster. */
uint64_t balance_cluster_load(const struct balance_request *r, uint32_t slot);

/* Not to be picked: tried, at its limit, or ejected. */
static inline bool balance_is_out(const struct cluster *c, struct balance_request *r, uint32_t candidate)
{
    return (r->tried_count && balance_was_tried(c, r, candidate)) ||
           (r->checks && balance_is_barred(c, r, candidate));
}

/* Out, or not in this pick while there are others. */
static inline bool balance_is_passed_over(const struct cluster *c, struct balance_request *r,
                                          uint32_t candidate)
{
    return balance_is_out(c, r, candidate) || ((r->checks & CHECK_RAMP) && balance_sits_out(c, r, candidate));
}

static inline uint64_t balance_load(const struct cluster *c, const struct balance_request *r,
                                    uint32_t candidate)
{
    uint32_t slot = c->endpoints[c->candidates[candidate]].slot;
    if (r->loads)
        return balance_kept_load(r, slot);
    return r->ledger ? ledger_endpoint_in_flight(r->ledger, slot) : 0;
}

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
