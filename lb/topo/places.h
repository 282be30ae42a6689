/* places: how much of max_in_flight is taken at each endpoint, by all living generations together.
 *
 *   master ─► memfd ─► every generation maps it: one cache line an endpoint slot
 *                      taken │ by generation: 0 1 2 … 14
 *
 * A place is taken and given by any worker of any generation, in the shared word `taken` by compare and swap,
 * so the limit is never overshot; beside it each generation keeps what is its own. When a process has ended,
 * however it did, the master takes back what that one held. It counts its own before it takes and after it
 * gives, so that one that was killed in between leaves the word too low by one at most, never too high.
 *
 * Made by the master with the ledger's size, passed on by an upgrade, gone with the master. A slot is given
 * to another endpoint only when nothing is in flight there. A generation that finds no segment, or no row in
 * it, counts for itself alone. */
#ifndef COX_TOPO_PLACES_H
#define COX_TOPO_PLACES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLACES_ROWS 15

struct places_line {
    _Alignas(64) _Atomic uint32_t taken; /* in flight that count against max_in_flight */
    _Atomic uint32_t by[PLACES_ROWS];    /* of each generation */
};

struct places_header;

struct places {
    struct places_header *header; /* NULL: for one generation alone */
    struct places_line *v;        /* by slot of the endpoint */
    uint32_t max_endpoints, row;
    void *base; /* owned mapping; pages appear when they are written */
    size_t bytes;
};

/* The master's side. A memfd, or -1. */
int places_create(uint32_t max_endpoints);
/* The row of a generation that begins; -1: all are used. */
int places_enter(struct places *p, uint64_t generation);
/* Its process has ended: what it held is free. */
void places_leave(struct places *p, uint64_t generation);

/* row: of this generation; any for the master. False when the segment is another's or memory is out. */
bool places_open(struct places *p, int fd, uint32_t row) __attribute__((warn_unused_result));
/* For this process alone. */
bool places_open_private(struct places *p, uint32_t max_endpoints) __attribute__((warn_unused_result));
void places_close(struct places *p);

/* Do other generations live, whose places nobody tells us about when they come free? */
bool places_are_shared(const struct places *p);
/* One place of max; never overshot. False when there is none. */
bool places_take(struct places *p, uint32_t slot, int64_t max);
/* Sequentially consistent: whoever looks for waiting requests afterwards misses none (see proxy/hold.h). */
void places_give(struct places *p, uint32_t slot);

static inline bool places_is_full(const struct places *p, uint32_t slot, int64_t max)
{
    return atomic_load_explicit(&p->v[slot].taken, memory_order_relaxed) >= (uint64_t)max;
}

#endif
