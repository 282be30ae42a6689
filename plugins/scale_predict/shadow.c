/* Shadows: every forecast, with every hold and margin, run on the arrivals that really came.
 *
 * Arrivals do not depend on how many members there are, so what another policy would have cost and whom it
 * would have let wait can be counted, not guessed: whole members after the start-up delay; Erlang's C for
 * whom chance makes wait, a fluid queue for what an overload leaves behind. The cheapest that kept the
 * objective is used. A season or a trend that is of no use never wins, a noisy load earns itself a margin,
 * and a calm one loses it. */
#include "predict.h"

#define DOUBT_DELAYS 2.0      /* so many start-up delays of what forecast errors let expect */
#define SAFETY       0.6      /* of the share is what the past may show: what comes is worse */
#define MEMORY_S     604800.0 /* sums fade by this time constant */
#define PRICE_FOLD   0.1
#define START_DELAYS 0.5 /* of running for nothing that a start counts for */
#define AGE_STEPS    64u
#define CHOOSE_STEPS 8u
#define BETTER       0.998 /* a new choice must be cheaper than the old one by this */

/* A jump without any sign lets wait whoever comes before new members can. Before so many of them it is no
 * reason for a margin, only for holding what was needed, at this many member-seconds an exchange at most. */
#define JUMPS          1.5
#define SURPRISE_PRICE 0.1

/* Errors of forecasts: the first guess, as if seen for so long; no shorter tail than this is believed; how
 * much faster than the mean error they are taken to become seldom; and what is beyond them. */
#define FIRST_ERROR 0.1
#define FIRST_S     20.0
#define ERRORS_S    3600.0
#define LEAST_ERROR 0.004
#define TAIL        2.0
#define UNSEEN      4e-4
#define UNSEEN_FOLD 0.3

static const double margins[MARGINS] = {0.94, 0.96, 0.98, 1.0, 1.015, 1.03, 1.05, 1.08,
                                        1.12, 1.18, 1.27, 1.4, 1.6,   1.9,  2.3,  3.0};
#define PLAIN 3u /* margins[PLAIN] is none */
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
    for (uint32_t k = 0; k < FORECASTS; k++)
        for (uint32_t h = 0; h < HOLDS; h++) {
            s->candidates[k][h].excess = FIRST_ERROR / 2;
            s->candidates[k][h].square = FIRST_ERROR * FIRST_ERROR;
        }
}

/* Members for a load as a straight line of its margin: what is above the load grows so slowly that this will
 * do. */
struct line {
    double at_one, slope; /* in members */
};

static struct line members_line(const struct work *w, double rate)
{
    const struct staffing *t = &w->s->staffing;
    const double load = rate * service_plan_s(w->s), most = 1.5;
    const double low = staffing_slots(t, load) / w->slots, high = staffing_slots(t, load * most) / w->slots;
    return (struct line){.at_one = low, .slope = (high - low) / (most - 1)};
}

double shadow_members(const struct work *w)
{
    const struct state *s = w->s;
    const struct line l = members_line(w, s->candidates[s->best_forecast][s->best_hold].held);
    return l.at_one + l.slope * (s->margin - 1);
}

