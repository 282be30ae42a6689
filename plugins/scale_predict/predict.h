/* predict: what the parts of the scaler share: the state of one set, and the functions that work on it.
 *
 * The whole state is one block of fixed-width fields without pointers, owned by the host. Nothing here has a
 * clock, allocates, or calls anything but the mathematics of the sample: the same samples give the same
 * answers, bit for bit. Rates are in exchanges a second, times in seconds where a name does not say _ns,
 * loads in exchanges in service ("slots"). README.md says why each part is there. */
#ifndef COXSWAIN_SCALE_PREDICT_H
#define COXSWAIN_SCALE_PREDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <coxswain/scale.h>

/* ---- windows: cumulative counts at ages that grow geometrically ---- */

#define RINGS       12u /* ring j keeps a point every TICK_NS * 2^j */
#define RING_POINTS 32u /* so the last one reaches back an hour and three quarters */
#define TICK_NS     UINT64_C(100000000)
/* Once in so many steps (of a second) a candidate is chosen. */
#define CHOOSE_STEPS 8u

struct point {
    uint64_t t_ns;
    uint64_t arrivals;
    uint64_t service_count, service_sum_ns;
};

struct ring {
    uint32_t next, count;
    struct point at[RING_POINTS];
};

/* ---- candidates: forecasts, how long to hold a maximum, and the margin above it ---- */

#define FORECASTS  11u
#define HOLDS      5u
#define CANDIDATES (FORECASTS * HOLDS) /* candidate h * FORECASTS + k: forecast k, hold h */
#define LANES      56u                 /* that, in whole vectors */
#define MARGINS    16u
#define BUCKETS    8u /* of a sliding maximum */
#define LAGS       9u /* of the sliding minimum over the start-up delay, with the running one */
#define DAY_SLOTS  96u
#define WEEK_SLOTS (7u * DAY_SLOTS)

#define SHADOW_PLAIN 3u /* shadow_margins[SHADOW_PLAIN] is none */
extern const double shadow_margins[MARGINS];

/* Forecasts with holds: the sliding maximum of each (what it would have ordered, before the margin) and the
 * least of that within the last start-up delay (what would be in service). */
struct candidates {
    double held[LANES];                  /* maximum: as of the last step */
    double was[LANES];                   /* that of the step before */
    double least[LANES];                 /* minimum: as of the last step */
    double now[LANES];                   /* maximum of the bucket that runs … */
    double before[LANES];                /* … and of the others */
    double low[LANES];                   /* minimum of the bucket that runs */
    double excess[LANES], square[LANES]; /* means of ln(load / planned), 0 where the load was below, and of
                                            its square */
    double buckets[BUCKETS][LANES], lags[LAGS][LANES];
};

/* What came in a step. */
struct came {
    double arrivals, seconds;
    double load, rate;       /* without the chance of single arrivals */
    double service_s, slots; /* of one member, as planned with then */
    double relief;           /* part of what waits that is worked off */
    double start_s;          /* of running that a start counts for */
    double error_part;       /* of the mean errors that this step is */
    uint32_t is_surprise, reserved;
};

/* Steps that are not counted yet, one after the other. */
#define BATCH 8u
struct batch {
    uint32_t count, reserved;
    struct came came[BATCH];
    double was[LANES]; /* held[] of the step before the first */
    double held[BATCH][LANES], least[BATCH][LANES];
};

/* A candidate with each margin, run on the arrivals that really came. */
struct shadows {
    double backlog[MARGINS]; /* exchanges that would wait */
    double over[MARGINS];    /* exchanges that would have waited for longer than the objective, aged */
    double cost[MARGINS];    /* member-seconds, aged */
    double surprised;        /* of `over`, what a jump brought that no margin is for */
};
#define CURVE 32u /* points of the share over objective, by slots above a load */

struct season {
    float week[WEEK_SLOTS]; /* mean rate of a quarter of an hour; < 0: never seen */
    float day[DAY_SLOTS];
    double sum, seconds; /* of the quarter that runs */
    uint32_t slot;       /* of the week */
    uint32_t is_running;
};

/* ---- staffing: slots that a load needs ---- */

#define STAFF_POINTS 30u /* loads of 2^-4 to 2^25 */
#define STAFF_LEAST  0.0625
struct staffing {
    /* slots above the load, at loads that are powers of two; the last one twice; < 0: not worked out yet */
    double extra[STAFF_POINTS + 1];
    double service_s, cv2, wait_s, share; /* what the table is for */
};

#define MINUTES 28u /* of about a minute each, for a load that does not move */

/* ---- service time: the reference, probes, the knee ---- */

enum probe_phase { PROBE_NONE = 0, PROBE_STARTING = 1, PROBE_WATCHING = 2, PROBE_USELESS = 3 };

struct service {
    double now_s;       /* of the last completions; 0: none seen */
    double reference_s; /* what is normal; slow to grow */
    double plan_s;      /* what is planned with: a calm mean */
    double square;      /* mean square, s² */
    uint64_t last_square_us2, last_count;
    uint32_t phase; /* enum probe_phase */
    uint32_t slow_steps;
    double before_rate; /* completions before the probe's members came */
    double base_members, before_members, probe_members;
    double evidence;    /* log likelihood ratio: helps against does not */
    uint64_t phase_ns;  /* when the phase began */
    uint64_t helped_ns; /* when more members were last seen to help */
    uint64_t retry_ns;  /* no probe before */
    uint64_t pause_ns;
    uint64_t seen_count; /* completions up to the last look */
    uint64_t seen_ns;
    /* where no limit of exchanges a member is given */
    double least_s; /* service time of members that are not busy */
    double borne;   /* most slots' worth of work that a member was seen to do */
    double knee;    /* that while ever more was in it: its limit; 0: not seen yet */
    uint64_t knee_count, knee_ns;
};

