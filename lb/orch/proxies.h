/* proxies: the living proxy generations, as the orchestrator sees them: a channel and a ledger segment each.
 *
 * A new one is given the whole topology, then differences; one that asks, or whose backlog was cut, the whole
 * again. What they acknowledge tells when slots may be used again and when a drained member is really alone.
 * The last topology goes to the master as a sealed memfd, the first at once, later ones at most once a
 * second, made by another thread (seal.h). Owned by the orchestrator, on its thread. The ledger is mapped
 * read-only. */
#ifndef COX_ORCH_PROXIES_H
#define COX_ORCH_PROXIES_H

#include "base/ledger.h"
#include "run/channel.h"
#include "run/loop.h"
#include "run/wake.h"
#include "topo/topology.h"

#define PROXIES_MAX 64

struct proxies;

struct proxies_ops {
    /* Its proxy is answered when this returns: from then on it tells of the next. */
    void (*woken)(void *ctx, const struct wake *w);
    /* Somebody acknowledged, came or went; or the master was given a topology. */
    void (*moved)(void *ctx);
};

struct proxies *proxies_create(struct loop *loop, struct channel *master, const struct proxies_ops *ops,
                               void *ctx);
void proxies_destroy(struct proxies **p);
/* The folder (borrowed) for a copy of what the master is given; NULL or "": none. */
void proxies_keep_in(struct proxies *p, const char *dir);
/* CHANNEL_PROXY_UP and CHANNEL_PROXY_GONE. False: malformed. */
bool proxies_on_up(struct proxies *p, struct channel_message *m) __attribute__((warn_unused_result));
bool proxies_on_gone(struct proxies *p, const struct channel_message *m) __attribute__((warn_unused_result));
/* To all of them, and to the master when its second is over. */
void proxies_publish(struct proxies *p, struct topology *t);
/* The master gets what it was not given yet: before leaving. */
void proxies_flush(struct proxies *p);
/* The highest number that every living generation has acknowledged; UINT64_MAX when there is none. */
uint64_t proxies_acknowledged(const struct proxies *p);
/* The number of the topology that the master has, and a next orchestrator begins with. */
uint64_t proxies_sealed(const struct proxies *p);
/* Sums over all of them. False when a segment cannot be read: assume the worst. */
bool proxies_endpoint(const struct proxies *p, uint32_t slot, struct ledger_endpoint_sum *sum);
bool proxies_cluster(const struct proxies *p, uint32_t slot, struct ledger_cluster_sum *sum);
/* What the newest proxy says of its certificates (CHANNEL_CERTIFICATES); borrowed until it says so again. */
struct str proxies_certificates(const struct proxies *p);
int proxies_count(const struct proxies *p);
/* One after the other; ledger (borrowed until it goes) is NULL when it cannot be read; acknowledged 0: not
 * yet. */
typedef void proxies_fn(void *ctx, uint64_t generation, uint64_t acknowledged, const struct ledger *ledger);
void proxies_each(const struct proxies *p, proxies_fn *fn, void *ctx);

#endif
