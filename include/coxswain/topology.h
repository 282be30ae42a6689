/* topology: the objects a discovery plugin describes, and what observers are told of them.
 *
 * A discovery plugin never edits the topology: it says what its source holds, through the host's discovery
 * functions (host.h), and the core finds the difference and publishes it. An object has one owner: the plugin
 * instance that put it first. A put of something that belongs to another instance, or to the config file, is
 * COX_CONFLICT; nothing is ever merged.
 *
 * What the fields of each kind are:
 *
 *   kind      id                      parent        fields (all values are text)
 *   cluster   its name                -             any key of a `clusters` item of the config file but
 * `name` and `endpoints`; keys of a group with a dot: "probe.interval" endpoint  unique in its cluster
 * cluster id    address (required): "10.0.0.1:80", "[::1]:80", "unix:/path" weight: 0 to 1000, default 100
 *                                                   ready: "ready" (default), "not_ready", "terminating"
 *                                                   priority: tier, 0 (default) is used first
 *                                                   member, platform_uid, revision, partition,
 * network_partition route     host and path prefix    -             cluster: id of the cluster,
 * which may come later in one text: "shop.example.com/cart", "*.example.com/"; any host is a lone asterisk
 * before the path. Any other key of a `routes` item of the config file but reply.file: "methods",
 * "redirect.location"; lists as [ "a", "b" ], clusters as [ "blue=90", "green=10" ]. Several routes of one
 * host and path have conditions, and "#" with a name behind the path; without one a route with conditions can
 * go with a whole view only.
 *
 * An unknown field is an error of the put, so that a misspelt one is seen. */
#ifndef COXSWAIN_TOPOLOGY_H
#define COXSWAIN_TOPOLOGY_H

#include <coxswain/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum cox_kind {
    COX_KIND_CLUSTER = 1,
    COX_KIND_ENDPOINT = 2,
    COX_KIND_ROUTE = 3,
    /* reserved: a put of these is COX_UNSUPPORTED in this version */
    COX_KIND_CERTIFICATE = 16,
    COX_KIND_CARTRIDGE = 17,
    COX_KIND_APPLICATION = 18,
    COX_KIND_POLICY = 19,
    COX_KIND_PARTITION = 20
};

struct cox_object {
    uint32_t size;
    uint32_t kind;           /* enum cox_kind */
    const char *id;          /* at most 255 bytes */
    const char *parent;      /* cluster id of an endpoint, else NULL */
    uint64_t version;        /* of the source, for people; 0: it has none */
    struct cox_array fields; /* struct cox_pair */
};

/* Life cycle of a member. Any state may go straight to terminated: a crash. The values are frozen. */
enum cox_member_state {
    COX_MEMBER_CREATED = 0,            /* it has an id */
    COX_MEMBER_INITIALIZED = 1,        /* its actuator was asked to start it */
    COX_MEMBER_STARTING = 2,           /* it runs, but does not answer on every port yet */
    COX_MEMBER_ACTIVE = 3,             /* every port answered */
    COX_MEMBER_IN_MAINTENANCE = 4,     /* draining: what is in flight may finish */
    COX_MEMBER_READY_TO_SHUT_DOWN = 5, /* drained, or given up: its actuator was asked to stop it */
    COX_MEMBER_TERMINATED = 6,
    COX_MEMBER_SUSPENDED = 7
};

/* One change of a member, told to observers. Without a member (id NULL) it is a change of the topology. */
struct cox_event {
    uint32_t size;
    uint32_t kind;     /* enum cox_event_kind; ignore what you do not know */
    uint64_t sequence; /* of the model, growing */
    uint64_t wall_ns;
    const char *id;          /* member, cluster, endpoint, or set of a decision */
    const char *parent;      /* set of a member, cluster of an endpoint */
    uint32_t from, to;       /* states of a member */
    const char *reason;      /* words for people, never NULL */
    double wanted;           /* of a decision */
    struct cox_array fields; /* struct cox_pair: what else is known */
};

enum cox_event_kind {
    COX_EVENT_SNAPSHOT_BEGIN = 1, /* the whole model follows; forget what you knew */
    COX_EVENT_SNAPSHOT_END = 2,   /* from here on only changes */
    COX_EVENT_MEMBER = 3,         /* id: from → to; in a snapshot `from` equals `to` */
    COX_EVENT_CLUSTER = 4,        /* put or changed */
    COX_EVENT_CLUSTER_REMOVED = 5,
    COX_EVENT_ENDPOINT = 6,
    COX_EVENT_ENDPOINT_REMOVED = 7,
    COX_EVENT_ROUTE = 8,
    COX_EVENT_ROUTE_REMOVED = 9,
    COX_EVENT_DECISION = 10
};

#ifdef __cplusplus
}
#endif

#endif
