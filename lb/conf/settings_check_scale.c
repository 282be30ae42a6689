/* Policies and schedules: what no single row can know. */
#include "conf/settings_check.h"

#define EACH(type, item, list)                                                                               \
    for (type *item = (list).items, *item##_end = item ? item + (list).count : NULL; item != item##_end;     \
         item++)

static const struct plugin_settings *find_policy(const struct settings *s, const char *name)
{
    EACH(const struct plugin_settings, policy, s->policies)
    {
        if (policy->name && str_eq(str_of(policy->name), str_of(name)))
            return policy;
    }
    return NULL;
}

const struct plugin_settings *settings_policy(const struct settings *s, const char *name)
{
    return name ? find_policy(s, name) : NULL;
}

void settings_settle_scaling(struct scaling_settings *scaling, struct reader *r)
{
    EACH(struct schedule_settings, schedule, scaling->schedules)
    {
        const char *why;
        if (schedule->cron && !cron_parse(str_of(schedule->cron), &schedule->moments, &why))
            reader_error(r, &schedule->cron, "\"%s\" is no schedule: %s", schedule->cron, why);
    }
}

void settings_check_scaling(const struct settings *s, struct reader *r,
                            const struct scaling_settings *scaling, int64_t max)
{
    if (scaling->policy && !find_policy(s, scaling->policy))
        reader_error(r, &scaling->policy, "autoscaling policy \"%s\" does not exist", scaling->policy);
    EACH(const struct schedule_settings, schedule, scaling->schedules)
    {
        if (schedule->min > max)
            reader_error(r, &schedule->min, "min of a schedule is above max");
    }
}

void settings_check_policies(const struct settings *s, struct reader *r)
{
    EACH(const struct cluster_settings, cluster, s->clusters)
    {
        settings_check_scaling(s, r, &cluster->scale.scaling, cluster->scale.max);
    }
    EACH(const struct plugin_settings, policy, s->policies)
    {
        if (policy->name && !name_is_valid(str_of(policy->name)))
            reader_error(r, &policy->name, "\"%s\" is no name: expected 1 to %d of A-Z a-z 0-9 . _ -",
                         policy->name, NAME_MAX_BYTES);
        if (policy->plugin && !name_is_valid(str_of(policy->plugin)))
            reader_error(r, &policy->plugin, "\"%s\" is no name of a plugin", policy->plugin);
    }
}
