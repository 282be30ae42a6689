/* Keeping sets at their wanted count: starting, watching, draining, stopping. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/members_part.h"

/* ---- too few ---- */

/* application-alias-xxxxxxx: short enough to type, random so that it is never used again, even when no state
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
        buf_printf(&id, "%s%s%s-%s", set->application, *set->alias ? "-" : "", set->alias, tail);
        char *text = must(str_dup(buf_str(&id)));
        buf_fini(&id);
        if (!members_find_exact(ms, str_of(text)))
            return text;
        free(text);
    }
}

static void start_one(struct members *ms, struct member_set *set, uint32_t spot, unsigned failures)
{
    char *id = new_id(ms, set);
    if (set->spots[spot].starting == 0)
        set->spots[spot].nameless_ends = 0; /* what was not told by now will not be */
    struct member *m = member_create(ms, set, spot, id);
    free(id);
    m->failures = failures;
    m->is_nameless = ms->ops->is_counted && ms->ops->is_counted(ms->ctx, m);
    member_set_state(ms, m, MEMBER_CREATED, failures ? "replacement" : "wanted");
    const uint64_t ticket = ++ms->last_ticket;
    member_set_ticket(ms, m, ticket);
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

/* Leaves, serves still and may stay. */
static bool may_return(const struct member *m)
{
    const struct member_set *set = m->set;
    return set->cartridge && set->cartridge->undrain &&
           (m->state == MEMBER_IN_MAINTENANCE || m->is_closing) && !m->is_drained_by_hand && !m->is_faulty &&
           !m->is_leaving && !set->spots[m->spot].is_stray;
}

/* The last that was told to go. */
static struct member *pick_returner(const struct member_set *set)
{
    for (const struct list *k = set->restless.prev; k != &set->restless; k = k->prev) {
        struct member *m = CONTAINER_OF(k, struct member, restless);
        if (may_return(m))
            return m;
    }
    return NULL;
}

static void set_hungry(struct members *ms, struct member_set *set, bool is_hungry)
{
    if (is_hungry != list_is_empty(&set->hungry))
        return;
    set->changes++;
    if (is_hungry) {
        list_push(&ms->hungry, &set->hungry);
        log_warn("set %s: no place has room for a further member", set->id);
    } else {
        list_remove(&set->hungry);
    }
}

static void start_missing(struct members *ms, struct member_set *set, uint32_t wanted, uint64_t now)
{
    struct member *returner;
    while (set->counted < wanted && (returner = pick_returner(set))) {
        returner->is_closing = false;
        member_set_state(ms, returner, MEMBER_ACTIVE, "wanted again");
    }
    if (set->counted >= wanted) {
        set->vacancy_count = 0; /* nothing is to be replaced any more */
        set_hungry(ms, set, false);
        return;
    }
    const uint32_t missing = wanted - set->counted;
    if (set->vacancy_count > missing)
        set->vacancy_count = missing;
    /* What nobody died of starts at once, each vacancy when its time has come. Counted before starting: a
     * start that fails at once opens a vacancy of its own. */
    uint32_t fresh = missing - (uint32_t)set->vacancy_count, due = (uint32_t)set->vacancy_count;
    uint32_t spot = spot_with_room(set, now);
    unsigned failures;
    if (fresh > MEMBERS_STARTS_TURN)
        fresh = MEMBERS_STARTS_TURN; /* the others in the next turn of the loop */
    for (; due > 0 && spot != UINT32_MAX && take_vacancy(set, now, &failures); due--) {
        start_one(ms, set, spot, failures);
        spot = spot_with_room(set, now);
    }
    for (; fresh > 0 && spot != UINT32_MAX; fresh--) {
        start_one(ms, set, spot, 0);
        spot = spot_with_room(set, now);
    }
    set_hungry(ms, set, spot == UINT32_MAX && set->counted < wanted);
}

/* ---- too many ---- */

