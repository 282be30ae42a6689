/* scale_stratos: Apache Stratos' rule, as it was meant and as it was coded.
 *
 *   predicted = value + gradient·t + ½·second derivative·t²
 *   wanted    = the largest of: in flight, predicted / threshold
 *                               load average and memory, members × predicted / threshold
 *
 * As meant: exact means of exact integrals over quarters of a window, t in seconds from the middle of the
 * window to the moment when a member ordered now is ready, and only factors that are fresh. As coded: version
 * 4.1 with its clocks, its batches of instantaneous samples and its defects (as_coded.h). */
#include <stdbool.h>
#include <string.h>

#include <coxswain/plugin.h>

#include "../common/pure.h"
#include "../common/say.h"
#include "as_coded.h"

#define NS_PER_MS     1000000ull
#define HORIZON_GUESS 30.0 /* seconds; until a start-up was seen */
#define QUARTERS      4
#define MARKS         128u
#define FACTORS       2 /* load average, memory */
#define PEAKS         32u

enum {
    OPTION_IN_FLIGHT,
    OPTION_LOAD_AVERAGE,
    OPTION_MEMORY,
    OPTION_WINDOW,
    OPTION_HORIZON,
    OPTION_FRESH,
    OPTION_DOWN_WINDOW,
    OPTION_AS_CODED
};

#define OPTION(t, k, d, lo, hi, h)                                                                           \
    {                                                                                                        \
        .size = sizeof(struct cox_option), .type = (t), .key = (k), .def = (d), .min = (lo), .max = (hi),    \
        .help = (h)                                                                                          \
    }

static const struct cox_option options[] = {
    OPTION(COX_OPTION_REAL, "requests_in_flight_threshold", "20", 0, 1000000,
           "Exchanges in flight that one member should carry. 0: they do not count."),
    OPTION(COX_OPTION_REAL, "load_average_threshold", "70", 0, 100000,
           "Load average of a member, in percent, at which one more is wanted. 0: it does not count."),
    OPTION(COX_OPTION_REAL, "memory_consumption_threshold", "70", 0, 100,
           "Memory in use of a member, in percent, at which one more is wanted. 0: it does not count."),
    OPTION(COX_OPTION_DURATION, "window", "60s", 4000, 3600000,
           "Over how long values, gradients and second derivatives are taken."),
    OPTION(
        COX_OPTION_DURATION, "horizon", NULL, 0, 3600000,
        "How far ahead the prediction looks. Not given: the start-up delay that nine in ten members keep, as "
        "it "
        "was learned (30 s until then). With as_coded: 1 s, as it was in effect; \"60s\" is what was meant."),
    OPTION(COX_OPTION_DURATION, "fresh_for", "60s", 1000, 3600000,
           "Load average and memory count while the oldest report of them is no older."),
    OPTION(COX_OPTION_DURATION, "scale_down_window", "360s", 0, 3600000,
           "Shrinks to the largest answer of so long. The original needed four evaluations, 90 s apart."),
    OPTION(COX_OPTION_BOOL, "as_coded", "false", 0, 0,
           "Decides as Stratos 4.1 did, defects included: samples of 15 s, batches of a minute, evaluations "
           "of 90 s."),
};

/* A reporter that was away for so long is taken as gone for good. */
#define GONE_NS UINT64_C(86400000000000)

/* Cumulative values: of the load (exchange-nanoseconds), and of each factor (value × ns). */
struct mark {
    uint64_t at_ns, load;
    double factor[FACTORS];
};

struct as_meant {
    uint32_t is_on, written;
    uint64_t epoch, last_ns, last_total_ns, load, blind_until_ns;
    double factor[FACTORS], last[FACTORS]; /* last: as it was reported last */
    uint64_t fresh_ns[FACTORS];            /* when it was fresh last; 0: never */
    uint64_t peak_until_ns;
    uint32_t peak_at, reserved;
    double peaks[PEAKS];
    struct mark marks[MARKS];
};

/* One block for both, so that the size does not depend on the options. */
struct state {
    struct as_meant meant;
    struct coded coded;
};

static int64_t option_i(const struct cox_sample *sample, uint32_t row)
{
    return cox_option_at(sample->options, row)->i;
}

static double option_f(const struct cox_sample *sample, uint32_t row)
{
    return cox_option_at(sample->options, row)->f;
}

static uint64_t state_size(const struct cox_options *opts)
{
    (void)opts;
    return sizeof(struct state);
}

static void init_state(const struct cox_options *opts, void *state)
{
    (void)opts;
    memset(state, 0, sizeof(struct state));
}

/* ---- what is measured ---- */

