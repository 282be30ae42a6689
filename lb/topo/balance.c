#include "topo/balance.h"

#include "topo/balance_policy.h"

uint64_t balance_random(uint64_t *state)
{
    uint64_t x =
        *state ? *state : 0x9e3779b97f4a7c15ull; /* zero is the one state that xorshift never leaves */
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x;
}

bool balance_was_tried(const struct cluster *c, const struct balance_request *r, uint32_t candidate)
{
    uint32_t slot = c->endpoints[c->candidates[candidate]].slot;
    for (uint32_t i = 0; i < r->tried_count; i++)
        if (r->tried[i] == slot)
            return true;
    return false;
}

uint32_t balance_at(const struct cluster *c, uint32_t position)
{
    uint32_t low = 0, high = c->candidate_count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (position < c->weight_sums[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

uint32_t balance_scan(const struct cluster *c, const struct balance_request *r, uint32_t from, uint32_t other)
{
    uint32_t at = from;
    for (uint32_t i = 0; i < c->candidate_count; i++) {
        if (at != other && !balance_was_tried(c, r, at))
            return at;
        at = at + 1 < c->candidate_count ? at + 1 : 0;
    }
    return BALANCE_NONE;
}

int balance_pick(const struct cluster *c, struct balance_request *r)
{
    if (!c->candidate_count)
        return -1;
    uint32_t at = c->options.balance == BALANCE_ROUND_ROBIN ? balance_round_robin(c, r) : balance_p2c(c, r);
    return at == BALANCE_NONE ? -1 : (int)c->candidates[at];
}
