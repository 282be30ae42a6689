/* Keeping sets at their wanted count: starting, watching, draining, stopping. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/members.h"

/* ---- starting ---- */

/* application-alias-xxxxxx: short enough to type, random so that it is never used again, even when no state
 * was kept. Letters and digits that look alike are left out. */
static char *new_id(struct members *ms, const struct member_set *set)
{
    static const char letters[] = "23456789bcdfghjkmnpqrstvwxz";
    for (;;) {
        uint8_t random[7];
        if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
            PANIC("no random bytes");
        char tail[sizeof random + 1] = "";
        for (size_t i = 0; i < sizeof random; i++)
            tail[i] = letters[random[i] % (sizeof letters - 1)];
        struct buf id;
        buf_init(&id);
        buf_printf(&id, "%s-%s-%s", set->application, set->alias, tail);
        char *text = must(str_dup(buf_str(&id)));
        buf_fini(&id);
        if (!members_find(ms, text))
            return text;
        free(text);
    }
}

static void start_one(struct members *ms, struct member_set *set, unsigned failures)
{
    char *id = new_id(ms, set);
    struct member *m = member_create(ms, set, id);
    free(id);
    m->failures = failures;
    member_set_state(ms, m, MEMBER_CREATED, failures ? "replacement" : "wanted");
    m->ticket = ++ms->last_ticket;
    const uint64_t ticket = m->ticket;
    member_set_state(ms, m, MEMBER_INITIALIZED, "start asked for");
    if (!ms->ops->start(ms->ctx, m, ticket) && (m = member_by_ticket(ms, ticket)))
        member_gone(ms, m, "its actuator does not start it");
}

/* The vacancy that is due first; false when none is due. */
static bool take_vacancy(struct member_set *set, uint64_t now, unsigned *out_failures)
{
    size_t best = 0;
    for (size_t i = 1; i < set->vacancy_count; i++)
        if (set->vacancies[i].not_before_ns < set->vacancies[best].not_before_ns)
            best = i;
    if (set->vacancy_count == 0 || set->vacancies[best].not_before_ns > now)
        return false;
    *out_failures = set->vacancies[best].failures;
    set->vacancies[best] = set->vacancies[--set->vacancy_count];
    return true;
}

static uint32_t count_of(const struct member_set *set, bool active_only)
{
    uint32_t n = 0;
    for (const struct list *k = set->members.next; k != &set->members; k = k->next) {
        const struct member *m = CONTAINER_OF(k, struct member, node);
        n += active_only ? m->state == MEMBER_ACTIVE : member_counts(m);
    }
    return n;
}

static void start_missing(struct members *ms, struct member_set *set, uint32_t wanted)
{
    const uint64_t now = ms->ops->now_ns(ms->ctx);
    const uint32_t count = count_of(set, false);
    if (count >= wanted) {
        set->vacancy_count = 0; /* nothing is to be replaced any more */
        return;
    }
    const uint32_t missing = wanted - count;
    if (set->vacancy_count > missing)
        set->vacancy_count = missing;
    /* What nobody died of starts at once, each vacancy when its time has come. Counted before starting: a
     * start that fails at once opens a vacancy of its own. */
    const uint32_t fresh = missing - (uint32_t)set->vacancy_count;
    unsigned failures;
    for (uint32_t due = (uint32_t)set->vacancy_count; due > 0 && take_vacancy(set, now, &failures); due--)
        start_one(ms, set, failures);
    for (uint32_t i = 0; i < fresh; i++)
        start_one(ms, set, 0);
}

/* ---- too many ---- */

/* Who goes first: one that does not serve yet, else the youngest. */
static struct member *pick_victim(struct member_set *set)
{
    struct member *victim = NULL;
    for (struct list *k = set->members.prev; k != &set->members; k = k->prev) {
        struct member *m = CONTAINER_OF(k, struct member, node);
        if (!member_counts(m))
            continue;
        if (m->state != MEMBER_ACTIVE)
            return m;
        if (!victim)
            victim = m;
    }
    return victim;
}

static void begin_drain(struct members *ms, struct member *m, const char *reason)
{
    const uint64_t timeout_ms = m->set->cartridge ? m->set->cartridge->drain_timeout_ms : 30000;
    member_set_state(ms, m, MEMBER_IN_MAINTENANCE, reason);
    m->drain_until_ns = m->since_ns + timeout_ms * NS_PER_MS;
    m->covered_number = 0;
}

static void stop_member(struct members *ms, struct member *m, const char *reason)
{
    member_set_state(ms, m, MEMBER_READY_TO_SHUT_DOWN, reason);
    member_ask_stop(ms, m, true);
}

