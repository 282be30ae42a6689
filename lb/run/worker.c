#include "run/worker.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/panic.h"

#define CHUNKS_KEPT    256
#define SHORT_KEPT     1024
#define WALL_FRESH_MS  1000
#define RUN_PASSES_MAX 4 /* of the run queue before events get their turn */

static void on_wheel_timer(void *ctx)
{
    struct worker *w = ctx;
    w->wheel_timer_ms = 0;
}

bool worker_init(struct worker *w, int index)
{
    *w = (struct worker){.index = index};
    list_init(&w->run_queue);
    pool_init(&w->chunks, CHUNK_BYTES, CHUNKS_KEPT);
    pool_init(&w->short_chunks, CHUNK_SHORT_BYTES, SHORT_KEPT);
    w->scratch = malloc(WORKER_SCRATCH_BYTES);
    w->cork = malloc(WORKER_CORK_BYTES);
    if (!w->scratch || !w->cork || !loop_init(&w->loop))
        return false;
    timer_init(&w->wheel_timer, &w->loop, on_wheel_timer, w);
    worker_read_clock(w);
    wheel_init(&w->wheel, w->now_ms);
    return mailbox_init(&w->mailbox, &w->loop, w);
}

static void reclaim_parked(struct worker *w)
{
    while (w->parked) {
        struct parked *p = w->parked;
        w->parked = p->next;
        p->reclaim(p);
    }
}

void worker_fini(struct worker *w)
{
    reclaim_parked(w);
    timer_stop(&w->wheel_timer);
    mailbox_fini(&w->mailbox);
    pool_fini(&w->chunks);
    pool_fini(&w->short_chunks);
    free(w->scratch);
    free(w->cork);
    loop_fini(&w->loop);
}

void worker_read_clock(struct worker *w)
{
    w->events_since_clock = 0;
    w->now_ns = clock_now_ns();
    w->now_ms = w->now_ns / NS_PER_MS;
    if (!w->woke_ns)
        w->woke_ns = w->now_ns;
    if (!w->wall_read_ms || w->now_ms - w->wall_read_ms >= WALL_FRESH_MS) {
        w->wall_offset_ns = (int64_t)clock_wall_ns() - (int64_t)w->now_ns;
        w->wall_read_ms = w->now_ms;
    }
}

/* One timer of libevent stands for all deadlines; it is only ever moved forward in a sleep's interest. */
static void arm_wheel(struct worker *w)
{
    int64_t next = wheel_next_ms(&w->wheel, w->now_ms);
    if (next < 0)
        return;
    uint64_t at = w->now_ms + (uint64_t)next;
    if (w->wheel_timer_ms && w->wheel_timer_ms <= at)
        return;
    timer_arm(&w->wheel_timer, (uint64_t)next + 1);
    w->wheel_timer_ms = at;
}

static void run_queue_pass(struct worker *w)
{
    struct list batch;
    list_init(&batch);
    list_splice(&batch, &w->run_queue);
    struct list *node;
    while ((node = list_shift(&batch))) {
        struct run_node *n = CONTAINER_OF(node, struct run_node, node);
        worker_on_event(w);
        n->fn(n);
    }
}

static void turn(struct worker *w)
{
    mailbox_run(&w->mailbox, w);
    wheel_run(&w->wheel, w->now_ms);
    for (int pass = 0; pass < RUN_PASSES_MAX && !list_is_empty(&w->run_queue); pass++)
        run_queue_pass(w);
    reclaim_parked(w);
    if (w->on_turn)
        w->on_turn(w);
}

void worker_run(struct worker *w)
{
    while (!w->stop) {
        worker_read_clock(w);
        w->turn_ns = w->woke_ns = w->now_ns;
        turn(w);
        atomic_store_explicit(&w->shared.heartbeat_ms, w->now_ms, memory_order_relaxed);
        if (w->stop)
            break;
        int flags = EVLOOP_ONCE;
        if (list_is_empty(&w->run_queue))
            arm_wheel(w);
        else
            flags |= EVLOOP_NONBLOCK;
        /* Callbacks read the clock first: what the loop slept must not count as work. */
        w->events_since_clock = WORKER_EVENTS_A_CLOCK;
        w->woke_ns = 0;
        if (event_base_loop(w->loop.base, flags) < 0)
            PANIC("event loop of worker %d failed", w->index);
    }
}

void worker_stop(struct worker *w)
{
    w->stop = true;
}

void run_node_init(struct run_node *n, void (*fn)(struct run_node *n))
{
    list_init(&n->node);
    n->fn = fn;
}

void worker_park(struct worker *w, struct parked *p, void (*reclaim)(struct parked *p))
{
    p->reclaim = reclaim;
    p->next = w->parked;
    w->parked = p;
}

static struct chunk *take_from(struct pool *p, struct quota *quota)
{
    struct chunk *c = pool_take(p);
    if (c) {
        c->next = NULL;
        c->quota = quota;
        c->from = c->to = 0;
        c->size = (uint32_t)(p->block_bytes - sizeof *c);
        quota_take(quota, p->block_bytes);
    }
    return c;
}

struct chunk *chunk_take(struct worker *w, struct quota *quota)
{
    return take_from(&w->chunks, quota);
}

void chunk_give(struct worker *w, struct chunk *c)
{
    if (!c)
        return;
    quota_give(c->quota, chunk_bytes(c));
    pool_give(c->size == CHUNK_BYTES - sizeof *c ? &w->chunks : &w->short_chunks, c);
}

bool chunks_append(struct worker *w, struct chunk **first, struct chunk **last, const char *p, size_t n,
                   struct quota *quota)
{
    while (n) {
        if (!*last || (*last)->to == (*last)->size) {
            bool is_short = !*last && n <= CHUNK_SHORT_BYTES - sizeof **last;
            struct chunk *c = take_from(is_short ? &w->short_chunks : &w->chunks, quota);
            if (!c)
                return false;
            if (*last)
                (*last)->next = c;
            else
                *first = c;
            *last = c;
        }
        size_t room = (*last)->size - (*last)->to, take = n < room ? n : room;
        memcpy((*last)->data + (*last)->to, p, take);
        (*last)->to += (uint32_t)take;
        p += take;
        n -= take;
    }
    return true;
}
