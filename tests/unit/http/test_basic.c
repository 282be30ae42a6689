/* Authorization: Basic. */
#include "support.h"

#include "http/basic.h"

static bool parse(const char *value, const char *user, const char *password)
{
    char to[BASIC_BYTES_MAX + 1];
    struct str u, p;
    if (!basic_parse(str_of(value), to, &u, &p))
        return false;
    assert_true(str_eq(u, str_of(user)) && str_eq(p, str_of(password)));
    assert_int_equal(u.p[u.n], 0);
    assert_int_equal(p.p[p.n], 0);
    return true;
}

static void what_clients_send(void **state)
{
    (void)state;
    assert_true(parse("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin", "open sesame")); /* RFC 7617 2 */
    assert_true(parse("Basic dGVzdDoxMjPCow==", "test", "123\xc2\xa3"));                /* RFC 7617 2.1 */
    assert_true(parse("bAsIc  YTpi ", "a", "b"));
    assert_true(parse("Basic YTpiOmM=", "a", "b:c"));
    assert_true(parse("Basic Og==", "", ""));
    assert_true(parse("Basic YTo=", "a", ""));
}

static void what_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "Basic",
                                      "Basic ",
                                      "Bearer YTpi",
                                      "BasicYTpi",
                                      "Basic YTp",
                                      "Basic YTpi=",
                                      "Basic YQ==",
                                      "Basic Y=pi",
                                      "Basic ====",
                                      "Basic YTpiOmN=",
                                      "Basic YT i",
                                      "Basic YTpi,YTpi",
                                      "Basic \x01\x02\x03\x04",
                                      "Basic YTo=YTo=",
                                      "Basic YToA",
                                      "Basic YTp/",
                                      "Basic -_-_"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(bad[i], "", ""))
            fail_msg("taken: %s", bad[i]);
}

static void the_limit(void **state)
{
    char value[1024];
    char password[BASIC_BYTES_MAX];
    (void)state;
    for (size_t groups = 169; groups < 172; groups++) { /* of three bytes: 507, 510, 513 */
        memcpy(value, "Basic YTpi", 10);
        memset(value + 10, 0, sizeof value - 10);
        for (size_t i = 1; i < groups; i++)
            memcpy(value + 6 + 4 * i, "YWFh", 4);
        memset(password, 'a', sizeof password);
        password[0] = 'b';
        size_t n = groups * 3 - 2;
        if (n < sizeof password)
            password[n] = 0;
        assert_int_equal(parse(value, "a", password), groups * 3 <= BASIC_BYTES_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_clients_send),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
