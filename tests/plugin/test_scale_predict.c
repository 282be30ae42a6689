/* scale_predict on a small model of a set: Poisson arrivals, slots, a queue, members that need ten seconds to
 * start. It must answer a rise at once, leave a calm load alone, look ahead, take nothing away without data,
 * and tell slow members from something slow that they share. */
#include "support.h"

#define TICK_S       0.1
#define DELAY_S      10.0
#define CALM_S       14400.0 /* after that a load that does not move has little margin left */
#define SLOTS        10.0
#define STARTING_MAX 1024

struct set {
    const struct plugin *plugin;
    void *state;
    uint64_t seed;
    double now_s, service_s, rate;
    uint64_t behind_ns; /* of the monotonic clock, behind the other */
    double members;
    double due_s[STARTING_MAX]; /* of those that start, in the order of their orders */
    uint32_t starting;
    double in_system;
    bool is_unlimited;  /* nobody says how much a member can do, and it refuses nothing */
    double shared_rate; /* completions a second at most, whatever the members; 0: no such thing */
    double over, all, member_s;
    double sum_s, square_s2, serving_s;
    uint32_t changes, flags;
    struct cox_sample in;
    struct cox_decision out;
};

static double random_part(struct set *t)
{
    t->seed ^= t->seed << 13;
    t->seed ^= t->seed >> 7;
    t->seed ^= t->seed << 17;
    return ((double)(t->seed >> 11) + 0.5) / 9007199254740992.0;
}

/* Sum of twelve uniform numbers: near enough to a normal one for loads of a hundred a tick. */
static double poisson(struct set *t, double mean)
{
    if (mean <= 0)
        return 0;
    double z = -6;
    for (int i = 0; i < 12; i++)
        z += random_part(t);
    const double x = mean + z * t->plugin->table.math->sqrt(mean);
    return x > 0 ? (double)(uint64_t)(x + 0.5) : 0;
}

static struct set *set_create(struct fixture *f, double members)
{
    static struct section section;
    section = section_of("p", "scale_predict");
    struct set *t = must(calloc(1, sizeof *t));
    t->plugin = create(f, &section, real_dir());
    const struct cox_scaler *scaler = t->plugin->module.plugin.scaler;
    const struct cox_options *options = &t->plugin->values.options;
    assert_in_range(scaler->state_size(options), 1, 65536);
    t->state = must(calloc(1, scaler->state_size(options)));
    scaler->init_state(options, t->state);
    t->seed = 88172645463325252u;
    t->service_s = 0.1;
    t->members = members;
    t->now_s = 1000;
    const double unknown = strtod("nan", NULL);
    t->in = (struct cox_sample){.size = sizeof t->in,
                                .flags = COX_SAMPLE_FIRST,
                                .set = "s",
                                .window_ns = 100 * NS_PER_MS,
                                .interval_ns = 100 * NS_PER_MS,
                                .min = 1,
                                .max = 1000,
                                .slots_per_member = SLOTS,
                                .start_p50_ns = DELAY_S * 1e9,
                                .start_p90_ns = DELAY_S * 1e9,
                                .objective_wait_ns = unknown,
                                .wanted = unknown,
                                .sources_expected = 1,
                                .sources_fresh = 1,
                                .math = t->plugin->table.math,
                                .options = options};
    t->in.totals.size = sizeof t->in.totals;
    t->in.totals.epoch = 1;
    return t;
}

static void set_destroy(struct set *t)
{
    free(t->state);
    free(t);
}

/* A tenth of a second of the queue, in four parts. */
static double serve(struct set *t)
{
    const double slots = t->members * SLOTS;
    double arrivals = 0;
    for (int i = 0; i < 4; i++) {
        const double a = poisson(t, t->rate * TICK_S / 4);
        const double busy = t->in_system < slots ? t->in_system : slots;
        double rate = busy / t->service_s;
        rate = t->shared_rate > 0 && rate > t->shared_rate ? t->shared_rate : rate;
        double done = poisson(t, rate * TICK_S / 4);
        done = done < t->in_system ? done : t->in_system;
        const double each_s =
            rate > 0 ? busy / rate : 0; /* slots are held for longer when they share a bottleneck */
        t->in_system += a - done;
        t->in.totals.service_count += (uint64_t)done;
        t->sum_s += done * each_s;
        t->square_s2 += done * 2 * each_s * each_s;
        t->serving_s += busy * TICK_S / 4;
        const double waits = t->in_system > slots ? t->in_system - slots : 0;
        t->over += rate > 0 && waits / rate > 0.1 ? a : 0;
        arrivals += a;
    }
    t->all += arrivals;
    return arrivals;
}

