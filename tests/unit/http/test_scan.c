/* scan: the byte classes as the RFCs spell them, and every fast way against the slow one. */
#include "support.h"

#include "http/scan.h"

static bool is_one_of(int c, const char *set)
{
    return c != 0 && strchr(set, c) != NULL;
}

static void classes_are_those_of_the_rfcs(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool visible = c > 0x20 && c < 0x7f;
        char b = (char)c;
        assert_int_equal(scan_is(b, SCAN_TOKEN), alnum || is_one_of(c, "!#$%&'*+-.^_`|~"));
        assert_int_equal(scan_is(b, SCAN_VALUE), c == '\t' || c == ' ' || visible || c >= 0x80);
        assert_int_equal(scan_is(b, SCAN_TARGET), visible && c != '#');
        assert_int_equal(scan_is(b, SCAN_UNRESERVED), alnum || is_one_of(c, "-._~"));
        assert_int_equal(scan_is(b, SCAN_REG_NAME), alnum || is_one_of(c, "-._~!$&'()*+;="));
        assert_int_equal(scan_is(b, SCAN_DIGIT), c >= '0' && c <= '9');
        assert_int_equal(scan_is(b, SCAN_HEX), is_one_of(c, "0123456789abcdefABCDEF"));
        assert_int_equal(scan_is(b, SCAN_PATH_PLAIN), visible && !is_one_of(c, "%\\#?/."));
    }
}

/* One text at the very end of a block, so that a sanitizer sees a read beyond it. */
static void compare_all(const char *p, const char *end, const char *floor)
{
    const struct scan_ops *slow = scan_ops_at(0);
    const char *value = slow->value(p, end), *target = slow->target(p, end);
    for (size_t i = 1; scan_ops_at(i); i++) {
        assert_ptr_equal(scan_ops_at(i)->value(p, end), value);
        assert_ptr_equal(scan_ops_at(i)->target(p, end), target);
    }
    assert_ptr_equal(scan_value(p, p, end), value);
    assert_ptr_equal(scan_value(floor, p, end), value);
    assert_ptr_equal(scan_target(p, end), target);
    const char *token = scan_token(p, end);
    for (int i = 0; i < 2; i++) {
        const char *colon = scan_colon(i ? floor : p, p, end);
        if (token == end || *token == ':' || !memchr(p, ':', (size_t)(end - p)))
            assert_ptr_equal(colon, token);
        else
            assert_true(*colon == ':' || colon == token);
    }
    assert_int_equal(scan_is_token(p, (size_t)(end - p)), p < end && token == end);
    bool dashed = true, plain = true;
    for (const char *q = p; q < end; q++) {
        plain &= (*q >= '0' && *q <= '9') || (*q >= 'a' && *q <= 'z') || *q == '-';
        dashed &=
            (*q >= '0' && *q <= '9') || (*q >= 'a' && *q <= 'z') || (*q >= 'A' && *q <= 'Z') || *q == '-';
    }
#if defined(__SSE2__)
    assert_int_equal(scan_is_plain_name(p, (size_t)(end - p)), plain && end - p >= 4);
#endif
    if (p < end)
        assert_int_equal(scan_is_dashed(p, (size_t)(end - p), (size_t)(end - p)), dashed);
}

static void fast_ways_agree_with_the_slow_one(void **state)
{
    (void)state;
    srand(7);
    for (int round = 0; round < 20000; round++) {
        size_t before = (size_t)(rand() % 40), n = (size_t)(rand() % 100);
        char *block = malloc(before + n + 1);
        assert_non_null(block);
        for (size_t i = 0; i < before + n; i++)
            block[i] = (char)(rand() % 2 ? 'a' + rand() % 26 : ' ' + 1 + rand() % 94);
        if (n && rand() % 4)
            block[before + (size_t)rand() % n] = (char)rand();
        if (n && rand() % 2)
            block[before + (size_t)rand() % n] = ':';
        char *exact = malloc(before + n ? before + n : 1);
        assert_non_null(exact);
        memcpy(exact, block, before + n);
        compare_all(exact + before, exact + before + n, exact);
        free(exact);
        free(block);
    }
}

static void every_byte_at_every_place(void **state)
{
    (void)state;
    char text[70];
    for (size_t at = 0; at < sizeof text; at++) {
        for (int c = 0; c < 256; c++) {
            memset(text, 'x', sizeof text);
            text[at] = (char)c;
            compare_all(text, text + sizeof text, text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_those_of_the_rfcs),
        cmocka_unit_test(fast_ways_agree_with_the_slow_one),
        cmocka_unit_test(every_byte_at_every_place),
    };
    return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
