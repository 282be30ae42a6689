/* Shadows: every forecast, with every hold and margin, run on the arrivals that really came.
 *
 * Arrivals do not depend on how many members there are, so what another policy would have cost and whom it
 * would have let wait can be counted, not guessed: whole members after the start-up delay; Erlang's C for
 * whom chance makes wait, a fluid queue for what an overload leaves behind. The cheapest that kept the
 * objective is used. A season or a trend that is of no use never wins, a noisy load earns itself a margin,
 * and a calm one loses it. */
#include <float.h>

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

/* Errors of forecasts: the first guess, as if seen for so long; no shorter tail than this is believed; and
 * how much faster than the mean error they are taken to become seldom. */
#define FIRST_ERROR 0.1
#define FIRST_S     20.0
#define ERRORS_S    3600.0
#define LEAST_ERROR 0.004
#define TAIL        2.0

static const double margins[MARGINS] = {0.94, 0.96, 0.98, 1.0, 1.015, 1.03, 1.05, 1.08,
                                        1.12, 1.18, 1.27, 1.4, 1.6,   1.9,  2.3,  3.0};
#define PLAIN 3u /* margins[PLAIN] is none */
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

/* Members by margin, rounded up, at least one. Without branches and without calls: compilers make vectors of
 * it. Adding and taking away 2^52 rounds to the nearest whole number. */
static void members_by_margin(const struct line *l, double *restrict out)
{
    const double big = 4503599627370496.0, slope = l->slope, at_none = l->at_one - slope + 0.5 - 1e-9;
    for (uint32_t m = 0; m < MARGINS; m++)
        out[m] = (at_none + slope * margins[m] + big) - big;
    for (uint32_t m = 0; m < MARGINS && out[m] < 1; m++)
        out[m] = 1;
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
    double load, rate;       /* without the chance of single arrivals */
    double width, per_width; /* of a point of the curve, and its inverse */
    double each, per_each;   /* exchanges a second of one member, and its inverse */
    double enough;           /* members: nobody waits, by chance or for want of them */
    double relief;           /* part of what waits that is worked off */
    double members, part;    /* the last count that was asked for, and what it let wait */
    double over[CURVE + 1];  /* by slots above the load; < 0: not worked out yet */
    bool is_surprise;
};

