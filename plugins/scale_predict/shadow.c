/* Shadows: every forecast, with every hold and margin, run on the arrivals that really came.
 *
 * Arrivals do not depend on how many members there are, so what another policy would have cost and whom it
 * would have let wait can be counted, not guessed: whole members after the start-up delay; Erlang's C for
 * whom chance makes wait, a fluid queue for what an overload leaves behind. The cheapest that kept the
 * objective is used. A season or a trend that is of no use never wins, a noisy load earns itself a margin,
 * and a calm one loses it. */
#include <float.h>
#include <string.h>

#include "predict.h"

#define DOUBT_DELAYS 2.0      /* so many start-up delays of what forecast errors let expect */
#define SAFETY       0.6      /* of the share is what the past may show: what comes is worse */
#define MEMORY_S     604800.0 /* sums fade by this time constant */
#define PRICE_FOLD   0.1
#define START_DELAYS 0.5 /* of running for nothing that a start counts for */
#define AGE_STEPS    64u
#define BETTER       0.998 /* a new choice must be cheaper than the old one by this */

/* A jump without any sign lets wait whoever comes before new members can. Before so many of them it is no
 * reason for a margin, only for holding what was needed, at this many member-seconds an exchange at most. */
#define JUMPS          1.5
#define SURPRISE_PRICE 0.1

/* Errors of forecasts: the first guess, as if seen for so long; no shorter tail than this is believed; and
 * how much faster than the mean error they are taken to become seldom. */
#define FIRST_ERROR 0.1
#define FIRST_S     20.0
#define ERRORS_S    3600.0
#define LEAST_ERROR 0.004
#define TAIL        2.0

/* Share of the exchanges that is over for what no error has shown yet: e-folding by 0.3 of the load. */
static const double unseen_at[MARGINS] = {
    4e-4,       4e-4,       4e-4,       4e-4,       3.80492e-4, 3.61935e-4, 3.38593e-4, 3.06371e-4,
    2.68128e-4, 2.19525e-4, 1.62628e-4, 1.05439e-4, 5.41341e-5, 1.99148e-5, 5.24949e-6, 5.09054e-7};
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
    s->best = 3 * FORECASTS + 1;
    s->margin = 1.4;
    for (uint32_t j = 0; j < CANDIDATES; j++) {
        s->candidates.excess[j] = FIRST_ERROR / 2;
        s->candidates.square[j] = FIRST_ERROR * FIRST_ERROR;
    }
}

/* Members for a load as a straight line of its margin, as in lanes.c. */
double shadow_members(struct work *w)
{
    const struct state *s = w->s;
    const double load = s->candidates.held[s->best] * service_plan_s(s), most = 1.5;
    const double low = staffing_slots(w, load) / w->slots, high = staffing_slots(w, load * most) / w->slots;
    return low + (high - low) / (most - 1) * (s->margin - 1);
}

/* Begins a new bucket of hold h: what was the most in those before is worked out anew. */
static void turn_hold(struct candidates *c, uint32_t h, uint32_t *slot)
{
    const uint32_t next = (*slot + 1) % BUCKETS, from = h * FORECASTS;
    if (h) /* the first one does not hold at all */
        for (uint32_t j = from; j < from + FORECASTS; j++) {
            const double left = c->buckets[next][j];
            double most = c->now[j] > c->before[j] ? c->now[j] : c->before[j];
            c->buckets[*slot][j] = c->now[j];
            c->buckets[next][j] = 0;
            if (left >= most) { /* what was the most is gone */
                most = 0;
                for (uint32_t i = 0; i < BUCKETS; i++)
                    most = c->buckets[i][j] > most ? c->buckets[i][j] : most;
            }
            c->before[j] = most;
        }
    memset(&c->now[from], 0, FORECASTS * sizeof *c->now);
    *slot = next;
}

/* The same of the sliding minimum. */
static void turn_lag(struct state *s, uint32_t count)
{
    struct candidates *c = &s->candidates;
    memcpy(c->lags[s->lag_slot], c->low, sizeof c->low);
    s->lag_slot = (s->lag_slot + 1) % count;
    memcpy(c->lags[s->lag_slot], c->held, sizeof c->held);
    for (uint32_t i = count; i < LAGS; i++)
        memcpy(c->lags[i], c->held, sizeof c->held);
    memcpy(c->low, c->held, sizeof c->held);
    memcpy(c->least, c->held, sizeof c->held);
    for (uint32_t i = 0; i < LAGS; i++)
        for (uint32_t j = 0; j < LANES; j++)
            c->least[j] = c->lags[i][j] < c->least[j] ? c->lags[i][j] : c->least[j];
}

