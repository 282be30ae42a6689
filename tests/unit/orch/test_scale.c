/* The scaling loop on a scripted clock, with scripted counts, members and a scripted scaler. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "orch/scale_codec.h"
#include "orch/scale_log.h"
#include "orch/scale_priv.h"

#define MS      1000000ull
#define S       (1000 * MS)
#define TEXT(t) ((char *)(uintptr_t)(t))
#define SET     "shop/1/1/web"

/* ---- a scaler that answers what it is told to, and counts in its state ---- */

struct fake_state {
    uint64_t calls, version;
};

static double answer;
static struct cox_sample seen; /* of the last call; arrays are gone */
static uint64_t seen_calls;

static uint64_t fake_size(const struct cox_options *options)
{
    (void)options;
    return sizeof(struct fake_state);
}

static void fake_init(const struct cox_options *options, void *state)
{
    (void)options;
    *(struct fake_state *)state = (struct fake_state){.version = 1};
}

static int32_t fake_upgrade(const struct cox_options *options, uint32_t old_version, const void *old_state,
                            uint64_t old_size, void *state)
{
    (void)options;
    if (old_version != 1 || old_size != sizeof(struct fake_state))
        return COX_FAILED;
    *(struct fake_state *)state = *(const struct fake_state *)old_state;
    ((struct fake_state *)state)->version = 2;
    return COX_OK;
}

/* A pure function of state and sample, but for `answer`. */
static void fake_decide(void *state, const struct cox_sample *sample, struct cox_decision *out)
{
    struct fake_state *s = state;
    s->calls++;
    seen = *sample;
    seen_calls = s->calls;
    out->wanted = answer + 0.001 * (double)sample->arrivals;
    out->cause = COX_CAUSE_LOAD;
    (void)snprintf(out->reason, sizeof out->reason, "call %llu", (unsigned long long)s->calls);
    out->alternative_count = 1;
    out->alternatives[0] = (struct cox_alternative){.wanted = 7.5, .cause = COX_CAUSE_PANIC};
}

static struct cox_scaler fake = {.size = sizeof fake,
                                 .state_version = 1,
                                 .state_size = fake_size,
                                 .init_state = fake_init,
                                 .upgrade_state = fake_upgrade,
                                 .decide = fake_decide};

/* ---- the stage ---- */

struct stage {
    struct settings settings;
    struct application_settings app;
    struct alias_settings alias;
    struct cartridge_settings cartridge;
    struct port_settings port, ports[2];
    struct schedule_settings schedule;
    struct model *model;
    struct members members;
    struct scale *scale;
    uint64_t now, wall, served;
    struct ledger_cluster_sum sum, other; /* other: of the second port, where there is one */
    uint64_t latency[LEDGER_HIST_BUCKETS];
    bool is_unreadable, is_unpublished, is_policy_left_out;
    const char *entered; /* plugin that was called last */
    uint32_t proxies;
    char dir[64];
    const char *incarnation;
    int changes, shortages, sums, wholes;
    uint64_t started; /* ids given to members */
};

static bool on_start(void *ctx, const struct member *m, uint64_t ticket)
{
    (void)ctx, (void)m, (void)ticket;
    return true;
}

static bool on_stop(void *ctx, const struct member *m, bool is_drained, uint64_t ticket)
{
    (void)ctx, (void)m, (void)is_drained, (void)ticket;
    return true;
}

static uint64_t on_in_flight(void *ctx, struct str cluster, struct str endpoint)
{
    (void)ctx, (void)cluster, (void)endpoint;
    return 0;
}

static bool on_acknowledged(void *ctx, uint64_t number)
{
    (void)ctx, (void)number;
    return true;
}

static uint64_t on_now(void *ctx)
{
    return ((struct stage *)ctx)->now;
}

static uint64_t on_wall(void *ctx)
{
    return ((struct stage *)ctx)->wall;
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static void on_event(void *ctx, const struct member *m, enum member_state from)
{
    struct stage *t = ctx;
    (void)from;
    if (t->scale)
        scale_member_changed(t->scale, m);
}

static const struct members_ops members_ops = {.start = on_start,
                                               .stop = on_stop,
                                               .in_flight = on_in_flight,
                                               .is_acknowledged = on_acknowledged,
                                               .now_ns = on_now,
                                               .touched = on_nothing,
                                               .wake = on_nothing,
                                               .event = on_event};

static uint32_t on_slot(void *ctx, struct str cluster)
{
    if (((struct stage *)ctx)->is_unpublished)
        return LEDGER_NO_SLOT;
    return str_eq(cluster, STR(SET ":http")) ? 3 : str_eq(cluster, STR(SET ":grpc")) ? 4 : LEDGER_NO_SLOT;
}

static uint64_t on_arrivals(void *ctx, uint32_t slot)
{
    const struct stage *t = ctx;
    assert_in_range(slot, 3, 4);
    return slot == 3 ? t->sum.requests : t->other.requests;
}

static bool on_sum(void *ctx, uint32_t slot, uint64_t now, enum ledger_part part,
                   struct ledger_cluster_sum *out)
{
    struct stage *t = ctx;
    assert_in_range(slot, 3, 4);
    assert_int_equal(now, t->now);
    t->sums++;
    memset(out, 0xee, sizeof *out); /* what was not asked for is nobody's */
    memcpy(out, slot == 3 ? &t->sum : &t->other, ledger_part_bytes(part));
    t->wholes += part == LEDGER_WHOLE;
    return !t->is_unreadable;
}

static void on_latency(void *ctx, uint32_t slot, uint64_t buckets[LEDGER_HIST_BUCKETS])
{
    (void)slot;
    for (int i = 0; i < LEDGER_HIST_BUCKETS; i++)
        buckets[i] += ((struct stage *)ctx)->latency[i];
}

static void on_sources(void *ctx, struct scale_sources *out)
{
    const uint32_t n = ((struct stage *)ctx)->proxies;
    *out = (struct scale_sources){.expected = n, .fresh = n, .oldest_ns = 7};
}

static uint64_t on_served(void *ctx, const struct member *m)
{
    (void)m;
    return ((struct stage *)ctx)->served;
}

static void on_changed(void *ctx, const struct scale_change *change)
{
    assert_string_equal(change->set, SET);
    if (change->from == change->to)
        ((struct stage *)ctx)->shortages++;
    else
        ((struct stage *)ctx)->changes++;
}

static void on_enter(void *ctx, const char *plugin)
{
    ((struct stage *)ctx)->entered = plugin;
}

static const struct scale_ops ops = {.now_ns = on_now,
                                     .wall_ns = on_wall,
                                     .slot = on_slot,
                                     .arrivals = on_arrivals,
                                     .sum = on_sum,
                                     .latency = on_latency,
                                     .sources = on_sources,
                                     .served = on_served,
                                     .enter = on_enter,
                                     .changed = on_changed};

static struct scale_set *the_set(struct stage *t)
{
    struct scale_set *set = scale_find(t->scale, STR("web"));
    assert_non_null(set);
    return set;
}

/* Policies come from plugins; this one is put in by hand once the loop is there. */
static struct scaler policy;

static void open_members(struct stage *t)
{
    t->model = model_create(1, 16, 64);
    model_load_settings(t->model, &t->settings);
    members_init(&t->members, t->model, &members_ops, t);
    members_load_settings(&t->members, &t->settings);
}

static void open_scale(struct stage *t, bool has_policy)
{
    struct buf errors;
    const struct scale_args args = {.settings = &t->settings,
                                    .members = &t->members,
                                    .ops = &ops,
                                    .ctx = t,
                                    .plugin_dir = "/nonexistent",
                                    .incarnation = t->incarnation};
    buf_init(&errors);
    policy = (struct scaler){.ops = t->is_policy_left_out ? NULL : &fake,
                             .name = "steady",
                             .plugin = "fake",
                             .source = "instance",
                             .state_bytes = sizeof(struct fake_state),
                             .fingerprint = fake.state_version,
                             .options_hash = 5,
                             .window_ns = 60 * S};
    t->scale = scale_create_with(&args, has_policy ? &policy : NULL, &errors);
    assert_non_null(t->scale);
    assert_int_equal(errors.len, 0);
    buf_fini(&errors);
}

static int setup(void **state)
{
    static char *hosts[] = {TEXT("shop.example.com")};
    struct stage *t = must(calloc(1, sizeof *t));
    log_init("test", 2, LOG_ERROR);
    t->now = 1000 * S;
    t->wall = 1785000000ull * S; /* 2026-07-25, a Saturday, 17:20 UTC */
    t->proxies = 1;
    t->incarnation = "boot 1 2";
    answer = 2;
    fake.state_version = 1;
    options_init(&settings_table, &t->settings);
    options_init(&cluster_options_table, &t->port.options);
    t->port.name = TEXT("http");
    t->port.options.max_in_flight = 8;
    t->cartridge = (struct cartridge_settings){
        .name = TEXT("php"), .actuator = TEXT("process"), .ports = {&t->port, 1}, .start_timeout_ms = 5000};
    t->alias = (struct alias_settings){.alias = TEXT("web"),
                                       .type = TEXT("php"),
                                       .min = 1,
                                       .max = 6,
                                       .path = TEXT("/"),
                                       .scaling = {.zero_after_ms = 30000}};
    t->app = (struct application_settings){
        .name = TEXT("shop"), .hosts = {hosts, 1}, .cartridges = {&t->alias, 1}};
    t->settings.cartridges = (struct option_list){&t->cartridge, 1};
    t->settings.applications = (struct option_list){&t->app, 1};
    *state = t;
    return 0;
}

static void remove_dir(const char *dir)
{
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[400];
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        (void)unlink(path);
    }
    if (d)
        closedir(d);
    (void)rmdir(dir);
}

