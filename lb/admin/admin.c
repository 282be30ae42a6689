#include "admin/admin.h"

#include <stdlib.h>
#include <string.h>

#include "admin/dashboard.h"
#include "admin/metrics.h"
#include "admin/survey.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"

#ifndef COX_VERSION
#define COX_VERSION "unknown"
#endif

/* ---- the view ---- */

static void lend_ledger(void *ctx, uint64_t generation, uint64_t acknowledged, const struct ledger *ledger)
{
    (void)acknowledged;
    survey_lend_ledger(ctx, generation, ledger);
}

static void look(struct admin *a, struct survey *v)
{
    struct orch *o = a->orch;
    survey_begin(v);
    v->version = STR(COX_VERSION);
    v->config = str_of(o->settings->file);
    v->topology = model_current(o->model);
    v->scale = o->scale;
    if (v->topology)
        topology_ref(v->topology);
    if (a->has_past)
        survey_lend_past(v, &a->past);
    proxies_each(o->proxies, lend_ledger, v);
    survey_lend_certificates(v, proxies_certificates(o->proxies));
}

/* One scrape. */
struct scrape {
    struct admin *admin;
    struct metrics *metrics;
};

static bool more_metrics(void *ctx, struct buf *out)
{
    struct scrape *s = ctx;
    struct survey v;
    look(s->admin, &v);
    bool more = metrics_step(s->metrics, &v, clock_now_ns() + ADMIN_SLICE_NS, ADMIN_SLICE_BYTES, out);
    survey_fini(&v);
    return more;
}

static void end_metrics(void *ctx)
{
    struct scrape *s = ctx;
    s->admin->scrapes--;
    metrics_end(&s->metrics);
    free(s);
}

/* One document in pieces. */
struct telling {
    struct admin *admin;
    const struct api_pieces *pieces;
    struct topology *topology; /* counted: that of the beginning; NULL: none yet */
    uint32_t cluster;          /* the next */
    bool has_begun;
};

/* False: all clusters are told. */
static bool tell_clusters(struct telling *t, const struct survey *v, struct buf *out)
{
    const struct topology *all = t->topology;
    uint64_t until_ns = clock_now_ns() + ADMIN_SLICE_NS;
    while (all && t->cluster < all->cluster_count) {
        if (out->len >= ADMIN_SLICE_BYTES || clock_now_ns() >= until_ns)
            return true;
        buf_printf(out, t->cluster ? ",\n" : "\n");
        t->pieces->cluster(v, all->clusters[t->cluster++], out);
    }
    return false;
}

static bool more_telling(void *ctx, struct buf *out)
{
    struct telling *t = ctx;
    struct survey v;
    look(t->admin, &v);
    if (!t->has_begun) {
        t->has_begun = true;
        t->topology = v.topology;
        if (t->topology)
            topology_ref(t->topology);
        t->pieces->head(t->admin, &v, out);
    }
    bool more = tell_clusters(t, &v, out);
    if (!more)
        t->pieces->tail(t->admin, &v, out);
    survey_fini(&v);
    return more;
}

static void end_telling(void *ctx)
{
    struct telling *t = ctx;
    topology_unref(&t->topology);
    free(t);
}

static void tell(struct admin *a, const struct api_pieces *pieces, struct server_answer *out)
{
    struct telling *t = must(calloc(1, sizeof *t));
    *t = (struct telling){.admin = a, .pieces = pieces};
    out->more = more_telling;
    out->ended = end_telling;
    out->ctx = t;
}

typedef void body_fn(struct admin *a, const struct survey *v, struct buf *out);

/* A generation that ends in the middle would be counted twice: once more then. */
static void put_view(struct admin *a, body_fn *fn, struct buf *out)
{
    for (int tries = 0; tries < 3; tries++) {
        struct survey v;
        out->len = 0;
        look(a, &v);
        fn(a, &v, out);
        bool is_stale = survey_is_stale(&v);
        survey_fini(&v);
        if (!is_stale)
            return;
    }
}

