#include "conf/settings_check.h"

#include "conf/settings_guard.h"

#include <stdlib.h>
#include <sys/un.h>

#include "base/panic.h"
#include "conf/name_set.h"
#include "conf/address.h"

#define EACH(type, item, list)                                                                               \
    for (type *item = (list).items, *item##_end = item ? item + (list).count : NULL; item != item##_end;     \
         item++)

static bool is_name_char(char c)
{
    return (c >= '0' && c <= '9') || (char_lower(c) >= 'a' && char_lower(c) <= 'z') || c == '.' || c == '_' ||
           c == '-';
}

bool name_is_valid(struct str text)
{
    if (text.n == 0 || text.n > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (!is_name_char(text.p[i]))
            return false;
    return true;
}

bool cluster_id_is_valid(struct str text)
{
    if (text.n == 0 || text.n > CLUSTER_ID_MAX)
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (!is_name_char(text.p[i]) && !strchr("/:@", text.p[i]))
            return false;
    return true;
}

bool hash_key_is_valid(struct str text)
{
    bool named = str_starts(text, STR("header:")) || str_starts(text, STR("cookie:"));
    return str_eq(text, STR("source")) || str_eq(text, STR("uri")) ||
           (named && name_is_valid(str_make(text.p + 7, text.n - 7)));
}

static void check_name(struct reader *r, char *const *name)
{
    if (*name && !name_is_valid(str_of(*name)))
        reader_error(r, name, "\"%s\" is no name: expected 1 to %d of A-Z a-z 0-9 . _ -", *name,
                     NAME_MAX_BYTES);
}

/* ---- addresses ---- */

static void check_address(struct reader *r, char *const *address)
{
    if (*address && !address_is_valid(str_of(*address)))
        reader_error(r, address,
                     "\"%s\" is no address: expected \"10.0.0.1:80\", \"[::1]:80\" or \"unix:/path\"",
                     *address);
}

/* Of a server behind us: it may have a name. */
static void check_endpoint(struct reader *r, char *const *address)
{
    if (*address && !address_is_valid(str_of(*address)) && !address_is_name(str_of(*address)))
        reader_error(r, address,
                     "\"%s\" is no address: expected \"10.0.0.1:80\", \"[::1]:80\", \"app.internal:80\" or "
                     "\"unix:/path\"",
                     *address);
}

static void check_resolver(const struct resolver_settings *s, struct reader *r)
{
    for (size_t i = 0; i < s->servers.n; i++)
        if (!address_is_server(str_of(s->servers.v[i])))
            reader_error(r, &s->servers,
                         "\"%s\" in resolver: expected \"10.0.0.53\", \"10.0.0.53:5353\" or \"[::1]:53\"",
                         s->servers.v[i]);
    if (s->min_ttl_ms > s->max_ttl_ms)
        reader_error(r, &s->min_ttl_ms, "min_ttl is above max_ttl");
}

/* ---- sections ---- */

static void check_listeners(const struct settings *s, struct reader *r)
{
    struct name_set addresses = {0};
    EACH(const struct listener_settings, listener, s->listeners)
    {
        check_name(r, &listener->name);
        check_address(r, &listener->address);
        if (listener->address)
            name_set_add(&addresses, must(str_dup(str_of(listener->address))), &listener->address);
        if (listener->proxy_protocol && !listener->proxy_from.count && listener->address &&
            !str_starts(str_of(listener->address), STR("unix:")))
            reader_error(
                r, &listener->proxy_protocol,
                "proxy_protocol = \"required\" needs proxy_protocol_from: the networks that the headers may "
                "come from");
        if (listener->max_line_bytes > listener->max_header_bytes)
            reader_error(r, &listener->max_line_bytes, "max_line_size is above max_header_size");
    }
    name_set_close(&addresses, r, "listener with address");
    name_set_free(&addresses);
}

static bool has_var(const struct vars *vars, const char *name)
{
    for (size_t i = 0; i < vars->n; i++)
        if (strcmp(vars->names[i], name) == 0)
            return true;
    return false;
}

static bool is_param_name(const char *name)
{
    for (; *name; name++)
        if (!(*name == '_' || (*name >= 'A' && *name <= 'Z') || (*name >= 'a' && *name <= 'z') ||
              (*name >= '0' && *name <= '9')))
            return false;
    return true;
}

static bool is_try(struct str word)
{
    uint64_t status;
    if (str_starts(word, STR("=")))
        return word.n == 4 && str_to_u64(str_make(word.p + 1, 3), &status) && status >= 200 && status <= 599;
    return str_eq(word, STR("@app")) || str_starts(word, STR("$uri")) || str_starts(word, STR("/"));
}

static void check_files(const struct files_settings *files, struct reader *r)
{
    for (size_t i = 0; i < files->try_files.n; i++)
        if (!is_try(str_of(files->try_files.v[i])))
            reader_error(r, &files->try_files,
                         "\"%s\" in try_files: expected \"$uri...\", \"/...\", \"@app\" or \"=404\"",
                         files->try_files.v[i]);
    if (files->try_files.n && !files->root)
        reader_error(r, &files->try_files, "try_files without root in files");
    struct str prefix = str_of(files->internal_prefix);
    if (!str_starts(prefix, STR("/")) || !str_ends(prefix, STR("/")))
        reader_error(r, &files->internal_prefix, "internal_prefix must begin and end with \"/\"");
}

static bool is_cookie_name(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!is_name_char(text.p[i]))
            return false;
    return text.n > 0 && text.n <= 64;
}