static int teardown(void **state)
{
    struct stage *t = *state;
    scale_destroy(&t->scale);
    members_fini(&t->members);
    model_destroy(&t->model);
    if (t->dir[0])
        remove_dir(t->dir);
    options_free(&cluster_options_table, &t->port.options);
    t->settings.cartridges = t->settings.applications = (struct option_list){0};
    t->settings.state_dir = NULL;
    options_free(&settings_table, &t->settings);
    free(t);
    return 0;
}

/* Members that the actuator lists as running; the loop has been told. */
static void list_members(struct stage *t, int count)
{
    for (int i = 0; i < count; i++) {
        char id[64];
        (void)snprintf(id, sizeof id, "shop-web-m%llu", (unsigned long long)++t->started);
        const struct cox_port_address address = {
            .size = sizeof address, .port = "http", .address = "127.0.0.1:80"};
        const struct cox_member_change change = {.size = sizeof change,
                                                 .phase = COX_PHASE_RUNNING,
                                                 .member = id,
                                                 .set = SET,
                                                 .addresses = {&address, 1, sizeof address}};
        members_on_change(&t->members, "process", &change);
    }
    members_on_listed(&t->members, "process");
    for (int i = 0; i < count; i++) {
        char id[64];
        (void)snprintf(id, sizeof id, "shop-web-m%llu", (unsigned long long)(t->started - (uint64_t)i));
        members_on_probe(&t->members, STR(SET ":http"), str_of(id), true);
    }
}

/* Time passes in steps of 100 ms, with so many being served all the while. */
static void run(struct stage *t, uint64_t ms, uint64_t serving)
{
    t->sum.count[LEDGER_SERVING] = serving;
    for (uint64_t i = 0; i < ms / 100; i++) {
        t->now += 100 * MS;
        t->wall += 100 * MS;
        t->sum.integral_ns[LEDGER_SERVING] += serving * 100 * MS;
        t->sum.integral_ns[LEDGER_HELD] += t->sum.count[LEDGER_HELD] * 100 * MS;
        (void)scale_tick(t->scale);
        while (scale_keep_is_at_work(&t->scale->keep)) /* a disk has its own clock */
            (void)sched_yield();
    }
}

static uint32_t wanted(struct stage *t)
{
    return members_wanted(the_set(t)->set);
}

static void begin(struct stage *t, int members)
{
    open_members(t);
    open_scale(t, true);
    list_members(t, members);
    run(t, 100, 1);
}

/* Past the window in which nothing is known. */
static void begin_known(struct stage *t, int members)
{
    begin(t, members);
    answer = members;
    run(t, 60100, 1);
}

/* ---- rounding and bounds ---- */

static void rounds_up_but_not_for_rounding_errors(void **state)
{
    (void)state;
    assert_int_equal(scale_round(0), 0);
    assert_int_equal(scale_round(-3), 0);
    assert_int_equal(scale_round(NAN), 0);
    assert_int_equal(scale_round(0.0000001), 0);
    assert_int_equal(scale_round(0.01), 1);
    assert_int_equal(scale_round(3.0000001), 3);
    assert_int_equal(scale_round(3.001), 4);
    assert_int_equal(scale_round(1e300), MEMBERS_SET_MAX);
    assert_int_equal(scale_round(INFINITY), MEMBERS_SET_MAX);
}

static void follows_its_scaler_up_within_bounds(void **state)
{
    struct stage *t = *state;
    begin(t, 1);
    assert_int_equal(wanted(t), 2);
    answer = 4.2;
    run(t, 100, 1);
    assert_int_equal(wanted(t), 5);
    answer = 60;
    run(t, 100, 1);
    assert_int_equal(wanted(t), 6); /* max */
    assert_non_null(strstr(the_set(t)->why, "max is 6, wanted are 60"));
    assert_int_equal(t->changes, 3);
    answer = 50;
    run(t, 1000, 1);
    assert_int_equal(t->shortages, 0); /* the change has said so */
    answer = 3;
    run(t, 100, 1);
    answer = 50;
    run(t, 1000, 1);
    assert_int_equal(t->shortages,
                     1); /* the count could not fall in the first window, so it did not change */
}

static void never_below_min(void **state)
{
    struct stage *t = *state;
    begin_known(t, 3);
    answer = 0;
    run(t, 100, 1);
    assert_int_equal(wanted(t), 1);
}

static void nonsense_changes_nothing(void **state)
{
    struct stage *t = *state;
    static const double nonsense[] = {NAN, INFINITY, -INFINITY};
    begin_known(t, 3);
    for (size_t i = 0; i < 3; i++) {
        answer = nonsense[i];
        run(t, 200, 1);
        assert_int_equal(wanted(t), 3);
        assert_int_equal(the_set(t)->cause, COX_CAUSE_NO_DATA);
    }
}

/* ---- what must not shrink ---- */

static void a_new_loop_keeps_what_lives_for_a_whole_window(void **state)
{
    struct stage *t = *state;
    answer = 1;
    begin(t, 4);
    assert_int_equal(wanted(t), 4);
    assert_true(seen.flags & COX_SAMPLE_NO_SHRINK);
    run(t, 59000, 1);
    assert_int_equal(wanted(t), 4);
    run(t, 2000, 1);
    assert_int_equal(wanted(t), 1);
    assert_false(seen.flags & COX_SAMPLE_NO_SHRINK);
}

static void nothing_is_decided_before_the_actuator_has_told(void **state)
{
    struct stage *t = *state;
    open_members(t);
    open_scale(t, true);
    answer = 5;
    run(t, 1000, 1);
    assert_false(the_set(t)->has_count);
    list_members(t, 2);
    run(t, 100, 1);
    assert_int_equal(wanted(t), 5);
}

