/* The simulator of scaling policies (bench/autoscale) against theory, against itself, and against an
 * exhaustive search: small loads, fixed seeds, a few seconds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../bench/autoscale/optimum.h"
#include "../../bench/autoscale/run.h"

struct scene {
    struct load *load;
    struct run_config config;
    struct over_table table;
    struct buf why;
};

static void scene_init(struct scene *s, const char *text, double mean, bool is_noisy)
{
    const struct load_spec spec = {.text = text, .mean = mean, .is_noisy = is_noisy, .noise_cv = 0.2};
    memset(s, 0, sizeof *s);
    buf_init(&s->why);
    s->load = load_create(&spec, &s->why);
    if (!s->load)
        print_error("%.*s\n", STR_ARG(buf_str(&s->why)));
    assert_non_null(s->load);
    s->config = (struct run_config){.load = s->load,
                                    .lead_s = -1,
                                    .law = {.mean_s = 0.1, .objective_s = 0.1, .slots = 10},
                                    .delay_s = 10,
                                    .tick_s = 1,
                                    .patience_s = 30,
                                    .warmup_s = 60,
                                    .share = 1e-4,
                                    .min = 1,
                                    .max = 1000,
                                    .seed = 1};
}

static void scene_fini(struct scene *s)
{
    over_table_fini(&s->table);
    load_destroy(&s->load);
    buf_fini(&s->why);
}

/* The mean over so many seeds. */
static struct run_result play(struct scene *s, const char *policy, const char *setting, uint64_t seeds)
{
    const struct policy_world world = {.load = s->load,
                                       .law = s->config.law,
                                       .delay_s = s->config.delay_s,
                                       .warmup_s = s->config.warmup_s,
                                       .min = s->config.min,
                                       .max = s->config.max,
                                       .table = &s->table};
    const char *dir = getenv("COXSWAIN_PLUGIN_DIR");
    struct policy p;
    struct run_result sum = {0};
    if (!policy_open(&p, policy, dir ? dir : "plugins", &setting, setting ? 1 : 0, &world, &s->why))
        fail_msg("%.*s", STR_ARG(buf_str(&s->why)));
    for (uint64_t i = 0; i < seeds; i++) {
        struct run_result one;
        s->config.seed = 1 + i;
        run(&s->config, &p, &one);
        sum.cost_s += one.cost_s / (double)seeds;
        sum.requests += one.requests / (double)seeds;
        sum.over += one.over / (double)seeds;
        sum.failed += one.failed / (double)seeds;
        sum.abandoned += one.abandoned / (double)seeds;
        sum.actions += one.actions;
        sum.response_p99_s += one.response_p99_s / (double)seeds;
    }
    policy_close(&p);
    return sum;
}

static void near(double value, double expected, double share)
{
    if (!(fabs(value - expected) <= share * fabs(expected)))
        fail_msg("%g is not within %g %% of %g", value, share * 100, expected);
}

/* ---- theory ---- */

static void test_erlang(void **state)
{
    (void)state;
    const struct service_law law = {.mean_s = 0.1, .objective_s = 0.1, .slots = 10};
    near(over_share(&law, 80, 1), 0.40918 * exp(-2.0), 0.001); /* ErlangC(10, 8) = 0.40918 */
    assert_true(over_share(&law, 100, 1) == 1.0);
    assert_int_equal(least_members(&law, 1000, 1e-4), 11);
    double shares[14];
    over_shares(&law, 1000, shares, 14);
    near(shares[12], over_share(&law, 1000, 12), 1e-9);
    assert_int_equal(least_members(&law, 0, 1e-4), 1);
    near(rate_at(rate_index(1234.5)), 1234.5, 0.0013);
}

/* A full queue: both engines against M/M/10, waits and responses. */
static void test_engines_against_theory(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, "constant:80:3000", 0, false);
    const double share = over_share(&s.config.law, 80, 1);
    const struct run_result sums = play(&s, "static", "members=1", 4);
    s.config.is_exact = true;
    s.config.tick_s = 0.1;
    const struct run_result exact = play(&s, "static", "members=1", 4);
    near(sums.over / sums.requests, share, 0.10);
    near(exact.over / exact.requests, share, 0.06);
    near(sums.response_p99_s, exact.response_p99_s, 0.25); /* buckets of 19 % */
    near(exact.cost_s, 3000, 1e-6);
    near(sums.cost_s, 3000, 1e-6);
    near(exact.requests, 80 * 3000, 0.01);
    scene_fini(&s);
}

