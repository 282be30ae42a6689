/* Service time: what is normal, when it is slow, and whether more members help against that.
 *
 * Slower service needs more members only if members are what is slow. When they share something that is slow
 * (a database), more of them wait for it in company. So growth for the sake of service time goes by probes:
 * up to a fifth more members, then a sequential test on the completions: did their rate grow with the members
 * (log likelihood ratio of two Poisson rates)? */
#include "predict.h"

#define SLOW       1.25
#define PLAN_STEPS 30.0
#define EVIDENCE   4.6 /* either way: one wrong in a hundred */
#define PAUSE_NS   UINT64_C(300000000000)
#define PAUSE_MAX  UINT64_C(14400000000000)
#define WATCH_NS   UINT64_C(20000000000)
#define ENOUGH     400.0 /* completions for a mean service time, at a squared coefficient of variation of 1 */

double service_plan_s(const struct state *s)
{
    return s->service.plan_s > 0 ? s->service.plan_s : 0.1; /* nothing was ever completed */
}

/* Mean of the last completions: enough of them, and no further back than a minute. */
static double recent_s(const struct state *s, const struct point *now, double enough, double *out_count)
{
    uint64_t age_ns = UINT64_C(1000000000);
    for (;; age_ns *= 2) {
        const struct point *p = rates_at(s, age_ns);
        *out_count = (double)(now->service_count - p->service_count);
        if (*out_count >= enough || age_ns > UINT64_C(60000000000))
            return *out_count > 0 ? (double)(now->service_sum_ns - p->service_sum_ns) / *out_count / 1e9 : 0;
    }
}

static void learn_square(struct service *v, const struct cox_totals *t)
{
    const uint64_t n = t->service_count - v->last_count;
    if (v->last_count && n > 0 && n < UINT32_MAX) {
        const double square = (double)(t->service_square_us2 - v->last_square_us2) / (double)n / 1e12;
        const double part = (double)n / ((double)n + 10000);
        v->square = v->square > 0 ? v->square + part * (square - v->square) : square;
    }
    v->last_square_us2 = t->service_square_us2;
    v->last_count = t->service_count;
}

/* A member that does x exchanges a second of S seconds each does x·S slots' worth of work. The most that was
 * seen is what it bore; if more and more is in it meanwhile, that is its limit. Little's law at work: no
 * service time is waited for. */
static void learn_knee(struct work *w)
{
    struct service *v = &w->s->service;
    const struct cox_sample *in = w->in;
    const double seconds = rates_seconds(v->knee_ns, in->now_ns);
    const double done = (double)(in->totals.service_count - v->knee_count);
    const bool is_first = !v->knee_ns || in->totals.service_count < v->knee_count;
    v->knee_ns = in->now_ns;
    v->knee_count = in->totals.service_count;
    if (in->slots_per_member >= 1 || !in->ready || is_first || seconds > 10)
        return;
    v->least_s = v->least_s > 0 && v->least_s < v->now_s ? v->least_s * (1 + 1e-5) : v->now_s;
    const double work = done / seconds * v->least_s / in->ready, inside = (double)in->serving_now / in->ready;
    const bool is_full = inside > 2 && inside > 1.5 * work;
    if (work > v->borne)
        v->borne += (work - v->borne) * 0.2;
    if (is_full && work > 0.9 * v->borne)
        v->knee = v->knee > 0 ? v->knee + (work - v->knee) * 0.1 : work;
    if (v->knee > 0 && v->knee < v->borne && !is_full)
        v->knee = v->borne;
}

double service_knee(const struct work *w)
{
    const struct service *v = &w->s->service;
    if (w->in->slots_per_member >= 1)
        return w->in->slots_per_member;
    if (v->knee >= 1)
        return v->knee;
    /* Not seen yet: ten, or what they bore well and a little more. */
    return v->borne > 9 ? v->borne * 1.1 : 10;
}

/* Every slot is taken. */
static bool is_saturated(const struct work *w)
{
    const struct service *v = &w->s->service;
    return w->in->held_now > 0 || (!(w->in->slots_per_member >= 1) && v->knee >= 1 &&
                                   (double)w->in->serving_now > 1.25 * v->knee * w->in->ready);
}

