/* scale_predict: members ahead of the load, for a longest wait instead of a utilisation.
 *
 * Every sample: exact counts into rings, a test for a sudden rise, the probe of the service time. Once a
 * second: forecasts at the start-up delay, the shadows that choose among them, the staffing that the chosen
 * one needs. Then one answer: grow as soon as it is short, shrink only when the maximum that is held is
 * clearly below. README.md has the reasons and the figures. */
#include <string.h>

#include <coxswain/plugin.h>

#include "predict.h"

enum { OPTION_LONGEST_WAIT, OPTION_SHARE };

static const struct cox_option options[] = {
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_DURATION,
     .key = "longest_wait",
     .def = "100ms",
     .min = 1,
     .max = 3600000,
     .help =
         "Longest wait of a request for a free slot that is fine, where the policy has no objective of its "
         "own. Longer needs fewer members."},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_REAL,
     .key = "share",
     .def = "0.0001",
     .help = "Share of the requests that may wait for longer. Smaller costs more members where the load is "
             "hard to foresee."},
};

#define STEP_NS UINT64_C(1000000000)
#define GAP_NS  UINT64_C(60000000000) /* after so long without a sample the past is no guide */
#define WARM_S  60.0                  /* nothing is taken away before so much was seen */
/* What waits is worked off within half a start-up delay at a share of 1e-4, sooner the smaller the share is:
 * members for it cost as their number, which is shared out over all who wait no longer. Between these. */
#define DRAIN_LEAST_S  2.0
#define DRAIN_MOST_S   60.0
#define HELPED_DRAIN_S 5.0
#define DELAY_GUESS    10.0
#define DELAY_MAX      1800.0
/* While the need wavers about a whole number, the count is left alone: both ways by this part of how the
 * counts of a second vary, between these parts of the count. */
#define CALM       0.05
#define CALM_LEAST 0.005
#define CALM_MOST  0.01
/* Of a load that does not move half an hour is looked at, and before it shrinks the need must be below by so
 * much of a member and of the count. */
#define QUIET_MEMBERS 0.3
#define QUIET_SHARE   0.04
#define QUIET         2.0 /* variance of the counts of a minute over Poisson's: below, nothing moves … */
#define RESTLESS      5.0 /* … until it is above this */
#define QUIET_S       64.0
#define QUIET_LAG_S   512.0

static uint64_t state_size(const struct cox_options *opts)
{
    (void)opts;
    return sizeof(struct state);
}

static void init_state(const struct cox_options *opts, void *state)
{
    (void)opts;
    struct state *s = state;
    memset(s, 0, sizeof *s);
    s->dispersion = 1;
    s->restless = RESTLESS;
    for (uint32_t i = 0; i < WEEK_SLOTS; i++)
        s->season.week[i] = -1;
    for (uint32_t i = 0; i < DAY_SLOTS; i++)
        s->season.day[i] = -1;
}

static double option_share(const struct cox_options *o)
{
    const double share = cox_option_at(o, OPTION_SHARE)->f;
    return share < 1e-9 ? 1e-9 : share > 0.5 ? 0.5 : share;
}

static double objective_s(const struct cox_sample *in)
{
    const double given = in->objective_wait_ns;
    return given > 0 ? given / 1e9 : (double)cox_option_at(in->options, OPTION_LONGEST_WAIT)->i / 1e3;
}

/* ---- the past ---- */

/* Sets that begin in the same tick, as after a start of the orchestrator, take turns from then on: which tick
 * of a second is theirs, and which second of a choice. FNV-1a of the name. */
static uint32_t turn_of(const char *set)
{
    uint32_t hash = 2166136261u;
    for (; set && *set; set++)
        hash = (hash ^ (unsigned char)*set) * 16777619u;
    return hash ^ hash >> 16;
}