static void stop_member(struct members *ms, struct member *m, const char *reason)
{
    member_set_state(ms, m, MEMBER_READY_TO_SHUT_DOWN, reason);
    member_ask_stop(ms, m, true);
}

static uint64_t in_flight(struct members *ms, const struct member *m)
{
    uint64_t n = left_in_flight(ms, m);
    for (size_t i = 0; i < m->set->port_count; i++)
        n += ms->ops->in_flight(ms->ctx, str_of(m->set->ports[i].cluster), str_of(m->id));
    return n;
}

/* Those that do not serve yet go first: of the fullest place, the youngest before the others. */
static void stop_starting(struct members *ms, struct member_set *set, uint32_t wanted)
{
    uint32_t *due = must(calloc(set->spot_count, sizeof *due));
    spots_to_stop(set, set->counted - wanted, due);
    ms->is_walk_back = true;
    for (struct list *k = set->restless.prev; k != &set->restless && set->counted > wanted; k = ms->walk) {
        ms->walk = k->prev;
        struct member *m = CONTAINER_OF(k, struct member, restless);
        if (m->state < MEMBER_ACTIVE && due[m->spot] > 0) {
            due[m->spot]--;
            stop_member(ms, m, "no longer wanted"); /* may free it, and others */
        }
    }
    ms->walk = NULL;
    free(due);
}

/* Of one place the least loaded first, of those the youngest; places side by side. */
static int by_value(const void *a, const void *b)
{
    const struct member *x = *(struct member *const *)a, *y = *(struct member *const *)b;
    if (x->spot != y->spot)
        return x->spot < y->spot ? -1 : 1;
    if (x->load != y->load)
        return x->load < y->load ? -1 : 1;
    return x->number > y->number ? -1 : 1;
}

static struct member **line_up(struct members *ms, const struct member_set *set)
{
    struct member **line = must(calloc(set->ready + 1u, sizeof *line)); /* strays too: nobody takes them */
    uint32_t n = 0;
    for (const struct list *k = set->members.next; k != &set->members; k = k->next) {
        struct member *m = CONTAINER_OF(k, struct member, node);
        if (m->state != MEMBER_ACTIVE)
            continue;
        m->load = in_flight(ms, m);
        line[n++] = m;
    }
    ASSERT(n == set->ready);
    qsort(line, n, sizeof *line, by_value);
    return line;
}

/* The places say which of them loses a member, the line of each place which one. */
static void drain_active(struct members *ms, struct member_set *set, uint32_t wanted)
{
    struct member **line = line_up(ms, set);
    uint32_t *next = must(calloc(set->spot_count, sizeof *next)); /* in line, by spot */
    for (uint32_t i = set->ready; i-- > 0;)
        next[line[i]->spot] = i;
    while (set->counted > wanted) {
        const uint32_t spot = spot_to_shrink(set);
        if (spot == UINT32_MAX)
            break;
        member_begin_drain(ms, line[next[spot]++], "no longer wanted");
    }
    free(next);
    free(line);
}

static void drain_surplus(struct members *ms, struct member_set *set, uint32_t wanted)
{
    if (set->counted <= wanted || (set->waits_for_want && !set->has_want))
        return;
    stop_starting(ms, set, wanted);
    if (set->counted > wanted)
        drain_active(ms, set, wanted);
}

/* ---- strays ---- */

/* Members where the policy has no place go once as many as are wanted serve elsewhere. */
static void drain_strays(struct members *ms, struct member_set *set, uint32_t wanted)
{
    uint32_t strays = 0;
    for (uint32_t i = 0; i < set->spot_count; i++)
        strays += set->spots[i].is_stray ? set->spots[i].ready : 0;
    if (!strays || set->ready - strays < wanted || (set->waits_for_want && !set->has_want))
        return;
    for (struct list *k = set->members.next; k != &set->members; k = k->next) {
        struct member *m = CONTAINER_OF(k, struct member, node);
        if (m->state == MEMBER_ACTIVE && set->spots[m->spot].is_stray)
            member_begin_drain(ms, m, MEMBERS_STRAYED);
    }
}

