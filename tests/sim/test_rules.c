/* Rules of routes as exchanges meet them: those that outlive their topology, and copies for a shadow cluster.
 */
#include "proxy/mirror.h"
#include "stage.h"
#include "topo/route_rules.h"

#define GET  "GET /a HTTP/1.1\r\n"
#define POST "POST /a HTTP/1.1\r\nContent-Length: 100\r\n"

static const struct route_place place = {.host = STR("*"), .path = STR("/"), .label = STR("rules")};

/* A route beside the plain one that is tried before it. */
static void put_rules(struct stage *st, const char *key, const char *value)
{
    struct route_options options;
    options_init(&route_options_table, &options);
    options.priority = 1;
    assert_null(options_set(&route_options_table, &options, key, value, NULL));
    assert_true(model_put_ruled_route(st->model, STR("test"), &place, STR("c"), &options, NULL));
    options_free(&route_options_table, &options);
    stage_serve(st, model_publish(st->model));
}

/* Cluster "shadow" with so many endpoints, and copies of all requests for it. */
static struct stage *make_shadow(int endpoints)
{
    struct stage *st = stage_make("", "eject_failures = 0;", 2);
    struct cluster_options options;
    struct endpoint_draft e = {.weight = 100, .readiness = ENDPOINT_READY, .id = STR("10.0.0.9:80")};
    options_init(&cluster_options_table, &options);
    options.hold_max = 10;
    options.response_timeout_ms = options.body_timeout_ms = 1000;
    assert_true(model_put_cluster(st->model, STR("test"), STR("shadow"), &options, NULL));
    options_free(&cluster_options_table, &options);
    assert_true(addr_parse(e.id, &e.addr));
    if (endpoints)
        assert_true(model_put_endpoint(st->model, STR("test"), STR("shadow"), &e, NULL));
    put_rules(st, "mirror.cluster", "shadow");
    return st;
}

static struct ledger_cluster_sum shadow_counts(struct stage *st)
{
    struct ledger_cluster_sum sum = {.requests = 0};
    ledger_sum_cluster(&st->proxy.ledger, 1, true, st->pw.w.now_ns, &sum);
    return sum;
}

/* The cells of the copies are exactly these, and no other cell of the shadow moved. */
static void check_cells(struct stage *st, uint64_t now, uint64_t sent, uint64_t failures, uint64_t skipped)
{
    struct ledger_cluster_sum s = shadow_counts(st);
    assert_int_equal(s.mirrors, now);
    assert_int_equal(s.mirrored, sent);
    assert_int_equal(s.mirror_failures, failures);
    assert_int_equal(s.mirrors_skipped, skipped);
    assert_int_equal(s.requests + s.completed + s.failures[LEDGER_FAIL_SERVER] + s.count[LEDGER_HELD] +
                         s.count[LEDGER_SERVING],
                     0);
    assert_int_equal(stage_counts(st).failures[LEDGER_FAIL_SERVER], 0);
}

static struct attempt *copy_in(struct stage *st, int at)
{
    struct attempt *a = &st->attempts[at];
    assert_int_equal(st->attempt_count, at + 1);
    assert_true(a->x && a->x->is_mirror && str_eq(a->endpoint, STR("10.0.0.9:80")));
    return a;
}

static void rules_outlive_their_topology(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 4;", 0);
    put_rules(st, "response_headers.set", "X-Rule: $cluster");
    struct client *c = client_send(st, GET);
    assert_int_equal(c->x->state, EXCHANGE_HOLD);
    model_remove_ruled_route(st->model, STR("test"), &place);
    stage_add_endpoint(st, "10.0.0.1:80"); /* the view that the rules came with is gone now */
    assert_true(c->x->rules_kept);
    server_answer(attempt_of(c), 10);
    assert_int_equal(c->status, 200);
    stage_end(st);
}

static void a_copy_ends_by_itself(void **state)
{
    (void)state;
    struct stage *st = make_shadow(1);
    struct client *c = client_send(st, GET);
    struct attempt *copy = copy_in(st, 1);
    check_cells(st, 1, 1, 0, 0);
    server_answer(attempt_of(c), 10);
    assert_int_equal(c->status, 200);
    assert_int_equal(c->dones, 1);
    check_cells(st, 1, 1, 0, 0);
    server_answer(copy, 5000);
    check_cells(st, 0, 1, 0, 0);
    stage_end(st);
}

