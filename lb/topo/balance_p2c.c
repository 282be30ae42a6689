/* The policies that draw: by weight, the better of two by load, the better of two by load and time. */
#include "base/clock.h"
#include "topo/balance_policy.h"

/* Draws that may hit one that is out before we look through all of them. */
#define DRAWS_MAX      4
#define DRAWS_RAMP_MAX 16

#define EWMA_DECAY_NS (10 * NS_PER_S) /* an old sample weighs half after this */

static int draws_max(const struct balance_request *r)
{
    return r->checks ? DRAWS_RAMP_MAX : DRAWS_MAX;
}

static uint32_t draw_first(const struct cluster *c, struct balance_request *r)
{
    uint32_t at = 0;
    for (int i = draws_max(r); i; i--) {
        at = balance_at(c, balance_draw(r->random, balance_total(c)));
        if (!balance_is_passed_over(c, r, at))
            return at;
    }
    return balance_scan(c, r, at, BALANCE_NONE);
}

/* By weight among all but `first`: its share is cut out of the circle, so one draw is enough. */
static uint32_t draw_second(const struct cluster *c, struct balance_request *r, uint32_t first)
{
    uint32_t start = balance_start(c, first), weight = balance_weight(c, first), at = 0;
    for (int i = draws_max(r); i; i--) {
        uint32_t position = balance_draw(r->random, balance_total(c) - weight);
        at = balance_at(c, position < start ? position : position + weight);
        if (!balance_is_passed_over(c, r, at))
            return at;
    }
    if (r->checks & CHECK_RAMP)
        return BALANCE_NONE; /* whoever is left has only just begun: no rival yet */
    return balance_scan(c, r, at, first);
}

uint32_t balance_by_weight(const struct cluster *c, struct balance_request *r)
{
    return draw_first(c, r);
}

uint32_t balance_p2c(const struct cluster *c, struct balance_request *r)
{
    uint32_t first = draw_first(c, r);
    if (first == BALANCE_NONE || c->candidate_count < 2)
        return first;
    uint32_t second = draw_second(c, r, first);
    if (second == BALANCE_NONE)
        return first;
    /* load/weight compared without dividing; idle ones are equal, and then the first draw, which is by
     * weight, stands */
    uint64_t a = balance_load(c, r, first) * balance_weight(c, second);
    uint64_t b = balance_load(c, r, second) * balance_weight(c, first);
    return b < a ? second : first;
}

/* ---- peak_ewma ---- */

/* 1/(1 + t) stands for 2^-t: near enough, never negative, and cheap. */
static double fade(const struct balance_ewma *e, uint64_t now_ns)
{
    double age = now_ns > e->at_ns ? (double)(now_ns - e->at_ns) : 0;
    return 1 / (1 + age / (double)EWMA_DECAY_NS);
}

void balance_ewma_feed(struct balance_ewma *e, uint64_t sample_ns, uint64_t now_ns)
{
    double sample = (double)sample_ns, old = e->at_ns ? fade(e, now_ns) : 0;
    if (e->at_ns && sample < e->value_ns) /* many samples a moment: each counts for a little at least */
        sample = e->value_ns * (old < 0.95 ? old : 0.95) + sample * (1 - (old < 0.95 ? old : 0.95));
    *e = (struct balance_ewma){.at_ns = now_ns, .value_ns = sample};
}

/* One that this worker knows nothing of is tried when it is idle, and taken for slow while we wait to learn.
 */
static double cost_of(const struct cluster *c, const struct balance_request *r, uint32_t candidate)
{
    const struct balance_ewma *e = &r->ewma[c->endpoints[c->candidates[candidate]].slot];
    uint64_t load = balance_load(c, r, candidate);
    if (!e->at_ns)
        return (double)(load * BALANCE_EWMA_FAILED_NS);
    return e->value_ns * fade(e, r->now_ns) * (double)(load + 1);
}

uint32_t balance_peak_ewma(const struct cluster *c, struct balance_request *r)
{
    uint32_t first = draw_first(c, r);
    if (first == BALANCE_NONE || c->candidate_count < 2 || !r->ewma)
        return first;
    uint32_t second = draw_second(c, r, first);
    if (second == BALANCE_NONE)
        return first;
    double a = cost_of(c, r, first) * balance_weight(c, second),
           b = cost_of(c, r, second) * balance_weight(c, first);
    return b < a ? second : first;
}
