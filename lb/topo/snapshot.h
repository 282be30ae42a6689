/* snapshot: putting the parts of a topology together, for those who build one (model, reader, difference).
 *
 * All parts are counted references; a snapshot takes over those it is given. */
#ifndef COX_TOPO_SNAPSHOT_H
#define COX_TOPO_SNAPSHOT_H

#include "topo/topology.h"

/* The members of a snapshot, shared with those in which they are the same. One block: texts lie behind. */
struct member_table {
    _Atomic uint32_t refs;
    uint32_t count;
    struct member_info v[]; /* sorted by id */
};

/* Copies; `members` may come in any order, their ids differ. One reference. */
struct member_table *member_table_build(const struct member_info *members, uint32_t count)
    __attribute__((warn_unused_result));
void member_table_ref(struct member_table *t);
void member_table_unref(struct member_table **t);

/* The texts of a member_info: the n-th, from 0. */
#define MEMBER_TEXTS 6
struct str *member_text(struct member_info *m, unsigned n);
static inline struct str member_text_of(const struct member_info *m, unsigned n)
{
    return *member_text((struct member_info *)(uintptr_t)m, n);
}

/* Takes over the array and the reference of every cluster in it (sorted by id), the routes and the members.
 */
struct topology *topology_make(uint64_t epoch, uint64_t number, struct cluster **clusters,
                               uint32_t cluster_count, struct route_table *routes,
                               struct member_table *members) __attribute__((warn_unused_result));

/* Index in clusters, or -1. */
ptrdiff_t topology_find(const struct topology *t, struct str id);
/* The two have the same ids in the same order, so a route table of one is good for the other. */
bool topology_same_ids(struct cluster *const *a, uint32_t a_count, struct cluster *const *b,
                       uint32_t b_count);

#endif
