/* resting: a client connection that has been idle for some seconds, kept in half the memory of a session.
 *
 *   session, idle ──resting_tick──► resting ──first byte, FIN, time-out or drain──► session again
 *
 * Only connections that nothing hangs on go to rest: plain HTTP/1, nothing buffered, nothing to be written,
 * no uplinks of their own. The socket stays as it is; what a session must know after its rest is kept
 * (struct session_kept). Those of HTTP/2 and with TLS stay sessions, in pworker.calm_sessions, but what the
 * libraries hold for them goes (front_h2_rest, tls_rest). A resting connection counts as a session everywhere. Owned by its worker, touched by
 * its thread only. */
#ifndef COX_PROXY_RESTING_H
#define COX_PROXY_RESTING_H

#include <stdbool.h>

struct pworker;

void resting_init(struct pworker *pw);
/* Once a second: puts a bounded number of those to rest that have been idle long enough. */
void resting_tick(struct pworker *pw);
/* Closes the one that has rested longest, to make room. False: there is none, or its next request is here. */
bool resting_evict(struct pworker *pw);
/* All are sessions again, idle ones, for a drain. Those there is no memory for are closed. */
void resting_wake_all(struct pworker *pw);

#endif
