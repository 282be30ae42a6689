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

/* Where in the table of the knee so many exchanges a member belong: two bins an octave, from a half on. */
static uint32_t knee_bin(double per_member)
{
    uint32_t bin = 0;
    for (double edge = 0.7071; per_member > edge && bin < KNEE_BINS - 1; edge *= 1.41421356)
        bin++;
    return bin;
}

static void learn_knee(struct work *w)
{
    struct service *v = &w->s->service;
    if (w->in->slots_per_member > 0 || !w->in->ready || !(v->now_s > 0))
        return;
    const uint32_t bin = knee_bin(w->in->serving_mean / w->in->ready);
    const double part = v->knee_weight[bin] < 30 ? 1 / (v->knee_weight[bin] + 1) : 1.0 / 30;
    v->knee_s[bin] += part * (v->now_s - v->knee_s[bin]);
    v->knee_weight[bin] += 1;
    /* A member does x / S(x) a second; where that stops to grow is the knee: x·S(least) / S(x) at its most.
     */
    double least = 0, x = 0.5, knee = 1;
    for (uint32_t i = 0; i < KNEE_BINS; i++)
        if (v->knee_weight[i] > 3 && (!(least > 0) || v->knee_s[i] < least))
            least = v->knee_s[i];
    for (uint32_t i = 0; i < KNEE_BINS; i++, x *= 1.41421356)
        if (v->knee_weight[i] > 3 && x * least / v->knee_s[i] > knee)
            knee = x * least / v->knee_s[i];
    v->knee = knee;
}

double service_knee(const struct work *w)
{
    const struct service *v = &w->s->service;
    if (w->in->slots_per_member >= 1)
        return w->in->slots_per_member;
    /* Unknown: ten until members were seen at work; what they bore well, and a little more, after that. */
    return v->knee > 8 ? v->knee * 1.1 : 10;
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
    const bool is_saturated = w->in->held_now > 0;
    const bool is_slow = mean > SLOW * v->reference_s && count > 100;
    v->slow_steps = is_slow && is_saturated ? v->slow_steps + 1 : 0;
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
    if (!w->in->held_now || v->evidence > EVIDENCE || (is_late && v->evidence > 0))
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
