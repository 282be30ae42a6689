/* The state machine of a request, case by case: what the client gets, what each server saw, and that all is
 * counted back to zero (stage_end checks that after every case). */
#include "stage.h"

#define GET       "GET /a HTTP/1.1\r\n"
#define POST      "POST /a HTTP/1.1\r\n"
#define LENGTH(n) "Content-Length: " #n "\r\n"
#define CHUNKED   "Transfer-Encoding: chunked\r\n"
#define NO_FIELDS ""
#define SMALL     "buffer_memory = \"16k\"; replay_limit = \"4k\";"
#define PUSH      4096u /* bytes in one call of the fakes */

/* ---- the straight road ---- */

static void a_request_and_its_answer(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 2);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    assert_int_equal(c->x->state, EXCHANGE_ATTEMPT);
    assert_int_equal(stage_counts(st).count[LEDGER_SERVING], 1);
    assert_int_equal(ledger_endpoint_in_flight(&st->proxy.ledger, a->slot), 1);
    stage_advance(st, 3);
    server_connect(a);
    assert_int_equal(a->ends, 1);
    stage_advance(st, 20);
    server_head(a, 200, LENGTH(1000));
    assert_int_equal(server_body(a, 1000), 1000);
    stage_advance(st, 7);
    server_end(a, false);
    assert_int_equal(c->status, 200);
    assert_int_equal(c->got_bytes, 1000);
    assert_false(c->cut);
    assert_int_equal(a->aborts, 0);
    struct ledger_cluster_sum sum = stage_counts(st);
    assert_int_equal(sum.status_class[2], 1);
    assert_int_equal(sum.latency_sum_ns, 30 * NS_PER_MS);
    assert_int_equal(sum.service_sum_ns, 30 * NS_PER_MS);
    assert_int_equal(sum.integral_ns[LEDGER_SERVING], 30 * NS_PER_MS);
    assert_int_equal(sum.tx_bytes, 1000);
    stage_end(st);
}

static void a_body_goes_through_and_is_not_stored(void **state)
{
    (void)state;
    struct stage *st = stage_make("", SMALL, 2);
    struct client *c = client_send(st, POST LENGTH(200000));
    struct attempt *a = attempt_of(c);
    server_connect(a);
    assert_int_equal(client_body(c, 200000), 200000);
    client_end(c, false);
    assert_int_equal(a->got_bytes, 200000);
    assert_int_equal(a->ends, 1);
    assert_int_equal(st->memory_peak, 0);
    server_head(a, 204, NO_FIELDS);
    server_end(a, false);
    assert_int_equal(c->status, 204);
    stage_end(st);
}

static void trailers_travel_both_ways(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = client_send(st, POST CHUNKED);
    struct attempt *a = attempt_of(c);
    server_connect(a);
    client_body(c, 10);
    client_end(c, true);
    assert_true(a->has_trailers);
    assert_int_equal(a->got_bytes, 10);
    server_head(a, 200, CHUNKED);
    server_body(a, 10);
    server_end(a, true);
    assert_true(c->has_trailers);
    stage_end(st);
}

/* Trailers that come while the client does not read wait behind the body. */
static void trailers_wait_behind_a_queued_body(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "response_buffer = true;", 1);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    server_connect(a);
    client_unblock(c, 1); /* the head */
    server_head(a, 200, CHUNKED);
    server_body(a, 10);
    server_end(a, true);
    assert_int_equal(c->ends, 0);
    client_unblock(c, FOR_EVER);
    assert_int_equal(c->got_bytes, 10);
    assert_true(c->has_trailers);
    stage_end(st);
}

/* ---- back-pressure ---- */

/* The server stops reading: the client is stopped, memory stays bounded, and it goes on when the server does.
 */
static void a_slow_server_stops_the_client(void **state)
{
    (void)state;
    struct stage *st = stage_make("", SMALL, 1);
    struct client *c = client_send(st, POST LENGTH(300000));
    struct attempt *a = attempt_of(c);
    server_connect(a);
    server_unblock(a, 3);
    size_t sent = client_body(c, 300000);
    assert_in_range(sent, 4 * PUSH, 65536);
    assert_int_equal(client_body(c, 300000 - sent), 0);
    for (int i = 0; i < 1000 && sent < 300000; i++) {
        c->wants = false;
        server_unblock(a, 2);
        assert_true(c->wants || sent == 300000); /* whoever was stopped is woken */
        sent += client_body(c, 300000 - sent);
        assert_true(st->memory_peak <= 16384 + PUSH);
    }
    client_end(c, false);
    server_unblock(a, FOR_EVER);
    assert_int_equal(a->got_bytes, 300000);
    assert_int_equal(a->ends, 1);
    server_head(a, 200, LENGTH(0));
    server_end(a, false);
    assert_int_equal(c->status, 200);
    stage_end(st);
}

