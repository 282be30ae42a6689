/* Checks of partitions, network partitions, deployment policies, and of scale in clusters. */
#include <string.h>

#include "base/panic.h"
#include "conf/name_set.h"
#include "conf/settings_check.h"

#define EACH(type, item, list)                                                                               \
    for (type *item = (list).items, *item##_end = item ? item + (list).count : NULL; item != item##_end;     \
         item++)

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

static void check_name(struct reader *r, char *const *name)
{
    if (*name && !name_is_valid(str_of(*name)))
        reader_error(r, name, "\"%s\" is no name: expected 1 to %d of A-Z a-z 0-9 . _ -", *name,
                     NAME_MAX_BYTES);
}

static void check_partitions(const struct settings *s, struct reader *r)
{
    EACH(const struct partition_settings, p, s->partitions)
    {
        check_name(r, &p->name);
        if (p->actuator && !settings_plugin(s, p->actuator))
            reader_error(r, &p->actuator,
                         "partition \"%s\" names actuator \"%s\", but no plugin has that name",
                         p->name ? p->name : "", p->actuator);
    }
}

static void check_network_partitions(const struct settings *s, struct reader *r)
{
    struct name_set used = {0};
    EACH(const struct network_partition_settings, n, s->network_partitions)
    {
        check_name(r, &n->name);
        if (!n->partitions.n)
            reader_error(r, n, "a network partition needs at least one partition");
        for (size_t i = 0; i < n->partitions.n; i++) {
            if (!settings_partition(s, n->partitions.v[i]))
                reader_error(r, &n->partitions,
                             "network partition \"%s\" names partition \"%s\", which does not exist",
                             n->name ? n->name : "", n->partitions.v[i]);
            name_set_add(&used, must(str_dup(str_of(n->partitions.v[i]))), &n->partitions);
        }
    }
    name_set_close(&used, r, "partition in a network partition");
    name_set_free(&used);
}

static bool holds(const struct network_partition_settings *n, const char *partition)
{
    for (size_t i = 0; i < n->partitions.n; i++)
        if (same(n->partitions.v[i], partition))
            return true;
    return false;
}

static void check_policies(const struct settings *s, struct reader *r)
{
    EACH(const struct deployment_policy_settings, policy, s->deployment_policies)
    {
        check_name(r, &policy->name);
        if (!policy->network_partitions.count)
            reader_error(r, policy, "a deployment policy needs at least one network partition");
        EACH(const struct policy_network_settings, n, policy->network_partitions)
        {
            const struct network_partition_settings *network = settings_network_partition(s, n->name);
            if (n->name && !network)
                reader_error(r, &n->name,
                             "policy \"%s\" names network partition \"%s\", which does not exist",
                             policy->name ? policy->name : "", n->name);
            EACH(const struct policy_partition_settings, p, n->partitions)
            {
                if (network && p->name && !holds(network, p->name))
                    reader_error(r, &p->name, "partition \"%s\" is not in network partition \"%s\"", p->name,
                                 n->name);
            }
        }
    }
}

/* ---- a set and its policy ---- */

/* A set of members, wherever it is written. */
struct set_place {
    const struct settings *s;
    struct reader *r;
    const struct cartridge_settings *cartridge; /* may be NULL */
    char *const *policy;                        /* where its name stands */
    int64_t min;
};

static int64_t room_of(const struct set_place *set, const char *partition, int64_t max)
{
    const struct partition_settings *p = settings_partition(set->s, partition);
    if (!p)
        return 0;
    const char *actuator = p->actuator ? p->actuator : set->cartridge ? set->cartridge->actuator : NULL;
    const struct plugin_settings *plugin = settings_plugin(set->s, actuator);
    if (plugin && same(plugin->plugin, "process") && !(set->cartridge && set->cartridge->command.n))
        reader_error(set->r, set->policy,
                     "a cartridge that \"process\" runs in partition \"%s\" needs a command", partition);
    const int64_t most = p->max && (!max || p->max < max) ? p->max : max;
    return most ? most : INT32_MAX;
}

