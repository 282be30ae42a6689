#include "run.h"

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

#define NS      1e9
#define SPAN_S  10.0
#define P90_Z   1.2815515655446004
#define WALL_NS 1893456000000000000ull /* second 0 is a Tuesday, midnight UTC */

/* ---- load ---- */

uint64_t run_arrivals(struct run *r, double length_s, double *out_expected)
{
    const struct load *l = r->config->load;
    const int64_t second = (int64_t)floor(r->now_s + 1e-9);
    if (second != r->second) {
        r->second = second;
        r->gamma = l->noise_cv > 0.0 ? random_gamma(&r->noise, l->noise_cv) : 1.0;
        r->second_expected = r->gamma * load_expected(l, r->now_s, (double)(second + 1) - r->now_s);
        r->second_left = random_poisson(&r->arrivals, r->second_expected);
    }
    const double expected = r->gamma * load_expected(l, r->now_s, length_s);
    const bool is_last = r->now_s + length_s > (double)(second + 1) - 1e-6;
    const uint64_t n = is_last ? r->second_left
                               : random_binomial(&r->splits, r->second_left,
                                                 expected / fmax(r->second_expected, expected + 1e-12));
    r->second_left -= n;
    r->second_expected -= expected;
    *out_expected = expected;
    return n;
}

static const struct load_event *event_now(const struct run *r, enum load_event_kind kind, bool *out_begins)
{
    const struct load *l = r->config->load;
    for (size_t i = 0; i < l->event_count; i++) {
        const struct load_event *e = &l->events[i];
        const bool begins =
            e->from_s > r->now_s - r->config->tick_s / 2.0 && e->from_s <= r->now_s + r->config->tick_s / 2.0;
        if (e->kind == kind && (begins || (r->now_s >= e->from_s && r->now_s < e->until_s))) {
            *out_begins = begins;
            return e;
        }
    }
    return NULL;
}

double run_slowness(const struct run *r)
{
    bool begins;
    const struct load_event *e = event_now(r, LOAD_SLOWER, &begins);
    return e ? e->amount : 1.0;
}

void run_bottleneck(struct run *r, uint64_t slots)
{
    bool begins;
    const struct load_event *e = event_now(r, LOAD_BOTTLENECK, &begins);
    if (!e)
        r->capped = INFINITY;
    else if (begins)
        r->capped = (double)slots / r->config->law.mean_s / e->amount;
}

double run_failure(const struct run *r)
{
    bool begins;
    const struct load_event *e = event_now(r, LOAD_FAILURE, &begins);
    return e && begins ? fmin(1.0, e->amount) : 0.0;
}

/* ---- score ---- */

static size_t wait_bucket(double wait_s)
{
    if (wait_s < 0.001)
        return 0;
    const double x = 1.0 + 4.0 * log2(wait_s / 0.001);
    return x >= WAIT_BUCKETS - 1 ? WAIT_BUCKETS - 1 : (size_t)x;
}

/* The middle of a bucket. */
static double wait_of(size_t bucket)
{
    return bucket ? 0.001 * exp2(((double)bucket - 0.5) / 4.0) : 0.0;
}

void run_sent(struct run *r, double arrived_s, double wait_s, double count, double over)
{
    r->line_over += over;
    if (arrived_s < 0.0)
        return;
    r->result.requests += count;
    r->result.over += over;
    r->waits[wait_bucket(wait_s)] += count;
    if (over > 0.0)
        r->result.last_over_s = r->now_s;
}

void run_lost(struct run *r, double arrived_s, double count)
{
    r->line_over += count;
    if (arrived_s < 0.0 || count <= 0.0)
        return;
    r->result.requests += count;
    r->result.over += count;
    r->waits[WAIT_BUCKETS - 1] += count;
    r->responses[WAIT_BUCKETS - 1] += count;
    r->result.last_over_s = r->now_s;
}

void run_answered(struct run *r, double arrived_s)
{
    if (arrived_s >= 0.0)
        r->responses[wait_bucket(r->now_s - arrived_s)] += 1.0;
}

static void span_close(struct run *r)
{
    const double length = r->now_s - r->span_from_s;
    if (r->span_count == r->span_cap) {
        r->span_cap = r->span_cap ? r->span_cap * 2 : 1024;
        r->spans = must(realloc(r->spans, r->span_cap * sizeof(*r->spans)));
    }
    r->spans[r->span_count++] = (struct span){.demand = staffing_least(&r->staffing, r->span_rate / length),
                                              .supply = (r->fleet.ready_s - r->span_ready_s) / length};
}

