/* scale_stratos: the rule as it was meant, and as it was coded: golden values of Stratos 4.1, defects
 * included. */
#include "../../plugins/scale_stratos/as_coded.h"
#include "scaling.h"

/* ---- as it was coded: rules ---- */

static void test_golden_load_average(void **state)
{
    (void)state;
    static const double golden[][2] = {{70, 1}, {71, 2}, {140, 2}, {200, 3}};
    for (size_t i = 0; i < 4; i++)
        assert_true(coded_required(CODED_LOAD, golden[i][0], 70, 1, 5, ceil) == golden[i][1]);
    assert_true(coded_required(CODED_LOAD, 140, 70, 3, 9, ceil) == 6); /* × min, whatever there is */
    assert_true(coded_required(CODED_LOAD, 500, 0, 2, 9, ceil) == 2);
}

static void test_golden_memory(void **state)
{
    (void)state;
    static const double golden[][2] = {{69.9, 0}, {70, 1}, {71, 2}, {85, 3}, {100, 5}, {110, 7}};
    for (size_t i = 0; i < 6; i++)
        assert_true(coded_required(CODED_MEMORY, golden[i][0], 70, 1, 5, ceil) == golden[i][1]);
    assert_true(coded_required(CODED_MEMORY, 99, 70, 4, 4, ceil) == 4);
}

static void test_golden_in_flight(void **state)
{
    (void)state;
    assert_true(coded_required(CODED_IN_FLIGHT, 250, 80, 1, 9, ceil) == 4);
    assert_true(coded_required(CODED_IN_FLIGHT, 240, 80, 1, 9, ceil) == 3);
    assert_true(coded_required(CODED_IN_FLIGHT, 250, 0, 1, 9, ceil) == 0);
}

static struct coded_channel batch_of(const double *values, uint32_t n)
{
    struct coded_channel c = {.count = n};
    for (uint32_t i = 0; i < n; i++) {
        c.value[i] = values[i];
        c.at_ns[i] = (1000 + 15 * i) * NS_PER_S;
    }
    coded_batch(&c);
    return c;
}

/* 100, 110, 120, 130: 0.667 a second. One second ahead is next to nothing; the minute that was meant would be
 * 155. */
static void test_golden_prediction(void **state)
{
    (void)state;
    const struct coded_channel c = batch_of((const double[]){100, 110, 120, 130}, 4);
    assert_true(c.average == 115 && c.second == 0);
    assert_true(fabs(c.gradient - 30.0 / 45.0) < 1e-12);
    assert_true(fabs(coded_predict(&c, 1) - 115.67) < 0.005);
    assert_true(fabs(coded_predict(&c, 60) - 155) < 1e-9);
}

static void test_golden_second_derivative(void **state)
{
    (void)state;
    /* halves: 10 in 15 s, then 40 in 15 s, their middles 30 s apart */
    const struct coded_channel c = batch_of((const double[]){0, 10, 30, 70}, 4);
    assert_true(fabs(c.second - (40.0 / 15 - 10.0 / 15) / 30) < 1e-12);
    const struct coded_channel few = batch_of((const double[]){5, 9}, 2);
    assert_int_equal(few.fresh, 3); /* no second derivative, so the factor is not fresh */
    assert_true(fabs(few.gradient - 4.0 / 15) < 1e-12);
    const struct coded_channel one = batch_of((const double[]){5}, 1);
    assert_true(one.gradient == 0 && one.average == 5);
}

/* ---- as it was coded: clocks ---- */

static void coded_set(struct fixture *f, struct set *s, uint32_t current)
{
    struct wide_section w = {.section = section_of("stratos", "scale_stratos")};
    wide_set(&w, OPTION_INTEGER("requests_in_flight_threshold", 10));
    wide_set(&w, OPTION_TRUTH("as_coded", true));
    set_init(s, create_wide(f, &w), current);
    s->sample.min = 1;
}

/* When the answer first differs from n, in seconds from now. */
static double changes_after(struct set *s, double load, double most_s)
{
    const double before = s->decision.wanted;
    for (double t = 0.1; t <= most_s; t += 0.1)
        if (set_run(s, 0.1, load, true) != before)
            return t;
    return most_s;
}

/* A step right after a sample is seen 15 s later, is averaged up to 60 s later, and is looked at up to 90 s
 * later. */
