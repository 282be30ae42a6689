#include "proxy/fcgi_params.h"

#include "http/fcgi_codec.h"
#include "http/uri.h"

#ifndef COX_VERSION
#define COX_VERSION "0"
#endif

#define NAME_MAX_HTTP 256 /* of an HTTP_* name; longer fields are not passed on */
#define PAIR_OVERHEAD 8   /* two lengths of four bytes */
#define OWN_PAIRS     24
#define OWN_NAME_MAX  32

/* ---- which script ---- */

static struct str join(struct arena *arena, struct str a, struct str b, struct str c)
{
    char *p = arena_alloc(arena, a.n + b.n + c.n + 1);
    struct writer w;
    if (!p)
        return STR_NULL;
    writer_init(&w, p, a.n + b.n + c.n);
    writer_str(&w, a);
    writer_str(&w, b);
    writer_str(&w, c);
    return str_make(p, w.len);
}

/* document_root without the slash at its end: names begin with one. */
static struct str root_of(const struct fcgi_settings *s)
{
    struct str root = str_of(s->document_root);
    while (root.n && root.p[root.n - 1] == '/')
        root.n--;
    return root;
}

static struct str index_of(const struct fcgi_settings *s)
{
    struct str index = s->index && *s->index ? str_of(s->index) : STR("index.php");
    while (index.n && index.p[0] == '/')
        index = str_make(index.p + 1, index.n - 1);
    return index;
}

/* Decoded once and never again (F4). */
static enum reason decode(struct str path, struct arena *arena, struct str *out)
{
    struct writer w;
    char *p = arena_alloc(arena, path.n + 1);
    if (!p)
        return REASON_NO_MEMORY;
    writer_init(&w, p, path.n);
    if (!uri_decode(path, &w)) /* F1: a line end or NUL in the path */
        return REASON_PATH;
    *out = str_make(p, w.len);
    return REASON_OK;
}

static enum reason finish(const struct fcgi_settings *s, struct arena *arena, struct fcgi_script *out)
{
    out->file = join(arena, root_of(s), out->name, STR_NULL);
    out->uri =
        out->info.n && s->mode == FCGI_MODE_SCRIPT ? join(arena, out->name, out->info, STR_NULL) : out->name;
    return out->file.p && out->name.p && out->uri.p ? REASON_OK : REASON_NO_MEMORY;
}

static enum reason find_front(const struct fcgi_settings *s, struct str path, struct arena *arena,
                              struct fcgi_script *out)
{
    out->name = join(arena, STR("/"), index_of(s), STR_NULL);
    out->info = STR_NULL;
    if (s->path_info) {
        enum reason why = decode(path, arena, &out->info);
        if (why != REASON_OK)
            return why;
    }
    return finish(s, arena, out);
}

/* End of the first segment that ends in ".php", or 0. Bytes are compared as they are: no case folding, no
 * Unicode (F3), no regular expression that a line end could stop (F1). */
static size_t script_end(struct str path)
{
    static const char tail[] = ".php";
    const size_t n = sizeof tail - 1;
    for (size_t i = n + 1; i <= path.n; i++)
        if ((i == path.n || path.p[i] == '/') && memcmp(path.p + i - n, tail, n) == 0 &&
            path.p[i - n - 1] != '/')
            return i;
    return 0;
}

/* F5: rules_normalise_path has removed dot segments already; whoever calls us without it does not get past
 * here. */
static bool leaves_root(struct str path)
{
    struct str segment, rest = path;
    while (str_next(&rest, '/', &segment))
        if (str_eq(segment, STR("..")) || str_eq(segment, STR(".")))
            return true;
    return false;
}

static enum reason find_by_path(const struct fcgi_settings *s, struct str path, struct arena *arena,
                                struct fcgi_script *out)
{
    struct str decoded;
    enum reason why = decode(path, arena, &decoded);
    if (why != REASON_OK)
        return why;
    if (!decoded.n || decoded.p[0] != '/' || str_find(decoded, '?') >= 0 || leaves_root(decoded))
        return REASON_PATH;
    size_t end = script_end(decoded);
    out->info = STR_NULL;
    if (end) {
        out->name = str_make(decoded.p, end);
        out->info = str_make(decoded.p + end, decoded.n - end);
    } else if (decoded.p[decoded.n - 1] == '/') {
        out->name = join(arena, decoded, index_of(s), STR_NULL);
    } else {
        out->name = join(arena, STR("/"), index_of(s), STR_NULL);
    }
    return finish(s, arena, out);
}

