/* Observers: plugins that are told what happens. Told on the spot: there is no queue that could overflow yet,
 * and a slow one is logged as any slow call is. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "orch/orch.h"
#include "topo/cluster.h"

/* A text of the topology as a C string, for the length of one call. */
struct event_texts {
    char bytes[4096];
    size_t used;
};

static const char *text(struct event_texts *t, struct str s)
{
    if (s.n >= sizeof t->bytes - t->used)
        return "";
    char *at = t->bytes + t->used;
    if (s.n)
        memcpy(at, s.p, s.n);
    at[s.n] = 0;
    t->used += s.n + 1;
    return at;
}

static bool is_observer(const struct plugin *p)
{
    return p->is_started && p->module.plugin.observer;
}

static void tell(struct orch *o, struct plugin *only, struct cox_event *event)
{
    const struct topology *t = model_current(o->model);
    event->size = sizeof *event;
    event->sequence = t ? t->number : 0;
    event->wall_ns = clock_wall_ns();
    if (!event->reason)
        event->reason = "";
    for (struct list *n = o->host.plugins.next; n != &o->host.plugins; n = n->next) {
        struct plugin *p = CONTAINER_OF(n, struct plugin, node);
        if (!is_observer(p) || (only && only != p))
            continue;
        struct call c = call_begin(p, "event");
        p->module.plugin.observer->event(p->instance, event);
        call_end(&c);
    }
}

static void tell_member(struct orch *o, struct plugin *only, const struct member *m, enum member_state from)
{
    struct cox_event e = {.kind = COX_EVENT_MEMBER,
                          .id = m->id,
                          .parent = m->set->id,
                          .from = (uint32_t)from,
                          .to = (uint32_t)m->state,
                          .reason = m->reason};
    tell(o, only, &e);
}

void observers_on_member(struct orch *o, const struct member *m, enum member_state from)
{
    tell_member(o, NULL, m, from);
}

void observers_on_scale(struct orch *o, const struct scale_change *change)
{
    char from[16], to[16];
    (void)snprintf(from, sizeof from, "%u", change->from);
    (void)snprintf(to, sizeof to, "%u", change->to);
    const struct cox_pair fields[] = {{sizeof fields[0], 0, "from", from},
                                      {sizeof fields[0], 0, "to", to},
                                      {sizeof fields[0], 0, "cause", scale_cause_name(change->cause)}};
    struct cox_event e = {.kind = COX_EVENT_DECISION,
                          .id = change->set,
                          .reason = change->why,
                          .wanted = change->to,
                          .fields = COX_ARRAY(fields)};
    tell(o, NULL, &e);
}

static void tell_endpoint(struct orch *o, struct plugin *only, const struct cluster *c,
                          const struct endpoint *ep)
{
    static const char *const healths[] = {"unknown", "up", "down"};
    struct event_texts t = {.used = 0};
    char address[ADDR_TEXT_BYTES];
    (void)addr_print(ep->addr, address);
    const struct cox_pair fields[] = {{sizeof fields[0], 0, "address", address},
                                      {sizeof fields[0], 0, "member", text(&t, endpoint_member(ep))},
                                      {sizeof fields[0], 0, "health", healths[ep->health % 3]}};
    struct cox_event e = {.kind = COX_EVENT_ENDPOINT,
                          .id = text(&t, endpoint_id(ep)),
                          .parent = text(&t, c->id),
                          .fields = COX_ARRAY(fields)};
    tell(o, only, &e);
}

static void tell_name(struct orch *o, struct plugin *only, uint32_t kind, struct str id, struct str parent)
{
    struct event_texts t = {.used = 0};
    struct cox_event e = {.kind = kind, .id = text(&t, id), .parent = parent.n ? text(&t, parent) : NULL};
    tell(o, only, &e);
}

static bool same_endpoint(const struct endpoint *a, const struct endpoint *b)
{
    return a->weight == b->weight && a->health == b->health && a->service == b->service &&
           addr_eq(a->addr, b->addr);
}

static const struct endpoint *find(const struct cluster *c, struct str id)
{
    for (uint32_t i = 0; c && i < c->endpoint_count; i++)
        if (str_eq(endpoint_id(&c->endpoints[i]), id))
            return &c->endpoints[i];
    return NULL;
}

static void tell_cluster(struct orch *o, struct plugin *only, const struct cluster *from,
                         const struct cluster *to)
{
    if (!from)
        tell_name(o, only, COX_EVENT_CLUSTER, to->id, STR_NULL);
    for (uint32_t i = 0; from && i < from->endpoint_count; i++)
        if (!find(to, endpoint_id(&from->endpoints[i])))
            tell_name(o, only, COX_EVENT_ENDPOINT_REMOVED, endpoint_id(&from->endpoints[i]), from->id);
    for (uint32_t i = 0; to && i < to->endpoint_count; i++) {
        const struct endpoint *old = find(from, endpoint_id(&to->endpoints[i]));
        if (!old || !same_endpoint(old, &to->endpoints[i]))
            tell_endpoint(o, only, to, &to->endpoints[i]);
    }
    if (!to)
        tell_name(o, only, COX_EVENT_CLUSTER_REMOVED, from->id, STR_NULL);
}

static bool has_observer(struct orch *o)
{
    for (struct list *n = o->host.plugins.next; n != &o->host.plugins; n = n->next)
        if (is_observer(CONTAINER_OF(n, struct plugin, node)))
            return true;
    return false;
}

static void walk(struct orch *o, struct plugin *only, const struct topology *from, const struct topology *to)
{
    uint32_t i = 0, k = 0;
    const uint32_t from_count = from ? from->cluster_count : 0;
    while (i < from_count || k < to->cluster_count) {
        int order = i == from_count ? 1 : k == to->cluster_count ? -1 : 0;
        if (order == 0)
            order = cluster_order(from->clusters[i], to->clusters[k]);
        const struct cluster *a = order <= 0 ? from->clusters[i++] : NULL;
        const struct cluster *b = order >= 0 ? to->clusters[k++] : NULL;
        if (a != b)
            tell_cluster(o, only, a, b);
    }
}

void observers_on_topology(struct orch *o, const struct topology *from, const struct topology *to)
{
    if (has_observer(o))
        walk(o, NULL, from, to);
}

void observers_snapshot(struct orch *o, struct plugin *p)
{
    struct cox_event begin = {.kind = COX_EVENT_SNAPSHOT_BEGIN}, end = {.kind = COX_EVENT_SNAPSHOT_END};
    if (!is_observer(p))
        return;
    tell(o, p, &begin);
    for (struct list *n = o->members.sets.next; n != &o->members.sets; n = n->next) {
        struct member_set *s = CONTAINER_OF(n, struct member_set, node);
        for (struct list *k = s->members.next; k != &s->members; k = k->next) {
            const struct member *m = CONTAINER_OF(k, struct member, node);
            tell_member(o, p, m, m->state);
        }
    }
    if (model_current(o->model))
        walk(o, p, NULL, model_current(o->model));
    tell(o, p, &end);
}
