/* Body framing: lengths, chunks, and every wrong turn that a chunked body can take. */
#include "support.h"

#include "http/h1_body.h"

static struct h1_body body_of(enum body_framing framing, uint64_t length)
{
    struct message m = {.framing = (uint8_t)framing, .content_length = length};
    struct h1_body b;
    h1_body_init(&b, &m);
    return b;
}

/* Feeds text in pieces of `step`; the payload goes to out. Returns bytes used, or the negative reason. */
static ssize_t feed(struct h1_body *b, struct str text, size_t step, char *out, size_t *out_len)
{
    size_t at = 0;
    *out_len = 0;
    while (at < text.n && !b->done && !b->in_trailers) {
        size_t n = text.n - at < step ? text.n - at : step;
        struct str data;
        ssize_t used = h1_body_step(b, text.p + at, n, &data);
        if (used <= 0)
            return used < 0 ? used : (ssize_t)at;
        if (data.n)
            memcpy(out + *out_len, data.p, data.n);
        *out_len += data.n;
        at += (size_t)used;
    }
    return (ssize_t)at;
}

static void a_length_ends_a_body(void **state)
{
    (void)state;
    char out[64];
    size_t n;
    struct h1_body b = body_of(BODY_LENGTH, 5);
    assert_int_equal(feed(&b, STR("helloGET /"), 3, out, &n), 5);
    assert_true(b.done);
    assert_int_equal(n, 5);
    b = body_of(BODY_LENGTH, 5);
    assert_int_equal(feed(&b, STR("hell"), 9, out, &n), 4);
    assert_false(b.done || h1_body_on_eof(&b));
    b = body_of(BODY_LENGTH, 0);
    assert_true(b.done);
    b = body_of(BODY_NONE, 0);
    assert_true(b.done);
}

static void closing_ends_a_body_that_may_end_so(void **state)
{
    (void)state;
    char out[64];
    size_t n;
    struct h1_body b = body_of(BODY_CLOSE, 0);
    assert_int_equal(feed(&b, STR("anything"), 3, out, &n), 8);
    assert_false(b.done);
    assert_true(h1_body_on_eof(&b) && b.done);
    b = body_of(BODY_CHUNKED, 0);
    assert_false(h1_body_on_eof(&b));
}

static void chunks_are_unwrapped_however_they_arrive(void **state)
{
    (void)state;
    struct str text = STR("5\r\nhello\r\n1;a\r\n,\r\n00A;n=v;q=\"x;\\\"\r\"\r\n");
    static const char good[] =
        "5\r\nhello\r\n1;a\r\n,\r\n00A ; n = v;q=\"x;\\\"y\"\r\n0123456789\r\n0;z\r\n\r\nGET";
    char out[64];
    size_t n;
    for (size_t step = 1; step < sizeof good; step++) {
        struct h1_body b = body_of(BODY_CHUNKED, 0);
        assert_int_equal(feed(&b, STR(good), step, out, &n), sizeof good - 1 - 5);
        assert_true(b.in_trailers && !b.done);
        assert_memory_equal(out, "hello,0123456789", n);
        assert_int_equal(n, 16);
        h1_body_trailers_done(&b);
        assert_true(b.done);
        b = body_of(BODY_CHUNKED, 0);
        assert_int_equal(feed(&b, text, step, out, &n), -REASON_CHUNK);
    }
}

static void broken_chunks_are_refused(void **state)
{
    (void)state;
    static const char *const cases[] = {
        /* H6 */
        " 5\r\n",
        "+5\r\n",
        "-5\r\n",
        "0x5\r\n",
        "5_0\r\n",
        "\r\n",
        ";a\r\n",
        "g\r\n",
        "5 \r\n",
        "5\t\r\n",
        "00000000000000005\r\n",
        "8000000000000000\r\n",
        "fffffffffffffffff\r\n",
        /* H7 */
        "5\nhello\r\n",
        "5\rhello",
        "5\r\rhello",
        "5;\r\n",
        "5;a\nb\r\n",
        "5;a\rb\r\n",
        "5;a=\r\n",
        "5;a=\"b\r\n",
        "5;a=\"b\"c\r\n",
        "5;a=\"b\\\r\n",
        "5;a b\r\n",
        "5;a \r\n",
        "5;a=b \r\n",
        "5;;a\r\n",
        "5;=a\r\n",
        "5;a=b=c\r\n",
        /* H8 */
        "5\r\nhelloX",
        "5\r\nhello\n",
        "5\r\nhello\r\r",
        "5\r\nhello0\r\n\r\n",
        "3\r\nhello\r\n",
    };
    char out[64];
    size_t n;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t step = 1; step < 10; step += 8) {
            struct h1_body b = body_of(BODY_CHUNKED, 0);
            ssize_t got = feed(&b, str_of(cases[i]), step, out, &n);
            if (got != -REASON_CHUNK)
                print_error("case %zu: %s\n", i, cases[i]);
            assert_int_equal(got, -REASON_CHUNK);
        }
    }
}

static void sizes_reach_their_limit(void **state)
{
    (void)state;
    struct str data;
    struct h1_body b = body_of(BODY_CHUNKED, 0);
    assert_int_equal(h1_body_step(&b, "7fffffffffffffff\r\nxy", 20, &data), 20);
    assert_int_equal(data.n, 2);
    assert_true(b.left == INT64_MAX - 2);
    b = body_of(BODY_CHUNKED, 0);
    assert_int_equal(h1_body_step(&b, "0000000000000001\r\nx", 19, &data), 19);
}

static void extensions_are_bounded_over_all_chunks(void **state)
{
    (void)state;
    static char line[H1_CHUNK_EXT_MAX + 64];
    for (int over = -1; over <= 1; over++) {
        struct h1_body b = body_of(BODY_CHUNKED, 0);
        /* ';' was counted with the size; the CR that ends an extension counts, too. */
        size_t ext = (size_t)(H1_CHUNK_EXT_MAX - 1 + over), half = ext / 2;
        char out[8];
        size_t n;
        memset(line, 'a', sizeof line);
        memcpy(line, "1;", 2);
        memcpy(line + 2 + half, "\r\nx\r\n", 5);
        assert_true(feed(&b, str_make(line, half + 7), 100, out, &n) > 0);
        memset(line, 'a', sizeof line);
        memcpy(line, "1;", 2);
        size_t rest = ext - half - 1;
        memcpy(line + 2 + rest, "\r\nx\r\n", 5);
        ssize_t got = feed(&b, str_make(line, rest + 7), 100, out, &n);
        assert_int_equal(got > 0, over <= 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_length_ends_a_body),
        cmocka_unit_test(closing_ends_a_body_that_may_end_so),
        cmocka_unit_test(chunks_are_unwrapped_however_they_arrive),
        cmocka_unit_test(broken_chunks_are_refused),
        cmocka_unit_test(sizes_reach_their_limit),
        cmocka_unit_test(extensions_are_bounded_over_all_chunks),
    };
    return cmocka_run_group_tests_name("h1_body", tests, NULL, NULL);
}
