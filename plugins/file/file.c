/* file: a discovery plugin that reads clusters, endpoints and routes from a file and follows its changes.
 *
 *   inotify on the folder ─► settle ─► offload: read, parse ─► done: one whole view ─► host
 *
 * The folder is watched, not the file: editors and deployment tools put a new file in the old one's place. A
 * poll now and then finds what inotify cannot see (a link into another folder, a network file system). A file
 * that is missing or wrong changes nothing: the last good view stays, and the reason is told once. */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <coxswain/plugin.h>

#include "common/doc.h"

#define FIELDS_MAX 200
#define KEY_BYTES  128
#define TEXT_BYTES 4096

enum { OPTION_PATH, OPTION_SETTLE, OPTION_POLL };
enum { SETTLES_MAX = 10 }; /* a file is read after so many times `settle`, at rest or not */

static const struct cox_option options[] = {
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_PATH,
     .flags = COX_OPTION_REQUIRED,
     .key = "path",
     .help = "The file. Names that end in .cfg or .conf are read as libconfig, all others as JSON."},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_DURATION,
     .key = "settle",
     .def = "20ms",
     .max = 60000,
     .help = "How long the file must be left alone before it is read, a writer may be in the middle of it; "
             "one that never "
             "rests is read after ten times that."},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_DURATION,
     .key = "poll",
     .def = "5s",
     .min = 100,
     .max = 86400000,
     .help = "How often the file is looked at even without a sign, for file systems that give none."},
};

/* One reading: made here, filled by the helper thread, used here. */
struct reading {
    struct instance *owner;
    const char *path; /* borrowed: of the options */
    char *text;       /* owned */
    size_t bytes;
    json_t *root; /* owned; NULL: why says it, or nothing changed */
    bool is_same; /* as the last that was read */
    char why[DOC_WHY_BYTES];
};

struct instance {
    const struct cox_host *host;
    const char *path; /* borrowed */
    char *folder;     /* owned */
    uint64_t settle_ms, poll_ms;
    int inotify; /* -1: none, poll only */
    struct cox_watch *watch;
    struct cox_timer *settle, *impatient,
        *poll;                 /* impatient: since the first sign, whatever comes behind it */
    bool is_reading, is_dirty; /* changed again while it was read */
    bool is_stopped;
    char *last; /* owned: what was read last, good or bad */
    size_t last_bytes;
};

/* ---- one view ---- */

struct fields {
    struct cox_pair pairs[FIELDS_MAX];
    char keys[FIELDS_MAX][KEY_BYTES];
    char *values[FIELDS_MAX]; /* owned */
    uint32_t count;
};

struct view {
    struct instance *p;
    char where[256]; /* "clusters[2]" */
    char why[DOC_WHY_BYTES];
    bool is_bad;
};

static void complain(struct view *v, const char *fmt, ...) COX_PRINTF(2, 3);

static void complain(struct view *v, const char *fmt, ...)
{
    char what[DOC_WHY_BYTES / 2];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    if (!v->is_bad)
        (void)snprintf(v->why, sizeof v->why, "%s: %s: %.250s", v->p->path, v->where, what);
    v->is_bad = true;
}

/* A value as it would stand in the config file; malloc'ed, NULL when there is no such form. */
static char *text_of(const json_t *value)
{
    char text[TEXT_BYTES] = "";
    size_t at = 0;
    switch (json_typeof(value)) {
    case JSON_STRING:
        return strdup(json_string_value(value));
    case JSON_INTEGER:
        (void)snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
        return strdup(text);
    case JSON_REAL:
        (void)snprintf(text, sizeof text, "%.17g", json_real_value(value));
        return strdup(text);
    case JSON_TRUE:
    case JSON_FALSE:
        return strdup(json_is_true(value) ? "true" : "false");
    case JSON_ARRAY:
        at += (size_t)snprintf(text, sizeof text, "[ ");
        for (size_t i = 0; i < json_array_size(value); i++) {
            const char *item = json_string_value(json_array_get(value, i));
            if (!item || strchr(item, '"') || strlen(item) + 8 > sizeof text - at)
                return NULL;
            at += (size_t)snprintf(text + at, sizeof text - at, "%s\"%s\"", i ? ", " : "", item);
        }
        (void)snprintf(text + at, sizeof text - at, " ]");
        return strdup(text);
    default:
        return NULL;
    }
}