/* ---- who may ---- */

static void fail(struct server_answer *out, uint16_t status, const char *message)
{
    out->status = status;
    out->type = "application/json";
    out->body.len = 0;
    api_error(status, message, &out->body);
}

/* Takes as long whatever the bytes are. */
static bool is_same(struct str a, struct str b)
{
    unsigned difference = a.n != b.n;
    for (size_t i = 0; i < a.n; i++)
        difference |= (unsigned char)(a.p[i] ^ (b.n ? b.p[i % b.n] : 1));
    return !difference;
}

static bool has_token(const struct admin *a, const struct server_request *r)
{
    struct str value = server_field(r, "Authorization");
    if (value.n < 7 || !str_ieq(str_make(value.p, 7), STR("Bearer ")))
        return false;
    return is_same(str_trim(str_make(value.p + 7, value.n - 7)), str_of(a->orch->role->admin_token));
}

/* An address as in a URL, or localhost; with or without a port. Names can be made to point at us by anyone.
 */
static bool is_own_host(struct str host)
{
    ptrdiff_t colon = str_find(host, ':');
    if (host.n && host.p[0] == '[')
        return true;
    if (colon >= 0)
        host.n = (size_t)colon;
    if (str_ieq(host, STR("localhost")))
        return true;
    for (size_t i = 0; i < host.n; i++)
        if ((host.p[i] < '0' || host.p[i] > '9') && host.p[i] != '.')
            return false;
    return host.n > 0;
}

static bool may(const struct admin *a, const struct server_request *r, bool is_bare,
                struct server_answer *out)
{
    if (a->orch->role->admin_token) {
        if (is_bare || has_token(a, r))
            return true;
        fail(out, 401, "this listener wants its token: Authorization: Bearer SECRET");
        buf_printf(&out->fields, "WWW-Authenticate: Bearer realm=\"coxswain\"\r\n");
        return false;
    }
    if (strncmp(a->orch->settings->admin.address, "unix:", 5) == 0 ||
        is_own_host(message_str(r->head, r->head->authority)))
        return true;
    fail(out, 421, "without a token this listener answers to addresses and localhost only");
    return false;
}

/* ---- what is answered ---- */

static void change(struct admin *a, const struct server_request *r, const char *verb,
                   struct server_answer *out)
{
    if (!str_eq(server_field(r, "X-Coxswain"), STR("1"))) {
        fail(out, 403, "a change wants the field X-Coxswain: 1");
        return;
    }
    char *id = api_take_id(r->body);
    if (!id) {
        fail(out, 400, "the body must be {\"id\": \"MEMBER OR ENDPOINT\"}");
        return;
    }
    struct buf command, text;
    buf_init(&command);
    buf_init(&text);
    buf_printf(&command, "%s %s", verb, id);
    orch_command(a->orch, buf_str(&command), &text);
    struct str line = str_trim(buf_str(&text));
    while (line.n && (line.p[line.n - 1] == '\n' || line.p[line.n - 1] == '\r'))
        line.n--;
    bool ok = str_starts(line, STR("ok"));
    log_info("admin listener: %s %s: %.*s", verb, id, STR_ARG(line));
    char *message = must(str_dup(str_starts(line, STR("error: ")) ? str_make(line.p + 7, line.n - 7) : line));
    if (ok) {
        out->type = "application/json";
        buf_printf(&out->body, "{\"ok\": true}\n");
    } else {
        fail(out, 409, message);
    }
    free(message);
    free(id);
    buf_fini(&command);
    buf_fini(&text);
}

static void scrape(struct admin *a, struct server_answer *out)
{
    if (a->scrapes >= ADMIN_SCRAPES_MAX) {
        fail(out, 503, "others are being told the metrics");
        return;
    }
    struct scrape *s = must(calloc(1, sizeof *s));
    *s = (struct scrape){a, metrics_begin(model_current(a->orch->model), COX_VERSION)};
    a->scrapes++;
    out->type = METRICS_TYPE;
    out->more = more_metrics;
    out->ended = end_metrics;
    out->ctx = s;
}