static void a_slow_client_stops_the_server(void **state)
{
    (void)state;
    struct stage *st = stage_make("", SMALL, 1);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    server_connect(a);
    client_unblock(c, 2);
    server_head(a, 200, LENGTH(300000));
    size_t sent = server_body(a, 300000);
    assert_true(sent < 65536);
    assert_int_equal(server_body(a, 300000 - sent), 0);
    for (int i = 0; i < 1000 && sent < 300000; i++) {
        a->wants = false;
        client_unblock(c, 2);
        assert_true(a->wants);
        sent += server_body(a, 300000 - sent);
        assert_true(st->memory_peak <= 16384 + PUSH);
    }
    assert_int_equal(sent, 300000);
    server_end(a, false);
    client_unblock(c, FOR_EVER);
    assert_int_equal(c->got_bytes, 300000);
    assert_false(c->cut);
    stage_end(st);
}

/* The server is done, the client still reads: the endpoint is free, the cluster counts it as finishing. */
static void an_unread_end_is_finishing(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    uint32_t slot = a->slot;
    server_connect(a);
    client_unblock(c, 2);
    server_head(a, 200, LENGTH(4096));
    assert_int_equal(server_body(a, 4096), 4096);
    server_end(a, false);
    assert_int_equal(c->x->state, EXCHANGE_FINISH);
    assert_int_equal(stage_counts(st).count[LEDGER_FINISHING], 1);
    assert_int_equal(stage_counts(st).count[LEDGER_SERVING], 0);
    assert_int_equal(ledger_endpoint_in_flight(&st->proxy.ledger, slot), 0);
    stage_advance(st, 1000);
    client_unblock(c, FOR_EVER);
    assert_false(c->cut);
    assert_int_equal(stage_counts(st).service_sum_ns, 0); /* waiting for the client is not service */
    stage_end(st);
}

/* ---- early answers ---- */

static void an_answer_before_the_request_is_complete(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 2);
    struct client *c = client_send(st, POST LENGTH(100000));
    struct attempt *a = attempt_of(c);
    server_connect(a);
    client_body(c, 20000);
    server_head(a, 403, LENGTH(5));
    server_body(a, 5);
    server_end(a, false);
    assert_int_equal(c->status, 403);
    assert_false(c->cut);
    assert_int_equal(a->ends, 0);
    assert_int_equal(st->attempt_count, 1);
    stage_end(st);
}

static void an_answer_may_overlap_its_request(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = client_send(st, POST CHUNKED);
    struct attempt *a = attempt_of(c);
    server_connect(a);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(client_body(c, 3000), 3000);
        if (i == 0)
            server_head(a, 200, CHUNKED);
        assert_int_equal(server_body(a, 2000), 2000);
    }
    client_end(c, false);
    assert_int_equal(a->ends, 1);
    server_end(a, false);
    assert_int_equal(c->got_bytes, 40000);
    assert_int_equal(a->got_bytes, 60000);
    stage_end(st);
}

/* ---- retries ---- */

static void no_connection_goes_to_another_endpoint(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "retries = 2;", 3);
    struct client *c = client_send(st, POST LENGTH(3000));
    client_body(c, 3000);
    client_end(c, false);
    struct attempt *a = attempt_of(c);
    server_fail(a, REASON_CONNECT_FAILED, false, false);
    struct attempt *b = attempt_of(c);
    assert_non_null(b);
    assert_int_not_equal(a->slot, b->slot);
    server_answer(b, 10);
    assert_int_equal(b->got_bytes, 3000); /* the whole body, again */
    assert_int_equal(b->ends, 1);
    assert_int_equal(c->status, 200);
    assert_int_equal(stage_counts(st).retries, 1);
    assert_int_equal(ledger_get(&st->pw.ledger.endpoints[a->slot].failures), 1);
    stage_end(st);
}

/* start itself may fail: no descriptor, or connect said no at once. */
static void a_start_that_fails_is_tried_elsewhere(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "retries = 2;", 3);
    st->refuse[0] = REASON_CONNECT_FAILED;
    st->refuse[1] = REASON_NO_MEMORY;
    st->refuse_count = 2;
    struct client *c = client_send(st, GET);
    assert_int_equal(c->x->attempts, 3);
    server_answer(attempt_of(c), 10);
    assert_int_equal(c->status, 200);
    stage_end(st);
}

static void all_endpoints_tried_is_502(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "retries = 5;", 2);
    struct client *c = client_send(st, GET);
    server_fail(attempt_of(c), REASON_CONNECT_FAILED, false, false);
    server_fail(attempt_of(c), REASON_CONNECT_FAILED, false, false);
    assert_int_equal(c->status, 502);
    assert_int_equal(st->attempt_count, 2);
    assert_int_equal(stage_counts(st).failures[LEDGER_FAIL_CONNECT], 1); /* of the exchange */
    stage_end(st);
}

static void retries_have_a_limit(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "retries = 1;", 5);
    struct client *c = client_send(st, GET);
    server_fail(attempt_of(c), REASON_CONNECT_TIMEOUT, false, false);
    server_fail(attempt_of(c), REASON_CONNECT_TIMEOUT, false, false);
    assert_int_equal(c->status, 504);
    assert_int_equal(st->attempt_count, 2);
    assert_int_equal(stage_counts(st).failures[LEDGER_FAIL_CONNECT], 1);
    stage_end(st);
}