static void add_field(struct view *v, struct fields *f, const char *prefix, const char *key,
                      const json_t *value)
{
    if (json_is_object(value) && !*prefix) { /* a group, such as probe: its keys with a dot */
        const char *inner;
        json_t *item;
        json_object_foreach((json_t *)(uintptr_t)value, inner, item) add_field(v, f, key, inner, item);
        return;
    }
    char *text = text_of(value);
    if (!text || f->count == FIELDS_MAX || strlen(prefix) + strlen(key) + 2 > KEY_BYTES) {
        complain(v, "%s: %s", key,
                 text ? "too many or too long" : "neither text, number, truth nor a list of texts");
        free(text);
        return;
    }
    const uint32_t i = f->count++;
    (void)snprintf(f->keys[i], KEY_BYTES, "%s%s%s", prefix, *prefix ? "." : "", key);
    f->values[i] = text;
    f->pairs[i] = (struct cox_pair){.size = sizeof f->pairs[i], .key = f->keys[i], .value = text};
}

static void free_fields(struct fields *f)
{
    for (uint32_t i = 0; i < f->count; i++)
        free(f->values[i]);
    free(f);
}

/* All members of an object but those in `except` become fields. */
static struct fields *read_fields(struct view *v, const json_t *object, const char *const *except)
{
    struct fields *f = calloc(1, sizeof *f);
    const char *key;
    json_t *value;
    if (!f) {
        complain(v, "out of memory");
        return NULL;
    }
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;
        while (except[i] && strcmp(except[i], key) != 0)
            i++;
        if (!except[i])
            add_field(v, f, "", key, value);
    }
    return f;
}

static void put(struct view *v, uint32_t kind, const char *id, const char *parent, const struct fields *f)
{
    const struct cox_host *host = v->p->host;
    const struct cox_object object = {.size = sizeof object,
                                      .kind = kind,
                                      .id = id,
                                      .parent = parent,
                                      .fields = {f->pairs, f->count, (uint32_t)sizeof f->pairs[0]}};
    if (!v->is_bad && host->put(host, &object) != COX_OK)
        complain(v, "%s", host->discovery_error(host));
}

static void put_endpoint(struct view *v, const char *cluster, const json_t *item)
{
    static const char *const except[] = {"id", "cluster", NULL};
    const char *text = json_string_value(item);
    json_t *object = text ? json_pack("{s:s}", "address", text) : json_incref((json_t *)(uintptr_t)item);
    const char *address = json_string_value(json_object_get(object, "address"));
    const char *id = json_string_value(json_object_get(object, "id"));
    struct fields *f = NULL;
    if (!json_is_object(object) || !address || !cluster)
        complain(v, cluster ? "an endpoint is an address or an object with one"
                            : "an endpoint without a cluster");
    else if ((f = read_fields(v, object, except)))
        put(v, COX_KIND_ENDPOINT, id ? id : address, cluster, f);
    if (f)
        free_fields(f);
    json_decref(object);
}

static void put_cluster(struct view *v, const json_t *item)
{
    static const char *const except[] = {"name", "endpoints", NULL};
    const char *name = json_string_value(json_object_get(item, "name"));
    const json_t *endpoints = json_object_get(item, "endpoints");
    if (!name || (endpoints && !json_is_array(endpoints))) {
        complain(v, name ? "endpoints must be a list" : "a cluster is an object with a name");
        return;
    }
    struct fields *f = read_fields(v, item, except);
    if (!f)
        return;
    put(v, COX_KIND_CLUSTER, name, NULL, f);
    free_fields(f);
    for (size_t i = 0; i < json_array_size(endpoints); i++)
        put_endpoint(v, name, json_array_get(endpoints, i));
}