static void a_body_is_copied_when_it_is_complete(void **state)
{
    (void)state;
    struct stage *st = make_shadow(1);
    struct client *c = client_send(st, POST);
    server_connect(attempt_of(c));
    assert_int_equal(client_body(c, 60), 60);
    assert_int_equal(st->attempt_count, 1);
    check_cells(st, 1, 0, 0, 0);
    assert_int_equal(client_body(c, 40), 40);
    client_end(c, false);
    struct attempt *copy = copy_in(st, 1);
    server_connect(copy);
    assert_int_equal(copy->got_bytes, 100);
    assert_int_equal(copy->ends, 1);
    server_fail(copy, REASON_SERVER_CLOSED, false, true); /* a stale uplink: the same once more */
    copy = copy_in(st, 2);
    server_answer(copy, 0);
    assert_int_equal(copy->got_bytes, 100);
    server_head(attempt_of(c), 200, "Content-Length: 0\r\n");
    server_end(attempt_of(c), false);
    check_cells(st, 0, 1, 0, 0);
    stage_end(st);
}

static void what_is_not_complete_is_not_copied(void **state)
{
    (void)state;
    struct stage *st = make_shadow(1);
    struct client *c = client_send(st, POST);
    assert_int_equal(client_body(c, 60), 60);
    client_leave(c);
    assert_int_equal(st->attempt_count, 1);
    check_cells(st, 0, 0, 0, 1);
    stage_end(st);
}

static void a_copy_is_tried_once(void **state)
{
    (void)state;
    struct stage *st = make_shadow(1);
    struct client *c = client_send(st, GET);
    server_fail(copy_in(st, 1), REASON_CONNECT_FAILED, false, false);
    assert_int_equal(st->attempt_count, 2);
    check_cells(st, 0, 1, 1, 0);
    server_answer(attempt_of(c), 0);
    stage_end(st);
}

static void a_copy_is_not_held(void **state)
{
    (void)state;
    struct stage *st = make_shadow(0);
    struct client *c = client_send(st, GET);
    assert_int_equal(st->attempt_count, 1);
    assert_int_equal(st->pw.held_count, 0);
    check_cells(st, 0, 1, 1, 0);
    server_answer(attempt_of(c), 0);
    stage_end(st);
}

static void a_copy_has_its_time(void **state)
{
    (void)state;
    struct stage *st = make_shadow(1);
    struct client *c = client_send(st, GET);
    struct attempt *copy = copy_in(st, 1);
    server_connect(copy);
    server_head(copy, 200, "Content-Length: 100\r\n");
    stage_advance(st, 1900);
    assert_non_null(copy->x);
    stage_advance(st, 200);
    assert_int_equal(copy->aborts, 1);
    check_cells(st, 0, 1, 1, 0);
    server_answer(attempt_of(c), 0);
    stage_end(st);
}

static void an_answer_of_any_size_is_not_read_for_ever(void **state)
{
    (void)state;
    struct stage *st = make_shadow(1);
    struct client *c = client_send(st, GET);
    struct attempt *copy = copy_in(st, 1);
    server_connect(copy);
    server_head(copy, 200, "Transfer-Encoding: chunked\r\n");
    assert_int_equal(server_body(copy, MIRROR_ANSWER_MAX), MIRROR_ANSWER_MAX);
    assert_non_null(copy->x);
    server_body(copy, 1);
    assert_null(copy->x);
    check_cells(st, 0, 1, 1, 0);
    server_answer(attempt_of(c), 0);
    stage_end(st);
}

static void a_worker_that_leaves_waits_for_no_copy(void **state)
{
    (void)state;
    struct stage *st = make_shadow(1);
    struct client *c = client_send(st, GET);
    struct attempt *copy = copy_in(st, 1);
    server_answer(attempt_of(c), 0);
    mirrors_cut(&st->pw);
    stage_turn(st);
    assert_int_equal(copy->aborts, 1);
    check_cells(st, 0, 1, 1, 0);
    stage_end(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_outlive_their_topology),
        cmocka_unit_test(a_copy_ends_by_itself),
        cmocka_unit_test(a_body_is_copied_when_it_is_complete),
        cmocka_unit_test(what_is_not_complete_is_not_copied),
        cmocka_unit_test(a_copy_is_tried_once),
        cmocka_unit_test(a_copy_is_not_held),
        cmocka_unit_test(a_copy_has_its_time),
        cmocka_unit_test(an_answer_of_any_size_is_not_read_for_ever),
        cmocka_unit_test(a_worker_that_leaves_waits_for_no_copy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
