/* One socket on the loop: edges are kept until EAGAIN, a FIN behind data is not lost, failures are told
 * apart. */
#include "support.h"

#include <arpa/inet.h>
#include <errno.h>

static void nothing_to_read_says_again(void **state)
{
    struct bench *t = *state;
    char buf[16];
    assert_int_equal(conn_read(&t->a.conn, buf, sizeof buf), CONN_AGAIN);
    assert_false(t->a.conn.may_read);
    assert_false(t->a.conn.broken);
}

/* A short read means that the socket is empty; a full one says nothing, so may_read stays. */
static void may_read_is_cleared_by_a_short_read(void **state)
{
    struct bench *t = *state;
    char buf[4];
    assert_int_equal(send(t->a.peer, "123456", 6, 0), 6);
    turn(t);
    assert_int_equal(t->a.ready, 1);
    assert_true(t->a.conn.may_read);
    assert_int_equal(conn_read(&t->a.conn, buf, 4), 4);
    assert_true(t->a.conn.may_read);
    assert_int_equal(conn_read(&t->a.conn, buf, 4), 2);
    assert_false(t->a.conn.may_read);
    assert_int_equal(send(t->a.peer, "7", 1, 0), 1); /* and the next byte is a new edge */
    turn(t);
    assert_true(t->a.conn.may_read);
}

/* Edge-triggered: what is left unread raises no further event. */
static void one_edge_is_told_once(void **state)
{
    struct bench *t = *state;
    assert_int_equal(send(t->a.peer, "1", 1, 0), 1);
    turn(t);
    int ready = t->a.ready;
    turn(t);
    turn(t);
    assert_int_equal(t->a.ready, ready);
    assert_true(t->a.conn.may_read);
}

/* The trap of the short read: data and FIN come as one edge, and the FIN is never announced again. */
static void a_fin_behind_data_is_not_lost(void **state)
{
    struct bench *t = *state;
    char buf[64];
    assert_int_equal(send(t->a.peer, "last words", 10, 0), 10);
    shutdown(t->a.peer, SHUT_WR);
    turn(t);
    assert_true(t->a.conn.peer_done);
    assert_int_equal(conn_read(&t->a.conn, buf, sizeof buf), 10);
    assert_true(t->a.conn.may_read); /* in spite of the short read */
    assert_false(t->a.conn.eof);
    assert_int_equal(conn_read(&t->a.conn, buf, sizeof buf), 0);
    assert_true(t->a.conn.eof);
    assert_false(t->a.conn.may_read);
    assert_false(t->a.conn.broken);
}

static void half_closed_it_still_writes(void **state)
{
    struct bench *t = *state;
    char buf[8];
    shutdown(t->a.peer, SHUT_WR);
    turn(t);
    assert_int_equal(conn_read(&t->a.conn, buf, sizeof buf), 0);
    struct iovec iov = {(void *)(uintptr_t) "ok", 2};
    assert_int_equal(conn_writev(&t->a.conn, &iov, 1), 2);
    assert_int_equal(take(&t->a, buf, sizeof buf), 2);
    conn_shutdown(&t->a.conn);
    conn_shutdown(&t->a.conn); /* twice is once */
    assert_int_equal(recv(t->a.peer, buf, 1, 0), 0);
}

static void a_full_socket_says_again_and_wakes(void **state)
{
    struct bench *t = *state;
    static char big[65536];
    struct iovec iov = {big, sizeof big};
    turn(t); /* the first edge: writable */
    ssize_t put = 0, all = 0;
    while (t->a.conn.may_write && (put = conn_writev(&t->a.conn, &iov, 1)) > 0)
        all += put;
    assert_false(t->a.conn.may_write);
    assert_true(all > 0);
    turn(t);
    assert_false(t->a.conn.may_write);
    for (ssize_t got; all > 0; all -= got)
        assert_true((got = recv(t->a.peer, big, sizeof big, 0)) > 0);
    turn(t);
    assert_true(t->a.conn.may_write);
}

static void peek_takes_nothing(void **state)
{
    struct bench *t = *state;
    char c;
    assert_int_equal(conn_peek(&t->a.conn), CONN_AGAIN); /* open, nothing there */
    assert_int_equal(send(t->a.peer, "x", 1, 0), 1);
    assert_int_equal(conn_peek(&t->a.conn), 1);
    assert_int_equal(conn_read(&t->a.conn, &c, 1), 1);
    shutdown(t->a.peer, SHUT_WR);
    assert_int_equal(conn_peek(&t->a.conn), 0);
}

