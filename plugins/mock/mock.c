/* mock: an actuator that runs nothing. Its members are entries that come up after a time, report an address
 * of a list, and end when they are told to or when the script says so; whoever listens there serves. For
 * tests of scaling, for demonstrations on a laptop, and for trying policies out without paying for machines.
 *
 *   start_member ─► pending ─ start_time ─► running ─ die:… ─► terminated
 *                                              └─ stop_member ─ stop_time ─► terminated */
#include "mock.h"

#include <stdlib.h>
#include <string.h>

#define LIST_TURN 500u /* members told of in one call */

static const struct cox_option options[] = {
    [OPTION_ADDRESSES] = {.size = sizeof(struct cox_option),
                          .type = COX_OPTION_STRINGS,
                          .flags = COX_OPTION_REQUIRED,
                          .key = "addresses",
                          .help =
                              "What members report as their addresses, in turn: \"127.0.0.1:9001\", a range "
                              "\"127.0.0.1:9001-9050\", or \"unix:/path\". Something should listen there."},
    [OPTION_SHARE] =
        {.size = sizeof(struct cox_option),
         .type = COX_OPTION_BOOL,
         .key = "share",
         .def = "true",
         .help = "Whether members share addresses when there are more members than addresses. Off: there is "
                 "no capacity for them."},
    [OPTION_START_TIME] = {.size = sizeof(struct cox_option),
                           .type = COX_OPTION_DURATION,
                           .key = "start_time",
                           .def = "0ms",
                           .max = 86400000,
                           .help = "From being asked for until it runs; the median when there is a spread."},
    [OPTION_START_SPREAD] = {.size = sizeof(struct cox_option),
                             .type = COX_OPTION_REAL,
                             .key = "start_spread",
                             .def = "0",
                             .max = 5,
                             .help = "Sigma of a lognormal distribution of start times; 0: all alike."},
    [OPTION_SEED] =
        {.size = sizeof(struct cox_option),
         .type = COX_OPTION_INT,
         .key = "seed",
         .def = "1",
         .help = "Of the random numbers: the same seed gives the same start times in the same order."},
    [OPTION_STOP_TIME] = {.size = sizeof(struct cox_option),
                          .type = COX_OPTION_DURATION,
                          .key = "stop_time",
                          .def = "0ms",
                          .max = 86400000,
                          .help = "From being told to stop until it is gone."},
    [OPTION_AT_ONCE] = {.size = sizeof(struct cox_option),
                        .type = COX_OPTION_BOOL,
                        .key = "at_once",
                        .def = "false",
                        .help =
                            "Tell that a member is pending, and its end, within the call that asks for it, "
                            "whatever stop_time is: a platform may."},
    [OPTION_CAPACITY] = {.size = sizeof(struct cox_option),
                         .type = COX_OPTION_INT,
                         .key = "capacity",
                         .def = "0",
                         .max = MEMBERS_MAX,
                         .help =
                             "Members at a time; a further start is answered with no capacity. 0: no limit."},
    [OPTION_SCRIPT] =
        {.size = sizeof(struct cox_option),
         .type = COX_OPTION_STRINGS,
         .key = "script",
         .help = "What happens to starts, in their order: \"ok\", \"fail\", \"final\" (fails and always "
                 "would), \"no_capacity\", \"never\" (runs, but has no address), \"die:2s\" (ends after "
                 "running for so long), \"slow:5s\" (takes so long to start). Those after the last are ok."},
    [OPTION_REPEAT] = {.size = sizeof(struct cox_option),
                       .type = COX_OPTION_BOOL,
                       .key = "repeat",
                       .def = "false",
                       .help = "Begin the script again when it is over."},
    [OPTION_STATE] =
        {.size = sizeof(struct cox_option),
         .type = COX_OPTION_PATH,
         .key = "state",
         .help =
             "File that remembers the members when the orchestrator ends, as a platform would. Unset: they "
             "end with it."},
    [OPTION_REPORTS] = {.size = sizeof(struct cox_option),
                        .type = COX_OPTION_STRINGS,
                        .key = "reports",
                        .help = "What each running member reports of itself, such as \"load_average=0.7\"."},
    [OPTION_REPORT_INTERVAL] = {.size = sizeof(struct cox_option),
                                .type = COX_OPTION_DURATION,
                                .key = "report_interval",
                                .def = "5s",
                                .min = 10,
                                .max = 86400000,
                                .help = "How often."},
};

static uint64_t wall_ms(const struct instance *p)
{
    return p->host->wall_ns(p->host) / 1000000;
}

