#include "topo/topology.h"

#include <stdlib.h>

#include "base/ledger.h"
#include "base/panic.h"
#include "topo/cluster.h"
#include "topo/route.h"
#include "topo/snapshot.h"

/* ---- members ---- */

static const size_t member_offsets[MEMBER_TEXTS] = {
    offsetof(struct member_info, id),        offsetof(struct member_info, set),
    offsetof(struct member_info, cartridge), offsetof(struct member_info, address),
    offsetof(struct member_info, partition), offsetof(struct member_info, reason),
};

struct str *member_text(struct member_info *m, unsigned n)
{
    ASSERT(n < MEMBER_TEXTS);
    return (struct str *)(void *)((char *)m + member_offsets[n]);
}

static int by_member_id(const void *a, const void *b)
{
    return str_order(((const struct member_info *)a)->id, ((const struct member_info *)b)->id);
}

static bool is_sorted(const struct member_table *t)
{
    for (uint32_t i = 1; i < t->count; i++)
        if (by_member_id(&t->v[i - 1], &t->v[i]) > 0)
            return false;
    return true;
}

struct member_table *member_table_build(const struct member_info *members, uint32_t count)
{
    size_t bytes = sizeof(struct member_table) + count * sizeof(*members);
    for (uint32_t i = 0; i < count; i++)
        for (unsigned n = 0; n < MEMBER_TEXTS; n++)
            bytes += member_text_of(&members[i], n).n;
    struct member_table *t = must(malloc(bytes));
    atomic_init(&t->refs, 1);
    t->count = count;
    if (count)
        memcpy(t->v, members, count * sizeof(*members));
    char *at = (char *)&t->v[count];
    for (uint32_t i = 0; i < count; i++)
        for (unsigned n = 0; n < MEMBER_TEXTS; n++)
            text_move(member_text(&t->v[i], n), &at);
    if (!is_sorted(t))
        qsort(t->v, count, sizeof(t->v[0]), by_member_id);
    return t;
}

void member_table_ref(struct member_table *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
}

void member_table_unref(struct member_table **tp)
{
    struct member_table *t = *tp;
    *tp = NULL;
    if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
        free(t);
}

/* ---- the snapshot ---- */

struct topology *topology_make(uint64_t epoch, uint64_t number, struct cluster **clusters,
                               uint32_t cluster_count, struct route_table *routes,
                               struct member_table *members)
{
    struct topology *t = must(calloc(1, sizeof(*t)));
    atomic_init(&t->refs, 1);
    t->epoch = epoch;
    t->number = number;
    t->clusters = clusters;
    t->cluster_count = cluster_count;
    t->routes = routes;
    t->members = members->v;
    t->member_count = members->count;
    t->member_table = members;
    for (uint32_t i = 0; i < cluster_count; i++) {
        const struct cluster *c = clusters[i];
        if (c->slot != LEDGER_NO_SLOT && c->slot >= t->cluster_slots)
            t->cluster_slots = c->slot + 1;
        if (c->endpoint_slots > t->endpoint_slots)
            t->endpoint_slots = c->endpoint_slots;
    }
    return t;
}

void topology_ref(struct topology *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
}

void topology_unref(struct topology **tp)
{
    struct topology *t = *tp;
    *tp = NULL;
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < t->cluster_count; i++)
        cluster_unref(&t->clusters[i]);
    free(t->clusters);
    route_table_unref(&t->routes);
    member_table_unref(&t->member_table);
    free(t);
}

ptrdiff_t topology_find(const struct topology *t, struct str id)
{
    uint32_t low = 0, high = t->cluster_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = str_order(t->clusters[middle]->id, id);
        if (!order)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

const struct cluster *topology_cluster(const struct topology *t, struct str id)
{
    ptrdiff_t at = topology_find(t, id);
    return at < 0 ? NULL : t->clusters[at];
}

bool topology_same_ids(struct cluster *const *a, uint32_t a_count, struct cluster *const *b, uint32_t b_count)
{
    if (a_count != b_count)
        return false;
    for (uint32_t i = 0; i < a_count; i++)
        if (a[i] != b[i] && !str_eq(a[i]->id, b[i]->id))
            return false;
    return true;
}

struct cluster *topology_route(const struct topology *t, struct str host, struct str path,
                               bool *out_known_route)
{
    const struct route *r = route_table_find(t->routes, host, path, NULL);
    *out_known_route = r != NULL;
    return r && r->cluster_index < t->cluster_count ? t->clusters[r->cluster_index] : NULL;
}
