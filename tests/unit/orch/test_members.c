/* The life of members on a scripted clock, with a scripted actuator and scripted counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/panic.h"
#include "orch/members.h"
#include "topo/cluster.h"

#define MS 1000000ull
#define S  (1000 * MS)

/* One application "shop" with the alias "web" of the cartridge "php", two members, one port. */
struct script {
    bool is_counted; /* the platform names members itself */
    struct settings settings;
    struct application_settings app;
    struct alias_settings alias;
    struct cartridge_settings cartridge;
    struct port_settings port;
    struct model *model;
    struct members *members; /* the one at work */
    struct members first;
    uint64_t now;
    uint64_t in_flight;
    uint64_t acknowledged;
    bool is_unsettled; /* something is in flight at endpoints that went with the config */
    bool refuses_start;
    const char *ends;     /* "younger", "older": whom the platform ends too while it is asked to stop one */
    char started[64][64]; /* ids, in order */
    uint64_t tickets[64];
    int start_count, stop_count, wakes;
    char stopped[64];
    uint64_t stop_ticket;
    bool stop_was_drained;
    char events[4096]; /* "starting>active " of every change */
};

static bool on_start(void *ctx, const struct member *m, uint64_t ticket)
{
    struct script *s = ctx;
    if (s->refuses_start)
        return false;
    assert_in_range(s->start_count, 0, 63);
    (void)snprintf(s->started[s->start_count], 64, "%s", m->id);
    s->tickets[s->start_count++] = ticket;
    return true;
}

static void change(struct script *s, const char *id, uint32_t phase, const char *address);

static bool on_stop(void *ctx, const struct member *m, bool is_drained, uint64_t ticket)
{
    struct script *s = ctx;
    s->stop_ticket = ticket;
    s->stop_count++;
    for (int i = 0; s->ends && i < s->start_count; i++)
        if (strcmp(s->started[i], m->id) == 0)
            change(s, s->started[strcmp(s->ends, "older") == 0 ? i - 1 : i + 1], COX_PHASE_TERMINATED, NULL);
    s->stop_was_drained = is_drained;
    (void)snprintf(s->stopped, sizeof s->stopped, "%s", m->id);
    return true;
}

static uint64_t on_in_flight(void *ctx, struct str cluster, struct str endpoint)
{
    const struct script *s = ctx;
    assert_true(str_starts(cluster, STR("shop/1/1/web:")));
    assert_true(endpoint.n > 0);
    return s->in_flight;
}

static bool on_settled(void *ctx, uint64_t number)
{
    assert_true(number > 0);
    return !((const struct script *)ctx)->is_unsettled;
}

static bool on_acknowledged(void *ctx, uint64_t number)
{
    return ((const struct script *)ctx)->acknowledged >= number;
}

static uint64_t on_now(void *ctx)
{
    return ((const struct script *)ctx)->now;
}

static void on_touched(void *ctx)
{
    (void)ctx;
}

static void on_wake(void *ctx)
{
    ((struct script *)ctx)->wakes++;
}

static void on_event(void *ctx, const struct member *m, enum member_state from)
{
    struct script *s = ctx;
    const size_t at = strlen(s->events);
    (void)snprintf(s->events + at, sizeof s->events - at, "%s>%s ", member_state_name(from),
                   member_state_name(m->state));
}

static bool on_counted(void *ctx, const struct member *m)
{
    (void)m;
    return ((struct script *)ctx)->is_counted;
}

static const struct members_ops ops = {.start = on_start,
                                       .is_counted = on_counted,
                                       .stop = on_stop,
                                       .in_flight = on_in_flight,
                                       .is_settled = on_settled,
                                       .is_acknowledged = on_acknowledged,
                                       .now_ns = on_now,
                                       .touched = on_touched,
                                       .wake = on_wake,
                                       .event = on_event};

#define TEXT(t) ((char *)(uintptr_t)(t))

static int setup(void **state)
{
    static char *hosts[] = {TEXT("shop.example.com")};
    struct script *s = must(calloc(1, sizeof *s));
    log_init("test", 2, LOG_ERROR);
    s->now = 1000 * S;
    options_init(&settings_table, &s->settings);
    options_init(&cluster_options_table, &s->port.options);
    s->port.name = TEXT("http");
    s->cartridge = (struct cartridge_settings){.name = TEXT("php"),
                                               .actuator = TEXT("process"),
                                               .ports = {&s->port, 1},
                                               .start_timeout_ms = 5000,
                                               .drain_timeout_ms = 20000};
    s->alias = (struct alias_settings){
        .alias = TEXT("web"), .type = TEXT("php"), .min = 2, .max = 4, .path = TEXT("/")};
    s->app = (struct application_settings){
        .name = TEXT("shop"), .hosts = {hosts, 1}, .cartridges = {&s->alias, 1}};
    s->settings.cartridges = (struct option_list){&s->cartridge, 1};
    s->settings.applications = (struct option_list){&s->app, 1};
    s->model = model_create(1, 16, 64);
    model_load_settings(s->model, &s->settings);
    s->members = &s->first;
    members_init(s->members, s->model, &ops, s);
    members_load_settings(s->members, &s->settings);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct script *s = *state;
    members_fini(s->members);
    model_destroy(&s->model);
    options_free(&cluster_options_table, &s->port.options);
    s->settings.cartridges = s->settings.applications = (struct option_list){NULL, 0};
    options_free(&settings_table, &s->settings);
    free(s);
    return 0;
}

/* ---- the script's verbs ---- */

static void publish(struct script *s)
{
    struct topology *t = model_publish(s->model);
    topology_unref(&t);
    s->acknowledged = model_current(s->model)->number;
    members_on_published(s->members, s->acknowledged);
}

static void turn(struct script *s)
{
    (void)members_tick(s->members);
    publish(s);
    (void)members_tick(s->members);
    publish(s);
}

static void change(struct script *s, const char *id, uint32_t phase, const char *address)
{
    const struct cox_port_address a = {.size = sizeof a, .port = "http", .address = address};
    const struct cox_member_change c = {.size = sizeof c,
                                        .phase = phase,
                                        .member = id,
                                        .set = "shop/1/1/web",
                                        .pid = 42,
                                        .addresses = {&a, address ? 1u : 0u, (uint32_t)sizeof a}};
    members_on_change(s->members, "process", &c);
}

