/* probe: asks every endpoint of the topology again and again whether it is healthy.
 *
 *   probes ──► clusters ──► probers: one an endpoint, with a timer, and a socket while it asks
 *
 * Follows the published topology (probes_follow). An endpoint whose member is starting is asked every 50 ms
 * until it answers, and while requests are held for it far more often (orch/eager.h); all others every `interval`. `rise` good answers in a row make it healthy, `fall` bad
 * ones unhealthy. A time-out does not count while the endpoint answers real traffic: php-fpm's ping waits
 * behind busy children. Where the cluster's servers speak TLS so do probes: a tcp probe ends with the
 * handshake. Verdicts go out through probe_ops when they change. Owned by the orchestrator, on its thread; at
 * most PROBES_AT_ONCE sockets. */
#ifndef COX_ORCH_PROBE_H
#define COX_ORCH_PROBE_H

#include "run/loop.h"
#include "topo/topology.h"

#define PROBES_AT_ONCE  256
#define PROBE_FAST_MS   50
#define PROBE_SPREAD_MS 200
#define PROBE_EAGER_MS  20 /* a connection that is not there by then is tried anew; longer each time */

struct probes;

struct probe_ops {
    /* The verdict changed, or is the first. `member` is empty when the endpoint has none. */
    void (*verdict)(void *ctx, struct str cluster, struct str endpoint, struct str member, bool is_up);
    /* A number that grows when the endpoint answers requests. */
    uint64_t (*traffic)(void *ctx, uint32_t slot);
    /* Requests are held in the cluster with this slot. NULL: never. */
    bool (*holds)(void *ctx, uint32_t slot);
};

struct probes *probes_create(struct loop *loop, const struct probe_ops *ops, void *ctx);
/* The files that TLS to servers needs (run/bundle.h), which have changed or are the first; the descriptor
 * stays the caller's. -1, or never: only what the system trusts. */
void probes_set_files(struct probes *p, int fd);
void probes_destroy(struct probes **p);
/* Requests are held in this cluster: its starting members are asked at once, and again and again. */
void probes_hurry(struct probes *p, struct str cluster);
/* Takes a reference of its own. Costs what changed since the last. */
void probes_follow(struct probes *p, struct topology *t);

#endif
