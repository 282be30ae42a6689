#include "topo/balance_policy.h"

/* The search for the least: who it is so far, and the weight of all that are equal to it. */
struct least {
    uint32_t at, weight, equal_weight;
    uint64_t load;
};

static void consider(const struct cluster *c, struct balance_request *r, uint32_t at, struct least *l)
{
    uint32_t weight = balance_weight(c, at);
    uint64_t load = balance_load(c, r, at);
    uint64_t mine = l->at == BALANCE_NONE ? 0 : load * l->weight, theirs = l->load * weight;
    if (l->at == BALANCE_NONE || mine < theirs) {
        *l = (struct least){.at = at, .weight = weight, .equal_weight = weight, .load = load};
    } else if (mine == theirs) { /* among equals by weight, in one walk */
        l->equal_weight += weight;
        if (balance_draw(r->random, l->equal_weight) < weight) {
            l->at = at;
            l->weight = weight;
            l->load = load;
        }
    }
}

uint32_t balance_least_in_flight(const struct cluster *c, struct balance_request *r)
{
    struct least l = {.at = BALANCE_NONE};
    for (uint32_t i = 0; i < c->candidate_count; i++)
        if (!balance_is_passed_over(c, r, i))
            consider(c, r, i, &l);
    return l.at != BALANCE_NONE ? l.at : balance_scan(c, r, 0, BALANCE_NONE);
}
