#include "orch/host.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/discovery.h"

#ifndef COX_VERSION
#define COX_VERSION "0.1.0"
#endif

struct cox_timer {
    struct list node; /* of plugin->timers */
    struct plugin *plugin;
    struct timer timer;
    uint64_t repeat_ms;
    cox_call_fn *fn;
    void *ctx;
    bool is_firing, is_stopped; /* stopped from within its own call: freed when that returns */
};

struct cox_watch {
    struct list node; /* of plugin->watches */
    struct plugin *plugin;
    struct watch watch;
    cox_ready_fn *fn;
    void *ctx;
    bool is_firing, is_stopped;
};

static const struct cox_math math_table = {.size = sizeof math_table,
                                           .exp = exp,
                                           .log = log,
                                           .pow = pow,
                                           .sqrt = sqrt,
                                           .floor = floor,
                                           .ceil = ceil};

struct plugin *host_plugin(const struct cox_host *table)
{
    struct plugin *p = CONTAINER_OF(table, struct plugin, table);
    CHECK_MAGIC(p, PLUGIN_MAGIC);
    return p;
}

static void host_log(const struct cox_host *table, uint32_t level, const char *text)
{
    if (level > LOG_DEBUG)
        level = LOG_DEBUG;
    log_write((enum log_level)level, "plugin \"%s\": %s", table->instance, text ? text : "");
}

static void host_error(const struct cox_host *table, const char *text)
{
    struct plugin *p = host_plugin(table);
    p->error.len = 0;
    buf_put_str(&p->error, str_of(text));
}

static uint64_t host_now(const struct cox_host *table)
{
    (void)table;
    return clock_now_ns();
}

static uint64_t host_wall(const struct cox_host *table)
{
    (void)table;
    return clock_wall_ns();
}

static void *host_event_base(const struct cox_host *table)
{
    return host_plugin(table)->host->loop->base;
}

/* ---- timers and watches ---- */

static void timer_free(struct cox_timer *t)
{
    timer_stop(&t->timer);
    list_remove(&t->node);
    free(t);
}

static void on_timer(void *ctx)
{
    struct cox_timer *t = ctx;
    if (t->repeat_ms)
        timer_arm(&t->timer, t->repeat_ms);
    struct call c = call_begin(t->plugin, "a timer");
    t->is_firing = true;
    t->fn(t->ctx);
    t->is_firing = false;
    call_end(&c);
    if (t->is_stopped)
        timer_free(t);
}

static struct cox_timer *host_timer_start(const struct cox_host *table, uint64_t after_ms, uint64_t repeat_ms,
                                          cox_call_fn *fn, void *ctx)
{
    struct plugin *p = host_plugin(table);
    struct cox_timer *t = calloc(1, sizeof *t);
    if (!t || !fn) {
        free(t);
        return NULL;
    }
    t->plugin = p;
    t->repeat_ms = repeat_ms;
    t->fn = fn;
    t->ctx = ctx;
    list_push(&p->timers, &t->node);
    timer_init(&t->timer, p->host->loop, on_timer, t);
    timer_arm(&t->timer, after_ms);
    return t;
}

static void host_timer_stop(const struct cox_host *table, struct cox_timer **timer)
{
    (void)table;
    struct cox_timer *t = *timer;
    *timer = NULL;
    if (!t)
        return;
    timer_stop(&t->timer);
    if (t->is_firing)
        t->is_stopped = true;
    else
        timer_free(t);
}

static void watch_free(struct cox_watch *w)
{
    watch_stop(&w->watch);
    list_remove(&w->node);
    free(w);
}

static void on_ready(int fd, short events, void *ctx)
{
    struct cox_watch *w = ctx;
    const uint32_t ready =
        (uint32_t)((events & EV_READ ? COX_READABLE : 0) | (events & EV_WRITE ? COX_WRITABLE : 0));
    struct call c = call_begin(w->plugin, "a watched descriptor");
    w->is_firing = true;
    w->fn(w->ctx, fd, ready);
    w->is_firing = false;
    call_end(&c);
    if (w->is_stopped)
        watch_free(w);
}

static struct cox_watch *host_watch_start(const struct cox_host *table, int32_t fd, uint32_t events,
                                          cox_ready_fn *fn, void *ctx)
{
    struct plugin *p = host_plugin(table);
    const short wanted =
        (short)((events & COX_READABLE ? EV_READ : 0) | (events & COX_WRITABLE ? EV_WRITE : 0));
    struct cox_watch *w = fn && wanted && fd >= 0 ? calloc(1, sizeof *w) : NULL;
    if (!w)
        return NULL;
    w->plugin = p;
    w->fn = fn;
    w->ctx = ctx;
    list_push(&p->watches, &w->node);
    watch_start(&w->watch, p->host->loop, fd, wanted, on_ready, w);
    return w;
}

