/* The policies beyond p2c and round robin, limits, ejection, slow start, and the tokens of sticky cookies. */
#include "support.h"

#include <unistd.h>

#include "base/clock.h"
#include "topo/balance_hash.h"
#include "topo/balance_policy.h"
#include "topo/token.h"

#define MAX    64
#define KEYS   20000
#define NOW_MS 1000000ull

struct fixture {
    struct cluster_options options;
    struct endpoint_draft e[MAX];
    char ids[MAX][24];
    uint32_t count;
    struct cluster *c;
    struct ledger ledger;
    struct ledger_writer w;
    struct gates gates;
    struct balance_ewma ewma[MAX];
    uint64_t random, now_ms, wall_ns;
    uint32_t cursor;
};

static void build(struct fixture *f)
{
    cluster_unref(&f->c);
    f->c = cluster_build(STR("c"), OWNER, 0, &f->options, f->e, f->count);
}

static struct fixture *make(int policy, uint32_t count)
{
    struct fixture *f = must(calloc(1, sizeof *f));
    f->options = default_options(policy);
    f->count = count;
    f->random = 42;
    f->now_ms = NOW_MS;
    int fd = ledger_create(1, 1, 1, MAX);
    assert_true(ledger_open(&f->ledger, fd, true));
    close(fd);
    ledger_writer_init(&f->w, &f->ledger, 0);
    assert_true(gates_init(&f->gates, 1, MAX));
    for (uint32_t i = 0; i < MAX; i++) {
        snprintf(f->ids[i], sizeof f->ids[i], "10.0.0.1%02u:80", i);
        f->e[i] = make_endpoint(f->ids[i]);
        f->e[i].slot = i;
    }
    build(f);
    return f;
}

static void drop(struct fixture *f)
{
    cluster_unref(&f->c);
    ledger_close(&f->ledger);
    gates_fini(&f->gates);
    free_options(&f->options);
    free(f);
}

static struct balance_request request(struct fixture *f)
{
    return (struct balance_request){.ledger = &f->ledger,
                                    .gates = &f->gates,
                                    .ewma = f->ewma,
                                    .random = &f->random,
                                    .cursor = &f->cursor,
                                    .now_ns = f->now_ms * NS_PER_MS,
                                    .wall_ns = f->wall_ns};
}

static int pick(struct fixture *f)
{
    struct balance_request r = request(f);
    return balance_pick(f->c, &r);
}

static int pick_key(struct fixture *f, uint64_t key)
{
    struct balance_request r = request(f);
    r.hash = balance_hash(str_make((const char *)&key, sizeof key), 0);
    return balance_pick(f->c, &r);
}

/* One request is in flight at the endpoint, and so in the cluster. */
static void begin(struct fixture *f, int endpoint)
{
    ledger_endpoint_attempt(&f->w, f->c->endpoints[endpoint].slot, +1, 1);
    ledger_cluster_move(&f->w, 0, LEDGER_COUNTS, LEDGER_SERVING, 1);
}

static void count_picks(struct fixture *f, int picks, int *counts)
{
    memset(counts, 0, MAX * sizeof *counts);
    for (int i = 0; i < picks; i++) {
        int at = f->options.balance == BALANCE_CONSISTENT_HASH ? pick_key(f, (uint64_t)i) : pick(f);
        assert_in_range(at, 0, MAX - 1);
        counts[at]++;
    }
}

/* ---- shares ---- */

static void idle_endpoints_share_by_weight(void **state)
{
    (void)state;
    static const int policies[] = {BALANCE_LEAST_IN_FLIGHT, BALANCE_RANDOM, BALANCE_ROUND_ROBIN};
    int counts[MAX];
    for (size_t i = 0; i < 3; i++) {
        struct fixture *f = make(policies[i], 3);
        f->e[0].weight = 10;
        f->e[1].weight = 30;
        f->e[2].weight = 60;
        build(f);
        count_picks(f, 100000, counts);
        assert_in_range(counts[0], 9500, 10500);
        assert_in_range(counts[1], 29000, 31000);
        assert_in_range(counts[2], 59000, 61000);
        drop(f);
    }
}