static void put_route(struct view *v, const json_t *item)
{
    static const char *const except[] = {"host", "path", NULL};
    const char *host = json_string_value(json_object_get(item, "host"));
    const char *path = json_string_value(json_object_get(item, "path"));
    char id[TEXT_BYTES];
    if (!json_is_object(item)) {
        complain(v, "a route is an object with host, path and cluster");
        return;
    }
    (void)snprintf(id, sizeof id, "%s%s", host ? host : "*", path ? path : "/");
    struct fields *f = read_fields(v, item, except);
    if (!f)
        return;
    put(v, COX_KIND_ROUTE, id, NULL, f);
    free_fields(f);
}

static void put_loose_endpoint(struct view *v, const json_t *item)
{
    put_endpoint(v, json_string_value(json_object_get(item, "cluster")), item);
}

static void put_list(struct view *v, const char *key, const json_t *list,
                     void (*put_one)(struct view *, const json_t *))
{
    (void)snprintf(v->where, sizeof v->where, "%s", key);
    if (!json_is_array(list))
        complain(v, "must be a list");
    for (size_t i = 0; i < json_array_size(list) && !v->is_bad; i++) {
        (void)snprintf(v->where, sizeof v->where, "%s[%zu]", key, i);
        put_one(v, json_array_get(list, i));
    }
}

static void put_root(struct view *v, const json_t *root)
{
    const char *key;
    json_t *value;
    (void)snprintf(v->where, sizeof v->where, "file");
    if (!json_is_object(root))
        complain(v, "must be one object");
    json_object_foreach((json_t *)(uintptr_t)root, key, value)
    {
        if (strcmp(key, "clusters") == 0)
            put_list(v, key, value, put_cluster);
        else if (strcmp(key, "endpoints") == 0)
            put_list(v, key, value, put_loose_endpoint);
        else if (strcmp(key, "routes") == 0)
            put_list(v, key, value, put_route);
        else
            complain(v, "unknown key \"%s\"; there are clusters, endpoints and routes", key);
    }
}

static void push(struct instance *p, const json_t *root)
{
    struct view v = {.p = p};
    if (p->host->view_begin(p->host) != COX_OK)
        return;
    put_root(&v, root);
    if (v.is_bad) {
        p->host->view_drop(p->host);
        p->host->source_state(p->host, v.why);
        return;
    }
    (void)p->host->view_end(p->host); /* every put was good, so this is */
    p->host->source_state(p->host, NULL);
    cox_log(p->host, COX_LOG_INFO, "read %s", p->path);
}

/* ---- reading ---- */

/* On a helper thread: touches nothing but the reading. */
static void work(void *ctx)
{
    struct reading *r = ctx;
    if (!doc_read(r->path, &r->text, &r->bytes, r->why))
        return;
    const struct instance *p = r->owner;
    r->is_same = p->last && p->last_bytes == r->bytes && memcmp(p->last, r->text, r->bytes) == 0;
    if (!r->is_same)
        r->root = doc_parse(r->path, r->text, r->bytes, r->why);
}

static void read_file(struct instance *p);

static void done(void *ctx)
{
    struct reading *r = ctx;
    struct instance *p = r->owner;
    p->is_reading = false;
    if (!p->is_stopped && !r->is_same) {
        if (r->root)
            push(p, r->root);
        else
            p->host->source_state(p->host, r->why);
        free(p->last); /* a file that is gone and comes back is read again, even with the same content */
        p->last = r->text;
        p->last_bytes = r->bytes;
        r->text = NULL;
    }
    if (r->root)
        json_decref(r->root);
    free(r->text);
    free(r);
    if (p->is_dirty && !p->is_stopped)
        read_file(p);
}

/* One reading at a time: `last` belongs to the helper while it compares. */
static void read_file(struct instance *p)
{
    if (p->is_reading) {
        p->is_dirty = true;
        return;
    }
    struct reading *r = calloc(1, sizeof *r);
    p->is_dirty = false;
    if (!r)
        return;
    r->owner = p;
    r->path = p->path;
    p->is_reading = true;
    if (p->host->offload(p->host, work, done, r) == COX_OK)
        return;
    p->is_reading = false; /* the next poll tries again */
    free(r);
}

