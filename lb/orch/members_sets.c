/* The sets of the config, and finding sets and members. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "orch/members_part.h"

/* ---- making ---- */

struct member_set *set_create(struct members *ms, const char *id, const char *application, const char *alias)
{
    struct member_set *s = must(calloc(1, sizeof *s));
    s->id = must(str_dup(str_of(id)));
    s->application = must(str_dup(str_of(application)));
    s->alias = must(str_dup(str_of(alias)));
    s->ready_at_ns = ms->ops->now_ns(ms->ctx);
    s->start_p50_ns = s->start_p90_ns = NAN;
    list_init(&s->members);
    list_init(&s->restless);
    list_init(&s->awake);
    list_init(&s->hungry);
    list_init(&s->node);
    list_push(&ms->sets, &s->node);
    index_put(&ms->sets_by_id, str_of(s->id), s);
    return s;
}

static void free_cartridge(struct cartridge_settings *c)
{
    if (!c)
        return;
    options_free(&cartridge_table, c);
    free(c);
}

void set_free(struct member_set *s)
{
    for (size_t i = 0; i < s->port_count; i++)
        free(s->ports[i].cluster);
    free_cartridge(s->own_cartridge);
    spots_free(s);
    free(s->ports);
    free(s->id);
    free(s->application);
    free(s->alias);
    free(s->vacancies);
    free(s);
}

static uint32_t bounded(int64_t n)
{
    return (uint32_t)(n < 0 ? 0 : n > MEMBERS_SET_MAX ? MEMBERS_SET_MAX : n);
}

static void set_limits(struct member_set *set, int64_t min, int64_t max)
{
    set->min = bounded(min);
    set->max = max < min ? set->min : bounded(max);
}

void set_add_port(struct member_set *set, const char *name, struct str cluster,
                  const struct cluster_options *options)
{
    set->ports = must(realloc(set->ports, (set->port_count + 1) * sizeof *set->ports));
    struct set_port *port = &set->ports[set->port_count++];
    *port = (struct set_port){.name = name, .cluster = must(str_dup(cluster)), .options = options};
}

static void add_port(struct members *ms, struct member_set *set, const char *name, struct str cluster,
                     const struct cluster_options *options)
{
    set_add_port(set, name, cluster, options);
    const struct set_port *port = &set->ports[set->port_count - 1];
    if (!index_get(&ms->sets_by_cluster, cluster))
        index_put(&ms->sets_by_cluster, str_of(port->cluster), set);
}

static void load_alias(struct members *ms, const struct settings *s, const char *application,
                       const struct alias_settings *a)
{
    const struct cartridge_settings *c = settings_cartridge(s, a->type);
    ASSERT(c != NULL); /* settings_load checked the reference */
    struct buf id;
    buf_init(&id);
    settings_set_id(&id, application, a->alias);
    buf_put(&id, "", 1);
    struct member_set *set = set_create(ms, id.p, application, a->alias);
    set->cartridge = c;
    set->scaling = &a->scaling;
    set_limits(set, a->min, a->max);
    for (size_t i = 0; i < c->ports.count && i < MEMBERS_PORTS_MAX; i++) {
        const struct port_settings *port = SETTINGS_AT(c->ports, struct port_settings, i);
        id.len = 0;
        settings_cluster_id(&id, application, a->alias, port->name);
        add_port(ms, set, port->name, buf_str(&id), &port->options);
    }
    buf_fini(&id);
    spots_make(ms, set, s, c->actuator, a->deployment_policy);
}

/* What a cluster's members are made of when its scale names an actuator only: a cartridge with the cluster's
 * name, every default, and the one port "http". */
static struct cartridge_settings *make_cartridge(const struct cluster_settings *cluster)
{
    struct cartridge_settings *c = must(calloc(1, sizeof *c));
    options_init(&cartridge_table, c);
    c->name = must(str_dup(str_of(cluster->name)));
    c->actuator = must(str_dup(str_of(cluster->scale.actuator)));
    return c;
}

static void load_cluster(struct members *ms, const struct settings *s, const struct cluster_settings *cluster)
{
    const struct scale_settings *scale = &cluster->scale;
    if (!SCALE_IS_SET(scale))
        return;
    struct member_set *set = set_create(ms, cluster->name, cluster->name, "");
    if (!scale->cartridge)
        set->own_cartridge = make_cartridge(cluster);
    set->cartridge = scale->cartridge ? settings_cartridge(s, scale->cartridge) : set->own_cartridge;
    ASSERT(set->cartridge != NULL); /* settings_load checked the reference */
    set->scaling = &scale->scaling;
    set_limits(set, scale->min, scale->max);
    const struct port_settings *port =
        scale->cartridge ? SETTINGS_AT(set->cartridge->ports, struct port_settings, 0) : NULL;
    add_port(ms, set, port ? port->name : "http", str_of(cluster->name), &cluster->options);
    spots_make(ms, set, s, set->cartridge->actuator, scale->deployment_policy);
}

