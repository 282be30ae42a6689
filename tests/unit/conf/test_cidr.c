/* Networks and addresses in text, and which addresses they contain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cidr.h"

static bool in(const char *net, const char *ip)
{
    struct cidr one;
    uint8_t bytes[16];
    assert_true(cidr_parse(str_of(net), &one));
    assert_true(cidr_ip_parse(str_of(ip), bytes));
    struct cidr_list list = {&one, 1};
    return cidr_list_has(&list, bytes);
}

static void test_contains(void **state)
{
    (void)state;
    assert_true(in("10.0.0.0/8", "10.255.0.1"));
    assert_false(in("10.0.0.0/8", "11.0.0.0"));
    assert_true(in("192.168.0.0/23", "192.168.1.255"));
    assert_false(in("192.168.0.0/23", "192.168.2.0"));
    assert_true(in("::1", "::1"));
    assert_true(in("::1", "[::1]"));
    assert_false(in("::1", "::2"));
    assert_true(in("fd00::/8", "fdff::1"));
    assert_false(in("fd00::/8", "fe00::1"));
    assert_true(in("127.0.0.1", "127.0.0.1"));
    assert_true(in("0.0.0.0/0", "203.0.113.9"));
    assert_false(in("0.0.0.0/0", "2001:db8::1")); /* all of IPv4 is not all of IPv6 */
    assert_true(in("::/0", "2001:db8::1"));
    assert_true(in("10.0.0.0/8", "::ffff:10.1.2.3")); /* the same host, seen through a dual-stack socket */
}

static void test_refused(void **state)
{
    static const char *const bad[] = {
        "",          "10.0.0.0/33", "10.0.0.0/",     "10.0.0.0/-1",  "10.0.0.0/8 ", "10.0.0.1/8",
        "10.0.0/8",  "::1/129",     "fd00::1/8",     "010.0.0.0/8x", "/8",          "localhost",
        "1.2.3.4.5", "[10.0.0.1]",  "10.0.0.0/0008", "[::1",         "::1%eth0",    "1:2:3:4:5:6:7:8:9"};
    struct cidr net;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (cidr_parse(str_of(bad[i]), &net))
            fail_msg("\"%s\" was taken", bad[i]);
}

static void test_empty_list_has_nobody(void **state)
{
    struct cidr_list none = {NULL, 0};
    uint8_t ip[16];
    (void)state;
    assert_true(cidr_ip_parse(STR("127.0.0.1"), ip));
    assert_false(cidr_list_has(&none, ip));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contains),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_empty_list_has_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
