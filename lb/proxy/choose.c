#include "proxy/choose.h"

#include "base/log.h"
#include "proxy/affinity.h"
#include "proxy/hold.h"
#include "proxy/proxy.h"

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
        struct gate *g = &x->pw->proxy->gates.endpoints[x->cluster->endpoints[index].slot];
        x->place_taken = gate_take(g, x->opt->max_in_flight);
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
    if (!x->place_taken)
        return;
    x->place_taken = false;
    gate_give(gate_of(x));
    hold_freed(x->pw, x->cluster->slot);
}

bool choose_has_room(struct exchange *x)
{
    const struct cluster *c = x->cluster;
    for (uint32_t i = 0; i < c->candidate_count; i++) {
        const struct gate *g = &x->pw->proxy->gates.endpoints[c->endpoints[c->candidates[i]].slot];
        if (!gate_is_full(g, x->opt->max_in_flight))
            return true;
    }
    return false;
}

/* ---- what attempts teach ---- */

void choose_answered(struct exchange *x)
{
    if (x->endpoint && x->back != &back_files)
        gate_worked(gate_of(x), x->opt->eject_time_ms, x->pw->w.now_ms);
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
    if (!until_ms)
        return;
    ledger_endpoint_ejected(&x->pw->ledger, x->endpoint->slot, until_ms);
    log_warn("cluster %.*s: endpoint %.*s is ejected, it failed too often in a row", STR_ARG(x->cluster->id),
             STR_ARG(x->endpoint->id));
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
