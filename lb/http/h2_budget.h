/* h2_budget: how often a peer may do something that costs us more than it costs the peer. A bucket of tokens:
 * `burst` of them at first and at most, `rate` new ones a second, and some back for honest work. Embedded;
 * one thread; the clock is the caller's. */
#ifndef COX_HTTP_H2_BUDGET_H
#define COX_HTTP_H2_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct h2_budget {
    uint64_t milli; /* thousandths of a token */
    uint64_t seen_ms;
    uint32_t burst, rate;
};

static inline void h2_budget_init(struct h2_budget *b, uint32_t burst, uint32_t rate)
{
    *b = (struct h2_budget){.milli = burst * 1000ull, .burst = burst, .rate = rate};
}

static inline void h2_budget_give(struct h2_budget *b, uint32_t tokens)
{
    uint64_t full = b->burst * 1000ull;
    b->milli += tokens * 1000ull;
    if (b->milli > full)
        b->milli = full;
}

/* Is more than a quarter of the burst used up? */
static inline bool h2_budget_is_strained(const struct h2_budget *b, uint64_t now_ms)
{
    uint64_t passed = b->seen_ms && now_ms > b->seen_ms ? now_ms - b->seen_ms : 0;
    return b->milli + (passed > 1000000 ? 1000000 : passed) * b->rate < b->burst * 750ull;
}

/* False: there is no token left, the connection has to end. */
static inline bool h2_budget_take(struct h2_budget *b, uint64_t now_ms)
{
    if (now_ms > b->seen_ms) {
        uint64_t full = b->burst * 1000ull, passed = b->seen_ms ? now_ms - b->seen_ms : 0;
        b->milli += (passed > 1000000 ? 1000000 : passed) * b->rate;
        if (b->milli > full)
            b->milli = full;
        b->seen_ms = now_ms;
    }
    if (b->milli < 1000)
        return false;
    b->milli -= 1000;
    return true;
}

#endif
