/* stage: a worker without a thread, sockets or real time, on which exchanges run between a fake client and fake servers.
 *
 *   client (struct client) ─ fake front_ops ─► exchange.c, hold.c, pipe.c, reply.c (the real ones) ─► fake back_h1 ─► attempt
 *
 * The fakes check the contract of exchange.h as they go: one head, nothing after the end, bytes as they were sent,
 * abort on what is open and only once. stage_end checks that everything went back: counts zero, pools empty.
 * Names: client_x and server_x do what a client or server would; each ends as a turn of the loop ends. */
#ifndef SIM_STAGE_H
#define SIM_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proxy/hold.h"
#include "proxy/proxy.h"
#include "topo/model.h"

#define ATTEMPTS_MAX 512
#define CLIENTS_MAX  512
#define FOR_EVER     (-1)

struct stage;

/* What a server sees of one attempt. */
struct attempt {
    uint32_t magic;
    struct stage *st;
    struct exchange *x; /* NULL once the attempt is over */
    struct str endpoint; /* id; borrowed from the view, so look at it while the exchange lives */
    uint32_t slot;
    bool fresh;        /* x->fresh_uplink when it began */
    bool connected, blocked;
    int writes_left;   /* until it blocks; FOR_EVER */
    uint64_t got_bytes;
    int ends, aborts;
    bool has_trailers;
    bool stopped;      /* it was told not to go on … */
    bool wants;        /* … and want_response was called since */
    bool turn;         /* want_response: exchange_back_ready in the next turn */
    uint64_t sent_bytes; /* of the answer's body */
};

struct client {
    struct session session; /* what the exchange looks at */
    struct stage *st;
    struct exchange *x;     /* NULL once it is done */
    bool tunnelled;
    /* how it behaves */
    bool gone;              /* every write to it fails */
    bool blocked;
    int writes_left;        /* until it blocks; FOR_EVER */
    /* what it saw */
    int heads, ends, dones, interims;
    uint16_t status, last_interim;
    bool cut, has_trailers, local; /* local: the answer was made by the proxy */
    uint8_t reason;         /* of the exchange */
    bool stopped;           /* it was told not to go on … */
    bool wants;             /* … and want_request was called since */
    int again;              /* front_ops.again: exchange_front_ready in the next turn */
    uint64_t longest_go;    /* most bytes of an answer in one go */
    uint64_t got_bytes, sent_bytes;
};

struct stage {
    struct pworker pw; /* first: aligned */
    struct proxy proxy;
    struct settings *settings;
    uint8_t client_ip[16];
    struct model *model;
    struct attempt attempts[ATTEMPTS_MAX];
    int attempt_count;
    struct client clients[CLIENTS_MAX];
    int client_count;
    enum reason refuse[8]; /* what the next starts return at once; REASON_OK: they begin */
    int refuse_count;
    uint64_t memory_peak;  /* of any pipe, without what is kept for a replay */
};

/* Takes the reference; the worker serves from it now. */
void stage_serve(struct stage *st, struct topology *t);

/* listener and cluster are further settings of the one listener and of cluster "c"; endpoints is how many it has. */
struct stage *stage_make(const char *listener, const char *cluster, int endpoints);
/* Checks that everything came back, and frees the stage. */
void stage_end(struct stage *st);
/* The end of a turn: those who asked for it are called once more, parked objects go. */
void stage_turn(struct stage *st);
void stage_advance(struct stage *st, uint64_t ms);
/* Adds one more endpoint to the cluster and publishes, as the control thread would. */
void stage_add_endpoint(struct stage *st, const char *address);
struct ledger_cluster_sum stage_counts(struct stage *st);
/* The pattern that every body has: the byte at this offset. */
char stage_byte(uint64_t at);

/* Requests come from this address from now on; at first from 127.0.0.1. */
void stage_set_client(struct stage *st, const char *ip);
/* A request; head is its request line and further fields, lines ended by \r\n. */
struct client *client_send(struct stage *st, const char *head);
/* As many of n bytes of body as may be sent; returns how many. */
size_t client_body(struct client *c, size_t n);
void client_end(struct client *c, bool trailers);
void client_leave(struct client *c);
void client_unblock(struct client *c, int writes);

/* The attempt of this client's request that is open, or NULL. */
struct attempt *attempt_of(struct client *c);
/* Must and may it go on? A party that was stopped says nothing more, not even its end, before it is woken. */
static inline bool client_may_go_on(const struct client *c)
{
    return !c->stopped || c->wants;
}
static inline bool server_may_go_on(const struct attempt *a)
{
    return !a->stopped || a->wants;
}
void server_connect(struct attempt *a);
void server_interim(struct attempt *a, uint16_t status);
/* An answer's head; fields are lines as in client_send, or "". */
void server_head(struct attempt *a, uint16_t status, const char *fields);
/* As many of n bytes of body as the exchange takes; returns how many. */
size_t server_body(struct attempt *a, size_t n);
/* The answer is complete and the uplink free. */
void server_end(struct attempt *a, bool trailers);
/* In a tunnel: FIN, the uplink stays. */
void server_half_close(struct attempt *a);
void server_fail(struct attempt *a, enum reason why, bool sent, bool reused);
void server_unblock(struct attempt *a, int writes);
/* Connected, 200 with n bytes, done. */
void server_answer(struct attempt *a, size_t n);

#endif
