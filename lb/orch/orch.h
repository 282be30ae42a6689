/* orch: the orchestrator process: what watches, decides and talks to control systems, away from the data
 * path.
 *
 *            settings ─┐          ┌─ probes (health)
 *   plugins ── host ───┼─► model ─┤                          ┌─► proxies (O-P channels, ledgers)
 *            members ──┘          └─ every 5 ms: topology ───┼─► probes, observers
 *   master channel: members' processes, coxctl, proxies      └─► master (sealed, at most one a second)
 *
 * One thread, one loop; helpers of host->offload touch nothing of it. It may be killed at any time: a new one
 * starts from the last published topology, adopts the members that live, and withdraws nothing of a source
 * before that has delivered a whole view. */
#ifndef COX_ORCH_ORCH_H
#define COX_ORCH_ORCH_H

#include "orch/host.h"
#include "orch/members.h"
#include "orch/names.h"
#include "orch/probe.h"
#include "orch/proxies.h"
#include "orch/scale.h"
#include "orch/state.h"
#include "run/channel.h"
#include "run/loop.h"
#include "run/role.h"
#include "topo/model.h"

#define ORCH_MAGIC          0x63786f72u
#define ORCH_PUBLISH_MS     5
#define ORCH_PUBLISH_MAX_MS 250
#define ORCH_PUBLISH_SHARE  4  /* times what the last topology took lie between two, if that is more */
#define ORCH_HURRY          16 /* topologies after a wake: a member comes up in four or five */
#define ORCH_HEARTBEAT_MS   1000
#define ORCH_RETRY_MS       10000
#define ORCH_MEMORY_MAX     (1024ull << 20) /* above: it starts anew */

struct orch;

/* The admin listener, handed in by the master: it lies above this folder. */
struct orch_admin_ops {
    /* NULL: it cannot be served, and that is in the log. */
    void *(*start)(struct orch *o);
    void (*published)(void *admin, const struct topology *from, const struct topology *to);
    /* The count of a set was changed; may be NULL. */
    void (*scaled)(void *admin, const struct scale_change *change);
    void (*stop)(void *admin);
};

struct orch {
    uint32_t magic;
    const struct orch_role *role;    /* borrowed */
    const struct settings *settings; /* borrowed */
    struct loop loop;
    struct channel *master;  /* owned */
    struct model *model;     /* owned */
    struct topology *loaded; /* counted: what there was before us; may be NULL */
    struct host host;
    struct members members;
    struct probes *probes;
    struct names *names; /* NULL: no endpoint has one */
    struct proxies *proxies;
    struct state state;
    struct scale *scale; /* owned; NULL before and after it runs */
    struct timer scale_timer;
    uint64_t scale_at_ns; /* when that fires */
    struct ledger_past past; /* what ended generations had counted */
    bool has_past;
    struct timer publish, tick, beat, retry;
    uint64_t published_ms; /* monotonic */
    uint64_t publish_ms;   /* distance to the next */
    unsigned hurry;        /* topologies that need not keep the distance, since a cluster was woken */
    uint64_t beats;
    /* Told at once of every wake and saturated, at most one in 10 ms a cluster, kind and proxy; fn NULL:
     * nobody listens. The cluster may be unknown to the model. Texts are borrowed for the call. */
    struct {
        void (*fn)(void *ctx, const struct wake *w);
        void *ctx;
    } on_wake;
    void *admin; /* of role->admin; NULL: none */
    int exit_code;
};

/* The model was edited: publishes when this turn of the loop is over, but at most every 5 ms, so that a storm
 * of changes costs no storm of topologies; after a wake a few go out at once, for somebody waits for them. */
void orch_touch(struct orch *o);
/* members_tick soon. */
void orch_wake(struct orch *o);

/* actuation.c: members and probes, tied to plugins, proxies and model. */
extern const struct members_ops orch_members_ops;
extern const struct host_ops orch_host_ops;
extern const struct probe_ops orch_probe_ops;
/* admin.c: one command of coxctl; the answer goes back over the master's channel. False: malformed. */
bool orch_on_admin(struct orch *o, const struct channel_message *m) __attribute__((warn_unused_result));
/* The same without the channel: "drain ID", "undrain ID", "plugins", "refresh PLUGIN", "scale CLUSTER N
 * [MS]", "scale CLUSTER auto", "explain CLUSTER", "replay CLUSTER". The answer is appended to *out and begins
 * with "ok" or "error:". */
void orch_command(struct orch *o, struct str command, struct buf *out);
/* orch_scale.c: the scaling loop. False with lines in *errors: a policy is wrong. */
bool orch_scale_start(struct orch *o, struct buf *errors) __attribute__((warn_unused_result));
void orch_scale_stop(struct orch *o);
/* It wants to run in this turn of the loop. */
void orch_scale_touch(struct orch *o);
/* observers.c */
void observers_on_scale(struct orch *o, const struct scale_change *change);
void observers_on_member(struct orch *o, const struct member *m, enum member_state from);
void observers_on_topology(struct orch *o, const struct topology *from, const struct topology *to);
void observers_snapshot(struct orch *o, struct plugin *p);

#endif