/* A first sample, a new epoch or a long gap: windows must not reach across it. What was learned stays. */
static void restart(struct work *w)
{
    struct state *s = w->s;
    if (w->in->now_ns < s->last_ns) { /* another boot: moments of the clock before it are none */
        s->service.phase_ns = s->service.helped_ns = s->service.retry_ns = 0;
        s->jump_ns = 0;
    }
    memset(s->rings, 0, sizeof s->rings);
    s->epoch = w->in->totals.epoch;
    s->since_ns = s->change_ns = s->step_point_ns = w->in->now_ns;
    const uint32_t turn = turn_of(w->in->set);
    s->step_ns = w->in->now_ns + turn / CHOOSE_STEPS % (STEP_NS / TICK_NS) * TICK_NS;
    s->step_arrivals = w->in->totals.arrivals;
    s->service.last_count = 0;
    s->service.knee_ns = 0;
    s->service.phase = PROBE_NONE;
    s->steps = turn % CHOOSE_STEPS;
    s->level = s->jump = s->plan_rate = 0;
    s->restless = s->restless > RESTLESS ? s->restless : RESTLESS;
    s->is_quiet = 0;
    s->minute_ns = 0;
    lanes_run(w);
    memset(&s->candidates, 0, sizeof s->candidates);
    for (uint32_t h = 0; h < HOLDS; h++)
        s->hold_turn_ns[h] = 0;
    s->lag_turn_ns = 0;
    for (uint32_t j = 0; j < CANDIDATES; j++)
        memset(s->shadows[j].backlog, 0, sizeof s->shadows[j].backlog);
    if (!s->is_on)
        shadow_reset(w);
    s->is_on = 1;
}

static bool is_broken(const struct work *w)
{
    const struct state *s = w->s;
    return !s->is_on || w->in->flags & COX_SAMPLE_FIRST || s->epoch != w->in->totals.epoch ||
           w->in->now_ns < s->last_ns || w->in->now_ns - s->last_ns > GAP_NS;
}

/* ---- once a second ---- */

static void learn_delay(struct work *w)
{
    double d = w->in->start_p90_ns > 0 ? w->in->start_p90_ns / 1e9 : DELAY_GUESS;
    d = d < 0.1 ? 0.1 : d > DELAY_MAX ? DELAY_MAX : d;
    struct state *s = w->s;
    if (!(s->delay_s > 0) || d > s->delay_s * 1.2 || d < s->delay_s / 1.2)
        s->delay_s = d;
}

/* Does the load move at all? Counts of two minutes with some between them differ as chance has it, or more.
 */
static void learn_quiet(struct work *w)
{
    struct state *s = w->s;
    const uint64_t minute_ns = (uint64_t)(QUIET_S * 1e9);
    if (rates_seconds(s->since_ns, s->last_ns) < QUIET_LAG_S + QUIET_S || s->last_ns < s->minute_ns)
        return;
    s->minute_ns = s->last_ns + minute_ns - TICK_NS / 2;
    const double a = rates_mean(s, QUIET_S, 0, 0) * QUIET_S,
                 b = rates_mean(s, QUIET_S + QUIET_LAG_S, QUIET_LAG_S, 0) * QUIET_S;
    double d = a + b > 0 ? (a - b) * (a - b) / (a + b) : 0;
    d = d < 100 ? d : 100;
    s->restless += (d - s->restless) / 16;
    s->is_quiet = s->restless < (s->is_quiet ? RESTLESS : QUIET);
    s->minute = (s->minute + 1) % MINUTES;
    s->minute_need[s->minute] = 0;
}

static void learn_calm(struct work *w)
{
    struct state *s = w->s;
    const double varies = s->level > 0 ? CALM * w->math->sqrt(s->dispersion / s->level) : 0;
    s->calm = varies < CALM_LEAST ? CALM_LEAST : varies < CALM_MOST ? varies : CALM_MOST;
}

static void step(struct work *w)
{
    struct state *s = w->s;
    const double seconds = rates_seconds(s->step_point_ns, w->in->now_ns);
    const double arrivals = (double)(w->in->totals.arrivals - s->step_arrivals);
    learn_delay(w);
    service_learn(w);
    staffing_learn(w);
    season_learn(w, arrivals, seconds);
    learn_quiet(w);
    change_learn(w, arrivals, seconds);
    learn_calm(w);
    forecast_all(w, s->delay_s + rates_seconds(0, STEP_NS) / 2);
    s->steps++;
    shadow_step(w, arrivals, seconds);
    s->plan_rate = s->candidates.held[s->best] * s->margin;
    s->planned_slots = 0; /* to be worked out anew */
    s->jump = 0;
    s->step_point_ns = w->in->now_ns;
    s->step_arrivals = w->in->totals.arrivals;
    s->step_ns = w->in->now_ns + STEP_NS - TICK_NS / 2;
}

/* ---- the answer ---- */

/* A wait that chance alone brings about once in ten thousand times as seldom as the objective has it. */
static double odd_wait_s(struct work *w, double load)
{
    const struct staffing *t = &w->s->staffing;
    const double above = staffing_slots(w, load) - load;
    return w->wait_s + 9.2 * t->service_s * (1 + t->cv2) / 2 / (above > 1 ? above : 1);
}

