/* h2_guard: looks at the head of every frame that a client sends, before nghttp2 does: what comes too often
 * ends the connection (T1, T3, T5), and so does what nghttp2 passes over in silence (frames on streams that
 * the client itself has ended, streams out of order, broken PRIORITY frames). One for each connection,
 * embedded; pure but for the clock that the caller brings. */
#ifndef COX_HTTP_H2_GUARD_H
#define COX_HTTP_H2_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/h2_budget.h"

/* So many streams back it is remembered whether the client opened and ended them. */
#define H2_GUARD_STREAMS 256u

struct h2_guard {
    struct h2_budget resets, control;
    uint32_t windows; /* WINDOW_UPDATEs that DATA of ours has paid for: no burst of them is a flood */
    uint32_t continuations_max;
    uint32_t continued; /* CONTINUATION frames of this block */
    uint32_t skip;      /* bytes until the next frame's head; the preface at first */
    uint32_t last_id;   /* highest stream that the client opened */
    uint64_t opened[H2_GUARD_STREAMS / 64], ended[H2_GUARD_STREAMS / 64];
    uint8_t head[13]; /* of the frame that is coming in; PRIORITY with what it depends on */
    uint8_t have;
    uint32_t blocks; /* field blocks that began */
    bool in_block;   /* the last of them lacks its END_HEADERS */
    bool began;      /* a frame was seen */
    bool flood;      /* a budget is used up */
    uint32_t code;   /* else the error of the connection (RFC 9113 7); 0: none */
};

/* A DATA frame was sent: one update of its stream's window and one of the connection's are to be expected. */
#define H2_GUARD_WINDOWS_MAX (1u << 16)
static inline void h2_guard_sent_data(struct h2_guard *g)
{
    g->windows += g->windows < H2_GUARD_WINDOWS_MAX ? 2 : 0;
}
void h2_guard_init(struct h2_guard *g, uint32_t continuations);
/* The number of the field block that began and is not here as a whole, were it only that bytes of its last
 * frame are missing; 0: none. */
uint32_t h2_guard_block(const struct h2_guard *g);
/* How many of these n bytes may be handed on; less than n when the connection has to end behind them: see
 * flood and code. */
size_t h2_guard_look(struct h2_guard *g, const char *p, size_t n, uint64_t now_ms);

#endif
