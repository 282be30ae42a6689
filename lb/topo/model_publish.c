#include <stdlib.h>

#include "base/clock.h"
#include "base/ledger.h"
#include "base/log.h"
#include "base/panic.h"
#include "topo/cluster.h"
#include "topo/model_part.h"
#include "topo/route.h"

/* ---- publishing: rebuilds what is dirty, shares the rest ---- */

/* Slow start counts from here. Where nobody asked for one no time is kept, so that equal topologies have
 * equal bytes. */
static void note_since(const struct model_cluster *c, struct endpoint_draft *e)
{
    if (!c->options.slow_start_ms || endpoint_service_of(e) != SERVICE_ON)
        e->since_ns = 0;
    else if (!e->since_ns)
        e->since_ns = clock_wall_ns();
}

static void build_cluster(struct model_cluster *c)
{
    struct endpoint_draft *endpoints = must(malloc((c->endpoints.count + 1u) * sizeof(*endpoints)));
    struct model_endpoint *e;
    uint32_t n = 0;
    for (uint32_t at = 0; (e = index_next(&c->endpoints, &at));) {
        note_since(c, &e->e);
        endpoints[n++] = e->e;
    }
    cluster_unref(&c->built);
    c->built = cluster_build(c->id, c->object.owner->name, c->slot, &c->options, endpoints, n);
    free(endpoints);
}

static int by_id(const void *a, const void *b)
{
    return str_order((*(struct cluster *const *)a)->id, (*(struct cluster *const *)b)->id);
}

/* The pointers of the next snapshot, sorted, a reference each. While no cluster came or went the order is the
 * last one's, and only changed clusters have to be found in it. */
static struct cluster **next_clusters(struct model *m, uint32_t *out_count)
{
    struct cluster **all = must(malloc((m->clusters.count + 1u) * sizeof(struct cluster *)));
    struct list *node;
    uint32_t n = 0;
    if (!m->order_changed)
        for (; n < m->current->cluster_count; n++)
            all[n] = m->current->clusters[n];
    while ((node = list_shift(&m->dirty))) {
        struct model_cluster *c = CONTAINER_OF(node, struct model_cluster, dirty_node);
        build_cluster(c);
        if (!m->order_changed)
            all[topology_find(m->current, c->id)] = c->built;
    }
    if (m->order_changed) {
        struct model_cluster *c;
        for (uint32_t at = 0; (c = index_next(&m->clusters, &at));)
            all[n++] = c->built;
        qsort(all, n, sizeof(struct cluster *), by_id);
    }
    for (uint32_t i = 0; i < n; i++)
        cluster_ref(all[i]);
    *out_count = n;
    return all;
}

static struct route_table *next_routes(struct model *m, struct cluster *const *clusters, uint32_t count)
{
    if (!m->routes_changed && m->current &&
        (!m->order_changed ||
         topology_same_ids(m->current->clusters, m->current->cluster_count, clusters, count))) {
        route_table_ref(m->current->routes);
        return m->current->routes;
    }
    struct route *routes = must(malloc((m->routes.count + 1u) * sizeof(*routes)));
    struct model_route *r;
    uint32_t n = 0;
    for (uint32_t at = 0; (r = index_next(&m->routes, &at));)
        routes[n++] = (struct route){.host = r->host,
                                     .path = r->path,
                                     .label = r->label,
                                     .owner = r->object.owner->name,
                                     .cluster_id = r->cluster,
                                     .rules = r->rules};
    struct route_table *table = route_table_build(routes, n, clusters, count);
    free(routes);
    return table;
}

/* Those of the last table that are still there, in its order: sorting 100,000 anew costs many times more than
 * the few that came. */
static uint32_t keep_order(struct model *m, struct member_info *out)
{
    const struct member_table *last = m->current ? m->current->member_table : NULL;
    uint32_t n = 0;
    for (uint32_t i = 0; last && i < last->count; i++) {
        struct model_member *member = index_get(&m->members, last->v[i].id);
        if (!member)
            continue;
        member->listed = m->number + 1;
        out[n++] = member->info;
    }
    return n;
}

static int by_member_id(const void *a, const void *b)
{
    return str_order((*(struct model_member *const *)a)->info.id,
                     (*(struct model_member *const *)b)->info.id);
}

/* And those that came, sorted, from the back. */
static void merge_new(struct model *m, struct member_info *out, uint32_t kept)
{
    const uint32_t count = m->members.count - kept;
    struct model_member **fresh = must(malloc((count + 1u) * sizeof(*fresh))), *member;
    uint32_t n = 0;
    for (uint32_t at = 0; n < count && (member = index_next(&m->members, &at));)
        if (member->listed != m->number + 1)
            fresh[n++] = member;
    ASSERT(n == count);
    qsort(fresh, n, sizeof(*fresh), by_member_id);
    for (uint32_t to = kept + count; n > 0;) {
        const bool is_old = kept > 0 && str_order(out[kept - 1].id, fresh[n - 1]->info.id) > 0;
        out[--to] = is_old ? out[--kept] : fresh[--n]->info;
    }
    free(fresh);
}

static struct member_table *next_members(struct model *m)
{
    if (!m->members_changed && m->current) {
        member_table_ref(m->current->member_table);
        return m->current->member_table;
    }
    struct member_info *members = must(malloc((m->members.count + 1u) * sizeof(*members)));
    const uint32_t kept = keep_order(m, members);
    merge_new(m, members, kept);
    struct member_table *table = member_table_build(members, m->members.count);
    free(members);
    return table;
}

