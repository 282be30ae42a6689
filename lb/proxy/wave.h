/* wave: how fast a waiting room empties into servers that say of no limit themselves (no max_in_flight).
 *
 * A newborn member that is met by everybody who has waited for it dies of them. So the room empties like TCP
 * begins: `hold_wave` requests for each endpoint that serves, and with each answer one more may be under way
 * at a time, so every round is twice the last. A failed attempt halves that; a client that leaves changes
 * nothing. An answer is its head: what is streamed for minutes keeps nobody waiting. While nothing is
 * answered at all, each second lets one more first wave go. Requests that come while others wait go behind
 * them. When the room is empty it is over.
 *
 * One word a cluster slot, shared by the workers of a generation: places taken in the low half, how many
 * there are in the high half, 0 between waves. Any worker. */
#ifndef COX_PROXY_WAVE_H
#define COX_PROXY_WAVE_H

#include "proxy/exchange.h"

#define WAVE_MAX (1u << 20)

/* Does the room of its cluster empty in waves? */
static inline bool wave_is_for(const struct cluster *c)
{
    return !c->options.max_in_flight;
}
/* As far as one can see. */
bool wave_has_place(struct pworker *pw, const struct cluster *c);
/* A place for x, which is held. False: all are taken, and whoever frees one gives the word (hold.h). */
bool wave_take(struct exchange *x) __attribute__((warn_unused_result));
enum wave_outcome {
    WAVE_ANSWERED,
    WAVE_LEFT,   /* over without an answer */
    WAVE_UNUSED, /* no attempt came of it: nobody gets the word, for it would be as useless to them */
};
/* The place of x is free again. Harmless when it has none. */
void wave_give(struct exchange *x, enum wave_outcome outcome);
/* And that was its server's fault. Half as many places, but not fewer than at first. */
void wave_failed(struct exchange *x);
/* The room is empty: nobody is paced any more, and the next wave begins small. */
void wave_end(struct pworker *pw, const struct cluster *c);
/* For every pass of time, however short: one more first wave when nothing was answered for a second, and an
 * end when all servers are gone. c: of the worker's view. */
void wave_tick(struct pworker *pw, const struct cluster *c);

#endif
