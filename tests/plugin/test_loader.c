/* Every way in which a plugin or its section can be wrong is told in one precise line. */
#include "support.h"

/* What plugin_create says. */
static void assert_refused(struct fixture *f, struct section *s, const char *expected)
{
    struct buf errors;
    buf_init(&errors);
    s->settings.raw.v = s->raw;
    assert_null(plugin_create(&f->host, &s->settings, test_dir(), &errors));
    buf_put(&errors, "", 1);
    if (!strstr(errors.p, expected))
        print_error("got:      %sexpected: %s\n", errors.p, expected);
    assert_non_null(strstr(errors.p, expected));
    const char *end = strchr(errors.p, '\n');
    assert_true(end && end[1] == 0); /* one line */
    assert_memory_equal(errors.p, "/etc/c.cfg:", 11);
    buf_fini(&errors);
}

static void refused(void **state, const char *name, const char *expected)
{
    struct section s = section_of(name, NULL);
    assert_refused(*state, &s, expected);
}

static void test_no_file(void **state)
{
    refused(state, "nobody", "/etc/c.cfg:7: plugin \"nobody\": no file nobody.so in ");
}

static void test_name_leaves_the_folder(void **state)
{
    refused(state, "../nobody", "is not a plugin name");
}

static void test_no_symbol(void **state)
{
    refused(state, "bad_symbol", "exports no symbol \"cox_plugin\": not a coxswain plugin");
}

static void test_wrong_abi(void **state)
{
    refused(state, "bad_abi", "it was built for plugin ABI 2, this is ABI 1");
}

static void test_short_struct(void **state)
{
    refused(state, "bad_short", "its descriptor has 24 bytes, at least ");
}

static void test_wrong_name(void **state)
{
    refused(state, "bad_name", "it calls itself \"somebody\"");
}

static void test_role_without_functions(void **state)
{
    refused(state, "bad_role", "it is an actuator without list");
}

static void test_malformed_schema(void **state)
{
    refused(state, "bad_schema", "malformed row 0 of the option schema");
}

static void test_open_fails(void **state)
{
    refused(state, "bad_open", "open failed: the moon is in the wrong phase");
}

static void test_unknown_option(void **state)
{
    struct section s = section_of("bad_good", NULL);
    section_set(&s, OPTION_INTEGER("cuont", 3));
    assert_refused(*state, &s, "/etc/c.cfg:9: plugin \"bad_good\": unknown option \"cuont\"");
}

static void test_wrong_types(void **state)
{
    static const struct {
        struct raw_option option;
        const char *expected;
    } cases[] = {
        {{.key = (char *)"count", .type = 's', .s = (char *)"3", .line = 9}, "count must be a whole number"},
        {{.key = (char *)"count", .type = 'i', .i = 0, .line = 9}, "count must be between 1 and 10"},
        {{.key = (char *)"count", .type = 'i', .i = 11, .line = 9}, "count must be between 1 and 10"},
        {{.key = (char *)"pause", .type = 'i', .i = 3, .line = 9}, "pause must be a duration"},
        {{.key = (char *)"pause", .type = 's', .s = (char *)"3 moons", .line = 9},
         "pause must be a duration"},
        {{.key = (char *)"mode", .type = 's', .s = (char *)"medium", .line = 9},
         "mode must be one of: slow fast"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct section s = section_of("bad_good", NULL);
        section_set(&s, cases[i].option);
        assert_refused(*state, &s, cases[i].expected);
    }
}

static void test_values(void **state)
{
    struct section s = section_of("first", "bad_good");
    section_set(&s, OPTION_INTEGER("count", 10));
    section_set(&s, OPTION_TEXT("mode", "fast"));
    struct plugin *p = create(*state, &s, test_dir());
    assert_int_equal(p->values.values[0].i, 10);
    assert_int_equal(p->values.values[0].flags, COX_VALUE_SET);
    assert_int_equal(p->values.values[0].line, 9);
    assert_int_equal(p->values.values[1].i, 1000);
    assert_int_equal(p->values.values[1].flags, 0);
    assert_int_equal(p->values.values[2].i, 1);
    assert_string_equal(p->values.values[2].text, "fast");
}

/* One plugin, many instances, each with values of its own. */
static void test_two_instances(void **state)
{
    struct section a = section_of("a", "bad_good"), b = section_of("b", "bad_good");
    section_set(&b, OPTION_INTEGER("count", 5));
    const struct plugin *pa = create(*state, &a, test_dir()), *pb = create(*state, &b, test_dir());
    assert_int_equal(pa->values.values[0].i, 3);
    assert_int_equal(pb->values.values[0].i, 5);
    struct fixture *f = *state;
    assert_ptr_equal(host_find(&f->host, "a"), pa);
    assert_null(host_find(&f->host, "c"));
}

static void test_check_opens_nothing(void **state)
{
    struct section s = section_of("bad_open", NULL); /* its open would fail */
    struct buf errors;
    unsigned roles;
    (void)state;
    buf_init(&errors);
    assert_true(plugin_check(&s.settings, test_dir(), &roles, &errors));
    assert_int_equal(roles, 0);
    s = section_of("bad_good", NULL);
    assert_true(plugin_check(&s.settings, test_dir(), &roles, &errors));
    assert_int_equal(roles, PLUGIN_DISCOVERY);
    assert_int_equal(errors.len, 0);
    buf_fini(&errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_no_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_name_leaves_the_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_symbol, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_abi, setup, teardown),
        cmocka_unit_test_setup_teardown(test_short_struct, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_name, setup, teardown),
        cmocka_unit_test_setup_teardown(test_role_without_functions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_schema, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_option, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_two_instances, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check_opens_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
