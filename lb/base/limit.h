/* limit: how often and how many at a time, over all workers of a process, exactly, without locks and without
 * a table that a client can make grow.
 *
 *   rate   a token bucket, kept as the one number that describes it: the time at which it will be full again
 *          ("theoretical arrival time" of GCRA). A request moves it by `step`; it may lie `depth` ahead of
 * now. count  how many are in flight.
 *
 * Both exist alone, as one atomic word, and in a table keyed by whom they are about. A table is a fixed
 * number of small sets, one cache line each. A bucket that is full again, and a count of zero, say the same
 * as no entry at all, so they are used again without losing anything: ageing costs nothing. Only when all
 * entries of one set are busy does a newcomer take the bucket that is nearest to being full (a rate), or goes
 * uncounted (a count): under a flood of addresses limits per address become lenient, never unjust.
 *
 * Accuracy: one word changed by compare-and-swap, so no token is given twice. Two workers that make the entry
 * of the same key in the same moment may make two; the second is never found again: at most one request more.
 * Relaxed: the numbers guard nothing else. Any thread. */
#ifndef COX_BASE_LIMIT_H
#define COX_BASE_LIMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct limit_rate {
    uint64_t step_ns;  /* between two requests; 0: no limit */
    uint64_t depth_ns; /* burst · step */
};

/* "100/s", "30/m", "5/h", "1000/d"; at least one, at most LIMIT_RATE_MAX a second. burst 0: what comes in a
 * second, at least 1. A burst that takes more than a year to come back is refused too. */
#define LIMIT_RATE_MAX  10000000u
#define LIMIT_BURST_MAX 1000000u
bool limit_rate_parse(struct str text, uint32_t burst, struct limit_rate *out_rate)
    __attribute__((warn_unused_result));

/* One request more at now_ns. False: there is no token, and *out_wait_ns says when there will be one. */
bool limit_take(_Atomic uint64_t *full_at_ns, const struct limit_rate *rate, uint64_t now_ns,
                uint64_t *out_wait_ns) __attribute__((warn_unused_result));

#define LIMIT_COUNT_MAX 65535u

struct limit_bucket {
    _Atomic uint64_t key, full_at_ns;
};

struct limit_table {
    struct limit_bucket *buckets; /* owned mapping with counts; pages appear when they are written */
    _Atomic uint64_t *counts;     /* key in the upper 48 bits, count in the lower 16 */
    size_t bytes;
    uint32_t set_mask;
    uint64_t seed; /* so that nobody can choose whom to collide with */
};

/* Room for `entries` keys of each kind (rounded up to a power of two). False when memory is out. */
bool limit_table_init(struct limit_table *t, uint32_t entries) __attribute__((warn_unused_result));
void limit_table_fini(struct limit_table *t);
/* The key of an address (16 bytes, IPv4 as v4-mapped; of IPv6 the first 64 bits) at a guard; never 0. */
uint64_t limit_key(const struct limit_table *t, const uint8_t ip[16], uint64_t guard);
/* limit_take on the bucket of this key. */
bool limit_table_take(struct limit_table *t, uint64_t key, const struct limit_rate *rate, uint64_t now_ns,
                      uint64_t *out_wait_ns) __attribute__((warn_unused_result));
/* One more in flight of this key. True: *out_count is to be given to limit_leave, or NULL when the set is
 * full of others and this one goes uncounted. False: it has max. */
bool limit_table_enter(struct limit_table *t, uint64_t key, uint32_t max, _Atomic uint64_t **out_count)
    __attribute__((warn_unused_result));
void limit_leave(_Atomic uint64_t *count);

#endif
