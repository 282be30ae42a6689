/* The socket of a conn as OpenSSL sees it. It counts what the socket says: a short read means that it is
 * empty, so it is not asked again within the same call (the second question would cost a system call to learn
 * EAGAIN).
 *
 * From 3.2 on OpenSSL does not read ahead before the handshake is over: it asks for five bytes of a record,
 * then for the rest. It is given them out of the worker's `ahead`, so that a flight of several records costs
 * one call, and a connection that fails at its first bytes leaves nothing in the socket for close() to answer
 * with a reset. Older ones ask for more than that buffer holds, and get it straight from the socket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "net/tls_priv.h"

#define CONN_BIO 0x7f /* a number that none of OpenSSL's own kinds has */

/* What was read ahead in this step, or in the last one of the handshake. */
static int take_ahead(struct tls *t, char *to, size_t n)
{
    struct tls_worker *tw = t->worker;
    const char *from = t->ahead ? t->ahead : tw->ahead;
    uint32_t *at = t->ahead ? &t->ahead_at : &tw->ahead_at;
    size_t left = (t->ahead ? t->ahead_len : tw->ahead_len) - *at;
    if (n > left)
        n = left;
    memcpy(to, from + *at, n);
    *at += (uint32_t)n;
    if (t->ahead && n == left) {
        free(t->ahead);
        t->ahead = NULL;
    }
    return (int)n;
}

static bool is_ahead(const struct tls *t)
{
    return t->ahead || (t->staging && t->worker->ahead_at < t->worker->ahead_len);
}

bool tls_keep_ahead(struct tls *t)
{
    struct tls_worker *tw = t->worker;
    size_t left = tw->ahead_len - tw->ahead_at;
    const char *from = tw->ahead + tw->ahead_at;
    tw->ahead_at = tw->ahead_len = 0;
    if (!left)
        return true;
    ASSERT(!t->ahead); /* it is empty before more is read */
    t->ahead = malloc(left);
    if (!t->ahead)
        return false;
    memcpy(t->ahead, from, left);
    t->ahead_at = 0;
    t->ahead_len = (uint32_t)left;
    return true;
}

static int raw_read(BIO *bio, char *to, int n)
{
    struct tls *t = BIO_get_data(bio);
    struct tls_worker *tw = t->worker;
    BIO_clear_retry_flags(bio);
    if (is_ahead(t))
        return take_ahead(t, to, (size_t)n);
    if (t->raw_empty) {
        BIO_set_retry_read(bio);
        return -1;
    }
    bool more = t->staging && n < TLS_AHEAD_BYTES;
    int want = more ? TLS_AHEAD_BYTES : n;
    ssize_t got = recv(t->conn->fd, more ? tw->ahead : to, (size_t)want, 0);
    if (got > 0) {
        t->raw_empty = got < want && !t->conn->peer_done;
        if (!more)
            return (int)got;
        tw->ahead_at = 0;
        tw->ahead_len = (uint32_t)got;
        return take_ahead(t, to, (size_t)n);
    }
    if (got == 0) {
        t->raw_eof = true;
        return 0;
    }
    if (errno == EAGAIN || errno == EINTR) {
        t->raw_empty = true;
        BIO_set_retry_read(bio);
    }
    return -1;
}

static void drop_held(struct tls *t)
{
    free(t->held);
    t->held = NULL;
    t->held_len = 0;
}

/* p lies in the stage, or in `held` itself. */
static bool hold(struct tls *t, const char *p, size_t n)
{
    if (t->held) {
        memmove(t->held, p, n);
    } else {
        t->held = malloc(n);
        if (!t->held)
            return false;
        memcpy(t->held, p, n);
    }
    t->held_len = (uint32_t)n;
    return true;
}

bool tls_push(struct tls *t)
{
    struct tls_worker *tw = t->worker;
    const char *from = t->held ? t->held : tw->stage;
    size_t n = t->held ? t->held_len : t->staging ? tw->staged : 0;
    if (!n)
        return true;
    ssize_t put = send(t->conn->fd, from, n, MSG_NOSIGNAL);
    if (!t->held)
        tw->staged = 0;
    if (put < 0 && (errno == EAGAIN || errno == EINTR))
        put = 0;
    if (put >= 0 && (size_t)put < n && hold(t, from + put, n - (size_t)put))
        return false;
    if (put >= 0 && (size_t)put < n)
        shutdown(t->conn->fd, SHUT_RDWR); /* no memory: the peer must not see a gap */
    drop_held(t);
    return true;
}

static bool stage(struct tls *t, const char *from, size_t n)
{
    struct tls_worker *tw = t->worker;
    if (!t->staging || t->held || n > TLS_STAGE_BYTES - tw->staged)
        return false;
    memcpy(tw->stage + tw->staged, from, n);
    tw->staged += (uint32_t)n;
    return true;
}

static int raw_write(BIO *bio, const char *from, int n)
{
    struct tls *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (stage(t, from, (size_t)n))
        return n;
    if (!tls_push(t)) {
        BIO_set_retry_write(bio);
        return -1;
    }
    ssize_t put = send(t->conn->fd, from, (size_t)n, MSG_NOSIGNAL | (t->has_more ? MSG_MORE : 0));
    if (put < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(bio);
    return (int)put;
}

static long raw_ctrl(BIO *bio, int what, long arg, void *ptr)
{
    (void)arg;
    (void)ptr;
    if (what == BIO_CTRL_FLUSH)
        return 1;
    if (what != BIO_CTRL_EOF)
        return 0;
    const struct tls *t = BIO_get_data(bio);
    return t->raw_eof && !is_ahead(t);
}

static int raw_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *tls_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | CONN_BIO, "conn");
    if (m && BIO_meth_set_read(m, raw_read) && BIO_meth_set_write(m, raw_write) &&
        BIO_meth_set_ctrl(m, raw_ctrl) && BIO_meth_set_create(m, raw_create))
        return m;
    BIO_meth_free(m);
    return NULL;
}