/* ---- a member's time ---- */

static void plan(struct member *m);

static void tell(struct member *m, uint32_t phase, const char *reason)
{
    struct cox_port_address addresses[PORTS_MAX];
    for (uint32_t i = 0; i < m->port_count; i++)
        addresses[i] = (struct cox_port_address){
            .size = sizeof addresses[i], .port = m->ports[i].name, .address = m->ports[i].text};
    const struct cox_member_change change = {.size = sizeof change,
                                             .phase = phase,
                                             .member = m->id,
                                             .set = m->set,
                                             .partition = *m->partition ? m->partition : NULL,
                                             .network_partition = *m->network ? m->network : NULL,
                                             .addresses = {addresses,
                                                           phase == COX_PHASE_RUNNING ? m->port_count : 0,
                                                           (uint32_t)sizeof addresses[0]},
                                             .reason = reason};
    m->instance->host->member_changed(m->instance->host, &change);
}

static void forget(struct member *m)
{
    struct instance *p = m->instance;
    if (m->timer)
        p->host->timer_stop(p->host, &m->timer);
    for (uint32_t i = 0; i < m->port_count; i++)
        script_give_address(&p->script, m->ports[i].address);
    people_remove(&p->people, m);
}

static void end(struct member *m, const char *reason)
{
    struct instance *p = m->instance;
    const uint64_t ticket = m->stop_ticket;
    journal_gone(p, m);
    tell(m, COX_PHASE_TERMINATED, reason);
    if (ticket)
        p->host->ticket_done(p->host, ticket, COX_TICKET_DONE, NULL);
    forget(m);
}

static void on_time(void *ctx)
{
    struct member *m = ctx;
    const uint64_t now = wall_ms(m->instance);
    m->instance->host->timer_stop(m->instance->host, &m->timer);
    if (m->gone_at_ms && now >= m->gone_at_ms) {
        end(m, "stopped");
        return;
    }
    if (!m->gone_at_ms && m->die_at_ms && now >= m->die_at_ms) {
        end(m, "died, as the script says");
        return;
    }
    if (!m->gone_at_ms && !m->runs && now >= m->run_at_ms) {
        m->runs = true;
        tell(m, COX_PHASE_RUNNING, NULL);
    }
    plan(m);
}

/* Arms the timer for what is next. */
static void plan(struct member *m)
{
    const struct cox_host *host = m->instance->host;
    const uint64_t now = wall_ms(m->instance);
    const uint64_t next = m->gone_at_ms ? m->gone_at_ms : !m->runs ? m->run_at_ms : m->die_at_ms;
    if (m->timer)
        host->timer_stop(host, &m->timer);
    if (next)
        m->timer = host->timer_start(host, next > now ? next - now : 0, 0, on_time, m);
}

/* ---- the actuator ---- */

static bool give_addresses(struct member *m, const struct cox_member_spec *spec)
{
    struct script *s = &m->instance->script;
    for (uint32_t i = 0; i < spec->ports.count && i < PORTS_MAX; i++) {
        const uint32_t address = script_take_address(s);
        if (address == UINT32_MAX)
            return false;
        struct port *port = &m->ports[m->port_count++];
        *port = (struct port){.name = strdup(COX_AT(struct cox_port, spec->ports, i)->name),
                              .text = strdup(s->addresses[address].text),
                              .address = address};
        if (!port->name || !port->text)
            return false;
    }
    return true;
}

static void drop_addresses(struct member *m)
{
    for (uint32_t i = 0; i < m->port_count; i++) {
        script_give_address(&m->instance->script, m->ports[i].address);
        free(m->ports[i].name);
        free(m->ports[i].text);
    }
    m->port_count = 0;
}

/* Makes the member as its fate wants it. False with the ticket's result. */
static bool begin(struct member *m, const struct cox_member_spec *spec, struct fate fate,
                  uint32_t *out_result)
{
    struct instance *p = m->instance;
    const uint64_t now = wall_ms(p);
    *out_result = COX_TICKET_NO_CAPACITY;
    if (!give_addresses(m, spec))
        return false;
    const uint64_t start_ms = script_start_ms(&p->script, p->host->math);
    m->run_at_ms = now + (fate.kind == FATE_SLOW ? fate.ms : start_ms);
    m->die_at_ms = fate.kind == FATE_DIE ? m->run_at_ms + fate.ms : 0;
    if (fate.kind == FATE_NEVER)
        drop_addresses(m);
    *out_result = COX_TICKET_FAILED;
    return journal_start(p, m);
}

