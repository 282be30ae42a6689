#include "topo/balance_policy.h"

/* Steps over those that are out before we look through all of them. */
#define STEPS_MAX 16

/* The cursor is a place on the circle of weights. It goes on in steps that are coprime to the total
 * (cluster_build), so that a round visits every place once and neighbours in time are far apart in place. */
static uint32_t step(const struct cluster *c, uint32_t *cursor)
{
    uint32_t total = balance_total(c), at = *cursor;
    if (at >= total)
        at %= total; /* a fresh random cursor, or the cluster changed */
    *cursor = at + c->stride < total ? at + c->stride : at + c->stride - total;
    return balance_at(c, at);
}

uint32_t balance_round_robin(const struct cluster *c, struct balance_request *r)
{
    uint32_t at = 0;
    for (int i = 0; i < STEPS_MAX; i++) {
        at = step(c, r->cursor);
        if (!balance_is_passed_over(c, r, at))
            return at;
    }
    return balance_scan(c, r, at, BALANCE_NONE);
}
