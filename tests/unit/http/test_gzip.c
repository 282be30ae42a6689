/* The door to zlib: what comes out is what went in, in any pieces, within the lent block. */
#include "support.h"

#include <zlib.h>

#include "http/gzip.h"

#define BYTES 300000u

struct sink {
    z_stream z;
    unsigned char text[BYTES + 1];
    size_t len;
    bool ended;
};

static struct sink *sink_open(void)
{
    struct sink *s = calloc(1, sizeof *s);
    assert_int_equal(inflateInit2(&s->z, 15 + 16), Z_OK);
    return s;
}

static void sink_close(struct sink *s)
{
    inflateEnd(&s->z);
    free(s);
}

static void take(struct sink *s, char *p, size_t n)
{
    assert_false(s->ended && n);
    s->z.next_in = (unsigned char *)p;
    s->z.avail_in = (unsigned)n;
    s->z.next_out = s->text + s->len;
    s->z.avail_out = (unsigned)(sizeof s->text - s->len);
    int got = inflate(&s->z, Z_SYNC_FLUSH);
    assert_true(got == Z_OK || got == Z_STREAM_END || got == Z_BUF_ERROR);
    assert_int_equal(s->z.avail_in, 0);
    s->ended = got == Z_STREAM_END;
    s->len = sizeof s->text - s->z.avail_out;
}

static void give(struct gzip *g, struct sink *to, struct str in, enum gzip_mode mode, size_t cap)
{
    char out[4096];
    bool done = false;
    for (int i = 0; !done; i++) {
        assert_true(i < 100000);
        size_t n = gzip_step(g, &in, mode, out, cap, &done);
        assert_true(n <= cap);
        take(to, out, n);
    }
    assert_int_equal(in.n, 0);
}

static void fill(char *text, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1103515245u + 12345u;
        text[i] = (char)(i % 7 < 3 ? 'a' : (int)(seed >> 16 & 0xff));
    }
}

/* A block that was used before, at each level, with pieces and output of several sizes. */
static void gives_back_what_it_was_given(void **state)
{
    static const size_t pieces[] = {1, 100, 65536, BYTES}, caps[] = {64, 1000, 4096};
    char *text = malloc(BYTES), *block = malloc(GZIP_BLOCK_BYTES);
    (void)state;
    memset(block, 0xa5, GZIP_BLOCK_BYTES);
    fill(text, BYTES, 1);
    for (int level = 1; level <= 9; level++) {
        size_t piece = pieces[level % 4], n = piece == 1 ? 5000 : BYTES;
        struct sink *s = sink_open();
        struct gzip *g = gzip_init(block, level);
        assert_non_null(g);
        for (size_t at = 0; at < n; at += piece)
            give(g, s, str_make(text + at, n - at < piece ? n - at : piece), GZIP_MORE, caps[level % 3]);
        assert_false(s->ended);
        give(g, s, STR_NULL, GZIP_END, caps[level % 3]);
        assert_true(s->ended);
        assert_int_equal(s->len, n);
        assert_memory_equal(s->text, text, n);
        sink_close(s);
    }
    free(text);
    free(block);
}

static void a_flush_makes_all_readable(void **state)
{
    char *block = malloc(GZIP_BLOCK_BYTES);
    struct sink *s = sink_open();
    struct gzip *g = gzip_init(block, 6);
    (void)state;
    give(g, s, STR("data: one\n\n"), GZIP_MORE, 4096);
    assert_int_equal(s->len, 0); /* kept to itself */
    give(g, s, STR_NULL, GZIP_FLUSH, 64);
    assert_memory_equal(s->text, "data: one\n\n", 11);
    give(g, s, STR("data: two\n\n"), GZIP_FLUSH, 64);
    assert_int_equal(s->len, 22);
    give(g, s, STR_NULL, GZIP_FLUSH, 64); /* nothing new: nothing breaks */
    give(g, s, STR("!"), GZIP_END, 64);
    assert_true(s->ended);
    assert_memory_equal(s->text, "data: one\n\ndata: two\n\n!", 23);
    sink_close(s);
    free(block);
}

static void nothing_at_all_is_a_stream(void **state)
{
    char *block = malloc(GZIP_BLOCK_BYTES);
    struct sink *s = sink_open();
    (void)state;
    give(gzip_init(block, 1), s, STR_NULL, GZIP_END, 64);
    assert_true(s->ended);
    assert_int_equal(s->len, 0);
    sink_close(s);
    free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_it_was_given),
        cmocka_unit_test(a_flush_makes_all_readable),
        cmocka_unit_test(nothing_at_all_is_a_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