uint32_t mock_make(struct instance *p, const struct cox_member_spec *spec, const char **out_why)
{
    static const uint32_t results[] = {[FATE_FAIL] = COX_TICKET_FAILED,
                                       [FATE_FINAL] = COX_TICKET_FINAL,
                                       [FATE_NO_CAPACITY] = COX_TICKET_NO_CAPACITY};
    uint32_t result;
    *out_why = NULL;
    journal_asked(p, spec->member);
    if (p->capacity && p->people.count >= p->capacity) {
        *out_why = "all of its capacity is in use";
        return COX_TICKET_NO_CAPACITY;
    }
    const struct fate fate = script_next(&p->script);
    if (fate.kind == FATE_FAIL || fate.kind == FATE_FINAL || fate.kind == FATE_NO_CAPACITY) {
        *out_why = "as the script says";
        return results[fate.kind];
    }
    struct member *m =
        people_add(&p->people, spec->member, spec->set, spec->partition, spec->network_partition);
    *out_why = "out of memory";
    if (!m)
        return COX_TICKET_FAILED;
    m->instance = p;
    if (!begin(m, spec, fate, &result)) {
        forget(m);
        *out_why = result == COX_TICKET_FAILED ? "cannot write the state" : "all addresses are in use";
        return result;
    }
    *out_why = NULL;
    plan(m);
    if (p->tells_at_once)
        tell(m, COX_PHASE_PENDING, NULL);
    return COX_TICKET_DONE;
}

bool mock_end(struct member *m, uint64_t ticket)
{
    struct instance *p = m->instance;
    m->stop_ticket = ticket;
    if (m->gone_at_ms) /* told before */
        return true;
    m->gone_at_ms = wall_ms(p) + p->stop_ms;
    if (!journal_stop(p, m)) {
        m->gone_at_ms = m->stop_ticket = 0;
        return false;
    }
    if (p->tells_at_once) {
        end(m, "stopped");
        return true;
    }
#ifdef MOCK_COUNTS
    tell(m, COX_PHASE_STOPPING, "one too many");
#endif
    plan(m);
    return true;
}

#ifndef MOCK_COUNTS
static int32_t start_member(void *instance, uint64_t ticket, const struct cox_member_spec *spec)
{
    struct instance *p = instance;
    const char *why = NULL;
    const bool is_known = people_find(&p->people, spec->member); /* asked twice: it is the same */
    const uint32_t result = is_known ? COX_TICKET_DONE : mock_make(p, spec, &why);
    p->host->ticket_done(p->host, ticket, result, why);
    return COX_OK;
}

static int32_t stop_member(void *instance, uint64_t ticket, const struct cox_stop *stop)
{
    struct instance *p = instance;
    struct member *m = people_find(&p->people, stop->member);
    if (m)
        return mock_end(m, ticket) ? COX_OK : COX_FAILED;
    p->host->ticket_done(p->host, ticket, COX_TICKET_DONE, NULL); /* gone already: that is what was wanted */
    return COX_OK;
}
#endif

/* Those that are on their way out are not told of: their end comes by itself. */
static void list_one(struct member *m)
{
    struct instance *p = m->instance;
    const uint64_t now = wall_ms(p);
    if (m->die_at_ms && now >= m->die_at_ms) {
        journal_gone(p, m);
        forget(m);
        return;
    }
    m->runs = !m->gone_at_ms && now >= m->run_at_ms;
    if (!m->gone_at_ms)
        tell(m, m->runs ? COX_PHASE_RUNNING : COX_PHASE_PENDING, NULL);
    plan(m);
}

/* A call must not take long: very many members are told of in several. The table does not grow meanwhile,
 * because nothing is started before the end. */
static void on_list(void *ctx)
{
    struct instance *p = ctx;
    for (uint32_t told = 0; told < LIST_TURN && p->list_bucket < p->people.bucket_count; p->list_bucket++)
        for (struct member *m = p->people.buckets[p->list_bucket], *next; m; m = next, told++) {
            next = m->next;
            list_one(m);
        }
    if (p->list_bucket < p->people.bucket_count)
        return;
    if (p->listing)
        p->host->timer_stop(p->host, &p->listing);
    p->host->list_done(p->host);
}

static int32_t list_members(void *instance)
{
    struct instance *p = instance;
    p->list_bucket = 0;
    on_list(p);
    if (p->list_bucket < p->people.bucket_count)
        p->listing = p->host->timer_start(p->host, 1, 1, on_list, p);
    return COX_OK;
}