struct state {
    uint64_t epoch, last_ns, since_ns; /* since_ns: from when on the counts are without a gap */
    uint32_t is_on, reserved;
    struct ring rings[RINGS];
    /* change detection */
    double level, dispersion; /* rate before a change; variance of counts of one second over Poisson's */
    double jump;              /* rate that was found to have begun; 0: none since the last step */
    uint64_t change_ns;       /* when the last change of the level began */
    /* steps: once a second or more seldom */
    uint64_t step_ns, step_point_ns, step_arrivals;
    double delay_s; /* start-up delay that is planned with */
    uint64_t steps;
    struct candidates candidates;
    struct batch batch;
    struct shadows shadows[CANDIDATES];
    uint32_t hold_slot[HOLDS];
    uint32_t lag_slot, reserved2;
    uint64_t hold_turn_ns[HOLDS], lag_turn_ns;
    double seen_arrivals, seen_s; /* aged, beside the shadows' sums */
    double jumps;                 /* of the rate, sudden ones, aged */
    uint64_t jump_ns;             /* the last one */
    double forecasts[FORECASTS];
    uint32_t best, reserved3; /* candidate */
    double margin;
    /* share over objective by what no error has shown yet, by margin; of this start-up delay */
    double prior[FORECASTS][MARGINS], prior_delay_s;
    struct season season;
    struct staffing staffing;
    struct service service;
    /* whether the load moves at all */
    double restless; /* variance of the counts of neighbouring minutes over Poisson's */
    uint64_t minute_ns;
    double minute_need[MINUTES]; /* most members needed, by the minute */
    uint32_t minute, is_quiet;
    double calm; /* part of the count by which the need must leave it before it is followed */
    /* the answer */
    double plan_rate; /* as of the last step, with its margin */
    double need;      /* members, not rounded */
    /* members as of the last step with its margin, and for its level, while service time and slots of a
     * member are these */
    double planned, by_level, planned_service_s, planned_slots;
    char reason[120];
    uint32_t cause, reason_key;
};

/* What one call works on. */
struct work {
    struct state *s;
    const struct cox_sample *in;
    const struct cox_math *math;
    double wait_s, share; /* the objective */
    double slots;         /* of one member */
};

/* rates.c */
struct point rates_point(const struct cox_sample *in);
/* Adds the sample's counts to every ring whose turn it is. */
void rates_add(struct state *s, const struct point *p);
/* The newest point that is at least age_ns older than the last one, or the oldest there is. */
const struct point *rates_at(const struct state *s, uint64_t age_ns);
/* Arrivals a second between two ages; what is older than `not_before_ns` is left out. 0 when there is
 * nothing. */
double rates_mean(const struct state *s, double from_s, double to_s, uint64_t not_before_ns);
double rates_seconds(uint64_t from_ns, uint64_t to_ns);

/* change.c */
/* Looks at the last ticks whether the rate went up for certain; sets jump and change_ns. */
void change_look(struct work *w);
/* Once a step: the level before a change, and the dispersion of the counts. */
void change_learn(struct work *w, double arrivals, double seconds);

/* forecast.c */
/* Fills s->forecasts with rates at the horizon. */
void forecast_all(struct work *w, double horizon_s);
/* How late a forecast sees a ramp, and for how long it stays below one; 0: as long as it lasts. */
void forecast_lag(uint32_t k, double *out_lag_s, double *out_lasts_s);
void season_learn(struct work *w, double arrivals, double seconds);

/* prior.c */
/* Fills s->prior when the start-up delay moved. */
void prior_learn(struct work *w);

/* shadow.c */
void shadow_reset(struct work *w);
/* One step of every candidate on what really arrived, then the choice of the best. */
void shadow_step(struct work *w, double arrivals, double seconds);
/* Members, not rounded, that the chosen candidate has for the load of the last step. */
double shadow_members(struct work *w);

/* lanes.c */
/* Counts the steps of the batch, and empties it. */
void lanes_run(struct work *w);
/* exp(-gap / fold) for every candidate: by what something falls from one margin to the next, 1 for the first.
 */
void lanes_falls(const double *folds, double (*out)[MARGINS]);

/* staffing.c */
/* Begins a new table when service time or objective moved. */
void staffing_learn(struct work *w);
/* Works out the table between two loads. */
void staffing_fill(struct work *w, double least, double most);
/* Slots that keep the objective at this load. */
double staffing_slots(struct work *w, double load);
/* Share of the exchanges of this load that wait for longer than the objective, with more slots than it. */
double staffing_share(const struct work *w, double load, double slots);
/* So many slots above this load nobody does. */
double staffing_reach(const struct work *w, double load);

/* service.c */
void service_learn(struct work *w);
/* Moves the probe on; called with every sample. */
void service_probe(struct work *w);
/* The service time to plan with: at most a quarter above what is normal unless more members were seen to
 * help. */
double service_plan_s(const struct state *s);
/* The learned limit of exchanges in flight of one member. */
double service_knee(const struct work *w);

/* words.c */
/* Writes the reason of the answer into the state. */
void words_reason(struct work *w, double wanted);

#endif
