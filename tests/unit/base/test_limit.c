/* Token buckets and counts per key: exact, bounded, and over threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/clock.h"
#include "base/limit.h"

#define START (1000 * NS_PER_S)

static struct limit_rate rate_of(const char *text, uint32_t burst)
{
    struct limit_rate r;
    assert_true(limit_rate_parse(str_of(text), burst, &r));
    return r;
}

static void rates_are_read(void **state)
{
    struct limit_rate r = rate_of("100/s", 0);
    (void)state;
    assert_int_equal(r.step_ns, 10 * NS_PER_MS);
    assert_int_equal(r.depth_ns, NS_PER_S);
    r = rate_of("30/m", 0);
    assert_int_equal(r.step_ns, 2 * NS_PER_S);
    assert_int_equal(r.depth_ns, r.step_ns); /* less than one a second: one at once */
    r = rate_of("5/h", 7);
    assert_int_equal(r.depth_ns, 7 * 720 * NS_PER_S);
    r = rate_of("1/d", 366);
    assert_int_equal(r.step_ns, 86400 * NS_PER_S);
}

static void what_is_no_rate_is_refused(void **state)
{
    static const char *const bad[] = {
        "",      "100",  "/s",     "0/s",        "1/ms", "1/x", "-1/s",
        "1.5/s", "1 /s", "100/s ", "10000001/s", "1/",   "s/1", "99999999999999999999/s"};
    struct limit_rate r;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(limit_rate_parse(str_of(bad[i]), 0, &r));
    assert_true(limit_rate_parse(STR("10000000/s"), 0, &r));
    assert_false(limit_rate_parse(STR("1/d"), 367, &r)); /* more than a year until it is full again */
    assert_false(limit_rate_parse(STR("1/s"), LIMIT_BURST_MAX + 1, &r));
}

/* By a scripted clock: the burst, then exactly one in each step, and the wait that it says is the right one.
 */
static void a_bucket_is_exact(void **state)
{
    struct limit_rate r = rate_of("10/s", 5);
    _Atomic uint64_t at = 0;
    uint64_t now = START, wait = 0;
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_true(limit_take(&at, &r, now, &wait));
    for (int i = 0; i < 100; i++) {
        assert_false(limit_take(&at, &r, now, &wait));
        assert_int_equal(wait, 100 * NS_PER_MS);
        now += wait - 1;
        assert_false(limit_take(&at, &r, now, &wait));
        assert_int_equal(wait, 1);
        now += 1;
        assert_true(limit_take(&at, &r, now, &wait));
    }
    now += 250 * NS_PER_MS; /* two tokens and a half */
    assert_true(limit_take(&at, &r, now, &wait));
    assert_true(limit_take(&at, &r, now, &wait));
    assert_false(limit_take(&at, &r, now, &wait));
    assert_int_equal(wait, 50 * NS_PER_MS);
    now += 3600 * NS_PER_S; /* a long pause is worth the burst, not more */
    for (int i = 0; i < 5; i++)
        assert_true(limit_take(&at, &r, now, &wait));
    assert_false(limit_take(&at, &r, now, &wait));
}

static const uint8_t *ip_of(uint32_t n)
{
    static uint8_t ip[16] = {[10] = 0xff, [11] = 0xff, [12] = 10};
    ip[13] = (uint8_t)(n >> 16);
    ip[14] = (uint8_t)(n >> 8);
    ip[15] = (uint8_t)n;
    return ip;
}

static void keys_tell_clients_and_guards_apart(void **state)
{
    struct limit_table t;
    uint8_t a[16] = {0x20, 1, [7] = 7, [15] = 1}, b[16] = {0x20, 1, [7] = 7, [15] = 2},
            c[16] = {0x20, 1, [7] = 8};
    (void)state;
    assert_true(limit_table_init(&t, 1024));
    assert_true(limit_key(&t, a, 1) == limit_key(&t, b, 1)); /* one /64 */
    assert_true(limit_key(&t, a, 1) != limit_key(&t, c, 1));
    assert_true(limit_key(&t, a, 1) != limit_key(&t, a, 2));
    uint64_t one = limit_key(&t, ip_of(1), 1);
    assert_true(one != limit_key(&t, ip_of(2), 1));
    limit_table_fini(&t);
}

static void clients_have_buckets_of_their_own(void **state)
{
    struct limit_table t;
    struct limit_rate r = rate_of("1/s", 2);
    uint64_t wait;
    (void)state;
    assert_true(limit_table_init(&t, 65536));
    for (uint32_t n = 0; n < 1000; n++) {
        uint64_t key = limit_key(&t, ip_of(n), 1);
        assert_true(limit_table_take(&t, key, &r, START, &wait));
        assert_true(limit_table_take(&t, key, &r, START, &wait));
        assert_false(limit_table_take(&t, key, &r, START, &wait));
        assert_int_equal(wait, NS_PER_S);
    }
    limit_table_fini(&t);
}