static const struct cox_actuator actuator = {.size = sizeof actuator,
                                             .list = list_members,
#ifdef MOCK_COUNTS
                                             .granularity = COX_GRANULARITY_COUNT,
                                             .set_count = mock_set_count};
#else
                                             .granularity = COX_GRANULARITY_MEMBER,
                                             .start_member = start_member,
                                             .stop_member = stop_member};
#endif

/* ---- reports ---- */

static void report(struct instance *p, const struct member *m, const char *text)
{
    char metric[64];
    const char *equals = strchr(text, '=');
    (void)snprintf(metric, sizeof metric, "%.*s", (int)(equals - text), text);
    p->host->report(p->host, p->host->instance, m->id, metric, strtod(equals + 1, NULL),
                    p->host->now_ns(p->host));
}

static void on_reports(void *ctx)
{
    struct instance *p = ctx;
    const struct cox_value *v = cox_option_at(p->options, OPTION_REPORTS);
    uint32_t bucket = 0;
    for (struct member *m = people_next(&p->people, &bucket, NULL); m;
         m = people_next(&p->people, &bucket, m))
        for (uint32_t i = 0; m->runs && i < v->list_count; i++)
            report(p, m, v->list[i]);
}

static bool check_reports(const struct cox_host *host, const struct cox_value *v)
{
    for (uint32_t i = 0; i < v->list_count; i++) {
        const char *equals = strchr(v->list[i], '=');
        char *end = NULL;
        if (equals && equals > v->list[i] && (strtod(equals + 1, &end), end != equals + 1) && !*end)
            continue;
        host->error(host, "reports: expected a metric and a number, such as \"load_average=0.7\"");
        return false;
    }
    return true;
}

/* ---- life ---- */

static void mock_close(void *instance)
{
    struct instance *p = instance;
    people_fini(&p->people);
    script_fini(&p->script);
    free(p);
}

static int32_t mock_open(const struct cox_host *host, const struct cox_open *args, void **out_instance)
{
    struct instance *p = calloc(1, sizeof *p);
    if (!p) {
        host->error(host, "out of memory");
        return COX_FAILED;
    }
    p->host = host;
    p->options = args->options;
    p->journal = -1;
    p->capacity = (uint32_t)cox_option_at(args->options, OPTION_CAPACITY)->i;
    p->stop_ms = (uint64_t)cox_option_at(args->options, OPTION_STOP_TIME)->i;
    p->tells_at_once = cox_option_at(args->options, OPTION_AT_ONCE)->i;
    if (!script_init(&p->script, host, args->options) ||
        !check_reports(host, cox_option_at(args->options, OPTION_REPORTS))) {
        mock_close(p);
        return COX_FAILED;
    }
    *out_instance = p;
    return COX_OK;
}

static int32_t mock_start(void *instance)
{
    struct instance *p = instance;
    const struct cox_value *state = cox_option_at(p->options, OPTION_STATE);
    if (!journal_open(p, state->flags & COX_VALUE_ABSENT ? NULL : state->text))
        return COX_FAILED;
    const uint64_t every = (uint64_t)cox_option_at(p->options, OPTION_REPORT_INTERVAL)->i;
    if (cox_option_at(p->options, OPTION_REPORTS)->list_count)
        p->reports = p->host->timer_start(p->host, every, every, on_reports, p);
    return COX_OK;
}

static void mock_stop(void *instance)
{
    struct instance *p = instance;
    uint32_t bucket = 0;
    for (struct member *m = people_next(&p->people, &bucket, NULL); m;
         m = people_next(&p->people, &bucket, m))
        if (m->timer)
            p->host->timer_stop(p->host, &m->timer);
    if (p->reports)
        p->host->timer_stop(p->host, &p->reports);
    if (p->listing)
        p->host->timer_stop(p->host, &p->listing);
    journal_close(p);
}

COX_EXPORT const struct cox_plugin cox_plugin = {
    .size = sizeof cox_plugin,
    .abi = COX_ABI,
#ifdef MOCK_COUNTS
    .name = "mock_count",
    .summary = "the mock actuator as a platform that keeps a number of members and names them itself",
#else
    .name = "mock",
    .summary = "an actuator that runs nothing: scripted members for tests and demonstrations",
#endif
    .version = "1",
    .options = COX_ARRAY(options),
    .open = mock_open,
    .start = mock_start,
    .stop = mock_stop,
    .close = mock_close,
    .actuator = &actuator,
};
