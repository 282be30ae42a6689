#include "orch/members.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/members_part.h"
#include "topo/cluster.h"

const char *member_state_name(enum member_state state)
{
    static const char *const names[] = {"created",        "initialized",        "starting",   "active",
                                        "in_maintenance", "ready_to_shut_down", "terminated", "suspended"};
    return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}

void members_touch(struct members *ms)
{
    ms->is_touched = true;
    ms->ops->touched(ms->ctx);
}

void members_wake(struct members *ms, struct member_set *set)
{
    set->due_ns = 0;
    if (list_is_empty(&set->awake))
        list_push(&ms->awake, &set->awake);
    if (!ms->is_ticking)
        ms->ops->wake(ms->ctx);
}

static void describe(struct members *ms, const struct member *m)
{
    char address[ADDR_TEXT_BYTES] = "";
    if (m->set->port_count && m->ports[0].addr.len)
        (void)addr_print(&m->ports[0].addr, address);
    const struct member_info info = {.id = str_of(m->id),
                                     .set = str_of(m->set->id),
                                     .cartridge = str_of(m->set->cartridge ? m->set->cartridge->name : ""),
                                     .address = str_of(address),
                                     .partition = str_of(m->set->spots[m->spot].place->partition),
                                     .reason = str_of(m->reason),
                                     .state = (uint8_t)m->state,
                                     .since_wall_ns = m->since_wall_ns,
                                     .pid = m->pid};
    model_put_member(ms->model, &info);
    members_touch(ms);
}

/* Its endpoints follow; those whose address is not known yet are not there. */
static void tell_endpoints(struct members *ms, const struct member *m)
{
    for (size_t i = 0; i < m->set->port_count; i++)
        if (m->ports[i].addr.len)
            (void)model_set_endpoint_state(ms->model, str_of(m->set->ports[i].cluster), str_of(m->id),
                                           m->state);
}

static void leave_restless(struct members *ms, struct member *m)
{
    if (ms->walk == &m->restless)
        ms->walk = ms->is_walk_back ? m->restless.prev : m->restless.next;
    list_remove(&m->restless);
}

/* Simply active members are what a tick does not look at. */
static void sort_in(struct members *ms, struct member *m)
{
    const bool is_calm = m->state == MEMBER_ACTIVE && !m->down_ns;
    if (is_calm)
        leave_restless(ms, m);
    else if (list_is_empty(&m->restless))
        list_push(&m->set->restless, &m->restless);
}

void member_set_state(struct members *ms, struct member *m, enum member_state state, const char *reason)
{
    const enum member_state from = m->state;
    member_uncount(ms, m);
    m->state = state;
    m->since_ns = ms->ops->now_ns(ms->ctx);
    m->since_wall_ns = clock_wall_ns();
    m->down_ns = 0;
    (void)snprintf(m->reason, sizeof m->reason, "%s", reason);
    if (state == MEMBER_ACTIVE && m->active_ns == 0) {
        m->active_ns = m->since_ns;
        if (!m->is_adopted)
            set_learn(m->set, m->active_ns - m->created_ns);
    }
    member_count(ms, m);
    sort_in(ms, m);
    tell_endpoints(ms, m);
    describe(ms, m);
    members_wake(ms, m->set);
    if (from == state) /* its birth */
        log_info("member %s: %s (%s)", m->id, member_state_name(state), reason);
    else
        log_info("member %s: %s -> %s (%s)", m->id, member_state_name(from), member_state_name(state),
                 reason);
    ms->ops->event(ms->ctx, m, from);
}

/* ---- birth and death ---- */

