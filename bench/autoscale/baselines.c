/* baselines: the peers, from their published rules, with the moments at which each of them samples and
 * decides. Where the original measures a sample of the members, these get the exact value: an advantage.
 *
 * All share the simulator's start-up, slots, drain and balancer. `load` is what is held and served. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "optimum.h"
#include "policy.h"

#define NS 1e9

/* True once for each whole period since the first call. */
struct every {
    double next_s;
    bool is_on;
};

static bool is_due(struct every *e, double now_s, double period_s)
{
    if (!e->is_on) {
        e->is_on = true;
        e->next_s = now_s + period_s;
        return false;
    }
    if (now_s + 1e-6 < e->next_s)
        return false;
    e->next_s += period_s;
    return true;
}

static double now_of(const struct cox_sample *s)
{
    return (double)s->now_ns / NS;
}

static double load_now(const struct cox_sample *s)
{
    return (double)(s->held_now + s->serving_now);
}

/* ∫ load dt in seconds. */
static double load_total(const struct cox_sample *s)
{
    return (double)(s->totals.held_ns + s->totals.serving_ns) / NS;
}

/* Values of the last `count` periods, the newest at 0. */
#define RING 4096
struct ring {
    double value[RING];
    uint32_t written;
};

static void ring_add(struct ring *r, double v)
{
    r->value[r->written++ % RING] = v;
}

static uint32_t ring_count(const struct ring *r, uint32_t most)
{
    return r->written < most ? r->written : most;
}

static double ring_at(const struct ring *r, uint32_t back)
{
    return r->value[(r->written - 1 - back) % RING];
}

static double ring_mean(const struct ring *r, uint32_t most)
{
    const uint32_t n = ring_count(r, most);
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++)
        sum += ring_at(r, i);
    return n ? sum / n : 0.0;
}

static double ring_max(const struct ring *r, uint32_t most)
{
    double top = 0.0;
    for (uint32_t i = 0; i < ring_count(r, most); i++)
        top = fmax(top, ring_at(r, i));
    return top;
}

/* ---- Knative's pod autoscaler ---- */

enum { KPA_TARGET, KPA_WINDOW, KPA_PANIC_PERCENT, KPA_THRESHOLD, KPA_DOWN_RATE, KPA_DOWN_DELAY };

struct kpa {
    struct every second, tick;
    struct ring buckets, answers;
    double last_total, panic_at, panic_most;
    bool is_on, in_panic;
};

static void kpa_bucket(struct kpa *k, const struct cox_sample *s)
{
    if (is_due(&k->second, now_of(s), 1.0)) {
        ring_add(&k->buckets, load_total(s) - k->last_total);
        k->last_total = load_total(s);
    }
}

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

/* Buckets of a second, a look every two; a restarted one begins in panic and so does not shrink at first. */
static void kpa_decide(struct policy *p, const struct cox_sample *s, struct cox_decision *out)
{
    struct kpa *k = p->state;
    const double *knob = p->knobs, now = now_of(s), window = knob[KPA_WINDOW];
    if (!k->is_on) {
        k->is_on = k->in_panic = true;
        k->last_total = load_total(s);
        k->panic_at = now;
        k->panic_most = s->ready;
    }
    kpa_bucket(k, s);
    out->wanted = isnan(s->wanted) ? s->current : s->wanted;
    if (!is_due(&k->tick, now, 2.0))
        return;
    const double target = fmax(0.01, knob[KPA_TARGET] * p->world.law.slots), ready = fmax(1.0, s->ready);
    const double stable = ceil(ring_mean(&k->buckets, (uint32_t)window) / target);
    const double panic =
        ceil(ring_mean(&k->buckets, (uint32_t)fmax(1.0, window * knob[KPA_PANIC_PERCENT] / 100.0)) / target);
    const double up = ceil(1000.0 * ready), down = floor(ready / knob[KPA_DOWN_RATE]);
    const double bound_stable = clamp(stable, down, up), bound_panic = clamp(panic, down, up);
    if (panic / ready >= knob[KPA_THRESHOLD] / 100.0) {
        if (!k->in_panic)
            k->panic_most = 0.0;
        k->in_panic = true;
        k->panic_at = now;
    } else if (k->in_panic && k->panic_at + window < now) {
        k->in_panic = false;
    }
    double wanted = bound_stable;
    if (k->in_panic)
        wanted = k->panic_most = fmax(k->panic_most, fmax(bound_stable, bound_panic));
    ring_add(&k->answers, wanted);
    out->wanted = ring_max(&k->answers, 1 + (uint32_t)(knob[KPA_DOWN_DELAY] / 2.0));
}

