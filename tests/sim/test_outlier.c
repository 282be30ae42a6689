/* Passive ejection by failure rate, with exchanges on a scripted clock: who fails clearly more often than the
 * others goes, chance and common trouble eject nobody, and never too many go. */
#include "stage.h"

#include <stdio.h>

#define GET "GET /a HTTP/1.1\r\n"
#define SET                                                                                                  \
    "balance = \"round_robin\"; eject_failures = 0; eject_rate = 20; eject_interval = \"10s\"; "             \
    "eject_time = \"30s\"; retries = 0; "

struct plan {
    int of_ten[8]; /* how many of ten requests each endpoint fails */
    bool by_status;
};

struct tally {
    int tries[8], fails[8];
};

/* One request; how it ends is its endpoint's to say. */
static void one(struct stage *st, const struct plan *p, struct tally *t)
{
    st->client_count = st->attempt_count = 0; /* all before are done: their places are free */
    memset(st->clients, 0, sizeof st->clients[0]);
    memset(st->attempts, 0, sizeof st->attempts[0]);
    struct client *c = client_send(st, GET);
    struct attempt *a = attempt_of(c);
    assert_non_null(a);
    uint32_t e = a->slot;
    ledger_add(&st->pw.ledger.endpoints[e].requests, 1); /* as an uplink does */
    bool fails = t->tries[e]++ % 10 < p->of_ten[e];
    t->fails[e] += fails;
    if (!fails) {
        server_answer(a, 0);
    } else if (p->by_status) {
        server_connect(a);
        server_head(a, 502, "Content-Length: 0\r\n");
        server_end(a, false);
    } else
        server_fail(a, REASON_SERVER_CLOSED, true, false);
}

static struct tally run(struct stage *st, const struct plan *p, int seconds, int per_second)
{
    struct tally t = {{0}, {0}};
    for (int s = 0; s < seconds; s++) {
        for (int i = 0; i < per_second; i++)
            one(st, p, &t);
        stage_advance(st, 1000);
    }
    return t;
}

static uint64_t ejections(struct stage *st, uint32_t slot, bool *out_now)
{
    struct ledger_endpoint_sum sum = {0};
    ledger_sum_endpoint(&st->proxy.ledger, slot, true, st->pw.w.now_ns, &sum);
    if (out_now)
        *out_now = sum.ejected != 0;
    return sum.ejections;
}

static uint64_t all_ejections(struct stage *st, uint32_t count)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < count; i++)
        n += ejections(st, i, NULL);
    return n;
}

static void the_one_that_fails_more_is_ejected(void **state)
{
    (void)state;
    for (int by_status = 0; by_status < 2; by_status++) {
        struct stage *st = stage_make("", SET, 5);
        struct plan p = {.of_ten = {0, 0, 5, 0, 0}, .by_status = by_status};
        bool now;
        struct tally t = run(st, &p, 5, 25);
        assert_in_range(t.tries[2], 20, 30); /* within the interval nothing is known */
        run(st, &p, 7, 25);
        assert_int_equal(ejections(st, 2, &now), 1);
        assert_true(now);
        assert_int_equal(all_ejections(st, 5), 1);
        t = run(st, &p, 20, 25);
        assert_int_equal(t.tries[2], 0);
        assert_int_equal(t.fails[0] + t.fails[1] + t.fails[3] + t.fails[4], 0);
        t = run(st, &p, 12, 25); /* its time is over */
        assert_true(t.tries[2] > 0);
        run(st, &p, 20, 25); /* and it is no better: again */
        assert_int_equal(ejections(st, 2, NULL), 2);
        stage_end(st);
    }
}

static void trouble_of_all_ejects_nobody(void **state)
{
    (void)state;
    struct stage *st = stage_make("", SET, 4);
    run(st, &(struct plan){.of_ten = {6, 5, 6, 7}}, 60, 40);
    assert_int_equal(all_ejections(st, 4), 0);
    stage_end(st);
}

static void little_more_is_no_reason(void **state)
{
    (void)state;
    struct stage *st = stage_make("", SET, 4);
    run(st, &(struct plan){.of_ten = {0, 1, 0, 0}}, 60, 40);
    assert_int_equal(all_ejections(st, 4), 0);
    stage_end(st);
}

/* 3 of 10 against none of 30: it matters, but there are too few of them to judge. */
static void few_requests_are_not_judged(void **state)
{
    (void)state;
    struct stage *st = stage_make("", SET, 4);
    run(st, &(struct plan){.of_ten = {10, 0, 0, 0}}, 60, 4); /* ten each in an interval */
    assert_int_equal(all_ejections(st, 4), 0);
    run(st, &(struct plan){.of_ten = {10, 0, 0, 0}}, 25, 12); /* thirty each */
    assert_int_equal(ejections(st, 0, NULL), 1);
    stage_end(st);
}

/* Failures of long ago say nothing of now. */
static void an_old_interval_is_thrown_away(void **state)
{
    (void)state;
    struct stage *st = stage_make("", SET, 4);
    run(st, &(struct plan){.of_ten = {10, 0, 0, 0}}, 8, 40);
    run(st, &(struct plan){.of_ten = {0, 0, 0, 0}}, 30, 40);
    run(st, &(struct plan){.of_ten = {1, 0, 0, 0}}, 5, 40);
    assert_int_equal(all_ejections(st, 4), 0);
    stage_end(st);
}

static void never_more_than_the_share(void **state)
{
    (void)state;
    struct stage *st = stage_make("", SET "eject_max_percent = 34; ", 6);
    run(st, &(struct plan){.of_ten = {9, 8, 7, 0, 0, 0}}, 25, 60);
    assert_int_equal(ejections(st, 0, NULL), 1); /* the worst go first */
    assert_int_equal(ejections(st, 1, NULL), 1);
    assert_int_equal(all_ejections(st, 6), 2);
    stage_end(st);
}

static void off_by_default(void **state)
{
    (void)state;
    struct stage *st = stage_make("", "balance = \"round_robin\"; eject_failures = 0; retries = 0;", 4);
    run(st, &(struct plan){.of_ten = {10, 0, 0, 0}}, 30, 40);
    assert_int_equal(all_ejections(st, 4), 0);
    stage_end(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_one_that_fails_more_is_ejected),
        cmocka_unit_test(trouble_of_all_ejects_nobody),
        cmocka_unit_test(little_more_is_no_reason),
        cmocka_unit_test(few_requests_are_not_judged),
        cmocka_unit_test(an_old_interval_is_thrown_away),
        cmocka_unit_test(never_more_than_the_share),
        cmocka_unit_test(off_by_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
