/* From the config file to the model. Applications appear here as clusters without endpoints, so that a
 * request for one that has no member yet gets a 503 or waits, and not a 404. */
#include "base/log.h"
#include "topo/model_part.h"

#define CONFIG STR("config")

/* What the model refuses was not refused by the config's own checks: say it and go on with the rest. */
static void say(bool is_put, struct buf *error)
{
    if (!is_put)
        log_error("config: %.*s", STR_ARG(buf_str(error)));
    error->len = 0;
}

static void put_endpoint(struct model *m, struct str cluster, const struct endpoint_settings *from,
                         struct buf *error)
{
    struct str id = str_of(from->address);
    struct endpoint_draft e = {.id = id, .readiness = ENDPOINT_READY, .priority = (uint8_t)from->priority};
    e.weight = from->weight < 0                     ? 0
               : from->weight > TOPOLOGY_WEIGHT_MAX ? TOPOLOGY_WEIGHT_MAX
                                                    : (uint32_t)from->weight;
    if (!addr_parse(id, &e.addr))
        return; /* a name: the orchestrator finds its addresses */
    say(model_put_endpoint(m, CONFIG, cluster, &e, error), error);
}

static void put_clusters(struct model *m, const struct settings *s, struct buf *error)
{
    for (size_t i = 0; i < s->clusters.count; i++) {
        const struct cluster_settings *c = SETTINGS_AT(s->clusters, struct cluster_settings, i);
        struct str id = str_of(c->name);
        say(model_put_cluster(m, CONFIG, id, &c->options, error), error);
        for (size_t k = 0; k < c->endpoints.count; k++)
            put_endpoint(m, id, SETTINGS_AT(c->endpoints, struct endpoint_settings, k), error);
    }
}

static const struct cartridge_settings *find_cartridge(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->cartridges.count; i++) {
        const struct cartridge_settings *c = SETTINGS_AT(s->cartridges, struct cartridge_settings, i);
        if (str_eq(str_of(c->name), str_of(name)))
            return c;
    }
    return NULL;
}

/* The set's id is application/application instance/group instance/alias; a cluster is one port of a set. */
static void put_alias(struct model *m, const struct application_settings *app,
                      const struct alias_settings *alias, const struct cartridge_settings *cartridge,
                      struct buf *error)
{
    struct buf id;
    buf_init(&id);
    for (size_t i = 0; i < cartridge->ports.count; i++) {
        const struct port_settings *port = SETTINGS_AT(cartridge->ports, struct port_settings, i);
        id.len = 0;
        buf_printf(&id, "%s/1/1/%s:%s", app->name, alias->alias, port->name);
        say(model_put_cluster(m, CONFIG, buf_str(&id), &port->options, error), error);
        for (size_t k = 0; i == 0 && k < app->hosts.n; k++)
            say(model_put_route(m, CONFIG, str_of(app->hosts.v[k]), str_of(alias->path ? alias->path : "/"),
                                buf_str(&id), error),
                error);
    }
    buf_fini(&id);
}

static void put_applications(struct model *m, const struct settings *s, struct buf *error)
{
    for (size_t i = 0; i < s->applications.count; i++) {
        const struct application_settings *app = SETTINGS_AT(s->applications, struct application_settings, i);
        for (size_t k = 0; k < app->cartridges.count; k++) {
            const struct alias_settings *alias = SETTINGS_AT(app->cartridges, struct alias_settings, k);
            const struct cartridge_settings *cartridge = find_cartridge(s, alias->type);
            if (cartridge)
                put_alias(m, app, alias, cartridge, error);
            else
                log_error("application %s: no cartridge '%s'", app->name, alias->type);
        }
    }
}

static void put_routes(struct model *m, const struct settings *s, struct buf *error)
{
    for (size_t i = 0; i < s->routes.count; i++) {
        const struct route_settings *r = SETTINGS_AT(s->routes, struct route_settings, i);
        struct route_place place = {.host = str_of(r->host), .path = str_of(r->path)};
        say(model_put_ruled_route(m, CONFIG, &place, str_of(r->cluster), &r->options, error), error);
    }
}

void model_load_settings(struct model *m, const struct settings *s)
{
    struct buf error;
    buf_init(&error);
    model_view_begin(m, CONFIG);
    put_clusters(m, s, &error);
    put_applications(m, s, &error);
    put_routes(m, s, &error); /* last: what is written out as a route wins over what an application implies */
    model_view_end(m, CONFIG);
    buf_fini(&error);
}
