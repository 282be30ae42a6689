/* What is not put by an owner: whole views, the core's own fields, members, and the model's own life. */
#include <stdlib.h>

#include "base/panic.h"
#include "topo/cluster.h"
#include "topo/model_part.h"

struct model *model_create(uint64_t epoch, uint32_t max_clusters, uint32_t max_endpoints)
{
    struct model *m = must(calloc(1, sizeof(*m)));
    m->epoch = epoch;
    m->cluster_slots.max = max_clusters;
    m->endpoint_slots.max = max_endpoints;
    list_init(&m->dirty);
    m->is_changed = m->routes_changed = m->members_changed = m->order_changed =
        true; /* the first has everything */
    return m;
}

static void drop_all(struct model *m)
{
    void *object;
    for (uint32_t at = 0; (object = index_next(&m->clusters, &at)); at--) /* see index_next */
        model_drop_cluster(m, object);
    for (uint32_t at = 0; (object = index_next(&m->routes, &at)); at--)
        model_drop_route(m, object);
}

void model_destroy(struct model **mp)
{
    struct model *m = *mp;
    struct model_owner *o;
    struct model_member *member;
    *mp = NULL;
    if (!m)
        return;
    drop_all(m);
    for (uint32_t at = 0; (o = index_next(&m->owners, &at));) {
        free((char *)(uintptr_t)o->name.p);
        free(o);
    }
    for (uint32_t at = 0; (member = index_next(&m->members, &at));) {
        free(member->texts);
        free(member);
    }
    index_fini(&m->owners);
    index_fini(&m->clusters);
    index_fini(&m->routes);
    index_fini(&m->members);
    slots_fini(&m->cluster_slots);
    slots_fini(&m->endpoint_slots);
    topology_unref(&m->current);
    free(m);
}

/* ---- whole views ---- */

void model_view_begin(struct model *m, struct str owner)
{
    model_owner(m, owner)->view++;
}

/* The first object of the list that the last view did not name; objects of it that were named are kept. */
static struct model_object *first_stale(struct list *list, uint64_t view)
{
    for (struct list *at = list->next; at != list; at = at->next) {
        struct model_object *o = CONTAINER_OF(at, struct model_object, node);
        if (o->view != view)
            return o;
    }
    return NULL;
}

/* Collects them first: dropping a cluster takes endpoints out of this very list. */
static void take_stale(struct list *list, uint64_t view, struct list *out_stale)
{
    struct list kept;
    struct list *node;
    list_init(&kept);
    list_init(out_stale);
    while ((node = list_shift(list)))
        list_push(CONTAINER_OF(node, struct model_object, node)->view == view ? &kept : out_stale, node);
    list_splice(list, &kept);
}

void model_view_end(struct model *m, struct str owner)
{
    struct model_owner *o = model_owner(m, owner);
    struct list stale;
    struct model_object *object;
    take_stale(&o->routes, o->view, &stale);
    while ((object = first_stale(&stale, o->view)))
        model_drop_route(m, (struct model_route *)object);
    take_stale(&o->endpoints, o->view, &stale);
    while ((object = first_stale(&stale, o->view)))
        model_drop_endpoint(m, (struct model_endpoint *)object);
    take_stale(&o->clusters, o->view, &stale);
    while ((object = first_stale(&stale, o->view)))
        model_drop_cluster(m, (struct model_cluster *)object);
}

/* ---- fields of the core ---- */

bool model_set_health(struct model *m, struct str cluster, struct str endpoint, enum endpoint_health health)
{
    struct model_cluster *c = index_get(&m->clusters, cluster);
    struct model_endpoint *e = c ? index_get(&c->endpoints, endpoint) : NULL;
    if (!e)
        return false;
    if (e->e.health != health) {
        e->e.health = (uint8_t)health;
        model_touch(m, c);
    }
    return true;
}

