/* Shadows: every forecast, with every hold and margin, run on the arrivals that really came.
 *
 * Arrivals do not depend on how many members there are, so what another policy would have cost and whom it
 * would have let wait can be counted, not guessed: a fluid queue each, with the start-up delay and whole
 * members. The cheapest that kept the objective is used. A season or a trend that is of no use never wins, a
 * noisy load earns itself a margin, and a calm one loses it. */
#include "predict.h"

/* So many start-up delays of doubt: no margin is trusted before it was seen to do. A load that stands still
 * earns trust sooner than one that moves, whose worst bend may be yet to come. */
#define PRIOR_MOVING 8.0
#define PRIOR_CALM   1.0
#define SAFETY       0.25     /* of the share is what the past may show: what comes is worse */
#define MEMORY_S     604800.0 /* sums fade by this time constant */
#define PRICE_FOLD   0.1
#define START_DELAYS 0.5 /* of running for nothing that a start counts for */
#define AGE_STEPS    64u
#define CHOOSE_STEPS 8u
#define BETTER       0.995 /* a new choice must be cheaper than the old one by this */

static const double margins[MARGINS] = {1.0,  1.015, 1.03, 1.05, 1.08, 1.12, 1.18,
                                        1.27, 1.4,   1.55, 1.7,  1.9,  2.3,  3.0};
/* Share over the objective that is expected of a margin before anything was seen. */
static const double prior[MARGINS] = {4e-2, 3.2e-2, 2.6e-2, 2e-2, 1.3e-2, 8e-3, 4.5e-3,
                                      2e-3, 7e-4,   2.4e-4, 8e-5, 2e-5,   1e-6, 1e-8};
static const double hold_delays[HOLDS] = {0, 1, 4, 16, 64};

/* Length of one bucket of a sliding maximum: whole steps. */
static double hold_bucket_s(const struct state *s, uint32_t h)
{
    double seconds = hold_delays[h] * s->delay_s / BUCKETS;
    if (!h)
        return 0;
    seconds = seconds < 1 ? 1 : seconds > 450 ? 450 : seconds;
    return (double)(uint64_t)seconds;
}

/* Of the sliding minimum over the start-up delay, in whole steps; and how many there are of them. */
static double lag_bucket_s(const struct state *s, uint32_t *out_count)
{
    double seconds = (double)(uint64_t)(s->delay_s / (LAGS - 1));
    seconds = seconds * (LAGS - 1) < s->delay_s ? seconds + 1 : seconds;
    *out_count = (uint32_t)(s->delay_s / seconds) + 1;
    *out_count += *out_count < LAGS && (double)(*out_count - 1) * seconds < s->delay_s;
    return seconds;
}

void shadow_reset(struct work *w)
{
    struct state *s = w->s;
    s->best_forecast = 1;
    s->best_hold = 3;
    s->margin = 1.4;
}

/* Slots of a load as a straight line of its margin: what is above the load grows so slowly that this will do.
 */
struct line {
    double at_one, slope; /* in members */
};

static struct line members_line(const struct work *w, double rate)
{
    const struct staffing *t = &w->s->staffing;
    const double load = rate * service_plan_s(w->s), most = margins[MARGINS - 1];
    const double low = staffing_slots(t, load) / w->slots, high = staffing_slots(t, load * most) / w->slots;
    return (struct line){.at_one = low, .slope = (high - low) / (most - 1)};
}

static double whole_members(const struct line *l, double margin)
{
    const double members = l->at_one + l->slope * (margin - 1);
    const int64_t down = (int64_t)members;
    const double up = (double)(down + ((double)down < members));
    return up > 1 ? up : 1;
}

/* Part of a step's arrivals that wait longer than the objective, when waits go from a to b in a straight
 * line. */
static double part_over(double a, double b, double wait)
{
    const double low = a < b ? a : b, high = a < b ? b : a;
    if (high <= wait)
        return 0;
    return low >= wait ? 1 : (high - wait) / (high - low);
}

static void run_one(const struct work *w, struct shadow *x, double rate, double arrivals, double seconds)
{
    double left = x->backlog + arrivals - rate * seconds;
    left = left > 0 ? left : 0;
    if (left > 0 || x->backlog > 0)
        x->over += arrivals * part_over(x->backlog / rate, left / rate, w->wait_s);
    x->backlog = left;
}

static void run_candidate(const struct work *w, uint32_t k, uint32_t h, double arrivals, double seconds)
{
    const struct candidate *c = &w->s->candidates[k][h];
    double least = c->held;
    for (uint32_t i = 0; i < LAGS; i++)
        least = c->least[i] < least ? c->least[i] : least;
    const struct line ordered = members_line(w, c->held), ready = members_line(w, least);
    const double each = w->slots / service_plan_s(w->s);
    struct shadow *x = w->s->shadows[k][h];
    /* Each start costs a little of itself, or whoever follows every wave would win by a hair. */
    const double starts = c->held > c->was ? (c->held - c->was) / each * START_DELAYS * w->s->delay_s : 0;
    for (uint32_t m = 0; m < MARGINS; m++) {
        x[m].cost += whole_members(&ordered, margins[m]) * seconds + starts * margins[m];
        run_one(w, &x[m], whole_members(&ready, margins[m]) * each, arrivals, seconds);
    }
}

