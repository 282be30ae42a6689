/* tls: a TLS 1.3 client that costs little, for what bench/load/load does in clear.
 *
 *   tls [options] PORT PATH
 *     -c N     connections (64)             -d S     seconds (5)
 *     -s NAME  the host asked for in the handshake (none)
 *     -H       handshakes: a connection each, closed as soon as the server has sent its first ticket, which
 *              tells that its half is done too; "requests" are handshakes
 *     -R       the same, but each comes back with the last ticket, and a full handshake is an error. Where
 * the server renews no tickets, our own half has to do as the end -i       open the connections, one request
 * on each, say "idle", and keep the sockets until standard input ends. What OpenSSL holds of them is freed,
 * for who serves them is what is looked at -2       with -i: the request is one of HTTP/2 -w N connections at
 * a time with -i (64)
 *
 * One cipher and one group (AES-128-GCM, X25519), so that all servers do the same sums, and no check of the
 * server's certificate. One thread, edge-triggered epoll. Prints one line of JSON. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"
#include "h2_once.h"
#include "times.h"

enum { SCRATCH = 65536, EVENTS_MAX = 256, REQUEST_MAX = 4096, PORTS_EACH = 20000 };

struct conn {
    int fd; /* -1: none */
    bool asked, has_ticket;
    SSL *ssl; /* owned; NULL: idle for good, or none */
    uint64_t start_ns;
    struct answer answer;
    struct h2_once h2;
};

struct options {
    uint32_t conns, wave;
    double seconds;
    bool handshakes, resumes, idling, h2;
    const char *name;
    struct sockaddr_in server;
};

struct load {
    struct options o;
    int epoll_fd;
    SSL_CTX *ctx;
    SSL_SESSION *ticket; /* owned; the last that came */
    struct conn *conns;  /* owned */
    char request[REQUEST_MAX], scratch[SCRATCH];
    size_t request_len;
    uint64_t now_ns, end_ns, done, errors, opened, idle_opened, full;
    bool leaving, renews_none;
    struct times times;
};

static void die(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static uint64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct load *load_of(SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct load *l = load_of(ssl);
    struct conn *c = SSL_get_app_data(ssl);
    c->has_ticket = true;
    if (!l->o.resumes)
        return 0;
    SSL_SESSION_free(l->ticket);
    l->ticket = session;
    return 1;
}

static void conn_close(struct conn *c)
{
    if (c->ssl != NULL) {
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(c->ssl);
    }
    if (c->fd >= 0)
        close(c->fd);
    c->ssl = NULL;
    c->fd = -1;
}

static void conn_open(struct load *l, struct conn *c)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    struct sockaddr_in here = {.sin_family = AF_INET};
    int on = 1;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(l->opened++ / PORTS_EACH % 200));
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("tls: socket");
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (bind(c->fd, (struct sockaddr *)&here, sizeof(here)) < 0)
        die("tls: bind");
    if (connect(c->fd, (struct sockaddr *)&l->o.server, sizeof(l->o.server)) < 0 && errno != EINPROGRESS)
        die("tls: connect");
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, c->fd, &e) < 0)
        die("tls: epoll_ctl");
    c->ssl = SSL_new(l->ctx);
    if (c->ssl == NULL || !SSL_set_fd(c->ssl, c->fd) || !SSL_set_app_data(c->ssl, c) ||
        (l->o.name != NULL && !SSL_set_tlsext_host_name(c->ssl, l->o.name)))
        die("tls: SSL_new");
    if (l->o.resumes && l->ticket != NULL) {
        /* OpenSSL takes each once, and not every server brings a new one. */
        SSL_SESSION *copy = SSL_SESSION_dup(l->ticket);
        if (copy == NULL || !SSL_set_session(c->ssl, copy))
            die("tls: SSL_set_session");
        SSL_SESSION_free(copy);
    }
    SSL_set_connect_state(c->ssl);
    c->asked = c->has_ticket = false;
}

