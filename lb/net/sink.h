/* sink: the way out of a conn. Joins a head and the first bytes of its body into one system call, and keeps
 * what the kernel did not take.
 *
 *   sink_reserve ─► a head is written into the worker's cork, nothing is sent yet
 *   sink_write   ─► cork + data in one writev; the rest, if any, is copied into a queue of chunks
 *   sink_flush   ─► the cork alone; must be called before the callback ends (worker has one cork)
 *
 * sink_splice moves bytes from another conn without looking at them; what the receiver does not take waits in
 * the kernel (net/conduit.h).
 *
 * A sink with something queued is blocked: its producer must stop; sink_drain, called when the conn may write
 * again, says when it is free. So a sink holds at most one write's rest. Embedded beside its conn, same
 * thread. */
#ifndef COX_NET_SINK_H
#define COX_NET_SINK_H

#include "net/conduit.h"
#include "net/conn.h"

struct sink {
    struct conn *conn;          /* borrowed */
    struct chunk *first, *last; /* owned */
    struct quota *quota;        /* borrowed; that queued chunks count in; may be NULL, and changed */
    uint64_t sent_bytes;        /* all that the kernel took */
    uint32_t queued_bytes;      /* in the chunks and in the conduit */
    uint32_t conduit_bytes;
    struct conduit *conduit; /* owned while bytes are in it: they go before the chunks; else NULL */
};

void sink_init(struct sink *s, struct conn *c);
/* Gives back everything queued. */
void sink_fini(struct sink *s);

/* Room for n bytes (at most WORKER_CORK_BYTES) in the cork; NULL never. sink_commit says how many were used.
 */
char *sink_reserve(struct sink *s, size_t n);
void sink_commit(struct sink *s, size_t n);
/* False when the connection is broken, or memory for the rest is out; the caller closes it. */
bool sink_write(struct sink *s, const struct iovec *iov, int count) __attribute__((warn_unused_result));
bool sink_flush(struct sink *s) __attribute__((warn_unused_result));
/* Could sink_splice do anything? Both are plain sockets, nothing waits in the queue, and there is a conduit.
 */
bool sink_can_splice(const struct sink *s, const struct conn *from);
/* Up to `most` bytes from another conn. Returns as conn_read: what was taken from there, and no more is known
 * of it than that (may_read stays when the transfer was short); CONN_AGAIN also when it could not be done,
 * and then from->may_read is still set: read and write instead. *out_ok false: taken, but the connection that
 * it was for is broken. */
ssize_t sink_splice(struct sink *s, struct conn *from, size_t most, bool *out_ok)
    __attribute__((warn_unused_result));
/* Sends whatever the worker's cork holds, whoever owns it: every callback that may have corked something ends
 * with this. A failure marks that conn broken and puts nothing else right: its owner learns of it by the
 * event that follows. */
void cork_flush(struct worker *w);
/* Sends what is queued. False as above; sink_is_blocked tells whether all went. */
bool sink_drain(struct sink *s) __attribute__((warn_unused_result));

static inline bool sink_is_blocked(const struct sink *s)
{
    return s->queued_bytes > 0;
}
static inline bool sink_is_corked(const struct sink *s)
{
    return s->conn->worker->cork_owner == s;
}
/* Nothing waits, neither in the cork nor in the queue. */
static inline bool sink_is_empty(const struct sink *s)
{
    return !s->queued_bytes && !sink_is_corked(s);
}

#endif
