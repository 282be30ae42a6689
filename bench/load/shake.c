/* shake: the floor of handshakes over sockets. It takes a connection, shakes hands, gives tickets, answers
 * the goodbye and closes: OpenSSL's half (bench/micro/handshake has it in memory) and the system calls that
 * carry it, and nothing else. No HTTP, no SNI, no time-outs, no limits, no log.
 *
 *   shake [-n] PORT CERT KEY [PORT CERT KEY]...
 *     -n  a ticket that comes back brings no new one
 *
 * One thread, raw epoll, edge-triggered, registered once a connection. What a step writes leaves in one
 * piece, and what one read brings is taken for all there is: accept4, epoll_ctl, three reads, three writes,
 * close. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SCRATCH = 16384, EVENTS_MAX = 256 };

/* A listener (ctx is set), or a connection (ssl is). */
struct end {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
};

struct shake {
    int epoll_fd;
    BIO *in, *out; /* of all connections: both are empty between two steps */
    char scratch[SCRATCH];
};

static void die(const char *what)
{
    perror(what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* OpenSSL's own rule is to answer one that comes back with another. */
static SSL_TICKET_RETURN renew_none(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                    size_t name_len, SSL_TICKET_STATUS status, void *arg)
{
    (void)ssl, (void)session, (void)name, (void)name_len, (void)arg;
    return status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW
               ? SSL_TICKET_RETURN_USE
               : SSL_TICKET_RETURN_IGNORE_RENEW;
}

static SSL_CTX *context(const char *cert, const char *key, bool renews)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        die(cert);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1);
    if (!renews)
        SSL_CTX_set_session_ticket_cb(ctx, NULL, renew_none, NULL);
    return ctx;
}

static void listen_at(struct shake *s, const char *port, SSL_CTX *ctx)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct end *e = calloc(1, sizeof(*e));
    struct epoll_event what = {.events = EPOLLIN, .data.ptr = e};
    int on = 1;
    if (e == NULL)
        die("shake: listener");
    e->ctx = ctx;
    e->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(e->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(e->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* what is accepted inherits it */
    if (e->fd < 0 || bind(e->fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(e->fd, 4096) < 0 ||
        epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, e->fd, &what) < 0)
        die("shake: listen");
}

static void end_open(struct shake *s, SSL_CTX *ctx, int fd)
{
    struct end *e = calloc(1, sizeof(*e));
    struct epoll_event what = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = e};
    if (e == NULL || epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &what) < 0)
        die("shake: connection");
    e->fd = fd;
    e->ssl = SSL_new(ctx);
    if (e->ssl == NULL || !BIO_up_ref(s->in) || !BIO_up_ref(s->out))
        die("shake: SSL_new");
    SSL_set_bio(e->ssl, s->in, s->out);
    SSL_set_accept_state(e->ssl);
}

/* One event a connection and turn: nothing of it is looked at behind this. */
static void end_close(struct end *e)
{
    SSL_set_shutdown(e->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(e->ssl);
    close(e->fd);
    free(e);
}

static void send_all(struct shake *s, struct end *e)
{
    char *p;
    long n = BIO_get_mem_data(s->out, &p);
    if (n > 0)
        (void)!send(e->fd, p, (size_t)n, MSG_NOSIGNAL); /* it may have left */
    (void)BIO_reset(s->out);
}

/* The handshake, then reading on, until nothing is left of what came. False: it is over. */
static bool step(struct end *e)
{
    char byte;
    int r = SSL_is_init_finished(e->ssl) ? 1 : SSL_do_handshake(e->ssl);
    if (r == 1)
        r = SSL_read(e->ssl, &byte, 1);
    if (r == 1 || SSL_get_error(e->ssl, r) == SSL_ERROR_WANT_READ)
        return true;
    if (SSL_get_error(e->ssl, r) == SSL_ERROR_ZERO_RETURN)
        SSL_shutdown(e->ssl);
    return false;
}

static void on_event(struct shake *s, struct end *e)
{
    ssize_t n = recv(e->fd, s->scratch, SCRATCH, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0 && BIO_write(s->in, s->scratch, (int)n) != n)
        die("shake: BIO_write");
    bool goes_on = n > 0 && step(e);
    send_all(s, e);
    ERR_clear_error();
    (void)BIO_reset(s->in);
    if (!goes_on)
        end_close(e);
}

static void accept_all(struct shake *s, struct end *listener)
{
    int fd;
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        end_open(s, listener->ctx, fd);
}

static BIO *memory(void)
{
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio == NULL)
        die("shake: BIO_new");
    BIO_set_mem_eof_return(bio, -1); /* empty: more comes later */
    return bio;
}

static void start(struct shake *s, int argc, char **argv)
{
    bool renews = argc < 2 || strcmp(argv[1], "-n") != 0;
    int i = renews ? 1 : 2;
    if (argc - i < 3 || (argc - i) % 3 != 0) {
        fprintf(stderr, "usage: shake [-n] PORT CERT KEY [PORT CERT KEY]...\n");
        exit(64);
    }
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->in = memory();
    s->out = memory();
    if (s->epoll_fd < 0)
        die("shake");
    for (; i < argc; i += 3)
        listen_at(s, argv[i], context(argv[i + 1], argv[i + 2], renews));
}

int main(int argc, char **argv)
{
    static struct shake s;
    struct epoll_event events[EVENTS_MAX];
    signal(SIGPIPE, SIG_IGN);
    start(&s, argc, argv);
    for (;;) {
        int n = epoll_wait(s.epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            struct end *e = events[i].data.ptr;
            if (e->ssl == NULL)
                accept_all(&s, e);
            else
                on_event(&s, e);
        }
    }
}
