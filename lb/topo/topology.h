/* topology: the immutable snapshot of clusters, endpoints and routes that a worker serves from.
 *
 *   topology ──► clusters[] (counted, shared between snapshots) ──► endpoints[]
 *            └─► routes (counted, shared)                            members[] (for people only)
 *
 * Built by whoever publishes (orchestrator, or the master before the first) as a `model` (topo/model.h), sent
 * as bytes, rebuilt in the proxy's control thread, published to workers by epoch, freed by the control thread
 * when no worker looks at it. Workers only read. One change costs what changed: unchanged clusters and routes
 * are shared with the snapshot before. */
#ifndef COX_TOPO_TOPOLOGY_H
#define COX_TOPO_TOPOLOGY_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "conf/settings.h"
#include "net/addr.h"

/* Of the member; an endpoint without a member counts as active. Values are frozen: they travel. */
enum member_state {
    MEMBER_CREATED = 0,
    MEMBER_INITIALIZED,
    MEMBER_STARTING,
    MEMBER_ACTIVE,
    MEMBER_IN_MAINTENANCE, /* draining */
    MEMBER_READY_TO_SHUT_DOWN,
    MEMBER_TERMINATED,
    MEMBER_SUSPENDED
};

/* As its source reports it. */
enum endpoint_readiness { ENDPOINT_NOT_READY = 0, ENDPOINT_READY = 1, ENDPOINT_TERMINATING = 2 };
enum endpoint_health { HEALTH_UNKNOWN = 0, HEALTH_UP = 1, HEALTH_DOWN = 2 };

/* Derived, what the balancer looks at. */
enum endpoint_service {
    SERVICE_OFF,       /* not to be used */
    SERVICE_ON,        /* serves */
    SERVICE_UNHEALTHY, /* a probe failed: used only when no endpoint is ON */
    SERVICE_DRAINING   /* gets new requests only when there is nothing else */
};

/* An endpoint as its source describes it: what clusters are built from. Texts are at most TOPOLOGY_ID_MAX
 * long and belong to whoever filled it in. */
struct endpoint_draft {
    uint32_t slot;   /* in the ledger */
    uint32_t weight; /* 0..1000, default 100 */
    struct addr addr;
    struct str id;     /* unique in its cluster: address text unless the source names it */
    struct str owner;  /* who put it: a plugin instance or "config" */
    struct str member; /* member id, or empty */
    struct str platform_uid, revision, partition, network_partition;
    uint8_t member_state, readiness, health; /* enums above */
    uint8_t admin_drain;                     /* coxctl drain */
    uint8_t priority;                        /* tier, 0 first */
    uint64_t
        since_ns; /* wall time when it began to serve (service ON), in clusters with slow_start; else 0 */
};

/* The texts of an endpoint in the order of their tags on the wire. */
enum endpoint_text {
    TEXT_ID,
    TEXT_OWNER,
    TEXT_MEMBER,
    TEXT_PLATFORM_UID,
    TEXT_REVISION,
    TEXT_PARTITION,
    TEXT_NETWORK_PARTITION,
    ENDPOINT_TEXTS
};

/* An endpoint of a built cluster: the same in a line of a cache, because there may be 100,000 of them.
 * Address and texts lie in the cluster's block, one text behind the other; endpoint_id() and its like read
 * them. */
struct endpoint {
    uint32_t slot; /* as above, and so on */
    uint32_t mark; /* derived: of id and address; tells it from another endpoint that has its slot later */
    uint16_t weight;
    uint8_t service; /* enum endpoint_service, derived by cluster_build */
    uint8_t member_state, readiness, health, admin_drain, priority;
    uint64_t since_ns;
    const struct addr *addr; /* may be copied whole; what is behind its len means nothing */
    const char *texts;
    uint8_t text_bytes[ENDPOINT_TEXTS];
};
_Static_assert(sizeof(struct endpoint) <= 64, "an endpoint fits in a cache line");

/* Borrowed from its cluster, like what follows. */
static inline struct str endpoint_id(const struct endpoint *e)
{
    return str_make(e->texts, e->text_bytes[TEXT_ID]);
}

static inline struct str endpoint_text(const struct endpoint *e, unsigned n)
{
    const char *at = e->texts;
    for (unsigned i = 0; i < n; i++)
        at += e->text_bytes[i];
    return str_make(at, e->text_bytes[n]);
}

static inline struct str endpoint_member(const struct endpoint *e)
{
    return endpoint_text(e, TEXT_MEMBER);
}

/* A place on the ring of consistent_hash. */
struct ring_point {
    uint32_t at, candidate;
};

/* What consistent_hash goes by. */
enum hash_key { HASH_SOURCE, HASH_URI, HASH_HEADER, HASH_COOKIE };

struct token_table; /* topo/token.h */

