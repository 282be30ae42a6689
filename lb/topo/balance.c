#include "topo/balance.h"

#include "base/clock.h"
#include "topo/balance_policy.h"

/* Slow start begins with this share of the picks. */
#define RAMP_BEGIN_PERCENT 10

static uint64_t mix(uint64_t v)
{
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
    v = (v ^ v >> 27) * 0x94d049bb133111ebull;
    return v ^ v >> 31;
}

uint64_t balance_hash(struct str text, uint64_t seed)
{
    uint64_t h = mix(seed + 0x9e3779b97f4a7c15ull) ^ text.n;
    while (text.n) {
        uint64_t word = 0;
        size_t n = text.n < 8 ? text.n : 8;
        for (size_t i = 0; i < n; i++) /* the same on every machine */
            word |= (uint64_t)(unsigned char)text.p[i] << (i * 8);
        h = mix(h ^ word);
        text = str_make(text.p + n, text.n - n);
    }
    return mix(h);
}

bool balance_was_tried(const struct cluster *c, const struct balance_request *r, uint32_t candidate)
{
    uint32_t slot = c->endpoints[c->candidates[candidate]].slot;
    for (uint32_t i = 0; i < r->tried_count; i++)
        if (r->tried[i] == slot)
            return true;
    return false;
}

bool balance_is_barred(const struct cluster *c, struct balance_request *r, uint32_t candidate)
{
    const struct endpoint *e = &c->endpoints[c->candidates[candidate]];
    if ((r->checks & CHECK_EJECTED) &&
        gate_is_ejected(&r->gates->endpoints[e->slot], e->mark, r->now_ns / NS_PER_MS))
        return true;
    if (!(r->checks & CHECK_FULL) || !places_is_full(&r->gates->places, e->slot, c->options.max_in_flight))
        return false;
    r->saw_full = true;
    return true;
}

bool balance_sits_out(const struct cluster *c, const struct balance_request *r, uint32_t candidate)
{
    const struct endpoint *e = &c->endpoints[c->candidates[candidate]];
    uint64_t whole_ns = c->options.slow_start_ms * NS_PER_MS;
    if (r->wall_ns < e->since_ns || r->wall_ns - e->since_ns >= whole_ns) /* the wall clock may be set back */
        return false;
    uint64_t share = RAMP_BEGIN_PERCENT + (100 - RAMP_BEGIN_PERCENT) * (r->wall_ns - e->since_ns) / whole_ns;
    return (mix(r->lottery ^ e->mark) >> 32) * 100 >= share << 32;
}

