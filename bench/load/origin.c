/* origin: an HTTP/1.1 server that costs next to nothing, so that a bench measures the proxy before it.
 *
 *   origin PORT
 *
 * One thread, edge-triggered epoll, keep-alive, pipelining. GET /N, /Nk or /Nm is answered with a body of
 * that many bytes (at most 16m), anything else with 13 bytes. Large bodies come from a memory file
 * (sendfile). Request bodies must have a length; they are dropped in the kernel (MSG_TRUNC), and the answer
 * goes out when the last byte is here. It is a bench's other end, nothing that may face a stranger. */
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
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNS_MAX = 65536, IN_MAX = 16384, OUT_MAX = 65536, EVENTS_MAX = 256, BODY_MAX = 16 << 20 };

/* What one client still gets and has sent so far. Indexed by descriptor, made at its first use, kept. */
struct client {
    char in[IN_MAX];
    size_t in_len;
    char out[OUT_MAX]; /* heads and small bodies not taken yet */
    size_t out_len;
    size_t body_left; /* of a body larger than fits into out */
    off_t body_at;
    size_t skip;     /* of a request body that is not here yet */
    char target[16]; /* what is to be answered then */
};

struct origin {
    int epoll_fd, listen_fd, body_fd;
    struct client *clients[CONNS_MAX]; /* owned */
    char filler[OUT_MAX];
};

static int listen_on(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0) {
        perror("origin: listen");
        exit(1);
    }
    return fd;
}

/* "/16k HTTP/1.1" → 16384; 0 when it is no number. */
static size_t body_size(const char *target)
{
    char *end;
    unsigned long n;
    if (target[0] != '/' || target[1] < '0' || target[1] > '9')
        return 0;
    n = strtoul(target + 1, &end, 10);
    if (*end == 'k')
        n *= 1024;
    else if (*end == 'm')
        n *= 1024 * 1024;
    return n > BODY_MAX ? BODY_MAX : n;
}

static void answer(struct origin *o, struct client *c, const char *target)
{
    static const char small[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world!";
    size_t n = body_size(target), part;
    if (n == 0) {
        memcpy(c->out + c->out_len, small, sizeof(small) - 1);
        c->out_len += sizeof(small) - 1;
        return;
    }
    c->out_len +=
        (size_t)snprintf(c->out + c->out_len, 128,
                         "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", n);
    part = n > OUT_MAX - c->out_len ? 0 : n; /* all of a small one, or sendfile does it */
    memcpy(c->out + c->out_len, o->filler, part);
    c->out_len += part;
    c->body_left = n - part;
    c->body_at = 0;
}

/* The Content-Length of a request that has a method with a body. */
static size_t request_body(const char *head, const char *end)
{
    const char *line = head;
    if (*head != 'P') /* POST, PUT, PATCH */
        return 0;
    while ((line = memchr(line, '\n', (size_t)(end - line))) != NULL && ++line < end)
        if (end - line > 15 && strncasecmp(line, "content-length:", 15) == 0)
            return strtoull(line + 15, NULL, 10);
    return 0;
}

/* Answers every whole request there is room for. */
static void take_heads(struct origin *o, struct client *c)
{
    size_t used = 0;
    while (c->body_left == 0 && c->skip == 0 && OUT_MAX - c->out_len >= 256) {
        char *head = c->in + used;
        char *end = memmem(head, c->in_len - used, "\r\n\r\n", 4);
        char *space;
        size_t body, here;
        if (end == NULL)
            break;
        body = request_body(head, end);
        *end = '\0';
        space = strchr(head, ' ');
        snprintf(c->target, sizeof(c->target), "%s", space == NULL ? "" : space + 1);
        used = (size_t)(end + 4 - c->in);
        here = c->in_len - used < body ? c->in_len - used : body;
        used += here;
        c->skip = body - here;
        if (c->skip == 0)
            answer(o, c, c->target);
    }
    memmove(c->in, c->in + used, c->in_len - used);
    c->in_len -= used;
}

static void drop(struct origin *o, int fd)
{
    struct client *c = o->clients[fd];
    c->in_len = c->out_len = c->body_left = c->skip = 0;
    close(fd);
}

/* False when the socket is full (or gone: then the read side notices). */
static bool flush(struct origin *o, int fd, struct client *c)
{
    while (c->out_len > 0) {
        ssize_t n = send(fd, c->out, c->out_len, MSG_NOSIGNAL | (c->body_left > 0 ? MSG_MORE : 0));
        if (n < 0)
            return false;
        memmove(c->out, c->out + n, c->out_len - (size_t)n);
        c->out_len -= (size_t)n;
    }
    while (c->body_left > 0) {
        ssize_t n = sendfile(fd, o->body_fd, &c->body_at, c->body_left);
        if (n < 0)
            return false;
        c->body_left -= (size_t)n;
    }
    return true;
}

/* Bytes that came, those of a body being dropped included; what recv says otherwise. */
static ssize_t take(struct origin *o, int fd, struct client *c, size_t *out_room)
{
    ssize_t n;
    *out_room = c->skip > 0 ? c->skip : IN_MAX - 1 - c->in_len;
    if (*out_room == 0)
        return 1; /* full of requests that wait for room in out */
    if (c->skip == 0) {
        n = recv(fd, c->in + c->in_len, *out_room, 0);
        c->in_len += n > 0 ? (size_t)n : 0;
        return n;
    }
    n = recv(fd, NULL, c->skip, MSG_TRUNC);
    c->skip -= n > 0 ? (size_t)n : 0;
    if (n > 0 && c->skip == 0)
        answer(o, c, c->target);
    return n;
}

static void serve(struct origin *o, int fd)
{
    struct client *c = o->clients[fd];
    for (;;) {
        ssize_t n;
        size_t room;
        if (!flush(o, fd, c))
            return;
        n = take(o, fd, c, &room);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            drop(o, fd);
            return;
        }
        take_heads(o, c);
        if (c->out_len == 0 && c->body_left == 0 && n < 0)
            return;
        if (n > 0 && (size_t)n < room && flush(o, fd, c) && c->in_len == 0 && c->skip == 0)
            return; /* a short read: nothing more is there */
    }
}

static void accept_all(struct origin *o)
{
    int fd, on = 1;
    while ((fd = accept4(o->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
        if (fd >= CONNS_MAX ||
            (o->clients[fd] == NULL && (o->clients[fd] = calloc(1, sizeof(struct client))) == NULL)) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        epoll_ctl(o->epoll_fd, EPOLL_CTL_ADD, fd, &e);
    }
}

int main(int argc, char **argv)
{
    static struct origin o;
    struct epoll_event e = {.events = EPOLLIN}, events[EVENTS_MAX];
    long port = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    if (port < 1 || port > 65535) {
        fprintf(stderr, "usage: origin PORT\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    memset(o.filler, 'x', sizeof(o.filler));
    o.body_fd = memfd_create("body", MFD_CLOEXEC);
    if (o.body_fd < 0 || ftruncate(o.body_fd, BODY_MAX) < 0)
        return 1;
    o.listen_fd = e.data.fd = listen_on((uint16_t)port);
    o.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(o.epoll_fd, EPOLL_CTL_ADD, o.listen_fd, &e);
    for (;;) {
        int n = epoll_wait(o.epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == o.listen_fd)
                accept_all(&o);
            else
                serve(&o, events[i].data.fd);
        }
    }
}
