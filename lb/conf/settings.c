#include "conf/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/panic.h"
#include "conf/options_row.h"
#include "conf/reader.h"
#include "conf/settings_check.h"
#include "conf/settings_guard.h"

#ifndef PLUGIN_DIR /* the build says where make install puts them */
#define PLUGIN_DIR "/usr/local/lib/coxswain"
#endif

/* What a request may wait for in a set of members unless the user says otherwise: they come and go. */
#define PORT_HOLD_MAX 256

/* Of the sticky secret. */
#define SECRET_MIN 16
#define SECRET_MAX 4096

void settings_set_id(struct buf *out, const char *application, const char *alias)
{
    /* One instance of each for now; the id has room for more (set id = application/instance/group/alias). */
    buf_printf(out, "%s/1/1/%s", application, alias);
}

void settings_cluster_id(struct buf *out, const char *application, const char *alias, const char *port)
{
    settings_set_id(out, application, alias);
    buf_printf(out, ":%s", port);
}

const struct cartridge_settings *settings_cartridge(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->cartridges.count; i++) {
        const struct cartridge_settings *c = SETTINGS_AT(s->cartridges, struct cartridge_settings, i);
        if (name && c->name && strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

const struct plugin_settings *settings_plugin(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->plugins.count; i++) {
        const struct plugin_settings *p = SETTINGS_AT(s->plugins, struct plugin_settings, i);
        if (name && p->name && strcmp(p->name, name) == 0)
            return p;
    }
    return NULL;
}

const struct partition_settings *settings_partition(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->partitions.count; i++) {
        const struct partition_settings *p = SETTINGS_AT(s->partitions, struct partition_settings, i);
        if (name && p->name && strcmp(p->name, name) == 0)
            return p;
    }
    return NULL;
}

const struct network_partition_settings *settings_network_partition(const struct settings *s,
                                                                    const char *name)
{
    for (size_t i = 0; i < s->network_partitions.count; i++) {
        const struct network_partition_settings *n =
            SETTINGS_AT(s->network_partitions, struct network_partition_settings, i);
        if (name && n->name && strcmp(n->name, name) == 0)
            return n;
    }
    return NULL;
}

const struct deployment_policy_settings *settings_deployment_policy(const struct settings *s,
                                                                    const char *name)
{
    for (size_t i = 0; i < s->deployment_policies.count; i++) {
        const struct deployment_policy_settings *p =
            SETTINGS_AT(s->deployment_policies, struct deployment_policy_settings, i);
        if (name && p->name && strcmp(p->name, name) == 0)
            return p;
    }
    return NULL;
}

void cluster_options_settle(struct cluster_options *o)
{
    bool fastcgi = o->protocol == PROTOCOL_FASTCGI;
    if (!o->request_buffer_set)
        o->request_buffer = fastcgi;
    if (!o->response_buffer_set)
        o->response_buffer = fastcgi;
    if (!o->probe.path && o->probe.kind == PROBE_HTTP)
        o->probe.path = must(str_dup(STR("/")));
    if (!o->probe.path && o->probe.kind == PROBE_FASTCGI)
        o->probe.path = must(str_dup(STR("/ping")));
}

static void replace(char **member, const char *text)
{
    free(*member);
    *member = must(str_dup(str_of(text)));
}

/* What stands in the cartridge goes to the ports that do not say it themselves. */
static void settle_port(const struct cartridge_settings *cartridge, struct port_settings *port,
                        struct reader *r)
{
    struct cluster_options *o = &port->options;
    if (o->protocol == PROTOCOL_FASTCGI) {
        if (cartridge->document_root && !o->fastcgi.document_root)
            replace(&o->fastcgi.document_root, cartridge->document_root);
        if (cartridge->index && !reader_has(r, &o->fastcgi.index))
            replace(&o->fastcgi.index, cartridge->index);
    }
    if (!reader_has(r, &o->hold_max))
        o->hold_max = PORT_HOLD_MAX;
    cluster_options_settle(o);
}

static void settle_cluster(struct cluster_settings *cluster, struct reader *r)
{
    struct scale_settings *scale = &cluster->scale;
    cluster_options_settle(&cluster->options);
    if (!SCALE_IS_SET(scale))
        return;
    if (!reader_has(r, &scale->max) && scale->max < scale->min)
        scale->max = scale->min;
    settings_settle_scaling(&scale->scaling, r);
    if (!reader_has(r, &cluster->options.hold_max))
        cluster->options.hold_max = PORT_HOLD_MAX;
}

