#include "http/gzip.h"

#include <stdint.h>
#include <zlib.h>

#include "base/panic.h"

#define WINDOW_BITS 15
#define GZIP_FORMAT 16 /* added to the bits of the window: gzip instead of zlib */
#define MEMORY      8  /* zlib's own default */
#define ALIGNMENT   16u

struct gzip {
    z_stream stream;
    size_t used; /* of the block, this struct included */
};

static void *take(void *opaque, unsigned count, unsigned bytes)
{
    struct gzip *g = opaque;
    size_t n = ((size_t)count * bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (n > GZIP_BLOCK_BYTES - g->used)
        return NULL;
    void *p = (char *)g + g->used;
    g->used += n;
    return p;
}

/* The block goes as a whole. */
static void give(void *opaque, void *p)
{
    (void)opaque, (void)p;
}

struct gzip *gzip_init(void *block, int level)
{
    struct gzip *g = block;
    *g = (struct gzip){.stream = {.zalloc = take, .zfree = give, .opaque = g}};
    g->used = (sizeof *g + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    int got =
        deflateInit2(&g->stream, level, Z_DEFLATED, WINDOW_BITS + GZIP_FORMAT, MEMORY, Z_DEFAULT_STRATEGY);
    return got == Z_OK ? g : NULL;
}

size_t gzip_step(struct gzip *g, struct str *in, enum gzip_mode mode, char *out, size_t cap, bool *out_done)
{
    static const int flush[] = {[GZIP_MORE] = Z_NO_FLUSH, [GZIP_FLUSH] = Z_SYNC_FLUSH, [GZIP_END] = Z_FINISH};
    z_stream *z = &g->stream;
    unsigned n = in->n < UINT32_MAX / 2 ? (unsigned)in->n : UINT32_MAX / 2;
    z->next_in = (Bytef *)(uintptr_t)in->p;
    z->avail_in = n;
    z->next_out = (Bytef *)out;
    z->avail_out = (unsigned)cap;
    int got = deflate(z, flush[mode]);
    ASSERT(got == Z_OK || got == Z_STREAM_END || got == Z_BUF_ERROR); /* else: misuse */
    *in = str_make(in->p + (n - z->avail_in), in->n - (n - z->avail_in));
    *out_done = mode == GZIP_END ? got == Z_STREAM_END : in->n == 0 && z->avail_out > 0;
    return cap - z->avail_out;
}
