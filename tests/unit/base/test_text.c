#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hex.h"
#include "base/text.h"

/* The same, a byte at a time. */
static size_t by_byte(char *to, const char *from, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)from[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            len += (size_t)snprintf(to + len, 5, "\\x%02x", c);
        else
            to[len++] = (char)c;
    }
    return len;
}

/* A block of exactly n bytes, so that a sanitizer sees a read beside it. */
static void check(const char *text, size_t n)
{
    char *exact = malloc(n ? n : 1), out[400], want[400];
    memcpy(exact, text, n);
    size_t len = by_byte(want, exact, n);
    assert_int_equal(text_put_safe(out, str_make(exact, n)) - out, len);
    assert_memory_equal(out, want, len);
    free(exact);
}

static void plain_text_stays_at_any_length(void **state)
{
    (void)state;
    char text[80];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(' ' + 1 + i % 90 + (i % 90 == 1) + 2 * (i % 90 == 59));
    for (size_t n = 0; n <= sizeof text; n++)
        check(text, n);
}

static void every_other_byte_is_escaped_wherever_it_stands(void **state)
{
    (void)state;
    char text[40];
    for (size_t n = 1; n <= sizeof text; n++)
        for (size_t at = 0; at < n; at++)
            for (unsigned c = 0; c < 256; c++) {
                memset(text, 'a', n);
                text[at] = (char)c;
                check(text, n);
            }
}

static void writes_every_length_of_number(void **state)
{
    (void)state;
    uint64_t cases[64] = {0, UINT64_MAX}, count = 2;
    for (uint64_t v = 1; count < 60; v *= 10) {
        cases[count++] = v;
        cases[count++] = v - 1;
        cases[count++] = v + 1;
        if (v > UINT64_MAX / 10)
            break;
    }
    for (size_t i = 0; i < count; i++) {
        char out[32], want[32];
        int n = snprintf(want, sizeof want, "%llu", (unsigned long long)cases[i]);
        assert_int_equal(text_put_u64(out, cases[i]) - out, n);
        assert_memory_equal(out, want, (size_t)n);
    }
}

static void writes_sixteen_hexadecimal_digits(void **state)
{
    (void)state;
    const uint64_t cases[] = {
        0, 1, 0x0123456789abcdefull, 0xfedcba9876543210ull, UINT64_MAX, 0x99aa09a0f9f09f0aull};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[17] = {0}, want[17];
        snprintf(want, sizeof want, "%016llx", (unsigned long long)cases[i]);
        hex_write(out, cases[i]);
        assert_string_equal(out, want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_stays_at_any_length),
        cmocka_unit_test(every_other_byte_is_escaped_wherever_it_stands),
        cmocka_unit_test(writes_every_length_of_number),
        cmocka_unit_test(writes_sixteen_hexadecimal_digits),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