static void a_missing_source_forbids_to_shrink(void **state)
{
    struct stage *t = *state;
    begin_known(t, 3);
    answer = 1;
    t->is_unreadable = true;
    run(t, 1000, 1);
    assert_int_equal(wanted(t), 3);
    assert_int_equal(seen.sources_fresh, 0);
    answer = 4;
    run(t, 100, 1);
    assert_int_equal(wanted(t), 4); /* it may grow */
    answer = 1;
    t->is_unreadable = false;
    t->proxies = 0;
    run(t, 1000, 1);
    assert_int_equal(wanted(t), 4); /* no source at all */
    t->proxies = 1;
    run(t, 100, 1);
    assert_int_equal(wanted(t), 1);
}

static void a_sum_that_is_behind_is_a_missing_source_until_it_stays_so(void **state)
{
    struct stage *t = *state;
    begin_known(t, 2);
    answer = 1.5;
    t->sum.requests = 1000;
    run(t, 100, 1);
    const uint64_t arrivals = seen.totals.arrivals;
    t->sum.requests = 400; /* a generation is gone and not in the totals */
    run(t, 1000, 1);
    assert_int_equal(seen.totals.arrivals, arrivals);
    assert_int_equal(seen.sources_fresh, 0);
    t->sum.requests = 1010; /* now it is */
    run(t, 100, 1);
    assert_int_equal(seen.totals.arrivals, arrivals + 10);
    assert_int_equal(seen.sources_fresh, 1);
    t->sum.requests = 5; /* other sums for good */
    run(t, 11000, 1);
    t->sum.requests = 8;
    run(t, 100, 1);
    assert_int_equal(seen.totals.arrivals, arrivals + 13);
}

/* ---- samples ---- */

static void means_are_of_exact_integrals(void **state)
{
    struct stage *t = *state;
    begin(t, 2);
    t->sum.requests += 7;
    t->sum.completed += 5;
    t->sum.service_count += 4;
    t->sum.service_sum_ns += 40 * MS;
    t->sum.service_square_us2 += 123;
    t->sum.service[9] += 4;
    t->sum.waited += 2;
    t->sum.integral_ns[LEDGER_SERVING] += 250 * MS; /* beside the one of run */
    run(t, 100, 1);
    assert_true(fabs(seen.serving_mean - 3.5) < 1e-9);
    assert_int_equal(seen.arrivals, 7);
    assert_int_equal(seen.completed, 5);
    assert_true(fabs(seen.service_mean_ns - 10e6) < 1e-3);
    assert_int_equal(seen.totals.service_square_us2, 123);
    assert_int_equal(seen.totals.waited_count, 2);
    assert_int_equal(seen.totals.service_buckets.count, COX_SERVICE_BUCKETS);
    assert_int_equal(seen.window_ns, 100 * MS);
    assert_true(seen.slots_per_member == 8);
    assert_int_equal(seen.serving_now, 1);
    assert_int_equal(seen.idle_ns, 0);
    assert_int_equal(seen.ready, 2);
    assert_int_equal(seen.sources_fresh, 1);
    assert_int_equal(seen.oldest_source_ns, 7);
    assert_true(isnan(seen.objective_wait_ns));
    run(t, 100, 1);
    assert_int_equal(seen.arrivals, 0);
    assert_int_equal(seen.totals.arrivals, 7);
}

static void the_objective_of_a_set_reaches_its_scaler(void **state)
{
    struct stage *t = *state;
    t->alias.scaling.objective_ms = 250;
    begin(t, 1);
    assert_true(seen.objective_wait_ns == 250e6);
}

/* Histograms are read once a second, and nothing of them is lost or counted twice; all else is of this
 * moment.
 */
static void histograms_are_read_once_a_second(void **state)
{
    struct stage *t = *state;
    uint64_t before = 0, buckets = 0;
    begin(t, 2);
    const int wholes = t->wholes, sums = t->sums;
    const struct scale_set *set = the_set(t);
    before = set->totals[WORD_SERVICE + 9];
    for (int i = 0; i < 50; i++) {
        t->sum.service_count += 3;
        t->sum.service[9] += 3;
        run(t, 100, 1);
        assert_int_equal(seen.totals.service_count, 3 * (i + 1));
        buckets = set->totals[WORD_SERVICE + 9] - before;
        assert_in_range(buckets, i < 10 ? 0 : 3 * (i - 9), 3 * (i + 1));
    }
    assert_int_equal(t->sums - sums, 50);
    assert_int_equal(t->wholes - wholes, 5);
    run(t, 1000, 1);
    assert_int_equal(set->totals[WORD_SERVICE + 9] - before, 150);
}

static void the_ports_of_a_set_are_added_up(void **state)
{
    struct stage *t = *state;
    t->ports[0] = t->ports[1] = t->port;
    t->ports[1].name = TEXT("grpc");
    t->ports[1].options.max_in_flight = 4;
    t->cartridge.ports = (struct option_list){t->ports, 2};
    open_members(t);
    open_scale(t, true);
    members_on_listed(&t->members, "process");
    run(t, 100, 1);
    t->sum.requests += 3;
    t->other.requests += 4;
    t->other.count[LEDGER_SERVING] = 2;
    t->other.integral_ns[LEDGER_SERVING] += 200 * MS;
    run(t, 100, 1);
    assert_int_equal(seen.arrivals, 7);
    assert_int_equal(seen.serving_now, 3);
    assert_true(fabs(seen.serving_mean - 3) < 1e-9);
    assert_true(seen.slots_per_member == 4);
    run(t, 8000, 0);
    t->other.count[LEDGER_SERVING] = 0;
    run(t, 30000, 0);
    t->other.requests++; /* either of them ends the rest */
    run(t, 100, 0);
    assert_int_equal(seen.arrivals, 1);
}

static void ready_members_have_an_integral(void **state)
{
    struct stage *t = *state;
    begin(t, 3);
    const uint64_t before = seen.totals.ready_ns;
    run(t, 1000, 1);
    assert_int_equal(seen.totals.ready_ns - before, 3 * S);
}

static void reports_become_means_and_go_stale(void **state)
{
    struct stage *t = *state;
    begin(t, 2);
    scale_report(t->scale, "shop-web-m1", "load_average", 1.0, t->now);
    scale_report(t->scale, "shop-web-m2", "load_average", 4.0, t->now);
    scale_report(t->scale, "shop-web-m2", "load_average", 2.0, t->now + 10 * MS);
    scale_report(t->scale, "nobody", "load_average", 99.0, t->now);
    scale_report(t->scale, "shop-web-m1", "memory_bytes", NAN, t->now);
    struct cox_factor factors[SCALE_FACTORS_MAX];
    t->now += 500 * MS;
    assert_int_equal(scale_factors(t->scale, the_set(t), t->now, factors), 1);
    assert_string_equal(factors[0].metric, "load_average");
    assert_int_equal(factors[0].count, 2);
    assert_true(fabs(factors[0].value - 1.5) < 1e-12);
    assert_int_equal(factors[0].age_ns, 500 * MS);
    t->now += 60 * S;
    assert_int_equal(scale_factors(t->scale, the_set(t), t->now, factors), 0);
}

static void told(struct stage *t, const char *id, uint32_t phase)
{
    const struct cox_member_change change = {.size = sizeof change, .phase = phase, .member = id, .set = SET};
    members_on_change(&t->members, "process", &change);
}