static void a_post_that_was_sent_is_never_sent_twice(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 3);
    struct client *c = client_send(st, POST LENGTH(10));
    server_connect(attempt_of(c));
    client_body(c, 10);
    client_end(c, false);
    server_fail(attempt_of(c), REASON_SERVER_CLOSED, true, false);
    assert_int_equal(c->status, 502);
    assert_int_equal(st->attempt_count, 1);
    stage_end(st);
}

/* RFC 9110 9.2.2 */
static void an_idempotent_request_is_sent_again(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 3);
    struct client *c = client_send(st, "PUT /a HTTP/1.1\r\n" LENGTH(5000));
    server_connect(attempt_of(c));
    client_body(c, 5000);
    client_end(c, false);
    server_fail(attempt_of(c), REASON_SERVER_RESET, true, false);
    struct attempt *b = attempt_of(c);
    server_answer(b, 1);
    assert_int_equal(b->got_bytes, 5000);
    assert_int_equal(c->status, 200);
    stage_end(st);
}

/* What is still on its way when the first attempt fails goes to the second. */
static void a_retry_in_the_middle_of_the_body(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 3);
    struct client *c = client_send(st, "PUT /a HTTP/1.1\r\n" LENGTH(12000));
    server_connect(attempt_of(c));
    client_body(c, 5000);
    server_fail(attempt_of(c), REASON_SERVER_RESET, true, false);
    client_body(c, 3000);
    struct attempt *b = attempt_of(c);
    server_connect(b);
    client_body(c, 4000);
    client_end(c, false);
    assert_int_equal(b->got_bytes, 12000);
    assert_int_equal(b->ends, 1);
    server_head(b, 200, LENGTH(0));
    server_end(b, false);
    stage_end(st);
}

/* At, and one above replay_limit. */
static void what_is_too_long_to_keep_is_not_retried(void **state)
{
    (void)state;
    for (int above = 0; above < 2; above++) {
        struct stage *st = stage_make("", "replay_limit = \"4k\";", 3);
        struct client *c =
            client_send(st, above ? "PUT /a HTTP/1.1\r\n" LENGTH(4097) : "PUT /a HTTP/1.1\r\n" LENGTH(4096));
        server_connect(attempt_of(c));
        client_body(c, 4096u + (unsigned)above);
        client_end(c, false);
        server_fail(attempt_of(c), REASON_SERVER_RESET, true, false);
        if (above)
            assert_int_equal(c->status, 502);
        else
            server_answer(attempt_of(c), 1);
        assert_int_equal(st->attempt_count, above ? 1 : 2);
        stage_end(st);
    }
}

/* The server closed an idle connection in the moment it was taken: that says nothing about the server. */
static void a_stale_uplink_is_retried_on_the_same_endpoint(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    server_connect(a);
    server_fail(a, REASON_SERVER_CLOSED, true, true);
    struct attempt *b = attempt_of(c);
    assert_non_null(b);
    assert_int_equal(b->slot, a->slot);
    assert_true(b->fresh);
    assert_int_equal(ledger_get(&st->pw.ledger.endpoints[a->slot].failures), 0);
    server_answer(b, 1);
    assert_int_equal(c->status, 200);
    stage_end(st);
}

static void a_stale_uplink_costs_no_retry(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "retries = 0;", 1);
    struct client *c = client_send(st, GET);
    server_connect(attempt_of(c));
    server_fail(attempt_of(c), REASON_SERVER_CLOSED, true, true);
    assert_non_null(attempt_of(c));
    server_answer(attempt_of(c), 1);
    assert_int_equal(c->status, 200);
    stage_end(st);
}

/* Once the client has seen the head there is no way back. */
static void a_failure_behind_the_head_cuts(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 3);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    server_connect(a);
    server_head(a, 200, LENGTH(100));
    server_body(a, 50);
    server_fail(a, REASON_SERVER_RESET, true, false);
    assert_true(c->cut);
    assert_int_equal(c->ends, 0);
    assert_int_equal(c->reason, REASON_SERVER_RESET);
    assert_int_equal(st->attempt_count, 1);
    assert_int_equal(stage_counts(st).failures[LEDGER_FAIL_SERVER], 1);
    stage_end(st);
}

/* ---- no endpoint, hold ---- */

static void no_endpoint_is_503(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 0;", 0);
    struct client *c = client_send(st, GET);
    assert_int_equal(c->status, 503);
    assert_int_equal(c->reason, REASON_NO_ENDPOINT);
    assert_int_equal(stage_counts(st).failures[LEDGER_FAIL_REFUSED], 1);
    stage_end(st);
}

static void a_held_request_goes_on_when_an_endpoint_comes(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 2;", 0);
    struct client *c = client_send(st, POST LENGTH(3000));
    assert_int_equal(c->x->state, EXCHANGE_HOLD);
    assert_int_equal(stage_counts(st).count[LEDGER_HELD], 1);
    assert_int_equal(stage_counts(st).count[LEDGER_SERVING], 0);
    client_body(c, 3000);
    client_end(c, false);
    stage_advance(st, 500);
    stage_add_endpoint(st, "127.0.0.1:1001");
    assert_int_equal(c->x->state, EXCHANGE_ATTEMPT);
    server_answer(attempt_of(c), 10);
    assert_int_equal(st->attempts[0].got_bytes, 3000);
    assert_int_equal(stage_counts(st).integral_ns[LEDGER_HELD], 500 * NS_PER_MS);
    assert_int_equal(c->status, 200);
    stage_end(st);
}