static void test_clocks_up(void **state)
{
    static struct set s;
    coded_set(*state, &s, 4);
    set_run(&s, 180.1, 40, true); /* sampled at 180 */
    assert_true(s.decision.wanted == 4);
    const double first =
        changes_after(&s, 200, 400); /* batch 180..240 has 40, 200, 200, 200; looked at at 270 */
    assert_true(fabs(first - 90) < 0.3);
    /* mean 160; 160/45 a second, halves 160/15 and 0 s⁻¹ 30 s apart */
    assert_true(s.decision.wanted == ceil((160 + 160.0 / 45 - 0.5 * 160.0 / 15 / 30) / 10));
    set_run(&s, 90, 200, true);
    assert_true(s.decision.wanted == 20);
}

static void test_clocks_down(void **state)
{
    static struct set s;
    coded_set(*state, &s, 10);
    set_run(&s, 90.1, 100, true);
    assert_true(s.decision.wanted == 10); /* evaluated at 90: fits */
    /* low at 180, 270 and 360 only count; at 450 one goes, and then one every 90 s, a hundred or two alike */
    assert_true(fabs(changes_after(&s, 20, 1000) - 360) < 0.3);
    assert_true(s.decision.wanted == 9);
    assert_true(fabs(changes_after(&s, 20, 1000) - 90) < 0.3);
    assert_true(s.decision.wanted == 8);
    set_run(&s, 90, 80, true); /* a neutral evaluation does not set the counter back */
    assert_true(s.decision.wanted == 8 || s.decision.wanted == 7);
    const double before = s.decision.wanted;
    set_run(&s, 180, 20, true);
    assert_true(s.decision.wanted < before);
}

/* Fewer required than on their way: the loop that adds them ends at the maximum. */
static void test_negative_addition(void **state)
{
    static struct set s;
    coded_set(*state, &s, 2);
    s.sample.max = 30;
    set_run(&s, 89, 60, false);
    s.sample.starting = 10; /* somebody ordered ten; six are required, two are active */
    s.sample.current = 12;
    set_run(&s, 2, 60, false);
    assert_true(s.decision.wanted == 30);
}

/* Starting members count as zero in the means of load average. */
static void test_pending_count_as_zero(void **state)
{
    static struct set s;
    coded_set(*state, &s, 3);
    const struct cox_factor busy = {
        .size = sizeof busy, .count = 3, .metric = "load_average", .value = 210, .age_ns = 3600 * NS_PER_S};
    s.sample.factors = (struct cox_array){&busy, 1, sizeof busy}; /* stale, and it votes */
    s.sample.min = 3;
    s.sample.starting = 6; /* 210 of three among nine: 70, which needs the minimum */
    set_run(&s, 91, 0, false);
    assert_true(s.decision.wanted == 3);
    s.sample.starting = 0;
    set_run(&s, 180, 0, false);
    assert_true(s.decision.wanted == 9); /* ceil(3 · 210 / 70) */
    assert_int_equal(s.decision.cause, COX_CAUSE_LOAD_AVERAGE);
}

/* ---- as it was meant ---- */

static void meant_set(struct fixture *f, struct set *s, uint32_t current, const char *horizon)
{
    struct wide_section w = {.section = section_of("stratos", "scale_stratos")};
    wide_set(&w, OPTION_INTEGER("requests_in_flight_threshold", 10));
    wide_set(&w, OPTION_TEXT("scale_down_window", "0s"));
    if (horizon)
        wide_set(&w, OPTION_TEXT("horizon", horizon));
    set_init(s, create_wide(f, &w), current);
}

/* The load t seconds from now follows a parabola: it is hit, at the horizon and not a second later. */
static void test_predicts_a_parabola(void **state)
{
    static struct set s;
    meant_set(*state, &s, 10, NULL);
    s.sample.start_p90_ns = 20e9; /* learned */
    double load = 0;
    for (int i = 0; i <= 1200; i++) {
        const double t = i / 10.0 - 0.05;
        load = 50 + 2 * t + 0.01 * t * t;
        set_tick(&s, load, 0);
    }
    const double ahead = 50 + 2 * 140 + 0.01 * 140 * 140;
    assert_true(fabs(s.decision.wanted - ahead / 10) < 0.5);
    assert_true(fabs(s.decision.demand - ahead) < 5);
    assert_int_equal(s.decision.horizon_ns, 20 * NS_PER_S);
}

static void test_horizon_is_kept(void **state)
{
    static struct set s;
    meant_set(*state, &s, 10, "0s");
    for (int i = 0; i <= 1200; i++)
        set_tick(&s, 50 + i / 10.0, 0);
    assert_true(fabs(s.decision.demand - 170) < 2);
}

