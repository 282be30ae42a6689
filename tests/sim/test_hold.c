/* max_in_flight and those who wait for it, the retry budget, and ejection, as exchanges meet them. */
#include "stage.h"

#define GET     "GET /a HTTP/1.1\r\n"
#define LIMITED "eject_failures = 0; max_in_flight = 1; hold_timeout = \"1s\"; "

static bool waits(const struct client *c)
{
    return c->x && c->x->state == EXCHANGE_HOLD;
}

static void the_oldest_goes_first(void **state)
{
    (void)state;
    struct stage *st = stage_make("", LIMITED "hold_max = 4;", 2);
    struct client *c[6];
    for (int i = 0; i < 6; i++)
        c[i] = client_send(st, GET);
    assert_int_equal(stage_counts(st).count[LEDGER_SERVING], 2);
    assert_int_equal(stage_counts(st).count[LEDGER_HELD], 4);
    for (int i = 2; i < 6; i++)
        assert_true(waits(c[i]));
    server_answer(attempt_of(c[1]), 10);
    assert_false(waits(c[2]));
    assert_true(waits(c[3]));
    server_answer(attempt_of(c[2]), 10);
    server_answer(attempt_of(c[0]), 10);
    assert_false(waits(c[3]));
    assert_false(waits(c[4]));
    assert_true(waits(c[5]));
    for (int i = 3; i < 6; i++)
        server_answer(attempt_of(c[i]), 10);
    for (int i = 0; i < 6; i++)
        assert_int_equal(c[i]->status, 200);
    assert_int_equal(stage_counts(st).retries, 0);
    stage_end(st);
}

static void the_room_is_bounded_and_patience_too(void **state)
{
    (void)state;
    struct stage *st = stage_make("", LIMITED "hold_max = 2;", 1);
    struct client *a = client_send(st, GET), *b = client_send(st, GET), *c = client_send(st, GET);
    struct client *d = client_send(st, GET);
    assert_int_equal(d->status, 503);
    assert_int_equal(d->reason, REASON_HOLD_FULL);
    stage_advance(st, 500);
    assert_true(waits(b) && waits(c));
    stage_advance(st, 600);
    assert_int_equal(b->status, 503);
    assert_int_equal(b->reason, REASON_HOLD_TIMEOUT);
    assert_int_equal(c->status, 503);
    server_answer(attempt_of(a), 0);
    assert_int_equal(a->status, 200);
    assert_int_equal(stage_counts(st).abandoned + stage_counts(st).waited, 0);
    assert_int_equal(stage_counts(st).failures[LEDGER_FAIL_REFUSED], 3);
    stage_end(st);
}

static void without_a_room_the_answer_is_at_once(void **state)
{
    (void)state;
    struct stage *st = stage_make("", LIMITED "hold_max = 0;", 1);
    struct client *a = client_send(st, GET), *b = client_send(st, GET);
    assert_int_equal(b->status, 503);
    assert_int_equal(b->reason, REASON_SATURATED);
    server_answer(attempt_of(a), 0);
    stage_end(st);
}

static void who_leaves_is_passed_over(void **state)
{
    (void)state;
    struct stage *st = stage_make("", LIMITED "hold_max = 4;", 1);
    struct client *a = client_send(st, GET), *b = client_send(st, GET), *c = client_send(st, GET);
    b->gone = true;
    client_leave(b);
    server_answer(attempt_of(a), 0);
    assert_false(waits(c));
    client_leave(c); /* and the place that it held is free again */
    struct client *d = client_send(st, GET);
    assert_false(waits(d));
    server_answer(attempt_of(d), 0);
    assert_int_equal(stage_counts(st).abandoned, 1); /* b; c was being served when it left */
    assert_int_equal(stage_counts(st).waited, 1);
    stage_end(st);
}

