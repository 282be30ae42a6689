#include "base/pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

void pool_init(struct pool *p, size_t block_bytes, uint32_t keep_max)
{
    ASSERT(block_bytes >= sizeof(struct pool_block));
    *p = (struct pool){.block_bytes = block_bytes, .zero_bytes = block_bytes, .keep_max = keep_max};
}

void pool_fini(struct pool *p)
{
    ASSERT(p->taken_count == 0);
    while (p->free_list) {
        struct pool_block *b = p->free_list;
        p->free_list = b->next;
        free(b);
    }
    p->free_count = 0;
}

void *pool_take(struct pool *p)
{
    struct pool_block *b = p->free_list;
    if (b) {
        p->free_list = b->next;
        p->free_count--;
        __builtin_prefetch(p->free_list, 1); /* the next taker asks for its link first of all */
    } else {
        b = malloc(p->block_bytes);
        if (!b)
            return NULL;
    }
    p->taken_count++;
    return b;
}

void *pool_take_zeroed(struct pool *p)
{
    void *b = pool_take(p);
    return b ? memset(b, 0, p->zero_bytes) : NULL;
}

void pool_give(struct pool *p, void *block)
{
    if (!block)
        return;
    ASSERT(p->taken_count > 0);
    p->taken_count--;
#if !defined(__SANITIZE_ADDRESS__) && !defined(COX_FAULTS)
    if (p->free_count < p->keep_max) {
        struct pool_block *b = block;
        b->next = p->free_list;
        p->free_list = b;
        p->free_count++;
        return;
    }
#endif
    free(block); /* under ASan always, so that a stale pointer is seen */
}

void pool_trim(struct pool *p)
{
    for (uint32_t n = p->free_count / 8; n; n--) {
        struct pool_block *b = p->free_list;
        p->free_list = b->next;
        p->free_count--;
        free(b);
    }
}
