/* echo: an HTTP/2 server in clear that gives every request body back, as a unary gRPC method does that
 * echoes its message: status 200, the body, grpc-status 0 in the trailers.
 *
 *   echo PORT
 *
 * One thread, nghttp2 for the protocol. Messages of up to 4 KiB. It is a bench's other end, nothing that may
 * face a stranger. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNS_MAX = 65536, BUFFER = 65536, EVENTS_MAX = 256, BODY_MAX = 4096 };

struct call {
    size_t len, sent;
    uint8_t body[BODY_MAX];
    struct call *next; /* among the free ones */
};

struct echo {
    int epoll_fd, listen_fd;
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *sessions[CONNS_MAX]; /* owned; by descriptor */
    struct call *free;
    uint8_t buffer[BUFFER];
};

#define NV(name, value)                                                                                      \
    {                                                                                                        \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1, sizeof(value) - 1, 3  \
    }

static int on_begin(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
    struct echo *e = ctx;
    struct call *c = e->free;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (c != NULL)
        e->free = c->next;
    else if ((c = malloc(sizeof(*c))) == NULL)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    c->len = c->sent = 0;
    return nghttp2_session_set_stream_user_data(ng, frame->hd.stream_id, c);
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *ctx)
{
    struct call *c = nghttp2_session_get_stream_user_data(ng, id);
    (void)flags;
    (void)ctx;
    if (c == NULL || n > BODY_MAX - c->len)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    memcpy(c->body + c->len, p, n);
    c->len += n;
    return 0;
}

static ssize_t give(nghttp2_session *ng, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
                    nghttp2_data_source *source, void *ctx)
{
    static const nghttp2_nv trailers[] = {NV("grpc-status", "0")};
    struct call *c = source->ptr;
    size_t n = c->len - c->sent < room ? c->len - c->sent : room;
    (void)ctx;
    memcpy(to, c->body + c->sent, n);
    c->sent += n;
    if (c->sent == c->len) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(ng, id, trailers, 1) != 0)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

static int on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *ctx)
{
    static const nghttp2_nv head[] = {NV(":status", "200"), NV("content-type", "application/grpc")};
    struct call *c = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    nghttp2_data_provider body = {.source.ptr = c, .read_callback = give};
    (void)ctx;
    if (c == NULL || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || frame->hd.type > NGHTTP2_HEADERS)
        return 0;
    return nghttp2_submit_response(ng, frame->hd.stream_id, head, 2, &body);
}

static int on_close(nghttp2_session *ng, int32_t id, uint32_t code, void *ctx)
{
    struct echo *e = ctx;
    struct call *c = nghttp2_session_get_stream_user_data(ng, id);
    (void)code;
    if (c == NULL)
        return 0;
    c->next = e->free;
    e->free = c;
    return 0;
}

static void drop(struct echo *e, int fd)
{
    nghttp2_session_del(e->sessions[fd]);
    e->sessions[fd] = NULL;
    close(fd);
}

/* All frames that are ready, in pieces as large as the buffer. A peer that does not read is dropped. */
static bool flush(struct echo *e, int fd)
{
    const uint8_t *p;
    ssize_t n;
    size_t have = 0;
    for (;;) {
        n = nghttp2_session_mem_send(e->sessions[fd], &p);
        if (n < 0)
            return false;
        if (have > 0 && (n == 0 || have + (size_t)n > BUFFER)) {
            if (send(fd, e->buffer, have, MSG_NOSIGNAL) != (ssize_t)have)
                return false;
            have = 0;
        }
        if (n == 0)
            return true;
        memcpy(e->buffer + have, p, (size_t)n);
        have += (size_t)n;
    }
}

static void serve(struct echo *e, int fd)
{
    for (;;) {
        ssize_t n = recv(fd, e->buffer, BUFFER, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0 || nghttp2_session_mem_recv(e->sessions[fd], e->buffer, (size_t)n) != n || !flush(e, fd)) {
            drop(e, fd);
            return;
        }
        if (n < BUFFER)
            return;
    }
}

static void accept_all(struct echo *e)
{
    static const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 256}};
    int fd, on = 1;
    while ((fd = accept4(e->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
        if (fd >= CONNS_MAX || nghttp2_session_server_new(&e->sessions[fd], e->callbacks, e) != 0) {
            close(fd);
            continue;
        }
        nghttp2_submit_settings(e->sessions[fd], NGHTTP2_FLAG_NONE, settings, 1);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &event);
        if (!flush(e, fd))
            drop(e, fd);
    }
}

static int listen_on(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 4096) < 0) {
        perror("echo: listen");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    static struct echo e;
    struct epoll_event event = {.events = EPOLLIN}, events[EVENTS_MAX];
    long port = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    if (port < 1 || port > 65535) {
        fprintf(stderr, "usage: echo PORT\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    if (nghttp2_session_callbacks_new(&e.callbacks) != 0)
        return 1;
    nghttp2_session_callbacks_set_on_begin_headers_callback(e.callbacks, on_begin);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(e.callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(e.callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(e.callbacks, on_close);
    e.listen_fd = event.data.fd = listen_on((uint16_t)port);
    e.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(e.epoll_fd, EPOLL_CTL_ADD, e.listen_fd, &event);
    for (;;) {
        int n = epoll_wait(e.epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == e.listen_fd)
                accept_all(&e);
            else if (e.sessions[events[i].data.fd] != NULL)
                serve(&e, events[i].data.fd);
        }
    }
}
