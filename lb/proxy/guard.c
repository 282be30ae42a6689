#include "proxy/guard.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "proxy/exchange_priv.h"
#include "proxy/proxy.h"
#include "topo/route.h"
#include "topo/route_rules.h"

/* ---- the guards of a proxy ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct guard *)a)->set->name, ((const struct guard *)b)->set->name);
}

bool guards_create(const struct settings *s, struct guards **out_guards)
{
    bool has_passwords = false;
    *out_guards = NULL;
    if (!s->guards.count)
        return true;
    struct guards *g = calloc(1, sizeof *g);
    if (!g)
        return false;
    *out_guards = g;
    g->v = aligned_alloc(64, s->guards.count * sizeof *g->v);
    if (!g->v || !limit_table_init(&g->limits, (uint32_t)s->max_limited_clients))
        return false;
    memset(g->v, 0, s->guards.count * sizeof *g->v);
    g->count = s->guards.count;
    for (size_t i = 0; i < g->count; i++) {
        g->v[i].set = SETTINGS_AT(s->guards, struct guard_settings, i);
        has_passwords |= g->v[i].set->basic.file != NULL;
    }
    qsort(g->v, g->count, sizeof *g->v, by_name);
    for (size_t i = 0; i < g->count; i++)
        g->v[i].number = i + 1;
    if (has_passwords)
        g->hasher = hasher_create();
    return !has_passwords || g->hasher;
}

void guards_stop(struct guards *g)
{
    if (g && g->hasher)
        hasher_destroy(&g->hasher);
}

void guards_destroy(struct guards **gp)
{
    struct guards *g = *gp;
    *gp = NULL;
    if (!g)
        return;
    guards_stop(g);
    limit_table_fini(&g->limits);
    free(g->v);
    free(g);
}

static struct guard *find(const struct guards *all, const char *name)
{
    size_t low = 0, high = all->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(all->v[middle].set->name, name);
        if (!order)
            return &all->v[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool knows(const struct guards *g, const char *name)
{
    return !name || (g && find(g, name));
}

static bool knows_routes(const struct guards *g, const struct topology *t)
{
    uint32_t count;
    const struct route *routes = route_table_all(t->routes, &count);
    for (uint32_t i = 0; i < count; i++)
        if (routes[i].rules && !knows(g, routes[i].rules->options.guard))
            return false;
    return true;
}

bool guards_know(const struct guards *g, const struct topology *t)
{
    if (!knows_routes(g, t))
        return false;
    for (uint32_t i = 0; i < t->cluster_count; i++)
        if (!knows(g, t->clusters[i]->options.guard))
            return false;
    return true;
}

/* The names that this request has to do with, as far as they are known yet. */
static size_t names_of(const struct exchange *x, const char *names[GUARDS_A_REQUEST])
{
    size_t n = 0;
    if (x->session->listener->guard)
        names[n++] = x->session->listener->guard;
    if (x->route_guard)
        names[n++] = x->route_guard;
    if (x->opt && x->opt->guard)
        names[n++] = x->opt->guard;
    return n;
}

/* ---- who asks ---- */

static void find_client(struct exchange *x, struct guard_pass *pass)
{
    const struct session *s = x->session;
    const struct listener_settings *l = s->listener;
    memcpy(pass->ip, s->ip, sizeof pass->ip);
    if (s->family == AF_UNIX) /* a neighbour, like loopback */
        memcpy(pass->ip, (const uint8_t[16]){[15] = 1}, sizeof pass->ip);
    if (s->trusted && x->client_ip.n && !cidr_ip_parse(x->client_ip, pass->ip))
        memcpy(pass->ip, s->ip, sizeof pass->ip);
    pass->is_exempt =
        cidr_list_has(&l->trusted, pass->ip) || (!l->limit_loopback && clients_is_loopback(pass->ip));
}

/* ---- refusing ---- */

static enum ledger_guard kind_of(enum reason why)
{
    switch (why) {
    case REASON_CLIENT_RATE:
    case REASON_CLIENT_IN_FLIGHT:
    case REASON_GUARD_RATE:
    case REASON_GUARD_IN_FLIGHT:
    case REASON_AUTH_ATTEMPTS:
        return LEDGER_GUARD_LIMITED;
    case REASON_AUTH_REQUIRED:
    case REASON_AUTH_WRONG:
    case REASON_AUTH_BUSY:
    case REASON_AUTH_REFUSED:
    case REASON_AUTH_FAILED:
        return LEDGER_GUARD_AUTH;
    default:
        return LEDGER_GUARD_DENIED;
    }
}

