/* members: the life of everything that coxswain itself runs.
 *
 *   created ─► initialized ─► starting ─► active ─► in_maintenance ─► ready_to_shut_down ─► terminated
 *      │            │            │  ▲        │              │ undrain      ▲
 *      │            │            │  └────────┘◄─────────────┘              │
 *      └────────────┴────────────┴── gave up ──────────────────────────────┘   any state ─► terminated: a
 * crash
 *
 *   members ──► sets (one for each alias of an application, one for each cluster with scale) ──► members
 *          │          └──► spots: what its policy says of each place, in order ──┐
 *          └──► places: partitions, and actuators as a whole, shared by all sets ◄┘
 *
 * A set has a wanted count. What is missing is started at the first spot with room (members_place.c), at
 * once; what died young is replaced with a back-off that its replacements inherit; what is too much is
 * drained. A draining member is stopped when others cover for it, every proxy knows, and nothing of it is in
 * flight, or when its drain_timeout is over. When more are wanted meanwhile, it stays instead.
 *
 * Owned by the orchestrator, on its thread. Knows plugins, proxies and the loop only through members_ops, so
 * that tests script them. Edits the model as the owner "members". Nothing is started or stopped before every
 * actuator of a set has listed what lives. A set where nothing moves costs nothing: members_tick looks at
 * those that are awake, and of those at members that are not simply active. */
#ifndef COX_ORCH_MEMBERS_H
#define COX_ORCH_MEMBERS_H

#include <coxswain/plugin.h>

#include "base/list.h"
#include "conf/settings.h"
#include "topo/index.h"
#include "topo/model.h"

#define MEMBERS_BACKOFF_MS     100u
#define MEMBERS_BACKOFF_MAX_MS 30000u
#define MEMBERS_PROVEN_NS      30000000000ull /* active for so long: what it died of is forgiven */
#define MEMBERS_PORTS_MAX      32
#define MEMBERS_SET_MAX        10000
#define MEMBERS_TICK_MS        20
#define MEMBERS_TURN_NS        5000000ull /* a tick that takes longer goes on in the next turn of the loop */
#define MEMBERS_STARTS_TURN    100u       /* of one set, likewise */
#define MEMBERS_STARTS_MAX     64         /* start-ups that a set learns its start-up delay from */
#define MEMBERS_FULL_MS        5000u /* a place without capacity is asked again after this, then twice as long … */
#define MEMBERS_FULL_MAX_MS    60000u
#define MEMBERS_STOP_GRACE_MS  60000u /* on top of stop_timeout: then a stop is asked for again */

/* Where members run: a partition, or an actuator as a whole. Shared by the sets that use it. */
struct place {
    struct list node;       /* of members->places */
    char *key;              /* owned: name of the partition, or "@" and the actuator */
    const char *partition;  /* in key; "" for an actuator as a whole */
    uint32_t max;           /* of all sets; UINT32_MAX: no limit */
    uint32_t living;        /* members that take room here, those that are leaving included */
    uint64_t full_until_ns; /* its actuator had no capacity; 0: it has, as far as we know */
    unsigned full_times;    /* in a row */
};

/* A place as one set sees it. */
struct spot {
    struct place *place; /* borrowed */
    char *actuator;      /* owned */
    char *network;       /* owned: the network partition, or "" */
    uint32_t tier;       /* the smallest with room is used, the largest with members leaves first */
    uint32_t max;        /* members of this set; UINT32_MAX: no limit but the place's */
    uint32_t weight;
    int algorithm; /* enum place_algorithm, the same all over a tier */
    bool
        is_stray; /* not of the policy any more: what lives here serves until others do, and is not counted */
    uint32_t living, starting, ready, draining;
    /* Ends that the platform may tell of members that never had a name, because fewer were asked for. */
    uint32_t nameless_ends;
};

/* A port of a set: a cluster. */
struct set_port {
    const char *name;                      /* borrowed from settings; "": of a set that is in no config */
    char *cluster;                         /* owned: id */
    const struct cluster_options *options; /* borrowed from settings; NULL: of a set that is in no config */
};

struct member_port {
    struct addr addr; /* len 0: not known yet */
    bool is_up;       /* its probe answered */
};

