/* Which place the next member goes to, and which one loses one.
 *
 * The spots of a set stand in the order of its policy; network partitions are tiers. A spot has room while
 * the policy, the partition and its actuator all have: one that has none is passed over, so a full partition
 * never blocks another. Tiers are filled from the first and emptied from the last. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/panic.h"
#include "orch/members_part.h"

#define STRAY_TIER UINT32_MAX

/* ---- making ---- */

static struct place *place_of(struct members *ms, const char *key, uint32_t max)
{
    for (struct list *n = ms->places.next; n != &ms->places; n = n->next) {
        struct place *p = CONTAINER_OF(n, struct place, node);
        if (strcmp(p->key, key) == 0)
            return p;
    }
    struct place *p = must(calloc(1, sizeof *p));
    p->key = must(str_dup(str_of(key)));
    p->partition = key[0] == '@' ? "" : p->key;
    p->max = max;
    list_init(&p->node);
    list_push(&ms->places, &p->node);
    return p;
}

/* All of an actuator, for sets without a policy. */
static struct place *place_of_actuator(struct members *ms, const char *actuator)
{
    struct buf key;
    buf_init(&key);
    buf_printf(&key, "@%s", actuator);
    buf_put(&key, "", 1);
    struct place *p = place_of(ms, key.p, UINT32_MAX);
    buf_fini(&key);
    return p;
}

void places_fini(struct members *ms)
{
    struct list *node;
    while ((node = list_shift(&ms->places))) {
        struct place *p = CONTAINER_OF(node, struct place, node);
        free(p->key);
        free(p);
    }
}

static struct spot *add_spot(struct member_set *set, struct place *place, const char *actuator,
                             const char *network)
{
    set->spots = must(realloc(set->spots, (set->spot_count + 1) * sizeof *set->spots));
    set->facts = must(realloc(set->facts, (set->spot_count + 1) * sizeof *set->facts));
    struct spot *s = &set->spots[set->spot_count++];
    *s = (struct spot){.place = place,
                       .actuator = must(str_dup(str_of(actuator))),
                       .network = must(str_dup(str_of(network))),
                       .max = UINT32_MAX,
                       .weight = 1};
    return s;
}

static uint32_t limit(int64_t max)
{
    return max > 0 && max < UINT32_MAX ? (uint32_t)max : UINT32_MAX;
}

/* One partition of a policy; p NULL: the policy says nothing of it but that it is used. */
static void add_partition(struct members *ms, struct member_set *set, const struct settings *s,
                          const char *actuator, const struct policy_network_settings *network, uint32_t tier,
                          const char *name, const struct policy_partition_settings *p)
{
    const struct partition_settings *partition = settings_partition(s, name);
    ASSERT(partition != NULL); /* settings_load checked the reference */
    struct spot *spot = add_spot(set, place_of(ms, name, limit(partition->max)),
                                 partition->actuator ? partition->actuator : actuator, network->name);
    spot->tier = tier;
    spot->algorithm = network->algorithm;
    spot->max = p ? limit(p->max) : UINT32_MAX;
    spot->weight = p && p->weight > 0 ? (uint32_t)p->weight : 1;
}

void spots_make(struct members *ms, struct member_set *set, const struct settings *s, const char *actuator,
                const char *policy)
{
    const struct deployment_policy_settings *d = settings_deployment_policy(s, policy);
    if (!d) {
        add_spot(set, place_of_actuator(ms, actuator), actuator, "");
        return;
    }
    for (size_t i = 0; i < d->network_partitions.count; i++) {
        const struct policy_network_settings *n =
            SETTINGS_AT(d->network_partitions, struct policy_network_settings, i);
        const struct network_partition_settings *all = settings_network_partition(s, n->name);
        for (size_t k = 0; k < n->partitions.count; k++) {
            const struct policy_partition_settings *p =
                SETTINGS_AT(n->partitions, struct policy_partition_settings, k);
            add_partition(ms, set, s, actuator, n, (uint32_t)i, p->name, p);
        }
        for (size_t k = 0; all && !n->partitions.count && k < all->partitions.n; k++)
            add_partition(ms, set, s, actuator, n, (uint32_t)i, all->partitions.v[k], NULL);
    }
}

void spots_free(struct member_set *set)
{
    for (uint32_t i = 0; i < set->spot_count; i++) {
        free(set->spots[i].actuator);
        free(set->spots[i].network);
    }
    free(set->spots);
    free(set->facts);
}

uint32_t spot_adopt(struct members *ms, struct member_set *set, const char *actuator, const char *partition)
{
    for (uint32_t i = 0; i < set->spot_count; i++) {
        const struct spot *s = &set->spots[i];
        const bool has_place = s->is_stray || (s->living < s->max && s->place->living < s->place->max);
        if (has_place && strcmp(s->actuator, actuator) == 0 && strcmp(s->place->partition, partition) == 0)
            return i;
    }
    struct place *place = *partition ? place_of(ms, partition, 0) : place_of_actuator(ms, actuator);
    struct spot *s = add_spot(set, place, actuator, "");
    s->is_stray = true;
    s->tier = STRAY_TIER;
    s->max = 0;
    return set->spot_count - 1;
}