static void turn(struct state *s)
{
    const uint64_t now = s->last_ns;
    for (uint32_t h = 0; h < HOLDS; h++) {
        if (now < s->hold_turn_ns[h])
            continue;
        const uint64_t bucket_ns = (uint64_t)(hold_bucket_s(s, h) * 1e9);
        s->hold_turn_ns[h] = bucket_ns ? now + bucket_ns - TICK_NS / 2 : now;
        turn_hold(&s->candidates, h, &s->hold_slot[h]);
    }
    if (now < s->lag_turn_ns)
        return;
    uint32_t count;
    s->lag_turn_ns = now + (uint64_t)(lag_bucket_s(s, &count) * 1e9) - TICK_NS / 2;
    turn_lag(s, count);
}

static void take_forecasts(struct state *s)
{
    struct candidates *c = &s->candidates;
    double forecasts[LANES] = {0};
    for (uint32_t h = 0; h < HOLDS; h++)
        memcpy(&forecasts[h * FORECASTS], s->forecasts, sizeof s->forecasts);
    memcpy(c->was, c->held, sizeof c->was);
    for (uint32_t j = 0; j < LANES; j++) {
        const double now = forecasts[j] > c->now[j] ? forecasts[j] : c->now[j];
        const double held = now > c->before[j] ? now : c->before[j];
        c->now[j] = now;
        c->held[j] = held;
        c->low[j] = held < c->low[j] ? held : c->low[j];
        c->least[j] = c->low[j] < c->least[j] ? c->low[j] : c->least[j];
    }
}

static void age(struct state *s, double seconds)
{
    const double keep = 1 - AGE_STEPS * seconds / MEMORY_S;
    for (uint32_t j = 0; j < CANDIDATES; j++) {
        struct shadows *x = &s->shadows[j];
        for (uint32_t m = 0; m < MARGINS; m++)
            x->over[m] *= keep;
        for (uint32_t m = 0; m < MARGINS; m++)
            x->cost[m] *= keep;
        x->surprised *= keep;
    }
    s->seen_arrivals *= keep;
    s->seen_s *= keep;
    s->jumps *= keep;
}

/* Member-seconds that one exchange over the objective may cost to avoid, while more are over than the share
 * allows. A margin whose e-folding of the share is a fraction of the load like PRICE_FOLD is worth that much
 * at the share. Without such a limit a load that jumps without any sign would be met with all margins there
 * are, for nothing. */
static double price(const struct work *w)
{
    return PRICE_FOLD * service_plan_s(w->s) / (w->slots * w->share * SAFETY);
}

/* What the past of a candidate lets expect beyond what was seen of it. */
struct tail {
    double often, fold; /* share of steps with an error, and how fast errors become seldom */
    double seen;        /* over objective, as of the margin that is looked at */
    double unseen;      /* share beyond what was seen, of errors like those before */
};

static struct tail tail_of(const struct candidates *c, uint32_t j)
{
    const double mean = c->square[j] / (2 * c->excess[j] + 1e-9), often = mean > 0 ? c->excess[j] / mean : 0;
    return (struct tail){
        .often = often, .fold = (mean > LEAST_ERROR ? mean : LEAST_ERROR) / TAIL, .unseen = often};
}

/* Who is expected to be over objective with margin m; called for one after the other. What was seen does not
 * end where it last was: it is taken to fall no faster than errors become seldom. Before much was seen, their
 * tail and a little for what no error has shown yet stand for some start-up delays. */
static double expect(struct tail *t, uint32_t m, double over, double doubt, double falls)
{
    t->seen *= falls;
    t->unseen *= m > SHADOW_PLAIN ? falls : 1;
    t->seen = over > t->seen ? over : t->seen;
    return t->seen + doubt * (t->unseen + unseen_at[m]);
}

/* Who is expected to be over by the ramps and jumps that were not seen: as if one had been, in the time that
 * it takes until one comes. Soon that is less than what was taken for it. */
static double expect_unseen(const struct state *s, double unseen)
{
    const double event = s->delay_s * s->seen_arrivals / s->seen_s;
    return s->seen_arrivals * event * unseen / (s->seen_arrivals * unseen + event);
}

/* Where the share is crossed between two margins, one between them keeps it exactly. */
static double between(const struct work *w, double before, double over, double allowed)
{
    const double low = over > 0.02 * allowed ? over : 0.02 * allowed;
    return w->math->log(before / allowed) / w->math->log(before / low);
}

/* What a candidate costs with its best margin: members, and what is over beyond the share at its price. What
 * is not below `best` need not be right: larger margins only cost more. */
