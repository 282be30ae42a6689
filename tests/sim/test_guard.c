/* Guards on a scripted clock: limits over time, waiting for an external server, and what comes back when a
 * request goes away in between. */
#include "stage.h"

#include "proxy/guard.h"

#define GET          "GET /a HTTP/1.1\r\n"
#define GUARDED(set) "guard = \"g\"; } ); guards = ( { name = \"g\"; " set
#define ASKING(set)                                                                                          \
    "guard = \"g\"; }, { name = \"judge\"; endpoints = ( \"127.0.0.1:2001\" ); retries = 0; } ); "           \
    "guards = ( { name = \"g\"; external = { cluster = \"judge\"; path = \"/ask\"; " set " };"

/* It passed: an attempt was begun for it, and is answered. */
static bool passes(struct stage *st)
{
    struct client *c = client_send(st, GET);
    if (!c->x)
        return false;
    server_answer(attempt_of(c), 5);
    assert_int_equal(c->status, 200);
    return true;
}

static int count_passes(struct stage *st, int tries)
{
    int n = 0;
    for (int i = 0; i < tries; i++)
        n += passes(st);
    return n;
}

static struct client *last(struct stage *st)
{
    return &st->clients[st->client_count - 1];
}

static void a_rate_over_time(void **state)
{
    (void)state;
    struct stage *st = stage_make("", GUARDED("limit = { client_rate = \"10/s\"; client_burst = 5; };"), 1);
    stage_set_client(st, "192.0.2.1");
    assert_int_equal(count_passes(st, 8), 5);
    assert_int_equal(last(st)->status, 429);
    assert_int_equal(last(st)->reason, REASON_CLIENT_RATE);
    stage_advance(st, 99);
    assert_false(passes(st));
    stage_advance(st, 1);
    assert_true(passes(st));
    assert_false(passes(st));
    stage_advance(st, 350);
    assert_int_equal(count_passes(st, 8), 3);
    stage_set_client(st, "192.0.2.2"); /* another bucket */
    assert_int_equal(count_passes(st, 8), 5);
    stage_advance(st, 3600000);
    assert_int_equal(count_passes(st, 8), 5);
    struct ledger_cluster_sum sum = stage_counts(st);
    assert_int_equal(sum.requests, 19); /* what was refused did not arrive */
    assert_int_equal(sum.guard[LEDGER_GUARD_LIMITED], st->client_count - 19);
    stage_end(st);
}

static void both_limits_hold(void **state)
{
    (void)state;
    struct stage *st = stage_make(
        "", GUARDED("limit = { client_rate = \"100/s\"; client_burst = 3; rate = \"100/s\"; burst = 4; };"),
        1);
    stage_set_client(st, "192.0.2.1");
    assert_int_equal(count_passes(st, 5), 3);
    assert_int_equal(last(st)->reason, REASON_CLIENT_RATE);
    stage_set_client(st, "192.0.2.2");
    assert_int_equal(count_passes(st, 2), 1);
    assert_int_equal(last(st)->reason, REASON_GUARD_RATE);
    stage_end(st);
}

static void places_come_back_whatever_happens(void **state)
{
    (void)state;
    struct stage *st =
        stage_make("", "eject_failures = 0; retries = 0; " GUARDED("limit = { client_in_flight = 2; };"), 2);
    stage_set_client(st, "192.0.2.1");
    for (int round = 0; round < 4; round++) {
        struct client *a = client_send(st, GET), *b = client_send(st, GET), *c = client_send(st, GET);
        assert_int_equal(c->reason, REASON_CLIENT_IN_FLIGHT);
        if (round == 0)
            client_leave(a);
        else if (round == 1)
            server_fail(attempt_of(a), REASON_CONNECT_FAILED, false, false);
        else
            server_answer(attempt_of(a), 10);
        struct client *d = client_send(st, GET);
        assert_true(d->x != NULL);
        server_answer(attempt_of(b), 0);
        server_answer(attempt_of(d), 0);
    }
    stage_end(st);
}

static void a_dry_run_refuses_nobody(void **state)
{
    (void)state;
    struct stage *st = stage_make(
        "", GUARDED("limit = { client_rate = \"1/h\"; client_in_flight = 1; dry_run = true; };"), 1);
    stage_set_client(st, "192.0.2.1");
    struct client *a = client_send(st, GET), *b = client_send(st, GET);
    server_answer(attempt_of(a), 0);
    server_answer(attempt_of(b), 0);
    assert_int_equal(stage_counts(st).guard[LEDGER_GUARD_DRY], 2); /* one for each limit */
    assert_int_equal(stage_counts(st).guard[LEDGER_GUARD_LIMITED], 0);
    stage_end(st);
}

/* ---- an external server ---- */

/* The question that was asked last. */
static struct attempt *question(struct stage *st)
{
    struct attempt *a = &st->attempts[st->attempt_count - 1];
    assert_true(a->x && a->x->is_question);
    return a;
}

