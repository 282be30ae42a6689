/* wakes: tells the orchestrator of clusters that cannot serve what comes (run/wake.h).
 *
 *   ARMED ──first request that must wait: a worker claims it──► CLAIMED ──mail──► control thread: sent
 *     ▲                                                                               │
 *     └── acknowledged ◄── SENT ◄─────────────────────────────────────────────────────┘
 *
 * One cell a cluster slot and kind, shared by the workers of a generation; whoever claims one writes it and
 * mails it to the control thread, so nothing is allocated and nothing can be lost on the way. Without an
 * orchestrator a cell is armed again at once, and a new one is told of every cluster that holds requests. */
#ifndef COX_PROXY_WAKES_H
#define COX_PROXY_WAKES_H

#include <stdatomic.h>

#include "http/trace.h"
#include "run/mailbox.h"
#include "run/wake.h"
#include "topo/topology.h"

#define WAKE_FORGOTTEN_MS 1000 /* an acknowledgement that takes longer never comes */

struct proxy;
struct exchange;

struct wake_cell {
    struct mail mail;
    struct proxy *proxy;
    _Atomic uint32_t state;   /* ARMED, CLAIMED, SENT */
    _Atomic uint64_t told_ms; /* when it was last claimed; 0: never */
    /* Whoever claimed it. */
    uint64_t route_ns;
    uint8_t cluster_len, request_len;
    char cluster[TOPOLOGY_ID_MAX], request[REQUEST_ID_BYTES_MAX];
};

/* Any worker: x found nothing in this cluster, which need not be its own. Gives x an id if it has none. */
void wakes_tell(struct exchange *x, const struct cluster *c, enum wake_kind kind);

/* Control thread: what the orchestrator says of our message. */
void wakes_on_ack(struct proxy *p, struct str payload);
/* Control thread: there is a new orchestrator, which knows of nothing yet. */
void wakes_tell_all(struct proxy *p);

#endif
