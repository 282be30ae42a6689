/* members: the life of everything that coxswain itself runs.
 *
 *   created ─► initialized ─► starting ─► active ─► in_maintenance ─► ready_to_shut_down ─► terminated
 *      │            │            │  ▲        │              │ undrain      ▲
 *      │            │            │  └────────┘◄─────────────┘              │
 *      └────────────┴────────────┴── gave up ──────────────────────────────┘     any state ─► terminated: a
 * crash
 *
 *   members ──► sets (one for each alias of an application) ──► members ──► ports (an endpoint of a cluster
 * each)
 *
 * A set has a wanted count. What is missing is started through its actuator, at once; what died young is
 * replaced with a back-off that its replacements inherit; what is too much is drained. A draining member is
 * stopped when others cover for it, every proxy knows, and nothing of it is in flight, or when its
 * drain_timeout is over.
 *
 * Owned by the orchestrator, on its thread. Knows plugins, proxies and the loop only through members_ops, so
 * that tests script them. Edits the model as the owner "members". Nothing is started or stopped before the
 * actuator has listed what lives. */
#ifndef COX_ORCH_MEMBERS_H
#define COX_ORCH_MEMBERS_H

#include <coxswain/plugin.h>

#include "base/list.h"
#include "conf/settings.h"
#include "topo/model.h"

#define MEMBERS_BACKOFF_MS     100u
#define MEMBERS_BACKOFF_MAX_MS 30000u
#define MEMBERS_PROVEN_NS      30000000000ull /* active for so long: what it died of is forgiven */
#define MEMBERS_PORTS_MAX      32
#define MEMBERS_SET_MAX        10000
#define MEMBERS_TICK_MS        20

struct member_port {
    const struct port_settings *settings; /* borrowed */
    char *cluster;                        /* owned: id */
    struct addr addr;                     /* len 0: not known yet */
    bool is_up;                           /* its probe answered */
};

struct member {
    struct list node; /* of set->members */
    struct member_set *set;
    char *id; /* owned; never used again */
    enum member_state state;
    uint64_t since_ns, since_wall_ns; /* of the state */
    uint64_t active_ns;               /* when it first became active, 0: never */
    uint64_t drain_until_ns;
    uint64_t covered_number; /* of the topology that says so, 0: not covered */
    uint64_t ticket;         /* open one, 0: none */
    int64_t pid;
    unsigned failures;         /* deaths of those it replaces, in a row */
    bool is_adopted;           /* was there before this orchestrator */
    bool is_drained_by_hand;   /* and stays so until it is gone or undrained */
    char reason[128];          /* of the last change */
    struct member_port *ports; /* owned */
    size_t port_count;
};

/* A death that waits for its replacement. */
struct vacancy {
    uint64_t not_before_ns;
    unsigned failures;
};

struct member_set {
    struct list node;                           /* of members->sets */
    char *id;                                   /* owned: application/1/1/alias */
    char *application, *alias, *actuator;       /* owned */
    const struct cartridge_settings *cartridge; /* borrowed from settings; NULL: no longer configured */
    uint32_t min, max;
    struct list members;
    struct vacancy *vacancies; /* owned */
    size_t vacancy_count;
    bool is_listed; /* its actuator has told all that live */
};

struct members_ops {
    /* True when the actuator took it: an answer by members_on_ticket follows. */
    bool (*start)(void *ctx, const struct member *m, uint64_t ticket);
    bool (*stop)(void *ctx, const struct member *m, bool is_drained, uint64_t ticket);
    /* Attempts and tunnels in flight at an endpoint, over all living proxies. */
    uint64_t (*in_flight)(void *ctx, struct str cluster, struct str endpoint);
    /* Every living proxy serves this topology or a later one. */
    bool (*is_acknowledged)(void *ctx, uint64_t number);
    uint64_t (*now_ns)(void *ctx);
    /* The model was edited; members_tick wants to be called soon. */
    void (*touched)(void *ctx);
    void (*event)(void *ctx, const struct member *m, enum member_state from);
};

struct members {
    struct list sets;              /* owned */
    struct model *model;           /* borrowed */
    const struct topology *loaded; /* borrowed: what an earlier orchestrator published; may be NULL */
    const struct members_ops *ops;
    void *ctx;
    uint64_t last_ticket;
    uint64_t published; /* number of the last topology */
    bool is_touched;    /* edits since */
};

void members_init(struct members *ms, struct model *model, const struct members_ops *ops, void *ctx);
void members_fini(struct members *ms);
/* One set for each alias of each application. settings outlive members. */
void members_load_settings(struct members *ms, const struct settings *s);

/* What an actuator said. The member may be unknown: then it is adopted into the set it names. */
void members_on_change(struct members *ms, const char *actuator, const struct cox_member_change *change);
void members_on_ticket(struct members *ms, uint64_t ticket, enum cox_ticket_result result,
                       const char *reason);
/* It has told all its members: those of earlier that it did not tell are gone. */
void members_on_listed(struct members *ms, const char *actuator);
/* A probe's verdict on an endpoint. */
void members_on_probe(struct members *ms, struct str cluster, struct str member, bool is_up);
/* The model was published under this number. */
void members_on_published(struct members *ms, uint64_t number);
/* Moves everything that time or counts have moved; returns in how many ms it wants to be called again, 0:
 * when something happens. */
uint64_t members_tick(struct members *ms);

/* By full id, or by an end of it that only one member has. NULL: none, or several. */
struct member *members_find(struct members *ms, const char *id);
/* False with a reason: it is not in a state for it. */
bool members_drain(struct members *ms, struct member *m, const char **out_why);
bool members_undrain(struct members *ms, struct member *m, const char **out_why);

/* How many members the set should have now. The place where a scaler's answer will come in. */
uint32_t members_wanted(const struct member_set *set);
const char *member_state_name(enum member_state state);

/* For members_keep.c. */
void member_set_state(struct members *ms, struct member *m, enum member_state state, const char *reason);
struct member *member_create(struct members *ms, struct member_set *set, const char *id);
void member_gone(struct members *ms, struct member *m, const char *reason);
void member_give_up(struct members *ms, struct member *m, const char *reason);
void member_ask_stop(struct members *ms, struct member *m, bool is_drained);
struct member *member_by_ticket(struct members *ms, uint64_t ticket);
void members_touch(struct members *ms);
bool member_counts(const struct member *m);

#endif
