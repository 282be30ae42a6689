/* hold: the bounded waiting room of a cluster that nothing can serve right now.
 *
 * One list per worker, oldest first; a held exchange waits at most hold_timeout, leaves when its client does, and is
 * tried again in order when a topology with an endpoint for it arrives. Worker's thread only. */
#ifndef COX_PROXY_HOLD_H
#define COX_PROXY_HOLD_H

#include "proxy/exchange.h"

/* False when the room is full. */
bool hold_add(struct exchange *x) __attribute__((warn_unused_result));
/* Harmless when it is not in. */
void hold_remove(struct exchange *x);
/* A new topology is current: those whose cluster can serve now go on. */
void hold_release(struct pworker *pw);

#endif
