/* run: one simulated set under one load, one policy and one seed, and what is to be said about it.
 *
 *   load ─► engine (exact or by sums) ─► totals ─► sample ─► policy ─► fleet ─► engine
 *                        └──► waits ─► score
 *
 * What both engines share is here: the clock's ticks, the sample made of cumulative totals as the
 * orchestrator makes it, the count, and the score. Time 0 is the beginning of the load; a warm-up of constant
 * rate runs before it and is not scored. Everything follows from the seed. */
#ifndef COX_AUTOSCALE_RUN_H
#define COX_AUTOSCALE_RUN_H

#include <stdbool.h>
#include <stdio.h>

#include "fleet.h"
#include "load.h"
#include "policy.h"
#include "queueing.h"

struct run_config {
    const struct load *load;
    struct service_law law;
    double service_cv; /* 0: exponential; else lognormal (exact engine) */
    double delay_s, delay_cv;
    double tick_s;
    double patience_s; /* who waits longer is answered 503 */
    double warmup_s;
    double share;               /* that may be over objective, for the demand d_t */
    uint32_t min, max, initial; /* initial 0: the least that meet the objective at the first rate */
    uint64_t seed;
    bool is_exact;
    double lead_s;   /* exact engine: only so much of the warm-up request by request; negative: all */
    double need;     /* step loads: what is right afterwards; 0: what the policy settles at within the run */
    FILE *timeline;  /* a line a second, or NULL */
    FILE *decisions; /* a line a change, or NULL */
};

struct run_result {
    double cost_s;            /* member-seconds */
    double requests, over;    /* over: waited longer than W, or was never served */
    double abandoned, failed; /* of those */
    double response_p99_s, wait_p99_s;
    double theta_under, theta_over, tau_under, tau_over, instability, jitter; /* percent; jitter: a minute */
    double peak_members;
    uint64_t actions, reversals, decisions;
    double first_right_s;  /* step loads: first answer of 90 % of what is right, after the jump; NaN: none */
    double first_enough_s; /* … of 90 % of the fewest members that theory allows */
    double not_capacity_s; /* first answer with that flag; NaN: none */
    double last_over_s;    /* when the last request was sent too late, or dropped; NaN: none was */
};

/* Waits are counted in buckets, four to a doubling from 1 ms; 0 is those that did not wait. */
#define WAIT_BUCKETS 96

/* Of 10 seconds. */
struct span {
    uint32_t demand;
    double supply;
};

struct totals {
    double held_s, serving_s;
    uint64_t arrivals, completed, failed, abandoned, service_count, waited;
    double service_sum_s, service_square_s2;
    uint64_t buckets[COX_SERVICE_BUCKETS];
};

struct run {
    const struct run_config *config;
    struct policy *policy;
    struct fleet fleet;
    double now_s;
    /* in flight; `leaving`: in service at draining members */
    uint64_t held, serving, leaving;
    double oldest_held_s; /* when the first in line arrived */
    struct totals totals, before;
    double before_s;
    double wanted; /* last answer */
    bool is_first;
    double gamma; /* noise of this second */
    int64_t second;
    double second_expected; /* of its arrivals, how many are to be expected after now … */
    uint64_t second_left;   /* … and how many there will be */
    double capped;          /* completions a second that a shared bottleneck allows; infinity: any */
    struct random noise, arrivals, splits, moments, service;
    /* score */
    struct run_result result;
    double waits[WAIT_BUCKETS];
    double responses[WAIT_BUCKETS]; /* exact engine */
    struct span *spans;             /* owned */
    size_t span_count, span_cap;
    double span_rate, span_ready_s, span_from_s; /* of the running one */
    struct staffing staffing;
    double (*after)[2]; /* owned; step loads: time since the jump, and answer */
    size_t after_count;
    double line_arrivals, line_over; /* of the running second of the timeline */
};

/* Runs it. */
void run(const struct run_config *config, struct policy *policy, struct run_result *out);

/* ---- for the engines ---- */

/* From now to there, of the warm-up and then the load; the exact one to the end. */
void engine_sums(struct run *r, double until_s);
void engine_exact(struct run *r);

/* Arrivals of the next length_s, which must not go beyond the second, and how many were to be expected, noise
 * included. They are drawn by the second and then shared out, so that under one seed both engines have the
 * same number in each second, whatever their ticks are. */
uint64_t run_arrivals(struct run *r, double length_s, double *out_expected);
/* A sample at run->now_s and its decision. Returns how many ready members are to be drained. */
uint32_t run_tick(struct run *r, uint32_t flags);
/* Once a tick, after the engine has brought everything to now: spans and timeline. */
void run_note(struct run *r, double expected);
/* `count` requests of that arrival time were sent after such a wait, of which `over` are too late. */
void run_sent(struct run *r, double arrived_s, double wait_s, double count, double over);
/* Never served. */
void run_lost(struct run *r, double arrived_s, double count);
/* One answer, exact engine. */
void run_answered(struct run *r, double arrived_s);
/* How much longer a service takes now. */
double run_slowness(const struct run *r);
/* Once a tick, before its sample: sets `capped`, of what so many slots could do when the bottleneck begins.
 */
void run_bottleneck(struct run *r, uint64_t slots);
/* Share of the ready members that is lost at this tick. */
double run_failure(const struct run *r);

/* True at the last tick of a second: what is brought up to date no more often than that is so now. */
static inline bool run_is_second(const struct run *r)
{
    return floor(r->now_s + 1e-6) > floor(r->now_s + 1e-6 - r->config->tick_s);
}

static inline double run_end_s(const struct run *r)
{
    return (double)r->config->load->seconds;
}

#endif
