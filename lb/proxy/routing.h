/* routing: from a request to its cluster, and what the rules of its route do on the way.
 *
 *   routing_find ─► host, path, conditions ─► split ─► backup ─► x->cluster (or x->rules alone)
 *   routing_answer ─► redirect, fixed reply        routing_rewrite ─► path, header fields
 *
 * Plain routes cost one test each. Worker's thread only. */
#ifndef COX_PROXY_ROUTING_H
#define COX_PROXY_ROUTING_H

#include "proxy/exchange.h"

/* Sets x->view, x->rules and, unless the rules answer by themselves, x->cluster. */
enum reason routing_find(struct exchange *x) __attribute__((warn_unused_result));
/* Its route says `wake = false`: it starts no member and waits for none. */
bool routing_must_not_wake(const struct exchange *x);
/* The route is a redirect or a fixed reply: answers, and the exchange is over or ends by itself. False: it
 * goes on. Only with x->rules. */
bool routing_answer(struct exchange *x);
/* Path and header fields of the request. Only with x->rules. */
enum reason routing_rewrite(struct exchange *x) __attribute__((warn_unused_result));
/* x moves on to another view: its rules must outlive the one they came with. */
void routing_keep_rules(struct exchange *x);
/* At the end of every exchange with rules. */
void routing_drop_rules(struct exchange *x);

#endif
