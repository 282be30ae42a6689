/* What the rows of a route alone cannot say; for the config file and for what plugins put. */
#include <stdarg.h>
#include <stdlib.h>

#include "base/panic.h"
#include "conf/condition.h"
#include "conf/settings.h"
#include "conf/template.h"

#define PATH_MAX_BYTES 1024

struct check {
    route_complain_fn *complain;
    void *ctx;
    bool is_bad;
};

static void complain(struct check *c, const void *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void complain(struct check *c, const void *at, const char *fmt, ...)
{
    struct buf text;
    va_list ap;
    buf_init(&text);
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    buf_put(&text, "", 1);
    c->is_bad = true;
    c->complain(c->ctx, at, text.p);
    buf_fini(&text);
}

/* ---- conditions ---- */

static void check_conditions(struct check *c, enum condition_kind kind, const struct strings *list,
                             const char *key)
{
    struct condition parsed;
    for (size_t i = 0; i < list->n; i++)
        if (!condition_parse(kind, str_of(list->v[i]), &parsed))
            complain(c, list,
                     "\"%s\" in %s: expected \"NAME\", \"!NAME\", \"NAME=VALUE\" or \"NAME^=PREFIX\"",
                     list->v[i], key);
    if (list->n > ROUTE_WORDS_MAX)
        complain(c, list, "more than %u conditions in %s", ROUTE_WORDS_MAX, key);
}

static void check_methods(struct check *c, const struct strings *list)
{
    for (size_t i = 0; i < list->n; i++)
        if (!token_is_valid(str_of(list->v[i])))
            complain(c, list, "\"%s\" is no method", list->v[i]);
    if (list->n > ROUTE_WORDS_MAX)
        complain(c, list, "more than %u methods", ROUTE_WORDS_MAX);
}

/* ---- where requests go ---- */

static void check_split(struct check *c, const struct route_options *o)
{
    uint64_t total = 0;
    for (size_t i = 0; i < o->clusters.count; i++) {
        const struct split_settings *s = SETTINGS_AT(o->clusters, struct split_settings, i);
        total += (uint64_t)s->weight;
        if (s->cluster && !cluster_id_is_valid(str_of(s->cluster)))
            complain(c, &s->cluster, "\"%s\" is no cluster id", s->cluster);
    }
    if (o->clusters.count && !total)
        complain(c, &o->clusters, "all clusters of the route have the weight 0");
    if (o->clusters.count > ROUTE_WORDS_MAX)
        complain(c, &o->clusters, "more than %u clusters in a route", ROUTE_WORDS_MAX);
    if (o->split_on && !hash_key_is_valid(str_of(o->split_on)))
        complain(c, &o->split_on, "\"%s\": expected \"source\", \"uri\", \"header:NAME\" or \"cookie:NAME\"",
                 o->split_on);
}

static bool is_redirect_code(int64_t code)
{
    return (code >= 301 && code <= 303) || code == 307 || code == 308;
}

static void check_template(struct check *c, const void *at, struct str text, bool in_answer)
{
    struct template t;
    struct buf why;
    buf_init(&why);
    if (!template_parse(text, in_answer, &t, &why))
        complain(c, at, "%.*s", STR_ARG(buf_str(&why)));
    else
        template_fini(&t);
    buf_fini(&why);
}

static void check_redirect(struct check *c, const struct route_options *o, bool has_cluster)
{
    const struct redirect_settings *r = &o->redirect;
    if (!route_is_redirect(o))
        return;
    if (!is_redirect_code(r->code))
        complain(c, &r->code, "%ld is no redirect: expected 301, 302, 303, 307 or 308", (long)r->code);
    if (r->location && r->https)
        complain(c, &r->https, "location or https, not both");
    if (r->https && !has_cluster && !o->clusters.count && !o->reply.status)
        complain(c, &r->https,
                 "redirect to https without a cluster for the requests that came over TLS already");
    if (!r->location)
        return;
    if (!r->location[0])
        complain(c, &r->location, "the location is empty");
    for (const char *p = r->location; *p; p++)
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f) {
            complain(c, &r->location, "\"%s\" is no URI: blanks and other letters must be escaped",
                     r->location);
            break;
        }
    check_template(c, &r->location, str_of(r->location), false);
}

