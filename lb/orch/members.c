#include "orch/members.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"

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

static void describe(struct members *ms, const struct member *m)
{
    char address[ADDR_TEXT_BYTES] = "";
    if (m->port_count && m->ports[0].addr.len)
        (void)addr_print(&m->ports[0].addr, address);
    const struct member_info info = {.id = str_of(m->id),
                                     .set = str_of(m->set->id),
                                     .cartridge = str_of(m->set->cartridge ? m->set->cartridge->name : ""),
                                     .address = str_of(address),
                                     .reason = str_of(m->reason),
                                     .state = (uint8_t)m->state,
                                     .since_wall_ns = m->since_wall_ns,
                                     .pid = m->pid};
    model_put_member(ms->model, &info);
    members_touch(ms);
}

/* The one writer of a member's state. */
void member_set_state(struct members *ms, struct member *m, enum member_state state, const char *reason)
{
    const enum member_state from = m->state;
    m->state = state;
    m->since_ns = ms->ops->now_ns(ms->ctx);
    m->since_wall_ns = clock_wall_ns();
    (void)snprintf(m->reason, sizeof m->reason, "%s", reason);
    if (state == MEMBER_ACTIVE && m->active_ns == 0)
        m->active_ns = m->since_ns;
    member_facts_changed(ms, m, from);
    (void)model_set_member_state(ms->model, str_of(m->id),
                                 state); /* false: its endpoints are not known yet */
    describe(ms, m);
    if (from == state) /* its birth */
        log_info("member %s: %s (%s)", m->id, member_state_name(state), reason);
    else
        log_info("member %s: %s -> %s (%s)", m->id, member_state_name(from), member_state_name(state),
                 reason);
    ms->ops->event(ms->ctx, m, from);
}

/* ---- sets ---- */

static struct member_set *set_create(struct members *ms, const char *id, const char *application,
                                     const char *alias, const char *actuator)
{
    struct member_set *s = must(calloc(1, sizeof *s));
    s->id = must(str_dup(str_of(id)));
    s->application = must(str_dup(str_of(application)));
    s->alias = must(str_dup(str_of(alias)));
    s->actuator = must(str_dup(str_of(actuator)));
    s->ready_at_ns = ms->ops->now_ns(ms->ctx);
    list_init(&s->members);
    list_init(&s->node);
    list_push(&ms->sets, &s->node);
    return s;
}

