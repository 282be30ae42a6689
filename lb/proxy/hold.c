#include "proxy/hold.h"

#include "proxy/proxy.h"

static void on_timeout(struct deadline *d)
{
    struct exchange *x = CONTAINER_OF(d, struct exchange, deadline);
    struct worker *w = &x->pw->w;
    ledger_cluster_failure(&x->pw->ledger, x->cluster->slot, LEDGER_FAIL_REFUSED);
    exchange_reply(x, REASON_HOLD_TIMEOUT);
    cork_flush(w);
}

static uint32_t held_in_cluster(const struct pworker *pw, uint32_t slot)
{
    uint64_t held = 0;
    const struct ledger *l = &pw->proxy->ledger;
    for (uint32_t i = 0; i < l->header->workers; i++) {
        const struct ledger_cluster *cells =
            (const void *)(l->base + l->header->header_bytes + i * l->header->row_bytes + l->header->clusters_off);
        held += ledger_get(&cells[slot].count[LEDGER_HELD]);
    }
    return (uint32_t)held;
}

bool hold_add(struct exchange *x)
{
    struct pworker *pw = x->pw;
    /* This exchange is counted as held already. */
    if (held_in_cluster(pw, x->cluster->slot) > (uint64_t)x->opt->hold_max)
        return false;
    list_push(&pw->held, &x->node);
    pw->held_count++;
    deadline_init(&x->deadline, on_timeout);
    worker_deadline(&pw->w, &x->deadline, x->opt->hold_timeout_ms);
    return true;
}

void hold_remove(struct exchange *x)
{
    if (list_is_empty(&x->node))
        return;
    list_remove(&x->node);
    x->pw->held_count--;
    deadline_stop(&x->pw->w.wheel, &x->deadline);
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
        if (!adopt_view(x)) {
            list_push(&pw->held, &x->node);
            continue;
        }
        pw->held_count--;
        deadline_stop(&pw->w.wheel, &x->deadline);
        exchange_retry_held(x);
    }
    cork_flush(&pw->w);
}
