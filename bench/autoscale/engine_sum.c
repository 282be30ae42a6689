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

struct sums {
    struct run *r;
    struct group *groups; /* owned: a ring */
    size_t head, count, cap;
    double ended_in, ended; /* of ended() */
    double age_s;           /* sum of what those in service have had of it */
    double capped;          /* completions a second that a shared bottleneck allows; infinity: any */
    double fractions[COX_SERVICE_BUCKETS], fractions_mean_s; /* of the exponential law with that mean */
    double carries[COX_SERVICE_BUCKETS];
    uint32_t first, last; /* fractions that matter */
    bool is_observed;     /* the policy is a plugin, which may look at the histogram */
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

/* Once a tick: the histogram gets what the law expects of the services that ended, fractions carried on. */
static void fill_buckets(struct sums *s)
{
    struct totals *t = &s->r->totals;
    const uint64_t n = t->service_count - s->r->before.service_count;
    if (!s->is_observed || n == 0)
        return;
    const double mean = fmax((t->service_sum_s - s->r->before.service_sum_s) / (double)n, 1e-6);
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

/* Share of services that end within so many service times. Steps are alike, so the last one is kept. */
static double ended(struct sums *s, double a)
{
    if (a != s->ended_in) {
        s->ended_in = a;
        s->ended = 1.0 - exp(-a);
    }
    return s->ended;
}

/* How many of `all` and n newcomers leave in a step of a service times `a`, with c slots. While all slots are
 * taken, services end like clockwork gone random; while some are free, each ends by itself, which varies
 * less. */
static uint64_t deaths_in(struct sums *s, double a, uint64_t all, uint64_t n, uint64_t c)
{
    struct random *r = &s->r->service;
    const double busy = all < c ? (double)all : (double)c;
    const double mean_s = s->r->config->law.mean_s * run_slowness(s->r);
    uint64_t deaths;
    if (busy / mean_s >= s->capped) {
        deaths = random_poisson(r, s->capped * a * mean_s);
    } else if (all >= c) {
        deaths = random_poisson(r, (double)c * a);
    } else {
        deaths = random_binomial(r, all, ended(s, a));
        const uint64_t room = c - all + deaths; /* newcomers beyond it wait */
        deaths += random_poisson(r, (double)(n < room ? n : room) * (1.0 - ended(s, a) / a));
    }
    const uint64_t most = all < c ? all + n : c + n;
    return deaths > most ? most : deaths;
}

/* One step with n arrivals in it. */
static void step(struct sums *s, double dt, uint64_t n, double mean_s)
{
    struct run *r = s->r;
    const uint64_t c = slots(r), before = r->serving, all = r->held + r->serving;
    const double rate = 1.0 / mean_s;
    const uint64_t deaths = deaths_in(s, dt * rate, all, n, c);
    const uint64_t gone = random_binomial(&r->service, r->leaving, ended(s, dt * rate));
    const uint64_t left = all + n - deaths;
    group_push(s, (struct group){.from_s = r->now_s, .length_s = dt, .all = n, .count = n});
    r->serving = left < c ? left : c;
    const uint64_t held = left - r->serving, sent = r->held + n - held;
    send(s, sent, r->now_s, dt);
    r->totals.held_s += dt * 0.5 * (double)(r->held + held);
    r->totals.serving_s += dt * 0.5 * (double)(before + r->serving + 2 * r->leaving - gone);
    const double in_service = (double)(before + r->leaving);
    const double age = in_service > 0.0 ? s->age_s / in_service + dt / 2.0 : dt / 2.0;
    const double had = fmin(age * (double)(deaths + gone), s->age_s + in_service * dt);
    s->age_s = fmax(0.0, s->age_s + dt * 0.5 * (in_service + (double)(r->serving + r->leaving - gone)) - had);
    r->held = held;
    r->leaving -= gone;
    r->totals.arrivals += n;
    completed(s, deaths + gone, had, mean_s);
    r->now_s += dt;
    fleet_advance(&r->fleet, r->now_s);
}

/* A tick in one step: nobody waits. */
static void leap(struct sums *s, double dt, uint64_t n, double mean_s)
{
    struct run *r = s->r;
    const uint64_t before = r->serving + r->leaving;
    const double stay = exp(-dt / mean_s), newly = mean_s / dt * (1.0 - stay);
    const uint64_t old = random_binomial(&r->service, r->serving, stay);
    const uint64_t leaving = random_binomial(&r->service, r->leaving, stay);
    const uint64_t young = random_binomial(&r->service, n, newly);
    const uint64_t done = before + n - old - leaving - young;
    const double spread = done ? random_normal(&r->service) / sqrt((double)done) : 0.0;
    const double sum = (double)done * mean_s * fmax(0.2, 1.0 + spread);
    r->serving = old + young;
    r->leaving = leaving;
    /* Σ service of those that ended = ∫ in service dt − growth of the ages; those are a mean service each */
    const double integral = sum + mean_s * ((double)(r->serving + leaving) - (double)before);
    r->totals.serving_s += fmax(integral, 0.0);
    s->age_s = mean_s * (double)(r->serving + leaving);
    r->totals.arrivals += n;
    completed(s, done, sum, mean_s);
    run_sent(r, r->now_s, 0.0, (double)n, 0.0);
    r->now_s += dt;
    fleet_advance(&r->fleet, r->now_s);
}

/* Four standard deviations of room: somebody waits for a moment once in 30,000, and for as long as an
 * objective never. */
static bool is_roomy(const struct sums *s, double expected_now)
{
    const struct run *r = s->r;
    const double load = fmax((double)r->serving, expected_now);
    return r->held == 0 && isinf(s->capped) && load + 4.0 * sqrt(load) + 2.0 <= (double)slots(r);
}

static void split(struct sums *s, double dt, uint64_t n, double mean_s)
{
    const struct service_law *law = &s->r->config->law;
    const double most = fmin(law->mean_s, law->objective_s) / 4.0;
    const uint64_t steps = (uint64_t)ceil(dt / most - 1e-9);
    for (uint64_t left = steps; left; left--) {
        const uint64_t k = left == 1 ? n : random_binomial(&s->r->service, n, 1.0 / (double)left);
        n -= k;
        step(s, dt / (double)steps, k, mean_s);
    }
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
    bool begins;
    const struct load_event *e = run_event(r, LOAD_FAILURE, &begins);
    if (!e || !begins || !r->fleet.ready)
        return;
    const uint32_t lost = (uint32_t)(r->fleet.ready * fmin(1.0, e->amount) + 0.5);
    const uint64_t cut = (uint64_t)((double)r->serving * lost / r->fleet.ready);
    r->serving -= cut;
    r->totals.failed += cut;
    r->result.failed += (double)cut;
    r->result.over += (double)cut; /* they were counted when they were sent */
    fleet_fail(&r->fleet, lost);
}

static void bottleneck(struct sums *s)
{
    bool begins;
    const struct load_event *e = run_event(s->r, LOAD_BOTTLENECK, &begins);
    if (!e)
        s->capped = INFINITY;
    else if (begins)
        s->capped = (double)slots(s->r) / s->r->config->law.mean_s / e->amount;
}

void engine_sums(struct run *r)
{
    struct sums s = {.r = r, .capped = INFINITY, .is_observed = r->policy->baseline == NULL};
    const double tick = r->config->tick_s, first = r->now_s;
    const uint64_t ticks = (uint64_t)((run_end_s(r) - first) / tick + 0.5);
    for (uint64_t i = 0; i < ticks; i++) {
        r->now_s = first + (double)i * tick; /* steps add up with an error */
        fleet_advance(&r->fleet, r->now_s);
        fail(&s);
        bottleneck(&s);
        r->oldest_held_s = s.count ? group_at(&s, 0)->from_s : 0.0;
        drain(&s, run_tick(r, 0));
        const double expected = run_expected(r, tick), mean_s = r->config->law.mean_s * run_slowness(r);
        const uint64_t n = random_poisson(&r->arrivals, expected);
        if (is_roomy(&s, expected / tick * mean_s))
            leap(&s, tick, n, mean_s);
        else
            split(&s, tick, n, mean_s);
        r->now_s = first + (double)(i + 1) * tick;
        give_up(&s);
        fill_buckets(&s);
        run_note(r, expected);
    }
    free(s.groups);
}
