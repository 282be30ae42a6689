/* back_h2: many exchanges on few connections to a server that speaks HTTP/2.
 *
 *   exchange ◄─► link_stream ─┐
 *   exchange ◄─► link_stream ─┼─► h2_link (conn, sink, h2_client) ─► endpoint
 *   exchange ◄─► link_stream ─┘      in the h2_entry of its endpoint's slot ─► h2_pool of the worker
 *
 * A link takes streams up to what its server allows (SETTINGS_MAX_CONCURRENT_STREAMS) and the cluster's own
 * limit; when all are full another is opened. It takes no more once the server said GOAWAY, once it carried
 * max_uplink_requests, once we reset too many of its streams (servers end connections for that), or while the
 * worker drains; it closes when its last stream has ended.
 *
 * Events of a link come from h2_client within link_step, which reads, lets the streams act, and writes: once
 * a turn for all that happened in it. Nothing else reads or writes; the other functions put the link on the
 * run queue. A link is closed only from outside of h2_client's calls.
 *
 * A stream belongs to its exchange and to its link, and goes when both have let go of it: the exchange by the
 * end of the answer or by abort, the link when h2_client says that it is closed. Of an answer at most a
 * stream window is queued here, of a request H2_QUEUE_BYTES and one write. All on the worker's thread. */
#ifndef COX_PROXY_BACK_H2_H
#define COX_PROXY_BACK_H2_H

#include "http/h2_client.h"
#include "net/sink.h"
#include "net/tls.h"
#include "proxy/exchange.h"

#define H2_LINK_MAGIC     0x68326c6bu
#define LINK_STREAM_MAGIC 0x68327374u
#define H2_QUEUE_BYTES    65536u /* of a request's body in one stream; then `data` says that it is blocked */

struct h2_entry;

struct h2_link {
    struct parked parked;
    uint32_t magic;
    bool connecting;
    bool retired; /* takes no more streams */
    bool closing; /* GOAWAY sent, waits for the server's FIN */
    bool idle;    /* no stream; counted in entry->idle_count */
    bool pinged;  /* and nothing came since */
    bool eof;
    bool greeted; /* SETTINGS came */
    struct conn conn;
    struct sink sink;
    struct deadline deadline;
    struct run_node run;
    struct list node; /* in entry->links */
    struct list all;  /* in h2_pool.all */
    struct list streams, woken;
    struct pworker *pw;
    struct h2_entry *entry;
    struct h2_client *h2;      /* owned; NULL: closed */
    struct tls_client *secure; /* counted; NULL: in clear */
    struct addr addr;
    uint32_t slot, stream_count, request_count, reset_count;
    uint32_t known_max; /* streams, as its server said */
    uint32_t own_max;   /* streams, by the cluster's options */
    uint64_t opened_ns, read_ms, idle_at_ms;
    /* as of the options of the exchange that opened it */
    uint64_t idle_timeout_ms, ping_interval_ms, ping_timeout_ms;
    uint32_t max_idle, max_resets, max_requests;
};

struct link_stream {
    struct parked parked;
    uint32_t magic;
    struct h2_client_stream h2;
    struct h2_link *link; /* NULL: it has let go */
    struct exchange *x;   /* NULL: it has let go */
    struct list node;     /* in link->streams */
    struct list woken;    /* in link->woken */
    struct deadline deadline;
    struct pworker *pw;
    uint32_t slot;
    bool reused;    /* its link had been open before */
    bool got_bytes; /* of this answer */
    bool blocked;   /* `data` said so */
    bool waiting;   /* not submitted: a tunnel that must know the server's SETTINGS first */
    bool extended;  /* it is an extended CONNECT */
    bool surplus;   /* more than its server takes, as it turned out: to be moved */
    bool closed;
    uint8_t how;                /* enum h2_closed */
    size_t owed_bytes;          /* of the answer, not yet passed on: the server may not send as much again */
    struct chunk *first, *last; /* owned; h2.out_bytes of the request's body */
    uint64_t tx_bytes, rx_bytes;
    uint64_t moved_ms; /* see patience.h */
};

/* Links to one endpoint. */
struct h2_entry {
    struct list links;
    uint32_t idle_count;
    uint32_t max_streams; /* what its server said last; UINT32_MAX: nothing yet */
    struct addr addr;
};

struct h2_pool {
    struct pool links, streams;
    struct h2_mem *mem; /* owned; of their codecs */
    struct list all;
    struct h2_entry **by_slot; /* owned; NULL until used */
    uint32_t max_slots;
};

/* NULL when memory is out. */
struct h2_pool *h2_pool_create(uint32_t max_slots) __attribute__((warn_unused_result));
/* Frees some of what lies idle in there; once a second. */
void h2_pool_trim(struct h2_pool *p);
/* All links are closed by now. */
void h2_pool_destroy(struct h2_pool **p);
/* The endpoint that had this slot is gone: links to it take no more streams, and close when idle. */
void h2_pool_retire(struct pworker *pw, uint32_t slot);
/* The worker drains: closes what is idle. */
void h2_pool_drain(struct pworker *pw);

/* ---- back_h2_link.c ---- */

/* A link to x->endpoint that can take one more stream, or a new one, connecting. NULL: *out_why says why. */
struct h2_link *h2_link_for(struct exchange *x, enum reason *out_why);
/* Its streams or its client want something: in a later pass of the run queue. */
void h2_link_run(struct h2_link *l);
/* Closes; all exchanges on it are told. Not from within a call of h2_client. */
void h2_link_fail(struct h2_link *l, enum reason why);
/* GOAWAY, then it closes; there must be no streams. */
void h2_link_leave(struct h2_link *l);

/* ---- back_h2.c: called by the link ---- */

extern const struct h2_client_ops link_stream_ops;
void link_stream_connected(struct link_stream *s);
/* Something that it waited for came about, or it is closed. */
void link_stream_wake(struct link_stream *s);
/* Its link is no more. */
void link_stream_fail(struct link_stream *s, enum reason why);
/* To be woken in this turn or the next. */
void link_stream_want_turn(struct link_stream *s);

#endif