/* The only other endpoint is busy: a failed attempt waits for it in place of an error. */
static void a_retry_waits_for_the_others(void **state)
{
    (void)state;
    struct stage *st = stage_make("", LIMITED "hold_max = 4;", 2);
    struct client *a = client_send(st, GET), *b = client_send(st, GET);
    server_fail(attempt_of(a), REASON_CONNECT_FAILED, false, false);
    assert_true(waits(a));
    assert_int_equal(stage_counts(st).count[LEDGER_HELD], 1);
    uint32_t slot = attempt_of(b)->slot;
    server_answer(attempt_of(b), 0);
    assert_int_equal(attempt_of(a)->slot, slot);
    server_answer(attempt_of(a), 5);
    assert_int_equal(a->status, 200);
    stage_end(st);
}

/* Its turn has been: it does not go behind those that came later, nor is the room too full for it. */
static void a_stale_uplink_costs_no_turn(void **state)
{
    (void)state;
    struct stage *st = stage_make("", LIMITED "hold_max = 1;", 1);
    struct client *a = client_send(st, GET), *b = client_send(st, GET);
    assert_true(waits(b));
    server_fail(attempt_of(a), REASON_SERVER_CLOSED, true, true);
    assert_non_null(a->x);
    assert_false(waits(a));
    assert_true(waits(b));
    assert_true(attempt_of(a)->fresh);
    server_answer(attempt_of(a), 0);
    server_answer(attempt_of(b), 0);
    assert_int_equal(a->status, 200);
    assert_int_equal(b->status, 200);
    stage_end(st);
}

/* The last endpoint that it could have tried is gone. */
static void a_retry_without_hope_keeps_nobody_waiting(void **state)
{
    (void)state;
    struct stage *st = stage_make("", LIMITED "hold_max = 4;", 1);
    stage_add_endpoint(st, "127.0.0.1:2001");
    struct client *a = client_send(st, GET), *b = client_send(st, GET);
    if (str_eq(attempt_of(a)->endpoint, STR("127.0.0.1:2001"))) {
        struct client *other = a;
        a = b;
        b = other;
    }
    server_fail(attempt_of(a), REASON_CONNECT_FAILED, false, false);
    struct client *c = client_send(st, GET);
    assert_true(waits(a) && waits(c));
    model_remove_endpoint(st->model, STR("test"), STR("c"), STR("127.0.0.1:2001"));
    stage_serve(st, model_publish(st->model));
    hold_release(&st->pw);
    stage_turn(st);
    assert_null(a->x);
    assert_int_equal(a->reason, REASON_CONNECT_FAILED);
    assert_false(waits(c));
    server_answer(attempt_of(c), 0);
    server_answer(attempt_of(b), 0);
    assert_int_equal(stage_counts(st).abandoned, 0);
    stage_end(st);
}

static void a_new_endpoint_takes_who_waits(void **state)
{
    (void)state;
    struct stage *st = stage_make("", LIMITED "hold_max = 4;", 1);
    struct client *a = client_send(st, GET), *b = client_send(st, GET), *c = client_send(st, GET);
    stage_add_endpoint(st, "127.0.0.1:2001");
    assert_false(waits(b));
    assert_true(waits(c));
    server_answer(attempt_of(a), 0);
    assert_false(waits(c));
    server_answer(attempt_of(b), 0);
    server_answer(attempt_of(c), 0);
    stage_end(st);
}

/* ---- waves: without max_in_flight ---- */

static int serving(struct stage *st)
{
    return (int)stage_counts(st).count[LEDGER_SERVING];
}

#define CROWD 60

static void wait_all(struct stage *st, struct client **c, int n)
{
    for (int i = 0; i < n; i++) {
        c[i] = client_send(st, GET);
        assert_true(waits(c[i]));
    }
}

static void a_newborn_is_met_by_few_and_each_answer_brings_two(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 100; hold_wave = 4; hold_timeout = \"9s\";", 0);
    struct client *c[CROWD];
    wait_all(st, c, CROWD);
    stage_add_endpoint(st, "127.0.0.1:2001");
    assert_int_equal(serving(st), 4);
    for (int i = 0; i < 4; i++)
        assert_false(waits(c[i])); /* the oldest */
    assert_true(waits(c[4]));
    struct client *late = client_send(st, GET);
    assert_true(waits(late)); /* goes behind them all */
    for (int i = 0; i < 4; i++)
        server_answer(attempt_of(c[i]), 10);
    assert_int_equal(serving(st), 8);
    for (int i = 4; i < 12; i++)
        server_answer(attempt_of(c[i]), 10);
    assert_int_equal(serving(st), 16);
    for (int i = 12; i < CROWD; i++)
        server_answer(attempt_of(c[i]), 10);
    server_answer(attempt_of(late), 10);
    struct client *d = client_send(st, GET); /* it is over */
    assert_false(waits(d));
    server_answer(attempt_of(d), 0);
    stage_end(st);
}