struct topology *model_publish(struct model *m)
{
    uint32_t count;
    if (!m->is_changed)
        return NULL;
    struct cluster **clusters = next_clusters(m, &count);
    struct route_table *routes = next_routes(m, clusters, count);
    struct member_table *members = next_members(m); /* which looks at the number */
    struct topology *t = topology_make(m->epoch, ++m->number, clusters, count, routes, members);
    t->cluster_slots = m->cluster_slots.next;
    t->endpoint_slots = m->endpoint_slots.next;
    m->is_changed = m->order_changed = m->routes_changed = m->members_changed = false;
    topology_unref(&m->current);
    m->current = t;
    topology_ref(t);
    return t;
}

struct topology *model_current(struct model *m)
{
    return m->current;
}

void model_settled(struct model *m, uint64_t number,
                   bool (*is_quiet)(void *ctx, bool is_cluster, uint32_t slot), void *ctx)
{
    slots_settle(&m->cluster_slots, number, true, is_quiet, ctx);
    slots_settle(&m->endpoint_slots, number, false, is_quiet, ctx);
}

bool model_is_settled(const struct model *m, uint64_t number)
{
    return m->endpoint_slots.freed_count == 0 || m->endpoint_slots.oldest > number;
}

/* ---- loading ---- */

/* Marks a slot as taken. A slot beyond this ledger, or one that two claim, cannot be kept: the object gets a
 * new one. */
static uint32_t keep_slot(bool *used, uint32_t given, uint32_t slot)
{
    if (slot >= given || used[slot])
        return LEDGER_NO_SLOT;
    used[slot] = true;
    return slot;
}

struct loading {
    struct model *m;
    bool *cluster_used, *endpoint_used; /* owned; by slot */
    uint32_t cluster_given, endpoint_given;
};

static void load_cluster(struct loading *l, struct cluster *from)
{
    struct model *m = l->m;
    uint32_t slot = keep_slot(l->cluster_used, l->cluster_given, from->slot);
    bool is_kept = slot != LEDGER_NO_SLOT;
    struct model_cluster *c =
        model_add_cluster(m, model_owner(m, from->owner), from->id, slot, &from->options);
    if (!c) {
        log_error("max_clusters is too low for cluster %.*s", STR_ARG(from->id));
        return;
    }
    for (uint32_t i = 0; i < from->endpoint_count; i++) {
        const struct endpoint_draft e = endpoint_draft_of(&from->endpoints[i]);
        slot = keep_slot(l->endpoint_used, l->endpoint_given, e.slot);
        is_kept &= slot != LEDGER_NO_SLOT;
        if (!model_add_endpoint(m, model_owner(m, e.owner), c, slot, &e))
            log_error("max_endpoints is too low for endpoint %.*s", STR_ARG(e.id));
    }
    if (is_kept) { /* equal in every field: share the built one */
        list_remove(&c->dirty_node);
        cluster_ref(from);
        c->built = from;
    }
}

static uint32_t lower_of(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void model_load(struct model *m, const struct topology *from)
{
    struct loading l = {.m = m};
    uint32_t route_count;
    const struct route *routes = route_table_all(from->routes, &route_count);
    ASSERT(!m->clusters.count && !m->routes.count && !m->current);
    m->number = from->number;
    l.cluster_given = m->cluster_slots.next = lower_of(from->cluster_slots, m->cluster_slots.max);
    l.endpoint_given = m->endpoint_slots.next = lower_of(from->endpoint_slots, m->endpoint_slots.max);
    l.cluster_used = must(calloc(l.cluster_given + 1u, sizeof(bool)));
    l.endpoint_used = must(calloc(l.endpoint_given + 1u, sizeof(bool)));
    for (uint32_t i = 0; i < from->cluster_count; i++)
        load_cluster(&l, from->clusters[i]);
    for (uint32_t i = 0; i < route_count; i++)
        model_add_route(m, model_owner(m, routes[i].owner), &routes[i]);
    for (uint32_t i = 0; i < from->member_count; i++)
        model_put_member(m, &from->members[i]);
    slots_restore(&m->cluster_slots, l.cluster_used, l.cluster_given, from->number);
    slots_restore(&m->endpoint_slots, l.endpoint_used, l.endpoint_given, from->number);
    free(l.cluster_used);
    free(l.endpoint_used);
}

static void keep_owner(struct model *m, struct str owner, bool (*is_kept)(void *ctx, const char *owner),
                       void *ctx)
{
    char *name = must(str_dup(owner));
    if (owner.n && !is_kept(ctx, name)) {
        model_view_begin(m, owner);
        model_view_end(m, owner);
    }
    free(name);
}

void model_keep_owners(struct model *m, const struct topology *from,
                       bool (*is_kept)(void *ctx, const char *owner), void *ctx)
{
    for (uint32_t i = 0; i < from->cluster_count; i++) {
        const struct cluster *c = from->clusters[i];
        keep_owner(m, c->owner, is_kept, ctx);
        for (uint32_t k = 0; k < c->endpoint_count; k++)
            keep_owner(m, endpoint_text(&c->endpoints[k], TEXT_OWNER), is_kept, ctx);
    }
    uint32_t count;
    const struct route *routes = route_table_all(from->routes, &count);
    for (uint32_t i = 0; i < count; i++)
        keep_owner(m, routes[i].owner, is_kept, ctx);
}
