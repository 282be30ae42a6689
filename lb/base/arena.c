#include "base/arena.h"

#include <stdbool.h>
#include <stdlib.h>

void arena_init(struct arena *a, void *first, size_t first_bytes, size_t limit_bytes)
{
    uintptr_t from = ((uintptr_t)first + 7) & ~(uintptr_t)7;
    a->at = (char *)from;
    a->end = (char *)first + first_bytes;
    a->more = NULL;
    a->used_bytes = 0;
    a->limit_bytes = limit_bytes;
    a->blocks = NULL;
}

void arena_fini(struct arena *a)
{
    while (a->more) {
        struct arena_block *b = a->more;
        a->more = b->next;
        if (a->blocks && b->payload_bytes == ARENA_BLOCK_BYTES)
            pool_give(a->blocks, b);
        else
            free(b);
    }
    a->at = a->end = NULL;
}

void *arena_grow(struct arena *a, size_t bytes)
{
    size_t payload = bytes > ARENA_BLOCK_BYTES ? bytes : ARENA_BLOCK_BYTES;
    if (bytes > a->limit_bytes || a->used_bytes > a->limit_bytes - bytes)
        return NULL;
    bool is_usual = a->blocks && payload == ARENA_BLOCK_BYTES;
    struct arena_block *b = is_usual ? pool_take(a->blocks) : malloc(sizeof *b + payload);
    if (!b)
        return NULL;
    b->payload_bytes = payload;
    a->used_bytes += payload;
    b->next = a->more;
    a->more = b;
    a->at = b->data + bytes;
    a->end = b->data + payload;
    return b->data;
}

struct str arena_copy(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n ? s.n : 1);
    if (!p)
        return STR_NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    return str_make(p, s.n);
}
