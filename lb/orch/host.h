/* host: the orchestrator's side of the plugin ABI: the table of functions every plugin is given, and the list
 * of instances.
 *
 * Embedded in the orchestrator; on its thread but for host_post, which any thread may call through the table.
 * What plugins say about members goes out through host_ops, which only take note: no plugin is called from
 * inside another's call. */
#ifndef COX_ORCH_HOST_H
#define COX_ORCH_HOST_H

#include <pthread.h>

#include "orch/plugin.h"
#include "run/channel.h"
#include "run/loop.h"
#include "run/stall.h"
#include "topo/model.h"

#define HOST_POSTS_MAX 4096
#define HOST_HELPERS   2
#define HOST_VIEW_MAX  262144
#define HOST_ENV_MAX   64 /* variables of one process */

struct host_ops {
    /* The model was edited. */
    void (*touched)(void *ctx);
    void (*member_changed)(void *ctx, struct plugin *p, const struct cox_member_change *change);
    void (*ticket_done)(void *ctx, struct plugin *p, uint64_t ticket, uint32_t result, const char *reason);
    void (*list_done)(void *ctx, struct plugin *p);
    void (*reported)(void *ctx, struct plugin *p, const char *source, const char *subject, const char *metric,
                     double value, uint64_t time_ns);
    /* Whether the config has an instance of this name, open or not. */
    bool (*is_configured)(void *ctx, const char *instance);
    /* A process of this machine whose instance the config no longer has lives (RUNNING), or has ended. The
     * latter is said of every process, after its plugin was told. */
    void (*orphan)(void *ctx, const char *actuator, const struct cox_member_change *change);
    /* All that live have been told. */
    void (*orphans_listed)(void *ctx);
    /* Whether the config has a guard of this name: a route or cluster that names another would never serve.
     */
    bool (*has_guard)(void *ctx, const char *name);
    /* To the master; false: there is none. */
    bool (*to_master)(void *ctx, enum channel_type type, struct str payload);
};

/* What other threads hand in. */
struct post_queue {
    pthread_mutex_t lock;
    pthread_cond_t work; /* jobs for the helpers */
    struct list posts;   /* struct post: to be run on the loop */
    struct list jobs;    /* struct post: to be worked on by a helper */
    int waiting;         /* posts and jobs that are not done */
    int fd;              /* eventfd: posts is not empty */
    bool stop;
    pthread_t helpers[HOST_HELPERS];
    int helper_count; /* started on the first offload */
    struct watch watch;
};

struct host {
    struct loop *loop;   /* borrowed */
    struct model *model; /* borrowed */
    const struct host_ops *ops;
    void *ctx;
    struct list plugins;    /* struct plugin, owned */
    struct plugin *running; /* whose call is on the stack */
    uint64_t running_since_ns;
    bool has_asked;      /* the master was asked for its list of processes */
    struct stall *stall; /* borrowed; where the master sees that call; NULL: nowhere */
    struct post_queue queue;
};

/* False when the system refuses (descriptors). */
bool host_init(struct host *h, struct loop *loop, struct model *model, const struct host_ops *ops, void *ctx)
    __attribute__((warn_unused_result));
/* Destroys the plugins that are left. */
void host_fini(struct host *h);
struct plugin *host_find(struct host *h, const char *instance);
/* A message about processes from the master: MEMBER_STARTED, MEMBER_EXIT, MEMBER_LIST. False: malformed. */
bool host_on_process(struct host *h, const struct channel_message *m) __attribute__((warn_unused_result));

/* Asks the master which processes live, unless a plugin has: they may be nobody's. */
void host_list_orphans(struct host *h);
/* False: there is no master. */
bool host_stop_orphan(struct host *h, const char *member, int32_t signo, uint64_t kill_after_ms)
    __attribute__((warn_unused_result));

/* For plugin.c: the table of one instance. */
void host_table_init(struct cox_host *table, const char *instance);
struct plugin *host_plugin(const struct cox_host *table);
/* For plugin.c: timers and watches that a plugin left behind are released, with a line in the log. */
void host_release(struct plugin *p);
/* host_post.c */
bool queue_init(struct post_queue *q, struct loop *loop) __attribute__((warn_unused_result));
void queue_fini(struct post_queue *q);
int32_t queue_post(struct plugin *p, cox_call_fn *fn, void *ctx);
int32_t queue_offload(struct plugin *p, cox_call_fn *work, cox_call_fn *done, void *ctx);
/* Runs until nothing of this plugin waits any more. */
void queue_settle(struct plugin *p);
/* host_process.c */
int32_t process_watch(const struct cox_host *table, cox_process_fn *fn, void *ctx);
int32_t process_start(const struct cox_host *table, const struct cox_process *process);
int32_t process_stop(const struct cox_host *table, const char *member, int32_t signo, uint64_t kill_after_ms);
int32_t process_list(const struct cox_host *table);

#endif