/* What somebody said who is no more, or who leaves, is no reason for anything. */
static void reports_of_the_gone_go_with_them(void **state)
{
    struct stage *t = *state;
    struct cox_factor f[SCALE_FACTORS_MAX];
    begin_known(t, 3);
    scale_report(t->scale, "shop-web-m1", "load_average", 400, t->now);
    scale_report(t->scale, "shop-web-m1", "memory_consumption", 90, t->now);
    scale_report(t->scale, "shop-web-m2", "load_average", 20, t->now);
    scale_report(t->scale, "shop-web-m3", "load_average", 60, t->now);
    assert_int_equal(scale_factors(t->scale, the_set(t), t->now, f), 2);
    assert_true(fabs(f[0].value - 160) < 1e-9);
    told(t, "shop-web-m1", COX_PHASE_TERMINATED);
    assert_int_equal(scale_factors(t->scale, the_set(t), t->now, f), 1);
    assert_int_equal(f[0].count, 2);
    assert_true(fabs(f[0].value - 40) < 1e-9);
    told(t, "shop-web-m3", COX_PHASE_STOPPING);
    scale_report(t->scale, "shop-web-m3", "load_average", 80, t->now);
    assert_int_equal(scale_factors(t->scale, the_set(t), t->now, f), 1);
    assert_int_equal(f[0].count, 1);
    assert_true(fabs(f[0].value - 20) < 1e-9);
}

static void reports_that_are_no_numbers_are_none(void **state)
{
    struct stage *t = *state;
    struct cox_factor f[SCALE_FACTORS_MAX];
    begin_known(t, 2);
    static const double nonsense[] = {INFINITY, -INFINITY, NAN};
    for (size_t i = 0; i < 3; i++)
        scale_report(t->scale, "shop-web-m1", "load_average", nonsense[i], t->now);
    assert_int_equal(scale_factors(t->scale, the_set(t), t->now, f), 0);
    scale_report(t->scale, "shop-web-m1", "load_average", 5, t->now);
    scale_report(t->scale, "shop-web-m1", "load_average", INFINITY, t->now);
    assert_int_equal(scale_factors(t->scale, the_set(t), t->now, f), 1);
    assert_true(f[0].value == 5);
}

/* However many kinds somebody makes up: those that policies look at have their places. */
static void too_many_metrics_shut_nobody_out(void **state)
{
    struct stage *t = *state;
    struct cox_factor f[SCALE_FACTORS_MAX];
    begin_known(t, 2);
    for (int i = 0; i < 20; i++) {
        char metric[16];
        (void)snprintf(metric, sizeof metric, "own_%d", i);
        scale_report(t->scale, "shop-web-m1", metric, 1, t->now);
    }
    scale_report(t->scale, "shop-web-m1", "memory_consumption", 7, t->now);
    assert_int_equal(scale_factors(t->scale, the_set(t), t->now, f), SCALE_FACTORS_MAX - 1);
    assert_string_equal(f[0].metric, "memory_consumption");
}

static void idle_sets_are_hardly_looked_at(void **state)
{
    struct stage *t = *state;
    begin_known(t, 1);
    run(t, 10000, 0);
    const int before = t->sums;
    run(t, 60000, 0);
    assert_in_range(t->sums - before, 5, 8); /* once in ten seconds */
    t->sum.requests++;
    run(t, 100, 0);
    assert_int_equal(seen.arrivals, 1); /* what arrives is seen at once */
}

static void a_wake_is_answered_at_once_but_not_more_often_than_100_times_a_second(void **state)
{
    struct stage *t = *state;
    begin_known(t, 1);
    t->now += 20 * MS;
    assert_true(scale_wake(t->scale, STR(SET ":http"), true, STR("req-1")));
    const uint64_t calls = seen_calls;
    (void)scale_tick(t->scale);
    assert_int_equal(seen_calls, calls + 1);
    assert_true(seen.flags & COX_SAMPLE_SATURATED);
    t->now += 3 * MS;
    assert_false(scale_wake(t->scale, STR(SET ":http"), true, STR("req-2")));
    (void)scale_tick(t->scale);
    assert_int_equal(seen_calls, calls + 1);
    t->now += 7 * MS;
    (void)scale_tick(t->scale);
    assert_int_equal(seen_calls, calls + 2);
    assert_false(scale_wake(t->scale, STR("nothing"), false, STR("")));
}

/* ---- zero ---- */

static void goes_to_zero_when_idle_for_long_enough(void **state)
{
    struct stage *t = *state;
    t->alias.min = 0;
    begin_known(t, 1);
    answer = 0;
    run(t, 29900, 0);
    assert_int_equal(wanted(t), 1); /* the last one stays */
    run(t, 300, 0);
    assert_int_equal(wanted(t), 0);
}

static void never_to_zero_where_min_is_one(void **state)
{
    struct stage *t = *state;
    begin_known(t, 1);
    answer = 0;
    run(t, 60000, 0);
    assert_int_equal(wanted(t), 1);
}

static void a_request_wakes_at_once_and_its_way_is_kept(void **state)
{
    struct stage *t = *state;
    struct buf out;
    t->alias.min = 0;
    begin_known(t, 1);
    answer = -1;
    run(t, 31000, 0);
    assert_int_equal(wanted(t), 0);
    t->now += 10 * MS;
    the_set(t)->due_ns = t->now; /* the clock looks at it just before */
    (void)scale_tick(t->scale);
    assert_int_equal(wanted(t), 0);
    t->now += 2 * MS;
    t->sum.requests++;
    t->sum.count[LEDGER_HELD] = 1;
    assert_true(scale_wake(t->scale, STR(SET ":http"), false, STR("req-42")));
    (void)scale_tick(t->scale);
    assert_int_equal(wanted(t), 1);
    assert_int_equal(the_set(t)->cause, COX_CAUSE_HELD);
    assert_string_equal(the_set(t)->chain.origin, "req-42");
    assert_int_not_equal(the_set(t)->chain.decision, 0);
    buf_init(&out);
    scale_explain(t->scale, STR("web"), &out);
    buf_put(&out, "", 1);
    assert_non_null(strstr(out.p, "req-42"));
    assert_non_null(strstr(out.p, "a request waits"));
    buf_fini(&out);
}

static void without_a_policy_it_sleeps_and_wakes(void **state)
{
    struct stage *t = *state;
    t->alias.min = 0;
    open_members(t);
    open_scale(t, false);
    list_members(t, 0);
    run(t, 1000, 0);
    assert_int_equal(wanted(t), 0);
    t->sum.count[LEDGER_HELD] = 1;
    t->sum.requests++;
    (void)scale_wake(t->scale, STR(SET ":http"), false, STR("r"));
    run(t, 100, 0);
    assert_int_equal(wanted(t), 1);
    t->sum.count[LEDGER_HELD] = 0;
    run(t, 20000, 1);
    assert_int_equal(wanted(t), 1);
    run(t, 29000, 0);
    assert_int_equal(wanted(t), 1);
    run(t, 12000, 0);
    assert_int_equal(wanted(t), 0);
}

/* ---- a policy that is left out ---- */

static void a_set_stays_when_its_policy_is_left_out(void **state)
{
    struct stage *t = *state;
    t->is_policy_left_out = true;
    begin(t, 4);
    assert_int_equal(wanted(t), 4); /* and not min */
    run(t, 120000, 1);
    assert_int_equal(wanted(t), 4);
    run(t, 120000, 0);
    assert_int_equal(wanted(t), 4);
    assert_null(t->entered);
}

static void a_set_without_its_policy_is_woken_and_stays(void **state)
{
    struct stage *t = *state;
    t->is_policy_left_out = true;
    t->alias.min = 0;
    begin(t, 0);
    run(t, 1000, 0);
    assert_int_equal(wanted(t), 0);
    t->sum.count[LEDGER_HELD] = 1;
    run(t, 10000, 0);
    assert_int_equal(wanted(t), 1);
    t->sum.count[LEDGER_HELD] = 0;
    run(t, 120000, 0);
    assert_int_equal(wanted(t), 1);
}