struct member *member_create(struct members *ms, struct member_set *set, uint32_t spot, const char *id)
{
    struct member *m = must(calloc(1, sizeof *m));
    m->set = set;
    m->spot = spot;
    m->number = ++ms->last_number;
    m->id = must(str_dup(str_of(id)));
    m->created_ns = m->since_ns = ms->ops->now_ns(ms->ctx);
    m->since_wall_ns = clock_wall_ns();
    m->ports = must(calloc(set->port_count + 1, sizeof *m->ports));
    list_init(&m->restless);
    list_init(&m->node);
    list_push(&set->members, &m->node);
    index_put(&ms->by_id, str_of(m->id), m);
    set->spots[spot].place->living++;
    set->spots[spot].living++;
    member_count(ms, m);
    sort_in(ms, m);
    return m;
}

void member_set_ticket(struct members *ms, struct member *m, uint64_t ticket)
{
    const struct str key = str_make((const char *)&m->ticket, sizeof m->ticket);
    if (m->ticket)
        index_remove(&ms->by_ticket, key);
    m->ticket = ticket;
    if (ticket)
        index_put(&ms->by_ticket, key, m);
}

struct member *member_by_ticket(struct members *ms, uint64_t ticket)
{
    return ticket ? index_get(&ms->by_ticket, str_make((const char *)&ticket, sizeof ticket)) : NULL;
}

void member_free(struct members *ms, struct member *m)
{
    struct spot *spot = &m->set->spots[m->spot];
    member_uncount(ms, m);
    member_set_ticket(ms, m, 0);
    index_remove(&ms->by_id, str_of(m->id));
    list_remove(&m->node);
    leave_restless(ms, m);
    spot->living--;
    place_lost_one(ms, spot->place);
    free(m->ports);
    free(m->id);
    free(m);
}

/* What dies young is replaced later and later, what had proven itself soon, and for what had no room there
 * waits nobody but for room. */
static void open_vacancy(struct members *ms, const struct member *m)
{
    struct member_set *s = m->set;
    if (s->vacancy_count >= MEMBERS_SET_MAX)
        return;
    const uint64_t now = ms->ops->now_ns(ms->ctx);
    const bool is_proven = m->active_ns && now - m->active_ns >= MEMBERS_PROVEN_NS;
    const unsigned failures = is_proven ? 0 : m->failures;
    uint64_t wait_ms = failures < 9 ? (uint64_t)MEMBERS_BACKOFF_MS << failures : MEMBERS_BACKOFF_MAX_MS;
    if (wait_ms > MEMBERS_BACKOFF_MAX_MS)
        wait_ms = MEMBERS_BACKOFF_MAX_MS;
    if (m->is_crowded_out)
        wait_ms = 0;
    s->vacancies = must(realloc(s->vacancies, (s->vacancy_count + 1) * sizeof *s->vacancies));
    s->vacancies[s->vacancy_count++] = (struct vacancy){.not_before_ns = now + wait_ms * NS_PER_MS,
                                                        .failures = failures + !m->is_crowded_out};
    if (wait_ms)
        log_info("member %s is replaced in %llu ms", m->id, (unsigned long long)wait_ms);
}

bool member_is_stopped(const struct member *m)
{
    return m->state == MEMBER_TERMINATED || (m->state == MEMBER_READY_TO_SHUT_DOWN && !m->is_closing);
}

/* A member that the set's count is made of. */
bool member_counts(const struct member *m)
{
    return (m->state <= MEMBER_ACTIVE || m->state == MEMBER_SUSPENDED) && !m->set->spots[m->spot].is_stray;
}

void member_gone(struct members *ms, struct member *m, const char *reason)
{
    if (member_counts(m))
        open_vacancy(ms, m);
    member_set_state(ms, m, MEMBER_TERMINATED, reason);
    for (size_t i = 0; i < m->set->port_count; i++)
        model_remove_endpoint(ms->model, STR(MEMBERS_OWNER), str_of(m->set->ports[i].cluster), str_of(m->id));
    model_remove_member(ms->model, str_of(m->id));
    members_touch(ms);
    member_free(ms, m);
}

