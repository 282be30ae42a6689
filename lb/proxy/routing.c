#include "proxy/routing.h"

#include "base/ledger.h"
#include "proxy/affinity.h"
#include "proxy/change.h"
#include "proxy/match.h"
#include "proxy/proxy.h"
#include "proxy/reply.h"
#include "topo/route.h"
#include "topo/route_rules.h"

/* Backups of backups that are followed. */
#define BACKUPS_MAX 4
/* So that a split and consistent_hash on the same key do not go hand in hand. */
#define SPLIT_SEED 0x73706c6974ull

/* ---- which cluster ---- */

static bool fits(void *ctx, const struct route_rules *rules)
{
    const struct exchange *x = ctx;
    return match_request(&x->req, rules);
}

bool routing_must_not_wake(const struct exchange *x)
{
    return x->rules && !x->rules->options.wake;
}

/* The cluster itself, or the first backup that is well; when none is, whoever has anybody. */
static struct cluster *find_backup(struct exchange *x, struct cluster *c)
{
    const struct topology *t = x->view->topology;
    struct cluster *best = c, *next = c;
    for (int i = 0; i < BACKUPS_MAX && next->options.backup; i++) {
        next = (struct cluster *)(uintptr_t)topology_cluster(t, str_of(next->options.backup));
        if (!next)
            break;
        if (next->is_well || (!best->candidate_count && next->candidate_count))
            best = next;
        if (next->is_well)
            break;
    }
    if (best != c && !c->candidate_count && !routing_must_not_wake(x))
        wakes_tell(x, c, WAKE_HELD); /* somebody could start its members */
    return best;
}

static struct cluster *cluster_at(struct exchange *x, uint32_t index)
{
    const struct topology *t = x->view->topology;
    if (index >= t->cluster_count)
        return NULL;
    struct cluster *c = t->clusters[index];
    return c->is_well || !c->options.backup ? c : find_backup(x, c);
}

static uint32_t draw(struct exchange *x, const struct route *r)
{
    const struct route_rules *rules = r->rules;
    uint64_t v = rules->options.split_on ? affinity_hash(x, rules->split_key, rules->split_name, SPLIT_SEED)
                                         : balance_random(&x->pw->random);
    return (uint32_t)((v >> 32) * r->targets->total >> 32);
}

static uint32_t split(struct exchange *x, const struct route *r)
{
    const struct route_targets *t = r->targets;
    if (!t->total)
        return UINT32_MAX;
    uint32_t position = draw(x, r), i = 0;
    while (position >= t->v[i].weight_sum)
        i++;
    return t->v[i].cluster_index;
}

/* Also by the word of a proxy that we trust. */
static bool is_secure(const struct exchange *x)
{
    if (x->req.flags & MSG_SECURE)
        return true;
    return x->session->trusted && str_ieq(message_value(&x->req, FIELD_X_FORWARDED_PROTO), STR("https"));
}

static bool answers_itself(const struct exchange *x, const struct route_options *o)
{
    return o->redirect.location || o->reply.status || (o->redirect.https && !is_secure(x));
}

static uint32_t apply_rules(struct exchange *x, const struct route *r)
{
    x->rules = r->rules;
    x->targets = r->targets;
    x->route_guard = r->rules->options.guard;
    x->route_path_len = (uint16_t)r->path.n;
    x->asked_path = message_str(&x->req, x->req.path);
    return r->targets->count ? split(x, r) : r->cluster_index;
}

enum reason routing_find(struct exchange *x)
{
    const struct route_asker asker = {.fits = fits, .ctx = x};
    if (!x->pw->view)
        return REASON_NO_ENDPOINT;
    x->view = view_ref(x->pw);
    const struct route *r =
        route_table_find(x->view->topology->routes, message_str(&x->req, x->req.authority),
                         message_str(&x->req, x->req.path), &asker);
    if (!r)
        return REASON_NO_ROUTE;
    uint32_t index = r->rules ? apply_rules(x, r) : r->cluster_index;
    if (r->rules && answers_itself(x, &r->rules->options))
        return REASON_OK;
    x->cluster = cluster_at(x, index);
    if (!x->cluster)
        return REASON_NO_CLUSTER;
    x->opt = &x->cluster->options;
    return REASON_OK;
}

