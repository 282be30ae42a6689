/* cluster: building and sharing the clusters of a topology.
 *
 * A built cluster is immutable and counted: snapshots share it, any thread may let go of it. All texts lie in
 * one block of its own, so that nothing of it depends on what it was built from. */
#ifndef COX_TOPO_CLUSTER_H
#define COX_TOPO_CLUSTER_H

#include "topo/topology.h"

/* Copies everything; one reference. `endpoints` may come in any order, their ids differ; `service` is
 * derived. */
struct cluster *cluster_build(struct str id, struct str owner, uint32_t slot,
                              const struct cluster_options *options, const struct endpoint_draft *endpoints,
                              uint32_t count) __attribute__((warn_unused_result));
void cluster_ref(struct cluster *c);
/* Any thread; the last one frees. *c becomes NULL. */
void cluster_unref(struct cluster **c);
/* By binary search; NULL when there is none. */
const struct endpoint *cluster_endpoint(const struct cluster *c, struct str id);
/* With all tiers that picks may come to; c itself when there is one. */
static inline const struct cluster *cluster_widest(const struct cluster *c)
{
    while (c->wider)
        c = c->wider;
    return c;
}
/* What the balancer may do with an endpoint. */
enum endpoint_service endpoint_service_of(const struct endpoint_draft *e);
/* What it was built from; texts are borrowed from its cluster. */
struct endpoint_draft endpoint_draft_of(const struct endpoint *e);

/* "source", "uri", "header:NAME", "cookie:NAME"; name is borrowed from text. */
bool hash_key_parse(struct str text, uint8_t *out_key, struct str *out_name)
    __attribute__((warn_unused_result));

/* The texts of a draft, for whoever copies, compares or reads all of them: n is an enum endpoint_text. */
struct str *draft_text(struct endpoint_draft *e, unsigned n);
static inline struct str draft_text_of(const struct endpoint_draft *e, unsigned n)
{
    return *draft_text((struct endpoint_draft *)(uintptr_t)e, n);
}

/* Bytewise; a prefix comes first. */
int str_order(struct str a, struct str b);
/* By id. Snapshots share what did not change: of two of them that stand side by side nearly all are the same
 * objects, whose texts nobody has to look at. */
static inline int cluster_order(const struct cluster *a, const struct cluster *b)
{
    return a == b ? 0 : str_order(a->id, b->id);
}

/* Copies *s to *at, moves *at behind it and points *s to the copy. The caller has made the room. */
void text_move(struct str *s, char **at);

#endif