static void runs(struct script *s, int which)
{
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", 9000 + which);
    members_on_ticket(s->members, s->tickets[which], COX_TICKET_DONE, "");
    change(s, s->started[which], COX_PHASE_RUNNING, address);
}

static void answers(struct script *s, int which)
{
    members_on_probe(s->members, STR("shop/1/1/web:http"), str_of(s->started[which]), true);
}

static void comes_up(struct script *s, int which)
{
    runs(s, which);
    answers(s, which);
}

static enum member_state state_of(struct script *s, int which)
{
    const struct member *m = members_find(s->members, s->started[which]);
    return m ? m->state : MEMBER_TERMINATED;
}

static struct member_set *the_set(struct script *s)
{
    return members_find_set(s->members, STR("shop/1/1/web"));
}

/* Two active members. */
static void begin(struct script *s)
{
    members_on_listed(s->members, "process");
    turn(s);
    comes_up(s, 0);
    comes_up(s, 1);
    turn(s);
    s->events[0] = 0;
}

static const struct endpoint *endpoint_of(struct script *s, int which)
{
    publish(s);
    const struct cluster *c = topology_cluster(model_current(s->model), STR("shop/1/1/web:http"));
    assert_non_null(c);
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        if (str_eq(endpoint_member(&c->endpoints[i]), str_of(s->started[which])))
            return &c->endpoints[i];
    return NULL;
}

/* ---- tests ---- */

static void test_nothing_before_the_list(void **state)
{
    struct script *s = *state;
    turn(s);
    assert_int_equal(s->start_count, 0);
    members_on_listed(s->members, "another");
    turn(s);
    assert_int_equal(s->start_count, 0);
    members_on_listed(s->members, "process");
    turn(s);
    assert_int_equal(s->start_count, 2);
    assert_string_not_equal(s->started[0], s->started[1]);
    assert_memory_equal(s->started[0], "shop-web-", 9);
}

static void test_life(void **state)
{
    struct script *s = *state;
    members_on_listed(s->members, "process");
    turn(s);
    assert_int_equal(state_of(s, 0), MEMBER_INITIALIZED);
    assert_null(endpoint_of(s, 0));
    runs(s, 0);
    assert_int_equal(state_of(s, 0), MEMBER_STARTING);
    assert_int_equal(endpoint_of(s, 0)->service, SERVICE_OFF);
    answers(s, 0);
    assert_int_equal(state_of(s, 0), MEMBER_ACTIVE);
    assert_int_equal(endpoint_of(s, 0)->service, SERVICE_ON);
    assert_string_equal(s->events, "created>created created>initialized created>created created>initialized "
                                   "initialized>starting starting>active ");
    assert_int_equal(model_current(s->model)->member_count, 2);
}

static void test_a_platform_names_its_members(void **state)
{
    struct script *s = *state;
    s->is_counted = true;
    members_on_listed(s->members, "process");
    turn(s);
    assert_int_equal(s->start_count, 2);
    members_on_ticket(s->members, s->tickets[0], COX_TICKET_DONE, "");
    s->now += 700 * MS;
    change(s, "pod-x", COX_PHASE_RUNNING, "127.0.0.1:9000");
    turn(s);
    assert_null(members_find(s->members, s->started[0])); /* the oldest has got the name */
    assert_non_null(members_find(s->members, s->started[1]));
    const struct member *m = members_find(s->members, "pod-x");
    assert_non_null(m);
    assert_false(m->is_nameless || m->is_adopted);
    assert_int_equal(m->state, MEMBER_STARTING);
    assert_int_equal(model_current(s->model)->member_count, 2);
    s->now += 300 * MS;
    members_on_probe(s->members, STR("shop/1/1/web:http"), STR("pod-x"), true);
    turn(s);
    assert_int_equal(m->state, MEMBER_ACTIVE);
    assert_int_equal(the_set(s)->counted, 2);
    assert_true(the_set(s)->start_p50_ns == 1e9); /* from when it was asked for */
    assert_int_equal(s->start_count, 2);
    change(s, "pod-y", COX_PHASE_PENDING, NULL);
    change(s, "pod-z", COX_PHASE_RUNNING, "127.0.0.1:9002"); /* nobody asked for it */
    turn(s);
    assert_null(members_find(s->members, s->started[1]));
    assert_int_equal(members_find(s->members, "pod-y")->state, MEMBER_INITIALIZED);
    assert_true(members_find(s->members, "pod-z") == NULL ||
                members_find(s->members, "pod-z")->state == MEMBER_READY_TO_SHUT_DOWN);
    change(s, "pod-x", COX_PHASE_TERMINATED, NULL); /* and one that dies is replaced */
    s->now += 30 * S;
    turn(s);
    assert_null(members_find(s->members, "pod-x"));
    assert_in_range(s->start_count, 3, 4);
}

static void test_a_member_that_got_no_name_goes_with_its_ticket(void **state)
{
    struct script *s = *state;
    s->is_counted = true;
    members_on_listed(s->members, "process");
    turn(s);
    const char *id = s->started[1];
    assert_int_equal(the_set(s)->counted, 2);
    members_want(s->members, the_set(s), 1, "less");
    turn(s);
    assert_int_equal(s->stop_count, 1);
    assert_string_equal(s->stopped, id);
    assert_true(member_is_stopped(members_find(s->members, id)));
    members_on_ticket(s->members, members_find(s->members, id)->ticket, COX_TICKET_DONE, "");
    turn(s);
    assert_null(members_find(s->members, id));
    assert_int_equal(s->start_count, 2);
    assert_int_equal(the_set(s)->counted, 1);
}

/* It may do so before the call returns, whoever is looked at next. */
static void test_a_platform_ends_another_while_it_is_asked(void **state)
{
    struct script *s = *state;
    members_on_listed(s->members, "process");
    members_want(s->members, the_set(s), 4, "more");
    turn(s);
    for (int i = 0; i < 4; i++)
        runs(s, i);
    s->ends = "older";
    members_want(s->members, the_set(s), 2, "less");
    turn(s);
    assert_int_equal(s->stop_count, 1); /* and one has gone with it */
    assert_int_equal(the_set(s)->counted, 2);
    assert_int_equal(state_of(s, 3), MEMBER_READY_TO_SHUT_DOWN);
    assert_int_equal(state_of(s, 2), MEMBER_TERMINATED);
    s->ends = "younger";
    s->now += 5 * S; /* start_timeout */
    (void)members_tick(s->members);
    assert_int_equal(s->stop_count, 2);
    assert_int_equal(state_of(s, 0), MEMBER_READY_TO_SHUT_DOWN);
    assert_int_equal(state_of(s, 1), MEMBER_TERMINATED);
    assert_int_equal((size_t)s->start_count + the_set(s)->vacancy_count, 6); /* each has its successor */
}

