/* backoff: when to start again what has died. The first death is answered at once; a further one within
 * BACKOFF_WINDOW_NS of the one before waits 100 ms, then twice as long each time, at most 10 s. A child that
 * lived longer than the window begins anew. Pure; embedded in whoever restarts something; zero before first
 * use. */
#ifndef COX_MASTER_BACKOFF_H
#define COX_MASTER_BACKOFF_H

#include <stdint.h>

#define BACKOFF_WINDOW_NS (10ull * 1000 * 1000 * 1000)
#define BACKOFF_FIRST_MS  100
#define BACKOFF_MAX_MS    10000

struct backoff {
    uint64_t last_death_ns; /* 0: none yet */
    unsigned deaths;        /* in a row, each soon after the one before */
};

/* Notes a death at now_ns and returns how long to wait, in ms. */
uint64_t backoff_next(struct backoff *b, uint64_t now_ns);

#endif