static void a_scaler_is_called_in_the_name_that_its_policy_gives(void **state)
{
    struct stage *t = *state;
    begin(t, 1);
    assert_string_equal(t->entered, "instance");
}

/* ---- room ---- */

/* A place without capacity has some again by the clock alone. */
static void room_comes_back_with_time(void **state)
{
    struct stage *t = *state;
    begin_known(t, 2);
    struct place *place = the_set(t)->set->spots[0].place;
    answer = 4;
    place->full_until_ns = t->now + 5 * S;
    the_set(t)->set->changes++;
    run(t, 1000, 1);
    assert_int_equal(wanted(t), 2);
    const uint64_t changes = the_set(t)->set->changes;
    run(t, 3900, 1);
    assert_int_equal(wanted(t), 2);
    assert_int_equal(the_set(t)->set->changes, changes);
    run(t, 200, 1);
    assert_int_equal(wanted(t), 4);
}

/* And when others take less of it. */
static void room_comes_back_from_other_sets(void **state)
{
    struct stage *t = *state;
    begin_known(t, 2);
    struct place *place = the_set(t)->set->spots[0].place;
    place->max = 5;
    place->living += 2; /* of another set */
    answer = 5;
    run(t, 100, 1);
    assert_int_equal(wanted(t), 3);
    place->living -= 2;
    const uint64_t changes = the_set(t)->set->changes;
    run(t, 100, 1);
    assert_int_equal(the_set(t)->set->changes, changes);
    assert_int_equal(wanted(t), 5);
}

/* ---- hands and calendars ---- */

static const char *say(struct stage *t, const char *command)
{
    static char text[512];
    struct buf out;
    buf_init(&out);
    scale_by_hand(t->scale, str_of(command), &out);
    (void)snprintf(text, sizeof text, "%.*s", STR_ARG(buf_str(&out)));
    buf_fini(&out);
    return text;
}

static void a_hand_is_above_everything_until_it_lets_go(void **state)
{
    struct stage *t = *state;
    begin_known(t, 2);
    assert_non_null(strstr(say(t, SET " 5"), "ok: "));
    run(t, 100, 1);
    assert_int_equal(wanted(t), 5);
    assert_int_equal(seen.floor, 5);
    assert_int_equal(seen.floor_origin, COX_FLOOR_HAND);
    (void)say(t, "web 0"); /* below min */
    run(t, 100, 1);
    assert_int_equal(wanted(t), 0);
    (void)say(t, SET ":http auto");
    run(t, 100, 1);
    assert_int_equal(wanted(t), 2);
}

static void a_hand_may_hold_for_a_while(void **state)
{
    struct stage *t = *state;
    begin_known(t, 2);
    assert_non_null(strstr(say(t, "web 4 60000"), "for 60 s"));
    run(t, 59000, 1);
    assert_int_equal(wanted(t), 4);
    run(t, 1200, 1);
    assert_int_equal(wanted(t), 2);
}

static void wrong_commands_are_refused(void **state)
{
    struct stage *t = *state;
    static const char *const wrong[] = {"",         "web",     "web x",  "web 7",
                                        "nobody 2", "web 2 0", "web -1", "web 2 x"};
    begin_known(t, 2);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(strncmp(say(t, wrong[i]), "error: ", 7), 0);
    run(t, 100, 1);
    assert_int_equal(wanted(t), 2);
}

static void a_schedule_is_a_floor(void **state)
{
    struct stage *t = *state;
    const char *why;
    t->schedule = (struct schedule_settings){
        .cron = TEXT("0 18 * * *"), .for_ms = 3600000, .min = 4, .zone = SCHEDULE_UTC};
    assert_true(cron_parse(STR("0 18 * * *"), &t->schedule.moments, &why));
    t->alias.scaling.schedules = (struct option_list){&t->schedule, 1};
    begin_known(t, 1);
    answer = 1;
    t->wall = 1785002340ull * S; /* 17:59:00 */
    run(t, 59000, 1);
    assert_int_equal(wanted(t), 1);
    run(t, 2000, 1);
    assert_int_equal(wanted(t), 4);
    assert_int_equal(seen.floor_origin, COX_FLOOR_SCHEDULE);
    t->wall += 3600 * S;
    run(t, 200, 1);
    assert_int_equal(wanted(t), 1);
}

/* ---- what outlives it ---- */