/* Of three, all active, the third was drained and is to go. */
static void begin_to_shrink(struct script *s)
{
    members_on_listed(s->members, "process");
    members_want(s->members, the_set(s), 3, "more");
    turn(s);
    for (int i = 0; i < 3; i++)
        comes_up(s, i);
    turn(s);
    s->is_counted = true;
    members_want(s->members, the_set(s), 2, "less");
    turn(s);
    turn(s);
    assert_int_equal(s->stop_count, 1);
    assert_int_equal(state_of(s, 2), MEMBER_READY_TO_SHUT_DOWN);
}

/* A platform that is told a number takes another one than was drained for it: nobody is started in that one's
 * place, the drained one stays. */
static void test_a_victim_stays_when_another_went(void **state)
{
    struct script *s = *state;
    begin_to_shrink(s);
    members_on_ticket(s->members, members_find(s->members, s->started[2])->ticket, COX_TICKET_DONE, "");
    change(s, s->started[0], COX_PHASE_TERMINATED, NULL);
    turn(s);
    assert_int_equal(s->start_count, 3);
    assert_int_equal(s->stop_count, 1);
    assert_int_equal(the_set(s)->counted, 2);
    assert_int_equal(state_of(s, 2), MEMBER_STARTING); /* it may be on its way out all the same */
    assert_int_equal(endpoint_of(s, 2)->service, SERVICE_OFF);
    answers(s, 2);
    turn(s);
    assert_int_equal(state_of(s, 2), MEMBER_ACTIVE);
    assert_int_equal(endpoint_of(s, 2)->service, SERVICE_ON);
    s->now += 60 * S; /* and nothing is left to be put right */
    turn(s);
    assert_int_equal(s->start_count, 3);
    assert_int_equal(s->stop_count, 1);
    change(s, s->started[1], COX_PHASE_TERMINATED, NULL); /* nobody is to go: this is a death */
    s->now += S;
    turn(s);
    assert_int_equal(s->start_count, 4);
}

/* That it stops another one is as good as that one's end. */
static void test_a_victim_stays_when_another_stops(void **state)
{
    struct script *s = *state;
    begin_to_shrink(s);
    change(s, s->started[1], COX_PHASE_STOPPING, NULL);
    turn(s);
    assert_int_equal(state_of(s, 2), MEMBER_STARTING);
    assert_int_equal(the_set(s)->counted, 2);
    answers(s, 2);
    change(s, s->started[1], COX_PHASE_TERMINATED, NULL);
    s->now += S;
    turn(s);
    assert_int_equal(state_of(s, 2), MEMBER_ACTIVE);
    assert_int_equal(s->start_count, 3);
    assert_int_equal(the_set(s)->counted, 2);
}

/* It goes, as it was told to, and another one dies. */
static void test_a_victim_that_goes_is_not_spared(void **state)
{
    struct script *s = *state;
    begin_to_shrink(s);
    change(s, s->started[2], COX_PHASE_STOPPING, NULL);
    change(s, s->started[0], COX_PHASE_TERMINATED, NULL);
    s->now += S;
    turn(s);
    assert_int_equal(state_of(s, 2), MEMBER_READY_TO_SHUT_DOWN);
    assert_int_equal(s->start_count, 4);
    change(s, s->started[2], COX_PHASE_TERMINATED, NULL);
    turn(s);
    assert_int_equal(the_set(s)->counted, 2);
    assert_int_equal(s->start_count, 4);
}

static void test_a_member_that_ends_before_it_is_named_is_replaced(void **state)
{
    struct script *s = *state;
    s->is_counted = true;
    members_on_listed(s->members, "process");
    turn(s);
    change(s, "pod-x", COX_PHASE_TERMINATED, NULL);
    assert_int_equal(state_of(s, 0), MEMBER_TERMINATED); /* the oldest */
    assert_int_equal(the_set(s)->vacancy_count, 1);
    s->now += 100 * MS;
    turn(s);
    assert_int_equal(s->start_count, 3);
    members_want(s->members, the_set(s), 1, "less");
    turn(s);
    assert_int_equal(s->stop_count, 1);
    change(s, "pod-y", COX_PHASE_TERMINATED, NULL); /* that was asked for */
    assert_int_equal(the_set(s)->counted, 1);
    assert_int_equal(the_set(s)->vacancy_count, 0);
    change(s, "pod-z", COX_PHASE_TERMINATED, NULL); /* this was not */
    assert_int_equal(the_set(s)->counted, 0);
    assert_int_equal(the_set(s)->vacancy_count, 1);
}

static void test_not_active_before_its_port_answers(void **state)
{
    struct script *s = *state;
    members_on_listed(s->members, "process");
    turn(s);
    runs(s, 0);
    members_on_probe(s->members, STR("shop/1/1/web:http"), str_of(s->started[0]), false);
    members_on_probe(s->members, STR("shop/1/1/web:http"), STR("somebody"), true);
    assert_int_equal(state_of(s, 0), MEMBER_STARTING);
}

static void test_start_timeout(void **state)
{
    struct script *s = *state;
    members_on_listed(s->members, "process");
    turn(s);
    runs(s, 0);
    comes_up(s, 1);
    s->now += 4999 * MS;
    turn(s);
    assert_int_equal(state_of(s, 0), MEMBER_STARTING);
    assert_int_equal(s->stop_count, 0);
    s->now += 1 * MS;
    turn(s);
    assert_int_equal(state_of(s, 0), MEMBER_READY_TO_SHUT_DOWN);
    assert_string_equal(s->stopped, s->started[0]);
    assert_false(s->stop_was_drained);
    assert_int_equal(s->start_count, 2); /* after the back-off */
    s->now += 100 * MS;
    turn(s);
    assert_int_equal(s->start_count, 3);
}