static void span_open(struct run *r)
{
    r->span_from_s = r->now_s;
    r->span_ready_s = r->fleet.ready_s;
    r->span_rate = 0.0;
}

static void line(struct run *r)
{
    FILE *f = r->config->timeline;
    if (f)
        fprintf(f, "%.0f,%.1f,%.0f,%u,%zu,%.3f,%llu,%llu,%.0f\n", r->now_s,
                load_rate(r->config->load, r->now_s), r->line_arrivals, r->fleet.ready,
                r->fleet.starting_count, r->wanted, (unsigned long long)(r->serving + r->leaving),
                (unsigned long long)r->held, r->line_over);
    r->line_arrivals = r->line_over = 0.0;
}

void run_note(struct run *r, double expected)
{
    r->line_arrivals += expected;
    if (r->now_s <= 0.0) {
        if (r->now_s > -r->config->tick_s / 2.0) { /* the load begins */
            fleet_count_from(&r->fleet);
            span_open(r);
        }
        return;
    }
    r->span_rate += expected;
    const double members = r->fleet.ready + (double)r->fleet.starting_count;
    r->result.peak_members = fmax(r->result.peak_members, members);
    if (r->now_s - r->span_from_s >= SPAN_S - 1e-6) {
        span_close(r);
        span_open(r);
    }
    if (run_is_second(r))
        line(r);
}

static int sign(double x)
{
    return (x > 1e-6) - (x < -1e-6);
}

/* SPEC's elasticity metrics over spans of 10 s. */
static void score_spans(const struct run *r, struct run_result *out)
{
    double changes_demand = 0.0, changes_supply = 0.0, last = -1.0;
    uint32_t last_demand = 0;
    for (size_t i = 0; i < r->span_count; i++) {
        const double d = r->spans[i].demand, s = r->spans[i].supply;
        out->theta_under += fmax(d - s, 0.0) / d;
        out->theta_over += fmax(s - d, 0.0) / d;
        out->tau_under += s < d - 1e-6;
        out->tau_over += s > d + 1e-6;
        if (i) {
            const int ds = sign(s - last), dd = sign(d - last_demand);
            out->instability += ds != dd;
            changes_demand += dd != 0;
            changes_supply += ds != 0;
        }
        last = s;
        last_demand = r->spans[i].demand;
    }
    const double n = r->span_count ? (double)r->span_count : NAN;
    out->theta_under *= 100.0 / n;
    out->theta_over *= 100.0 / n;
    out->tau_under *= 100.0 / n;
    out->tau_over *= 100.0 / n;
    out->instability *= 100.0 / fmax(1.0, n - 1.0);
    out->jitter = (changes_supply - changes_demand) / (n * SPAN_S / 60.0);
}

static double quantile(const double *buckets, double q)
{
    double sum = 0.0, below = 0.0;
    for (size_t i = 0; i < WAIT_BUCKETS; i++)
        sum += buckets[i];
    for (size_t i = 0; i < WAIT_BUCKETS; i++) {
        below += buckets[i];
        if (below >= q * sum)
            return wait_of(i);
    }
    return NAN;
}

/* The sums know waits only: a response is a wait and an exponential service. */
static double response_quantile(const struct run *r, double q)
{
    double sum = 0.0, low = 0.0, high = 1e4;
    for (size_t i = 0; i < WAIT_BUCKETS; i++)
        sum += r->waits[i];
    for (int round = 0; round < 60; round++) {
        const double x = (low + high) / 2.0;
        double above = 0.0;
        for (size_t i = 0; i < WAIT_BUCKETS; i++)
            above += r->waits[i] * (x <= wait_of(i) ? 1.0 : exp(-(x - wait_of(i)) / r->config->law.mean_s));
        if (above > (1.0 - q) * sum)
            low = x;
        else
            high = x;
    }
    return low;
}

/* ---- sample and decision ---- */

static uint64_t ns_of(double seconds)
{
    return (uint64_t)(seconds * NS + 0.5);
}

