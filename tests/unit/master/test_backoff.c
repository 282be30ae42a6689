/* backoff: at once, then 100 ms doubling to 10 s, and forgiveness for who lived long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/clock.h"
#include "master/backoff.h"

static void the_first_death_is_answered_at_once(void **state)
{
    struct backoff b = {0};
    (void)state;
    assert_int_equal(backoff_next(&b, 5 * NS_PER_S), 0);
}

static void waits_double_up_to_the_limit(void **state)
{
    static const uint64_t expected[] = {0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000, 10000};
    struct backoff b = {0};
    uint64_t now = NS_PER_S;
    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        uint64_t wait_ms = backoff_next(&b, now);
        assert_int_equal(wait_ms, expected[i]);
        now += wait_ms * NS_PER_MS + NS_PER_MS; /* dies again right after its start */
    }
}

static void a_death_within_the_window_counts_one_outside_does_not(void **state)
{
    struct backoff b = {0};
    uint64_t now = NS_PER_S;
    (void)state;
    assert_int_equal(backoff_next(&b, now), 0);
    assert_int_equal(backoff_next(&b, now += BACKOFF_WINDOW_NS - 1), 100);
    assert_int_equal(backoff_next(&b, now += BACKOFF_WINDOW_NS), 0);
    assert_int_equal(backoff_next(&b, now += 1), 100);
}

static void many_deaths_do_not_overflow(void **state)
{
    struct backoff b = {0};
    uint64_t now = NS_PER_S, wait_ms = 0;
    (void)state;
    for (int i = 0; i < 1000; i++)
        wait_ms = backoff_next(&b, now += NS_PER_MS);
    assert_int_equal(wait_ms, BACKOFF_MAX_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_death_is_answered_at_once),
        cmocka_unit_test(waits_double_up_to_the_limit),
        cmocka_unit_test(a_death_within_the_window_counts_one_outside_does_not),
        cmocka_unit_test(many_deaths_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