uint32_t balance_at(const struct cluster *c, uint32_t position)
{
    uint32_t low = 0, high = c->candidate_count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (position < c->weight_sums[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

uint32_t balance_scan(const struct cluster *c, struct balance_request *r, uint32_t from, uint32_t other)
{
    uint32_t at = from;
    for (uint32_t i = 0; i < c->candidate_count; i++) {
        if (at != other && !balance_is_out(c, r, at))
            return at;
        at = at + 1 < c->candidate_count ? at + 1 : 0;
    }
    return BALANCE_NONE;
}

static uint64_t keep(struct balance_load *l, uint64_t now_ns, uint64_t own, uint64_t all)
{
    l->others = (uint32_t)(all > own ? all - own : 0);
    l->at_ns = now_ns;
    return own + l->others;
}

uint64_t balance_kept_load(const struct balance_request *r, uint32_t slot)
{
    struct balance_load *l = &r->loads[slot];
    uint64_t own = ledger_get(&r->own->endpoints[slot].count);
    own = (own & UINT32_MAX) + (own >> 32);
    return l->at_ns == r->now_ns ? own + l->others
                                 : keep(l, r->now_ns, own, ledger_endpoint_in_flight(r->ledger, slot));
}

uint64_t balance_cluster_load(const struct balance_request *r, uint32_t slot)
{
    struct balance_load *l = r->cluster_load;
    if (!r->ledger)
        return 0;
    if (!l)
        return ledger_cluster_in_flight(r->ledger, slot);
    const struct ledger_cluster *cell = &r->own->clusters[slot];
    uint64_t own = ledger_get(&cell->count[LEDGER_SERVING]) + ledger_get(&cell->count[LEDGER_TUNNEL]);
    return l->at_ns == r->now_ns ? own + l->others
                                 : keep(l, r->now_ns, own, ledger_cluster_in_flight(r->ledger, slot));
}

static uint32_t checks_of(const struct cluster *c, struct balance_request *r)
{
    uint32_t checks = 0;
    if (r->gates) {
        uint64_t until_ms = atomic_load_explicit(&r->gates->clusters[c->slot].until_ms, memory_order_relaxed);
        checks = (c->options.max_in_flight ? CHECK_FULL : 0) |
                 (until_ms > r->now_ns / NS_PER_MS ? CHECK_EJECTED : 0);
    }
    if (c->ramp_until_ns > r->wall_ns) {
        checks |= CHECK_RAMP;
        /* By the key where there is one: it then goes over once and does not come and go. */
        r->lottery = c->options.balance == BALANCE_CONSISTENT_HASH ? r->hash : balance_random(r->random);
    }
    return checks;
}

static uint32_t pick_by_policy(const struct cluster *c, struct balance_request *r)
{
    switch (c->options.balance) {
    case BALANCE_ROUND_ROBIN:
        return balance_round_robin(c, r);
    case BALANCE_LEAST_IN_FLIGHT:
        return balance_least_in_flight(c, r);
    case BALANCE_RANDOM:
        return balance_by_weight(c, r);
    case BALANCE_PEAK_EWMA:
        return balance_peak_ewma(c, r);
    case BALANCE_CONSISTENT_HASH:
        return balance_consistent_hash(c, r);
    default:
        return balance_p2c(c, r);
    }
}

/* The candidate of a sticky cookie, when it may be picked. */
static uint32_t pick_preferred(const struct cluster *c, struct balance_request *r)
{
    uint32_t wanted = (uint32_t)(r->preferred - 1), low = 0, high = c->candidate_count;
    while (low < high) { /* candidates are in the order of the endpoints */
        uint32_t middle = low + (high - low) / 2;
        if (c->candidates[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    bool is_there = low < c->candidate_count && c->candidates[low] == wanted;
    return is_there && !balance_is_out(c, r, low) ? low : BALANCE_NONE;
}

/* Of the candidates of one set. */
static uint32_t pick_from(const struct cluster *c, struct balance_request *r)
{
    uint32_t at = r->preferred ? pick_preferred(c, r) : BALANCE_NONE;
    return at != BALANCE_NONE ? at : pick_by_policy(c, r);
}

/* Ejected endpoints do not serve: what is left of these tiers is too little by tier_min_percent. */
static bool is_too_weak(const struct cluster *c, const struct balance_request *r)
{
    uint64_t fit = 0;
    if (!(r->checks & CHECK_EJECTED) || !c->options.tier_min_percent)
        return false;
    for (uint32_t i = 0; i < c->candidate_count; i++) {
        const struct endpoint *e = &c->endpoints[c->candidates[i]];
        fit += !gate_is_ejected(&r->gates->endpoints[e->slot], e->mark, r->now_ns / NS_PER_MS);
    }
    return fit * 100 < (uint64_t)c->candidate_count * (uint64_t)c->options.tier_min_percent;
}

/* From the best tiers; the next one joins them while they are ejected, or were all tried. Who is only full
 * is waited for. */
static uint32_t pick_widening(const struct cluster **cp, struct balance_request *r)
{
    const struct cluster *c = *cp;
    while (c->wider && is_too_weak(c, r))
        c = c->wider;
    uint32_t at = pick_from(c, r);
    while (at == BALANCE_NONE && !r->saw_full && c->wider) {
        c = c->wider;
        at = pick_from(c, r);
    }
    *cp = c;
    return at;
}

int balance_pick(const struct cluster *c, struct balance_request *r)
{
    if (!c->candidate_count)
        return -1;
    const struct cluster *from = c;
    r->saw_full = false;
    r->checks = checks_of(c, r);
    uint32_t at = c->wider ? pick_widening(&from, r) : pick_from(c, r);
    if (at == BALANCE_NONE && !r->saw_full && (r->checks & CHECK_EJECTED)) {
        r->checks &= ~(uint32_t)CHECK_EJECTED; /* better a broken one than none */
        from = c;
        at = c->wider ? pick_widening(&from, r) : pick_from(c, r);
    }
    if (at == BALANCE_NONE)
        return r->saw_full ? BALANCE_FULL : -1;
    return (int)from->candidates[at];
}