static void two_newborns_are_met_by_twice_as_many(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 100; hold_wave = 4; hold_timeout = \"9s\";", 0);
    struct client *c[20];
    struct endpoint_draft e = {.weight = 100, .readiness = ENDPOINT_READY, .id = STR("127.0.0.1:2001")};
    wait_all(st, c, 20);
    assert_true(addr_parse(e.id, &e.addr));
    assert_true(model_put_endpoint(st->model, STR("test"), STR("c"), &e, NULL));
    stage_add_endpoint(st, "127.0.0.1:2002");
    assert_int_equal(serving(st), 8);
    for (int i = 0; i < 20; i++)
        server_answer(attempt_of(c[i]), 0);
    stage_end(st);
}

static void failures_make_waves_smaller(void **state)
{
    (void)state;
    struct stage *st = stage_make(
        "", "hold_max = 100; hold_wave = 2; retries = 0; eject_failures = 0; hold_timeout = \"9s\";", 0);
    struct client *c[CROWD];
    wait_all(st, c, CROWD);
    stage_add_endpoint(st, "127.0.0.1:2001");
    for (int i = 0; i < 14; i++)
        server_answer(attempt_of(c[i]), 0);
    assert_int_equal(serving(st), 16);
    for (int i = 14; i < 18; i++) /* 16, 8, 4, 2 and no less */
        server_fail(attempt_of(c[i]), REASON_CONNECT_FAILED, false, false);
    assert_int_equal(serving(st), 12);
    for (int i = 18; i < 28; i++)
        server_fail(attempt_of(c[i]), REASON_CONNECT_FAILED, false, false);
    assert_int_equal(serving(st), 2);
    for (int i = 28; i < 32; i++)
        assert_true(i < 30 ? !waits(c[i]) : waits(c[i]));
    for (int i = 28; i < CROWD; i++)
        server_answer(attempt_of(c[i]), 0);
    stage_end(st);
}

static void tick_after(struct stage *st, uint64_t ms)
{
    stage_advance(st, ms);
    hold_tick(&st->pw);
    stage_turn(st);
}

/* Streams that last: their heads were answers enough. Requests that wait for long without any: so is time. */
static void long_answers_keep_nobody_waiting(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 100; hold_wave = 2; hold_timeout = \"9s\";", 0);
    struct client *c[20];
    wait_all(st, c, 20);
    stage_add_endpoint(st, "127.0.0.1:2001");
    for (int i = 0; i < 2; i++) {
        server_connect(attempt_of(c[i]));
        server_head(attempt_of(c[i]), 200, "");
    }
    stage_turn(st);
    assert_int_equal(serving(st), 6); /* two stream on, four more began */
    tick_after(st, 1000);
    assert_int_equal(serving(st), 6); /* something was answered in this second */
    for (int i = 0; i < 19; i++)
        tick_after(st, 50); /* a worker that drains looks more often */
    assert_int_equal(serving(st), 6);
    tick_after(st, 50);
    assert_int_equal(serving(st), 8); /* nothing was */
    tick_after(st, 50);
    assert_int_equal(serving(st), 8);
    for (int i = 0; i < 2; i++)
        server_end(attempt_of(c[i]), false);
    for (int i = 2; i < 20; i++)
        server_answer(attempt_of(c[i]), 0);
    stage_end(st);
}