static const struct cox_factor *find_factor(const struct cox_sample *sample, const char *metric)
{
    for (uint32_t i = 0; i < sample->factors.count; i++) {
        const struct cox_factor *f = COX_AT(struct cox_factor, sample->factors, i);
        const bool is_number = f->value - f->value == 0; /* else it would stay in sums for ever */
        if (f->metric && strcmp(f->metric, metric) == 0)
            return is_number ? f : NULL;
    }
    return NULL;
}

static const char *const metrics[FACTORS] = {"load_average", "memory_consumption"};

/* NULL: nobody reports it, or the oldest report is too old. */
static const struct cox_factor *fresh_factor(const struct cox_sample *sample, int which)
{
    const struct cox_factor *f = find_factor(sample, metrics[which]);
    const uint64_t limit_ns = (uint64_t)option_i(sample, OPTION_FRESH) * NS_PER_MS;
    return f && f->count && f->age_ns <= limit_ns ? f : NULL;
}

static void begin(struct as_meant *s, const struct cox_sample *sample, uint64_t total_ns)
{
    memset(s, 0, sizeof *s);
    s->is_on = 1;
    s->epoch = sample->totals.epoch;
    s->last_ns = sample->now_ns;
    s->last_total_ns = total_ns;
    s->blind_until_ns = sample->now_ns + (uint64_t)option_i(sample, OPTION_WINDOW) * NS_PER_MS;
    s->marks[s->written++ % MARKS] = (struct mark){.at_ns = sample->now_ns};
}

static void take(struct as_meant *s, const struct cox_sample *sample)
{
    const uint64_t total_ns = sample->totals.held_ns + sample->totals.serving_ns;
    const uint64_t window_ns = (uint64_t)option_i(sample, OPTION_WINDOW) * NS_PER_MS;
    if (!s->is_on || sample->flags & COX_SAMPLE_FIRST || sample->now_ns < s->last_ns)
        begin(s, sample, total_ns);
    if (sample->totals.epoch != s->epoch) {
        s->epoch = sample->totals.epoch;
        s->last_total_ns = 0;
        s->blind_until_ns = sample->now_ns + window_ns;
    }
    const double dt = (double)(sample->now_ns - s->last_ns);
    for (int i = 0; i < FACTORS; i++) {
        const struct cox_factor *f = find_factor(sample, metrics[i]);
        s->last[i] = f ? f->value : s->last[i]; /* while nobody reports it, nobody knows better */
        s->factor[i] += s->last[i] * dt;
        s->fresh_ns[i] = fresh_factor(sample, i) ? sample->now_ns : s->fresh_ns[i];
    }
    s->load += total_ns - s->last_total_ns;
    s->last_total_ns = total_ns;
    s->last_ns = sample->now_ns;
    if (sample->now_ns - s->marks[(s->written - 1) % MARKS].at_ns >= window_ns / (MARKS - 16)) {
        struct mark m = {.at_ns = sample->now_ns, .load = s->load};
        memcpy(m.factor, s->factor, sizeof m.factor);
        s->marks[s->written++ % MARKS] = m;
    }
}

/* The newest mark that is at least so old; the oldest that there is when none is. Found by halving. */
static const struct mark *mark_before(const struct as_meant *s, uint64_t age_ns)
{
    uint32_t low = s->written > MARKS ? s->written - MARKS : 0, high = s->written - 1;
    while (low < high) {
        const uint32_t middle = high - (high - low) / 2;
        if (s->last_ns - s->marks[middle % MARKS].at_ns >= age_ns)
            low = middle;
        else
            high = middle - 1;
    }
    return &s->marks[low % MARKS];
}

/* Mean between two marks; which: -1 is the load, else a factor. */
static double between(const struct mark *a, const struct mark *b, int which)
{
    const double dt = (double)(b->at_ns - a->at_ns);
    const double sum = which < 0 ? (double)(b->load - a->load) : b->factor[which] - a->factor[which];
    return dt > 0.0 ? sum / dt : 0.0;
}

/* Value in the middle of the window, and its derivatives per second there, from the means of its quarters. */
struct motion {
    double value, gradient, second;
    double middle_s; /* before now */
};

