/* Shadows: every forecast, with every hold and margin, run on the arrivals that really came.
 *
 * Arrivals do not depend on how many members there are, so what another policy would have cost and whom it
 * would have let wait can be counted, not guessed: a fluid queue each, with the start-up delay and whole
 * members. The cheapest that kept the objective is used. A season or a trend that is of no use never wins, a
 * noisy load earns itself a margin, and a calm one loses it. */
#include "predict.h"

#define PRIOR_S      40.0     /* so many seconds of doubt: no margin is trusted before it was seen to do */
#define MEMORY_S     604800.0 /* sums fade by this time constant */
#define AGE_STEPS    64u
#define CHOOSE_STEPS 8u
#define BETTER       0.995 /* a new choice must be cheaper than the old one by this */

static const double margins[MARGINS] = {1.0, 1.015, 1.03, 1.05, 1.08, 1.12, 1.18, 1.27, 1.4, 1.6, 2.0, 3.0};
/* Share over the objective that is expected of a margin before anything was seen. */
static const double prior[MARGINS] = {4e-2,   3.2e-2, 2.6e-2, 2e-2,   1.3e-2, 8e-3,
                                      4.5e-3, 2e-3,   7e-4,   1.5e-4, 1e-5,   1e-7};
static const double hold_delays[HOLDS] = {1, 4, 16, 64};

/* Length of one bucket of a sliding maximum: whole steps. */
static double hold_bucket_s(const struct state *s, uint32_t h)
{
    double seconds = hold_delays[h] * s->delay_s / BUCKETS;
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
    s->best_hold = 2;
    s->margin = 1.4;
}

static double whole_members(const struct work *w, double rate)
{
    const struct staffing *t = &w->s->staffing;
    const double members = staffing_slots(t, rate * service_plan_s(w->s)) / w->slots;
    const double down = (double)(int64_t)members;
    const double up = down < members ? down + 1 : down;
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

static void run_one(const struct work *w, struct shadow *x, double ordered, double ready, double arrivals,
                    double seconds)
{
    const double rate = ready * w->slots / service_plan_s(w->s);
    double left = x->backlog + arrivals - rate * seconds;
    left = left > 0 ? left : 0;
    if (left > 0 || x->backlog > 0)
        x->over += arrivals * part_over(x->backlog / rate, left / rate, w->wait_s);
    x->backlog = left;
    x->cost += ordered * seconds;
}

/* Whole members change seldom from one step to the next, but staffing is cheap enough not to remember them.
 */
static void run_candidate(const struct work *w, uint32_t k, uint32_t h, double arrivals, double seconds)
{
    const struct candidate *c = &w->s->candidates[k][h];
    double least = c->held;
    for (uint32_t i = 0; i < LAGS; i++)
        least = c->least[i] < least ? c->least[i] : least;
    for (uint32_t m = 0; m < MARGINS; m++)
        run_one(w, &w->s->shadows[k][h][m], whole_members(w, c->held * margins[m]),
                whole_members(w, least * margins[m]), arrivals, seconds);
}

/* Turns the buckets of the sliding maxima and of the sliding minimum when their time has come. */
static void turn(struct state *s)
{
    const uint64_t now = s->last_ns;
    for (uint32_t h = 0; h < HOLDS; h++) {
        if (now < s->hold_turn_ns[h])
            continue;
        s->hold_turn_ns[h] = now + (uint64_t)(hold_bucket_s(s, h) * 1e9) - TICK_NS / 2;
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
    double most = 0;
    for (uint32_t i = 0; i < BUCKETS; i++)
        most = c->most[i] > most ? c->most[i] : most;
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

/* The least margin of a candidate that keeps the objective, and what it would have cost. */
static double cheapest_margin(const struct work *w, uint32_t k, uint32_t h, double *out_cost)
{
    const struct state *s = w->s;
    const struct shadow *x = s->shadows[k][h];
    const double doubt = PRIOR_S * s->seen_arrivals / s->seen_s;
    double before = 1;
    for (uint32_t m = 0; m < MARGINS; m++) {
        double share = (x[m].over + prior[m] * doubt) / (s->seen_arrivals + doubt);
        share = share < before ? share : before * 0.999;
        if (share <= w->share || m == MARGINS - 1) {
            if (!m || share > w->share) {
                *out_cost = x[m].cost;
                return margins[m];
            }
            const double part = w->math->log(before / w->share) / w->math->log(before / share);
            *out_cost = x[m - 1].cost + part * (x[m].cost - x[m - 1].cost);
            return margins[m - 1] + part * (margins[m] - margins[m - 1]);
        }
        before = share;
    }
    return margins[MARGINS - 1];
}

static void choose(struct work *w)
{
    struct state *s = w->s;
    double best_cost, cost;
    double best = cheapest_margin(w, s->best_forecast, s->best_hold, &best_cost);
    best_cost *= BETTER;
    for (uint32_t k = 0; k < FORECASTS; k++)
        for (uint32_t h = 0; h < HOLDS; h++) {
            const double m = cheapest_margin(w, k, h, &cost);
            if (cost >= best_cost)
                continue;
            best_cost = cost;
            best = m;
            s->best_forecast = k;
            s->best_hold = h;
        }
    s->margin = best;
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