struct member {
    struct list node;     /* of set->members, in the order they were created */
    struct list restless; /* of set->restless: not simply active */
    struct member_set *set;
    char *id;      /* owned; never used again */
    uint32_t spot; /* in set->spots */
    enum member_state state;
    uint64_t since_ns, since_wall_ns; /* of the state */
    uint64_t created_ns;
    uint64_t number;    /* grows with each member that this orchestrator made or adopted */
    uint64_t active_ns; /* when it first became active, 0: never */
    uint64_t down_ns;   /* active, and since then a probe fails; 0: all is well */
    uint64_t drain_until_ns;
    uint64_t covered_number; /* of the topology that says so, 0: not covered */
    uint64_t ticket;         /* open one, 0: none */
    int64_t pid;
    uint64_t load;           /* in flight, while victims are looked for */
    unsigned failures;       /* deaths of those it replaces, in a row */
    bool is_adopted;         /* was there before this orchestrator */
    bool is_nameless;        /* its platform makes it and has not told its name yet: the id is ours alone */
    bool is_drained_by_hand; /* and stays so until it is gone or undrained */
    bool is_faulty;          /* drained for that */
    bool is_leaving;         /* its platform stops it: it never serves again */
    bool is_severed; /* endpoints of it went with the config: something may be in flight there still */
    bool is_closing; /* drained, the last of its set: asked to stop once nobody can send it anything */
    bool is_unasked; /* its actuator is asked to stop it in the next turn: it was just speaking itself */
    bool is_unasked_drained;
    bool is_crowded_out;       /* no capacity: its replacement waits for room, not for a back-off */
    unsigned stops;            /* how often it was asked to stop */
    char reason[128];          /* of the last change */
    struct member_port *ports; /* owned; as many as set->ports */
};

/* A death that waits for its replacement. */
struct vacancy {
    uint64_t not_before_ns;
    unsigned failures;
};

/* Members of a set in one place. */
struct partition_facts {
    const char *partition, *network_partition; /* "": there are none; borrowed from the set */
    uint32_t ready, starting, draining;
    uint32_t capacity;           /* members that it may have; UINT32_MAX: nobody said */
    uint64_t oldest_starting_ns; /* age, 0: none is starting */
};

struct member_set {
    struct list node;          /* of members->sets */
    struct list awake;         /* of members->awake */
    struct list hungry;        /* of members->hungry: members are missing, and no spot has room */
    char *id;                  /* owned: application/1/1/alias, or the cluster's name */
    char *application, *alias; /* owned; begin the ids of its members */
    const struct cartridge_settings *cartridge; /* borrowed from settings; NULL: no longer configured */
    struct cartridge_settings *own_cartridge;   /* owned: of a cluster whose scale names none */
    const struct scaling_settings *scaling;     /* borrowed from settings; NULL likewise */
    uint32_t min, max;
    struct set_port *ports; /* owned */
    size_t port_count;
    struct spot *spots; /* owned; those of the policy first, in its order */
    uint32_t spot_count;
    struct list members, restless;
    uint32_t counted, ready, starting, draining; /* counted: what the wanted count is made of */
    struct vacancy *vacancies;                   /* owned */
    size_t vacancy_count;
    uint64_t due_ns; /* while awake: when it wants to be looked at */
    bool is_listed;  /* its actuators have told all that live */
    /* Set by who decides the count, before the first tick: nothing is drained because it is too much before
     * the first members_want. */
    bool waits_for_want;
    bool has_want;
    uint32_t want; /* of the last members_want */
    char want_why[128];
    uint64_t starts_ns[MEMBERS_STARTS_MAX]; /* created to active: the last ones, a ring */
    uint32_t start_count;                   /* ever; of this set, restored ones included */
    double start_p50_ns, start_p90_ns;      /* of starts_ns; NaN: none */
    uint64_t ready_ns, ready_at_ns;         /* integral of ready up to ready_at_ns */
    uint64_t changes; /* grows with every change of what members_facts says, but for time and room */
    struct partition_facts *facts; /* owned, lent by members_facts; as many as spots */
    void *scale;                   /* of the scaling engine; borrowed; members never look at it */
};

/* What a sample says of the members of a set. Arrays are lent until the next call of members_facts or
 * members_tick. */
struct member_facts {
    uint32_t ready, starting, draining;
    uint64_t ready_ns;                /* ∫ ready members·dt since the set was made, modulo 2^64 */
    const uint64_t *starting_ages_ns; /* since each was created, oldest first; at most MEMBERS_STARTS_MAX */
    uint32_t starting_age_count;
    uint64_t oldest_starting_ns; /* 0: none is starting */
    const struct partition_facts *partitions;
    uint32_t partition_count; /* at least 1 */
    /* Of all of them; UINT32_MAX: no limit but the set's max. Members that serve where the policy has no
     * place any more are in it for as long as the places of the policy have no room to replace them. */
    uint32_t capacity;
    double start_p50_ns, start_p90_ns; /* created to active, over the last starts; NaN: none was seen yet */
    double slots_per_member;           /* max_in_flight of the smallest port; NaN: no limit */
    bool is_listed; /* the actuators have told what lives; false: the counts are not to be trusted yet */
};