static void test_back_off_doubles_to_its_limit(void **state)
{
    struct script *s = *state;
    members_on_listed(s->members, "process");
    turn(s);
    comes_up(s, 1);
    int current = 0;
    for (uint64_t wait_ms = 100; wait_ms <= 60000; wait_ms *= 2) {
        const uint64_t expected = wait_ms < 30000 ? wait_ms : 30000;
        change(s, s->started[current], COX_PHASE_TERMINATED, NULL);
        s->now += (expected - 1) * MS;
        turn(s);
        const int before = s->start_count;
        s->now += 1 * MS;
        turn(s);
        assert_int_equal(s->start_count, before + 1);
        current = before;
    }
}

static void test_proven_member_is_forgiven(void **state)
{
    struct script *s = *state;
    begin(s);
    for (int i = 0; i < 3; i++) { /* each lives for 30 s: each is replaced after 0.1 s */
        const int which = s->start_count - 1;
        s->now += 30 * S;
        change(s, s->started[which], COX_PHASE_TERMINATED, NULL);
        s->now += 100 * MS;
        turn(s);
        assert_int_equal(s->start_count, which + 2);
        comes_up(s, which + 1);
    }
}

static void test_refused_start_backs_off(void **state)
{
    struct script *s = *state;
    s->refuses_start = true;
    members_on_listed(s->members, "process");
    turn(s);
    turn(s);
    assert_int_equal(members_tick(s->members), MEMBERS_BACKOFF_MS);
    assert_int_equal(model_current(s->model)->member_count, 0);
    s->refuses_start = false;
    turn(s);
    assert_int_equal(s->start_count, 0);
    s->now += 100 * MS;
    turn(s);
    assert_int_equal(s->start_count, 2);
}

static void test_failed_ticket(void **state)
{
    struct script *s = *state;
    members_on_listed(s->members, "process");
    turn(s);
    members_on_ticket(s->members, s->tickets[0], COX_TICKET_FAILED, "broken");
    assert_int_equal(state_of(s, 0), MEMBER_TERMINATED);
    members_on_ticket(s->members, s->tickets[0], COX_TICKET_DONE, ""); /* a second answer is nobody's */
    s->now += 100 * MS;
    turn(s);
    assert_int_equal(s->start_count, 3);
}

static void test_crash_takes_the_endpoint_away_at_once(void **state)
{
    struct script *s = *state;
    begin(s);
    assert_non_null(endpoint_of(s, 0));
    change(s, s->started[0], COX_PHASE_TERMINATED, NULL);
    assert_null(endpoint_of(s, 0));
    assert_int_equal(model_current(s->model)->member_count, 1);
}

static void drain(struct script *s, int which)
{
    const char *why;
    assert_true(members_drain(s->members, members_find(s->members, s->started[which]), &why));
}

static void test_drain(void **state)
{
    struct script *s = *state;
    begin(s);
    s->in_flight = 3;
    drain(s, 0);
    turn(s);
    assert_int_equal(endpoint_of(s, 0)->service, SERVICE_DRAINING);
    assert_int_equal(s->start_count, 3); /* a replacement at once */
    s->in_flight = 0;
    turn(s);
    assert_int_equal(state_of(s, 0), MEMBER_IN_MAINTENANCE); /* nobody covers yet */
    comes_up(s, 2);
    s->in_flight = 1;
    turn(s);
    assert_int_equal(state_of(s, 0), MEMBER_IN_MAINTENANCE); /* one is still in flight */
    s->in_flight = 0;
    turn(s);
    assert_int_equal(state_of(s, 0), MEMBER_READY_TO_SHUT_DOWN);
    assert_true(s->stop_was_drained);
    change(s, s->started[0], COX_PHASE_TERMINATED, NULL);
    turn(s);
    assert_int_equal(state_of(s, 0), MEMBER_TERMINATED);
    s->now += 60 * S;
    turn(s);
    assert_int_equal(s->start_count, 3); /* it was replaced already */
}

static void test_drain_waits_for_every_proxy(void **state)
{
    struct script *s = *state;
    begin(s);
    drain(s, 0);
    turn(s);
    comes_up(s, 2);
    (void)members_tick(s->members);
    const uint64_t before = s->acknowledged;
    publish(s);
    s->acknowledged = before; /* published, but a proxy has not answered */
    (void)members_tick(s->members);
    (void)members_tick(s->members);
    assert_int_equal(state_of(s, 0), MEMBER_IN_MAINTENANCE);
    s->acknowledged = model_current(s->model)->number;
    (void)members_tick(s->members);
    assert_int_equal(state_of(s, 0), MEMBER_READY_TO_SHUT_DOWN);
}

static void test_drain_timeout(void **state)
{
    struct script *s = *state;
    begin(s);
    s->in_flight = 1;
    drain(s, 0);
    s->now += 19999 * MS;
    (void)members_tick(s->members);
    assert_int_equal(state_of(s, 0), MEMBER_IN_MAINTENANCE);
    s->now += 1 * MS;
    (void)members_tick(s->members);
    assert_int_equal(state_of(s, 0), MEMBER_READY_TO_SHUT_DOWN);
}

static void test_undrain(void **state)
{
    struct script *s = *state;
    const char *why;
    begin(s);
    s->in_flight = 1;
    drain(s, 0);
    struct member *m = members_find(s->members, s->started[0]);
    assert_false(members_drain(s->members, m, &why));
    assert_true(members_undrain(s->members, m, &why));
    assert_int_equal(endpoint_of(s, 0)->service, SERVICE_ON);
    turn(s);
    assert_int_equal(s->start_count, 2);
    assert_false(members_undrain(s->members, m, &why));
    assert_string_equal(why, "it is not draining");
}

/* It gets nothing any more, another comes for it, and nobody takes it back. */
static void test_one_that_its_platform_stops(void **state)
{
    struct script *s = *state;
    const char *why = NULL;
    begin(s);
    s->cartridge.undrain = true;
    s->in_flight = 1;
    change(s, s->started[0], COX_PHASE_STOPPING, NULL);
    turn(s);
    assert_int_equal(state_of(s, 0), MEMBER_IN_MAINTENANCE);
    assert_int_equal(endpoint_of(s, 0)->service, SERVICE_DRAINING);
    assert_int_equal(s->start_count, 3);
    assert_false(members_undrain(s->members, members_find(s->members, s->started[0]), &why));
    assert_string_equal(why, "its platform stops it");
    members_want(s->members, the_set(s), 4, "load");
    turn(s);
    assert_int_equal(state_of(s, 0), MEMBER_IN_MAINTENANCE);
    assert_int_equal(s->start_count, 5);
    change(s, s->started[0], COX_PHASE_TERMINATED, NULL);
    turn(s);
    assert_int_equal(the_set(s)->counted, 4);
    assert_int_equal(s->start_count, 5);
}

