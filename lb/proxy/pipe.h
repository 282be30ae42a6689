/* pipe: the body of one direction of one exchange, between the side that produces it and the side that takes
 * it. The only back-pressure in the program.
 *
 *   producer ─► pipe_push ─► [memory: chunks ≤ memory_max][temporary file ≤ file_max] ─► pipe_peek/pipe_take
 * ─► consumer
 *
 * When nothing is queued and the consumer is willing, the exchange hands bytes straight through and only
 * counts them here. A full pipe stops its producer (pipe_is_full); below half it may go on (pipe_is_low).
 * With file_max above 0 it spills to an unlinked temporary file instead of stopping; without, it does so only
 * for what comes while its quota of memory is short, if it `spills_early`. All files of a worker share one
 * quota (worker.temp); when that is short they are full. With `keep` nothing that was taken is freed, so that
 * pipe_rewind can send it again: until the answer's head arrives or `keep_max` is passed. Embedded in the
 * exchange, same thread. */
#ifndef COX_PROXY_PIPE_H
#define COX_PROXY_PIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "run/worker.h"

struct pipe {
    struct worker *worker;
    struct chunk *first, *last; /* owned */
    struct chunk *at;           /* being read; NULL: at `first` when data comes */
    uint32_t at_offset;         /* in *at, from its data start */
    uint32_t memory_bytes;      /* in chunks and not yet taken */
    uint64_t memory_max, file_max, keep_max;
    uint64_t pushed_bytes, taken_bytes;
    uint64_t file_from, file_to; /* not yet taken part of the file */
    struct chunk *window;        /* what was last read from the file; owned */
    struct quota *quota;         /* borrowed; of the blocks in memory; NULL: nobody counts */
    const char *temp_dir;
    int file_fd;       /* owned; -1: none */
    bool spills_early; /* to the file when `quota` is short */
    bool keep;         /* taken bytes stay for pipe_rewind */
    bool ended;        /* the producer has delivered its last byte */
};

void pipe_init(struct pipe *p, struct worker *w);
/* The same in memory that is all zero. */
static inline void pipe_init_zeroed(struct pipe *p, struct worker *w)
{
    p->worker = w;
    p->file_fd = -1;
}
/* Gives back all that it holds. */
void pipe_clear(struct pipe *p);
static inline void pipe_fini(struct pipe *p)
{
    if (p->first || p->window || p->file_fd >= 0)
        pipe_clear(p);
}
/* Copies n bytes in. False when memory or the file is out: the exchange fails. */
bool pipe_push(struct pipe *p, const char *data, size_t n) __attribute__((warn_unused_result));
/* Bytes went straight through without being stored; ends `keep`. */
void pipe_pass(struct pipe *p, size_t n);
/* The next run of bytes, borrowed until the next call on this pipe; empty when there is none. *out_ok false:
 * the file could not be read. */
struct str pipe_peek(struct pipe *p, bool *out_ok);
void pipe_take(struct pipe *p, size_t n);
bool pipe_can_rewind(const struct pipe *p);
void pipe_rewind(struct pipe *p);
/* No further rewind will be asked for: frees what was kept. */
void pipe_forget(struct pipe *p);

/* What is queued is nobody's any more: it counts as taken. */
void pipe_drop(struct pipe *p);

static inline uint64_t pipe_queued(const struct pipe *p)
{
    return p->pushed_bytes - p->taken_bytes;
}
/* With a file the file alone decides: what is in memory was pushed before it and need not fill memory_max
 * exactly. The file shrinks only when everything was taken, so that its size is bounded and not only what is
 * unread in it. */
/* Once the file is used what comes goes there too, so that order is kept; it is emptied as a whole. */
static inline bool pipe_is_full(const struct pipe *p)
{
    if (!p->file_max)
        return p->memory_bytes + p->file_to >= p->memory_max;
    if (p->file_to)
        return p->file_to >= p->file_max || quota_is_short(&p->worker->temp);
    return p->memory_bytes >= p->memory_max && quota_is_short(&p->worker->temp);
}
static inline bool pipe_is_low(const struct pipe *p)
{
    if (p->file_max)
        return !pipe_is_full(p) || !pipe_queued(p);
    return p->file_to ? !pipe_queued(p) : p->memory_bytes <= p->memory_max / 2;
}
/* The consumer will take nothing for now: what was read from the file and not taken is read again when it
 * does, and takes no memory meanwhile. Ends what pipe_peek lent. */
void pipe_give_window(struct pipe *p);
/* Everything was delivered and taken. */
static inline bool pipe_is_done(const struct pipe *p)
{
    return p->ended && pipe_queued(p) == 0;
}

#endif