static void least_in_flight_fills_in_proportion_to_weight(void **state)
{
    (void)state;
    struct fixture *f = make(BALANCE_LEAST_IN_FLIGHT, 4);
    f->e[3].weight = 300;
    build(f);
    for (int i = 0; i < 600; i++)
        begin(f, pick(f));
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(ledger_endpoint_in_flight(&f->ledger, i), 100);
    assert_int_equal(ledger_endpoint_in_flight(&f->ledger, 3), 300);
    drop(f);
}

static void peak_ewma_shuns_the_slow_and_forgives(void **state)
{
    (void)state;
    struct fixture *f = make(BALANCE_PEAK_EWMA, 2);
    int counts[MAX];
    for (int i = 0; i < 2; i++)
        balance_ewma_feed(&f->ewma[i], (i ? 50 : 1) * NS_PER_MS, f->now_ms * NS_PER_MS);
    count_picks(f, 1000, counts);
    assert_int_equal(counts[1], 0); /* both idle: fifty times as slow */
    for (int i = 0; i < 60; i++)
        begin(f, 0);
    count_picks(f, 1000, counts);
    assert_int_equal(counts[0], 0); /* 61 ms of work there, 50 ms here */
    balance_ewma_feed(&f->ewma[0], 500 * NS_PER_MS, f->now_ms * NS_PER_MS); /* a peak counts at once … */
    assert_true(f->ewma[0].value_ns >= 500e6);
    balance_ewma_feed(&f->ewma[0], NS_PER_MS,
                      (f->now_ms + 60000) * NS_PER_MS); /* … and is forgotten in a minute */
    assert_true(f->ewma[0].value_ns < 100e6);
    drop(f);
}

/* ---- consistent hash ---- */

static void hash_shares_follow_weights_roughly(void **state)
{
    (void)state;
    struct fixture *f = make(BALANCE_CONSISTENT_HASH, 10);
    int counts[MAX];
    f->e[9].weight = 300;
    build(f);
    count_picks(f, KEYS * 6, counts); /* nothing is in flight: no bound holds anybody back */
    for (int i = 0; i < 9; i++)
        assert_in_range(counts[i], 7000, 13000); /* 10000 each */
    assert_in_range(counts[9], 26000, 34000);
    drop(f);
}

/* One of n goes: its keys alone move. It comes back: they alone come back. */
static void a_member_that_goes_takes_its_own_keys_only(void **state)
{
    (void)state;
    struct fixture *f = make(BALANCE_CONSISTENT_HASH, 10);
    int before[KEYS], moved = 0;
    for (int k = 0; k < KEYS; k++)
        before[k] = pick_key(f, (uint64_t)k);
    f->e[4].readiness = ENDPOINT_NOT_READY;
    build(f);
    for (int k = 0; k < KEYS; k++) {
        int now = pick_key(f, (uint64_t)k);
        moved += now != before[k];
        assert_true(now == before[k] || before[k] == 4);
    }
    assert_in_range(moved, KEYS / 20, KEYS / 7); /* a tenth, as evenly as 256 points share */
    f->e[4].readiness = ENDPOINT_READY;
    build(f);
    for (int k = 0; k < KEYS; k++)
        assert_int_equal(pick_key(f, (uint64_t)k), before[k]);
    drop(f);
}

static void a_hash_is_the_same_in_every_build(void **state)
{
    (void)state;
    assert_true(balance_hash(STR("coxswain"), 0) == balance_hash(str_make("coxswain!", 8), 0));
    assert_true(balance_hash(STR("a"), 0) != balance_hash(STR("a\0"), 0));
    assert_true(balance_hash(STR("a"), 0) != balance_hash(STR("a"), 1));
    assert_true(balance_hash(STR("10.0.0.1"), 0) ==
                0x6e5d8ed1cf68d7ebull); /* keys would move with an upgrade */
}

/* Everybody asks for one key: no endpoint ever has more than 1.25 times its share of what is in flight,
 * rounded up. */
