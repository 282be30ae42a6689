/* Platforms that are told a number: they name their members themselves, and choose who goes. */
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "orch/members_part.h"

/* From now on it has the name that its platform gives it: who knew the other one is told that it is no more.
 */
void member_take_name(struct members *ms, struct member *m, const char *id)
{
    member_set_state(ms, m, MEMBER_TERMINATED, id);
    model_remove_member(ms->model, str_of(m->id));
    index_remove(&ms->by_id, str_of(m->id));
    free(m->id);
    m->id = must(str_dup(str_of(id)));
    index_put(&ms->by_id, str_of(m->id), m);
    m->is_nameless = false;
    member_set_state(ms, m, MEMBER_INITIALIZED, "named by its platform");
}

/* The oldest that waits for a name in the set and place of this one; NULL: none does. */
struct member *member_find_nameless(struct members *ms, const char *actuator,
                                    const struct cox_member_change *change)
{
    const struct member_set *set = members_find_set(ms, str_of(change->set ? change->set : ""));
    for (const struct list *k = set ? set->restless.next : NULL; set && k != &set->restless; k = k->next) {
        struct member *m = CONTAINER_OF(k, struct member, restless);
        const struct spot *spot = &set->spots[m->spot];
        if (m->is_nameless && m->state < MEMBER_STARTING && strcmp(spot->actuator, actuator) == 0 &&
            (!change->partition || strcmp(spot->place->partition, change->partition) == 0))
            return m;
    }
    return NULL;
}

/* One whose name was never told ends for one that waits for its name, unless it is one that was not to come
 * any more. */
struct member *member_find_ended(struct members *ms, const char *actuator,
                                 const struct cox_member_change *change)
{
    struct member *m = member_find_nameless(ms, actuator, change);
    struct spot *spot = m ? &m->set->spots[m->spot] : NULL;
    if (!spot || spot->nameless_ends == 0)
        return m;
    spot->nameless_ends--;
    return NULL;
}

/* Was told to go because fewer are wanted, and does not yet. */
static bool may_be_spared(const struct member *m, uint32_t spot)
{
    return m->spot == spot && m->state == MEMBER_READY_TO_SHUT_DOWN && !m->is_closing && !m->is_leaving &&
           !m->is_nameless && m->active_ns && !m->is_drained_by_hand && !m->is_faulty &&
           !m->set->spots[spot].is_stray;
}

/* A platform that keeps a number ends m, which was to stay. When another one of the same place was to go and
 * has not, it was taken in that one's stead: that one stays, and serves again once it answers a probe. The
 * last that was told to go is most likely to be there still. */
void member_spare_another(struct members *ms, struct member *m)
{
    if (!member_counts(m) || m->is_nameless || !ms->ops->is_counted || !ms->ops->is_counted(ms->ctx, m))
        return;
    for (struct list *k = m->set->restless.prev; k != &m->set->restless; k = k->prev) {
        struct member *other = CONTAINER_OF(k, struct member, restless);
        if (!may_be_spared(other, m->spot))
            continue;
        member_set_ticket(ms, other, 0);
        other->is_unasked = false;
        for (size_t i = 0; i < other->set->port_count; i++)
            other->ports[i].is_up = false;
        member_set_state(ms, other, MEMBER_STARTING, "its platform ended another in its stead");
        return;
    }
}
