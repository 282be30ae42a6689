/* scale_target: windows, tolerance, stabilization, limits on speed, and that it is pure. */
#include "scaling.h"

/* target 10 a member, everything else as it comes */
static struct wide_section plain(void)
{
    struct wide_section w = {.section = section_of("target", "scale_target")};
    wide_set(&w, OPTION_INTEGER("target", 10));
    return w;
}

static void with(struct fixture *f, struct set *s, struct wide_section *w, uint32_t current)
{
    set_init(s, create_wide(f, w), current);
}

static void test_stable_mean(void **state)
{
    static struct set s;
    struct wide_section w = plain();
    with(*state, &s, &w, 10);
    assert_true(set_run(&s, 120, 100, true) == 10);
    /* half as much again: the short window would ask for 15 of 10, which is no panic */
    set_run(&s, 30, 150, false);
    assert_true(s.decision.wanted == 13); /* 125 in flight in the mean of the last minute */
    assert_int_equal(s.decision.cause, COX_CAUSE_LOAD);
    assert_int_equal(s.decision.alternative_count, 2);
    assert_true(s.decision.alternatives[1].wanted == 15);
    assert_true(fabs(s.decision.demand - 125) < 1);
    assert_true(set_run(&s, 31, 150, false) == 15);
    assert_non_null(strstr(s.decision.reason, "in flight 150.0, target 10.0"));
}

static void test_utilization_of_slots(void **state)
{
    static struct set s;
    struct wide_section w = {.section = section_of("target", "scale_target")};
    with(*state, &s, &w, 10);
    assert_true(set_run(&s, 61, 100, false) == 15); /* 7 of 10 slots: 14.3 */
    s.sample.slots_per_member = NAN;                /* unlimited: 70 of 100 */
    assert_true(set_run(&s, 61, 1400, false) == 20);
}

static void test_tolerance(void **state)
{
    static struct set s;
    struct wide_section w = plain();
    with(*state, &s, &w, 10);
    assert_true(set_run(&s, 130, 109, false) == 10); /* 10 % more is borne */
    assert_int_equal(s.decision.cause, COX_CAUSE_STEADY);
    assert_true(set_run(&s, 130, 111, false) == 12);
    assert_true(set_run(&s, 200, 91, false) == 10);
    assert_true(set_run(&s, 200, 89, false) == 9);
}

static void test_panic(void **state)
{
    static struct set s;
    struct wide_section w = plain();
    with(*state, &s, &w, 10);
    set_run(&s, 120, 100, true);
    set_run(&s, 6.2, 400, false); /* the short window has seen nothing else */
    assert_true(s.decision.wanted == 40);
    assert_int_equal(s.decision.cause, COX_CAUSE_PANIC);
    assert_true(s.decision.flags & COX_DECISION_PANIC);
    s.sample.current = 40; /* ordered, not ready: not asked for again */
    set_run(&s, 40, 100, true);
    assert_true(s.decision.wanted == 40); /* no shrinking while it lasts */
    set_run(&s, 200, 100, true);
    assert_true(s.decision.wanted == 10);
    assert_int_equal(s.decision.flags & COX_DECISION_PANIC, 0);
}

static void test_down_stabilization(void **state)
{
    static struct set s;
    struct wide_section w = plain();
    wide_set(&w, OPTION_TEXT("scale_down_stabilization_window", "300s"));
    with(*state, &s, &w, 10);
    set_run(&s, 400, 100, true);
    set_run(&s, 298, 50,
            true); /* the mean passes 9 within the first seconds; ten seconds of 31 are a granule */
    assert_true(s.decision.wanted == 10);
    assert_int_equal(s.decision.cause, COX_CAUSE_STABILISED);
    assert_true(set_run(&s, 80, 50, true) == 5);
    set_run(&s, 5, 5, true); /* a short valley */
    assert_true(set_run(&s, 60, 50, true) == 5);
}