static void use_disk(struct stage *t)
{
    (void)snprintf(t->dir, sizeof t->dir, "/tmp/test_scale-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    t->settings.state_dir = t->dir;
}

/* As after SIGKILL: nothing of the old process is asked, a new one reads the disk. */
static void kill_and_start(struct stage *t, bool was_saved)
{
    t->scale->is_unsaved = false;
    if (!was_saved) { /* all that is newer than the file stays unwritten */
        free(t->scale->dir);
        t->scale->dir = NULL;
    }
    scale_destroy(&t->scale);
    members_fini(&t->members);
    model_destroy(&t->model);
    open_members(t);
    open_scale(t, true);
}

static void a_killed_loop_goes_on_where_it_was(void **state)
{
    struct stage *t = *state;
    use_disk(t);
    begin_known(t, 3);
    t->sum.requests += 50;
    run(t, 2000, 2);
    const struct cox_totals before = seen.totals;
    const uint64_t calls = seen_calls;
    t->sum.requests += 5; /* while nobody looks */
    t->sum.integral_ns[LEDGER_SERVING] += 2 * 900 * MS;
    t->now += 900 * MS;
    kill_and_start(t, true);
    assert_int_equal(wanted(t), 3);
    list_members(t, 3);
    answer = 2;
    run(t, 200, 2);
    assert_int_equal(wanted(t), 2); /* recovered: it may shrink at once */
    assert_in_range(seen_calls, calls - 10, calls + 3);
    assert_true(seen_calls > 2);
    assert_int_equal(seen.totals.epoch, before.epoch);
    assert_int_equal(seen.totals.arrivals, before.arrivals + 5);
    assert_true(seen.totals.serving_ns - before.serving_ns >= 2 * 1000 * MS);
    assert_true(seen.totals.ready_ns > before.ready_ns);
}

/* What is counted is the whole of what was missed, over the whole of that time, although a new loop knows no
 * slots and no proxies at first. */
static void what_came_while_nobody_looked_is_counted(void **state)
{
    struct stage *t = *state;
    use_disk(t);
    begin_known(t, 3);
    run(t, 2000, 2);
    const struct cox_totals before = seen.totals;
    t->sum.requests += 5; /* while nobody looks */
    t->sum.integral_ns[LEDGER_SERVING] += 2 * 900 * MS;
    t->now += 900 * MS;
    t->is_unpublished = true;
    t->proxies = 0;
    kill_and_start(t, true);
    list_members(t, 3);
    run(t, 200, 2);
    assert_int_equal(the_set(t)->samples, 0);
    t->is_unpublished = false;
    t->proxies = 1;
    scale_published(t->scale);
    run(t, 100, 2);
    assert_int_equal(seen.totals.epoch, before.epoch);
    assert_int_equal(seen.totals.arrivals, before.arrivals + 5);
    assert_int_equal(seen.totals.serving_ns, before.serving_ns + 2 * 1200 * MS);
    assert_in_range(seen.window_ns, 1200 * MS, 2200 * MS); /* since the last save */
    assert_true(fabs(seen.serving_mean - 2) < 0.001);
}

static void idle_time_goes_on_over_a_kill(void **state)
{
    struct stage *t = *state;
    use_disk(t);
    t->alias.min = 0;
    begin_known(t, 1);
    answer = 0;
    run(t, 20000, 0);
    assert_int_equal(wanted(t), 1);
    kill_and_start(t, true);
    list_members(t, 1);
    run(t, 9500, 0);
    assert_int_equal(wanted(t), 1);
    run(t, 700, 0);
    assert_int_equal(wanted(t), 0); /* 30 s in all, 10 of them in the new loop */
}

static void what_came_meanwhile_ends_the_idle_time(void **state)
{
    struct stage *t = *state;
    use_disk(t);
    t->alias.min = 0;
    begin_known(t, 1);
    answer = 0;
    run(t, 25000, 0);
    t->sum.requests++; /* came and went while nobody looked */
    t->sum.completed++;
    kill_and_start(t, true);
    list_members(t, 1);
    run(t, 29500, 0);
    assert_int_equal(wanted(t), 1);
    run(t, 1000, 0);
    assert_int_equal(wanted(t), 0);
}

static void idle_time_that_nobody_can_vouch_for_begins_anew(void **state)
{
    struct stage *t = *state;
    use_disk(t);
    t->alias.min = 0;
    begin_known(t, 1);
    answer = 0;
    run(t, 29500, 0);
    t->is_unpublished = true;
    kill_and_start(t, true);
    list_members(t, 1);
    run(t, SCALE_RETURN_MS + 1000, 1); /* it cannot see that one is being served */
    assert_int_equal(wanted(t), 1);
}

static void counts_that_never_come_back_are_not_waited_for(void **state)
{
    struct stage *t = *state;
    use_disk(t);
    begin_known(t, 3);
    t->is_unpublished = true;
    kill_and_start(t, true);
    list_members(t, 3);
    run(t, SCALE_RETURN_MS - 100, 2);
    assert_int_equal(the_set(t)->samples, 0);
    run(t, 200, 2);
    assert_true(the_set(t)->samples > 0);
}

static void a_decision_after_the_last_save_is_not_lost(void **state)
{
    struct stage *t = *state;
    use_disk(t);
    begin_known(t, 2);
    run(t, 1500, 1);
    t->scale->save_every_ns = UINT64_MAX;
    answer = 5;
    run(t, 100, 1);
    assert_int_equal(wanted(t), 5);
    kill_and_start(t, false);
    assert_int_equal(wanted(t), 5); /* from the log */
    list_members(t, 5);
    run(t, 100, 1);
    assert_int_equal(wanted(t), 5);
}

static void a_hand_and_start_times_outlive_everything(void **state)
{
    struct stage *t = *state;
    const uint64_t starts[2] = {3 * S, 4 * S};
    uint64_t again[MEMBERS_STARTS_MAX];
    use_disk(t);
    begin_known(t, 2);
    members_restore_starts(the_set(t)->set, starts, 2);
    run(t, 1100, 1);             /* saved */
    (void)say(t, "web 5");       /* saved at once, and by itself */
    t->incarnation = "boot 7 8"; /* everything was started anew: other counters */
    t->sum = (struct ledger_cluster_sum){0};
    const uint64_t epoch = the_set(t)->epoch;
    kill_and_start(t, true);
    list_members(t, 0);
    run(t, 100, 0);
    assert_int_equal(wanted(t), 5);
    assert_int_equal(members_starts(the_set(t)->set, again), 2);
    assert_int_equal(again[1], 4 * S);
    assert_int_not_equal(the_set(t)->epoch, epoch);
    assert_int_equal(seen.totals.arrivals, 0);
    assert_true(seen_calls > 600); /* what the scaler has learned stays */
}

static void a_hand_does_not_outlive_its_max(void **state)
{
    struct stage *t = *state;
    use_disk(t);
    begin_known(t, 2);
    (void)say(t, "web 5");
    run(t, 100, 1);
    t->alias.max = 3;
    kill_and_start(t, true);
    assert_int_equal(wanted(t), 3);
    list_members(t, 2);
    run(t, 100, 1);
    assert_int_equal(wanted(t), 3);
    assert_true(the_set(t)->has_hand);
    t->alias.max = 6;
    kill_and_start(t, true);
    list_members(t, 2);
    run(t, 100, 1);
    assert_int_equal(wanted(t), 3); /* what it was is forgotten */
}

static void a_hand_of_a_build_without_the_file_counts(void **state)
{
    struct stage *t = *state;
    char file[128], aside[128];
    use_disk(t);
    begin_known(t, 2);
    (void)say(t, "web 4");
    (void)snprintf(file, sizeof file, "%s/scale.hands", t->dir);
    (void)snprintf(aside, sizeof aside, "%s/aside", t->dir);
    assert_int_equal(rename(file, aside), 0);
    run(t, 1100, 1);
    (void)say(t, "web 5");
    run(t, 1100, 1);
    assert_int_equal(rename(aside, file), 0); /* the other build left it as it was */
    kill_and_start(t, true);
    assert_true(the_set(t)->has_hand);
    assert_int_equal(wanted(t), 5);
}

static void a_new_version_of_a_scaler_upgrades_its_state(void **state)
{
    struct stage *t = *state;
    use_disk(t);
    begin_known(t, 2);
    fake.state_version = 2;
    kill_and_start(t, true);
    assert_int_equal(((struct fake_state *)(void *)the_set(t)->state)->version, 2);
    assert_true(((struct fake_state *)(void *)the_set(t)->state)->calls > 100);
    scale_save(t->scale, t->now);
    fake.state_version = 3; /* that knows nothing of 2 */
    kill_and_start(t, true);
    assert_int_equal(((struct fake_state *)(void *)the_set(t)->state)->calls, 0);
    assert_int_not_equal(the_set(t)->first_ns, 0); /* and so it may not shrink for a while */
}

static void tear(const struct stage *t, const char *file)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", t->dir, file);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(fseek(f, -3, SEEK_END), 0);
    assert_int_not_equal(fputc('#', f), EOF);
    fclose(f);
}

static void a_torn_state_is_no_state(void **state)
{
    struct stage *t = *state;
    use_disk(t);
    begin_known(t, 2);
    run(t, 1100, 1);
    tear(t, "scale.state");
    kill_and_start(t, true);
    assert_int_not_equal(the_set(t)->first_ns, 0);
}

static void hands_stand_apart_from_the_state(void **state)
{
    struct stage *t = *state;
    use_disk(t);
    begin_known(t, 2);
    (void)say(t, "web 4");
    run(t, 1100, 1);
    tear(t, "scale.state");
    kill_and_start(t, true);
    assert_true(the_set(t)->has_hand);
    assert_int_equal(wanted(t), 4);
    list_members(t, 4);
    (void)say(t, "web auto");
    kill_and_start(t, true);
    assert_false(the_set(t)->has_hand);
    list_members(t, 4);
    (void)say(t, "web 3");
    (void)say(t, "web auto");
    (void)say(t, "web 5");
    tear(t, "scale.hands");
    kill_and_start(t, true); /* a torn one says nothing */
    assert_false(the_set(t)->has_hand);
}

/* ---- the log ---- */

static const char *replay(struct stage *t)
{
    static char text[512];
    struct buf out;
    buf_init(&out);
    scale_replay(t->scale, STR("web"), &out);
    (void)snprintf(text, sizeof text, "%.*s", STR_ARG(buf_str(&out)));
    buf_fini(&out);
    return text;
}

