/* Answers of servers that were asked by another path: what they say of paths and hosts as they see them is
 * put as the client sees them. */
#include "http/h1_write.h"
#include "http/rules.h"
#include "proxy/change.h"

#define COOKIE_PATHS 4 /* attributes of one cookie that there is room for; who sends more keeps them */

struct view_of {
    struct str client, server;           /* prefixes, without a slash at the end; empty: the root */
    struct str client_host, server_host; /* with their ports as they were sent; the second is what we sent */
    char address[ADDR_TEXT_BYTES];
    struct str server_address;
    struct writer w; /* new values */
};

/* ---- paths ---- */

/* By whole segments; the empty prefix is the root. */
static bool is_below(struct str path, struct str prefix)
{
    if (!path.n || path.p[0] != '/' || !str_starts(path, prefix))
        return false;
    char behind = path.n == prefix.n ? '/' : path.p[prefix.n];
    return !prefix.n || behind == '/' || behind == '?' || behind == '#';
}

/* With the prefix gone, would a client take it for "//host"? Many read "\\" as a slash, and leave out tabs.
 * More slashes in a row are made one by put_path. */
static bool hides_authority(struct str rest)
{
    size_t i = 0;
    while (i < rest.n && rest.p[i] == '/')
        i++;
    return i && i < rest.n && (rest.p[i] == '\\' || (unsigned char)rest.p[i] <= ' ');
}

/* Does this path, of a server, begin as it sees it? What already begins as the client sees it was made by an
 * application that knows, where one can be told from the other. "//x" is no path but another host. */
static bool is_mapped(const struct view_of *v, struct str path)
{
    if (str_starts(path, STR("//")) || !is_below(path, v->server))
        return false;
    if (!v->client.n)
        return !hides_authority(str_make(path.p + v->server.n, path.n - v->server.n));
    return !is_below(v->client, v->server) || !is_below(path, v->client);
}

/* A path that is_mapped, as the client sees it. */
static void put_path(struct view_of *v, struct str path)
{
    struct str rest = str_make(path.p + v->server.n, path.n - v->server.n);
    while (!v->client.n && str_starts(rest, STR("//"))) /* would read as an authority */
        rest = str_make(rest.p + 1, rest.n - 1);
    writer_str(&v->w, v->client);
    if (!v->client.n && (!rest.n || rest.p[0] != '/'))
        writer_put(&v->w, "/", 1);
    writer_str(&v->w, rest);
}

/* ---- Location ---- */

/* "http://host:port/path" taken apart; false when it is something else. */
static bool split_uri(struct str uri, struct str *out_authority, struct str *out_path)
{
    size_t at = str_starts(uri, STR("https://")) ? 8 : str_starts(uri, STR("http://")) ? 7 : 0, end = at;
    if (!at)
        return false;
    while (end < uri.n && uri.p[end] != '/' && uri.p[end] != '?' && uri.p[end] != '#')
        end++;
    *out_authority = str_make(uri.p + at, end - at);
    *out_path = str_make(uri.p + end, uri.n - end);
    return true;
}

/* The new value, when it has to change. */
static bool put_location(struct view_of *v, struct str value)
{
    struct str authority, path = value, keep = STR_NULL;
    if (split_uri(value, &authority, &path)) {
        if (!path.n || path.p[0] != '/')
            return false;
        if (str_ieq(authority, v->client_host))
            keep = str_make(value.p, value.n - path.n);
        else if (!str_ieq(authority, v->server_host) && !str_ieq(authority, v->server_address))
            return false; /* another site */
    }
    if (!is_mapped(v, path))
        return false;
    writer_str(&v->w, keep);
    put_path(v, path);
    return true;
}

/* ---- Set-Cookie ---- */

static struct str without_port(struct str authority)
{
    return rules_authority_host(authority);
}

/* RFC 6265 5.1.3; no address ends with a dot and a domain. */
static bool is_host_of(struct str host, struct str domain)
{
    if (str_starts(domain, STR(".")))
        domain = str_make(domain.p + 1, domain.n - 1);
    if (!domain.n || host.n < domain.n)
        return false;
    struct str tail = str_make(host.p + host.n - domain.n, domain.n);
    return str_ieq(tail, domain) && (host.n == domain.n || host.p[host.n - domain.n - 1] == '.');
}

/* A domain of the server alone would make the client throw the cookie away; without one it is the client's
 * host. */
static bool is_servers_domain(const struct view_of *v, struct str domain)
{
    bool is_servers =
        is_host_of(without_port(v->server_host), domain) || str_ieq(without_port(v->server_address), domain);
    return is_servers && !is_host_of(without_port(v->client_host), domain);
}

