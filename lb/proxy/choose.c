#include "proxy/choose.h"

#include "base/log.h"
#include "proxy/affinity.h"
#include "proxy/hold.h"
#include "proxy/proxy.h"
#include "proxy/wave.h"
#include "topo/outlier.h"

#define RACES_MAX       64 /* lost against other workers in one pick; then it is full for us */
#define HUNDREDTHS_A_MS 1  /* ten retries a second, whatever the requests */
#define HUNDREDTHS_MAX  10000

static struct gate *gate_of(struct exchange *x)
{
    return &x->pw->proxy->gates.endpoints[x->endpoint->slot];
}

static void prepare(struct exchange *x)
{
    struct balance_request *r = &x->balance;
    struct pworker *pw = x->pw;
    r->ledger = &pw->proxy->ledger;
    r->gates = &pw->proxy->gates;
    r->own = &pw->ledger;
    r->loads = pw->loads;
    r->cluster_load = pw->cluster_loads ? &pw->cluster_loads[x->cluster->slot] : NULL;
    r->ewma = pw->ewma;
    r->random = &pw->random;
    r->cursor = &pw->cursors[x->cluster->slot];
    r->now_ns = pw->w.now_ns;
    r->wall_ns = worker_wall_ns(&pw->w);
    affinity_read(x);
}

/* By the policy, until the place is really ours. */
static int pick(struct exchange *x)
{
    for (int i = 0; i < RACES_MAX; i++) {
        int index = balance_pick(x->cluster, &x->balance);
        if (index < 0 || !x->opt->max_in_flight)
            return index;
        x->place_taken = places_take(&x->pw->proxy->gates.places, x->cluster->endpoints[index].slot,
                                     x->opt->max_in_flight);
        if (x->place_taken)
            return index;
    }
    return BALANCE_FULL;
}

enum choice choose_endpoint(struct exchange *x)
{
    if (x->back == &back_files)
        return CHOSEN;
    prepare(x);
    int index = pick(x);
    if (index < 0)
        return index == BALANCE_FULL ? CHOICE_FULL : CHOICE_NONE;
    x->endpoint = &x->cluster->endpoints[index];
    if (x->balance.tried_count < BALANCE_TRIED_MAX)
        x->balance.tried[x->balance.tried_count++] = x->endpoint->slot;
    ledger_endpoint_attempt(&x->pw->ledger, x->endpoint->slot, 1, x->pw->w.now_ns);
    x->endpoint_counted = true;
    return CHOSEN;
}

void choose_done(struct exchange *x)
{
    struct ledger_writer *l = &x->pw->ledger;
    if (!x->endpoint_counted)
        return;
    x->endpoint_counted = false;
    if (x->tunnel_counted)
        ledger_endpoint_tunnel(l, x->endpoint->slot, -1, x->pw->w.now_ns);
    else
        ledger_endpoint_attempt(l, x->endpoint->slot, -1, x->pw->w.now_ns);
    x->tunnel_counted = false;
    if (x->in_wave)
        wave_give(x, WAVE_LEFT);
    if (!x->place_taken)
        return;
    x->place_taken = false;
    places_give(&x->pw->proxy->gates.places, x->endpoint->slot);
    hold_freed(x->pw, x->cluster->slot);
}

bool choose_has_room(const struct pworker *pw, const struct cluster *c)
{
    for (uint32_t i = 0; i < c->candidate_count; i++) {
        if (!places_is_full(&pw->proxy->gates.places, c->endpoints[c->candidates[i]].slot,
                            c->options.max_in_flight))
            return true;
    }
    return false;
}

/* ---- what attempts teach ---- */