/* Slots above the staffing that work off what waits already, and what will until members come. */
static double backlog_slots(struct work *w)
{
    const struct cox_sample *in = w->in;
    const struct state *s = w->s;
    const double service_s = service_plan_s(s);
    const double rate = in->ready * w->slots / service_s;
    const double level = s->jump > s->level ? s->jump : s->level;
    if (!in->held_now || s->service.phase != PROBE_NONE || s->service.slow_steps ||
        (double)in->held_now < odd_wait_s(w, level * service_s) * rate)
        return 0;
    /* All slots are taken: if they do not get done what was planned, service is slow, which is another
     * matter. */
    const struct point *p = rates_at(s, STEP_NS);
    const double seconds = rates_seconds(p->t_ns, in->now_ns);
    if ((double)(in->totals.service_count - p->service_count) < 0.8 * rate * seconds)
        return 0;
    const double age_s = (double)in->oldest_starting_ns / 1e9;
    const double until_s = in->starting && age_s < s->delay_s ? s->delay_s - age_s : s->delay_s;
    const double grows = level > rate ? (level - rate) * until_s : 0;
    double drain_s = s->delay_s * 50 * w->math->sqrt(w->share);
    drain_s = drain_s < s->delay_s ? drain_s : s->delay_s;
    drain_s = drain_s > DRAIN_LEAST_S ? drain_s : DRAIN_LEAST_S;
    drain_s = drain_s < DRAIN_MOST_S ? drain_s : DRAIN_MOST_S;
    if (rates_seconds(s->service.helped_ns, in->now_ns) < s->delay_s && drain_s > HELPED_DRAIN_S)
        drain_s = HELPED_DRAIN_S; /* it waited for a probe already */
    return ((double)in->held_now + grows) * service_s / drain_s;
}

static bool may_shrink(const struct work *w)
{
    const struct cox_sample *in = w->in;
    const struct state *s = w->s;
    const bool is_fresh = in->sources_fresh >= in->sources_expected;
    if (in->held_now && s->service.phase != PROBE_USELESS &&
        (double)in->held_now * service_plan_s(s) > w->wait_s * in->ready * w->slots)
        return false;
    return is_fresh && !(in->flags & (COX_SAMPLE_NO_SHRINK | COX_SAMPLE_WAKE)) &&
           rates_seconds(s->since_ns, in->now_ns) >= WARM_S && s->service.phase != PROBE_STARTING &&
           s->service.phase != PROBE_WATCHING;
}

static double whole(double x)
{
    const double down = (double)(int64_t)x;
    return down < x - 1e-9 ? down + 1 : down;
}

/* The need that a shrink must be below: of now, or the most of half an hour where nothing moves. */
static double shrink_need(struct work *w, double *out_band)
{
    struct state *s = w->s;
    const double n = w->in->current;
    double *last = &s->minute_need[s->minute];
    *last = s->need > *last ? s->need : *last;
    if (!s->is_quiet) {
        *out_band = s->calm * n;
        return s->need;
    }
    *out_band = QUIET_MEMBERS + QUIET_SHARE * n;
    double most = s->need;
    for (uint32_t i = 0; i < MINUTES; i++)
        most = s->minute_need[i] > most ? s->minute_need[i] : most;
    return most;
}

static double settle(struct work *w, double extra)
{
    struct state *s = w->s;
    const double n = w->in->current;
    double band;
    const double low = shrink_need(w, &band);
    s->cause = COX_CAUSE_STEADY;
    if (s->need > n + (extra > 0 ? 0 : s->calm * n)) {
        s->cause = extra > 0                              ? COX_CAUSE_HELD
                   : s->level * s->margin >= s->plan_rate ? COX_CAUSE_LOAD
                                                          : COX_CAUSE_FORECAST;
        return whole(s->need);
    }
    if (low > n - 1 - band || n <= 1) {
        s->cause = s->need > n - 1 ? COX_CAUSE_STEADY : COX_CAUSE_STABILISED;
        return n;
    }
    if (!may_shrink(w)) {
        s->cause = COX_CAUSE_NO_DATA;
        return n;
    }
    const double fewer = whole(low + (s->is_quiet ? band / 2 : 0));
    if (s->service.phase != PROBE_USELESS &&
        (double)(w->in->serving_now + w->in->held_now) > fewer * w->slots) {
        s->cause = COX_CAUSE_STABILISED; /* what is in service now would not fit */
        return n;
    }
    s->cause = COX_CAUSE_VALLEY;
    return fewer;
}

