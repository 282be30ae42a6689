/* The short way of large answers: what was read from a server goes into frames where it lies, without a stop
 * in the stream's pipe or the cork. One write of the socket gets frame heads and pieces of the body in turn.
 *
 *   uplink ─► h2_data ─► front_h2_direct ─► h2_server_send ─► direct_pull, direct_emit ─► sink_write
 *
 * Never from within the codec, and only while the stream has nothing older waiting. What windows and the
 * order of streams do not let go is left to the pipe. */
#include "base/panic.h"
#include "proxy/front_h2_priv.h"

#define PIECES_MAX 7 /* what one sink_write takes beside the cork */
#define HEADS_MAX  128

struct direct {
    struct stream *t;
    const char *at, *end; /* what did not go out yet; borrowed from the uplink's read */
    const char *from;     /* where it began */
    struct iovec pieces[PIECES_MAX];
    char heads[HEADS_MAX]; /* of frames between pieces */
    uint32_t count, heads_len;
    bool failed;
};

/* What was gathered leaves, or is copied where the socket has no room. */
static void send_pieces(struct h2_session *h, struct direct *d)
{
    if (d->count && !d->failed)
        d->failed = !sink_write(&h->s->sink, d->pieces, (int)d->count);
    d->count = d->heads_len = 0;
}

static void add_piece(struct h2_session *h, struct direct *d, const char *p, size_t n)
{
    if (d->count == PIECES_MAX)
        send_pieces(h, d);
    d->pieces[d->count++] = (struct iovec){(void *)(uintptr_t)p, n};
}

/* Bytes of other streams, and long heads, are not where they are for long: they go through the cork, behind
 * what is gathered. */
void direct_emit(struct h2_session *h, const char *p, size_t n)
{
    struct direct *d = h->direct;
    if (p >= d->from && p < d->end) {
        add_piece(h, d, p, n);
        return;
    }
    if (d->count && (d->count == PIECES_MAX || n > HEADS_MAX - d->heads_len))
        send_pieces(h, d);
    if (!d->count) {
        memcpy(sink_reserve(&h->s->sink, n), p, n);
        sink_commit(&h->s->sink, n);
        return;
    }
    memcpy(d->heads + d->heads_len, p, n);
    add_piece(h, d, d->heads + d->heads_len, n);
    d->heads_len += (uint32_t)n;
}

size_t direct_available(const struct stream *t)
{
    const struct direct *d = t->h->direct;
    return d && d->t == t ? (size_t)(d->end - d->at) : 0;
}

void direct_pull(struct stream *t, size_t n)
{
    struct direct *d = t->h->direct;
    const char *p = d->at;
    ASSERT(n <= (size_t)(d->end - p));
    d->at += n;
    h2_server_put(t->h->srv, p, n);
}

size_t front_h2_direct(struct stream *t, const char *p, size_t n)
{
    struct h2_session *h = t->h;
    struct session *s = h->s;
    if (h->in_codec || h->closing || sink_is_blocked(&s->sink) || !s->conn.may_write || s->conn.broken)
        return 0;
    struct direct d = {.t = t, .at = p, .from = p, .end = p + n};
    h->direct = &d;
    h->in_codec = true;
    h2_server_resume(h->srv, &t->h2);
    d.failed = !h2_server_send(h->srv, n);
    send_pieces(h, &d);
    h->in_codec = false;
    h->direct = NULL;
    if (d.failed) { /* an event for the session, which is not to end in the middle of an exchange's call */
        s->conn.broken = true;
        shutdown(s->conn.fd, SHUT_RDWR);
    }
    return (size_t)(d.at - p);
}
