/* host: what coxswain offers to a plugin instance.
 *
 * A plugin links no symbol of the program. At `open` it is given a pointer to this table, made for that
 * instance alone and valid until its `close` has returned; hand it back as the first argument of every call.
 * All functions are to be called on the orchestrator's thread, where all of the plugin's own functions are
 * called too, with the one exception of `post`. None of them blocks, and none calls back before it returns.
 */
#ifndef COXSWAIN_HOST_H
#define COXSWAIN_HOST_H

#include <stdarg.h>
#include <stdio.h>

#include <coxswain/scale.h>
#include <coxswain/topology.h>
#include <coxswain/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct cox_host;
struct cox_timer; /* one armed timer */
struct cox_watch; /* one watched descriptor */

typedef void cox_call_fn(void *ctx);
typedef void cox_ready_fn(void *ctx, int32_t fd, uint32_t events);

enum cox_ready { COX_READABLE = 1u << 0, COX_WRITABLE = 1u << 1 };

/* ---- tickets and members: how an actuator answers ---- */

enum cox_ticket_result {
    COX_TICKET_DONE = 0,
    COX_TICKET_FAILED = 1,      /* may be tried again */
    COX_TICKET_FINAL = 2,       /* will not work, however often */
    COX_TICKET_NO_CAPACITY = 3, /* this place is full */
    COX_TICKET_TIMED_OUT = 4
};

/* What the platform says about a member: not its life cycle, which is the core's to keep. */
enum cox_phase {
    COX_PHASE_PENDING = 1,    /* asked for, does not run yet */
    COX_PHASE_RUNNING = 2,    /* it runs; addresses are known */
    COX_PHASE_STOPPING = 3,   /* it was told to go, by us or by others */
    COX_PHASE_TERMINATED = 4, /* it is gone */
    COX_PHASE_LOST = 5        /* its place cannot be reached: neither here nor gone */
};

struct cox_port_address {
    uint32_t size;
    uint32_t reserved;
    const char *port;    /* name of the cartridge's port */
    const char *address; /* "10.0.0.1:80", "[::1]:80", "unix:/path" */
};

struct cox_member_change {
    uint32_t size;
    uint32_t phase;           /* enum cox_phase */
    const char *member;       /* the host's id, or a new unique one when granularity is count */
    const char *set;          /* set id; NULL: the host knows it */
    const char *platform_uid; /* the platform's own name for it, NULL: none */
    const char *revision, *partition, *network_partition; /* NULL: none */
    int64_t pid;                                          /* when it is a process of this machine, else 0 */
    struct cox_array addresses;                           /* struct cox_port_address; empty: unchanged */
    const char *reason;                                   /* for people; NULL: none */
};

/* ---- processes of this machine, through the master ---- */

/* The master takes command, folder, user and limits from its own reading of the config file: from here come
 * only the cartridge's name, the member's id and the environment. */
struct cox_process {
    uint32_t size;
    uint32_t reserved;
    const char *cartridge;
    const char *member;
    struct cox_array environment; /* struct cox_pair */
};

enum cox_process_kind {
    COX_PROCESS_STARTED = 1, /* pid is set */
    COX_PROCESS_FAILED = 2,  /* never ran; error says why */
    COX_PROCESS_EXITED = 3,  /* status as of waitpid */
    COX_PROCESS_LISTED = 4,  /* one that lives, with its environment: answer to process_list */
    COX_PROCESS_LIST_END = 5 /* the answer is complete */
};

struct cox_process_event {
    uint32_t size;
    uint32_t kind; /* enum cox_process_kind */
    const char *member;
    const char *cartridge; /* LISTED */
    int64_t pid;
    int32_t status;
    int32_t reserved;
    const char *error;
    struct cox_array environment; /* struct cox_pair; LISTED */
};

typedef void cox_process_fn(void *ctx, const struct cox_process_event *event);

/* ---- cartridges, as an actuator sees them ---- */

struct cox_port {
    uint32_t size;
    uint32_t reserved;
    const char *name;
    const char *protocol; /* "http", "fastcgi", … */
};

/* ---- the table ---- */

struct cox_host {
    uint32_t size;
    uint32_t abi;
    const char *instance; /* name of this instance in the config file */
    const char *version;  /* of the program, for people */

    /* One line in the error log, with the instance's name in front. cox_log below formats. */
    void (*log)(const struct cox_host *host, uint32_t level, const char *text);
    /* Says why the call that is just being answered fails: shown with it, once. */
    void (*error)(const struct cox_host *host, const char *text);
    uint64_t (*now_ns)(const struct cox_host *host);  /* monotonic */
    uint64_t (*wall_ns)(const struct cox_host *host); /* Unix time */
    const struct cox_math *math;

