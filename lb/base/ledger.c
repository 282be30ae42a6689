#include "base/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

#define PAGE_BYTES 4096ull
/* Bounds that keep every product of sizes far below 2^64. */
#define WORKERS_MAX 1024u
#define SLOTS_MAX   (1u << 22)
#define REASONS_MAX 65536u
/* Tries of a torn read: at first hot, then giving the processor away in case the writer was preempted on
 * ours. */
#define SPIN_TRIES  64
#define YIELD_TRIES 64

#define EJECTIONS_BITS 24
#define EJECTIONS_MASK ((1ull << EJECTIONS_BITS) - 1)

#define ROW_GAP                                                                                              \
    (COX_LEDGER_LAYOUT > 2 ? PAGE_BYTES : 0) /* nobody may know where cells begin but by the header */

_Static_assert(sizeof(struct ledger_endpoint) % 64 == 0, "an endpoint cell is whole cache lines");
_Static_assert(LEDGER_CLUSTER_FROZEN == 11 * 8 && LEDGER_ENDPOINT_FROZEN == 4 * 8, "frozen for ever");
_Static_assert(offsetof(struct ledger_header, generation) == 80, "frozen for ever");
_Static_assert(sizeof(struct ledger_row) <= PAGE_BYTES, "the head of a row fits its page");

