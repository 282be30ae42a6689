/* What the rows of a cluster alone cannot say; for the config file and for what plugins put. */
#include <stdarg.h>

#include "conf/settings.h"

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

static void check_probe(struct check *c, const struct cluster_options *o)
{
    const struct probe_settings *probe = &o->probe;
    if (probe->kind == PROBE_FASTCGI && o->protocol != PROTOCOL_FASTCGI)
        complain(c, &probe->kind, "a fastcgi probe needs protocol = \"fastcgi\"");
    if (probe->kind == PROBE_HTTP && o->protocol == PROTOCOL_FASTCGI)
        complain(c, &probe->kind, "an http probe cannot ask a FastCGI server; use kind = \"fastcgi\"");
    if (probe->kind == PROBE_HTTP && o->protocol == PROTOCOL_H2)
        complain(
            c, &probe->kind,
            "an http probe speaks HTTP/1.1, which servers of protocol = \"h2\" need not; use kind = \"h2\"");
    if ((probe->kind == PROBE_H2 || probe->kind == PROBE_GRPC) && o->protocol == PROTOCOL_FASTCGI)
        complain(c, &probe->kind, "a FastCGI server does not speak HTTP/2; use kind = \"fastcgi\"");
    if (probe->path && probe->path[0] != '/')
        complain(c, &probe->path, "the path of a probe must begin with \"/\"");
    if (probe->status_min > probe->status_max)
        complain(c, &probe->status_min, "status_min is above status_max");
}

static void check_balance(struct check *c, const struct cluster_options *o)
{
    if (!hash_key_is_valid(str_of(o->hash_on)))
        complain(c, &o->hash_on,
                 "hash_on = \"%s\": expected \"source\", \"uri\", \"header:NAME\" or \"cookie:NAME\"",
                 o->hash_on);
    if (!(o->hash_balance >= 1 && o->hash_balance <= 1000))
        complain(c, &o->hash_balance, "hash_balance must be between 1 and 1000");
}

/* What is offered is what may be chosen, and a connection speaks what its cluster's protocol says. */
static void check_alpn(struct check *c, const struct cluster_options *o)
{
    const struct strings *list = &o->tls.alpn;
    bool has_h2 = false;
    for (size_t i = 0; i < list->n; i++)
        has_h2 |= str_eq(str_of(list->v[i]), STR("h2"));
    if (list->n && !has_h2 && o->protocol == PROTOCOL_H2)
        complain(c, list, "alpn without \"h2\", but the cluster has protocol = \"h2\"");
    if (has_h2 && o->protocol != PROTOCOL_H2)
        complain(c, list, "\"h2\" in alpn needs protocol = \"h2\"");
}

static void check_send_proxy(struct check *c, const struct cluster_options *o)
{
    if (!o->send_proxy || o->protocol == PROTOCOL_HTTP)
        return;
    complain(c, &o->send_proxy, "send_proxy works with protocol = \"http\" only: %s",
             o->protocol == PROTOCOL_H2 ? "a connection that speaks HTTP/2 carries requests of many clients"
             : o->protocol == PROTOCOL_FASTCGI ? "FastCGI has REMOTE_ADDR"
                                               : "files have no servers");
}

bool cluster_options_check(const struct cluster_options *o, route_complain_fn *fn, void *ctx)
{
    struct check c = {.complain = fn, .ctx = ctx};
    check_send_proxy(&c, o);
    check_probe(&c, o);
    check_balance(&c, o);
    check_alpn(&c, o);
    return !c.is_bad;
}
