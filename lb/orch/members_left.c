/* What is left of an earlier config: members whose set, whose cluster or whose actuator is in it no more.
 *
 * A reload takes a cluster out of the topology while the proxy of before still answers requests of it. Its
 * endpoints are nowhere any more, but their slots of the ledger settle only once nothing is in flight there.
 * So a member that has lost endpoints waits until all that went with the config has settled, and for
 * drain_timeout at most. */
#include <string.h>

#include "base/panic.h"
#include "orch/members_part.h"
#include "topo/cluster.h"

/* A cluster that had scale may be there still, without it: its endpoints are the members'. */
struct member_set *left_create(struct members *ms, const char *id)
{
    struct member_set *set = set_create(ms, id, "", "");
    set->is_listed = true;
    if (ms->loaded && topology_cluster(ms->loaded, str_of(id)))
        set_add_port(set, "", str_of(id), NULL);
    return set;
}

static bool has_port(const struct member_set *set, struct str cluster)
{
    for (size_t i = 0; i < set->port_count; i++)
        if (str_eq(str_of(set->ports[i].cluster), cluster))
            return true;
    return false;
}

/* Index of the first cluster whose id does not come before this one. */
static uint32_t first_from(const struct topology *t, struct str id)
{
    uint32_t low = 0, high = t->cluster_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (str_order(t->clusters[middle]->id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Whether it had an endpoint in a cluster of its set, "set:port", which the set has no more. */
static bool has_lost_port(const struct members *ms, const struct member *m)
{
    struct buf prefix;
    bool has = false;
    buf_init(&prefix);
    buf_printf(&prefix, "%s:", m->set->id);
    const struct topology *t = ms->loaded;
    for (uint32_t i = t ? first_from(t, buf_str(&prefix)) : 0; t && !has && i < t->cluster_count; i++) {
        const struct cluster *c = t->clusters[i];
        if (!str_starts(c->id, buf_str(&prefix)))
            break;
        has = !has_port(m->set, c->id) && cluster_endpoint(c, str_of(m->id));
    }
    buf_fini(&prefix);
    return has;
}

void left_recall(struct members *ms, struct member *m)
{
    for (size_t i = 0; ms->loaded && i < m->set->port_count; i++) {
        const struct cluster *c = topology_cluster(ms->loaded, str_of(m->set->ports[i].cluster));
        const struct endpoint *e = c ? cluster_endpoint(c, str_of(m->id)) : NULL;
        if (e && !m->ports[i].addr.len)
            m->ports[i].addr = *e->addr;
    }
    /* A set that is in no config may have had clusters that the last topology has no more either. */
    m->is_severed = !m->set->cartridge || has_lost_port(ms, m);
}

bool left_in_flight(struct members *ms, const struct member *m)
{
    if (!m->is_severed || ms->is_settled || !ms->ops->is_settled)
        return false;
    ms->is_settled = ms->first_published && ms->ops->is_settled(ms->ctx, ms->first_published);
    return !ms->is_settled;
}
