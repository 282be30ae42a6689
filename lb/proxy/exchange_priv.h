/* exchange_priv: what the parts of the exchange (exchange.c, exchange_body.c, exchange_end.c) share, and
 * nobody else. */
#ifndef COX_PROXY_EXCHANGE_PRIV_H
#define COX_PROXY_EXCHANGE_PRIV_H

#include "proxy/exchange.h"
#include "proxy/proxy.h"

/* Where exchanges of that front come from. */
static inline struct pool *exchange_pool_of(struct pworker *pw, const struct front_ops *front)
{
    return front->first_fields ? &pw->short_exchange_pool : &pw->exchange_pool;
}
/* It may pass: on to its cluster, or to the answer that routing ended with. */
void exchange_admit(struct exchange *x, enum reason why);
/* Starts an exchange of our own, complete in x->req, at a cluster of the current view: no routing, no guard.
 */
void exchange_start_in(struct exchange *x, struct cluster *c);
/* COLLECT is over: the whole request is in the pipe. */
void exchange_collected(struct exchange *x);
/* For berth.c: x is filled in as it was when it was held, without a body; it is counted already. */
void exchange_resume_held(struct exchange *x);
/* For berth.c: its memory goes when the turn ends; nothing is counted, logged or told, and view and rules are
 * not let go of. */
void exchange_vanish(struct exchange *x);
/* x is a copy (mirror.h) whose body is complete: to an endpoint of x->cluster, or nowhere. */
void exchange_start_mirror(struct exchange *x);
/* The back that its cluster's protocol asks for. */
const struct back_ops *exchange_back_of(const struct exchange *x);
void exchange_count_finishing(struct exchange *x);
void exchange_count_tunnel(struct exchange *x);
/* Payload as the client is to see it: to the front, or into the pipe. */
void exchange_pass_data(struct exchange *x, const char *p, size_t n, bool last);
/* Ends the exchange when both sides are through. */
void exchange_check_end(struct exchange *x);
/* DONE: counts, logs, lets go of everything, tells the front. cut: the answer is incomplete. */
void exchange_finish(struct exchange *x, bool cut);

#endif
