/* Picking: who is a candidate at all, shares by weight, load, and skipping what was tried. */
#include "support.h"

#include <unistd.h>

#define MAX 16

struct fixture {
    struct endpoint_draft e[MAX];
    char ids[MAX][24];
    uint32_t count;
    struct cluster *c;
    struct ledger ledger;
    struct ledger_writer w;
    uint64_t random;
    uint32_t cursor;
    int64_t tier_min_percent;
};

static struct fixture make(const uint32_t *weights, uint32_t count)
{
    struct fixture f = {.count = count, .random = 42, .cursor = 12345};
    int fd = ledger_create(1, 1, 1, MAX);
    assert_true(ledger_open(&f.ledger, fd, true));
    close(fd);
    ledger_writer_init(&f.w, &f.ledger, 0);
    for (uint32_t i = 0; i < count; i++)
        f.e[i] = (struct endpoint_draft){.weight = weights[i], .slot = i, .readiness = ENDPOINT_READY};
    return f;
}

static void build(struct fixture *f, int policy)
{
    struct cluster_options options = default_options(policy);
    options.tier_min_percent = f->tier_min_percent;
    for (uint32_t i = 0; i < f->count; i++) {
        snprintf(f->ids[i], sizeof(f->ids[i]), "10.0.0.%02u:80", i);
        f->e[i].id = str_of(f->ids[i]);
        f->e[i].addr.len = 1;
    }
    cluster_unref(&f->c);
    f->c = cluster_build(STR("c"), OWNER, 0, &options, f->e, f->count);
    free_options(&options);
}

static void drop(struct fixture *f)
{
    cluster_unref(&f->c);
    ledger_close(&f->ledger);
}

static struct balance_request request(struct fixture *f)
{
    return (struct balance_request){.ledger = &f->ledger, .random = &f->random, .cursor = &f->cursor};
}

static int pick(struct fixture *f)
{
    struct balance_request r = request(f);
    return balance_pick(f->c, &r);
}

static void an_empty_cluster_has_nothing(void **state)
{
    (void)state;
    struct fixture f = make(NULL, 0);
    build(&f, BALANCE_P2C);
    assert_int_equal(pick(&f), -1);
    drop(&f);
}

static void service_follows_from_all_axes(void **state)
{
    (void)state;
    static const struct {
        uint8_t has_member, member_state, readiness, health, drain, service;
    } rows[] = {
        {0, MEMBER_CREATED, ENDPOINT_READY, HEALTH_UNKNOWN, 0, SERVICE_ON},
        {0, MEMBER_CREATED, ENDPOINT_READY, HEALTH_UP, 0, SERVICE_ON},
        {0, MEMBER_CREATED, ENDPOINT_READY, HEALTH_DOWN, 0, SERVICE_UNHEALTHY},
        {0, MEMBER_CREATED, ENDPOINT_NOT_READY, HEALTH_UP, 0, SERVICE_OFF},
        {0, MEMBER_CREATED, ENDPOINT_TERMINATING, HEALTH_UP, 0, SERVICE_DRAINING},
        {0, MEMBER_CREATED, ENDPOINT_READY, HEALTH_UP, 1, SERVICE_DRAINING},
        {1, MEMBER_STARTING, ENDPOINT_READY, HEALTH_UP, 0, SERVICE_OFF},
        {1, MEMBER_ACTIVE, ENDPOINT_READY, HEALTH_UP, 0, SERVICE_ON},
        {1, MEMBER_IN_MAINTENANCE, ENDPOINT_READY, HEALTH_UP, 0, SERVICE_DRAINING},
        {1, MEMBER_TERMINATED, ENDPOINT_TERMINATING, HEALTH_UP, 0, SERVICE_OFF},
        {1, MEMBER_SUSPENDED, ENDPOINT_READY, HEALTH_UP, 1, SERVICE_OFF},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct endpoint_draft e = {.member_state = rows[i].member_state,
                                   .readiness = rows[i].readiness,
                                   .health = rows[i].health,
                                   .admin_drain = rows[i].drain};
        if (rows[i].has_member)
            e.member = STR("m");
        if (endpoint_service_of(&e) != rows[i].service)
            fail_msg("row %zu is %d", i, endpoint_service_of(&e));
    }
}

static void the_best_class_alone_is_picked_from(void **state)
{
    (void)state;
    struct fixture f = make((uint32_t[]){100, 100, 100, 0, 100}, 5);
    f.e[0].readiness = ENDPOINT_TERMINATING;
    f.e[1].health = HEALTH_DOWN;
    f.e[2].priority = 1;
    f.e[4].readiness = ENDPOINT_NOT_READY;
    static const int order[] = {2, 1, 0, 3}; /* second tier, unhealthy, draining, weight zero */
    for (size_t i = 0; i < 4; i++) {
        build(&f, BALANCE_P2C);
        assert_int_equal(f.c->candidate_count, 1);
        assert_int_equal(pick(&f), order[i]);
        f.e[order[i]].readiness = ENDPOINT_NOT_READY;
    }
    build(&f, BALANCE_P2C);
    assert_int_equal(pick(&f), -1);
    drop(&f);
}

static uint32_t candidates(struct fixture *f, int64_t percent)
{
    f->tier_min_percent = percent;
    build(f, BALANCE_P2C);
    return f->c->candidate_count;
}