static void settle_plugin(struct plugin_settings *plugin, struct reader *r)
{
    const char *file;
    if (!plugin->plugin && plugin->name)
        plugin->plugin = must(str_dup(str_of(plugin->name)));
    reader_place(r, plugin, &file, &plugin->line);
    plugin->file = must(str_dup(str_of(file)));
}

static bool asks_clients(const struct tls_listener_settings *t)
{
    bool asks = t->client_auth.mode > CLIENT_AUTH_OFF;
    for (size_t i = 0; i < t->certificates.count; i++)
        asks |= SETTINGS_AT(t->certificates, struct tls_certificate_settings, i)->client_auth.mode >
                CLIENT_AUTH_OFF;
    return asks;
}

/* The body of a fixed reply, from its file. */
static void read_reply(struct reply_settings *reply, struct reader *r)
{
    struct buf body;
    buf_init(&body);
    int fd = open(reply->file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf_reserve(&body, ROUTE_REPLY_MAX + 2), ROUTE_REPLY_MAX + 1) : -1;
    if (n < 0)
        reader_error(r, &reply->file, "\"%s\": %s", reply->file, strerror(errno));
    else if (n > (ssize_t)ROUTE_REPLY_MAX)
        reader_error(r, &reply->file, "\"%s\" is larger than %u bytes", reply->file, ROUTE_REPLY_MAX);
    else if (n && memchr(body.p, 0, (size_t)n))
        reader_error(r, &reply->file, "\"%s\" is no text: it has a byte 0", reply->file);
    else if (reply->body)
        reader_error(r, &reply->file, "body or file, not both");
    else
        reply->body = must(str_dup(str_make(body.p, (size_t)n)));
    if (fd >= 0)
        close(fd);
    buf_fini(&body);
}

static void settle_route(struct route_settings *route, struct reader *r)
{
    struct reply_settings *reply = &route->options.reply;
    route_options_settle(&route->options);
    if (!reply->file)
        return;
    read_reply(reply, r);
    free(reply->file);
    reply->file = NULL;
}

/* Values that depend on others. */
static void settle(struct settings *s, struct reader *r)
{
    if (!s->plugin_dir) /* no default of the table: the manual must not depend on the prefix of a build */
        s->plugin_dir = must(str_dup(STR(PLUGIN_DIR)));
    for (size_t i = 0; i < s->listeners.count; i++) {
        const struct tls_listener_settings *t = &SETTINGS_AT(s->listeners, struct listener_settings, i)->tls;
        s->asks_clients |= asks_clients(t);
        s->takes_early_data |= t->early_data;
    }
    for (size_t i = 0; i < s->clusters.count; i++)
        settle_cluster(SETTINGS_AT(s->clusters, struct cluster_settings, i), r);
    for (size_t i = 0; i < s->routes.count; i++)
        settle_route(SETTINGS_AT(s->routes, struct route_settings, i), r);
    for (size_t i = 0; i < s->plugins.count; i++)
        settle_plugin(SETTINGS_AT(s->plugins, struct plugin_settings, i), r);
    for (size_t i = 0; i < s->policies.count; i++)
        settle_plugin(SETTINGS_AT(s->policies, struct plugin_settings, i), r);
    for (size_t i = 0; i < s->cartridges.count; i++) {
        struct cartridge_settings *c = SETTINGS_AT(s->cartridges, struct cartridge_settings, i);
        for (size_t j = 0; j < c->ports.count; j++)
            settle_port(c, SETTINGS_AT(c->ports, struct port_settings, j), r);
    }
    for (size_t i = 0; i < s->applications.count; i++) {
        struct application_settings *app = SETTINGS_AT(s->applications, struct application_settings, i);
        for (size_t j = 0; j < app->cartridges.count; j++) {
            struct alias_settings *alias = SETTINGS_AT(app->cartridges, struct alias_settings, j);
            if (!reader_has(r, &alias->max) && alias->max < alias->min)
                alias->max = alias->min;
            settings_settle_scaling(&alias->scaling, r);
        }
    }
}