static void plan(struct work *w)
{
    struct state *s = w->s;
    const double service_s = service_plan_s(s);
    if (s->planned_service_s == service_s && s->planned_slots == w->slots)
        return;
    s->planned_service_s = service_s;
    s->planned_slots = w->slots;
    s->planned = shadow_members(w);
    s->by_level = staffing_slots(w, s->level * service_s) / w->slots;
}

/* Whatever was planned: while requests wait, what comes now, and what it will grow by as it did lately, is
 * the least. */
static double rate_soon(const struct state *s)
{
    const double late = rates_mean(s, 4, 0, s->change_ns);
    if (rates_seconds(s->change_ns, s->last_ns) < 12)
        return late;
    const double grows = (late - rates_mean(s, 12, 8, 0)) / 8 * (s->delay_s < 60 ? s->delay_s : 60);
    return late + (grows < 0 ? 0 : grows < late / 2 ? grows : late / 2);
}

static double answer(struct work *w)
{
    struct state *s = w->s;
    const double extra = backlog_slots(w), planned = s->planned;
    const double late = extra > 0 ? rate_soon(s) : 0, rate = late > s->jump ? late : s->jump;
    const double now = staffing_slots(w, rate * service_plan_s(s)) / w->slots;
    s->need = (now > planned ? now : planned) + extra / w->slots;
    double wanted = settle(w, extra);
    const struct service *v = &s->service;
    if ((v->phase == PROBE_STARTING || v->phase == PROBE_WATCHING) && wanted < v->probe_members) {
        wanted = v->probe_members;
        s->cause = COX_CAUSE_SLOW_SERVICE;
    }
    if (wanted < 1 && (w->in->held_now || w->in->flags & COX_SAMPLE_WAKE)) {
        wanted = 1;
        s->cause = COX_CAUSE_HELD;
    }
    return wanted;
}

static void tell(struct work *w, double wanted, struct cox_decision *out)
{
    const struct state *s = w->s;
    words_reason(w, wanted);
    out->wanted = wanted;
    out->valid_ns = 0;
    memcpy(out->reason, s->reason, sizeof s->reason);
    out->cause = s->cause;
    out->flags = s->service.phase == PROBE_USELESS ? COX_DECISION_NOT_CAPACITY : 0;
    out->alternatives[0] = (struct cox_alternative){.wanted = s->need, .cause = COX_CAUSE_FORECAST};
    out->alternatives[1] = (struct cox_alternative){
        .wanted = staffing_slots(w, s->level * service_plan_s(s)) / w->slots, .cause = COX_CAUSE_LOAD};
    out->alternative_count = 2;
    out->demand = s->plan_rate * service_plan_s(s);
    out->slots_per_member = w->slots;
    out->service_mean_ns = s->service.now_s * 1e9;
    out->horizon_ns = (uint64_t)(s->delay_s * 1e9);
}

static void decide(void *state, const struct cox_sample *sample, struct cox_decision *out_decision)
{
    struct work w = {.s = state,
                     .in = sample,
                     .math = sample->math,
                     .wait_s = objective_s(sample),
                     .share = option_share(sample->options)};
    if (is_broken(&w))
        restart(&w);
    const struct point now = rates_point(sample);
    w.s->last_ns = sample->now_ns;
    rates_add(w.s, &now);
    w.slots = service_knee(&w);
    change_look(&w);
    if (sample->now_ns >= w.s->step_ns)
        step(&w);
    service_probe(&w);
    plan(&w);
    tell(&w, answer(&w), out_decision);
}

/* ---- the descriptor: no instance has anything of its own ---- */

static int32_t predict_open(const struct cox_host *host, const struct cox_open *args, void **out_instance)
{
    static char nothing;
    (void)host;
    (void)args;
    *out_instance = &nothing;
    return COX_OK;
}

static int32_t predict_start(void *instance)
{
    (void)instance;
    return COX_OK;
}

static void predict_stop(void *instance)
{
    (void)instance;
}

static void predict_close(void *instance)
{
    (void)instance;
}

static const struct cox_scaler scaler = {.size = sizeof scaler,
                                         .state_version = 5,
                                         .state_size = state_size,
                                         .init_state = init_state,
                                         .decide = decide};

COX_EXPORT const struct cox_plugin cox_plugin = {.size = sizeof cox_plugin,
                                                 .abi = COX_ABI,
                                                 .name = "scale_predict",
                                                 .summary =
                                                     "a scaler that looks ahead and plans for a longest wait",
                                                 .version = "1",
                                                 .options = COX_ARRAY(options),
                                                 .open = predict_open,
                                                 .start = predict_start,
                                                 .stop = predict_stop,
                                                 .close = predict_close,
                                                 .scaler = &scaler};
