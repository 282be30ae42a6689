#include "fleet.h"

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

#define REVERSAL_S 60.0

void fleet_init(struct fleet *f, uint32_t ready, uint32_t min, uint32_t max, double delay_s, double delay_cv,
                uint64_t seed)
{
    *f = (struct fleet){.min = min,
                        .max = max,
                        .target = ready,
                        .ready = ready,
                        .delay_s = delay_s,
                        .delay_cv = delay_cv,
                        .random = random_make(seed, 3),
                        .now_s = -INFINITY,
                        .last_action_s = -INFINITY};
}

void fleet_fini(struct fleet *f)
{
    free(f->starting);
    f->starting = NULL;
}

static void pass(struct fleet *f, double until_s)
{
    if (until_s > f->now_s && isfinite(f->now_s)) {
        const double dt = until_s - f->now_s;
        f->cost_s += dt * (double)(f->ready + f->starting_count);
        f->ready_s += dt * f->ready;
    }
    f->now_s = until_s;
}

uint32_t fleet_advance(struct fleet *f, double now_s)
{
    uint32_t born = 0;
    for (; fleet_next_ready(f) <= now_s; born++) {
        pass(f, fmax(fleet_next_ready(f), f->now_s));
        f->starting_head++;
        f->starting_count--;
        f->ready++;
    }
    pass(f, now_s);
    return born;
}

static void make_room(struct fleet *f)
{
    if (f->starting_head > f->starting_count) {
        memmove(f->starting, f->starting + f->starting_head, f->starting_count * sizeof(*f->starting));
        f->starting_head = 0;
        return;
    }
    f->starting_cap = f->starting_cap ? f->starting_cap * 2 : 64;
    f->starting = must(realloc(f->starting, f->starting_cap * sizeof(*f->starting)));
}

static void order(struct fleet *f)
{
    const double delay =
        f->delay_cv > 0.0 ? f->delay_s * random_lognormal(&f->random, f->delay_cv) : f->delay_s;
    const struct start s = {.ordered_s = f->now_s, .ready_s = f->now_s + delay};
    if (f->starting_head + f->starting_count == f->starting_cap)
        make_room(f);
    struct start *list = f->starting + f->starting_head;
    size_t at = f->starting_count; /* those that are ready earlier stand before it, and of equals the older */
    while (at > 0 && list[at - 1].ready_s > s.ready_s)
        at--;
    memmove(list + at + 1, list + at, (f->starting_count - at) * sizeof(*list));
    list[at] = s;
    f->starting_count++;
    f->orders++;
}

static void cancel_newest(struct fleet *f)
{
    struct start *list = f->starting + f->starting_head;
    size_t newest = f->starting_count - 1;
    for (size_t i = newest; f->delay_cv > 0.0 && i-- > 0;) /* with one delay the last is the newest */
        if (list[i].ordered_s > list[newest].ordered_s)
            newest = i;
    memmove(list + newest, list + newest + 1, (f->starting_count - newest - 1) * sizeof(*list));
    f->starting_count--;
}

static void note_action(struct fleet *f, int direction)
{
    f->actions++;
    if (direction != f->last_direction && f->now_s - f->last_action_s <= REVERSAL_S)
        f->reversals++;
    f->last_direction = direction;
    f->last_action_s = f->now_s;
}

uint32_t fleet_want(struct fleet *f, double wanted)
{
    const double whole = ceil(wanted - 1e-9);
    uint32_t target = whole >= (double)f->max ? f->max : whole <= 0.0 ? 0 : (uint32_t)whole;
    target = target < f->min ? f->min : target;
    uint32_t drained = 0;
    if (target == f->target)
        return 0;
    note_action(f, target > f->target ? 1 : -1);
    f->target = target;
    while (f->ready + f->starting_count < target)
        order(f);
    while (f->ready + f->starting_count > target && f->starting_count)
        cancel_newest(f);
    if (f->ready > target) {
        drained = f->ready - target;
        f->ready = target;
    }
    return drained;
}

void fleet_fail(struct fleet *f, uint32_t count)
{
    f->ready -= count;
    while (f->ready + f->starting_count < f->target)
        order(f);
}

void fleet_count_from(struct fleet *f)
{
    f->cost_s = 0.0;
    f->actions = f->reversals = f->orders = 0;
    f->last_action_s = -INFINITY;
}
