/* The fold, step by step: copy the buffer in force over the other one, add the ended generation there, write
 * its number down, and only then turn the flip word. A crash before the turn leaves the buffer in force
 * untouched, and the fold is done again from the start; a crash after it finds the number written down and
 * does nothing. */
#include "base/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAST_MAGIC   0x63786c70u /* "cxlp" */
#define PAST_VERSION LEDGER_VERSION
#define PAST_PAGE    4096ull
#define PAST_SLOTS   (1u << 22)
#define PAST_WORDS   256 /* of a cell; far more than any layout has */
#define PAST_BUCKETS 8192
#define PAST_FOLDED  64 /* generations remembered; far more than can be alive at once */

#define CLUSTER_WORDS  (sizeof(struct ledger_cluster_sum) / 8)
#define ENDPOINT_WORDS (sizeof(struct ledger_endpoint_sum) / 8)

struct past_header {
    uint32_t magic, version;
    uint64_t header_bytes, buffer_bytes, total_bytes;
    uint32_t cluster_words, endpoint_words, hist_buckets;
    uint32_t max_clusters, max_endpoints, grown_from; /* as in the header of a ledger */
    ledger_u64 flip;              /* folds done; its lowest bit names the buffer in force */
    uint32_t reasons, reasons_id; /* 0: of a layout without them */
};

struct past_buffer {                          /* head of a buffer; the cells follow on the next page */
    ledger_u64 clusters_used, endpoints_used; /* slots above these were never folded into */
    ledger_u64 folded_count;
    ledger_u64 folded[PAST_FOLDED]; /* a ring */
};

static uint64_t pages(uint64_t bytes)
{
    return (bytes + PAST_PAGE - 1) & ~(PAST_PAGE - 1);
}

static void lay_out(struct past_header *h)
{
    h->header_bytes = PAST_PAGE;
    h->buffer_bytes = PAST_PAGE + pages((uint64_t)h->max_clusters * h->cluster_words * 8) +
                      pages((uint64_t)h->max_endpoints * h->endpoint_words * 8) +
                      pages((uint64_t)h->max_clusters * h->hist_buckets * 8) +
                      pages((h->max_clusters + 1ull) * h->reasons * 8);
    h->total_bytes = h->header_bytes + 2 * h->buffer_bytes;
}

