#include "topo/route_rules.h"

#include <stdlib.h>

#include "base/panic.h"
#include "topo/cluster.h"

static void note(void *ctx, const void *at, const char *what)
{
    struct buf *why = ctx;
    (void)at;
    if (why && !why->len) /* the first is enough for a log line */
        buf_printf(why, "%s", what);
}

/* ---- conditions ---- */

static void add_conditions(struct route_rules *r, enum condition_kind kind, const struct strings *list)
{
    for (size_t i = 0; i < list->n; i++)
        ASSERT(condition_parse(kind, str_of(list->v[i]), &r->conditions[r->condition_count++]));
}

static void put_list(struct buf *out, const char *kind, const struct strings *list)
{
    for (size_t i = 0; i < list->n; i++)
        buf_printf(out, "%s%s(%s)", out->len ? " " : "", kind, list->v[i]);
}

static void compile_conditions(struct route_rules *r)
{
    const struct route_options *o = &r->options;
    r->conditions = must(calloc(o->headers.n + o->query.n + o->cookies.n + 1, sizeof *r->conditions));
    add_conditions(r, CONDITION_HEADER, &o->headers);
    add_conditions(r, CONDITION_QUERY, &o->query);
    add_conditions(r, CONDITION_COOKIE, &o->cookies);
    r->rank = r->condition_count + (o->methods.n > 0);
    for (size_t i = 0; i < o->methods.n; i++)
        buf_printf(&r->match, "%s%s", i ? "," : "", o->methods.v[i]);
    put_list(&r->match, "header", &o->headers);
    put_list(&r->match, "query", &o->query);
    put_list(&r->match, "cookie", &o->cookies);
}

/* ---- changes ---- */

static void add_lines(struct field_changes *to, enum field_change_kind kind, const struct strings *lines)
{
    for (size_t i = 0; i < lines->n; i++) {
        struct field_change *c = &to->v[to->count++];
        struct str value = STR_NULL;
        *c = (struct field_change){.kind = (uint8_t)kind, .name = str_of(lines->v[i])};
        if (kind == FIELD_REMOVE)
            continue;
        ASSERT(field_line_parse(str_of(lines->v[i]), &c->name, &value));
        ASSERT(template_parse(value, true, &c->value, NULL));
    }
}

static void compile_fields(struct field_changes *to, const struct field_settings *from)
{
    to->v = must(calloc(from->remove.n + from->set.n + from->add.n + 1, sizeof *to->v));
    add_lines(to, FIELD_REMOVE, &from->remove);
    add_lines(to, FIELD_SET, &from->set);
    add_lines(to, FIELD_ADD, &from->add);
}

static void free_fields(struct field_changes *c)
{
    for (uint32_t i = 0; i < c->count; i++)
        template_fini(&c->v[i].value);
    free(c->v);
}

/* ---- the whole ---- */

bool route_options_are_plain(const struct route_options *options)
{
    struct buf wire;
    buf_init(&wire);
    options_encode(&route_options_table, options, &wire);
    bool is_plain = wire.len == 0;
    buf_fini(&wire);
    return is_plain;
}

static void compile(struct route_rules *r)
{
    const struct route_options *o = &r->options;
    compile_conditions(r);
    compile_fields(&r->request, &o->request_headers);
    compile_fields(&r->answer, &o->response_headers);
    if (o->redirect.location)
        ASSERT(template_parse(str_of(o->redirect.location), false, &r->location, NULL));
    if (o->split_on)
        ASSERT(hash_key_parse(str_of(o->split_on), &r->split_key, &r->split_name));
    r->rewrite_prefix = o->rewrite_prefix ? str_of(o->rewrite_prefix) : STR_NULL;
    while (str_ends(r->rewrite_prefix, STR("/")))
        r->rewrite_prefix.n--;
    r->body = str_of(o->reply.body);
}

struct route_rules *route_rules_build(const struct route_options *options, bool has_cluster, struct buf *why)
{
    struct route_rules *r = must(calloc(1, sizeof *r));
    options_copy(&route_options_table, &r->options, options);
    route_options_settle(&r->options);
    if (!route_options_check(&r->options, has_cluster, note, why)) {
        options_free(&route_options_table, &r->options);
        free(r);
        return NULL;
    }
    atomic_init(&r->refs, 1);
    buf_init(&r->wire);
    buf_init(&r->match);
    options_encode(&route_options_table, &r->options, &r->wire);
    compile(r);
    return r;
}

void route_rules_ref(struct route_rules *r)
{
    if (r)
        atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
}

void route_rules_unref(struct route_rules **rp)
{
    struct route_rules *r = *rp;
    *rp = NULL;
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(r->conditions);
    free_fields(&r->request);
    free_fields(&r->answer);
    template_fini(&r->location);
    buf_fini(&r->wire);
    buf_fini(&r->match);
    options_free(&route_options_table, &r->options);
    free(r);
}

/* ---- comparing ---- */

struct str route_rules_match(const struct route_rules *r)
{
    return r && r->match.len ? buf_str(&r->match) : STR("");
}

int route_rules_order(const struct route_rules *a, const struct route_rules *b)
{
    int64_t priority[2] = {a ? a->options.priority : 0, b ? b->options.priority : 0};
    uint32_t rank[2] = {a ? a->rank : 0, b ? b->rank : 0};
    if (priority[0] != priority[1])
        return priority[0] > priority[1] ? -1 : 1;
    if (rank[0] != rank[1])
        return rank[0] > rank[1] ? -1 : 1;
    return str_order(route_rules_match(a), route_rules_match(b));
}

bool route_rules_same(const struct route_rules *a, const struct route_rules *b)
{
    if (a == b)
        return true;
    return a && b && a->wire.len == b->wire.len &&
           (!a->wire.len || memcmp(a->wire.p, b->wire.p, a->wire.len) == 0);
}

/* ---- for people ---- */

static void put_split(const struct route_options *o, struct buf *out)
{
    for (size_t i = 0; i < o->clusters.count; i++) {
        const struct split_settings *s = SETTINGS_AT(o->clusters, struct split_settings, i);
        buf_printf(out, "%s%s %lld", i ? ", " : "", s->cluster, (long long)s->weight);
    }
}

void route_rules_target(const struct route_rules *r, struct str cluster, struct buf *out)
{
    const struct route_options *o = r ? &r->options : NULL;
    if (o && o->redirect.https)
        buf_printf(out, "redirect %lld to https%s", (long long)o->redirect.code,
                   cluster.n || o->clusters.count || o->reply.status ? ", else " : "");
    if (o && o->redirect.location)
        buf_printf(out, "redirect %lld to %s", (long long)o->redirect.code, o->redirect.location);
    else if (o && o->reply.status)
        buf_printf(out, "reply %lld", (long long)o->reply.status);
    else if (o && o->clusters.count)
        put_split(o, out);
    else
        buf_put_str(out, cluster);
    if (o && o->mirror.cluster)
        buf_printf(out, ", %g %% copied to %s", o->mirror.percent, o->mirror.cluster);
}