/* Turns the buckets of the sliding maxima and of the sliding minimum when their time has come. */
static void turn(struct state *s)
{
    const uint64_t now = s->last_ns;
    for (uint32_t h = 0; h < HOLDS; h++) {
        if (now < s->hold_turn_ns[h])
            continue;
        const uint64_t bucket_ns = (uint64_t)(hold_bucket_s(s, h) * 1e9);
        s->hold_turn_ns[h] = bucket_ns ? now + bucket_ns - TICK_NS / 2 : now;
        s->hold_slot[h] = (s->hold_slot[h] + 1) % BUCKETS;
        for (uint32_t k = 0; k < FORECASTS; k++)
            s->candidates[k][h].most[s->hold_slot[h]] = 0;
    }
    if (now < s->lag_turn_ns)
        return;
    uint32_t count;
    s->lag_turn_ns = now + (uint64_t)(lag_bucket_s(s, &count) * 1e9) - TICK_NS / 2;
    s->lag_slot = (s->lag_slot + 1) % count;
    for (uint32_t k = 0; k < FORECASTS; k++)
        for (uint32_t h = 0; h < HOLDS; h++)
            s->candidates[k][h].least[s->lag_slot] = s->candidates[k][h].held;
    for (uint32_t k = 0; k < FORECASTS; k++)
        for (uint32_t h = 0; h < HOLDS; h++)
            for (uint32_t i = count; i < LAGS; i++)
                s->candidates[k][h].least[i] = s->candidates[k][h].held;
}

static void take_forecast(struct state *s, uint32_t k, uint32_t h)
{
    struct candidate *c = &s->candidates[k][h];
    double *bucket = &c->most[s->hold_slot[h]];
    if (s->forecasts[k] > *bucket)
        *bucket = s->forecasts[k];
    double most = *bucket;
    for (uint32_t i = 0; h && i < BUCKETS; i++) /* the first one does not hold at all */
        most = c->most[i] > most ? c->most[i] : most;
    c->was = c->held;
    c->held = most;
    if (most < c->least[s->lag_slot])
        c->least[s->lag_slot] = most;
}

static void age(struct state *s, double seconds)
{
    const double keep = 1 - AGE_STEPS * seconds / MEMORY_S;
    for (uint32_t k = 0; k < FORECASTS; k++)
        for (uint32_t h = 0; h < HOLDS; h++)
            for (uint32_t m = 0; m < MARGINS; m++) {
                s->shadows[k][h][m].over *= keep;
                s->shadows[k][h][m].cost *= keep;
            }
    s->seen_arrivals *= keep;
    s->seen_s *= keep;
}

/* Member-seconds that one exchange over the objective may cost to avoid, while more are over than the share
 * allows. A margin whose e-folding of the share is a fraction of the load like PRICE_FOLD is worth that much
 * at the share. Without such a limit a load that jumps without any sign would be met with all margins there
 * are, for nothing. */
static double price(const struct work *w)
{
    return PRICE_FOLD * service_plan_s(w->s) / (w->slots * w->share * SAFETY);
}

/* What a candidate costs with its best margin: members, and what is over beyond the share at its price. */
static double best_margin(const struct work *w, uint32_t k, uint32_t h, double *out_margin)
{
    const struct state *s = w->s;
    const struct shadow *x = s->shadows[k][h];
    const double doubt =
        (s->is_quiet ? PRIOR_CALM : PRIOR_MOVING) * s->delay_s * s->seen_arrivals / s->seen_s;
    const double allowed = SAFETY * w->share * (s->seen_arrivals + doubt), dear = price(w);
    double best = 0, before = 0;
    for (uint32_t m = 0; m < MARGINS; m++) {
        const double over = x[m].over + prior[m] * doubt;
        const double sum = x[m].cost + (over > allowed ? dear * (over - allowed) : 0);
        if (!m || sum < best) {
            best = sum;
            *out_margin = margins[m];
        }
        /* Where the share is crossed between two margins, one between them keeps it exactly. */
        if (m && before > allowed && over < allowed) {
            const double low = over > 0.02 * allowed ? over : 0.02 * allowed;
            const double part = w->math->log(before / allowed) / w->math->log(before / low);
            const double between = x[m - 1].cost + part * (x[m].cost - x[m - 1].cost);
            if (between < best) {
                best = between;
                *out_margin = margins[m - 1] + part * (margins[m] - margins[m - 1]);
            }
        }
        before = over;
    }
    return best;
}

static void choose(struct work *w)
{
    struct state *s = w->s;
    double best = BETTER * best_margin(w, s->best_forecast, s->best_hold, &s->margin);
    for (uint32_t k = 0; k < FORECASTS; k++)
        for (uint32_t h = 0; h < HOLDS; h++) {
            double margin;
            const double cost = best_margin(w, k, h, &margin);
            if (cost >= best)
                continue;
            best = cost;
            s->margin = margin;
            s->best_forecast = k;
            s->best_hold = h;
        }
}

void shadow_step(struct work *w, double arrivals, double seconds)
{
    struct state *s = w->s;
    /* What was in service is known from a start-up delay after the first forecast on, and not after a gap. */
    if (seconds < 10 && rates_seconds(s->since_ns, s->last_ns) > 4 + 1.4 * s->delay_s) {
        for (uint32_t k = 0; k < FORECASTS; k++)
            for (uint32_t h = 0; h < HOLDS; h++)
                run_candidate(w, k, h, arrivals, seconds);
        s->seen_arrivals += arrivals;
        s->seen_s += seconds;
    }
    turn(s);
    for (uint32_t k = 0; k < FORECASTS; k++)
        for (uint32_t h = 0; h < HOLDS; h++)
            take_forecast(s, k, h);
    if (s->steps % AGE_STEPS == 0)
        age(s, seconds);
    if (s->steps % CHOOSE_STEPS == 0 && s->seen_arrivals > 0)
        choose(w);
}
