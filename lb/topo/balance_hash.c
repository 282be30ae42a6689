/* Consistent hashing with bounded loads: a ring of points, each endpoint's number of them by weight. A key
 * belongs to the first point from its hash on; one that has its share and a quarter (hash_balance) in flight
 * is stepped over, so that a popular key spills to its neighbours and not on everybody. */
#include "topo/balance_hash.h"

#include <stdlib.h>

#include "base/panic.h"
#include "topo/balance_policy.h"

#define POINTS_EACH 256u       /* of the heaviest; shares are then within some 6 % of what weights say */
#define POINTS_MAX  (1u << 20) /* of a ring */

static int by_place(const void *a, const void *b)
{
    const struct ring_point *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return (x->candidate > y->candidate) - (x->candidate < y->candidate);
}

static uint32_t points_of(const struct cluster *c, uint32_t candidate, uint32_t heaviest)
{
    uint32_t each = POINTS_MAX / c->candidate_count;
    each = each > POINTS_EACH ? POINTS_EACH : each;
    uint64_t n = (uint64_t)each * balance_weight(c, candidate) / heaviest;
    return n ? (uint32_t)n : 1;
}

void ring_build(struct cluster *c)
{
    uint32_t heaviest = 1, count = 0;
    if (!c->candidate_count)
        return;
    for (uint32_t i = 0; i < c->candidate_count; i++)
        heaviest = balance_weight(c, i) > heaviest ? balance_weight(c, i) : heaviest;
    for (uint32_t i = 0; i < c->candidate_count; i++)
        count += points_of(c, i, heaviest);
    c->ring = must(malloc(count * sizeof *c->ring));
    for (uint32_t i = 0; i < c->candidate_count; i++)
        for (uint32_t k = points_of(c, i, heaviest); k--;)
            c->ring[c->ring_count++] = (struct ring_point){
                .at = (uint32_t)(balance_hash(endpoint_id(&c->endpoints[c->candidates[i]]), k) >> 32),
                .candidate = i};
    qsort(c->ring, c->ring_count, sizeof *c->ring, by_place);
}

static uint32_t place_of(const struct cluster *c, uint32_t hash)
{
    uint32_t low = 0, high = c->ring_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (c->ring[middle].at < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low < c->ring_count ? low : 0;
}

/* With one more it would have more than its share of all, this one included, times hash_balance, rounded up.
 * The sum is the cluster's own count: one cell a worker instead of one an endpoint. */
static bool is_above(const struct cluster *c, const struct balance_request *r, uint32_t candidate,
                     uint64_t all)
{
    double share = c->hash_balance * (double)(all + 1) * balance_weight(c, candidate) / balance_total(c);
    return (double)balance_load(c, r, candidate) >= share;
}

uint32_t balance_consistent_hash(const struct cluster *c, struct balance_request *r)
{
    uint32_t at = place_of(c, (uint32_t)(r->hash >> 32)), first = c->ring[at].candidate;
    uint64_t all = balance_cluster_load(r, c->slot);
    for (uint32_t i = 0; i < c->ring_count; i++) {
        uint32_t candidate = c->ring[at].candidate;
        if (!balance_is_passed_over(c, r, candidate) && !is_above(c, r, candidate, all))
            return candidate;
        at = at + 1 < c->ring_count ? at + 1 : 0;
    }
    return balance_scan(c, r, first, BALANCE_NONE); /* what is left is above its share, or has just begun */
}
