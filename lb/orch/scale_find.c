/* Sets by name, and where their clusters are counted. */
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "orch/scale_priv.h"

static void index_add(struct scale *s, const char *name, uint32_t set)
{
    size_t at = scale_hash(0, name, strlen(name)) & (s->index_size - 1);
    while (s->index[at].name)
        at = (at + 1) & (s->index_size - 1);
    s->index[at].name = name;
    s->index[at].set = set;
}

void scale_index(struct scale *s)
{
    size_t size = 16;
    while (size < 2 * (s->set_count + s->watch_count))
        size *= 2;
    s->index_size = size;
    s->index = must(calloc(size, sizeof *s->index));
    for (uint32_t i = 0; i < s->set_count; i++) {
        index_add(s, s->sets[i].set->id, i);
        for (size_t k = 0; k < s->sets[i].cluster_count; k++)
            index_add(s, s->sets[i].clusters[k].id, i);
    }
}

struct scale_set *scale_find_id(struct scale *s, struct str name)
{
    size_t at = scale_hash(0, name.p, name.n) & (s->index_size - 1);
    for (; s->index[at].name; at = (at + 1) & (s->index_size - 1))
        if (str_eq(str_of(s->index[at].name), name))
            return &s->sets[s->index[at].set];
    return NULL;
}

struct scale_set *scale_find(struct scale *s, struct str name)
{
    struct scale_set *found = scale_find_id(s, name);
    if (found)
        return found;
    for (size_t i = 0; i < s->set_count; i++) {
        if (!str_eq(str_of(s->sets[i].set->alias), name))
            continue;
        if (found)
            return NULL;
        found = &s->sets[i];
    }
    return found;
}

/* Clusters of sets come from the config: once they have a slot they keep it, over a restart too. Before the
 * first topology nothing is known of slots but what was recovered. */
void scale_published(struct scale *s)
{
    bool all = true;
    size_t at = 0;
    if (s->has_slots)
        return;
    for (size_t i = 0; i < s->set_count; i++)
        for (size_t k = 0; k < s->sets[i].cluster_count; k++, at++) {
            struct scale_cluster *c = &s->sets[i].clusters[k];
            const uint32_t slot = s->ops->slot(s->ctx, str_of(c->id));
            if (slot == LEDGER_NO_SLOT) {
                all = false;
                continue;
            }
            c->has_last &= slot == c->slot; /* else other sums than before */
            c->slot = s->watches[at].slot = slot;
        }
    s->has_slots = all;
}
