/* The way out of a conn: joined heads, order and bytes exact over short writes, the cork that two sinks
 * share. */
#include "support.h"

#define PATTERN_BYTES 200000u

static char pattern[PATTERN_BYTES], seen[PATTERN_BYTES];

static void fill_pattern(void)
{
    for (uint32_t i = 0; i < PATTERN_BYTES; i++)
        pattern[i] = (char)(i * 7 + (i >> 8) * 13);
}

static bool put(struct sink *s, const char *p, size_t n)
{
    struct iovec iov = {(void *)(uintptr_t)p, n};
    return sink_write(s, &iov, 1);
}

static void cork(struct sink *s, const char *text)
{
    size_t n = strlen(text);
    memcpy(sink_reserve(s, n), text, n);
    sink_commit(s, n);
}

static void expect(struct end *e, const char *text)
{
    char got[512];
    size_t n = take(e, got, sizeof got);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, n);
}

static void a_head_waits_for_its_body(void **state)
{
    struct bench *t = *state;
    cork(&t->a.sink, "head ");
    expect(&t->a, "");
    assert_true(sink_is_corked(&t->a.sink));
    assert_false(sink_is_empty(&t->a.sink));
    assert_true(put(&t->a.sink, "body", 4));
    expect(&t->a, "head body");
    assert_true(sink_is_empty(&t->a.sink));
    assert_int_equal(t->a.sink.sent_bytes, 9);
}

static void several_heads_gather(void **state)
{
    struct bench *t = *state;
    cork(&t->a.sink, "one ");
    cork(&t->a.sink, "two ");
    assert_true(sink_flush(&t->a.sink));
    expect(&t->a, "one two ");
    assert_true(sink_flush(&t->a.sink)); /* nothing left: nothing sent */
    expect(&t->a, "");
}

/* A worker has one cork: whoever needs it next sends what the other left there. */
static void two_sinks_share_the_cork(void **state)
{
    struct bench *t = *state;
    cork(&t->a.sink, "for a");
    cork(&t->b.sink, "for b");
    expect(&t->a, "for a");
    expect(&t->b, "");
    assert_true(sink_is_corked(&t->b.sink));
    cork_flush(&t->w);
    expect(&t->b, "for b");
    cork(&t->a.sink, "x");
    assert_true(put(&t->b.sink, "y", 1)); /* leaves the other's cork alone */
    expect(&t->a, "");
    expect(&t->b, "y");
    assert_true(sink_flush(&t->a.sink));
    expect(&t->a, "x");
    assert_ptr_equal(t->w.cork_owner, NULL);
}

static void a_full_cork_makes_room(void **state)
{
    struct bench *t = *state;
    memset(sink_reserve(&t->a.sink, WORKER_CORK_BYTES), 'x', WORKER_CORK_BYTES);
    sink_commit(&t->a.sink, WORKER_CORK_BYTES);
    cork(&t->a.sink, "tail");
    assert_int_equal(t->w.cork_len, 4);
    cork_flush(&t->w);
    assert_int_equal(t->a.sink.sent_bytes + t->a.sink.queued_bytes, WORKER_CORK_BYTES + 4);
}

static void a_sink_that_goes_takes_its_cork_along(void **state)
{
    struct bench *t = *state;
    cork(&t->a.sink, "never");
    sink_fini(&t->a.sink);
    assert_ptr_equal(t->w.cork_owner, NULL);
    cork(&t->b.sink, "b");
    cork_flush(&t->w);
    expect(&t->b, "b");
    expect(&t->a, "");
}

/* One write far above the socket's buffer, drained as the peer reads: every byte, in order, and all chunks
 * back. */
