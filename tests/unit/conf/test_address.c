/* Addresses, names and name servers: each text is one of them or none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "conf/address.h"

#define X63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void check(bool (*is)(struct str), const char *const *yes, const char *const *no)
{
    for (; *yes; yes++)
        if (!is(str_of(*yes)))
            fail_msg("refused: %s", *yes);
    for (; *no; no++)
        if (is(str_of(*no)))
            fail_msg("taken: %s", *no);
}

static void addresses(void **state)
{
    static const char *const yes[] = {"10.0.0.1:80", "[::1]:65535", "unix:/x", NULL},
                             *const no[] = {
                                 "",       "10.0.0.1",     "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536",
                                 "::1:80", "[::1]",        "unix:x",    "unix:",      "app.internal:80",
                                 ":80",    "10.0.0.300:1", NULL};
    (void)state;
    check(address_is_valid, yes, no);
}

static void names(void **state)
{
    static const char *const yes[] =
        {"app:80",      "app.internal:80", "app.internal.:80",         "_http._tcp.app:1", "1.2.3.4a:80",
         "a-b.c--d:80", "10.0.0.a:80",     "xn--bcher-kva.example:80", X63 ".test:80",     "4chan.org:65535",
         NULL},
                             *const no[] = {"",
                                            "app",
                                            "app:",
                                            "app:0",
                                            "app:65536",
                                            ":80",
                                            ".:80",
                                            "a..b:80",
                                            ".a:80",
                                            "a.:.80",
                                            "a..:80",
                                            "-a:80",
                                            "a-:80",
                                            "a b:80",
                                            "a/b:80",
                                            "10.0.0.1:80",
                                            "10.0.0.300:80",
                                            "[::1]:80",
                                            "a:b:80",
                                            X63 "a:80",
                                            X63 "." X63 "." X63 "." X63 ":80",
                                            NULL};
    (void)state;
    check(address_is_name, yes, no);
}

/* 253 bytes and no more, the final dot apart. */
static void length_of_a_name(void **state)
{
    char text[300];
    (void)state;
    memset(text, 'a', sizeof text);
    for (size_t i = 50; i < sizeof text; i += 50)
        text[i] = '.';
    memcpy(text + 253, ":80", 3);
    assert_true(address_is_name(str_make(text, 256)));
    memcpy(text + 253, ".:80", 4);
    assert_true(address_is_name(str_make(text, 257)));
    memcpy(text + 253, "a:80", 4);
    assert_false(address_is_name(str_make(text, 257)));
}

static void servers(void **state)
{
    static const char *const yes[] = {"10.0.0.53", "10.0.0.53:5353", "::1", "[::1]:53", "fe80::1", NULL},
                             *const no[] = {"",        "dns.test", "dns.test:53", "10.0.0.53:", "10.0.0.53:0",
                                            "unix:/x", NULL};
    (void)state;
    check(address_is_server, yes, no);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses),
        cmocka_unit_test(names),
        cmocka_unit_test(length_of_a_name),
        cmocka_unit_test(servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