/* What the last wave was seen to be says nothing about this one, which begins with as many places. */
static void a_new_wave_has_its_own_second(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 100; hold_wave = 2; hold_timeout = \"9s\";", 0);
    struct client *c[12];
    wait_all(st, c, 6);
    stage_add_endpoint(st, "127.0.0.1:2001");
    tick_after(st, 1000); /* seen: two places */
    assert_int_equal(serving(st), 2);
    for (int i = 0; i < 6; i++)
        server_answer(attempt_of(c[i]), 0);
    model_remove_endpoint(st->model, STR("test"), STR("c"), STR("127.0.0.1:2001"));
    stage_serve(st, model_publish(st->model));
    wait_all(st, c + 6, 6);
    stage_add_endpoint(st, "127.0.0.1:2002");
    tick_after(st, 1000);
    assert_int_equal(serving(st), 2);
    tick_after(st, 1000);
    assert_int_equal(serving(st), 4);
    for (int i = 6; i < 12; i++)
        server_answer(attempt_of(c[i]), 0);
    stage_end(st);
}

/* All servers go in the middle of a wave: no time makes the next one larger. */
static void no_wave_grows_while_there_is_no_server(void **state)
{
    (void)state;
    struct stage *st = stage_make(
        "", "hold_max = 100; hold_wave = 2; retries = 0; eject_failures = 0; hold_timeout = \"90s\";", 0);
    struct client *c[30];
    wait_all(st, c, 30);
    stage_add_endpoint(st, "127.0.0.1:2001");
    for (int i = 0; i < 6; i++)
        server_answer(attempt_of(c[i]), 0);
    assert_int_equal(serving(st), 8);
    for (int i = 6; i < 14; i++) {
        if (i == 7) {
            model_remove_endpoint(st->model, STR("test"), STR("c"), STR("127.0.0.1:2001"));
            stage_serve(st, model_publish(st->model));
        }
        server_fail(attempt_of(c[i]), REASON_CONNECT_FAILED, false, false);
    }
    for (int i = 0; i < 10; i++)
        tick_after(st, 1000);
    assert_int_equal(serving(st), 0);
    stage_add_endpoint(st, "127.0.0.1:2002");
    assert_int_equal(serving(st), 2);
    for (int i = 0; i < 30; i++)
        if (attempt_of(c[i]))
            server_answer(attempt_of(c[i]), 0);
    stage_end(st);
}

/* They say nothing about the servers; nor does an uplink that was closed while it was idle. */
static void who_leaves_makes_no_wave_smaller(void **state)
{
    (void)state;
    struct stage *st =
        stage_make("", "hold_max = 100; hold_wave = 2; eject_failures = 0; hold_timeout = \"9s\";", 0);
    struct client *c[CROWD];
    wait_all(st, c, CROWD);
    stage_add_endpoint(st, "127.0.0.1:2001");
    for (int i = 0; i < 6; i++)
        server_answer(attempt_of(c[i]), 0);
    assert_int_equal(serving(st), 8);
    for (int i = 6; i < 10; i++) {
        c[i]->gone = true;
        client_leave(c[i]);
        stage_turn(st);
    }
    assert_int_equal(serving(st), 8);
    server_fail(attempt_of(c[10]), REASON_SERVER_CLOSED, true, true);
    assert_false(waits(c[10])); /* it is tried again, and does not wait again */
    assert_int_equal(serving(st), 9);
    for (int i = 10; i < CROWD; i++)
        server_answer(attempt_of(c[i]), 0);
    stage_end(st);
}

/* "Send this file" is an answer, whatever becomes of the file. */
static void a_file_that_is_named_is_an_answer(void **state)
{
    (void)state;
    struct stage *st = stage_make("",
                                  "hold_max = 100; hold_wave = 2; hold_timeout = \"9s\"; "
                                  "files = { internal_root = \"/nowhere\"; internal_prefix = \"/f/\"; };",
                                  0);
    struct client *c[20];
    wait_all(st, c, 20);
    stage_add_endpoint(st, "127.0.0.1:2001");
    for (int i = 0; i < 2; i++) {
        server_connect(attempt_of(c[i]));
        server_head(attempt_of(c[i]), 200, "X-Accel-Redirect: /f/a\r\n");
        stage_turn(st);
        assert_int_equal(c[i]->reason, REASON_FILE_NOT_FOUND);
    }
    assert_int_equal(serving(st), 4);
    for (int i = 2; i < 20; i++)
        server_answer(attempt_of(c[i]), 0);
    stage_end(st);
}

