#include "topo/model.h"

#include <stdlib.h>

#include "base/ledger.h"
#include "base/panic.h"
#include "topo/cluster.h"
#include "topo/model_part.h"
#include "topo/route.h"
#include "topo/route_rules.h"

/* ---- owners ---- */

struct model_owner *model_owner(struct model *m, struct str name)
{
    struct model_owner *o = index_get(&m->owners, name);
    if (o)
        return o;
    o = must(calloc(1, sizeof(*o)));
    o->name = str_make(str_dup(name), name.n);
    list_init(&o->clusters);
    list_init(&o->endpoints);
    list_init(&o->routes);
    index_put(&m->owners, o->name, o);
    return o;
}

void model_object_join(struct model_object *o, struct model_owner *owner, struct list *list)
{
    o->owner = owner;
    o->view = owner->view;
    list_init(&o->node);
    list_push(list, &o->node);
}

bool model_object_claim(struct model_object *o, struct model_owner *owner, struct list *list,
                        const char *kind, struct str id, struct buf *error)
{
    if (o->owner == owner) {
        o->view = owner->view;
        return true;
    }
    if (!o->owner->name.n) { /* loaded from a topology that did not say whose it is: the first claim counts */
        list_remove(&o->node);
        model_object_join(o, owner, list);
        return true;
    }
    if (error)
        buf_printf(error, "%s '%.*s' belongs to '%.*s'", kind, STR_ARG(id), STR_ARG(o->owner->name));
    return false;
}

static bool refuse(struct buf *error, const char *what, struct str id)
{
    if (error)
        buf_printf(error, "%s '%.*s'", what, STR_ARG(id));
    return false;
}

static bool is_id(struct str s)
{
    return s.n && s.n <= TOPOLOGY_ID_MAX && !memchr(s.p, 0, s.n);
}

void model_touch(struct model *m, struct model_cluster *c)
{
    list_remove(&c->dirty_node);
    list_push(&m->dirty, &c->dirty_node);
    m->is_changed = true;
}

/* ---- clusters ---- */

static void set_options(struct model_cluster *c, const struct cluster_options *options)
{
    options_copy(&cluster_options_table, &c->options, options);
    buf_init(&c->wire);
    options_encode(&cluster_options_table, options, &c->wire);
}

static void clear_options(struct model_cluster *c)
{
    options_free(&cluster_options_table, &c->options);
    buf_fini(&c->wire);
}

static bool same_options(const struct model_cluster *c, const struct cluster_options *options)
{
    struct buf wire;
    buf_init(&wire);
    options_encode(&cluster_options_table, options, &wire);
    bool same = str_eq(buf_str(&wire), buf_str(&c->wire));
    buf_fini(&wire);
    return same;
}

struct model_cluster *model_add_cluster(struct model *m, struct model_owner *owner, struct str id,
                                        uint32_t slot, const struct cluster_options *options)
{
    if (slot == LEDGER_NO_SLOT)
        slot = slots_take(&m->cluster_slots);
    if (slot == LEDGER_NO_SLOT || m->clusters.count >= TOPOLOGY_CLUSTERS_MAX)
        return NULL;
    struct model_cluster *c = must(calloc(1, sizeof(*c)));
    c->id = str_make(str_dup(id), id.n);
    c->slot = slot;
    set_options(c, options);
    list_init(&c->dirty_node);
    model_object_join(&c->object, owner, &owner->clusters);
    index_put(&m->clusters, c->id, c);
    m->order_changed = true;
    model_touch(m, c);
    return c;
}

bool model_put_cluster(struct model *m, struct str owner, struct str id,
                       const struct cluster_options *options, struct buf *error)
{
    struct model_owner *o = model_owner(m, owner);
    struct model_cluster *c = index_get(&m->clusters, id);
    if (!is_id(id))
        return refuse(error, "no usable cluster id:", id);
    if (!c)
        return model_add_cluster(m, o, id, LEDGER_NO_SLOT, options) ||
               refuse(error, "max_clusters is too low for", id);
    struct model_owner *before = c->object.owner;
    if (!model_object_claim(&c->object, o, &o->clusters, "cluster", id, error))
        return false;
    if (same_options(c, options) && before == o)
        return true;
    clear_options(c);
    set_options(c, options);
    model_touch(m, c);
    return true;
}

void model_drop_cluster(struct model *m, struct model_cluster *c)
{
    uint32_t at = 0;
    struct model_endpoint *e;
    while ((e = index_next(&c->endpoints, &at))) {
        model_drop_endpoint(m, e);
        at--; /* see index_next */
    }
    index_remove(&m->clusters, c->id);
    slots_give(&m->cluster_slots, c->slot, m->number + 1);
    list_remove(&c->object.node);
    list_remove(&c->dirty_node);
    index_fini(&c->endpoints);
    clear_options(c);
    cluster_unref(&c->built);
    free((char *)(uintptr_t)c->id.p);
    free(c);
    m->order_changed = m->is_changed = true;
}

