/* engine_sum: the aggregated engine. It keeps how many are in flight and steps them on as a birth-and-death
 * process, in steps of a quarter of the service time or of the objective, and in one step a tick when there
 * are so many slots that none can come to wait. Who waits is kept in groups of one step's arrivals, first
 * come first served. */
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "run.h"

struct group {
    double from_s, length_s; /* when they came */
    uint64_t all, count;     /* and how many are still there */
};

/* What a length of time means to those in service, of exponential law: how many are still there at its end,
 * and how long, of it, is spent with those that were there before, or came in it. */
struct piece {
    double length_s, mean_s;
    struct thin left;          /* of those who were there, the share that has left at its end */
    struct thin left_newly;    /* … and of those who came */
    double rest_s, rest_var;   /* time in it of one who was there and left, or of one who came and stayed */
    double whole_s, whole_var; /* of one who came and left */
};

struct sums {
    struct run *r;
    struct group *groups; /* owned: a ring */
    size_t head, count, cap;
    struct piece pieces[3]; /* of the lengths in use: a tick, four steps, a step */
    double age_s;           /* sum of what those in service have had of it */
    double fractions[COX_SERVICE_BUCKETS], fractions_mean_s; /* of the exponential law with that mean */
    double carries[COX_SERVICE_BUCKETS];
    uint64_t filled; /* services that the histogram has */
    double filled_sum_s;
    uint32_t first, last; /* fractions that matter */
    bool is_observed;     /* the policy is a plugin, which may look at the histogram */
    bool has_touched;     /* somebody waited in the last step, if not at its end */
    bool is_told;         /* of this tick's waiting: once */
};

/* ---- who waits ---- */

static struct group *group_at(struct sums *s, size_t i)
{
    return &s->groups[(s->head + i) % s->cap];
}

static void group_push(struct sums *s, struct group g)
{
    if (g.count == 0)
        return;
    if (s->count == s->cap) {
        struct group *wider = must(malloc((s->cap ? s->cap * 2 : 256) * sizeof(*wider)));
        for (size_t i = 0; i < s->count; i++)
            wider[i] = *group_at(s, i);
        free(s->groups);
        s->groups = wider;
        s->head = 0;
        s->cap = s->cap ? s->cap * 2 : 256;
    }
    s->groups[(s->head + s->count++) % s->cap] = g;
}

static void group_take(struct sums *s, uint64_t n)
{
    struct group *g = group_at(s, 0);
    g->count -= n;
    if (g->count == 0) {
        s->head = (s->head + 1) % s->cap;
        s->count--;
    }
}

/* Share above the objective of waits that lie evenly between the two, the smaller one first. */
static double late_share(double first_s, double last_s, double objective_s)
{
    if (first_s >= objective_s || last_s <= objective_s)
        return first_s >= objective_s;
    return (last_s - objective_s) / (last_s - first_s);
}

/* Sends the first n in line, spread evenly over the step that begins at `from_s`. Who is in a group came
 * evenly spread, too, and in the same order. */
static void send(struct sums *s, uint64_t n, double from_s, double step_s)
{
    struct run *r = s->r;
    for (uint64_t done = 0; done < n && s->count;) {
        const struct group g = *group_at(s, 0);
        const uint64_t k = g.count < n - done ? g.count : n - done, before = g.all - g.count;
        const double each = step_s / (double)n, spread = g.length_s / (double)g.all;
        double first = from_s + each * (double)done - g.from_s - spread * (double)before;
        double last = first + (each - spread) * (double)k;
        if (g.from_s == from_s) { /* came and went in one step */
            first = last = 0.0;
        } else if (first > last) {
            const double swap = first;
            first = last;
            last = swap;
        }
        const double blur =
            g.from_s == from_s ? 0.0 : 0.7 * step_s / sqrt((double)g.all); /* few are not so even */
        const double late = late_share(first - blur, last + blur, r->config->law.objective_s);
        run_sent(r, g.from_s, fmax(0.0, (first + last) / 2.0), (double)k, late * (double)k);
        r->totals.waited += g.from_s == from_s ? 0 : k;
        group_take(s, k);
        done += k;
    }
}