static void test_engines_agree(void **state)
{
    (void)state;
    static const char *const loads[] = {"constant:280:1500", "spike:200:4:300:60:900",
                                        "constant:500:400,failure=0.5@200",
                                        "constant:300:300,bottleneck=1.5@100-250"};
    static const char *const rules[][2] = {
        {"static", "members=3"}, {"kpa", "target=0.8"}, {"static", "members=8"}, {"static", "members=4"}};
    for (size_t i = 0; i < 4; i++) {
        struct scene s;
        scene_init(&s, loads[i], 0, false);
        s.config.tick_s = 0.1;
        const struct run_result sums = play(&s, rules[i][0], rules[i][1], 8);
        s.config.is_exact = true;
        const struct run_result exact = play(&s, rules[i][0], rules[i][1], 8);
        near(sums.cost_s, exact.cost_s, 0.02);
        near(sums.over, exact.over, 0.10);
        near(sums.requests, exact.requests, 1e-9); /* the same arrivals in each second */
        near(sums.failed + 1, exact.failed + 1, 0.15);
        scene_fini(&s);
    }
}

/* What a policy sees. */
struct probe {
    double ticks, serving, serving_square, next_to, last, service, service_square;
    uint64_t edges;
};

static void probe_decide(struct policy *p, const struct cox_sample *s, struct cox_decision *out)
{
    struct probe *see = p->state;
    out->wanted = s->current;
    see->edges += (s->flags & COX_SAMPLE_SATURATED) != 0;
    if (s->window_ns + 1000 < s->interval_ns || s->completed == 0)
        return;
    const double x = s->serving_mean, y = s->service_mean_ns / 1e9;
    see->ticks += 1;
    see->serving += x;
    see->serving_square += x * x;
    see->next_to += x * see->last;
    see->last = x;
    see->service += y;
    see->service_square += y * y;
}

static struct probe probe(struct scene *s, bool is_exact, double tick_s, uint32_t members)
{
    static const struct baseline eye = {"eye", "", sizeof(struct probe), {{0}}, probe_decide, NULL, NULL};
    struct probe see = {0};
    struct policy p = {.name = "eye", .baseline = &eye, .state = calloc(1, sizeof(see) + 1)};
    struct run_result result;
    s->config.is_exact = is_exact;
    s->config.tick_s = tick_s;
    s->config.initial = members;
    run(&s->config, &p, &result);
    memcpy(&see, p.state, sizeof(see));
    free(p.state);
    return see;
}

static double variance(double square, double sum, double n)
{
    return square / n - sum / n * (sum / n);
}

/* Means, their spread from tick to tick and how they hang together, whether there is room (8 members: a tick,
 * or four steps, in one) or some wait at times (5). */
static void test_engines_show_the_same(void **state)
{
    (void)state;
    static const double ticks[] = {0.1, 0.5, 1.0};
    struct scene s;
    scene_init(&s, "constant:300:6000", 0, false);
    for (size_t i = 0; i < 6; i++) {
        const uint32_t members = i % 2 ? 5 : 8;
        const struct probe sums = probe(&s, false, ticks[i / 2], members);
        const struct probe exact = probe(&s, true, ticks[i / 2], members);
        const double n = sums.ticks, m = exact.ticks, is = sums.serving / n, shall = exact.serving / m;
        const double usual = variance(exact.serving_square, exact.serving, m);
        near(is, shall, 0.01);
        near(variance(sums.serving_square, sums.serving, n), usual, 0.08);
        near(usual + sums.next_to / n - is * is, usual + exact.next_to / m - shall * shall, 0.08);
        near(sums.service / n, exact.service / m, 0.01);
        near(variance(sums.service_square, sums.service, n), variance(exact.service_square, exact.service, m),
             0.15);
        near(100.0 + (double)sums.edges, 100.0 + (double)exact.edges, 0.15);
    }
    scene_fini(&s);
}

/* The exact engine takes over from the sums before the load begins: in the middle of a drain, too. */
static void test_hand_over(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, "constant:260:3000", 0, false);
    s.config.is_exact = true;
    s.config.tick_s = 0.1;
    s.config.initial = 4;
    const struct run_result whole = play(&s, "static", "members=3", 6);
    s.config.warmup_s = 600;
    s.config.lead_s = 599;
    const struct run_result late = play(&s, "static", "members=3", 6);
    near(late.requests, whole.requests, 0.01);
    near(late.over, whole.over, 0.15);
    near(late.cost_s, 3 * 3000, 0.001);
    s.config.lead_s = 0;
    near(play(&s, "static", "members=3", 6).over, whole.over, 0.15);
    scene_fini(&s);
}

