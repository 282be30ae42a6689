/* support: a worker without a thread, and pairs of sockets of which one end is a conn. The test turns the loop by hand. */
#ifndef NET_SUPPORT_H
#define NET_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "net/sink.h"

struct end {
    struct conn conn; /* ours */
    struct sink sink;
    int peer;         /* the other end, blocking; -1: closed */
    int ready;        /* on_ready calls */
};

struct bench {
    struct worker w;
    struct end a, b;
};

static inline void on_end_ready(struct conn *c)
{
    CONTAINER_OF(c, struct end, conn)->ready++;
}

/* The smallest buffers that the kernel gives, so that short writes are the rule. */
static inline void shrink(int fd)
{
    int n = 1;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &n, sizeof n);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &n, sizeof n);
}

static inline void open_end(struct bench *t, struct end *e)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(evutil_make_socket_nonblocking(fds[0]), 0);
    shrink(fds[0]);
    shrink(fds[1]);
    assert_true(conn_open(&e->conn, &t->w, fds[0], on_end_ready));
    sink_init(&e->sink, &e->conn);
    e->peer = fds[1];
}

static inline void close_peer(struct end *e)
{
    if (e->peer >= 0)
        close(e->peer);
    e->peer = -1;
}

static inline void turn(struct bench *t)
{
    event_base_loop(t->w.loop.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static inline int set_up(void **state)
{
    struct bench *t = aligned_alloc(64, (sizeof *t + 63) / 64 * 64);
    assert_non_null(t);
    memset(t, 0, sizeof *t);
    assert_true(worker_init(&t->w, 0));
    open_end(t, &t->a);
    open_end(t, &t->b);
    *state = t;
    return 0;
}

/* worker_fini panics when a chunk is missing. */
static inline int tear_down(void **state)
{
    struct bench *t = *state;
    struct end *ends[] = {&t->a, &t->b};
    for (int i = 0; i < 2; i++) {
        sink_fini(&ends[i]->sink);
        conn_close(&ends[i]->conn);
        close_peer(ends[i]);
    }
    assert_int_equal(worker_chunks_taken(&t->w), 0);
    worker_fini(&t->w);
    free(t);
    return 0;
}

/* Takes what is there at the other end, at most n. */
static inline size_t take(struct end *e, char *to, size_t n)
{
    ssize_t got = recv(e->peer, to, n, MSG_DONTWAIT);
    return got > 0 ? (size_t)got : 0;
}

#endif