/* Intensive factors multiply the members that there are; the largest fresh one holds. */
static void test_factors(void **state)
{
    static struct set s;
    meant_set(*state, &s, 4, "10s");
    struct cox_factor factors[2] = {
        {.size = sizeof factors[0], .count = 4, .metric = "load_average", .value = 105},
        {.size = sizeof factors[0], .count = 4, .metric = "memory_consumption", .value = 35}};
    s.sample.factors = (struct cox_array)COX_ARRAY(factors);
    set_run(&s, 130, 20, false);
    assert_true(fabs(s.decision.wanted - 6) < 0.01); /* 4 · 105 / 70 */
    assert_int_equal(s.decision.cause, COX_CAUSE_LOAD_AVERAGE);
    assert_int_equal(s.decision.alternative_count, 3);
    factors[0].age_ns = 61 * NS_PER_S;
    set_tick(&s, 20, 0);
    assert_true(s.decision.wanted == 4); /* nobody knows better than before */
    assert_int_equal(s.decision.cause, COX_CAUSE_NO_DATA);
    assert_non_null(strstr(s.decision.reason, "does not shrink while nobody reports load_average"));
    s.sample.factors.count = 0;
    set_run(&s, 3600, 20, false);
    assert_true(s.decision.wanted == 4);
    set_run(&s, 130, 60, false);
    assert_true(s.decision.wanted > 5.9); /* others may let it grow */
    set_run(&s, 300, 20, false);
    s.sample.factors.count = 2;
    factors[0].age_ns = 0;
    set_tick(&s, 20, 0);
    assert_true(fabs(s.decision.wanted - 6) < 0.01); /* as if it had never been away */
    s.sample.factors.count = 0;
    set_run(&s, 86399, 20, false);
    assert_true(s.decision.wanted == 4);
    set_run(&s, 2, 20, false);
    assert_true(s.decision.wanted < 4); /* gone for good */
    s.sample.factors.count = 2;
    set_run(&s, 130, 20, false);
    factors[1].value = 140;
    set_run(&s, 130, 20, false);
    assert_true(fabs(s.decision.wanted - 8) < 0.01);
    assert_int_equal(s.decision.cause, COX_CAUSE_MEMORY);
}

/* Infinity in a sum would be there for ever. */
static void test_factors_that_are_no_numbers(void **state)
{
    static struct set s;
    meant_set(*state, &s, 4, "10s");
    struct cox_factor factor = {.size = sizeof factor, .count = 4, .metric = "load_average", .value = 105};
    s.sample.factors = (struct cox_array){&factor, 1, sizeof factor};
    set_run(&s, 130, 20, false);
    factor.value = INFINITY;
    set_run(&s, 1, 20, false);
    factor.value = 210;
    set_run(&s, 130, 20, false);
    assert_true(fabs(s.decision.wanted - 12) < 0.01);
}

static void test_never_shrinks_blind(void **state)
{
    static struct set s;
    meant_set(*state, &s, 10, "10s");
    assert_true(set_run(&s, 59, 10, false) == 10);
    assert_true(fabs(set_run(&s, 10, 10, false) - 1) < 0.01);
    s.sample.sources_fresh = 0;
    assert_true(set_run(&s, 1, 10, false) == 10);
}

static void test_is_pure(void **state)
{
    static struct set s, copy;
    for (int coded = 0; coded < 2; coded++) {
        if (coded)
            coded_set(*state, &s, 10);
        else
            meant_set(*state, &s, 10, NULL);
        for (int i = 0; i < 3000; i++) {
            const double load = 100 + 90 * sin(i / 50.0) + (i % 7) * 13;
            s.sample.interval_ns = 100000000 + (uint64_t)(i % 13) * 7000001;
            if (i % 500 == 499)
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
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden_load_average),
                                       cmocka_unit_test(test_golden_memory),
                                       cmocka_unit_test(test_golden_in_flight),
                                       cmocka_unit_test(test_golden_prediction),
                                       cmocka_unit_test(test_golden_second_derivative),
                                       CASE(test_clocks_up),
                                       CASE(test_clocks_down),
                                       CASE(test_negative_addition),
                                       CASE(test_pending_count_as_zero),
                                       CASE(test_predicts_a_parabola),
                                       CASE(test_horizon_is_kept),
                                       CASE(test_factors),
                                       CASE(test_factors_that_are_no_numbers),
                                       CASE(test_never_shrinks_blind),
                                       CASE(test_is_pure)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
