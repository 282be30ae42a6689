#include "proxy/hold.h"

#include "proxy/exchange_priv.h"
#include "proxy/proxy.h"

static void on_timeout(struct deadline *d)
{
    struct exchange *x = CONTAINER_OF(d, struct exchange, deadline);
    struct worker *w = &x->pw->w;
    ledger_cluster_failure(&x->pw->ledger, x->cluster->slot, LEDGER_FAIL_REFUSED);
    exchange_reply(x, REASON_HOLD_TIMEOUT);
    cork_flush(w);
}

/* Never overshot: a place is taken before it is known to be there, and given back. */
static bool take_place(struct pworker *pw, uint32_t slot, int64_t max)
{
    _Atomic uint32_t *n = &pw->proxy->holding[slot];
    if (atomic_fetch_add_explicit(n, 1, memory_order_relaxed) < max)
        return true;
    atomic_fetch_sub_explicit(n, 1, memory_order_relaxed);
    return false;
}

static void leave(struct exchange *x)
{
    struct pworker *pw = x->pw;
    list_remove(&x->node);
    pw->held_count--;
    atomic_fetch_sub_explicit(&pw->proxy->holding[x->cluster->slot], 1, memory_order_relaxed);
    deadline_stop(&pw->w.wheel, &x->deadline);
}

bool hold_add(struct exchange *x)
{
    struct pworker *pw = x->pw;
    if (!take_place(pw, x->cluster->slot, x->opt->hold_max))
        return false;
    list_push(&pw->held, &x->node);
    pw->held_count++;
    deadline_init(&x->deadline, on_timeout);
    worker_deadline(&pw->w, &x->deadline, x->opt->hold_timeout_ms);
    proxy_wake(pw, x->cluster->id);
    return true;
}

void hold_remove(struct exchange *x)
{
    if (!list_is_empty(&x->node))
        leave(x);
}

/* The exchange moves to the current topology: its cluster may have endpoints there. */
static bool adopt_view(struct exchange *x)
{
    struct pworker *pw = x->pw;
    const struct cluster *found = topology_cluster(pw->view->topology, x->cluster->id);
    if (!found || found->slot != x->cluster->slot || !found->candidate_count)
        return false;
    view_unref(pw, &x->view);
    x->view = view_ref(pw);
    x->cluster = (struct cluster *)found;
    x->opt = &found->options;
    x->back = exchange_back_of(x);
    return true;
}

void hold_release(struct pworker *pw)
{
    struct list all;
    struct list *node;
    list_init(&all);
    list_splice(&all, &pw->held);
    while ((node = list_shift(&all))) {
        struct exchange *x = CONTAINER_OF(node, struct exchange, node);
        list_push(&pw->held, &x->node);
        if (!adopt_view(x))
            continue;
        leave(x);
        exchange_retry_held(x);
    }
    cork_flush(&pw->w);
}