static const struct cartridge_settings *find_cartridge(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->cartridges.count; i++) {
        const struct cartridge_settings *c = SETTINGS_AT(s->cartridges, struct cartridge_settings, i);
        if (name && strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

static void load_alias(struct members *ms, const struct settings *s, const char *application,
                       const struct alias_settings *a)
{
    const struct cartridge_settings *c = find_cartridge(s, a->type);
    ASSERT(c != NULL); /* settings_load checked the reference */
    struct buf id;
    buf_init(&id);
    buf_printf(&id, "%s/1/1/%s", application, a->alias);
    buf_put(&id, "", 1);
    struct member_set *set = set_create(ms, id.p, application, a->alias, c->actuator);
    buf_fini(&id);
    set->cartridge = c;
    set->min = (uint32_t)(a->min < 0 ? 0 : a->min > MEMBERS_SET_MAX ? MEMBERS_SET_MAX : a->min);
    set->max = (uint32_t)(a->max < a->min ? set->min : a->max > MEMBERS_SET_MAX ? MEMBERS_SET_MAX : a->max);
}

void members_load_settings(struct members *ms, const struct settings *s)
{
    for (size_t i = 0; i < s->applications.count; i++) {
        const struct application_settings *app = SETTINGS_AT(s->applications, struct application_settings, i);
        for (size_t k = 0; k < app->cartridges.count; k++)
            load_alias(ms, s, app->name, SETTINGS_AT(app->cartridges, struct alias_settings, k));
    }
}

/* ---- birth and death ---- */

struct member *member_create(struct members *ms, struct member_set *set, const char *id)
{
    struct member *m = must(calloc(1, sizeof *m));
    m->set = set;
    m->id = must(str_dup(str_of(id)));
    m->created_ns = m->since_ns = ms->ops->now_ns(ms->ctx);
    m->since_wall_ns = clock_wall_ns();
    const size_t ports = set->cartridge ? set->cartridge->ports.count : 0;
    m->port_count = ports < MEMBERS_PORTS_MAX ? ports : MEMBERS_PORTS_MAX;
    m->ports = must(calloc(m->port_count + 1, sizeof *m->ports));
    for (size_t i = 0; i < m->port_count; i++) {
        m->ports[i].settings = SETTINGS_AT(set->cartridge->ports, struct port_settings, i);
        struct buf cluster;
        buf_init(&cluster);
        buf_printf(&cluster, "%s:%s", set->id, m->ports[i].settings->name);
        m->ports[i].cluster = must(str_dup(buf_str(&cluster)));
        buf_fini(&cluster);
    }
    list_init(&m->node);
    list_push(&set->members, &m->node);
    return m;
}

static void member_free(struct member *m)
{
    list_remove(&m->node);
    for (size_t i = 0; i < m->port_count; i++)
        free(m->ports[i].cluster);
    free(m->ports);
    free(m->id);
    free(m);
}

/* What dies young is replaced later and later, what had proven itself soon. */
static void open_vacancy(struct members *ms, const struct member *m)
{
    struct member_set *s = m->set;
    if (s->vacancy_count >= s->max)
        return;
    const uint64_t now = ms->ops->now_ns(ms->ctx);
    const bool is_proven = m->active_ns && now - m->active_ns >= MEMBERS_PROVEN_NS;
    const unsigned failures = is_proven ? 0 : m->failures;
    uint64_t wait_ms = failures < 9 ? (uint64_t)MEMBERS_BACKOFF_MS << failures : MEMBERS_BACKOFF_MAX_MS;
    if (wait_ms > MEMBERS_BACKOFF_MAX_MS)
        wait_ms = MEMBERS_BACKOFF_MAX_MS;
    s->vacancies = must(realloc(s->vacancies, (s->vacancy_count + 1) * sizeof *s->vacancies));
    s->vacancies[s->vacancy_count++] =
        (struct vacancy){.not_before_ns = now + wait_ms * NS_PER_MS, .failures = failures + 1};
    log_info("member %s is replaced in %llu ms", m->id, (unsigned long long)wait_ms);
}

/* A member that the set's count is made of. */
bool member_counts(const struct member *m)
{
    return m->state <= MEMBER_ACTIVE || m->state == MEMBER_SUSPENDED;
}

void member_gone(struct members *ms, struct member *m, const char *reason)
{
    if (member_counts(m))
        open_vacancy(ms, m);
    member_set_state(ms, m, MEMBER_TERMINATED, reason);
    for (size_t i = 0; i < m->port_count; i++)
        model_remove_endpoint(ms->model, STR(MEMBERS_OWNER), str_of(m->ports[i].cluster), str_of(m->id));
    model_remove_member(ms->model, str_of(m->id));
    members_touch(ms);
    member_free(m);
}

/* It never came up, or the actuator could not: stop it, and try another after a while. */
void member_give_up(struct members *ms, struct member *m, const char *reason)
{
    open_vacancy(ms, m);
    member_set_state(ms, m, MEMBER_READY_TO_SHUT_DOWN, reason);
    member_ask_stop(ms, m, false);
}

void members_init(struct members *ms, struct model *model, const struct members_ops *ops, void *ctx)
{
    *ms = (struct members){.model = model, .ops = ops, .ctx = ctx};
    list_init(&ms->sets);
}

void members_fini(struct members *ms)
{
    struct list *node;
    while ((node = list_shift(&ms->sets))) {
        struct member_set *s = CONTAINER_OF(node, struct member_set, node);
        while (!list_is_empty(&s->members))
            member_free(CONTAINER_OF(s->members.next, struct member, node));
        free(s->id);
        free(s->application);
        free(s->alias);
        free(s->actuator);
        free(s->vacancies);
        free(s);
    }
}

/* ---- finding ---- */

struct member *members_find(struct members *ms, const char *id)
{
    struct member *found = NULL;
    const struct str wanted = str_of(id);
    for (struct list *n = ms->sets.next; n != &ms->sets; n = n->next) {
        struct member_set *s = CONTAINER_OF(n, struct member_set, node);
        for (struct list *k = s->members.next; k != &s->members; k = k->next) {
            struct member *m = CONTAINER_OF(k, struct member, node);
            if (str_eq(str_of(m->id), wanted))
                return m;
            if (wanted.n >= 4 && str_ends(str_of(m->id), wanted)) {
                if (found)
                    return NULL;
                found = m;
            }
        }
    }
    return found;
}

static struct member *find_exact(struct members *ms, const char *id)
{
    struct member *m = members_find(ms, id);
    return m && strcmp(m->id, id) == 0 ? m : NULL;
}

/* The actuator may answer, and so end the member, before it returns. */
void member_ask_stop(struct members *ms, struct member *m, bool is_drained)
{
    const uint64_t ticket = m->ticket = ++ms->last_ticket;
    if (!ms->ops->stop(ms->ctx, m, is_drained, ticket) && (m = member_by_ticket(ms, ticket)))
        member_gone(ms, m, "its actuator does not stop it");
}

struct member *member_by_ticket(struct members *ms, uint64_t ticket)
{
    for (struct list *n = ms->sets.next; n != &ms->sets; n = n->next) {
        struct member_set *s = CONTAINER_OF(n, struct member_set, node);
        for (struct list *k = s->members.next; k != &s->members; k = k->next) {
            struct member *m = CONTAINER_OF(k, struct member, node);
            if (m->ticket == ticket)
                return m;
        }
    }
    return NULL;
}

/* ---- what actuators say ---- */

static void put_endpoint(struct members *ms, const struct member *m, const struct member_port *port)
{
    const struct endpoint_draft e = {.weight = 100,
                                     .addr = port->addr,
                                     .id = str_of(m->id),
                                     .member = str_of(m->id),
                                     .member_state = (uint8_t)m->state,
                                     .readiness = ENDPOINT_READY};
    struct buf why;
    buf_init(&why);
    if (!model_put_endpoint(ms->model, STR(MEMBERS_OWNER), str_of(port->cluster), &e, &why))
        log_error("member %s: %.*s", m->id, STR_ARG(buf_str(&why)));
    buf_fini(&why);
    /* The model keeps the state it knew of this member; ours is newer. */
    (void)model_set_member_state(ms->model, str_of(m->id), m->state);
    members_touch(ms);
}

static void take_addresses(struct members *ms, struct member *m, const struct cox_member_change *change)
{
    for (uint32_t i = 0; i < change->addresses.count; i++) {
        const struct cox_port_address *a = COX_AT(struct cox_port_address, change->addresses, i);
        for (size_t k = 0; k < m->port_count; k++) {
            struct member_port *port = &m->ports[k];
            if (!a->port || strcmp(a->port, port->settings->name) != 0)
                continue;
            if (addr_parse(str_of(a->address), &port->addr))
                put_endpoint(ms, m, port);
            else
                log_error("member %s: \"%s\" is no address", m->id, a->address ? a->address : "");
        }
    }
}

static const struct member_info *find_loaded(const struct members *ms, const char *id)
{
    for (uint32_t i = 0; ms->loaded && i < ms->loaded->member_count; i++)
        if (str_eq(ms->loaded->members[i].id, str_of(id)))
            return &ms->loaded->members[i];
    return NULL;
}

/* A member that was here before us goes on where the last topology left it: an active one keeps serving, and
 * its probe is asked afresh without taking it away first. */
static struct member *adopt(struct members *ms, const char *actuator, const struct cox_member_change *change)
{
    struct member_set *set = members_find_set(ms, str_of(change->set));
    if (!set) /* not in the config any more: it is kept in a set of its own until it is drained and stopped */
        set = set_create(ms, change->set ? change->set : "", "", "", actuator);
    struct member *m = member_create(ms, set, change->member);
    m->is_adopted = true;
    m->pid = change->pid;
    const struct member_info *before = find_loaded(ms, m->id);
    const bool was_up = before && (before->state == MEMBER_ACTIVE || before->state == MEMBER_IN_MAINTENANCE);
    const enum member_state created = m->state;
    m->state = was_up ? MEMBER_ACTIVE : MEMBER_STARTING;
    member_facts_changed(ms, m, created);
    if (was_up) {
        m->since_wall_ns = before->since_wall_ns;
        m->active_ns = m->since_ns;
        for (size_t i = 0; i < m->port_count; i++)
            m->ports[i].is_up = true;
    }
    (void)snprintf(m->reason, sizeof m->reason, "adopted");
    log_info("member %s: adopted as %s", m->id, member_state_name(m->state));
    take_addresses(ms, m, change);
    describe(ms, m);
    const char *why;
    if (before && before->state == MEMBER_IN_MAINTENANCE)
        (void)members_drain(ms, m, &why); /* it goes on being drained; active is a state for it */
    return m;
}

void members_on_change(struct members *ms, const char *actuator, const struct cox_member_change *change)
{
    struct member *m = find_exact(ms, change->member);
    if (change->phase == COX_PHASE_TERMINATED) {
        if (m)
            member_gone(ms, m, change->reason ? change->reason : "terminated");
        return;
    }
    if (change->phase != COX_PHASE_RUNNING && change->phase != COX_PHASE_PENDING)
        return; /* stopping and lost: the end will be told */
    if (!m) {
        (void)adopt(ms, actuator, change);
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
    struct member *m = ticket ? member_by_ticket(ms, ticket) : NULL;
    if (!m)
        return; /* the member is gone, and its ticket with it */
    m->ticket = 0;
    if (result == COX_TICKET_DONE)
        return; /* the phases tell the rest */
    char why[128];
    (void)snprintf(why, sizeof why, "%s%s%.80s", (unsigned)result < 5 ? words[result] : "unknown result",
                   *reason ? ": " : "", reason);
    log_warn("member %s: its actuator says: %s", m->id, why);
    if (result == COX_TICKET_FINAL)
        m->failures = m->failures > 6 ? m->failures : 6; /* no use in hurrying */
    if (m->state < MEMBER_STARTING)
        member_gone(ms, m, why);
}

/* Members of the last topology that the actuator did not tell died while nobody looked. */
static void forget_unlisted(struct members *ms, const struct member_set *set)
{
    for (uint32_t i = 0; ms->loaded && i < ms->loaded->member_count; i++) {
        const struct member_info *info = &ms->loaded->members[i];
        if (!str_eq(info->set, str_of(set->id)))
            continue;
        char *id = must(str_dup(info->id));
        if (!find_exact(ms, id)) {
            log_info("member %s: gone while the orchestrator was away", id);
            for (size_t k = 0; set->cartridge && k < set->cartridge->ports.count; k++) {
                struct buf cluster;
                buf_init(&cluster);
                buf_printf(&cluster, "%s:%s", set->id,
                           SETTINGS_AT(set->cartridge->ports, struct port_settings, k)->name);
                model_remove_endpoint(ms->model, STR(MEMBERS_OWNER), buf_str(&cluster), info->id);
                buf_fini(&cluster);
            }
            model_remove_member(ms->model, info->id);
            members_touch(ms);
        }
        free(id);
    }
}

void members_on_listed(struct members *ms, const char *actuator)
{
    for (struct list *n = ms->sets.next; n != &ms->sets; n = n->next) {
        struct member_set *s = CONTAINER_OF(n, struct member_set, node);
        if (strcmp(s->actuator, actuator) != 0)
            continue;
        s->is_listed = true;
        s->changes++;
        forget_unlisted(ms, s);
    }
    members_touch(ms);
}

void members_on_published(struct members *ms, uint64_t number)
{
    ms->published = number;
    ms->is_touched = false;
}