/* Over all workers. Attempts are counted when they are sent, so those that found no connection are added. */
static void count_outcomes(void *ctx, uint32_t slot, struct outlier_count *out)
{
    const struct pworker *pw = ctx;
    const struct proxy *p = pw->proxy;
    for (int i = 0; i < p->worker_count; i++) {
        const struct pworker *other = &p->workers[i];
        const struct ledger_endpoint *cell = &other->ledger.endpoints[slot];
        uint64_t failures = ledger_get(&cell->failures), none = failures & UINT32_MAX;
        out->attempts += ledger_get(&cell->requests) + none;
        out->failures +=
            none + (failures >> 32) + atomic_load_explicit(&other->server_errors[slot], memory_order_relaxed);
    }
}

static void note_ejected(void *ctx, const struct endpoint *e, uint64_t until_ms, unsigned mine,
                         unsigned others)
{
    struct pworker *pw = ctx;
    ledger_endpoint_ejected(&pw->ledger, e->slot, until_ms);
    log_warn("endpoint %.*s is ejected: %u.%u %% of its requests failed, of the others' %u.%u %%",
             STR_ARG(endpoint_id(e)), mine / 10, mine % 10, others / 10, others % 10);
}

static const struct outlier_ops outlier_ops = {.count = count_outcomes, .ejected = note_ejected};

static void look_for_outliers(struct exchange *x)
{
    outlier_look(&x->pw->proxy->gates, x->cluster, x->pw->w.now_ms, &outlier_ops, x->pw);
}

static void note_server_error(struct exchange *x)
{
    _Atomic uint32_t *n = &x->pw->server_errors[x->endpoint->slot]; /* ours alone to write */
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1, memory_order_relaxed);
    look_for_outliers(x);
}

void choose_answered(struct exchange *x, uint16_t status)
{
    if (!x->endpoint || x->back == &back_files)
        return;
    if (x->in_wave)
        wave_give(x, WAVE_ANSWERED);
    gate_worked(gate_of(x), x->opt->eject_time_ms, x->pw->w.now_ms);
    if (status >= 500 && x->opt->eject_rate)
        note_server_error(x);
}

void choose_completed(struct exchange *x)
{
    uint64_t now_ns = x->pw->w.now_ns;
    if (x->endpoint && x->opt->balance == BALANCE_PEAK_EWMA && x->back != &back_files && !x->is_tunnel)
        balance_ewma_feed(&x->pw->ewma[x->endpoint->slot], now_ns - x->pick_ns, now_ns);
}

void choose_failed(struct exchange *x)
{
    if (!x->endpoint)
        return;
    if (x->opt->balance == BALANCE_PEAK_EWMA)
        balance_ewma_feed(&x->pw->ewma[x->endpoint->slot], BALANCE_EWMA_FAILED_NS, x->pw->w.now_ns);
    uint64_t until_ms = gate_failed(&x->pw->proxy->gates, x->cluster, x->endpoint, x->pw->w.now_ms);
    if (until_ms) {
        ledger_endpoint_ejected(&x->pw->ledger, x->endpoint->slot, until_ms);
        log_warn("cluster %.*s: endpoint %.*s is ejected, it failed too often in a row",
                 STR_ARG(x->cluster->id), STR_ARG(endpoint_id(x->endpoint)));
    }
    look_for_outliers(x);
}

bool choose_may_retry(struct exchange *x)
{
    struct retry_budget *b = &x->pw->budgets[x->cluster->slot];
    uint64_t requests = ledger_get(&x->pw->ledger.clusters[x->cluster->slot].requests),
             now_ms = x->pw->w.now_ms;
    uint64_t by_requests = (requests - b->requests) * (uint64_t)x->opt->retry_budget;
    uint64_t by_time = b->at_ms ? (now_ms - b->at_ms) * HUNDREDTHS_A_MS : HUNDREDTHS_MAX / 10;
    b->hundredths += by_requests > by_time ? by_requests : by_time;
    if (b->hundredths > HUNDREDTHS_MAX)
        b->hundredths = HUNDREDTHS_MAX;
    b->requests = requests;
    b->at_ms = now_ms;
    if (b->hundredths < 100)
        return false;
    b->hundredths -= 100;
    return true;
}
