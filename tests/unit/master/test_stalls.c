/* Who is blamed for a stalled orchestrator: only a plugin of the config, only when it was ended for it, left
 * out at the third time and not before, until somebody acts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "master/stalls.h"

static struct plugin_settings plugins[] = {{.name = (char *)(uintptr_t) "slow"},
                                           {.name = (char *)(uintptr_t) "quick"}};
static struct plugin_settings policies[] = {
    {.name = (char *)(uintptr_t) "steady", .plugin = (char *)(uintptr_t) "scale_steady"}};
static struct settings settings;

static void stall_in(struct stalls *s, const char *name, bool ended)
{
    stall_enter(s->note, name, 1000);
    stalls_on_exit(s, &settings, ended);
}

static void left_out_at_the_third_time(void **state)
{
    (void)state;
    struct stalls s;
    stalls_init(&s);
    for (int i = 0; i < STALLS_MAX; i++) {
        assert_false(stalls_is_left_out(&s, "slow"));
        stall_in(&s, "slow", true);
    }
    assert_true(stalls_is_left_out(&s, "slow"));
    assert_false(stalls_is_left_out(&s, "quick"));
    stalls_forget(&s);
    assert_false(stalls_is_left_out(&s, "slow"));
}

static void a_scaler_is_left_out_by_what_its_policy_calls_it(void **state)
{
    (void)state;
    struct stalls s;
    stalls_init(&s);
    for (int i = 0; i < STALLS_MAX; i++)
        stall_in(&s, "scale_steady", true);
    assert_true(stalls_is_left_out(&s, "scale_steady"));
    stall_in(&s, "steady", true); /* no plugin but a policy */
    assert_int_equal(s.count, 1);
}

static void what_is_not_a_stall_of_a_plugin_blames_nobody(void **state)
{
    (void)state;
    struct stalls s;
    stalls_init(&s);
    stall_in(&s, "stranger", true);      /* not of the config: scribbled */
    stall_in(&s, "slow", false);         /* it crashed */
    stalls_on_exit(&s, &settings, true); /* it hung outside of any plugin */
    assert_int_equal(s.count, 0);
}

static void only_a_call_under_way_is_running(void **state)
{
    (void)state;
    struct stalls s;
    char name[STALL_NAME_BYTES];
    stalls_init(&s);
    assert_int_equal(stalls_running(&s, 5000, name), 0);
    stall_enter(s.note, "slow", 1000);
    assert_int_equal(stalls_running(&s, 5000, name), 4000);
    assert_string_equal(name, "slow");
    assert_int_equal(stalls_running(&s, 500, name), 0); /* it began in the future: scribbled */
    stall_leave(s.note);
    assert_int_equal(stalls_running(&s, 5000, name), 0);
}

static void a_long_name_is_cut_and_terminated(void **state)
{
    (void)state;
    struct stalls s;
    char name[STALL_NAME_BYTES], text[2 * STALL_NAME_BYTES];
    stalls_init(&s);
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    stall_enter(s.note, text, 1);
    assert_true(stalls_running(&s, 2, name) > 0);
    assert_int_equal(strlen(name), STALL_NAME_BYTES - 1);
    stall_in(&s, text, true);
    assert_int_equal(s.count, 0);
}

static int set_up(void **state)
{
    (void)state;
    settings.plugins.items = plugins;
    settings.plugins.count = 2;
    settings.policies.items = policies;
    settings.policies.count = 1;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(left_out_at_the_third_time),
        cmocka_unit_test(a_scaler_is_left_out_by_what_its_policy_calls_it),
        cmocka_unit_test(what_is_not_a_stall_of_a_plugin_blames_nobody),
        cmocka_unit_test(only_a_call_under_way_is_running),
        cmocka_unit_test(a_long_name_is_cut_and_terminated),
    };
    return cmocka_run_group_tests_name("stalls", tests, set_up, NULL);
}
