#include "orch/loader.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/panic.h"
#include "orch/schema.h"

#ifndef PLUGIN_DIR
#define PLUGIN_DIR "/usr/local/lib/coxswain"
#endif

/* Up to and with the roles of the first version: a descriptor that is shorter was never right. */
#define PLUGIN_SIZE_MIN   (offsetof(struct cox_plugin, store) + sizeof(void *))
#define ACTUATOR_SIZE_MIN (offsetof(struct cox_actuator, set_count) + sizeof(void *))
#define SCALER_SIZE_MIN   (offsetof(struct cox_scaler, decide) + sizeof(void *))
#define OBSERVER_SIZE_MIN (offsetof(struct cox_observer, event) + sizeof(void *))

const char *loader_dir(const char *configured)
{
    /* The settings hold the built-in folder when the file names none. */
    if (configured && *configured && strcmp(configured, PLUGIN_DIR) != 0)
        return configured;
    const char *env = getenv("COXSWAIN_PLUGIN_DIR");
    return env && *env ? env : PLUGIN_DIR;
}

/* A name from the config becomes part of a path: it must not leave the folder. */
static bool name_is_clean(const char *name)
{
    return *name && *name != '.' && !strchr(name, '/') && strlen(name) <= 100;
}

static char *find_file(const char *dir, const char *name)
{
    for (int i = 0; i < 3; i++) {
        struct buf path;
        buf_init(&path);
        if (i == 0)
            buf_printf(&path, "%s/%s.so", dir, name);
        else
            buf_printf(&path, i == 1 ? "%s/%s/.libs/%s.so" : "%s/%s/%s.so", dir, name, name);
        char *text = must(str_dup(buf_str(&path)));
        buf_fini(&path);
        if (access(text, R_OK) == 0)
            return text;
        free(text);
    }
    return NULL;
}

/* Copies what both sides know of a struct that begins with its size. */
static void copy_sized(void *to, size_t to_bytes, const void *from, uint32_t from_bytes)
{
    memset(to, 0, to_bytes);
    memcpy(to, from, from_bytes < to_bytes ? from_bytes : to_bytes);
}

static bool check_schema(struct cox_array schema, struct buf *why)
{
    if (schema.count == 0)
        return true;
    const size_t min = offsetof(struct cox_option, help) + sizeof(char *);
    if (!schema.items || schema.stride < min || schema.count > SCHEMA_ROWS_MAX) {
        buf_printf(why, "malformed option schema (%u rows of %u bytes, at least %zu are needed)",
                   schema.count, schema.stride, min);
        return false;
    }
    for (uint32_t i = 0; i < schema.count; i++) {
        const struct cox_option *row = COX_AT(struct cox_option, schema, i);
        if (row->size < min || !row->key || row->type < COX_OPTION_BOOL || row->type > COX_OPTION_SECRET ||
            (row->type == COX_OPTION_ENUM && !row->words)) {
            buf_printf(why, "malformed row %u of the option schema", i);
            return false;
        }
    }
    return true;
}

/* Takes over a role's table; false when it is too short to hold the functions that the role is made of. */
static bool take_role(const void **role, void *copy, size_t copy_bytes, size_t min, const char *what,
                      struct buf *why)
{
    if (!*role)
        return true;
    const uint32_t size = *(const uint32_t *)*role;
    if (size < min) {
        buf_printf(why, "its %s table has %u bytes, at least %zu are needed", what, size, min);
        return false;
    }
    copy_sized(copy, copy_bytes, *role, size);
    *role = copy;
    return true;
}

static bool take_roles(struct module *m, struct buf *why)
{
    struct cox_plugin *p = &m->plugin;
    if (!take_role((const void **)&p->discovery, &m->discovery, sizeof m->discovery, 2 * sizeof(uint32_t),
                   "discovery", why) ||
        !take_role((const void **)&p->scaler, &m->scaler, sizeof m->scaler, SCALER_SIZE_MIN, "scaler", why) ||
        !take_role((const void **)&p->actuator, &m->actuator, sizeof m->actuator, ACTUATOR_SIZE_MIN,
                   "actuator", why) ||
        !take_role((const void **)&p->observer, &m->observer, sizeof m->observer, OBSERVER_SIZE_MIN,
                   "observer", why))
        return false;
    const struct cox_actuator *a = p->actuator;
    const char *missing = NULL;
    if (a && !a->list)
        missing = "an actuator without list";
    else if (a && a->granularity == COX_GRANULARITY_MEMBER && (!a->start_member || !a->stop_member))
        missing = "an actuator of members without start_member and stop_member";
    else if (a && a->granularity == COX_GRANULARITY_COUNT && !a->set_count)
        missing = "an actuator of counts without set_count";
    else if (a && a->granularity != COX_GRANULARITY_MEMBER && a->granularity != COX_GRANULARITY_COUNT)
        missing = "an actuator of a granularity that this version does not know";
    else if (p->scaler && (!p->scaler->state_size || !p->scaler->decide || !p->scaler->init_state))
        missing = "a scaler without state_size, init_state and decide";
    else if (p->observer && !p->observer->event)
        missing = "an observer without event";
    if (missing)
        buf_printf(why, "it is %s", missing);
    return !missing;
}

static bool check_descriptor(struct module *m, const struct cox_plugin *found, const char *name,
                             struct buf *why)
{
    /* The two first words never move: they are read before anything else is believed. */
    if (found->abi != COX_ABI) {
        buf_printf(why, "it was built for plugin ABI %u, this is ABI %u", found->abi, COX_ABI);
        return false;
    }
    if (found->size < PLUGIN_SIZE_MIN) {
        buf_printf(why, "its descriptor has %u bytes, at least %zu are needed", found->size, PLUGIN_SIZE_MIN);
        return false;
    }
    copy_sized(&m->plugin, sizeof m->plugin, found, found->size);
    if (!m->plugin.name || strcmp(m->plugin.name, name) != 0) {
        buf_printf(why, "it calls itself \"%s\"", m->plugin.name ? m->plugin.name : "");
        return false;
    }
    if (!m->plugin.open || !m->plugin.start || !m->plugin.stop || !m->plugin.close) {
        buf_printf(why, "its descriptor lacks one of open, start, stop, close");
        return false;
    }
    return check_schema(m->plugin.options, why) && check_schema(m->plugin.cartridge_options, why) &&
           check_schema(m->plugin.partition_options, why) && take_roles(m, why);
}

bool module_open(struct module *m, const char *dir, const char *name, struct buf *why)
{
    *m = (struct module){0};
    if (!name_is_clean(name)) {
        buf_printf(why, "\"%s\" is not a plugin name", name);
        return false;
    }
    m->path = find_file(dir, name);
    if (!m->path) {
        buf_printf(why, "no file %s.so in %s", name, dir);
        return false;
    }
    m->handle = dlopen(m->path, RTLD_NOW | RTLD_LOCAL);
    const struct cox_plugin *found = NULL;
    if (!m->handle)
        buf_printf(why, "cannot load: %s", dlerror());
    else if (!(found = dlsym(m->handle, COX_PLUGIN_SYMBOL)))
        buf_printf(why, "%s exports no symbol \"%s\": not a coxswain plugin", m->path, COX_PLUGIN_SYMBOL);
    else if (check_descriptor(m, found, name, why))
        return true;
    module_close(m);
    return false;
}

void module_close(struct module *m)
{
    if (m->handle)
        dlclose(m->handle);
    free(m->path);
    *m = (struct module){0};
}
