/* relay: copies bytes between a client and a server of its own, and looks at none of them. The floor of a
 * proxy's cost.
 *
 *   relay LISTEN_PORT SERVER_PORT [THREADS]
 *
 * One thread (or more, each with a listening socket of its own), raw epoll, edge-triggered, registered once a
 * connection. A keep-alive request costs four system calls (two reads, two writes) and its share of
 * epoll_wait. Each client connection has one server connection. What a socket does not take is kept, and the
 * other side is not read until it is gone. When one side closes, both go at once and what was kept is lost:
 * enough for keep-alive load, not for more. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SCRATCH = 65536, EVENTS_MAX = 256 };

struct side {
    struct side *other; /* the two live and die together */
    int fd;             /* -1: closed in this turn */
    bool may_read;      /* an edge said so and no EAGAIN or short read has come since */
    char *kept;         /* owned; bytes this side's socket did not take, or NULL */
    size_t kept_len, kept_off;
    struct side *next_dead;
};

struct relay {
    int epoll_fd, listen_fd;
    struct sockaddr_in server;
    struct side *dead; /* freed at the end of the turn: events of them may still be in the batch */
    char scratch[SCRATCH];
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void drop(struct relay *r, struct side *s)
{
    struct side *pair[2] = {s, s->other};
    for (int i = 0; i < 2; i++) {
        close(pair[i]->fd);
        pair[i]->fd = -1;
        pair[i]->next_dead = r->dead;
        r->dead = pair[i];
    }
}

static void reap(struct relay *r)
{
    while (r->dead != NULL) {
        struct side *s = r->dead;
        r->dead = s->next_dead;
        free(s->kept);
        free(s);
    }
}

/* Sends what was kept. False: still something there, or the connection is gone and the read side will notice.
 */
static bool flush(struct side *s)
{
    while (s->kept != NULL) {
        ssize_t n = send(s->fd, s->kept + s->kept_off, s->kept_len - s->kept_off, MSG_NOSIGNAL);
        if (n < 0)
            return false;
        s->kept_off += (size_t)n;
        if (s->kept_off == s->kept_len) {
            free(s->kept);
            s->kept = NULL;
        }
    }
    return true;
}

/* Returns false when the pair was dropped. */
static bool pass_on(struct relay *r, struct side *to, const char *bytes, size_t len)
{
    ssize_t n = send(to->fd, bytes, len, MSG_NOSIGNAL);
    if (n == (ssize_t)len)
        return true;
    if (n < 0 && errno != EAGAIN && errno != ENOTCONN) {
        drop(r, to);
        return false;
    }
    n = n < 0 ? 0 : n;
    to->kept = malloc(len - (size_t)n);
    if (to->kept == NULL)
        die("relay: malloc");
    memcpy(to->kept, bytes + n, len - (size_t)n);
    to->kept_len = len - (size_t)n;
    to->kept_off = 0;
    return true;
}

/* Copies from one side until it has nothing more or the other takes nothing more. */
static void pump(struct relay *r, struct side *from)
{
    while (from->may_read && from->other->kept == NULL) {
        ssize_t n = recv(from->fd, r->scratch, SCRATCH, 0);
        if (n < 0 && errno == EAGAIN) {
            from->may_read = false;
            return;
        }
        if (n <= 0) {
            drop(r, from);
            return;
        }
        if (n < SCRATCH)
            from->may_read = false;
        if (!pass_on(r, from->other, r->scratch, (size_t)n))
            return;
    }
}

static struct side *side_make(struct relay *r, int fd)
{
    struct side *s = calloc(1, sizeof(*s));
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
    int on = 1;
    if (s == NULL || fd < 0)
        die("relay: connection");
    s->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
        die("relay: epoll_ctl");
    return s;
}

static void accept_all(struct relay *r)
{
    int fd;
    while ((fd = accept4(r->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct side *client = side_make(r, fd);
        struct side *server = side_make(r, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        client->other = server;
        server->other = client;
        if (connect(server->fd, (struct sockaddr *)&r->server, sizeof(r->server)) < 0 && errno != EINPROGRESS)
            drop(r, client);
    }
}

static void on_event(struct relay *r, struct side *s, uint32_t what)
{
    if (s->fd < 0)
        return;
    /* Having been full, this side held the other one's reading up. */
    if ((what & EPOLLOUT) && s->kept != NULL && flush(s))
        pump(r, s->other);
    if (s->fd < 0)
        return;
    if (what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        s->may_read = true;
        pump(r, s);
    }
    /* A FIN that came along with the data is not announced again. */
    if (s->fd >= 0 && (what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
        s->may_read = true;
        pump(r, s);
    }
}

static int listen_on(uint16_t port)
{
    struct sockaddr_in here = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0 || listen(fd, 4096) < 0)
        die("relay: listen");
    return fd;
}

static void *__attribute__((noreturn)) run(void *arg)
{
    struct relay *r = arg;
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS_MAX];
    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->listen_fd, &e) < 0)
        die("relay: epoll_ctl");
    for (;;) {
        int n = epoll_wait(r->epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                accept_all(r);
            else
                on_event(r, events[i].data.ptr, events[i].events);
        }
        reap(r);
    }
}

int main(int argc, char **argv)
{
    long threads = argc == 4 ? strtol(argv[3], NULL, 10) : 1;
    struct relay *all = calloc(threads < 1 ? 1 : (size_t)threads, sizeof(*all));
    pthread_t t;
    if (argc < 3 || argc > 4 || threads < 1 || all == NULL) {
        fprintf(stderr, "usage: relay LISTEN_PORT SERVER_PORT [THREADS]\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    for (long i = 0; i < threads; i++) {
        all[i].server = (struct sockaddr_in){.sin_family = AF_INET,
                                             .sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10)),
                                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        all[i].listen_fd = listen_on((uint16_t)strtoul(argv[1], NULL, 10));
    }
    for (long i = 1; i < threads; i++)
        if (pthread_create(&t, NULL, run, &all[i]) != 0)
            die("relay: thread");
    run(&all[0]);
}
