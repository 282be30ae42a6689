/* guard: whether a request may pass, before it is routed to a server.
 *
 *   exchange_start ─► route ─► guard_enter ─┬─► exchange_admit ─► COLLECT, PICK …
 *                                           ├─► EXCHANGE_GUARD: waits for the hasher or an external server ─┐
 *                                           │       ▲                                                       │
 *                                           │       └── guard_resume, from a mail, a run node or a deadline
 * ◄┘ └─► a refusal (403, 429, 401, 503 …)
 *
 * At most three guards are passed, that of the listener, of the route and of the cluster, in this order: in
 * each maintenance, addresses and limits at once, and when all of these let it pass, who is who, one guard
 * after the other. A refused request is not in flight of its cluster and not among its arrivals: nothing is
 * scaled for it. It is counted in the cluster's `guard` cells, or as unrouted.
 *
 * struct guards is made with the proxy from its settings and read by all workers; what they write are the
 * words of the limits (base/limit.h), and only where a limit is configured. struct guard_pass is in the arena
 * of its exchange. Without guards in the config nothing of this runs. */
#ifndef COX_PROXY_GUARD_H
#define COX_PROXY_GUARD_H

#include "base/limit.h"
#include "http/h1_write.h"
#include "proxy/exchange.h"
#include "proxy/hasher.h"

#define GUARDS_A_REQUEST 3

struct guard {
    const struct guard_settings *set;
    uint64_t number; /* in the keys of limit tables */
    struct {
        _Alignas(64) _Atomic uint64_t full_at_ns; /* limit.rate */
        _Atomic uint64_t in_flight;
    } shared;
};

struct guards {
    struct guard *v; /* owned; sorted by name */
    size_t count;
    struct limit_table limits;
    struct hasher *hasher; /* owned; NULL: no guard has passwords */
};

/* What is limited, in the keys of limit tables. */
enum guard_salt { GUARD_SALT_RATE, GUARD_SALT_COUNT, GUARD_SALT_ATTEMPTS, GUARD_SALTS };

enum guard_phase { GUARD_BASIC, GUARD_EXTERNAL, GUARD_PHASES };

/* What one exchange has to do with its guards. */
struct guard_pass {
    struct exchange *x;
    struct guard *guards[GUARDS_A_REQUEST]; /* borrowed from struct guards */
    uint8_t count, at, phase;               /* guards that were asked who is who; enum guard_phase of `at` */
    uint8_t then;                           /* enum reason to answer with once it has passed */
    bool is_exempt;                         /* from limits per address */
    uint8_t ip[16];                         /* of the client */
    _Atomic uint64_t *client_counts[GUARDS_A_REQUEST]; /* to leave */
    bool counted[GUARDS_A_REQUEST];                    /* in guard.shared.in_flight */
    uint64_t retry_after_s;                            /* of the refusal; 0: none */
    uint16_t status;   /* of the refusal, in the place of its reason's; 0: that */
    struct str user;   /* for the access log; in the arena, or empty */
    struct str fields; /* field lines of the refusal; in the arena */
    const struct guard *refused_by;
    struct hash_job *job;        /* under way */
    bool was_checked, was_right; /* it came back */
    struct exchange *asking;     /* under way: the question to an external server */
    struct str yes_fields;       /* what it wants set in the request */
    bool is_answered;
    uint16_t answer_status;
    struct run_node resume;
};

/* NULL when memory or threads are out; *out_guards is NULL when the config has none. */
bool guards_create(const struct settings *s, struct guards **out_guards) __attribute__((warn_unused_result));
/* After all workers have ended: stops the hasher, whose last jobs come back by mail. */
void guards_stop(struct guards *g);
void guards_destroy(struct guards **g);

/* Control thread: does this topology name a guard that the config of this generation does not have? */
bool guards_know(const struct guards *g, const struct topology *t);

/* ---- called by the exchange ---- */

/* then: how routing ended; REASON_OK, or what it is to be answered with if it may pass. True: it passes, go
 * on. False: it was answered, or waits in EXCHANGE_GUARD, and exchange_admit will be called for it. */
bool guard_enter(struct exchange *x, enum reason then) __attribute__((warn_unused_result));
/* The exchange is over, whatever state it was in. Only with x->pass. */
void guard_leave(struct exchange *x);
/* The own page for a status, or NULL. Any exchange, at any state. */
const struct page_settings *guard_page(const struct exchange *x, uint16_t status);

/* ---- between the parts of the guard ---- */

enum guard_step { GUARD_NEXT, GUARD_WAIT, GUARD_DONE }; /* DONE: it was answered */

enum guard_step guard_basic(struct exchange *x, struct guard *g);
void guard_basic_leave(struct guard_pass *pass);
enum guard_step guard_external(struct exchange *x, struct guard *g);
void guard_external_leave(struct guard_pass *pass);
/* Goes on after WAIT. Ends with the cork empty. */
void guard_resume(struct exchange *x);
/* Counts, and answers. */
void guard_refuse(struct exchange *x, const struct guard *g, enum reason why);
/* A token of `rate` for this client at this guard; false: refused already (with `why`). */
bool guard_take(struct exchange *x, struct guard *g, const struct limit_rate *rate, enum guard_salt salt,
                enum reason why, bool dry_run) __attribute__((warn_unused_result));
/* Alike for servers that read '_' as '-' (H37). */
bool guard_same_name(struct str a, struct str b);
/* Drops from the trailers of a request what external servers alone may say. */
void guard_drop_claims(const struct guard_pass *pass, struct message *trailers);
/* Marks all fields with this name as dropped; '_' counts as '-', as servers of the CGI kind read it. */
void guard_drop_fields(struct message *m, struct str name);

#endif
