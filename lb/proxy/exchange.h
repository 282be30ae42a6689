/* exchange: one request and its answer. THE state machine; knows no wire format.
 *
 *  client ─► session ─► front (h1 …) ─► exchange ─► back (h1 | fastcgi | files …) ─► uplink ─► endpoint
 *                                         │  ▲
 *        ROUTE ─► [GUARD] ─► [COLLECT] ─► PICK ─► ATTEMPT (connect, send, await) ─► RELAY ─► FINISH ─► DONE
 *                               │ ▲         │                    │
 *                               └HOLD       └─ RETRY (PICK again) └─► TUNNEL ─► DONE
 *                                    any failure before the answer's head went out: RETRY or local reply
 *
 * Front and back are two tables of functions; any front works with any back. The request body flows front →
 * exchange_request_data → (x->req_body) → back->data; the answer's back → exchange_response_data →
 * (x->rsp_body) → front->data. A side that is full is told so by 0 from `data`; it calls exchange_back_ready
 * / exchange_front_ready when it has room. A producer that found the pipe full is woken by want_request /
 * want_response.
 *
 * Born in the front when the first byte of a head arrives; owned by its session; belongs to the session's
 * worker for life; its memory (arena included) is parked at DONE and reclaimed when the loop turn ends, so
 * callers up the stack may still look at x->state. Counting: of its cluster it is in flight from ROUTE to
 * DONE, of an endpoint from PICK until the uplink delivered its last byte or was closed; exchange_count moves
 * it, nobody else.
 *
 * Nothing here re-enters: a front or back never calls back into the exchange from within `data`, `end` or
 * `flush`. */
#ifndef COX_PROXY_EXCHANGE_H
#define COX_PROXY_EXCHANGE_H

#include "base/arena.h"
#include "base/ledger.h"
#include "base/reason.h"
#include "http/message.h"
#include "proxy/pipe.h"
#include "topo/balance.h"
#include "topo/topology.h"

struct conn;
struct pworker;
struct session;
struct exchange;
struct view;
struct guard_pass;
struct mirror;
struct route_rules;

#define EXCHANGE_MAGIC       0x65786368u
#define EXCHANGE_BLOCK_BYTES 4096 /* the object and the first block of its arena */
#define EXCHANGE_SHORT_BYTES 3072 /* the same where many are open at a time: front_ops.first_fields */

enum exchange_state {
    EXCHANGE_HEAD,    /* the front still reads the request head */
    EXCHANGE_GUARD,   /* who is who: a password is being checked, an external server asked */
    EXCHANGE_COLLECT, /* request_buffer: the whole body comes first */
    EXCHANGE_HOLD,    /* nothing can serve it now */
    EXCHANGE_ATTEMPT, /* an endpoint is picked: connecting, sending, awaiting the answer's head */
    EXCHANGE_RELAY,   /* the answer's head went to the front */
    EXCHANGE_TUNNEL,  /* after 101: bytes both ways */
    EXCHANGE_FINISH,  /* the back is done, the client still reads */
    EXCHANGE_DONE
};

/* The codec toward the client. All functions run on the worker's thread. */
struct front_ops {
    const char *name;
    /* Its codec makes room for more fields itself: a head begins with room for so many, and the exchange is a
     * short one. 0: with room for all that the listener allows. */
    uint16_t first_fields;
    /* A 1xx answer, to be passed on at once. False: the client is gone. */
    bool (*interim)(struct exchange *x, struct message *m);
    /* The answer's head, rules applied; written, or corked until the first data. framing: how the back knows
     * the end; length with BODY_LENGTH. The front makes its own framing. False: the client is gone. */
    bool (*head)(struct exchange *x, struct message *m);
    /* Payload. Returns how much it took (it may queue the rest of one write; what it leaves goes to the
     * pipe), 0 when it is blocked, < 0 when the client is gone. The exchange may have ended by then. last: no
     * more payload and no trailers follow; `end` is still called. */
    ssize_t (*data)(struct exchange *x, const char *p, size_t n, bool last);
    /* Payload straight from a file, may be NULL. Returns bytes taken (0: blocked), < 0 gone. */
    ssize_t (*file)(struct exchange *x, int fd, off_t *offset, size_t n, bool last);
    /* Payload straight from the server's socket, may be NULL. What sink_splice says. */
    ssize_t (*splice)(struct exchange *x, struct conn *from, size_t most, bool *out_ok);
    /* The answer is complete; in a tunnel: the server sent FIN, pass it on. trailers may be NULL. False:
     * gone. */
    bool (*end)(struct exchange *x, struct message *trailers);
    /* Everything handed over has left, or been taken by the kernel. */
    bool (*is_flushed)(struct exchange *x);
    /* Has the client left, or sent FIN? Asked before its request is to wait for a server. NULL: never. */
    bool (*is_gone)(struct exchange *x);
    /* Is there memory for one more answer toward this client? NULL: always. After `false` the front calls
     * exchange_room_again when there is. */
    bool (*has_room)(struct exchange *x);
    /* Call exchange_front_ready again in a later turn: the budget of this one is used up. */
    void (*again)(struct exchange *x);
    /* There is room in the request pipe again: read on. */
    void (*want_request)(struct exchange *x);
    /* The answer was 101 and has been sent: bytes from now on are raw both ways. */
    void (*tunnel)(struct exchange *x);
    /* The exchange is over (x->reason); the front forgets x. cut: the answer is not complete, so the
     * connection (h1) or stream (h2) must not look as if it were. */
    void (*done)(struct exchange *x, bool cut);
};

