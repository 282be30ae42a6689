/* load: an HTTP/1.1 client that costs little, so that one core can keep a proxy on another one busy.
 *
 *   load [options] PORT PATH
 *     -c N     connections (64)             -d S     seconds (5)
 *     -r N     requests a second over all connections; 0 (default): each sends the next one at once
 *     -C       a connection for each request (Connection: close)
 *     -H N     that many further request fields
 *     -u N     POST with a body of N bytes   -n N    leave after N requests
 *     -i       open the connections, one request on each, say "idle", and keep them until standard input ends
 *     -w N     connections that wait for an answer at a time with -i (64)
 *     -e       evenly: short turns on a core that it shares, so that no pause makes a burst
 *
 * One thread, edge-triggered epoll, registered once a connection. Bodies are dropped in the kernel
 * (MSG_TRUNC) and sent from a memory file (sendfile). With -r the moment when a request is due is fixed
 * beforehand: one that finds no free connection waits, and its time counts from when it was due. Prints one
 * line of JSON. */
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
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"
#include "run/prompt.h"
#include "times.h"

enum { SCRATCH = 65536, EVENTS_MAX = 256, REQUEST_MAX = 16384, PORTS_EACH = 20000, DROP_AT = 32768 };

struct conn {
    int fd; /* -1: none */
    bool busy;
    size_t head_left, body_left; /* of the request being sent */
    uint64_t start_ns;
    struct answer answer;
    struct conn *next_free;
};

struct options {
    uint32_t conns, fields, wave;
    double seconds, rate;
    uint64_t upload, requests_max;
    bool closing, idling;
    struct sockaddr_in server;
};

struct load {
    struct options o;
    int epoll_fd, body_fd;
    struct conn *conns; /* owned */
    struct conn *free;  /* with a rate: those without a request */
    char request[REQUEST_MAX], scratch[SCRATCH];
    size_t request_len;
    uint64_t now_ns, end_ns, due_ns, done, errors, opened, idle_opened;
    bool leaving;
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
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void conn_open(struct load *l, struct conn *c)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    struct sockaddr_in here = {.sin_family = AF_INET};
    int on = 1;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(l->opened++ / PORTS_EACH % 200));
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("load: socket");
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (bind(c->fd, (struct sockaddr *)&here, sizeof(here)) < 0)
        die("load: bind");
    if (connect(c->fd, (struct sockaddr *)&l->o.server, sizeof(l->o.server)) < 0 && errno != EINPROGRESS)
        die("load: connect");
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, c->fd, &e) < 0)
        die("load: epoll_ctl");
}

/* Sends what the socket takes. False when the connection broke. */
static bool conn_send(struct load *l, struct conn *c)
{
    while (c->head_left > 0) {
        ssize_t n = send(c->fd, l->request + l->request_len - c->head_left, c->head_left,
                         MSG_NOSIGNAL | (c->body_left > 0 ? MSG_MORE : 0));
        if (n < 0)
            return errno == EAGAIN || errno == ENOTCONN || errno == EINPROGRESS;
        c->head_left -= (size_t)n;
    }
    while (c->body_left > 0) {
        off_t at = (off_t)(l->o.upload - c->body_left);
        ssize_t n = sendfile(c->fd, l->body_fd, &at, c->body_left);
        if (n < 0)
            return errno == EAGAIN;
        c->body_left -= (size_t)n;
    }
    return true;
}

static void request_start(struct load *l, struct conn *c, uint64_t start_ns)
{
    c->busy = true;
    c->start_ns = start_ns;
    c->head_left = l->request_len;
    c->body_left = l->o.upload;
    answer_reset(&c->answer);
    if (c->fd < 0)
        conn_open(l, c);
    if (!conn_send(l, c)) /* reading tells why */
        c->head_left = c->body_left = 0;
}

static void conn_close(struct conn *c)
{
    close(c->fd);
    c->fd = -1;
}

