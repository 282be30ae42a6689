#include "base/limit.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/panic.h"

#define BUCKETS_A_SET 4 /* of 16 bytes: a cache line */
#define COUNTS_A_SET  8
/* No bucket takes longer to fill: sums with times stay far below 2^64. */
#define DEPTH_MAX_NS (366 * 86400ull * NS_PER_S)
#define COUNT_BITS   16
#define COUNT_MASK   ((1ull << COUNT_BITS) - 1)

/* ---- one bucket ---- */

static bool unit_parse(struct str text, uint64_t *out_ns)
{
    static const struct {
        char letter;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    for (size_t i = 0; text.n == 1 && i < sizeof units / sizeof *units; i++)
        if (text.p[0] == units[i].letter) {
            *out_ns = units[i].seconds * NS_PER_S;
            return true;
        }
    return false;
}

bool limit_rate_parse(struct str text, uint32_t burst, struct limit_rate *out_rate)
{
    ptrdiff_t slash = str_find(text, '/');
    uint64_t count, unit_ns;
    if (slash < 0 || !str_to_u64(str_make(text.p, (size_t)slash), &count) ||
        !unit_parse(str_make(text.p + slash + 1, text.n - (size_t)slash - 1), &unit_ns))
        return false;
    if (!count || burst > LIMIT_BURST_MAX || count > unit_ns / NS_PER_S * LIMIT_RATE_MAX)
        return false;
    uint64_t a_second = count / (unit_ns / NS_PER_S);
    if (!burst)
        burst = a_second < 1 ? 1 : a_second < LIMIT_BURST_MAX ? (uint32_t)a_second : LIMIT_BURST_MAX;
    out_rate->step_ns = unit_ns / count;
    if (burst > DEPTH_MAX_NS / out_rate->step_ns)
        return false;
    out_rate->depth_ns = out_rate->step_ns * burst;
    return true;
}

bool limit_take(_Atomic uint64_t *full_at_ns, const struct limit_rate *rate, uint64_t now_ns,
                uint64_t *out_wait_ns)
{
    uint64_t at = atomic_load_explicit(full_at_ns, memory_order_relaxed);
    for (;;) {
        uint64_t next = (at > now_ns ? at : now_ns) + rate->step_ns;
        if (next > now_ns + rate->depth_ns) {
            *out_wait_ns = next - now_ns - rate->depth_ns;
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(full_at_ns, &at, next, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    }
}

/* ---- the table ---- */

bool limit_table_init(struct limit_table *t, uint32_t entries)
{
    uint64_t sets = 1;
    while (sets * BUCKETS_A_SET < entries)
        sets *= 2;
    size_t buckets = sets * BUCKETS_A_SET * sizeof(struct limit_bucket);
    *t = (struct limit_table){.set_mask = (uint32_t)(sets - 1),
                              .bytes = buckets + sets * COUNTS_A_SET * sizeof(uint64_t)};
    if (getrandom(&t->seed, sizeof t->seed, 0) != (ssize_t)sizeof t->seed)
        t->seed = clock_now_ns();
    void *base =
        mmap(NULL, t->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return false;
    t->buckets = base;
    t->counts = (_Atomic uint64_t *)(void *)((char *)base + buckets);
    return true;
}

void limit_table_fini(struct limit_table *t)
{
    if (t->buckets)
        munmap(t->buckets, t->bytes);
    *t = (struct limit_table){0};
}

/* The finaliser of splitmix64. */
static uint64_t mix(uint64_t v)
{
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
    v = (v ^ v >> 27) * 0x94d049bb133111ebull;
    return v ^ v >> 31;
}

uint64_t limit_key(const struct limit_table *t, const uint8_t ip[16], uint64_t guard)
{
    static const uint8_t v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    uint64_t high, low;
    memcpy(&high, ip, 8);
    memcpy(&low, ip + 8, 8);
    bool is_v4 = memcmp(ip, v4_prefix, sizeof v4_prefix) == 0;
    uint64_t v = mix(mix(t->seed ^ (is_v4 ? low : high)) ^ guard * 0x9e3779b97f4a7c15ull);
    return v > COUNT_MASK ? v : v | 1ull << 63; /* the upper bits alone tell counts apart */
}

/* The bucket of this key, or the one to take for it: one that is full again, else the fullest. */
static struct limit_bucket *find_bucket(struct limit_table *t, uint64_t key, bool *out_found)
{
    struct limit_bucket *set = &t->buckets[(key & t->set_mask) * BUCKETS_A_SET], *best = set;
    uint64_t least = UINT64_MAX;
    *out_found = true;
    for (int i = 0; i < BUCKETS_A_SET; i++) {
        if (atomic_load_explicit(&set[i].key, memory_order_relaxed) == key)
            return &set[i];
        uint64_t at = atomic_load_explicit(&set[i].full_at_ns, memory_order_relaxed);
        if (at < least) {
            least = at;
            best = &set[i];
        }
    }
    *out_found = false;
    return best;
}

bool limit_table_take(struct limit_table *t, uint64_t key, const struct limit_rate *rate, uint64_t now_ns,
                      uint64_t *out_wait_ns)
{
    bool is_found;
    struct limit_bucket *b = find_bucket(t, key, &is_found);
    if (!is_found) {
        atomic_store_explicit(&b->key, key, memory_order_relaxed);
        if (atomic_load_explicit(&b->full_at_ns, memory_order_relaxed) > now_ns)
            atomic_store_explicit(&b->full_at_ns, now_ns, memory_order_relaxed); /* the other one's debt */
    }
    return limit_take(&b->full_at_ns, rate, now_ns, out_wait_ns);
}

/* ---- counts ---- */

/* One more in this cell, if it is the key's, or free. */
static bool try_enter(_Atomic uint64_t *cell, uint64_t tag, bool may_claim, uint32_t max, bool *out_full)
{
    uint64_t v = atomic_load_explicit(cell, memory_order_relaxed);
    for (;;) {
        bool is_mine = (v & ~COUNT_MASK) == tag;
        uint64_t n = v & COUNT_MASK;
        if (!is_mine && (!may_claim || n))
            return false;
        *out_full = is_mine && n >= max;
        if (*out_full)
            return false;
        uint64_t next = is_mine ? v + 1 : (tag | 1);
        if (atomic_compare_exchange_weak_explicit(cell, &v, next, memory_order_relaxed, memory_order_relaxed))
            return true;
    }
}

bool limit_table_enter(struct limit_table *t, uint64_t key, uint32_t max, _Atomic uint64_t **out_count)
{
    _Atomic uint64_t *set = &t->counts[(key & t->set_mask) * COUNTS_A_SET];
    uint64_t tag = key & ~COUNT_MASK;
    bool is_full = false;
    *out_count = NULL;
    for (int claim = 0; claim < 2; claim++)
        for (int i = 0; i < COUNTS_A_SET; i++) {
            if (try_enter(&set[i], tag, claim, max, &is_full)) {
                *out_count = &set[i];
                return true;
            }
            if (is_full)
                return false;
        }
    return true;
}

void limit_leave(_Atomic uint64_t *count)
{
    uint64_t before = atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    ASSERT(before & COUNT_MASK);
}
