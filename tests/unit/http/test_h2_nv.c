/* h2_nv: fields on their way out: names in lower case, which of them nobody copies, and what stays out of the
 * peer's table. */
#include "support.h"

#include <ctype.h>

#include "http/h2_nv.h"

static struct h2_nv nv;

static const nghttp2_nv *put(struct str name, struct str value)
{
    h2_nv_field(&nv, name, value);
    assert_false(nv.overflow);
    return &nv.v[nv.count - 1];
}

static void assert_name(const nghttp2_nv *v, const char *name)
{
    assert_int_equal(v->namelen, strlen(name));
    assert_memory_equal(v->name, name, v->namelen);
}

static void test_names_that_we_know_are_lower_case(void **state)
{
    (void)state;
    for (int id = FIELD_OTHER + 1; id < FIELD_COUNT; id++) {
        struct str name = field_name((enum field_id)id);
        const char *low = h2_nv_lower_name((enum field_id)id);
        assert_int_equal(strlen(low), name.n);
        for (size_t i = 0; i < name.n; i++)
            assert_int_equal(low[i], tolower((unsigned char)name.p[i]));
    }
}

static void test_only_names_that_stay_are_not_copied(void **state)
{
    (void)state;
    char known[] = "ContENT-type", other[] = "X-Some-Field", lower[] = "x-some-field";
    h2_nv_init(&nv);
    const nghttp2_nv *v = put(str_of(known), STR("text/plain"));
    assert_name(v, "content-type");
    assert_true(v->flags & NGHTTP2_NV_FLAG_NO_COPY_NAME);
    assert_ptr_not_equal(v->name, known);
    v = put(str_of(other), STR("1"));
    assert_name(v, "x-some-field");
    assert_false(v->flags & NGHTTP2_NV_FLAG_NO_COPY_NAME);
    v = put(str_of(lower), STR("1"));
    assert_name(v, "x-some-field");
    assert_false(v->flags & NGHTTP2_NV_FLAG_NO_COPY_NAME);
}

static void test_lines_are_split_and_trimmed(void **state)
{
    (void)state;
    h2_nv_init(&nv);
    h2_nv_lines(&nv, STR("X-Forwarded-For: 10.0.0.1\r\nVia:1.1 me\r\nX-A:  b \r\nX-Empty:\r\n"));
    assert_false(nv.overflow);
    assert_int_equal(nv.count, 4);
    const struct str expected[4][2] = {{STR("x-forwarded-for"), STR("10.0.0.1")},
                                       {STR("via"), STR("1.1 me")},
                                       {STR("x-a"), STR("b")},
                                       {STR("x-empty"), STR("")}};
    for (int i = 0; i < 4; i++) {
        assert_name(&nv.v[i], expected[i][0].p);
        assert_int_equal(nv.v[i].valuelen, expected[i][1].n);
        assert_memory_equal(nv.v[i].value, expected[i][1].p, expected[i][1].n);
    }
}

static void test_what_is_no_name_or_value_voids_the_head(void **state)
{
    (void)state;
    const struct str wrong[][2] = {{STR("x y"), STR("1")}, {STR(""), STR("1")}, {STR("via"), STR("a\nb")}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        h2_nv_init(&nv);
        h2_nv_field(&nv, wrong[i][0], wrong[i][1]);
        assert_true(nv.overflow);
    }
}

static bool is_kept_out(bool teaches, struct str name, struct str value)
{
    h2_nv_init(&nv);
    nv.teaches = teaches;
    return put(name, value)->flags & NGHTTP2_NV_FLAG_NO_INDEX;
}

/* RFC 7541 7.1.3 */
static void test_secrets_never_go_into_a_table(void **state)
{
    (void)state;
    for (int teaches = 0; teaches < 2; teaches++) {
        assert_true(is_kept_out(teaches, STR("Authorization"), STR("Basic YTpi")));
        assert_true(is_kept_out(teaches, STR("proxy-authorization"), STR("Basic YTpi")));
        assert_true(is_kept_out(teaches, STR("cookie"), STR("a=b")));
        assert_true(is_kept_out(teaches, STR("set-cookie"), STR("a=b")));
        assert_false(is_kept_out(teaches, STR("cookie"), STR("a=0123456789abcdef01")));
        assert_false(is_kept_out(teaches, STR("accept"), STR("x")));
    }
}

static void test_what_never_comes_twice_is_taught_at_times(void **state)
{
    (void)state;
    assert_true(is_kept_out(false, STR("X-Request-Id"), STR("1")));
    assert_true(is_kept_out(false, STR("traceparent"), STR("1")));
    assert_false(is_kept_out(true, STR("X-Request-Id"), STR("1")));
    assert_false(is_kept_out(true, STR("traceparent"), STR("1")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_that_we_know_are_lower_case),
        cmocka_unit_test(test_only_names_that_stay_are_not_copied),
        cmocka_unit_test(test_lines_are_split_and_trimmed),
        cmocka_unit_test(test_what_is_no_name_or_value_voids_the_head),
        cmocka_unit_test(test_secrets_never_go_into_a_table),
        cmocka_unit_test(test_what_never_comes_twice_is_taught_at_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