static uint64_t pages(uint64_t bytes)
{
    return (bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

/* ---- the segment ---- */

static void header_lay_out(struct ledger_header *h)
{
    h->header_bytes = pages(sizeof(*h));
    h->clusters_off = PAGE_BYTES + ROW_GAP;
    h->endpoints_off = h->clusters_off + pages((uint64_t)h->max_clusters * h->cluster_bytes);
    h->hists_off = h->endpoints_off + pages((uint64_t)h->max_endpoints * h->endpoint_bytes);
    h->reasons_off = h->hists_off + pages((uint64_t)h->max_clusters * h->hist_buckets * sizeof(uint64_t));
    h->row_bytes = h->reasons_off + pages((h->max_clusters + 1ull) * h->reasons * sizeof(uint64_t));
    ASSERT(h->row_bytes % 64 == 0 && h->header_bytes % 64 == 0); /* no two workers write to one line */
    h->total_bytes = h->header_bytes + h->row_bytes * h->workers;
}

int ledger_create(uint64_t generation, uint32_t workers, uint32_t max_clusters, uint32_t max_endpoints)
{
    if (!workers || workers > WORKERS_MAX || max_clusters > SLOTS_MAX || max_endpoints > SLOTS_MAX) {
        errno = EINVAL;
        return -1;
    }
    struct ledger_header h = {.magic = LEDGER_MAGIC,
                              .version = LEDGER_VERSION,
                              .cluster_bytes = sizeof(struct ledger_cluster),
                              .endpoint_bytes = sizeof(struct ledger_endpoint),
                              .workers = workers,
                              .max_clusters = max_clusters,
                              .max_endpoints = max_endpoints,
                              .hist_buckets = LEDGER_HIST_BUCKETS,
                              .generation = generation,
                              .grown_from = LEDGER_GROWN_FROM,
                              .reasons = REASON_COUNT,
                              .reasons_id = ledger_reasons_id()};
    header_lay_out(&h);
    int fd = memfd_create("coxswain-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
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

bool ledger_seal(int fd)
{
    return fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0;
}

static bool is_part(uint64_t off, uint64_t count, uint64_t bytes, uint64_t end)
{
    return off >= sizeof(struct ledger_row) && off % 8 == 0 && off <= end && count * bytes <= end - off;
}

/* One cell's words that both sides mean the same by: `ours` or fewer. */
static uint32_t common_words(const struct ledger_header *h, uint32_t theirs, size_t ours, size_t frozen)
{
    bool is_related = h->version == LEDGER_VERSION ||
                      (h->version > LEDGER_VERSION && h->grown_from <= LEDGER_VERSION) ||
                      (h->version < LEDGER_VERSION && h->version >= LEDGER_GROWN_FROM);
    size_t bytes = is_related ? (theirs < ours ? theirs : ours) : frozen;
    return (uint32_t)(bytes / 8);
}

static bool is_cell(uint32_t bytes, size_t ours, size_t frozen, bool is_same)
{
    return bytes % 8 == 0 && bytes <= PAGE_BYTES && (is_same ? bytes >= ours : bytes >= frozen);
}

/* A segment comes from our own master, but perhaps from another build: sizes differ, what is frozen does not.
 */
static bool header_is_sane(const struct ledger_header *h, uint64_t file_bytes)
{
    bool is_same = h->version == LEDGER_VERSION;
    if (h->magic != LEDGER_MAGIC || !h->version)
        return false;
    if (!h->workers || h->workers > WORKERS_MAX || h->max_clusters > SLOTS_MAX ||
        h->max_endpoints > SLOTS_MAX)
        return false;
    if (!is_cell(h->cluster_bytes, sizeof(struct ledger_cluster), LEDGER_CLUSTER_FROZEN, is_same) ||
        !is_cell(h->endpoint_bytes, sizeof(struct ledger_endpoint), LEDGER_ENDPOINT_FROZEN, is_same) ||
        (is_same && h->hist_buckets != LEDGER_HIST_BUCKETS))
        return false;
    if (h->total_bytes > file_bytes || h->header_bytes < sizeof(*h) || h->header_bytes % 8 ||
        h->row_bytes % 8 || h->header_bytes > h->total_bytes ||
        h->row_bytes > (h->total_bytes - h->header_bytes) / h->workers)
        return false;
    if (h->reasons > REASONS_MAX ||
        (h->reasons_off && !is_part(h->reasons_off, h->max_clusters + 1ull, h->reasons * 8ull, h->row_bytes)))
        return false;
    return is_part(h->clusters_off, h->max_clusters, h->cluster_bytes, h->row_bytes) &&
           is_part(h->endpoints_off, h->max_endpoints, h->endpoint_bytes, h->row_bytes) &&
           is_part(h->hists_off, h->max_clusters, h->hist_buckets * 8ull, h->row_bytes);
}

static void find_words(struct ledger *l)
{
    const struct ledger_header *h = l->header;
    l->cluster_words =
        common_words(h, h->cluster_bytes, sizeof(struct ledger_cluster), LEDGER_CLUSTER_FROZEN);
    l->endpoint_words =
        common_words(h, h->endpoint_bytes, sizeof(struct ledger_endpoint), LEDGER_ENDPOINT_FROZEN);
    l->has_reasons = h->reasons_off && h->reasons == REASON_COUNT && h->reasons_id == ledger_reasons_id();
    l->has_hists = l->cluster_words * 8 > LEDGER_CLUSTER_FROZEN && h->hist_buckets == LEDGER_HIST_BUCKETS;
}

bool ledger_open(struct ledger *l, int fd, bool writable)
{
    struct stat st;
    struct ledger_header h;
    *l = (struct ledger){0};
    if (fstat(fd, &st) < 0 || pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h) ||
        !header_is_sane(&h, (uint64_t)st.st_size))
        return false;
    if (writable && (h.version != LEDGER_VERSION || !h.reasons_off || h.reasons != REASON_COUNT ||
                     h.cluster_bytes != sizeof(struct ledger_cluster) ||
                     h.endpoint_bytes != sizeof(struct ledger_endpoint)))
        return false;
    void *base = mmap(NULL, h.total_bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return false;
    struct ledger_header *copy = must(malloc(sizeof(*copy)));
    *copy = h;
    *l = (struct ledger){.base = base, .bytes = h.total_bytes, .header = copy, .writable = writable};
    find_words(l);
    return true;
}

bool ledger_is_whole(const struct ledger *l)
{
    return l->cluster_words * 8 > LEDGER_CLUSTER_FROZEN && l->endpoint_words * 8 > LEDGER_ENDPOINT_FROZEN;
}

void ledger_close(struct ledger *l)
{
    if (l->base)
        munmap(l->base, l->bytes);
    free((void *)(uintptr_t)l->header);
    *l = (struct ledger){0};
}

static char *row_at(const struct ledger *l, uint32_t worker)
{
    return l->base + l->header->header_bytes + l->header->row_bytes * worker;
}

const struct ledger_row *ledger_row(const struct ledger *l, uint32_t worker)
{
    ASSERT(worker < l->header->workers);
    return (const struct ledger_row *)(const void *)row_at(l, worker);
}

void ledger_writer_init(struct ledger_writer *w, struct ledger *l, uint32_t worker)
{
    const struct ledger_header *h = l->header;
    ASSERT(l->writable && worker < h->workers);
    char *row = row_at(l, worker);
    *w = (struct ledger_writer){.row = (void *)row,
                                .clusters = (void *)(row + h->clusters_off),
                                .endpoints = (void *)(row + h->endpoints_off),
                                .hists = (void *)(row + h->hists_off),
                                .reasons = (void *)(row + h->reasons_off),
                                .max_clusters = h->max_clusters,
                                .max_endpoints = h->max_endpoints};
}

/* ---- the writer's less frequent entries ---- */

void ledger_cluster_done(struct ledger_writer *w, uint32_t slot, unsigned status, uint64_t latency_ns)
{
    if (slot >= w->max_clusters)
        return;
    struct ledger_cluster *c = &w->clusters[slot];
    unsigned class = status >= 100 ? status / 100 : status;
    ledger_row_begin(w);
    ledger_add(&c->completed, 1);
    ledger_add(&c->status_class[class <= 5 ? class : 0], 1);
    ledger_add(&c->latency_sum_ns, latency_ns);
    ledger_add(&w->hists[(size_t)slot * LEDGER_HIST_BUCKETS + ledger_hist_bucket(latency_ns)], 1);
    ledger_row_end(w);
}

void ledger_cluster_failure(struct ledger_writer *w, uint32_t slot, enum ledger_failure why)
{
    ASSERT(why < LEDGER_FAILURES);
    if (slot >= w->max_clusters)
        return;
    ledger_row_begin(w);
    ledger_add(&w->clusters[slot].failures[why], 1);
    ledger_row_end(w);
}

void ledger_endpoint_tunnel(struct ledger_writer *w, uint32_t slot, int delta, uint64_t now_ns)
{
    if (slot >= w->max_endpoints)
        return;
    struct ledger_endpoint *e = &w->endpoints[slot];
    uint64_t n = ledger_get(&e->count);
    ledger_row_begin(w);
    ledger_endpoint_advance(e, now_ns);
    if (delta > 0) {
        ASSERT((n & UINT32_MAX) != 0);
        ledger_set(&e->count, n - 1 + (1ull << 32));
    } else {
        ASSERT((n >> 32) != 0);
        ledger_set(&e->count, n - (1ull << 32));
    }
    ledger_row_end(w);
}

/* ---- readers ---- */

bool ledger_copy(const struct ledger_row *row, const ledger_u64 *from, uint64_t *to, size_t words)
{
    for (int i = 0; i < SPIN_TRIES + YIELD_TRIES; i++) {
        uint64_t before = atomic_load_explicit(&row->sequence, memory_order_acquire);
        for (size_t k = 0; k < words; k++)
            to[k] = ledger_get(&from[k]);
        atomic_thread_fence(memory_order_acquire);
        if (!(before & 1) && atomic_load_explicit(&row->sequence, memory_order_relaxed) == before)
            return true;
        if (i >= SPIN_TRIES)
            sched_yield();
    }
    return false;
}

/* A plain copy of a cell; the row of a dead generation has no writer and is taken as it is. */
static void copy_cell(const struct ledger_row *row, const ledger_u64 *from, bool alive, uint64_t *to,
                      size_t words)
{
    if (alive) {
        (void)ledger_copy(row, from, to, words); /* torn after all tries: the next sample is whole again */
        return;
    }
    for (size_t k = 0; k < words; k++)
        to[k] = ledger_get(&from[k]);
}

static const void *cell_at(const struct ledger *l, uint32_t worker, uint64_t part_off, uint64_t cell_bytes,
                           uint32_t slot)
{
    return row_at(l, worker) + part_off + cell_bytes * slot;
}

uint32_t ledger_endpoint_in_flight(const struct ledger *l, uint32_t slot)
{
    const struct ledger_header *h = l->header;
    uint64_t n = 0;
    if (slot >= h->max_endpoints)
        return 0;
    const char *at = cell_at(l, 0, h->endpoints_off, h->endpoint_bytes, slot);
    for (uint32_t i = 0; i < h->workers; i++, at += h->row_bytes) {
        uint64_t count = ledger_get(&((const struct ledger_endpoint *)(const void *)at)->count);
        n += (count & UINT32_MAX) + (count >> 32);
    }
    return (uint32_t)n;
}

uint64_t ledger_cluster_in_flight(const struct ledger *l, uint32_t slot)
{
    const struct ledger_header *h = l->header;
    uint64_t n = 0;
    if (slot >= h->max_clusters)
        return 0;
    for (uint32_t i = 0; i < h->workers; i++) {
        const struct ledger_cluster *c = cell_at(l, i, h->clusters_off, h->cluster_bytes, slot);
        n += ledger_get(&c->count[LEDGER_SERVING]) + ledger_get(&c->count[LEDGER_TUNNEL]);
    }
    return n;
}

uint64_t ledger_cluster_arrivals(const struct ledger *l, uint32_t slot)
{
    const struct ledger_header *h = l->header;
    uint64_t n = 0;
    if (slot >= h->max_clusters)
        return 0;
    const char *at = cell_at(l, 0, h->clusters_off, h->cluster_bytes, slot);
    for (uint32_t i = 0; i < h->workers; i++, at += h->row_bytes)
        n += ledger_get(&((const struct ledger_cluster *)(const void *)at)->requests);
    return n;
}

struct cluster_words { /* struct ledger_cluster without the atomics; same order */
    uint64_t count[LEDGER_COUNTS], integral_ns[LEDGER_COUNTS], since_ns, requests, completed, status_class[6];
    uint64_t failures[LEDGER_FAILURES], retries, rx_bytes, tx_bytes, latency_sum_ns, service_sum_ns,
        service_count;
    uint64_t guard[LEDGER_GUARDS], mirrors, mirrored, mirror_failures, mirrors_skipped;
    uint64_t waited, abandoned, service_square_us2, service[LEDGER_SERVICE_BUCKETS];
    uint64_t spare[LEDGER_SPARE_WORDS];
};
_Static_assert(sizeof(struct cluster_words) == sizeof(struct ledger_cluster), "copied word by word");

static void add_cluster(const struct cluster_words *c, bool alive, uint64_t now_ns,
                        struct ledger_cluster_sum *sum)
{
    uint64_t dt = alive && now_ns > c->since_ns ? now_ns - c->since_ns : 0;
    for (int i = 0; i < LEDGER_COUNTS; i++) {
        sum->count[i] += alive ? c->count[i] : 0;
        sum->integral_ns[i] += c->integral_ns[i] + c->count[i] * dt;
    }
    for (int i = 0; i < 6; i++)
        sum->status_class[i] += c->status_class[i];
    for (int i = 0; i < LEDGER_FAILURES; i++)
        sum->failures[i] += c->failures[i];
    for (int i = 0; i < LEDGER_GUARDS; i++)
        sum->guard[i] += c->guard[i];
    sum->requests += c->requests;
    sum->completed += c->completed;
    sum->retries += c->retries;
    sum->rx_bytes += c->rx_bytes;
    sum->tx_bytes += c->tx_bytes;
    sum->latency_sum_ns += c->latency_sum_ns;
    sum->service_sum_ns += c->service_sum_ns;
    sum->service_count += c->service_count;
    sum->mirrors += alive ? c->mirrors : 0;
    sum->mirrored += c->mirrored;
    sum->mirror_failures += c->mirror_failures;
    sum->mirrors_skipped += c->mirrors_skipped;
    sum->waited += c->waited;
    sum->abandoned += c->abandoned;
    sum->service_square_us2 += c->service_square_us2;
}

static void add_service(const struct cluster_words *c, struct ledger_cluster_sum *sum)
{
    for (int i = 0; i < LEDGER_SERVICE_BUCKETS; i++)
        sum->service[i] += c->service[i];
}

void ledger_sum_cluster(const struct ledger *l, uint32_t slot, bool alive, uint64_t now_ns,
                        struct ledger_cluster_sum *sum)
{
    ledger_sum_cluster_part(l, slot, alive, now_ns, LEDGER_WHOLE, sum);
}

void ledger_sum_cluster_part(const struct ledger *l, uint32_t slot, bool alive, uint64_t now_ns,
                             enum ledger_part part, struct ledger_cluster_sum *sum)
{
    const struct ledger_header *h = l->header;
    const size_t wanted =
        part == LEDGER_WHOLE ? sizeof(struct cluster_words) / 8 : offsetof(struct cluster_words, service) / 8;
    const size_t words = l->cluster_words < wanted ? l->cluster_words : wanted;
    struct cluster_words c;
    if (slot >= h->max_clusters)
        return;
    memset((uint64_t *)&c + words, 0, (wanted - words) * 8); /* what a segment lacks is zero */
    for (uint32_t i = 0; i < h->workers; i++) {
        copy_cell(ledger_row(l, i), cell_at(l, i, h->clusters_off, h->cluster_bytes, slot), alive,
                  (uint64_t *)&c, words);
        add_cluster(&c, alive, now_ns, sum);
        if (part == LEDGER_WHOLE)
            add_service(&c, sum);
    }
}

void ledger_sum_endpoint(const struct ledger *l, uint32_t slot, bool alive, uint64_t now_ns,
                         struct ledger_endpoint_sum *sum)
{
    const struct ledger_header *h = l->header;
    bool is_ejected = false;
    if (slot >= h->max_endpoints)
        return;
    for (uint32_t i = 0; i < h->workers; i++) {
        uint64_t w[sizeof(struct ledger_endpoint) / 8] = {
            0}; /* count, integral, since, requests, failures, rx, tx */
        copy_cell(ledger_row(l, i), cell_at(l, i, h->endpoints_off, h->endpoint_bytes, slot), alive, w,
                  l->endpoint_words);
        uint64_t dt = alive && now_ns > w[2] ? now_ns - w[2] : 0;
        sum->attempts += alive ? w[0] & UINT32_MAX : 0;
        sum->tunnels += alive ? w[0] >> 32 : 0;
        sum->integral_ns += w[1] + (w[0] & UINT32_MAX) * dt;
        sum->requests += w[3];
        sum->connect_failures += w[4] & UINT32_MAX;
        sum->other_failures += w[4] >> 32;
        sum->rx_bytes += w[5];
        sum->tx_bytes += w[6];
        sum->ejections += w[7] & EJECTIONS_MASK;
        is_ejected |= alive && w[7] >> EJECTIONS_BITS > now_ns / NS_PER_MS;
    }
    sum->ejected += is_ejected;
}

void ledger_endpoint_ejected(struct ledger_writer *w, uint32_t slot, uint64_t until_ms)
{
    if (slot >= w->max_endpoints)
        return;
    ledger_u64 *cell = &w->endpoints[slot].ejections;
    uint64_t count = (ledger_get(cell) + 1) & EJECTIONS_MASK;
    ledger_set(cell, until_ms << EJECTIONS_BITS | count);
}

void ledger_sum_hist(const struct ledger *l, uint32_t slot, uint64_t *buckets)
{
    const struct ledger_header *h = l->header;
    if (slot >= h->max_clusters || !l->has_hists)
        return;
    for (uint32_t i = 0; i < h->workers; i++) {
        const ledger_u64 *hist = cell_at(l, i, h->hists_off, h->hist_buckets * 8ull, slot);
        for (uint32_t b = 0; b < LEDGER_HIST_BUCKETS; b++) /* each bucket only grows: no moment to agree on */
            buckets[b] += ledger_get(&hist[b]);
    }
}

bool ledger_is_quiet(const struct ledger *l, struct ledger_cluster_sum *out_sum)
{
    struct ledger_cluster_sum sum = {0};
    struct ledger_endpoint_sum e = {0};
    uint64_t total = 0;
    for (uint32_t slot = 0; slot < l->header->max_clusters; slot++) {
        struct ledger_cluster_sum one = {0};
        ledger_sum_cluster(l, slot, true, 0, &one);
        for (int i = 0; i < LEDGER_COUNTS; i++) {
            sum.count[i] += one.count[i];
            total += one.count[i];
        }
    }
    for (uint32_t slot = 0; slot < l->header->max_endpoints; slot++)
        ledger_sum_endpoint(l, slot, true, 0, &e);
    sum.service_count = e.attempts + e.tunnels;
    if (out_sum)
        *out_sum = sum;
    return total + sum.service_count == 0;
}
