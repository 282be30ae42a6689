/* Where members go, who leaves, and who is replaced: sets of a config on a scripted clock, with actuators
 * that answer at once. */
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

#define MS 1000000ull
#define S  (1000 * MS)

struct script {
    struct settings *settings;
    struct model *model;
    struct members members;
    uint64_t now, acknowledged, start_ns; /* start_ns: what asking for one takes */
    char full[64];                        /* the partition whose actuator has no capacity */
    char busy[96];                        /* the member with 5 exchanges in flight */
    char order[1024]; /* partitions of members in the order they were asked for, "a b b " */
    char ids[256][96];
    uint64_t tickets[256];
    int starts, stops, unanswered; /* stops are not answered while unanswered */
    int next_port;
};

static bool on_start(void *ctx, const struct member *m, uint64_t ticket)
{
    struct script *s = ctx;
    const char *partition = m->set->spots[m->spot].place->partition;
    const size_t at = strlen(s->order);
    assert_in_range(s->starts, 0, 255);
    (void)snprintf(s->order + at, sizeof s->order - at, "%s ", partition);
    (void)snprintf(s->ids[s->starts], sizeof s->ids[0], "%s", m->id);
    s->tickets[s->starts++] = ticket;
    s->now += s->start_ns;
    if (strcmp(partition, s->full) == 0 && *s->full)
        members_on_ticket(&s->members, ticket, COX_TICKET_NO_CAPACITY, "");
    return true;
}

static bool on_stop(void *ctx, const struct member *m, bool is_drained, uint64_t ticket)
{
    struct script *s = ctx;
    (void)is_drained;
    (void)ticket;
    s->stops++;
    if (s->unanswered)
        return true;
    const struct cox_member_change gone = {
        .size = sizeof gone, .phase = COX_PHASE_TERMINATED, .member = m->id, .reason = "stopped"};
    members_on_change(&s->members, m->set->spots[m->spot].actuator, &gone);
    return true;
}

