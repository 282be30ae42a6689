/* addr: every accepted form comes back as the same text; everything else is refused. */
#include "support.h"

static void forms_come_back(void **state)
{
    (void)state;
    static const char *const texts[] = {"127.0.0.1:80",  "0.0.0.0:0",         "255.255.255.255:65535",
                                        "[::1]:8080",    "[2001:db8::7]:443", "unix:/run/php.sock",
                                        "unix:@coxswain"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct addr a, b;
        char text[ADDR_TEXT_BYTES];
        assert_true(addr_parse(str_of(texts[i]), &a));
        assert_int_equal(addr_print(&a, text), strlen(texts[i]));
        assert_string_equal(text, texts[i]);
        assert_true(addr_parse(str_of(text), &b));
        assert_true(addr_eq(&a, &b));
    }
}

static void others_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "80",
                                        ":80",
                                        "localhost:80",
                                        "127.0.0.1",
                                        "127.0.0.1:",
                                        "1.2.3:80",
                                        "1.2.3.4:65536",
                                        "1.2.3.4:-1",
                                        "1.2.3.4:80x",
                                        "1.2.3.4: 80",
                                        "::1:80",
                                        "[::1]",
                                        "[::1]:",
                                        "[]:80",
                                        "[::1:80",
                                        "[1.2.3.4]:80",
                                        "unix:",
                                        "[::1]80",
                                        "1.2.3.4:000080"};
    struct addr a;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (addr_parse(str_of(texts[i]), &a))
            fail_msg("accepted '%s'", texts[i]);
    assert_false(addr_parse(str_make("unix:/a\0b", 9), &a));
}

static void unix_paths_have_a_limit(void **state)
{
    (void)state;
    char text[128] = "unix:/", out[ADDR_TEXT_BYTES];
    struct addr a;
    memset(text + 6, 'x', sizeof(text) - 6);
    assert_true(addr_parse(str_make(text, 5 + 107), &a));
    assert_int_equal(addr_print(&a, out), 112);
    assert_false(addr_parse(str_make(text, 5 + 108), &a));
}

static void ip_alone(void **state)
{
    (void)state;
    char text[ADDR_TEXT_BYTES];
    uint8_t ip[16], mapped[16] = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = 9};
    struct addr a;
    assert_true(addr_parse(STR("10.0.0.9:1"), &a));
    addr_print_ip(&a, text);
    assert_string_equal(text, "10.0.0.9");
    assert_true(addr_ip16(&a, ip));
    assert_memory_equal(ip, mapped, 16);
    assert_true(addr_parse(STR("[::ffff:10.0.0.9]:81"), &a));
    addr_print_ip(&a, text);
    assert_string_equal(text, "10.0.0.9");
    addr_print(&a, text);
    assert_string_equal(text, "10.0.0.9:81");
    assert_true(addr_ip16(&a, ip));
    assert_memory_equal(ip, mapped, 16);
    assert_int_equal(addr_port(&a), 81);
    assert_true(addr_parse(STR("unix:/x"), &a));
    addr_print_ip(&a, text);
    assert_string_equal(text, "unix");
    assert_false(addr_ip16(&a, ip));
    assert_int_equal(addr_port(&a), 0);
}

static void an_unnamed_client_has_a_text(void **state)
{
    (void)state;
    char text[ADDR_TEXT_BYTES];
    struct addr a = {.len = sizeof(sa_family_t)};
    a.sa.sa_family = AF_UNIX;
    addr_print(&a, text);
    assert_string_equal(text, "unix");
}

static void equality(void **state)
{
    (void)state;
    struct addr a, b;
    assert_true(addr_parse(STR("1.2.3.4:5"), &a) && addr_parse(STR("1.2.3.4:6"), &b));
    assert_false(addr_eq(&a, &b));
    assert_true(addr_parse(STR("unix:/a"), &a) && addr_parse(STR("unix:/ab"), &b));
    assert_false(addr_eq(&a, &b));
    assert_true(addr_parse(STR("unix:@a"), &b));
    assert_false(addr_eq(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_come_back),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(unix_paths_have_a_limit),
        cmocka_unit_test(ip_alone),
        cmocka_unit_test(an_unnamed_client_has_a_text),
        cmocka_unit_test(equality),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