/* ---- the faulty ---- */

static uint64_t faulty_ns(const struct member_set *set)
{
    const uint64_t ms = set->cartridge ? set->cartridge->faulty_after_ms : 0;
    return ms ? ms * NS_PER_MS : UINT64_MAX;
}

/* How many may be replaced for that at a time, and how many are: those that have not gone yet, and what is to
 * take a place and has not. */
static bool may_replace(const struct member_set *set)
{
    uint32_t under_way = set->starting + (uint32_t)set->vacancy_count;
    for (const struct list *k = set->restless.next; k != &set->restless; k = k->next)
        under_way += CONTAINER_OF(k, struct member, restless)->is_faulty;
    const uint32_t limit = members_wanted(set) * (uint32_t)set->cartridge->faulty_max_percent / 100;
    return under_way < (limit > 1 ? limit : 1);
}

static void faulty_step(struct members *ms, struct member *m, uint64_t now)
{
    struct member_set *set = m->set;
    const uint64_t after = faulty_ns(set);
    if (!set->is_listed || after == UINT64_MAX || now - m->down_ns < after || !may_replace(set))
        return;
    m->is_faulty = true;
    member_begin_drain(ms, m, MEMBERS_FAULTY);
}

/* ---- one member's time ---- */

/* Every proxy has the topology that says how it is now. */
static bool is_known(struct members *ms, struct member *m)
{
    if (m->covered_number == 0 || (m->covered_number > ms->published && !ms->is_touched))
        m->covered_number =
            ms->published + (ms->is_touched ? 1 : 0); /* an edit may turn out to change nothing */
    return ms->published >= m->covered_number && ms->ops->is_acknowledged(ms->ctx, m->covered_number);
}

/* Others serve in its place, and every proxy has the topology that says so. Only then does a count of zero
 * mean that nothing more will come. When there is no room for others, nobody will. */
static bool is_covered(struct members *ms, struct member *m)
{
    if (m->set->ready < members_wanted(m->set) && list_is_empty(&m->set->hungry)) {
        m->covered_number = 0;
        return false;
    }
    return is_known(ms, m);
}

static void closing_step(struct members *ms, struct member *m, uint64_t now)
{
    if (m->set->counted < members_wanted(m->set) && may_return(m) && now < m->drain_until_ns)
        return; /* it stays after all. Any other goes, if only to make room for its successor */
    if ((!is_known(ms, m) || in_flight(ms, m) > 0) && now < m->drain_until_ns)
        return;
    m->is_closing = false;
    stop_member(ms, m, "drained");
}

static void drain_step(struct members *ms, struct member *m, uint64_t now)
{
    if (is_covered(ms, m) && in_flight(ms, m) == 0) {
        if (m->set->ready)
            stop_member(ms, m, "drained");
        else
            member_close(ms, m);
    } else if (now >= m->drain_until_ns)
        stop_member(ms, m, "drain_timeout is over");
}

static uint64_t timeout_ns(const struct member *m)
{
    const struct cartridge_settings *c = m->set->cartridge;
    if (m->state == MEMBER_READY_TO_SHUT_DOWN)
        return ((c ? c->stop_timeout_ms : 10000) + MEMBERS_STOP_GRACE_MS) * NS_PER_MS;
    return c ? c->start_timeout_ms * NS_PER_MS : UINT64_MAX;
}

