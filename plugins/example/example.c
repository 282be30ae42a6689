/* example: the smallest plugin that does something in two roles. Copy it and start from here.
 *
 * As an observer it writes one line to the log for each change it is told of. As a scaler it wants one member
 * for every `target` exchanges in flight, smoothed. Read include/coxswain/plugin.h beside it: the life story
 * there is what the functions below follow, in the same order. */
#include <stdlib.h>
#include <string.h>

#include <coxswain/plugin.h>

/* The schema: the core reads the section of the config file by it, checks and defaults it, and prints the
 * manual from it. The enum names the rows, so that cox_option_at finds the value that belongs to each. */
enum { OPTION_LEVEL, OPTION_TARGET, OPTION_HALF_LIFE };

static const struct cox_option options[] = {
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_ENUM,
     .key = "level",
     .words = "quiet members all",
     .def = "members",
     .help = "What the observer writes to the log: nothing, changes of members, or every change."},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_REAL,
     .key = "target",
     .def = "10",
     .min = 1,
     .max = 100000,
     .help = "Exchanges in flight that one member should have. Lower is faster for clients and costs more "
             "members."},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_DURATION,
     .key = "half_life",
     .def = "10s",
     .min = 100,
     .max = 3600000,
     .help = "After how long a change of the load counts for half: the longer, the calmer."},
};

/* Everything that belongs to one instance. No global is ever changed: one plugin may be opened many times. */
struct instance {
    const struct cox_host *host; /* borrowed until close has returned */
    int64_t level;               /* index of the word */
    uint64_t told;
};

/* ---- life ---- */

static int32_t example_open(const struct cox_host *host, const struct cox_open *args, void **out_instance)
{
    struct instance *p = calloc(1, sizeof *p);
    if (!p) {
        host->error(host, "out of memory"); /* why it fails, before saying that it does */
        return COX_FAILED;
    }
    p->host = host;
    p->level = cox_option_at(args->options, OPTION_LEVEL)->i;
    *out_instance = p;
    return COX_OK;
}

static int32_t example_start(void *instance)
{
    struct instance *p = instance;
    cox_log(p->host, COX_LOG_INFO, "hello from instance %s of coxswain %s", p->host->instance,
            p->host->version);
    return COX_OK;
}

static void example_stop(void *instance)
{
    struct instance *p = instance;
    cox_log(p->host, COX_LOG_INFO, "was told %llu changes", (unsigned long long)p->told);
}

static void example_close(void *instance)
{
    free(instance);
}

/* ---- observer ---- */

static void on_event(void *instance, const struct cox_event *event)
{
    struct instance *p = instance;
    p->told++;
    p->host->metric(p->host, "example_events", (double)p->told);
    if (event->kind == COX_EVENT_MEMBER && p->level >= 1)
        cox_log(p->host, COX_LOG_INFO, "member %s of %s: state %u -> %u (%s)", event->id, event->parent,
                event->from, event->to, event->reason);
    else if (p->level >= 2) /* kinds of later versions come by here too: never guess what they are */
        cox_log(p->host, COX_LOG_INFO, "change %llu: kind %u, %s", (unsigned long long)event->sequence,
                event->kind, event->id ? event->id : "");
}

/* ---- scaler ---- */

/* The state of one set: fixed width, no pointers, so that the host may save it and hand it back after a
 * restart. */
struct state {
    double load;    /* smoothed exchanges in flight */
    uint64_t is_on; /* 0: no sample was seen yet */
};

static uint64_t state_size(const struct cox_options *opts)
{
    (void)opts;
    return sizeof(struct state);
}

static void init_state(const struct cox_options *opts, void *state)
{
    (void)opts;
    memset(state, 0, sizeof(struct state));
}

/* Pure: nothing but state, sample and sample->math is looked at. Waiting requests count beside those that are
 * being served, or a set without members would never get one. */
static void decide(void *state, const struct cox_sample *sample, struct cox_decision *out_decision)
{
    static const char reason[] = "smoothed load divided by target";
    struct state *s = state;
    const double target = cox_option_at(sample->options, OPTION_TARGET)->f;
    const double half_life_ns = (double)cox_option_at(sample->options, OPTION_HALF_LIFE)->i * 1e6;
    const double load = sample->serving_mean + sample->held_mean;
    const double keep = sample->math->pow(0.5, (double)sample->window_ns / half_life_ns);
    s->load = s->is_on ? keep * s->load + (1.0 - keep) * load : load;
    s->is_on = 1;
    /* Who waits right now must not wait for the average to come up. */
    const double now = (double)(sample->serving_now + sample->held_now);
    out_decision->wanted = (sample->flags & COX_SAMPLE_WAKE && now > s->load ? now : s->load) / target;
    memcpy(out_decision->reason, reason, sizeof reason);
}

/* ---- the descriptor ---- */

static const struct cox_observer observer = {.size = sizeof observer, .event = on_event};

static const struct cox_scaler scaler = {.size = sizeof scaler,
                                         .state_version = 1,
                                         .state_size = state_size,
                                         .init_state = init_state,
                                         .decide = decide};

COX_EXPORT const struct cox_plugin cox_plugin = {.size = sizeof cox_plugin,
                                                 .abi = COX_ABI,
                                                 .name = "example",
                                                 .summary = "a scaler and an observer to start from",
                                                 .version = "1",
                                                 .options = COX_ARRAY(options),
                                                 .open = example_open,
                                                 .start = example_start,
                                                 .stop = example_stop,
                                                 .close = example_close,
                                                 .scaler = &scaler,
                                                 .observer = &observer};
