#include "base/arena.h"

#include <stdlib.h>

/* For less it is not worth to make a block smaller. */
#define WORTH_BYTES 256

void arena_init(struct arena *a, void *first, size_t first_bytes, size_t limit_bytes)
{
    uintptr_t from = ((uintptr_t)first + 7) & ~(uintptr_t)7;
    *a = (struct arena){.at = (char *)from, .end = (char *)first + first_bytes, .limit_bytes = limit_bytes};
}

static void release(struct arena *a, struct arena_block *b)
{
    if (b->is_pooled)
        pool_give(a->blocks, b);
    else
        free(b);
}

void arena_fini(struct arena *a)
{
    arena_leave_quota(a);
    while (a->more) {
        struct arena_block *b = a->more;
        a->more = b->next;
        release(a, b);
    }
    a->at = a->end = NULL;
}

static void count(struct arena *a, size_t bytes)
{
    a->used_bytes += bytes;
    quota_take(a->quota, bytes);
}

static void uncount(struct arena *a, size_t bytes)
{
    a->used_bytes -= bytes;
    quota_give(a->quota, bytes);
}

static bool is_allowed(const struct arena *a, size_t bytes)
{
    return bytes <= a->limit_bytes && a->used_bytes <= a->limit_bytes - bytes;
}

static struct arena_block *block_create(struct arena *a, size_t payload, bool is_pooled)
{
    struct arena_block *b = is_pooled ? pool_take(a->blocks) : malloc(sizeof *b + payload);
    if (!b)
        return NULL;
    b->payload_bytes = (uint32_t)payload;
    b->is_pooled = is_pooled;
    b->is_own = false;
    b->next = a->more;
    a->more = b;
    count(a, payload);
    return b;
}

void *arena_grow(struct arena *a, size_t bytes)
{
    size_t payload = bytes > ARENA_BLOCK_BYTES ? bytes : ARENA_BLOCK_BYTES;
    if (!is_allowed(a, bytes))
        return NULL;
    struct arena_block *b = block_create(a, payload, a->blocks && payload == ARENA_BLOCK_BYTES);
    if (!b)
        return NULL;
    a->at = b->data + bytes;
    a->end = b->data + payload;
    return b->data;
}

/* Where its own block hangs; NULL: it has none. */
static struct arena_block **find_own(struct arena *a, const void *p)
{
    for (struct arena_block **at = &a->more; *at; at = &(*at)->next)
        if ((*at)->is_own && (*at)->data == p)
            return at;
    return NULL;
}

static void *resize_own(struct arena *a, struct arena_block **at, size_t bytes)
{
    size_t was = (*at)->payload_bytes;
    if (bytes > was && !is_allowed(a, bytes - was))
        return NULL;
    struct arena_block *b = realloc(*at, sizeof *b + bytes);
    if (!b)
        return NULL;
    *at = b;
    b->payload_bytes = (uint32_t)bytes;
    uncount(a, was);
    count(a, bytes);
    return b->data;
}

void *arena_move(struct arena *a, void *p, size_t old_bytes, size_t bytes)
{
    struct arena_block **at = find_own(a, p), *b;
    if (at && (bytes > old_bytes || old_bytes - bytes >= WORTH_BYTES)) {
        void *q = resize_own(a, at, bytes);
        return q || bytes > old_bytes ? q : p;
    }
    if (bytes <= old_bytes)
        return p;
    b = is_allowed(a, bytes) ? block_create(a, bytes, false) : NULL;
    if (!b)
        return NULL;
    b->is_own = true;
    memcpy(b->data, p, old_bytes);
    if ((char *)p + old_bytes == a->at)
        a->at = p;
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
