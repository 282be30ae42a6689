/* index: a hash table from text to object, for the model. Borrows keys and objects: a key lives in its
 * object. One thread; control plane. */
#ifndef COX_TOPO_INDEX_H
#define COX_TOPO_INDEX_H

#include "base/str.h"

struct index_slot {
    struct str key;
    void *value; /* NULL: empty */
    uint32_t hash;
};

struct index {
    struct index_slot *slots; /* owned; NULL while nothing was put */
    uint32_t mask, count;
};

void index_fini(struct index *x);
void *index_get(const struct index *x, struct str key);
/* The key must not be there. */
void index_put(struct index *x, struct str key, void *value);
/* Harmless when it is not there. */
void index_remove(struct index *x, struct str key);
/* Walks in no order: start with *at = 0; NULL at the end. Nothing may be put on the way, and
 * nothing removed but what it just returned: then take one from *at, for another entry may have moved into
 * its place. */
void *index_next(const struct index *x, uint32_t *at);

#endif
