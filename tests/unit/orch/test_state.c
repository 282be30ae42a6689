/* What the orchestrator keeps on disk: whole or not at all, and nothing that it did not write itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "orch/state.h"

static char dir[64], file[128];

static int setup(void **state)
{
    (void)state;
    log_init("test", 2, LOG_ERROR);
    (void)snprintf(dir, sizeof dir, "/tmp/coxswain-state-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(file, sizeof file, "%s/orchestrator.state", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(file);
    return rmdir(dir); /* fails when anything else was left there */
}

static size_t count_after(const char *text)
{
    struct state s;
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    state_open(&s, dir);
    const size_t n = s.drain_count;
    state_close(&s);
    return n;
}

static void test_round_trip(void **state)
{
    struct state s;
    (void)state;
    state_open(&s, dir);
    assert_int_equal(s.drain_count, 0);
    assert_true(state_set_drain(&s, "10.0.0.1:80", true));
    assert_true(state_set_drain(&s, "b", true));
    assert_true(state_set_drain(&s, "b", true));  /* once is enough */
    assert_true(state_set_drain(&s, "c", false)); /* never was */
    state_close(&s);
    state_open(&s, dir);
    assert_int_equal(s.drain_count, 2);
    assert_string_equal(s.drains[0], "10.0.0.1:80");
    assert_true(state_set_drain(&s, "10.0.0.1:80", false));
    state_close(&s);
    state_open(&s, dir);
    assert_int_equal(s.drain_count, 1);
    assert_string_equal(s.drains[0], "b");
    state_close(&s);
}

static void test_what_it_does_not_know(void **state)
{
    (void)state;
    assert_int_equal(count_after(""), 0);
    assert_int_equal(count_after("coxswain-orchestrator 2\ndrain a\nend\n"), 0);
    assert_int_equal(count_after("coxswain-orchestrator 1\ndrain a\nlater thing\nend\ndrain b\n"), 1);
    assert_int_equal(count_after("coxswain-orchestrator 1\ndrain a\n"),
                     1); /* cut off: what is there is used */
}

static void test_limit(void **state)
{
    struct state s;
    char id[32];
    (void)state;
    state_open(&s, NULL); /* memory only */
    for (int i = 0; i < STATE_DRAINS_MAX; i++) {
        (void)snprintf(id, sizeof id, "e%d", i);
        assert_true(state_set_drain(&s, id, true));
    }
    assert_false(state_set_drain(&s, "one too many", true));
    assert_true(state_set_drain(&s, "e0", false));
    assert_true(state_set_drain(&s, "one too many", true));
    state_close(&s);
}

static void test_line_end_in_an_id(void **state)
{
    struct state s;
    (void)state;
    state_open(&s, NULL);
    assert_false(state_set_drain(&s, "a\nend", true));
    state_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_it_does_not_know, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_line_end_in_an_id, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