/* One that drains already stays gone too, and one that starts is not waited for. */
static void test_others_that_their_platform_stops(void **state)
{
    struct script *s = *state;
    begin(s);
    s->cartridge.undrain = true;
    s->in_flight = 1;
    members_want(s->members, the_set(s), 3, "load");
    turn(s);
    runs(s, 2);
    const int stops = s->stop_count;
    change(s, s->started[2], COX_PHASE_STOPPING, NULL);
    assert_int_equal(state_of(s, 2), MEMBER_READY_TO_SHUT_DOWN);
    assert_int_equal(s->stop_count, stops); /* its actuator is still speaking */
    s->now += 200 * MS;
    turn(s);
    assert_int_equal(s->stop_count, stops + 1);
    assert_int_equal(s->start_count, 4);
    members_want(s->members, the_set(s), 1, "less");
    turn(s);
    const int which = state_of(s, 0) == MEMBER_IN_MAINTENANCE ? 0 : 1;
    assert_int_equal(state_of(s, which), MEMBER_IN_MAINTENANCE);
    change(s, s->started[which], COX_PHASE_STOPPING, NULL);
    const int starts = s->start_count;
    members_want(s->members, the_set(s), 2, "more");
    turn(s);
    assert_int_equal(state_of(s, which), MEMBER_IN_MAINTENANCE);
    assert_int_equal(s->start_count, starts + 1);
}

/* Asked again after it did not answer, its actuator says done: nobody will tell that it is gone. */
static void test_a_stop_that_is_done_twice_is_the_end(void **state)
{
    struct script *s = *state;
    begin(s);
    members_want(s->members, the_set(s), 1, "less");
    turn(s);
    assert_int_equal(s->stop_count, 1);
    members_on_ticket(s->members, s->stop_ticket, COX_TICKET_DONE, "");
    assert_int_equal(the_set(s)->spots[0].living, 2); /* the end will be told */
    s->now += MEMBERS_STOP_GRACE_MS * MS + S;
    turn(s);
    assert_int_equal(s->stop_count, 2);
    members_on_ticket(s->members, s->stop_ticket, COX_TICKET_DONE, "");
    assert_int_equal(the_set(s)->spots[0].living, 1);
    assert_int_equal(model_current(s->model)->member_count, 2);
    publish(s);
    assert_int_equal(model_current(s->model)->member_count, 1);
}

static void test_surplus_goes(void **state)
{
    struct script *s = *state;
    begin(s);
    members_want(s->members, the_set(s), 1, "load");
    turn(s);
    assert_int_equal(state_of(s, 0), MEMBER_ACTIVE);
    assert_int_equal(state_of(s, 1), MEMBER_READY_TO_SHUT_DOWN); /* the youngest; nothing was in flight */
    assert_true(s->stop_was_drained);
}

static void step(struct script *s)
{
    s->now += MEMBERS_TICK_MS * MS;
    (void)members_tick(s->members);
    publish(s);
}

/* A draining endpoint still gets requests while there is no other, so the last one is closed before it is
 * stopped, and what slipped in meanwhile is waited for. */
static void test_the_last_one_is_closed_before_it_is_stopped(void **state)
{
    struct script *s = *state;
    begin(s);
    s->cartridge.undrain = true;
    members_want(s->members, the_set(s), 1, "load");
    turn(s);
    change(s, s->started[1], COX_PHASE_TERMINATED, NULL);
    const int stops = s->stop_count;
    members_want(s->members, the_set(s), 0, "idle");
    step(s);
    step(s);
    assert_int_equal(state_of(s, 0), MEMBER_READY_TO_SHUT_DOWN);
    assert_int_equal(endpoint_of(s, 0)->service, SERVICE_OFF);
    assert_int_equal(s->stop_count, stops);
    const uint64_t known = s->acknowledged;
    s->acknowledged = 0; /* a proxy that lags behind */
    s->now += MEMBERS_TICK_MS * MS;
    (void)members_tick(s->members);
    assert_int_equal(s->stop_count, stops);
    s->acknowledged = known;
    s->in_flight = 1; /* something slipped in */
    step(s);
    assert_int_equal(s->stop_count, stops);
    const int before = s->start_count;
    s->in_flight = 0;
    members_want(s->members, the_set(s), 1, "a request waits"); /* it is there still: no start */
    step(s);
    assert_int_equal(state_of(s, 0), MEMBER_ACTIVE);
    assert_int_equal(endpoint_of(s, 0)->service, SERVICE_ON);
    assert_int_equal(s->start_count, before);
    members_want(s->members, the_set(s), 0, "idle");
    for (int i = 0; i < 4; i++)
        step(s);
    assert_int_equal(s->stop_count, stops + 1);
    assert_int_equal(s->start_count, before);
    assert_true(s->stop_was_drained);
}

static void test_find_by_the_end_of_an_id(void **state)
{
    struct script *s = *state;
    begin(s);
    assert_ptr_equal(members_find(s->members, s->started[0] + 9), members_find(s->members, s->started[0]));
    assert_null(members_find(s->members, "nobody"));
    assert_null(members_find(s->members, ""));
}

/* A new orchestrator: one member lives, the other died meanwhile. */
static void test_adoption(void **state)
{
    struct script *s = *state;
    begin(s);
    publish(s);
    struct topology *loaded = model_current(s->model);
    topology_ref(loaded);
    struct model *model = model_create(2, 16, 64);
    model_load(model, loaded);
    model_load_settings(model, &s->settings);
    struct members fresh;
    members_init(&fresh, model, &ops, s);
    fresh.loaded = loaded;
    members_load_settings(&fresh, &s->settings);
    s->members = &fresh;
    const int starts = s->start_count;
    change(s, s->started[0], COX_PHASE_RUNNING, "127.0.0.1:9000");
    assert_int_equal(state_of(s, 0), MEMBER_ACTIVE); /* it serves on, without a probe first */
    members_on_listed(&fresh, "process");
    struct topology *t = model_publish(model);
    const struct cluster *c = topology_cluster(t, STR("shop/1/1/web:http"));
    assert_int_equal(c->endpoint_count, 1);
    assert_int_equal(c->endpoints[0].service, SERVICE_ON);
    assert_int_equal(t->member_count, 1);
    topology_unref(&t);
    (void)members_tick(&fresh);
    assert_int_equal(s->start_count, starts + 1); /* only the dead one */
    members_fini(&fresh);
    model_destroy(&model);
    topology_unref(&loaded);
    s->members = &s->first;
}