static void the_oldest_held_goes_first(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 8;", 0);
    struct client *c[4];
    for (int i = 0; i < 4; i++)
        c[i] = client_send(st, GET);
    client_leave(c[1]); /* one in the middle leaves */
    stage_add_endpoint(st, "127.0.0.1:1001");
    assert_ptr_equal(st->attempts[0].x, c[0]->x);
    assert_ptr_equal(st->attempts[1].x, c[2]->x);
    assert_ptr_equal(st->attempts[2].x, c[3]->x);
    for (int i = 0; i < 3; i++)
        server_answer(&st->attempts[i], 1);
    stage_end(st);
}

static void a_hold_times_out(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 2; hold_timeout = \"2s\";", 0);
    struct client *c = client_send(st, GET);
    stage_advance(st, 1999);
    assert_int_equal(c->dones, 0);
    stage_advance(st, 1 + WHEEL_TICK_MS);
    assert_int_equal(c->dones, 1);
    assert_int_equal(c->status, reason_status(REASON_HOLD_TIMEOUT));
    assert_int_equal(stage_counts(st).failures[LEDGER_FAIL_REFUSED], 1);
    stage_end(st);
}

/* Below, at and above hold_max. */
static void a_full_hold_refuses(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 2;", 0);
    struct client *c[4];
    for (int i = 0; i < 3; i++)
        c[i] = client_send(st, GET);
    assert_int_equal(c[0]->x->state, EXCHANGE_HOLD);
    assert_int_equal(c[1]->x->state, EXCHANGE_HOLD);
    assert_int_equal(c[2]->status, 503);
    assert_int_equal(c[2]->reason, REASON_HOLD_FULL);
    client_leave(c[0]); /* makes room for one */
    c[3] = client_send(st, GET);
    assert_int_equal(c[3]->x->state, EXCHANGE_HOLD);
    client_leave(c[1]);
    client_leave(c[3]);
    stage_end(st);
}

/* ---- the client leaves, in each state ---- */

static void a_client_that_leaves_in_hold(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "hold_max = 2;", 0);
    struct client *c = client_send(st, GET);
    client_leave(c);
    assert_int_equal(c->reason, REASON_CLIENT_GONE);
    stage_add_endpoint(st, "127.0.0.1:1001");
    assert_int_equal(st->attempt_count, 0);
    stage_end(st);
}

static void a_client_that_leaves_in_collect(void **state)
{
    (void)state;
    struct stage *st =
        stage_make("", "request_buffer = true; buffer_memory = \"16k\"; buffer_file = \"1m\";", 1);
    struct client *c = client_send(st, POST LENGTH(100000));
    client_body(c, 50000);
    client_leave(c);
    assert_int_equal(st->attempt_count, 0);
    stage_end(st);
}

static void a_client_that_leaves_while_connecting(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 2);
    struct client *c = client_send(st, GET);
    client_leave(c);
    assert_int_equal(st->attempts[0].aborts, 1);
    assert_int_equal(stage_counts(st).failures[LEDGER_FAIL_CLIENT], 1);
    stage_end(st);
}

static void a_client_that_leaves_before_the_head(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 2);
    struct client *c = client_send(st, POST LENGTH(1000));
    server_connect(attempt_of(c));
    client_body(c, 500);
    client_leave(c);
    assert_int_equal(st->attempts[0].aborts, 1);
    assert_true(c->cut);
    stage_end(st);
}

static void a_client_that_leaves_in_the_answer(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 2);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    server_connect(a);
    server_head(a, 200, LENGTH(100000));
    server_body(a, 5000);
    c->gone = true; /* found out by a write that fails */
    server_body(a, 5000);
    assert_int_equal(c->dones, 1);
    assert_int_equal(a->aborts, 1);
    assert_int_equal(c->reason, REASON_CLIENT_GONE);
    stage_end(st);
}

static void a_client_that_is_gone_when_the_head_comes(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 2);
    struct client *c = client_send(st, GET);
    server_connect(attempt_of(c));
    c->gone = true;
    server_head(attempt_of(c), 200, LENGTH(5));
    assert_int_equal(c->dones, 1);
    assert_int_equal(st->attempts[0].aborts, 1);
    assert_int_equal(st->attempt_count, 1); /* and it is not tried again */
    stage_end(st);
}

static void a_client_that_leaves_while_finishing(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    server_connect(a);
    client_unblock(c, 2);
    server_head(a, 200, LENGTH(4096));
    server_body(a, 4096);
    server_end(a, false);
    assert_int_equal(c->x->state, EXCHANGE_FINISH);
    client_leave(c);
    assert_int_equal(a->aborts, 0);
    stage_end(st);
}