static double came_over(const struct work *w, struct came *c, double slots)
{
    double x = (slots - c->load) * c->per_width;
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
static double run_one(const struct work *w, struct came *came, double members, double *backlog, double *cost)
{
    const double rate = members * came->each, before = *backlog;
    if (members != came->members) { /* most margins come to the same count as the one before */
        came->members = members;
        came->part = came_over(w, came, members * w->slots);
    }
    double part = came->part;
    double left = before + came->arrivals - rate * came->seconds;
    left = left > 0 ? left : 0;
    if (left > 0 || before > 0) {
        const double inverse = 1 / rate, fluid = part_over(before * inverse, left * inverse, w->wait_s);
        part = fluid > part ? fluid : part;
        /* What waits for long is worked off by members that are added for it. */
        const double relief = left * came->relief;
        *cost += relief * came->per_each;
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

__attribute__((noinline)) static void pay(const double *restrict n, double seconds, double *restrict cost)
{
    for (uint32_t m = 0; m < MARGINS; m++)
        cost[m] += n[m] * seconds;
}

/* Each start costs a little of itself, or whoever follows every wave would win by a hair. */
__attribute__((noinline)) static void pay_starts(const double *restrict n, const double *restrict was, double start,
                       double *restrict cost)
{
    for (uint32_t m = 0; m < MARGINS; m++)
        cost[m] += (n[m] > was[m] ? n[m] - was[m] : 0) * start;
}

/* Whom so many members by margin let wait. More of them let fewer wait: from the first margin on that lets
 * nobody, none does. */
static void serve(struct work *w, struct shadows *x, const double *ready, struct came *came)
{
    for (uint32_t m = 0; m < MARGINS; m++) {
        if (ready[m] >= came->enough && !(x->backlog[m] > 0))
            return;
        const double over = came->arrivals * run_one(w, came, ready[m], &x->backlog[m], &x->cost[m]);
        if (!came->is_surprise)
            x->over[m] += over;
        else if (m == PLAIN)
            x->surprised += over;
    }
}

static void run_candidate(struct work *w, uint32_t k, uint32_t h, struct came *came)
{
    struct candidate *c = &w->s->candidates[k][h];
    struct shadows *x = &w->s->shadows[k][h];
    const double least = least_of(c);
    double n[MARGINS], other[MARGINS];
    learn_errors(w, c, least, came);
    const struct line ordered = members_line(w, c->held);
    members_by_margin(&ordered, n);
    pay(n, came->seconds, x->cost);
    if (c->was < c->held) {
        const struct line before = members_line(w, c->was);
        members_by_margin(&before, other);
        pay_starts(n, other, START_DELAYS * w->s->delay_s, x->cost);
    }
    if (least < c->held) {
        const struct line line = members_line(w, least);
        members_by_margin(&line, other);
    }
    serve(w, x, least < c->held ? other : n, came);
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

/* What the past of a candidate lets expect beyond what was seen of it. */
struct tail {
    double often, fold; /* share of steps with an error, and how fast errors become seldom */
    double seen;        /* over objective, as of the margin that is looked at */
    double unseen;      /* share beyond what was seen, of errors like those before */
};

static struct tail tail_of(const struct candidate *c)
{
    const double mean = c->square / (2 * c->excess + 1e-9), often = mean > 0 ? c->excess / mean : 0;
    return (struct tail){
        .often = often, .fold = (mean > LEAST_ERROR ? mean : LEAST_ERROR) / TAIL, .unseen = often};
}

/* Who is expected to be over objective with margin m; called for one after the other. What was seen does not
 * end where it last was: it is taken to fall no faster than errors become seldom. Before much was seen, their
 * tail and a little for what no error has shown yet stand for some start-up delays. */
static double expect(const struct work *w, struct tail *t, uint32_t m, double over, double doubt)
{
    if (m) {
        const double falls = w->math->exp((margins[m - 1] - margins[m]) / t->fold);
        t->seen *= falls;
        t->unseen *= m > PLAIN ? falls : 1;
    }
    t->seen = over > t->seen ? over : t->seen;
    return t->seen + doubt * (t->unseen + unseen_at[m]);
}

/* Where the share is crossed between two margins, one between them keeps it exactly. */
static double between(const struct work *w, double before, double over, double allowed)
{
    const double low = over > 0.02 * allowed ? over : 0.02 * allowed;
    return w->math->log(before / allowed) / w->math->log(before / low);
}

/* What a candidate costs with its best margin: members, and what is over beyond the share at its price. What
 * is not below `best` need not be right: larger margins only cost more. */
static double best_margin(const struct work *w, uint32_t k, uint32_t h, double best, double *out_margin)
{
    const struct state *s = w->s;
    const struct shadows *x = &s->shadows[k][h];
    const double doubt = DOUBT_DELAYS * s->delay_s * s->seen_arrivals / s->seen_s;
    const double allowed = SAFETY * w->share * (s->seen_arrivals + doubt), dear = price(w);
    const double surprise = (dear < SURPRISE_PRICE ? dear : SURPRISE_PRICE) * x->surprised;
    struct tail t = tail_of(&s->candidates[k][h]);
    double before = 0;
    best -= surprise;
    for (uint32_t m = 0; m < MARGINS && (!m || x->cost[m - 1] < best); m++) {
        const double over = expect(w, &t, m, x->over[m], doubt);
        const double sum = x->cost[m] + (over > allowed ? dear * (over - allowed) : 0);
        if (sum < best) {
            best = sum;
            *out_margin = margins[m];
        }
        if (over < allowed && before > allowed) {
            const double part = between(w, before, over, allowed);
            const double cost = x->cost[m - 1] + part * (x->cost[m] - x->cost[m - 1]);
            if (cost < best) {
                best = cost;
                *out_margin = margins[m - 1] + part * (margins[m] - margins[m - 1]);
            }
        }
        before = over;
    }
    return best + surprise;
}

static void choose(struct work *w)
{
    struct state *s = w->s;
    double best = BETTER * best_margin(w, s->best_forecast, s->best_hold, DBL_MAX, &s->margin);
    for (uint32_t k = 0; k < FORECASTS; k++)
        for (uint32_t h = 0; h < HOLDS; h++) {
            double margin = 0;
            const double cost = best_margin(w, k, h, best, &margin);
            if (!(margin > 0))
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
    came.each = w->slots / service_plan_s(s);
    came.per_each = 1 / came.each;
    came.enough = (came.load + CURVE * came.width) / w->slots;
    if (came.enough < arrivals / (came.each * seconds))
        came.enough = arrivals / (came.each * seconds);
    came.relief = seconds / (seconds + s->delay_s);
    came.per_width = 1 / came.width;
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