/* ---- watching ---- */

static void on_settled(void *ctx)
{
    struct instance *p = ctx;
    p->host->timer_stop(p->host, &p->settle);
    p->host->timer_stop(p->host, &p->impatient);
    read_file(p);
}

static void on_sign(void *ctx, int32_t fd, uint32_t events)
{
    struct instance *p = ctx;
    char bytes[4096];
    (void)events;
    while (read(fd, bytes, sizeof bytes) > 0)
        continue; /* any change in the folder is a sign: a link elsewhere in it may be what matters */
    p->host->timer_stop(p->host, &p->settle);
    p->settle = p->host->timer_start(p->host, p->settle_ms, 0, on_settled, p);
    if (!p->impatient) /* a folder that never rests must not keep us from ever reading */
        p->impatient = p->host->timer_start(p->host, p->settle_ms * SETTLES_MAX, 0, on_settled, p);
}

static void begin_watch(struct instance *p)
{
    p->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    const uint32_t what = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE | IN_ONLYDIR;
    if (p->inotify >= 0 && inotify_add_watch(p->inotify, p->folder, what) >= 0) {
        p->watch = p->host->watch_start(p->host, p->inotify, COX_READABLE, on_sign, p);
        return;
    }
    cox_log(p->host, COX_LOG_WARN, "cannot watch %s: %s; it is looked at from time to time", p->folder,
            strerror(errno));
    if (p->inotify >= 0)
        close(p->inotify);
    p->inotify = -1;
}

static void on_poll(void *ctx)
{
    read_file(ctx);
}

/* ---- life ---- */

static int32_t file_open(const struct cox_host *host, const struct cox_open *args, void **out_instance)
{
    struct instance *p = calloc(1, sizeof *p);
    if (!p)
        return COX_FAILED;
    p->host = host;
    p->inotify = -1;
    p->path = cox_option_at(args->options, OPTION_PATH)->text;
    p->settle_ms = (uint64_t)cox_option_at(args->options, OPTION_SETTLE)->i;
    p->poll_ms = (uint64_t)cox_option_at(args->options, OPTION_POLL)->i;
    const char *slash = strrchr(p->path, '/');
    p->folder = slash ? strndup(p->path, slash == p->path ? 1 : (size_t)(slash - p->path)) : strdup(".");
    if (!p->folder) {
        free(p);
        return COX_FAILED;
    }
    *out_instance = p;
    return COX_OK;
}

static int32_t file_start(void *instance)
{
    struct instance *p = instance;
    begin_watch(p); /* before the first reading, so that no change falls between the two */
    p->poll = p->host->timer_start(p->host, p->poll_ms, p->poll_ms, on_poll, p);
    read_file(p);
    return COX_OK;
}

static void file_stop(void *instance)
{
    struct instance *p = instance;
    p->is_stopped = true;
    p->host->timer_stop(p->host, &p->settle);
    p->host->timer_stop(p->host, &p->impatient);
    p->host->timer_stop(p->host, &p->poll);
    p->host->watch_stop(p->host, &p->watch);
    if (p->inotify >= 0)
        close(p->inotify);
    p->inotify = -1;
}

static void file_close(void *instance)
{
    struct instance *p = instance;
    free(p->last);
    free(p->folder);
    free(p);
}

static void refresh(void *instance)
{
    read_file(instance);
}

static const struct cox_discovery discovery = {.size = sizeof discovery,
                                               .flags = COX_DISCOVERY_CLUSTERS | COX_DISCOVERY_ENDPOINTS |
                                                        COX_DISCOVERY_ROUTES,
                                               .refresh = refresh};

COX_EXPORT const struct cox_plugin cox_plugin = {.size = sizeof cox_plugin,
                                                 .abi = COX_ABI,
                                                 .name = "file",
                                                 .summary =
                                                     "clusters, endpoints and routes from a watched file",
                                                 .version = "1",
                                                 .options = COX_ARRAY(options),
                                                 .open = file_open,
                                                 .start = file_start,
                                                 .stop = file_stop,
                                                 .close = file_close,
                                                 .discovery = &discovery};