static void sample(struct set *t, double arrivals)
{
    struct cox_sample *in = &t->in;
    const double slots = t->is_unlimited ? 1e9 : t->members * SLOTS;
    in->wall_ns = (uint64_t)(t->now_s * 1e9);
    in->now_ns = in->wall_ns - t->behind_ns;
    in->arrivals = (uint64_t)arrivals;
    in->totals.arrivals += (uint64_t)arrivals;
    in->totals.completed = in->totals.service_count;
    in->totals.service_sum_ns = (uint64_t)(t->sum_s * 1e9);
    in->totals.service_square_us2 = (uint64_t)(t->square_s2 * 1e12);
    in->totals.serving_ns = (uint64_t)(t->serving_s * 1e9);
    in->serving_now = (uint64_t)(t->in_system < slots ? t->in_system : slots);
    in->held_now = (uint64_t)(t->in_system > slots ? t->in_system - slots : 0);
    in->serving_mean = (double)in->serving_now;
    in->held_mean = (double)in->held_now;
    in->ready = (uint32_t)t->members;
    in->starting = t->starting;
    in->oldest_starting_ns = t->starting ? (uint64_t)((t->now_s - t->due_s[0] + DELAY_S) * 1e9) : 0;
    in->current = in->ready + in->starting;
}

static double decide(struct set *t)
{
    t->out = (struct cox_decision){.size = sizeof t->out};
    t->plugin->module.plugin.scaler->decide(t->state, &t->in, &t->out);
    t->in.flags &= ~(uint32_t)COX_SAMPLE_FIRST;
    t->in.wanted = t->out.wanted;
    t->flags |= t->out.flags;
    assert_true(memchr(t->out.reason, 0, sizeof t->out.reason) && t->out.reason[0]);
    assert_in_range(t->out.alternative_count, 1, COX_ALTERNATIVES_MAX);
    return t->in.math->ceil(t->out.wanted - 1e-9);
}

static void come_up(struct set *t)
{
    uint32_t n = 0;
    while (n < t->starting && t->now_s >= t->due_s[n])
        n++;
    t->members += n;
    t->starting -= n;
    memmove(t->due_s, t->due_s + n, t->starting * sizeof *t->due_s);
}

static void obey(struct set *t, double wanted)
{
    while (t->members + t->starting < wanted) {
        assert_true(t->starting < STARTING_MAX);
        t->due_s[t->starting++] = t->now_s + DELAY_S;
    }
    while (t->starting && t->members + t->starting > wanted)
        t->starting--;
    t->members = t->members > wanted ? wanted : t->members;
}

/* One tick: what was ordered comes, the queue moves on, the scaler answers and is obeyed. Returns its answer.
 */
static double tick(struct set *t)
{
    come_up(t);
    t->now_s += TICK_S;
    sample(t, serve(t));
    const double current = t->members + t->starting;
    t->member_s += current * TICK_S;
    const double wanted = decide(t);
    t->changes += wanted != current;
    obey(t, wanted);
    return wanted;
}

static void run(struct set *t, double seconds)
{
    for (double until = t->now_s + seconds; t->now_s < until;)
        (void)tick(t);
}

static void test_calm_load_is_left_alone(void **state)
{
    struct set *t = set_create(*state, 14);
    t->rate = 1000; /* a hundred in service: eleven members keep the objective */
    run(t, 3600);
    t->changes = 0;
    t->over = t->all = t->member_s = 0;
    run(t, CALM_S);
    assert_in_range(t->changes, 0, 3); /* the margin still shrinks */
    assert_true(t->members < 14);
    assert_in_range(t->member_s / CALM_S, 10, 13.9);
    assert_true(t->over <= 1e-4 * t->all);
    set_destroy(t);
}

