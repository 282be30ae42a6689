/* One id through everything: the request that woke a set, the decision, the ticket, the member, its endpoint,
 * and the first request that it served. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "orch/scale_priv.h"

#define STALE_NS (120 * NS_PER_S) /* a chain that did not get to its end by then has none */

void scale_chain_wake(struct scale *s, struct scale_set *set, struct str origin)
{
    struct scale_chain *c = &set->chain;
    const uint64_t wall = s->ops->wall_ns(s->ctx);
    if (set->count || (c->is_open && wall - c->woken_ns < STALE_NS))
        return; /* the first request counts, the others wait with it */
    *c = (struct scale_chain){.woken_ns = wall, .is_open = true};
    (void)snprintf(c->origin, sizeof c->origin, "%.*s", (int)(origin.n < sizeof c->origin ? origin.n : 0),
                   origin.n ? origin.p : "");
}

void scale_chain_decided(struct scale *s, struct scale_set *set, uint64_t number)
{
    struct scale_chain *c = &set->chain;
    if (!c->is_open || c->decision)
        return;
    c->decision = number;
    c->decided_ns = s->ops->wall_ns(s->ctx);
}

/* The first that was made since the decision and still lives. */
static const struct member *find(const struct scale_set *set)
{
    for (const struct list *k = set->set->members.next; k != &set->set->members; k = k->next) {
        const struct member *m = CONTAINER_OF(k, struct member, node);
        if (m->created_ns >= set->changed_ns && m->state <= MEMBER_ACTIVE)
            return m;
    }
    return NULL;
}

void scale_chain_step(struct scale *s, struct scale_set *set)
{
    struct scale_chain *c = &set->chain;
    const uint64_t wall = s->ops->wall_ns(s->ctx), now = s->ops->now_ns(s->ctx);
    const struct member *m = c->decision ? find(set) : NULL;
    if (wall - c->woken_ns > STALE_NS)
        c->is_open = false;
    if (!m)
        return;
    if (strcmp(c->member, m->id) != 0) {
        (void)snprintf(c->member, sizeof c->member, "%s", m->id);
        c->served_base = m->active_ns ? 0 : s->ops->served(s->ctx, m);
    }
    c->created_ns = wall - (now - m->created_ns);
    c->ticket = m->ticket ? m->ticket : c->ticket;
    if (m->set->port_count && m->ports[0].addr.len)
        (void)addr_print(&m->ports[0].addr, c->endpoint);
    c->active_ns = m->active_ns ? wall - (now - m->active_ns) : 0;
    if (!c->active_ns || s->ops->served(s->ctx, m) == c->served_base)
        return;
    c->served_ns = wall;
    c->is_open = false;
}