static void give_up(struct sums *s)
{
    struct run *r = s->r;
    while (s->count && r->now_s - group_at(s, 0)->from_s > r->config->patience_s) {
        const struct group g = *group_at(s, 0);
        run_lost(r, g.from_s, (double)g.count);
        r->totals.abandoned += g.count;
        r->result.abandoned += g.from_s >= 0.0 ? (double)g.count : 0.0;
        r->held -= g.count;
        group_take(s, g.count);
    }
}

/* ---- service ---- */

static void learn_fractions(struct sums *s, double mean_s)
{
    double below = 0.0;
    for (uint32_t i = 0; i < COX_SERVICE_BUCKETS; i++) {
        const double upto = i + 1 < COX_SERVICE_BUCKETS
                                ? 1.0 - exp(-cox_service_bucket_floor_ns(i + 1) / (mean_s * 1e9))
                                : 1.0;
        s->fractions[i] = upto - below;
        below = upto;
    }
    s->fractions_mean_s = mean_s;
    s->first = 0;
    s->last = COX_SERVICE_BUCKETS - 1;
    while (s->fractions[s->first] < 1e-7)
        s->first++;
    while (s->fractions[s->last] < 1e-7)
        s->last--;
}

/* n services ended; their sum was sum_s. */
static void completed(struct sums *s, uint64_t n, double sum_s, double mean_s)
{
    struct totals *t = &s->r->totals;
    t->completed += n;
    t->service_count += n;
    t->service_sum_s += sum_s;
    t->service_square_s2 += 2.0 * mean_s * sum_s;
}

/* Once a second, as in the program: the histogram gets what the law expects of the services that ended,
 * fractions carried on. */
static void fill_buckets(struct sums *s)
{
    struct totals *t = &s->r->totals;
    const uint64_t n = t->service_count - s->filled;
    if (!s->is_observed || n == 0 || !run_is_second(s->r))
        return;
    const double mean = fmax((t->service_sum_s - s->filled_sum_s) / (double)n, 1e-6);
    s->filled = t->service_count;
    s->filled_sum_s = t->service_sum_s;
    if (fabs(mean / s->fractions_mean_s - 1.0) > 0.2)
        learn_fractions(s, mean);
    for (uint32_t i = s->first; i <= s->last; i++) {
        s->carries[i] += (double)n * s->fractions[i];
        const int64_t whole = (int64_t)s->carries[i];
        t->buckets[i] += (uint64_t)whole;
        s->carries[i] -= (double)whole;
    }
}

static uint64_t slots(const struct run *r)
{
    return (uint64_t)r->fleet.ready * r->config->law.slots;
}

static struct piece piece_of(double length_s, double mean_s)
{
    const double a = length_s / mean_s, e = exp(-a), gone = 1.0 - e, newcomers = a - gone;
    /* in units of the mean service: residual times cut off at a; then the law (a − x)·exp(−x) */
    const double rest = 1.0 - a * e / gone, rest2 = 2.0 - (a * a + 2.0 * a) * e / gone;
    const double tail2 = 2.0 - e * (a * a + 2.0 * a + 2.0);
    const double tail3 = 6.0 - e * (a * a * a + 3.0 * a * a + 6.0 * a + 6.0);
    const double whole = (a * (1.0 - e * (1.0 + a)) - tail2) / newcomers;
    const double whole2 = (a * tail2 - tail3) / newcomers;
    return (struct piece){.length_s = length_s,
                          .mean_s = mean_s,
                          .left.p = gone,
                          .left_newly.p = 1.0 - gone / a,
                          .rest_s = rest * mean_s,
                          .rest_var = fmax(0.0, rest2 - rest * rest) * mean_s * mean_s,
                          .whole_s = whole * mean_s,
                          .whole_var = fmax(0.0, whole2 - whole * whole) * mean_s * mean_s};
}