/* The codec toward the server. x->back_state is the back's own (an uplink, a file). */
struct back_ops {
    const char *name;
    /* Begins an attempt on x->endpoint: takes or opens an uplink, writes (corks) the request head. Reports
     * what happens later by exchange_* calls; a failure at once by its return value: REASON_OK or why. */
    enum reason (*start)(struct exchange *x);
    /* Request payload. Returns n, or 0 when blocked or still connecting. Never fails: what a broken uplink
     * cannot take is dropped, because an early answer may still be there to read; its read side reports. */
    size_t (*data)(struct exchange *x, const char *p, size_t n, bool last);
    /* Request payload straight from the client's socket, may be NULL. Returns as sink_splice, or
     * CONN_BLOCKED: nothing is to be read until want_request. What a broken uplink cannot take is dropped
     * here, too. */
    ssize_t (*splice)(struct exchange *x, struct conn *from, size_t most);
    /* The request is complete; in a tunnel: the client sent FIN, pass it on. trailers may be NULL. Called
     * once an attempt, and not while `data` would return 0. */
    void (*end)(struct exchange *x, struct message *trailers);
    /* All that was handed over was taken by the kernel. Asked in tunnels only. */
    bool (*is_flushed)(struct exchange *x);
    /* There is room in the answer's pipe again: read on; and call exchange_back_ready, in a later turn. */
    void (*want_response)(struct exchange *x);
    /* Give up this attempt: closes or returns the uplink. x->back_state is NULL afterwards. Never reports. */
    void (*abort)(struct exchange *x);
};

/* Of a request in a waiting room (proxy/hold.h). */
struct hold_place {
    struct list node;      /* alone: it does not wait */
    uint64_t held_ns : 63; /* when it came there */
    uint64_t is_berth : 1; /* part of a berth (proxy/berth.h), not of an exchange */
};

struct exchange {
    union {
        struct parked parked;
        struct list fat; /* in pworker.to_berth; next NULL: never was */
    };
    uint32_t magic;
    uint8_t state;    /* enum exchange_state; exchange_set_state alone writes it */
    uint8_t counted;  /* enum ledger_count, LEDGER_COUNTS: not counted yet */
    uint8_t attempts; /* begun so far */
    bool endpoint_counted, tunnel_counted;
    bool place_taken;      /* one of max_in_flight of the endpoint */
    bool request_ended;    /* the front delivered the whole request */
    bool request_end_sent; /* and the back was told so */
    bool request_paused;   /* the front found the pipe full */
    bool response_ended;   /* the back delivered the whole answer */
    bool response_end_sent;
    bool response_paused;
    bool head_forwarded;    /* of the final answer */
    bool continue_sent;     /* a 100 went to the client, ours or the server's */
    bool fresh_uplink;      /* the next attempt must not use an idle uplink */
    bool buffered_response; /* x->rsp_body takes all at server speed */
    bool redirected;        /* X-Accel-Redirect was followed */
    bool is_tunnel;
    bool is_question; /* asked by ourselves about another exchange: not in the access log */
    bool is_mirror;   /* a copy for another cluster: counted apart, not held, not logged */
    bool in_wave;     /* has a place in the wave of its cluster (wave.h) */
    bool from_wave;   /* this attempt had one, and is not answered yet */
    bool share_taken; /* counted as held by its client */
    bool rules_kept;  /* `rules` is counted: the view that it came with may be gone */

    struct pworker *pw;      /* for life */
    struct session *session; /* borrowed; owner */
    void *front_state;       /* the front's own: a stream; borrowed */
    const struct front_ops *front;
    const struct back_ops *back;
    void *back_state; /* the back's; NULL between attempts */

    struct message req;                  /* in the arena from exchange_start on */
    struct view *view;                   /* counted: keeps cluster and endpoint alive */
    struct cluster *cluster;             /* borrowed from view */
    const struct cluster_options *opt;   /* = &cluster->options */
    const struct endpoint *endpoint;     /* of this attempt; borrowed from view */
    struct route_rules *rules;           /* of the route; borrowed from view, NULL: it has none */
    const struct route_targets *targets; /* likewise */
    struct mirror *mirror;               /* a copy that waits for the request to be complete, or NULL */
    struct str asked_path;               /* with rules: the path before it was rewritten; in the arena */
    uint16_t route_path_len;             /* with rules: of the route's own path */
    struct pipe req_body, rsp_body;
    struct balance_request balance; /* tried endpoints */
    struct deadline deadline;       /* hold */
    struct hold_place place;        /* in the cluster's hold of this worker */