enum reason fcgi_find_script(const struct fcgi_settings *s, struct str path, struct arena *arena,
                             struct fcgi_script *out)
{
    *out = (struct fcgi_script){.file = STR_NULL};
    return s->mode == FCGI_MODE_SCRIPT ? find_by_path(s, path, arena, out) : find_front(s, path, arena, out);
}

/* ---- pairs ---- */

static bool is_alnum_or_dash(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

bool fcgi_field_passes(struct str name)
{
    if (!name.n || name.n > NAME_MAX_HTTP - 5)
        return false;
    for (size_t i = 0; i < name.n; i++)
        if (!is_alnum_or_dash(name.p[i]))
            return false;
    switch (field_lookup(name)) {
    case FIELD_HOST: /* written from the checked authority */
    case FIELD_CONTENT_TYPE:
    case FIELD_CONTENT_LENGTH:
    case FIELD_TRANSFER_ENCODING:
    case FIELD_CONNECTION:
    case FIELD_KEEP_ALIVE:
    case FIELD_PROXY_CONNECTION:
    case FIELD_PROXY_AUTHORIZATION:
    case FIELD_PROXY_AUTHENTICATE:
    case FIELD_PROXY:
    case FIELD_TE:
    case FIELD_TRAILER:
    case FIELD_UPGRADE:
    case FIELD_HTTP2_SETTINGS:
    case FIELD_EXPECT: /* answered by us */
        return false;
    default:
        return true;
    }
}

static bool is_configured(const struct fcgi_request *r, struct str name)
{
    const struct vars *v = &r->settings->params;
    for (size_t i = 0; i < v->n; i++)
        if (str_eq(str_of(v->names[i]), name))
            return true;
    return false;
}

static void put(const struct fcgi_request *r, struct writer *w, struct str name, struct str value)
{
    if (!is_configured(r, name))
        fcgi_put_param(w, name, value);
}

static void put_number(const struct fcgi_request *r, struct writer *w, struct str name, uint64_t value)
{
    char text[20];
    struct writer digits;
    writer_init(&digits, text, sizeof text);
    writer_u64(&digits, value);
    put(r, w, name, str_make(text, digits.len));
}

static struct str host_of(struct str authority)
{
    ptrdiff_t bracket = authority.n && authority.p[0] == '[' ? str_find(authority, ']') : -1;
    if (bracket >= 0)
        return str_make(authority.p, (size_t)bracket + 1);
    ptrdiff_t colon = str_find(authority, ':');
    return colon < 0 ? authority : str_make(authority.p, (size_t)colon);
}

static void put_script(const struct fcgi_request *r, struct writer *w)
{
    const struct fcgi_script *s = &r->script;
    struct str root = root_of(r->settings);
    put(r, w, STR("SCRIPT_FILENAME"), s->file);
    put(r, w, STR("SCRIPT_NAME"), s->name);
    put(r, w, STR("DOCUMENT_URI"), s->uri);
    put(r, w, STR("DOCUMENT_ROOT"), root.n ? root : str_of(r->settings->document_root));
    /* php-fpm has been led astray by an empty one (F1). */
    if (s->info.n)
        put(r, w, STR("PATH_INFO"), s->info);
}

static void put_request(const struct fcgi_request *r, struct writer *w)
{
    put(r, w, STR("GATEWAY_INTERFACE"), STR("CGI/1.1"));
    put(r, w, STR("SERVER_SOFTWARE"), STR("coxswain/" COX_VERSION));
    put(r, w, STR("REQUEST_METHOD"), r->method);
    put(r, w, STR("REQUEST_URI"), r->uri);
    put(r, w, STR("QUERY_STRING"), r->query);
    put(r, w, STR("SERVER_PROTOCOL"), r->protocol);
    put(r, w, STR("CONTENT_TYPE"), r->content_type);
    put(r, w, STR("CONTENT_LENGTH"), r->content_length);
    put(r, w, STR("REQUEST_SCHEME"), r->scheme);
    if (str_eq(r->scheme, STR("https")))
        put(r, w, STR("HTTPS"), STR("on"));
    /* php-cgi refuses to run without it (cgi.force_redirect). */
    put(r, w, STR("REDIRECT_STATUS"), STR("200"));
}

static void put_sides(const struct fcgi_request *r, struct writer *w)
{
    struct str name = str_of(r->settings->server_name);
    put(r, w, STR("SERVER_NAME"), name.n ? name : host_of(r->authority));
    put(r, w, STR("SERVER_ADDR"), r->server_ip);
    put_number(r, w, STR("SERVER_PORT"), r->server_port);
    put(r, w, STR("REMOTE_ADDR"), r->client_ip);
    put_number(r, w, STR("REMOTE_PORT"), r->client_port);
    if (r->authority.n)
        put(r, w, STR("HTTP_HOST"), r->authority);
}

/* ---- HTTP_* ---- */

static struct str http_name(struct str field, char *to)
{
    memcpy(to, "HTTP_", 5);
    for (size_t i = 0; i < field.n; i++) {
        char c = field.p[i];
        to[5 + i] = c == '-' ? '_' : c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
    }
    return str_make(to, field.n + 5);
}

/* Length of the values of all fields from i on with its name, joined; *out_count says how many there are. */
static size_t joined_length(const struct fcgi_pair *f, size_t count, size_t i, size_t glue, size_t *out_count)
{
    size_t n = f[i].value.n;
    *out_count = 1;
    for (size_t k = i + 1; k < count; k++) {
        if (!str_ieq(f[k].name, f[i].name))
            continue;
        n += glue + f[k].value.n;
        ++*out_count;
    }
    return n;
}

static bool merge_one(struct fcgi_pair *f, size_t count, size_t i, struct arena *arena)
{
    struct str glue = field_lookup(f[i].name) == FIELD_COOKIE ? STR("; ") : STR(", ");
    size_t same, n = joined_length(f, count, i, glue.n, &same);
    if (same == 1)
        return true;
    char *p = arena_alloc(arena, n + 1);
    struct writer w;
    if (!p)
        return false;
    writer_init(&w, p, n);
    writer_str(&w, f[i].value);
    for (size_t k = i + 1; k < count; k++) {
        if (!str_ieq(f[k].name, f[i].name))
            continue;
        writer_str(&w, glue);
        writer_str(&w, f[k].value);
        f[k].done = true;
    }
    f[i].value = str_make(p, w.len);
    return true;
}

bool fcgi_merge_fields(struct fcgi_pair *fields, size_t count, struct arena *arena)
{
    for (size_t i = 0; i < count; i++)
        if (!fields[i].done && !merge_one(fields, count, i, arena))
            return false;
    return true;
}

static void put_field(const struct fcgi_request *r, const struct fcgi_pair *f, struct writer *w)
{
    char text[NAME_MAX_HTTP];
    if (!f->done && fcgi_field_passes(f->name))
        put(r, w, http_name(f->name, text), f->value);
}

size_t fcgi_params_bound(const struct fcgi_request *r)
{
    const struct fcgi_settings *s = r->settings;
    size_t n = OWN_PAIRS * (PAIR_OVERHEAD + OWN_NAME_MAX) + 256;
    n +=
        r->script.file.n + r->script.name.n + r->script.uri.n + r->script.info.n + str_of(s->document_root).n;
    n += r->method.n + r->uri.n + r->query.n + r->protocol.n + r->content_type.n + r->content_length.n +
         r->scheme.n;
    n += 2 * r->authority.n + str_of(s->server_name).n + r->client_ip.n + r->server_ip.n;
    for (size_t i = 0; i < r->field_count; i++)
        n += r->fields[i].name.n + r->fields[i].value.n + PAIR_OVERHEAD + 5;
    for (size_t i = 0; i < s->params.n; i++)
        n += strlen(s->params.names[i]) + strlen(s->params.values[i]) + PAIR_OVERHEAD;
    return n;
}

void fcgi_write_params(const struct fcgi_request *r, struct writer *w)
{
    put_script(r, w);
    put_request(r, w);
    put_sides(r, w);
    for (size_t i = 0; i < r->field_count; i++)
        put_field(r, &r->fields[i], w);
    const struct vars *own = &r->settings->params;
    for (size_t i = 0; i < own->n; i++)
        fcgi_put_param(w, str_of(own->names[i]), str_of(own->values[i]));
}