/* ---- Kubernetes' horizontal autoscaler, alone and behind KEDA ---- */

enum { HPA_TARGET, HPA_TOLERANCE, HPA_DOWN_WINDOW, HPA_PERIOD, HPA_UP_PERCENT, HPA_UP_PODS };

struct hpa {
    struct every sync, scrape;
    struct ring answers, counts; /* of each sync */
    double last_total, metric;
    bool is_on, has_metric;
};

/* Recommendation, tolerance, then the default behaviour: up by 100 % or 4 within 15 s, down freely after the
 * largest of 300 s. */
static double hpa_sync(struct policy *p, struct hpa *h, const struct cox_sample *s, double metric)
{
    const double *knob = p->knobs, current = s->current, target = knob[HPA_TARGET] * p->world.law.slots;
    double wanted = ceil(metric / target - 1e-9);
    if (current > 0.0 && fabs(1.0 - metric / (target * current)) <= knob[HPA_TOLERANCE])
        wanted = current;
    ring_add(&h->answers, wanted);
    ring_add(&h->counts, current);
    const uint32_t kept = 1 + (uint32_t)(knob[HPA_DOWN_WINDOW] / knob[HPA_PERIOD]);
    const double highest = ring_max(&h->answers, kept);
    if (wanted < current)
        wanted = fmin(current, highest);
    const double start = current; /* a period is 15 s, and so is a sync: no change lies within it */
    const double limit = fmax(start + knob[HPA_UP_PODS], ceil(start * (1.0 + knob[HPA_UP_PERCENT] / 100.0)));
    return wanted > current ? fmin(wanted, limit) : wanted;
}

/* The metric is the mean of the 15 s before the last scrape; the sync reads what the scrape left. */
static void hpa_decide(struct policy *p, const struct cox_sample *s, struct cox_decision *out)
{
    struct hpa *h = p->state;
    const double now = now_of(s), period = p->knobs[HPA_PERIOD];
    if (!h->is_on) {
        h->is_on = true;
        h->last_total = load_total(s);
    }
    out->wanted = s->current;
    const bool syncs = is_due(&h->sync, now, period);
    if (syncs && h->has_metric)
        out->wanted = hpa_sync(p, h, s, h->metric);
    if (is_due(&h->scrape, now, period)) {
        h->metric = (load_total(s) - h->last_total) / period;
        h->last_total = load_total(s);
        h->has_metric = true;
    }
}

/* The add-on polls what is in flight at that moment; the autoscaler reads it at its sync. */
static void keda_decide(struct policy *p, const struct cox_sample *s, struct cox_decision *out)
{
    struct hpa *h = p->state;
    const double now = now_of(s);
    if (is_due(&h->scrape, now, 0.5) || !h->is_on)
        h->metric = load_now(s);
    h->is_on = true;
    out->wanted = s->current;
    if (is_due(&h->sync, now, p->knobs[HPA_PERIOD]))
        out->wanted = hpa_sync(p, h, s, h->metric);
}

/* ---- from the literature: rates over an interval, members of known capacity ---- */

enum { LIT_TARGET, LIT_INTERVAL, LIT_MARGIN, LIT_BAND, LIT_PERCENTILE };
#define HOURS_KEPT 14

struct lit {
    struct every tick;
    struct ring rates;
    double last_arrivals, slope;
    bool is_on;
    /* Hist: the largest rate of each hour of the day, for some days */
    float peak[24][HOURS_KEPT];
    int days[24], hour;
    double hour_peak;
};

