/* topology_wire: writing and reading the objects of a topology, shared by the whole form and the difference.
 * Control plane only. */
#ifndef COX_TOPO_TOPOLOGY_WIRE_H
#define COX_TOPO_TOPOLOGY_WIRE_H

#include "topo/topology.h"

void wire_put_cluster(struct buf *out, const struct cluster *c);
void wire_put_routes(struct buf *out, const struct route_table *t);
void wire_put_members(struct buf *out, const struct topology *t);

/* What a message holds, before it is put together. Texts are borrowed from the message. */
struct parsed {
    struct cluster **clusters; /* owned, and a reference of each; sorted */
    uint32_t cluster_count;
    struct str *removed; /* owned array; sorted */
    uint32_t removed_count;
    struct route *routes; /* owned array; sorted */
    uint32_t route_count;
    struct member_info *members; /* owned array; sorted */
    uint32_t member_count;
    bool has_routes, has_members;
};

/* NULL, or what is wrong. parsed_fini is due in both cases. */
const char *parsed_read(struct parsed *p, struct str fields) __attribute__((warn_unused_result));
void parsed_fini(struct parsed *p);

#endif
