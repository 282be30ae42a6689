/* uplink: one connection to an endpoint, for HTTP/1.x or FastCGI. Opened or taken from the pool by a back's
 * start, given back when its answer is complete and it may carry another, else closed.
 *
 * Owned by its exchange while it has one, by the pool while idle. An idle uplink that becomes readable or
 * gets a FIN is closed at once and never reused (H29). While it lives it is counted in the worker's ledger
 * row. */
#ifndef COX_PROXY_UPLINK_H
#define COX_PROXY_UPLINK_H

#include "http/fcgi_codec.h"
#include "http/h1_body.h"
#include "net/sink.h"
#include "proxy/exchange.h"

#define UPLINK_MAGIC 0x75706c6bu

struct uplink;

/* What a back does with its uplink. */
struct uplink_ops {
    void (*on_ready)(struct uplink *u);   /* connected, readable, writable; never while idle or connecting */
    void (*on_timeout)(struct uplink *u); /* the deadline passed; never while idle or connecting */
};

struct uplink {
    struct parked parked;
    uint32_t magic;
    bool connecting, idle;
    bool closing;      /* not to be kept: waits for the server's FIN */
    bool was_whole;    /* the request was all there when it began, with no trailers */
    bool head_due;     /* its head goes out once it is connected */
    bool broken_write; /* the request could not be sent; an answer may still come */
    bool reused;       /* this request goes over an uplink that carried others */
    bool got_bytes;    /* of this answer */
    bool request_done; /* the whole request was handed to the sink */
    bool may_keep;     /* by the answer's head */
    bool head_done;    /* the final answer's head was parsed */
    bool chunked_out;  /* request body goes chunked */
    bool last_sent;    /* and its last chunk went out */
    bool shut_pending; /* tunnel: FIN when the sink is empty */
    bool want_read;    /* stopped because the answer's pipe was full */
    bool introduced;   /* it began with a PROXY header: not shared between clients (send_proxy.h) */
    struct conn conn;
    struct sink sink;
    struct deadline deadline;
    struct run_node run;
    struct list node; /* in its pool entry while idle */
    struct list all;  /* in pworker.uplinks */
    struct list own;  /* in session.own_uplinks while idle and introduced */
    struct pworker *pw;
    const struct uplink_ops *ops;
    struct exchange *x; /* borrowed; NULL while idle */
    const void *secure; /* the tls_client that it was opened with; NULL: plain */
    uint32_t slot;      /* of the endpoint */
    struct addr addr;
    uint32_t request_count;
    uint64_t sent_before;    /* sink.sent_bytes when this request began */
    uint64_t received_bytes; /* of this answer, as read */
    uint64_t moved_ms;       /* see patience.h */
    char *in;                /* an unfinished head; owned, NULL when none */
    uint32_t in_len, in_cap;
    struct h1_body body; /* of the answer (h1) */
    struct fcgi_decoder fcgi;
    uint8_t fcgi_state; /* private to back_fcgi */
};

/* An uplink for x->endpoint: idle when there is one (and not x->fresh_uplink and reuse), else a new one,
 * connecting under opt->connect_timeout. Sets x->back_state. NULL when none can be opened (*out_why).
 * Connection failures later are reported to the exchange by the uplink itself. */
struct uplink *uplink_take(struct exchange *x, const struct uplink_ops *ops, bool reuse,
                           enum reason *out_why);
/* The answer is complete: back to the pool, or closed when it cannot be kept. Ends the endpoint's in-flight
 * count. */
void uplink_give(struct uplink *u, bool keep);
/* Closes; the exchange loses it (back_state NULL, endpoint no longer in flight). */
void uplink_close(struct uplink *u);
/* Closes and tells the exchange. */
void uplink_fail(struct uplink *u, enum reason why);
/* Its deadline has passed in the middle of the answer: waits on, or ends the exchange. */
void uplink_look_at_patience(struct uplink *u);
/* Some byte of this request was taken by the kernel. */
bool uplink_has_sent(const struct uplink *u);
/* Keeps n unconsumed bytes for the next read; false when memory or max is out. p may point into u->in. */
bool uplink_keep_input(struct uplink *u, const char *p, size_t n, size_t max)
    __attribute__((warn_unused_result));
/* Reads behind what was kept into the worker's scratch: *out_all is kept + new bytes. Returns conn_read's
 * result. */
ssize_t uplink_read(struct uplink *u, struct str *out_all);

/* The pool: idle uplinks by endpoint slot. */
struct uplink_pool_entry {
    struct list idle; /* most recently used last */
    uint32_t slot, count;
    struct addr addr;
};
struct uplink_pool {
    struct uplink_pool_entry **by_slot; /* owned; max_endpoints pointers, NULL until used */
    uint32_t max_slots;
};
bool uplink_pool_init(struct uplink_pool *p, uint32_t max_slots) __attribute__((warn_unused_result));
void uplink_pool_fini(struct uplink_pool *p);
/* Between two topologies: closes idle uplinks of endpoints that are gone or changed their address. Costs what
 * changed: clusters that both share are passed over. An uplink that is given back later, by an exchange of
 * the older topology, closes by its idle time-out; it is never taken for another address (uplink_take
 * compares). */
void uplink_pool_sweep(struct pworker *pw, const struct topology *before, const struct topology *after);
/* Server connections of this worker, whatever they speak. */
void uplink_count(struct pworker *pw, int delta);

#endif