static void a_new_wave_does_not_wait_for_the_last(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 100; hold_wave = 2; hold_timeout = \"9s\";", 0);
    struct client *c[8];
    wait_all(st, c, 2);
    stage_add_endpoint(st, "127.0.0.1:2001");
    assert_int_equal(serving(st), 2); /* and they are never answered */
    model_remove_endpoint(st->model, STR("test"), STR("c"), STR("127.0.0.1:2001"));
    stage_serve(st, model_publish(st->model));
    wait_all(st, c + 2, 6);
    stage_add_endpoint(st, "127.0.0.1:2002");
    assert_int_equal(serving(st), 4);
    for (int i = 0; i < 8; i++)
        server_answer(attempt_of(c[i]), 0);
    stage_end(st);
}

/* ---- shares ---- */

static void nobody_has_more_of_the_room_than_is_free(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 8; hold_timeout = \"1s\";", 0);
    struct client *c[8];
    stage_set_client(st, "10.0.0.1");
    wait_all(st, c, 4);
    struct client *fifth = client_send(st, GET);
    assert_int_equal(fifth->status, 503);
    assert_int_equal(fifth->reason, REASON_HOLD_SHARE);
    stage_set_client(st, "10.0.0.2");
    wait_all(st, c + 4, 2);
    assert_int_equal(client_send(st, GET)->reason, REASON_HOLD_SHARE);
    stage_set_client(st, "10.0.0.3");
    wait_all(st, c + 6, 1);
    assert_int_equal(client_send(st, GET)->reason, REASON_HOLD_SHARE);
    stage_set_client(st, "10.0.0.4"); /* whoever comes new finds the last place */
    wait_all(st, c + 7, 1);
    stage_set_client(st, "10.0.0.5");
    assert_int_equal(client_send(st, GET)->reason, REASON_HOLD_FULL);
    client_leave(c[0]); /* a place that is left is left by its client too */
    wait_all(st, c, 1);
    stage_advance(st, 1100);
    stage_end(st);
}

static void a_share_is_of_one_cluster_and_may_be_switched_off(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 4; hold_fair = false; hold_timeout = \"1s\";", 0);
    struct client *c[4];
    uint8_t a[16], b[16], ip[16];
    stage_set_client(st, "10.0.0.1");
    wait_all(st, c, 4);
    assert_int_equal(client_send(st, GET)->reason, REASON_HOLD_FULL);
    assert_true(cidr_ip_parse(STR("10.0.0.1"), ip));
    clients_key(ip, 0, a);
    clients_key(ip, 1, b);
    assert_memory_not_equal(a, b, 16);
    stage_advance(st, 1100);
    stage_end(st);
}

static void loopback_has_no_share_unless_it_shall(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 4; hold_timeout = \"1s\";", 0);
    struct client *c[4];
    stage_set_client(st, "127.0.0.1");
    wait_all(st, c, 4);
    stage_advance(st, 1100);
    stage_end(st);
    st = stage_make("limit_loopback = true;", "hold_max = 4; hold_timeout = \"1s\";", 0);
    stage_set_client(st, "127.0.0.1");
    wait_all(st, c, 2);
    assert_int_equal(client_send(st, GET)->reason, REASON_HOLD_SHARE);
    stage_advance(st, 1100);
    stage_end(st);
}

/* ---- retry budget ---- */

/* How many of n requests are tried again after something was sent. */
static int retried(struct stage *st, int n, bool sent)
{
    uint64_t before = stage_counts(st).retries;
    for (int i = 0; i < n; i++) {
        struct client *c = client_send(st, GET);
        server_connect(attempt_of(c));
        server_fail(attempt_of(c), REASON_SERVER_CLOSED, sent, false);
        if (c->x)
            server_answer(attempt_of(c), 0);
    }
    return (int)(stage_counts(st).retries - before);
}