/* Members for a rate at the wanted utilisation. */
static double members_for(const struct policy *p, double rate)
{
    return rate * p->world.law.mean_s / (p->knobs[LIT_TARGET] * p->world.law.slots);
}

/* The rate of the interval that just ended; false: none did. */
static bool lit_rate(struct policy *p, struct lit *l, const struct cox_sample *s, double *out_rate)
{
    if (!l->is_on) {
        l->is_on = true;
        l->last_arrivals = (double)s->totals.arrivals;
    }
    if (!is_due(&l->tick, now_of(s), p->knobs[LIT_INTERVAL]))
        return false;
    *out_rate = ((double)s->totals.arrivals - l->last_arrivals) / p->knobs[LIT_INTERVAL];
    l->last_arrivals = (double)s->totals.arrivals;
    ring_add(&l->rates, *out_rate);
    return true;
}

/* React (Chieu et al. 2009): with a margin when it falls short, and back to the margin when there is much
 * more than that. */
static void react_decide(struct policy *p, const struct cox_sample *s, struct cox_decision *out)
{
    double rate;
    out->wanted = s->current;
    if (!lit_rate(p, p->state, s, &rate))
        return;
    const double need = members_for(p, rate), keep = ceil(need * (1.0 + p->knobs[LIT_MARGIN]));
    if (need > s->current * (1.0 - p->knobs[LIT_BAND]) || keep < s->current * (1.0 - p->knobs[LIT_BAND]))
        out->wanted = keep;
}

/* Adapt (Ali-Eldin et al. 2012): follows growth at once and a little ahead by its slope, shrinks by the slope
 * of the decline only. */
static void adapt_decide(struct policy *p, const struct cox_sample *s, struct cox_decision *out)
{
    struct lit *l = p->state;
    double rate;
    out->wanted = s->current;
    if (!lit_rate(p, l, s, &rate))
        return;
    const double interval = p->knobs[LIT_INTERVAL];
    if (ring_count(&l->rates, 2) == 2)
        l->slope = 0.7 * l->slope + 0.3 * (rate - ring_at(&l->rates, 1)) / interval;
    const double ahead = rate + l->slope * (interval + p->world.delay_s);
    const double need = ceil(members_for(p, fmax(rate, ahead)));
    if (need > s->current) {
        out->wanted = need;
        return;
    }
    const double decline = ceil(members_for(p, -l->slope * interval)); /* one interval's worth */
    if (l->slope < 0.0)
        out->wanted = fmax(need, s->current - fmax(1.0, decline));
}

