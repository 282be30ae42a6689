/* Moments by the calendar, on days with and without a change of the clocks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "conf/cron.h"

#define HOUR 3600

static struct cron parse(const char *text)
{
    struct cron c;
    const char *why;
    assert_true(cron_parse(str_of(text), &c, &why));
    return c;
}

static bool is_wrong(const char *text)
{
    struct cron c;
    const char *why = NULL;
    return !cron_parse(str_of(text), &c, &why) && why;
}

/* Unix time of a moment in UTC. */
static int64_t utc(int year, int month, int day, int hour, int minute)
{
    struct tm t = {
        .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = minute};
    return (int64_t)timegm(&t);
}

/* The latest moment in the last `hours`, or -1. */
static int64_t last(const struct cron *c, int64_t at, int hours, bool is_utc)
{
    int64_t since;
    return cron_is_within(c, at, (int64_t)hours * HOUR, is_utc, &since) ? since : -1;
}

static void malformed_ones_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",           "* * * *",      "* * * * * *", "60 * * * *",
                                        "* 24 * * *", "* * 0 * *",    "* * 32 * *",  "* * * 13 * ",
                                        "* * * * 8",  "a * * * *",    "*/0 * * * *", "1, * * * *",
                                        "-5 * * * *", "* * * * mond", "1/ * * * *",  "1-2-3 * * * *"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_true(is_wrong(wrong[i]));
}

static void lists_ranges_steps_and_names(void **state)
{
    (void)state;
    struct cron c = parse("0,30 8-10 */10 jan,mar mon-wed");
    assert_int_equal(c.minutes, 1ull | 1ull << 30);
    assert_int_equal(c.hours, 7u << 8);
    assert_int_equal(c.days, 1u << 1 | 1u << 11 | 1u << 21 | 1u << 31);
    assert_int_equal(c.months, 1u << 1 | 1u << 3);
    assert_int_equal(c.weekdays, 7u << 1);
    c = parse("10-20/5 * * * 7");
    assert_int_equal(c.minutes, 1ull << 10 | 1ull << 15 | 1ull << 20);
    assert_int_equal(c.weekdays, 1); /* 7 is Sunday as well */
    assert_int_equal(parse("50/5 * * * *").minutes, 1ull << 50 | 1ull << 55);
}

static void ranges_go_around(void **state)
{
    (void)state;
    assert_int_equal(parse("0 22-2 * * *").hours, 3u << 22 | 7u);
    assert_int_equal(parse("0 0 * * sat-sun").weekdays, 1u << 6 | 1u);
    assert_int_equal(parse("0 0 * * fri-mon").weekdays, 1u << 5 | 1u << 6 | 3u);
    assert_int_equal(parse("0 0 * * 7-2").weekdays, 7u);
    assert_int_equal(parse("0 0 * * 5-7").weekdays, 1u << 5 | 1u << 6 | 1u);
    assert_int_equal(parse("0 0 30-2 * *").days, 3u << 30 | 3u << 1);
    assert_int_equal(parse("0 0 1 nov-feb *").months, 3u << 11 | 3u << 1);
    assert_int_equal(parse("50-10/15 * * * *").minutes, 1ull << 50 | 1ull << 5);
}

static void a_window_begins_at_the_moment_and_ends_before_its_length(void **state)
{
    (void)state;
    const struct cron c = parse("0 8 * * 1-5");
    const int64_t wednesday = utc(2026, 7, 15, 8, 0);
    assert_int_equal(last(&c, wednesday - 1, 10, true), -1);
    assert_int_equal(last(&c, wednesday, 10, true), wednesday);
    assert_int_equal(last(&c, wednesday + 10 * HOUR - 1, 10, true), wednesday);
    assert_int_equal(last(&c, wednesday + 10 * HOUR, 10, true), -1);
    assert_int_equal(last(&c, utc(2026, 7, 18, 9, 0), 10, true), -1); /* Saturday */
    assert_int_equal(last(&c, utc(2026, 7, 19, 9, 0), 50, true), utc(2026, 7, 17, 8, 0));
}

static void either_day_is_enough_when_both_are_restricted(void **state)
{
    (void)state;
    const struct cron c = parse("0 0 13 * fri");
    assert_int_equal(last(&c, utc(2026, 7, 13, 1, 0), 2, true), utc(2026, 7, 13, 0, 0)); /* a Monday */
    assert_int_equal(last(&c, utc(2026, 7, 17, 1, 0), 2, true), utc(2026, 7, 17, 0, 0)); /* a Friday */
    assert_int_equal(last(&c, utc(2026, 7, 16, 1, 0), 2, true), -1);
}