static struct motion motion_of(const struct as_meant *s, const struct cox_sample *sample, int which)
{
    const uint64_t window_ns = (uint64_t)option_i(sample, OPTION_WINDOW) * NS_PER_MS;
    struct mark now = {.at_ns = s->last_ns, .load = s->load};
    const struct mark *at[QUARTERS + 1];
    memcpy(now.factor, s->factor, sizeof now.factor);
    for (uint32_t q = 0; q < QUARTERS; q++)
        at[q] = mark_before(s, window_ns / QUARTERS * (QUARTERS - q));
    at[QUARTERS] = &now;
    struct motion m = {.value = between(at[0], &now, which)};
    const double whole = (double)(now.at_ns - at[0]->at_ns) / 1e9;
    m.middle_s = whole / 2.0;
    if (whole * 1e9 < 0.99 * (double)window_ns) /* no trend from less than a window */
        return m;
    const double step = whole / QUARTERS;
    double mean[QUARTERS];
    for (int q = 0; q < QUARTERS; q++)
        mean[q] = between(at[q], at[q + 1], which);
    m.gradient = (mean[2] + mean[3] - mean[0] - mean[1]) / (4.0 * step);
    m.second = ((mean[3] - mean[2]) - (mean[1] - mean[0])) / (2.0 * step * step);
    return m;
}

/* ---- as it was meant ---- */

static double horizon_of(const struct cox_sample *sample)
{
    const struct cox_value *given = cox_option_at(sample->options, OPTION_HORIZON);
    if (!(given->flags & COX_VALUE_ABSENT))
        return (double)given->i / 1e3;
    return sample->start_p90_ns == sample->start_p90_ns ? sample->start_p90_ns / 1e9 : HORIZON_GUESS;
}

static double predict(const struct motion *m, double horizon)
{
    const double t = m->middle_s + horizon;
    const double predicted = m->value + m->gradient * t + 0.5 * m->second * t * t;
    return predicted > 0.0 ? predicted : 0.0;
}

static void offer(struct cox_decision *out, double wanted, uint32_t cause)
{
    if (COX_HAS(out, struct cox_decision, horizon_ns))
        out->alternatives[out->alternative_count++] =
            (struct cox_alternative){.wanted = wanted, .cause = cause};
}

/* The largest of the last while, in granules of a 31st of it. */
static double stabilise(struct as_meant *s, const struct cox_sample *sample, double wanted)
{
    const uint64_t window_ns = (uint64_t)option_i(sample, OPTION_DOWN_WINDOW) * NS_PER_MS;
    const uint64_t granule_ns = window_ns / (PEAKS - 1) + 1, now_ns = sample->now_ns;
    double top = wanted;
    if (window_ns == 0)
        return wanted;
    if (s->peak_until_ns == 0 || now_ns - s->peak_until_ns >= window_ns + granule_ns)
        s->peak_until_ns = now_ns;
    for (; s->peak_until_ns <= now_ns; s->peak_until_ns += granule_ns) {
        s->peak_at = (s->peak_at + 1) % PEAKS;
        s->peaks[s->peak_at] = wanted;
    }
    if (wanted > s->peaks[s->peak_at])
        s->peaks[s->peak_at] = wanted;
    for (uint32_t i = 0; i < PEAKS; i++)
        top = s->peaks[i] > top ? s->peaks[i] : top;
    return top;
}

/* missing: the factor that keeps it from shrinking; NULL: none does. */
static void explain(struct cox_decision *out, double predicted, double value, double horizon, uint32_t cause,
                    const char *missing)
{
    struct say say = say_open(out->reason, sizeof out->reason);
    say_text(&say, "in flight ");
    say_number(&say, value);
    say_text(&say, ", predicted ");
    say_number(&say, predicted);
    say_text(&say, " in ");
    say_number(&say, horizon);
    say_text(&say, " s");
    if (missing) {
        say_text(&say, "; does not shrink while nobody reports ");
        say_text(&say, missing);
    }
    if (!COX_HAS(out, struct cox_decision, horizon_ns))
        return;
    out->cause = cause;
    out->demand = predicted;
    out->horizon_ns = (uint64_t)(horizon * 1e9);
}

static double largest_factor(const struct as_meant *s, const struct cox_sample *sample,
                             struct cox_decision *out, double horizon, double wanted, uint32_t *cause)
{
    static const uint32_t causes[FACTORS] = {COX_CAUSE_LOAD_AVERAGE, COX_CAUSE_MEMORY};
    for (int i = 0; i < FACTORS; i++) {
        const double threshold = option_f(sample, OPTION_LOAD_AVERAGE + (uint32_t)i);
        if (threshold <= 0.0 || !fresh_factor(sample, i))
            continue;
        const struct motion m = motion_of(s, sample, i);
        const double by = (double)sample->current * predict(&m, horizon) / threshold;
        offer(out, by, causes[i]);
        if (by > wanted) {
            wanted = by;
            *cause = causes[i];
        }
    }
    return wanted;
}