static void bounded_load_is_never_exceeded(void **state)
{
    (void)state;
    struct fixture *f = make(BALANCE_CONSISTENT_HASH, 10);
    f->e[3].weight = 200;
    build(f);
    for (uint32_t all = 1; all <= 2000; all++) {
        int at = pick_key(f, all % 3); /* three hot keys */
        begin(f, at);
        double share = 1.25 * all * (at == 3 ? 2 : 1) / 11;
        uint32_t bound = (uint32_t)share + (share > (uint32_t)share);
        assert_true(ledger_endpoint_in_flight(&f->ledger, (uint32_t)at) <= bound);
    }
    drop(f);
}

/* ---- limits, ejection ---- */

static void full_endpoints_are_skipped(void **state)
{
    (void)state;
    for (int policy = BALANCE_P2C; policy <= BALANCE_CONSISTENT_HASH; policy++) {
        struct fixture *f = make(policy, 3);
        f->options.max_in_flight = 2;
        build(f);
        for (int i = 0; i < 6; i++) {
            int at = pick_key(f, 1);
            assert_in_range(at, 0, 2);
            assert_true(places_take(&f->gates.places, (uint32_t)at, 2));
        }
        assert_int_equal(pick(f), BALANCE_FULL);
        assert_false(places_take(&f->gates.places, 0, 2));
        places_give(&f->gates.places, 1);
        assert_int_equal(pick(f), 1);
        struct balance_request r = request(f);
        r.tried[r.tried_count++] = 1; /* the free one was tried, the others are full: wait, do not give up */
        assert_int_equal(balance_pick(f->c, &r), BALANCE_FULL);
        drop(f);
    }
}

/* With many workers: what the others have is read once in a turn, our own each time. */
static void sums_over_many_workers_are_kept_for_a_turn(void **state)
{
    (void)state;
    struct fixture *f = make(BALANCE_LEAST_IN_FLIGHT, 2);
    struct balance_load loads[MAX] = {{0}}, cluster_load = {0};
    struct ledger many;
    struct ledger_writer own, other;
    int fd = ledger_create(1, 12, 1, MAX);
    assert_true(ledger_open(&many, fd, true));
    close(fd);
    ledger_writer_init(&own, &many, 3);
    ledger_writer_init(&other, &many, 11);
    struct balance_request r = request(f);
    r.ledger = &many;
    r.own = &own;
    r.loads = loads;
    r.cluster_load = &cluster_load;
    ledger_endpoint_attempt(&other, 0, 1, f->now_ms);
    ledger_cluster_move(&other, 0, LEDGER_COUNTS, LEDGER_SERVING, f->now_ms);
    assert_int_equal(balance_pick(f->c, &r), 1);
    assert_int_equal(balance_cluster_load(&r, 0), 1);
    ledger_endpoint_attempt(&other, 1, 1, f->now_ms); /* not seen before the next turn */
    ledger_endpoint_attempt(&other, 1, 1, f->now_ms);
    ledger_cluster_move(&other, 0, LEDGER_COUNTS, LEDGER_TUNNEL, f->now_ms);
    assert_int_equal(balance_pick(f->c, &r), 1);
    assert_int_equal(balance_cluster_load(&r, 0), 1);
    for (int i = 0; i < 2; i++)
        ledger_endpoint_attempt(&own, 1, 1, f->now_ms); /* our own at once */
    ledger_cluster_move(&own, 0, LEDGER_COUNTS, LEDGER_SERVING, f->now_ms);
    assert_int_equal(balance_pick(f->c, &r), 0);
    assert_int_equal(balance_cluster_load(&r, 0), 2);
    for (int i = 0; i < 4; i++)
        ledger_endpoint_attempt(&own, 0, 1, f->now_ms);
    r.now_ns++;
    assert_int_equal(balance_pick(f->c, &r), 1); /* 5 against 4 */
    assert_int_equal(balance_kept_load(&r, 0), 5);
    assert_int_equal(balance_kept_load(&r, 1), 4);
    assert_int_equal(balance_cluster_load(&r, 0), 3);
    ledger_close(&many);
    drop(f);
}

