#include "proxy/wave.h"

#include "proxy/hold.h"
#include "proxy/proxy.h"

#define QUIET_MS 1000

struct wave_places {
    uint32_t taken, all;
};

static struct wave_places unpack(uint64_t word)
{
    return (struct wave_places){(uint32_t)word, (uint32_t)(word >> 32)};
}

static uint64_t pack(struct wave_places p)
{
    return (uint64_t)(p.all > WAVE_MAX ? WAVE_MAX : p.all) << 32 | p.taken;
}

static _Atomic uint64_t *word_of(struct proxy *p, const struct cluster *c)
{
    return &p->hold.waves[c->slot];
}

static uint32_t first_wave(const struct cluster *c)
{
    return (uint32_t)c->options.hold_wave * (c->candidate_count ? c->candidate_count : 1);
}

bool wave_has_place(struct pworker *pw, const struct cluster *c)
{
    struct wave_places p = unpack(atomic_load_explicit(word_of(pw->proxy, c), memory_order_seq_cst));
    return !p.all || p.taken < p.all;
}

bool wave_take(struct exchange *x)
{
    _Atomic uint64_t *word = word_of(x->pw->proxy, x->cluster);
    uint64_t old = atomic_load_explicit(word, memory_order_seq_cst);
    struct wave_places p;
    do {
        p = unpack(old);
        if (!p.all) /* it begins; who is left of an earlier one is not in its way */
            p.all = p.taken + first_wave(x->cluster);
        if (p.taken >= p.all)
            return false;
        p.taken++;
    } while (!atomic_compare_exchange_weak(word, &old, pack(p)));
    x->in_wave = x->from_wave = true;
    return true;
}

void wave_give(struct exchange *x, enum wave_outcome outcome)
{
    _Atomic uint64_t *word = word_of(x->pw->proxy, x->cluster);
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    struct wave_places p;
    if (!x->in_wave)
        return;
    x->in_wave = false;
    x->from_wave = outcome == WAVE_LEFT;
    do {
        p = unpack(old);
        p.taken--;
        if (p.all) /* else this wave is over */
            p.all += outcome == WAVE_ANSWERED;
    } while (!atomic_compare_exchange_weak(word, &old, pack(p)));
    if (outcome != WAVE_UNUSED)
        hold_freed(x->pw, x->cluster->slot);
}

void wave_failed(struct exchange *x)
{
    _Atomic uint64_t *word = word_of(x->pw->proxy, x->cluster);
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    uint32_t least = first_wave(x->cluster);
    struct wave_places p;
    do {
        p = unpack(old);
        if (!p.all) /* this wave is over */
            return;
        p.all = p.all / 2 > least ? p.all / 2 : least;
    } while (!atomic_compare_exchange_weak(word, &old, pack(p)));
}

void wave_end(struct pworker *pw, const struct cluster *c)
{
    atomic_fetch_and_explicit(word_of(pw->proxy, c), UINT32_MAX, memory_order_relaxed);
}

/* `all` grows with every answer, so it is the same as a second ago only when there was none. The time is
 * looked at, for a worker that drains ticks more often. */
void wave_tick(struct pworker *pw, const struct cluster *c)
{
    _Atomic uint64_t *word = word_of(pw->proxy, c);
    struct hold_room *room = &pw->hold_rooms[c->slot];
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    struct wave_places p = unpack(old);
    if (!c->candidate_count) { /* whoever comes next is newborn */
        wave_end(pw, c);
        room->wave_seen = 0;
        return;
    }
    bool is_same = p.all && p.all == room->wave_seen;
    if (is_same && pw->w.now_ms - room->wave_ms < QUIET_MS)
        return;
    if (is_same) {
        p.all += first_wave(c);
        if (atomic_compare_exchange_strong(word, &old, pack(p)))
            hold_freed(pw, c->slot);
    }
    room->wave_seen = p.all;
    room->wave_ms = pw->w.now_ms;
}