/* One attribute, as the client should see it. True: it was changed. */
static bool put_attribute(struct view_of *v, struct str attribute, bool fix_path)
{
    struct str text = str_trim(attribute);
    ptrdiff_t equals = str_find(text, '=');
    struct str name = equals < 0 ? text : str_trim(str_make(text.p, (size_t)equals));
    struct str value =
        equals < 0 ? STR_NULL : str_trim(str_make(text.p + equals + 1, text.n - (size_t)equals - 1));
    if (str_ieq(name, STR("Domain")) && is_servers_domain(v, value))
        return true;
    writer_put(&v->w, ";", 1);
    if (!fix_path || !str_ieq(name, STR("Path")) || !is_mapped(v, value)) {
        writer_str(&v->w, attribute);
        return false;
    }
    writer_str(&v->w, STR(" Path="));
    struct str rest = str_make(value.p + v->server.n, value.n - v->server.n);
    if (str_eq(rest, STR("/")) && v->client.n) /* the whole of it, be it asked with a slash or without */
        writer_str(&v->w, v->client);
    else
        put_path(v, value);
    return true;
}

/* RFC 6265bis 4.1.3.2: a name with the prefix __Host- wants the path "/". */
static bool put_cookie(struct view_of *v, struct str value)
{
    bool changed = false, fix_path = !str_starts(value, STR("__Host-"));
    ptrdiff_t semicolon = str_find(value, ';');
    writer_put(&v->w, value.p, semicolon < 0 ? value.n : (size_t)semicolon);
    while (semicolon >= 0) {
        value = str_make(value.p + semicolon + 1, value.n - (size_t)semicolon - 1);
        semicolon = str_find(value, ';');
        changed |= put_attribute(v, semicolon < 0 ? value : str_make(value.p, (size_t)semicolon), fix_path);
    }
    return changed;
}

/* ---- the answer ---- */

enum kind { KIND_NONE, KIND_LOCATION, KIND_COOKIE };

static enum kind kind_of(const struct message *m, const struct field *f)
{
    if (f->flags & FIELD_FLAG_DROP)
        return KIND_NONE;
    if (f->id == FIELD_SET_COOKIE)
        return KIND_COOKIE;
    bool is_location = f->id == FIELD_LOCATION || (f->id == FIELD_OTHER && f->name_len == 16 &&
                                                   str_ieq(field_name_of(m, f), STR("Content-Location")));
    return is_location ? KIND_LOCATION : KIND_NONE;
}

/* Room for the new values, however they come out. 0: there is nothing to look at. */
static size_t room_for(const struct view_of *v, const struct message *m)
{
    size_t n = 0;
    for (uint16_t i = 0; i < m->field_count; i++)
        if (kind_of(m, &m->fields[i]))
            n += m->fields[i].value_len + COOKIE_PATHS * (v->client.n + 8);
    return n;
}

static struct str without_slash(struct str prefix)
{
    return str_ends(prefix, STR("/")) ? str_make(prefix.p, prefix.n - 1) : prefix;
}

static void see(struct view_of *v, const struct exchange *x)
{
    *v = (struct view_of){.server = x->rules->rewrite_prefix};
    v->client = without_slash(str_make(x->asked_path.p, x->route_path_len));
    v->client_host = message_str(&x->req, x->req.authority);
    v->server_host = x->opt->host ? str_of(x->opt->host) : v->client_host;
    if (x->endpoint)
        v->server_address = str_make(v->address, addr_print(x->endpoint->addr, v->address));
}

/* The new value of one field; empty: it stays. */
static struct str put_value(struct view_of *v, const struct message *m, const struct field *f)
{
    size_t before = v->w.len;
    enum kind kind = kind_of(m, f);
    struct str value = field_value_of(m, f);
    bool changed = kind == KIND_COOKIE ? put_cookie(v, value) : kind && put_location(v, value);
    if (changed && !v->w.overflow)
        return str_make(v->w.p + before, v->w.len - before);
    v->w.len = before;
    v->w.overflow = false;
    return STR_NULL;
}

bool change_back(struct exchange *x, struct message *m)
{
    struct view_of v;
    if (!x->rules->rewrite_prefix.p || !x->rules->options.rewrite_answers || !x->asked_path.n ||
        x->route_path_len > x->asked_path.n)
        return true;
    see(&v, x);
    size_t bytes = room_for(&v, m), count = m->field_count;
    if (!bytes)
        return true;
    struct str *values = arena_alloc(&x->arena, count * sizeof *values);
    char *text = arena_alloc(&x->arena, bytes);
    uint32_t changes = 0, more = 0;
    if (!values || !text)
        return false;
    writer_init(&v.w, text, bytes);
    for (size_t i = 0; i < count; i++) {
        values[i] = put_value(&v, m, &m->fields[i]);
        changes += values[i].n > 0;
        more += values[i].n ? m->fields[i].name_len + (uint32_t)values[i].n : 0;
    }
    if (!changes)
        return true;
    if (!message_extend(m, &x->arena, (uint16_t)changes, more))
        return false;
    for (size_t i = 0; i < count; i++)
        if (values[i].n) {
            m->fields[i].flags |= FIELD_FLAG_DROP;
            message_add(m, field_name_of(m, &m->fields[i]), values[i]);
        }
    return true;
}
