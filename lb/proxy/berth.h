/* berth: a request that is held, and its connection, in a quarter of their memory.
 *
 *   session ─ exchange ──at the end of the turn──► berth ──its turn, time-out, any event, drain──► session ─
 * exchange
 *
 * A waiting room may be meant for a hundred thousand. So beyond the first BERTH_FROM that a worker holds,
 * those that nothing hangs on give back their session and exchange: a whole request without a body, not tried
 * yet, nothing else read or to be written, no guard, no copy for another cluster. What they must know
 * afterwards is copied into one block that is as large as it has to be: head, fields, our own lines, origin.
 * The place in the room, the counts and the descriptor stay. Over TLS, behind a PROXY header and on a stream
 * of HTTP/2 the exchange goes alone, for there is more to its session or stream than can be told on a few
 * lines; these know where it sleeps. Whatever happens to it, it first becomes whole again, and then that
 * happens to what it was. Owned by the room, on its worker's thread. */
#ifndef COX_PROXY_BERTH_H
#define COX_PROXY_BERTH_H

#include "proxy/exchange.h"

#define BERTH_FROM 64

/* x came into its room: it is looked at when the turn is over. */
void berth_consider(struct exchange *x);
/* It leaves before that. Harmless. */
void berth_forget(struct exchange *x);
/* The end of the turn. */
void berth_all(struct pworker *pw);
/* What lies in this place is whole again, and stays there. NULL: memory is out; connection (or stream) and
 * place are gone and accounted for. */
struct exchange *berth_leave(struct hold_place *place) __attribute__((warn_unused_result));
/* Of whatever lies in this place. */
const struct cluster *berth_cluster(const struct hold_place *place);

#endif