static void fill_totals(const struct run *r, struct cox_totals *t)
{
    const struct totals *now = &r->totals;
    *t = (struct cox_totals){.size = sizeof(*t),
                             .epoch = 1,
                             .held_ns = ns_of(now->held_s),
                             .serving_ns = ns_of(now->serving_s),
                             .ready_ns = ns_of(r->fleet.ready_s),
                             .arrivals = now->arrivals,
                             .completed = now->completed,
                             .failed = now->failed,
                             .abandoned = now->abandoned,
                             .service_count = now->service_count,
                             .service_sum_ns = ns_of(now->service_sum_s),
                             .service_square_us2 = (uint64_t)(now->service_square_s2 * 1e12),
                             .waited_count = now->waited,
                             .service_buckets = {now->buckets, COX_SERVICE_BUCKETS, sizeof(uint64_t)}};
}

static void fill_window(const struct run *r, struct cox_sample *s)
{
    const struct totals *now = &r->totals, *before = &r->before;
    const double window = r->is_first ? 0.0 : r->now_s - r->before_s;
    const uint64_t count = now->service_count - before->service_count;
    s->window_ns = ns_of(window);
    if (window > 0.0) {
        s->held_mean = (now->held_s - before->held_s) / window;
        s->serving_mean = (now->serving_s - before->serving_s) / window;
    }
    s->arrivals = now->arrivals - before->arrivals;
    s->completed = now->completed - before->completed;
    s->failed = now->failed - before->failed;
    s->abandoned = now->abandoned - before->abandoned;
    s->service_mean_ns = count ? (now->service_sum_s - before->service_sum_s) / (double)count * NS : NAN;
    /* of an exponential law; no scaler has been seen to look at them */
    s->latency_p50_ns = s->service_mean_ns * M_LN2;
    s->latency_p90_ns = s->service_mean_ns * M_LN10;
    s->latency_p99_ns = s->service_mean_ns * 2.0 * M_LN10;
}

static double start_quantile(const struct run_config *c, double z)
{
    const double square = log(1.0 + c->delay_cv * c->delay_cv);
    return c->delay_s * exp(sqrt(square) * z - square / 2.0) * NS;
}

static size_t fill_ages(const struct run *r, uint64_t *ages)
{
    const struct fleet *f = &r->fleet;
    size_t n = 0;
    for (size_t i = 0; i < f->starting_count && n < 64; i++) {
        const uint64_t age = ns_of(r->now_s - f->starting[f->starting_head + i].ordered_s);
        size_t at = n++; /* oldest first, which with one delay they are */
        for (; at > 0 && ages[at - 1] < age; at--)
            ages[at] = ages[at - 1];
        ages[at] = age;
    }
    return n;
}

static void fill_sample(struct run *r, uint32_t flags, uint64_t *ages, struct cox_sample *s)
{
    const struct run_config *c = r->config;
    const size_t n = fill_ages(r, ages);
    *s = (struct cox_sample){.size = sizeof(*s),
                             .flags = flags | (r->is_first ? (uint32_t)COX_SAMPLE_FIRST : 0u),
                             .set = "set",
                             .now_ns = ns_of(r->now_s + SIM_EPOCH_S),
                             .wall_ns = WALL_NS + ns_of(r->now_s + c->warmup_s) - ns_of(c->warmup_s),
                             .held_now = r->held,
                             .serving_now = r->serving + r->leaving,
                             .oldest_held_ns = r->held ? ns_of(fmax(0.0, r->now_s - r->oldest_held_s)) : 0,
                             .ready = r->fleet.ready,
                             .starting = (uint32_t)r->fleet.starting_count,
                             .current = r->fleet.target,
                             .wanted = r->wanted,
                             .min = c->min,
                             .max = c->max,
                             .floor = c->min,
                             .floor_origin = COX_FLOOR_POLICY,
                             .slots_per_member = c->law.slots,
                             .start_p50_ns = start_quantile(c, 0.0),
                             .start_p90_ns = start_quantile(c, P90_Z),
                             .oldest_starting_ns = n ? ages[0] : 0,
                             .sources_expected = 1,
                             .sources_fresh = 1,
                             .starting_ages_ns = {ages, (uint32_t)n, sizeof(uint64_t)},
                             .interval_ns = ns_of(c->tick_s),
                             .objective_wait_ns = c->law.objective_s * NS};
    fill_totals(r, &s->totals);
    fill_window(r, s);
}