static void rise(void **state, double factor, int ticks, double least)
{
    struct set *t = set_create(*state, 14);
    t->rate = 1000;
    run(t, CALM_S);
    const double before = t->members;
    assert_in_range(before, 11, 13);
    t->rate *= factor;
    double wanted = 0;
    for (int i = 0; i < ticks; i++)
        wanted = tick(t);
    assert_true(wanted >= least);
    set_destroy(t);
}

static void test_a_rise_is_seen_at_once(void **state)
{
    rise(state, 1.5, 4, 0.9 * 16); /* sixteen members for 1,500 a second, forty-one for 4,000 */
    rise(state, 4, 2, 0.9 * 41);
}

static void test_what_starts_is_not_ordered_again(void **state)
{
    struct set *t = set_create(*state, 14);
    t->rate = 1000;
    run(t, CALM_S);
    t->rate = 2000;
    run(t, 2);
    const double ordered = t->members + t->starting;
    assert_in_range(ordered, 21, 80); /* 21 for the load, the rest for what will wait until they come */
    run(t, 7);
    assert_true(t->members < 14); /* they still start, ever more requests wait */
    assert_in_range(t->members + t->starting, ordered, 1.15 * ordered);
    run(t, 60);
    assert_int_equal(t->in.held_now, 0);
    assert_in_range(t->members, 21, 45); /* a margin that the step has taught it, and no more */
    set_destroy(t);
}

static void test_ramp_is_met_ahead(void **state)
{
    struct set *t = set_create(*state, 14);
    t->rate = 1000;
    run(t, 3600);
    t->over = t->all = 0;
    for (int i = 0; i < 600; i++) { /* one per cent of the first rate a second, for ten minutes */
        run(t, 1);
        t->rate += 10;
    }
    const double slots_now = t->rate * t->service_s; /* 700: ten seconds later ten more */
    assert_true(t->members + t->starting >= (slots_now + 10) / SLOTS);
    assert_true(t->members + t->starting <= 1.35 * slots_now / SLOTS);
    assert_true(t->over < 0.01 * t->all); /* the bend at its start came unforeseen */
    set_destroy(t);
}

static void test_nothing_is_taken_away_without_data(void **state)
{
    struct set *t = set_create(*state, 14);
    t->rate = 1000;
    run(t, 1800);
    const double before = t->members;
    t->rate = 0;
    t->in.sources_expected = 2;
    run(t, 1800);
    assert_true(t->members == before);
    assert_int_equal(t->out.cause, COX_CAUSE_NO_DATA);
    t->in.sources_expected = 1;
    t->in.flags |= COX_SAMPLE_NO_SHRINK;
    run(t, 60);
    assert_true(t->members == before);
    t->in.flags &= ~(uint32_t)COX_SAMPLE_NO_SHRINK;
    run(t, 1);
    assert_true(t->members < before);
    set_destroy(t);
}

static void test_new_epoch_is_waited_for(void **state)
{
    struct set *t = set_create(*state, 40);
    t->rate = 1000;
    t->members = 40;
    run(t, 30); /* a first sample: nothing is known of before */
    assert_true(t->members == 40);
    run(t, 3600);
    assert_true(t->members < 20);
    t->members = 40;
    t->in.totals = (struct cox_totals){.size = sizeof t->in.totals, .epoch = 2};
    t->sum_s = t->square_s2 = t->serving_s = 0;
    run(t, 30);
    assert_true(t->members == 40);
    run(t, 600);
    assert_true(t->members < 30);
    set_destroy(t);
}

/* A rise, then everything is started anew: the sum of what is wanted in the time after it, with more rises.
 */
static double after_a_restart(void **state, uint64_t behind_ns)
{
    struct set *t = set_create(*state, 40);
    double sum = 0;
    t->now_s = 1e6;
    t->rate = 1000;
    run(t, 1200);
    t->rate = 2000;
    run(t, 1200);
    t->behind_ns = behind_ns;
    t->in.flags = COX_SAMPLE_FIRST;
    t->in.totals = (struct cox_totals){.size = sizeof t->in.totals, .epoch = 2};
    t->sum_s = t->square_s2 = t->serving_s = 0;
    for (int i = 0; i < 12000; i++) {
        t->rate = i % 6000 < 3000 ? 2000 : 3000;
        sum += tick(t);
    }
    set_destroy(t);
    return sum;
}

