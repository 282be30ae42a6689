/* scale: the pure function that says how many members a set should have.
 *
 * A scaler is a table of functions of which only `decide` does the work: it reads a sample, updates its state
 * and answers with a real number. It has no clock, does no I/O, allocates nothing, keeps no globals and calls
 * nothing but sample->math, so that a recorded run replays bit for bit (compile with -ffp-contract=off): with
 * the same C library on processors of one family, for exp, log and pow are the library's, whose last bit may
 * differ from one to another. The same object code runs in the simulator.
 *
 * The state is one block of bytes that the host owns, saves and restores: fixed-width little-endian fields,
 * no pointers. Its first content comes from init_state; after a change of its version from upgrade_state.
 *
 * Rounding, limits, capacity of partitions, placement and the choice of victims are the core's: `wanted` is
 * neither rounded nor clamped, and when a decision expires the last count stands. */
#ifndef COXSWAIN_SCALE_H
#define COXSWAIN_SCALE_H

#include <coxswain/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The only mathematics a scaler may use beyond + - * / and comparisons. */
struct cox_math {
    uint32_t size;
    uint32_t reserved;
    double (*exp)(double x);
    double (*log)(double x);
    double (*pow)(double x, double y);
    double (*sqrt)(double x);
    double (*floor)(double x);
    double (*ceil)(double x);
};

/* One measured thing besides the counts: load average, memory, queue length, … */
struct cox_factor {
    uint32_t size;
    uint32_t count;     /* members that reported it */
    const char *metric; /* "load_average", "memory_bytes", … */
    double value;       /* mean over them */
    uint64_t age_ns;    /* of the oldest report in it */
};

/* Members of the set in one partition. */
struct cox_partition_count {
    uint32_t size;
    uint32_t ready, starting, draining;
    uint32_t capacity; /* UINT32_MAX: unknown */
    uint32_t reserved;
    uint64_t oldest_starting_ns; /* age of the oldest that is starting, 0: none */
    const char *partition;
};

/* How many exchanges a parent set's exchange causes here. Kept for groups: there are none yet, so a sample's
 * array of them is empty. */
struct cox_call_ratio {
    uint32_t size;
    uint32_t reserved;
    const char *parent_set;
    double ratio; /* NaN: unknown */
};

/* Service times in a histogram: bucket i counts attempts of at least cox_service_bucket_floor_ns(i) and less
 * than that of i + 1; the last one has no upper bound. Four buckets an octave: the relative error of a value
 * taken from the middle of its bucket is at most 1/9. */
#define COX_SERVICE_BUCKETS  96u
#define COX_SERVICE_FIRST_NS 65536u /* bucket 0: all that is shorter than its upper end */

static inline double cox_service_bucket_floor_ns(uint32_t i)
{
    return i ? (double)((uint64_t)COX_SERVICE_FIRST_NS << (i / 4)) * (1.0 + (double)(i % 4) / 4.0) : 0.0;
}

/* All that was ever counted of the set, from the first sample of this epoch on. Any window is a difference of
 * two of them, exactly. They never run backwards within an epoch; a new epoch (another number, not
 * necessarily larger) begins at zero. Integrals are ∫ n·dt in exchange-nanoseconds modulo 2^64: subtract as
 * uint64_t, then convert. */
struct cox_totals {
    uint32_t size;
    uint32_t reserved;
    uint64_t epoch;
    uint64_t held_ns, serving_ns, finishing_ns, tunnels_ns;
    uint64_t ready_ns; /* ∫ ready members·dt, in member-nanoseconds */
    uint64_t arrivals, completed, failed, rejected, abandoned;
    /* Of successful attempts, PICK to the server's last byte. The squares are in µs², modulo 2^64. */
    uint64_t service_count, service_sum_ns, service_square_us2;
    uint64_t waited_count; /* arrivals that were held before they were sent */
    /* uint64_t, cumulative in time (not over buckets); may be empty. It is costly to read, so it is brought
     * up to date about once a second only: it lags behind the other words. */
    struct cox_array service_buckets;
};

enum cox_sample_flags {
    COX_SAMPLE_FIRST = 1u << 0,     /* nothing before it is known: differences are 0 */
    COX_SAMPLE_WAKE = 1u << 1,      /* taken early: a request waits and nothing can serve it */
    COX_SAMPLE_SATURATED = 1u << 2, /* taken early: every endpoint is at its limit */
    COX_SAMPLE_NO_SHRINK = 1u << 3  /* a source is missing: the core will not shrink whatever the answer is */
};

enum cox_floor_origin {
    COX_FLOOR_NONE = 0,
    COX_FLOOR_POLICY = 1,
    COX_FLOOR_PARENT = 2, /* kept for groups, where one set follows another; never given yet */
    COX_FLOOR_SCHEDULE = 3,
    COX_FLOOR_HAND = 4
};

/* What is known of one set at one moment. Means are over the time since the sample before (window_ns), from
 * exact time integrals, not from polling. */
