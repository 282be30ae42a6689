/* plugin: the life of a coxswain plugin, and the descriptor it exports.
 *
 * A plugin is one shared object NAME.so in the plugin folder. It exports one constant, `cox_plugin`, and
 * nothing else. It is compiled with this include folder alone and links no symbol of the program.
 *
 *   dlopen ─► descriptor checked ─► options checked ─► open ─► start ─► (calls of its roles …) ─► stop ─►
 * close ▲                      │ once an instance ───┘                      └── reload, when it has one
 *
 * 1. The config file names instances: plugins = ( { name = "php-hosts"; plugin = "file"; path = "…"; } ). One
 *    plugin may be opened many times, so it has no mutable globals: everything belongs to the instance.
 * 2. The core checks the instance's section against `options` and tells every mistake with file and line.
 * `-t` stops here: nothing has been opened.
 * 3. open makes the instance. It may look at its options and allocate; it should not talk to anything yet.
 * When it fails it says why through host->error, frees what it made, and the program does not start (or keeps
 * running with its old config after a reload).
 * 4. start begins the work: connect, watch, list. When it fails the instance is closed, and opened and
 * started anew after a while. From now on its roles are called, always on the orchestrator's thread. A call
 * that takes longer than 10 ms is logged with the plugin's name; what blocks goes to host->offload. Five
 * seconds in one call, and the orchestrator is ended and started anew; after the third time the plugin is not
 * opened any more until the next reload, and what it brought into the topology stays as it was.
 * 5. stop ends the work; results may still come in until close, and are ignored then. close frees everything.
 * Every timer and watch must have been stopped by then.
 *
 * The plugin lives in the orchestrator process, away from the data path: when it crashes, the orchestrator is
 * started again, the proxy goes on serving the last topology, and the plugin finds the world as it left it.
 * It must expect to be started at any time in the middle of things.
 *
 * Roles are tables of functions, each NULL when the plugin does not have that role. */
#ifndef COXSWAIN_PLUGIN_H
#define COXSWAIN_PLUGIN_H

#include <coxswain/host.h>
#include <coxswain/scale.h>
#include <coxswain/topology.h>
#include <coxswain/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- discovery: pushes objects through host->view_begin, put, remove, view_end ---- */

enum cox_discovery_flags {
    COX_DISCOVERY_CLUSTERS = 1u << 0, /* kinds it may push */
    COX_DISCOVERY_ENDPOINTS = 1u << 1,
    COX_DISCOVERY_ROUTES = 1u << 2
};

struct cox_discovery {
    uint32_t size;
    uint32_t flags; /* enum cox_discovery_flags */
    /* Read the source again now (coxctl, or a doubt of the core). May be NULL. */
    void (*refresh)(void *instance);
};

/* ---- actuator: makes members exist and go ---- */

enum cox_granularity {
    COX_GRANULARITY_MEMBER = 1, /* start_member, stop_member: the host names each member */
    COX_GRANULARITY_COUNT = 2   /* set_count: the platform keeps a number and names members itself */
};

enum cox_stop_mode {
    COX_STOP_DRAINED = 0, /* nothing is in flight any more: a polite stop */
    COX_STOP_NOW = 1      /* it failed, or time is up */
};

struct cox_member_spec {
    uint32_t size;
    uint32_t reserved;
    const char *member; /* id, unique for ever; calls with the same id mean the same member */
    const char *set;
    const char *cartridge;
    const char *revision, *partition, *network_partition; /* NULL: none */
    struct cox_array ports;                               /* struct cox_port */
    struct cox_array environment;      /* struct cox_pair: of the core, e.g. CORRELATION_ID */
    const struct cox_options *options; /* by cartridge_options; NULL: the plugin has none */
    uint64_t fence;                    /* number of the lease under which this is done; 0: no store */
};

struct cox_stop {
    uint32_t size;
    uint32_t mode; /* enum cox_stop_mode */
    const char *member;
    int32_t signo; /* the cartridge's stop signal */
    uint32_t reserved;
    uint64_t deadline_ms; /* from now: force it then */
    uint64_t fence;
};

struct cox_count_target {
    uint32_t size;
    uint32_t count;
    const char *set;
    const char *cartridge;
    const char *partition;    /* NULL: any */
    struct cox_array victims; /* const char *: members that should go first when the count falls */
    uint64_t fence;
    struct cox_array ports; /* struct cox_port: what each of them offers */
};

/* Every function that takes a ticket returns COX_OK when it will answer it through host->ticket_done (which
 * it may call before returning), anything else when it will not. Calls are idempotent by the ids in them. */
