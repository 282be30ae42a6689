#include "topo/cluster.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/panic.h"
#include "topo/balance.h"
#include "topo/balance_hash.h"
#include "topo/token.h"

static const size_t text_offsets[ENDPOINT_TEXTS] = {
    [TEXT_ID] = offsetof(struct endpoint_draft, id),
    [TEXT_OWNER] = offsetof(struct endpoint_draft, owner),
    [TEXT_MEMBER] = offsetof(struct endpoint_draft, member),
    [TEXT_PLATFORM_UID] = offsetof(struct endpoint_draft, platform_uid),
    [TEXT_REVISION] = offsetof(struct endpoint_draft, revision),
    [TEXT_PARTITION] = offsetof(struct endpoint_draft, partition),
    [TEXT_NETWORK_PARTITION] = offsetof(struct endpoint_draft, network_partition),
};

struct str *draft_text(struct endpoint_draft *e, unsigned n)
{
    ASSERT(n < ENDPOINT_TEXTS);
    return (struct str *)(void *)((char *)e + text_offsets[n]);
}

int str_order(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

void text_move(struct str *s, char **at)
{
    char *to = *at;
    if (s->n)
        memcpy(to, s->p, s->n);
    s->p = to;
    *at = to + s->n;
}

enum endpoint_service endpoint_service_of(const struct endpoint_draft *e)
{
    bool is_leaving = e->member.n && e->member_state == MEMBER_IN_MAINTENANCE;
    if (e->member.n && e->member_state != MEMBER_ACTIVE && !is_leaving)
        return SERVICE_OFF; /* not yet, or no more */
    if (e->readiness != ENDPOINT_READY && e->readiness != ENDPOINT_TERMINATING)
        return SERVICE_OFF;
    if (is_leaving || e->admin_drain || e->readiness == ENDPOINT_TERMINATING)
        return SERVICE_DRAINING;
    return e->health == HEALTH_DOWN ? SERVICE_UNHEALTHY : SERVICE_ON;
}

/* ---- candidates ---- */

#define RANK_NEVER UINT32_MAX

/* Lower is better; only the best rank is picked from. */
static uint32_t rank_of(const struct endpoint *e)
{
    static const uint32_t classes[] = {[SERVICE_ON] = 0, [SERVICE_UNHEALTHY] = 1, [SERVICE_DRAINING] = 2};
    if (e->service == SERVICE_OFF)
        return RANK_NEVER;
    return ((e->weight ? 0u : 3u) + classes[e->service]) << 8 | e->priority;
}

static uint32_t gcd(uint32_t a, uint32_t b)
{
    while (b) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The golden section spreads any number of steps evenly over the circle; coprime, so that every place of it
 * is visited exactly once in a round. */
static uint32_t stride_for(uint32_t total)
{
    uint32_t stride = (uint32_t)((uint64_t)total * 618 / 1000);
    if (stride < 1)
        return 1;
    while (gcd(stride, total) != 1)
        stride++;
    return stride;
}

/* Of one tier: how many there are, and how many of them have the best class. */
static bool is_tier_enough(const struct cluster *c, uint32_t class, uint32_t tier)
{
    uint64_t all = 0, fit = 0;
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        const struct endpoint *e = &c->endpoints[i];
        all += e->priority == tier;
        fit += e->priority == tier && rank_of(e) >> 8 == class;
    }
    return fit && fit * 100 >= all * (uint64_t)c->options.tier_min_percent;
}

/* The tier of this class behind `tier`; UINT32_MAX: there is none. */
static uint32_t next_tier(const struct cluster *c, uint32_t class, uint32_t tier)
{
    uint32_t next = UINT32_MAX;
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        const struct endpoint *e = &c->endpoints[i];
        if (rank_of(e) >> 8 == class && e->priority > tier && e->priority < next)
            next = e->priority;
    }
    return next;
}

/* The last tier that takes part, beginning with the best one: each that is too weak is joined by the next. */
static uint32_t last_tier(const struct cluster *c, uint32_t best)
{
    uint32_t class = best >> 8, tier = best & 0xff, next;
    if (!c->options.tier_min_percent)
        return tier;
    while (!is_tier_enough(c, class, tier) && (next = next_tier(c, class, tier)) != UINT32_MAX)
        tier = next;
    return tier;
}

static void take_candidates(struct cluster *c, uint32_t best, uint32_t last)
{
    uint32_t shared = 0, sum = 0;
    c->candidates = must(malloc(c->endpoint_count * sizeof(*c->candidates)));
    c->weight_sums = must(malloc(c->endpoint_count * sizeof(*c->weight_sums)));
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        const struct endpoint *e = &c->endpoints[i];
        uint32_t rank = rank_of(e);
        if (rank < best || rank > last)
            continue;
        c->candidates[c->candidate_count++] = i;
        shared = gcd(shared, e->weight ? e->weight : 1);
    }
    for (uint32_t k = 0; k < c->candidate_count; k++) {
        uint32_t weight = c->endpoints[c->candidates[k]].weight;
        sum += (weight ? weight : 1) / shared; /* at most 1000 · 2^20: fits */
        c->weight_sums[k] = sum;
    }
    c->stride = stride_for(sum);
}