/* ---- a config that has them no more ---- */

/* A new orchestrator over what the last one published, by the settings as they are now. */
struct next {
    struct members members;
    struct model *model;
    struct topology *loaded;
};

static void reload(struct script *s, struct next *n)
{
    publish(s);
    n->loaded = model_current(s->model);
    topology_ref(n->loaded);
    n->model = model_create(2, 16, 64);
    model_load(n->model, n->loaded);
    model_load_settings(n->model, &s->settings);
    members_init(&n->members, n->model, &ops, s);
    n->members.loaded = n->loaded;
    members_load_settings(&n->members, &s->settings);
    s->members = &n->members;
}

static void next_end(struct script *s, struct next *n)
{
    members_fini(&n->members);
    model_destroy(&n->model);
    topology_unref(&n->loaded);
    s->members = &s->first;
}

static void next_turn(struct script *s, struct next *n)
{
    struct topology *t = model_publish(n->model);
    topology_unref(&t);
    s->acknowledged = model_current(n->model)->number;
    members_on_published(&n->members, s->acknowledged);
    s->now += MEMBERS_TICK_MS * MS;
    (void)members_tick(&n->members);
}

static void next_turns(struct script *s, struct next *n)
{
    for (int i = 0; i < 6; i++)
        next_turn(s, n);
}

/* Its cluster is gone, and with it the endpoint whose requests could be counted. */
static void test_a_set_taken_out_is_drained(void **state)
{
    struct script *s = *state;
    struct next n;
    begin(s);
    s->settings.applications.count = 0;
    s->settings.drain_timeout_ms = 20000;
    reload(s, &n);
    s->is_unsettled = true;
    change(s, s->started[0], COX_PHASE_RUNNING, "127.0.0.1:9000");
    members_on_listed(&n.members, "process");
    next_turns(s, &n);
    assert_int_equal(state_of(s, 0), MEMBER_IN_MAINTENANCE);
    assert_int_equal(s->stop_count, 0);
    s->is_unsettled = false;
    next_turns(s, &n);
    assert_int_equal(s->stop_count, 1);
    assert_true(s->stop_was_drained);
    next_end(s, &n);
    reload(s, &n); /* and no longer than its time */
    s->is_unsettled = true;
    change(s, s->started[0], COX_PHASE_RUNNING, "127.0.0.1:9000");
    next_turns(s, &n);
    assert_int_equal(s->stop_count, 1);
    s->now += 20 * S;
    next_turns(s, &n);
    assert_int_equal(s->stop_count, 2);
    next_end(s, &n);
    s->settings.applications.count = 1;
}

/* One of its ports is no more; the member stays, and is drained of both when its time comes. */
static void test_a_port_taken_out_is_drained(void **state)
{
    struct script *s = *state;
    struct next n;
    const struct cluster *c;
    struct port_settings ports[2] = {s->port, s->port};
    ports[1].name = TEXT("admin");
    s->cartridge.ports = (struct option_list){ports, 2};
    members_fini(s->members);
    model_load_settings(s->model, &s->settings);
    members_init(s->members, s->model, &ops, s);
    members_load_settings(s->members, &s->settings);
    members_on_listed(s->members, "process");
    turn(s);
    for (int i = 0; i < 2; i++) {
        runs(s, i);
        const struct cox_port_address a = {.size = sizeof a, .port = "admin", .address = "127.0.0.1:9100"};
        const struct cox_member_change also = {.size = sizeof also,
                                               .phase = COX_PHASE_RUNNING,
                                               .member = s->started[i],
                                               .set = "shop/1/1/web",
                                               .addresses = {&a, 1, (uint32_t)sizeof a}};
        members_on_change(s->members, "process", &also);
        answers(s, i);
        members_on_probe(s->members, STR("shop/1/1/web:admin"), str_of(s->started[i]), true);
        assert_int_equal(state_of(s, i), MEMBER_ACTIVE);
    }
    publish(s);
    c = topology_cluster(model_current(s->model), STR("shop/1/1/web:admin"));
    assert_int_equal(c->endpoint_count, 2);
    s->cartridge.ports = (struct option_list){&s->port, 1};
    s->alias.min = 1;
    reload(s, &n);
    s->is_unsettled = true;
    for (int i = 0; i < 2; i++)
        change(s, s->started[i], COX_PHASE_RUNNING, i ? "127.0.0.1:9001" : "127.0.0.1:9000");
    members_on_listed(&n.members, "process");
    next_turns(s, &n);
    assert_int_equal(the_set(s)->draining, 1);
    assert_int_equal(s->stop_count, 0);
    s->is_unsettled = false;
    next_turns(s, &n);
    assert_int_equal(s->stop_count, 1);
    next_end(s, &n);
}

/* Another instance runs the set now: what its old actuator had started serves until the new one's do. */
static void test_members_of_an_actuator_taken_out_are_replaced(void **state)
{
    struct script *s = *state;
    struct next n;
    begin(s);
    s->cartridge.actuator = TEXT("process-2");
    reload(s, &n);
    change(s, s->started[0], COX_PHASE_RUNNING, NULL); /* nobody can tell its address: it is as before */
    change(s, s->started[1], COX_PHASE_RUNNING, NULL);
    members_on_listed(&n.members, "");
    members_on_listed(&n.members, "process-2");
    next_turns(s, &n);
    assert_int_equal(state_of(s, 0), MEMBER_ACTIVE);
    assert_int_equal(s->start_count, 4);
    assert_int_equal(s->stop_count, 0);
    for (int i = 2; i < 4; i++) {
        members_on_ticket(s->members, s->tickets[i], COX_TICKET_DONE, "");
        const struct cox_port_address a = {.size = sizeof a, .port = "http", .address = "127.0.0.1:9100"};
        const struct cox_member_change up = {.size = sizeof up,
                                             .phase = COX_PHASE_RUNNING,
                                             .member = s->started[i],
                                             .set = "shop/1/1/web",
                                             .addresses = {&a, 1, (uint32_t)sizeof a}};
        members_on_change(s->members, "process-2", &up);
        answers(s, i);
    }
    s->in_flight = 1;
    next_turns(s, &n);
    assert_int_equal(state_of(s, 0), MEMBER_IN_MAINTENANCE);
    const struct cluster *c = topology_cluster(model_current(n.model), STR("shop/1/1/web:http"));
    const struct endpoint *e = cluster_endpoint(c, str_of(s->started[0]));
    assert_int_equal(e->service, SERVICE_DRAINING);
    assert_int_equal(s->stop_count, 0);
    s->in_flight = 0;
    next_turns(s, &n);
    assert_int_equal(s->stop_count, 2);
    next_end(s, &n);
}