static void note_decision(struct run *r, const struct cox_decision *d, uint32_t before)
{
    struct run_result *out = &r->result;
    const struct load *l = r->config->load;
    out->decisions++;
    if (isnan(out->not_capacity_s) && d->flags & COX_DECISION_NOT_CAPACITY)
        out->not_capacity_s = r->now_s;
    if (l->jump_s >= 0.0 && r->now_s >= l->jump_s) {
        if (r->after_count % 1024 == 0)
            r->after = must(realloc(r->after, (r->after_count + 1024) * sizeof(*r->after)));
        r->after[r->after_count][0] = r->now_s - l->jump_s;
        r->after[r->after_count++][1] = d->wanted;
    }
    if (r->config->decisions && r->fleet.target != before)
        fprintf(r->config->decisions, "%.3f,%u,%u,%.17g,%u,%u,\"%s\"\n", r->now_s, before, r->fleet.target,
                d->wanted, d->cause, d->flags, d->reason);
}

uint32_t run_tick(struct run *r, uint32_t flags)
{
    uint64_t ages[64];
    struct cox_sample sample;
    struct cox_decision decision;
    const uint32_t before = r->fleet.target;
    fill_sample(r, flags, ages, &sample);
    policy_decide(r->policy, &sample, &decision);
    const uint32_t drained = isfinite(decision.wanted) ? fleet_want(&r->fleet, decision.wanted) : 0;
    r->wanted = decision.wanted;
    note_decision(r, &decision, before);
    r->before = r->totals;
    r->before_s = r->now_s;
    r->is_first = false;
    return drained;
}

/* What the policy itself settles at, in the last quarter of the time after the jump. */
static double settled(const struct run *r)
{
    const size_t from = r->after_count - r->after_count / 4;
    double sum = 0.0;
    for (size_t i = from; i < r->after_count; i++)
        sum += r->after[i][1];
    return from < r->after_count ? sum / (double)(r->after_count - from) : NAN;
}

/* When the first answer of 90 % of that came. */
static double first_of(const struct run *r, double need)
{
    for (size_t i = 0; i < r->after_count; i++)
        if (ceil(r->after[i][1] - 1e-9) >= 0.9 * need)
            return r->after[i][0];
    return NAN;
}

/* ---- the whole ---- */

void run(const struct run_config *config, struct policy *policy, struct run_result *out)
{
    struct run *r = must(calloc(1, sizeof(*r)));
    const struct load *l = config->load;
    r->config = config;
    r->policy = policy;
    r->now_s = r->before_s = -config->warmup_s;
    r->is_first = true;
    r->wanted = NAN;
    r->second = INT64_MIN;
    r->capped = INFINITY;
    r->noise = random_make(config->seed, 1);
    r->arrivals = random_make(config->seed, 2);
    r->service = random_make(config->seed, 4);
    r->splits = random_make(config->seed, 5);
    r->moments = random_make(config->seed, 6);
    r->result.not_capacity_s = r->result.last_over_s = NAN;
    staffing_init(&r->staffing, &config->law, config->share);
    uint32_t initial = config->initial ? config->initial : staffing_least(&r->staffing, load_rate(l, 0.0));
    initial = initial < config->min ? config->min : initial > config->max ? config->max : initial;
    fleet_init(&r->fleet, initial, config->min, config->max, config->delay_s, config->delay_cv, config->seed);
    fleet_advance(&r->fleet, r->now_s);
    policy_reset(policy);
    if (config->is_exact)
        engine_exact(r);
    else
        engine_sums(r, run_end_s(r));
    run_lost(r, 0.0, (double)r->held); /* who still waits at the end */
    score_spans(r, &r->result);
    r->result.first_right_s = first_of(r, config->need > 0.0 ? config->need : settled(r));
    r->result.first_enough_s =
        l->jump_s < 0.0 ? NAN : first_of(r, staffing_least(&r->staffing, load_rate(l, l->jump_s)));
    r->result.cost_s = r->fleet.cost_s;
    r->result.actions = r->fleet.actions;
    r->result.reversals = r->fleet.reversals;
    r->result.wait_p99_s = quantile(r->waits, 0.99);
    r->result.response_p99_s = config->is_exact ? quantile(r->responses, 0.99) : response_quantile(r, 0.99);
    *out = r->result;
    staffing_fini(&r->staffing);
    fleet_fini(&r->fleet);
    free(r->spans);
    free(r->after);
    free(r);
}
