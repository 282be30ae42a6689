/* arena: everything that lives as long as one exchange, freed at once.
 *
 * The first block is given by the owner (the tail of the exchange's own pool block). Further ones come from
 * `blocks`, a pool of the owner's, or if they are larger than its blocks, or there is no pool, from malloc;
 * arena_fini gives them back. Bounded by `limit_bytes`; further blocks count in `quota`. Never zeroed. One
 * thread. */
#ifndef COX_BASE_ARENA_H
#define COX_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/quota.h"
#include "base/str.h"

#define ARENA_BLOCK_BYTES 8192 /* what a further block is good for, at least */

struct arena_block {
    struct arena_block *next;
    uint32_t payload_bytes;
    bool is_pooled;
    bool is_own; /* of one thing that outgrew the block it was in */
    _Alignas(8) char data[];
};

struct arena {
    char *at, *end;
    struct arena_block *more; /* owned */
    size_t used_bytes, limit_bytes;
    struct pool *blocks; /* borrowed, of ARENA_POOL_BYTES each, outlives the arena; NULL: malloc */
    struct quota *quota; /* borrowed; whose bytes they are; NULL: nobody counts */
};

#define ARENA_POOL_BYTES (sizeof(struct arena_block) + ARENA_BLOCK_BYTES)

/* Without a pool; who has one sets `blocks` before the first allocation. */
void arena_init(struct arena *a, void *first, size_t first_bytes, size_t limit_bytes);
void arena_fini(struct arena *a);
/* The slow road of arena_alloc: a further block. */
void *arena_grow(struct arena *a, size_t bytes) __attribute__((warn_unused_result));

/* Eight-byte aligned; NULL when memory or the limit is out. */
static inline void *arena_alloc(struct arena *a, size_t bytes)
{
    bytes = (bytes + 7) & ~(size_t)7;
    if ((size_t)(a->end - a->at) < bytes)
        return arena_grow(a, bytes);
    void *p = a->at;
    a->at += bytes;
    return p;
}

/* The slow road of arena_resize. */
void *arena_move(struct arena *a, void *p, size_t old_bytes, size_t bytes)
    __attribute__((warn_unused_result));

/* How far could p, which has old_bytes, grow where it is? */
static inline size_t arena_reach(const struct arena *a, const void *p, size_t old_bytes)
{
    const char *from = p;
    size_t old = (old_bytes + 7) & ~(size_t)7;
    return from + old == a->at ? (size_t)(a->end - from) : old_bytes;
}

/* Another size for p, which has old_bytes. In place when it was allocated last and there is room; else in a
 * block of its own, which grows and shrinks with it: no former copy stays behind. NULL as above: p is as it
 * was. Never when it shrinks. */
static inline void *arena_resize(struct arena *a, void *p, size_t old_bytes, size_t bytes)
{
    char *from = p;
    size_t old = (old_bytes + 7) & ~(size_t)7, want = (bytes + 7) & ~(size_t)7;
    if (from + old != a->at || want > (size_t)(a->end - from))
        return arena_move(a, p, old, want);
    a->at = from + want;
    return p;
}

/* From now on nobody counts what it holds. */
static inline void arena_leave_quota(struct arena *a)
{
    quota_give(a->quota, a->used_bytes);
    a->quota = NULL;
}

/* A copy of the bytes; .p is NULL when memory or the limit is out. */
struct str arena_copy(struct arena *a, struct str s);

#endif
