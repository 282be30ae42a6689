/* Conditions of routes against parsed requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "http/h1_parse.h"
#include "http/rules.h"
#include "proxy/match.h"

static const char request[] = "PUT /p?a=1&b=x+y&c&d=%41%zz&e%3D=&a=2&&=odd HTTP/1.1\r\n"
                              "Host: h\r\n"
                              "X-One: first\r\n"
                              "x-one: second\r\n"
                              "Empty:\r\n"
                              "Cookie: k=v; quoted=\"q\"; k=w;tight=1\r\n"
                              "Cookie: other=o; bare\r\n"
                              "Connection: X-Gone\r\n"
                              "X-Gone: 1\r\n"
                              "\r\n";

static bool fits(const char *key, const char *value)
{
    static const struct h1_limits limits = {.line_bytes = 8192, .head_bytes = 32768, .field_count = 100};
    char block[512];
    struct field fields[32];
    struct message m;
    struct h1_parser parser = {0};
    struct arena arena;
    struct route_options options;
    message_init(&m, fields, 32);
    m.base = request;
    assert_int_equal(h1_parse_request(&parser, request, sizeof(request) - 1, &limits, &m),
                     sizeof(request) - 1);
    m.head_len = sizeof(request) - 1;
    arena_init(&arena, block, sizeof(block), 1 << 16);
    rules_drop_hop_by_hop(&m);
    assert_int_equal(rules_normalise_path(&m, &arena, true), REASON_OK);
    options_init(&route_options_table, &options);
    assert_null(options_set(&route_options_table, &options, key, value, NULL));
    struct route_rules *rules = route_rules_build(&options, true, NULL);
    assert_non_null(rules);
    bool yes = match_request(&m, rules);
    route_rules_unref(&rules);
    options_free(&route_options_table, &options);
    arena_fini(&arena);
    return yes;
}

static void check(const char *key, const char *const *yes, const char *const *no)
{
    for (; *yes; yes++)
        if (!fits(key, *yes))
            fail_msg("%s %s does not fit", key, *yes);
    for (; *no; no++)
        if (fits(key, *no))
            fail_msg("%s %s fits", key, *no);
}

static void methods(void **state)
{
    (void)state;
    check("methods", (const char *const[]){"PUT", "[ \"GET\", \"PUT\" ]", NULL},
          (const char *const[]){"GET", "put", "PU", "PUTT", NULL});
}

static void headers(void **state)
{
    (void)state;
    check("headers",
          (const char *const[]){"X-One", "X-ONE=first", "x-one=second", "X-One^=sec", "Empty",
                                "Empty=", "Empty^=", "!X-Two", "!X-Gone", "Host=h", NULL},
          (const char *const[]){"X-Two", "X-One=fir", "X-One=First", "!X-One", "!Empty", "Empty=1", "X-Gone",
                                "[ \"X-One\", \"X-Two\" ]", NULL});
}

static void cookies(void **state)
{
    (void)state;
    check(
        "cookies",
        (const char *const[]){"k", "k=v", "k=w", "quoted=q", "tight=1", "other^=", "!K", "!bare", "!v", NULL},
        (const char *const[]){"k=x", "K=v", "bare", "!k", "ight=1", "other=oo", NULL});
}

static void query(void **state)
{
    (void)state;
    check("query",
          (const char *const[]){"a=1", "a=2", "b=x y", "c", "c=", "d=A%zz", "d^=A", "!e", "!f",
                                "a^=", NULL},
          (const char *const[]){"a=12", "b=x+y", "c=1", "d=%41%zz", "!c", "A=1", "f", "p", "e=", NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods),
        cmocka_unit_test(headers),
        cmocka_unit_test(cookies),
        cmocka_unit_test(query),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
