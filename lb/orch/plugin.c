#include "orch/plugin.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/discovery.h"
#include "orch/host.h"

struct call call_begin(struct plugin *p, const char *what)
{
    struct host *h = p->host;
    struct call c = {.plugin = p,
                     .outer = h->running,
                     .what = what,
                     .since_ns = clock_now_ns(),
                     .outer_since_ns = h->running_since_ns};
    h->running = p;
    h->running_since_ns = c.since_ns;
    stall_enter(h->stall, p->name, c.since_ns);
    p->error.len = 0;
    return c;
}

void call_end(struct call *c)
{
    const uint64_t took_ns = clock_now_ns() - c->since_ns;
    struct plugin *p = c->plugin;
    p->host->running = c->outer;
    p->host->running_since_ns = c->outer_since_ns;
    if (c->outer)
        stall_enter(p->host->stall, c->outer->name, c->outer_since_ns);
    else
        stall_leave(p->host->stall);
    if (took_ns <= PLUGIN_SLOW_NS)
        return;
    p->slow_calls++;
    LOG_LIMITED(LOG_WARN, 20,
                "plugin \"%s\": %s took %llu ms and held up everything else; the limit is 10 ms", p->name,
                c->what, (unsigned long long)(took_ns / NS_PER_MS));
}

static const char *module_name(const struct plugin_settings *s)
{
    return s->plugin && *s->plugin ? s->plugin : s->name;
}

static void complain(const struct plugin_settings *s, struct str what, struct buf *errors)
{
    buf_printf(errors, "%s:%d: plugin \"%s\": %.*s\n", s->file ? s->file : "?", s->line, s->name,
               STR_ARG(what));
}

/* Opens the module and reads the options; both are to be released by the caller when this is true. */
static bool load(const struct plugin_settings *s, const char *dir, struct module *m,
                 struct schema_values *values, struct buf *errors)
{
    struct buf why;
    buf_init(&why);
    const bool loaded = module_open(m, dir, module_name(s), &why);
    if (!loaded)
        complain(s, buf_str(&why), errors);
    buf_fini(&why);
    if (!loaded)
        return false;
    const struct schema_place place = {.plugin = s->name, .file = s->file, .line = s->line};
    if (schema_read(m->plugin.options, &s->raw, &place, values, errors))
        return true;
    schema_values_free(values);
    module_close(m);
    return false;
}

bool plugin_check(const struct plugin_settings *s, const char *dir, unsigned *out_roles, struct buf *errors)
{
    struct module m;
    struct schema_values values;
    if (!load(s, dir, &m, &values, errors))
        return false;
    const struct cox_plugin *d = &m.plugin;
    *out_roles = (d->discovery ? PLUGIN_DISCOVERY : 0u) | (d->scaler ? PLUGIN_SCALER : 0u) |
                 (d->actuator ? PLUGIN_ACTUATOR : 0u) | (d->observer ? PLUGIN_OBSERVER : 0u);
    schema_values_free(&values);
    module_close(&m);
    return true;
}

static bool call_open(struct plugin *p)
{
    const struct cox_open args = {.size = sizeof args, .options = &p->values.options};
    struct call c = call_begin(p, "open");
    const int32_t result = p->module.plugin.open(&p->table, &args, &p->instance);
    call_end(&c);
    return result == COX_OK;
}

static struct str error_text(const struct plugin *p)
{
    return p->error.len ? buf_str(&p->error) : STR("it gave no reason");
}

static void complain_call(const struct plugin *p, const struct plugin_settings *s, const char *what,
                          struct buf *errors)
{
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "%s failed: %.*s", what, STR_ARG(error_text(p)));
    if (s)
        complain(s, buf_str(&text), errors);
    else
        buf_printf(errors, "plugin \"%s\": %.*s\n", p->name, STR_ARG(buf_str(&text)));
    buf_fini(&text);
}

struct plugin *plugin_create(struct host *h, const struct plugin_settings *s, const char *dir,
                             struct buf *errors)
{
    struct plugin *p = must(calloc(1, sizeof *p));
    p->magic = PLUGIN_MAGIC;
    p->host = h;
    if (!load(s, dir, &p->module, &p->values, errors)) {
        free(p);
        return NULL;
    }
    p->name = must(str_dup(str_of(s->name)));
    buf_init(&p->error);
    buf_init(&p->refusal);
    list_init(&p->timers);
    list_init(&p->watches);
    list_init(&p->view.edits);
    list_init(&p->node);
    host_table_init(&p->table, p->name);
    p->is_open = call_open(p);
    if (!p->is_open) {
        complain_call(p, s, "open", errors);
        plugin_destroy(&p);
        return NULL;
    }
    list_push(&h->plugins, &p->node);
    if (p->module.plugin.store)
        log_warn("plugin \"%s\" offers a store, which this version does not use", p->name);
    return p;
}

bool plugin_start(struct plugin *p, struct buf *errors)
{
    struct call c = call_begin(p, "start");
    int32_t result = p->module.plugin.start(p->instance);
    call_end(&c);
    if (result != COX_OK) {
        complain_call(p, NULL, "start", errors);
        return false;
    }
    p->is_started = true;
    if (!p->module.plugin.actuator)
        return true;
    c = call_begin(p, "list");
    result = p->module.plugin.actuator->list(p->instance);
    call_end(&c);
    if (result != COX_OK)
        complain_call(p, NULL, "list", errors);
    return result == COX_OK;
}

void plugin_stop(struct plugin *p)
{
    if (!p->is_started)
        return;
    p->is_started = false;
    struct call c = call_begin(p, "stop");
    p->module.plugin.stop(p->instance);
    call_end(&c);
}

static void close_instance(struct plugin *p)
{
    plugin_stop(p);
    queue_settle(p);
    struct call c = call_begin(p, "close");
    p->module.plugin.close(p->instance);
    call_end(&c);
    p->is_open = false;
}

void plugin_destroy(struct plugin **pp)
{
    struct plugin *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    CHECK_MAGIC(p, PLUGIN_MAGIC);
    if (p->is_open)
        close_instance(p);
    queue_settle(p); /* an open that failed may have left a job behind */
    host_release(p);
    discovery_release(p);
    list_remove(&p->node);
    schema_values_free(&p->values);
    module_close(&p->module);
    buf_fini(&p->error);
    buf_fini(&p->refusal);
    for (size_t i = 0; i < p->metric_count; i++)
        free(p->metrics[i].name);
    free(p->metrics);
    free(p->source_problem);
    free(p->name);
    p->magic = 0;
    free(p);
}