static void check_balance(const struct settings *s, const struct cluster_options *o, struct reader *r)
{
    if (!o->sticky.cookie)
        return;
    if (!is_cookie_name(str_of(o->sticky.cookie)))
        reader_error(r, &o->sticky.cookie, "\"%s\" in sticky: expected 1 to 64 of A-Z a-z 0-9 . _ -",
                     o->sticky.cookie);
    if (!s->sticky_secret && !s->sticky_secret_file)
        reader_error(r, &o->sticky.cookie,
                     "a sticky cookie needs sticky_secret or sticky_secret_file at the top level");
}

static void complain(void *ctx, const void *at, const char *what)
{
    reader_error(ctx, at, "%s", what);
}

static void check_options(const struct settings *s, const struct cluster_options *o, struct reader *r,
                          const void *at)
{
    bool has_script = o->fastcgi.document_root || has_var(&o->fastcgi.params, "SCRIPT_FILENAME");
    if (o->protocol == PROTOCOL_FASTCGI && !has_script)
        reader_error(r, at,
                     "protocol = \"fastcgi\" needs document_root, the folder of the application as the PHP "
                     "side sees it");
    if (o->protocol == PROTOCOL_FILES && !o->files.root)
        reader_error(r, at, "protocol = \"files\" needs files = { root = \"...\"; }");
    (void)!cluster_options_check(o, complain, r); /* the reader counts */
    for (size_t i = 0; i < o->fastcgi.params.n; i++)
        if (!is_param_name(o->fastcgi.params.names[i]))
            reader_error(r, &o->fastcgi.params, "\"%s\" is no FastCGI parameter: expected A-Z a-z 0-9 _",
                         o->fastcgi.params.names[i]);
    if (o->fastcgi.index && (!o->fastcgi.index[0] || strchr(o->fastcgi.index, '/')))
        reader_error(r, &o->fastcgi.index, "\"%s\" in fastcgi: index is the name of a file",
                     o->fastcgi.index);
    check_files(&o->files, r);
    settings_check_compress(&o->compress, r);
    check_balance(s, o, r);
}

static void check_clusters(const struct settings *s, struct reader *r)
{
    size_t endpoints = 0;
    EACH(const struct cluster_settings, cluster, s->clusters)
    {
        if (cluster->name && !cluster_id_is_valid(str_of(cluster->name)))
            reader_error(r, &cluster->name,
                         "\"%s\" is no cluster id: expected 1 to %d of A-Z a-z 0-9 . _ / : @ -",
                         cluster->name, CLUSTER_ID_MAX);
        check_options(s, &cluster->options, r, cluster);
        EACH(const struct endpoint_settings, endpoint, cluster->endpoints)
        {
            check_endpoint(r, &endpoint->address);
        }
        if (cluster->options.protocol == PROTOCOL_FILES && cluster->endpoints.count)
            reader_error(r, &cluster->endpoints, "a cluster with protocol = \"files\" has no endpoints");
        endpoints += cluster->endpoints.count;
    }
    if (s->clusters.count > (size_t)s->max_clusters)
        reader_error(r, &s->clusters, "%zu clusters, but max_clusters is %ld", s->clusters.count,
                     (long)s->max_clusters);
    if (endpoints > (size_t)s->max_endpoints)
        reader_error(r, &s->clusters, "%zu endpoints, but max_endpoints is %ld", endpoints,
                     (long)s->max_endpoints);
}

