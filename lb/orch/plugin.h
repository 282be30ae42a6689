/* plugin: one instance of a plugin, from the section of the config that names it to its close.
 *
 *   host ──► plugin ──► module (the shared object), values (its options), table (what it may call)
 *                  └──► timers, watches, one unfinished view, numbers of its own
 *
 * Owned by the host (orch/host.h), lives on the orchestrator's thread. Every call into a plugin stands
 * between call_begin and call_end, which measure it: above 10 ms it is logged with the plugin's name, and
 * after 5 s the master ends the orchestrator (run/stall.h). */
#ifndef COX_ORCH_PLUGIN_H
#define COX_ORCH_PLUGIN_H

#include <coxswain/plugin.h>

#include "base/buf.h"
#include "base/list.h"
#include "conf/settings.h"
#include "orch/loader.h"
#include "orch/schema.h"

#define PLUGIN_MAGIC       0x63787067u
#define PLUGIN_SLOW_NS     10000000ull
#define PLUGIN_METRICS_MAX 256

struct host;

/* A whole view that is being put together; nothing of it is in the model yet. */
struct view {
    struct list edits; /* struct edit of discovery.c */
    uint32_t edit_count;
    bool is_open, is_bad;
};

struct plugin_metric {
    char *name; /* owned */
    double value;
};

struct plugin {
    uint32_t magic;
    struct list node;  /* of host->plugins */
    struct host *host; /* borrowed: outlives it */
    struct cox_host table;
    char *name; /* owned: of the instance */
    struct module module;
    struct schema_values values;
    void *instance; /* the plugin's own */
    bool is_open, is_started;
    bool is_listed;       /* actuator: told all its members */
    bool has_view;        /* discovery: delivered a whole view */
    struct buf error;     /* of host->error, in the running call */
    struct buf refusal;   /* of the last discovery call */
    char *source_problem; /* owned, or NULL: fine */
    struct view view;
    struct list timers, watches;
    cox_process_fn *process_fn;
    void *process_ctx;
    struct plugin_metric *metrics; /* owned */
    size_t metric_count;
    unsigned slow_calls, conflicts;
    int outstanding; /* posts and jobs that were taken and have not been answered; under the queue's lock */
};

/* Loads, checks the options and opens. NULL with one or more lines in errors, each with file and line. */
struct plugin *plugin_create(struct host *h, const struct plugin_settings *s, const char *dir,
                             struct buf *errors) __attribute__((warn_unused_result));
enum plugin_role { PLUGIN_DISCOVERY = 1, PLUGIN_SCALER = 2, PLUGIN_ACTUATOR = 4, PLUGIN_OBSERVER = 8 };
/* Loads and checks the options only, for `-t`; says which roles (bits) it has. */
bool plugin_check(const struct plugin_settings *s, const char *dir, unsigned *out_roles, struct buf *errors)
    __attribute__((warn_unused_result));
/* Stops when started, runs what waits for it, closes, unloads. */
void plugin_destroy(struct plugin **p);
/* start of the descriptor, then list of an actuator. False with a line in errors. */
bool plugin_start(struct plugin *p, struct buf *errors) __attribute__((warn_unused_result));
void plugin_stop(struct plugin *p);

/* One call into a plugin; calls nest when a plugin's call runs another's (posts at close). */
struct call {
    struct plugin *plugin, *outer;
    const char *what;
    uint64_t since_ns, outer_since_ns;
};
struct call call_begin(struct plugin *p, const char *what);
void call_end(struct call *c);

#endif
