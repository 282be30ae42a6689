/* pool: fixed-size blocks for one worker, taken and given in O(1).
 *
 * Owned by its worker; never touched by another thread. Blocks come from malloc and stay in a free list of at
 * most `keep_max`; what comes back above that is freed, and
 * pool_trim frees the rest of them little by little, so that memory returns after a storm. pool_take may
 * fail: the caller answers 503 and the worker lives. */
#ifndef COX_BASE_POOL_H
#define COX_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

struct pool_block {
    struct pool_block *next;
};

struct pool {
    struct pool_block *free_list;
    size_t block_bytes;
    size_t zero_bytes; /* what pool_take_zeroed clears: all, unless the owner says less */
    uint32_t free_count, keep_max, taken_count;
};

void pool_init(struct pool *p, size_t block_bytes, uint32_t keep_max);
/* All blocks must be back. */
void pool_fini(struct pool *p);
/* Not zeroed; NULL when memory is out. */
void *pool_take(struct pool *p) __attribute__((warn_unused_result));
/* The first zero_bytes are zero. */
void *pool_take_zeroed(struct pool *p) __attribute__((warn_unused_result));
/* Frees an eighth of the blocks that lie here. Called once a second: what a storm left is gone within a
 * minute, while a load that needs them finds nearly all. */
void pool_trim(struct pool *p);
/* NULL is harmless. */
void pool_give(struct pool *p, void *block);

#endif
