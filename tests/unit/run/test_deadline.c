/* The wheel of deadlines: never early, at most a tick late, lazy moves, sleeps that are right, long stalls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "run/deadline.h"

#define T0   1000000u /* where every test begins, no multiple of a tick */
#define MANY 64

struct item {
    struct deadline d;
    struct wheel *w;
    uint64_t *clock;
    uint64_t fired_ms; /* when, 0: not yet */
    int fired;
    struct item *stops; /* another one that the callback stops */
    uint64_t again_ms;  /* the callback sets itself so far ahead, 0: not */
};

static void on_fire(struct deadline *d)
{
    struct item *i = CONTAINER_OF(d, struct item, d);
    i->fired++;
    i->fired_ms = *i->clock;
    if (i->stops)
        deadline_stop(i->w, &i->stops->d);
    if (i->again_ms)
        deadline_set(i->w, d, *i->clock + i->again_ms);
}

struct stage {
    struct wheel w;
    uint64_t now;
    struct item items[MANY];
};

static int set_up(void **state)
{
    struct stage *s = calloc(1, sizeof *s);
    s->now = T0 + 7;
    wheel_init(&s->w, s->now);
    for (int i = 0; i < MANY; i++) {
        s->items[i] = (struct item){.w = &s->w, .clock = &s->now};
        deadline_init(&s->items[i].d, on_fire);
    }
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static void run_to(struct stage *s, uint64_t now)
{
    s->now = now;
    wheel_run(&s->w, now);
}

/* Millisecond by millisecond, as no real loop would, to see the very moment. */
static void crawl(struct stage *s, uint64_t ms)
{
    for (uint64_t end = s->now + ms; s->now < end;)
        run_to(s, s->now + 1);
}

static void an_empty_wheel_sleeps_for_ever(void **state)
{
    struct stage *s = *state;
    assert_int_equal(wheel_next_ms(&s->w, s->now), -1);
    run_to(s, s->now + 10000000);
    assert_int_equal(wheel_next_ms(&s->w, s->now), -1);
}

static void fires_at_its_time_or_a_tick_later(void **state)
{
    struct stage *s = *state;
    static const uint64_t after[] = {1,     2,     31,    32,    33,    64,    100,   1000,
                                     32000, 32735, 32736, 32768, 33000, 70000, 200000};
    for (size_t i = 0; i < sizeof after / sizeof *after; i++) {
        struct item *it = &s->items[0];
        uint64_t at = s->now + after[i];
        it->fired = 0;
        deadline_set(&s->w, &it->d, at);
        crawl(s, after[i] + 2 * WHEEL_TICK_MS);
        assert_int_equal(it->fired, 1);
        assert_true(it->fired_ms >= at);
        assert_true(it->fired_ms < at + WHEEL_TICK_MS);
        assert_int_equal(s->w.count, 0);
    }
}

static void one_in_the_past_fires_at_the_next_tick(void **state)
{
    struct stage *s = *state;
    deadline_set(&s->w, &s->items[0].d, s->now - 5000);
    assert_true(wheel_next_ms(&s->w, s->now) <= (int64_t)WHEEL_TICK_MS);
    run_to(s, s->now + WHEEL_TICK_MS);
    assert_int_equal(s->items[0].fired, 1);
}

/* The point of it all: a deadline moved away again and again is queued once. */
static void moving_it_later_costs_one_store(void **state)
{
    struct stage *s = *state;
    struct item *it = &s->items[0];
    deadline_set(&s->w, &it->d, s->now + 500);
    uint64_t queued = it->d.queued_ms;
    for (int i = 0; i < 100; i++)
        deadline_set(&s->w, &it->d, s->now + 600 + (uint64_t)i);
    assert_int_equal(it->d.queued_ms, queued);
    uint64_t at = it->d.at_ms;
    crawl(s, 1000);
    assert_int_equal(it->fired, 1);
    assert_in_range(it->fired_ms, at, at + WHEEL_TICK_MS - 1);
}

static void moving_it_earlier_takes_effect(void **state)
{
    struct stage *s = *state;
    struct item *it = &s->items[0];
    deadline_set(&s->w, &it->d, s->now + 10000);
    uint64_t at = s->now + 100;
    deadline_set(&s->w, &it->d, at);
    assert_int_equal(s->w.count, 1);
    crawl(s, 200);
    assert_int_equal(it->fired, 1);
    assert_in_range(it->fired_ms, at, at + WHEEL_TICK_MS - 1);
}

static void cleared_or_stopped_it_does_not_fire(void **state)
{
    struct stage *s = *state;
    deadline_set(&s->w, &s->items[0].d, s->now + 100);
    deadline_set(&s->w, &s->items[1].d, s->now + 100);
    deadline_clear(&s->items[0].d);
    deadline_stop(&s->w, &s->items[1].d);
    deadline_stop(&s->w, &s->items[1].d); /* twice is harmless */
    assert_int_equal(s->w.count, 1);      /* the cleared one may stay where it is */
    crawl(s, 300);
    assert_int_equal(s->items[0].fired + s->items[1].fired, 0);
    assert_int_equal(s->w.count, 0);
    deadline_set(&s->w, &s->items[0].d, s->now + 50); /* and can be used again */
    crawl(s, 100);
    assert_int_equal(s->items[0].fired, 1);
}

/* The others of the same slot may be gone by the time the list comes to them. */
static void a_callback_may_stop_its_neighbours(void **state)
{
    struct stage *s = *state;
    for (int i = 0; i < 4; i++)
        deadline_set(&s->w, &s->items[i].d, s->now + 100);
    s->items[0].stops = &s->items[1]; /* the next */
    s->items[2].stops = &s->items[0]; /* one that has fired */
    s->items[3].stops = &s->items[3]; /* itself */
    crawl(s, 200);
    assert_int_equal(s->items[0].fired, 1);
    assert_int_equal(s->items[1].fired, 0);
    assert_int_equal(s->items[2].fired, 1);
    assert_int_equal(s->items[3].fired, 1);
    assert_int_equal(s->w.count, 0);
    assert_int_equal(wheel_next_ms(&s->w, s->now), -1);
}

static void a_callback_may_set_itself_again(void **state)
{
    struct stage *s = *state;
    s->items[0].again_ms = 50;
    deadline_set(&s->w, &s->items[0].d, s->now + 50);
    crawl(s, 3200);
    assert_in_range(s->items[0].fired, 3200 / (50 + WHEEL_TICK_MS), 3200 / 50);
    assert_int_equal(s->w.count, 1);
}

/* For each of the 1024 slots, from several places of the hand: the sleep ends when that slot is due, not
 * before, not after. Whole words of the bitmap are empty in between. */
static void the_sleep_is_right_for_every_slot(void **state)
{
    struct stage *s = *state;
    for (int turn = 0; turn < 7; turn++) {
        for (uint64_t ticks = 1; ticks < WHEEL_SLOTS; ticks++) {
            struct item *it = &s->items[0];
            uint64_t slot_ms = s->w.done_ms + ticks * WHEEL_TICK_MS;
            deadline_set(&s->w, &it->d, slot_ms);
            assert_int_equal(wheel_next_ms(&s->w, s->now), slot_ms - s->now);
            deadline_stop(&s->w, &it->d);
            assert_int_equal(wheel_next_ms(&s->w, s->now), -1);
        }
        run_to(s, s->now + 37 * WHEEL_TICK_MS + 5);
    }
}

static void a_sleep_that_is_over_is_zero(void **state)
{
    struct stage *s = *state;
    deadline_set(&s->w, &s->items[0].d, s->now + 100);
    assert_int_equal(wheel_next_ms(&s->w, s->now + 5000), 0);
}

/* A worker that was stopped for minutes (a debugger, a paused machine): what is due fires at once, and what
 * lies ahead is not displaced by a turn of the wheel. */
static void a_long_stall_displaces_nothing(void **state)
{
    struct stage *s = *state;
    static const uint64_t stalls[] = {33000, 66000, 100000, 1000000, 86400000};
    for (size_t i = 0; i < sizeof stalls / sizeof *stalls; i++) {
        struct item *due = &s->items[0], *soon = &s->items[1], *far = &s->items[2], *set = &s->items[3];
        uint64_t end = s->now + stalls[i];
        for (int k = 0; k < 4; k++)
            s->items[k].fired = 0;
        deadline_set(&s->w, &due->d, s->now + 100);
        deadline_set(&s->w, &soon->d, end + 300);
        deadline_set(&s->w, &far->d, end + 5000);
        set->again_ms = 0;
        due->again_ms = 700; /* set by a callback in the middle of the run */
        run_to(s, end);
        assert_int_equal(due->fired, 1);
        assert_int_equal(soon->fired + far->fired, 0);
        due->again_ms = 0;
        crawl(s, 300 + WHEEL_TICK_MS);
        assert_int_equal(soon->fired, 1);
        crawl(s, 400);
        assert_int_equal(due->fired, 2);
        crawl(s, 4300 + WHEEL_TICK_MS);
        assert_int_equal(far->fired, 1);
        assert_int_equal(s->w.count, 0);
    }
}

/* Against a plain table: random sets, clears, stops and strides of the clock. */
static void behaves_as_a_plain_table_would(void **state)
{
    struct stage *s = *state;
    uint64_t due[MANY] = {0}, random = 88172645463325252ull;
    for (int step = 0; step < 60000; step++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        uint64_t r = random >> 8, i = r % MANY, span = (r >> 16) % 8 == 0 ? 90000 : 400;
        switch ((r >> 8) % 8) {
        case 0:
            deadline_stop(&s->w, &s->items[i].d), due[i] = 0;
            break;
        case 1:
            deadline_clear(&s->items[i].d), due[i] = 0;
            break;
        case 2:
        case 3:
        case 4:
            due[i] = s->now + 1 + (r >> 20) % span;
            deadline_set(&s->w, &s->items[i].d, due[i]);
            break;
        default:
            run_to(s, s->now + ((r >> 40) % 1024 == 0 ? 200000 : (r >> 20) % 60));
            int64_t next = wheel_next_ms(&s->w, s->now);
            for (int k = 0; k < MANY; k++) {
                struct item *it = &s->items[k];
                if (it->fired) {
                    assert_true(due[k] && due[k] <= s->now); /* never early, never one that was taken back */
                    due[k] = 0;
                    it->fired = 0;
                }
                assert_false(due[k] && due[k] + WHEEL_TICK_MS <= s->now); /* nor late */
                assert_true(!due[k] || (next >= 0 && s->now + (uint64_t)next <
                                                         due[k] + WHEEL_TICK_MS)); /* nor slept over */
            }
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_empty_wheel_sleeps_for_ever),         T(fires_at_its_time_or_a_tick_later),
        T(one_in_the_past_fires_at_the_next_tick), T(moving_it_later_costs_one_store),
        T(moving_it_earlier_takes_effect),         T(cleared_or_stopped_it_does_not_fire),
        T(a_callback_may_stop_its_neighbours),     T(a_callback_may_set_itself_again),
        T(the_sleep_is_right_for_every_slot),      T(a_sleep_that_is_over_is_zero),
        T(a_long_stall_displaces_nothing),         T(behaves_as_a_plain_table_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