static bool break_down(struct fixture *f, uint32_t endpoint, int times)
{
    bool is_out = false;
    for (int i = 0; i < times; i++)
        is_out |= gate_failed(&f->gates, f->c, &f->c->endpoints[endpoint], f->now_ms);
    return is_out;
}

static void failures_in_a_row_eject(void **state)
{
    (void)state;
    for (int policy = BALANCE_P2C; policy <= BALANCE_CONSISTENT_HASH; policy++) {
        struct fixture *f = make(policy, 4);
        int counts[MAX];
        assert_false(break_down(f, 2, 4));
        gate_worked(&f->gates.endpoints[2], 10000, f->now_ms);
        assert_false(break_down(f, 2, 4)); /* not in a row */
        assert_true(break_down(f, 2, 1));
        count_picks(f, 1000, counts);
        assert_int_equal(counts[2], 0);
        f->now_ms += 10000;
        count_picks(f, 1000, counts);
        assert_true(counts[2] > 0);
        assert_true(break_down(f, 2, 1)); /* at once again: for twice as long */
        f->now_ms += 19999;
        assert_true(gate_is_ejected(&f->gates.endpoints[2], f->c->endpoints[2].mark, f->now_ms));
        f->now_ms += 1;
        assert_false(gate_is_ejected(&f->gates.endpoints[2], f->c->endpoints[2].mark, f->now_ms));
        drop(f);
    }
}

static void no_more_than_the_share_is_ejected(void **state)
{
    (void)state;
    struct fixture *f = make(BALANCE_P2C, 5);
    assert_true(break_down(f, 0, 5));
    assert_true(break_down(f, 1, 5));
    assert_false(break_down(f, 2, 50)); /* three of five are more than half */
    f->count = 1;
    build(f);
    struct fixture *one = make(BALANCE_P2C, 1);
    assert_false(break_down(one, 0, 50));
    assert_int_equal(pick(one), 0);
    drop(one);
    drop(f);
}

/* Better a broken one than none: the others were tried. */
static void the_ejected_are_the_last_resort(void **state)
{
    (void)state;
    struct fixture *f = make(BALANCE_P2C, 2);
    assert_true(break_down(f, 0, 5));
    struct balance_request r = request(f);
    assert_int_equal(balance_pick(f->c, &r), 1);
    r.tried[r.tried_count++] = 1;
    assert_int_equal(balance_pick(f->c, &r), 0);
    r.tried[r.tried_count++] = 0;
    assert_int_equal(balance_pick(f->c, &r), -1);
    drop(f);
}

/* Two of the first tier, one of the second, one of the ninth. */
static struct fixture *make_tiers(int policy, int64_t tier_min_percent)
{
    struct fixture *f = make(policy, 4);
    f->e[2].priority = 1;
    f->e[3].priority = 9;
    f->options.tier_min_percent = tier_min_percent;
    build(f);
    return f;
}

/* 2 of 4 may be out; then the second tier serves, and the first one again as soon as it may. */
static void the_next_tier_serves_while_one_is_ejected(void **state)
{
    (void)state;
    int counts[MAX];
    for (int policy = BALANCE_P2C; policy <= BALANCE_CONSISTENT_HASH; policy++) {
        struct fixture *f = make_tiers(policy, 0);
        count_picks(f, 200, counts);
        assert_true(counts[0] > 0 && counts[1] > 0 && counts[0] + counts[1] == 200);
        assert_true(break_down(f, 0, 5));
        count_picks(f, 200, counts);
        assert_int_equal(counts[1], 200);
        assert_true(break_down(f, 1, 5));
        count_picks(f, 200, counts);
        assert_int_equal(counts[2], 200);
        assert_false(break_down(f, 2, 50)); /* three of four are more than half */
        f->now_ms += 10000;
        count_picks(f, 200, counts);
        assert_int_equal(counts[0] + counts[1], 200);
        drop(f);
    }
}

