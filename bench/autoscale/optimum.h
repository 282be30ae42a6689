/* optimum: the clairvoyant schedule. It knows the rate for all time and the law of service, but not the
 * draws; members are ordered a start-up delay ahead, there are at least `min`, and it minimises
 *
 *     Σ m(t) + D · Σ (growth of m) + price · Σ (requests over objective at rate λ(t) with m(t) members)
 *
 * in steps of one second. The requests over objective are those of the steady state (queueing.h), with noise
 * of the rate mixed in, made convex in m. For such costs the members can be taken one by one: member k is
 * there or not, at its own saving, and each has an exact dynamic program of two states; the best sets are
 * nested.
 *
 * A price belongs to each share over objective. What the share really is, and what it costs, the simulator
 * says: the schedule is run like any other policy, so the front of the clairvoyant is measured with the same
 * yardstick. */
#ifndef COX_AUTOSCALE_OPTIMUM_H
#define COX_AUTOSCALE_OPTIMUM_H

#include <stddef.h>
#include <stdint.h>

#include "queueing.h"

/* Requests a second over objective, by rate and members, convex in members. */
struct over_table {
    float *over;    /* owned: RATE_GRID rows of `width` */
    uint8_t *known; /* owned: rows that are filled */
    uint32_t width; /* members 0 .. width-1 */
    struct service_law law;
    double noise_cv;
};

void over_table_init(struct over_table *t, const struct service_law *law, double noise_cv,
                     uint32_t members_max);
void over_table_fini(struct over_table *t);
/* The row of a rate. */
const float *over_table_row(struct over_table *t, double rate);

/* The best schedule: members for each of n seconds; out has n items. The first second's members are free. */
void optimum(struct over_table *t, const double *rates, size_t n, double delay_s, double price, uint32_t min,
             uint32_t *out);
/* What a schedule costs in that sense. */
double optimum_cost(struct over_table *t, const double *rates, size_t n, double delay_s, double price,
                    const uint32_t *members);

#endif
