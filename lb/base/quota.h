/* quota: how much of something one peer, or one worker, may take at a time; most often bytes of memory.
 *
 *   part ─► whole      what is taken of a part is taken of the whole, too
 *
 * Counts and never refuses: who is about to take asks quota_is_short and finds another way (refuses the new,
 * lets it wait, writes it to a file), so that what was begun can be ended. All that was taken must be given
 * back before the quota goes. Embedded; one thread. */
#ifndef COX_BASE_QUOTA_H
#define COX_BASE_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/panic.h"

struct quota {
    uint64_t used_bytes;
    uint64_t limit_bytes; /* 0: none */
    struct quota *whole;  /* borrowed; NULL: it is no part */
};

/* NULL is harmless, here and below. */
static inline void quota_take(struct quota *q, uint64_t bytes)
{
    for (; q; q = q->whole)
        q->used_bytes += bytes;
}

static inline void quota_give(struct quota *q, uint64_t bytes)
{
    for (; q; q = q->whole) {
        ASSERT(q->used_bytes >= bytes);
        q->used_bytes -= bytes;
    }
}

/* Is all of it taken? The whole is not looked at. */
static inline bool quota_is_short(const struct quota *q)
{
    return q && q->limit_bytes && q->used_bytes >= q->limit_bytes;
}

/* And a sixteenth more? */
static inline bool quota_is_exceeded(const struct quota *q)
{
    return q && q->limit_bytes && q->used_bytes >= q->limit_bytes + q->limit_bytes / 16;
}

#endif