/* Nobody at all is left who could tell of them: those that died meanwhile are forgotten all the same. */
static void test_the_dead_of_nobody_are_forgotten(void **state)
{
    struct script *s = *state;
    struct next n;
    begin(s);
    s->settings.applications.count = 0;
    reload(s, &n);
    change(s, s->started[1], COX_PHASE_RUNNING, NULL);
    members_on_listed(&n.members, "");
    next_turn(s, &n);
    assert_int_equal(model_current(n.model)->member_count, 1);
    assert_non_null(members_find(s->members, s->started[1]));
    next_end(s, &n);
    s->settings.applications.count = 1;
}

/* What its platform stops is not taken back by the next orchestrator either. */
static void test_one_that_its_platform_stops_is_adopted(void **state)
{
    struct script *s = *state;
    struct next n;
    begin(s);
    s->cartridge.undrain = true;
    s->in_flight = 1;
    change(s, s->started[0], COX_PHASE_STOPPING, NULL);
    turn(s);
    reload(s, &n);
    change(s, s->started[0], COX_PHASE_RUNNING, "127.0.0.1:9000");
    change(s, s->started[1], COX_PHASE_RUNNING, "127.0.0.1:9001");
    members_on_listed(&n.members, "process");
    next_turns(s, &n);
    assert_int_equal(state_of(s, 0), MEMBER_IN_MAINTENANCE);
    next_end(s, &n);
}

/* The orchestrator died after it closed the last one: the next asks nobody to stop while anything is in
 * flight there, and keeps it when it is wanted again, unless somebody drained it by hand. */
/* One that was being stopped is asked to stop again, but not while its actuator is telling of it. */
static void test_an_actuator_is_not_called_while_it_calls(void **state)
{
    struct script *s = *state;
    begin(s);
    members_want(s->members, the_set(s), 1, "less");
    turn(s);
    turn(s);
    assert_int_equal(s->stop_count, 1);
    const int gone = state_of(s, 0) == MEMBER_READY_TO_SHUT_DOWN ? 0 : 1;
    publish(s);
    struct topology *loaded = model_current(s->model);
    topology_ref(loaded);
    struct model *model = model_create(2, 16, 64);
    model_load(model, loaded);
    model_load_settings(model, &s->settings);
    struct members fresh;
    members_init(&fresh, model, &ops, s);
    fresh.loaded = loaded;
    members_load_settings(&fresh, &s->settings);
    s->members = &fresh;
    change(s, s->started[gone], COX_PHASE_RUNNING, "127.0.0.1:9000");
    (void)members_tick(&fresh);
    assert_int_equal(s->stop_count, 1); /* not all are told of yet */
    members_on_listed(&fresh, "process");
    assert_int_equal(s->stop_count, 1);
    (void)members_tick(&fresh);
    assert_int_equal(s->stop_count, 2);
    assert_true(s->stop_was_drained);
    assert_string_equal(s->stopped, s->started[gone]);
    (void)members_tick(&fresh);
    assert_int_equal(s->stop_count, 2);
    members_fini(&fresh);
    model_destroy(&model);
    topology_unref(&loaded);
    s->members = &s->first;
}

static void adopt_closed(struct script *s, bool is_by_hand)
{
    struct members fresh;
    s->alias.max = 1;
    s->cartridge.undrain = true;
    begin(s);
    change(s, s->started[1], COX_PHASE_TERMINATED, NULL);
    members_want(s->members, the_set(s), 1, "load");
    turn(s);
    if (is_by_hand)
        drain(s, 0);
    members_want(s->members, the_set(s), 0, "idle");
    step(s);
    step(s);
    assert_int_equal(state_of(s, 0), MEMBER_READY_TO_SHUT_DOWN);
    assert_int_equal(s->stop_count, 0);
    struct topology *loaded = model_current(s->model);
    topology_ref(loaded);
    members_init(&fresh, s->model, &ops, s);
    fresh.loaded = loaded;
    members_load_settings(&fresh, &s->settings);
    s->members = &fresh;
    s->in_flight = 1;
    change(s, s->started[0], COX_PHASE_RUNNING, "127.0.0.1:9000");
    members_on_listed(&fresh, "process");
    members_want(&fresh, the_set(s), 0, "idle");
    for (int i = 0; i < 4; i++)
        step(s);
    assert_int_equal(state_of(s, 0), MEMBER_READY_TO_SHUT_DOWN);
    assert_int_equal(endpoint_of(s, 0)->service, SERVICE_OFF);
    assert_int_equal(s->stop_count, 0);
    members_want(&fresh, the_set(s), 1, "a request waits");
    step(s);
    assert_int_equal(state_of(s, 0), is_by_hand ? MEMBER_READY_TO_SHUT_DOWN : MEMBER_ACTIVE);
    assert_int_equal(s->start_count, is_by_hand ? 3 : 2);
    members_want(&fresh, the_set(s), 0, "idle");
    step(s);
    s->stop_count = 0; /* of what was started */
    s->in_flight = 0;
    for (int i = 0; i < 4; i++)
        step(s);
    assert_int_equal(s->stop_count, 1);
    assert_true(s->stop_was_drained);
    assert_string_equal(s->stopped, s->started[0]);
    members_fini(&fresh);
    topology_unref(&loaded);
    s->members = &s->first;
}

static void test_closed_one_is_adopted(void **state)
{
    adopt_closed(*state, false);
}

static void test_closed_by_hand_is_adopted(void **state)
{
    adopt_closed(*state, true);
}

static void test_closed_one_waits_no_longer_than_drain_timeout(void **state)
{
    struct script *s = *state;
    begin(s);
    change(s, s->started[1], COX_PHASE_TERMINATED, NULL);
    members_want(s->members, the_set(s), 0, "idle");
    step(s);
    step(s);
    s->in_flight = 1;
    step(s);
    assert_int_equal(s->stop_count, 0);
    s->now += 20 * S;
    step(s);
    assert_int_equal(s->stop_count, 1);
}