static void member_step(struct members *ms, struct member *m, uint64_t now)
{
    const bool is_late = m->state != MEMBER_ACTIVE && now - m->since_ns >= timeout_ns(m);
    if (m->is_unasked) {
        m->is_unasked = !m->set->is_listed; /* nothing is stopped before all are told */
        if (!m->is_unasked)
            member_ask_stop(ms, m, m->is_unasked_drained);
    } else if (m->state == MEMBER_IN_MAINTENANCE) {
        drain_step(ms, m, now);
    } else if (m->is_closing) {
        closing_step(ms, m, now);
    } else if (m->state == MEMBER_ACTIVE && m->down_ns) {
        faulty_step(ms, m, now);
    } else if (m->state < MEMBER_ACTIVE && is_late) {
        member_give_up(ms, m, "start_timeout is over");
    } else if (m->state == MEMBER_READY_TO_SHUT_DOWN && is_late) {
        member_set_state(ms, m, MEMBER_READY_TO_SHUT_DOWN, "its actuator does not answer: asked again");
        member_ask_stop(ms, m, false);
    }
}

/* ---- one set's time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t member_due(const struct member *m, uint64_t now)
{
    if (m->state == MEMBER_IN_MAINTENANCE || m->is_closing)
        return now + MEMBERS_TICK_MS * NS_PER_MS;
    if (m->state == MEMBER_ACTIVE) { /* once that is over, it waits for others to be replaced */
        const uint64_t after = faulty_ns(m->set);
        return after != UINT64_MAX && m->down_ns + after > now ? m->down_ns + after : UINT64_MAX;
    }
    const uint64_t timeout = timeout_ns(m);
    return timeout == UINT64_MAX ? UINT64_MAX : m->since_ns + timeout;
}

/* When something will have to be done without anything having happened; UINT64_MAX: never. */
static uint64_t set_due(const struct member_set *set, uint64_t now)
{
    uint64_t due = UINT64_MAX;
    for (const struct list *k = set->restless.next; k != &set->restless; k = k->next)
        due = earlier(due, member_due(CONTAINER_OF(k, struct member, restless), now));
    if (!set->is_listed)
        return due;
    const uint32_t wanted = members_wanted(set);
    if (set->counted < wanted && !list_is_empty(&set->hungry))
        return earlier(due, spots_retry_ns(set, now));
    for (size_t i = 0; i < set->vacancy_count; i++)
        due = earlier(due, set->vacancies[i].not_before_ns);
    return set->counted + set->vacancy_count < wanted ? now : due; /* one failed at once */
}

static void set_step(struct members *ms, struct member_set *set, uint64_t now)
{
    ms->is_walk_back = false;
    for (struct list *k = set->restless.next; k != &set->restless; k = ms->walk) {
        ms->walk = k->next;
        member_step(ms, CONTAINER_OF(k, struct member, restless), now); /* may free it, and others */
    }
    ms->walk = NULL;
    if (set->is_listed) {
        const uint32_t wanted = members_wanted(set);
        start_missing(ms, set, wanted, now);
        drain_surplus(ms, set, wanted);
        drain_strays(ms, set, wanted);
    }
    set->due_ns = set_due(set, now);
    if (set->due_ns == UINT64_MAX)
        list_remove(&set->awake);
}

uint64_t members_tick(struct members *ms)
{
    const uint64_t now = ms->ops->now_ns(ms->ctx);
    uint64_t due = UINT64_MAX;
    struct list waiting, *node;
    list_init(&waiting);
    list_splice(&waiting, &ms->awake);
    ms->is_ticking = true;
    while (ms->ops->now_ns(ms->ctx) - now < MEMBERS_TURN_NS && (node = list_shift(&waiting))) {
        struct member_set *set = CONTAINER_OF(node, struct member_set, awake);
        list_push(&ms->awake, node);
        if (set->due_ns <= now || set->draining)
            set_step(ms, set, now);
    }
    ms->is_ticking = false;
    list_splice(&waiting, &ms->awake); /* whom time did not suffice for is first next time */
    list_splice(&ms->awake, &waiting);
    for (const struct list *n = ms->awake.next; n != &ms->awake; n = n->next)
        due = earlier(due, CONTAINER_OF(n, struct member_set, awake)->due_ns);
    if (due == UINT64_MAX)
        return 0;
    return due > now ? (due - now + NS_PER_MS - 1) / NS_PER_MS : 1;
}
