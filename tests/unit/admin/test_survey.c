/* Sums over generations: one that ended is counted once, whether its segment is still there or not. */
#include "../topo/support.h"

#include <unistd.h>

#include "admin/survey.h"

static struct ledger make_ledger(uint64_t generation, int requests)
{
    struct ledger l;
    struct ledger_writer w;
    int fd = ledger_create(generation, 1, 8, 16);
    assert_true(fd >= 0 && ledger_open(&l, fd, true));
    close(fd);
    ledger_writer_init(&w, &l, 0);
    for (int i = 0; i < requests; i++) {
        ledger_cluster_move(&w, 2, LEDGER_COUNTS, LEDGER_SERVING, 1);
        ledger_cluster_move(&w, 2, LEDGER_SERVING, LEDGER_COUNTS, 2);
        ledger_cluster_done(&w, 2, 200, 1);
    }
    return l;
}

static uint64_t requests_of(const struct survey *v)
{
    struct ledger_cluster_sum sum;
    survey_cluster(v, 2, &sum);
    return sum.requests;
}

static void an_ended_generation_counts_once(void **state)
{
    (void)state;
    struct ledger one = make_ledger(1, 3), two = make_ledger(2, 5);
    struct ledger_past past;
    struct survey v;
    int fd = ledger_past_create(8, 16);
    assert_true(fd >= 0 && ledger_past_open(&past, fd, true));
    survey_begin(&v);
    survey_lend_past(&v, &past);
    survey_lend_ledger(&v, 1, &one);
    survey_lend_ledger(&v, 2, &two);
    assert_int_equal(requests_of(&v), 8);
    assert_false(survey_is_stale(&v));
    ledger_past_fold(&past, &one); /* it ends while somebody sums */
    assert_true(ledger_past_has(&past, 1) && !ledger_past_has(&past, 2));
    assert_true(survey_is_stale(&v));
    survey_fini(&v);
    survey_begin(&v);
    survey_lend_past(&v, &past);
    survey_lend_ledger(&v, 1, &one); /* not told yet that it is gone */
    survey_lend_ledger(&v, 2, &two);
    assert_int_equal(v.ledger_count, 1);
    assert_int_equal(requests_of(&v), 8);
    assert_false(survey_is_stale(&v));
    survey_fini(&v);
    ledger_past_close(&past);
    close(fd);
    ledger_close(&one);
    ledger_close(&two);
}

static void what_cannot_be_read_is_said(void **state)
{
    struct survey v;
    (void)state;
    survey_begin(&v);
    survey_lend_ledger(&v, 1, NULL);
    assert_int_equal(v.unreadable_count, 1);
    assert_int_equal(requests_of(&v), 0);
    survey_fini(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ended_generation_counts_once),
        cmocka_unit_test(what_cannot_be_read_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