/* Kept until one of another length or mean is asked for in its place. */
enum { PIECE_TICK, PIECE_FOUR, PIECE_STEP, PIECES };

static struct piece *piece(struct sums *s, size_t place, double length_s, double mean_s)
{
    struct piece *p = &s->pieces[place];
    if (p->length_s != length_s || p->mean_s != mean_s) {
        thin_free(&p->left);
        thin_free(&p->left_newly);
        *p = piece_of(length_s, mean_s);
    }
    return p;
}

/* So many of those in service leave after what they had before: takes it out of the sum of the ages, and says
 * how much it was. Ages are exponential, and who leaves is any of them. */
static double take_ages(struct sums *s, uint64_t leave, uint64_t all)
{
    if (!leave)
        return 0.0;
    const double share = (double)leave / (double)all, each = s->age_s / (double)all;
    const double spread = each * sqrt((double)leave * (1.0 - share)) * random_bell(&s->r->service);
    const double taken = fmin(fmax(0.0, each * (double)leave + spread), s->age_s);
    s->age_s -= taken;
    return taken;
}

/* How many of `all` and n newcomers leave in a step, with c slots. While all slots are taken, services end
 * like clockwork gone random; while some are free, each ends by itself, which varies less. */
static uint64_t deaths_in(struct sums *s, struct piece *p, uint64_t all, uint64_t n, uint64_t c)
{
    struct random *r = &s->r->service;
    const double busy = all < c ? (double)all : (double)c;
    uint64_t deaths;
    if (busy / p->mean_s >= s->r->capped) {
        deaths = random_poisson(r, s->r->capped * p->length_s);
    } else if (all >= c) {
        deaths = random_poisson(r, (double)c * p->length_s / p->mean_s);
    } else {
        deaths = random_thin(r, &p->left, all);
        const uint64_t room = c - all + deaths; /* newcomers beyond it wait */
        deaths += random_thin(r, &p->left_newly, n < room ? n : room);
    }
    const uint64_t most = all < c ? all + n : c + n;
    return deaths > most ? most : deaths;
}

/* Whether so many comings and goings between two counts have filled the slots and one more: the chance that a
 * random walk with these ends has. */
static bool touches(struct sums *s, uint64_t from, uint64_t to, uint64_t moves, uint64_t c)
{
    const double first = (double)c + 1.0 - (double)from, last = (double)c + 1.0 - (double)to;
    const double x = 2.0 * first * last;
    if (s->is_told || moves == 0 || x > 12.0 * (double)moves)
        return false;
    return random_unit(&s->r->service) < exp(-x / (double)moves);
}

/* One step with n arrivals in it. */
static void step(struct sums *s, struct piece *p, uint64_t n)
{
    struct run *r = s->r;
    const uint64_t c = slots(r), before = r->serving + r->leaving, all = r->held + r->serving;
    const double dt = p->length_s;
    const uint64_t deaths = deaths_in(s, p, all, n, c);
    const uint64_t gone = random_thin(&r->service, &p->left, r->leaving);
    const uint64_t left = all + n - deaths;
    const uint64_t held = left > c ? left - c : 0, sent = r->held + n - held;
    if (r->held || held) {
        group_push(s, (struct group){.from_s = r->now_s, .length_s = dt, .all = n, .count = n});
        send(s, sent, r->now_s, dt);
    } else if (n) {
        run_sent(r, r->now_s, 0.0, (double)n, 0.0);
    }
    s->has_touched = held > 0 || touches(s, r->held ? c : r->serving, left, n + deaths, c);
    r->serving = left - held;
    r->leaving -= gone;
    const uint64_t after = r->serving + r->leaving, done = deaths + gone;
    const double integral = dt * 0.5 * (double)(before + after);
    r->totals.held_s += dt * 0.5 * (double)(r->held + held);
    r->totals.serving_s += integral;
    /* what those had that left: their ages, and their part of the integral */
    s->age_s += integral;
    const double had = take_ages(s, done, done + after);
    r->held = held;
    r->totals.arrivals += n;
    completed(s, done, had, p->mean_s);
    r->now_s += dt;
    if (fleet_next_ready(&r->fleet) <= r->now_s)
        fleet_advance(&r->fleet, r->now_s);
}