static int compare(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double hist_peak(const struct lit *l, int hour, double percentile)
{
    float sorted[HOURS_KEPT];
    const int n = l->days[hour] < HOURS_KEPT ? l->days[hour] : HOURS_KEPT;
    if (n == 0)
        return 0.0;
    memcpy(sorted, l->peak[hour], (size_t)n * sizeof(*sorted));
    qsort(sorted, (size_t)n, sizeof(*sorted), compare);
    return sorted[(int)clamp(ceil(percentile / 100.0 * n) - 1.0, 0.0, n - 1.0)];
}

/* Hist (Urgaonkar et al. 2008): a high percentile of the peaks that this hour had on other days, looked up a
 * start-up delay ahead; and a reactive correction whenever the load is above it. */
static void hist_decide(struct policy *p, const struct cox_sample *s, struct cox_decision *out)
{
    struct lit *l = p->state;
    double rate;
    out->wanted = s->current;
    if (!lit_rate(p, l, s, &rate))
        return;
    const double hours = (double)(s->wall_ns % 86400000000000u) / 3600e9;
    const int hour = (int)hours % 24, next = (int)(hours + p->world.delay_s / 3600.0) % 24;
    if (hour != l->hour) {
        l->peak[l->hour][l->days[l->hour]++ % HOURS_KEPT] = (float)l->hour_peak;
        l->hour_peak = 0.0;
        l->hour = hour;
    }
    l->hour_peak = fmax(l->hour_peak, rate);
    const double planned =
        fmax(hist_peak(l, hour, p->knobs[LIT_PERCENTILE]), hist_peak(l, next, p->knobs[LIT_PERCENTILE]));
    const double recent = ring_max(&l->rates, 1 + (uint32_t)(300.0 / p->knobs[LIT_INTERVAL]));
    out->wanted = ceil(members_for(p, fmax(rate, planned > 0.0 ? planned : recent)));
}

/* Reg (Iqbal et al. 2011): grows by what is there, shrinks by a second-order regression over the last values.
 */
#define REG_POINTS 10
static double regression(const struct ring *r, double ahead)
{
    double x0 = 0, x1 = 0, x2 = 0, x3 = 0, x4 = 0, y0 = 0, y1 = 0, y2 = 0;
    const uint32_t n = ring_count(r, REG_POINTS);
    if (n < 4)
        return ring_at(r, 0);
    for (uint32_t i = 0; i < n; i++) {
        const double x = -(double)i, y = ring_at(r, i);
        x0 += 1, x1 += x, x2 += x * x, x3 += x * x * x, x4 += x * x * x * x;
        y0 += y, y1 += x * y, y2 += x * x * y;
    }
    const double det = x0 * (x2 * x4 - x3 * x3) - x1 * (x1 * x4 - x3 * x2) + x2 * (x1 * x3 - x2 * x2);
    const double a = y0 * (x2 * x4 - x3 * x3) - x1 * (y1 * x4 - x3 * y2) + x2 * (y1 * x3 - x2 * y2);
    const double b = x0 * (y1 * x4 - y2 * x3) - y0 * (x1 * x4 - x3 * x2) + x2 * (x1 * y2 - y1 * x2);
    const double c = x0 * (x2 * y2 - x3 * y1) - x1 * (x1 * y2 - x2 * y1) + y0 * (x1 * x3 - x2 * x2);
    return (a + b * ahead + c * ahead * ahead) / det;
}

static void reg_decide(struct policy *p, const struct cox_sample *s, struct cox_decision *out)
{
    struct lit *l = p->state;
    double rate;
    out->wanted = s->current;
    if (!lit_rate(p, l, s, &rate))
        return;
    const double need = ceil(members_for(p, rate * (1.0 + p->knobs[LIT_MARGIN])));
    if (need >= s->current) {
        out->wanted = need;
        return;
    }
    const double ahead = fmax(rate, regression(&l->rates, 1.0 + p->world.delay_s / p->knobs[LIT_INTERVAL]));
    out->wanted = fmin(s->current, ceil(members_for(p, ahead * (1.0 + p->knobs[LIT_MARGIN]))));
}

/* ---- those that know ---- */

/* Enough for the peak, all the time. */
static void peak_decide(struct policy *p, const struct cox_sample *s, struct cox_decision *out)
{
    (void)s;
    out->wanted = *(double *)p->shared;
}

static void peak_prepare(struct policy *p)
{
    const struct load *l = p->world.load;
    double top = 0.0;
    for (size_t i = 0; i < l->seconds; i++)
        top = fmax(top, fmax(load_rate(l, (double)i), load_rate(l, (double)i + 0.999)));
    double *out = p->shared = must(malloc(sizeof(*out)));
    *out = least_members(&p->world.law, top * p->knobs[0], 1e-4);
}

static void shared_free(struct policy *p)
{
    free(p->shared);
    p->shared = NULL;
}

/* A fixed number of members. */
static void static_decide(struct policy *p, const struct cox_sample *s, struct cox_decision *out)
{
    (void)s;
    out->wanted = p->knobs[0];
}

enum { CLAIRVOYANT_PRICE };

/* The table is kept over a sweep. */
static void table_prepare(struct policy *p)
{
    const struct load *l = p->world.load;
    double top = 0.0;
    for (size_t i = 0; i < l->seconds; i++)
        top = fmax(top, load_rate(l, (double)i + 0.5));
    const uint32_t most = least_members(&p->world.law, top * (l->noise_cv > 0.0 ? 2.2 : 1.0), 1e-6) + 4;
    if (!p->world.table->width)
        over_table_init(p->world.table, &p->world.law, l->noise_cv,
                        most < p->world.max ? most : p->world.max);
}

/* shared: how many are to be alive, starting ones included, in each second */
static void clairvoyant_prepare(struct policy *p)
{
    const struct load *l = p->world.load;
    const size_t n = l->seconds, delay = (size_t)ceil(p->world.delay_s);
    double *rates = must(malloc(n * sizeof(*rates)));
    uint32_t *members = must(malloc(n * sizeof(*members))), *alive = must(calloc(n + 1, sizeof(*alive)));
    for (size_t i = 0; i < n; i++)
        rates[i] = load_rate(l, (double)i + 0.5);
    table_prepare(p);
    optimum(p->world.table, rates, n, p->world.delay_s, p->knobs[CLAIRVOYANT_PRICE], p->world.min, members);
    for (size_t i = 0; i < n; i++)
        for (size_t k = i > delay ? i - delay : 0; k <= i; k++)
            alive[k] = members[i] > alive[k] ? members[i] : alive[k];
    alive[n] = alive[n - 1];
    free(rates);
    free(members);
    p->shared = alive;
}

static void clairvoyant_decide(struct policy *p, const struct cox_sample *s, struct cox_decision *out)
{
    const uint32_t *alive = p->shared;
    const double at = now_of(s) - SIM_EPOCH_S + 1e-6;
    const size_t last = p->world.load->seconds;
    out->wanted = alive[at <= 0.0 ? 0 : at >= (double)last ? last : (size_t)at];
}

/* ---- who knows the rate of now, but not the future ---- */

enum { PERSISTENT_PRICE, PERSISTENT_TREND, PERSISTENT_LEARN, CV_STEPS = 64 };
#define CV_STEP 0.02

struct persistent {
    struct every tick;
    struct ring needs;
    uint32_t guess;
    uint64_t arrivals;
    double seen_s, square, excess; /* what it has seen of the noise */
};

/* Told that noise is of a gamma law, it finds its CV: what counts of seconds vary by beyond Poisson's, and
 * two standard errors. */
static struct over_table *learn(struct policy *p, struct persistent *k, const struct cox_sample *s,
                                double rate)
{
    const double off = (double)(s->totals.arrivals - k->arrivals) - rate;
    if (k->arrivals > 0) {
        k->seen_s += 1.0;
        k->square += rate * rate;
        k->excess += off * off - rate;
    }
    k->arrivals = s->totals.arrivals;
    const double known = fmax(0.0, k->excess / fmax(k->square, 1.0));
    const double cv = k->seen_s < 30.0 ? 0.5 : sqrt(known * (1.0 + 2.0 * sqrt(2.0 / k->seen_s)));
    p->shared = p->shared ? p->shared : must(calloc(CV_STEPS, sizeof(struct over_table)));
    const uint32_t step = (uint32_t)fmin(ceil(cv / CV_STEP), CV_STEPS - 1);
    struct over_table *table = (struct over_table *)p->shared + step;
    if (!table->width)
        over_table_init(table, &p->world.law, step * CV_STEP, p->world.table->width - 1);
    return table;
}

static void persistent_release(struct policy *p)
{
    struct over_table *tables = p->shared;
    for (uint32_t i = 0; tables && i < CV_STEPS; i++)
        over_table_fini(&tables[i]);
    shared_free(p);
}

/* The count of least cost in a second of that rate: the table is convex. */
static uint32_t cheapest(const struct policy *p, struct over_table *table, double rate, uint32_t guess)
{
    const float *row = over_table_row(table, rate);
    const double price = p->knobs[PERSISTENT_PRICE];
    uint32_t m = guess;
    while (m + 1 < table->width && price * ((double)row[m] - row[m + 1]) > 1.0)
        m++;
    while (m > p->world.min && price * ((double)row[m - 1] - row[m]) <= 1.0)
        m--;
    return m;
}

/* Knows the rate exactly as it is, without its noise, and takes it (or the straight line from a start-up
 * delay ago) for that of the moment when what is ordered now is ready. It lets a member go when keeping it
 * has cost what a new one would. */
static void persistent_decide(struct policy *p, const struct cox_sample *s, struct cox_decision *out)
{
    struct persistent *k = p->state;
    const struct load *l = p->world.load;
    const double at = now_of(s) - SIM_EPOCH_S, rate = load_rate(l, at);
    out->wanted = s->current;
    if (!is_due(&k->tick, now_of(s), 1.0))
        return;
    const double grown = p->knobs[PERSISTENT_TREND] * (rate - load_rate(l, at - p->world.delay_s));
    const uint32_t guess = k->guess ? k->guess : 1;
    const bool learns = p->knobs[PERSISTENT_LEARN] > 0.0;
    struct over_table *table = learns ? learn(p, k, s, load_rate(l, at - 0.5)) : p->world.table;
    k->guess = cheapest(p, table, fmax(0.0, rate + grown), guess < table->width ? guess : 1);
    ring_add(&k->needs, k->guess);
    out->wanted = ring_max(&k->needs, 1 + (uint32_t)p->world.delay_s);
}

const struct baseline baselines[] = {
    {"kpa",
     "Knative's pod autoscaler; window=6 for its short form",
     sizeof(struct kpa),
     {{"target", 0.7},
      {"window", 60},
      {"panic", 10},
      {"threshold", 200},
      {"down_rate", 2},
      {"down_delay", 0}},
     kpa_decide,
     NULL,
     NULL},
    {"keda",
     "KEDA's HTTP add-on, concurrency, through the horizontal autoscaler",
     sizeof(struct hpa),
     {{"target", 0.7},
      {"tolerance", 0.1},
      {"down_window", 300},
      {"period", 15},
      {"up_percent", 100},
      {"up_pods", 4}},
     keda_decide,
     NULL,
     NULL},
    {"hpa",
     "the horizontal autoscaler on an external metric: requests in flight",
     sizeof(struct hpa),
     {{"target", 0.7},
      {"tolerance", 0.1},
      {"down_window", 300},
      {"period", 15},
      {"up_percent", 100},
      {"up_pods", 4}},
     hpa_decide,
     NULL,
     NULL},
    {"react",
     "React (Chieu et al. 2009)",
     sizeof(struct lit),
     {{"target", 0.8}, {"interval", 10}, {"margin", 0.2}, {"band", 0.1}},
     react_decide,
     NULL,
     NULL},
    {"adapt",
     "Adapt (Ali-Eldin et al. 2012)",
     sizeof(struct lit),
     {{"target", 0.7}, {"interval", 10}},
     adapt_decide,
     NULL,
     NULL},
    {"hist",
     "Hist (Urgaonkar et al. 2008)",
     sizeof(struct lit),
     {{"target", 0.8}, {"interval", 60}, {"unused_margin", 0}, {"unused_band", 0}, {"percentile", 99}},
     hist_decide,
     NULL,
     NULL},
    {"reg",
     "Reg (Iqbal et al. 2011)",
     sizeof(struct lit),
     {{"target", 0.8}, {"interval", 10}, {"margin", 0.1}},
     reg_decide,
     NULL,
     NULL},
    {"peak",
     "enough members for the highest rate, all the time",
     0,
     {{"factor", 1.0}},
     peak_decide,
     peak_prepare,
     shared_free},
    {"static", "a number of members", 0, {{"members", 1.0}}, static_decide, NULL, NULL},
    {"persistent",
     "knows the rate of now, and takes it for the future's; trend=1: a straight line; learn=1: the noise",
     sizeof(struct persistent),
     {{"price", 10.0}, {"trend", 0.0}, {"learn", 0.0}},
     persistent_decide,
     table_prepare,
     persistent_release},
    {"clairvoyant",
     "the best schedule that knows the rate for all time (optimum.h)",
     0,
     {{"price", 10.0}},
     clairvoyant_decide,
     clairvoyant_prepare,
     shared_free},
    {0}};
