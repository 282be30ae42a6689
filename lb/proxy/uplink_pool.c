#include <stdlib.h>

#include "proxy/back_h2.h"
#include "proxy/proxy.h"
#include "topo/cluster.h"

bool uplink_pool_init(struct uplink_pool *p, uint32_t max_slots)
{
    p->max_slots = max_slots;
    p->by_slot = calloc(max_slots, sizeof *p->by_slot);
    return p->by_slot != NULL;
}

void uplink_pool_fini(struct uplink_pool *p)
{
    for (uint32_t i = 0; i < p->max_slots && p->by_slot; i++)
        free(p->by_slot[i]);
    free(p->by_slot);
    p->by_slot = NULL;
}

static void close_all(struct uplink_pool *p, uint32_t slot)
{
    struct uplink_pool_entry *e = p->by_slot[slot];
    h2_pool_retire(CONTAINER_OF(p, struct pworker, pool), slot);
    if (!e)
        return;
    while (!list_is_empty(&e->idle))
        uplink_close(CONTAINER_OF(e->idle.next, struct uplink, node));
    free(e); /* so slots of endpoints that came and went cost nothing */
    p->by_slot[slot] = NULL;
}

/* Idle uplinks to where `after` has no endpoint any more. Either may be NULL: the cluster is not in that
 * topology. */
static void sweep_cluster(struct uplink_pool *p, const struct cluster *before, const struct cluster *after)
{
    for (uint32_t i = 0; before && i < before->endpoint_count; i++) {
        const struct endpoint *e = &before->endpoints[i];
        const struct endpoint *now = after ? cluster_endpoint(after, endpoint_id(e)) : NULL;
        if (!now || now->slot != e->slot)
            close_all(p, e->slot);
    }
    for (uint32_t i = 0; after && i < after->endpoint_count; i++) {
        const struct endpoint *e = &after->endpoints[i];
        const struct uplink_pool_entry *held = p->by_slot[e->slot];
        if (held && !addr_eq(&held->addr, e->addr))
            close_all(p, e->slot);
    }
}

void uplink_pool_sweep(struct pworker *pw, const struct topology *before, const struct topology *after)
{
    uint32_t b = 0, a = 0;
    while (b < before->cluster_count || a < after->cluster_count) {
        const struct cluster *old = b < before->cluster_count ? before->clusters[b] : NULL;
        const struct cluster *new = a < after->cluster_count ? after->clusters[a] : NULL;
        int order = !old ? 1 : !new ? -1 : old == new ? 0 : str_order(old->id, new->id);
        b += order <= 0;
        a += order >= 0;
        if (order || old != new)
            sweep_cluster(&pw->pool, order <= 0 ? old : NULL, order >= 0 ? new : NULL);
    }
}