static void test_up_limits(void **state)
{
    static struct set s;
    struct wide_section w = plain();
    wide_set(&w, OPTION_INTEGER("scale_up_percent", 100)); /* as Kubernetes does by itself */
    wide_set(&w, OPTION_INTEGER("scale_up_pods", 4));
    with(*state, &s, &w, 2);
    set_run(&s, 61, 20, true);
    set_run(&s, 10, 1000, true);
    assert_int_equal(s.sample.current, 6); /* 2 + 4 within 15 s beats 2 + 2 */
    assert_int_equal(s.decision.cause, COX_CAUSE_RATE_LIMITED);
    set_run(&s, 15, 1000, true);
    assert_int_equal(s.sample.current, 12); /* doubled, beats 6 + 4 */
    set_run(&s, 16, 1000, true);
    assert_int_equal(s.sample.current, 24);
}

static void test_down_limits(void **state)
{
    static struct set s;
    struct wide_section w = plain();
    wide_set(&w, OPTION_INTEGER("scale_down_percent", 50));
    wide_set(&w, OPTION_INTEGER("scale_down_pods", 4));
    wide_set(&w, OPTION_TEXT("scale_down_select_policy", "min"));
    wide_set(&w, OPTION_TEXT("scale_down_stabilization_window", "0s"));
    with(*state, &s, &w, 40);
    set_run(&s, 120, 400, true);
    double before = set_run(&s, 30, 0, true);
    assert_true(before >= 32 && before <= 36); /* 4 in 15 s, not 20 */
    w.raw[3] = OPTION_TEXT("scale_down_select_policy", "disabled");
    w.section.settings.name = (char *)(uintptr_t) "never";
    with(*state, &s, &w, 40);
    assert_true(set_run(&s, 300, 0, true) == 40);
}

static void test_never_shrinks_blind(void **state)
{
    static struct set s;
    struct wide_section w = plain();
    with(*state, &s, &w, 10);
    assert_true(set_run(&s, 55, 10, true) == 10); /* a restart: a whole window has to be seen */
    assert_int_equal(s.decision.cause, COX_CAUSE_NO_DATA);
    s.sample.sources_fresh = 0; /* a source is missing: later neither */
    assert_true(set_run(&s, 300, 10, true) == 10);
    s.sample.sources_fresh = 1;
    s.sample.flags = COX_SAMPLE_NO_SHRINK;
    assert_true(set_tick(&s, 10, 0) == 10);
    assert_true(set_run(&s, 1, 10, true) == 1);
    s.sample.current = s.sample.ready = 10;
    set_run(&s, 120, 100, true);
    s.sample.totals =
        (struct cox_totals){.size = sizeof s.sample.totals, .epoch = 7}; /* counters began anew */
    assert_true(set_run(&s, 55, 10, true) == 10);
    assert_true(set_run(&s, 120, 10, true) == 1);
}

static void test_wakes(void **state)
{
    static struct set s;
    struct wide_section w = plain();
    with(*state, &s, &w, 0);
    assert_true(set_run(&s, 100, 0, true) == 0);
    s.sample.flags = COX_SAMPLE_WAKE;
    s.sample.interval_ns = 1000000; /* a tick of its own, 1 ms later */
    assert_true(set_tick(&s, 0, 1) == 1);
    assert_int_equal(s.decision.cause, COX_CAUSE_HELD);
}

static void test_is_pure(void **state)
{
    static struct set s, copy;
    struct wide_section w = plain();
    with(*state, &s, &w, 10);
    for (int i = 0; i < 3000; i++) {
        const double load = 100 + 90 * sin(i / 50.0) + (i % 7) * 13;
        s.sample.interval_ns = 100000000 + (uint64_t)(i % 13) * 7000001;
        if (i % 500 == 499) /* moved: only the bytes of its state went along */
            memcpy(&copy, &s, sizeof s);
        set_tick(&s, load, i % 3);
        if (i % 500 == 499) {
            set_tick(&copy, load, i % 3);
            assert_memory_equal(&copy.decision, &s.decision, sizeof s.decision);
            assert_memory_equal(copy.state, s.state, sizeof s.state);
        }
        s.sample.current = s.sample.ready = (uint32_t)s.decision.wanted;
    }
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_stable_mean), CASE(test_utilization_of_slots), CASE(test_tolerance),
        CASE(test_panic),       CASE(test_down_stabilization),   CASE(test_up_limits),
        CASE(test_down_limits), CASE(test_never_shrinks_blind),  CASE(test_wakes),
        CASE(test_is_pure)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