static void a_short_write_is_finished_later(void **state)
{
    struct bench *t = *state;
    size_t got = 0;
    fill_pattern();
    cork(&t->a.sink, "H");
    assert_true(put(&t->a.sink, pattern, PATTERN_BYTES));
    assert_true(sink_is_blocked(&t->a.sink));
    assert_int_equal(t->a.sink.sent_bytes + t->a.sink.queued_bytes, PATTERN_BYTES + 1);
    assert_int_equal(take(&t->a, seen, 1), 1);
    assert_int_equal(seen[0], 'H');
    for (int i = 0; i < 100000 && got < PATTERN_BYTES; i++) {
        got += take(&t->a, seen + got, PATTERN_BYTES - got);
        turn(t);
        assert_true(sink_drain(&t->a.sink));
    }
    assert_int_equal(got, PATTERN_BYTES);
    assert_memory_equal(seen, pattern, PATTERN_BYTES);
    assert_false(sink_is_blocked(&t->a.sink));
    assert_int_equal(t->a.sink.sent_bytes, PATTERN_BYTES + 1);
    assert_int_equal(worker_chunks_taken(&t->w), 0);
}

/* Random pieces, heads and bodies, over two sinks at once; each stream must come out as it was put in. */
static void random_pieces_keep_their_order(void **state)
{
    struct bench *t = *state;
    struct end *ends[] = {&t->a, &t->b};
    static char out[2][PATTERN_BYTES];
    size_t in[2] = {0}, got[2] = {0};
    fill_pattern();
    srand(12);
    for (int step = 0; step < 4000000 && (got[0] < PATTERN_BYTES || got[1] < PATTERN_BYTES); step++) {
        int i = rand() & 1;
        struct end *e = ends[i];
        size_t left = PATTERN_BYTES - in[i], n = (size_t)(rand() % (rand() % 4 ? 300 : 9000));
        n = n < left ? n : left;
        switch (rand() % 5) {
        case 0: /* a head into the cork */
            if (n && !sink_is_blocked(&e->sink)) {
                memcpy(sink_reserve(&e->sink, n), pattern + in[i], n);
                sink_commit(&e->sink, n);
                in[i] += n;
            }
            break;
        case 1: /* a body of three pieces */
            if (!sink_is_blocked(&e->sink)) {
                struct iovec iov[3] = {{pattern + in[i], n / 3},
                                       {pattern + in[i] + n / 3, 0},
                                       {pattern + in[i] + n / 3, n - n / 3}};
                assert_true(sink_write(&e->sink, iov, 3));
                in[i] += n;
            }
            break;
        case 2:
            cork_flush(&t->w);
            break;
        case 3:
            got[i] += take(e, out[i] + got[i], (size_t)(rand() % 5000));
            break;
        default:
            turn(t);
            assert_true(sink_drain(&e->sink));
        }
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(got[i], PATTERN_BYTES);
        assert_memory_equal(out[i], pattern, PATTERN_BYTES);
    }
}

static void a_broken_peer_is_told(void **state)
{
    struct bench *t = *state;
    close_peer(&t->a);
    assert_false(put(&t->a.sink, "x", 1));
    assert_true(t->a.conn.broken);
    cork(&t->a.sink, "head");
    cork_flush(&t->w); /* whoever owns it: no harm, no return value */
    assert_ptr_equal(t->w.cork_owner, NULL);
}

static void a_peer_that_breaks_while_blocked_is_told(void **state)
{
    struct bench *t = *state;
    fill_pattern();
    assert_true(put(&t->a.sink, pattern, PATTERN_BYTES));
    assert_true(sink_is_blocked(&t->a.sink));
    close_peer(&t->a);
    turn(t);
    assert_true(t->a.conn.may_write);
    assert_false(sink_drain(&t->a.sink));
    assert_true(t->a.conn.broken);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_head_waits_for_its_body),
        T(several_heads_gather),
        T(two_sinks_share_the_cork),
        T(a_full_cork_makes_room),
        T(a_sink_that_goes_takes_its_cork_along),
        T(a_short_write_is_finished_later),
        T(random_pieces_keep_their_order),
        T(a_broken_peer_is_told),
        T(a_peer_that_breaks_while_blocked_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
