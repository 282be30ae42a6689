/* front_h2_priv: what the parts of the HTTP/2 front share. */
#ifndef COX_PROXY_FRONT_H2_PRIV_H
#define COX_PROXY_FRONT_H2_PRIV_H

#include "http/h2_server.h"
#include "proxy/berth.h"
#include "proxy/front_h2.h"
#include "proxy/proxy.h"

#define H2_STREAM_MAGIC 0x68327374u
/* Of a request that was answered early (H20). */
#define H2_DRAIN_BYTES (256u << 10)
#define H2_DRAIN_MS    1000
/* What an open request holds at least: its exchange, and about so much with the codec and in short queues. */
#define H2_STREAM_BYTES (EXCHANGE_SHORT_BYTES + 512u)
/* Room for so many fields at first, in a head and in trailers. */
#define H2_FIELDS_FIRST 24
/* DATA frames up to this size are handed on together. */
#define H2_SMALL_BYTES 1024

struct h2_session {
    struct h2_server *srv; /* owned */
    struct session *s;
    struct list streams;                 /* oldest first */
    struct stream *first_new, *last_new; /* whole heads, not begun; only within one read: front_h2_start */
    uint32_t stream_count;
    uint64_t emitted_bytes;
    uint32_t block;          /* the number of the unfinished field block; 0: none */
    uint64_t block_since_ms; /* an unfinished field block waits since then; 0: none */
    uint64_t notice_ms;      /* the first GOAWAY went then; 0: not */
    uint64_t write_progress; /* sink.sent_bytes when it last moved, and when that was */
    uint64_t write_seen_ms;
    struct quota memory;   /* of what the client has sent, blocks whole; its limit: for bodies */
    struct quota requests; /* of that, without bodies; its limit: for new ones */
    struct quota answers;  /* the same of answers that wait; its limit: what they may have in any case */
    struct direct
        *direct;   /* borrowed; a write straight from a server's bytes is going on: front_h2_direct.c */
    bool in_codec; /* it is reading or writing frames: nobody else may make it do so */
    bool choked;   /* nothing is read: it does not take what it asked for */
    bool crowded;  /* an answer was left with its server */
    bool closing;  /* GOAWAY is on its way out, nothing else is wanted */
    bool began;    /* the preface is being read or was */
};

struct stream {
    struct parked parked;
    uint32_t magic;
    struct h2_stream h2;
    struct h2_session *h;
    struct pworker *pw; /* of its session, which may go first */
    struct list node;
    struct exchange *x;        /* NULL: over, given up, or asleep */
    struct hold_place *asleep; /* where it sleeps (berth.h); NULL: it does not */
    size_t room;               /* of the frame that is being filled; 0: not its turn */
    struct stream *next_new;   /* see first_new */
    uint32_t asleep_bytes;     /* of the session's requests, while it sleeps */
    bool ended;                /* the answer is complete */
    bool connect;              /* extended CONNECT (RFC 8441) */
    bool no_body;              /* HEAD, 204, 304: what comes is dropped */
    uint64_t body_started_ms, body_seen_ms, body_bytes; /* of the request */
    uint64_t over_ms, drained_bytes; /* answered early: since then so much of the request was thrown away */
    uint64_t stall_ms,
        stall_bytes; /* when its window was looked at last, and what had been sent then; 0: never */
};

static inline struct stream *stream_of(const struct exchange *x)
{
    struct stream *t = x->front_state;
    CHECK_MAGIC(t, H2_STREAM_MAGIC);
    return t;
}

static inline struct stream *stream_of_codec(struct h2_stream *st)
{
    struct stream *t = CONTAINER_OF(st, struct stream, h2);
    CHECK_MAGIC(t, H2_STREAM_MAGIC);
    return t;
}

/* Its exchange, whole if it was asleep. */
static inline struct exchange *stream_exchange(struct stream *t)
{
    if (t->asleep)
        (void)!berth_leave(t->asleep);
    return t->x;
}

/* front_h2_read.c: the events of the codec. */
extern const struct h2_server_ops front_h2_events;
/* Sends what there is to send, in a later pass of the run queue. */
static inline void h2_wake(struct h2_session *h)
{
    run_queue_add(&h->s->pw->w, &h->s->run);
}
/* All of the request's bytes that came so far were passed on. */
void front_h2_consumed(struct stream *t);
/* Begins the requests of this read. They wait for its end, or for more of any request, so that what a client
 * asks for and takes back at once (T1) is asked of no server. */
void front_h2_start(struct h2_session *h);
/* Hands on what was gathered. */
void front_h2_gathered(struct front_h2_shared *shared);
/* What its exchange takes from now on counts, and what it has taken. */
static inline void front_h2_charge(struct stream *t)
{
    struct exchange *x = t->x;
    x->arena.quota = &t->h->requests;
    x->req_body.quota = &t->h->memory;
    x->req_body.spills_early = true;
    x->rsp_body.quota = &t->h->answers;
    quota_take(&t->h->requests, x->arena.used_bytes);
}
/* front_h2_direct.c: much that a server has just brought goes out from where it lies. How much of it went:
 * the rest waits as usual. */
size_t front_h2_direct(struct stream *t, const char *p, size_t n);
/* Within such a write: what the codec emits, how much there is of that stream's body, and its turn. */
void direct_emit(struct h2_session *h, const char *p, size_t n);
size_t direct_available(const struct stream *t);
void direct_pull(struct stream *t, size_t n);
/* front_h2.c: the client is gone or has to go; frees the session. */
void front_h2_lost(struct h2_session *h, enum reason why);

#endif
