#include "topo/gate.h"

#include <sys/mman.h>

#include "topo/cluster.h"

bool gates_init(struct gates *g, uint32_t max_clusters, uint32_t max_endpoints)
{
    *g = (struct gates){.bytes =
                            max_endpoints * sizeof(struct gate) + max_clusters * sizeof(struct gate_cluster)};
    void *base =
        mmap(NULL, g->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED || !places_open_private(&g->places, max_endpoints)) {
        if (base != MAP_FAILED)
            munmap(base, g->bytes);
        return false;
    }
    g->base = base;
    g->endpoints = base;
    g->clusters = (struct gate_cluster *)(void *)(g->endpoints + max_endpoints);
    return true;
}

void gates_fini(struct gates *g)
{
    if (g->base)
        munmap(g->base, g->bytes);
    places_close(&g->places);
    *g = (struct gates){.base = NULL};
}

bool gates_share(struct gates *g, int places_fd, uint32_t row)
{
    struct places shared;
    if (!places_open(&shared, places_fd, row))
        return false;
    if (shared.max_endpoints < g->places.max_endpoints) { /* made for another size */
        places_close(&shared);
        return false;
    }
    places_close(&g->places);
    g->places = shared;
    return true;
}

/* ---- ejection: off the usual path; a lost update between workers costs one failure more or less ---- */

bool gate_adopt(struct gate *g, uint32_t mark)
{
    if (atomic_load_explicit(&g->mark, memory_order_relaxed) == mark)
        return false;
    atomic_store_explicit(&g->until_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&g->failures, 0, memory_order_relaxed);
    atomic_store_explicit(&g->times, 0, memory_order_relaxed);
    atomic_store_explicit(&g->mark, mark, memory_order_relaxed);
    return true;
}

/* Would one more still be within the share that may be out? */
static bool has_room(const struct gates *g, const struct cluster *c, uint64_t now_ms)
{
    uint64_t out = 0;
    c = cluster_widest(c); /* of all tiers: when one falls out the next serves */
    for (uint32_t i = 0; i < c->candidate_count; i++) {
        const struct endpoint *e = &c->endpoints[c->candidates[i]];
        out += gate_is_ejected(&g->endpoints[e->slot], e->mark, now_ms);
    }
    return (out + 1) * 100 <= (uint64_t)c->options.eject_max_percent * c->candidate_count;
}

static uint64_t shut(struct gates *g, const struct cluster *c, struct gate *gate, uint64_t now_ms)
{
    struct gate_cluster *all = &g->clusters[c->slot];
    uint32_t times = atomic_load_explicit(&gate->times, memory_order_relaxed);
    times += times < GATE_GROWTH_MAX;
    uint64_t until_ms = now_ms + c->options.eject_time_ms * times;
    atomic_store_explicit(&gate->times, times, memory_order_relaxed);
    atomic_store_explicit(&gate->until_ms, until_ms, memory_order_relaxed);
    if (atomic_load_explicit(&all->until_ms, memory_order_relaxed) < until_ms)
        atomic_store_explicit(&all->until_ms, until_ms, memory_order_relaxed);
    return until_ms;
}

uint64_t gate_eject(struct gates *g, const struct cluster *c, const struct endpoint *e, uint64_t now_ms)
{
    struct gate *gate = &g->endpoints[e->slot];
    if (gate_is_ejected(gate, e->mark, now_ms) || !has_room(g, c, now_ms))
        return 0;
    gate_adopt(gate, e->mark);
    return shut(g, c, gate, now_ms);
}

uint64_t gate_failed(struct gates *g, const struct cluster *c, const struct endpoint *e, uint64_t now_ms)
{
    struct gate *gate = &g->endpoints[e->slot];
    struct gate_cluster *all = &g->clusters[c->slot];
    uint64_t until_ms = 0;
    if (!c->options.eject_failures)
        return 0;
    gate_adopt(gate, e->mark);
    uint32_t failures = atomic_fetch_add_explicit(&gate->failures, 1, memory_order_relaxed) + 1;
    if (failures < c->options.eject_failures || gate_is_ejected(gate, e->mark, now_ms))
        return 0; /* what was in flight when it was ejected makes it no worse */
    if (atomic_exchange_explicit(&all->busy, true, memory_order_acquire))
        return 0; /* another worker decides; the next failure asks again */
    until_ms = gate_eject(g, c, e, now_ms);
    if (until_ms) /* when it comes back one more failure is enough */
        atomic_store_explicit(&gate->failures, (uint32_t)c->options.eject_failures - 1, memory_order_relaxed);
    atomic_store_explicit(&all->busy, false, memory_order_release);
    return until_ms;
}

void gate_recovered(struct gate *g, uint64_t eject_ms, uint64_t now_ms)
{
    uint64_t until_ms = atomic_load_explicit(&g->until_ms, memory_order_relaxed);
    if (until_ms > now_ms)
        return; /* an answer that was under way when it was ejected */
    if (atomic_load_explicit(&g->failures, memory_order_relaxed))
        atomic_store_explicit(&g->failures, 0, memory_order_relaxed);
    /* Well for as long as an ejection lasts: the next one is a first one again. */
    if (now_ms - until_ms >= eject_ms && atomic_load_explicit(&g->times, memory_order_relaxed))
        atomic_store_explicit(&g->times, 0, memory_order_relaxed);
}
