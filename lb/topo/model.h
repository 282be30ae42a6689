/* model: the mutable side of the topology. What the orchestrator edits, and what it makes snapshots from.
 *
 * Owned by one thread. Every edit marks what it changed; model_publish makes the next immutable topology
 * (number
 * + 1) which shares all that did not change with the last one. Slots of the ledger are given out here: a
 * cluster or endpoint keeps its slot for life, and a freed slot is used again only after model_slot_settled
 * says that every living generation acknowledged a topology without it and its counts are zero. */
#ifndef COX_TOPO_MODEL_H
#define COX_TOPO_MODEL_H

#include "topo/topology.h"

struct model;

/* What tells a route from the others. */
struct route_place {
    struct str host, path, label;
};

#define MEMBERS_OWNER "members" /* of the endpoints of members that the core itself had started */

struct model *model_create(uint64_t epoch, uint32_t max_clusters, uint32_t max_endpoints);
void model_destroy(struct model **m);
/* Starts from a topology somebody else built (a restarted orchestrator): owners, slots, health states and
 * numbering included; the model is empty until then. Nothing of it goes before its owner has delivered a
 * whole view or removes it. Slots that were given out before and are free now wait for model_settled. */
void model_load(struct model *m, const struct topology *from);
/* The static clusters and routes of the config, and for each port of an application's cartridges the cluster
 * "application/1/1/alias:port" without endpoints, for its first port the routes too; owner "config", as a
 * whole view. Used by the master for the first topology and by the orchestrator, which adds the members. What
 * cannot be used is logged and left out. Endpoints with a host name are not there: lb/orch/names.h adds what
 * they resolve to. */
void model_load_settings(struct model *m, const struct settings *s);

/* After model_load: the objects of owners that is_kept refuses are removed. */
void model_keep_owners(struct model *m, const struct topology *from,
                       bool (*is_kept)(void *ctx, const char *owner), void *ctx);

/* Each object has one owner (a plugin instance or "config"); a claim on another's object is refused: false,
 * and *error (may be NULL) says who owns it. Texts are copied. */
bool model_put_cluster(struct model *m, struct str owner, struct str id,
                       const struct cluster_options *options, struct buf *error)
    __attribute__((warn_unused_result));
bool model_put_endpoint(struct model *m, struct str owner, struct str cluster, const struct endpoint_draft *e,
                        struct buf *error) __attribute__((warn_unused_result));
/* slot, service and e->owner are ignored. Of an endpoint that is there already, health, admin_drain and the
 * state of the same member stay as the core set them; health starts anew when the address changes. */
bool model_put_route(struct model *m, struct str owner, struct str host, struct str path, struct str cluster,
                     struct buf *error) __attribute__((warn_unused_result));
/* The same with conditions and whatever else the options say; cluster may be empty then. Several routes of
 * one host and path have different labels; an empty one stands for the text of the conditions. */
bool model_put_ruled_route(struct model *m, struct str owner, const struct route_place *place,
                           struct str cluster, const struct route_options *options, struct buf *error)
    __attribute__((warn_unused_result));
void model_remove_cluster(struct model *m, struct str owner, struct str id);
void model_remove_endpoint(struct model *m, struct str owner, struct str cluster, struct str id);
void model_remove_route(struct model *m, struct str owner, struct str host, struct str path);
void model_remove_ruled_route(struct model *m, struct str owner, const struct route_place *place);
/* Whole views: between begin and end everything put is kept, the owner's other objects are removed at end. */
void model_view_begin(struct model *m, struct str owner);
void model_view_end(struct model *m, struct str owner);

/* Fields that the core itself changes, whoever owns the endpoint; false when there is none. */
bool model_set_health(struct model *m, struct str cluster, struct str endpoint, enum endpoint_health health);
/* Of one endpoint that is a member. */
bool model_set_endpoint_state(struct model *m, struct str cluster, struct str endpoint,
                              enum member_state state);
bool model_set_member_state(struct model *m, struct str member,
                            enum member_state state); /* all endpoints of it */
bool model_set_admin_drain(struct model *m, struct str member_or_endpoint, bool drain);
void model_put_member(struct model *m, const struct member_info *info); /* for people; replaced by id */
void model_remove_member(struct model *m, struct str id);

/* NULL when nothing changed since the last; else a new reference. The model keeps the last one too. */
struct topology *model_publish(struct model *m) __attribute__((warn_unused_result));
/* The last published, borrowed. */
struct topology *model_current(struct model *m);
/* Every living generation has acknowledged `number`: slots freed before it may be given out again when
 * is_quiet(ctx, is_cluster, slot) says that its counts are zero. */
void model_settled(struct model *m, uint64_t number,
                   bool (*is_quiet)(void *ctx, bool is_cluster, uint32_t slot), void *ctx);
/* Nothing is in flight at any endpoint that went with this topology or an earlier one, as model_settled last
 * saw it. */
bool model_is_settled(const struct model *m, uint64_t number);

#endif