/* ---- choosing ---- */

static bool has_room(const struct spot *s, uint64_t now)
{
    return s->living < s->max && s->place->living < s->place->max && now >= s->place->full_until_ns;
}

static uint32_t count_of(const struct spot *s)
{
    return s->starting + s->ready;
}

/* Whether the next member should rather go to a than to b, which stands before it in the same tier. */
static bool is_better(const struct spot *a, const struct spot *b)
{
    const uint64_t mine = count_of(a), other = count_of(b);
    switch (a->algorithm) {
    case PLACE_ROUND_ROBIN:
        return mine < other;
    case PLACE_WEIGHTED:
        return (mine + 1) * b->weight < (other + 1) * a->weight;
    default:
        return false; /* one after another: the first with room */
    }
}

uint32_t spot_with_room(const struct member_set *set, uint64_t now)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < set->spot_count; i++) {
        const struct spot *s = &set->spots[i];
        if (s->is_stray || !has_room(s, now))
            continue;
        if (best == UINT32_MAX || s->tier < set->spots[best].tier ||
            (s->tier == set->spots[best].tier && is_better(s, &set->spots[best])))
            best = i;
    }
    return best;
}

/* Whether a should lose a member rather than b, which stands before it in the same tier. */
static bool is_fuller(const struct spot *a, const struct spot *b)
{
    const uint64_t mine = count_of(a), other = count_of(b);
    switch (a->algorithm) {
    case PLACE_ROUND_ROBIN:
        return mine >= other;
    case PLACE_WEIGHTED:
        return mine * b->weight >= other * a->weight;
    default:
        return true; /* one after another: the last that has any */
    }
}

/* Of those that have members that start, or that are ready. */
static uint32_t fullest(const struct member_set *set, bool is_of_starting)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < set->spot_count; i++) {
        const struct spot *s = &set->spots[i];
        if (!(is_of_starting ? s->starting : s->ready) || s->is_stray)
            continue;
        if (best == UINT32_MAX || s->tier > set->spots[best].tier ||
            (s->tier == set->spots[best].tier && is_fuller(s, &set->spots[best])))
            best = i;
    }
    return best;
}

uint32_t spot_to_shrink(const struct member_set *set)
{
    return fullest(set, false);
}

/* By the counts as they will be when each of them has gone. */
void spots_to_stop(struct member_set *set, uint32_t count, uint32_t *out_by_spot)
{
    uint32_t spot;
    memset(out_by_spot, 0, set->spot_count * sizeof *out_by_spot);
    for (; count > 0 && (spot = fullest(set, true)) != UINT32_MAX; count--) {
        out_by_spot[spot]++;
        set->spots[spot].starting--;
    }
    for (uint32_t i = 0; i < set->spot_count; i++)
        set->spots[i].starting += out_by_spot[i];
}

/* ---- room ---- */

uint64_t spots_retry_ns(const struct member_set *set, uint64_t now)
{
    uint64_t retry = UINT64_MAX;
    for (uint32_t i = 0; i < set->spot_count; i++) {
        const struct spot *s = &set->spots[i];
        const uint64_t until = s->place->full_until_ns;
        if (!s->is_stray && until > now && until < retry)
            retry = until;
    }
    return retry;
}

uint32_t spot_capacity(const struct spot *s, uint64_t now)
{
    const uint32_t others = s->place->living - s->living;
    const uint32_t here = now < s->place->full_until_ns ? s->living
                          : s->place->max == UINT32_MAX ? UINT32_MAX
                          : s->place->max > others      ? s->place->max - others
                                                        : 0;
    /* A place may hold more than it should, of an earlier policy: that takes nothing from those who have
     * theirs by right. */
    const uint32_t mine = count_of(s), room = here > mine ? here : mine;
    return room < s->max ? room : s->max;
}

uint32_t spot_limit(const struct spot *s)
{
    return s->max < s->place->max ? s->max : s->place->max;
}

void place_is_full(struct place *p, uint64_t now)
{
    uint64_t wait_ms = p->full_times < 8 ? (uint64_t)MEMBERS_FULL_MS << p->full_times : MEMBERS_FULL_MAX_MS;
    if (wait_ms > MEMBERS_FULL_MAX_MS)
        wait_ms = MEMBERS_FULL_MAX_MS;
    if (now < p->full_until_ns)
        return; /* several were under way */
    p->full_times++;
    p->full_until_ns = now + wait_ms * 1000000;
    log_warn("%s%s has no capacity; it is asked again in %llu s", *p->partition ? "partition " : "actuator ",
             *p->partition ? p->partition : p->key + 1, (unsigned long long)(wait_ms / 1000));
}

void place_took_one(struct place *p)
{
    p->full_times = 0;
}

void place_lost_one(struct members *ms, struct place *p)
{
    p->living--;
    p->full_until_ns = 0;
    for (struct list *n = ms->hungry.next; n != &ms->hungry; n = n->next)
        members_wake(ms, CONTAINER_OF(n, struct member_set, hungry));
}
