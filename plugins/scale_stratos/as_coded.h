/* as_coded: how Apache Stratos 4.1 really decided, clocks and defects included, so that a comparison with it
 * is one with the thing itself.
 *
 *  - Every 15 s the momentary value is sampled; every minute a batch of four gives average, gradient (last
 *    less first sample, per second) and second derivative; every 90 s there is an evaluation.
 *  - The prediction was meant for the next minute, but t = 1 goes with derivatives per second.
 *  - Load average is multiplied by the minimum, not by the members there are; memory maps threshold..100 % to
 *    min..max; members that are still starting count as zero in their means.
 *  - That a factor is stale is noticed, and ignored: its last value still votes.
 *  - Growing orders required − (active + pending); when fewer are required than are on their way, the loop
 * never meets its end and fills everything up to the maximum.
 *  - Shrinking takes four low evaluations, in a row or not, then one member an evaluation; only growing sets
 *    the counter back.
 *
 * Fixed-width little-endian fields; pure. */
#ifndef COX_SCALE_STRATOS_AS_CODED_H
#define COX_SCALE_STRATOS_AS_CODED_H

#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "states are little-endian");

enum coded_channel_id { CODED_IN_FLIGHT, CODED_LOAD, CODED_MEMORY, CODED_CHANNELS };
#define CODED_BATCH 8u /* room for the samples of a minute: four, as a rule */

/* One factor: the running batch, and what the last one gave. */
struct coded_channel {
    double value[CODED_BATCH];
    uint64_t at_ns[CODED_BATCH];
    double average, gradient, second;
    uint32_t count;
    uint32_t fresh; /* bits: average, gradient, second derivative arrived since the last evaluation */
};

struct coded {
    struct coded_channel channel[CODED_CHANNELS];
    uint64_t next_sample_ns, next_batch_ns, next_evaluation_ns; /* 0: nothing was seen yet */
    uint32_t low_count;                                         /* evaluations that wanted fewer */
    uint32_t wanted;
    uint32_t cause, reserved; /* of the last evaluation */
    double predicted;
};

struct coded_policy {
    double threshold[CODED_CHANNELS];
    double time; /* the t of the prediction, in seconds */
    uint32_t min, max;
};

struct coded_seen {
    uint64_t now_ns;
    double value[CODED_CHANNELS];       /* total in flight; percent, percent */
    uint32_t reporting[CODED_CHANNELS]; /* members in the mean; 0: nobody reports it */
    uint32_t active, pending, current;
};

struct coded_answer {
    double wanted, predicted;
    uint32_t cause; /* enum cox_cause */
};

struct coded_answer coded_decide(struct coded *s, const struct coded_policy *p, const struct coded_seen *seen,
                                 double (*ceiling)(double));

/* The rules, for the golden tests. */
double coded_required(enum coded_channel_id id, double predicted, double threshold, uint32_t min,
                      uint32_t max, double (*ceiling)(double));
/* Average, gradient and second derivative of the running batch, which is empty afterwards. */
void coded_batch(struct coded_channel *c);
double coded_predict(const struct coded_channel *c, double time);

#endif
