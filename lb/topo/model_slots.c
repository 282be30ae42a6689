#include <stdlib.h>

#include "base/ledger.h"
#include "base/panic.h"
#include "topo/model_part.h"

void slots_fini(struct slots *s)
{
    free(s->free);
    free(s->freed);
    *s = (struct slots){0};
}

static uint32_t doubled(uint32_t cap)
{
    return cap ? cap * 2 : 16;
}

static void push_free(struct slots *s, uint32_t slot)
{
    if (s->free_count == s->free_cap) {
        s->free_cap = doubled(s->free_cap);
        s->free = must(realloc(s->free, s->free_cap * sizeof(*s->free)));
    }
    s->free[s->free_count++] = slot;
}

uint32_t slots_take(struct slots *s)
{
    if (s->free_count)
        return s->free[--s->free_count];
    return s->next < s->max ? s->next++ : LEDGER_NO_SLOT;
}

void slots_give(struct slots *s, uint32_t slot, uint64_t number)
{
    if (s->freed_count == s->freed_cap) {
        s->freed_cap = doubled(s->freed_cap);
        s->freed = must(realloc(s->freed, s->freed_cap * sizeof(*s->freed)));
    }
    s->freed[s->freed_count++] = (struct freed_slot){slot, number};
    s->oldest = s->freed_count == 1 || number < s->oldest ? number : s->oldest;
}

void slots_settle(struct slots *s, uint64_t number, bool is_cluster, bool (*is_quiet)(void *, bool, uint32_t),
                  void *ctx)
{
    uint32_t kept = 0;
    s->oldest = UINT64_MAX;
    for (uint32_t i = 0; i < s->freed_count; i++) {
        struct freed_slot f = s->freed[i];
        if (f.number <= number && is_quiet(ctx, is_cluster, f.slot))
            push_free(s, f.slot);
        else
            s->freed[kept++] = f;
    }
    for (uint32_t i = 0; i < kept; i++)
        s->oldest = s->freed[i].number < s->oldest ? s->freed[i].number : s->oldest;
    s->freed_count = kept;
}

void slots_restore(struct slots *s, const bool *used, uint32_t given, uint64_t number)
{
    for (uint32_t slot = 0; slot < given; slot++)
        if (!used[slot])
            slots_give(s, slot, number);
}