static void request_start(struct load *l, struct conn *c)
{
    c->start_ns = l->now_ns;
    answer_reset(&c->answer);
    h2_once_reset(&c->h2);
    if (c->fd < 0) {
        conn_open(l, c);
        return; /* the request goes out behind the handshake */
    }
    c->asked = SSL_write(c->ssl, l->request, (int)l->request_len) == (int)l->request_len;
    if (!c->asked)
        die("tls: a request does not fit into the socket");
}

/* With -i: the next connection takes its turn. */
static void idle_next(struct load *l)
{
    if (l->idle_opened < l->o.conns)
        request_start(l, &l->conns[l->idle_opened++]);
    else if (l->done + l->errors >= l->o.conns)
        l->leaving = true;
}

/* The socket stays open, OpenSSL forgets it. */
static void conn_forget(struct load *l, struct conn *c)
{
    SSL_set_quiet_shutdown(c->ssl, 1);
    SSL_free(c->ssl);
    c->ssl = NULL;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
}

static void request_end(struct load *l, struct conn *c, bool failed)
{
    if (failed) {
        l->errors++;
    } else {
        times_add(&l->times, l->now_ns - c->start_ns);
        l->done++;
    }
    if (l->o.idling && !failed)
        conn_forget(l, c);
    else if (failed || c->answer.closes || l->o.handshakes)
        conn_close(c);
    if (l->leaving)
        return;
    if (l->o.idling)
        idle_next(l);
    else
        request_start(l, c);
}

static void handshake_end(struct load *l, struct conn *c)
{
    l->full += !SSL_session_reused(c->ssl);
    SSL_shutdown(c->ssl);
    request_end(l, c, false);
}

static enum answer_result feed(struct load *l, struct conn *c, size_t n)
{
    enum answer_result r;
    if (l->o.h2) {
        r = h2_once_feed(&c->h2, (unsigned char *)l->scratch, n);
        if (c->h2.owes_ack && SSL_write(c->ssl, H2_SETTINGS_ACK, H2_HEAD_BYTES) != H2_HEAD_BYTES)
            return ANSWER_BAD;
        c->h2.owes_ack = false;
        return r;
    }
    r = answer_feed(&c->answer, l->scratch, n);
    return r == ANSWER_DONE && c->answer.status >= 400 ? ANSWER_BAD : r;
}

static void conn_read(struct load *l, struct conn *c)
{
    for (;;) {
        int n = SSL_read(c->ssl, l->scratch, SCRATCH);
        enum answer_result r = ANSWER_MORE;
        if (l->o.handshakes && (c->has_ticket || l->renews_none)) {
            handshake_end(l, c);
            return;
        }
        if (n > 0)
            r = feed(l, c, (size_t)n);
        else if (SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ)
            return;
        else
            r = ANSWER_BAD;
        if (r == ANSWER_MORE)
            continue;
        request_end(l, c, r == ANSWER_BAD);
        return;
    }
}

static void on_event(struct load *l, struct conn *c, uint32_t what)
{
    if (c->fd < 0 || c->ssl == NULL)
        return;
    if (!SSL_is_init_finished(c->ssl)) {
        int r = (what & EPOLLERR) ? -1 : SSL_do_handshake(c->ssl);
        if (r != 1) {
            int error = (what & EPOLLERR) ? SSL_ERROR_SYSCALL : SSL_get_error(c->ssl, r);
            if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
                request_end(l, c, true);
            ERR_clear_error();
            return;
        }
    }
    if (!l->o.handshakes && !c->asked)
        c->asked = SSL_write(c->ssl, l->request, (int)l->request_len) == (int)l->request_len;
    conn_read(l, c);
    ERR_clear_error();
}

static void turn(struct load *l)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(l->epoll_fd, events, EVENTS_MAX, 100);
    l->now_ns = clock_ns();
    for (int i = 0; i < n; i++)
        on_event(l, events[i].data.ptr, events[i].events);
    if (!l->o.idling && l->now_ns >= l->end_ns)
        l->leaving = true;
}

static void request_text(struct load *l, const char *path)
{
    if (l->o.h2) {
        l->request_len = h2_once_request((unsigned char *)l->request, REQUEST_MAX, path);
        return;
    }
    l->request_len =
        (size_t)snprintf(l->request, REQUEST_MAX, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n\r\n", path,
                         ntohs(l->o.server.sin_port));
}