    uint64_t start_ns, route_ns, pick_ns, connect_ns, first_byte_ns,
        server_done_ns;          /* monotonic, 0: not reached */
    uint64_t rx_bytes, tx_bytes; /* body bytes from and to the client */
    uint16_t status;             /* sent to the client, 0: none */
    uint16_t interim_count;
    uint8_t reason;               /* enum reason */
    uint8_t last_failure;         /* enum reason of the last attempt */
    struct str request_id;        /* in the arena, or empty */
    struct str client_ip;         /* text; in the arena; after trusted proxies */
    struct str own_fields;        /* what rewrite adds, as field lines; in the arena */
    struct str internal_path;     /* X-Accel-Redirect target, in the arena */
    struct message *req_trailers; /* in the arena, or NULL */
    struct message *rsp_trailers; /* likewise */
    uint64_t tunnel_seen_ms;      /* when the client last sent something */
    struct compress *compress;    /* the answer is compressed; owned, see compress.h */
    struct guard_pass *pass;      /* proxy/guard.h; in the arena; NULL: no guard is in its way */
    const char *route_guard;      /* name; borrowed from view; NULL: the route has none */

    struct arena arena; /* first block: the rest of this object's own */
};

/* NULL when memory is out. x->req is ready for a parser. */
struct exchange *exchange_create(struct pworker *pw, struct session *s, const struct front_ops *front);

/* ---- called by fronts ---- */

/* The head is complete in x->req with its text in the arena. Routes, picks and starts; may end the exchange
 * before it returns (look at x->state). has_body: payload or trailers will follow. */
void exchange_start(struct exchange *x);
/* Payload. Afterwards look at x->state, and ask exchange_can_take. */
void exchange_request_data(struct exchange *x, const char *p, size_t n);
/* The request is complete. */
void exchange_request_end(struct exchange *x, struct message *trailers);
bool exchange_can_take(struct exchange *x);
/* May payload go to x->back->splice now, past exchange_request_data? What it took is told afterwards. */
bool exchange_can_splice_request(const struct exchange *x);
void exchange_request_spliced(struct exchange *x, size_t n);
/* The client's fault or departure, before the answer is complete: ends the exchange (with a local reply when
 * one can be sent). */
void exchange_request_failed(struct exchange *x, enum reason why);
/* The front has room again, or has flushed. */
void exchange_front_ready(struct exchange *x);
/* What front->has_room denied is there again: the answer may be read. */
void exchange_room_again(struct exchange *x);

/* ---- called by backs ---- */

void exchange_connected(struct exchange *x);
/* The back has room for payload again. */
void exchange_back_ready(struct exchange *x);
/* A 1xx head. */
void exchange_interim(struct exchange *x, struct message *m);
/* The final head. m is borrowed for the call. False: the exchange ended or went elsewhere; the back must
 * stop. */
bool exchange_response(struct exchange *x, struct message *m) __attribute__((warn_unused_result));
void exchange_response_data(struct exchange *x, const char *p, size_t n, bool last);
void exchange_response_end(struct exchange *x, struct message *trailers);
/* May payload go to x->front->splice now, past exchange_response_data? What it took is told afterwards, and
 * whether the client is still there; then look whether the exchange still has its back. */
bool exchange_can_splice_response(const struct exchange *x);
void exchange_response_spliced(struct exchange *x, size_t n, bool ok);
/* May the back read on? When false it is woken by want_response. */
bool exchange_can_give(struct exchange *x);
/* The attempt failed. sent: some byte of the request was taken by the kernel. reused: on an idle uplink, and
 * not one byte came back. The back has let go of its uplink already (x->back_state NULL). Retries, replies,
 * or cuts. */
void exchange_attempt_failed(struct exchange *x, enum reason why, bool sent, bool reused);
/* The uplink delivered its last byte or was closed: the endpoint is no longer in flight. Idempotent. */
void exchange_endpoint_done(struct exchange *x);

/* ---- inside proxy/ ---- */

/* An answer of our own; ends the exchange. */
void exchange_reply(struct exchange *x, enum reason why);
/* A held exchange may try again. False: there is still nobody for it, and it stays where it is. */
bool exchange_retry_held(struct exchange *x) __attribute__((warn_unused_result));
void exchange_set_state(struct exchange *x, enum exchange_state state);
/* Are these n bytes of the answer's pipe the last, with no trailers behind them? */
bool exchange_is_last(const struct exchange *x, size_t n);
/* Switches to another back for the answer (X-Accel-Redirect): aborts the current one. */
void exchange_switch_back(struct exchange *x, const struct back_ops *back);

/* The client said that it sends no body before a 100, and has had none. */
static inline bool exchange_awaits_continue(const struct exchange *x)
{
    return (x->req.flags & MSG_EXPECT_CONTINUE) && !x->continue_sent && !x->rx_bytes && !x->request_ended;
}

/* Of back_ops.splice. */
#define CONN_BLOCKED (-3)

extern const struct back_ops back_h1, back_h2, back_fcgi, back_files;

#endif
