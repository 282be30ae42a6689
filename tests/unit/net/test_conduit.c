/* From socket to socket through a pipe of the kernel: every byte, in order, whatever the receiver takes; and
 * the few pipes of a worker come back. */
#include "support.h"

#include <fcntl.h>
#include <signal.h>

#define PATTERN_BYTES 300000u

static char pattern[PATTERN_BYTES], seen[PATTERN_BYTES];
static struct conduits conduits;

static int set_up_conduits(void **state)
{
    int rc = set_up(state);
    struct bench *t = *state;
    for (uint32_t i = 0; i < PATTERN_BYTES; i++)
        pattern[i] = (char)(i * 7 + (i >> 8) * 13);
    conduits_init(&conduits, 1);
    t->w.conduits = &conduits;
    return rc;
}

static int tear_down_conduits(void **state)
{
    struct bench *t = *state;
    sink_fini(&t->a.sink);
    sink_fini(&t->b.sink);
    conduits_fini(&conduits); /* panics when one is missing */
    return tear_down(state);
}

/* Sockets that take something, unlike the smallest ones. */
static void widen(struct end *e)
{
    int n = 1 << 20;
    setsockopt(e->conn.fd, SOL_SOCKET, SO_SNDBUF, &n, sizeof n);
    setsockopt(e->peer, SOL_SOCKET, SO_SNDBUF, &n, sizeof n);
}

static size_t pour(struct end *e, const char *p, size_t n)
{
    ssize_t put = send(e->peer, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    return put > 0 ? (size_t)put : 0;
}

static void all_goes_through_and_the_pipe_is_free_again(void **state)
{
    struct bench *t = *state;
    bool ok;
    widen(&t->a);
    widen(&t->b);
    assert_int_equal(pour(&t->a, pattern, 50000), 50000);
    t->a.conn.may_read = true;
    assert_true(sink_can_splice(&t->b.sink, &t->a.conn));
    assert_int_equal(sink_splice(&t->b.sink, &t->a.conn, 30000, &ok), 30000);
    assert_true(ok && sink_is_empty(&t->b.sink) && t->a.conn.may_read);
    assert_int_equal(t->b.sink.sent_bytes, 30000);
    assert_int_equal(sink_splice(&t->b.sink, &t->a.conn, 90000, &ok), 20000);
    assert_int_equal(take(&t->b, seen, PATTERN_BYTES), 50000);
    assert_memory_equal(seen, pattern, 50000);
    assert_int_equal(sink_splice(&t->b.sink, &t->a.conn, 90000, &ok), CONN_AGAIN);
    assert_false(t->a.conn.may_read);
    assert_int_equal(conduits.made, 1);
    assert_non_null(conduits.free);
}

static void what_is_in_the_cork_goes_first(void **state)
{
    struct bench *t = *state;
    bool ok;
    memcpy(sink_reserve(&t->b.sink, 5), "head ", 5);
    sink_commit(&t->b.sink, 5);
    assert_int_equal(pour(&t->a, "body", 4), 4);
    t->a.conn.may_read = true;
    assert_int_equal(sink_splice(&t->b.sink, &t->a.conn, 100, &ok), 4);
    assert_true(ok);
    assert_int_equal(take(&t->b, seen, sizeof seen), 9);
    assert_memory_equal(seen, "head body", 9);
}

static void a_slow_receiver_blocks_and_loses_nothing(void **state)
{
    struct bench *t = *state;
    size_t sent = 0, moved = 0, got = 0;
    bool ok, was_blocked = false;
    widen(&t->a);
    while (got < PATTERN_BYTES) {
        sent += pour(&t->a, pattern + sent, PATTERN_BYTES - sent);
        t->a.conn.may_read = t->b.conn.may_write = true;
        if (sink_is_blocked(&t->b.sink)) {
            was_blocked = true;
            assert_false(sink_can_splice(&t->b.sink, &t->a.conn));
            assert_true(sink_drain(&t->b.sink));
        } else if (moved < PATTERN_BYTES) {
            ssize_t n = sink_splice(&t->b.sink, &t->a.conn, PATTERN_BYTES, &ok);
            assert_true(ok && n != CONN_ERROR);
            moved += n > 0 ? (size_t)n : 0;
        }
        got += take(&t->b, seen + got, 1000);
    }
    assert_true(was_blocked);
    assert_memory_equal(seen, pattern, PATTERN_BYTES);
    assert_int_equal(t->b.sink.sent_bytes, PATTERN_BYTES);
    assert_true(sink_drain(&t->b.sink));
    assert_true(sink_is_empty(&t->b.sink) && !t->b.sink.conduit);
}

static void what_is_written_while_it_is_blocked_comes_behind(void **state)
{
    struct bench *t = *state;
    size_t got = 0;
    bool ok;
    widen(&t->a);
    assert_int_equal(pour(&t->a, pattern, 100000), 100000);
    t->a.conn.may_read = true;
    ssize_t n = sink_splice(&t->b.sink, &t->a.conn, 100000, &ok);
    assert_true(n > 0 && ok && sink_is_blocked(&t->b.sink));
    struct iovec iov = {(void *)(uintptr_t) "behind", 6};
    assert_true(sink_write(&t->b.sink, &iov, 1));
    while (sink_is_blocked(&t->b.sink)) {
        got += take(&t->b, seen + got, 5000);
        t->b.conn.may_write = true;
        assert_true(sink_drain(&t->b.sink));
    }
    while (got < (size_t)n + 6)
        got += take(&t->b, seen + got, 5000);
    assert_memory_equal(seen, pattern, n);
    assert_memory_equal(seen + n, "behind", 6);
}

static void ends_and_breaks_are_told_apart(void **state)
{
    struct bench *t = *state;
    bool ok;
    close_peer(&t->a);
    t->a.conn.may_read = true;
    assert_int_equal(sink_splice(&t->b.sink, &t->a.conn, 100, &ok), 0);
    assert_true(ok && t->a.conn.eof);
}

static void a_receiver_that_is_gone_is_told(void **state)
{
    struct bench *t = *state;
    bool ok;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pour(&t->a, "lost", 4), 4);
    t->a.conn.may_read = true;
    close_peer(&t->b);
    assert_int_equal(sink_splice(&t->b.sink, &t->a.conn, 100, &ok), 4);
    assert_false(ok);
    assert_true(t->b.conn.broken);
    sink_fini(&t->b.sink); /* the pipe with the lost bytes is not used again */
    assert_int_equal(conduits.made, 0);
}

