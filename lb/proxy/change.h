/* change: what the rules of a route change in a request or an answer: the path, and header fields with
 * variables in their values.
 *
 * Texts go into the arena of the exchange, the message is pointed at a copy of its head that ends with them;
 * so every front and back sees a message like any other. Worker's thread only. */
#ifndef COX_PROXY_CHANGE_H
#define COX_PROXY_CHANGE_H

#include "proxy/exchange.h"
#include "topo/route_rules.h"

/* The text in the arena; STR_NULL when that is out. Variables that are not known are empty. */
struct str change_fill(struct exchange *x, const struct template *t);
/* Of x->req (then our own field lines too) or of an answer. A field whose value comes out empty is not set.
 * False when memory is out. */
bool change_fields(struct exchange *x, struct message *m, const struct field_changes *c)
    __attribute__((warn_unused_result));
/* The answer at hand, by the route of x if it has rules; also those that we make ourselves. */
bool change_answer(struct exchange *x, struct message *m) __attribute__((warn_unused_result));
/* Of a server's answer, by a route with rewrite_prefix: Location, Content-Location and the Path and Domain of
 * cookies, as the server sees them, are put as the client sees them. False when memory is out. */
bool change_back(struct exchange *x, struct message *m) __attribute__((warn_unused_result));
/* Puts rewrite_prefix in the place of the route's path (x->route_path_len bytes). */
bool change_path(struct exchange *x) __attribute__((warn_unused_result));

#endif