static void check_cartridges(const struct settings *s, struct reader *r)
{
    EACH(const struct cartridge_settings, cartridge, s->cartridges)
    {
        check_name(r, &cartridge->name);
        const struct plugin_settings *plugin =
            cartridge->actuator ? settings_plugin(s, cartridge->actuator) : NULL;
        if (cartridge->actuator && !plugin)
            reader_error(r, &cartridge->actuator,
                         "cartridge \"%s\" names actuator \"%s\", but no plugin has that name",
                         cartridge->name ? cartridge->name : "", cartridge->actuator);
        if (plugin && plugin->plugin && strcmp(plugin->plugin, "process") == 0 && !cartridge->command.n)
            reader_error(r, cartridge, "a cartridge that \"process\" runs needs a command");
        if (cartridge->command.n && !cartridge->command.v[0][0])
            reader_error(r, &cartridge->command, "the command is an empty string");
        if (!cartridge->ports.count)
            reader_error(r, cartridge, "a cartridge needs at least one port");
        for (size_t i = 0; i < cartridge->environment.n; i++)
            if (!is_param_name(cartridge->environment.names[i]))
                reader_error(r, &cartridge->environment,
                             "\"%s\" is no environment variable: expected A-Z a-z 0-9 _",
                             cartridge->environment.names[i]);
        EACH(const struct port_settings, port, cartridge->ports)
        {
            check_name(r, &port->name);
            check_options(s, &port->options, r, port);
            if (port->options.protocol == PROTOCOL_FILES)
                reader_error(r, &port->options.protocol, "a port speaks http or fastcgi");
        }
    }
}

/* ---- routes ---- */

static bool is_host_name(struct str host)
{
    uint8_t ip[16];
    if (cidr_ip_parse(host, ip))
        return str_find(host, ':') < 0 || host.p[0] == '[';
    if (host.n == 0 || host.n > 253)
        return false;
    struct str label;
    for (struct str rest = host; str_next(&rest, '.', &label);) {
        if (label.n == 0 || label.n > 63)
            return false;
        for (size_t i = 0; i < label.n; i++)
            if (!is_name_char(label.p[i]) || label.p[i] == '.')
                return false;
    }
    return host.p[host.n - 1] != '.';
}

static bool is_route_host(struct str host)
{
    if (str_eq(host, STR("*")))
        return true;
    if (str_starts(host, STR("*.")))
        host = str_make(host.p + 2, host.n - 2);
    return is_host_name(host);
}

static bool is_route_path(struct str path)
{
    if (path.n == 0 || path.n > 1024 || path.p[0] != '/')
        return false;
    for (size_t i = 0; i < path.n; i++)
        if ((unsigned char)path.p[i] <= ' ' || strchr("?#\\\x7f", path.p[i]))
            return false;
    return true;
}

static void check_host(struct reader *r, const char *host, const void *at)
{
    if (!is_route_host(str_of(host)))
        reader_error(r, at, "\"%s\" is no host: expected \"shop.example.com\", \"*.example.com\" or \"*\"",
                     host);
}

static void check_path(struct reader *r, const char *path, const void *at)
{
    if (!is_route_path(str_of(path)))
        reader_error(r, at, "\"%s\" is no path prefix: expected \"/...\" without ? # and blanks", path);
}

static void put_words(struct buf *b, char kind, const struct strings *list)
{
    for (size_t i = 0; i < list->n; i++)
        buf_printf(b, " %c:%s", kind, list->v[i]);
}

/* Host in small letters, a blank, the path without a slash at its end, and the conditions: what makes two
 * routes the same. */
