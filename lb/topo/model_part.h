/* model_part: the inside of a model, shared by its files and nobody else.
 *
 *   model ──► owners ──► lists of what each put (for whole views)
 *         ├─► clusters by id ──► endpoints by id
 *         ├─► routes by host and path
 *         └─► members by id
 *
 * Every object is in the list of its owner. A changed cluster is in `dirty` until the next publish. */
#ifndef COX_TOPO_MODEL_PART_H
#define COX_TOPO_MODEL_PART_H

#include "base/list.h"
#include "topo/index.h"
#include "topo/model.h"
#include "topo/snapshot.h"

/* Who gets which number of the ledger. */
struct slots {
    uint32_t max, next; /* `next` and above were never given out */
    uint32_t *free;     /* owned; may be given out */
    uint32_t free_count, free_cap;
    struct freed_slot {
        uint32_t slot;
        uint64_t number; /* the first topology without it */
    } * freed;           /* owned; still to settle */
    uint32_t freed_count, freed_cap;
    uint64_t oldest; /* the least number in freed; UINT64_MAX: nothing is to settle */
};

void slots_fini(struct slots *s);
/* LEDGER_NO_SLOT when all are taken. */
uint32_t slots_take(struct slots *s);
void slots_give(struct slots *s, uint32_t slot, uint64_t number);
void slots_settle(struct slots *s, uint64_t number, bool is_cluster, bool (*is_quiet)(void *, bool, uint32_t),
                  void *ctx);
/* After a load: `used` says which of the slots below `given` are taken; the others settle with `number`. */
void slots_restore(struct slots *s, const bool *used, uint32_t given, uint64_t number);

struct model_owner {
    struct str name; /* owned */
    uint64_t view;   /* grows with each whole view */
    struct list clusters, endpoints, routes;
};

struct model_object {          /* first in each of the three */
    struct list node;          /* in its owner's list */
    struct model_owner *owner; /* borrowed; owners live as long as the model */
    uint64_t view;             /* the owner's, when it was last put */
};

struct model_cluster {
    struct model_object object;
    struct list dirty_node;
    struct str id; /* owned */
    uint32_t slot;
    struct cluster_options options; /* owned */
    struct buf wire;                /* options as they travel, to see whether they changed */
    struct index endpoints;         /* owned, and the endpoints */
    struct cluster *built;          /* counted; NULL or out of date while dirty */
};

struct model_endpoint {
    struct model_object object;
    struct model_cluster *cluster; /* borrowed: it outlives its endpoints */
    struct endpoint_draft e;
    char *texts; /* owned: what e points into */
};

struct model_route {
    struct model_object object;
    struct str key; /* owned: host, NUL, path, NUL, label; behind it the cluster */
    struct str host, path, label, cluster;
    struct route_rules *rules; /* counted; NULL: a plain route */
};

struct model_member {
    struct member_info info;
    char *texts;     /* owned */
    uint64_t listed; /* number of the last topology that was made of it and of those before it in order */
};

struct model {
    uint64_t epoch, number;
    struct index owners, clusters, routes, members;
    struct slots cluster_slots, endpoint_slots;
    struct list dirty;
    bool order_changed, routes_changed, members_changed, is_changed;
    struct topology *current; /* counted; NULL before the first publish */
};

struct model_owner *model_owner(struct model *m, struct str name);
void model_object_join(struct model_object *o, struct model_owner *owner, struct list *list);
/* False, and *error says who has it, when the object is somebody else's. */
bool model_object_claim(struct model_object *o, struct model_owner *owner, struct list *list,
                        const char *kind, struct str id, struct buf *error);
void model_touch(struct model *m, struct model_cluster *c);
/* Put without checks, for loading. NULL when slots are out; `slot` LEDGER_NO_SLOT: take one. */
struct model_cluster *model_add_cluster(struct model *m, struct model_owner *owner, struct str id,
                                        uint32_t slot, const struct cluster_options *options);
struct model_endpoint *model_add_endpoint(struct model *m, struct model_owner *owner, struct model_cluster *c,
                                          uint32_t slot, const struct endpoint_draft *e);
/* r->owner is ignored; takes a reference of the rules. */
void model_add_route(struct model *m, struct model_owner *owner, const struct route *r);
void model_drop_cluster(struct model *m, struct model_cluster *c);
void model_drop_endpoint(struct model *m, struct model_endpoint *e);
void model_drop_route(struct model *m, struct model_route *r);

#endif