void members_load_settings(struct members *ms, const struct settings *s)
{
    ms->drain_timeout_ms = s->drain_timeout_ms;
    for (size_t i = 0; i < s->applications.count; i++) {
        const struct application_settings *app = SETTINGS_AT(s->applications, struct application_settings, i);
        for (size_t k = 0; k < app->cartridges.count; k++)
            load_alias(ms, s, app->name, SETTINGS_AT(app->cartridges, struct alias_settings, k));
    }
    for (size_t i = 0; i < s->clusters.count; i++)
        load_cluster(ms, s, SETTINGS_AT(s->clusters, struct cluster_settings, i));
}

void members_init(struct members *ms, struct model *model, const struct members_ops *ops, void *ctx)
{
    *ms = (struct members){.model = model, .ops = ops, .ctx = ctx};
    list_init(&ms->sets);
    list_init(&ms->places);
    list_init(&ms->awake);
    list_init(&ms->hungry);
}

void members_fini(struct members *ms)
{
    struct list *node;
    list_init(&ms->hungry); /* nobody is to be woken by who leaves now */
    while ((node = list_shift(&ms->sets))) {
        struct member_set *s = CONTAINER_OF(node, struct member_set, node);
        while (!list_is_empty(&s->members))
            member_free(ms, CONTAINER_OF(s->members.next, struct member, node));
        set_free(s);
    }
    places_fini(ms);
    index_fini(&ms->sets_by_id);
    index_fini(&ms->sets_by_cluster);
    index_fini(&ms->by_id);
    index_fini(&ms->by_ticket);
    for (size_t i = 0; i < ms->listed_count; i++)
        free(ms->listed[i]);
    free(ms->listed);
}

/* ---- finding ---- */

struct member_set *members_find_set(struct members *ms, struct str id)
{
    return index_get(&ms->sets_by_id, id);
}

struct member_set *members_set_of(struct members *ms, struct str cluster)
{
    return index_get(&ms->sets_by_cluster, cluster);
}

struct member *members_find_exact(struct members *ms, struct str id)
{
    return index_get(&ms->by_id, id);
}

struct member *members_find(struct members *ms, const char *id)
{
    const struct str wanted = str_of(id);
    struct member *m, *found = members_find_exact(ms, wanted);
    if (found || wanted.n < 4)
        return found;
    for (uint32_t at = 0; (m = index_next(&ms->by_id, &at));) {
        if (!str_ends(str_of(m->id), wanted))
            continue;
        if (found)
            return NULL;
        found = m;
    }
    return found;
}

/* ---- lists of actuators ---- */

bool members_has_listed(const struct members *ms, const char *actuator)
{
    for (size_t i = 0; i < ms->listed_count; i++)
        if (strcmp(ms->listed[i], actuator) == 0)
            return true;
    return false;
}

static bool all_listed(const struct members *ms, const struct member_set *set)
{
    for (uint32_t i = 0; i < set->spot_count; i++)
        if (!set->spots[i].is_stray && !members_has_listed(ms, set->spots[i].actuator))
            return false;
    return true;
}

/* Whose word on a member of an earlier run counts: that of the partition it was in, as far as it is known.
 * NULL: nobody's; when it lives, it has been told yet. */
static const char *actuator_of(const struct member_set *set, const struct member_info *info)
{
    for (uint32_t i = 0; set && set->cartridge && i < set->spot_count; i++)
        if (str_eq(str_of(set->spots[i].place->partition), info->partition))
            return set->spots[i].actuator;
    return set && set->cartridge ? set->cartridge->actuator : NULL;
}

/* Members of the last topology that the actuator did not tell died while nobody looked. */
static void forget_unlisted(struct members *ms, const char *actuator)
{
    for (uint32_t i = 0; ms->loaded && i < ms->loaded->member_count; i++) {
        const struct member_info *info = &ms->loaded->members[i];
        const struct member_set *set = members_find_set(ms, info->set);
        const char *whose = actuator_of(set, info);
        if ((!whose || strcmp(whose, actuator) == 0) && !members_find_exact(ms, info->id))
            member_forget(ms, set, info->set, info->id);
    }
}

void members_on_listed(struct members *ms, const char *actuator)
{
    if (!members_has_listed(ms, actuator)) {
        ms->listed = must(realloc(ms->listed, (ms->listed_count + 1) * sizeof *ms->listed));
        ms->listed[ms->listed_count++] = must(str_dup(str_of(actuator)));
    }
    forget_unlisted(ms, actuator);
    for (struct list *n = ms->sets.next; n != &ms->sets; n = n->next) {
        struct member_set *s = CONTAINER_OF(n, struct member_set, node);
        if (s->is_listed || !all_listed(ms, s))
            continue;
        s->is_listed = true;
        s->changes++;
        members_wake(ms, s);
    }
    members_touch(ms);
}
