/* Reading of both forms: a whole topology is a difference from nothing. */
#include <stdlib.h>

#include "base/panic.h"
#include "topo/cluster.h"
#include "topo/route.h"
#include "topo/snapshot.h"
#include "topo/topology_wire.h"
#include "topo/wire.h"

/* ---- writing ---- */

static void put_removed(const struct topology *from, const struct topology *to, struct buf *out)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < from->cluster_count; i++) {
        const struct cluster *c = from->clusters[i];
        int order = 1;
        while (k < to->cluster_count && (order = cluster_order(to->clusters[k], c)) < 0)
            k++;
        if (k == to->cluster_count || order > 0)
            wire_put_text(out, WIRE_REMOVED, c->id);
    }
}

/* Snapshots share what did not change, so identity is enough to tell; what was rebuilt goes whole. */
static void put_changed(const struct topology *from, const struct topology *to, struct buf *out)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < to->cluster_count; i++) {
        const struct cluster *c = to->clusters[i];
        while (k < from->cluster_count && cluster_order(from->clusters[k], c) < 0)
            k++;
        if (k == from->cluster_count || from->clusters[k] != c)
            wire_put_cluster(out, c);
    }
}

/* Routes are made anew when clusters come and go, though they say the same: compare what travels. */
static bool same_routes(const struct route_table *a, const struct route_table *b)
{
    uint32_t a_count, b_count;
    const struct route *x = route_table_all(a, &a_count), *y = route_table_all(b, &b_count);
    if (a == b)
        return true;
    if (a_count != b_count)
        return false;
    for (uint32_t i = 0; i < a_count; i++)
        if (!route_same(&x[i], &y[i]))
            return false;
    return true;
}

void topology_diff_encode(const struct topology *from, const struct topology *to, struct buf *out)
{
    ASSERT(from->epoch == to->epoch);
    wire_put_head(out, &(struct wire_head){.kind = WIRE_DIFFERENCE,
                                           .epoch = to->epoch,
                                           .number = to->number,
                                           .base = from->number,
                                           .cluster_slots = to->cluster_slots,
                                           .endpoint_slots = to->endpoint_slots});
    put_changed(from, to, out);
    put_removed(from, to, out);
    if (!same_routes(from->routes, to->routes))
        wire_put_routes(out, to->routes);
    if (from->member_table != to->member_table)
        wire_put_members(out, to);
}

/* ---- applying ---- */

static bool is_removed(const struct parsed *p, uint32_t *at, struct str id)
{
    while (*at < p->removed_count && str_order(p->removed[*at], id) < 0)
        ++*at;
    return *at < p->removed_count && str_eq(p->removed[*at], id);
}

/* The first of the clusters [from, count) whose id is not below this one. */
static uint32_t lower_bound(struct cluster *const *clusters, uint32_t from, uint32_t count, struct str id)
{
    while (from < count) {
        uint32_t middle = from + (count - from) / 2;
        if (str_order(clusters[middle]->id, id) < 0)
            from = middle + 1;
        else
            count = middle;
    }
    return from;
}

/* Both sides are sorted. The few of a difference are looked for, and what stands before each goes on as it
 * is. Every cluster in the result holds a reference of its own. */
static struct cluster **merge(const struct topology *base, const struct parsed *p, uint32_t *out_count)
{
    uint32_t base_count = base ? base->cluster_count : 0, i = 0, n = 0, removed = 0;
    struct cluster **all = must(calloc((size_t)base_count + p->cluster_count + 1, sizeof(*all)));
    for (uint32_t k = 0; k <= p->cluster_count; k++) {
        struct cluster *fresh = k < p->cluster_count ? p->clusters[k] : NULL;
        uint32_t end =
            fresh ? lower_bound(base ? base->clusters : NULL, i, base_count, fresh->id) : base_count;
        for (; i < end; i++)
            if (!is_removed(p, &removed, base->clusters[i]->id))
                all[n++] = base->clusters[i];
        if (!fresh)
            break;
        i += i < base_count && str_eq(base->clusters[i]->id, fresh->id);
        all[n++] = fresh;
    }
    for (uint32_t m = 0; m < n; m++)
        cluster_ref(all[m]);
    *out_count = n;
    return all;
}

static struct route_table *next_routes(const struct topology *base, const struct parsed *p,
                                       struct cluster *const *clusters, uint32_t count)
{
    uint32_t route_count = p->route_count;
    const struct route *routes = p->routes;
    if (!p->has_routes && base) {
        if (topology_same_ids(base->clusters, base->cluster_count, clusters, count)) {
            route_table_ref(base->routes);
            return base->routes;
        }
        routes = route_table_all(base->routes, &route_count);
    }
    return route_table_build(routes, route_count, clusters, count);
}

static struct member_table *next_members(const struct topology *base, const struct parsed *p)
{
    if (p->has_members || !base)
        return member_table_build(p->members, p->member_count);
    member_table_ref(base->member_table);
    return base->member_table;
}

static struct topology *put_together(const struct topology *base, const struct wire_head *h,
                                     const struct parsed *p)
{
    uint32_t count;
    struct cluster **clusters = merge(base, p, &count);
    struct route_table *routes = next_routes(base, p, clusters, count);
    struct topology *t = topology_make(h->epoch, h->number, clusters, count, routes, next_members(base, p));
    t->cluster_slots = h->cluster_slots > t->cluster_slots ? h->cluster_slots : t->cluster_slots;
    t->endpoint_slots = h->endpoint_slots > t->endpoint_slots ? h->endpoint_slots : t->endpoint_slots;
    return t;
}

static struct topology *complain(struct buf *error, const char *what)
{
    if (error)
        buf_put_str(error, str_of(what));
    return NULL;
}

static struct topology *read_message(const struct topology *base, const struct wire_head *h,
                                     struct str fields, struct buf *error)
{
    struct parsed p;
    struct topology *t = NULL;
    const char *wrong = parsed_read(&p, fields);
    if (wrong)
        complain(error, wrong);
    else
        t = put_together(base, h, &p);
    parsed_fini(&p);
    return t;
}

struct topology *topology_decode(struct str bytes, struct buf *error)
{
    struct wire_head h;
    struct str fields;
    if (!wire_head(bytes, &h, &fields))
        return complain(error, "no topology, or one of another version");
    if (h.kind != WIRE_WHOLE || h.base)
        return complain(error, "no whole topology");
    return read_message(NULL, &h, fields, error);
}

struct topology *topology_diff_apply(struct topology *base, struct str bytes, struct buf *error)
{
    struct wire_head h;
    struct str fields;
    if (!wire_head(bytes, &h, &fields) || h.kind != WIRE_DIFFERENCE)
        return complain(error, "no difference of topologies, or one of another version");
    if (h.epoch != base->epoch || h.base != base->number)
        return complain(error, "the difference starts from another topology");
    return read_message(base, &h, fields, error);
}
