#include "master/backoff.h"

uint64_t backoff_next(struct backoff *b, uint64_t now_ns)
{
    uint64_t wait_ms = 0;
    /* The window also covers the wait itself: dying right after a wait of 10 s is still dying soon. */
    uint64_t window = BACKOFF_WINDOW_NS + (b->deaths >= 8 ? BACKOFF_MAX_MS * 1000000ull : 0);
    if (b->last_death_ns && now_ns - b->last_death_ns < window)
        b->deaths++;
    else
        b->deaths = 1;
    b->last_death_ns = now_ns;
    if (b->deaths >= 2) {
        unsigned doublings = b->deaths - 2 < 7 ? b->deaths - 2 : 7;
        wait_ms = (uint64_t)BACKOFF_FIRST_MS << doublings;
    }
    return wait_ms < BACKOFF_MAX_MS ? wait_ms : BACKOFF_MAX_MS;
}
