/* How often each reason ended an exchange, per cluster: sparse, for most pairs never happen. */
#include "base/ledger.h"
#include "base/str.h"

uint32_t ledger_reasons_id(void)
{
    uint32_t id = REASON_COUNT;
    for (unsigned i = 0; i < REASON_COUNT; i++)
        id = id * 31 + str_hash(str_of(reason_id((enum reason)i)));
    return id;
}

void ledger_sum_reasons(const struct ledger *l, uint32_t slot, uint64_t *counts)
{
    const struct ledger_header *h = l->header;
    if (!l->has_reasons || (slot >= h->max_clusters && slot != LEDGER_NO_SLOT))
        return;
    size_t at = slot < h->max_clusters ? slot : h->max_clusters;
    for (uint32_t i = 0; i < h->workers; i++) {
        const char *part = (const char *)ledger_row(l, i) + h->reasons_off;
        const ledger_u64 *cells = (const ledger_u64 *)(const void *)part + at * REASON_COUNT;
        for (unsigned k = 0; k < REASON_COUNT; k++)
            counts[k] += ledger_get(&cells[k]);
    }
}