/* Draws by tables and by halves are binomial. */
static void test_draws(void **state)
{
    (void)state;
    struct random r = random_make(3, 3);
    static const double shares[] = {0.02, 0.2212, 0.6321};
    for (size_t i = 0; i < 9; i++) {
        struct thin t = {.p = shares[i / 3]};
        const uint64_t n = (const uint64_t[]){5, 90, 300}[i % 3], rounds = 40000;
        double sum = 0, square = 0, half = 0, half_square = 0;
        for (uint64_t k = 0; k < rounds; k++) {
            const double x = (double)random_thin(&r, &t, n), y = (double)random_half(&r, n);
            sum += x, square += x * x, half += y, half_square += y * y;
        }
        near(sum / (double)rounds, (double)n * t.p, 0.02);
        near(variance(square, sum, (double)rounds), (double)n * t.p * (1 - t.p), 0.05);
        near(half / (double)rounds, (double)n / 2, 0.01);
        near(variance(half_square, half, (double)rounds), (double)n / 4, 0.05);
        thin_free(&t);
    }
}

/* ---- the fleet ---- */

static void test_fleet_costs(void **state)
{
    (void)state;
    struct fleet f;
    fleet_init(&f, 2, 1, 10, 10, 0, 1);
    fleet_advance(&f, 0);
    fleet_count_from(&f);
    assert_int_equal(fleet_want(&f, 3.2), 0); /* rounds up: two more, which cost from now on */
    assert_int_equal(fleet_advance(&f, 9.9), 0);
    assert_int_equal(fleet_advance(&f, 10), 2);
    near(f.cost_s, 40, 1e-9);
    fleet_want(&f, 99); /* the most is 10 */
    assert_int_equal(f.starting_count, 6);
    fleet_advance(&f, 12);
    assert_int_equal(fleet_want(&f, 5), 0); /* five of those that start are taken back: no longer paid */
    assert_int_equal(f.starting_count, 1);
    assert_int_equal(fleet_want(&f, 0), 3); /* the rest, and three that serve; one stays */
    near(f.cost_s, 40 + 2 * 10, 1e-9);
    assert_int_equal(f.actions, 4);
    assert_int_equal(f.reversals, 1);
    fleet_fini(&f);
}

/* ---- loads ---- */

static void test_loads(void **state)
{
    (void)state;
    struct scene s;
    char name[] = "/tmp/trace-XXXXXX";
    const int fd = mkstemp(name);
    static const char text[] = "second,count\n0,60\n60,120\n180,240\n"; /* 120 is missing */
    assert_true(write(fd, text, sizeof text - 1) == (ssize_t)sizeof text - 1);
    close(fd);
    char spec[64];
    snprintf(spec, sizeof spec, "trace:%s", name);
    scene_init(&s, spec, 0, false);
    assert_int_equal(s.load->seconds, 240);
    near(load_rate(s.load, 60), 1.5, 1e-9); /* between the middles of 0..60 and 60..120 */
    near(load_rate(s.load, 150), 3, 1e-9);  /* made up: 180 in that minute */
    scene_fini(&s);
    snprintf(spec, sizeof spec, "trace:%s:60:120", name);
    scene_init(&s, spec, 100, true); /* stepwise, scaled */
    near(load_rate(s.load, 59), 80, 1e-9);
    near(load_rate(s.load, 61), 120, 1e-9);
    near(load_mean(s.load), 100, 1e-9);
    scene_fini(&s);
    unlink(name);
    static const char *const bad[] = {"trace:/nowhere/at.all", "constant:5", "step:1:2:3", "wave:1:2:3",
                                      "constant:1:100,storm=1@2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buf why;
        buf_init(&why);
        const struct load_spec wrong = {.text = bad[i]};
        assert_null(load_create(&wrong, &why));
        assert_true(buf_str(&why).n > 0);
        buf_fini(&why);
    }
}

/* ---- the clairvoyant ---- */

#define TOY_SECONDS 6u
#define TOY_MEMBERS 4u

static double search(struct over_table *t, const double *rates, double delay_s, double price)
{
    uint32_t m[TOY_SECONDS], all = 1;
    double best = INFINITY;
    for (uint32_t i = 0; i < TOY_SECONDS; i++)
        all *= TOY_MEMBERS;
    for (uint32_t code = 0; code < all; code++) {
        for (uint32_t i = 0, rest = code; i < TOY_SECONDS; i++, rest /= TOY_MEMBERS)
            m[i] = 1 + rest % TOY_MEMBERS;
        best = fmin(best, optimum_cost(t, rates, TOY_SECONDS, delay_s, price, m));
    }
    return best;
}