void member_forget(struct members *ms, const struct member_set *set, struct str set_id, struct str id)
{
    log_info("member %.*s: gone while the orchestrator was away", STR_ARG(id));
    for (size_t k = 0; set && k < set->port_count; k++)
        model_remove_endpoint(ms->model, STR(MEMBERS_OWNER), str_of(set->ports[k].cluster), id);
    if (!set) /* a cluster that had scale may be there still */
        model_remove_endpoint(ms->model, STR(MEMBERS_OWNER), set_id, id);
    model_remove_member(ms->model, id);
    members_touch(ms);
}

void member_give_up(struct members *ms, struct member *m, const char *reason)
{
    open_vacancy(ms, m);
    member_set_state(ms, m, MEMBER_READY_TO_SHUT_DOWN, reason);
    member_ask_stop(ms, m, false);
}

void member_ask_stop(struct members *ms, struct member *m, bool is_drained)
{
    const uint64_t ticket = ++ms->last_ticket;
    m->set->spots[m->spot].nameless_ends += m->is_nameless;
    m->stops++;
    member_set_ticket(ms, m, ticket);
    if (!ms->ops->stop(ms->ctx, m, is_drained, ticket) && (m = member_by_ticket(ms, ticket)))
        member_gone(ms, m, "its actuator does not stop it");
}

static uint64_t drain_timeout_ns(const struct members *ms, const struct member *m)
{
    return (m->set->cartridge ? m->set->cartridge->drain_timeout_ms : ms->drain_timeout_ms) * NS_PER_MS;
}

void member_begin_drain(struct members *ms, struct member *m, const char *reason)
{
    member_set_state(ms, m, MEMBER_IN_MAINTENANCE, reason);
    m->drain_until_ns = m->since_ns + drain_timeout_ns(ms, m);
    m->covered_number = 0;
}

void member_close(struct members *ms, struct member *m)
{
    m->is_closing = true;
    m->covered_number = 0;
    member_set_state(ms, m, MEMBER_READY_TO_SHUT_DOWN,
                     m->is_drained_by_hand || m->is_faulty || m->is_leaving ? MEMBERS_CLOSING_FOR_GOOD
                                                                            : MEMBERS_CLOSING);
}

/* In the next turn, because an actuator is not called while it calls. */
static void ask_stop_later(struct members *ms, struct member *m, bool is_drained)
{
    m->is_unasked = true;
    m->is_unasked_drained = is_drained;
    members_wake(ms, m->set);
}

/* ---- what actuators say ---- */

static void put_endpoint(struct members *ms, const struct member *m, size_t which)
{
    const struct member_port *port = &m->ports[which];
    const struct spot *spot = &m->set->spots[m->spot];
    const struct str cluster = str_of(m->set->ports[which].cluster);
    const struct endpoint_draft e = {.weight = 100,
                                     .addr = port->addr,
                                     .id = str_of(m->id),
                                     .member = str_of(m->id),
                                     .partition = str_of(spot->place->partition),
                                     .network_partition = str_of(spot->network),
                                     .member_state = (uint8_t)m->state,
                                     .readiness = ENDPOINT_READY};
    struct buf why;
    buf_init(&why);
    if (!model_put_endpoint(ms->model, STR(MEMBERS_OWNER), cluster, &e, &why))
        log_error("member %s: %.*s", m->id, STR_ARG(buf_str(&why)));
    buf_fini(&why);
    /* The model keeps the state it knew of this member; ours is newer. */
    (void)model_set_endpoint_state(ms->model, cluster, str_of(m->id), m->state);
    members_touch(ms);
}

static void take_addresses(struct members *ms, struct member *m, const struct cox_member_change *change)
{
    for (uint32_t i = 0; i < change->addresses.count; i++) {
        const struct cox_port_address *a = COX_AT(struct cox_port_address, change->addresses, i);
        for (size_t k = 0; k < m->set->port_count; k++) {
            if (!a->port || strcmp(a->port, m->set->ports[k].name) != 0)
                continue;
            if (addr_parse(str_of(a->address), &m->ports[k].addr))
                put_endpoint(ms, m, k);
            else
                log_error("member %s: \"%s\" is no address", m->id, a->address ? a->address : "");
        }
    }
}