void service_learn(struct work *w)
{
    struct service *v = &w->s->service;
    const struct point now = rates_point(w->in);
    double count;
    const double cv2 = v->square > 0 && v->now_s > 0 ? v->square / (v->now_s * v->now_s) - 1 : 1;
    const double mean = recent_s(w->s, &now, ENOUGH * (cv2 > 1 ? cv2 : 1), &count);
    if (count < 20)
        return;
    learn_square(v, &w->in->totals);
    v->now_s = mean;
    if (!(v->reference_s > 0))
        v->reference_s = v->plan_s = mean;
    if (mean <= SLOW * v->reference_s)
        v->plan_s += (mean - v->plan_s) / PLAN_STEPS;
    /* Down within a minute, up within hours: a creep is not a licence to chase it. */
    v->reference_s += (mean - v->reference_s) * (mean < v->reference_s ? 1.0 / 60 : 1.0 / 7200);
    learn_knee(w);
    const bool is_slow = mean > SLOW * v->reference_s && count > 100;
    v->slow_steps = is_slow && is_saturated(w) ? v->slow_steps + 1 : 0;
    if (v->phase == PROBE_USELESS && mean < (1 + SLOW) / 2 * v->reference_s) {
        v->phase = PROBE_NONE;
        v->pause_ns = 0;
    }
}

static void enter(struct service *v, uint32_t phase, uint64_t now_ns)
{
    v->phase = phase;
    v->phase_ns = now_ns;
}

static void finish(struct service *v, bool helps, uint64_t now_ns)
{
    if (helps) {
        v->reference_s = v->plan_s = v->now_s;
        v->pause_ns = 0;
        v->slow_steps = 0;
        v->helped_ns = now_ns;
        enter(v, PROBE_NONE, now_ns);
        return;
    }
    v->pause_ns = v->pause_ns ? v->pause_ns * 2 : PAUSE_NS;
    v->pause_ns = v->pause_ns < PAUSE_MAX ? v->pause_ns : PAUSE_MAX;
    v->retry_ns = now_ns + v->pause_ns;
    enter(v, PROBE_USELESS, now_ns);
}

static void begin(struct work *w)
{
    struct service *v = &w->s->service;
    const double n = w->in->current;
    /* A probe after a useless one starts from the same count: a fifth of a fifth would be no fifth. */
    if (v->phase == PROBE_NONE || v->base_members > n)
        v->base_members = n;
    const double fifth = (double)(uint64_t)(v->base_members * 0.2);
    v->probe_members = v->base_members + (fifth > 1 ? fifth : 1);
    v->before_members = w->in->ready;
    if (v->probe_members <= n) {
        v->retry_ns = w->in->now_ns + PAUSE_NS;
        return;
    }
    enter(v, PROBE_STARTING, w->in->now_ns);
}

/* The members of the probe are there: what was done a second while they were starting is what to compare
 * with. */
static void watch(struct work *w, const struct point *now)
{
    struct service *v = &w->s->service;
    uint64_t age_ns = w->in->now_ns - v->phase_ns;
    age_ns = age_ns < UINT64_C(10000000000) ? age_ns : UINT64_C(10000000000);
    const struct point *p = rates_at(w->s, age_ns);
    const double seconds = rates_seconds(p->t_ns, now->t_ns);
    v->before_rate = seconds > 0 ? (double)(now->service_count - p->service_count) / seconds : 0;
    v->evidence = 0;
    v->seen_count = now->service_count;
    v->seen_ns = now->t_ns;
    enter(v, PROBE_WATCHING, w->in->now_ns);
}

static void weigh(struct work *w, const struct point *now)
{
    struct service *v = &w->s->service;
    const double ratio = w->in->ready / v->before_members;
    const double n = (double)(now->service_count - v->seen_count);
    const double seconds = rates_seconds(v->seen_ns, now->t_ns);
    v->seen_count = now->service_count;
    v->seen_ns = now->t_ns;
    /* Exchanges that the new members took at once end after a service time: before that nothing can show. */
    if (rates_seconds(v->phase_ns, now->t_ns) < v->now_s)
        return;
    v->evidence += n * w->math->log(ratio) - v->before_rate * seconds * (ratio - 1);
    const bool is_late = now->t_ns - v->phase_ns > WATCH_NS;
    if (!is_saturated(w) || v->evidence > EVIDENCE || (is_late && v->evidence > 0))
        finish(v, true, now->t_ns);
    else if (v->evidence < -EVIDENCE || is_late)
        finish(v, false, now->t_ns);
}

void service_probe(struct work *w)
{
    struct service *v = &w->s->service;
    const struct point now = rates_point(w->in);
    switch (v->phase) {
    case PROBE_NONE:
        if (v->slow_steps >= 1)
            begin(w);
        return;
    case PROBE_STARTING:
        if (w->in->ready >= v->before_members + 0.75 * (v->probe_members - v->before_members) &&
            w->in->ready > v->before_members)
            watch(w, &now);
        else if (rates_seconds(v->phase_ns, now.t_ns) > 30 + 4 * w->s->delay_s)
            finish(v, false, now.t_ns);
        return;
    case PROBE_WATCHING:
        weigh(w, &now);
        return;
    default:
        if (v->slow_steps >= 3 && now.t_ns > v->retry_ns)
            begin(w);
        return;
    }
}