static void ten_retries_a_second_are_always_there(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "eject_failures = 0; retry_budget = 0;", 3);
    assert_int_equal(retried(st, 12, true), 10);
    stage_advance(st, 200);
    assert_int_equal(retried(st, 4, true), 2);
    stage_end(st);
}

static void what_was_not_sent_is_free(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "eject_failures = 0; retry_budget = 0;", 3);
    assert_int_equal(retried(st, 14, false), 14);
    stage_end(st);
}

static void the_budget_grows_with_the_requests(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "eject_failures = 0; retry_budget = 20;", 3);
    assert_int_equal(retried(st, 14, true),
                     12); /* ten, and a fifth of the requests that came in the meantime */
    stage_end(st);
}

/* ---- ejection ---- */

static void a_broken_endpoint_is_left_alone(void **state)
{
    (void)state;
    struct stage *st =
        stage_make("", "balance = \"round_robin\"; eject_failures = 3; eject_time = \"1s\"; retries = 0;", 2);
    uint32_t broken = UINT32_MAX;
    int failures = 0;
    for (int i = 0; i < 12; i++) {
        struct client *c = client_send(st, GET);
        struct attempt *a = attempt_of(c);
        broken = broken == UINT32_MAX ? a->slot : broken;
        if (a->slot == broken) {
            server_fail(a, REASON_CONNECT_FAILED, false, false);
            failures++;
        } else
            server_answer(a, 0);
    }
    assert_int_equal(failures, 3);
    stage_advance(st, 1100);
    struct client *c = client_send(st, GET), *d = client_send(st, GET);
    assert_true(attempt_of(c)->slot == broken || attempt_of(d)->slot == broken); /* it is given another try */
    server_answer(attempt_of(c), 0);
    server_answer(attempt_of(d), 0);
    stage_end(st);
}

static void who_says_that_it_is_busy_is_not_broken(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "balance = \"round_robin\"; eject_failures = 1; retries = 0;", 2);
    uint32_t seen[2] = {0, 0};
    for (int i = 0; i < 8; i++) {
        struct client *c = client_send(st, GET);
        seen[attempt_of(c)->slot]++;
        server_fail(attempt_of(c), REASON_SERVER_OVERLOADED, false, false);
        assert_int_equal(c->status, 503);
    }
    assert_int_equal(seen[0], 4);
    assert_int_equal(seen[1], 4);
    stage_end(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oldest_goes_first),
        cmocka_unit_test(the_room_is_bounded_and_patience_too),
        cmocka_unit_test(without_a_room_the_answer_is_at_once),
        cmocka_unit_test(who_leaves_is_passed_over),
        cmocka_unit_test(a_retry_waits_for_the_others),
        cmocka_unit_test(a_stale_uplink_costs_no_turn),
        cmocka_unit_test(a_retry_without_hope_keeps_nobody_waiting),
        cmocka_unit_test(a_new_endpoint_takes_who_waits),
        cmocka_unit_test(a_newborn_is_met_by_few_and_each_answer_brings_two),
        cmocka_unit_test(two_newborns_are_met_by_twice_as_many),
        cmocka_unit_test(failures_make_waves_smaller),
        cmocka_unit_test(long_answers_keep_nobody_waiting),
        cmocka_unit_test(a_new_wave_has_its_own_second),
        cmocka_unit_test(no_wave_grows_while_there_is_no_server),
        cmocka_unit_test(who_leaves_makes_no_wave_smaller),
        cmocka_unit_test(a_file_that_is_named_is_an_answer),
        cmocka_unit_test(a_new_wave_does_not_wait_for_the_last),
        cmocka_unit_test(nobody_has_more_of_the_room_than_is_free),
        cmocka_unit_test(a_share_is_of_one_cluster_and_may_be_switched_off),
        cmocka_unit_test(loopback_has_no_share_unless_it_shall),
        cmocka_unit_test(ten_retries_a_second_are_always_there),
        cmocka_unit_test(what_was_not_sent_is_free),
        cmocka_unit_test(the_budget_grows_with_the_requests),
        cmocka_unit_test(a_broken_endpoint_is_left_alone),
        cmocka_unit_test(who_says_that_it_is_busy_is_not_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
