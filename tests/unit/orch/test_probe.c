/* Probes against real sockets on loopback: rise, fall, starting members, and the rule about real traffic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/eager.h"
#include "orch/probe.h"
#include "topo/model.h"

struct bench {
    struct loop loop;
    struct model *model;
    struct probes *probes;
    struct addr addr; /* of the endpoint */
    int listener;     /* -1: nobody listens */
    int verdicts;
    bool is_up;
    char member[32];
    uint64_t traffic;
    bool holds; /* requests wait for it */
    int asked; /* how often traffic was looked at: once a question */
};

static void on_verdict(void *ctx, struct str cluster, struct str endpoint, struct str member, bool is_up)
{
    struct bench *b = ctx;
    assert_true(str_eq(cluster, STR("c")) && str_eq(endpoint, STR("e")));
    (void)snprintf(b->member, sizeof b->member, "%.*s", STR_ARG(member));
    b->verdicts++;
    b->is_up = is_up;
}

static uint64_t on_traffic(void *ctx, uint32_t slot)
{
    struct bench *b = ctx;
    (void)slot;
    b->asked++;
    return b->traffic;
}

static bool on_holds(void *ctx, uint32_t slot)
{
    (void)slot;
    return ((struct bench *)ctx)->holds;
}

static const struct probe_ops ops = {.verdict = on_verdict, .traffic = on_traffic, .holds = on_holds};

static void listen_again(struct bench *b)
{
    b->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(b->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)), 0);
    assert_int_equal(bind(b->listener, &b->addr.sa, b->addr.len), 0);
    socklen_t len = sizeof b->addr.in;
    assert_int_equal(getsockname(b->listener, &b->addr.sa, &len), 0);
    assert_int_equal(listen(b->listener, 64), 0);
}

static void be_deaf(struct bench *b)
{
    close(b->listener);
    b->listener = -1;
}

static int setup(void **state)
{
    struct bench *b = must(calloc(1, sizeof *b));
    log_init("test", 2, LOG_ERROR);
    assert_true(loop_init(&b->loop));
    assert_true(addr_parse(STR("127.0.0.1:0"), &b->addr));
    listen_again(b);
    b->model = model_create(1, 8, 8);
    b->probes = probes_create(&b->loop, &ops, b);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    probes_destroy(&b->probes);
    model_destroy(&b->model);
    loop_fini(&b->loop);
    if (b->listener >= 0)
        close(b->listener);
    free(b);
    return 0;
}

static void follow(struct bench *b)
{
    struct topology *t = model_publish(b->model);
    assert_non_null(t);
    probes_follow(b->probes, t);
    topology_unref(&t);
}

/* One cluster with one endpoint, asked every 20 ms. */
static void begin(struct bench *b, int kind, int64_t rise, int64_t fall, const char *member,
                  enum member_state member_state)
{
    struct cluster_options o;
    options_init(&cluster_options_table, &o);
    o.probe.kind = kind;
    o.probe.interval_ms = 20;
    o.probe.timeout_ms = 30;
    o.probe.rise = rise;
    o.probe.fall = fall;
    const struct endpoint_draft e = {.id = STR("e"),
                                     .addr = b->addr,
                                     .weight = 100,
                                     .readiness = ENDPOINT_READY,
                                     .member = str_of(member),
                                     .member_state = (uint8_t)member_state};
    assert_true(model_put_cluster(b->model, STR("t"), STR("c"), &o, NULL));
    assert_true(model_put_endpoint(b->model, STR("t"), STR("c"), &e, NULL));
    options_free(&cluster_options_table, &o);
    follow(b);
}

#define UNTIL(b, condition)                                                                                  \
    do {                                                                                                     \
        const uint64_t until_ns_ = clock_now_ns() + 5 * NS_PER_S;                                            \
        while (!(condition)) {                                                                               \
            assert_true(clock_now_ns() < until_ns_);                                                         \
            event_base_loopexit((b)->loop.base, &(struct timeval){.tv_usec = 10000});                        \
            event_base_loop((b)->loop.base, EVLOOP_ONCE);                                                    \
        }                                                                                                    \
    } while (0)

