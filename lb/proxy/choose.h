/* choose: from a cluster to the endpoint of the next attempt, and what that attempt teaches about the
 * endpoint.
 *
 *   policy (topo/balance) + sticky cookie ─► endpoint ─► its place under max_in_flight ─► ledger
 *   answer or failure ─► passive ejection (topo/gate), peak_ewma, retry budget
 *
 * Worker's thread only. An endpoint that was chosen is given back by choose_done, exactly once. */
#ifndef COX_PROXY_CHOOSE_H
#define COX_PROXY_CHOOSE_H

#include "proxy/exchange.h"

enum choice { CHOSEN, CHOICE_NONE, CHOICE_FULL };

/* The retry budget of one cluster in one worker: a bucket of hundredths of a retry. Kept from the worker's
 * own count of requests, so that a request which needs no retry costs nothing. */
struct retry_budget {
    uint64_t requests, at_ms; /* as of the last retry */
    uint64_t hundredths;
};

/* Sets x->endpoint and counts the attempt. Files need none and are always CHOSEN. */
enum choice choose_endpoint(struct exchange *x);
/* The attempt is over: out of the ledger, and its place goes to whoever waits for one. Idempotent. */
void choose_done(struct exchange *x);
/* An endpoint answered, be it only by the name of a file; an answer is complete; an attempt failed by the
 * server's or the network's fault. */
void choose_answered(struct exchange *x, uint16_t status);
void choose_completed(struct exchange *x);
void choose_failed(struct exchange *x);
/* Takes one retry from the budget. False: none is left. */
bool choose_may_retry(struct exchange *x);
/* Some endpoint of a cluster with max_in_flight has a free place. Walks all of them. */
bool choose_has_room(const struct pworker *pw, const struct cluster *c);

#endif