/* With -i: the next connection takes its turn. */
static void idle_next(struct load *l)
{
    if (l->idle_opened < l->o.conns)
        request_start(l, &l->conns[l->idle_opened++], l->now_ns);
    else if (l->done + l->errors >= l->o.conns)
        l->leaving = true;
}

/* An answer is whole, or (failed) will never be. */
static void request_end(struct load *l, struct conn *c, bool failed)
{
    c->busy = false;
    if (failed || c->answer.status >= 400)
        l->errors++;
    if (!failed) {
        times_add(&l->times, l->now_ns - c->start_ns);
        l->done += c->answer.status < 400;
    }
    if (failed || c->answer.closes || l->o.closing)
        conn_close(c);
    if (l->o.requests_max > 0 && l->done + l->errors >= l->o.requests_max)
        l->leaving = true;
    if (l->leaving)
        return;
    if (l->o.idling) {
        idle_next(l);
    } else if (l->o.rate > 0) {
        c->next_free = l->free;
        l->free = c;
    } else {
        request_start(l, c, l->now_ns);
    }
}

static void conn_read(struct load *l, struct conn *c)
{
    while (c->fd >= 0 && c->busy) {
        bool drops = c->answer.at == AT_BODY && c->answer.left >= DROP_AT;
        size_t want = drops ? c->answer.left : SCRATCH;
        ssize_t n = recv(c->fd, l->scratch, want, drops ? MSG_TRUNC : 0);
        enum answer_result r;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            r = n == 0 ? answer_end(&c->answer) : ANSWER_BAD;
        } else if (drops) {
            c->answer.left -= (size_t)n;
            r = c->answer.left == 0 ? ANSWER_DONE : ANSWER_MORE;
        } else {
            r = answer_feed(&c->answer, l->scratch, (size_t)n);
        }
        if (r != ANSWER_MORE) {
            request_end(l, c, r == ANSWER_BAD);
            return; /* what may follow announces itself */
        }
        if (n > 0 && (size_t)n < want && !drops)
            return;
    }
}