static void a_client_that_is_gone_gets_no_retry(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 3);
    struct client *c = client_send(st, GET);
    c->session.broken = true;
    server_fail(attempt_of(c), REASON_CONNECT_FAILED, false, false);
    assert_int_equal(st->attempt_count, 1);
    assert_int_equal(c->dones, 1);
    stage_end(st);
}

/* ---- interim answers ---- */

static void an_asked_for_100_is_passed_on_once(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = client_send(st, POST "Expect: 100-continue\r\n" LENGTH(10));
    struct attempt *a = attempt_of(c);
    server_connect(a);
    assert_int_equal(c->interims, 0); /* the server decides, not we */
    server_interim(a, 100);
    server_interim(a, 100);
    assert_int_equal(c->interims, 1);
    client_body(c, 10);
    client_end(c, false);
    server_head(a, 200, LENGTH(0));
    server_end(a, false);
    assert_int_equal(c->status, 200);
    stage_end(st);
}

static void a_100_that_nobody_asked_for_is_dropped(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    server_connect(a);
    server_interim(a, 100);
    assert_int_equal(c->interims, 0);
    server_interim(a, 103);
    server_interim(a, 103);
    assert_int_equal(c->interims, 2);
    server_head(a, 200, LENGTH(0));
    server_end(a, false);
    stage_end(st);
}

/* Who collects must say 100 itself, or client and server wait for each other; the server's own is then one
 * too many. */
static void who_collects_says_100(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "request_buffer = true;", 1);
    struct client *c = client_send(st, POST "Expect: 100-continue\r\n" LENGTH(10));
    assert_int_equal(c->x->state, EXCHANGE_COLLECT);
    assert_int_equal(c->last_interim, 100);
    client_body(c, 10);
    client_end(c, false);
    server_connect(attempt_of(c));
    server_interim(attempt_of(c), 100);
    assert_int_equal(c->interims, 1);
    server_head(attempt_of(c), 200, LENGTH(0));
    server_end(attempt_of(c), false);
    stage_end(st);
}

static void too_many_interim_answers_are_a_502(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = client_send(st, POST LENGTH(5));
    server_connect(attempt_of(c));
    for (int i = 0; i < 5; i++)
        server_interim(attempt_of(c), 103);
    server_fail(attempt_of(c), REASON_SERVER_INTERIM, true, false); /* the back counts them (H28) */
    assert_int_equal(c->status, 502);
    assert_int_equal(c->heads, 1);
    stage_end(st);
}

static void an_interim_to_a_client_that_is_gone(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = client_send(st, GET);
    server_connect(attempt_of(c));
    c->gone = true;
    server_interim(attempt_of(c), 103);
    assert_int_equal(c->dones, 1);
    assert_int_equal(st->attempts[0].aborts, 1);
    stage_end(st);
}

/* ---- buffering ---- */

static void a_collected_request_arrives_whole(void **state)
{
    (void)state;
    struct stage *st =
        stage_make("", "request_buffer = true; buffer_memory = \"16k\"; buffer_file = \"1m\";", 2);
    struct client *c = client_send(st, POST CHUNKED);
    assert_int_equal(c->x->state, EXCHANGE_COLLECT);
    assert_int_equal(stage_counts(st).count[LEDGER_HELD], 1); /* demand, but no work yet */
    for (int i = 0; i < 20; i++) {
        assert_int_equal(client_body(c, 10000), 10000);
        stage_advance(st, 10);
    }
    assert_int_equal(st->attempt_count, 0);
    assert_true(st->memory_peak <= 16384);
    client_end(c, false);
    struct attempt *a = attempt_of(c);
    server_connect(a);
    assert_int_equal(a->got_bytes, 200000);
    assert_int_equal(a->ends, 1);
    /* and once more, for all of it is still here */
    server_fail(a, REASON_CONNECT_TIMEOUT, false, false);
    struct attempt *b = attempt_of(c);
    server_answer(b, 10);
    assert_int_equal(b->got_bytes, 200000);
    stage_end(st);
}

/* FastCGI must know the length before the first byte: what fits is served, above the file's limit it is 413,
 * and no server hears of it. */
static void a_chunked_body_above_the_buffers_is_413_for_fastcgi(void **state)
{
    (void)state;
    static const char options[] = "protocol = \"fastcgi\"; fastcgi = { document_root = \"/srv\"; };"
                                  "buffer_memory = \"8k\"; buffer_file = \"8k\";";
    struct stage *st = stage_make("", options, 1);
    struct client *c = client_send(st, POST CHUNKED);
    assert_int_equal(client_body(c, 12288), 12288);
    client_end(c, false);
    server_answer(attempt_of(c), 1);
    assert_int_equal(c->status, 200);
    struct client *d = client_send(st, POST CHUNKED);
    client_body(d, 100000);
    assert_int_equal(d->status, 413);
    assert_true(d->sent_bytes <= 20000);
    assert_int_equal(st->attempt_count, 1);
    stage_end(st);
}