/* What was learned before another boot is used as if its clock had gone on: no moment of before lies in a
 * future that takes days to come. */
static void test_another_boot_is_as_another_epoch(void **state)
{
    assert_true(after_a_restart(state, UINT64_C(990000000000000)) == after_a_restart(state, 0));
}

static void test_held_request_wakes(void **state)
{
    struct set *t = set_create(*state, 0);
    t->in.min = 0;
    t->now_s += TICK_S;
    t->in_system = 1;
    t->in.flags |= COX_SAMPLE_WAKE;
    sample(t, 1);
    assert_true(decide(t) >= 1);
    assert_int_equal(t->out.cause, COX_CAUSE_HELD);
    set_destroy(t);
}

static void test_shared_bottleneck_is_not_chased(void **state)
{
    struct set *t = set_create(*state, 14);
    t->rate = 1000;
    run(t, CALM_S);
    const double before = t->members;
    t->shared_rate = 220; /* whatever the members */
    double most = 0;
    for (int i = 0; i < 6000; i++) {
        const double wanted = tick(t);
        most = wanted > most ? wanted : most;
    }
    assert_true(most <= 1.2 * before);
    assert_true(t->flags & COX_DECISION_NOT_CAPACITY);
    t->shared_rate = 0;
    t->in_system = 0;
    run(t, 120);
    assert_false(t->out.flags & COX_DECISION_NOT_CAPACITY);
    set_destroy(t);
}

static void test_slow_members_are_made_up_for(void **state)
{
    struct set *t = set_create(*state, 14);
    t->rate = 1000;
    run(t, CALM_S);
    t->service_s = 0.5;
    run(t, 2 * DELAY_S + 10);
    assert_true(t->members >= 50);
    assert_false(t->flags & COX_DECISION_NOT_CAPACITY);
    assert_true((double)t->in.held_now <= 0.1 * t->rate);
    t->over = t->all = 0;
    run(t, 120);
    assert_true(t->over <= 0.01 * t->all);
    set_destroy(t);
}

static void test_limit_of_a_member_is_learned(void **state)
{
    struct set *t = set_create(*state, 4);
    t->is_unlimited = true;
    t->in.slots_per_member = strtod("nan", NULL);
    t->rate = 1000;
    run(t, 300); /* four members that do 400 a second between them, until others come */
    assert_true(t->out.slots_per_member > 0.95 * SLOTS && t->out.slots_per_member < 1.05 * SLOTS);
    run(t, CALM_S);
    assert_true(t->in_system < t->members * SLOTS);
    assert_in_range(t->members, 11, 14);
    set_destroy(t);
}

/* The same samples give the same answers and the same state, also after the state was saved and came back. */
static void test_replay_is_equal(void **state)
{
    struct set *t = set_create(*state, 14), *u = set_create(*state, 14);
    const uint64_t bytes = t->plugin->module.plugin.scaler->state_size(&t->plugin->values.options);
    t->rate = u->rate = 800;
    for (int i = 0; i < 3000; i++) {
        if (i == 1000)
            t->rate = u->rate = 2600;
        if (i == 2000) {
            void *moved = must(calloc(1, bytes));
            memcpy(moved, u->state, bytes);
            free(u->state);
            u->state = moved;
        }
        assert_true(tick(t) == tick(u));
        assert_memory_equal(&t->out, &u->out, sizeof t->out);
    }
    assert_memory_equal(t->state, u->state, bytes);
    set_destroy(t);
    set_destroy(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_calm_load_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_rise_is_seen_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_starts_is_not_ordered_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ramp_is_met_ahead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_is_taken_away_without_data, setup, teardown),
        cmocka_unit_test_setup_teardown(test_new_epoch_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_boot_is_as_another_epoch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_held_request_wakes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_shared_bottleneck_is_not_chased, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_members_are_made_up_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limit_of_a_member_is_learned, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replay_is_equal, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