static char *route_key(const char *host, const char *path, const struct route_options *o)
{
    struct buf b;
    buf_init(&b);
    for (; *host; host++) {
        char c = char_lower(*host);
        buf_put(&b, &c, 1);
    }
    struct str p = str_of(path);
    while (p.n > 1 && str_ends(p, STR("/")))
        p.n--;
    buf_printf(&b, " %.*s", STR_ARG(p));
    if (o) {
        put_words(&b, 'm', &o->methods);
        put_words(&b, 'h', &o->headers);
        put_words(&b, 'q', &o->query);
        put_words(&b, 'c', &o->cookies);
    }
    buf_put(&b, "", 1);
    return b.p;
}

/* Whether some plugin may deliver clusters that the file does not name. Of the plugins that come with the
 * program these are known not to; of all others we cannot tell before they are loaded. */
static bool may_discover(const struct settings *s)
{
    static const char *const without[] = {"process", "mock", "eventbus", "haproxy", NULL};
    EACH(const struct plugin_settings, plugin, s->plugins)
    {
        struct str name = str_of(plugin->plugin);
        bool known = str_starts(name, STR("scale_"));
        for (size_t i = 0; without[i] && !known; i++)
            known = str_eq(name, str_of(without[i]));
        if (!known)
            return true;
    }
    return false;
}

/* known: NULL when there may be others. */
static void check_target(struct reader *r, char *const *cluster, const char *what,
                         const struct name_set *known)
{
    if (*cluster && known && cluster_id_is_valid(str_of(*cluster)) && !name_set_has(known, *cluster))
        reader_error(r, cluster, "%s cluster \"%s\", which nothing makes", what, *cluster);
}

static void check_route(struct reader *r, const struct route_settings *route, const struct name_set *known)
{
    const struct route_options *o = &route->options;
    (void)!route_options_check(o, route->cluster != NULL, complain, r); /* the reader counts */
    if (route->cluster && !cluster_id_is_valid(str_of(route->cluster)))
        reader_error(r, &route->cluster, "\"%s\" is no cluster id", route->cluster);
    check_target(r, &route->cluster, "route to", known);
    EACH(const struct split_settings, split, o->clusters)
    {
        check_target(r, &split->cluster, "route to", known);
    }
    check_target(r, &o->mirror.cluster, "copies for", known);
}

/* A backup is looked up by its name when it is needed; one that nothing makes would never be noticed. */
static void check_backups(const struct settings *s, struct reader *r, const struct name_set *known)
{
    bool any = may_discover(s);
    EACH(const struct cluster_settings, cluster, s->clusters)
    {
        char *const *backup = &cluster->options.backup;
        if (*backup && cluster->name && str_eq(str_of(*backup), str_of(cluster->name)))
            reader_error(r, backup, "cluster \"%s\" is its own backup", *backup);
        check_target(r, backup, "backup", any ? NULL : known);
    }
}

static void check_routes(const struct settings *s, struct reader *r, const struct name_set *clusters,
                         struct name_set *routes)
{
    bool any = may_discover(s);
    EACH(const struct route_settings, route, s->routes)
    {
        check_host(r, route->host, &route->host);
        check_path(r, route->path, &route->path);
        name_set_add(routes, route_key(route->host, route->path, &route->options), route);
        check_route(r, route, any ? NULL : clusters);
    }
}

/* ---- applications ---- */

static void add_ids(const struct settings *s, const struct application_settings *app,
                    const struct alias_settings *alias, struct name_set *clusters)
{
    const struct cartridge_settings *cartridge = settings_cartridge(s, alias->type);
    if (!cartridge || !app->name || !alias->alias)
        return;
    EACH(const struct port_settings, port, cartridge->ports)
    {
        struct buf id;
        buf_init(&id);
        settings_cluster_id(&id, app->name, alias->alias, port->name);
        buf_put(&id, "", 1);
        name_set_add(clusters, id.p, alias);
    }
}

