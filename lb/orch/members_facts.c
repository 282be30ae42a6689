/* What decides how many members a set has, and what it is told about them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orch/members.h"

/* ---- finding ---- */

struct member_set *members_find_set(struct members *ms, struct str id)
{
    for (struct list *n = ms->sets.next; n != &ms->sets; n = n->next) {
        struct member_set *s = CONTAINER_OF(n, struct member_set, node);
        if (str_eq(str_of(s->id), id))
            return s;
    }
    return NULL;
}

/* A cluster's id is the set's, a colon, and the name of a port. */
struct member_set *members_set_of(struct members *ms, struct str cluster)
{
    for (size_t n = cluster.n; n-- > 0;)
        if (cluster.p[n] == ':')
            return members_find_set(ms, str_make(cluster.p, n));
    return NULL;
}

/* ---- how many ---- */

void members_want(struct members *ms, struct member_set *set, uint32_t count, const char *why)
{
    if (count > MEMBERS_SET_MAX)
        count = MEMBERS_SET_MAX;
    const bool is_same = set->has_want && set->want == count;
    set->has_want = true;
    set->want = count;
    (void)snprintf(set->want_why, sizeof set->want_why, "%s", why ? why : "");
    if (!is_same)
        ms->ops->wake(ms->ctx);
}

uint32_t members_wanted(const struct member_set *set)
{
    if (!set->cartridge)
        return 0;
    return set->has_want ? set->want : set->min;
}

/* ---- learned ---- */

static void learn(struct member_set *set, uint64_t start_ns)
{
    set->starts_ns[set->start_count++ % MEMBERS_STARTS_MAX] = start_ns;
}

uint32_t members_starts(const struct member_set *set, uint64_t out[MEMBERS_STARTS_MAX])
{
    const uint32_t n = set->start_count < MEMBERS_STARTS_MAX ? set->start_count : MEMBERS_STARTS_MAX;
    for (uint32_t i = 0; i < n; i++)
        out[i] = set->starts_ns[(set->start_count - n + i) % MEMBERS_STARTS_MAX];
    return n;
}

void members_restore_starts(struct member_set *set, const uint64_t *starts_ns, uint32_t count)
{
    set->start_count = 0;
    for (uint32_t i = 0; i < count; i++)
        learn(set, starts_ns[i]);
    set->changes++;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The smallest value that at least this share of them does not exceed. */
static double quantile(const uint64_t *sorted, uint32_t n, double share)
{
    if (n == 0)
        return NAN;
    const double rank = ceil(share * (double)n);
    const uint32_t at = rank < 1 ? 1 : (uint32_t)rank;
    return (double)sorted[at - 1];
}

/* ---- facts ---- */

static void integrate(struct member_set *set, uint64_t now)
{
    set->ready_ns += set->ready * (now - set->ready_at_ns);
    set->ready_at_ns = now;
}

void member_facts_changed(struct members *ms, struct member *m, enum member_state from)
{
    struct member_set *set = m->set;
    const uint64_t now = ms->ops->now_ns(ms->ctx);
    integrate(set, now);
    if (from == MEMBER_ACTIVE && m->state != MEMBER_ACTIVE)
        set->ready--;
    if (from != MEMBER_ACTIVE && m->state == MEMBER_ACTIVE) {
        set->ready++;
        if (!m->is_adopted && m->active_ns == now)
            learn(set, now - m->created_ns);
    }
    set->changes++;
}

static double slots_of(const struct member_set *set)
{
    int64_t least = 0;
    for (size_t i = 0; set->cartridge && i < set->cartridge->ports.count; i++) {
        const int64_t n = SETTINGS_AT(set->cartridge->ports, struct port_settings, i)->options.max_in_flight;
        if (n > 0 && (least == 0 || n < least))
            least = n;
    }
    return least ? (double)least : (double)NAN;
}

/* Members stand in the order they were created in, so the first that is starting is the oldest. */
static void count_members(struct member_set *set, uint64_t now, struct member_facts *out)
{
    for (const struct list *k = set->members.next; k != &set->members; k = k->next) {
        const struct member *m = CONTAINER_OF(k, struct member, node);
        out->ready += m->state == MEMBER_ACTIVE;
        out->draining += m->state == MEMBER_IN_MAINTENANCE;
        if (m->state >= MEMBER_ACTIVE)
            continue;
        if (out->starting++ < MEMBERS_STARTS_MAX)
            set->ages_ns[out->starting - 1] = now - m->created_ns;
    }
}

void members_facts(struct members *ms, struct member_set *set, struct member_facts *out)
{
    uint64_t starts[MEMBERS_STARTS_MAX];
    const uint64_t now = ms->ops->now_ns(ms->ctx);
    const uint32_t n = members_starts(set, starts);
    qsort(starts, n, sizeof starts[0], by_size);
    integrate(set, now);
    *out = (struct member_facts){.ready_ns = set->ready_ns,
                                 .starting_ages_ns = set->ages_ns,
                                 .partitions = &set->everywhere,
                                 .partition_count = 1,
                                 .capacity = UINT32_MAX,
                                 .start_p50_ns = quantile(starts, n, 0.5),
                                 .start_p90_ns = quantile(starts, n, 0.9),
                                 .slots_per_member = slots_of(set),
                                 .is_listed = set->is_listed};
    count_members(set, now, out);
    out->starting_age_count = out->starting < MEMBERS_STARTS_MAX ? out->starting : MEMBERS_STARTS_MAX;
    out->oldest_starting_ns = out->starting ? set->ages_ns[0] : 0;
    set->everywhere = (struct partition_facts){.ready = out->ready,
                                               .starting = out->starting,
                                               .draining = out->draining,
                                               .capacity = UINT32_MAX,
                                               .oldest_starting_ns = out->oldest_starting_ns};
}