static void a_leap_day_comes_in_leap_years_only(void **state)
{
    (void)state;
    const struct cron c = parse("0 12 29 2 *");
    assert_int_equal(last(&c, utc(2028, 2, 29, 13, 0), 2, true), utc(2028, 2, 29, 12, 0));
    assert_int_equal(last(&c, utc(2027, 3, 1, 13, 0), 100, true), -1);
}

static void zone(const char *tz)
{
    assert_int_equal(setenv("TZ", tz, 1), 0);
    tzset();
}

/* The rule of central Europe, spelled out so that no database of zones is needed: an hour ahead, two in
 * summer; the clocks change at 01:00 UTC, on 29 March and 25 October in 2026. */
#define BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"

static void local_time_follows_the_clocks(void **state)
{
    (void)state;
    zone(BERLIN);
    const struct cron c = parse("0 8 * * *");
    assert_int_equal(last(&c, utc(2026, 1, 15, 7, 30), 1, false), utc(2026, 1, 15, 7, 0));
    assert_int_equal(last(&c, utc(2026, 7, 15, 6, 30), 1, false), utc(2026, 7, 15, 6, 0));
    assert_int_equal(last(&c, utc(2026, 7, 15, 6, 30), 1, true), -1);
    assert_int_equal(last(&c, utc(2026, 3, 28, 7, 0), 1, false), utc(2026, 3, 28, 7, 0));
    assert_int_equal(last(&c, utc(2026, 3, 29, 6, 0), 1, false), utc(2026, 3, 29, 6, 0));
    assert_int_equal(last(&c, utc(2026, 10, 25, 7, 0), 1, false), utc(2026, 10, 25, 7, 0));
}

static void a_moment_that_is_left_out_comes_as_much_later(void **state)
{
    (void)state;
    zone(BERLIN);
    const struct cron c = parse("30 2 * * *");
    /* 02:30 does not exist on 29 March; 03:30 summer time is 01:30 UTC. */
    assert_int_equal(last(&c, utc(2026, 3, 29, 1, 29), 1, false), -1);
    assert_int_equal(last(&c, utc(2026, 3, 29, 1, 30), 1, false), utc(2026, 3, 29, 1, 30));
}

static void a_moment_that_comes_twice_counts_once(void **state)
{
    (void)state;
    zone(BERLIN);
    const struct cron c = parse("30 2 * * *");
    /* 02:30 is 00:30 UTC (summer) and 01:30 UTC (winter) on 25 October. */
    assert_int_equal(last(&c, utc(2026, 10, 25, 0, 30), 1, false), utc(2026, 10, 25, 0, 30));
    assert_int_equal(last(&c, utc(2026, 10, 25, 1, 31), 1, false), -1);
    /* A window has its length in elapsed time. */
    assert_int_equal(last(&c, utc(2026, 10, 25, 3, 29), 3, false), utc(2026, 10, 25, 0, 30));
    assert_int_equal(last(&c, utc(2026, 10, 25, 3, 30), 3, false), -1);
}

static void far_zones_find_the_right_day(void **state)
{
    (void)state;
    const struct cron c = parse("0 1 * * *");
    zone("LINT-14");
    assert_int_equal(last(&c, utc(2026, 6, 9, 11, 0), 1, false), utc(2026, 6, 9, 11, 0));
    zone("AOE12");
    assert_int_equal(last(&c, utc(2026, 6, 9, 13, 0), 1, false), utc(2026, 6, 9, 13, 0));
    zone("UTC0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_ones_are_refused),
        cmocka_unit_test(lists_ranges_steps_and_names),
        cmocka_unit_test(ranges_go_around),
        cmocka_unit_test(a_window_begins_at_the_moment_and_ends_before_its_length),
        cmocka_unit_test(either_day_is_enough_when_both_are_restricted),
        cmocka_unit_test(a_leap_day_comes_in_leap_years_only),
        cmocka_unit_test(local_time_follows_the_clocks),
        cmocka_unit_test(a_moment_that_is_left_out_comes_as_much_later),
        cmocka_unit_test(a_moment_that_comes_twice_counts_once),
        cmocka_unit_test(far_zones_find_the_right_day),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
