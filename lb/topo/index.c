#include "topo/index.h"

#include <stdlib.h>

#include "base/panic.h"

static uint32_t hash_of(struct str key)
{
    uint32_t h = str_hash(key);
    return h ^ h >> 15;
}

void index_fini(struct index *x)
{
    free(x->slots);
    *x = (struct index){0};
}

static struct index_slot *find(const struct index *x, struct str key, uint32_t hash)
{
    uint32_t at = hash & x->mask;
    while (x->slots[at].value && (x->slots[at].hash != hash || !str_eq(x->slots[at].key, key)))
        at = (at + 1) & x->mask;
    return &x->slots[at];
}

void *index_get(const struct index *x, struct str key)
{
    return x->slots ? find(x, key, hash_of(key))->value : NULL;
}

static void grow(struct index *x)
{
    struct index old = *x;
    x->mask = old.slots ? old.mask * 2 + 1 : 7;
    x->slots = must(calloc((size_t)x->mask + 1, sizeof(*x->slots)));
    for (uint32_t i = 0; old.slots && i <= old.mask; i++)
        if (old.slots[i].value)
            *find(x, old.slots[i].key, old.slots[i].hash) = old.slots[i];
    free(old.slots);
}

void index_put(struct index *x, struct str key, void *value)
{
    ASSERT(value != NULL);
    if (!x->slots || (x->count + 1) * 2 > x->mask)
        grow(x);
    const uint32_t hash = hash_of(key);
    struct index_slot *slot = find(x, key, hash);
    ASSERT(slot->value == NULL);
    *slot = (struct index_slot){key, value, hash};
    x->count++;
}

/* Moves back what a hole would hide: no tombstones, so a table that lives for months does not silt up. */
static void close_hole(struct index *x, uint32_t hole)
{
    for (uint32_t at = (hole + 1) & x->mask; x->slots[at].value; at = (at + 1) & x->mask) {
        uint32_t home = x->slots[at].hash & x->mask;
        if (((at - home) & x->mask) < ((at - hole) & x->mask))
            continue;
        x->slots[hole] = x->slots[at];
        hole = at;
    }
    x->slots[hole] = (struct index_slot){0};
}

void index_remove(struct index *x, struct str key)
{
    struct index_slot *slot = x->slots ? find(x, key, hash_of(key)) : NULL;
    if (!slot || !slot->value)
        return;
    x->count--;
    close_hole(x, (uint32_t)(slot - x->slots));
}

void *index_next(const struct index *x, uint32_t *at)
{
    while (x->slots && *at <= x->mask)
        if (x->slots[(*at)++].value)
            return x->slots[*at - 1].value;
    return NULL;
}
