/* mirror: a copy of a request for another cluster, whose answer nobody reads.
 *
 *   exchange ── head, then body as it comes ──► mirror { an exchange of its own, a front that throws away }
 *                                                 │ the request is complete: sent in the next pass of the run
 * queue └──► back ─► uplink ─► endpoint of the shadow cluster
 *
 * Nothing of it can delay or fail the request: it only copies bytes, and what it cannot copy (body above
 * max_body, max_in_flight copies under way, no memory, a request that was not completed) is skipped and
 * counted. A copy never waits, is tried once, and is cut when it takes longer than response_timeout and
 * body_timeout of its cluster together, or when its answer is larger than MIRROR_ANSWER_MAX.
 *
 * Born in mirror_begin; belongs to x->mirror until the request is complete, then to itself; of its worker for
 * life. Counted in cells of its own (ledger_cluster.mirrors …), but for the attempts of the endpoints, which
 * balancing goes by. */
#ifndef COX_PROXY_MIRROR_H
#define COX_PROXY_MIRROR_H

#include "proxy/exchange.h"

#define MIRROR_ANSWER_MAX (16u << 20)

void mirrors_init(struct pworker *pw);
/* After the request was routed and rewritten, when its rules ask for copies. May set x->mirror. */
void mirror_begin(struct exchange *x);
/* Only with x->mirror; may clear it. */
void mirror_data(struct exchange *x, const char *p, size_t n);
/* The request is complete: off it goes. */
void mirror_end(struct exchange *x);
/* The request was not completed. */
void mirror_drop(struct exchange *x);
/* Before the worker leaves: nobody waits for them. */
void mirrors_cut(struct pworker *pw);

#endif