struct cox_sample {
    uint32_t size;
    uint32_t flags;  /* enum cox_sample_flags */
    const char *set; /* id of the set */
    uint64_t now_ns; /* the only clock */
    uint64_t window_ns;
    uint64_t wall_ns; /* for seasons, nothing else */
    int32_t utc_offset_s;
    uint32_t reserved;
    /* exchanges in flight: mean over the window, and now */
    double held_mean, serving_mean, finishing_mean, tunnels_mean;
    uint64_t held_now, serving_now, finishing_now, tunnels_now;
    uint64_t oldest_held_ns; /* age of the one that waits longest */
    /* in the window */
    uint64_t arrivals, completed, failed, rejected, abandoned;
    double latency_p50_ns, latency_p90_ns, latency_p99_ns; /* of the last second or so; NaN: none completed */
    double service_mean_ns;                                /* PICK to last byte from the server; NaN: none */
    /* members */
    uint32_t ready, starting, draining;
    uint32_t current;                  /* the count the core keeps now */
    double wanted;                     /* the last answer, NaN: none yet */
    uint32_t min, max;                 /* limits, for information: the core clamps */
    uint32_t floor;                    /* what it must not go below for now … */
    uint32_t floor_origin;             /* … and who says so: enum cox_floor_origin */
    double slots_per_member;           /* exchanges a member may have in flight; NaN: unlimited */
    double start_p50_ns, start_p90_ns; /* created → active, learned; NaN: not known yet */
    uint64_t oldest_starting_ns;
    /* where the counts come from */
    uint32_t sources_expected, sources_fresh;
    uint64_t oldest_source_ns;    /* since the one that was silent for longest gave a sign of life */
    struct cox_array partitions;  /* struct cox_partition_count */
    struct cox_array call_ratios; /* struct cox_call_ratio */
    struct cox_array factors;     /* struct cox_factor */
    const struct cox_math *math;
    const struct cox_options *options; /* of the policy, by the schema of the plugin */
    /* since the first release of this header: */
    struct cox_totals totals;
    struct cox_array
        starting_ages_ns;     /* uint64_t each, oldest first; at most 64 of them, `starting` has all */
    uint64_t idle_ns;         /* since anything was last in flight; 0: something is */
    uint64_t interval_ns;     /* the usual distance of two samples */
    double objective_wait_ns; /* of the set's `objective`: longest wait before SEND that is fine; NaN: not
                                 said */
};

/* Which rule led to an answer; for logs, metrics and machines. Unknown numbers are shown as they are. */
enum cox_cause {
    COX_CAUSE_NONE = 0,
    COX_CAUSE_STEADY = 1,       /* the count fits */
    COX_CAUSE_LOAD = 2,         /* demand as it is now */
    COX_CAUSE_FORECAST = 3,     /* demand as it will be */
    COX_CAUSE_PANIC = 4,        /* a short window overrides a long one */
    COX_CAUSE_HELD = 5,         /* requests wait */
    COX_CAUSE_VALLEY = 6,       /* smaller, once the load was low for long enough */
    COX_CAUSE_STABILISED = 7,   /* a recent larger (or smaller) answer is kept */
    COX_CAUSE_RATE_LIMITED = 8, /* a rule on how fast it may change */
    COX_CAUSE_LOAD_AVERAGE = 9,
    COX_CAUSE_MEMORY = 10,
    COX_CAUSE_SLOW_SERVICE = 11, /* service got slower; demand did not grow */
    COX_CAUSE_NO_DATA = 12,      /* what it needs is missing or too old: keeps the count */
    COX_CAUSE_IDLE = 13,
    COX_CAUSE_SEASON = 14 /* what this hour usually brings */
};

enum cox_decision_flags {
    /* Members were added and the throughput did not grow: something that they share is the bottleneck. */
    COX_DECISION_NOT_CAPACITY = 1u << 0,
    COX_DECISION_PANIC = 1u << 1
};

/* Another answer that was looked at. */
struct cox_alternative {
    double wanted;
    uint32_t cause; /* enum cox_cause */
    uint32_t reserved;
};
#define COX_ALTERNATIVES_MAX 8u

struct cox_decision {
    uint32_t size;  /* set by the host */
    uint32_t flags; /* enum cox_decision_flags */
    double wanted;  /* members; any finite real number */
    /* How long it may be acted on; 0: until the next sample. For the log and for people: the host asks anew
     * with every sample, and when nobody answers the last count stands. */
    uint64_t valid_ns;
    char reason[120]; /* for people: which figure led to it */
    uint32_t cause;   /* enum cox_cause */
    uint32_t alternative_count;
    struct cox_alternative alternatives[COX_ALTERNATIVES_MAX];
    /* What it believes, for people and pictures; NaN (set by the host beforehand): it has no such notion. */
    double demand;           /* exchanges in service that it plans for */
    double slots_per_member; /* learned concurrency limit */
    double service_mean_ns;
    uint64_t horizon_ns; /* how far ahead it looks; 0: not at all */
};

struct cox_scaler {
    uint32_t size;
    uint32_t state_version;
    /* Bytes of the state of one set under these options. */
    uint64_t (*state_size)(const struct cox_options *options);
    /* Makes the state of a set that never had one. */
    void (*init_state)(const struct cox_options *options, void *state);
    /* Makes today's state out of one that an older version saved; COX_FAILED: start anew. May be NULL. */
    int32_t (*upgrade_state)(const struct cox_options *options, uint32_t old_version, const void *old_state,
                             uint64_t old_size, void *state);
    /* Once a set and tick, on the orchestrator's thread or in the simulator. */
    void (*decide)(void *state, const struct cox_sample *sample, struct cox_decision *out_decision);
};

#ifdef __cplusplus
}
#endif

#endif