/* Everything else goes on unbuffered: the server gets what there is, and the rest waits at the client. */
static void collecting_stops_at_the_buffers_limit(void **state)
{
    (void)state;
    static const char *const requests[] = {POST CHUNKED, POST LENGTH(100000)};
    for (int i = 0; i < 2; i++) {
        struct stage *st =
            stage_make("", "request_buffer = true; buffer_memory = \"8k\"; buffer_file = \"8k\";", 2);
        struct client *c = client_send(st, requests[i]);
        size_t sent = client_body(c, 100000);
        struct attempt *a = attempt_of(c);
        assert_non_null(a);
        assert_in_range(sent, 12288, 20000);
        server_connect(a);
        assert_int_equal(a->got_bytes, sent);
        assert_true(c->wants);
        assert_int_equal(client_body(c, 100000 - sent), 100000 - sent);
        client_end(c, false);
        assert_int_equal(a->got_bytes, 100000);
        server_head(a, 200, LENGTH(0));
        server_end(a, false);
        assert_int_equal(c->status, 200);
        stage_end(st);
    }
}

/* Exactly as much as memory holds, without a file: the end is not a byte. */
static void a_body_of_exactly_the_buffer_is_served(void **state)
{
    (void)state;
    struct stage *st =
        stage_make("", "request_buffer = true; buffer_memory = \"8k\"; buffer_file = \"0\";", 1);
    struct client *c = client_send(st, POST LENGTH(8192));
    assert_int_equal(client_body(c, 8192), 8192);
    client_end(c, false);
    assert_int_equal(c->heads, 0);
    server_answer(attempt_of(c), 1);
    assert_int_equal(c->status, 200);
    stage_end(st);
}

static void a_body_above_the_listeners_limit_is_413(void **state)
{
    (void)state;
    struct stage *st = stage_make("max_body_size = \"10k\";", "", 1);
    struct client *announced = client_send(st, POST LENGTH(10241));
    assert_int_equal(announced->status, 413);
    assert_int_equal(st->attempt_count, 0);
    struct client *fits = client_send(st, POST LENGTH(10240));
    server_connect(attempt_of(fits));
    assert_int_equal(client_body(fits, 10240), 10240);
    client_end(fits, false);
    server_head(attempt_of(fits), 200, LENGTH(0));
    server_end(attempt_of(fits), false);
    assert_int_equal(fits->status, 200);
    struct client *chunked = client_send(st, POST CHUNKED);
    server_connect(attempt_of(chunked));
    client_body(chunked, 20000);
    assert_int_equal(chunked->status, 413);
    assert_int_equal(st->attempts[1].aborts, 1);
    stage_end(st);
}

/* The whole answer is taken at the server's speed: its endpoint is free while the client still reads. */
static void a_buffered_answer_frees_the_server(void **state)
{
    (void)state;
    struct stage *st =
        stage_make("", "response_buffer = true; buffer_memory = \"16k\"; buffer_file = \"1m\";", 1);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    uint32_t slot = a->slot;
    server_connect(a);
    client_unblock(c, 2);
    server_head(a, 200, LENGTH(300000));
    assert_int_equal(server_body(a, 300000), 300000);
    assert_true(st->memory_peak <= 16384 + PUSH);
    server_end(a, false);
    assert_int_equal(ledger_endpoint_in_flight(&st->proxy.ledger, slot), 0);
    assert_int_equal(stage_counts(st).count[LEDGER_FINISHING], 1); /* nobody works for it any more */
    for (int i = 0; i < 1000 && c->x; i++)
        client_unblock(c, 1);
    assert_int_equal(c->got_bytes, 300000);
    assert_false(c->cut);
    stage_end(st);
}

static void a_buffered_answer_has_a_limit_too(void **state)
{
    (void)state;
    struct stage *st =
        stage_make("", "response_buffer = true; buffer_memory = \"16k\"; buffer_file = \"64k\";", 1);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    server_connect(a);
    client_unblock(c, 2);
    server_head(a, 200, CHUNKED);
    size_t sent = server_body(a, 1000000);
    assert_in_range(sent, 65536, 16384 + 65536 + 2 * PUSH);
    for (int i = 0; i < 10000 && sent < 1000000; i++) {
        client_unblock(c, 5);
        sent += server_body(a, 1000000 - sent);
    }
    assert_int_equal(sent, 1000000);
    server_end(a, false);
    client_unblock(c, FOR_EVER);
    assert_int_equal(c->got_bytes, 1000000);
    stage_end(st);
}

/* A client that reads again after a pause gets what waits in turns, so that the worker's others are served
 * between. */
static void a_long_queue_goes_out_in_turns(void **state)
{
    (void)state;
    struct stage *st =
        stage_make("", "response_buffer = true; buffer_memory = \"16k\"; buffer_file = \"4m\";", 1);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    server_connect(a);
    client_unblock(c, 2);
    server_head(a, 200, LENGTH(2000000));
    assert_int_equal(server_body(a, 2000000), 2000000);
    server_end(a, false);
    client_unblock(c, FOR_EVER);
    assert_int_equal(c->got_bytes, 2000000);
    assert_in_range(c->longest_go, 1, (256 << 10) + CHUNK_BYTES);
    assert_int_equal(c->dones, 1);
    stage_end(st);
}

