#include "orch/names.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/panic.h"
#include "topo/index.h"

#define NAME_MAGIC       0x6e616d65u
#define BUSY_MS          10 /* until a lookup that found no room tries again */
#define NONE_IS_BELIEVED 2

/* A cluster that lists the name. */
struct use {
    const struct cluster_settings *cluster;
    const struct endpoint_settings *endpoint;
};

struct name {
    uint32_t magic;
    struct names *names;
    struct str owner, address; /* one block of bytes, owned; address: behind "dns:" */
    char *host;                /* owned; without the port */
    uint16_t port;
    struct use *uses; /* owned */
    size_t use_count;
    struct addr *addrs; /* owned: those of the last good answer */
    size_t addr_count;
    bool has_answer, has_failed; /* failed: it was in the log, and nothing good came since */
    int none_count;
    struct timer timer;
};

struct names {
    struct loop *loop;
    struct model *model;
    const struct resolver_settings *settings;
    struct resolver *resolver;
    struct index all; /* by address; owned */
    int busy;
    bool is_ending;
    void (*changed)(void *ctx);
    void *ctx;
};

/* ---- into the model ---- */

static void put(struct name *n, const struct use *u, const struct addr *addr)
{
    char text[ADDR_TEXT_BYTES];
    struct buf error;
    struct endpoint_draft e = {.id = str_make(text, addr_print(addr, text)),
                               .readiness = ENDPOINT_READY,
                               .weight = (uint32_t)u->endpoint->weight,
                               .addr = *addr};
    buf_init(&error);
    /* Refused: the same address stands in the cluster already, as such or by another name. It is served then.
     */
    if (!model_put_endpoint(n->names->model, n->owner, str_of(u->cluster->name), &e, &error))
        log_debug("%.*s: %.*s", STR_ARG(n->address), STR_ARG(buf_str(&error)));
    buf_fini(&error);
}

static void deliver(struct name *n)
{
    model_view_begin(n->names->model, n->owner);
    for (size_t i = 0; i < n->use_count; i++)
        for (size_t k = 0; k < n->addr_count; k++)
            put(n, &n->uses[i], &n->addrs[k]);
    model_view_end(n->names->model, n->owner);
}

/* An address that two names share belongs to one of them; when that one lets go the other takes it. */
static void deliver_all(struct name *changed)
{
    struct names *all = changed->names;
    struct name *n;
    deliver(changed);
    for (uint32_t at = 0; (n = index_next(&all->all, &at));)
        if (n != changed && n->has_answer)
            deliver(n);
    all->changed(all->ctx);
}

/* ---- answers ---- */

static bool is_same(const struct name *n, const struct resolve_answer *a)
{
    if (n->addr_count != a->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!addr_eq(&n->addrs[i], &a->addrs[i]))
            return false;
    return true;
}

static uint64_t believed_ms(const struct names *all, uint32_t ttl_s)
{
    uint64_t ms = (uint64_t)ttl_s * 1000;
    if (ms < all->settings->min_ttl_ms)
        return all->settings->min_ttl_ms;
    return ms < all->settings->max_ttl_ms ? ms : all->settings->max_ttl_ms;
}

static void set_addresses(struct name *n, const struct resolve_answer *a)
{
    free(n->addrs);
    n->addrs = must(calloc(a->count + 1, sizeof *n->addrs));
    if (a->count)
        memcpy(n->addrs, a->addrs, a->count * sizeof *n->addrs);
    n->addr_count = a->count;
    n->has_answer = true;
    log_info("%.*s has %zu address%s", STR_ARG(n->address), a->count, a->count == 1 ? "" : "es");
    if (a->is_cut)
        log_warn("%.*s has more addresses than max_addresses allows: the others are left out",
                 STR_ARG(n->address));
    deliver_all(n);
}

/* The same fault is said once, until it is over. */
static void say_failure(struct name *n, const char *why)
{
    if (!n->has_failed)
        log_warn("%.*s: %s%s", STR_ARG(n->address), why, n->addr_count ? "; its last addresses stay" : "");
    n->has_failed = true;
}

static void take(struct name *n, const struct resolve_answer *a)
{
    switch (a->result) {
    case RESOLVE_OK:
        n->none_count = 0;
        n->has_failed = false;
        if (!n->has_answer || !is_same(n, a))
            set_addresses(n, a);
        break;
    case RESOLVE_NONE:
        say_failure(n, a->text);
        if (++n->none_count >= NONE_IS_BELIEVED && (n->addr_count || !n->has_answer))
            set_addresses(n, a);
        break;
    case RESOLVE_FAILED:
        n->none_count = 0; /* not in a row */
        say_failure(n, a->text);
    }
}

