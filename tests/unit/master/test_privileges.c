/* As whom to serve: every case of root or not, a user named or not, in a container or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "master/privileges.h"

static void root_without_a_user_is_refused_outside_containers(void **state)
{
    (void)state;
    assert_int_equal(privileges_choose(true, false, false), PRIVILEGES_REFUSE);
    assert_int_equal(privileges_choose(true, false, true), PRIVILEGES_STAY);
}

static void root_becomes_the_user_that_is_named_wherever_it_runs(void **state)
{
    (void)state;
    assert_int_equal(privileges_choose(true, true, false), PRIVILEGES_BECOME_USER);
    assert_int_equal(privileges_choose(true, true, true), PRIVILEGES_BECOME_USER);
}

static void others_stay_who_they_are(void **state)
{
    (void)state;
    for (int in_container = 0; in_container < 2; in_container++) {
        assert_int_equal(privileges_choose(false, false, in_container), PRIVILEGES_STAY);
        assert_int_equal(privileges_choose(false, true, in_container), PRIVILEGES_IGNORE_USER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(root_without_a_user_is_refused_outside_containers),
        cmocka_unit_test(root_becomes_the_user_that_is_named_wherever_it_runs),
        cmocka_unit_test(others_stay_who_they_are),
    };
    return cmocka_run_group_tests_name("privileges", tests, NULL, NULL);
}
