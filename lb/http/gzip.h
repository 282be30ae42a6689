/* gzip: the one door to zlib. A stream that compresses, made in a block of memory that the caller lends: zlib
 * takes all it needs from there, so that a stream costs no malloc and ends by giving the block back.
 *
 * Any thread, one at a time. */
#ifndef COX_HTTP_GZIP_H
#define COX_HTTP_GZIP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* Window of 32 KiB and what zlib recommends beside it: 256 KiB, its own struct, and room for other builds of
 * it. */
#define GZIP_BLOCK_BYTES (288u << 10)

struct gzip; /* at the beginning of the block */

enum gzip_mode {
    GZIP_MORE,  /* it may keep what it was given to itself */
    GZIP_FLUSH, /* what was given so far must be readable from what came out */
    GZIP_END    /* and nothing follows */
};

/* A new stream in GZIP_BLOCK_BYTES at block (aligned for any type). level: 1 to 9. NULL: this zlib needs
 * more. */
struct gzip *gzip_init(void *block, int level) __attribute__((warn_unused_result));
/* Takes from the front of *in and writes to out[0..cap), cap at least 64. Returns how many bytes it wrote;
 * *out_done when nothing is left to write in this mode, else call it again. */
size_t gzip_step(struct gzip *g, struct str *in, enum gzip_mode mode, char *out, size_t cap, bool *out_done);

#endif