static void usage(void)
{
    fprintf(stderr, "usage: tls [-c N] [-d S] [-s NAME] [-H] [-R] [-i] [-2] [-w N] PORT PATH\n");
    exit(64);
}

static struct options parse(int argc, char **argv)
{
    struct options o = {.conns = 64, .wave = 64, .seconds = 5, .server = {.sin_family = AF_INET}};
    int c;
    while ((c = getopt(argc, argv, "c:d:s:HRi2w:")) >= 0) {
        switch (c) {
        case 'c':
            o.conns = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'd':
            o.seconds = strtod(optarg, NULL);
            break;
        case 's':
            o.name = optarg;
            break;
        case 'R':
            o.resumes = true; /* fall through */
        case 'H':
            o.handshakes = true;
            break;
        case 'i':
            o.idling = true;
            break;
        case '2':
            o.h2 = true;
            break;
        case 'w':
            o.wave = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        default:
            usage();
        }
    }
    if (argc - optind != 2 || o.conns == 0 || (o.h2 && !o.idling))
        usage();
    o.server.sin_port = htons((uint16_t)strtoul(argv[optind], NULL, 10));
    o.server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return o;
}

static SSL_CTX *context(struct load *l)
{
    static const unsigned char h1[] = "\x08http/1.1", h2[] = "\x02h2";
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) ||
        !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") ||
        !SSL_CTX_set1_groups_list(ctx, "X25519") ||
        SSL_CTX_set_alpn_protos(ctx, l->o.h2 ? h2 : h1, (l->o.h2 ? sizeof(h2) : sizeof(h1)) - 1) != 0)
        die("tls: context");
    SSL_CTX_set_app_data(ctx, l);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_ticket);
    return ctx;
}

static void start_all(struct load *l)
{
    l->now_ns = clock_ns();
    l->end_ns = l->now_ns + (uint64_t)(l->o.seconds * 1e9);
    for (uint32_t i = 0; i < l->o.conns; i++)
        l->conns[i].fd = -1;
    for (uint32_t i = 0; i < l->o.conns; i++) {
        if (!l->o.idling)
            request_start(l, &l->conns[i]);
        else if (i < l->o.wave)
            idle_next(l);
    }
}

/* One connection until it has brought a ticket, or time is up. */
static bool try_ticket(struct load *l, uint32_t ms)
{
    struct conn *c = &l->conns[0];
    uint64_t until = clock_ns() + ms * 1000000ull;
    bool came = false;
    c->fd = -1;
    conn_open(l, c);
    while (!came && clock_ns() < until) {
        struct epoll_event e;
        if (epoll_wait(l->epoll_fd, &e, 1, 10) == 1 && SSL_do_handshake(c->ssl) == 1)
            SSL_read(c->ssl, l->scratch, SCRATCH);
        came = c->has_ticket;
    }
    conn_close(c);
    ERR_clear_error();
    return came;
}

/* The first ticket, and whether one that comes back with it gets another. */
static void fetch_ticket(struct load *l)
{
    if (!try_ticket(l, 5000)) {
        fprintf(stderr, "tls: no ticket came\n");
        exit(1);
    }
    l->renews_none = !try_ticket(l, 200); /* nobody else is served meanwhile */
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
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    l.conns = calloc(l.o.conns, sizeof(*l.conns));
    l.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l.conns == NULL || l.epoll_fd < 0)
        die("tls");
    l.ctx = context(&l);
    request_text(&l, argv[optind + 1]);
    if (l.o.resumes)
        fetch_ticket(&l);
    start_all(&l);
    uint64_t began = l.now_ns;
    while (!l.leaving)
        turn(&l);
    if (l.o.idling && l.errors == 0)
        wait_for_end_of_input();
    printf("{\"requests\": %llu, \"errors\": %llu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           (unsigned long long)l.done, (unsigned long long)(l.errors + (l.o.resumes ? l.full : 0)),
           (double)(l.now_ns - began) / 1e9, times_quantile(&l.times, 0.5), times_quantile(&l.times, 0.99));
    return l.done == 0;
}