/* Tiers 0, 0, 3, 3, 9. */
static void weak_tiers_are_joined_by_the_next(void **state)
{
    (void)state;
    struct fixture f = make((uint32_t[]){100, 100, 100, 100, 100}, 5);
    f.e[2].priority = f.e[3].priority = 3;
    f.e[4].priority = 9;
    assert_int_equal(candidates(&f, 0), 2);
    assert_int_equal(candidates(&f, 100), 2);
    f.e[0].health = HEALTH_DOWN;
    assert_int_equal(candidates(&f, 0), 1);
    assert_int_equal(candidates(&f, 50), 1); /* half of it is there */
    assert_int_equal(candidates(&f, 51), 3); /* tier 3 joins, and is enough by itself */
    f.e[2].readiness = ENDPOINT_NOT_READY;
    assert_int_equal(candidates(&f, 51), 3); /* 1 of 2, 1 of 2, and 9 */
    f.e[1].health = HEALTH_DOWN;
    assert_int_equal(candidates(&f, 50), 1); /* tier 0 has nobody: 3 is the first, and enough */
    assert_int_equal(pick(&f), 3);
    assert_true(f.c->is_well);
    f.e[3].health = f.e[4].health = HEALTH_DOWN;
    assert_int_equal(candidates(&f, 0), 2); /* all have failed: the first tier again */
    assert_false(f.c->is_well);
    drop(&f);
}

static void round_robin_gives_exact_interleaved_shares(void **state)
{
    (void)state;
    struct fixture f = make((uint32_t[]){300, 100}, 2);
    int counts[MAX] = {0}, row = 0, longest = 0;
    build(&f, BALANCE_ROUND_ROBIN);
    for (int i = 0; i < 400; i++) {
        int at = pick(&f);
        counts[at]++;
        row = at == 0 ? row + 1 : 0;
        longest = row > longest ? row : longest;
    }
    assert_int_equal(counts[0], 300);
    assert_int_equal(counts[1], 100);
    assert_int_equal(longest, 3); /* never two rounds of the heavy one behind each other */
    drop(&f);
}

static void round_robin_visits_equals_once_a_round(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= MAX; n++) {
        uint32_t weights[MAX];
        for (uint32_t i = 0; i < n; i++)
            weights[i] = 100;
        struct fixture f = make(weights, n);
        build(&f, BALANCE_ROUND_ROBIN);
        for (int round = 0; round < 3; round++) {
            uint32_t seen = 0;
            for (uint32_t i = 0; i < n; i++)
                seen |= 1u << pick(&f);
            assert_int_equal(seen, (1u << n) - 1);
        }
        drop(&f);
    }
}

static void p2c_shares_by_weight_when_idle(void **state)
{
    (void)state;
    struct fixture f = make((uint32_t[]){100, 100, 100, 100}, 4);
    int counts[MAX] = {0};
    build(&f, BALANCE_P2C);
    for (int i = 0; i < 40000; i++)
        counts[pick(&f)]++;
    for (int i = 0; i < 4; i++)
        assert_in_range(counts[i], 9500, 10500);
    drop(&f);
}

static void p2c_prefers_the_less_loaded(void **state)
{
    (void)state;
    struct fixture f = make((uint32_t[]){100, 100}, 2);
    build(&f, BALANCE_P2C);
    ledger_endpoint_attempt(&f.w, 0, +1, 1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(pick(&f), 1);
    ledger_endpoint_attempt(&f.w, 1, +1, 1);
    ledger_endpoint_attempt(&f.w, 1, +1, 1);
    for (int i = 0; i < 100; i++)
        assert_int_equal(pick(&f), 0);
    drop(&f);
}

static void p2c_fills_in_proportion_to_weight(void **state)
{
    (void)state;
    struct fixture f = make((uint32_t[]){300, 100}, 2);
    build(&f, BALANCE_P2C);
    for (int i = 0; i < 400; i++)
        ledger_endpoint_attempt(&f.w, (uint32_t)pick(&f), +1, 1);
    assert_in_range(ledger_endpoint_in_flight(&f.ledger, 0), 298, 302);
    drop(&f);
}

static void tried_endpoints_are_skipped(void **state)
{
    (void)state;
    for (int policy = BALANCE_P2C; policy <= BALANCE_ROUND_ROBIN; policy++) {
        struct fixture f = make((uint32_t[]){1000, 1, 1, 1}, 4); /* the heavy one is drawn nearly always */
        build(&f, policy);
        for (int i = 0; i < 50; i++) {
            struct balance_request r = request(&f);
            uint32_t seen = 0;
            for (int n = 0; n < 4; n++) {
                int at = balance_pick(f.c, &r);
                assert_in_range(at, 0, 3);
                assert_false(seen & 1u << at);
                seen |= 1u << at;
                r.tried[r.tried_count++] = f.c->endpoints[at].slot;
            }
            assert_int_equal(balance_pick(f.c, &r), -1);
        }
        drop(&f);
    }
}

static void a_cursor_survives_a_smaller_cluster(void **state)
{
    (void)state;
    struct fixture f = make((uint32_t[]){7, 11, 13}, 3);
    f.cursor = UINT32_MAX;
    build(&f, BALANCE_ROUND_ROBIN);
    assert_in_range(pick(&f), 0, 2);
    f.count = 1;
    build(&f, BALANCE_ROUND_ROBIN);
    assert_int_equal(pick(&f), 0);
    assert_int_equal(pick(&f), 0);
    drop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_cluster_has_nothing),
        cmocka_unit_test(service_follows_from_all_axes),
        cmocka_unit_test(the_best_class_alone_is_picked_from),
        cmocka_unit_test(weak_tiers_are_joined_by_the_next),
        cmocka_unit_test(round_robin_gives_exact_interleaved_shares),
        cmocka_unit_test(round_robin_visits_equals_once_a_round),
        cmocka_unit_test(p2c_shares_by_weight_when_idle),
        cmocka_unit_test(p2c_prefers_the_less_loaded),
        cmocka_unit_test(p2c_fills_in_proportion_to_weight),
        cmocka_unit_test(tried_endpoints_are_skipped),
        cmocka_unit_test(a_cursor_survives_a_smaller_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
