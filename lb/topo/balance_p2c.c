#include "topo/balance_policy.h"

/* Draws that may hit a tried endpoint before we look through all of them. */
#define DRAWS_MAX 4

static uint32_t draw_first(const struct cluster *c, struct balance_request *r)
{
    uint32_t at = 0;
    for (int i = 0; i < DRAWS_MAX; i++) {
        at = balance_at(c, balance_draw(r->random, balance_total(c)));
        if (!balance_was_tried(c, r, at))
            return at;
    }
    return balance_scan(c, r, at, BALANCE_NONE);
}

/* By weight among all but `first`: its share is cut out of the circle, so one draw is enough. */
static uint32_t draw_second(const struct cluster *c, struct balance_request *r, uint32_t first)
{
    uint32_t start = balance_start(c, first), weight = balance_weight(c, first), at = 0;
    for (int i = 0; i < DRAWS_MAX; i++) {
        uint32_t position = balance_draw(r->random, balance_total(c) - weight);
        at = balance_at(c, position < start ? position : position + weight);
        if (!balance_was_tried(c, r, at))
            return at;
    }
    return balance_scan(c, r, at, first);
}

static uint64_t load_of(const struct cluster *c, const struct balance_request *r, uint32_t candidate)
{
    uint32_t slot = c->endpoints[c->candidates[candidate]].slot;
    return r->ledger ? ledger_endpoint_in_flight(r->ledger, slot) : 0;
}

uint32_t balance_p2c(const struct cluster *c, struct balance_request *r)
{
    uint32_t first = draw_first(c, r);
    if (first == BALANCE_NONE || c->candidate_count < 2)
        return first;
    uint32_t second = draw_second(c, r, first);
    if (second == BALANCE_NONE)
        return first;
    /* load/weight compared without dividing; idle ones are equal, and then the first draw, which is by weight, stands */
    uint64_t a = load_of(c, r, first) * balance_weight(c, second);
    uint64_t b = load_of(c, r, second) * balance_weight(c, first);
    return b < a ? second : first;
}