static void yes_lets_pass(void **state)
{
    (void)state;
    struct stage *st = stage_make("", ASKING(""), 1);
    struct client *c = client_send(st, "GET /a HTTP/1.1\r\nRemote-User: root\r\nRemote_User: root\r\n");
    assert_int_equal(c->x->state, EXCHANGE_GUARD);
    assert_null(attempt_of(c));
    assert_int_equal(stage_counts(st).requests, 0);
    struct attempt *q = question(st);
    server_connect(q);
    server_head(q, 200, "Remote-User: alice\r\nContent-Length: 0\r\n");
    assert_null(q->x); /* its head is enough */
    assert_non_null(attempt_of(c));
    struct str own = c->x->own_fields;
    assert_true(own.n > 20 && str_eq(str_make(own.p + own.n - 20, 20), STR("Remote-User: alice\r\n")));
    for (uint16_t i = 0; i < c->x->req.field_count; i++)
        if (field_name_of(&c->x->req, &c->x->req.fields[i]).n == 11)
            assert_true(c->x->req.fields[i].flags & FIELD_FLAG_DROP);
    server_answer(attempt_of(c), 3);
    assert_int_equal(c->status, 200);
    stage_end(st);
}

static void no_is_passed_on(void **state)
{
    (void)state;
    struct stage *st = stage_make("", ASKING(""), 1);
    struct client *c = client_send(st, GET);
    struct attempt *q = question(st);
    server_connect(q);
    server_head(q, 401, "WWW-Authenticate: Bearer\r\nContent-Length: 0\r\n");
    assert_null(q->x); /* its head is enough */
    assert_int_equal(c->status, 401);
    assert_int_equal(c->reason, REASON_AUTH_REFUSED);
    assert_int_equal(stage_counts(st).guard[LEDGER_GUARD_AUTH], 1);
    stage_end(st);
}

static void silence_is_no_yes(void **state)
{
    (void)state;
    struct stage *st = stage_make("", ASKING("timeout = \"1s\"; error_status = 500;"), 1);
    struct client *c = client_send(st, GET);
    struct attempt *q = question(st);
    server_connect(q);
    stage_advance(st, 900);
    assert_int_equal(c->x->state, EXCHANGE_GUARD);
    stage_advance(st, 200);
    assert_int_equal(c->status, 500);
    assert_int_equal(c->reason, REASON_AUTH_FAILED);
    assert_int_equal(q->aborts, 1);
    stage_end(st);
}

static void a_question_that_fails_is_no_yes(void **state)
{
    (void)state;
    struct stage *st = stage_make("", ASKING(""), 1);
    struct client *c = client_send(st, GET);
    server_fail(question(st), REASON_CONNECT_FAILED, false, false);
    stage_turn(st);
    assert_int_equal(c->status, 503);
    assert_int_equal(c->reason, REASON_AUTH_FAILED);
    stage_end(st);
}

static void who_leaves_takes_the_question_along(void **state)
{
    (void)state;
    struct stage *st = stage_make("", ASKING(""), 1);
    struct client *c = client_send(st, GET);
    struct attempt *q = question(st);
    server_connect(q);
    client_leave(c);
    assert_int_equal(q->aborts, 1);
    struct client *d = client_send(st, GET); /* answered, and gone in the same turn */
    q = question(st);
    server_connect(q);
    q->st = st;
    server_head(q, 200, "Content-Length: 5\r\n");
    if (d->x)
        client_leave(d);
    assert_int_equal(d->dones, 1);
    stage_end(st);
}

/* Bytes that come while the question is open wait, within bounds, and nothing is lost. */
static void the_body_waits(void **state)
{
    (void)state;
    for (int buffered = 0; buffered < 2; buffered++) {
        struct stage *st = stage_make("", buffered ? "request_buffer = true; " ASKING("") : ASKING(""), 1);
        struct client *c = client_send(st, "POST /a HTTP/1.1\r\nContent-Length: 200000\r\n");
        size_t first = client_body(c, 200000);
        assert_in_range(first, 1, 100000);
        struct attempt *q = question(st);
        server_connect(q);
        server_head(q, 200, "Content-Length: 0\r\n");
        assert_null(q->x);
        if (!buffered)
            server_connect(attempt_of(c));
        for (size_t sent = first; sent < 200000 && client_may_go_on(c);)
            sent += client_body(c, 200000 - sent);
        client_end(c, false);
        struct attempt *a = attempt_of(c);
        assert_non_null(a);
        if (buffered)
            server_connect(a);
        stage_turn(st);
        assert_int_equal(a->got_bytes, 200000);
        server_head(a, 200, "Content-Length: 0\r\n");
        server_end(a, false);
        assert_int_equal(c->status, 200);
        stage_end(st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_over_time),
        cmocka_unit_test(both_limits_hold),
        cmocka_unit_test(places_come_back_whatever_happens),
        cmocka_unit_test(a_dry_run_refuses_nobody),
        cmocka_unit_test(yes_lets_pass),
        cmocka_unit_test(no_is_passed_on),
        cmocka_unit_test(silence_is_no_yes),
        cmocka_unit_test(a_question_that_fails_is_no_yes),
        cmocka_unit_test(who_leaves_takes_the_question_along),
        cmocka_unit_test(the_body_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