static void host_watch_stop(const struct cox_host *table, struct cox_watch **watch)
{
    (void)table;
    struct cox_watch *w = *watch;
    *watch = NULL;
    if (!w)
        return;
    watch_stop(&w->watch);
    if (w->is_firing)
        w->is_stopped = true;
    else
        watch_free(w);
}

void host_release(struct plugin *p)
{
    if (!list_is_empty(&p->timers) || !list_is_empty(&p->watches))
        log_warn("plugin \"%s\" left timers or watches behind when it closed", p->name);
    while (!list_is_empty(&p->timers))
        timer_free(CONTAINER_OF(p->timers.next, struct cox_timer, node));
    while (!list_is_empty(&p->watches))
        watch_free(CONTAINER_OF(p->watches.next, struct cox_watch, node));
}

/* ---- figures and members ---- */

static void host_report(const struct cox_host *table, const char *source, const char *subject,
                        const char *metric, double value, uint64_t time_ns)
{
    struct plugin *p = host_plugin(table);
    if (subject && metric && p->host->ops->reported)
        p->host->ops->reported(p->host->ctx, p, source, subject, metric, value,
                               time_ns ? time_ns : clock_now_ns());
}

static void host_metric(const struct cox_host *table, const char *name, double value)
{
    struct plugin *p = host_plugin(table);
    for (size_t i = 0; i < p->metric_count; i++)
        if (strcmp(p->metrics[i].name, name) == 0) {
            p->metrics[i].value = value;
            return;
        }
    if (p->metric_count == PLUGIN_METRICS_MAX)
        return;
    p->metrics = must(realloc(p->metrics, (p->metric_count + 1) * sizeof *p->metrics));
    p->metrics[p->metric_count++] =
        (struct plugin_metric){.name = must(str_dup(str_of(name))), .value = value};
}

static void host_ticket_done(const struct cox_host *table, uint64_t ticket, uint32_t result,
                             const char *reason)
{
    struct plugin *p = host_plugin(table);
    p->host->ops->ticket_done(p->host->ctx, p, ticket, result, reason ? reason : "");
}

static void host_member_changed(const struct cox_host *table, const struct cox_member_change *change)
{
    struct plugin *p = host_plugin(table);
    if (change && change->member && COX_HAS(change, struct cox_member_change, reason))
        p->host->ops->member_changed(p->host->ctx, p, change);
    else
        log_warn("plugin \"%s\": malformed member_changed ignored", p->name);
}

static void host_list_done(const struct cox_host *table)
{
    struct plugin *p = host_plugin(table);
    p->is_listed = true;
    p->host->ops->list_done(p->host->ctx, p);
}

static int32_t host_post(const struct cox_host *table, cox_call_fn *fn, void *ctx)
{
    return queue_post(host_plugin(table), fn, ctx);
}

static int32_t host_offload(const struct cox_host *table, cox_call_fn *work, cox_call_fn *done, void *ctx)
{
    return queue_offload(host_plugin(table), work, done, ctx);
}

/* ---- the table and the list ---- */

void host_table_init(struct cox_host *table, const char *instance)
{
    *table = (struct cox_host){.size = sizeof *table,
                               .abi = COX_ABI,
                               .instance = instance,
                               .version = COX_VERSION,
                               .log = host_log,
                               .error = host_error,
                               .now_ns = host_now,
                               .wall_ns = host_wall,
                               .math = &math_table,
                               .event_base = host_event_base,
                               .timer_start = host_timer_start,
                               .timer_stop = host_timer_stop,
                               .watch_start = host_watch_start,
                               .watch_stop = host_watch_stop,
                               .offload = host_offload,
                               .post = host_post,
                               .report = host_report,
                               .metric = host_metric,
                               .view_begin = discovery_view_begin,
                               .view_end = discovery_view_end,
                               .view_drop = discovery_view_drop,
                               .put = discovery_put,
                               .remove = discovery_remove,
                               .discovery_error = discovery_refusal,
                               .source_state = discovery_source_state,
                               .ticket_done = host_ticket_done,
                               .member_changed = host_member_changed,
                               .list_done = host_list_done,
                               .process_watch = process_watch,
                               .process_start = process_start,
                               .process_stop = process_stop,
                               .process_list = process_list};
}

bool host_init(struct host *h, struct loop *loop, struct model *model, const struct host_ops *ops, void *ctx)
{
    *h = (struct host){.loop = loop, .model = model, .ops = ops, .ctx = ctx};
    list_init(&h->plugins);
    return queue_init(&h->queue, loop);
}

void host_fini(struct host *h)
{
    while (!list_is_empty(&h->plugins)) {
        struct plugin *p = CONTAINER_OF(h->plugins.prev, struct plugin, node);
        plugin_destroy(&p);
    }
    queue_fini(&h->queue);
}

struct plugin *host_find(struct host *h, const char *instance)
{
    for (struct list *n = h->plugins.next; n != &h->plugins; n = n->next) {
        struct plugin *p = CONTAINER_OF(n, struct plugin, node);
        if (instance && strcmp(p->name, instance) == 0)
            return p;
    }
    return NULL;
}
