/* How an exchange ends: local replies, failures of the client, and the accounts. */
#include <stdio.h>

#include "base/log.h"
#include "base/panic.h"
#include "proxy/compress.h"
#include "proxy/exchange_priv.h"
#include "proxy/guard.h"
#include "proxy/hold.h"
#include "proxy/mirror.h"
#include "proxy/proxy.h"
#include "proxy/reply.h"
#include "proxy/routing.h"

static void account(struct exchange *x)
{
    struct ledger_writer *l = &x->pw->ledger;
    uint64_t now = x->pw->w.now_ns;
    exchange_endpoint_done(x);
    if (!x->cluster || x->counted == LEDGER_COUNTS)
        return;
    struct ledger_cluster *cell = &l->clusters[x->cluster->slot];
    ledger_cluster_move(l, x->cluster->slot, x->counted, LEDGER_COUNTS, now);
    x->counted = LEDGER_COUNTS;
    ledger_add(&cell->rx_bytes, x->rx_bytes + x->req.head_len);
    ledger_add(&cell->tx_bytes, x->tx_bytes);
    if (x->server_done_ns && x->pick_ns && !x->is_tunnel)
        ledger_cluster_service(l, x->cluster->slot, x->server_done_ns - x->pick_ns);
    ledger_cluster_done(l, x->cluster->slot, x->status, now - x->route_ns);
}

static void reclaim(struct parked *p)
{
    struct exchange *x = CONTAINER_OF(p, struct exchange, parked);
    struct pworker *pw = x->pw;
    arena_fini(&x->arena);
    x->magic = 0;
    pool_give(exchange_pool_of(pw, x->front), x);
}

void exchange_vanish(struct exchange *x)
{
    ASSERT(list_is_empty(&x->place.node) && !x->back_state);
    exchange_set_state(x, EXCHANGE_DONE);
    pipe_fini(&x->req_body);
    pipe_fini(&x->rsp_body);
    deadline_stop(&x->pw->w.wheel, &x->deadline);
    worker_park(&x->pw->w, &x->parked, reclaim);
}

void exchange_finish(struct exchange *x, bool cut)
{
    CHECK_MAGIC(x, EXCHANGE_MAGIC);
    ASSERT(x->state != EXCHANGE_DONE);
    if (x->state == EXCHANGE_HOLD && x->reason != REASON_HOLD_TIMEOUT)
        ledger_add(&x->pw->ledger.clusters[x->cluster->slot].abandoned, 1);
    hold_remove(x);
    if (x->pass)
        guard_leave(x);
    if (x->back_state)
        x->back->abort(x);
    ASSERT(!x->back_state);
    account(x);
    if (x->reason == REASON_OK && cut)
        x->reason = x->last_failure ? x->last_failure : REASON_CLIENT_GONE;
    if (x->mirror)
        mirror_drop(x);
    bool is_ours = x->is_question || x->is_mirror;
    if (x->reason && !is_ours)
        ledger_reason(&x->pw->ledger, x->cluster ? x->cluster->slot : LEDGER_NO_SLOT, (enum reason)x->reason);
    if (!is_ours)
        access_log(x);
    exchange_set_state(x, EXCHANGE_DONE);
    compress_fini(x);
    pipe_fini(&x->req_body);
    pipe_fini(&x->rsp_body);
    deadline_stop(&x->pw->w.wheel, &x->deadline);
    x->front->done(x, cut);
    if (x->rules)
        routing_drop_rules(x);
    if (x->view)
        view_unref(x->pw, &x->view);
    worker_park(&x->pw->w, &x->parked, reclaim);
}

void exchange_reply(struct exchange *x, enum reason why)
{
    if (x->state == EXCHANGE_DONE)
        return;
    x->reason = (uint8_t)why;
    uint16_t status = reason_status(why);
    if (x->back_state)
        x->back->abort(x);
    exchange_endpoint_done(x);
    hold_remove(x);
    if (x->head_forwarded || !status || x->session->broken) {
        exchange_finish(x, true);
        return;
    }
    reply_send(x, status);
}

void exchange_request_failed(struct exchange *x, enum reason why)
{
    if (x->state == EXCHANGE_DONE)
        return;
    if (x->cluster && x->counted != LEDGER_COUNTS)
        ledger_cluster_failure(&x->pw->ledger, x->cluster->slot,
                               why == REASON_SPILL || why == REASON_NO_MEMORY ? LEDGER_FAIL_INTERNAL
                                                                              : LEDGER_FAIL_CLIENT);
    exchange_reply(x, why);
}