/* The secret without the line end that editors leave. */
static void read_secret(struct settings *s, struct reader *r)
{
    char bytes[SECRET_MAX + 1];
    int fd = open(s->sticky_secret_file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, bytes, sizeof bytes) : -1;
    if (n < 0)
        reader_error(r, &s->sticky_secret_file, "\"%s\": %s", s->sticky_secret_file, strerror(errno));
    else if (n > SECRET_MAX)
        reader_error(r, &s->sticky_secret_file, "\"%s\" is longer than %d bytes", s->sticky_secret_file,
                     SECRET_MAX);
    else {
        while (n > 0 && (bytes[n - 1] == '\n' || bytes[n - 1] == '\r'))
            n--;
        s->sticky_key = str_make(must(str_dup(str_make(bytes, (size_t)n))), (size_t)n);
    }
    if (fd >= 0)
        close(fd);
}

static void settle_secret(struct settings *s, struct reader *r)
{
    size_t before = r->error_count;
    if (s->sticky_secret && s->sticky_secret_file)
        reader_error(r, &s->sticky_secret_file,
                     "sticky_secret and sticky_secret_file: one of them, not both");
    else if (s->sticky_secret_file)
        read_secret(s, r);
    else if (s->sticky_secret)
        s->sticky_key = str_make(must(str_dup(str_of(s->sticky_secret))), strlen(s->sticky_secret));
    else
        return;
    if (r->error_count == before && s->sticky_key.n < SECRET_MIN)
        reader_error(r, s->sticky_secret ? &s->sticky_secret : &s->sticky_secret_file,
                     "the sticky secret is shorter than %d bytes", SECRET_MIN);
}

static void compile_format(const struct settings *s, struct reader *r, const void *at, const char *text,
                           struct log_format **out)
{
    struct buf message;
    buf_init(&message);
    if (!log_format_create(text, s->log.access_escape == 1, out, &message))
        reader_error(r, at, "access_format: %.*s", (int)message.len, message.p);
    buf_fini(&message);
}

/* Each listener has its own copy: they are few, and nobody needs to know whose it is. */
static void settle_formats(struct settings *s, struct reader *r)
{
    struct log_format *common;
    size_t before = r->error_count;
    compile_format(s, r, &s->log.access_format, s->log.access_format, &common);
    bool ok = r->error_count == before;
    log_format_destroy(&common);
    for (size_t i = 0; i < s->listeners.count; i++) {
        struct listener_settings *l = SETTINGS_AT(s->listeners, struct listener_settings, i);
        if (l->access_format)
            compile_format(s, r, &l->access_format, l->access_format, &l->log_format);
        else if (ok)
            compile_format(s, r, &s->log.access_format, s->log.access_format, &l->log_format);
    }
}

static struct settings *settings_create(void)
{
    struct settings *s = must(malloc(sizeof *s));
    options_init(&settings_table, s);
    return s;
}

/* Checks what could be read, even when something else could not, so that all errors are said at once. */
static struct settings *finish(struct settings *s, struct reader *r, bool ok)
{
    if (r->place_count) { /* there is a tree at all */
        settle(s, r);
        settle_secret(s, r);
        settle_formats(s, r);
        settings_guard_load(s, r);
        settings_check(s, r);
        ok = ok && r->error_count == 0;
    }
    reader_fini(r);
    if (!ok)
        settings_free(&s);
    return s;
}

struct settings *settings_load(const char *file, struct buf *errors)
{
    struct reader r;
    struct settings *s = settings_create();
    reader_init(&r, errors);
    s->file = realpath(file, NULL);
    bool ok = reader_read_file(&r, file, &settings_table, s);
    return finish(s, &r, ok && s->file);
}

struct settings *settings_load_text(const char *text, size_t n, struct buf *errors)
{
    struct reader r;
    struct settings *s = settings_create();
    reader_init(&r, errors);
    bool ok = reader_read_text(&r, "text", str_make(text, n), &settings_table, s);
    return finish(s, &r, ok);
}

void settings_free(struct settings **s)
{
    if (!*s)
        return;
    free((*s)->file);
    free((char *)(uintptr_t)(*s)->sticky_key.p);
    for (size_t i = 0; i < (*s)->plugins.count; i++)
        free(SETTINGS_AT((*s)->plugins, struct plugin_settings, i)->file);
    for (size_t i = 0; i < (*s)->policies.count; i++)
        free(SETTINGS_AT((*s)->policies, struct plugin_settings, i)->file);
    for (size_t i = 0; i < (*s)->listeners.count; i++)
        log_format_destroy(&SETTINGS_AT((*s)->listeners, struct listener_settings, i)->log_format);
    settings_guard_free(*s);
    options_free(&settings_table, *s);
    free(*s);
    *s = NULL;
}
