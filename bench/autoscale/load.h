/* load: how many requests a second arrive, and what else happens to the members: a trace file, or a synthetic
 * shape, with noise.
 *
 * Made once for a run and read only afterwards. Times are seconds from the beginning of the load; the run
 * goes through a warm-up of constant rate before it. */
#ifndef COX_AUTOSCALE_LOAD_H
#define COX_AUTOSCALE_LOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum load_event_kind {
    LOAD_SLOWER,     /* every member's service takes `amount` times as long */
    LOAD_BOTTLENECK, /* something shared allows no more than 1/amount of what the members could do at that
                        moment */
    LOAD_FAILURE     /* this share of the ready members is lost at once */
};

struct load_event {
    enum load_event_kind kind;
    double from_s, until_s, amount;
};

#define LOAD_EVENTS_MAX 8

struct load {
    double *rate; /* owned: at each second, and one more at the end */
    size_t seconds;
    bool is_stepwise; /* constant within a second, else linear between seconds */
    double noise_cv;  /* of a gamma factor per second; 0: none */
    double jump_s;    /* step loads: where the rate jumps, exactly; negative: nowhere */
    struct load_event events[LOAD_EVENTS_MAX];
    size_t event_count;
};

struct load_spec {
    const char *text; /* see load_create */
    double mean;      /* scale to this mean; 0: as it is */
    bool is_noisy;    /* stepwise with gamma noise of noise_cv */
    double noise_cv;  /* 0: stepwise, and none */
    double shuffle_s; /* blocks of so long are put into random order; 0: left alone */
    uint64_t seed;    /* of the shuffling */
};

/* Of a text:
 *   trace:FILE[:FROM:SECONDS]         lines "second,count" after a header; a part of it
 *   constant:RATE:SECONDS
 *   step:RATE:FACTOR:AT:SECONDS       ramp:RATE:FACTOR:AT:OVER:SECONDS
 *   spike:RATE:FACTOR:AT:FOR:SECONDS  sine:RATE:SHARE:PERIOD:SECONDS   onoff:RATE:LOW:PERIOD:SECONDS
 * and behind any of them, after commas: slower=FACTOR@FROM-UNTIL, bottleneck=FACTOR@FROM-UNTIL,
 * failure=SHARE@AT. NULL with a line in why. */
struct load *load_create(const struct load_spec *spec, struct buf *why) __attribute__((warn_unused_result));
void load_destroy(struct load **l);

/* Requests a second at that time without noise. */
double load_rate(const struct load *l, double at_s);
/* Requests expected in [from, from + length), both within one second of the load. */
double load_expected(const struct load *l, double from_s, double length_s);
/* Share of the requests that come above 1.1 × the rate of a start-up delay before: nobody who only knows the
 * past can have ordered members for them. */
double load_unforeseeable(const struct load *l, double delay_s);
/* Mean over all. */
double load_mean(const struct load *l);
/* Σ over its seconds of how many members are at work, each with so many requests a second; whole ones if so.
 * At least `min` in each. */
double load_members(const struct load *l, double each, double min, bool is_whole);

#endif