int ledger_past_create(uint32_t max_clusters, uint32_t max_endpoints)
{
    struct past_header h = {.magic = PAST_MAGIC,
                            .version = PAST_VERSION,
                            .cluster_words = CLUSTER_WORDS,
                            .endpoint_words = ENDPOINT_WORDS,
                            .hist_buckets = LEDGER_HIST_BUCKETS,
                            .max_clusters = max_clusters,
                            .max_endpoints = max_endpoints,
                            .grown_from = LEDGER_GROWN_FROM,
                            .reasons = REASON_COUNT,
                            .reasons_id = ledger_reasons_id()};
    if (max_clusters > PAST_SLOTS || max_endpoints > PAST_SLOTS) {
        errno = EINVAL;
        return -1;
    }
    lay_out(&h);
    int fd = memfd_create("coxswain-past", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)h.total_bytes) < 0 || pwrite(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* Sums only ever grow at their end, so a relative's totals can be read word by word. */
static bool is_readable(const struct past_header *h)
{
    return h->version == PAST_VERSION || (h->version > PAST_VERSION && h->grown_from <= PAST_VERSION) ||
           (h->version < PAST_VERSION && h->version >= LEDGER_GROWN_FROM);
}

static bool has_our_reasons(const struct past_header *h)
{
    return h->reasons == REASON_COUNT && h->reasons_id == ledger_reasons_id();
}

static bool is_sane(const struct past_header *h, uint64_t file_bytes, bool writable)
{
    if (h->magic != PAST_MAGIC || !is_readable(h) || h->max_clusters > PAST_SLOTS ||
        h->max_endpoints > PAST_SLOTS || !h->cluster_words || h->cluster_words > PAST_WORDS ||
        !h->endpoint_words || h->endpoint_words > PAST_WORDS || h->hist_buckets > PAST_BUCKETS ||
        h->reasons > PAST_BUCKETS)
        return false;
    bool is_ours = h->version == PAST_VERSION && h->cluster_words == CLUSTER_WORDS &&
                   h->endpoint_words == ENDPOINT_WORDS && h->hist_buckets == LEDGER_HIST_BUCKETS;
    if (!is_ours && (writable || h->version == PAST_VERSION))
        return false;
    if (writable && !has_our_reasons(h))
        return false;
    struct past_header want = *h;
    lay_out(&want);
    return h->header_bytes == want.header_bytes && h->buffer_bytes == want.buffer_bytes &&
           h->total_bytes == want.total_bytes && file_bytes >= h->total_bytes;
}

bool ledger_past_open(struct ledger_past *p, int fd, bool writable)
{
    struct stat st;
    struct past_header h;
    *p = (struct ledger_past){0};
    if (fstat(fd, &st) < 0 || pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) ||
        !is_sane(&h, (uint64_t)st.st_size, writable))
        return false;
    void *base = mmap(NULL, h.total_bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return false;
    *p = (struct ledger_past){.base = base,
                              .bytes = h.total_bytes,
                              .max_clusters = h.max_clusters,
                              .max_endpoints = h.max_endpoints,
                              .cluster_words = h.cluster_words,
                              .endpoint_words = h.endpoint_words,
                              .hist_buckets = h.hist_buckets,
                              .reasons = has_our_reasons(&h) ? h.reasons : 0,
                              .writable = writable};
    return true;
}

void ledger_past_close(struct ledger_past *p)
{
    if (p->base)
        munmap(p->base, p->bytes);
    *p = (struct ledger_past){0};
}

static struct past_header *header_of(const struct ledger_past *p)
{
    return (struct past_header *)(void *)p->base;
}

static struct past_buffer *buffer_of(const struct ledger_past *p, uint64_t flip)
{
    uint64_t buffer_bytes = (p->bytes - PAST_PAGE) / 2;
    return (struct past_buffer *)(void *)(p->base + PAST_PAGE + (flip & 1) * buffer_bytes);
}

static ledger_u64 *clusters_of(struct past_buffer *b)
{
    return (ledger_u64 *)(void *)((char *)b + PAST_PAGE);
}

static ledger_u64 *endpoints_of(const struct ledger_past *p, struct past_buffer *b)
{
    return clusters_of(b) + pages((uint64_t)p->max_clusters * p->cluster_words * 8) / 8;
}

static ledger_u64 *hists_of(const struct ledger_past *p, struct past_buffer *b)
{
    return endpoints_of(p, b) + pages((uint64_t)p->max_endpoints * p->endpoint_words * 8) / 8;
}

static ledger_u64 *reasons_of(const struct ledger_past *p, struct past_buffer *b)
{
    return hists_of(p, b) + pages((uint64_t)p->max_clusters * p->hist_buckets * 8) / 8;
}

static void copy_words(ledger_u64 *to, const ledger_u64 *from, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++)
        ledger_set(&to[i], ledger_get(&from[i]));
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* `to` may hold the half of a fold that died: all it ever used is overwritten. */
static void copy_buffer(const struct ledger_past *p, struct past_buffer *to, struct past_buffer *from)
{
    uint64_t clusters = larger(ledger_get(&to->clusters_used), ledger_get(&from->clusters_used));
    uint64_t endpoints = larger(ledger_get(&to->endpoints_used), ledger_get(&from->endpoints_used));
    copy_words(clusters_of(to), clusters_of(from), clusters * CLUSTER_WORDS);
    copy_words(endpoints_of(p, to), endpoints_of(p, from), endpoints * ENDPOINT_WORDS);
    copy_words(hists_of(p, to), hists_of(p, from), clusters * LEDGER_HIST_BUCKETS);
    copy_words(reasons_of(p, to), reasons_of(p, from), clusters * REASON_COUNT);
    uint64_t none = (uint64_t)p->max_clusters * REASON_COUNT;
    copy_words(reasons_of(p, to) + none, reasons_of(p, from) + none, REASON_COUNT);
    copy_words(&to->folded_count, &from->folded_count, 1 + PAST_FOLDED);
}

static bool is_folded(const struct past_buffer *b, uint64_t generation)
{
    uint64_t n = ledger_get(&b->folded_count);
    for (uint64_t i = 0; i < n && i < PAST_FOLDED; i++)
        if (ledger_get(&b->folded[i]) == generation)
            return true;
    return false;
}

static bool is_zero(const uint64_t *words, size_t n)
{
    uint64_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= words[i];
    return !any;
}

/* Slot LEDGER_NO_SLOT: of no cluster. */
static void add_reasons(const struct ledger_past *p, struct past_buffer *b, uint32_t slot,
                        const uint64_t *counts)
{
    ledger_u64 *at =
        reasons_of(p, b) + (slot < p->max_clusters ? slot : p->max_clusters) * (size_t)REASON_COUNT;
    for (size_t i = 0; i < REASON_COUNT; i++)
        if (counts[i])
            ledger_add(&at[i], counts[i]);
}

static void fold_reasons(const struct ledger_past *p, struct past_buffer *b, const struct ledger *ended,
                         uint32_t slot)
{
    uint64_t counts[REASON_COUNT] = {0};
    ledger_sum_reasons(ended, slot, counts);
    add_reasons(p, b, slot, counts);
}

static void fold_clusters(const struct ledger_past *p, struct past_buffer *b, const struct ledger *ended)
{
    uint64_t used = ledger_get(&b->clusters_used);
    for (uint32_t slot = 0; slot < p->max_clusters && slot < ended->header->max_clusters; slot++) {
        uint64_t sum[CLUSTER_WORDS] = {0}, hist[LEDGER_HIST_BUCKETS] = {0};
        ledger_sum_cluster(ended, slot, false, 0, (struct ledger_cluster_sum *)(void *)sum);
        if (is_zero(sum, CLUSTER_WORDS))
            continue;
        used = larger(used, slot + 1u);
        ledger_set(&b->clusters_used, used); /* first: what a dead fold touched must be known */
        for (size_t i = 0; i < CLUSTER_WORDS; i++)
            ledger_add(&clusters_of(b)[slot * CLUSTER_WORDS + i], sum[i]);
        ledger_sum_hist(ended, slot, hist);
        for (size_t i = 0; i < LEDGER_HIST_BUCKETS; i++)
            if (hist[i])
                ledger_add(&hists_of(p, b)[(size_t)slot * LEDGER_HIST_BUCKETS + i], hist[i]);
        fold_reasons(p, b, ended, slot);
    }
    fold_reasons(p, b, ended, LEDGER_NO_SLOT);
}

static void fold_endpoints(const struct ledger_past *p, struct past_buffer *b, const struct ledger *ended)
{
    uint64_t used = ledger_get(&b->endpoints_used);
    for (uint32_t slot = 0; slot < p->max_endpoints && slot < ended->header->max_endpoints; slot++) {
        uint64_t sum[ENDPOINT_WORDS] = {0};
        ledger_sum_endpoint(ended, slot, false, 0, (struct ledger_endpoint_sum *)(void *)sum);
        if (is_zero(sum, ENDPOINT_WORDS))
            continue;
        used = larger(used, slot + 1u);
        ledger_set(&b->endpoints_used, used);
        for (size_t i = 0; i < ENDPOINT_WORDS; i++)
            ledger_add(&endpoints_of(p, b)[slot * ENDPOINT_WORDS + i], sum[i]);
    }
}

void ledger_past_fold(struct ledger_past *p, const struct ledger *ended)
{
    ASSERT(p->writable);
    uint64_t flip = ledger_get(&header_of(p)->flip), generation = ended->header->generation;
    struct past_buffer *from = buffer_of(p, flip), *to = buffer_of(p, flip + 1);
    if (is_folded(from, generation))
        return;
    copy_buffer(p, to, from);
    fold_clusters(p, to, ended);
    fold_endpoints(p, to, ended);
    uint64_t n = ledger_get(&to->folded_count);
    ledger_set(&to->folded[n % PAST_FOLDED], generation);
    ledger_set(&to->folded_count, n + 1);
    atomic_store_explicit(&header_of(p)->flip, flip + 1, memory_order_release);
}

/* ---- reading ---- */

enum past_part { PAST_CLUSTER, PAST_ENDPOINT, PAST_HIST, PAST_REASONS };

static const ledger_u64 *cell_of(const struct ledger_past *p, struct past_buffer *b, enum past_part part,
                                 uint32_t slot)
{
    switch (part) {
    case PAST_CLUSTER:
        return clusters_of(b) + (size_t)slot * p->cluster_words;
    case PAST_ENDPOINT:
        return endpoints_of(p, b) + (size_t)slot * p->endpoint_words;
    case PAST_REASONS:
        return reasons_of(p, b) + (size_t)slot * p->reasons;
    default:
        return hists_of(p, b) + (size_t)slot * p->hist_buckets;
    }
}

/* Adds the first `words` of one slot. Only a reader that sleeps through two folds meets a buffer that
 * changes: it reads again. */
static void add_slot(const struct ledger_past *p, enum past_part part, uint32_t slot, uint64_t *to,
                     size_t words)
{
    uint64_t copy[LEDGER_HIST_BUCKETS], flip;
    do {
        flip = atomic_load_explicit(&header_of(p)->flip, memory_order_acquire);
        const ledger_u64 *at = cell_of(p, buffer_of(p, flip), part, slot);
        for (size_t i = 0; i < words; i++)
            copy[i] = ledger_get(&at[i]);
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load_explicit(&header_of(p)->flip, memory_order_relaxed) != flip);
    for (size_t i = 0; i < words; i++)
        to[i] += copy[i];
}

static size_t fewer(size_t a, size_t b)
{
    return a < b ? a : b;
}

bool ledger_past_has(const struct ledger_past *p, uint64_t generation)
{
    return is_folded(buffer_of(p, atomic_load_explicit(&header_of(p)->flip, memory_order_acquire)),
                     generation);
}

uint64_t ledger_past_turn(const struct ledger_past *p)
{
    atomic_thread_fence(memory_order_acquire); /* what was read before comes first */
    return atomic_load_explicit(&header_of(p)->flip, memory_order_acquire);
}

void ledger_past_cluster(const struct ledger_past *p, uint32_t slot, struct ledger_cluster_sum *sum)
{
    if (slot < p->max_clusters)
        add_slot(p, PAST_CLUSTER, slot, (uint64_t *)(void *)sum, fewer(CLUSTER_WORDS, p->cluster_words));
}

void ledger_past_cluster_part(const struct ledger_past *p, uint32_t slot, enum ledger_part part,
                              struct ledger_cluster_sum *sum)
{
    const size_t words = ledger_part_bytes(part) / 8;
    if (slot < p->max_clusters)
        add_slot(p, PAST_CLUSTER, slot, (uint64_t *)(void *)sum, fewer(words, p->cluster_words));
}

void ledger_past_endpoint(const struct ledger_past *p, uint32_t slot, struct ledger_endpoint_sum *sum)
{
    if (slot < p->max_endpoints)
        add_slot(p, PAST_ENDPOINT, slot, (uint64_t *)(void *)sum, fewer(ENDPOINT_WORDS, p->endpoint_words));
}

void ledger_past_hist(const struct ledger_past *p, uint32_t slot, uint64_t *buckets)
{
    if (slot < p->max_clusters && p->hist_buckets == LEDGER_HIST_BUCKETS)
        add_slot(p, PAST_HIST, slot, buckets, LEDGER_HIST_BUCKETS);
}

void ledger_past_reasons(const struct ledger_past *p, uint32_t slot, uint64_t *counts)
{
    if (p->reasons == REASON_COUNT)
        add_slot(p, PAST_REASONS, slot < p->max_clusters ? slot : p->max_clusters, counts, REASON_COUNT);
}

/* ---- from one layout to the next ---- */

static void take_reasons(const struct ledger_past *p, struct past_buffer *b, const struct ledger_past *from,
                         uint32_t slot)
{
    uint64_t counts[REASON_COUNT] = {0};
    ledger_past_reasons(from, slot, counts);
    add_reasons(p, b, slot, counts);
}

static void take_slot(ledger_u64 *to, const uint64_t *sum, size_t words)
{
    for (size_t i = 0; i < words; i++)
        if (sum[i])
            ledger_add(&to[i], sum[i]);
}

static void take_clusters(const struct ledger_past *p, struct past_buffer *b, const struct ledger_past *from,
                          uint64_t used)
{
    for (uint32_t slot = 0; slot < p->max_clusters && slot < used; slot++) {
        struct ledger_cluster_sum sum = {0};
        uint64_t hist[LEDGER_HIST_BUCKETS] = {0};
        ledger_past_cluster(from, slot, &sum);
        ledger_past_hist(from, slot, hist);
        take_slot(clusters_of(b) + (size_t)slot * CLUSTER_WORDS, (uint64_t *)(void *)&sum, CLUSTER_WORDS);
        take_slot(hists_of(p, b) + (size_t)slot * LEDGER_HIST_BUCKETS, hist, LEDGER_HIST_BUCKETS);
        take_reasons(p, b, from, slot);
        ledger_set(&b->clusters_used, slot + 1u);
    }
    take_reasons(p, b, from, LEDGER_NO_SLOT);
}

static void take_endpoints(const struct ledger_past *p, struct past_buffer *b, const struct ledger_past *from,
                           uint64_t used)
{
    for (uint32_t slot = 0; slot < p->max_endpoints && slot < used; slot++) {
        struct ledger_endpoint_sum sum = {0};
        ledger_past_endpoint(from, slot, &sum);
        take_slot(endpoints_of(p, b) + (size_t)slot * ENDPOINT_WORDS, (uint64_t *)(void *)&sum,
                  ENDPOINT_WORDS);
        ledger_set(&b->endpoints_used, slot + 1u);
    }
}

void ledger_past_take_over(struct ledger_past *p, const struct ledger_past *from)
{
    ASSERT(p->writable && ledger_get(&header_of(p)->flip) == 0);
    struct past_buffer *to = buffer_of(p, 0), *old = buffer_of(from, ledger_get(&header_of(from)->flip));
    take_clusters(p, to, from, ledger_get(&old->clusters_used));
    take_endpoints(p, to, from, ledger_get(&old->endpoints_used));
    copy_words(&to->folded_count, &old->folded_count, 1 + PAST_FOLDED);
}