static void test_set_is_found(void **state)
{
    struct script *s = *state;
    assert_non_null(the_set(s));
    assert_ptr_equal(members_set_of(s->members, STR("shop/1/1/web:http")), the_set(s));
    assert_null(members_find_set(s->members, STR("shop/1/1/we")));
    assert_null(members_set_of(s->members, STR("shop/1/1/web")));
    assert_null(members_set_of(s->members, STR("another:http")));
}

static void test_want(void **state)
{
    struct script *s = *state;
    begin(s);
    const int wakes = s->wakes;
    members_want(s->members, the_set(s), 3, "load");
    assert_int_equal(s->wakes, wakes + 1);
    members_want(s->members, the_set(s), 3, "still");
    assert_int_equal(s->wakes, wakes + 1);
    assert_int_equal(members_wanted(the_set(s)), 3);
    turn(s);
    assert_int_equal(s->start_count, 3);
    comes_up(s, 2);
    members_want(s->members, the_set(s), 0, "idle"); /* below min: the caller has clamped */
    turn(s);
    turn(s);
    for (int i = 0; i < 3; i++)
        assert_int_equal(state_of(s, i), MEMBER_READY_TO_SHUT_DOWN);
    members_want(s->members, the_set(s), UINT32_MAX, "a mistake");
    assert_int_equal(members_wanted(the_set(s)), MEMBERS_SET_MAX);
}

/* Who decides the count has not spoken yet: what was there before stays, min or not. */
static void test_no_shrink_before_the_first_want(void **state)
{
    struct script *s = *state;
    static const char *const ids[] = {"shop-web-one", "shop-web-two", "shop-web-three"};
    the_set(s)->waits_for_want = true;
    for (int i = 0; i < 3; i++)
        change(s, ids[i], COX_PHASE_RUNNING, "127.0.0.1:9000");
    members_on_listed(s->members, "process");
    turn(s);
    assert_int_equal(the_set(s)->counted, 3);
    members_want(s->members, the_set(s), 2, "load");
    turn(s);
    assert_int_equal(the_set(s)->counted, 2);
}

static void test_facts(void **state)
{
    struct script *s = *state;
    struct member_facts f;
    members_facts(s->members, the_set(s), &f);
    assert_false(f.is_listed);
    assert_true(f.start_p50_ns != f.start_p50_ns && f.slots_per_member != f.slots_per_member); /* NaN */
    members_on_listed(s->members, "process");
    turn(s);
    s->now += 3 * S;
    comes_up(s, 1);
    const uint64_t changes = the_set(s)->changes;
    s->now += 1 * S;
    s->port.options.max_in_flight = 7;
    members_facts(s->members, the_set(s), &f);
    assert_true(f.is_listed);
    assert_int_equal(f.ready, 1);
    assert_int_equal(f.starting, 1);
    assert_int_equal(f.starting_age_count, 1);
    assert_int_equal(f.starting_ages_ns[0], 4 * S);
    assert_int_equal(f.oldest_starting_ns, 4 * S);
    assert_int_equal(f.ready_ns, 1 * S);
    assert_true(f.start_p50_ns == 3e9 && f.start_p90_ns == 3e9 && f.slots_per_member == 7);
    assert_int_equal(f.capacity, UINT32_MAX);
    assert_int_equal(f.partition_count, 1);
    assert_int_equal(f.partitions[0].ready, 1);
    assert_int_equal(the_set(s)->changes, changes);
    comes_up(s, 0);
    assert_true(the_set(s)->changes > changes);
    s->in_flight = 1;
    drain(s, 1);
    s->now += 1 * S;
    members_facts(s->members, the_set(s), &f);
    assert_int_equal(f.ready, 1);
    assert_int_equal(f.draining, 1);
    assert_int_equal(f.ready_ns, 2 * S);
    assert_true(f.start_p50_ns == 3e9 && f.start_p90_ns == 4e9);
}

static void test_starts_survive(void **state)
{
    struct script *s = *state;
    uint64_t starts[MEMBERS_STARTS_MAX + 1], back[MEMBERS_STARTS_MAX];
    struct member_facts f;
    assert_int_equal(members_starts(the_set(s), back), 0);
    for (uint64_t i = 0; i <= MEMBERS_STARTS_MAX; i++)
        starts[i] = (i + 1) * S;
    members_restore_starts(the_set(s), starts, MEMBERS_STARTS_MAX + 1);
    assert_int_equal(members_starts(the_set(s), back), MEMBERS_STARTS_MAX);
    assert_int_equal(back[0], 2 * S); /* the oldest has gone */
    assert_int_equal(back[MEMBERS_STARTS_MAX - 1], (MEMBERS_STARTS_MAX + 1) * S);
    members_facts(s->members, the_set(s), &f);
    assert_true(f.start_p50_ns == 33e9 && f.start_p90_ns == 59e9); /* ranks 32 and 58 of 2 to 65 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_before_the_list, setup, teardown),
        cmocka_unit_test_setup_teardown(test_life, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_platform_names_its_members, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_member_that_got_no_name_goes_with_its_ticket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_platform_ends_another_while_it_is_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_victim_stays_when_another_went, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_victim_stays_when_another_stops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_victim_that_goes_is_not_spared, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_member_that_ends_before_it_is_named_is_replaced, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_not_active_before_its_port_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_off_doubles_to_its_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_proven_member_is_forgiven, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_start_backs_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_ticket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_crash_takes_the_endpoint_away_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain_waits_for_every_proxy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_undrain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_that_its_platform_stops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_others_that_their_platform_stops, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stop_that_is_done_twice_is_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_surplus_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_last_one_is_closed_before_it_is_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_find_by_the_end_of_an_id, setup, teardown),
        cmocka_unit_test_setup_teardown(test_adoption, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_set_taken_out_is_drained, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_port_taken_out_is_drained, setup, teardown),
        cmocka_unit_test_setup_teardown(test_members_of_an_actuator_taken_out_are_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_dead_of_nobody_are_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_that_its_platform_stops_is_adopted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_actuator_is_not_called_while_it_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_one_is_adopted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_by_hand_is_adopted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed_one_waits_no_longer_than_drain_timeout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(test_want, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_shrink_before_the_first_want, setup, teardown),
        cmocka_unit_test_setup_teardown(test_facts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_starts_survive, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