/* The end, and what kind of end, behind bytes that nobody has read. */
static void the_peer_is_asked_about_behind_its_bytes(void **state)
{
    struct bench *t = *state;
    assert_int_equal(conn_ask_peer(&t->a.conn), CONN_AGAIN);
    assert_int_equal(conn_unread_bytes(&t->a.conn), 0);
    assert_int_equal(send(t->a.peer, "xyz", 3, 0), 3);
    assert_int_equal(conn_ask_peer(&t->a.conn), CONN_AGAIN);
    assert_int_equal(conn_unread_bytes(&t->a.conn), 3);
    assert_false(t->a.conn.peer_done);
    shutdown(t->a.peer, SHUT_WR);
    assert_int_equal(conn_ask_peer(&t->a.conn), 0);
    assert_true(t->a.conn.peer_done);
    assert_int_equal(conn_unread_bytes(&t->a.conn), 3);
    shutdown(t->a.peer, SHUT_RDWR); /* it takes nothing any more */
    assert_int_equal(conn_ask_peer(&t->a.conn), CONN_ERROR);
    assert_int_equal(conn_peek(&t->a.conn), 1);
}

static void a_closed_one_is_harmless(void **state)
{
    struct bench *t = *state;
    assert_int_equal(send(t->a.peer, "x", 1, 0), 1);
    conn_close(&t->a.conn);
    conn_close(&t->a.conn);
    conn_reset(&t->a.conn);
    conn_shutdown(&t->a.conn);
    assert_false(conn_is_open(&t->a.conn));
    turn(t);
    assert_int_equal(t->a.ready, 0);
}

/* ---- over TCP ---- */

static int listen_tcp(struct addr *out)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
    *out = (struct addr){.len = sizeof in};
    out->in = in;
    return fd;
}

static void wait_ready(struct bench *t, struct end *e)
{
    for (int i = 0; i < 1000 && !e->ready; i++)
        event_base_loop(t->w.loop.base, EVLOOP_ONCE);
    assert_true(e->ready > 0);
}

static void connect_to(struct bench *t, struct end *e, const struct addr *to)
{
    conn_close(&e->conn);
    close_peer(e);
    e->ready = 0;
    assert_true(conn_connect(&e->conn, &t->w, to, on_end_ready));
}

static void a_connection_reports_by_may_write(void **state)
{
    struct bench *t = *state;
    struct addr to;
    int listener = listen_tcp(&to);
    assert_int_equal(listen(listener, 4), 0);
    connect_to(t, &t->a, &to);
    wait_ready(t, &t->a);
    assert_true(t->a.conn.may_write);
    assert_int_equal(conn_connect_error(&t->a.conn), 0);
    t->a.peer = accept(listener, NULL, NULL);
    /* conn_reset sends RST, not FIN */
    conn_reset(&t->a.conn);
    char c;
    assert_int_equal(recv(t->a.peer, &c, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
    close(listener);
}

static void a_refused_connection_reports_too(void **state)
{
    struct bench *t = *state;
    struct addr to;
    int bound = listen_tcp(&to); /* bound, but nobody listens */
    connect_to(t, &t->a, &to);
    wait_ready(t, &t->a);
    assert_true(t->a.conn.may_write);
    assert_int_equal(conn_connect_error(&t->a.conn), ECONNREFUSED);
    close(bound);
}

static void a_reset_is_told_from_an_end(void **state)
{
    struct bench *t = *state;
    struct addr to;
    int listener = listen_tcp(&to);
    struct linger now = {1, 0};
    char buf[8];
    assert_int_equal(listen(listener, 4), 0);
    connect_to(t, &t->a, &to);
    wait_ready(t, &t->a);
    int peer = accept(listener, NULL, NULL);
    setsockopt(peer, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(peer);
    t->a.ready = 0;
    wait_ready(t, &t->a);
    assert_true(t->a.conn.may_read);
    assert_int_equal(conn_read(&t->a.conn, buf, sizeof buf), CONN_ERROR);
    assert_true(t->a.conn.broken);
    assert_false(t->a.conn.eof);
    close(listener);
}

/* No server at that path: told at once, with errno, and nothing stays open. */
static void a_missing_unix_socket_fails_at_once(void **state)
{
    struct bench *t = *state;
    struct addr to = {.len = sizeof to.un};
    to.un.sun_family = AF_UNIX;
    strncpy(to.un.sun_path, "/nonexistent/coxswain.sock", sizeof to.un.sun_path - 1);
    conn_close(&t->a.conn);
    assert_false(conn_connect(&t->a.conn, &t->w, &to, on_end_ready));
    assert_int_equal(errno, ENOENT);
    assert_false(conn_is_open(&t->a.conn));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(nothing_to_read_says_again),
        T(may_read_is_cleared_by_a_short_read),
        T(one_edge_is_told_once),
        T(a_fin_behind_data_is_not_lost),
        T(half_closed_it_still_writes),
        T(a_full_socket_says_again_and_wakes),
        T(peek_takes_nothing),
        T(the_peer_is_asked_about_behind_its_bytes),
        T(a_closed_one_is_harmless),
        T(a_connection_reports_by_may_write),
        T(a_refused_connection_reports_too),
        T(a_reset_is_told_from_an_end),
        T(a_missing_unix_socket_fails_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