    /* The loop itself (struct event_base *), for libraries that want one. Calls that come from it are not
     * timed; prefer timers and watches. */
    void *(*event_base)(const struct cox_host *host);
    /* Calls fn(ctx) after so long, and then every repeat_ms unless that is 0. A timer that is not repeated is
     * still to be stopped. NULL: no memory. */
    struct cox_timer *(*timer_start)(const struct cox_host *host, uint64_t after_ms, uint64_t repeat_ms,
                                     cox_call_fn *fn, void *ctx);
    /* May be called from within the timer's own call; sets *timer to NULL, accepts NULL. */
    void (*timer_stop)(const struct cox_host *host, struct cox_timer **timer);
    /* Calls fn(ctx, fd, events) again and again while the descriptor is ready. The descriptor stays yours. */
    struct cox_watch *(*watch_start)(const struct cox_host *host, int32_t fd, uint32_t events,
                                     cox_ready_fn *fn, void *ctx);
    void (*watch_stop)(const struct cox_host *host, struct cox_watch **watch);

    /* Runs work(ctx) on a helper thread and then done(ctx) here. For what blocks: files, resolvers, big
     * parses. work may use nothing of the host but `post`. COX_BUSY: too many wait. done is called even after
     * `stop`, always before `close`. */
    int32_t (*offload)(const struct cox_host *host, cox_call_fn *work, cox_call_fn *done, void *ctx);
    /* Runs fn(ctx) on the orchestrator's thread. The only function here that any thread may call. COX_BUSY:
     * too many wait. Calls that are still waiting when `close` is called are run before it. */
    int32_t (*post)(const struct cox_host *host, cox_call_fn *fn, void *ctx);

    /* A reported measurement of a member, set or cluster (load average, memory, queue length …): becomes a
     * factor of samples. time_ns 0: now. */
    void (*report)(const struct cox_host *host, const char *source, const char *subject, const char *metric,
                   double value, uint64_t time_ns);
    /* A number of the plugin's own, shown by coxctl and in the metrics as coxswain_plugin_<name>. */
    void (*metric)(const struct cox_host *host, const char *name, double value);

    /* Discovery. Between view_begin and view_end everything is put that the source holds; at view_end what
     * was not put is withdrawn. A view in which a put was refused as invalid is dropped as a whole: the last
     * good one stays, and view_end returns COX_INVALID. view_drop gives an unfinished one up. Outside a view,
     * put and remove are differences. Nothing of what an earlier run of the orchestrator published is
     * withdrawn before the first whole view. */
    int32_t (*view_begin)(const struct cox_host *host);
    int32_t (*view_end)(const struct cox_host *host);
    void (*view_drop)(const struct cox_host *host);
    int32_t (*put)(const struct cox_host *host, const struct cox_object *object);
    int32_t (*remove)(const struct cox_host *host, const struct cox_object *object); /* kind, id, parent */
    /* The text of the last refusal of one of the four, lent until the next call; never NULL. */
    const char *(*discovery_error)(const struct cox_host *host);
    /* The source cannot be read at the moment (reason), or can be again (NULL): shown to people, nothing
     * else. */
    void (*source_state)(const struct cox_host *host, const char *reason);

    /* Actuators. A ticket is answered exactly once; a second answer is logged and ignored. */
    void (*ticket_done)(const struct cox_host *host, uint64_t ticket, uint32_t result, const char *reason);
    void (*member_changed)(const struct cox_host *host, const struct cox_member_change *change);
    /* Every member that lives has been told by member_changed. */
    void (*list_done)(const struct cox_host *host);

    /* Processes of this machine. process_watch comes first; there is one watcher an instance. COX_UNSUPPORTED
     * when there is no master. */
    int32_t (*process_watch)(const struct cox_host *host, cox_process_fn *fn, void *ctx);
    int32_t (*process_start)(const struct cox_host *host, const struct cox_process *process);
    int32_t (*process_stop)(const struct cox_host *host, const char *member, int32_t signo,
                            uint64_t kill_after_ms);
    int32_t (*process_list)(const struct cox_host *host);
};

/* Formats and logs; lines end after 1000 bytes. */
COX_PRINTF(3, 4)
static inline void cox_log(const struct cox_host *host, uint32_t level, const char *format, ...)
{
    char line[1000];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    host->log(host, level, line);
}

#ifdef __cplusplus
}
#endif

#endif