/* As for probes: half of the tier is less than 60 percent, so the next joins what is left. */
static void the_next_tier_joins_a_weak_one(void **state)
{
    (void)state;
    int counts[MAX];
    struct fixture *f = make_tiers(BALANCE_ROUND_ROBIN, 60);
    count_picks(f, 200, counts);
    assert_int_equal(counts[0] + counts[1], 200);
    assert_true(break_down(f, 0, 5));
    count_picks(f, 200, counts);
    assert_int_equal(counts[0] + counts[3], 0);
    assert_true(counts[1] > 0 && counts[2] > 0);
    drop(f);
}

static void a_request_that_failed_everywhere_goes_to_the_next_tier(void **state)
{
    (void)state;
    struct fixture *f = make_tiers(BALANCE_P2C, 0);
    struct balance_request r = request(f);
    r.tried[r.tried_count++] = 0;
    assert_int_equal(balance_pick(f->c, &r), 1);
    r.tried[r.tried_count++] = 1;
    assert_int_equal(balance_pick(f->c, &r), 2);
    r.tried[r.tried_count++] = 2;
    assert_int_equal(balance_pick(f->c, &r), 3);
    r.tried[r.tried_count++] = 3;
    assert_int_equal(balance_pick(f->c, &r), -1);
    drop(f);
}

/* A tier at its limits is waited for: the next one is not there for load. */
static void a_full_tier_does_not_overflow(void **state)
{
    (void)state;
    struct fixture *f = make_tiers(BALANCE_P2C, 0);
    f->options.max_in_flight = 1;
    build(f);
    assert_true(places_take(&f->gates.places, 0, 1));
    assert_true(places_take(&f->gates.places, 1, 1));
    assert_int_equal(pick(f), BALANCE_FULL);
    drop(f);
}

/* However many there are: the third set takes all the rest. */
static void many_tiers_are_few_sets(void **state)
{
    (void)state;
    struct fixture *f = make(BALANCE_CONSISTENT_HASH, 20);
    for (uint8_t i = 0; i < 20; i++)
        f->e[i].priority = i;
    build(f);
    uint32_t sizes[4], n = 0;
    for (const struct cluster *c = f->c; c; c = c->wider) {
        assert_in_range(n, 0, 3);
        sizes[n++] = c->candidate_count;
    }
    assert_int_equal(n, 4);
    assert_int_equal(sizes[0], 1);
    assert_int_equal(sizes[1], 2);
    assert_int_equal(sizes[2], 3);
    assert_int_equal(sizes[3], 20);
    drop(f);
}

static void a_slot_given_to_another_endpoint_starts_anew(void **state)
{
    (void)state;
    struct fixture *f = make(BALANCE_P2C, 4);
    assert_true(break_down(f, 3, 5));
    f->e[3] = make_endpoint("10.9.9.9:80");
    f->e[3].slot = 3;
    build(f);
    int counts[MAX];
    count_picks(f, 1000, counts);
    for (int i = 0; i < 4; i++)
        assert_true(counts[i] > 0);
    drop(f);
}

/* ---- slow start ---- */

static void a_new_endpoint_is_given_more_and_more(void **state)
{
    (void)state;
    static const int policies[] = {BALANCE_P2C, BALANCE_LEAST_IN_FLIGHT, BALANCE_RANDOM, BALANCE_ROUND_ROBIN,
                                   BALANCE_CONSISTENT_HASH};
    int counts[MAX];
    for (size_t i = 0; i < 5; i++) {
        struct fixture *f = make(policies[i], 4);
        f->options.slow_start_ms = 10000;
        f->e[1].since_ns = 100 * NS_PER_S;
        build(f);
        int last = 0;
        for (uint64_t s = 0; s <= 10; s += 2) {
            f->wall_ns = (100 + s) * NS_PER_S;
            count_picks(f, 20000, counts);
            assert_true(counts[1] > last);
            assert_true(counts[1] < 8000); /* of 5000, or what its part of the ring is */
            if (s == 0)
                assert_in_range(counts[1], 250, 1000); /* a tenth of a quarter is 500 */
            last = counts[1];
        }
        f->wall_ns = 99 * NS_PER_S; /* the clock was set back: no slow start rather than none at all */
        count_picks(f, 20000, counts);
        assert_in_range(counts[1], last * 9 / 10, last * 11 / 10);
        drop(f);
    }
}

