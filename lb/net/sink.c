#include "net/sink.h"

#include <string.h>

#include "base/panic.h"

#define SINK_IOV_MAX 8
/* So little payload is copied behind its head: one run of bytes costs the kernel less than two. */
#define SINK_JOIN_BYTES 1024

void sink_init(struct sink *s, struct conn *c)
{
    *s = (struct sink){.conn = c};
}

void sink_fini(struct sink *s)
{
    struct worker *w = s->conn->worker;
    while (s->first) {
        struct chunk *c = s->first;
        s->first = c->next;
        chunk_give(w, c);
    }
    s->last = NULL;
    s->queued_bytes = s->conduit_bytes = 0;
    if (s->conduit)
        conduit_give(w->conduits, &s->conduit, false);
    if (w->cork_owner == s) {
        w->cork_owner = NULL;
        w->cork_len = 0;
    }
}

static bool queue_bytes(struct sink *s, const char *p, size_t n)
{
    if (!chunks_append(s->conn->worker, &s->first, &s->last, p, n, s->quota))
        return false;
    s->queued_bytes += (uint32_t)n;
    return true;
}

/* Queues what lies behind the first `skip` bytes of iov. */
static bool queue_rest(struct sink *s, const struct iovec *iov, int count, size_t skip)
{
    for (int i = 0; i < count; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        if (!queue_bytes(s, (const char *)iov[i].iov_base + skip, iov[i].iov_len - skip))
            return false;
        skip = 0;
    }
    return true;
}

char *sink_reserve(struct sink *s, size_t n)
{
    struct worker *w = s->conn->worker;
    ASSERT(n <= WORKER_CORK_BYTES);
    if (w->cork_owner && (w->cork_owner != s || w->cork_len + n > WORKER_CORK_BYTES))
        cork_flush(w);
    return w->cork + (w->cork_owner == s ? w->cork_len : 0);
}

void sink_commit(struct sink *s, size_t n)
{
    struct worker *w = s->conn->worker;
    if (w->cork_owner != s) {
        ASSERT(!w->cork_owner);
        w->cork_owner = s;
        w->cork_len = 0;
    }
    w->cork_len += (uint32_t)n;
}

static bool write_all(struct sink *s, const struct iovec *iov, int count);

/* The usual write: a head that waits in the cork and at most one short piece behind it, all of which the
 * kernel takes. What else there may be is for write_all. */
bool sink_write(struct sink *s, const struct iovec *iov, int count)
{
    struct worker *w = s->conn->worker;
    size_t more = count ? iov->iov_len : 0, len = w->cork_len + more;
    if (w->cork_owner != s || count > 1 || more > SINK_JOIN_BYTES || len > WORKER_CORK_BYTES ||
        s->queued_bytes || !s->conn->may_write)
        return write_all(s, iov, count);
    if (more)
        memcpy(w->cork + w->cork_len, iov->iov_base, more);
    struct iovec one = {w->cork, len};
    w->cork_owner = NULL;
    w->cork_len = 0;
    ssize_t put = conn_writev(s->conn, &one, 1);
    if (put == CONN_ERROR)
        return false;
    put = put == CONN_AGAIN ? 0 : put;
    s->sent_bytes += (uint64_t)put;
    return (size_t)put == len || queue_rest(s, &one, 1, (size_t)put);
}

