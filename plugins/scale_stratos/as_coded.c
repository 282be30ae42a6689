#include "as_coded.h"

#include <coxswain/scale.h>

#define SAMPLE_NS     15000000000ull
#define BATCH_NS      60000000000ull
#define EVALUATION_NS 90000000000ull
#define LOW_ENOUGH    2u /* the counter has to be above it */

enum { FRESH_AVERAGE = 1, FRESH_GRADIENT = 2, FRESH_SECOND = 4, FRESH_ALL = 7 };

/* ---- batches ---- */

/* First and last only; events less than a second apart count as a second apart. */
static double gradient(double first, uint64_t first_ns, double last, uint64_t last_ns)
{
    const double ms = (double)(last_ns - first_ns) / 1e6;
    return (last - first) * 1000.0 / (ms > 1000.0 ? ms : 1000.0);
}

void coded_batch(struct coded_channel *c)
{
    const uint32_t n = c->count, half = n / 2;
    double sum = 0.0;
    if (n == 0)
        return;
    for (uint32_t i = 0; i < n; i++)
        sum += c->value[i];
    c->average = sum / n;
    c->gradient = n > 1 ? gradient(c->value[0], c->at_ns[0], c->value[n - 1], c->at_ns[n - 1]) : 0.0;
    c->fresh |= FRESH_AVERAGE | FRESH_GRADIENT;
    if (n > 2) { /* with fewer nothing is sent, and the factor does not become fresh */
        const double d1 = gradient(c->value[0], c->at_ns[0], c->value[half - 1], c->at_ns[half - 1]);
        const double d2 = gradient(c->value[half], c->at_ns[half], c->value[n - 1], c->at_ns[n - 1]);
        const uint64_t m1 = c->at_ns[0] + (c->at_ns[half - 1] - c->at_ns[0]) / 2;
        const uint64_t m2 = c->at_ns[half] + (c->at_ns[n - 1] - c->at_ns[half]) / 2;
        c->second = gradient(d1, m1, d2, m2);
        c->fresh |= FRESH_SECOND;
    }
    c->count = 0;
}

static void sample_all(struct coded *s, const struct coded_seen *seen)
{
    for (uint32_t i = 0; i < CODED_CHANNELS; i++) {
        struct coded_channel *c = &s->channel[i];
        if (!seen->reporting[i] || c->count == CODED_BATCH)
            continue;
        /* starting members have a statistics object, and a zero in it */
        const double all = (double)seen->reporting[i] + seen->pending;
        c->value[c->count] =
            i == CODED_IN_FLIGHT ? seen->value[i] : seen->value[i] * seen->reporting[i] / all;
        c->at_ns[c->count++] = seen->now_ns;
    }
}

/* ---- what is required ---- */

double coded_predict(const struct coded_channel *c, double time)
{
    return c->average + c->gradient * time + 0.5 * c->second * time * time;
}

static double memory_required(double predicted, double threshold, uint32_t min, uint32_t max,
                              double (*ceiling)(double))
{
    if (predicted < threshold)
        return (double)min - 1.0;
    if (max == min)
        return min;
    return ceiling(min + (predicted - threshold) / ((100.0 - threshold) / ((double)max - min)));
}

double coded_required(enum coded_channel_id id, double predicted, double threshold, uint32_t min,
                      uint32_t max, double (*ceiling)(double))
{
    if (id == CODED_IN_FLIGHT)
        return threshold > 0.0 ? ceiling(predicted / threshold) : 0.0;
    if (id == CODED_LOAD)
        return threshold > 0.0 ? ceiling(min * predicted / threshold) : min;
    return memory_required(predicted, threshold, min, max, ceiling);
}

/* ---- evaluation ---- */

static uint32_t at_least(uint32_t n, uint32_t least)
{
    return n < least ? least : n;
}

static void grow(struct coded *s, const struct coded_policy *p, const struct coded_seen *seen,
                 double required)
{
    const uint32_t there = seen->active + seen->pending;
    s->low_count = 0;
    if (there >= p->max) /* the parent is told, and that is all */
        return;
    if (p->max < required)
        s->wanted = p->max;
    else /* a negative number of members to add ends at the maximum only */
        s->wanted = required < there ? p->max : (uint32_t)required;
}

static void shrink(struct coded *s, const struct coded_policy *p, const struct coded_seen *seen)
{
    const uint32_t there = seen->active + seen->pending;
    if (there <= p->min)
        return;
    if (s->low_count > LOW_ENOUGH)
        s->wanted = at_least(there, 1) - 1;
    else
        s->low_count++;
}

static uint32_t evaluate(struct coded *s, const struct coded_policy *p, const struct coded_seen *seen,
                         double (*ceiling)(double))
{
    static const uint32_t causes[CODED_CHANNELS] = {COX_CAUSE_FORECAST, COX_CAUSE_LOAD_AVERAGE,
                                                    COX_CAUSE_MEMORY};
    double required = 0.0;
    uint32_t cause = COX_CAUSE_NO_DATA, is_fresh = 0;
    for (uint32_t i = 0; i < CODED_CHANNELS; i++) {
        struct coded_channel *c = &s->channel[i];
        is_fresh |= c->fresh == FRESH_ALL;
        c->fresh = 0;
    }
    if (!is_fresh)
        return cause;
    for (uint32_t i = 0; i < CODED_CHANNELS; i++) { /* the stale ones too */
        const double predicted = coded_predict(&s->channel[i], p->time);
        const double by =
            coded_required((enum coded_channel_id)i, predicted, p->threshold[i], p->min, p->max, ceiling);
        s->predicted = i == 0 ? predicted : s->predicted;
        if (i == 0 || by > required) {
            required = by;
            cause = causes[i];
        }
    }
    if (seen->active < required)
        grow(s, p, seen, required);
    else if (seen->active > required || (required == 1.0 && seen->active == 1))
        shrink(s, p, seen);
    return cause;
}

static int is_due(uint64_t *next_ns, uint64_t now_ns, uint64_t period_ns)
{
    if (now_ns < *next_ns)
        return 0;
    while (*next_ns <= now_ns)
        *next_ns += period_ns;
    return 1;
}

struct coded_answer coded_decide(struct coded *s, const struct coded_policy *p, const struct coded_seen *seen,
                                 double (*ceiling)(double))
{
    if (s->next_sample_ns == 0 ||
        s->next_sample_ns > seen->now_ns + SAMPLE_NS) { /* new, or the clock is another */
        *s = (struct coded){.next_sample_ns = seen->now_ns,
                            .next_batch_ns = seen->now_ns + BATCH_NS,
                            .next_evaluation_ns = seen->now_ns + EVALUATION_NS};
        s->wanted = seen->current;
        s->cause = COX_CAUSE_NO_DATA;
    }
    if (is_due(&s->next_batch_ns, seen->now_ns, BATCH_NS))
        for (uint32_t i = 0; i < CODED_CHANNELS; i++)
            coded_batch(&s->channel[i]);
    if (is_due(&s->next_sample_ns, seen->now_ns, SAMPLE_NS))
        sample_all(s, seen);
    if (is_due(&s->next_evaluation_ns, seen->now_ns, EVALUATION_NS)) {
        s->wanted = at_least(seen->current, p->min);
        s->cause = evaluate(s, p, seen, ceiling);
    }
    return (struct coded_answer){.wanted = s->wanted, .predicted = s->predicted, .cause = s->cause};
}
