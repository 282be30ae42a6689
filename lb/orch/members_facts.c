/* What decides how many members a set has, and what it is told about them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orch/members_part.h"

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
        members_wake(ms, set);
}

uint32_t members_wanted(const struct member_set *set)
{
    if (!set->cartridge)
        return 0;
    return set->has_want ? set->want : set->min;
}

/* ---- learned ---- */

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The smallest value that at least this share of them does not exceed. */
static double quantile(const uint64_t *sorted, uint32_t n, double share)
{
    const double rank = ceil(share * (double)n);
    const uint32_t at = rank < 1 ? 1 : (uint32_t)rank;
    return n ? (double)sorted[at - 1] : (double)NAN;
}

void set_learn(struct member_set *set, uint64_t start_ns)
{
    uint64_t sorted[MEMBERS_STARTS_MAX];
    set->starts_ns[set->start_count++ % MEMBERS_STARTS_MAX] = start_ns;
    const uint32_t n = members_starts(set, sorted);
    qsort(sorted, n, sizeof sorted[0], by_size);
    set->start_p50_ns = quantile(sorted, n, 0.5);
    set->start_p90_ns = quantile(sorted, n, 0.9);
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
    set->start_p50_ns = set->start_p90_ns = NAN;
    for (uint32_t i = 0; i < count; i++)
        set_learn(set, starts_ns[i]);
    set->changes++;
}

/* ---- counting ---- */

static void integrate(struct member_set *set, uint64_t now)
{
    set->ready_ns += set->ready * (now - set->ready_at_ns);
    set->ready_at_ns = now;
}

static void add(struct members *ms, struct member *m, uint32_t one)
{
    struct member_set *set = m->set;
    struct spot *spot = &set->spots[m->spot];
    const uint32_t starting = m->state < MEMBER_ACTIVE ? one : 0;
    const uint32_t ready = m->state == MEMBER_ACTIVE ? one : 0;
    const uint32_t draining = m->state == MEMBER_IN_MAINTENANCE ? one : 0;
    integrate(set, ms->ops->now_ns(ms->ctx));
    set->counted += member_counts(m) ? one : 0;
    set->starting += starting;
    spot->starting += starting;
    set->ready += ready;
    spot->ready += ready;
    set->draining += draining;
    spot->draining += draining;
    set->changes++;
}

void member_count(struct members *ms, struct member *m)
{
    add(ms, m, 1);
}

void member_uncount(struct members *ms, struct member *m)
{
    add(ms, m, (uint32_t)-1);
}

/* ---- facts ---- */

static double slots_of(const struct member_set *set)
{
    int64_t least = 0;
    for (size_t i = 0; i < set->port_count; i++) {
        const int64_t n = set->ports[i].options ? set->ports[i].options->max_in_flight : 0;
        if (n > 0 && (least == 0 || n < least))
            least = n;
    }
    return least ? (double)least : (double)NAN;
}

/* Those that are starting became restless in the order in which they were created. */
static void note_ages(struct members *ms, struct member_set *set, uint64_t now, struct member_facts *out)
{
    for (const struct list *k = set->restless.next; set->starting && k != &set->restless; k = k->next) {
        const struct member *m = CONTAINER_OF(k, struct member, restless);
        struct partition_facts *p = &set->facts[m->spot];
        const uint64_t age = now - m->created_ns;
        if (m->state >= MEMBER_ACTIVE)
            continue;
        if (out->starting_age_count < MEMBERS_STARTS_MAX)
            ms->ages_ns[out->starting_age_count++] = age;
        p->oldest_starting_ns = age > p->oldest_starting_ns ? age : p->oldest_starting_ns;
        out->oldest_starting_ns = age > out->oldest_starting_ns ? age : out->oldest_starting_ns;
    }
}

static uint32_t sum(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

/* What is full at the moment must not pull the count below what serves: then nothing would replace the
 * strays, and they would leave all the same. What the config does not allow is not made up for. */
uint32_t members_room(const struct member_set *set, uint64_t now_ns, struct partition_facts *partitions,
                      uint32_t count)
{
    uint32_t all = 0, strays = 0, limit = 0;
    for (uint32_t i = 0; i < set->spot_count; i++) {
        const struct spot *s = &set->spots[i];
        const uint32_t here = spot_capacity(s, now_ns);
        if (i < count)
            partitions[i].capacity = here;
        all = sum(all, here);
        strays += s->is_stray ? s->ready : 0;
        limit = sum(limit, spot_limit(s));
    }
    all = sum(all, strays);
    return all < limit ? all : limit;
}

void members_facts(struct members *ms, struct member_set *set, struct member_facts *out)
{
    const uint64_t now = ms->ops->now_ns(ms->ctx);
    integrate(set, now);
    *out = (struct member_facts){.ready = set->ready,
                                 .starting = set->starting,
                                 .draining = set->draining,
                                 .ready_ns = set->ready_ns,
                                 .starting_ages_ns = ms->ages_ns,
                                 .partitions = set->facts,
                                 .partition_count = set->spot_count,
                                 .start_p50_ns = set->start_p50_ns,
                                 .start_p90_ns = set->start_p90_ns,
                                 .slots_per_member = slots_of(set),
                                 .is_listed = set->is_listed};
    for (uint32_t i = 0; i < set->spot_count; i++) {
        const struct spot *s = &set->spots[i];
        set->facts[i] = (struct partition_facts){.partition = s->place->partition,
                                                 .network_partition = s->network,
                                                 .ready = s->ready,
                                                 .starting = s->starting,
                                                 .draining = s->draining};
    }
    out->capacity = members_room(set, now, set->facts, set->spot_count);
    note_ages(ms, set, now, out);
}