static bool is_field_value(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (((unsigned char)s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7f)
            return false;
    return true;
}

static void check_reply(struct check *c, const struct reply_settings *r)
{
    bool has_body = (r->body && r->body[0]) || r->file;
    if (!r->status && has_body)
        complain(c, r, "a fixed reply needs a status");
    if (r->status && r->status < 200)
        complain(c, &r->status, "%ld is no status of a reply: expected 200 to 599", (long)r->status);
    if (ROUTE_IS_BODILESS(r->status) && has_body)
        complain(c, &r->status, "an answer with status %ld has no body", (long)r->status);
    if (r->body && strlen(r->body) > ROUTE_REPLY_MAX)
        complain(c, &r->body, "the body of a fixed reply is larger than %u bytes", ROUTE_REPLY_MAX);
    if (!r->content_type || !r->content_type[0] || !is_field_value(str_of(r->content_type)))
        complain(c, &r->content_type, "content_type is no value of a header field");
}

/* ---- changes ---- */

static void check_rewrite(struct check *c, char *const *prefix)
{
    struct str s = str_of(*prefix), segment;
    bool ok = s.n > 0 && s.n <= PATH_MAX_BYTES && s.p[0] == '/' && str_find(s, '%') < 0;
    for (size_t i = 0; i < s.n && ok; i++)
        ok = (unsigned char)s.p[i] > ' ' && (unsigned char)s.p[i] < 0x7f && !strchr("?#\\", s.p[i]);
    ok = ok && !str_starts(s, STR("//"));
    for (struct str rest = s; ok && str_next(&rest, '/', &segment);)
        ok = !str_eq(segment, STR(".")) && !str_eq(segment, STR(".."));
    if (!ok)
        complain(c, prefix, "\"%s\" is no path prefix: expected \"/...\" without ? # %% . .. and blanks",
                 *prefix);
}

static void check_name(struct check *c, const struct strings *list, const char *text, struct str name)
{
    if (!token_is_valid(name))
        complain(c, list, "\"%s\" is no header field", text);
    else if (!field_name_is_settable(name))
        complain(c, list,
                 "%.*s cannot be changed by a route: framing, hop-by-hop fields and Host are our own",
                 STR_ARG(name));
}

static void check_lines(struct check *c, const struct strings *list, bool in_answer)
{
    struct str name, value;
    for (size_t i = 0; i < list->n; i++) {
        if (!field_line_parse(str_of(list->v[i]), &name, &value)) {
            complain(c, list, "\"%s\": expected \"Name: value\"", list->v[i]);
            continue;
        }
        check_name(c, list, list->v[i], name);
        check_template(c, list, value, in_answer);
        if (!is_field_value(value))
            complain(c, list, "\"%.*s\" has a control character in its value", STR_ARG(name));
    }
}

static void check_fields(struct check *c, const struct field_settings *f, bool in_answer)
{
    check_lines(c, &f->set, in_answer);
    check_lines(c, &f->add, in_answer);
    for (size_t i = 0; i < f->remove.n; i++)
        check_name(c, &f->remove, f->remove.v[i], str_of(f->remove.v[i]));
    if (f->set.n + f->add.n + f->remove.n > ROUTE_WORDS_MAX)
        complain(c, f, "more than %u changes of one header section", ROUTE_WORDS_MAX);
}

static void check_target(struct check *c, const struct route_options *o, bool has_cluster)
{
    bool is_https = o->redirect.https;
    int targets =
        has_cluster + (o->clusters.count > 0) + (o->reply.status > 0) + (o->redirect.location != NULL);
    if (targets > 1)
        complain(c, o, "a route has one of cluster, clusters, redirect and reply");
    if (!targets && !is_https)
        complain(c, o, "a route needs a cluster, clusters, a redirect or a reply");
}

bool route_options_check(const struct route_options *o, bool has_cluster, route_complain_fn *fn, void *ctx)
{
    struct check c = {.complain = fn, .ctx = ctx};
    check_target(&c, o, has_cluster);
    check_methods(&c, &o->methods);
    check_conditions(&c, CONDITION_HEADER, &o->headers, "headers");
    check_conditions(&c, CONDITION_QUERY, &o->query, "query");
    check_conditions(&c, CONDITION_COOKIE, &o->cookies, "cookies");
    check_split(&c, o);
    check_redirect(&c, o, has_cluster);
    check_reply(&c, &o->reply);
    if (o->rewrite_prefix)
        check_rewrite(&c, &o->rewrite_prefix);
    check_fields(&c, &o->request_headers, false);
    check_fields(&c, &o->response_headers, true);
    if (o->mirror.cluster && !cluster_id_is_valid(str_of(o->mirror.cluster)))
        complain(&c, &o->mirror.cluster, "\"%s\" is no cluster id", o->mirror.cluster);
    return !c.is_bad;
}

void route_options_settle(struct route_options *o)
{
    for (size_t i = 0; i < o->clusters.count; i++) {
        struct split_settings *s = SETTINGS_AT(o->clusters, struct split_settings, i);
        char *equals = s->cluster ? strchr(s->cluster, '=') : NULL;
        uint64_t weight;
        if (!equals || !str_to_u64(str_of(equals + 1), &weight) || weight > 1000000)
            continue; /* the check says that it is no id */
        s->weight = (int64_t)weight;
        *equals = 0;
    }
}