static void test_optimum_is_one(void **state)
{
    (void)state;
    const struct service_law law = {.mean_s = 0.1, .objective_s = 0.1, .slots = 10};
    struct random r = random_make(9, 9);
    struct over_table t;
    uint32_t out[TOY_SECONDS], changing = 0;
    for (int noisy = 0; noisy < 2; noisy++) {
        over_table_init(&t, &law, noisy ? 0.2 : 0.0, TOY_MEMBERS);
        for (int toy = 0; toy < 30; toy++) {
            double rates[TOY_SECONDS];
            const double delay = 0.3 * (toy % 6), price = pow(10.0, toy % 4 - 2.0);
            for (uint32_t i = 0; i < TOY_SECONDS; i++)
                rates[i] = 10.0 + 300.0 * random_unit(&r);
            optimum(&t, rates, TOY_SECONDS, delay, price, 1, out);
            near(optimum_cost(&t, rates, TOY_SECONDS, delay, price, out), search(&t, rates, delay, price),
                 1e-6);
            changing += memcmp(out, out + 1, sizeof out - sizeof *out) != 0;
        }
        over_table_fini(&t);
    }
    assert_true(changing > 10); /* and it was no flat line each time */
}

/* Nobody who has as few over objective is cheaper. */
static void test_nobody_beats_it(void **state)
{
    (void)state;
    static const char *const rivals[][2] = {{"kpa", "target=0.9"},
                                            {"react", "target=0.95"},
                                            {"scale_target", "utilization=0.85"},
                                            {"reg", "target=0.9"}};
    struct scene s;
    scene_init(&s, "sine:1000:0.5:1200:2400", 0, true);
    const struct run_result best = play(&s, "clairvoyant", "price=1", 4);
    for (size_t i = 0; i < 4; i++) {
        const struct run_result one = play(&s, rivals[i][0], rivals[i][1], 4);
        assert_true(one.over / one.requests > best.over / best.requests || one.cost_s > best.cost_s);
    }
    const struct run_result dearer = play(&s, "clairvoyant", "price=30", 4);
    assert_true(dearer.cost_s > best.cost_s && dearer.over < best.over);
    scene_fini(&s);
}

/* ---- runs ---- */

static void test_same_seed_same_run(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, "sine:200:0.8:300:600", 0, true);
    for (int exact = 0; exact < 2; exact++) {
        s.config.is_exact = exact;
        s.config.delay_cv = 0.3;
        const struct run_result one = play(&s, "scale_target", "target=8", 2);
        const struct run_result two = play(&s, "scale_target", "target=8", 2);
        assert_memory_equal(&one, &two, sizeof one);
        const struct run_result other = play(&s, "scale_target", "target=8", 3);
        assert_true(one.cost_s != other.cost_s);
    }
    scene_fini(&s);
}

/* Everybody runs, and what theory says of the slow service happens: five times the members. */
static void test_all_policies_run(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, "constant:200:900,slower=5@300-900", 0, false);
    for (const struct baseline *b = baselines; b->name; b++) {
        const struct run_result one = play(&s, b->name, NULL, 1);
        assert_true(one.requests > 170000 && isfinite(one.cost_s));
    }
    const struct run_result target = play(&s, "scale_target", "target=7", 1);
    assert_true(target.cost_s > 900 * 3 * 2 && target.over / target.requests < 0.3);
    const struct run_result coded = play(&s, "scale_stratos", "as_coded=true", 1);
    assert_true(coded.over > target.over); /* waits a minute and a half, and more */
    scene_fini(&s);
}

static void test_patience(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, "constant:200:300", 0, false);
    for (int exact = 0; exact < 2; exact++) {
        s.config.is_exact = exact;
        const struct run_result one = play(&s, "static", "members=1", 1); /* half of what comes */
        near(one.abandoned, 100 * 300 - 30 * 200, 0.15);
        assert_true(one.over > 0.97 * one.requests);
        near(one.requests, 200 * 300, 0.02);
    }
    scene_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_erlang),
                                       cmocka_unit_test(test_engines_against_theory),
                                       cmocka_unit_test(test_engines_agree),
                                       cmocka_unit_test(test_engines_show_the_same),
                                       cmocka_unit_test(test_hand_over),
                                       cmocka_unit_test(test_draws),
                                       cmocka_unit_test(test_fleet_costs),
                                       cmocka_unit_test(test_loads),
                                       cmocka_unit_test(test_optimum_is_one),
                                       cmocka_unit_test(test_nobody_beats_it),
                                       cmocka_unit_test(test_same_seed_same_run),
                                       cmocka_unit_test(test_all_policies_run),
                                       cmocka_unit_test(test_patience)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
