/* The example's scaler is pure: the same samples give the same answers, bit for bit, and its state may move.
 */
#include "support.h"

static double decide(const struct plugin *p, void *state, double serving, double held, uint32_t flags)
{
    const struct cox_sample sample = {.size = sizeof sample,
                                      .flags = flags,
                                      .set = "s",
                                      .window_ns = 10 * NS_PER_S,
                                      .serving_mean = serving,
                                      .held_mean = held,
                                      .serving_now = (uint64_t)serving,
                                      .held_now = (uint64_t)held,
                                      .math = p->table.math,
                                      .options = &p->values.options};
    struct cox_decision d = {.size = sizeof d};
    p->module.plugin.scaler->decide(state, &sample, &d);
    assert_true(strlen(d.reason) < sizeof d.reason);
    return d.wanted;
}

static void test_scaler(void **state)
{
    struct section s = section_of("ex", "example"); /* target 10, half life 10 s: one window */
    struct plugin *p = create(*state, &s, real_dir());
    const struct cox_scaler *scaler = p->module.plugin.scaler;
    uint64_t a[8] = {0}, b[8] = {0};
    assert_in_range(scaler->state_size(&p->values.options), 1, sizeof a);
    scaler->init_state(&p->values.options, a);
    assert_true(decide(p, a, 20, 0, 0) == 2.0); /* the first sample counts in full */
    assert_true(decide(p, a, 40, 0, 0) == 3.0); /* then each window for half */
    memcpy(b, a, sizeof a);                     /* a restart: the state was saved and came back */
    assert_true(decide(p, a, 0, 10, 0) == decide(p, b, 0, 10, 0));
    assert_memory_equal(a, b, sizeof a);
    scaler->init_state(&p->values.options, a);
    assert_true(decide(p, a, 0, 0, 0) == 0.0);
    assert_true(decide(p, a, 0, 30, COX_SAMPLE_WAKE) == 3.0); /* who waits does not wait for the average */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_scaler, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
