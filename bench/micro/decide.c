#include "decide.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/panic.h"
#include "orch/loader.h"
#include "orch/schema.h"

#define LOADS 6000 /* ticks of ten minutes */

struct decider {
    struct module module;
    struct schema_values values;
    struct cox_sample sample;
    struct cox_decision decision;
    void *state;
    uint64_t buckets[COX_SERVICE_BUCKETS];
    double loads[LOADS]; /* exchanges in service */
    uint32_t at;
};

static const struct cox_math math_table = {.size = sizeof(math_table),
                                           .exp = exp,
                                           .log = log,
                                           .pow = pow,
                                           .sqrt = sqrt,
                                           .floor = floor,
                                           .ceil = ceil};

static void open_plugin(struct decider *d, const char *plugin)
{
    struct buf why;
    buf_init(&why);
    const struct raw_options none = {0};
    const struct schema_place place = {.plugin = plugin};
    if (!module_open(&d->module, loader_dir(getenv("COXSWAIN_PLUGIN_DIR") ? NULL : "plugins"), plugin,
                     &why) ||
        !d->module.plugin.scaler || !schema_read(d->module.plugin.options, &none, &place, &d->values, &why))
        PANIC("%s: %.*s", plugin, STR_ARG(buf_str(&why)));
    buf_fini(&why);
}

struct decider *decider_create(const char *plugin)
{
    struct decider *d = must(calloc(1, sizeof(*d)));
    open_plugin(d, plugin);
    const struct cox_options *options = &d->values.options;
    d->state = must(calloc(1, d->module.plugin.scaler->state_size(options)));
    d->module.plugin.scaler->init_state(options, d->state);
    for (int i = 0; i < LOADS; i++)
        d->loads[i] = 100.0 + 33.0 * sin(2.0 * M_PI * i / LOADS);
    d->sample = (struct cox_sample){
        .size = sizeof(d->sample),
        .flags = COX_SAMPLE_FIRST,
        .set = "set",
        .now_ns = NS_PER_S,
        .ready = 15,
        .current = 15,
        .wanted = NAN,
        .max = 1000,
        .slots_per_member = 10.0,
        .start_p50_ns = 1e10,
        .start_p90_ns = 1e10,
        .sources_expected = 1,
        .sources_fresh = 1,
        .math = &math_table,
        .options = options,
        .totals = {.size = sizeof(d->sample.totals), .epoch = 1, .service_buckets = COX_ARRAY(d->buckets)},
        .interval_ns = NS_PER_S / 10,
        .objective_wait_ns = 1e8};
    return d;
}

void decider_destroy(struct decider **d)
{
    schema_values_free(&(*d)->values);
    module_close(&(*d)->module);
    free((*d)->state);
    free(*d);
    *d = NULL;
}

/* 100 ms later, of which a service takes all: as many are served in it as were in flight. */
static void tick(struct decider *d)
{
    struct cox_sample *s = &d->sample;
    const double load = d->loads[d->at];
    const uint64_t dt = NS_PER_S / 10, served = (uint64_t)load;
    d->at = d->at + 1 == LOADS ? 0 : d->at + 1;
    s->now_ns += dt;
    s->wall_ns += dt;
    s->window_ns = dt;
    s->serving_mean = load;
    s->serving_now = served;
    s->arrivals = s->completed = served;
    s->service_mean_ns = (double)dt;
    s->totals.serving_ns += (uint64_t)(load * (double)dt);
    s->totals.ready_ns += s->ready * dt;
    s->totals.arrivals += served;
    s->totals.completed += served;
    s->totals.service_count += served;
    s->totals.service_sum_ns += served * dt;
    s->totals.service_square_us2 += served * (dt / 1000) * (dt / 1000);
    d->buckets[43] += served;
}

uint64_t decider_run(struct decider *d, uint32_t n)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        tick(d);
        d->decision.size = sizeof(d->decision);
        d->module.plugin.scaler->decide(d->state, &d->sample, &d->decision);
        d->sample.flags = 0;
        d->sample.current = d->sample.ready = (uint32_t)ceil(d->decision.wanted);
        sum += d->decision.wanted;
    }
    return (uint64_t)sum;
}