static double best_margin(const struct work *w, uint32_t j, const double *falls, double best,
                          double *out_margin)
{
    const struct state *s = w->s;
    const struct shadows *x = &s->shadows[j];
    const double doubt = DOUBT_DELAYS * s->delay_s * s->seen_arrivals / s->seen_s;
    const double allowed = SAFETY * w->share * (s->seen_arrivals + doubt), dear = price(w);
    const double surprise = (dear < SURPRISE_PRICE ? dear : SURPRISE_PRICE) * x->surprised;
    struct tail t = tail_of(&s->candidates, j);
    double before = 0;
    best -= surprise;
    for (uint32_t m = 0; m < MARGINS && (!m || x->cost[m - 1] < best); m++) {
        const double over =
            expect(&t, m, x->over[m], doubt, falls[m]) + expect_unseen(s, s->prior[j % FORECASTS][m]);
        const double sum = x->cost[m] + (over > allowed ? dear * (over - allowed) : 0);
        if (sum < best) {
            best = sum;
            *out_margin = shadow_margins[m];
        }
        if (over < allowed && before > allowed) {
            const double part = between(w, before, over, allowed);
            const double cost = x->cost[m - 1] + part * (x->cost[m] - x->cost[m - 1]);
            if (cost < best) {
                best = cost;
                *out_margin = shadow_margins[m - 1] + part * (shadow_margins[m] - shadow_margins[m - 1]);
            }
        }
        before = over;
    }
    return best + surprise;
}

static void choose(struct work *w)
{
    struct state *s = w->s;
    double folds[CANDIDATES], falls[CANDIDATES][MARGINS];
    for (uint32_t j = 0; j < CANDIDATES; j++)
        folds[j] = tail_of(&s->candidates, j).fold;
    lanes_falls(folds, falls);
    prior_learn(w);
    double best = BETTER * best_margin(w, s->best, falls[s->best], DBL_MAX, &s->margin);
    for (uint32_t k = 0; k < FORECASTS; k++)
        for (uint32_t h = 0; h < HOLDS; h++) {
            const uint32_t j = h * FORECASTS + k;
            double margin = 0;
            const double cost = best_margin(w, j, falls[j], best, &margin);
            if (!(margin > 0))
                continue;
            best = cost;
            s->margin = margin;
            s->best = j;
        }
}

/* A rate without the chance of single arrivals: as far as counts differ by no more than that has it, the mean
 * of a longer time is nearer to it. */
static double calm_rate(const struct state *s, double rate, double longer_s)
{
    const double slow = rates_mean(s, longer_s, 0, s->change_ns);
    return slow + (1 - 1 / s->dispersion) * (rate - slow);
}

/* What the step brought, beside what every candidate had planned for it. */
static void put_aside(struct work *w, double arrivals, double seconds)
{
    struct state *s = w->s;
    struct batch *b = &s->batch;
    const double rate = calm_rate(s, arrivals / seconds, 8), known = s->seen_s + FIRST_S;
    const double some = calm_rate(s, rates_mean(s, 8, 0, s->change_ns), 32);
    const bool is_surprise =
        s->jumps < JUMPS && s->jump_ns && rates_seconds(s->jump_ns, s->last_ns) < 1.25 * s->delay_s + 4;
    if (!b->count)
        memcpy(b->was, s->candidates.was, sizeof b->was);
    memcpy(b->held[b->count], s->candidates.held, sizeof *b->held);
    memcpy(b->least[b->count], s->candidates.least, sizeof *b->least);
    b->came[b->count++] = (struct came){.arrivals = arrivals,
                                        .seconds = seconds,
                                        .rate = rate,
                                        .load = some * service_plan_s(s),
                                        .service_s = service_plan_s(s),
                                        .slots = w->slots,
                                        .relief = seconds / (seconds + s->delay_s),
                                        .start_s = START_DELAYS * s->delay_s,
                                        .error_part = seconds / (known < ERRORS_S ? known : ERRORS_S),
                                        .is_surprise = is_surprise};
    s->seen_arrivals += arrivals;
    s->seen_s += seconds;
}

void shadow_step(struct work *w, double arrivals, double seconds)
{
    struct state *s = w->s;
    /* A jump is one surprise until members that were ordered then have come. */
    if (s->change_ns > s->since_ns && s->change_ns > s->jump_ns + (uint64_t)(s->delay_s * 1e9)) {
        s->jump_ns = s->change_ns;
        s->jumps += 1;
    }
    /* What was in service is known from a start-up delay after the first forecast on, and not after a gap. */
    if (seconds < 10 && rates_seconds(s->since_ns, s->last_ns) > 4 + 1.4 * s->delay_s)
        put_aside(w, arrivals, seconds);
    else
        lanes_run(w);
    turn(s);
    take_forecasts(s);
    if (s->steps % CHOOSE_STEPS == 0 || s->batch.count == BATCH)
        lanes_run(w);
    if (s->steps % AGE_STEPS == 0)
        age(s, seconds);
    if (s->steps % CHOOSE_STEPS == 0 && s->seen_arrivals > 0)
        choose(w);
}
