/* newborn: asks for hosts that sleep, and is the member that wakes for each.
 *
 *   newborn FRONT_PORT FRONT_CORE ADDRESS...     ADDRESS: a port of 127.0.0.1, or unix:/path
 *
 * For address i, one after the other: sends a request for a<i>.test to the front, waits between PAUSE_MS and
 * twice that, listens at the address, and serves until its request was answered. Prints a line each: i, "tcp"
 * or "unix", when the request was sent (nanoseconds of the monotonic clock), how many of them lie between the
 * call of listen() and the first byte of the request, and for how long the machine stood still meanwhile.
 * Over TCP the byte came when the kernel took it from the proxy (SO_TIMESTAMPNS); a unix socket has no dates,
 * there it is when this process had its turn: it has a real-time priority, if it may, so that it need not
 * wait for those that make the load on its core.
 *
 * The machine stands still when a core does nothing, not even for threads of the highest real-time priority:
 * its host runs something else, or the kernel switched interrupts off. One such thread sits on the proxy's
 * core, and one here: it sleeps for WATCH_NS at a time, and what it oversleeps by more than STALL_NS is a
 * stall. Leaves with 1 when an answer is not 200. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
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

enum { PAUSE_MS = 30, IN_MAX = 16384, EVENTS_MAX = 16, PATIENCE_MS = 20000, CORES = 2, STALLS = 1024 };
#define WATCH_NS 250000u
#define STALL_NS 150000u

/* Of one core; written by its thread. */
struct watch {
    int core;
    bool works;
    _Atomic uint64_t seen_ns; /* it was well then */
    _Atomic uint32_t count;
    struct {
        _Atomic uint64_t from_ns, to_ns;
    } stalls[STALLS]; /* the latest of them */
};

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
    uint64_t begun_ns;                      /* listened_ns by the monotonic clock */
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

/* ---- stalls ---- */

static void *keep_watch(void *ctx)
{
    struct watch *w = ctx;
    uint64_t due = clock_of(CLOCK_MONOTONIC);
    for (;;) {
        due += WATCH_NS;
        const struct timespec at = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        const uint64_t now = clock_of(CLOCK_MONOTONIC);
        if (now - due > STALL_NS) {
            const uint32_t i = atomic_load(&w->count) % STALLS;
            atomic_store(&w->stalls[i].from_ns, due);
            atomic_store(&w->stalls[i].to_ns, now);
            atomic_fetch_add(&w->count, 1);
            due = now;
        }
        atomic_store(&w->seen_ns, now);
    }
    return NULL;
}

/* Without the right to a real-time priority nothing is watched. */
static void start_watch(struct watch *w, int core)
{
    const struct sched_param most = {sched_get_priority_max(SCHED_FIFO)};
    pthread_attr_t attr;
    pthread_t thread;
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET((size_t)core, &cores);
    w->core = core;
    pthread_attr_init(&attr);
    pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
    pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
    pthread_attr_setschedparam(&attr, &most);
    pthread_attr_setaffinity_np(&attr, sizeof cores, &cores);
    w->works = pthread_create(&thread, &attr, keep_watch, w) == 0;
    pthread_attr_destroy(&attr);
}

/* How much of this time it stood still. */
static uint64_t stalled(struct watch *w, uint64_t from_ns, uint64_t to_ns)
{
    uint64_t sum = 0;
    while (w->works && atomic_load(&w->seen_ns) < to_ns)
        usleep(WATCH_NS / 1000);
    for (uint32_t i = 0; i < STALLS && i < atomic_load(&w->count); i++) {
        uint64_t from = atomic_load(&w->stalls[i].from_ns), to = atomic_load(&w->stalls[i].to_ns);
        from = from > from_ns ? from : from_ns;
        to = to < to_ns ? to : to_ns;
        sum += to > from ? to - from : 0;
    }
    return sum;
}

/* ---- births ---- */

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

static void listen_to(const struct birth *b, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (fd < 0 || epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
        die("newborn: epoll_ctl");
}

static void ask(struct birth *b, const char *front, unsigned i)
{
    const struct place to = place_of(front);
    char request[128];
    const int n = snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: a%u.test\r\n\r\n", i);
    b->client_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (b->client_fd < 0 || connect(b->client_fd, &to.sa, to.len) < 0)
        die("newborn: connect");
    listen_to(b, b->client_fd);
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
    b->begun_ns = clock_of(CLOCK_MONOTONIC);
    b->listened_ns = clock_of(CLOCK_REALTIME); /* the clock in which the kernel dates what comes */
    if (listen(b->listen_fd, 64) < 0)
        die("newborn: listen");
    listen_to(b, b->listen_fd);
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
            listen_to(b, one);
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

static void one(struct watch watches[CORES], int epoll_fd, const char *front, unsigned i, const char *address)
{
    struct birth b = {.epoll_fd = epoll_fd, .client_fd = -1, .listen_fd = -1};
    ask(&b, front, i);
    usleep((useconds_t)(PAUSE_MS * 1000 + (i * 7919u) % (PAUSE_MS * 1000)));
    listen_at(&b, address);
    while (!b.is_done)
        wait_for_events(&b, PATIENCE_MS);
    close(b.client_fd);
    close(b.listen_fd);
    const uint64_t late = b.came_ns - b.listened_ns;
    uint64_t still = 0;
    for (int k = 0; k < CORES; k++) {
        const uint64_t one_core = stalled(&watches[k], b.begun_ns, b.begun_ns + late);
        still = one_core > still ? one_core : still;
    }
    printf("%u %s %llu %llu %llu\n", i, b.is_unix ? "unix" : "tcp", (unsigned long long)b.sent_ns,
           (unsigned long long)late, (unsigned long long)still);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct watch watches[CORES];
    const struct sched_param least = {sched_get_priority_min(SCHED_FIFO)};
    if (argc < 4) {
        fprintf(stderr, "usage: newborn FRONT_PORT FRONT_CORE ADDRESS...\n");
        return 2;
    }
    prompt_thread();
    start_watch(&watches[0], (int)strtol(argv[2], NULL, 10));
    start_watch(&watches[1], sched_getcpu());
    (void)sched_setscheduler(0, SCHED_FIFO, &least);
    const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("newborn: epoll_create1");
    for (int i = 3; i < argc; i++)
        one(watches, epoll_fd, argv[1], (unsigned)(i - 3), argv[i]);
    return 0;
}
