#include <stdlib.h>

#include "proxy/proxy.h"

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

static const struct endpoint *find_endpoint(const struct topology *t, uint32_t slot, const struct addr *addr)
{
    for (uint32_t c = 0; c < t->cluster_count; c++)
        for (uint32_t e = 0; e < t->clusters[c]->endpoint_count; e++) {
            const struct endpoint *ep = &t->clusters[c]->endpoints[e];
            if (ep->slot == slot)
                return addr_eq(&ep->addr, addr) ? ep : NULL;
        }
    return NULL;
}

static void close_all(struct uplink_pool_entry *e)
{
    while (!list_is_empty(&e->idle))
        uplink_close(CONTAINER_OF(e->idle.next, struct uplink, node));
}

/* The entries that hold nothing are dropped, so slots of endpoints that came and went cost nothing. */
void uplink_pool_sweep(struct pworker *pw)
{
    const struct topology *t = pw->view->topology;
    struct list *node = pw->uplinks.next;
    while (node != &pw->uplinks) {
        struct uplink *u = CONTAINER_OF(node, struct uplink, all);
        node = node->next;
        if (!u->idle || find_endpoint(t, u->slot, &u->addr))
            continue;
        struct uplink_pool_entry *e = pw->pool.by_slot[u->slot];
        /* The next node may be of the same endpoint: start over behind it. */
        close_all(e);
        free(e);
        pw->pool.by_slot[u->slot] = NULL;
        node = pw->uplinks.next;
    }
}
