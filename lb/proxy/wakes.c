#include "proxy/wakes.h"

#include "base/hex.h"
#include "proxy/proxy.h"

enum { ARMED, CLAIMED, SENT };

static struct wake_cell *cell_of(struct proxy *p, uint32_t slot, enum wake_kind kind)
{
    return &p->hold.wakes[(size_t)slot * WAKE_KINDS + (size_t)kind];
}

static uint32_t slot_of(const struct wake_cell *w)
{
    return (uint32_t)((size_t)(w - w->proxy->hold.wakes) / WAKE_KINDS);
}

static enum wake_kind kind_of(const struct wake_cell *w)
{
    return (enum wake_kind)((size_t)(w - w->proxy->hold.wakes) % WAKE_KINDS);
}

/* ---- control thread ---- */

static void tell(struct wake_cell *w)
{
    struct packer out;
    struct proxy *p = w->proxy;
    const struct wake wake = {.kind = kind_of(w),
                              .cluster = str_make(w->cluster, w->cluster_len),
                              .slot = slot_of(w),
                              .request = str_make(w->request, w->request_len),
                              .route_ns = w->route_ns};
    wake_pack(&wake, &out);
    bool sent =
        p->orchestrator && channel_send(p->orchestrator, wake_message(wake.kind), pack_result(&out), NULL, 0);
    if (!sent) /* the next orchestrator is told */
        atomic_store_explicit(&w->told_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&w->state, sent ? SENT : ARMED, memory_order_release);
}

static void on_mail(struct worker *none, struct mail *m)
{
    (void)none;
    tell(CONTAINER_OF(m, struct wake_cell, mail));
}

void wakes_on_ack(struct proxy *p, struct str payload)
{
    uint32_t slot, expected = SENT;
    enum wake_kind kind;
    if (!wake_ack_unpack(payload, &slot, &kind) || slot >= p->ledger.header->max_clusters)
        return;
    (void)atomic_compare_exchange_strong(&cell_of(p, slot, kind)->state, &expected, ARMED);
}

/* ---- claiming ---- */

/* False: it was told lately, or somebody is telling it just now. */
static bool claim(struct proxy *p, struct wake_cell *w, uint64_t now_ms, uint64_t pause_ms)
{
    uint32_t state = atomic_load_explicit(&w->state, memory_order_acquire);
    uint64_t told_ms = atomic_load_explicit(&w->told_ms, memory_order_relaxed);
    if (state == SENT && pause_ms)
        pause_ms = WAKE_FORGOTTEN_MS;
    if (state == CLAIMED || (told_ms && told_ms + pause_ms > now_ms) ||
        !atomic_compare_exchange_strong_explicit(&w->state, &state, CLAIMED, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return false;
    atomic_store_explicit(&w->told_ms, now_ms, memory_order_relaxed);
    w->proxy = p;
    return true;
}

static uint8_t copy(char *to, size_t room, struct str s)
{
    size_t n = s.n < room ? s.n : room;
    if (n)
        memcpy(to, s.p, n);
    return (uint8_t)n;
}

static void fill(struct wake_cell *w, struct str cluster, struct str request, uint64_t route_ns)
{
    w->cluster_len = copy(w->cluster, sizeof w->cluster, cluster);
    w->request_len = copy(w->request, sizeof w->request, request);
    w->route_ns = route_ns;
}

/* Where the config wants none a request that woke somebody has one all the same: so it can be followed. */
static struct str make_id(struct exchange *x)
{
    char *hex = arena_alloc(&x->arena, 32);
    if (!hex)
        return STR_NULL;
    hex_write(hex, balance_random(&x->pw->random));
    hex_write(hex + 16, balance_random(&x->pw->random));
    return str_make(hex, 32);
}

void wakes_tell(struct exchange *x, const struct cluster *c, enum wake_kind kind)
{
    struct proxy *p = x->pw->proxy;
    struct wake_cell *w = cell_of(p, c->slot, kind);
    if (x->is_mirror || !claim(p, w, x->pw->w.now_ms, WAKE_EVERY_MS))
        return;
    if (!x->request_id.n)
        x->request_id = make_id(x);
    fill(w, c->id, x->request_id, x->route_ns);
    w->mail.fn = on_mail;
    mailbox_send(&p->mailbox, &w->mail);
}

/* The id of who woke it first is still there, unless the slot was another cluster's. Claimed by a worker: its
 * mail comes. */
static void tell_again(struct proxy *p, const struct cluster *c, enum wake_kind kind)
{
    struct wake_cell *w = cell_of(p, c->slot, kind);
    uint64_t now_ns = clock_now_ns();
    if (!claim(p, w, now_ns / NS_PER_MS, 0))
        return;
    if (!str_eq(str_make(w->cluster, w->cluster_len), c->id))
        fill(w, c->id, STR_NULL, now_ns);
    tell(w);
}

void wakes_tell_all(struct proxy *p)
{
    for (uint32_t i = 0; p->topology && i < p->topology->cluster_count; i++) {
        const struct cluster *c = p->topology->clusters[i];
        if (atomic_load_explicit(&p->hold.holding[c->slot], memory_order_relaxed))
            tell_again(p, c, c->candidate_count ? WAKE_SATURATED : WAKE_HELD);
    }
}
