#include "topo/cluster.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/panic.h"
#include "topo/balance.h"
#include "topo/balance_hash.h"
#include "topo/token.h"

static const size_t text_offsets[ENDPOINT_TEXTS] = {
    offsetof(struct endpoint, id),
    offsetof(struct endpoint, owner),
    offsetof(struct endpoint, member),
    offsetof(struct endpoint, platform_uid),
    offsetof(struct endpoint, revision),
    offsetof(struct endpoint, partition),
    offsetof(struct endpoint, network_partition),
};

struct str *endpoint_text(struct endpoint *e, unsigned n)
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

enum endpoint_service endpoint_service_of(const struct endpoint *e)
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

/* The last tier that takes part, beginning with the best one: each that is too weak is joined by the next. */
static uint32_t last_tier(const struct cluster *c, uint32_t best)
{
    uint32_t class = best >> 8, tier = best & 0xff;
    if (!c->options.tier_min_percent)
        return tier;
    while (!is_tier_enough(c, class, tier)) {
        uint32_t next = UINT32_MAX;
        for (uint32_t i = 0; i < c->endpoint_count; i++) {
            const struct endpoint *e = &c->endpoints[i];
            if (rank_of(e) >> 8 == class && e->priority > tier && e->priority < next)
                next = e->priority;
        }
        if (next == UINT32_MAX)
            break;
        tier = next;
    }
    return tier;
}

static void find_candidates(struct cluster *c)
{
    uint32_t best = RANK_NEVER, shared = 0, sum = 0;
    for (uint32_t i = 0; i < c->endpoint_count; i++) {
        uint32_t rank = rank_of(&c->endpoints[i]);
        best = rank < best ? rank : best;
    }
    c->is_well = best >> 8 == 0 || c->options.protocol == PROTOCOL_FILES;
    if (best == RANK_NEVER)
        return;
    uint32_t last = (best & ~0xffu) | last_tier(c, best);
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

/* ---- what policies need ---- */

static uint32_t mark_of(const struct endpoint *e)
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
}

/* ---- building ---- */

static int by_id(const void *a, const void *b)
{
    return str_order(((const struct endpoint *)a)->id, ((const struct endpoint *)b)->id);
}

static void take_texts(struct cluster *c)
{
    size_t bytes = c->id.n + c->owner.n;
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        for (unsigned n = 0; n < ENDPOINT_TEXTS; n++)
            bytes += endpoint_text(&c->endpoints[i], n)->n;
    char *at = c->memory = must(malloc(bytes + 1));
    text_move(&c->id, &at);
    text_move(&c->owner, &at);
    for (uint32_t i = 0; i < c->endpoint_count; i++)
        for (unsigned n = 0; n < ENDPOINT_TEXTS; n++)
            text_move(endpoint_text(&c->endpoints[i], n), &at);
}

static bool is_sorted(const struct endpoint *endpoints, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (by_id(&endpoints[i - 1], &endpoints[i]) >= 0)
            return false;
    return true;
}

static void see_slot(struct cluster *c, uint32_t slot)
{
    if (slot == LEDGER_NO_SLOT)
        c->has_all_slots = false;
    else if (slot >= c->endpoint_slots)
        c->endpoint_slots = slot + 1;
}

struct cluster *cluster_build(struct str id, struct str owner, uint32_t slot,
                              const struct cluster_options *options, const struct endpoint *endpoints,
                              uint32_t count)
{
    struct cluster *c = must(calloc(1, sizeof(*c)));
    atomic_init(&c->refs, 1);
    c->slot = slot;
    c->id = id;
    c->owner = owner;
    options_copy(&cluster_options_table, &c->options, options);
    c->endpoint_count = count;
    c->endpoints = must(calloc(count + 1u, sizeof(*c->endpoints)));
    if (count)
        memcpy(c->endpoints, endpoints, count * sizeof(*endpoints));
    take_texts(c);
    if (!is_sorted(c->endpoints, count))
        qsort(c->endpoints, count, sizeof(*c->endpoints), by_id);
    c->has_all_slots = true;
    for (uint32_t i = 0; i < count; i++) {
        see_slot(c, c->endpoints[i].slot);
        c->endpoints[i].service = (uint8_t)endpoint_service_of(&c->endpoints[i]);
        c->endpoints[i].mark = mark_of(&c->endpoints[i]);
        see_ramp(c, &c->endpoints[i]);
    }
    find_candidates(c);
    set_up_hash(c);
    return c;
}

void cluster_ref(struct cluster *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

void cluster_unref(struct cluster **cp)
{
    struct cluster *c = *cp;
    *cp = NULL;
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    options_free(&cluster_options_table, &c->options);
    free(c->endpoints);
    free(c->candidates);
    free(c->weight_sums);
    free(c->ring);
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
        int order = str_order(c->endpoints[middle].id, id);
        if (!order)
            return &c->endpoints[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
