/* clock: the two clocks. Monotonic nanoseconds for all measuring and deadlines, wall time for people.
 *
 * A worker reads the clock at the top of a loop turn and again after every 8 events, and hands the value
 * down; nothing on the request path calls these by itself. */
#ifndef COX_BASE_CLOCK_H
#define COX_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_MS 1000000ull
#define NS_PER_US 1000ull
#define NS_PER_S  1000000000ull

/* CLOCK_MONOTONIC, the same for all processes of the machine. */
static inline uint64_t clock_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Unix time in nanoseconds. */
static inline uint64_t clock_wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

#endif
