/* affinity: what a request says about where it wants to go: the key of consistent_hash, and the sticky
 * cookie.
 *
 * Reads the request's head, which lives as long as the exchange. Worker's thread only. */
#ifndef COX_PROXY_AFFINITY_H
#define COX_PROXY_AFFINITY_H

#include "proxy/exchange.h"

/* Fills in x->balance.hash and x->balance.preferred for x->cluster. Clusters that want neither cost two
 * tests. */
void affinity_read(struct exchange *x);
/* Of what `kind` (enum hash_key) names in the request; by chance when it is not there. */
uint64_t affinity_hash(struct exchange *x, uint8_t kind, struct str name, uint64_t seed);
/* The first cookie of this name in the request, or STR_NULL. */
struct str affinity_cookie(const struct message *req, struct str name);

/* The value of a Set-Cookie for the answer at hand, when the client has to be told another endpoint than it
 * named: its length, or 0. */
#define AFFINITY_COOKIE_BYTES 256
size_t affinity_set_cookie(const struct exchange *x, char to[AFFINITY_COOKIE_BYTES]);

#endif