/* ---- answers of the route itself ---- */

static bool needs_host(const struct template *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->parts[i].variable == TEMPLATE_HOST)
            return true;
    return false;
}

/* "//x" would lead to another host, and the client chose the path. Browsers read "\\" as a slash. .p is NULL
 * when memory is out. */
static struct str without_authority(struct exchange *x, const struct template *t, struct str location)
{
    bool is_meant = t->parts[0].variable == TEMPLATE_TEXT && t->parts[0].text.n > 1;
    size_t slashes = 0;
    while (slashes < location.n && (location.p[slashes] == '/' || location.p[slashes] == '\\'))
        slashes++;
    if (is_meant || slashes < 2)
        return location;
    location = arena_copy(&x->arena, str_make(location.p + slashes - 1, location.n - slashes + 1));
    if (location.p)
        *(char *)(uintptr_t)location.p = '/';
    return location;
}

static struct str https_uri(struct exchange *x)
{
    static const struct template_part parts[] = {
        {TEMPLATE_TEXT, STR("https://")}, {TEMPLATE_HOST, STR_NULL}, {TEMPLATE_URI, STR_NULL}};
    uint64_t port = (uint64_t)x->rules->options.redirect.port;
    char text[8];
    struct writer w;
    writer_init(&w, text, sizeof text);
    if (port != 443) {
        writer_put(&w, ":", 1);
        writer_u64(&w, port);
    }
    struct template_part with_port[] = {parts[0], parts[1], {TEMPLATE_TEXT, str_make(text, w.len)}, parts[2]};
    struct template t = {.parts = with_port, .count = 4};
    return change_fill(x, &t);
}

static void redirect(struct exchange *x)
{
    const struct route_rules *rules = x->rules;
    const struct redirect_settings *r = &rules->options.redirect;
    if ((r->https || needs_host(&rules->location)) && !x->req.authority.len) {
        exchange_reply(x, REASON_HOST); /* HTTP/1.0 may leave it out */
        return;
    }
    struct str to = r->https ? https_uri(x) : change_fill(x, &rules->location);
    if (to.p && !r->https)
        to = without_authority(x, &rules->location, to);
    if (!to.p) {
        exchange_reply(x, REASON_NO_MEMORY);
        return;
    }
    x->reason = REASON_ROUTE_REPLY;
    reply_page(x, &(struct reply_page){.status = (uint16_t)r->code, .location = to});
}

bool routing_answer(struct exchange *x)
{
    const struct route_options *o = &x->rules->options;
    if (x->cluster)
        return false;
    if (o->redirect.location || (o->redirect.https && !is_secure(x))) {
        redirect(x);
        return true;
    }
    x->reason = REASON_ROUTE_REPLY;
    reply_page(x, &(struct reply_page){.status = (uint16_t)o->reply.status,
                                       .content_type = str_of(o->reply.content_type),
                                       .body = x->rules->body});
    return true;
}

/* ---- the request ---- */

enum reason routing_rewrite(struct exchange *x)
{
    if (!change_path(x) || !change_fields(x, &x->req, &x->rules->request))
        return REASON_NO_MEMORY;
    return REASON_OK;
}

/* ---- rules that outlive their view ---- */

void routing_keep_rules(struct exchange *x)
{
    if (!x->rules || x->rules_kept)
        return;
    route_rules_ref(x->rules);
    x->rules_kept = true;
    x->targets = NULL;
}

void routing_drop_rules(struct exchange *x)
{
    if (x->rules_kept)
        route_rules_unref(&x->rules);
    x->rules_kept = false;
    x->rules = NULL;
}