struct cluster {
    uint32_t slot;
    struct str id;
    struct str owner;
    struct cluster_options options;
    struct endpoint *endpoints; /* owned; sorted by id */
    uint32_t endpoint_count;
    uint32_t endpoint_slots; /* ledger slots of the endpoints are below this */
    bool has_all_slots;      /* every endpoint has one */
    /* What to pick from: indexes of the endpoints of the best non-empty class (ON, else UNHEALTHY, else
     * DRAINING; weights of zero after all others; of a class the lowest priority number, and further tiers
     * under tier_min_percent), and the running sums of their weights, divided by what all of them share.
     * Empty: nothing can serve. */
    uint32_t *candidates;  /* owned */
    uint32_t *weight_sums; /* owned; candidate_count of them */
    uint32_t candidate_count;
    /* The same with the next tier of that class as well, and so on: for picks while real traffic keeps the
     * tiers before it out. Shares endpoints and texts, and holds nothing of its own but candidates, sums and
     * ring. Owned; NULL: there is no further tier. */
    struct cluster *wider;
    bool is_well;            /* candidates are ON with a weight, or it serves files: no backup is needed */
    uint32_t stride;         /* step of the weighted round robin: coprime to the last of weight_sums */
    uint64_t ramp_until_ns;  /* wall time; no endpoint is in its slow start after it; 0: none is */
    struct ring_point *ring; /* owned; with consistent_hash, sorted, else NULL */
    uint32_t ring_count;
    double hash_balance;  /* at least 1 */
    uint8_t hash_key;     /* enum hash_key */
    struct str hash_name; /* of the header or cookie; borrowed from options */
    struct token_table
        *tokens; /* owned; of the sticky cookie; NULL: not sticky. Only in a proxy (topology_sign) */
    /* What connecting to its servers over TLS needs; put and looked at by a proxy (proxy/secure.h) alone,
     * given back by secure_free when the cluster goes. NULL elsewhere. */
    void *secure;
    void (*secure_free)(void *secure);
    void *memory; /* owned: one block that holds addresses and texts */
    /* Every snapshot that shares it counts here, while requests read what stands above. */
    struct {
        _Alignas(64) _Atomic uint32_t refs;
    } shared;
};

struct route_rules; /* topo/route_rules.h */

/* The clusters that a route with rules names beside cluster_id. */
struct route_targets {
    uint32_t mirror_index; /* in topology.clusters; UINT32_MAX: none, or it does not exist */
    uint32_t total;        /* of the weights; 0: no split, or none of the clusters exists */
    uint32_t count;
    struct route_share {
        uint32_t cluster_index; /* UINT32_MAX: does not exist, and has no weight */
        uint32_t weight_sum;    /* up to and with this one */
    } v[];
};

struct route {
    struct str path;        /* prefix */
    uint32_t cluster_index; /* in topology.clusters; UINT32_MAX: none, or one that does not exist */
    uint32_t group;         /* routes with this host and path from this one on, in the order they are tried */
    struct route_rules *rules;     /* counted; NULL: a plain route */
    struct route_targets *targets; /* owned by the table; NULL: a plain route */
    struct str host;               /* lower case; "*" any; "*.x" wildcard */
    struct str cluster_id;         /* empty: the rules say what is done */
    struct str owner;
    struct str label; /* tells the routes of one host and path from each other; often empty */
};

struct route_table; /* topo/route.h */

/* For coxctl and observers; the proxy ignores them. */
struct member_info {
    struct str id, set, cartridge, address, partition, reason;
    uint8_t state;
    uint64_t since_wall_ns;
    int64_t pid; /* process actuator, else 0 */
};

struct topology {
    _Atomic uint32_t refs;
    uint64_t epoch, number;    /* sequence */
    struct cluster **clusters; /* counted references, sorted by id */
    uint32_t cluster_count;
    struct route_table *routes;        /* counted reference */
    const struct member_info *members; /* sorted by id */
    uint32_t member_count;
    uint32_t cluster_slots, endpoint_slots; /* ledger slots from these numbers on were never given out */
    struct member_table *member_table;      /* counted reference: what `members` points into */
};

/* What travels is bounded by these; a topology beyond them is malformed. */
#define TOPOLOGY_ID_MAX        255u /* bytes of every id, host and short text; fits into uint8_t */
#define TOPOLOGY_PATH_MAX      1024u
#define TOPOLOGY_LABEL_MAX     16384u /* the conditions of a route, or its name at its source */
#define TOPOLOGY_TEXT_MAX      1024u  /* a member's reason */
#define TOPOLOGY_WEIGHT_MAX    1000u
#define TOPOLOGY_CLUSTERS_MAX  (1u << 16)
#define TOPOLOGY_ENDPOINTS_MAX (1u << 20) /* of one cluster */
#define TOPOLOGY_ROUTES_MAX    (1u << 20)
#define TOPOLOGY_MEMBERS_MAX   (1u << 20)

void topology_ref(struct topology *t);
/* Any thread; the last one frees. *t becomes NULL. */
void topology_unref(struct topology **t);
const struct cluster *topology_cluster(const struct topology *t, struct str id);

/* Wire form of a whole topology (sealed memfd or message) and back. Reading is bounds-checked; NULL and a
 * message in *error on malformed input. */
void topology_encode(const struct topology *t, struct buf *out);
struct topology *topology_decode(struct str bytes, struct buf *error) __attribute__((warn_unused_result));

/* The difference from `from` to `to` (changed clusters whole, removed ids, routes and members if changed),
 * and its application: shares what did not change; NULL when `base` is not the sequence the difference starts
 * from. */
void topology_diff_encode(const struct topology *from, const struct topology *to, struct buf *out);
struct topology *topology_diff_apply(struct topology *base, struct str bytes, struct buf *error)
    __attribute__((warn_unused_result));

/* Host (as received, any case, may have a port) and normalised path to a cluster. Exact host, then the
 * longest
 * "*.suffix", then "*"; within the host the longest path prefix that ends at a segment boundary (so "/a"
 * matches
 * "/a" and "/a/b", not "/ab"; a prefix that ends in '/' matches what begins with it). When a host has no
 * matching path, the next less exact host is tried. NULL and *out_known_route=false: 404; NULL with true: the
 * cluster is missing, 503. Routes with conditions are left out, and so is what other rules say: for looking
 * from outside; the proxy asks route_table_find. */
struct cluster *topology_route(const struct topology *t, struct str host, struct str path,
                               bool *out_known_route);

#endif