/* One that counts was reported, and is no more: what it would say now nobody knows. NULL: none. */
static const char *missing_factor(const struct as_meant *s, const struct cox_sample *sample)
{
    for (int i = 0; i < FACTORS; i++)
        if (option_f(sample, OPTION_LOAD_AVERAGE + (uint32_t)i) > 0.0 && s->fresh_ns[i] &&
            s->fresh_ns[i] != sample->now_ns && sample->now_ns - s->fresh_ns[i] < GONE_NS)
            return metrics[i];
    return NULL;
}

static void decide_as_meant(struct as_meant *s, const struct cox_sample *sample, struct cox_decision *out)
{
    const double threshold = option_f(sample, OPTION_IN_FLIGHT), horizon = horizon_of(sample);
    const double current = (double)sample->current;
    double wanted = 0.0;
    uint32_t cause = COX_CAUSE_FORECAST;
    take(s, sample);
    const struct motion load = motion_of(s, sample, -1);
    const double predicted = predict(&load, horizon);
    if (threshold > 0.0) {
        wanted = predicted / threshold;
        offer(out, wanted, COX_CAUSE_FORECAST);
    }
    wanted = largest_factor(s, sample, out, horizon, wanted, &cause);
    if (sample->flags & COX_SAMPLE_WAKE && wanted < 1.0) {
        wanted = 1.0;
        cause = COX_CAUSE_HELD;
    }
    const double kept = stabilise(s, sample, wanted);
    const double whole = sample->math->ceil(kept - 1e-6);
    if (kept > wanted && whole >= current)
        cause = COX_CAUSE_STABILISED;
    wanted = kept;
    const char *missing = whole < current ? missing_factor(s, sample) : NULL;
    if (whole < current && (sample->now_ns < s->blind_until_ns || sample->flags & COX_SAMPLE_NO_SHRINK ||
                            sample->sources_fresh < sample->sources_expected || missing)) {
        wanted = current;
        cause = COX_CAUSE_NO_DATA;
    }
    out->wanted = wanted;
    explain(out, predicted, load.value, horizon,
            whole == current && cause == COX_CAUSE_FORECAST ? COX_CAUSE_STEADY : cause, missing);
}

/* ---- as it was coded ---- */

static void decide_as_coded(struct coded *s, const struct cox_sample *sample, struct cox_decision *out)
{
    const struct cox_value *horizon = cox_option_at(sample->options, OPTION_HORIZON);
    const struct cox_factor *load = find_factor(sample, metrics[0]),
                            *memory = find_factor(sample, metrics[1]);
    const struct coded_policy policy = {
        .threshold = {option_f(sample, OPTION_IN_FLIGHT), option_f(sample, OPTION_LOAD_AVERAGE),
                      option_f(sample, OPTION_MEMORY)},
        .time = horizon->flags & COX_VALUE_ABSENT ? 1.0 : (double)horizon->i / 1e3,
        .min = sample->min,
        .max = sample->max};
    const struct coded_seen seen = {.now_ns = sample->now_ns,
                                    .value = {(double)(sample->held_now + sample->serving_now),
                                              load ? load->value : 0.0, memory ? memory->value : 0.0},
                                    .reporting = {1, load ? load->count : 0, memory ? memory->count : 0},
                                    .active = sample->ready,
                                    .pending = sample->starting,
                                    .current = sample->current};
    const struct coded_answer answer = coded_decide(s, &policy, &seen, sample->math->ceil);
    out->wanted = answer.wanted;
    explain(out, answer.predicted, s->channel[0].average, policy.time, answer.cause, NULL);
}

static void decide(void *state, const struct cox_sample *sample, struct cox_decision *out_decision)
{
    struct state *s = state;
    if (!COX_HAS(sample, struct cox_sample, totals)) { /* a host from before there were totals */
        out_decision->wanted = (double)sample->current;
        return;
    }
    if (COX_HAS(out_decision, struct cox_decision, horizon_ns))
        out_decision->alternative_count = 0;
    if (option_i(sample, OPTION_AS_CODED))
        decide_as_coded(&s->coded, sample, out_decision);
    else
        decide_as_meant(&s->meant, sample, out_decision);
}

static const struct cox_scaler scaler = {.size = sizeof scaler,
                                         .state_version = 2,
                                         .state_size = state_size,
                                         .init_state = init_state,
                                         .decide = decide};

COX_EXPORT const struct cox_plugin cox_plugin = {.size = sizeof cox_plugin,
                                                 .abi = COX_ABI,
                                                 .name = "scale_stratos",
                                                 .summary =
                                                     "Apache Stratos' prediction, as meant and as coded",
                                                 .version = "1",
                                                 .options = COX_ARRAY(options),
                                                 PURE_LIFE,
                                                 .scaler = &scaler};
