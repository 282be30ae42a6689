/* What is a format of the access log, and each way of not being one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "conf/log_format.h"

static struct log_format *compile(const char *text)
{
    struct log_format *f;
    struct buf message;
    buf_init(&message);
    if (!log_format_create(text, false, &f, &message))
        fail_msg("%s: %.*s", text, (int)message.len, message.p);
    assert_int_equal(message.len, 0);
    buf_fini(&message);
    return f;
}

static void refuse(const char *text, const char *expected)
{
    struct log_format *f;
    struct buf message;
    buf_init(&message);
    assert_false(log_format_create(text, false, &f, &message));
    assert_null(f);
    buf_put(&message, "", 1);
    assert_string_equal(message.p, expected);
    buf_fini(&message);
}

static void expect(const struct log_format *f, size_t i, enum log_var var, const char *text)
{
    assert_true(i < f->count);
    assert_int_equal(f->segments[i].var, var);
    assert_true(str_eq(f->segments[i].text, str_of(text)));
}

static void test_words(void **state)
{
    struct log_format *f = compile("default");
    (void)state;
    assert_null(f);
    f = compile("off");
    assert_int_equal(f->count, 0);
    log_format_destroy(&f);
    assert_null(f);
    f = compile("json");
    assert_true(f->json && f->count > 20);
    log_format_destroy(&f);
    f = compile("combined");
    assert_false(f->json);
    expect(f, 0, LOG_VAR_CLIENT_IP, NULL);
    expect(f, 1, LOG_VAR_LITERAL, " - ");
    expect(f, 2, LOG_VAR_USER, NULL);
    expect(f, 3, LOG_VAR_LITERAL, " [");
    log_format_destroy(&f);
}

static void test_pieces(void **state)
{
    struct log_format *f = compile("a$status${method}b$$c $header_x_my_field$$");
    (void)state;
    expect(f, 0, LOG_VAR_LITERAL, "a");
    expect(f, 1, LOG_VAR_STATUS, NULL);
    expect(f, 2, LOG_VAR_METHOD, NULL);
    expect(f, 3, LOG_VAR_LITERAL, "b$");
    expect(f, 4, LOG_VAR_LITERAL, "c ");
    expect(f, 5, LOG_VAR_HEADER, "x-my-field");
    expect(f, 6, LOG_VAR_LITERAL, "$");
    assert_int_equal(f->count, 7);
    log_format_destroy(&f);
}

/* What a segment leaves for those behind it: literals in full, our own values at their longest, texts one
 * byte. */
static void test_reserve(void **state)
{
    struct log_format *f = compile("$path $status $target!");
    (void)state;
    assert_int_equal(f->segments[f->count - 1].reserve, 1);
    assert_int_equal(f->segments[4].var, LOG_VAR_TARGET);
    assert_int_equal(f->segments[4].reserve, 2);
    assert_int_equal(f->segments[2].reserve, 1 + 1 + 1 + 1);
    assert_int_equal(f->segments[0].reserve, 1 + 1 + 1 + 1 + LOG_FIXED_BYTES + 1);
    log_format_destroy(&f);
}

static void test_faults(void **state)
{
    (void)state;
    refuse("$nothing", "unknown variable \"$nothing\"");
    refuse("a $", "unknown variable \"$\"");
    refuse("${status", "${status without its }");
    refuse("common", "\"common\" is neither default, combined, json nor off, and has no variable");
    refuse("", "\"\" is neither default, combined, json nor off, and has no variable");
    refuse("$status\n$status", "a control character");
    refuse("$header_authorization", "$header_authorization would write passwords to the log");
    refuse("${header_proxy_authorization}", "$header_proxy-authorization would write passwords to the log");
    refuse("$header_", "unknown variable \"$header_\"");
}

static char *repeat(const char *text, size_t times)
{
    char *out = calloc(times, strlen(text) + 1);
    for (size_t i = 0; i < times; i++)
        memcpy(out + i * strlen(text), text, strlen(text));
    return out;
}

/* At and above: bytes of the text, pieces, and what a line could need. */
static void test_limits(void **state)
{
    struct log_format *f;
    char *text = repeat("$status", LOG_RESERVED_MAX / LOG_FIXED_BYTES);
    (void)state;
    f = compile(text);
    log_format_destroy(&f);
    free(text);
    text = repeat("$status", LOG_RESERVED_MAX / LOG_FIXED_BYTES + 1);
    refuse(text, "a line of it could not be bounded: use fewer variables");
    free(text);
    text = repeat("$path", LOG_SEGMENTS_MAX);
    f = compile(text);
    log_format_destroy(&f);
    free(text);
    text = repeat("$path", LOG_SEGMENTS_MAX + 1);
    refuse(text, "more than 256 pieces");
    free(text);
    text = repeat("$$", LOG_FORMAT_MAX / 2 + 1);
    refuse(text, "longer than 4096 bytes");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),  cmocka_unit_test(test_pieces), cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_faults), cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
