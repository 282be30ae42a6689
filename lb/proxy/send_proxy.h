/* send_proxy: the PROXY header that our connections to servers begin with (cluster option send_proxy).
 *
 * It speaks of a client connection, not of a request, so an uplink that has sent one (uplink.introduced) is
 * that session's for life: while idle it is in session.own_uplinks as well as in the pool, only requests of
 * that session take it, and it closes with the session. */
#ifndef COX_PROXY_SEND_PROXY_H
#define COX_PROXY_SEND_PROXY_H

#include "proxy/uplink.h"

/* On the connected socket of a fresh uplink, before TLS and anything that its sink holds. False when the
 * kernel did not take it. */
bool send_proxy_begin(struct uplink *u) __attribute__((warn_unused_result));

#endif
