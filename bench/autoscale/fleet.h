/* fleet: the members of the simulated set: ordered, starting, ready, and what they cost.
 *
 * It does what the core does with an answer of a scaler: rounds up, clamps, orders the difference at once;
 * when there are too many, those that were ordered last go first, before they are ready if need be. Time is
 * pushed by fleet_advance and never runs backwards. Draining is the engine's, which knows what is in flight.
 */
#ifndef COX_AUTOSCALE_FLEET_H
#define COX_AUTOSCALE_FLEET_H

#include <stddef.h>
#include <stdint.h>

#include "random.h"

struct start {
    double ordered_s, ready_s;
};

struct fleet {
    uint32_t min, max;
    uint32_t target; /* what is wanted of it */
    uint32_t ready;
    struct start *starting; /* owned: from `starting_head` on, by the time when they are ready */
    size_t starting_head, starting_count, starting_cap;
    double delay_s, delay_cv; /* of the start-up; CV 0: always the same */
    struct random random;
    double now_s;
    /* what it came to, since fleet_count_from */
    double cost_s;               /* member-seconds from order until drained */
    double ready_s;              /* ∫ ready dt, for ever */
    uint64_t actions, reversals; /* changes of the target; those against one of the minute before */
    uint64_t orders;
    double last_action_s;
    int last_direction;
};

void fleet_init(struct fleet *f, uint32_t ready, uint32_t min, uint32_t max, double delay_s, double delay_cv,
                uint64_t seed);
void fleet_fini(struct fleet *f);
/* Integrals and starts up to now. Returns how many became ready. */
uint32_t fleet_advance(struct fleet *f, double now_s);
/* When the next one is ready; infinity: none starts. */
static inline double fleet_next_ready(const struct fleet *f)
{
    return f->starting_count ? f->starting[f->starting_head].ready_s : (double)INFINITY;
}
/* What a scaler wants, from now on. Returns how many ready members are to be drained: they are no longer
 * among the ready. */
uint32_t fleet_want(struct fleet *f, double wanted);
/* Ready members that are gone at once; replacements are ordered. */
void fleet_fail(struct fleet *f, uint32_t count);
/* From now on cost and actions count. */
void fleet_count_from(struct fleet *f);
/* Time that members spent draining. */
static inline void fleet_drained(struct fleet *f, double seconds)
{
    f->cost_s += seconds;
}

#endif
