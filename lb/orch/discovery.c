#include "orch/discovery.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/panic.h"
#include "orch/host.h"

#define ID_BYTES_MAX 255
#define FIELDS_MAX   256
#define WEIGHT_MAX   1000
#define PRIORITY_MAX 255

/* A put that waits for the end of its view: a deep copy of the object. */
struct edit {
    struct list node;
    struct cox_object object; /* its texts and fields are in `texts` and `pairs` */
    struct cox_pair *pairs;   /* owned */
    char **texts;             /* owned, and each */
    size_t text_count;
};

static int32_t refuse(struct plugin *p, int32_t result, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int32_t refuse(struct plugin *p, int32_t result, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    p->refusal.len = 0;
    buf_vprintf(&p->refusal, fmt, ap);
    va_end(ap);
    return result;
}

const char *discovery_refusal(const struct cox_host *table)
{
    struct plugin *p = host_plugin(table);
    if (p->refusal.len == 0)
        return "";
    *buf_reserve(&p->refusal, 1) = 0; /* behind the text, which stays as long as it is */
    return p->refusal.p;
}

/* ---- what the fields of each kind mean ---- */

static bool read_number(const char *text, uint64_t max, uint64_t *out)
{
    return str_to_u64(str_of(text), out) && *out <= max;
}

static bool read_readiness(const char *text, uint8_t *out)
{
    static const char *const words[] = {"not_ready", "ready", "terminating"};
    for (uint8_t i = 0; i < 3; i++)
        if (strcmp(text, words[i]) == 0) {
            *out = i; /* the order of enum endpoint_readiness */
            return true;
        }
    return false;
}

/* One field of an endpoint; false when its value is wrong; *known says whether there is such a field. */
static bool read_endpoint_field(struct endpoint_draft *e, const struct cox_pair *f, bool *known)
{
    uint64_t n = 0;
    *known = true;
    if (strcmp(f->key, "address") == 0)
        return addr_parse(str_of(f->value), &e->addr);
    if (strcmp(f->key, "ready") == 0)
        return read_readiness(f->value, &e->readiness);
    if (strcmp(f->key, "weight") == 0) {
        const bool ok = read_number(f->value, WEIGHT_MAX, &n);
        e->weight = (uint32_t)n;
        return ok;
    }
    if (strcmp(f->key, "priority") == 0) {
        const bool ok = read_number(f->value, PRIORITY_MAX, &n);
        e->priority = (uint8_t)n;
        return ok;
    }
    const struct {
        const char *key;
        struct str *to;
    } texts[] = {{"member", &e->member},
                 {"platform_uid", &e->platform_uid},
                 {"revision", &e->revision},
                 {"partition", &e->partition},
                 {"network_partition", &e->network_partition}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(f->key, texts[i].key) == 0) {
            *texts[i].to = str_of(f->value);
            return texts[i].to->n <= ID_BYTES_MAX;
        }
    *known = false;
    return false;
}

static int32_t read_endpoint(struct plugin *p, const struct cox_object *o, struct endpoint_draft *e)
{
    *e = (struct endpoint_draft){
        .weight = 100, .id = str_of(o->id), .member_state = MEMBER_ACTIVE, .readiness = ENDPOINT_READY};
    if (!o->parent || !*o->parent)
        return refuse(p, COX_INVALID, "endpoint \"%s\" names no cluster", o->id);
    for (uint32_t i = 0; i < o->fields.count; i++) {
        const struct cox_pair *f = COX_AT(struct cox_pair, o->fields, i);
        bool known;
        if (!read_endpoint_field(e, f, &known))
            return refuse(p, COX_INVALID,
                          known ? "endpoint \"%s\" of \"%s\": wrong value of %s: \"%s\""
                                : "endpoint \"%s\" of \"%s\": unknown field \"%s\" (\"%s\")",
                          o->id, o->parent, f->key, f->value);
    }
    if (e->addr.len == 0)
        return refuse(p, COX_INVALID, "endpoint \"%s\" of \"%s\" has no address", o->id, o->parent);
    return COX_OK;
}

static void first_complaint(void *ctx, const void *at, const char *what)
{
    struct buf *why = ctx;
    (void)at;
    if (!why->len)
        buf_printf(why, "%s", what);
}

static bool knows_guard(const struct plugin *p, const char *name)
{
    return !name || p->host->ops->has_guard(p->host->ctx, name);
}

/* options is initialised in any case: the caller frees it. */
static int32_t read_cluster(struct plugin *p, const struct cox_object *o, struct cluster_options *options)
{
    struct buf why;
    buf_init(&why);
    int32_t result = COX_OK;
    options_init(&cluster_options_table, options);
    for (uint32_t i = 0; i < o->fields.count && result == COX_OK; i++) {
        const struct cox_pair *f = COX_AT(struct cox_pair, o->fields, i);
        const char *wrong = options_set(&cluster_options_table, options, f->key, f->value, &why);
        if (wrong)
            result = refuse(p, COX_INVALID, "cluster \"%s\": %s: %s", o->id, f->key, wrong);
    }
    if (result == COX_OK && !cluster_options_check(options, first_complaint, &why))
        result = refuse(p, COX_INVALID, "cluster \"%s\": %.*s", o->id, STR_ARG(buf_str(&why)));
    if (result == COX_OK && !knows_guard(p, options->guard))
        result = refuse(p, COX_INVALID, "cluster \"%s\": guard \"%s\" does not exist", o->id, options->guard);
    buf_fini(&why);
    /* The same rule as for the config file: a slow client must not pin a PHP child. */
    if (!options->request_buffer_set)
        options->request_buffer = options->protocol == PROTOCOL_FASTCGI;
    if (!options->response_buffer_set)
        options->response_buffer = options->protocol == PROTOCOL_FASTCGI;
    return result;
}

/* "host/path#label" of a route. */
static bool split_route_id(const char *text, struct route_place *place)
{
    const struct str id = str_of(text);
    const ptrdiff_t slash = str_find(id, '/');
    if (slash <= 0)
        return false;
    place->host = str_make(id.p, (size_t)slash);
    place->path = str_make(id.p + slash, id.n - (size_t)slash);
    place->label = STR("");
    const ptrdiff_t mark = str_find(place->path, '#'); /* no path has one */
    if (mark >= 0) {
        const size_t n = (size_t)mark;
        place->label = str_make(place->path.p + n + 1, place->path.n - n - 1);
        place->path.n = n;
    }
    return true;
}

/* options is initialised in any case: the caller frees it. */
static int32_t read_route(struct plugin *p, const struct cox_object *o, struct route_place *place,
                          struct str *cluster, struct route_options *options)
{
    struct buf why;
    options_init(&route_options_table, options);
    *cluster = STR_NULL;
    if (!split_route_id(o->id, place))
        return refuse(p, COX_INVALID, "route \"%s\" is not a host and a path, such as \"example.com/\"",
                      o->id);
    buf_init(&why);
    int32_t result = COX_OK;
    for (uint32_t i = 0; i < o->fields.count && result == COX_OK; i++) {
        const struct cox_pair *f = COX_AT(struct cox_pair, o->fields, i);
        const char *wrong = NULL;
        if (strcmp(f->key, "cluster") == 0)
            *cluster = str_of(f->value);
        else if (strcmp(f->key, "reply.file") == 0)
            wrong = "only the config file may name a file";
        else
            wrong = options_set(&route_options_table, options, f->key, f->value, &why);
        if (wrong)
            result = refuse(p, COX_INVALID, "route \"%s\": %s: %s", o->id, f->key, wrong);
    }
    route_options_settle(options);
    if (result == COX_OK && cluster->n > ID_BYTES_MAX)
        result = refuse(p, COX_INVALID, "route \"%s\": the id of its cluster is too long", o->id);
    if (result == COX_OK && !route_options_check(options, cluster->n > 0, first_complaint, &why))
        result = refuse(p, COX_INVALID, "route \"%s\": %.*s", o->id, STR_ARG(buf_str(&why)));
    if (result == COX_OK && !knows_guard(p, options->guard))
        result = refuse(p, COX_INVALID, "route \"%s\": guard \"%s\" does not exist", o->id, options->guard);
    buf_fini(&why);
    return result;
}

/* ---- into the model ---- */

/* A claim on somebody else's object, or one edit too many: skipped, told, never merged. */
static int32_t conflict(struct plugin *p, const struct buf *why)
{
    p->conflicts++;
    LOG_LIMITED(LOG_ERROR, 5, "plugin \"%s\": %.*s", p->name, STR_ARG(buf_str(why)));
    return refuse(p, COX_CONFLICT, "%.*s", STR_ARG(buf_str(why)));
}

/* Reads an object and, unless `check_only`, puts it into the model. */
static int32_t apply(struct plugin *p, const struct cox_object *o, bool check_only)
{
    struct model *m = p->host->model;
    const struct str owner = str_of(p->name), id = str_of(o->id);
    struct buf why;
    buf_init(&why);
    int32_t result;
    bool taken = true;
    if (o->kind == COX_KIND_CLUSTER) {
        struct cluster_options options;
        result = read_cluster(p, o, &options);
        if (result == COX_OK && !check_only)
            taken = model_put_cluster(m, owner, id, &options, &why);
        options_free(&cluster_options_table, &options);
    } else if (o->kind == COX_KIND_ENDPOINT) {
        struct endpoint_draft e;
        result = read_endpoint(p, o, &e);
        if (result == COX_OK && !check_only)
            taken = model_put_endpoint(m, owner, str_of(o->parent), &e, &why);
    } else {
        struct route_place place;
        struct route_options options;
        struct str cluster;
        result = read_route(p, o, &place, &cluster, &options);
        if (result == COX_OK && !check_only)
            taken = model_put_ruled_route(m, owner, &place, cluster, &options, &why);
        options_free(&route_options_table, &options);
    }
    if (!taken)
        result = conflict(p, &why);
    buf_fini(&why);
    return result;
}

static int32_t check_object(struct plugin *p, const struct cox_object *o)
{
    if (!o || o->size < offsetof(struct cox_object, fields) + sizeof(struct cox_array) || !o->id)
        return refuse(p, COX_INVALID, "malformed object");
    if (o->kind >= COX_KIND_CERTIFICATE && o->kind <= COX_KIND_PARTITION)
        return refuse(p, COX_UNSUPPORTED, "\"%s\" is of a kind that this version does not use", o->id);
    if (o->kind < COX_KIND_CLUSTER || o->kind > COX_KIND_ROUTE)
        return refuse(p, COX_UNSUPPORTED, "\"%s\" is of the unknown kind %u", o->id, o->kind);
    const size_t id_bytes = strnlen(o->id, 8 * ID_BYTES_MAX);
    const size_t id_max = o->kind == COX_KIND_ROUTE ? 8 * ID_BYTES_MAX - 1 : ID_BYTES_MAX;
    if (id_bytes == 0 || id_bytes > id_max ||
        (o->parent && strnlen(o->parent, ID_BYTES_MAX + 1) > ID_BYTES_MAX))
        return refuse(p, COX_INVALID, "an id is empty or longer than %zu bytes", id_max);
    if (o->fields.count > FIELDS_MAX || (o->fields.count && o->fields.stride < sizeof(struct cox_pair)))
        return refuse(p, COX_INVALID, "\"%s\" has malformed or too many fields", o->id);
    for (uint32_t i = 0; i < o->fields.count; i++) {
        const struct cox_pair *f = COX_AT(struct cox_pair, o->fields, i);
        if (!f->key || !f->value)
            return refuse(p, COX_INVALID, "\"%s\" has a field without name or value", o->id);
    }
    return COX_OK;
}

/* ---- whole views ---- */

static const char *edit_keep(struct edit *e, const char *text)
{
    return text ? e->texts[e->text_count++] = must(str_dup(str_of(text))) : NULL;
}

static struct edit *edit_create(const struct cox_object *o)
{
    struct edit *e = must(calloc(1, sizeof *e));
    e->texts = must(calloc(2 + 2 * (size_t)o->fields.count, sizeof *e->texts));
    e->pairs = must(calloc((size_t)o->fields.count + 1, sizeof *e->pairs));
    e->object = (struct cox_object){.size = sizeof e->object, .kind = o->kind, .version = o->version};
    e->object.id = edit_keep(e, o->id);
    e->object.parent = edit_keep(e, o->parent);
    for (uint32_t i = 0; i < o->fields.count; i++) {
        const struct cox_pair *f = COX_AT(struct cox_pair, o->fields, i);
        e->pairs[i].size = sizeof e->pairs[i];
        e->pairs[i].key = edit_keep(e, f->key);
        e->pairs[i].value = edit_keep(e, f->value);
    }
    e->object.fields = (struct cox_array){e->pairs, o->fields.count, (uint32_t)sizeof *e->pairs};
    return e;
}

static void edit_destroy(struct edit *e)
{
    for (size_t i = 0; i < e->text_count; i++)
        free(e->texts[i]);
    free(e->texts);
    free(e->pairs);
    free(e);
}

void discovery_release(struct plugin *p)
{
    struct list *node;
    while ((node = list_shift(&p->view.edits)))
        edit_destroy(CONTAINER_OF(node, struct edit, node));
    p->view.edit_count = 0;
    p->view.is_open = p->view.is_bad = false;
}

int32_t discovery_view_begin(const struct cox_host *table)
{
    struct plugin *p = host_plugin(table);
    if (!p->module.plugin.discovery)
        return refuse(p, COX_UNSUPPORTED, "the plugin has no discovery role");
    discovery_release(p);
    p->view.is_open = true;
    return COX_OK;
}

void discovery_view_drop(const struct cox_host *table)
{
    discovery_release(host_plugin(table));
}

/* Clusters before what belongs to them, whatever order the source has. */
static void apply_view(struct plugin *p)
{
    model_view_begin(p->host->model, str_of(p->name));
    for (uint32_t kind = COX_KIND_CLUSTER; kind <= COX_KIND_ROUTE; kind++)
        for (struct list *n = p->view.edits.next; n != &p->view.edits; n = n->next) {
            const struct edit *e = CONTAINER_OF(n, struct edit, node);
            if (e->object.kind == kind)
                (void)apply(p, &e->object,
                            false); /* a conflict leaves this one object out, and has been told */
        }
    model_view_end(p->host->model, str_of(p->name));
}

int32_t discovery_view_end(const struct cox_host *table)
{
    struct plugin *p = host_plugin(table);
    if (!p->view.is_open)
        return refuse(p, COX_INVALID, "no view was begun");
    const bool is_bad = p->view.is_bad;
    if (!is_bad) {
        apply_view(p);
        p->has_view = true;
        p->host->ops->touched(p->host->ctx);
    }
    discovery_release(p);
    return is_bad ? COX_INVALID : COX_OK; /* the refusal of the bad put still says why */
}

int32_t discovery_put(const struct cox_host *table, const struct cox_object *object)
{
    struct plugin *p = host_plugin(table);
    if (!p->module.plugin.discovery)
        return refuse(p, COX_UNSUPPORTED, "the plugin has no discovery role");
    int32_t result = check_object(p, object);
    if (result == COX_OK)
        result = apply(p, object, p->view.is_open);
    if (!p->view.is_open) {
        if (result == COX_OK)
            p->host->ops->touched(p->host->ctx);
        return result;
    }
    if (result == COX_OK && p->view.edit_count == HOST_VIEW_MAX)
        result = refuse(p, COX_INVALID, "a view holds at most %d objects", HOST_VIEW_MAX);
    if (result == COX_OK) {
        list_push(&p->view.edits, &edit_create(object)->node);
        p->view.edit_count++;
    } else if (result != COX_UNSUPPORTED) {
        p->view.is_bad = true;
    }
    return result;
}

int32_t discovery_remove(const struct cox_host *table, const struct cox_object *object)
{
    struct plugin *p = host_plugin(table);
    struct model *m = p->host->model;
    const struct str owner = str_of(p->name);
    if (!p->module.plugin.discovery || p->view.is_open)
        return refuse(p, COX_INVALID, "remove is for differences, outside a view");
    const int32_t result = check_object(p, object);
    if (result != COX_OK)
        return result;
    const struct str id = str_of(object->id);
    struct route_place place;
    if (object->kind == COX_KIND_CLUSTER)
        model_remove_cluster(m, owner, id);
    else if (object->kind == COX_KIND_ENDPOINT)
        model_remove_endpoint(m, owner, str_of(object->parent), id);
    else if (split_route_id(object->id, &place))
        model_remove_ruled_route(m, owner, &place);
    p->host->ops->touched(p->host->ctx);
    return COX_OK;
}

void discovery_source_state(const struct cox_host *table, const char *reason)
{
    struct plugin *p = host_plugin(table);
    if (!reason && p->source_problem)
        log_info("plugin \"%s\": the source can be read again", p->name);
    else if (reason && (!p->source_problem || strcmp(reason, p->source_problem) != 0))
        log_warn("plugin \"%s\": %s; the last good view stays", p->name, reason);
    free(p->source_problem);
    p->source_problem = reason ? must(str_dup(str_of(reason))) : NULL;
}