static double sum_of(struct random *r, uint64_t n, double each, double variance)
{
    return n ? fmax(0.0, (double)n * each + sqrt((double)n * variance) * random_bell(r)) : 0.0;
}

/* A tick, or a piece of it, in one step: nobody waits. */
static void leap(struct sums *s, struct piece *p, uint64_t n)
{
    struct run *r = s->r;
    const uint64_t before = r->serving + r->leaving;
    const uint64_t old = r->serving - random_thin(&r->service, &p->left, r->serving);
    const uint64_t leaving = r->leaving - random_thin(&r->service, &p->left, r->leaving);
    const uint64_t young = n - random_thin(&r->service, &p->left_newly, n);
    const uint64_t stayed = old + leaving, left = before - stayed;
    const double ages = take_ages(s, left, before);
    const double ended = sum_of(&r->service, left, p->rest_s, p->rest_var) +
                         sum_of(&r->service, n - young, p->whole_s, p->whole_var);
    const double grown = (double)stayed * p->length_s + sum_of(&r->service, young, p->rest_s, p->rest_var);
    r->serving = old + young;
    r->leaving = leaving;
    r->totals.serving_s += ended + grown;
    s->age_s += grown;
    r->totals.arrivals += n;
    completed(s, left + n - young, ages + ended, p->mean_s);
    if (n)
        run_sent(r, r->now_s, 0.0, (double)n, 0.0);
    r->now_s += p->length_s;
    if (fleet_next_ready(&r->fleet) <= r->now_s)
        fleet_advance(&r->fleet, r->now_s);
}

/* True: at each of so many moments of a time, four standard deviations of room are left, so that somebody
 * waits for a moment once in 30,000, and for as long as an objective never. In service after a time t are a
 * binomial number of those there, and a Poisson number of those who come. */
static bool is_roomy(const struct sums *s, double usual, size_t moments)
{
    static const double stay[] = {0.7788, 0.6065, 0.3679, 0.1353, 0.0}; /* after 1/4, 1/2, 1, 2 services */
    const struct run *r = s->r;
    const double there = (double)r->serving, room = (double)slots(r) - 2.0;
    if (r->held || !isinf(r->capped))
        return false;
    for (size_t i = 0; i < moments; i++) {
        const double mean = there * stay[i] + usual * (1.0 - stay[i]), left = room - mean;
        if (left < 0.0 || left * left < 16.0 * (mean - there * stay[i] * stay[i]))
            return false;
    }
    return true;
}

/* ---- members ---- */

/* So many of the members that were ready before go on serving what they have and get no more. The least
 * loaded are taken: what each has is a mean less what the choice saves, and it is empty after H(k) services.
 */
static void drain(struct sums *s, uint32_t count)
{
    struct run *r = s->r;
    if (!count)
        return;
    const double members = (double)r->fleet.ready + count;
    const double share = count / members;
    const uint64_t moved = (uint64_t)((double)r->serving * share);
    const double each = (double)moved / count, mean_s = r->config->law.mean_s * run_slowness(r);
    r->serving -= moved;
    r->leaving += moved;
    fleet_drained(&r->fleet,
                  count * mean_s * (each > 0.0 ? log(1.0 + each) + 0.57722 * fmin(1.0, each) : 0.0));
}