void model_remove_cluster(struct model *m, struct str owner, struct str id)
{
    struct model_cluster *c = index_get(&m->clusters, id);
    if (c && str_eq(c->object.owner->name, owner))
        model_drop_cluster(m, c);
}

/* ---- endpoints ---- */

/* The endpoint gets texts of its own, its owner's name among them. */
static void set_endpoint(struct model_endpoint *me, const struct endpoint_draft *e)
{
    size_t bytes = 1;
    me->e = *e;
    me->e.owner = me->object.owner->name;
    for (unsigned n = 0; n < ENDPOINT_TEXTS; n++)
        bytes += draft_text(&me->e, n)->n;
    char *at = me->texts = must(malloc(bytes));
    for (unsigned n = 0; n < ENDPOINT_TEXTS; n++)
        text_move(draft_text(&me->e, n), &at);
}

struct model_endpoint *model_add_endpoint(struct model *m, struct model_owner *owner, struct model_cluster *c,
                                          uint32_t slot, const struct endpoint_draft *e)
{
    if (slot == LEDGER_NO_SLOT)
        slot = slots_take(&m->endpoint_slots);
    if (slot == LEDGER_NO_SLOT)
        return NULL;
    struct model_endpoint *me = must(calloc(1, sizeof(*me)));
    model_object_join(&me->object, owner, &owner->endpoints);
    set_endpoint(me, e);
    me->e.slot = slot;
    me->cluster = c;
    index_put(&c->endpoints, me->e.id, me);
    model_touch(m, c);
    return me;
}

static bool same_endpoint(const struct endpoint_draft *a, const struct endpoint_draft *b)
{
    for (unsigned n = 0; n < ENDPOINT_TEXTS; n++)
        if (!str_eq(draft_text_of(a, n), draft_text_of(b, n)))
            return false;
    return a->weight == b->weight && addr_eq(&a->addr, &b->addr) && a->member_state == b->member_state &&
           a->readiness == b->readiness && a->health == b->health && a->admin_drain == b->admin_drain &&
           a->priority == b->priority;
}

static void replace_endpoint(struct model *m, struct model_endpoint *me, const struct endpoint_draft *e)
{
    struct endpoint_draft next = *e;
    char *old_texts = me->texts;
    next.slot = me->e.slot;
    next.owner = me->object.owner->name;
    next.admin_drain = me->e.admin_drain;
    next.health = addr_eq(&e->addr, &me->e.addr) ? me->e.health : e->health;
    next.since_ns = addr_eq(&e->addr, &me->e.addr) ? me->e.since_ns : 0;
    if (str_eq(next.member, me->e.member))
        next.member_state = me->e.member_state;
    if (same_endpoint(&next, &me->e))
        return;
    index_remove(&me->cluster->endpoints, me->e.id); /* the key lies in the texts that go */
    set_endpoint(me, &next);
    index_put(&me->cluster->endpoints, me->e.id, me);
    free(old_texts);
    model_touch(m, me->cluster);
}

static bool is_sound(const struct endpoint_draft *e)
{
    for (unsigned n = 0; n < ENDPOINT_TEXTS; n++)
        if (draft_text_of(e, n).n > TOPOLOGY_ID_MAX)
            return false;
    return is_id(e->id) && e->addr.len && e->weight <= TOPOLOGY_WEIGHT_MAX &&
           e->member_state <= MEMBER_SUSPENDED && e->readiness <= ENDPOINT_TERMINATING &&
           e->health <= HEALTH_DOWN && e->admin_drain <= 1;
}

bool model_put_endpoint(struct model *m, struct str owner, struct str cluster, const struct endpoint_draft *e,
                        struct buf *error)
{
    struct model_owner *o = model_owner(m, owner);
    struct model_cluster *c = index_get(&m->clusters, cluster);
    if (!c)
        return refuse(error, "no cluster", cluster);
    struct endpoint_draft copy = *e;
    copy.owner = o->name;
    if (!is_sound(&copy))
        return refuse(error, "no usable id, address, weight or state of endpoint", e->id);
    struct model_endpoint *me = index_get(&c->endpoints, e->id);
    if (!me)
        return model_add_endpoint(m, o, c, LEDGER_NO_SLOT, &copy) ||
               refuse(error, "max_endpoints is too low for", e->id);
    if (!model_object_claim(&me->object, o, &o->endpoints, "endpoint", e->id, error))
        return false;
    replace_endpoint(m, me, &copy);
    return true;
}

void model_drop_endpoint(struct model *m, struct model_endpoint *e)
{
    index_remove(&e->cluster->endpoints, e->e.id);
    slots_give(&m->endpoint_slots, e->e.slot, m->number + 1);
    list_remove(&e->object.node);
    model_touch(m, e->cluster);
    free(e->texts);
    free(e);
}

