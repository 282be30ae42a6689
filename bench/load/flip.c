/* flip: two servers in one, and the clock between them. Tells the scale bench's plugin every so often to make
 * the other one ready, and measures how long it takes until the first request comes there.
 *
 *   flip PORT_A PORT_B PLUGIN_SOCKET
 *
 * Answers requests without a body with 13 bytes, keep-alive. A request came when the kernel took it from the
 * proxy (SO_TIMESTAMPNS), not when this process had its turn on a core that makes the load too. On SIGTERM it
 * prints one line of JSON: how many changes there were, and quantiles of the times in microseconds. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "run/prompt.h"
#include "times.h"

enum { PERIOD_MS = 25, EVENTS_MAX = 256, IN_MAX = 16384 };

struct flip {
    int epoll_fd, timer_fd, signal_fd, plugin_fd;
    int listen_fd[2];
    struct sockaddr_un plugin;
    int side;      /* which one is to be used */
    bool waiting;  /* and has not been yet */
    uint64_t sent; /* when the plugin was told */
    uint64_t late; /* periods that ended before the change had come through */
    struct times times;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t); /* the one in which the kernel dates what comes */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* recv that also says when the bytes came. */
static ssize_t receive(int fd, char *p, size_t room, uint64_t *out_came_ns)
{
    union {
        struct cmsghdr head; /* for its alignment */
        char room[CMSG_SPACE(sizeof(struct timespec))];
    } control;
    struct iovec iov = {p, room};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(fd, &m, 0);
    *out_came_ns = 0;
    for (struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL; c != NULL; c = CMSG_NXTHDR(&m, c)) {
        struct timespec t;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        memcpy(&t, CMSG_DATA(c), sizeof(t));
        *out_came_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    return n;
}

/* What epoll hands back: a descriptor and which server it belongs to (2: none). */
static void watch(struct flip *f, int fd, unsigned side, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.u64 = (uint64_t)side << 32 | (uint32_t)fd};
    if (fd < 0 || epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0)
        die("flip: watch");
}

static int listen_on(const char *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0)
        die("flip: listen");
    return fd;
}

static void accept_all(struct flip *f, unsigned side)
{
    int fd, on = 1;
    while ((fd = accept4(f->listen_fd[side], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0)
            die("flip: SO_TIMESTAMPNS");
        watch(f, fd, side, EPOLLIN);
    }
}

/* A connection with one request on it, whole, as ours always are. */
static void serve(struct flip *f, int fd, unsigned side)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";
    char in[IN_MAX];
    uint64_t came;
    ssize_t n = receive(fd, in, sizeof(in), &came);
    if (n <= 0) {
        close(fd);
        return;
    }
    if (f->waiting && (int)side == f->side) {
        if (!came || came < f->sent)
            came = clock_ns(); /* dates begin a moment after they were asked for */
        times_add(&f->times, came - f->sent);
        f->waiting = false;
    }
    if (send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL) < 0)
        close(fd);
}

static void change(struct flip *f)
{
    uint64_t periods;
    if (read(f->timer_fd, &periods, sizeof(periods)) < 0)
        return;
    if (f->waiting) {
        f->late++;
        return;
    }
    f->side = !f->side;
    f->waiting = true;
    f->sent = clock_ns();
    if (sendto(f->plugin_fd, f->side ? "b" : "a", 1, 0, (struct sockaddr *)&f->plugin, sizeof(f->plugin)) < 0)
        f->waiting = false; /* the plugin is not there yet */
}

static void start(struct flip *f, char **argv)
{
    struct itimerspec every = {.it_interval.tv_nsec = PERIOD_MS * 1000000,
                               .it_value.tv_nsec = PERIOD_MS * 1000000};
    sigset_t set;
    f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < 2; i++)
        watch(f, f->listen_fd[i] = listen_on(argv[1 + i]), i, EPOLLIN);
    f->plugin.sun_family = AF_UNIX;
    snprintf(f->plugin.sun_path, sizeof(f->plugin.sun_path), "%s", argv[3]);
    f->plugin_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    f->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    f->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    watch(f, f->signal_fd, 2, EPOLLIN);
    watch(f, f->timer_fd, 2, EPOLLIN);
    timerfd_settime(f->timer_fd, 0, &every, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* SIGUSR1 forgets what was measured so far, and the change that is under way. True: SIGTERM, leave. */
static bool on_signal(struct flip *f)
{
    struct signalfd_siginfo s;
    if (read(f->signal_fd, &s, sizeof(s)) != sizeof(s))
        return false;
    if (s.ssi_signo == SIGTERM)
        return true;
    memset(&f->times, 0, sizeof(f->times));
    f->late = 0;
    f->waiting = false;
    return false;
}

int main(int argc, char **argv)
{
    static struct flip f;
    struct epoll_event events[EVENTS_MAX];
    if (argc != 4) {
        fprintf(stderr, "usage: flip PORT_A PORT_B PLUGIN_SOCKET\n");
        return 64;
    }
    prompt_thread(); /* as load -e, with whom it shares a core */
    start(&f, argv);
    for (;;) {
        int n = epoll_wait(f.epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            int fd = (int)(uint32_t)events[i].data.u64;
            unsigned side = (unsigned)(events[i].data.u64 >> 32);
            if (fd == f.signal_fd && on_signal(&f)) {
                printf("{\"changes\": %llu, \"late\": %llu, \"p50_us\": %.0f, \"p99_us\": %.0f, \"max_us\": "
                       "%.0f}\n",
                       (unsigned long long)f.times.count, (unsigned long long)f.late,
                       times_quantile(&f.times, 0.5), times_quantile(&f.times, 0.99),
                       times_quantile(&f.times, 1 - 1e-9));
                return 0;
            }
            if (fd == f.timer_fd)
                change(&f);
            else if (side < 2 && fd == f.listen_fd[side])
                accept_all(&f, side);
            else if (side < 2)
                serve(&f, fd, side);
        }
    }
}