struct members_ops {
    /* True when the actuator took it: an answer by members_on_ticket follows. */
    bool (*start)(void *ctx, const struct member *m, uint64_t ticket);
    bool (*stop)(void *ctx, const struct member *m, bool is_drained, uint64_t ticket);
    /* Whether its platform keeps a number only, and names members itself; may be NULL. Then start and stop
     * tell the number of those in the member's spot that are not stopped, and who is to go. */
    bool (*is_counted)(void *ctx, const struct member *m);
    /* Attempts and tunnels in flight at an endpoint, over all living proxies. */
    uint64_t (*in_flight)(void *ctx, struct str cluster, struct str endpoint);
    /* Nothing is in flight any more at endpoints that were gone with this topology; may be NULL: nothing ever
     * is. Asked of those whose cluster went with the config. */
    bool (*is_settled)(void *ctx, uint64_t number);
    /* Every living proxy serves this topology or a later one, and an orchestrator that takes our place would
     * begin with such a one: it must not give requests to a member that we have told to stop. */
    bool (*is_acknowledged)(void *ctx, uint64_t number);
    uint64_t (*now_ns)(void *ctx);
    /* The model was edited; members_tick wants to be called soon. */
    void (*touched)(void *ctx);
    /* members_tick wants to be called in this turn of the loop or the next. */
    void (*wake)(void *ctx);
    void (*event)(void *ctx, const struct member *m, enum member_state from);
};

struct members {
    struct list sets;          /* owned */
    struct list places;        /* owned */
    struct list awake, hungry; /* sets */
    struct index sets_by_id, sets_by_cluster, by_id, by_ticket;
    char **listed; /* owned, and each: actuators that have told all they have */
    size_t listed_count;
    uint64_t ages_ns[MEMBERS_STARTS_MAX]; /* lent by members_facts */
    struct model *model;                  /* borrowed */
    const struct topology *loaded;        /* borrowed: what an earlier orchestrator published; may be NULL */
    const struct members_ops *ops;
    void *ctx;
    uint64_t last_ticket, last_number;
    uint64_t published, first_published; /* number of the last topology and of our first */
    uint64_t drain_timeout_ms;           /* of the proxies: what a member that is in no config waits too */
    bool is_settled; /* nothing is in flight any more of what went with the config before us */
    /* The next of a walk over some restless that calls actuators, which may end any member meanwhile; NULL:
     * no walk is under way. Whoever leaves the list moves it on. */
    struct list *walk;
    bool is_walk_back;
    bool is_touched; /* edits since */
    bool is_ticking; /* members_tick is at work: it needs no waking */
};

void members_init(struct members *ms, struct model *model, const struct members_ops *ops, void *ctx);
void members_fini(struct members *ms);
/* One set for each alias of each application, and for each cluster with scale. settings outlive members. */
void members_load_settings(struct members *ms, const struct settings *s);

/* What an actuator said. The member may be unknown: then it is adopted into the set it names. */
void members_on_change(struct members *ms, const char *actuator, const struct cox_member_change *change);
void members_on_ticket(struct members *ms, uint64_t ticket, enum cox_ticket_result result,
                       const char *reason);
/* It has told all its members: those of earlier that it did not tell are gone. "": the members of actuators
 * that the config has no more have been told. */
void members_on_listed(struct members *ms, const char *actuator);
/* A probe's verdict on an endpoint. */
void members_on_probe(struct members *ms, struct str cluster, struct str member, bool is_up);
/* The model was published under this number. */
void members_on_published(struct members *ms, uint64_t number);
/* Moves everything that time or counts have moved; returns in how many ms it wants to be called again, 0:
 * when something happens. */
uint64_t members_tick(struct members *ms);

/* By full id. */
struct member *members_find_exact(struct members *ms, struct str id);
/* By full id, or by an end of it that only one member has. NULL: none, or several. */
struct member *members_find(struct members *ms, const char *id);
/* False with a reason: it is not in a state for it. */
bool members_drain(struct members *ms, struct member *m, const char **out_why);
bool members_undrain(struct members *ms, struct member *m, const char **out_why);

/* ---- the seam to what decides how many ---- */

/* The set of this id, or the one whose members serve this cluster; NULL: there is none. */
struct member_set *members_find_set(struct members *ms, struct str id);
struct member_set *members_set_of(struct members *ms, struct str cluster);
/* So many members from now on, until the next call; before the first it is the set's min. The caller has
 * rounded it and clamped it to min, max, floors and capacity; it is clamped to MEMBERS_SET_MAX here. Acts
 * with the next members_tick, which it asks for. */
void members_want(struct members *ms, struct member_set *set, uint32_t count, const char *why);
/* What the set is kept at: 0 for one that is no longer configured. */
uint32_t members_wanted(const struct member_set *set);
void members_facts(struct members *ms, struct member_set *set, struct member_facts *out);
/* What is said there of room alone, which time and other sets change too: returns the capacity of the whole
 * set, and writes those of its first `count` places to `partitions`. */
uint32_t members_room(const struct member_set *set, uint64_t now_ns, struct partition_facts *partitions,
                      uint32_t count);
/* The learned start-up times, newest last, for whoever keeps them over a restart: copies at most
 * MEMBERS_STARTS_MAX to `out` and returns how many. Restoring replaces what was learned. */
uint32_t members_starts(const struct member_set *set, uint64_t out[MEMBERS_STARTS_MAX]);
void members_restore_starts(struct member_set *set, const uint64_t *starts_ns, uint32_t count);

/* It was asked to stop: of the number that its platform keeps it is none any more. */
bool member_is_stopped(const struct member *m);

const char *member_state_name(enum member_state state);

#endif
