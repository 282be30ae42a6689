/* newborn: asks for hosts that sleep, and is the member that wakes for each.
 *
 *   newborn FRONT_PORT ADDRESS...        ADDRESS: a port of 127.0.0.1, or unix:/path
 *
 * For address i, one after the other: sends a request for a<i>.test to the front, waits between PAUSE_MS and
 * twice that, listens at the address, and serves until its request was answered. Prints a line each: i, "tcp"
 * or "unix", when the request was sent (nanoseconds of the monotonic clock), and how many of them lie between
 * the call of listen() and the first byte of the request. Over TCP that came when the kernel took it from the
 * proxy (SO_TIMESTAMPNS); a unix socket has no dates, there it is when this process had its turn. Leaves
 * with 1 when an answer is not 200. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "run/prompt.h"

enum { PAUSE_MS = 30, IN_MAX = 16384, EVENTS_MAX = 16, PATIENCE_MS = 20000 };

struct place {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_un un;
    };
    socklen_t len;
};

struct birth {
    int epoll_fd, client_fd, listen_fd;
    bool is_unix, is_done;
    uint64_t sent_ns, listened_ns, came_ns; /* came_ns 0: not yet */
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t clock_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct place place_of(const char *text)
{
    struct place p = {.len = sizeof p.in};
    if (strncmp(text, "unix:", 5) == 0) {
        p.un.sun_family = AF_UNIX;
        (void)snprintf(p.un.sun_path, sizeof p.un.sun_path, "%s", text + 5);
        p.len = sizeof p.un;
        return p;
    }
    p.in = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)strtoul(text, NULL, 10)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return p;
}

static void watch(const struct birth *b, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (fd < 0 || epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
        die("newborn: watch");
}

static void ask(struct birth *b, const char *front, unsigned i)
{
    const struct place to = place_of(front);
    char request[128];
    const int n = snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: a%u.test\r\n\r\n", i);
    b->client_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (b->client_fd < 0 || connect(b->client_fd, &to.sa, to.len) < 0)
        die("newborn: connect");
    watch(b, b->client_fd);
    usleep(2000); /* the connection is old when the request comes */
    b->sent_ns = clock_of(CLOCK_MONOTONIC);
    if (send(b->client_fd, request, (size_t)n, MSG_NOSIGNAL) != n)
        die("newborn: send");
}

static void listen_at(struct birth *b, const char *address)
{
    const struct place at = place_of(address);
    int on = 1;
    b->is_unix = at.sa.sa_family == AF_UNIX;
    b->listen_fd = socket(at.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (b->listen_fd < 0 || setsockopt(b->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        (!b->is_unix && setsockopt(b->listen_fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0) ||
        bind(b->listen_fd, &at.sa, at.len) < 0)
        die("newborn: bind");
    b->listened_ns = clock_of(CLOCK_REALTIME); /* the clock in which the kernel dates what comes */
    if (listen(b->listen_fd, 64) < 0)
        die("newborn: listen");
    watch(b, b->listen_fd);
}

/* recv that also says when the bytes came; 0: it does not know. */
static ssize_t receive(int fd, char *p, size_t room, uint64_t *out_came_ns)
{
    union {
        struct cmsghdr head; /* for its alignment */
        char room[CMSG_SPACE(sizeof(struct timespec))];
    } control;
    struct iovec iov = {p, room};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    const ssize_t n = recvmsg(fd, &m, 0);
    *out_came_ns = 0;
    for (struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL; c != NULL; c = CMSG_NXTHDR(&m, c)) {
        struct timespec t;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        memcpy(&t, CMSG_DATA(c), sizeof t);
        *out_came_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    return n;
}

/* A connection of the proxy: a probe that says nothing, or the request. */
static void serve(struct birth *b, int fd)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    char in[IN_MAX];
    const uint64_t now = clock_of(CLOCK_REALTIME);
    uint64_t came;
    if (receive(fd, in, sizeof in, &came) <= 0) {
        close(fd);
        return;
    }
    if (!b->came_ns)
        b->came_ns = came > b->listened_ns ? came : now; /* dates begin a moment after they were asked for */
    if (send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL) < 0)
        close(fd);
}

static void on_event(struct birth *b, int fd)
{
    if (fd == b->listen_fd) {
        int one;
        while ((one = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
            watch(b, one);
    } else if (fd == b->client_fd) {
        char in[IN_MAX];
        const ssize_t n = recv(fd, in, sizeof in, 0);
        if (n < 12 || memcmp(in + 8, " 200", 4) != 0) {
            fprintf(stderr, "newborn: a request was not answered with 200: %.*s\n", n > 12 ? 12 : 0, in);
            exit(1);
        }
        b->is_done = true;
    } else {
        serve(b, fd);
    }
}

static void wait_for_events(struct birth *b, int timeout_ms)
{
    struct epoll_event events[EVENTS_MAX];
    const int n = epoll_wait(b->epoll_fd, events, EVENTS_MAX, timeout_ms);
    if (n == 0) {
        fprintf(stderr, "newborn: no answer\n");
        exit(1);
    }
    for (int i = 0; i < n; i++)
        on_event(b, events[i].data.fd);
}

static void one(int epoll_fd, const char *front, unsigned i, const char *address)
{
    struct birth b = {.epoll_fd = epoll_fd, .client_fd = -1, .listen_fd = -1};
    ask(&b, front, i);
    usleep((useconds_t)(PAUSE_MS * 1000 + (i * 7919u) % (PAUSE_MS * 1000)));
    listen_at(&b, address);
    while (!b.is_done)
        wait_for_events(&b, PATIENCE_MS);
    close(b.client_fd);
    close(b.listen_fd);
    printf("%u %s %llu %llu\n", i, b.is_unix ? "unix" : "tcp", (unsigned long long)b.sent_ns,
           (unsigned long long)(b.came_ns - b.listened_ns));
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: newborn FRONT_PORT ADDRESS...\n");
        return 2;
    }
    prompt_thread();
    const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("newborn: epoll_create1");
    for (int i = 2; i < argc; i++)
        one(epoll_fd, argv[1], (unsigned)(i - 2), argv[i]);
    return 0;
}