void model_remove_endpoint(struct model *m, struct str owner, struct str cluster, struct str id)
{
    struct model_cluster *c = index_get(&m->clusters, cluster);
    struct model_endpoint *e = c ? index_get(&c->endpoints, id) : NULL;
    if (e && str_eq(e->object.owner->name, owner))
        model_drop_endpoint(m, e);
}

/* ---- routes ---- */

static struct str route_key(const struct route_place *at, struct buf *to)
{
    to->len = 0;
    for (size_t i = 0; i < at->host.n; i++) {
        char c = char_lower(at->host.p[i]);
        buf_put(to, &c, 1);
    }
    buf_put(to, "", 1);
    buf_put_str(to, at->path);
    buf_put(to, "", 1);
    buf_put_str(to, at->label);
    return buf_str(to);
}

static struct model_route *find_route(struct model *m, const struct route_place *at)
{
    struct buf key;
    buf_init(&key);
    struct model_route *r = index_get(&m->routes, route_key(at, &key));
    buf_fini(&key);
    return r;
}

static void set_route(struct model *m, struct model_route *r, const struct route *from)
{
    struct route_place at = {.host = from->host, .path = from->path, .label = from->label};
    struct buf key;
    buf_init(&key);
    r->key = route_key(&at, &key);
    buf_put_str(&key, from->cluster_id);
    r->key.p = key.p; /* the buffer moves in; the key is its first part */
    r->host = str_make(key.p, at.host.n);
    r->path = str_make(key.p + at.host.n + 1, at.path.n);
    r->label = str_make(r->path.p + at.path.n + 1, at.label.n);
    r->cluster = str_make(key.p + r->key.n, from->cluster_id.n);
    r->rules = from->rules;
    route_rules_ref(r->rules);
    index_put(&m->routes, r->key, r);
    m->routes_changed = m->is_changed = true;
}

static void clear_route(struct model *m, struct model_route *r)
{
    index_remove(&m->routes, r->key);
    free((char *)(uintptr_t)r->key.p);
    route_rules_unref(&r->rules);
    m->routes_changed = m->is_changed = true;
}

void model_add_route(struct model *m, struct model_owner *owner, const struct route *from)
{
    struct model_route *r = must(calloc(1, sizeof(*r)));
    model_object_join(&r->object, owner, &owner->routes);
    set_route(m, r, from);
}

static bool is_place(const struct route *r)
{
    return route_is_valid(r->host, r->path) && !memchr(r->host.p, 0, r->host.n) &&
           !memchr(r->path.p, 0, r->path.n) && r->label.n <= TOPOLOGY_LABEL_MAX &&
           !(r->label.n && memchr(r->label.p, 0, r->label.n));
}

static bool put_route(struct model *m, struct str owner, const struct route *from, struct buf *error)
{
    struct model_owner *o = model_owner(m, owner);
    struct route_place at = {.host = from->host, .path = from->path, .label = from->label};
    if (!is_place(from) || !(is_id(from->cluster_id) || (from->rules && !from->cluster_id.n)))
        return refuse(error, "no usable route for host", from->host);
    struct model_route *r = find_route(m, &at);
    if (!r && m->routes.count >= TOPOLOGY_ROUTES_MAX)
        return refuse(error, "too many routes, at host", from->host);
    if (!r) {
        model_add_route(m, o, from);
        return true;
    }
    struct model_owner *before = r->object.owner;
    if (!model_object_claim(&r->object, o, &o->routes, "the route of", from->host, error))
        return false;
    if (str_eq(r->cluster, from->cluster_id) && route_rules_same(r->rules, from->rules) && before == o)
        return true;
    clear_route(m, r);
    set_route(m, r, from);
    return true;
}

bool model_put_route(struct model *m, struct str owner, struct str host, struct str path, struct str cluster,
                     struct buf *error)
{
    return put_route(m, owner, &(struct route){.host = host, .path = path, .cluster_id = cluster}, error);
}

bool model_put_ruled_route(struct model *m, struct str owner, const struct route_place *place,
                           struct str cluster, const struct route_options *options, struct buf *error)
{
    struct route r = {.host = place->host, .path = place->path, .label = place->label, .cluster_id = cluster};
    if (!route_options_are_plain(options) || !cluster.n) {
        r.rules = route_rules_build(options, cluster.n > 0, error);
        if (!r.rules)
            return false;
        if (!r.label.n)
            r.label = route_rules_match(r.rules);
    }
    bool is_put = put_route(m, owner, &r, error);
    route_rules_unref(&r.rules);
    return is_put;
}

void model_drop_route(struct model *m, struct model_route *r)
{
    clear_route(m, r);
    list_remove(&r->object.node);
    free(r);
}

void model_remove_ruled_route(struct model *m, struct str owner, const struct route_place *place)
{
    struct model_route *r = find_route(m, place);
    if (r && str_eq(r->object.owner->name, owner))
        model_drop_route(m, r);
}

void model_remove_route(struct model *m, struct str owner, struct str host, struct str path)
{
    model_remove_ruled_route(m, owner, &(struct route_place){.host = host, .path = path});
}