/* At its size: nobody is ever refused for another one's requests, however many there are. */
static void a_crowded_table_is_lenient(void **state)
{
    struct limit_table t;
    struct limit_rate r = rate_of("1/h", 1);
    uint64_t wait;
    (void)state;
    assert_true(limit_table_init(&t, 1024));
    for (uint32_t n = 0; n < 50000; n++)
        assert_true(limit_table_take(&t, limit_key(&t, ip_of(n), 1), &r, START + n, &wait));
    limit_table_fini(&t);
}

/* A bucket that is full again is as good as none. */
static void idle_entries_are_used_again(void **state)
{
    struct limit_table t;
    struct limit_rate r = rate_of("10/s", 1);
    uint64_t now = START, wait;
    (void)state;
    assert_true(limit_table_init(&t, 1024));
    for (uint32_t n = 0; n < 20000;
         n++, now += 10 * NS_PER_MS) { /* ten busy ones at a time: a hundredth of the table */
        uint64_t key = limit_key(&t, ip_of(n), 1);
        assert_true(limit_table_take(&t, key, &r, now, &wait));
        assert_false(limit_table_take(&t, key, &r, now + 5 * NS_PER_MS, &wait));
    }
    limit_table_fini(&t);
}

static void counts_below_at_and_above(void **state)
{
    struct limit_table t;
    _Atomic uint64_t *taken[3], *more;
    (void)state;
    assert_true(limit_table_init(&t, 1024));
    uint64_t key = limit_key(&t, ip_of(1), 1), other = limit_key(&t, ip_of(2), 1);
    for (int i = 0; i < 3; i++)
        assert_true(limit_table_enter(&t, key, 3, &taken[i]) && taken[i]);
    assert_false(limit_table_enter(&t, key, 3, &more));
    assert_null(more);
    assert_true(limit_table_enter(&t, other, 3, &more) && more);
    limit_leave(more);
    limit_leave(taken[0]);
    assert_true(limit_table_enter(&t, key, 3, &taken[0]) && taken[0]);
    assert_false(limit_table_enter(&t, key, 3, &more));
    for (int i = 0; i < 3; i++)
        limit_leave(taken[i]);
    limit_table_fini(&t);
}

/* More clients at a time than entries: those beyond go uncounted, and leaving is still exact. */
static void a_full_set_counts_nobody_else(void **state)
{
    struct limit_table t;
    static _Atomic uint64_t *taken[10000];
    uint32_t uncounted = 0;
    (void)state;
    assert_true(limit_table_init(&t, 1024));
    for (uint32_t n = 0; n < 10000; n++) {
        assert_true(limit_table_enter(&t, limit_key(&t, ip_of(n), 1), 1, &taken[n]));
        uncounted += taken[n] == NULL;
    }
    assert_in_range(uncounted, 10000 - 2 * 1024, 10000 - 1024);
    for (uint32_t n = 0; n < 10000; n++)
        if (taken[n])
            limit_leave(taken[n]);
    for (uint32_t n = 0; n < 100; n++) /* all free again */
        assert_true(limit_table_enter(&t, limit_key(&t, ip_of(n), 1), 1, &taken[n]) && taken[n]);
    limit_table_fini(&t);
}

/* ---- threads ---- */

#define THREADS 4
#define TRIES   20000

struct race {
    struct limit_table table;
    struct limit_rate rate;
    _Atomic uint64_t at;
    _Atomic uint32_t passed, passed_by_key, in, most;
    uint64_t key;
};

static void *run(void *arg)
{
    struct race *r = arg;
    uint64_t wait;
    for (int i = 0; i < TRIES; i++) {
        _Atomic uint64_t *count;
        r->passed += limit_take(&r->at, &r->rate, START, &wait);
        r->passed_by_key += limit_table_take(&r->table, r->key, &r->rate, START, &wait);
        if (limit_table_enter(&r->table, r->key, 2, &count)) {
            uint32_t in = ++r->in;
            if (in > r->most)
                r->most = in;
            --r->in;
            limit_leave(count);
        }
    }
    return NULL;
}

static void threads_share_one_bucket(void **state)
{
    struct race r = {.rate = rate_of("1000/s", 777)};
    pthread_t threads[THREADS];
    uint64_t wait;
    (void)state;
    assert_true(limit_table_init(&r.table, 1024));
    r.key = limit_key(&r.table, ip_of(1), 1);
    assert_true(limit_table_take(&r.table, r.key, &r.rate, START, &wait)); /* made by one: then it is exact */
    r.passed_by_key = 1;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, &r), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(r.passed, 777);
    assert_int_equal(r.passed_by_key, 777);
    assert_in_range(r.most, 1, 2);
    limit_table_fini(&r.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_are_read),
        cmocka_unit_test(what_is_no_rate_is_refused),
        cmocka_unit_test(a_bucket_is_exact),
        cmocka_unit_test(keys_tell_clients_and_guards_apart),
        cmocka_unit_test(clients_have_buckets_of_their_own),
        cmocka_unit_test(a_crowded_table_is_lenient),
        cmocka_unit_test(idle_entries_are_used_again),
        cmocka_unit_test(counts_below_at_and_above),
        cmocka_unit_test(a_full_set_counts_nobody_else),
        cmocka_unit_test(threads_share_one_bucket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