static void an_event_stream_is_not_buffered(void **state)
{
    (void)state;
    static const char *fields[] = {"Content-Type: text/event-stream\r\n" CHUNKED,
                                   "X-Accel-Buffering: no\r\n" CHUNKED};
    for (int i = 0; i < 2; i++) {
        struct stage *st = stage_make("", "response_buffer = true;", 1);
        struct client *c = client_send(st, GET);
        struct attempt *a = attempt_of(c);
        server_connect(a);
        client_unblock(c, 2);
        server_head(a, 200, fields[i]);
        assert_true(server_body(a, 300000) < 65536);
        client_leave(c);
        stage_end(st);
    }
}

/* ---- tunnels ---- */

static struct client *open_tunnel(struct stage *st)
{
    struct client *c = client_send(st, GET "Connection: upgrade\r\nUpgrade: websocket\r\n");
    struct attempt *a = attempt_of(c);
    server_connect(a);
    assert_int_equal(a->ends, 1);
    a->ends = 0; /* the request's; from now on FIN */
    server_head(a, 101, "Connection: upgrade\r\nUpgrade: websocket\r\n");
    assert_true(c->tunnelled);
    assert_int_equal(c->x->state, EXCHANGE_TUNNEL);
    a->got_bytes = 0;
    return c;
}

static void a_tunnel_is_counted_apart(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = open_tunnel(st);
    struct attempt *a = attempt_of(c);
    struct ledger_endpoint_sum sum = {.attempts = 0};
    assert_int_equal(stage_counts(st).count[LEDGER_TUNNEL], 1);
    assert_int_equal(stage_counts(st).count[LEDGER_SERVING], 0);
    ledger_sum_endpoint(&st->proxy.ledger, a->slot, true, st->pw.w.now_ns, &sum);
    assert_int_equal(sum.tunnels, 1);
    assert_int_equal(sum.attempts, 0);
    stage_advance(st, 10000);
    client_body(c, 3000);
    server_body(a, 5000);
    assert_int_equal(a->got_bytes, 3000);
    assert_int_equal(c->got_bytes, 5000);
    client_leave(c);
    assert_int_equal(a->aborts, 1);
    assert_int_equal(stage_counts(st).service_count, 0);
    stage_end(st);
}

static void a_tunnel_half_closed_by_the_client(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = open_tunnel(st);
    struct attempt *a = attempt_of(c);
    client_body(c, 100);
    client_end(c, false);
    assert_int_equal(a->ends, 1);
    assert_int_equal(c->dones, 0);
    assert_int_equal(server_body(a, 7000), 7000); /* the other direction goes on */
    server_half_close(a);
    assert_int_equal(c->dones, 1);
    assert_int_equal(c->got_bytes, 7000);
    stage_end(st);
}

static void a_tunnel_half_closed_by_the_server(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = open_tunnel(st);
    struct attempt *a = attempt_of(c);
    server_body(a, 100);
    server_half_close(a);
    assert_int_equal(c->ends, 1);
    assert_int_equal(c->dones, 0);
    assert_int_equal(client_body(c, 7000), 7000);
    assert_int_equal(a->got_bytes, 7000);
    client_end(c, false);
    assert_int_equal(c->dones, 1);
    assert_false(c->cut);
    stage_end(st);
}

/* The client's last bytes wait for a slow server; when they and the FIN are through, the tunnel ends at once.
 */
static void a_tunnel_ends_when_the_slow_server_has_all(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = open_tunnel(st);
    struct attempt *a = attempt_of(c);
    server_unblock(a, 1);
    assert_int_equal(client_body(c, 4096), 4096);
    size_t more = client_body(c, 4096);
    server_half_close(a);
    client_end(c, false);
    assert_int_equal(c->dones, 0);
    server_unblock(a, FOR_EVER);
    assert_int_equal(a->got_bytes, 4096 + more);
    assert_int_equal(a->ends, 1);
    assert_int_equal(c->dones, 1);
    if (c->x) /* so that a failure above is not followed by others */
        client_leave(c);
    stage_end(st);
}

static void a_tunnel_has_back_pressure(void **state)
{
    (void)state;
    struct stage *st = stage_make("", SMALL, 1);
    struct client *c = open_tunnel(st);
    struct attempt *a = attempt_of(c);
    server_unblock(a, 1);
    assert_true(client_body(c, 300000) < 65536);
    client_unblock(c, 1);
    assert_true(server_body(a, 300000) < 65536);
    assert_true(st->memory_peak <= 16384 + PUSH);
    c->wants = a->wants = false;
    client_unblock(c, FOR_EVER);
    server_unblock(a, FOR_EVER);
    assert_true(c->wants);
    assert_true(a->wants);
    server_fail(a, REASON_SERVER_RESET, true, false);
    assert_true(c->cut);
    stage_end(st);
}

/* ---- refusals before a server is known ---- */

static void an_unknown_host_is_404(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    model_remove_route(st->model, STR("config"), STR("*"), STR("/"));
    stage_serve(st, model_publish(st->model));
    struct client *c = client_send(st, GET);
    assert_int_equal(c->status, 404);
    assert_int_equal(ledger_get(&st->pw.ledger.row->unrouted), 1);
    stage_end(st);
}