static void all_that_begin_together_serve(void **state)
{
    (void)state;
    struct fixture *f = make(BALANCE_P2C, 3);
    int counts[MAX];
    f->options.slow_start_ms = 10000;
    for (int i = 0; i < 3; i++)
        f->e[i].since_ns = 100 * NS_PER_S;
    build(f);
    f->wall_ns = 100 * NS_PER_S;
    count_picks(f, 30000, counts);
    for (int i = 0; i < 3; i++)
        assert_in_range(counts[i], 8500, 11500);
    drop(f);
}

static void since_is_kept_and_travels(void **state)
{
    (void)state;
    struct model *m = model_create(1, 8, 8);
    struct cluster_options options = default_options(BALANCE_P2C);
    options.slow_start_ms = 1000;
    assert_true(model_put_cluster(m, OWNER, STR("c"), &options, NULL));
    assert_true(put_endpoint(m, "c", "10.0.0.1:80"));
    struct topology *first = model_publish(m);
    uint64_t since_ns = first->clusters[0]->endpoints[0].since_ns;
    assert_true(since_ns > 0 && since_ns <= clock_wall_ns());
    assert_true(put_endpoint(m, "c", "10.0.0.2:80"));
    struct endpoint_draft heavier = make_endpoint("10.0.0.1:80");
    heavier.weight = 200;
    assert_true(model_put_endpoint(m, OWNER, STR("c"), &heavier, NULL)); /* changed, but no new one */
    struct topology *second = model_publish(m);
    assert_true(second->clusters[0]->endpoints[0].since_ns == since_ns);
    struct buf bytes;
    buf_init(&bytes);
    topology_encode(second, &bytes);
    struct topology *read = topology_decode(buf_str(&bytes), NULL);
    assert_non_null(read);
    assert_true(read->clusters[0]->endpoints[0].since_ns == since_ns);
    assert_true(read->clusters[0]->ramp_until_ns > since_ns);
    assert_true(model_set_health(m, STR("c"), STR("10.0.0.1:80"), HEALTH_DOWN));
    struct topology *third = model_publish(m);
    assert_int_equal(third->clusters[0]->endpoints[0].since_ns, 0); /* it will begin anew */
    struct topology *all[] = {first, second, third, read};
    for (size_t i = 0; i < 4; i++)
        topology_unref(&all[i]);
    buf_fini(&bytes);
    free_options(&options);
    model_destroy(&m);
}

/* ---- sticky ---- */

static struct topology *sticky_topology(struct model **out_model)
{
    struct model *m = *out_model = model_create(1, 8, 16);
    struct cluster_options options = default_options(BALANCE_P2C);
    options.sticky.cookie = must(str_dup(STR("COXSID")));
    assert_true(model_put_cluster(m, OWNER, STR("c"), &options, NULL));
    free_options(&options);
    for (int i = 0; i < 8; i++) {
        char id[24];
        snprintf(id, sizeof id, "10.0.0.%d:80", i);
        assert_true(put_endpoint(m, "c", id));
    }
    return model_publish(m);
}

