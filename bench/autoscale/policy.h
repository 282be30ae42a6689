/* policy: what decides in a simulation: a plugin's scaler, the very same shared object that the orchestrator
 * loads, or one of the baselines written here from their published descriptions.
 *
 * A policy is opened for one run at a time: policy_reset gives it a new state. All of them see the same
 * samples; a baseline looks at them only as often, and as late, as its original would. */
#ifndef COX_AUTOSCALE_POLICY_H
#define COX_AUTOSCALE_POLICY_H

#include <coxswain/scale.h>

#include "base/buf.h"
#include "load.h"
#include "orch/loader.h"
#include "orch/schema.h"
#include "queueing.h"

struct over_table;

/* What a policy may know of the world before it begins. The load only the clairvoyant and the static ones
 * look at. */
struct policy_world {
    const struct load *load;
    struct service_law law;
    double delay_s, delay_cv;
    double warmup_s;
    uint32_t min, max;
    struct over_table *table; /* borrowed: the clairvoyant's, kept over a sweep; zero before its first use */
};

/* Second 0 of a load on the samples' monotonic clock. */
#define SIM_EPOCH_S 1e6

struct baseline;

struct policy {
    const char *name; /* borrowed */
    struct module module;
    struct schema_values values;
    const struct baseline *baseline; /* NULL: a plugin */
    void *state;                     /* owned */
    void *shared;                    /* owned by the baseline: over all runs */
    double knobs[8];                 /* of a baseline */
    struct policy_world world;
};

#define BASELINE_KNOBS 8

/* A baseline: like a scaler, with numbers for options. */
struct baseline {
    const char *name, *help;
    size_t state_bytes;
    struct {
        const char *name;
        double value;
    } knobs[BASELINE_KNOBS]; /* the first is the main one */
    void (*decide)(struct policy *p, const struct cox_sample *sample, struct cox_decision *out);
    void (*prepare)(struct policy *p); /* once after opening; may be NULL */
    void (*release)(struct policy *p); /* may be NULL */
};

/* By the name of a baseline, else of a plugin in `dir` or a path that ends in .so. Settings are texts
 * "key=value". False with a line in why. */
bool policy_open(struct policy *p, const char *name, const char *dir, const char *const *settings,
                 size_t setting_count, const struct policy_world *world, struct buf *why)
    __attribute__((warn_unused_result));
void policy_close(struct policy *p);
void policy_reset(struct policy *p);
void policy_decide(struct policy *p, struct cox_sample *sample, struct cox_decision *out);

/* The baselines; the last one has no name. */
extern const struct baseline baselines[];

#endif