bool model_set_endpoint_state(struct model *m, struct str cluster, struct str endpoint,
                              enum member_state state)
{
    struct model_cluster *c = index_get(&m->clusters, cluster);
    struct model_endpoint *e = c ? index_get(&c->endpoints, endpoint) : NULL;
    if (!e)
        return false;
    if (e->e.member_state != state) {
        e->e.member_state = (uint8_t)state;
        model_touch(m, c);
    }
    return true;
}

/* Changes by hand are rare: they walk all endpoints rather than keep one more index in step. `set` says
 * whether the endpoint is meant, and changes it. */
enum set_result { SET_OTHER, SET_SAME, SET_CHANGED };

static bool set_all(struct model *m, struct str id, uint8_t value,
                    enum set_result (*set)(struct endpoint_draft *e, struct str id, uint8_t value))
{
    struct model_cluster *c;
    struct model_endpoint *e;
    bool is_any = false;
    for (uint32_t i = 0; (c = index_next(&m->clusters, &i));)
        for (uint32_t k = 0; (e = index_next(&c->endpoints, &k));) {
            enum set_result result = set(&e->e, id, value);
            is_any |= result != SET_OTHER;
            if (result == SET_CHANGED)
                model_touch(m, c);
        }
    return is_any;
}

static enum set_result set_state(struct endpoint_draft *e, struct str member, uint8_t state)
{
    if (!e->member.n || !str_eq(e->member, member))
        return SET_OTHER;
    bool is_same = e->member_state == state;
    e->member_state = state;
    return is_same ? SET_SAME : SET_CHANGED;
}

static enum set_result set_drain(struct endpoint_draft *e, struct str id, uint8_t drain)
{
    if (!str_eq(e->id, id) && !(e->member.n && str_eq(e->member, id)))
        return SET_OTHER;
    bool is_same = e->admin_drain == drain;
    e->admin_drain = drain;
    return is_same ? SET_SAME : SET_CHANGED;
}

bool model_set_member_state(struct model *m, struct str member, enum member_state state)
{
    return set_all(m, member, (uint8_t)state, set_state);
}

bool model_set_admin_drain(struct model *m, struct str member_or_endpoint, bool drain)
{
    return set_all(m, member_or_endpoint, drain, set_drain);
}

/* ---- members, for people ---- */

static void drop_member(struct model *m, struct model_member *member)
{
    index_remove(&m->members, member->info.id);
    free(member->texts);
    free(member);
    m->members_changed = m->is_changed = true;
}

static bool same_member(const struct member_info *a, const struct member_info *b)
{
    for (unsigned n = 0; n < MEMBER_TEXTS; n++)
        if (!str_eq(member_text_of(a, n), member_text_of(b, n)))
            return false;
    return a->state == b->state && a->since_wall_ns == b->since_wall_ns && a->pid == b->pid;
}

void model_put_member(struct model *m, const struct member_info *info)
{
    struct member_info bounded = *info;
    size_t bytes = 1;
    if (!info->id.n || info->id.n > TOPOLOGY_ID_MAX || info->state > MEMBER_SUSPENDED)
        return;
    for (unsigned n = 0; n < MEMBER_TEXTS; n++) {
        struct str *text = member_text(&bounded, n);
        text->n = text->n < TOPOLOGY_TEXT_MAX ? text->n : TOPOLOGY_TEXT_MAX;
        bytes += text->n;
    }
    struct model_member *old = index_get(&m->members, info->id);
    if (old && same_member(&old->info, &bounded))
        return;
    if (!old && m->members.count >= TOPOLOGY_MEMBERS_MAX)
        return;
    struct model_member *member = must(calloc(1, sizeof(*member)));
    char *at = member->texts = must(malloc(bytes));
    member->info = bounded;
    for (unsigned n = 0; n < MEMBER_TEXTS; n++)
        text_move(member_text(&member->info, n), &at);
    if (old)
        drop_member(m, old); /* after copying: the caller may hand in the old texts */
    index_put(&m->members, member->info.id, member);
    m->members_changed = m->is_changed = true;
}

void model_remove_member(struct model *m, struct str id)
{
    struct model_member *member = index_get(&m->members, id);
    if (member)
        drop_member(m, member);
}