static void check_alias(const struct settings *s, struct reader *r, const struct application_settings *app,
                        const struct alias_settings *alias)
{
    check_name(r, &alias->alias);
    check_path(r, alias->path, &alias->path);
    if (alias->type && !settings_cartridge(s, alias->type))
        reader_error(r, &alias->type,
                     "alias \"%s\" of application \"%s\" names cartridge \"%s\", which does not exist",
                     alias->alias ? alias->alias : "", app->name ? app->name : "", alias->type);
    if (alias->min > alias->max)
        reader_error(r, &alias->min, "min is above max");
    settings_check_scaling(s, r, &alias->scaling, alias->max);
}

static void check_applications(const struct settings *s, struct reader *r, struct name_set *clusters,
                               struct name_set *routes)
{
    EACH(const struct application_settings, app, s->applications)
    {
        check_name(r, &app->name);
        for (size_t i = 0; i < app->hosts.n; i++)
            check_host(r, app->hosts.v[i], &app->hosts);
        if (!app->cartridges.count)
            reader_error(r, app, "an application needs at least one cartridge");
        EACH(const struct alias_settings, alias, app->cartridges)
        {
            check_alias(s, r, app, alias);
            add_ids(s, app, alias, clusters);
            for (size_t i = 0; i < app->hosts.n; i++)
                name_set_add(routes, route_key(app->hosts.v[i], alias->path, NULL), alias);
        }
    }
}

/* ---- the top level ---- */

static bool is_token(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if (!is_name_char(text.p[i]) && !strchr("!#$%&'*+^`|~", text.p[i]))
            return false;
    return text.n > 0 && text.n <= 64;
}

/* Whether only this machine can reach it. */
static bool is_local(struct str address)
{
    return str_starts(address, STR("unix:")) || str_starts(address, STR("127.")) ||
           str_starts(address, STR("[::1]:"));
}

static void check_admin(const struct settings *s, struct reader *r)
{
    const struct admin_settings *a = &s->admin;
    if (!a->address) {
        if (a->token_file)
            reader_error(r, &a->token_file, "token_file without an address in admin");
        return;
    }
    check_address(r, &a->address);
    if (!a->token_file && !is_local(str_of(a->address)))
        reader_error(r, &a->address,
                     "\"%s\" can be reached from elsewhere: admin needs a token_file, or a loopback address "
                     "or unix socket",
                     a->address);
    EACH(const struct listener_settings, listener, s->listeners)
    {
        if (listener->address && str_eq(str_of(listener->address), str_of(a->address)))
            reader_error(r, &a->address, "\"%s\" is the address of a listener already", a->address);
    }
}

static void check_top(const struct settings *s, struct reader *r)
{
    check_admin(s, r);
    check_resolver(&s->resolver, r);
    settings_check_syslog(s, r);
    if (!is_token(str_of(s->server_name)))
        reader_error(r, &s->server_name, "server_name must be a token of RFC 9110, 1 to 64 letters");
    if (s->control && strlen(s->control) >= sizeof((struct sockaddr_un *)0)->sun_path)
        reader_error(r, &s->control, "the path of a unix socket has at most %zu bytes",
                     sizeof((struct sockaddr_un *)0)->sun_path - 1);
    EACH(const struct plugin_settings, plugin, s->plugins)
    {
        check_name(r, &plugin->name);
        if (plugin->plugin && !name_is_valid(str_of(plugin->plugin)))
            reader_error(r, &plugin->plugin, "\"%s\" is no name of a plugin", plugin->plugin);
    }
}

void settings_check(const struct settings *s, struct reader *r)
{
    struct name_set clusters = {0}, routes = {0};
    check_top(s, r);
    check_listeners(s, r);
    check_clusters(s, r);
    check_cartridges(s, r);
    check_applications(s, r, &clusters, &routes);
    settings_check_place(s, r);
    settings_check_tls(s, r);
    settings_check_policies(s, r);
    EACH(const struct cluster_settings, cluster, s->clusters)
    {
        if (cluster->name)
            name_set_add(&clusters, must(str_dup(str_of(cluster->name))), cluster);
    }
    name_set_close(&clusters, r, "cluster");
    check_routes(s, r, &clusters, &routes);
    check_backups(s, r, &clusters);
    name_set_close(&routes, r, "route");
    settings_guard_check(s, r);
    name_set_free(&clusters);
    name_set_free(&routes);
}
