#include "net/conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "base/panic.h"
#include "net/tls.h"

static void on_event(evutil_socket_t fd, short events, void *ctx)
{
    struct conn *c = ctx;
    (void)fd;
    worker_on_event(c->worker);
    if (events & EV_READ)
        c->may_read = true;
    if (events & EV_WRITE)
        c->may_write = true;
    if (events & EV_CLOSED)
        c->peer_done = c->may_read = true;
    if (!c->tls || tls_on_event(c))
        c->on_ready(c);
}

static bool add_to_loop(struct conn *c)
{
    short what = EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST;
    if (event_assign(&c->ev, c->worker->loop.base, c->fd, what, on_event, c) == 0 &&
        event_add(&c->ev, NULL) == 0)
        return true;
    close(c->fd);
    c->fd = -1;
    return false;
}

static void conn_init(struct conn *c, struct worker *w, int fd, void (*on_ready)(struct conn *c))
{
    c->ops = &conn_plain;
    c->tls = NULL;
    c->worker = w;
    c->on_ready = on_ready;
    c->fd = fd;
    c->may_read = c->peer_done = c->eof = c->broken = c->shut = false;
}

static void set_nodelay(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails on unix sockets, which is fine */
}

bool conn_open(struct conn *c, struct worker *w, int fd, void (*on_ready)(struct conn *c))
{
    conn_init(c, w, fd, on_ready);
    c->may_write = true;
    return add_to_loop(c);
}

bool conn_connect(struct conn *c, struct worker *w, const struct addr *to, void (*on_ready)(struct conn *c))
{
    int fd = socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (to->sa.sa_family != AF_UNIX)
        set_nodelay(fd);
    conn_init(c, w, fd, on_ready);
    c->may_write = false;
    /* A full backlog of a unix socket is EAGAIN: that server is overloaded, and the connect failed. */
    if (connect(fd, &to->sa, to->len) == 0)
        c->may_write = true;
    else if (errno != EINPROGRESS) {
        int saved = errno;
        close(fd);
        errno = saved;
        c->fd = -1;
        return false;
    }
    return add_to_loop(c);
}

void conn_close(struct conn *c)
{
    if (c->fd < 0)
        return;
    if (c->tls)
        tls_close(c, false);
    event_del(&c->ev);
    close(c->fd);
    c->fd = -1;
    c->may_read = c->may_write = false;
}

void conn_reset(struct conn *c)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (c->tls)
        tls_close(c, true);
    if (c->fd >= 0)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    conn_close(c);
}

int conn_connect_error(struct conn *c)
{
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        return errno;
    return err;
}

ssize_t conn_peek_bytes(struct conn *c, void *buf, size_t n)
{
    ssize_t got = recv(c->fd, buf, n, MSG_PEEK | MSG_DONTWAIT);
    if (got >= 0)
        return got;
    return errno == EAGAIN || errno == EINTR ? CONN_AGAIN : CONN_ERROR;
}

bool conn_is_quiet(struct conn *c)
{
    if (c->tls && c->may_read && !c->peer_done)
        (void)conn_peek(c);
    return !c->may_read && !c->peer_done && !c->broken;
}

/* poll, since an error that recv would report waits behind the bytes that came before it. Both sides having
 * sent FIN looks like a hang-up, too. */
int conn_ask_peer(struct conn *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
    if (poll(&p, 1, 0) <= 0)
        return CONN_AGAIN;
    if ((p.revents & POLLERR) || ((p.revents & POLLHUP) && !c->shut))
        return CONN_ERROR;
    c->peer_done = true;
    return 0;
}

size_t conn_unread_bytes(const struct conn *c)
{
    int n = 0;
    return ioctl(c->fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

static int plain_peek(struct conn *c)
{
    char byte;
    return (int)conn_peek_bytes(c, &byte, 1);
}

bool conn_skip_bytes(struct conn *c, void *buf, size_t n)
{
    return recv(c->fd, buf, n, MSG_DONTWAIT) == (ssize_t)n;
}

bool conn_send_first(struct conn *c, const void *p, size_t n)
{
    return send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE) == (ssize_t)n;
}

int conn_release(struct conn *c)
{
    int fd = c->fd;
    if (fd >= 0)
        event_del(&c->ev);
    c->fd = -1;
    c->may_read = c->may_write = false;
    return fd;
}

void conn_shutdown(struct conn *c)
{
    if (c->fd < 0 || c->shut)
        return;
    c->shut = true;
    c->ops->shutdown(c);
}

static ssize_t failed(struct conn *c, bool *may)
{
    if (errno == EAGAIN || errno == EINTR) {
        *may = false;
        return CONN_AGAIN;
    }
    c->broken = true;
    *may = false;
    return CONN_ERROR;
}

ssize_t conn_note_read(struct conn *c, ssize_t got)
{
    if (got > 0)
        return got;
    if (got < 0)
        return failed(c, &c->may_read);
    c->eof = c->peer_done = true;
    c->may_read = false;
    return 0;
}

ssize_t conn_note_written(struct conn *c, ssize_t put)
{
    return put < 0 ? failed(c, &c->may_write) : put;
}

static ssize_t plain_read(struct conn *c, void *buf, size_t n)
{
    ssize_t got = recv(c->fd, buf, n, 0);
    if (got > 0) {
        if ((size_t)got < n && !c->peer_done)
            c->may_read = false;
        return got;
    }
    return conn_note_read(c, got);
}

static ssize_t plain_writev(struct conn *c, const struct iovec *iov, int count)
{
    size_t all = iov->iov_len;
    ssize_t put;
    if (count == 1) {
        put = send(c->fd, iov->iov_base, all, MSG_NOSIGNAL);
    } else {
        struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
        put = sendmsg(c->fd, &msg, MSG_NOSIGNAL);
        for (int i = 1; i < count; i++)
            all += iov[i].iov_len;
    }
    if (put < 0)
        return failed(c, &c->may_write);
    if ((size_t)put < all)
        c->may_write = false;
    return put;
}

static ssize_t plain_send_file(struct conn *c, int fd, off_t *offset, size_t n)
{
    return conn_note_written(c, sendfile(c->fd, fd, offset, n));
}

static void plain_shutdown(struct conn *c)
{
    shutdown(c->fd, SHUT_WR);
}

const struct conn_ops conn_plain = {
    .name = "plain",
    .read = plain_read,
    .writev = plain_writev,
    .send_file = plain_send_file,
    .shutdown = plain_shutdown,
    .peek = plain_peek,
};