/* The widest set takes all tiers that are left, so that a source cannot make us keep hundreds of them. */
#define WIDER_MAX 3

static void widen(struct cluster *c, uint32_t best, uint32_t tier)
{
    for (int i = 0; i < WIDER_MAX && (tier = next_tier(c, best >> 8, tier)) != UINT32_MAX; i++) {
        if (i == WIDER_MAX - 1)
            tier = UINT8_MAX;
        c->wider = must(malloc(sizeof *c->wider));
        memcpy(c->wider, c, sizeof *c);
        c = c->wider;
        c->candidate_count = 0;
        c->wider = NULL;
        take_candidates(c, best, (best & ~0xffu) | tier);
    }
}

static void find_candidates(struct cluster *c)
{
    uint32_t best = RANK_NEVER;
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        uint32_t rank = rank_of(&c->endpoints[i]);
        best = rank < best ? rank : best;
    }
    c->is_well = best >> 8 == 0 || c->options.protocol == PROTOCOL_FILES;
    if (best == RANK_NEVER)
        return;
    uint32_t tier = last_tier(c, best);
    take_candidates(c, best, (best & ~0xffu) | tier);
    widen(c, best, tier);
}

/* ---- what policies need ---- */

static uint32_t mark_of(const struct endpoint_draft *e)
{
    uint64_t id = balance_hash(e->id, 0);
    return (uint32_t)balance_hash(
               str_make((const char *)&e->addr.un, e->addr.len < sizeof e->addr.un ? e->addr.len : 0), id) |
           1;
}

static void see_ramp(struct cluster *c, const struct endpoint *e)
{
    uint64_t until_ns = e->since_ns + c->options.slow_start_ms * NS_PER_MS;
    if (e->since_ns && until_ns > c->ramp_until_ns)
        c->ramp_until_ns = until_ns;
}

bool hash_key_parse(struct str text, uint8_t *out_key, struct str *out_name)
{
    *out_name = STR_NULL;
    if (str_eq(text, STR("source")) || str_eq(text, STR("uri"))) {
        *out_key = text.n == 3 ? HASH_URI : HASH_SOURCE;
        return true;
    }
    bool is_header = str_starts(text, STR("header:"));
    if (!is_header && !str_starts(text, STR("cookie:")))
        return false;
    *out_key = is_header ? HASH_HEADER : HASH_COOKIE;
    *out_name = str_make(text.p + 7, text.n - 7);
    return out_name->n > 0;
}

static void set_up_hash(struct cluster *c)
{
    if (c->options.balance != BALANCE_CONSISTENT_HASH)
        return;
    if (!hash_key_parse(str_of(c->options.hash_on), &c->hash_key, &c->hash_name))
        c->hash_key = HASH_SOURCE; /* of a source that checks less than the config file */
    c->hash_balance = c->options.hash_balance >= 1 ? c->options.hash_balance : 1;
    ring_build(c);
    for (struct cluster *w = c->wider; w; w = w->wider) {
        w->hash_balance = c->hash_balance;
        ring_build(w);
    }
}

/* ---- building ---- */

static int by_id(const void *a, const void *b)
{
    return str_order(((const struct endpoint_draft *)a)->id, ((const struct endpoint_draft *)b)->id);
}

static bool is_sorted(const struct endpoint_draft *endpoints, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (by_id(&endpoints[i - 1], &endpoints[i]) >= 0)
            return false;
    return true;
}

/* What an address needs of the block. Behind the last of them the block goes on for a whole one, so that
 * copying any of them whole reads nothing foreign. */
static size_t addr_room(const struct addr *a)
{
    size_t bytes = offsetof(struct addr, sa) + a->len;
    bytes = bytes < sizeof(*a) ? bytes : sizeof(*a);
    return (bytes + _Alignof(struct addr) - 1) / _Alignof(struct addr) * _Alignof(struct addr);
}

/* The block, addresses first because they are aligned. */
static void make_room(struct cluster *c, const struct endpoint_draft *from, uint32_t count, char **out_addrs,
                      char **out_texts)
{
    size_t addrs = 0, texts = c->id.n + c->owner.n;
    for (uint32_t i = 0; i < count; i++) {
        addrs += addr_room(&from[i].addr);
        for (unsigned n = 0; n < ENDPOINT_TEXTS; n++)
            texts += draft_text_of(&from[i], n).n;
    }
    size_t behind = texts < sizeof(struct addr) ? sizeof(struct addr) : texts;
    *out_addrs = c->memory = must(calloc(1, addrs + behind));
    *out_texts = *out_addrs + addrs;
}