static void without_a_free_pipe_nothing_is_taken(void **state)
{
    struct bench *t = *state;
    bool ok;
    struct conduit *only = conduit_take(&conduits);
    assert_non_null(only);
    assert_int_equal(pour(&t->a, "still here", 10), 10);
    t->a.conn.may_read = true;
    assert_false(sink_can_splice(&t->b.sink, &t->a.conn));
    assert_int_equal(sink_splice(&t->b.sink, &t->a.conn, 100, &ok), CONN_AGAIN);
    assert_true(ok && t->a.conn.may_read);
    char got[16];
    assert_int_equal(conn_read(&t->a.conn, got, sizeof got), 10);
    conduit_give(&conduits, &only, true);
}

/* A file is no socket, and splice says EINVAL for what it cannot do: then it is never tried again. */
static void a_kind_that_cannot_be_spliced_is_read(void **state)
{
    struct bench *t = *state;
    bool ok;
    int socket_fd = t->a.conn.fd, dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    t->a.conn.fd = dir;
    t->a.conn.may_read = true;
    assert_int_equal(sink_splice(&t->b.sink, &t->a.conn, 100, &ok), CONN_AGAIN);
    t->a.conn.fd = socket_fd;
    close(dir);
    assert_true(ok && t->a.conn.may_read);
    assert_int_equal(conduits.max, 0);
    assert_false(sink_can_splice(&t->b.sink, &t->a.conn));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_conduits, tear_down_conduits)
    const struct CMUnitTest tests[] = {TEST(all_goes_through_and_the_pipe_is_free_again),
                                       TEST(what_is_in_the_cork_goes_first),
                                       TEST(a_slow_receiver_blocks_and_loses_nothing),
                                       TEST(what_is_written_while_it_is_blocked_comes_behind),
                                       TEST(ends_and_breaks_are_told_apart),
                                       TEST(a_receiver_that_is_gone_is_told),
                                       TEST(without_a_free_pipe_nothing_is_taken),
                                       TEST(a_kind_that_cannot_be_spliced_is_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