static void count(struct exchange *x, enum ledger_guard kind)
{
    if (x->cluster)
        ledger_add(&x->pw->ledger.clusters[x->cluster->slot].guard[kind], 1);
    else if (kind != LEDGER_GUARD_DRY)
        ledger_add(&x->pw->ledger.row->unrouted, 1);
}

void guard_refuse(struct exchange *x, const struct guard *g, enum reason why)
{
    x->pass->refused_by = g;
    count(x, kind_of(why));
    exchange_reply(x, why);
}

/* True: it is only counted. */
static bool is_dry(struct exchange *x, const struct guard *g, enum reason why, bool dry_run)
{
    if (!dry_run)
        return false;
    count(x, LEDGER_GUARD_DRY);
    LOG_LIMITED(LOG_INFO, 1, "guard %s: dry run: %.*s would get %u (%s)", g->set->name, STR_ARG(x->client_ip),
                reason_status(why), reason_id(why));
    return true;
}

/* ---- limits ---- */

static uint64_t seconds_of(uint64_t wait_ns)
{
    return (wait_ns + NS_PER_S - 1) / NS_PER_S;
}

static uint64_t key_of(const struct exchange *x, const struct guard *g, uint64_t salt)
{
    return limit_key(&x->pw->proxy->guards->limits, x->pass->ip, g->number * GUARD_SALTS + salt);
}

/* False: refused. */
static bool over(struct exchange *x, const struct guard *g, enum reason why, bool dry_run, uint64_t wait_ns)
{
    if (is_dry(x, g, why, dry_run))
        return true;
    x->pass->retry_after_s = wait_ns ? seconds_of(wait_ns) : 1;
    guard_refuse(x, g, why);
    return false;
}

bool guard_take(struct exchange *x, struct guard *g, const struct limit_rate *rate, enum guard_salt salt,
                enum reason why, bool dry_run)
{
    uint64_t wait_ns;
    if (!rate->step_ns || x->pass->is_exempt)
        return true;
    return limit_table_take(&x->pw->proxy->guards->limits, key_of(x, g, salt), rate, x->pw->w.now_ns,
                            &wait_ns) ||
           over(x, g, why, dry_run, wait_ns);
}

static bool take_of_all(struct exchange *x, struct guard *g)
{
    const struct limit_settings *l = &g->set->limit;
    uint64_t wait_ns;
    if (!l->bucket.step_ns)
        return true;
    return limit_take(&g->shared.full_at_ns, &l->bucket, x->pw->w.now_ns, &wait_ns) ||
           over(x, g, REASON_GUARD_RATE, l->dry_run, wait_ns);
}

static bool enter_client(struct exchange *x, struct guard *g, _Atomic uint64_t **out_count)
{
    const struct limit_settings *l = &g->set->limit;
    struct limit_table *t = &x->pw->proxy->guards->limits;
    if (!l->client_in_flight || x->pass->is_exempt)
        return true;
    uint64_t key = key_of(x, g, GUARD_SALT_COUNT);
    if (limit_table_enter(t, key, (uint32_t)l->client_in_flight, out_count))
        return true;
    if (!over(x, g, REASON_CLIENT_IN_FLIGHT, l->dry_run, 0))
        return false;
    if (!limit_table_enter(t, key, LIMIT_COUNT_MAX, out_count)) /* a dry run counts it all the same */
        *out_count = NULL;
    return true;
}

static bool enter_all(struct exchange *x, struct guard *g, bool *out_counted)
{
    const struct limit_settings *l = &g->set->limit;
    if (!l->in_flight)
        return true;
    uint64_t before = atomic_fetch_add_explicit(&g->shared.in_flight, 1, memory_order_relaxed);
    *out_counted = true;
    return before < (uint64_t)l->in_flight || over(x, g, REASON_GUARD_IN_FLIGHT, l->dry_run, 0);
}

/* What can be decided at once. False: refused. The counts come first: a token is not spent on a request that
 * is refused for its number. */
static bool check_now(struct exchange *x, struct guard *g, size_t i)
{
    struct guard_pass *pass = x->pass;
    const struct guard_settings *set = g->set;
    if (set->maintenance.on && !cidr_list_has(&set->maintenance.allow, pass->ip)) {
        pass->retry_after_s = set->maintenance.retry_after_s;
        guard_refuse(x, g, REASON_MAINTENANCE);
        return false;
    }
    if (cidr_list_has(&set->deny, pass->ip) || (set->allow.count && !cidr_list_has(&set->allow, pass->ip))) {
        guard_refuse(x, g, REASON_DENIED);
        return false;
    }
    return enter_client(x, g, &pass->client_counts[i]) && enter_all(x, g, &pass->counted[i]) &&
           guard_take(x, g, &set->limit.client_bucket, GUARD_SALT_RATE, REASON_CLIENT_RATE,
                      set->limit.dry_run) &&
           take_of_all(x, g);
}

