/* conn: one non-blocking stream socket on a worker's loop. Bytes, no HTTP.
 *
 * Registered once, edge-triggered and persistent, for its whole life. may_read and may_write are set by edges
 * and cleared only by EAGAIN or a short raw transfer; whoever stops for another reason puts the conn's owner
 * on the run queue when that reason ends (a lost edge is a hang for ever). A FIN that came along with data is
 * not announced again: peer_done (EPOLLRDHUP) remembers it, and then a short read does not clear may_read.
 *
 * Embedded in a session or an uplink, owned by it. TLS is another conn_ops: net/tls.h. */
#ifndef COX_NET_CONN_H
#define COX_NET_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "net/addr.h"
#include "run/worker.h"

/* Results beside byte counts. Readers: 0 is the end of the stream. */
#define CONN_AGAIN (-1)
#define CONN_ERROR (-2)

struct conn;
struct tls;

struct conn_ops {
    const char *name;
    ssize_t (*read)(struct conn *c, void *buf, size_t n);
    ssize_t (*writev)(struct conn *c, const struct iovec *iov, int count);
    /* From a file; NULL: the caller reads and writes. */
    ssize_t (*send_file)(struct conn *c, int fd, off_t *offset, size_t n);
    void (*shutdown)(struct conn *c); /* no more will be written */
    int (*peek)(struct conn *c);      /* see conn_peek */
};

extern const struct conn_ops conn_plain;

struct conn {
    struct event ev;
    const struct conn_ops *ops;
    struct tls *tls;                  /* owned; NULL: plain */
    struct worker *worker;            /* for life */
    void (*on_ready)(struct conn *c); /* may_read, may_write or peer_done changed */
    int fd;                           /* owned; -1: closed */
    bool may_read, may_write;
    bool peer_done; /* the peer sent FIN (or more: see broken) */
    bool eof;       /* and it was read */
    bool broken;    /* reset, or failed to connect */
    bool shut;      /* we sent FIN */
};

/* Takes over fd and registers it. False (fd closed) when the loop has no room. */
bool conn_open(struct conn *c, struct worker *w, int fd, void (*on_ready)(struct conn *c))
    __attribute__((warn_unused_result));
/* Starts a connection. The first may_write, or broken, says how it went. */
bool conn_connect(struct conn *c, struct worker *w, const struct addr *to, void (*on_ready)(struct conn *c))
    __attribute__((warn_unused_result));
/* Unregisters and closes; harmless when closed. reset: RST instead of FIN. */
void conn_close(struct conn *c);
void conn_reset(struct conn *c);
/* The outcome of connect once may_write is set: 0 or errno. */
int conn_connect_error(struct conn *c);
/* Looks without taking: 1 data waits, CONN_AGAIN nothing does, 0 end of stream, CONN_ERROR. */
static inline int conn_peek(struct conn *c)
{
    return c->ops->peek(c);
}
/* How is the peer, whatever was announced, and whatever it sent before and nobody has read? CONN_ERROR: it
 * reset the connection; 0: it sent FIN (then peer_done is set, too); CONN_AGAIN: neither. Of the socket
 * itself. */
int conn_ask_peer(struct conn *c);
/* Bytes that lie unread in the socket. */
size_t conn_unread_bytes(const struct conn *c);
/* As conn_peek for up to n bytes, into buf: how many there are (> 0), or why there are none. Of the socket
 * itself, whatever ops say. */
ssize_t conn_peek_bytes(struct conn *c, void *buf, size_t n);
/* Takes n bytes off the socket that conn_peek_bytes has shown. False when they are not there. */
bool conn_skip_bytes(struct conn *c, void *buf, size_t n) __attribute__((warn_unused_result));
/* Puts bytes on the socket before anything else, TLS too; they leave together with what follows. A fresh
 * connection takes a few kilobytes in one piece: false when it did not. */
bool conn_send_first(struct conn *c, const void *p, size_t n) __attribute__((warn_unused_result));
/* Unregisters without closing; the caller owns the descriptor that is returned. */
int conn_release(struct conn *c);
/* Of a conn that nobody waits on: nothing came that belongs to no request, neither data nor the end. Messages
 * of TLS itself (session tickets) are taken in. */
bool conn_is_quiet(struct conn *c);

/* For a transfer by other means (sendfile, splice): its result, with errno, becomes that of conn_read (0: the
 * end) or of conn_writev, and the flags change likewise. Of the socket itself, whatever ops say. A short
 * transfer says nothing about the socket here. */
ssize_t conn_note_read(struct conn *c, ssize_t got);
ssize_t conn_note_written(struct conn *c, ssize_t put);

static inline bool conn_is_open(const struct conn *c)
{
    return c->fd >= 0;
}
static inline ssize_t conn_read(struct conn *c, void *buf, size_t n)
{
    return c->ops->read(c, buf, n);
}
static inline ssize_t conn_writev(struct conn *c, const struct iovec *iov, int count)
{
    return c->ops->writev(c, iov, count);
}
void conn_shutdown(struct conn *c);

#endif
