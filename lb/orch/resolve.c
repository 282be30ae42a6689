#include "orch/resolve.h"

#include <ares.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"
#include "base/panic.h"

/* Nobody who waits for this process waits for it: time-outs are looked after at least so often. */
#define TIMER_MAX_MS 1000

struct channel_watch {
    struct list node;
    struct resolver *resolver;
    int fd;
    short events;
    struct watch watch;
};

struct resolver {
    struct loop *loop;
    ares_channel channel;
    struct list watches;
    struct timer timer;
    size_t max_addresses;
    bool is_ending;
};

struct lookup {
    struct resolver *resolver;
    uint16_t port;
    resolve_fn *fn;
    void *ctx;
};

/* ---- c-ares on our loop ---- */

static void arm(struct resolver *r)
{
    struct timeval max = {.tv_sec = TIMER_MAX_MS / 1000}, tv, *next = ares_timeout(r->channel, &max, &tv);
    if (list_is_empty(&r->watches))
        timer_stop(&r->timer);
    else
        timer_arm(&r->timer, (uint64_t)next->tv_sec * 1000 + (uint64_t)next->tv_usec / 1000 + 1);
}

static void on_timer(void *ctx)
{
    struct resolver *r = ctx;
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm(r);
}

static void on_ready(int fd, short events, void *ctx)
{
    struct resolver *r = ((struct channel_watch *)ctx)->resolver; /* the watch may be gone afterwards */
    ares_process_fd(r->channel, events & EV_READ ? fd : ARES_SOCKET_BAD,
                    events & EV_WRITE ? fd : ARES_SOCKET_BAD);
    arm(r);
}

static struct channel_watch *watch_of(struct resolver *r, int fd)
{
    for (struct list *node = r->watches.next; node != &r->watches; node = node->next) {
        struct channel_watch *w = CONTAINER_OF(node, struct channel_watch, node);
        if (w->fd == fd)
            return w;
    }
    return NULL;
}

static void drop_watch(struct channel_watch *w)
{
    watch_stop(&w->watch);
    list_remove(&w->node);
    free(w);
}

/* c-ares opened, uses otherwise, or is about to close a socket. */
static void on_socket(void *ctx, ares_socket_t fd, int readable, int writable)
{
    struct resolver *r = ctx;
    struct channel_watch *w = watch_of(r, fd);
    short events = (short)((readable ? EV_READ : 0) | (writable ? EV_WRITE : 0));
    if (w && w->events == events)
        return;
    if (w)
        drop_watch(w);
    if (!events)
        return;
    w = must(calloc(1, sizeof *w));
    w->resolver = r;
    w->fd = fd;
    w->events = events;
    list_init(&w->node);
    list_push(&r->watches, &w->node);
    watch_start(&w->watch, r->loop, fd, events, on_ready, w);
}

/* ---- one lookup ---- */

static bool addr_of(const struct ares_addrinfo_node *node, uint16_t port, struct addr *out)
{
    *out = (struct addr){.len = 0};
    if (node->ai_family == AF_INET && node->ai_addrlen >= sizeof out->in) {
        memcpy(&out->in, node->ai_addr, sizeof out->in);
        out->len = sizeof out->in;
        out->in.sin_port = htons(port);
    } else if (node->ai_family == AF_INET6 && node->ai_addrlen >= sizeof out->in6) {
        memcpy(&out->in6, node->ai_addr, sizeof out->in6);
        out->len = sizeof out->in6;
        out->in6.sin6_port = htons(port);
    }
    return out->len > 0;
}

static int by_bytes(const void *a, const void *b)
{
    uint8_t x[16] = {0}, y[16] = {0};
    if (!addr_ip16(a, x) || !addr_ip16(b, y))
        return 0;
    return memcmp(x, y, sizeof x);
}

/* Servers send them in any order, each time in another one. */
static size_t sort_and_unite(struct addr *v, size_t n)
{
    size_t kept = 0;
    if (n)
        qsort(v, n, sizeof *v, by_bytes);
    for (size_t i = 0; i < n; i++)
        if (!kept || by_bytes(&v[kept - 1], &v[i]) != 0)
            v[kept++] = v[i];
    return kept;
}

static uint32_t shorter(uint32_t a, int b)
{
    return b < 0 ? 0 : (uint32_t)b < a ? (uint32_t)b : a;
}

