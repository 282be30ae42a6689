/* times: how long requests took, in buckets of 100 ns up to 200 ms; longer ones count in the last. */
#ifndef BENCH_TIMES_H
#define BENCH_TIMES_H

#include <stdint.h>

#define TIMES_BUCKETS   2000000u
#define TIMES_BUCKET_NS 100u

struct times {
    uint64_t count;
    uint32_t buckets[TIMES_BUCKETS];
};

static inline void times_add(struct times *t, uint64_t ns)
{
    uint64_t i = ns / TIMES_BUCKET_NS;
    t->buckets[i < TIMES_BUCKETS ? i : TIMES_BUCKETS - 1]++;
    t->count++;
}

/* In microseconds; 0 when nothing was counted. */
static inline double times_quantile(const struct times *t, double q)
{
    uint64_t rank = (uint64_t)(q * (double)t->count), seen = 0;
    for (uint32_t i = 0; i < TIMES_BUCKETS && t->count > 0; i++) {
        seen += t->buckets[i];
        if (seen > rank)
            return (i + 0.5) * TIMES_BUCKET_NS / 1000.0;
    }
    return 0;
}

#endif
