/* worker: one data thread with its loop, run queue, deadlines, mailbox and lent buffers. Knows no HTTP.
 *
 * A loop turn: clock → mail → deadlines → events → run queue → parked objects are reclaimed → on_turn of the
 * owner. The loop does not sleep while the run queue is not empty. Everything here is touched by the worker's
 * thread only, but for the mailbox and `shared`.
 *
 * The scratch buffer and the cork are lent for one callback; nothing re-enters. */
#ifndef COX_RUN_WORKER_H
#define COX_RUN_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/pool.h"
#include "base/quota.h"
#include "run/deadline.h"
#include "run/loop.h"
#include "run/mailbox.h"

#define WORKER_READ_BYTES     65536        /* taken from one socket by one system call */
#define WORKER_HEAD_BYTES     (256u << 10) /* the largest head that any limit allows */
#define WORKER_SCRATCH_BYTES  (WORKER_HEAD_BYTES + WORKER_READ_BYTES)
#define WORKER_CORK_BYTES     (WORKER_HEAD_BYTES + 65536) /* such a head and our own fields */
#define WORKER_EVENTS_A_CLOCK 8                           /* events between two readings of the clock */

/* Something to go on with in the next pass of the run queue. Embedded; run_queue_add twice is harmless. */
struct run_node {
    struct list node;
    void (*fn)(struct run_node *n);
};

/* An object that may still be named by an event of this turn; freed when it ends. */
struct parked {
    struct parked *next;
    void (*reclaim)(struct parked *p);
};

/* A piece of a queue of bytes, with its head; from the worker's pools. A queue that begins with so little
 * that it fits into a short one begins with a short one: most bodies of calls are no longer. */
#define CHUNK_BYTES       16384
#define CHUNK_SHORT_BYTES 1024
struct chunk {
    struct chunk *next;
    struct quota *quota; /* borrowed; who pays for it; NULL: nobody counts */
    uint32_t from, to;   /* filled part of data */
    uint32_t size;       /* of data */
    char data[];
};

struct sink;
struct conduits;

struct worker {
    struct loop loop;
    struct mailbox mailbox;
    struct wheel wheel;
    struct timer wheel_timer;
    uint64_t wheel_timer_ms; /* when it is armed for; 0: not */
    struct list run_queue;
    struct parked *parked;
    struct pool chunks, short_chunks;
    struct quota temp; /* bytes of this worker's temporary files */
    uint64_t now_ns;   /* monotonic */
    uint64_t now_ms;
    uint64_t turn_ns;       /* now_ns when this turn began: no two turns have the same */
    uint64_t woke_ns;       /* when its events began; until then turn_ns; 0: it sleeps */
    int64_t wall_offset_ns; /* wall = now + offset; refreshed once a second */
    uint64_t wall_read_ms;
    uint32_t events_since_clock;
    int index;
    bool stop;
    char *scratch; /* lent, WORKER_SCRATCH_BYTES */
    char *cork;    /* lent, WORKER_CORK_BYTES */
    uint32_t cork_len;
    struct sink *cork_owner;           /* whose head waits in the cork, or NULL */
    struct conduits *conduits;         /* borrowed; net/conduit.h; NULL: none */
    void (*on_turn)(struct worker *w); /* end of a turn; may be NULL */
    pthread_t thread;
    struct {
        _Alignas(64) _Atomic uint64_t heartbeat_ms; /* written by the worker, read by the control thread */
    } shared;
};

/* False when descriptors or memory are out. */
bool worker_init(struct worker *w, int index) __attribute__((warn_unused_result));
void worker_fini(struct worker *w);
/* The body of the thread: turns until worker_stop. */
void worker_run(struct worker *w);
void worker_stop(struct worker *w);

void worker_read_clock(struct worker *w);
/* Called by every event callback before anything else. */
static inline void worker_on_event(struct worker *w)
{
    if (++w->events_since_clock >= WORKER_EVENTS_A_CLOCK)
        worker_read_clock(w);
}

/* How long this turn has been at work, at the last reading of the clock: at its events, once they began. */
static inline uint64_t worker_busy_ns(const struct worker *w)
{
    return w->now_ns - w->woke_ns;
}

static inline uint64_t worker_wall_ns(const struct worker *w)
{
    return (uint64_t)((int64_t)w->now_ns + w->wall_offset_ns);
}

void run_node_init(struct run_node *n, void (*fn)(struct run_node *n));
static inline void run_queue_add(struct worker *w, struct run_node *n)
{
    if (list_is_empty(&n->node))
        list_push(&w->run_queue, &n->node);
}
static inline void run_queue_remove(struct run_node *n)
{
    list_remove(&n->node);
}

void worker_park(struct worker *w, struct parked *p, void (*reclaim)(struct parked *p));

/* Milliseconds from now; 0 clears. */
static inline void worker_deadline(struct worker *w, struct deadline *d, uint64_t after_ms)
{
    if (after_ms)
        deadline_set(&w->wheel, d, w->now_ms + after_ms);
    else
        deadline_clear(d);
}

/* A long one, all of which counts in the quota (or NULL), as long as it is out. NULL when memory is out. */
struct chunk *chunk_take(struct worker *w, struct quota *quota) __attribute__((warn_unused_result));
/* NULL is harmless. */
void chunk_give(struct worker *w, struct chunk *c);
/* What one takes in memory. */
static inline uint32_t chunk_bytes(const struct chunk *c)
{
    return c->size + (uint32_t)sizeof *c;
}
/* How many are out, long and short. */
static inline uint32_t worker_chunks_taken(const struct worker *w)
{
    return w->chunks.taken_count + w->short_chunks.taken_count;
}
/* Copies n bytes behind the last chunk of a queue, taking new ones that count in the quota. False when memory
 * is out: part may be in then. */
bool chunks_append(struct worker *w, struct chunk **first, struct chunk **last, const char *p, size_t n,
                   struct quota *quota) __attribute__((warn_unused_result));

#endif