static uint64_t on_in_flight(void *ctx, struct str cluster, struct str endpoint)
{
    const struct script *s = ctx;
    (void)cluster;
    return str_eq(endpoint, str_of(s->busy)) ? 5 : 0;
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

static void on_event(void *ctx, const struct member *m, enum member_state from)
{
    (void)ctx;
    (void)m;
    (void)from;
}

static const struct members_ops ops = {.start = on_start,
                                       .stop = on_stop,
                                       .in_flight = on_in_flight,
                                       .is_acknowledged = on_acknowledged,
                                       .now_ns = on_now,
                                       .touched = on_touched,
                                       .wake = on_touched,
                                       .event = on_event};

/* ---- the script's verbs ---- */

#define PLACES_OF(max)                                                                                       \
    "plugins = ( { name = \"east\"; plugin = \"mock\"; }, { name = \"west\"; plugin = \"mock\"; } );\n"      \
    "listeners = ( { name = \"l\"; address = \"127.0.0.1:8080\"; } );\n"                                     \
    "cartridges = ( { name = \"app\"; actuator = \"east\"; ports = ( { name = \"http\"; } ); } );\n"         \
    "partitions = ( { name = \"a\"; max = " max                                                              \
    "; }, { name = \"b\"; }, { name = \"c\"; actuator = \"west\"; } );\n"                                    \
    "network_partitions = ( { name = \"here\"; partitions = [ \"a\", \"b\" ]; }, "                           \
    "{ name = \"there\"; partitions = [ \"c\" ]; } );\n"
#define PLACES PLACES_OF("4")

#define SHOP(policy)                                                                                         \
    "applications = ( { name = \"shop\"; cartridges = ( { alias = \"web\"; type = \"app\"; min = 1; max = "  \
    "40; "                                                                                                   \
    "deployment_policy = \"" policy "\"; } ); } );\n"

static void begin(struct script *s, const char *config)
{
    struct buf errors;
    buf_init(&errors);
    s->settings = settings_load_text(config, strlen(config), &errors);
    if (!s->settings)
        fail_msg("%.*s", STR_ARG(buf_str(&errors)));
    buf_fini(&errors);
    s->model = model_create(1, 64, 512);
    model_load_settings(s->model, s->settings);
    members_init(&s->members, s->model, &ops, s);
    members_load_settings(&s->members, s->settings);
}

static void listed(struct script *s)
{
    members_on_listed(&s->members, "east");
    members_on_listed(&s->members, "west");
}

static int setup(void **state)
{
    struct script *s = must(calloc(1, sizeof *s));
    log_init("test", 2, LOG_ERROR);
    s->now = 1000 * S;
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct script *s = *state;
    members_fini(&s->members);
    model_destroy(&s->model);
    settings_free(&s->settings);
    free(s);
    return 0;
}

static void publish(struct script *s)
{
    struct topology *t = model_publish(s->model);
    topology_unref(&t);
    s->acknowledged = model_current(s->model)->number;
    members_on_published(&s->members, s->acknowledged);
}

static uint64_t turn(struct script *s)
{
    uint64_t again = 0;
    for (int i = 0; i < 4; i++) {
        again = members_tick(&s->members);
        publish(s);
    }
    return again;
}

static struct member_set *set_of(struct script *s, const char *id)
{
    struct member_set *set = members_find_set(&s->members, str_of(id));
    assert_non_null(set);
    return set;
}

static void want(struct script *s, uint32_t count)
{
    members_want(&s->members, set_of(s, "shop/1/1/web"), count, "the test");
    turn(s);
}

static void runs(struct script *s, const char *id, const char *set, const char *actuator,
                 const char *partition)
{
    char address[32];
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", 9000 + s->next_port++);
    const struct cox_port_address a = {.size = sizeof a, .port = "http", .address = address};
    const struct cox_member_change c = {.size = sizeof c,
                                        .phase = COX_PHASE_RUNNING,
                                        .member = id,
                                        .set = set,
                                        .partition = partition,
                                        .addresses = {&a, 1, (uint32_t)sizeof a}};
    members_on_change(&s->members, actuator, &c);
}

/* All that was asked for and lives comes up. */
static void all_up(struct script *s)
{
    for (int i = 0; i < s->starts; i++) {
        struct member *m = members_find(&s->members, s->ids[i]);
        if (!m || m->state > MEMBER_STARTING)
            continue;
        members_on_ticket(&s->members, s->tickets[i], COX_TICKET_DONE, "");
        runs(s, m->id, m->set->id, m->set->spots[m->spot].actuator, NULL);
        members_on_probe(&s->members, str_of(m->set->ports[0].cluster), str_of(m->id), true);
        assert_int_equal(m->state, MEMBER_ACTIVE);
    }
    turn(s);
}

static void assert_ready(struct script *s, const char *expected)
{
    char text[256] = "";
    const struct member_set *set = set_of(s, "shop/1/1/web");
    for (uint32_t i = 0; i < set->spot_count; i++) {
        const size_t at = strlen(text);
        (void)snprintf(text + at, sizeof text - at, "%s%s=%u", i ? " " : "", set->spots[i].place->partition,
                       set->spots[i].ready);
    }
    assert_string_equal(text, expected);
}

/* ---- which place is next ---- */

static void test_one_after_another(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( { name = \"here\"; "
                      "partitions = ( { name = \"a\"; max = 2; }, \"b\" ); } ); } );\n");
    listed(s);
    want(s, 5);
    assert_string_equal(s->order, "a a b b b ");
    all_up(s);
    want(s, 3);
    assert_ready(s, "a=2 b=1");
    want(s, 1);
    assert_ready(s, "a=1 b=0");
    want(s, 2);
    all_up(s);
    assert_ready(s, "a=2 b=0");
}

static void test_round_robin(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( { name = \"here\"; "
                      "algorithm = \"round_robin\"; partitions = ( { name = \"a\"; max = 2; }, \"b\" ); } ); "
                      "} );\n");
    listed(s);
    want(s, 7);
    assert_string_equal(s->order, "a b a b b b b "); /* a full one blocks nobody */
    all_up(s);
    want(s, 4);
    assert_ready(s, "a=2 b=2");
    want(s, 3);
    assert_ready(s, "a=2 b=1");
    want(s, 2);
    assert_ready(s, "a=1 b=1");
}

/* Of those that start, too, the fullest place loses one, wherever the youngest is. */
static void test_those_that_start_go_by_place(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( { name = \"here\"; "
                      "algorithm = \"one_after_another\"; partitions = ( \"a\", \"b\" ); } ); } );\n");
    listed(s);
    want(s, 6);
    assert_string_equal(s->order, "a a a a b b ");
    const struct cox_member_change end = {
        .size = sizeof end, .phase = COX_PHASE_TERMINATED, .member = s->ids[0], .set = "shop/1/1/web"};
    members_on_change(&s->members, "east", &end);
    s->now += S;
    want(s, 6);
    assert_string_equal(s->order, "a a a a b b a "); /* the youngest */
    want(s, 5);
    const struct member_set *set = set_of(s, "shop/1/1/web");
    assert_int_equal(set->spots[0].starting, 4);
    assert_int_equal(set->spots[1].starting, 1);
    want(s, 1);
    assert_int_equal(set->spots[0].starting, 1);
    assert_int_equal(set->spots[1].starting, 0);
}

static void test_weighted(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( { name = \"here\"; "
                      "algorithm = \"weighted\"; partitions = ( \"a\", { name = \"b\"; weight = 3; } ); } ); "
                      "} );\n");
    listed(s);
    want(s, 12);
    all_up(s);
    assert_ready(s, "a=3 b=9");
    want(s, 8);
    assert_ready(s, "a=2 b=6");
    want(s, 4);
    assert_ready(s, "a=1 b=3");
}

static void test_burst_and_back(void **state)
{
    struct script *s = *state;
    struct member_facts f;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( { name = \"here\"; "
                      "partitions = ( \"a\", { name = \"b\"; max = 1; } ); }, \"there\" ); } );\n");
    listed(s);
    want(s, 7);
    assert_string_equal(s->order, "a a a a b c c ");
    all_up(s);
    publish(s);
    const struct cluster *c = topology_cluster(model_current(s->model), STR("shop/1/1/web:http"));
    int far = 0;
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        const struct endpoint *e = &c->endpoints[i];
        far += str_eq(endpoint_text(e, TEXT_NETWORK_PARTITION), STR("there")) &&
               str_eq(endpoint_text(e, TEXT_PARTITION), STR("c"));
    }
    assert_int_equal(far, 2);
    members_facts(&s->members, set_of(s, "shop/1/1/web"), &f);
    assert_int_equal(f.partition_count, 3);
    assert_int_equal(f.partitions[0].capacity, 4);
    assert_int_equal(f.partitions[1].capacity, 1);
    assert_int_equal(f.partitions[2].capacity, UINT32_MAX);
    assert_int_equal(f.capacity, UINT32_MAX);
    assert_string_equal(f.partitions[2].network_partition, "there");
    assert_int_equal(f.partitions[2].ready, 2);
    want(s, 6); /* who was far away goes first */
    assert_ready(s, "a=4 b=1 c=1");
    want(s, 4);
    assert_ready(s, "a=4 b=0 c=0");
}

static void test_partition_is_shared(void **state)
{
    struct script *s = *state;
    begin(s, PLACES "applications = ( { name = \"shop\"; cartridges = ( { alias = \"web\"; type = \"app\"; "
                    "min = 3; max = 9; "
                    "deployment_policy = \"p\"; }, { alias = \"api\"; type = \"app\"; min = 3; max = 9; "
                    "deployment_policy = "
                    "\"p\"; } ); } );\n"
                    "deployment_policies = ( { name = \"p\"; network_partitions = ( { name = \"here\"; "
                    "partitions = ( \"a\" "
                    "); } ); } );\n");
    struct member_set *web = set_of(s, "shop/1/1/web"), *api = set_of(s, "shop/1/1/api");
    struct member_facts f;
    listed(s);
    turn(s);
    all_up(s);
    assert_int_equal(web->ready + api->ready, 4); /* all that a has room for */
    assert_int_equal(s->starts, 4);
    members_facts(&s->members, web, &f);
    assert_int_equal(f.capacity, 3);
    members_facts(&s->members, api, &f);
    assert_int_equal(f.capacity, 1);
    members_want(&s->members, web, 1, "less");
    turn(s);
    all_up(s); /* what web gave up, api has taken */
    assert_int_equal(web->ready, 1);
    assert_int_equal(api->ready, 3);
}

static void test_no_capacity(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP("p") "deployment_policies = ( { name = \"p\"; network_partitions = ( \"here\", "
                              "\"there\" ); } );\n");
    listed(s);
    (void)snprintf(s->full, sizeof s->full, "a");
    want(s, 3);
    assert_string_equal(s->order, "a b b b "); /* asked once; nobody waits for it */
    all_up(s);
    s->now += 4999 * MS;
    want(s, 4);
    assert_string_equal(s->order, "a b b b b ");
    s->now += 1 * MS;
    want(s, 5);
    assert_string_equal(s->order, "a b b b b a b "); /* asked again, still full: twice as long now */
    s->now += 9999 * MS;
    want(s, 6);
    assert_string_equal(s->order, "a b b b b a b b ");
    s->full[0] = 0;
    s->now += 1 * MS;
    want(s, 7);
    assert_string_equal(s->order, "a b b b b a b b a ");
}

static void test_no_capacity_anywhere(void **state)
{
    struct script *s = *state;
    struct member_facts f;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( \"there\" ); } );\n");
    listed(s);
    want(s, 2);
    all_up(s);
    (void)snprintf(s->full, sizeof s->full, "c");
    want(s, 4);
    assert_int_equal(s->starts, 3);
    members_facts(&s->members, set_of(s, "shop/1/1/web"), &f);
    assert_int_equal(f.capacity, 2);
    assert_int_equal(turn(s), MEMBERS_FULL_MS); /* it sleeps until then */
    s->full[0] = 0;
    const struct cox_member_change dead = {
        .size = sizeof dead, .phase = COX_PHASE_TERMINATED, .member = s->ids[0], .reason = "crashed"};
    members_on_change(&s->members, "west", &dead); /* that made room */
    turn(s);
    s->now += 100 * MS; /* the back-off of the one that died */
    turn(s);
    all_up(s);
    assert_ready(s, "c=4");
}

/* Answers of one burst are one answer, though each of its members went. */
static void test_a_burst_without_capacity_is_asked_for_again_soon(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( \"there\" ); } );\n");
    listed(s);
    want(s, 8);
    assert_int_equal(s->starts, 8);
    for (int i = 0; i < 8; i++)
        members_on_ticket(&s->members, s->tickets[i], COX_TICKET_NO_CAPACITY, "");
    assert_int_equal(turn(s), MEMBERS_FULL_MS);
    s->now += MEMBERS_FULL_MS * MS;
    turn(s);
    assert_int_equal(s->starts, 16);
    for (int i = 8; i < 16; i++)
        members_on_ticket(&s->members, s->tickets[i], COX_TICKET_NO_CAPACITY, "");
    assert_int_equal(turn(s), 2 * MEMBERS_FULL_MS);
}

/* The only one is drained, and its successor fits in nowhere but in its place. */
static void test_the_last_one_makes_room_for_its_successor(void **state)
{
    struct script *s = *state;
    const char *why;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( { name = \"here\"; "
                      "partitions = ( { name = \"a\"; max = 1; } ); } ); } );\n");
    listed(s);
    want(s, 1);
    all_up(s);
    (void)snprintf(s->busy, sizeof s->busy, "%s", s->ids[0]);
    assert_true(members_drain(&s->members, members_find(&s->members, s->ids[0]), &why));
    turn(s);
    assert_int_equal(s->starts, 1);
    s->busy[0] = 0;
    for (int i = 0; i < 3; i++) {
        s->now += MEMBERS_TICK_MS * MS;
        turn(s);
    }
    assert_null(members_find(&s->members, s->ids[0]));
    assert_int_equal(s->starts, 2);
    all_up(s);
    assert_ready(s, "a=1");
}

/* ---- who leaves ---- */

static void test_victim_is_the_least_loaded_newest(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( \"there\" ); } );\n");
    listed(s);
    want(s, 3);
    all_up(s);
    (void)snprintf(s->busy, sizeof s->busy, "%s", s->ids[2]);
    want(s, 2);
    assert_null(members_find(&s->members, s->ids[1]));
    want(s, 3);
    want(s, 2); /* the one that does not serve yet goes before all others */
    assert_null(members_find(&s->members, s->ids[3]));
    want(s, 0);
    assert_null(members_find(&s->members, s->ids[0]));
    struct member *busy = members_find(&s->members, s->busy);
    assert_int_equal(busy->state, MEMBER_IN_MAINTENANCE);
    s->busy[0] = 0;
    turn(s);
    s->now += MEMBERS_TICK_MS * MS; /* it is the last: first it is closed */
    turn(s);
    assert_null(members_find(&s->members, s->ids[2]));
}

static void test_wanted_again(void **state)
{
    struct script *s = *state;
    const char *why;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( \"there\" ); } );\n");
    listed(s);
    want(s, 2);
    all_up(s);
    (void)snprintf(s->busy, sizeof s->busy, "%s", s->ids[1]);
    struct member *m = members_find(&s->members, s->ids[1]);
    assert_true(members_drain(&s->members, m, &why)); /* by hand: it is not taken back */
    turn(s);
    assert_int_equal(s->starts, 3);
    assert_true(members_undrain(&s->members, m, &why));
    turn(s);
    assert_int_equal(set_of(s, "shop/1/1/web")->counted, 2); /* the replacement has gone again */
    want(s, 0);
    assert_int_equal(m->state, MEMBER_IN_MAINTENANCE);
    want(s, 1);
    assert_int_equal(m->state, MEMBER_ACTIVE);
    assert_int_equal(s->starts, 3);
}

static void test_not_wanted_again_when_the_cartridge_says_so(void **state)
{
    struct script *s = *state;
    begin(s, "plugins = ( { name = \"east\"; plugin = \"mock\"; } );\n"
             "listeners = ( { name = \"l\"; address = \"127.0.0.1:8080\"; } );\n"
             "cartridges = ( { name = \"app\"; actuator = \"east\"; undrain = false; ports = ( { name = "
             "\"http\"; } ); } );\n"
             "applications = ( { name = \"shop\"; cartridges = ( { alias = \"web\"; type = \"app\"; min = 0; "
             "max = 4; } ); } );\n");
    listed(s);
    want(s, 1);
    all_up(s);
    (void)snprintf(s->busy, sizeof s->busy, "%s", s->ids[0]);
    want(s, 0);
    want(s, 1);
    assert_int_equal(s->starts, 2);
}

/* ---- who is replaced ---- */

static void probe(struct script *s, int which, bool is_up)
{
    members_on_probe(&s->members, STR("shop/1/1/web:http"), str_of(s->ids[which]), is_up);
    turn(s);
}

static enum member_state state_of(struct script *s, int which)
{
    const struct member *m = members_find(&s->members, s->ids[which]);
    return m ? m->state : MEMBER_TERMINATED;
}

static void test_faulty_is_replaced(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( \"there\" ); } );\n");
    listed(s);
    want(s, 2);
    all_up(s);
    assert_int_equal(turn(s), 0);
    probe(s, 0, false);
    assert_int_equal(turn(s), 30000); /* faulty_after */
    s->now += 29999 * MS;
    probe(s, 0, true); /* in time */
    assert_int_equal(turn(s), 0);
    probe(s, 0, false);
    s->now += 30000 * MS;
    turn(s);
    assert_int_equal(state_of(s, 0), MEMBER_IN_MAINTENANCE);
    assert_int_equal(s->starts, 3);
    all_up(s);
    assert_int_equal(state_of(s, 0), MEMBER_TERMINATED);
}

static void test_not_all_faulty_at_a_time(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( \"there\" ); } );\n");
    listed(s);
    want(s, 6); /* 34 % of 6 are 2 */
    all_up(s);
    for (int i = 0; i < 6; i++)
        probe(s, i, false);
    s->now += 30000 * MS;
    turn(s);
    int leaving = 0;
    for (int i = 0; i < 6; i++)
        leaving += state_of(s, i) == MEMBER_IN_MAINTENANCE;
    assert_int_equal(leaving, 2);
    assert_int_equal(s->starts, 8);
    for (int i = 0; i < 6; i++) /* the database is back before the new ones could start */
        probe(s, i, true);
    turn(s);
    assert_ready(s, "c=6");
    assert_int_equal(set_of(s, "shop/1/1/web")->counted, 6);
}

static void test_stop_is_asked_for_again(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( \"there\" ); } );\n");
    listed(s);
    want(s, 1);
    all_up(s);
    s->unanswered = 1;
    want(s, 0);
    s->now += MEMBERS_TICK_MS * MS;
    turn(s);
    assert_int_equal(s->stops, 1);
    s->now += 10 * S + MEMBERS_STOP_GRACE_MS * MS - 1 * MS;
    turn(s);
    assert_int_equal(s->stops, 1);
    s->unanswered = 0;
    s->now += 1 * MS;
    turn(s);
    assert_int_equal(s->stops, 2);
    assert_int_equal(state_of(s, 0), MEMBER_TERMINATED);
}

/* ---- what was there before ---- */

static void test_adopted_where_the_policy_has_no_place(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( \"there\" ); } );\n");
    runs(s, "shop-web-one", "shop/1/1/web", "west", "c");
    runs(s, "shop-web-two", "shop/1/1/web", "west", "d");
    listed(s);
    members_on_probe(&s->members, STR("shop/1/1/web:http"), STR("shop-web-one"), true);
    want(s, 2);
    assert_string_equal(s->order, "c ");
    assert_null(members_find(&s->members, "shop-web-two")); /* it had not served yet */
    assert_non_null(members_find(&s->members, "shop-web-one"));
}

/* A next orchestrator, with other limits: what served goes on until others serve in its place. */
static void begin_again(struct script *s, const char *config)
{
    struct topology *loaded = model_current(s->model);
    topology_ref(loaded);
    char ids[16][96], partitions[16][8];
    uint32_t n = 0;
    for (; n < loaded->member_count; n++) {
        (void)snprintf(ids[n], sizeof ids[n], "%.*s", STR_ARG(loaded->members[n].id));
        (void)snprintf(partitions[n], sizeof partitions[n], "%.*s", STR_ARG(loaded->members[n].partition));
    }
    members_fini(&s->members);
    model_destroy(&s->model);
    settings_free(&s->settings);
    begin(s, config);
    s->members.loaded = loaded;
    s->order[0] = 0;
    for (uint32_t i = 0; i < n; i++)
        runs(s, ids[i], "shop/1/1/web", partitions[i][0] == 'c' ? "west" : "east", partitions[i]);
    s->members.loaded = NULL;
    topology_unref(&loaded);
    listed(s);
}

#define HERE(max)                                                                                            \
    PLACES SHOP("p") "deployment_policies = ( { name = \"p\"; network_partitions = ( { name = \"here\"; "    \
                     "partitions = ( { name = \"a\"; max = " max "; }, \"b\" ); } ); } );\n"

static void test_a_lower_limit_moves_members(void **state)
{
    struct script *s = *state;
    begin(s, HERE("3"));
    listed(s);
    want(s, 4);
    all_up(s);
    assert_ready(s, "a=3 b=1");
    begin_again(s, HERE("1"));
    want(s, 4);
    assert_string_equal(s->order, "b b ");
    assert_ready(s, "a=1 b=1 a=2"); /* they serve on until others do */
    all_up(s);
    assert_ready(s, "a=1 b=3 a=0");
    assert_int_equal(set_of(s, "shop/1/1/web")->counted, 4);
}

static void test_another_policy_moves_members(void **state)
{
    struct script *s = *state;
    begin(s, HERE("2"));
    listed(s);
    want(s, 2);
    all_up(s);
    begin_again(
        s, PLACES SHOP(
               "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( \"there\" ); } );\n");
    want(s, 2);
    assert_ready(s, "c=0 a=2");
    all_up(s);
    assert_ready(s, "c=2 a=0");
}

static uint32_t capacity(struct script *s)
{
    struct member_facts f;
    members_facts(&s->members, set_of(s, "shop/1/1/web"), &f);
    return f.capacity;
}

/* The places of the new policy are full: who decides the count is told that those elsewhere are there. */
static void test_strays_stay_while_the_policy_has_no_room(void **state)
{
    struct script *s = *state;
    begin(s, HERE("4"));
    listed(s);
    want(s, 3);
    all_up(s);
    (void)snprintf(s->full, sizeof s->full, "c");
    begin_again(
        s, PLACES SHOP(
               "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( \"there\" ); } );\n");
    assert_int_equal(capacity(s), UINT32_MAX);
    want(s, 3);
    assert_string_equal(s->order, "c ");
    assert_int_equal(capacity(s), 3);
    want(s, capacity(s));
    assert_ready(s, "c=0 a=3");
    s->full[0] = 0;
    s->now += MEMBERS_FULL_MS * MS;
    turn(s);
    all_up(s);
    assert_ready(s, "c=3 a=0");
    assert_int_equal(capacity(s), UINT32_MAX);
}

/* What the config allows no more is not made up for by what is there still: it goes, but not all of it. */
static void test_strays_do_not_lift_a_limit(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( { name = \"here\"; "
                      "partitions = ( { name = \"a\"; max = 4; } ); } ); } );\n");
    listed(s);
    want(s, 4);
    all_up(s);
    begin_again(s, PLACES_OF("2")
                       SHOP("p") "deployment_policies = ( { name = \"p\"; network_partitions = ( { name = "
                                 "\"here\"; partitions = ( { name = \"a\"; max = 3; } ); } ); } );\n");
    assert_int_equal(capacity(s), 2); /* for two there is room, and two are too many */
    (void)snprintf(s->busy, sizeof s->busy, "%s", s->ids[2]);
    want(s, capacity(s));
    assert_ready(s, "a=2 a=0");
    assert_int_equal(capacity(s), 2); /* while they leave, too */
}

static void test_nothing_before_every_actuator_has_told(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP("p") "deployment_policies = ( { name = \"p\"; network_partitions = ( \"here\", "
                              "\"there\" ); } );\n");
    members_on_listed(&s->members, "east");
    want(s, 2);
    assert_int_equal(s->starts, 0);
    members_on_listed(&s->members, "west");
    turn(s);
    assert_int_equal(s->starts, 2);
}

/* ---- a cluster's own set ---- */

static void test_cluster_with_scale(void **state)
{
    struct script *s = *state;
    begin(s, "plugins = ( { name = \"east\"; plugin = \"mock\"; } );\n"
             "listeners = ( { name = \"l\"; address = \"127.0.0.1:8080\"; } );\n"
             "clusters = ( { name = \"api\"; endpoints = ( \"127.0.0.1:1\" ); scale = { actuator = \"east\"; "
             "min = 2; max = 3; }; } );\n");
    struct member_set *set = set_of(s, "api");
    assert_ptr_equal(members_set_of(&s->members, STR("api")), set);
    assert_int_equal(set->max, 3);
    listed(s);
    turn(s);
    assert_int_equal(s->starts, 2);
    assert_memory_equal(s->ids[0], "api-", 4);
    all_up(s);
    publish(s);
    const struct cluster *c = topology_cluster(model_current(s->model), STR("api"));
    assert_int_equal(c->endpoint_count, 3); /* the static one stays beside them */
    assert_int_equal(set->ready, 2);
}

/* ---- many sets ---- */

/* A tick looks at nothing of a set where nothing moves. */
static void test_idle_sets_sleep(void **state)
{
    struct script *s = *state;
    begin(s, PLACES SHOP(
                 "p") "deployment_policies = ( { name = \"p\"; network_partitions = ( \"there\" ); } );\n");
    listed(s);
    want(s, 3);
    assert_false(list_is_empty(&s->members.awake));
    all_up(s);
    assert_int_equal(turn(s), 0);
    assert_true(list_is_empty(&s->members.awake));
    assert_true(list_is_empty(&set_of(s, "shop/1/1/web")->restless));
    want(s, 4);
    assert_false(list_is_empty(&s->members.awake));
}

#define TWO_SETS                                                                                             \
    "applications = ( { name = \"shop\"; cartridges = ( { alias = \"web\"; type = \"app\"; min = 2; max = "  \
    "250; }, { alias = \"api\"; type = \"app\"; min = 2; max = 9; } ); } );\n"

/* Ten thousand members are not asked for while everything else waits. */
static void test_a_set_has_a_limit_in_one_turn(void **state)
{
    struct script *s = *state;
    begin(s, PLACES TWO_SETS);
    listed(s);
    members_want(&s->members, set_of(s, "shop/1/1/web"), 250, "the test");
    assert_int_equal(members_tick(&s->members), 1); /* it goes on at once */
    assert_int_equal(s->starts, MEMBERS_STARTS_TURN + 2);
    assert_int_equal(members_tick(&s->members), 1);
    assert_int_equal(s->starts, 2 * MEMBERS_STARTS_TURN + 2);
    assert_int_not_equal(members_tick(&s->members), 1);
    assert_int_equal(s->starts, 252);
}

static void test_all_sets_have_a_limit_in_one_turn(void **state)
{
    struct script *s = *state;
    begin(s, PLACES TWO_SETS);
    listed(s);
    s->start_ns = MEMBERS_TURN_NS / 2;
    assert_int_equal(members_tick(&s->members), 1);
    assert_int_equal(set_of(s, "shop/1/1/web")->counted, 2);
    assert_int_equal(set_of(s, "shop/1/1/api")->counted, 0);
    (void)members_tick(&s->members); /* who waited is first */
    assert_int_equal(set_of(s, "shop/1/1/api")->counted, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_after_another),
        TEST(test_round_robin),
        TEST(test_those_that_start_go_by_place),
        TEST(test_weighted),
        TEST(test_burst_and_back),
        TEST(test_partition_is_shared),
        TEST(test_no_capacity),
        TEST(test_no_capacity_anywhere),
        TEST(test_a_burst_without_capacity_is_asked_for_again_soon),
        TEST(test_the_last_one_makes_room_for_its_successor),
        TEST(test_victim_is_the_least_loaded_newest),
        TEST(test_wanted_again),
        TEST(test_not_wanted_again_when_the_cartridge_says_so),
        TEST(test_faulty_is_replaced),
        TEST(test_not_all_faulty_at_a_time),
        TEST(test_stop_is_asked_for_again),
        TEST(test_adopted_where_the_policy_has_no_place),
        TEST(test_nothing_before_every_actuator_has_told),
        TEST(test_cluster_with_scale),
        TEST(test_a_lower_limit_moves_members),
        TEST(test_another_policy_moves_members),
        TEST(test_strays_stay_while_the_policy_has_no_room),
        TEST(test_strays_do_not_lift_a_limit),
        TEST(test_idle_sets_sleep),
        TEST(test_a_set_has_a_limit_in_one_turn),
        TEST(test_all_sets_have_a_limit_in_one_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
