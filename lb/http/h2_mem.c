#include "http/h2_mem.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/panic.h"
#include "http/h2_mem_priv.h"

/* The sizes of lists are those of the allocator, so that nothing is lost to rounding. A block's list is found
 * again by its usable size: what is allocated past the lists is clearly larger. */
#define CLASSES      20
#define LARGEST      1024u
#define PAST_LARGEST 1280u
#define KEPT_BYTES   (256u << 10) /* in each list: hundreds of streams that come and go at once */
/* nghttp2's buffer: a frame's head, the length of its padding, and the largest payload that it makes. */
#define FRAME_LEAST 16384u
#define FRAME_BYTES 20480u

static const uint16_t class_bytes[CLASSES] = {16,  32,  48,  64,  80,  96,  112, 128, 160, 192,
                                              224, 256, 320, 384, 448, 512, 640, 768, 896, 1024};

struct free_block {
    struct free_block *next;
};

struct h2_mem {
    nghttp2_mem callbacks;
    struct {
        struct free_block *first;
        uint32_t count;
    } lists[CLASSES];
    uint8_t class_for[LARGEST / 16 + 1]; /* by size / 16, rounded up: the smallest that fits */
    uint8_t class_of[LARGEST / 16 + 1];  /* by usable size / 16, rounded down: the one it came from */
    bool lends;
    void *page; /* borrowed from the session that is being made or reads; NULL once it is freed */
    uint32_t taken;
    char *frame; /* owned, FRAME_BYTES */
};

static void *take(struct h2_mem *m, size_t n)
{
    void *block;
    if (n > LARGEST) {
        block = malloc(n > PAST_LARGEST ? n : PAST_LARGEST);
    } else {
        uint8_t c = m->class_for[(n + 15) / 16];
        block = m->lists[c].first;
        if (block) {
            m->lists[c].first = m->lists[c].first->next;
            m->lists[c].count--;
        } else {
            block = malloc(class_bytes[c]);
        }
    }
    m->taken += block != NULL;
    return block;
}

static void give(struct h2_mem *m, void *block)
{
    size_t usable = malloc_usable_size(block);
    ASSERT(m->taken);
    m->taken--;
#if !defined(__SANITIZE_ADDRESS__) && !defined(COX_FAULTS)
    if (usable < PAST_LARGEST) {
        uint8_t c = m->class_of[usable > LARGEST ? LARGEST / 16 : usable / 16];
        if ((m->lists[c].count + 1) * class_bytes[c] <= KEPT_BYTES) {
            struct free_block *f = block;
            f->next = m->lists[c].first;
            m->lists[c].first = f;
            m->lists[c].count++;
            return;
        }
    }
#endif
    (void)usable;
    free(block); /* under ASan always, so that a stale pointer is seen */
}

/* ---- what nghttp2 calls ---- */

/* One for each connection; a longer head needs more of them, and those are its own. */
static void *take_frame(struct h2_mem *m, size_t n)
{
    if (!m->lends || n < FRAME_LEAST || n > FRAME_BYTES)
        return NULL;
    m->lends = false;
    return m->frame;
}

static void *on_malloc(size_t n, void *ctx)
{
    void *frame = take_frame(ctx, n);
    return frame ? frame : take(ctx, n);
}

static void on_free(void *block, void *ctx)
{
    struct h2_mem *m = ctx;
    if (!block || block == m->frame)
        return;
    if (block == m->page)
        m->page = NULL;
    give(m, block);
}

static void *on_calloc(size_t count, size_t each, void *ctx)
{
    size_t n;
    if (__builtin_mul_overflow(count, each, &n))
        return NULL;
    struct h2_mem *m = ctx;
    void *block;
    if (n == H2_PAGE_BYTES && m->lends && !m->page) {
        block = m->page = aligned_alloc(H2_PAGE_BYTES, H2_PAGE_BYTES);
        m->taken += block != NULL;
    } else {
        block = take(m, n);
    }
    return block ? memset(block, 0, n) : NULL;
}

static void *on_realloc(void *old, size_t n, void *ctx)
{
    struct h2_mem *m = ctx;
    if (!old)
        return on_malloc(n, m);
    size_t had = old == m->frame ? FRAME_BYTES : malloc_usable_size(old);
    void *block = take(m, n);
    if (!block)
        return NULL;
    memcpy(block, old, had < n ? had : n);
    on_free(old, m);
    return block;
}

nghttp2_mem *h2_mem_of(struct h2_mem *m)
{
    return m ? &m->callbacks : NULL;
}

void h2_mem_begin(struct h2_mem *m)
{
    m->lends = true;
    m->page = NULL;
}

void *h2_mem_end(struct h2_mem *m)
{
    m->lends = false;
    return h2_mem_watch(m, NULL);
}

void *h2_mem_watch(struct h2_mem *m, void *page)
{
    void *before = m->page;
    m->page = page;
    return before;
}

void h2_page_rest(void *page)
{
    static const char zeros[H2_PAGE_BYTES];
    if (page && sysconf(_SC_PAGESIZE) == H2_PAGE_BYTES && memcmp(page, zeros, sizeof zeros) == 0)
        (void)madvise(page, H2_PAGE_BYTES, MADV_DONTNEED);
}

/* ---- life ---- */

struct h2_mem *h2_mem_create(void)
{
    struct h2_mem *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->frame = malloc(FRAME_BYTES);
    if (!m->frame) {
        free(m);
        return NULL;
    }
    m->callbacks = (nghttp2_mem){m, on_malloc, on_free, on_calloc, on_realloc};
    for (uint32_t i = 0, up = 0, down = 0; i <= LARGEST / 16; i++) {
        while (class_bytes[up] < i * 16)
            up++;
        while (down + 1 < CLASSES && class_bytes[down + 1] <= i * 16)
            down++;
        m->class_for[i] = (uint8_t)up;
        m->class_of[i] = (uint8_t)down;
    }
    return m;
}

void h2_mem_destroy(struct h2_mem **pm)
{
    struct h2_mem *m = *pm;
    *pm = NULL;
    if (!m)
        return;
    ASSERT(!m->taken);
    for (int i = 0; i < CLASSES; i++)
        while (m->lists[i].first) {
            struct free_block *f = m->lists[i].first;
            m->lists[i].first = f->next;
            free(f);
        }
    free(m->frame);
    free(m);
}

void h2_mem_trim(struct h2_mem *m)
{
    for (int i = 0; i < CLASSES; i++)
        for (uint32_t n = m->lists[i].count / 8; n; n--) {
            struct free_block *f = m->lists[i].first;
            m->lists[i].first = f->next;
            m->lists[i].count--;
            free(f);
        }
}

uint32_t h2_mem_taken(const struct h2_mem *m)
{
    return m->taken;
}