static bool write_all(struct sink *s, const struct iovec *iov, int count)
{
    struct worker *w = s->conn->worker;
    struct iovec all[SINK_IOV_MAX];
    int n = 0;
    ASSERT(count < SINK_IOV_MAX);
    if (w->cork_owner == s) {
        uint32_t len = w->cork_len;
        while (count && iov->iov_len <= SINK_JOIN_BYTES && len + iov->iov_len <= WORKER_CORK_BYTES) {
            memcpy(w->cork + len, iov->iov_base, iov->iov_len);
            len += (uint32_t)iov->iov_len;
            iov++;
            count--;
        }
        all[n++] = (struct iovec){w->cork, len};
        w->cork_owner = NULL;
        w->cork_len = 0;
    }
    for (int i = 0; i < count; i++)
        if (iov[i].iov_len)
            all[n++] = iov[i];
    if (!n)
        return true;
    ssize_t put = 0;
    if (!s->queued_bytes && s->conn->may_write) {
        put = conn_writev(s->conn, all, n);
        if (put == CONN_ERROR)
            return false;
        if (put == CONN_AGAIN)
            put = 0;
    }
    s->sent_bytes += (uint64_t)put;
    if (n == 1 && (size_t)put == all->iov_len)
        return true;
    return queue_rest(s, all, n, (size_t)put);
}

bool sink_flush(struct sink *s)
{
    return !sink_is_corked(s) || sink_write(s, NULL, 0);
}

void cork_flush(struct worker *w)
{
    struct sink *s = w->cork_owner;
    if (s && !sink_flush(s)) {
        s->conn->broken = true;
        shutdown(s->conn->fd, SHUT_RDWR); /* an event for its owner, even when only memory was out */
    }
}

static void drop_sent(struct sink *s, size_t n)
{
    s->sent_bytes += n;
    s->queued_bytes -= (uint32_t)n;
    while (n) {
        struct chunk *c = s->first;
        size_t have = c->to - c->from, take = n < have ? n : have;
        c->from += (uint32_t)take;
        n -= take;
        if (c->from < c->to)
            return;
        s->first = c->next;
        if (!s->first)
            s->last = NULL;
        chunk_give(s->conn->worker, c);
    }
}

/* What is in the conduit, as far as it goes. */
static bool drain_conduit(struct sink *s)
{
    while (s->conduit_bytes && s->conn->may_write) {
        ssize_t put = conduit_empty(s->conduit, s->conn, s->conduit_bytes);
        if (put == CONN_ERROR || put == 0)
            return false;
        if (put == CONN_AGAIN)
            return true;
        s->sent_bytes += (uint64_t)put;
        s->conduit_bytes -= (uint32_t)put;
        s->queued_bytes -= (uint32_t)put;
    }
    if (!s->conduit_bytes)
        conduit_give(s->conn->worker->conduits, &s->conduit, true);
    return true;
}

bool sink_can_splice(const struct sink *s, const struct conn *from)
{
    const struct conduits *all = s->conn->worker->conduits;
    return all && (all->free || all->made < all->max) && !s->queued_bytes && s->conn->may_write &&
           s->conn->ops == &conn_plain && from->ops == &conn_plain;
}

ssize_t sink_splice(struct sink *s, struct conn *from, size_t most, bool *out_ok)
{
    struct conduits *all = s->conn->worker->conduits;
    *out_ok = sink_flush(s);
    if (!*out_ok || !sink_can_splice(s, from))
        return CONN_AGAIN;
    struct conduit *c = conduit_take(all);
    if (!c)
        return CONN_AGAIN;
    ssize_t got = conduit_fill(all, c, from, most);
    if (got <= 0) {
        conduit_give(all, &c, true);
        return got;
    }
    s->conduit = c;
    s->conduit_bytes = (uint32_t)got;
    s->queued_bytes += (uint32_t)got;
    *out_ok = drain_conduit(s);
    return got;
}

bool sink_drain(struct sink *s)
{
    if (s->conduit && !drain_conduit(s))
        return false;
    while (!s->conduit && s->first && s->conn->may_write) {
        struct iovec iov[SINK_IOV_MAX];
        int n = 0;
        for (struct chunk *c = s->first; c && n < SINK_IOV_MAX; c = c->next)
            iov[n++] = (struct iovec){c->data + c->from, c->to - c->from};
        ssize_t put = conn_writev(s->conn, iov, n);
        if (put == CONN_ERROR)
            return false;
        if (put == CONN_AGAIN)
            return true;
        drop_sent(s, (size_t)put);
    }
    return true;
}