static double whole_members(const struct line *l, double margin)
{
    const double members = l->at_one + l->slope * (margin - 1);
    const int32_t down = (int32_t)members;
    const double up = (double)(down + ((double)down < members - 1e-9));
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

/* What came in a step, and whom it would have let wait with so many slots. */
struct came {
    double arrivals, seconds;
    double load, rate;      /* without the chance of single arrivals */
    double width;           /* of a point of the curve */
    double over[CURVE + 1]; /* by slots above the load; < 0: not worked out yet */
    bool is_surprise;
};

static double came_over(const struct work *w, struct came *c, double slots)
{
    double x = (slots - c->load) / c->width;
    if (x >= CURVE)
        return 0;
    x = x > 0 ? x : 0;
    const uint32_t i = (uint32_t)x;
    for (uint32_t j = i; j <= i + 1; j++)
        if (c->over[j] < 0)
            c->over[j] = j < CURVE ? staffing_share(w, c->load, c->load + 1 + j * c->width) : 0;
    return c->over[i] + (c->over[i + 1] - c->over[i]) * (x - i);
}

/* Errors of the planned rate: what their tail looks like, before anybody had to wait for it. */
static void learn_errors(const struct work *w, struct candidate *c, double least, const struct came *came)
{
    if (!(least > 0) || came->is_surprise)
        return;
    const double e = came->rate > least ? w->math->log(came->rate / least) : 0;
    const double known = w->s->seen_s + FIRST_S;
    const double part = came->seconds / (known < ERRORS_S ? known : ERRORS_S);
    c->excess += (e - c->excess) * part;
    c->square += (e * e - c->square) * part;
}

/* Part of the step's arrivals that wait for too long behind so many members. */
static double run_one(const struct work *w, struct came *came, double members, double each, double *backlog,
                      double *cost)
{
    const double rate = members * each, before = *backlog;
    double part = came_over(w, came, members * w->slots);
    double left = before + came->arrivals - rate * came->seconds;
    left = left > 0 ? left : 0;
    if (left > 0 || before > 0) {
        const double fluid = part_over(before / rate, left / rate, w->wait_s);
        part = fluid > part ? fluid : part;
        /* What waits for long is worked off by members that are added for it. */
        const double relief = left * came->seconds / (came->seconds + w->s->delay_s);
        *cost += relief / each;
        *backlog = came->is_surprise ? 0 : left - relief;
    }
    return part;
}

static double least_of(const struct candidate *c)
{
    double least = c->held;
    for (uint32_t i = 0; i < LAGS; i++)
        least = c->least[i] < least ? c->least[i] : least;
    return least;
}

static void run_candidate(struct work *w, uint32_t k, uint32_t h, struct came *came)
{
    struct state *s = w->s;
    struct candidate *c = &s->candidates[k][h];
    struct shadows *x = &s->shadows[k][h];
    const double least = least_of(c);
    learn_errors(w, c, least, came);
    const bool is_same = c->was == c->held, is_level = least == c->held; /* nearly always */
    const struct line ordered = members_line(w, c->held);
    const struct line before = is_same ? ordered : members_line(w, c->was);
    const struct line ready = is_level ? ordered : members_line(w, least);
    const double each = w->slots / service_plan_s(s), start = START_DELAYS * s->delay_s;
    const double roomy = (came->load + CURVE * came->width) / w->slots; /* nobody waits by chance */
    for (uint32_t m = 0; m < MARGINS; m++) {
        const double n = whole_members(&ordered, margins[m]);
        x->cost[m] += n * came->seconds;
        /* Each start costs a little of itself, or whoever follows every wave would win by a hair. */
        const double was = is_same ? n : whole_members(&before, margins[m]);
        x->cost[m] += n > was ? (n - was) * start : 0;
        const double members = is_level ? n : whole_members(&ready, margins[m]);
        if (members >= roomy && !(x->backlog[m] > 0) && came->arrivals <= members * each * came->seconds)
            continue;
        const double over = came->arrivals * run_one(w, came, members, each, &x->backlog[m], &x->cost[m]);
        if (!came->is_surprise)
            x->over[m] += over;
        else if (m == PLAIN)
            x->surprised += over;
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
                s->shadows[k][h].over[m] *= keep;
                s->shadows[k][h].cost[m] *= keep;
            }
    for (uint32_t k = 0; k < FORECASTS; k++)
        for (uint32_t h = 0; h < HOLDS; h++)
            s->shadows[k][h].surprised *= keep;
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

/* Who is expected to be over objective with each margin. What was seen does not end where it last was: it is
 * taken to fall no faster than errors become seldom. Before much was seen, their tail and a little for what
 * no error has shown yet stand for some start-up delays. */
static void expect(const struct work *w, uint32_t k, uint32_t h, double doubt, double *out_over)
{
    const struct candidate *c = &w->s->candidates[k][h];
    const struct shadows *x = &w->s->shadows[k][h];
    const double mean = c->square / (2 * c->excess + 1e-9), often = mean > 0 ? c->excess / mean : 0;
    const double fold = (mean > LEAST_ERROR ? mean : LEAST_ERROR) / TAIL;
    double seen = 0;
    for (uint32_t m = 0; m < MARGINS; m++) {
        const double above = margins[m] > 1 ? margins[m] - 1 : 0;
        const double unseen =
            often * w->math->exp(-above / fold) + UNSEEN * w->math->exp(-above / UNSEEN_FOLD);
        if (m)
            seen *= w->math->exp((margins[m - 1] - margins[m]) / fold);
        seen = x->over[m] > seen ? x->over[m] : seen;
        out_over[m] = seen + doubt * unseen;
    }
}

/* What a candidate costs with its best margin: members, and what is over beyond the share at its price. */
static double best_margin(const struct work *w, uint32_t k, uint32_t h, double *out_margin)
{
    const struct state *s = w->s;
    const struct shadows *x = &s->shadows[k][h];
    const double doubt = DOUBT_DELAYS * s->delay_s * s->seen_arrivals / s->seen_s;
    const double allowed = SAFETY * w->share * (s->seen_arrivals + doubt), dear = price(w);
    double best = 0, over[MARGINS];
    expect(w, k, h, doubt, over);
    for (uint32_t m = 0; m < MARGINS; m++) {
        const double sum = x->cost[m] + (over[m] > allowed ? dear * (over[m] - allowed) : 0);
        if (!m || sum < best) {
            best = sum;
            *out_margin = margins[m];
        }
        /* Where the share is crossed between two margins, one between them keeps it exactly. */
        if (m && over[m - 1] > allowed && over[m] < allowed) {
            const double low = over[m] > 0.02 * allowed ? over[m] : 0.02 * allowed;
            const double part = w->math->log(over[m - 1] / allowed) / w->math->log(over[m - 1] / low);
            const double between = x->cost[m - 1] + part * (x->cost[m] - x->cost[m - 1]);
            if (between < best) {
                best = between;
                *out_margin = margins[m - 1] + part * (margins[m] - margins[m - 1]);
            }
        }
    }
    return best + (dear < SURPRISE_PRICE ? dear : SURPRISE_PRICE) * x->surprised;
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

/* A rate without the chance of single arrivals: as far as counts differ by no more than that has it, the mean
 * of a longer time is nearer to it. */
static double calm_rate(const struct state *s, double rate, double longer_s)
{
    const double slow = rates_mean(s, longer_s, 0, s->change_ns);
    return slow + (1 - 1 / s->dispersion) * (rate - slow);
}

static void run_all(struct work *w, double arrivals, double seconds)
{
    struct state *s = w->s;
    const double rate = calm_rate(s, arrivals / seconds, 8);
    const double some = calm_rate(s, rates_mean(s, 8, 0, s->change_ns), 32);
    struct came came = {.arrivals = arrivals,
                        .seconds = seconds,
                        .rate = rate,
                        .load = some * service_plan_s(s),
                        .is_surprise = s->jumps < JUMPS && s->jump_ns &&
                                       rates_seconds(s->jump_ns, s->last_ns) < 1.25 * s->delay_s + 4};
    came.width = staffing_reach(w, came.load) / CURVE;
    for (uint32_t i = 0; i <= CURVE; i++)
        came.over[i] = -1;
    for (uint32_t k = 0; k < FORECASTS; k++)
        for (uint32_t h = 0; h < HOLDS; h++)
            run_candidate(w, k, h, &came);
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
        run_all(w, arrivals, seconds);
    turn(s);
    for (uint32_t k = 0; k < FORECASTS; k++)
        for (uint32_t h = 0; h < HOLDS; h++)
            take_forecast(s, k, h);
    if (s->steps % AGE_STEPS == 0)
        age(s, seconds);
    if (s->steps % CHOOSE_STEPS == 0 && s->seen_arrivals > 0)
        choose(w);
}
