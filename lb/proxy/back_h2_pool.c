#include <stdlib.h>

#include "proxy/back_h2.h"
#include "proxy/proxy.h"

#define LINKS_KEPT   64
#define STREAMS_KEPT 1024

struct h2_pool *h2_pool_create(uint32_t max_slots)
{
    struct h2_pool *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    pool_init(&p->links, sizeof(struct h2_link), LINKS_KEPT);
    pool_init(&p->streams, sizeof(struct link_stream), STREAMS_KEPT);
    list_init(&p->all);
    p->max_slots = max_slots;
    p->by_slot = calloc(max_slots, sizeof *p->by_slot);
    p->mem = h2_mem_create();
    if (!p->by_slot || !p->mem) {
        free(p->by_slot);
        h2_mem_destroy(&p->mem);
        free(p);
        return NULL;
    }
    return p;
}

void h2_pool_trim(struct h2_pool *p)
{
    pool_trim(&p->links);
    pool_trim(&p->streams);
    h2_mem_trim(p->mem);
}

void h2_pool_destroy(struct h2_pool **pp)
{
    struct h2_pool *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    for (uint32_t i = 0; i < p->max_slots; i++)
        free(p->by_slot[i]);
    free(p->by_slot);
    pool_fini(&p->links);
    h2_mem_destroy(&p->mem);
    pool_fini(&p->streams);
    free(p);
}

/* Calls fn for each; it may close the one that it is given. */
static void each(struct pworker *pw, void (*fn)(struct h2_link *l))
{
    struct list *node = pw->h2_pool->all.next;
    while (node != &pw->h2_pool->all) {
        struct h2_link *l = CONTAINER_OF(node, struct h2_link, all);
        node = node->next;
        fn(l);
    }
}

static void leave_if_idle(struct h2_link *l)
{
    if (!l->stream_count && !l->connecting)
        h2_link_leave(l);
}

void h2_pool_retire(struct pworker *pw, uint32_t slot)
{
    struct h2_entry *e = pw->h2_pool->by_slot[slot];
    struct list *node = e ? e->links.next : NULL;
    while (e && node != &e->links) {
        struct h2_link *l = CONTAINER_OF(node, struct h2_link, node);
        node = node->next;
        l->retired = true;
        leave_if_idle(l);
    }
}

void h2_pool_drain(struct pworker *pw)
{
    each(pw, leave_if_idle);
}
