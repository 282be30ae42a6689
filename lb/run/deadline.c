#include "run/deadline.h"

#include "base/panic.h"

static uint32_t slot_of(uint64_t at_ms)
{
    return (uint32_t)(at_ms / WHEEL_TICK_MS) & (WHEEL_SLOTS - 1);
}

void wheel_init(struct wheel *w, uint64_t now_ms)
{
    for (uint32_t i = 0; i < WHEEL_SLOTS; i++)
        list_init(&w->slots[i]);
    for (uint32_t i = 0; i < WHEEL_SLOTS / 64; i++)
        w->bits[i] = 0;
    w->done_ms = now_ms / WHEEL_TICK_MS * WHEEL_TICK_MS;
    w->count = 0;
}

void deadline_init(struct deadline *d, void (*fn)(struct deadline *d))
{
    list_init(&d->node);
    d->at_ms = d->queued_ms = 0;
    d->fn = fn;
}

static void unlink_node(struct wheel *w, struct deadline *d)
{
    uint32_t slot = slot_of(d->queued_ms);
    list_remove(&d->node);
    if (list_is_empty(&w->slots[slot]))
        w->bits[slot / 64] &= ~(1ull << (slot % 64));
    d->queued_ms = 0;
    w->count--;
}

void deadline_queue(struct wheel *w, struct deadline *d)
{
    if (d->queued_ms)
        unlink_node(w, d);
    /* Rounded up to a tick, at least the next slot and at most the horizon. */
    uint64_t at = (d->at_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS * WHEEL_TICK_MS;
    uint64_t first = w->done_ms + WHEEL_TICK_MS,
             last = w->done_ms + (uint64_t)(WHEEL_SLOTS - 1) * WHEEL_TICK_MS;
    at = at < first ? first : at > last ? last : at;
    uint32_t slot = slot_of(at);
    list_push(&w->slots[slot], &d->node);
    w->bits[slot / 64] |= 1ull << (slot % 64);
    d->queued_ms = at;
    w->count++;
}

void deadline_stop(struct wheel *w, struct deadline *d)
{
    d->at_ms = 0;
    if (d->queued_ms)
        unlink_node(w, d);
}

static void run_slot(struct wheel *w, uint32_t slot, uint64_t now_ms)
{
    struct list due;
    list_init(&due);
    list_splice(&due, &w->slots[slot]);
    w->bits[slot / 64] &= ~(1ull << (slot % 64));
    while (!list_is_empty(&due)) {
        struct deadline *d = CONTAINER_OF(due.next, struct deadline, node);
        unlink_node(w, d);
        if (!d->at_ms)
            continue;
        if (d->at_ms > now_ms)
            deadline_queue(w, d);
        else {
            d->at_ms = 0;
            d->fn(d);
        }
    }
}

/* The hand stood still for more than a turn: it jumps to now, and every slot is looked at once. What is not
 * due yet is queued again from where the hand is now, so a stall displaces nothing. */
static void run_all(struct wheel *w, uint64_t now_ms)
{
    w->done_ms = now_ms / WHEEL_TICK_MS * WHEEL_TICK_MS;
    for (uint32_t i = 1; i <= WHEEL_SLOTS && w->count; i++)
        run_slot(w, slot_of(w->done_ms + (uint64_t)i * WHEEL_TICK_MS), now_ms);
}

void wheel_run(struct wheel *w, uint64_t now_ms)
{
    if (now_ms >= w->done_ms + (uint64_t)WHEEL_SLOTS * WHEEL_TICK_MS)
        run_all(w, now_ms);
    while (w->done_ms + WHEEL_TICK_MS <= now_ms) {
        if (!w->count) {
            w->done_ms = now_ms / WHEEL_TICK_MS * WHEEL_TICK_MS;
            return;
        }
        w->done_ms += WHEEL_TICK_MS;
        run_slot(w, slot_of(w->done_ms), now_ms);
    }
}

int64_t wheel_next_ms(const struct wheel *w, uint64_t now_ms)
{
    if (!w->count)
        return -1;
    for (uint32_t i = 1; i <= WHEEL_SLOTS; i++) {
        uint64_t at = w->done_ms + (uint64_t)i * WHEEL_TICK_MS;
        uint32_t slot = slot_of(at);
        if (!w->bits[slot / 64] && slot % 64 == 0) {
            i += 63; /* an empty word */
            continue;
        }
        if (w->bits[slot / 64] >> (slot % 64) & 1)
            return at > now_ms ? (int64_t)(at - now_ms) : 0;
    }
    return 0;
}
