/* match: whether a request fulfils the conditions of a route.
 *
 * Looked at only where a host and path have a route with conditions. Fields that are dropped (forged, or
 * nominated by Connection) are not there. Never allocates. */
#ifndef COX_PROXY_MATCH_H
#define COX_PROXY_MATCH_H

#include "http/message.h"
#include "topo/route_rules.h"

/* The path of m is normalised. */
bool match_request(const struct message *m, const struct route_rules *rules);

#endif