static void run_for(struct bench *b, uint64_t ms)
{
    const uint64_t until_ns = clock_now_ns() + ms * NS_PER_MS;
    UNTIL(b, clock_now_ns() >= until_ns);
}

static void test_tcp_up_and_down(void **state)
{
    struct bench *b = *state;
    begin(b, PROBE_TCP, 1, 3, "", MEMBER_ACTIVE);
    UNTIL(b, b->verdicts == 1);
    assert_true(b->is_up);
    be_deaf(b);
    const int before = b->asked;
    UNTIL(b, b->verdicts == 2);
    assert_false(b->is_up);
    assert_true(b->asked - before >= 3); /* fall */
    listen_again(b);
    UNTIL(b, b->verdicts == 3);
    assert_true(b->is_up);
}

static void test_rise(void **state)
{
    struct bench *b = *state;
    begin(b, PROBE_TCP, 3, 1, "", MEMBER_ACTIVE);
    UNTIL(b, b->verdicts == 1);
    assert_true(b->is_up);
    assert_int_equal(b->asked, 3);
}

static void test_starting_member(void **state)
{
    struct bench *b = *state;
    be_deaf(b);
    begin(b, PROBE_TCP, 1, 1, "m", MEMBER_STARTING);
    UNTIL(b, b->asked >= 3); /* it is asked and asked, and never called unhealthy */
    assert_int_equal(b->verdicts, 0);
    listen_again(b);
    UNTIL(b, b->verdicts == 1);
    assert_true(b->is_up);
    assert_string_equal(b->member, "m");
}

/* With pauses of 50 ms this would take ten seconds, and UNTIL has five. */
#define MANY 200

static void test_requests_are_held_for_it(void **state)
{
    struct bench *b = *state;
    be_deaf(b);
    b->holds = true;
    begin(b, PROBE_HTTP, 1, 1, "m", MEMBER_STARTING);
    UNTIL(b, b->asked >= MANY);
    assert_int_equal(b->verdicts, 0);
    b->holds = false; /* nobody waits any more: back to the slow pace */
    const int before = b->asked;
    run_for(b, 200);
    assert_in_range(b->asked - before, 1, 6);
    b->holds = true; /* told by a wake, not found out by the next question */
    probes_hurry(b->probes, STR("c"));
    UNTIL(b, b->asked >= before + MANY);
    probes_hurry(b->probes, STR("no such cluster"));
}

static void test_requests_are_held_for_a_unix_socket(void **state)
{
    struct bench *b = *state;
    char path[] = "/tmp/cox-probe-XXXXXX", text[64];
    assert_non_null(mkdtemp(path));
    (void)snprintf(text, sizeof text, "unix:%s/s", path);
    be_deaf(b);
    assert_true(addr_parse(str_of(text), &b->addr));
    b->holds = true;
    begin(b, PROBE_TCP, 1, 1, "m", MEMBER_STARTING);
    UNTIL(b, b->asked >= MANY); /* no such file yet */
    assert_int_equal(b->verdicts, 0);
    b->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(b->listener, &b->addr.sa, b->addr.len), 0);
    assert_int_equal(listen(b->listener, 8), 0);
    UNTIL(b, b->verdicts == 1);
    assert_true(b->is_up);
    assert_int_equal(unlink(text + 5), 0);
    assert_int_equal(rmdir(path), 0);
}

/* Connected and left without an answer: that is no server to be stormed with connections. */
static void test_a_server_that_is_not_well_is_spared(void **state)
{
    struct bench *b = *state;
    b->holds = true;
    begin(b, PROBE_HTTP, 1, 1, "m", MEMBER_STARTING);
    UNTIL(b, b->asked >= 2); /* each has its whole time-out of 30 ms */
    run_for(b, 300);
    assert_in_range(b->asked, 4, 14);
}