static void on_event(struct load *l, struct conn *c, uint32_t what)
{
    if (c->fd < 0)
        return;
    if (c->busy && c->head_left + c->body_left > 0 && (what & EPOLLOUT) && !conn_send(l, c))
        c->head_left = c->body_left = 0;
    if (!c->busy && (what & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
        conn_close(c); /* an idle connection went; the next request opens one */
    else if (what & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        conn_read(l, c);
}

/* Starts what is due; the time until the next is due. */
static uint64_t start_due(struct load *l, uint64_t was_ns)
{
    uint64_t each = (uint64_t)(1e9 / l->o.rate);
    while (l->due_ns <= l->now_ns && l->free != NULL) {
        struct conn *c = l->free;
        l->free = c->next_free;
        /* Due before the last look at the clock and yet not sent: it had to wait for a connection. */
        request_start(l, c, l->due_ns < was_ns ? l->due_ns : l->now_ns);
        l->due_ns += each;
    }
    return l->due_ns > l->now_ns ? l->due_ns - l->now_ns : 1000000000u;
}

static void turn(struct load *l)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t wait = 100000000u, was_ns = l->now_ns;
    struct timespec t = {0};
    int n;
    l->now_ns = clock_ns();
    if (l->o.rate > 0)
        wait = start_due(l, was_ns);
    wait = wait > 100000000u ? 100000000u : wait;
    t.tv_nsec = (long)wait;
    n = epoll_pwait2(l->epoll_fd, events, EVENTS_MAX, &t, NULL);
    l->now_ns = clock_ns();
    for (int i = 0; i < n; i++)
        on_event(l, events[i].data.ptr, events[i].events);
    if (!l->o.idling && l->now_ns >= l->end_ns)
        l->leaving = true;
}

static void request_text(struct load *l, const char *path)
{
    char *p = l->request;
    size_t room = REQUEST_MAX, n = 0;
    n += (size_t)snprintf(p + n, room - n, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n",
                          l->o.upload ? "POST" : "GET", path, ntohs(l->o.server.sin_port));
    for (uint32_t i = 0; i < l->o.fields; i++)
        n += (size_t)snprintf(p + n, room - n, "X-Field-%02u: value number %u of %u\r\n", i, i, l->o.fields);
    if (l->o.upload > 0)
        n += (size_t)snprintf(p + n, room - n,
                              "Content-Type: application/octet-stream\r\nContent-Length: %llu\r\n",
                              (unsigned long long)l->o.upload);
    n += (size_t)snprintf(p + n, room - n, "%s\r\n", l->o.closing ? "Connection: close\r\n" : "");
    l->request_len = n;
    l->body_fd = memfd_create("body", MFD_CLOEXEC);
    if (n >= room || l->body_fd < 0 || ftruncate(l->body_fd, (off_t)l->o.upload) < 0)
        die("load: request");
}

static void usage(void)
{
    fprintf(stderr,
            "usage: load [-c N] [-d S] [-r N] [-C] [-H N] [-u N] [-n N] [-i] [-w N] [-e] PORT PATH\n");
    exit(64);
}

static struct options parse(int argc, char **argv)
{
    struct options o = {.conns = 64, .seconds = 5, .wave = 64, .server = {.sin_family = AF_INET}};
    int c;
    while ((c = getopt(argc, argv, "c:d:r:CH:u:n:iw:e")) >= 0) {
        switch (c) {
        case 'c':
            o.conns = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'd':
            o.seconds = strtod(optarg, NULL);
            break;
        case 'r':
            o.rate = strtod(optarg, NULL);
            break;
        case 'C':
            o.closing = true;
            break;
        case 'H':
            o.fields = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'u':
            o.upload = strtoull(optarg, NULL, 10);
            break;
        case 'n':
            o.requests_max = strtoull(optarg, NULL, 10);
            break;
        case 'i':
            o.idling = true;
            break;
        case 'e':
            prompt_thread();
            break;
        case 'w':
            o.wave = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        default:
            usage();
        }
    }
    if (argc - optind != 2 || o.conns == 0)
        usage();
    o.server.sin_port = htons((uint16_t)strtoul(argv[optind], NULL, 10));
    o.server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return o;
}

static void start_all(struct load *l)
{
    l->now_ns = l->due_ns = clock_ns();
    l->end_ns = l->now_ns + (uint64_t)(l->o.seconds * 1e9);
    for (uint32_t i = 0; i < l->o.conns; i++)
        l->conns[i].fd = -1;
    for (uint32_t i = 0; i < l->o.conns; i++) {
        struct conn *c = &l->conns[i];
        if (l->o.rate > 0) {
            c->next_free = l->free;
            l->free = c;
        } else if (!l->o.idling) {
            request_start(l, c, l->now_ns);
        } else if (i < l->o.wave) {
            idle_next(l);
        }
    }
}

static void wait_for_end_of_input(void)
{
    char c;
    puts("idle");
    fflush(stdout);
    while (read(0, &c, 1) > 0)
        continue;
}

int main(int argc, char **argv)
{
    static struct load l;
    struct rlimit files;
    l.o = parse(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    l.conns = calloc(l.o.conns, sizeof(*l.conns));
    l.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l.conns == NULL || l.epoll_fd < 0)
        die("load");
    request_text(&l, argv[optind + 1]);
    start_all(&l);
    uint64_t began = l.now_ns;
    while (!l.leaving)
        turn(&l);
    if (l.o.idling && l.errors == 0)
        wait_for_end_of_input();
    printf("{\"requests\": %llu, \"errors\": %llu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p90_us\": %.1f, "
           "\"p99_us\": "
           "%.1f, \"p999_us\": %.1f}\n",
           (unsigned long long)l.done, (unsigned long long)l.errors, (double)(l.now_ns - began) / 1e9,
           times_quantile(&l.times, 0.5), times_quantile(&l.times, 0.9), times_quantile(&l.times, 0.99),
           times_quantile(&l.times, 0.999));
    return l.done == 0;
}