static const struct member_info *find_loaded(const struct members *ms, const char *id)
{
    uint32_t low = 0, high = ms->loaded ? ms->loaded->member_count : 0; /* sorted by id */
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const int order = str_order(ms->loaded->members[middle].id, str_of(id));
        if (order == 0)
            return &ms->loaded->members[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* How long before now something happened by the wall clock, in nanoseconds; at most since the machine began
 * to count. */
static uint64_t elapsed(uint64_t wall_ns, uint64_t now)
{
    const uint64_t wall_now = clock_wall_ns();
    const uint64_t ns = wall_ns && wall_ns < wall_now ? wall_now - wall_ns : 0;
    return ns < now ? ns : now;
}

static bool was_closing(const struct member_info *before)
{
    return before->state == MEMBER_READY_TO_SHUT_DOWN &&
           (str_eq(before->reason, STR(MEMBERS_CLOSING)) ||
            str_eq(before->reason, STR(MEMBERS_CLOSING_FOR_GOOD)));
}

/* It goes on where the last topology left it: an active one keeps serving, and its probe is asked afresh
 * without taking it away first; one that was leaving leaves on. */
static void go_on(struct members *ms, struct member *m, const struct member_info *before)
{
    const uint64_t now = ms->ops->now_ns(ms->ctx);
    const bool was_up = before && (before->state == MEMBER_ACTIVE || before->state == MEMBER_IN_MAINTENANCE ||
                                   was_closing(before));
    member_uncount(ms, m);
    m->state = was_up ? MEMBER_ACTIVE : MEMBER_STARTING;
    m->active_ns = was_up ? now : 0;
    if (before) {
        m->since_wall_ns = before->since_wall_ns;
        m->since_ns = now - elapsed(before->since_wall_ns, now);
    }
    if (before && !was_up)
        m->created_ns = m->since_ns;
    for (size_t i = 0; i < m->set->port_count; i++)
        m->ports[i].is_up = was_up;
    member_count(ms, m);
    sort_in(ms, m);
    (void)snprintf(m->reason, sizeof m->reason, "adopted");
    log_info("member %s: adopted as %s", m->id, member_state_name(m->state));
}

static void drain_on(struct members *ms, struct member *m, const struct member_info *before)
{
    char reason[sizeof m->reason];
    const uint64_t began = m->since_ns;
    (void)snprintf(reason, sizeof reason, "%.*s", STR_ARG(before->reason));
    member_begin_drain(ms, m, reason);
    m->is_drained_by_hand = strcmp(reason, MEMBERS_BY_HAND) == 0;
    m->is_faulty = strcmp(reason, MEMBERS_FAULTY) == 0;
    m->is_leaving = str_starts(str_of(reason), STR(MEMBERS_LEAVING));
    m->drain_until_ns -= m->since_ns - began; /* what it has waited for counts */
}

/* The last of its set was not asked to stop yet: it may serve something still. */
static void close_on(struct members *ms, struct member *m, const struct member_info *before)
{
    m->is_drained_by_hand = str_eq(before->reason, STR(MEMBERS_CLOSING_FOR_GOOD));
    m->drain_until_ns = m->since_ns + drain_timeout_ns(ms, m); /* what it has waited for counts */
    member_close(ms, m);
}

static const char *partition_of(const struct cox_member_change *change, const struct member_info *before,
                                char text[TOPOLOGY_ID_MAX + 1])
{
    if (change->partition)
        return change->partition;
    (void)snprintf(text, TOPOLOGY_ID_MAX + 1, "%.*s", before ? (int)before->partition.n : 0,
                   before ? before->partition.p : "");
    return text;
}

/* A member that was here before us. */
static void adopt(struct members *ms, const char *actuator, const struct cox_member_change *change)
{
    char text[TOPOLOGY_ID_MAX + 1];
    const struct str id = str_of(change->set);
    struct member_set *set = members_find_set(ms, id);
    if (!set) /* not in the config any more: it is kept in a set of its own until it is drained and stopped */
        set = left_create(ms, change->set ? change->set : "");
    const struct member_info *before = find_loaded(ms, change->member);
    const uint32_t spot = spot_adopt(ms, set, actuator, partition_of(change, before, text));
    struct member *m = member_create(ms, set, spot, change->member);
    m->is_adopted = true;
    m->pid = change->pid;
    go_on(ms, m, before);
    take_addresses(ms, m, change);
    left_recall(ms, m);
    describe(ms, m);
    members_wake(ms, set);
    if (before && was_closing(before)) {
        close_on(ms, m, before);
    } else if (before && before->state == MEMBER_READY_TO_SHUT_DOWN) {
        member_set_state(ms, m, MEMBER_READY_TO_SHUT_DOWN, "it was being stopped");
        ask_stop_later(ms, m, true); /* once more: nobody knows whether that was heard */
    } else if (before && before->state == MEMBER_IN_MAINTENANCE) {
        drain_on(ms, m, before);
    } else if (set->spots[spot].is_stray && m->state != MEMBER_ACTIVE) {
        member_set_state(ms, m, MEMBER_READY_TO_SHUT_DOWN, MEMBERS_STRAYED);
        ask_stop_later(ms, m, false);
    }
}

/* Nothing takes it back from now on. One that was not told to go by us is replaced. */
static void platform_stops(struct members *ms, struct member *m, const char *said)
{
    char reason[sizeof m->reason];
    if (m->is_leaving)
        return;
    member_spare_another(ms, m);
    m->is_leaving = true;
    (void)snprintf(reason, sizeof reason, MEMBERS_LEAVING "%s%s", said ? ": " : "", said ? said : "");
    if (m->state < MEMBER_ACTIVE) {
        open_vacancy(ms, m);
        member_set_state(ms, m, MEMBER_READY_TO_SHUT_DOWN, reason);
        ask_stop_later(ms, m, false);
    } else if (m->state == MEMBER_ACTIVE)
        member_begin_drain(ms, m, reason);
    else if (m->state == MEMBER_IN_MAINTENANCE) {
        const uint64_t until_ns = m->drain_until_ns;
        member_begin_drain(ms, m, reason); /* for the next orchestrator to know */
        m->drain_until_ns = until_ns;
    }
}

void members_on_change(struct members *ms, const char *actuator, const struct cox_member_change *change)
{
    struct member *m = members_find_exact(ms, str_of(change->member));
    if (change->phase == COX_PHASE_TERMINATED) {
        if (m)
            member_spare_another(ms, m);
        if (m || (m = member_find_ended(ms, actuator, change)))
            member_gone(ms, m, change->reason ? change->reason : "terminated");
        return;
    }
    if (change->phase == COX_PHASE_STOPPING && m)
        platform_stops(ms, m, change->reason);
    if (change->phase != COX_PHASE_RUNNING && change->phase != COX_PHASE_PENDING)
        return; /* stopping and lost: the end will be told */
    if (!m && (m = member_find_nameless(ms, actuator, change)))
        member_take_name(ms, m, change->member);
    if (!m) {
        adopt(ms, actuator, change);
        return;
    }
    if (change->pid)
        m->pid = change->pid;
    take_addresses(ms, m, change);
    if (change->phase == COX_PHASE_RUNNING && m->state < MEMBER_STARTING)
        member_set_state(ms, m, MEMBER_STARTING, "it runs");
    else
        describe(ms, m);
}

void members_on_ticket(struct members *ms, uint64_t ticket, enum cox_ticket_result result, const char *reason)
{
    static const char *const words[] = {"done", "failed", "failed for good", "no capacity", "timed out"};
    struct member *m = member_by_ticket(ms, ticket);
    if (!m)
        return; /* the member is gone, and its ticket with it */
    struct place *place = m->set->spots[m->spot].place;
    const bool is_start = m->state <= MEMBER_ACTIVE;
    member_set_ticket(ms, m, 0);
    if (result == COX_TICKET_DONE) {
        if (is_start)
            place_took_one(place);
        else if (m->is_nameless)
            member_gone(ms, m, "it is not to come any more");
        else if (m->stops > 1 && !(ms->ops->is_counted && ms->ops->is_counted(ms->ctx, m)))
            member_gone(ms, m, "its actuator says again that it is stopped");
        return; /* the phases tell the rest */
    }
    char why[128];
    (void)snprintf(why, sizeof why, "%s%s%.80s", (unsigned)result < 5 ? words[result] : "unknown result",
                   *reason ? ": " : "", reason);
    log_warn("member %s: its actuator says: %s", m->id, why);
    if (result == COX_TICKET_FINAL)
        m->failures = m->failures > 6 ? m->failures : 6; /* no use in hurrying */
    m->is_crowded_out = result == COX_TICKET_NO_CAPACITY;
    if (m->state >= MEMBER_STARTING)
        return;
    const uint64_t full_until_ns = place->full_until_ns;
    member_gone(ms, m, why);
    if (result != COX_TICKET_NO_CAPACITY)
        return;
    place->full_until_ns = full_until_ns; /* it had no room there, so its end makes none */
    place_is_full(place, ms->ops->now_ns(ms->ctx));
}

void members_on_published(struct members *ms, uint64_t number)
{
    ms->published = number;
    ms->first_published = ms->first_published ? ms->first_published : number;
    ms->is_touched = false;
}

/* ---- probes and hands ---- */

static bool take_verdict(struct member *m, struct str cluster, bool is_up)
{
    bool all = true;
    for (size_t i = 0; i < m->set->port_count; i++) {
        if (str_eq(str_of(m->set->ports[i].cluster), cluster))
            m->ports[i].is_up = is_up;
        all &= m->ports[i].is_up;
    }
    return all;
}

void members_on_probe(struct members *ms, struct str cluster, struct str member, bool is_up)
{
    struct member *m = members_find_exact(ms, member);
    if (!m)
        return;
    const bool all = take_verdict(m, cluster, is_up);
    if (all && m->state == MEMBER_STARTING) {
        member_set_state(ms, m, MEMBER_ACTIVE, "every port answers");
    } else if (all && m->state == MEMBER_IN_MAINTENANCE && m->is_faulty && !m->is_leaving) {
        m->is_faulty = false;
        member_set_state(ms, m, MEMBER_ACTIVE, "its probe answers again");
    } else if (m->state == MEMBER_ACTIVE && all != !m->down_ns) {
        m->down_ns = all ? 0 : ms->ops->now_ns(ms->ctx);
        sort_in(ms, m);
        members_wake(ms, m->set);
    }
}

bool members_drain(struct members *ms, struct member *m, const char **out_why)
{
    *out_why = "it is not active";
    if (m->state != MEMBER_ACTIVE)
        return false;
    m->is_drained_by_hand = true;
    member_begin_drain(ms, m, MEMBERS_BY_HAND);
    return true;
}

bool members_undrain(struct members *ms, struct member *m, const char **out_why)
{
    *out_why = m->state == MEMBER_ACTIVE ? "it is not draining" : "it is too late: it is being stopped";
    if (m->state != MEMBER_IN_MAINTENANCE)
        return false;
    *out_why = MEMBERS_LEAVING;
    if (m->is_leaving)
        return false;
    m->is_drained_by_hand = m->is_faulty = false;
    member_set_state(ms, m, MEMBER_ACTIVE, "undrain asked for");
    return true;
}