static void take_endpoint(struct endpoint *e, const struct endpoint_draft *from, char **addr_at,
                          char **text_at)
{
    *e = (struct endpoint){.slot = from->slot,
                           .mark = mark_of(from),
                           .weight = (uint16_t)from->weight,
                           .service = (uint8_t)endpoint_service_of(from),
                           .member_state = from->member_state,
                           .readiness = from->readiness,
                           .health = from->health,
                           .admin_drain = from->admin_drain,
                           .priority = from->priority,
                           .since_ns = from->since_ns,
                           .addr = (const struct addr *)(const void *)*addr_at,
                           .texts = *text_at};
    size_t room = addr_room(&from->addr);
    ASSERT(from->weight <= TOPOLOGY_WEIGHT_MAX);
    memcpy(*addr_at, &from->addr, room);
    *addr_at += room;
    for (unsigned n = 0; n < ENDPOINT_TEXTS; n++) {
        struct str text = draft_text_of(from, n);
        ASSERT(text.n <= TOPOLOGY_ID_MAX);
        e->text_bytes[n] = (uint8_t)text.n;
        text_move(&text, text_at);
    }
}

struct endpoint_draft endpoint_draft_of(const struct endpoint *e)
{
    struct endpoint_draft d = {.slot = e->slot,
                               .weight = e->weight,
                               .addr = *e->addr,
                               .member_state = e->member_state,
                               .readiness = e->readiness,
                               .health = e->health,
                               .admin_drain = e->admin_drain,
                               .priority = e->priority,
                               .since_ns = e->since_ns};
    size_t used = offsetof(struct addr, sa) + d.addr.len;
    if (used < sizeof(d.addr)) /* addresses are compared and sent as bytes */
        memset((char *)&d.addr + used, 0, sizeof(d.addr) - used);
    for (unsigned n = 0; n < ENDPOINT_TEXTS; n++)
        *draft_text(&d, n) = endpoint_text(e, n);
    return d;
}

static void see_slot(struct cluster *c, uint32_t slot)
{
    if (slot == LEDGER_NO_SLOT)
        c->has_all_slots = false;
    else if (slot >= c->endpoint_slots)
        c->endpoint_slots = slot + 1;
}

/* In the order of `from`, which is sorted. */
static void take_endpoints(struct cluster *c, const struct endpoint_draft *from)
{
    char *addr_at, *text_at;
    make_room(c, from, c->endpoint_count, &addr_at, &text_at);
    text_move(&c->id, &text_at);
    text_move(&c->owner, &text_at);
    c->endpoints = must(malloc((c->endpoint_count + 1u) * sizeof(*c->endpoints)));
    c->has_all_slots = true;
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        take_endpoint(&c->endpoints[i], &from[i], &addr_at, &text_at);
        see_slot(c, c->endpoints[i].slot);
        see_ramp(c, &c->endpoints[i]);
    }
}

struct cluster *cluster_build(struct str id, struct str owner, uint32_t slot,
                              const struct cluster_options *options, const struct endpoint_draft *endpoints,
                              uint32_t count)
{
    struct cluster *c = must(aligned_alloc(_Alignof(struct cluster), sizeof(*c)));
    struct endpoint_draft *sorted = NULL;
    memset(c, 0, sizeof(*c));
    atomic_init(&c->shared.refs, 1);
    c->slot = slot;
    c->id = id;
    c->owner = owner;
    options_copy(&cluster_options_table, &c->options, options);
    c->endpoint_count = count;
    if (!is_sorted(endpoints, count)) {
        sorted = must(malloc(count * sizeof(*sorted)));
        memcpy(sorted, endpoints, count * sizeof(*sorted));
        qsort(sorted, count, sizeof(*sorted), by_id);
    }
    take_endpoints(c, sorted ? sorted : endpoints);
    free(sorted);
    find_candidates(c);
    set_up_hash(c);
    return c;
}

void cluster_ref(struct cluster *c)
{
    atomic_fetch_add_explicit(&c->shared.refs, 1, memory_order_relaxed);
}

static void free_candidates(struct cluster *c)
{
    free(c->candidates);
    free(c->weight_sums);
    free(c->ring);
}

static void free_wider(struct cluster *c)
{
    while (c) {
        struct cluster *next = c->wider;
        free_candidates(c);
        free(c);
        c = next;
    }
}

void cluster_unref(struct cluster **cp)
{
    struct cluster *c = *cp;
    *cp = NULL;
    if (!c || atomic_fetch_sub_explicit(&c->shared.refs, 1, memory_order_acq_rel) != 1)
        return;
    options_free(&cluster_options_table, &c->options);
    free(c->endpoints);
    free_wider(c->wider);
    free_candidates(c);
    free(c->tokens);
    if (c->secure_free)
        c->secure_free(c->secure);
    free(c->memory);
    free(c);
}

const struct endpoint *cluster_endpoint(const struct cluster *c, struct str id)
{
    uint32_t low = 0, high = c->endpoint_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = str_order(endpoint_id(&c->endpoints[middle]), id);
        if (!order)
            return &c->endpoints[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