static void test_pauses_grow_and_are_shared(void **state)
{
    (void)state;
    assert_int_equal(eager_pause_ns(0, 1), EAGER_FIRST_NS);
    assert_int_equal(eager_pause_ns(5 * NS_PER_S, 1), EAGER_FIRST_NS);
    assert_int_equal(eager_pause_ns(20 * NS_PER_S, 1), NS_PER_MS);
    assert_int_equal(eager_pause_ns(1000 * NS_PER_S, 1), EAGER_LAST_NS);
    assert_int_equal(eager_pause_ns(UINT64_MAX, 1), EAGER_LAST_NS);
    assert_int_equal(eager_pause_ns(0, 4), EAGER_FIRST_NS);
    assert_int_equal(eager_pause_ns(0, 16), NS_PER_MS); /* 16,000 a second, all together */
    assert_int_equal(eager_pause_ns(0, EAGER_MAX), EAGER_MAX * NS_PER_S / EAGER_A_SECOND);
}

static void called(struct eager_node *n)
{
    n->since_ns++; /* counts */
}

static void test_there_is_room_for_so_many(void **state)
{
    struct bench *b = *state;
    struct eager e;
    static struct eager_node n[EAGER_MAX + 1];
    eager_init(&e, &b->loop);
    for (unsigned i = 0; i <= EAGER_MAX; i++) {
        eager_node_init(&n[i], called);
        assert_int_equal(eager_add(&e, &n[i], clock_now_ns(), 0), i < EAGER_MAX);
    }
    assert_true(eager_add(&e, &n[0], clock_now_ns(), 0)); /* moving one needs no room */
    eager_remove(&e, &n[1], false);
    assert_true(eager_add(&e, &n[EAGER_MAX], clock_now_ns(), 0));
    const uint64_t since = n[0].since_ns;
    UNTIL(b, e.count == 0);
    assert_int_equal(n[0].since_ns, since + 1);
    eager_fini(&e);
}

static void test_starting_member_without_a_probe_is_asked_too(void **state)
{
    struct bench *b = *state;
    begin(b, PROBE_NONE, 1, 1, "m", MEMBER_STARTING);
    UNTIL(b, b->verdicts == 1);
    assert_true(b->is_up);
}

/* The listener's queue takes the connection, but nobody answers: a time-out each. */
static void test_time_out(void **state)
{
    struct bench *b = *state;
    begin(b, PROBE_HTTP, 1, 2, "", MEMBER_ACTIVE);
    UNTIL(b, b->verdicts == 1);
    assert_false(b->is_up);
}

static void test_time_out_does_not_count_while_it_serves(void **state)
{
    struct bench *b = *state;
    begin(b, PROBE_HTTP, 1, 1, "", MEMBER_ACTIVE);
    for (int i = 1; i <= 4; i++) {
        b->traffic += 100; /* real answers arrive meanwhile */
        UNTIL(b, b->asked == i);
        assert_int_equal(b->verdicts, 0);
    }
    UNTIL(b, b->verdicts == 1); /* they stop */
    assert_false(b->is_up);
}

static void test_refusal_counts_even_while_it_serves(void **state)
{
    struct bench *b = *state;
    be_deaf(b);
    begin(b, PROBE_TCP, 1, 1, "", MEMBER_ACTIVE);
    b->traffic = 100;
    UNTIL(b, b->verdicts == 1);
    assert_false(b->is_up);
}

static void test_removed_endpoint_is_asked_no_more(void **state)
{
    struct bench *b = *state;
    begin(b, PROBE_TCP, 1, 1, "", MEMBER_ACTIVE);
    UNTIL(b, b->verdicts == 1);
    model_remove_endpoint(b->model, STR("t"), STR("c"), STR("e"));
    follow(b);
    const int before = b->asked;
    run_for(b, 100);
    assert_int_equal(b->asked, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_tcp_up_and_down, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rise, setup, teardown),
        cmocka_unit_test_setup_teardown(test_starting_member, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_are_held_for_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_requests_are_held_for_a_unix_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_server_that_is_not_well_is_spared, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pauses_grow_and_are_shared, setup, teardown),
        cmocka_unit_test_setup_teardown(test_there_is_room_for_so_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_starting_member_without_a_probe_is_asked_too, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_time_out_does_not_count_while_it_serves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusal_counts_even_while_it_serves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_removed_endpoint_is_asked_no_more, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