static void drain_surplus(struct members *ms, struct member_set *set, uint32_t wanted)
{
    if (set->waits_for_want && !set->has_want)
        return;
    for (uint32_t count = count_of(set, false); count > wanted; count--) {
        struct member *m = pick_victim(set);
        ASSERT(m != NULL);
        if (m->state == MEMBER_ACTIVE)
            begin_drain(ms, m, "no longer wanted");
        else
            stop_member(ms, m, "no longer wanted");
    }
}

/* ---- one member's time ---- */

static uint64_t in_flight(struct members *ms, const struct member *m)
{
    uint64_t n = 0;
    for (size_t i = 0; i < m->port_count; i++)
        n += ms->ops->in_flight(ms->ctx, str_of(m->ports[i].cluster), str_of(m->id));
    return n;
}

/* Others serve in its place, and every proxy has the topology that says so. Only then does a count of zero
 * mean that nothing more will come. */
static bool is_covered(struct members *ms, struct member *m)
{
    if (count_of(m->set, true) < members_wanted(m->set)) {
        m->covered_number = 0;
        return false;
    }
    if (m->covered_number == 0 || (m->covered_number > ms->published && !ms->is_touched))
        m->covered_number =
            ms->published + (ms->is_touched ? 1 : 0); /* an edit may turn out to change nothing */
    return ms->published >= m->covered_number && ms->ops->is_acknowledged(ms->ctx, m->covered_number);
}

static void drain_step(struct members *ms, struct member *m, uint64_t now)
{
    if (is_covered(ms, m) && in_flight(ms, m) == 0)
        stop_member(ms, m, "drained");
    else if (now >= m->drain_until_ns)
        stop_member(ms, m, "drain_timeout is over");
}

static void member_step(struct members *ms, struct member *m, uint64_t now)
{
    const uint64_t timeout_ms = m->set->cartridge ? m->set->cartridge->start_timeout_ms : 0;
    if (m->state == MEMBER_IN_MAINTENANCE)
        drain_step(ms, m, now);
    else if (m->state < MEMBER_ACTIVE && timeout_ms && now - m->since_ns >= timeout_ms * NS_PER_MS)
        member_give_up(ms, m, "start_timeout is over");
}

static bool set_step(struct members *ms, struct member_set *set)
{
    const uint64_t now = ms->ops->now_ns(ms->ctx);
    bool is_busy = false;
    for (struct list *k = set->members.next, *next; k != &set->members; k = next) {
        next = k->next;
        member_step(ms, CONTAINER_OF(k, struct member, node), now); /* may free it */
    }
    if (!set->is_listed)
        return false; /* the actuator's list will wake us */
    const uint32_t wanted = members_wanted(set);
    start_missing(ms, set, wanted);
    drain_surplus(ms, set, wanted);
    for (struct list *k = set->members.next; k != &set->members; k = k->next)
        is_busy |= CONTAINER_OF(k, struct member, node)->state != MEMBER_ACTIVE;
    return is_busy || set->vacancy_count > 0;
}

uint64_t members_tick(struct members *ms)
{
    bool is_busy = false;
    for (struct list *n = ms->sets.next, *next; n != &ms->sets; n = next) {
        next = n->next;
        is_busy |= set_step(ms, CONTAINER_OF(n, struct member_set, node));
    }
    return is_busy ? MEMBERS_TICK_MS : 0;
}

/* ---- probes and hands ---- */

void members_on_probe(struct members *ms, struct str cluster, struct str member, bool is_up)
{
    char *id = must(str_dup(member));
    struct member *m = members_find(ms, id);
    free(id);
    if (!m || !str_eq(str_of(m->id), member))
        return;
    bool all = true;
    for (size_t i = 0; i < m->port_count; i++) {
        if (str_eq(str_of(m->ports[i].cluster), cluster))
            m->ports[i].is_up = is_up;
        all &= m->ports[i].is_up;
    }
    if (all && m->state == MEMBER_STARTING)
        member_set_state(ms, m, MEMBER_ACTIVE, "every port answers");
}

bool members_drain(struct members *ms, struct member *m, const char **out_why)
{
    *out_why = "it is not active";
    if (m->state != MEMBER_ACTIVE)
        return false;
    m->is_drained_by_hand = true;
    begin_drain(ms, m, "drain asked for");
    return true;
}

bool members_undrain(struct members *ms, struct member *m, const char **out_why)
{
    *out_why = m->state == MEMBER_ACTIVE ? "it is not draining" : "it is too late: it is being stopped";
    if (m->state != MEMBER_IN_MAINTENANCE)
        return false;
    m->is_drained_by_hand = false;
    member_set_state(ms, m, MEMBER_ACTIVE, "undrain asked for");
    return true;
}