static const struct page {
    const char *path, *type;
    body_fn *body;                   /* reading, at once */
    const struct api_pieces *pieces; /* reading, in pieces */
    const char *verb;                /* changing */
} pages[] = {
    {"/", NULL, NULL, NULL, NULL},                /* the live page */
    {"/metrics", METRICS_TYPE, NULL, NULL, NULL}, /* in pieces of its own */
    {"/v1/status", "application/json", NULL, &api_status, NULL},
    {"/v1/topology", "application/json", NULL, &api_topology, NULL},
    {"/v1/members", "application/json", api_members, NULL, NULL},
    {"/v1/events", "application/json", api_events, NULL, NULL},
    {"/v1/scale", "application/json", api_scale, NULL, NULL},
    {"/v1/drain", NULL, NULL, NULL, "drain"},
    {"/v1/undrain", NULL, NULL, NULL, "undrain"},
};

static const struct page *find_page(struct str path)
{
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (str_eq(path, str_of(pages[i].path)))
            return &pages[i];
    return NULL;
}

static void refuse_method(const struct page *page, struct server_answer *out)
{
    fail(out, 405, page->verb ? "POST changes this" : "this is only read");
    buf_printf(&out->fields, "Allow: %s\r\n", page->verb ? "POST" : "GET, HEAD");
}

static void answer(void *ctx, const struct server_request *r, struct server_answer *out)
{
    struct admin *a = ctx;
    CHECK_MAGIC(a, ADMIN_MAGIC);
    const struct page *page = find_page(r->path);
    bool is_read = r->head->method == METHOD_GET || r->head->method == METHOD_HEAD;
    if (!may(a, r, page && !page->type && !page->verb, out))
        return;
    if (!page)
        fail(out, 404,
             "there is /, /metrics, /v1/status, /v1/topology, /v1/members, /v1/events, /v1/scale, "
             "/v1/drain, /v1/undrain");
    else if (page->verb ? r->head->method != METHOD_POST : !is_read)
        refuse_method(page, out);
    else if (page->verb)
        change(a, r, page->verb, out);
    else if (page->body) {
        out->type = page->type;
        put_view(a, page->body, &out->body);
    } else if (page->pieces) {
        out->type = page->type;
        tell(a, page->pieces, out);
    } else if (page->type) {
        scrape(a, out);
    } else {
        out->type = "text/html; charset=utf-8";
        dashboard_put(&out->body, &out->fields);
    }
}

/* ---- life ---- */

static void *start(struct orch *o)
{
    struct admin *a = must(calloc(1, sizeof *a));
    a->magic = ADMIN_MAGIC;
    a->orch = o;
    a->since_wall_ns = clock_wall_ns();
    a->has_past = o->role->past_fd >= 0 && ledger_past_open(&a->past, o->role->past_fd, false);
    server_init(&a->server, &o->loop, o->role->admin_fd, answer, a);
    events_on_topology(&a->events, NULL, model_current(o->model));
    return a;
}

static void published(void *admin, const struct topology *from, const struct topology *to)
{
    struct admin *a = admin;
    CHECK_MAGIC(a, ADMIN_MAGIC);
    events_on_topology(&a->events, from, to);
}

static void scaled(void *admin, const struct scale_change *change)
{
    struct admin *a = admin;
    CHECK_MAGIC(a, ADMIN_MAGIC);
    events_on_scale(&a->events, str_of(change->set), change->from, change->to, change->why);
}

static void stop(void *admin)
{
    struct admin *a = admin;
    CHECK_MAGIC(a, ADMIN_MAGIC);
    server_fini(&a->server);
    if (a->has_past)
        ledger_past_close(&a->past);
    a->magic = 0;
    free(a);
}

const struct orch_admin_ops admin_ops = {
    .start = start, .published = published, .scaled = scaled, .stop = stop};