static int64_t room_in(const struct set_place *set, const struct policy_network_settings *n)
{
    const struct network_partition_settings *network = settings_network_partition(set->s, n->name);
    int64_t room = 0;
    EACH(const struct policy_partition_settings, p, n->partitions)
    {
        room += room_of(set, p->name, p->max);
    }
    for (size_t i = 0; network && !n->partitions.count && i < network->partitions.n; i++)
        room += room_of(set, network->partitions.v[i], 0);
    return room;
}

static void check_set(const struct set_place *set)
{
    if (!*set->policy)
        return;
    const struct deployment_policy_settings *policy = settings_deployment_policy(set->s, *set->policy);
    if (!policy) {
        reader_error(set->r, set->policy, "deployment policy \"%s\" does not exist", *set->policy);
        return;
    }
    int64_t room = 0;
    EACH(const struct policy_network_settings, n, policy->network_partitions)
    {
        room += room_in(set, n);
    }
    if (room < set->min)
        reader_error(set->r, set->policy, "policy \"%s\" has room for %lld members, but min is %lld",
                     *set->policy, (long long)room, (long long)set->min);
}

static void check_scale(const struct settings *s, struct reader *r, const struct cluster_settings *cluster)
{
    const struct scale_settings *scale = &cluster->scale;
    const struct cartridge_settings *cartridge = settings_cartridge(s, scale->cartridge);
    if (!SCALE_IS_SET(scale)) {
        if (reader_has(r, &scale->min) || reader_has(r, &scale->max) || scale->deployment_policy)
            reader_error(r, scale, "scale needs a cartridge or an actuator");
        return;
    }
    const void *at = scale->cartridge ? &scale->cartridge : &scale->actuator;
    if (scale->cartridge && scale->actuator)
        reader_error(r, &scale->actuator, "a cartridge or an actuator, not both");
    if (scale->cartridge && !cartridge)
        reader_error(r, at, "scale names cartridge \"%s\", which does not exist", scale->cartridge);
    if (cartridge && cartridge->ports.count != 1)
        reader_error(r, at, "cartridge \"%s\" has %zu ports: a cluster is one", scale->cartridge,
                     cartridge->ports.count);
    const struct plugin_settings *plugin = settings_plugin(s, scale->actuator);
    if (scale->actuator && !plugin)
        reader_error(r, &scale->actuator, "scale names actuator \"%s\", but no plugin has that name",
                     scale->actuator);
    if (plugin && same(plugin->plugin, "process"))
        reader_error(r, &scale->actuator, "\"process\" needs a cartridge, which says what it runs");
    if (scale->min > scale->max)
        reader_error(r, &scale->min, "min is above max");
    if (cluster->options.protocol == PROTOCOL_FILES)
        reader_error(r, at, "a cluster with protocol = \"files\" has no members");
    if (cluster->name && !name_is_valid(str_of(cluster->name)))
        reader_error(r, at, "cluster \"%s\" with scale: its name must be 1 to %d of A-Z a-z 0-9 . _ -",
                     cluster->name, NAME_MAX_BYTES);
    check_set(&(struct set_place){s, r, cartridge, &cluster->scale.deployment_policy, scale->min});
}

void settings_check_place(const struct settings *s, struct reader *r)
{
    check_partitions(s, r);
    check_network_partitions(s, r);
    check_policies(s, r);
    EACH(const struct cluster_settings, cluster, s->clusters)
    {
        check_scale(s, r, cluster);
    }
    EACH(const struct application_settings, app, s->applications)
    {
        EACH(const struct alias_settings, alias, app->cartridges)
        {
            check_set(&(struct set_place){s, r, settings_cartridge(s, alias->type), &alias->deployment_policy,
                                          alias->min});
        }
    }
}
