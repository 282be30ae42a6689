/* The part of `-t` that needs plugins: called in a child that is thrown away, because loading a plugin runs
 * its constructors. */
#include <string.h>

#include "orch/plugin.h"
#include "orch/scale.h"
#include "run/role.h"

#define CHECK_PLUGINS_MAX 1024

/* What `kind` `name` says runs members must be able to. */
static void check_actuator(const struct settings *s, const unsigned *roles, const char *kind,
                           const char *name, const char *actuator, struct buf *errors)
{
    for (size_t k = 0; k < s->plugins.count && actuator; k++) {
        const struct plugin_settings *p = SETTINGS_AT(s->plugins, struct plugin_settings, k);
        if (strcmp(p->name, actuator) == 0 && !(roles[k] & PLUGIN_ACTUATOR))
            buf_printf(errors, "%s:%d: %s \"%s\": plugin \"%s\" cannot run members: it is no actuator\n",
                       p->file ? p->file : s->file, p->line, kind, name, p->name);
    }
}

static void check_actuators(const struct settings *s, const unsigned *roles, struct buf *errors)
{
    for (size_t i = 0; i < s->cartridges.count; i++) {
        const struct cartridge_settings *c = SETTINGS_AT(s->cartridges, struct cartridge_settings, i);
        check_actuator(s, roles, "cartridge", c->name, c->actuator, errors);
    }
    for (size_t i = 0; i < s->partitions.count; i++) {
        const struct partition_settings *p = SETTINGS_AT(s->partitions, struct partition_settings, i);
        check_actuator(s, roles, "partition", p->name, p->actuator, errors);
    }
    for (size_t i = 0; i < s->clusters.count; i++) {
        const struct cluster_settings *c = SETTINGS_AT(s->clusters, struct cluster_settings, i);
        check_actuator(s, roles, "cluster", c->name, c->scale.actuator, errors);
    }
}

bool orch_check(const struct settings *s, struct buf *errors)
{
    unsigned roles[CHECK_PLUGINS_MAX];
    const size_t before = errors->len;
    if (s->plugins.count > CHECK_PLUGINS_MAX) {
        buf_printf(errors, "%s:0: more than %d plugins\n", s->file, CHECK_PLUGINS_MAX);
        return false;
    }
    for (size_t i = 0; i < s->plugins.count; i++) {
        roles[i] = ~0u; /* of one that cannot be loaded nothing more is said */
        const struct plugin_settings *p = SETTINGS_AT(s->plugins, struct plugin_settings, i);
        if (!plugin_check(p, loader_dir(s->plugin_dir), &roles[i], errors))
            roles[i] = ~0u;
    }
    check_actuators(s, roles, errors);
    const bool is_scalable = scale_check(s, loader_dir(s->plugin_dir), errors);
    return is_scalable && errors->len == before;
}