/* ---- who is who ---- */

static enum guard_step ask(struct exchange *x)
{
    struct guard_pass *pass = x->pass;
    while (pass->at < pass->count) {
        struct guard *g = pass->guards[pass->at];
        enum guard_step step = pass->phase == GUARD_BASIC ? guard_basic(x, g) : guard_external(x, g);
        if (step != GUARD_NEXT)
            return step;
        pass->phase = (uint8_t)((pass->phase + 1) % GUARD_PHASES);
        pass->at = (uint8_t)(pass->at + (pass->phase == GUARD_BASIC));
    }
    return GUARD_NEXT;
}

void guard_resume(struct exchange *x)
{
    struct worker *w = &x->pw->w;
    if (x->state == EXCHANGE_GUARD) {
        deadline_stop(&w->wheel, &x->deadline);
        if (ask(x) == GUARD_NEXT)
            exchange_admit(x, (enum reason)x->pass->then);
    }
    cork_flush(w);
}

static void on_resume(struct run_node *n)
{
    guard_resume(CONTAINER_OF(n, struct guard_pass, resume)->x);
}

bool guard_enter(struct exchange *x, enum reason then)
{
    const char *names[GUARDS_A_REQUEST];
    size_t n = names_of(x, names);
    if (!n)
        return true;
    struct guard_pass *pass = arena_alloc(&x->arena, sizeof *pass);
    if (!pass) {
        exchange_reply(x, REASON_NO_MEMORY);
        return false;
    }
    *pass = (struct guard_pass){.x = x, .then = (uint8_t)then};
    run_node_init(&pass->resume, on_resume);
    x->pass = pass;
    find_client(x, pass);
    for (size_t i = 0; i < n; i++) {
        pass->guards[i] = find(x->pw->proxy->guards, names[i]);
        if (!pass->guards[i]) { /* of a newer config, or of a source that names what is not there */
            guard_refuse(x, NULL, REASON_GUARD_UNKNOWN);
            return false;
        }
        pass->count++;
    }
    for (size_t i = 0; i < n; i++)
        if (!check_now(x, pass->guards[i], i))
            return false;
    enum guard_step step = ask(x);
    if (step == GUARD_WAIT)
        exchange_set_state(x, EXCHANGE_GUARD);
    return step == GUARD_NEXT;
}

void guard_leave(struct exchange *x)
{
    struct guard_pass *pass = x->pass;
    run_queue_remove(&pass->resume);
    guard_basic_leave(pass);
    guard_external_leave(pass);
    for (size_t i = 0; i < pass->count; i++) {
        if (pass->client_counts[i])
            limit_leave(pass->client_counts[i]);
        if (pass->counted[i])
            atomic_fetch_sub_explicit(&pass->guards[i]->shared.in_flight, 1, memory_order_relaxed);
    }
}

/* ---- what it leaves behind ---- */

static const struct page_settings *page_of(const struct guard *g, uint16_t status)
{
    for (size_t i = 0; g && i < g->set->error_pages.count; i++) {
        const struct page_settings *p = SETTINGS_AT(g->set->error_pages, struct page_settings, i);
        if (p->status == status)
            return p;
    }
    return NULL;
}

/* Of who refused it; else the nearest to the servers. */
const struct page_settings *guard_page(const struct exchange *x, uint16_t status)
{
    const struct guards *all = x->pw->proxy->guards;
    const char *names[GUARDS_A_REQUEST];
    const struct page_settings *p = NULL;
    if (!all)
        return NULL;
    if (x->pass)
        p = page_of(x->pass->refused_by, status);
    for (size_t n = names_of(x, names); !p && n-- > 0;)
        p = page_of(find(all, names[n]), status);
    return p;
}

bool guard_same_name(struct str a, struct str b)
{
    bool same = a.n == b.n;
    for (size_t i = 0; same && i < a.n; i++)
        same = (a.p[i] == '_' ? '-' : char_lower(a.p[i])) == (b.p[i] == '_' ? '-' : char_lower(b.p[i]));
    return same;
}

void guard_drop_fields(struct message *m, struct str name)
{
    for (uint16_t i = 0; i < m->field_count; i++)
        if (guard_same_name(field_name_of(m, &m->fields[i]), name))
            m->fields[i].flags |= FIELD_FLAG_DROP;
}
