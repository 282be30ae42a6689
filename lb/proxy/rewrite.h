/* rewrite: what the proxy changes in a request before it goes to a server; the same for every back.
 *
 * Hop-by-hop and forged fields go; X-Forwarded-*, Forwarded, Via, X-Request-Id and traceparent come. Done
 * once an exchange, before the first attempt: the new field lines are kept in the arena, so that a retry
 * sends the same. */
#ifndef COX_PROXY_REWRITE_H
#define COX_PROXY_REWRITE_H

#include "http/h1_write.h"
#include "proxy/exchange.h"

/* REASON_OK, or what is wrong with the request. */
enum reason rewrite_request(struct exchange *x) __attribute__((warn_unused_result));
/* Our own fields one by one, for backs that need pairs. */
void rewrite_each(struct exchange *x, void (*put)(void *ctx, struct str name, struct str value), void *ctx);
/* "http" or "https". */
struct str rewrite_scheme(const struct exchange *x);
/* Port of the listener that this session came to; 0 for unix sockets. */
uint16_t rewrite_local_port(const struct exchange *x);

#endif
