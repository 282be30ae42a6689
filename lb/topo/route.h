/* route: host and path to a cluster, built once and then only looked up.
 *
 *   host ──hash──► host entry ──► its paths, longest first (few), or hashed by prefix (many)
 *   "*.x" entries stand in the same table under ".x"; "*" stands apart
 *
 * Immutable and counted; snapshots share it as long as neither routes nor the set of clusters change. A
 * look-up reads, never allocates, and costs the same whether there are ten routes or ten thousand. Hosts
 * above 255 bytes match "*" alone. */
#ifndef COX_TOPO_ROUTE_H
#define COX_TOPO_ROUTE_H

#include "topo/topology.h"

/* Copies the routes (any order; of two with the same host, path and label the first stays), lower-cases their
 * hosts, and finds each one's place in `clusters`, which are sorted by id. Takes references of their rules.
 * One reference. */
struct route_table *route_table_build(const struct route *routes, uint32_t count,
                                      struct cluster *const *clusters, uint32_t cluster_count)
    __attribute__((warn_unused_result));
void route_table_ref(struct route_table *t);
/* Any thread; the last one frees. *t becomes NULL. */
void route_table_unref(struct route_table **t);
/* Says whether the request at hand fulfils the conditions of these rules; asked only of rules that have some.
 */
struct route_asker {
    bool (*fits)(void *ctx, const struct route_rules *rules);
    void *ctx;
};
/* The rules stand with topology_route; NULL when no route matches. Of the routes of a host and path the first
 * whose conditions are fulfilled (route_rules_order); when none is, the next shorter path. asker NULL:
 * conditions are never fulfilled. */
const struct route *route_table_find(const struct route_table *t, struct str host, struct str path,
                                     const struct route_asker *asker);
/* All routes, sorted by host, path and the order they are tried in; borrowed. */
const struct route *route_table_all(const struct route_table *t, uint32_t *out_count);
/* Whether a route may be put: "*", "*.x" or a host without wildcard; a path that begins with '/'; lengths. */
bool route_is_valid(struct str host, struct str path);
/* The same in every respect that travels. */
bool route_same(const struct route *a, const struct route *b);

#endif