struct cox_actuator {
    uint32_t size;
    uint32_t granularity; /* enum cox_granularity */
    /* Called once after start, before any other: tell every member that lives through host->member_changed,
     * then host->list_done. Until then nothing is started or stopped. */
    int32_t (*list)(void *instance);
    /* Granularity member. */
    int32_t (*start_member)(void *instance, uint64_t ticket, const struct cox_member_spec *spec);
    /* Asked again when the member's end was not told for a minute on top of its deadline: done means then
     * that it is gone, for there is nobody else to ask. */
    int32_t (*stop_member)(void *instance, uint64_t ticket, const struct cox_stop *stop);
    /* Granularity count: so many members of this set in this partition from now on; a later call replaces an
     * earlier one. The platform names its members: it tells each through host->member_changed under an id
     * that it never uses again, with the set and the partition, and tells the end of each, with both too when
     * it is the first that is told of it. All of that may come before this call returns. The ticket is done
     * when the platform has taken the number, failed or no_capacity when it cannot reach it. When the number
     * falls, the victims go first; who is among them has been drained where that was possible. A platform
     * that takes others all the same tells their end, or that they are stopping: then as many victims of that
     * place stay in their stead. So tell COX_PHASE_STOPPING of victims that go, before they are gone. */
    int32_t (*set_count)(void *instance, uint64_t ticket, const struct cox_count_target *target);
};

/* ---- observer: is told what happens ---- */

struct cox_observer {
    uint32_t size;
    uint32_t flags; /* none yet */
    /* After start first the whole model between COX_EVENT_SNAPSHOT_BEGIN and _END, then each change. When
     * changes come faster than they can be told, the whole is told again. */
    void (*event)(void *instance, const struct cox_event *event);
};

/* ---- store: reserved. A plugin that offers one is told that this version does not use it ---- */

struct cox_entry {
    uint32_t size;
    uint32_t flags;
    const char *key;
    const void *value;
    uint64_t value_bytes;
    uint64_t version; /* 0: it must not exist */
};

typedef void cox_store_fn(void *ctx, uint32_t result, const struct cox_entry *entry);

struct cox_store {
    uint32_t size;
    uint32_t flags;
    int32_t (*get)(void *instance, const char *key, cox_store_fn *done, void *ctx);
    int32_t (*put)(void *instance, const struct cox_entry *entry, cox_store_fn *done, void *ctx);
    int32_t (*remove)(void *instance, const char *key, uint64_t version, cox_store_fn *done, void *ctx);
    int32_t (*watch)(void *instance, const char *prefix, cox_store_fn *changed, void *ctx);
    int32_t (*lease)(void *instance, const char *key, uint64_t ttl_ms, cox_store_fn *changed, void *ctx);
};

/* ---- the descriptor ---- */

struct cox_open {
    uint32_t size;
    uint32_t flags;                    /* none yet */
    const struct cox_options *options; /* by `options` of the descriptor; lives until close */
};

struct cox_plugin {
    uint32_t size;            /* sizeof(struct cox_plugin) */
    uint32_t abi;             /* COX_ABI */
    const char *name;         /* the same as the file's name without .so */
    const char *summary;      /* one line */
    const char *version;      /* for people; NULL: none */
    struct cox_array options; /* struct cox_option: the instance's section */
    struct cox_array
        cartridge_options; /* struct cox_option: of a cartridge that names this actuator; reserved */
    struct cox_array partition_options; /* struct cox_option: of a partition; reserved */
    /* 0 and *out_instance, or COX_FAILED after host->error. */
    int32_t (*open)(const struct cox_host *host, const struct cox_open *args, void **out_instance);
    int32_t (*start)(void *instance); /* COX_FAILED after host->error */
    void (*stop)(void *instance);
    void (*close)(void *instance);
    /* New options for a running instance; COX_FAILED: the old ones stay. NULL: closed and opened instead. */
    int32_t (*reload)(void *instance, const struct cox_options *options);
    const struct cox_discovery *discovery;
    const struct cox_scaler *scaler;
    const struct cox_actuator *actuator;
    const struct cox_observer *observer;
    const struct cox_store *store;
};

/* What every plugin exports:   COX_EXPORT const struct cox_plugin cox_plugin = { .size = sizeof cox_plugin, …
 * }; */
extern COX_EXPORT const struct cox_plugin cox_plugin;
#define COX_PLUGIN_SYMBOL "cox_plugin"

#ifdef __cplusplus
}
#endif

#endif
