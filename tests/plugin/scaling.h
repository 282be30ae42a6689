/* What tests of scalers share: a set that lives on a clock of its own, with cumulative totals that are
 * exactly what the scripted load makes of them. */
#ifndef COX_TESTS_PLUGIN_SCALING_H
#define COX_TESTS_PLUGIN_SCALING_H

#include <math.h>

#include "support.h"

#define STATE_WORDS 8192

struct set {
    struct plugin *plugin;
    struct cox_sample sample;
    struct cox_decision decision;
    uint64_t state[STATE_WORDS];
};

/* A section with as many settings as the test names. */
struct wide_section {
    struct section section;
    struct raw_option raw[16];
};

static inline void wide_set(struct wide_section *w, struct raw_option option)
{
    assert_true(w->section.settings.raw.n < 16);
    option.file = (char *)(uintptr_t) "/etc/c.cfg";
    w->raw[w->section.settings.raw.n++] = option;
}

#define OPTION_REAL(k, v)                                                                                    \
    ((struct raw_option){.key = (char *)(uintptr_t)(k), .type = 'f', .f = (v), .line = 9})
#define OPTION_TRUTH(k, v)                                                                                   \
    ((struct raw_option){.key = (char *)(uintptr_t)(k), .type = 'b', .i = (v), .line = 9})

static inline struct plugin *create_wide(struct fixture *f, struct wide_section *w)
{
    struct buf errors;
    buf_init(&errors);
    w->section.settings.raw.v = w->raw;
    struct plugin *p = plugin_create(&f->host, &w->section.settings, real_dir(), &errors);
    if (!p)
        print_error("%.*s", STR_ARG(buf_str(&errors)));
    buf_fini(&errors);
    assert_non_null(p);
    return p;
}

/* A set of `current` ready members with 10 slots each, at second 1000. */
static inline void set_init(struct set *s, struct plugin *p, uint32_t current)
{
    const struct cox_scaler *scaler = p->module.plugin.scaler;
    memset(s, 0, sizeof *s);
    s->plugin = p;
    s->sample = (struct cox_sample){.size = sizeof s->sample,
                                    .flags = COX_SAMPLE_FIRST,
                                    .set = "set",
                                    .now_ns = 1000 * NS_PER_S,
                                    .ready = current,
                                    .current = current,
                                    .wanted = NAN,
                                    .max = 1000,
                                    .slots_per_member = 10.0,
                                    .start_p50_ns = NAN,
                                    .start_p90_ns = NAN,
                                    .sources_expected = 1,
                                    .sources_fresh = 1,
                                    .math = p->table.math,
                                    .options = &p->values.options,
                                    .totals = {.size = sizeof s->sample.totals, .epoch = 1},
                                    .interval_ns = NS_PER_S / 10,
                                    .objective_wait_ns = NAN};
    assert_in_range(scaler->state_size(&p->values.options), 1, sizeof s->state);
    scaler->init_state(&p->values.options, s->state);
}

static inline double set_decide(struct set *s)
{
    s->decision = (struct cox_decision){.size = sizeof s->decision, .demand = NAN};
    s->plugin->module.plugin.scaler->decide(s->state, &s->sample, &s->decision);
    assert_true(isfinite(s->decision.wanted));
    assert_true(strlen(s->decision.reason) > 0 && strlen(s->decision.reason) < sizeof s->decision.reason);
    s->sample.flags = 0;
    s->sample.wanted = s->decision.wanted;
    return s->decision.wanted;
}

/* One tick with so many in service and held all the time. */
static inline double set_tick(struct set *s, double serving, double held)
{
    struct cox_sample *sample = &s->sample;
    const uint64_t dt = sample->flags & COX_SAMPLE_FIRST ? 0 : sample->interval_ns;
    sample->now_ns += dt;
    sample->window_ns = dt;
    sample->serving_mean = serving;
    sample->held_mean = held;
    sample->serving_now = (uint64_t)serving;
    sample->held_now = (uint64_t)held;
    sample->totals.serving_ns += (uint64_t)(serving * (double)dt);
    sample->totals.held_ns += (uint64_t)(held * (double)dt);
    sample->totals.ready_ns += (uint64_t)sample->ready * dt;
    return set_decide(s);
}

/* Ticks for so many seconds; the count does what the scaler says, at once, when `follow`. */
static inline double set_run(struct set *s, double seconds, double serving, bool follow)
{
    double wanted = s->sample.wanted;
    for (uint64_t n = (uint64_t)(seconds * 10.0 + 0.5); n > 0; n--) {
        wanted = set_tick(s, serving, 0);
        if (follow)
            s->sample.current = s->sample.ready = (uint32_t)ceil(wanted);
    }
    return wanted;
}

#endif
