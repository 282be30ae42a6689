/* squeeze: takes a share of the core it is pinned to, in slices of 2 ms, so that even the blind relay is busy
 * all the time although one core must make the load and answer it.
 *
 *   squeeze PERCENT
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#define SLICE_NS 2000000

static int64_t clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int main(int argc, char **argv)
{
    long percent = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    if (percent < 1 || percent > 90) {
        fprintf(stderr, "usage: squeeze PERCENT\n");
        return 64;
    }
    prctl(PR_SET_TIMERSLACK, 1);
    for (;;) {
        int64_t busy = SLICE_NS * percent / 100, until = clock_ns() + busy;
        struct timespec rest = {.tv_nsec = SLICE_NS - busy};
        while (clock_ns() < until)
            continue;
        nanosleep(&rest, NULL);
    }
}