static void what_was_decided_is_decided_again(void **state)
{
    struct stage *t = *state;
    begin(t, 1);
    answer = 2;
    run(t, 40000, 1);
    assert_non_null(strstr(replay(t), "the same bit for bit, 0 differ"));
    assert_null(strstr(replay(t), "ok: 0 "));
    answer = 2.0000000001; /* the scaler is no longer what it was */
    assert_int_equal(strncmp(replay(t), "error: ", 7), 0);
    policy.fingerprint++;
    assert_non_null(strstr(replay(t), "are left out"));
}

static void a_record_says_all_that_went_in(void **state)
{
    struct stage *t = *state;
    struct scale_record r;
    uint64_t cursor = 0;
    begin(t, 2);
    scale_report(t->scale, "shop-web-m1", "load_average", 0.7, t->now);
    t->sum.requests = 12;
    t->sum.service[5] = t->sum.service_count = 6;
    the_set(t)->fine_ns = 1; /* long ago: histograms are due */
    answer = 3;
    run(t, 100, 4);
    assert_true(scale_log_before(t->scale->log, STR(""), &cursor, &r));
    assert_true(str_eq(r.set, STR(SET)));
    assert_int_equal(r.from, 2);
    assert_int_equal(r.to, 4); /* 3.012 */
    assert_int_equal(r.sample.arrivals, 12);
    assert_int_equal(r.sample.serving_now, 4);
    assert_int_equal(r.sample.now_ns, t->now);
    assert_int_equal(*COX_AT(uint64_t, r.sample.totals.service_buckets, 5), 6);
    assert_int_equal(r.sample.factors.count, 1);
    assert_true(COX_AT(struct cox_factor, r.sample.factors, 0)->value == 0.7);
    assert_string_equal(COX_AT(struct cox_factor, r.sample.factors, 0)->metric, "load_average");
    assert_int_equal(r.decision.alternative_count, 1);
    assert_true(r.decision.alternatives[0].wanted == 7.5);
    assert_int_equal(r.state_bytes, sizeof(struct fake_state));
    scale_record_fini(&r);
}

/* What a broken disk or another program makes of a record is refused, or read as some other record; nothing
 * else. */
static void mutated_records_are_harmless(void **state)
{
    struct stage *t = *state;
    struct scale_record in = {.from = 1, .to = 2}, out;
    struct cox_sample sample;
    struct scale_room room;
    struct buf bytes;
    uint64_t random = 12345, refused = 0;
    begin(t, 2);
    struct scale_set *set = the_set(t);
    scale_report(t->scale, "shop-web-m1", "load_average", 0.7, t->now);
    scale_gather(t->scale, set, t->now, &room, &sample);
    in.state = scale_log_keep(t->scale->log, set->state, set->policy->state_bytes);
    buf_init(&bytes);
    scale_encode(set, &sample, &in, &bytes);
    for (size_t n = 0; n < bytes.len; n += 3) {
        char *cut = must(malloc(n + 1)); /* of its very size, for checkers of memory */
        memcpy(cut, bytes.p, n);
        assert_false(scale_decode(str_make(cut, n), 1, &out));
        free(cut);
    }
    for (int i = 0; i < 3000; i++) {
        char *copy = must(malloc(bytes.len));
        memcpy(copy, bytes.p, bytes.len);
        for (int k = 0; k < 1 + i % 4; k++) {
            random = random * 6364136223846793005ull + 1442695040888963407ull;
            copy[(random >> 33) % bytes.len] = (char)(random >> 25);
        }
        if (scale_decode(str_make(copy, bytes.len), 1, &out))
            scale_record_fini(&out);
        else
            refused++;
        free(copy);
    }
    assert_in_range(refused, 1, 2999);
    buf_fini(&bytes);
}

static uint64_t last_number(struct stage *t)
{
    struct scale_record r;
    uint64_t cursor = 0;
    assert_true(scale_log_before(t->scale->log, STR(""), &cursor, &r));
    scale_record_fini(&r);
    return r.number;
}

/* What changes nothing is logged now and then, in turns, and only as far as it leaves room for what does. */
static void records_of_no_change_are_rationed(void **state)
{
    struct stage *t = *state;
    begin_known(t, 2);
    run(t, SCALE_LOG_MS, 1);
    const uint64_t number = last_number(t), left = t->scale->calm.bytes;
    the_set(t)->logged_ns = 0;
    t->scale->calm.from = 1; /* sets before it had their turn */
    t->scale->calm.was_used = true;
    run(t, 100, 1);
    assert_int_equal(last_number(t), number);
    run(t, 100, 1);
    assert_int_equal(last_number(t), number + 1);
    assert_true(t->scale->calm.bytes < left);
    t->scale->calm.bytes = 0;
    the_set(t)->logged_ns = 0;
    answer = 3; /* but for a change there is always room */
    t->now += 100 * MS;
    (void)scale_tick(t->scale);
    assert_int_equal(last_number(t), number + 2);
}

static void the_ring_keeps_the_newest(void **state)
{
    struct stage *t = *state;
    struct scale_record r = {0};
    struct cox_sample sample = {.size = sizeof sample, .wanted = NAN};
    uint64_t cursor = 0, expected, last = 0, count = 0, bytes;
    begin(t, 1);
    struct scale_set *set = the_set(t);
    r.state = scale_log_keep(t->scale->log, set->state, set->policy->state_bytes);
    for (int i = 0; i < 40000; i++) { /* about 1 KiB each: more than the ring holds */
        sample.arrivals = (uint64_t)i;
        last = scale_log_put(t->scale->log, set, &sample, &r, &bytes);
        assert_true(bytes > 500);
    }
    for (expected = last; scale_log_before(t->scale->log, STR(""), &cursor, &r); expected--, count++) {
        assert_int_equal(r.number, expected);
        assert_int_equal(r.sample.arrivals, 40000 - 1 - (last - expected));
        scale_record_fini(&r);
    }
    assert_in_range(count, 8000, 39999);
}

/* A ring whose head says that its last record begins where no record can, 8 bytes before the end. */
static void run_command(struct stage *t, const char *command)
{
    struct buf out;
    buf_init(&out);
    scale_by_hand(t->scale, str_of(command), &out);
    assert_memory_equal(out.p, "ok", 2);
    buf_fini(&out);
}

/* The one tick at its end may not shrink: those that follow do. */
static void a_hand_ends_while_a_source_is_missing(void **state)
{
    struct stage *t = *state;
    open_members(t);
    open_scale(t, false);
    list_members(t, 1);
    run(t, 1000, 0);
    run_command(t, "web 4 60000");
    run(t, 1000, 0);
    assert_int_equal(wanted(t), 4);
    t->is_unreadable = true;
    run(t, 61000, 0);
    assert_false(the_set(t)->has_hand);
    assert_int_equal(wanted(t), 4);
    t->is_unreadable = false;
    run(t, 1000, 0);
    assert_int_equal(wanted(t), 1);
    assert_true(the_set(t)->due_ns == UINT64_MAX); /* and costs nothing from now on */
    run_command(t, "web 3");
    run(t, 1000, 0);
    t->is_unreadable = true;
    run_command(t, "web auto");
    run(t, 1000, 0);
    assert_int_equal(wanted(t), 3);
    t->is_unreadable = false;
    run(t, 1000, 0);
    assert_int_equal(wanted(t), 1);
}

static void answer_holds(struct stage *t, const char *text, bool is_there)
{
    struct buf out;
    buf_init(&out);
    scale_explain(t->scale, STR("web"), &out);
    scale_replay(t->scale, STR("web"), &out);
    buf_put(&out, "", 1);
    assert_true((strstr(out.p, text) != NULL) == is_there);
    buf_fini(&out);
}

