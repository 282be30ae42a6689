/* deadline: lazy time-outs for workers. Setting a later time on a queued deadline is one store.
 *
 *   wheel: 1024 slots of 32 ms. A deadline sits in the slot of some time ≤ its own; when that slot comes up
 * and its time was moved on meanwhile, it is queued again. So a keep-alive connection that moves its deadline
 * twice a request touches the wheel about twice a minute.
 *
 * Fires up to one tick late, never early. A deadline is embedded in its object, belongs to one worker, and
 * must be stopped (deadline_stop) before its object goes. */
#ifndef COX_RUN_DEADLINE_H
#define COX_RUN_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

#define WHEEL_SLOTS   1024u
#define WHEEL_TICK_MS 32u

struct deadline {
    struct list node;
    uint64_t at_ms;     /* 0: none */
    uint64_t queued_ms; /* time of the slot it sits in; 0: in none */
    void (*fn)(struct deadline *d);
};

struct wheel {
    struct list slots[WHEEL_SLOTS];
    uint64_t bits[WHEEL_SLOTS / 64]; /* which slots hold something */
    uint64_t done_ms;                /* all slots up to this time were run */
    uint32_t count;
};

void wheel_init(struct wheel *w, uint64_t now_ms);
/* Fires what is due. Callbacks may set and stop any deadline. */
void wheel_run(struct wheel *w, uint64_t now_ms);
/* Milliseconds until the next slot that holds something, or -1 when there is none. */
int64_t wheel_next_ms(const struct wheel *w, uint64_t now_ms);

void deadline_init(struct deadline *d, void (*fn)(struct deadline *d));
void deadline_queue(struct wheel *w, struct deadline *d); /* the slow road of deadline_set */
void deadline_stop(struct wheel *w, struct deadline *d);

static inline void deadline_set(struct wheel *w, struct deadline *d, uint64_t at_ms)
{
    d->at_ms = at_ms;
    if (!d->queued_ms || at_ms < d->queued_ms)
        deadline_queue(w, d);
}

/* No time-out for now; it may stay queued, which is harmless. */
static inline void deadline_clear(struct deadline *d)
{
    d->at_ms = 0;
}

#endif