static void tokens_are_stable_and_unlike(void **state)
{
    (void)state;
    struct model *models[3];
    struct topology *t[3];
    char text[3][TOKEN_TEXT_BYTES];
    for (int i = 0; i < 3; i++) {
        t[i] = sticky_topology(&models[i]);
        assert_true(
            topology_sign(t[i], i < 2 ? STR("a secret of some length") : STR("another secret, as long")));
    }
    for (uint32_t e = 0; e < 8; e++) {
        for (int i = 0; i < 3; i++)
            token_text(t[i]->clusters[0], e, text[i]);
        assert_memory_equal(text[0], text[1], TOKEN_TEXT_BYTES); /* another process, the same secret */
        assert_memory_not_equal(text[0], text[2], TOKEN_TEXT_BYTES);
        assert_int_equal(token_find(t[1]->clusters[0], str_make(text[0], TOKEN_TEXT_BYTES)), e);
        assert_int_equal(token_find(t[2]->clusters[0], str_make(text[0], TOKEN_TEXT_BYTES)), -1);
        text[0][31] = text[0][31] == '0' ? '1' : '0';
        assert_int_equal(token_find(t[0]->clusters[0], str_make(text[0], TOKEN_TEXT_BYTES)), -1);
    }
    static const char *const bad[] = {"", "0", "xyz", "0123456789abcdef0123456789abcdeg",
                                      "0123456789ABCDEF0123456789ABCDEF0"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(token_find(t[0]->clusters[0], str_of(bad[i])), -1);
    for (int i = 0; i < 3; i++) {
        topology_unref(&t[i]);
        model_destroy(&models[i]);
    }
}

static void without_a_secret_nothing_is_sticky(void **state)
{
    (void)state;
    struct model *m;
    struct topology *t = sticky_topology(&m);
    assert_false(topology_sign(t, STR_NULL));
    assert_null(t->clusters[0]->tokens);
    assert_int_equal(token_find(t->clusters[0], STR("0123456789abcdef0123456789abcdef")), -1);
    topology_unref(&t);
    model_destroy(&m);
}

static void a_preferred_endpoint_is_picked_while_it_can_serve(void **state)
{
    (void)state;
    struct fixture *f = make(BALANCE_P2C, 4);
    for (int i = 0; i < 50; i++) {
        struct balance_request r = request(f);
        r.preferred = 2 + 1;
        assert_int_equal(balance_pick(f->c, &r), 2);
    }
    f->e[2].admin_drain = 1;
    build(f);
    struct balance_request r = request(f);
    r.preferred = 2 + 1;
    assert_int_not_equal(balance_pick(f->c, &r), 2);
    f->e[2].admin_drain = 0;
    build(f);
    assert_true(break_down(f, 2, 5));
    assert_int_not_equal(balance_pick(f->c, &r), 2);
    r.preferred = 1000; /* of a larger topology before */
    assert_in_range(balance_pick(f->c, &r), 0, 3);
    drop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_endpoints_share_by_weight),
        cmocka_unit_test(least_in_flight_fills_in_proportion_to_weight),
        cmocka_unit_test(peak_ewma_shuns_the_slow_and_forgives),
        cmocka_unit_test(hash_shares_follow_weights_roughly),
        cmocka_unit_test(a_member_that_goes_takes_its_own_keys_only),
        cmocka_unit_test(a_hash_is_the_same_in_every_build),
        cmocka_unit_test(bounded_load_is_never_exceeded),
        cmocka_unit_test(full_endpoints_are_skipped),
        cmocka_unit_test(sums_over_many_workers_are_kept_for_a_turn),
        cmocka_unit_test(failures_in_a_row_eject),
        cmocka_unit_test(no_more_than_the_share_is_ejected),
        cmocka_unit_test(the_ejected_are_the_last_resort),
        cmocka_unit_test(the_next_tier_serves_while_one_is_ejected),
        cmocka_unit_test(the_next_tier_joins_a_weak_one),
        cmocka_unit_test(a_request_that_failed_everywhere_goes_to_the_next_tier),
        cmocka_unit_test(a_full_tier_does_not_overflow),
        cmocka_unit_test(many_tiers_are_few_sets),
        cmocka_unit_test(a_slot_given_to_another_endpoint_starts_anew),
        cmocka_unit_test(a_new_endpoint_is_given_more_and_more),
        cmocka_unit_test(all_that_begin_together_serve),
        cmocka_unit_test(since_is_kept_and_travels),
        cmocka_unit_test(tokens_are_stable_and_unlike),
        cmocka_unit_test(without_a_secret_nothing_is_sticky),
        cmocka_unit_test(a_preferred_endpoint_is_picked_while_it_can_serve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
