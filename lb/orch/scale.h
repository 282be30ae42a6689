/* scale: the scaling loop: how many members each set should have, decided ten times a second.
 *
 *   ledgers (exact integrals) ─┐
 *   members (facts)            ├─► sample ─► scaler.decide ─► round, clamp, forbid ─► members_want
 *   reports, calendar, hands  ─┘                └─ state ◄─┘        │
 *                                     scale.state (disk)            └─► log of decisions (ring on disk)
 *
 * Per set: every 100 ms, and at once (but at most once in 10 ms) when a request waits for it. A set where
 * nothing happens is only looked at with one glance at its counter of arrivals, and sampled every 10 s.
 *
 * What the core holds against any scaler: a decision is rounded up and clamped to max, capacity and the
 * floors (min, schedules); the count does not fall while a source of counts is missing, while the actuator
 * has not told what lives, and after a restart without a recovered state not before a full window of the
 * policy was seen; zero is reached only where min is 0, after scale_to_zero_after without a request; a
 * waiting request asks for one member at once; a count set by hand stands until it is taken back or its time
 * is over.
 *
 * Owned by the orchestrator, on its thread. Knows clocks, ledgers and the model through scale_ops only, so
 * that tests script them. Borrows sets from members, which outlive it; member_set.scale points back. */
#ifndef COX_ORCH_SCALE_H
#define COX_ORCH_SCALE_H

#include "base/buf.h"
#include "base/ledger.h"
#include "conf/settings.h"
#include "orch/members.h"

#define SCALE_TICK_MS    100
#define SCALE_WAKE_MS    10
#define SCALE_QUIET_MS   1000  /* between samples of a set that is idle, and has been for SCALE_CALM_MS */
#define SCALE_STILL_MS   10000 /* and when it has no more members than it must have */
#define SCALE_CALM_MS    5000
#define SCALE_RETURN_MS  1000  /* a new loop waits so long for the counts of those that it takes over */
#define SCALE_WINDOW_MS  60000 /* of a policy that names none */
#define SCALE_LOG_MS     10000 /* a decision that changes nothing is logged this often, while there is load */
#define SCALE_ORIGIN_MAX 64    /* bytes of a correlation id */

struct scale;
struct scale_set;

enum scale_early { SCALE_IN_TIME, SCALE_WAKE, SCALE_SATURATED }; /* why a sample is taken */

/* A change of the count; or, from and to being equal, that it would have to be larger than it may be, once
 * for each time that this comes about. Texts are lent for the call. */
struct scale_change {
    const char *set, *why;
    uint32_t from, to, cause; /* cause: enum cox_cause */
};

struct scale_sources {
    uint32_t expected, fresh;
    uint64_t oldest_ns;
};

struct scale_ops {
    uint64_t (*now_ns)(void *ctx);
    uint64_t (*wall_ns)(void *ctx);
    /* Of a cluster; LEDGER_NO_SLOT: it has none now. */
    uint32_t (*slot)(void *ctx, struct str cluster);
    /* A cheap number that differs once anything arrived. */
    uint64_t (*arrivals)(void *ctx, uint32_t slot);
    /* This part of *out gets ended and living generations together, integrals up to now_ns. False: a source
     * could not be read. */
    bool (*sum)(void *ctx, uint32_t slot, uint64_t now_ns, enum ledger_part part,
                struct ledger_cluster_sum *out);
    void (*latency)(void *ctx, uint32_t slot, uint64_t buckets[LEDGER_HIST_BUCKETS]);
    /* Living generations, how many of them can be read, and how long ago the one of those that was silent for
     * longest gave a sign of life. */
    void (*sources)(void *ctx, struct scale_sources *out);
    /* Requests that this member's endpoints ever got; for the chain from a request to the first one served.
     */
    uint64_t (*served)(void *ctx, const struct member *m);
    /* Around each call of a scaler, with the name that its policy calls the plugin by; may be NULL. */
    void (*enter)(void *ctx, const char *plugin);
    void (*leave)(void *ctx, const char *plugin);
    void (*changed)(void *ctx, const struct scale_change *change); /* may be NULL */
};

/* Loads the policies' plugins and recovers what was kept in state_dir (NULL or "": nothing is kept). Every
 * mistake in a policy is a line in *errors, and NULL is returned. `left_out` names plugins not to use, as
 * policies call them: their sets stay as they are. */
struct scale_args {
    const struct settings *settings; /* outlives it */
    struct members *members;         /* likewise; its sets are loaded */
    const struct scale_ops *ops;
    void *ctx;
    const char *plugin_dir;
    const char *incarnation; /* of the ledgers: what is counted goes on while this is the same text */
    const char *const *left_out;
    size_t left_out_count;
};
struct scale *scale_create(const struct scale_args *args, struct buf *errors)
    __attribute__((warn_unused_result));
/* Saves what is to be kept. */
void scale_destroy(struct scale **s);
/* The policies alone, for `-t`: loads each plugin and checks the options against its schema. */
bool scale_check(const struct settings *s, const char *plugin_dir, struct buf *errors)
    __attribute__((warn_unused_result));

/* Samples and decides what is due; returns in how many ms it wants to be called again, 0: there is nothing
 * to scale. */
uint64_t scale_tick(struct scale *s);
/* A request waits in this cluster and nothing can serve it (or everything is at its limit). `origin`: the
 * request's id, may be empty. True: scale_tick wants to be called at once. */
bool scale_wake(struct scale *s, struct str cluster, bool is_saturated, struct str origin);
/* Something about the members of the set has changed. */
void scale_member_changed(struct scale *s, const struct member *m);
/* The topology was published: clusters may have other slots. */
void scale_published(struct scale *s);
/* host->report: `subject` is a member or a set. */
void scale_report(struct scale *s, const char *subject, const char *metric, double value, uint64_t time_ns);

/* ---- coxctl and the admin listener; all text is appended to *out ---- */

/* "CLUSTER N", "CLUSTER N 3600000" (ms), "CLUSTER auto"; begins with "ok" or "error:". CLUSTER is the id of a
 * cluster or a set, or an alias that only one set has. */
void scale_by_hand(struct scale *s, struct str arguments, struct buf *out);
/* Why there are as many members as there are, in words. */
void scale_explain(struct scale *s, struct str cluster, struct buf *out);
/* Decides the logged decisions of the set anew, and compares. */
void scale_replay(struct scale *s, struct str cluster, struct buf *out);

/* One set, as numbers. Texts are lent until the next tick. */
struct scale_view {
    const char *set, *policy, *plugin; /* policy, plugin: NULL for none */
    const char *why;                   /* of the last change */
    uint32_t count, ready, starting, draining, min, max, floor, floor_origin, cause;
    double wanted; /* unrounded; NaN: none yet */
    bool is_by_hand, is_not_capacity, may_not_shrink;
    uint64_t hand_until_wall_ns; /* 0: until it is taken back */
    uint64_t changed_wall_ns;    /* of the last change; 0: none yet */
    uint64_t samples, decisions, ups, downs;
    uint64_t causes[16]; /* decisions by enum cox_cause; the last: all that are unknown */
};
size_t scale_count(const struct scale *s);
void scale_look(struct scale *s, size_t i, struct scale_view *out);
const char *scale_cause_name(uint32_t cause);
const char *scale_floor_name(uint32_t origin);

#endif