/* All of it has to be true still: the shortest counts, aliases included. */
static uint32_t ttl_of(const struct ares_addrinfo *all)
{
    uint32_t ttl = UINT32_MAX;
    for (const struct ares_addrinfo_node *node = all->nodes; node; node = node->ai_next)
        ttl = shorter(ttl, node->ai_ttl);
    for (const struct ares_addrinfo_cname *c = all->cnames; c; c = c->next)
        ttl = shorter(ttl, c->ttl);
    return ttl;
}

static void take_addresses(const struct lookup *l, const struct ares_addrinfo *all)
{
    struct resolve_answer answer = {.result = RESOLVE_NONE, .text = "no address"};
    size_t count = 0, n = 0;
    for (const struct ares_addrinfo_node *node = all->nodes; node; node = node->ai_next)
        count++;
    struct addr *v = must(calloc(count + 1, sizeof *v));
    for (const struct ares_addrinfo_node *node = all->nodes; node; node = node->ai_next)
        n += addr_of(node, l->port, &v[n]);
    n = sort_and_unite(v, n);
    if (n) {
        answer.result = RESOLVE_OK;
        answer.is_cut = n > l->resolver->max_addresses;
        answer.count = answer.is_cut ? l->resolver->max_addresses : n;
        answer.addrs = v;
        answer.ttl_s = ttl_of(all);
    }
    l->fn(l->ctx, &answer);
    free(v);
}

static void on_answer(void *ctx, int status, int timeouts, struct ares_addrinfo *all)
{
    struct lookup *l = ctx;
    (void)timeouts;
    if (status == ARES_SUCCESS && all && !l->resolver->is_ending) {
        take_addresses(l, all);
    } else {
        bool is_none = status == ARES_ENOTFOUND || status == ARES_ENODATA;
        struct resolve_answer answer = {.result = is_none ? RESOLVE_NONE : RESOLVE_FAILED,
                                        .text = ares_strerror(status)};
        l->fn(l->ctx, &answer);
    }
    if (all)
        ares_freeaddrinfo(all);
    free(l);
}

void resolver_ask(struct resolver *r, const char *host, uint16_t port, resolve_fn *fn, void *ctx)
{
    const struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_flags = ARES_AI_NOSORT};
    struct lookup *l = must(calloc(1, sizeof *l));
    *l = (struct lookup){.resolver = r, .port = port, .fn = fn, .ctx = ctx};
    ASSERT(!r->is_ending);
    ares_getaddrinfo(r->channel, host, NULL, &hints, on_answer, l);
    arm(r);
}

/* ---- birth and end ---- */

static int set_servers(struct resolver *r, const struct strings *servers)
{
    struct buf list;
    buf_init(&list);
    for (size_t i = 0; i < servers->n; i++)
        buf_printf(&list, "%s%s", i ? "," : "", servers->v[i]);
    buf_put(&list, "", 1);
    int status = servers->n ? ares_set_servers_ports_csv(r->channel, list.p) : ARES_SUCCESS;
    buf_fini(&list);
    return status;
}

struct resolver *resolver_create(struct loop *loop, const struct resolver_settings *s)
{
    struct resolver *r = must(calloc(1, sizeof *r));
    struct ares_options options = {.flags = ARES_FLAG_EDNS,
                                   .ednspsz = 1232,
                                   .timeout = (int)s->timeout_ms,
                                   .tries = (int)s->tries,
                                   .sock_state_cb = on_socket,
                                   .sock_state_cb_data = r};
    int set =
        ARES_OPT_FLAGS | ARES_OPT_EDNSPSZ | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;
#ifdef ARES_OPT_QUERY_CACHE
    set |= ARES_OPT_QUERY_CACHE; /* none (qcache_max_ttl is 0): how long an answer is good for is our rule */
#endif
    r->loop = loop;
    r->max_addresses = (size_t)s->max_addresses;
    list_init(&r->watches);
    timer_init(&r->timer, loop, on_timer, r);
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status == ARES_SUCCESS)
        status = ares_init_options(&r->channel, &options, set);
    if (status == ARES_SUCCESS)
        status = set_servers(r, &s->servers);
    if (status == ARES_SUCCESS)
        return r;
    log_error("no resolver for host names: %s", ares_strerror(status));
    resolver_destroy(&r);
    return NULL;
}

void resolver_destroy(struct resolver **r)
{
    if (!*r)
        return;
    (*r)->is_ending = true;
    if ((*r)->channel)
        ares_destroy((*r)->channel); /* ends every lookup and closes every socket */
    ares_library_cleanup();
    timer_stop(&(*r)->timer);
    struct list *node;
    while ((node = list_shift(&(*r)->watches)))
        drop_watch(CONTAINER_OF(node, struct channel_watch, node));
    free(*r);
    *r = NULL;
}