/* A name that a record does not hold is cut, and what cannot be read hides nothing else. */
static void a_long_metric_hides_no_decision(void **state)
{
    struct stage *t = *state;
    char metric[80];
    begin_known(t, 2);
    memset(metric, 'q', sizeof metric);
    metric[70] = 0;
    scale_report(t->scale, "shop-web-m1", metric, 1, t->now);
    answer = 3;
    run(t, 100, 1);
    metric[63] = 0;
    answer_holds(t, metric, true);
    answer_holds(t, "Nothing was decided yet", false);
    answer_holds(t, " 0 decisions", false);
}

static void a_record_that_cannot_be_read_is_passed_over(void **state)
{
    struct stage *t = *state;
    struct scale_record r;
    uint64_t cursor = 0, kept = 0, unused;
    char name[300];
    begin_known(t, 2);
    for (; scale_log_before(t->scale->log, STR(""), &cursor, &r); kept++)
        scale_record_fini(&r);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    struct cox_factor f = {.size = sizeof f, .metric = name, .count = 1, .value = 1};
    struct cox_sample sample = {.size = sizeof sample, .set = SET, .factors = {&f, 1, sizeof f}};
    const struct scale_record bad = {.from = 1, .to = 2, .why = "nobody can read this"};
    assert_true(scale_log_put(t->scale->log, the_set(t), &sample, &bad, &unused) > 0);
    cursor = 0;
    for (; scale_log_before(t->scale->log, STR(""), &cursor, &r); kept--)
        scale_record_fini(&r);
    assert_int_equal(kept, 0);
}

static void a_hand_for_ages_is_refused(void **state)
{
    struct stage *t = *state;
    struct buf out;
    begin_known(t, 2);
    buf_init(&out);
    scale_by_hand(t->scale, STR("web 3 315360000001"), &out);
    assert_memory_equal(out.p, "error: at most ten years", 24);
    out.len = 0;
    scale_by_hand(t->scale, STR("web 3 1080000000000000000"), &out);
    assert_memory_equal(out.p, "error: at most ten years", 24);
    assert_false(the_set(t)->has_hand);
    out.len = 0;
    scale_by_hand(t->scale, STR("web 3 315360000000"), &out);
    assert_memory_equal(out.p, "ok", 2);
    run(t, 1000, 1);
    assert_true(the_set(t)->has_hand);
    buf_fini(&out);
}

/* Another boot, or another master: the counters begin anew, and what the scaler has learned stays. */
static void what_was_learned_outlives_the_counters(void **state)
{
    struct stage *t = *state;
    use_disk(t);
    begin_known(t, 2);
    run(t, 5000, 1);
    const uint64_t calls = seen_calls;
    const uint64_t epoch = seen.totals.epoch;
    assert_true(calls > 100);
    scale_destroy(&t->scale);
    t->incarnation = "boot 9 9";
    t->now = 5 * S; /* its clock begins anew too */
    memset(&t->sum, 0, sizeof t->sum);
    open_scale(t, true);
    answer = 1;
    run(t, 100, 1);
    assert_int_equal(seen_calls, calls + 1);
    assert_true(seen.flags & COX_SAMPLE_FIRST);
    assert_true(seen.totals.epoch > epoch);
    assert_int_equal(seen.totals.arrivals, 0);
    run(t, 50000, 1);
    assert_int_equal(wanted(t), 2); /* no window was seen yet */
    run(t, 20000, 1);
    assert_int_equal(wanted(t), 1);
}

static void a_head_that_lies_is_harmless(void **state)
{
    struct stage *t = *state;
    struct scale_record r;
    uint64_t cursor = 0;
    char path[128];
    struct {
        uint32_t magic, version;
        uint64_t bytes, end, number, last;
    } head;
    use_disk(t);
    begin(t, 1);
    answer = 2;
    run(t, 100, 1);
    (void)snprintf(path, sizeof path, "%s/decisions.ring", t->dir);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    assert_int_equal(fread(&head, sizeof head, 1, f), 1);
    for (int i = 0; i < 4; i++) {
        const uint64_t ends[4] = {head.bytes, head.bytes + 8, 64, UINT64_MAX - 7};
        const uint64_t lasts[4] = {8, 16, 72, 8};
        head.end = ends[i];
        head.last = lasts[i];
        rewind(f);
        assert_int_equal(fwrite(&head, sizeof head, 1, f), 1);
        assert_int_equal(fflush(f), 0);
        struct scale_log *log = scale_log_open(t->dir);
        cursor = 0;
        assert_false(scale_log_before(log, STR(""), &cursor, &r));
        scale_log_close(&log);
    }
    fclose(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_up_but_not_for_rounding_errors),
        TEST(follows_its_scaler_up_within_bounds),
        TEST(never_below_min),
        TEST(nonsense_changes_nothing),
        TEST(a_new_loop_keeps_what_lives_for_a_whole_window),
        TEST(nothing_is_decided_before_the_actuator_has_told),
        TEST(a_missing_source_forbids_to_shrink),
        TEST(a_sum_that_is_behind_is_a_missing_source_until_it_stays_so),
        TEST(the_objective_of_a_set_reaches_its_scaler),
        TEST(histograms_are_read_once_a_second),
        TEST(idle_time_goes_on_over_a_kill),
        TEST(what_came_meanwhile_ends_the_idle_time),
        TEST(idle_time_that_nobody_can_vouch_for_begins_anew),
        TEST(records_of_no_change_are_rationed),
        TEST(means_are_of_exact_integrals),
        TEST(the_ports_of_a_set_are_added_up),
        TEST(ready_members_have_an_integral),
        TEST(reports_become_means_and_go_stale),
        TEST(reports_of_the_gone_go_with_them),
        TEST(reports_that_are_no_numbers_are_none),
        TEST(too_many_metrics_shut_nobody_out),
        TEST(idle_sets_are_hardly_looked_at),
        TEST(a_wake_is_answered_at_once_but_not_more_often_than_100_times_a_second),
        TEST(goes_to_zero_when_idle_for_long_enough),
        TEST(never_to_zero_where_min_is_one),
        TEST(a_request_wakes_at_once_and_its_way_is_kept),
        TEST(without_a_policy_it_sleeps_and_wakes),
        TEST(a_set_stays_when_its_policy_is_left_out),
        TEST(a_set_without_its_policy_is_woken_and_stays),
        TEST(a_scaler_is_called_in_the_name_that_its_policy_gives),
        TEST(room_comes_back_with_time),
        TEST(room_comes_back_from_other_sets),
        TEST(a_hand_is_above_everything_until_it_lets_go),
        TEST(a_hand_may_hold_for_a_while),
        TEST(wrong_commands_are_refused),
        TEST(a_schedule_is_a_floor),
        TEST(a_killed_loop_goes_on_where_it_was),
        TEST(what_came_while_nobody_looked_is_counted),
        TEST(counts_that_never_come_back_are_not_waited_for),
        TEST(a_decision_after_the_last_save_is_not_lost),
        TEST(a_hand_and_start_times_outlive_everything),
        TEST(a_hand_does_not_outlive_its_max),
        TEST(a_hand_of_a_build_without_the_file_counts),
        TEST(a_new_version_of_a_scaler_upgrades_its_state),
        TEST(a_torn_state_is_no_state),
        TEST(hands_stand_apart_from_the_state),
        TEST(what_was_decided_is_decided_again),
        TEST(a_record_says_all_that_went_in),
        TEST(mutated_records_are_harmless),
        TEST(the_ring_keeps_the_newest),
        TEST(a_head_that_lies_is_harmless),
        TEST(a_long_metric_hides_no_decision),
        TEST(a_record_that_cannot_be_read_is_passed_over),
        TEST(a_hand_for_ages_is_refused),
        TEST(what_was_learned_outlives_the_counters),
        TEST(a_hand_ends_while_a_source_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