static void fail(struct sums *s)
{
    struct run *r = s->r;
    const uint32_t lost = (uint32_t)(r->fleet.ready * run_failure(r) + 0.5);
    if (!lost)
        return;
    const uint64_t cut = (uint64_t)((double)r->serving * lost / r->fleet.ready);
    r->serving -= cut;
    r->totals.failed += cut;
    r->result.failed += (double)cut;
    r->result.over += (double)cut; /* they were counted when they were sent */
    fleet_fail(&r->fleet, lost);
}

/* ---- time ---- */

static void decide(struct sums *s, uint32_t flags)
{
    struct run *r = s->r;
    r->oldest_held_s = s->count ? group_at(s, 0)->from_s : r->now_s;
    drain(s, run_tick(r, flags));
    fleet_advance(&r->fleet, r->now_s); /* who needs no time to start */
}

/* The edge: somebody waits, and nobody did when the tick began. */
static void tell(struct sums *s)
{
    struct run *r = s->r;
    if (s->is_told || !s->has_touched || r->now_s - r->before_s < 0.01)
        return;
    const uint64_t held = r->held;
    s->is_told = true;
    r->held = held ? held : 1; /* when it was said, somebody waited */
    fleet_advance(&r->fleet, r->now_s);
    decide(s, r->fleet.ready ? COX_SAMPLE_SATURATED : COX_SAMPLE_WAKE);
    r->held = held;
}

/* A quarter of the smaller of service time and objective at a time, or four of those where there is room. */
static void split(struct sums *s, double length_s, uint64_t n, double usual, double mean_s)
{
    const struct service_law *law = &s->r->config->law;
    struct random *r = &s->r->service;
    const uint64_t fours = (uint64_t)ceil(length_s / fmin(law->mean_s, law->objective_s) - 1e-9);
    const double dt = length_s / (double)fours / 4.0;
    struct piece *const four = piece(s, PIECE_FOUR, 4.0 * dt, mean_s), *const one =
                                                                           piece(s, PIECE_STEP, dt, mean_s);
    for (uint64_t left = fours; left; left--) {
        const uint64_t all = left == 1 ? n : random_binomial(r, n, 1.0 / (double)left);
        n -= all;
        if (is_roomy(s, usual, 3)) {
            leap(s, four, all);
            continue;
        }
        const uint64_t half = random_half(r, all), first = random_half(r, half),
                       third = random_half(r, all - half);
        const uint64_t counts[] = {first, half - first, third, all - half - third};
        for (size_t i = 0; i < 4; i++) {
            step(s, one, counts[i]);
            if (left > 1 || i < 3)
                tell(s);
        }
    }
}

void engine_sums(struct run *r, double until_s)
{
    struct sums s = {.r = r, .is_observed = r->policy->baseline == NULL};
    const double tick = r->config->tick_s, first = r->now_s;
    const uint64_t ticks = (uint64_t)((until_s - first) / tick + 0.5);
    for (uint64_t i = 0; i < ticks; i++) {
        r->now_s = first + (double)i * tick; /* steps add up with an error */
        fleet_advance(&r->fleet, r->now_s);
        fail(&s);
        run_bottleneck(r, slots(r));
        decide(&s, 0);
        s.is_told = r->held > 0;
        const double mean_s = r->config->law.mean_s * run_slowness(r);
        double expected;
        const uint64_t n = run_arrivals(r, tick, &expected);
        const double usual = expected / tick * mean_s;
        if (is_roomy(&s, usual, tick > 2.0 * mean_s ? 5 : tick > 1.01 * mean_s ? 4 : 3))
            leap(&s, piece(&s, PIECE_TICK, tick, mean_s), n);
        else
            split(&s, tick, n, usual, mean_s);
        r->now_s = first + (double)(i + 1) * tick;
        fleet_advance(&r->fleet, r->now_s);
        give_up(&s);
        fill_buckets(&s);
        run_note(r, expected);
    }
    for (size_t i = 0; i < PIECES; i++) {
        thin_free(&s.pieces[i].left);
        thin_free(&s.pieces[i].left_newly);
    }
    free(s.groups);
}
