/* Staffing: how many slots keep P(wait > W) below a share, for a load of so many exchanges in service.
 *
 * M/G/c: Erlang's C for the probability to wait at all (exactly for small loads, Halfin and Whitt's limit for
 * large ones), an exponential tail for how long, with the squared coefficient of variation of the service
 * time in its rate. A table over powers of two; between them the slots above the load are nearly straight
 * lines. */
#include <string.h>

#include "predict.h"

#define EXACT_MAX 64.0

/* Normal density and distribution (Zelen and Severo, 7.5e-8). */
static double normal_over(const struct cox_math *m, double x, double *out_density)
{
    const double k = 1 / (1 + 0.2316419 * x);
    const double poly =
        k * (0.319381530 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))));
    *out_density = 0.3989422804014327 * m->exp(-x * x / 2);
    return 1 - *out_density * poly;
}

/* Share of exchanges that wait longer than W: with slots > load. */
static double share_over(const struct work *w, const struct staffing *t, double load, double slots,
                         double wait)
{
    const double tail = (slots - load) / t->service_s * 2 / (1 + t->cv2);
    return wait * w->math->exp(-tail * t->wait_s);
}

static double extra_exact(const struct work *w, const struct staffing *t, double load)
{
    double blocked = 1; /* Erlang's B, by its recursion */
    for (double c = 1;; c += 1) {
        blocked = load * blocked / (c + load * blocked);
        if (c <= load)
            continue;
        const double wait = blocked / (1 - load / c * (1 - blocked));
        if (share_over(w, t, load, c, wait) <= t->share || c > load + 1000)
            return c - load;
    }
}

static double extra_limit(const struct work *w, const struct staffing *t, double load)
{
    const double root = w->math->sqrt(load);
    double lo = 0, hi = 8;
    for (int i = 0; i < 24; i++) {
        const double beta = (lo + hi) / 2;
        double density;
        const double below = normal_over(w->math, beta, &density);
        const double wait = 1 / (1 + beta * below / density);
        if (share_over(w, t, load, load + beta * root, wait) <= t->share)
            hi = beta;
        else
            lo = beta;
    }
    return hi * root;
}

static bool is_near(double a, double b, double tolerance)
{
    return a < b * (1 + tolerance) && b < a * (1 + tolerance);
}

void staffing_learn(struct work *w)
{
    struct staffing *t = &w->s->staffing;
    const struct service *v = &w->s->service;
    const double service_s = service_plan_s(w->s);
    double cv2 = v->square > 0 ? v->square / (v->now_s * v->now_s) - 1 : 1;
    cv2 = cv2 < 0.1 ? 0.1 : cv2 > 10 ? 10 : cv2;
    if (t->service_s > 0 && is_near(t->service_s, service_s, 0.03) && is_near(t->cv2, cv2, 0.3) &&
        is_near(t->wait_s, w->wait_s, 1e-9) && is_near(t->share, w->share / 2, 1e-9))
        return;
    lanes_run(w);
    *t = (struct staffing){.service_s = service_s, .cv2 = cv2, .wait_s = w->wait_s, .share = w->share / 2};
    for (uint32_t i = 0; i <= STAFF_POINTS; i++)
        t->extra[i] = -1;
}

static void work_out(struct work *w, uint32_t i)
{
    struct staffing *t = &w->s->staffing;
    const double load = STAFF_LEAST * (double)(UINT64_C(1) << (i < STAFF_POINTS ? i : STAFF_POINTS - 1));
    t->extra[i] = load < EXACT_MAX ? extra_exact(w, t, load) : extra_limit(w, t, load);
}

/* Which of the points is at or below this load. */
static uint32_t point_below(double load)
{
    uint64_t bits;
    if (load <= STAFF_LEAST)
        return 0;
    memcpy(&bits, &load, sizeof bits);
    const uint32_t i = (uint32_t)(bits >> 52) - 1023 + 4; /* the load is positive and at least 2^-4 */
    return i < STAFF_POINTS - 1 ? i : STAFF_POINTS - 1;
}

void staffing_fill(struct work *w, double least, double most)
{
    for (uint32_t i = point_below(least); i <= point_below(most) + 1; i++)
        if (w->s->staffing.extra[i] < 0)
            work_out(w, i);
}

double staffing_slots(struct work *w, double load)
{
    const struct staffing *t = &w->s->staffing;
    if (!(load > 0))
        return 0;
    const uint32_t i = point_below(load);
    if (t->extra[i] < 0 || t->extra[i + 1] < 0)
        staffing_fill(w, load, load);
    if (load <= STAFF_LEAST)
        return load + t->extra[0];
    uint64_t bits;
    memcpy(&bits, &load, sizeof bits);
    bits = (bits & ((UINT64_C(1) << 52) - 1)) | (UINT64_C(1023) << 52);
    double mantissa;
    memcpy(&mantissa, &bits, sizeof mantissa);
    return load + t->extra[i] + (t->extra[i + 1] - t->extra[i]) * (mantissa - 1);
}

/* Halfin and Whitt's limit; the geometric mean of load and slots under the root makes it good for few of them
 * as well. */
double staffing_share(const struct work *w, double load, double slots)
{
    if (slots <= load)
        return 1;
    const double beta = (slots - load) / w->math->sqrt(w->math->sqrt(load * slots));
    double density;
    const double below = normal_over(w->math, beta, &density);
    return share_over(w, &w->s->staffing, load, slots, 1 / (1 + beta * below / density));
}

double staffing_reach(const struct work *w, double load)
{
    const struct staffing *t = &w->s->staffing;
    const double by_tail = 20.7 * t->service_s * (1 + t->cv2) / (2 * t->wait_s);
    const double by_root = 6 * w->math->sqrt(load) + 8;
    return by_tail < by_root ? by_tail : by_root;
}
