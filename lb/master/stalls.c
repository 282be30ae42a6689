#include "master/stalls.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

void stalls_init(struct stalls *s)
{
    *s = (struct stalls){.note = stall_create()};
    if (!s->note)
        log_warn("no shared page to watch plugins by: %m");
}

uint64_t stalls_running(const struct stalls *s, uint64_t now_ns, char out_name[STALL_NAME_BYTES])
{
    uint64_t since;
    if (!stall_look(s->note, &since, out_name) || since > now_ns)
        return 0;
    return now_ns - since;
}

/* An instance, or what a policy names: a scaler needs no entry of its own. */
static bool is_plugin(const struct settings *settings, const char *name)
{
    if (settings_plugin(settings, name))
        return true;
    for (size_t i = 0; i < settings->policies.count; i++)
        if (strcmp(SETTINGS_AT(settings->policies, struct plugin_settings, i)->plugin, name) == 0)
            return true;
    return false;
}

static struct stalled *find(struct stalls *s, const char *name)
{
    for (int i = 0; i < s->count; i++)
        if (strcmp(s->items[i].name, name) == 0)
            return &s->items[i];
    return NULL;
}

static void blame(struct stalls *s, const char *name)
{
    struct stalled *it = find(s, name);
    if (!it && s->count < STALLS_PLUGINS) {
        it = &s->items[s->count++];
        *it = (struct stalled){.times = 0};
        snprintf(it->name, sizeof it->name, "%s", name);
    }
    if (!it)
        return;
    it->times++;
    log_error("plugin \"%s\" has stalled the orchestrator %u time%s%s", name, it->times,
              it->times == 1 ? "" : "s",
              it->times >= STALLS_MAX ? "; it is left out until the next reload" : "");
}

void stalls_on_exit(struct stalls *s, const struct settings *settings, bool ended)
{
    char name[STALL_NAME_BYTES];
    uint64_t since;
    if (stall_look(s->note, &since, name) && is_plugin(settings, name)) {
        if (ended)
            blame(s, name);
        else
            log_error("the orchestrator ended in a call of plugin \"%s\"", name);
    }
    stall_leave(s->note);
}

void stalls_forget(struct stalls *s)
{
    s->count = 0;
}

bool stalls_is_left_out(const struct stalls *s, const char *name)
{
    for (int i = 0; i < s->count; i++)
        if (strcmp(s->items[i].name, name) == 0)
            return s->items[i].times >= STALLS_MAX;
    return false;
}