static void on_answer(void *ctx, const struct resolve_answer *a)
{
    struct name *n = ctx;
    CHECK_MAGIC(n, NAME_MAGIC);
    struct names *all = n->names;
    all->busy--;
    if (all->is_ending)
        return;
    take(n, a);
    timer_arm(&n->timer, a->result == RESOLVE_OK ? believed_ms(all, a->ttl_s) : all->settings->retry_ms);
}

static void on_due(void *ctx)
{
    struct name *n = ctx;
    CHECK_MAGIC(n, NAME_MAGIC);
    if (n->names->busy >= NAMES_AT_ONCE) {
        timer_arm(&n->timer, BUSY_MS);
        return;
    }
    n->names->busy++;
    resolver_ask(n->names->resolver, n->host, n->port, on_answer, n);
}

/* ---- birth and end ---- */

/* What stands before the port, when it is no address. */
static bool is_name(const struct endpoint_settings *e)
{
    struct addr addr;
    return !addr_parse(str_of(e->address), &addr) && !str_starts(str_of(e->address), STR("unix:"));
}

static void split(struct name *n)
{
    size_t colon = n->address.n;
    uint64_t port = 0;
    while (colon > 0 && n->address.p[colon - 1] != ':')
        colon--;
    ASSERT(colon > 1); /* the config's checks */
    if (!str_to_u64(str_make(n->address.p + colon, n->address.n - colon), &port))
        PANIC("no port in %.*s", STR_ARG(n->address));
    n->port = (uint16_t)port;
    n->host = must(str_dup(str_make(n->address.p, colon - 1)));
}

static struct name *add_name(struct names *all, const char *address)
{
    struct name *n = must(calloc(1, sizeof *n));
    size_t prefix = strlen(NAMES_OWNER), bytes = strlen(address);
    char *text = must(malloc(prefix + bytes));
    memcpy(text, NAMES_OWNER, prefix);
    memcpy(text + prefix, address, bytes);
    n->magic = NAME_MAGIC;
    n->names = all;
    n->owner = str_make(text, prefix + bytes);
    n->address = str_make(text + prefix, bytes);
    split(n);
    timer_init(&n->timer, all->loop, on_due, n);
    index_put(&all->all, n->address, n);
    return n;
}

static void add_use(struct names *all, const struct cluster_settings *c, const struct endpoint_settings *e)
{
    struct name *n = index_get(&all->all, str_of(e->address));
    if (!n)
        n = add_name(all, e->address);
    n->uses = must(realloc(n->uses, (n->use_count + 1) * sizeof *n->uses));
    n->uses[n->use_count++] = (struct use){c, e};
}

static void add_all(struct names *all, const struct settings *s)
{
    for (size_t i = 0; i < s->clusters.count; i++) {
        const struct cluster_settings *c = SETTINGS_AT(s->clusters, struct cluster_settings, i);
        for (size_t k = 0; k < c->endpoints.count; k++) {
            const struct endpoint_settings *e = SETTINGS_AT(c->endpoints, struct endpoint_settings, k);
            if (is_name(e))
                add_use(all, c, e);
        }
    }
}

static void destroy_name(struct name *n)
{
    timer_stop(&n->timer);
    n->magic = 0;
    free((char *)(uintptr_t)n->owner.p);
    free(n->host);
    free(n->uses);
    free(n->addrs);
    free(n);
}

struct names *names_create(struct loop *loop, struct model *model, const struct settings *s,
                           void (*changed)(void *ctx), void *ctx)
{
    struct names *all = must(calloc(1, sizeof *all));
    struct name *n;
    *all = (struct names){
        .loop = loop, .model = model, .settings = &s->resolver, .changed = changed, .ctx = ctx};
    add_all(all, s);
    if (all->all.count)
        all->resolver = resolver_create(loop, &s->resolver);
    if (!all->resolver) {
        names_destroy(&all);
        return NULL;
    }
    for (uint32_t at = 0; (n = index_next(&all->all, &at));)
        timer_arm(&n->timer, 0);
    return all;
}

void names_destroy(struct names **all)
{
    struct name *n;
    if (!*all)
        return;
    (*all)->is_ending = true;
    resolver_destroy(&(*all)->resolver);
    for (uint32_t at = 0; (n = index_next(&(*all)->all, &at));)
        destroy_name(n);
    index_fini(&(*all)->all);
    free(*all);
    *all = NULL;
}

bool names_has_owner(const struct settings *s, const char *owner)
{
    if (!str_starts(str_of(owner), STR(NAMES_OWNER)))
        return false;
    for (size_t i = 0; i < s->clusters.count; i++) {
        const struct cluster_settings *c = SETTINGS_AT(s->clusters, struct cluster_settings, i);
        for (size_t k = 0; k < c->endpoints.count; k++)
            if (strcmp(SETTINGS_AT(c->endpoints, struct endpoint_settings, k)->address,
                       owner + strlen(NAMES_OWNER)) == 0)
                return true;
    }
    return false;
}