/* A blocked client gets our own answers too, and they are counted until it has read them. */
static void a_reply_of_our_own_waits_for_the_client(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "retries = 0;", 1);
    struct client *c = client_send(st, GET);
    client_unblock(c, 1);
    server_fail(attempt_of(c), REASON_CONNECT_FAILED, false, false);
    assert_int_equal(c->status, 502);
    assert_int_equal(c->dones, 0);
    client_unblock(c, FOR_EVER);
    assert_int_equal(c->dones, 1);
    assert_false(c->cut);
    assert_true(c->got_bytes > 0);
    stage_end(st);
}

/* A topology that takes the cluster's endpoint away leaves those who use it alone. */
static void an_exchange_outlives_its_topology(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "", 1);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    model_remove_endpoint(st->model, STR("config"), STR("c"), STR("127.0.0.1:1001"));
    stage_serve(st, model_publish(st->model));
    assert_true(str_eq(a->endpoint, STR("127.0.0.1:1001")));
    server_answer(a, 5);
    assert_int_equal(c->status, 200);
    stage_end(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_and_its_answer),
        cmocka_unit_test(a_body_goes_through_and_is_not_stored),
        cmocka_unit_test(trailers_travel_both_ways),
        cmocka_unit_test(trailers_wait_behind_a_queued_body),
        cmocka_unit_test(a_slow_server_stops_the_client),
        cmocka_unit_test(a_slow_client_stops_the_server),
        cmocka_unit_test(an_unread_end_is_finishing),
        cmocka_unit_test(an_answer_before_the_request_is_complete),
        cmocka_unit_test(an_answer_may_overlap_its_request),
        cmocka_unit_test(no_connection_goes_to_another_endpoint),
        cmocka_unit_test(a_start_that_fails_is_tried_elsewhere),
        cmocka_unit_test(all_endpoints_tried_is_502),
        cmocka_unit_test(retries_have_a_limit),
        cmocka_unit_test(a_post_that_was_sent_is_never_sent_twice),
        cmocka_unit_test(an_idempotent_request_is_sent_again),
        cmocka_unit_test(a_retry_in_the_middle_of_the_body),
        cmocka_unit_test(what_is_too_long_to_keep_is_not_retried),
        cmocka_unit_test(a_stale_uplink_is_retried_on_the_same_endpoint),
        cmocka_unit_test(a_stale_uplink_costs_no_retry),
        cmocka_unit_test(a_failure_behind_the_head_cuts),
        cmocka_unit_test(no_endpoint_is_503),
        cmocka_unit_test(a_held_request_goes_on_when_an_endpoint_comes),
        cmocka_unit_test(the_oldest_held_goes_first),
        cmocka_unit_test(a_hold_times_out),
        cmocka_unit_test(a_full_hold_refuses),
        cmocka_unit_test(a_client_that_leaves_in_hold),
        cmocka_unit_test(a_client_that_leaves_in_collect),
        cmocka_unit_test(a_client_that_leaves_while_connecting),
        cmocka_unit_test(a_client_that_leaves_before_the_head),
        cmocka_unit_test(a_client_that_leaves_in_the_answer),
        cmocka_unit_test(a_client_that_is_gone_when_the_head_comes),
        cmocka_unit_test(a_client_that_leaves_while_finishing),
        cmocka_unit_test(a_client_that_is_gone_gets_no_retry),
        cmocka_unit_test(an_asked_for_100_is_passed_on_once),
        cmocka_unit_test(a_100_that_nobody_asked_for_is_dropped),
        cmocka_unit_test(who_collects_says_100),
        cmocka_unit_test(too_many_interim_answers_are_a_502),
        cmocka_unit_test(an_interim_to_a_client_that_is_gone),
        cmocka_unit_test(a_collected_request_arrives_whole),
        cmocka_unit_test(a_chunked_body_above_the_buffers_is_413_for_fastcgi),
        cmocka_unit_test(collecting_stops_at_the_buffers_limit),
        cmocka_unit_test(a_body_of_exactly_the_buffer_is_served),
        cmocka_unit_test(a_body_above_the_listeners_limit_is_413),
        cmocka_unit_test(a_buffered_answer_frees_the_server),
        cmocka_unit_test(a_buffered_answer_has_a_limit_too),
        cmocka_unit_test(a_long_queue_goes_out_in_turns),
        cmocka_unit_test(an_event_stream_is_not_buffered),
        cmocka_unit_test(a_tunnel_is_counted_apart),
        cmocka_unit_test(a_tunnel_half_closed_by_the_client),
        cmocka_unit_test(a_tunnel_half_closed_by_the_server),
        cmocka_unit_test(a_tunnel_ends_when_the_slow_server_has_all),
        cmocka_unit_test(a_tunnel_has_back_pressure),
        cmocka_unit_test(an_unknown_host_is_404),
        cmocka_unit_test(a_reply_of_our_own_waits_for_the_client),
        cmocka_unit_test(an_exchange_outlives_its_topology),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
