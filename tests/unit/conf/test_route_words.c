/* The small languages of a route: conditions, templates, header lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "conf/condition.h"
#include "conf/settings.h"
#include "conf/template.h"

static void conditions(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name, *value;
        enum condition_test test;
    } rows[] = {
        {"X-A", "X-A", "", CONDITION_PRESENT},      {"!X-A", "X-A", "", CONDITION_ABSENT},
        {"X-A=1", "X-A", "1", CONDITION_EXACT},     {"X-A=", "X-A", "", CONDITION_EXACT},
        {"X-A^=1", "X-A", "1", CONDITION_PREFIX},   {"X-A=b=c", "X-A", "b=c", CONDITION_EXACT},
        {"X-A=^=c", "X-A", "^=c", CONDITION_EXACT}, {"!X=1", "!X", "1", CONDITION_EXACT},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct condition c;
        assert_true(condition_parse(CONDITION_HEADER, str_of(rows[i].text), &c));
        assert_true(str_eq(c.name, str_of(rows[i].name)) && c.test == rows[i].test);
        assert_true(!c.value.n ? !rows[i].value[0] : str_eq(c.value, str_of(rows[i].value)));
    }
    static const char *const wrong[] = {"", "!", "=1", "^=1", "X Y", "X:Y=1"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(condition_parse(CONDITION_HEADER, str_of(wrong[i]), &(struct condition){0}));
    assert_true(condition_parse(CONDITION_QUERY, STR("a b[]=1"), &(struct condition){0}));
}

/* The parts, text in quotes and variables by number. */
static void parses(const char *source, const char *want)
{
    struct template t;
    char got[256] = "";
    size_t n = 0;
    assert_true(template_parse(str_of(source), true, &t, NULL));
    for (uint32_t i = 0; i < t.count; i++)
        n += (size_t)(t.parts[i].variable
                          ? snprintf(got + n, sizeof(got) - n, "%d,", t.parts[i].variable)
                          : snprintf(got + n, sizeof(got) - n, "'%.*s',", STR_ARG(t.parts[i].text)));
    assert_string_equal(got, want);
    template_fini(&t);
}

static void templates(void **state)
{
    (void)state;
    _Static_assert(TEMPLATE_CLIENT_IP == 1 && TEMPLATE_HOST == 4, "numbers below");
    parses("", "");
    parses("plain", "'plain',");
    parses("$host", "4,");
    parses("a${host}b", "'a',4,'b',");
    parses("$client_ip$host/", "1,4,'/',");
    parses("$$host", "'$','host',");
    static const char *const wrong[] = {"$", "a$", "$x", "$hosts", "${host", "${}", "$ host", "$HOST"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct buf why;
        struct template t;
        buf_init(&why);
        assert_false(template_parse(str_of(wrong[i]), true, &t, &why));
        assert_true(why.len > 0 && !t.parts);
        buf_fini(&why);
    }
    struct template t;
    assert_false(template_parse(STR("$cluster"), false, &t, NULL));
}

static void header_lines(void **state)
{
    (void)state;
    struct str name, value;
    assert_true(field_line_parse(STR("X-A:  b: c "), &name, &value));
    assert_true(str_eq(name, STR("X-A")) && str_eq(value, STR("b: c")));
    assert_true(field_line_parse(STR("X-A:"), &name, &value) && value.n == 0);
    assert_false(field_line_parse(STR("X A: b"), &name, &value));
    assert_false(field_line_parse(STR(": b"), &name, &value));
    assert_false(field_line_parse(STR("X-A"), &name, &value));
    assert_true(field_name_is_settable(STR("Server")) && field_name_is_settable(STR("Cookie")));
    static const char *const ours[] = {"Connection",
                                       "content-LENGTH",
                                       "Transfer-Encoding",
                                       "TE",
                                       "Trailer",
                                       "Upgrade",
                                       "Keep-Alive",
                                       "Expect",
                                       "Host",
                                       ""};
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        assert_false(field_name_is_settable(str_of(ours[i])));
}

static void shares_in_one_word(void **state)
{
    (void)state;
    struct route_options o;
    struct buf message;
    buf_init(&message);
    options_init(&route_options_table, &o);
    assert_null(options_set(&route_options_table, &o, "clusters", "[ \"a=90\", \"b\", \"c=x\" ]", &message));
    route_options_settle(&o);
    route_options_settle(&o);
    const struct split_settings *s = o.clusters.items;
    assert_string_equal(s[0].cluster, "a");
    assert_int_equal(s[0].weight, 90);
    assert_int_equal(s[1].weight, 100);
    assert_string_equal(s[2].cluster, "c=x"); /* which is no id, and the check says so */
    options_free(&route_options_table, &o);
    buf_fini(&message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions),
        cmocka_unit_test(templates),
        cmocka_unit_test(header_lines),
        cmocka_unit_test(shares_in_one_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
