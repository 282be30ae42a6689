/* Which file answers a request, if any: try_files, X-Accel-Redirect, X-Sendfile. */
#include "proxy/files.h"

#include <unistd.h>

#include "http/h1_write.h"
#include "http/rules.h"
#include "http/uri.h"
#include "proxy/files_answer.h"
#include "proxy/files_open.h"
#include "proxy/proxy.h"

static const char *const tries_of_files[] = {"$uri", "$uri/"};
static const char *const tries_of_app[] = {"$uri", "@app"};

/* One search. */
struct search {
    struct exchange *x;
    const struct files_settings *settings;
    struct str path;      /* decoded, one slash between segments; in the arena */
    struct str candidate; /* in the arena, or path */
};

enum tried { TRIED_NEXT, TRIED_SERVE, TRIED_PASS, TRIED_MISSING };

static bool is_protocol_files(const struct exchange *x)
{
    return x->opt->protocol == PROTOCOL_FILES;
}

/* ---- paths ---- */

static struct str without_slash(struct str s)
{
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

/* Appends s with runs of slashes made one, so that names can be compared with folders of the config. */
static void put_squeezed(struct writer *w, struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '/' || !w->len || w->p[w->len - 1] != '/')
            writer_put(w, s.p + i, 1);
}

/* The path of a request or header, decoded once; .p is NULL when it cannot be a file name, or memory is out.
 */
static struct str decode_path(struct arena *arena, struct str encoded)
{
    char *raw = arena_alloc(arena, encoded.n + 1), *text = arena_alloc(arena, encoded.n + 1);
    struct writer w, out;
    if (!raw || !text || !encoded.n || encoded.p[0] != '/')
        return STR_NULL;
    writer_init(&w, raw, encoded.n);
    if (!uri_decode(encoded, &w))
        return STR_NULL;
    writer_init(&out, text, encoded.n);
    put_squeezed(&out, str_make(raw, w.len));
    return str_make(text, out.len);
}

static struct str concat(struct arena *arena, struct str a, struct str b, struct str c)
{
    size_t n = a.n + b.n + c.n;
    char *text = arena_alloc(arena, n + 1);
    struct writer w;
    if (!text)
        return STR_NULL;
    writer_init(&w, text, n);
    put_squeezed(&w, a);
    put_squeezed(&w, b);
    put_squeezed(&w, c);
    return str_make(text, w.len);
}

/* "/files/x" is in "/files" and "/files/", "/filesystem" is not. */
static bool is_beneath(struct str path, struct str folder)
{
    folder = without_slash(folder);
    return folder.n && str_starts(path, folder) && (path.n == folder.n || path.p[folder.n] == '/');
}

/* Files that only X-Accel-Redirect may name, be it by their path or because their folder lies in the root. */
static bool is_internal(const struct files_settings *s, struct str path)
{
    struct str root = without_slash(str_of(s->root)), inner = str_of(s->internal_root);
    if (!inner.n)
        return false;
    if (is_beneath(path, str_of(s->internal_prefix)))
        return true;
    return inner.n > root.n && str_starts(inner, root) && inner.p[root.n] == '/' &&
           is_beneath(path, str_make(inner.p + root.n, inner.n - root.n));
}

/* ---- try_files ---- */

static enum tried refuse(struct search *s, uint16_t status, enum reason why)
{
    struct files_answer *f = files_answer_create(s->x);
    if (!f)
        return TRIED_MISSING;
    f->status = status;
    f->why = (uint8_t)why;
    return TRIED_SERVE;
}

static enum tried serve(struct search *s, int fd, const struct stat *st)
{
    struct files_answer *f = files_answer_create(s->x);
    if (!f) {
        close(fd);
        return TRIED_MISSING;
    }
    files_answer_set(f, fd, st, s->candidate);
    return TRIED_SERVE;
}

/* A folder without its slash: relative links in its page would lead astray. The leading slash stays a single
 * one, or
 * "//host" would be another site's address. */
static enum tried redirect(struct search *s)
{
    struct message *m = &s->x->req;
    struct str path = message_str(m, m->path), query = m->query.len ? message_str(m, m->query) : STR_NULL;
    struct files_answer *f = files_answer_create(s->x);
    char *text = arena_alloc(&s->x->arena, path.n + query.n + 2);
    struct writer w;
    if (!f || !text)
        return TRIED_MISSING;
    writer_init(&w, text, path.n + query.n + 2);
    put_squeezed(&w, path);
    writer_str(&w, STR("/"));
    if (query.n) {
        writer_str(&w, STR("?"));
        writer_str(&w, query);
    }
    f->status = 301;
    f->location = str_make(text, w.len);
    return TRIED_SERVE;
}

static enum tried open_candidate(struct search *s, bool redirects)
{
    struct stat st;
    int fd;
    if (!s->candidate.p)
        return refuse(s, 0, REASON_NO_MEMORY);
    if (files_is_denied(&s->settings->deny, s->candidate) || is_internal(s->settings, s->candidate))
        return TRIED_NEXT;
    switch (files_open_kept(&s->x->pw->files_roots, s->settings->root, s->candidate, &st, &fd)) {
    case FILES_REGULAR:
        if (!redirects)
            return serve(s, fd, &st);
        close(fd);
        return redirect(s);
    case FILES_REFUSED:
        return is_protocol_files(s->x) ? refuse(s, 0, REASON_FILE_FORBIDDEN) : TRIED_NEXT;
    case FILES_TROUBLE:
        return refuse(s, 0, REASON_NO_MEMORY);
    default:
        return TRIED_NEXT;
    }
}

static enum tried try_status(struct search *s, struct str digits)
{
    uint64_t status;
    if (!str_to_u64(digits, &status) || status == 404 || status < 200 || status > 599)
        return TRIED_MISSING;
    return refuse(s, (uint16_t)status, REASON_OK);
}

/* "$uri", "$uri.html", "$uri/", "/fallback.html": a name that ends in '/' means the index there. */
static enum tried try_name(struct search *s, struct str word)
{
    struct arena *arena = &s->x->arena;
    struct str index = str_of(s->settings->index);
    bool is_uri = str_starts(word, STR("$uri"));
    struct str tail = is_uri ? str_make(word.p + 4, word.n - 4) : word;
    bool is_folder = str_ends(word, STR("/"));
    bool has_slash = s->path.p[s->path.n - 1] == '/';
    if (is_uri && !tail.n) {
        s->candidate = s->path;
        return has_slash ? TRIED_NEXT : open_candidate(s, false); /* a folder is no file: spare the look */
    }
    if (is_folder && !index.n)
        return TRIED_NEXT;
    s->candidate = concat(arena, is_uri ? s->path : STR_NULL, tail, is_folder ? index : STR_NULL);
    return open_candidate(s, is_folder && is_uri && tail.n == 1 && !has_slash);
}

static enum tried try_word(struct search *s, struct str word)
{
    if (str_eq(word, STR("@app")))
        return is_protocol_files(s->x) ? TRIED_NEXT : TRIED_PASS;
    if (str_starts(word, STR("=")))
        return try_status(s, str_make(word.p + 1, word.n - 1));
    return try_name(s, word);
}

/* When nothing fits a cluster with servers lets them answer: who wants 404 says so with "=404". */
static enum tried try_all(struct search *s)
{
    const struct strings *list = &s->settings->try_files;
    const char *const *words = (const char *const *)list->v;
    size_t count = list->n;
    if (!count) {
        words = is_protocol_files(s->x) ? tries_of_files : tries_of_app;
        count = 2;
    }
    for (size_t i = 0; i < count; i++) {
        enum tried got = try_word(s, str_of(words[i]));
        if (got != TRIED_NEXT)
            return got;
    }
    return is_protocol_files(s->x) ? TRIED_MISSING : TRIED_PASS;
}

static enum files_found found_of(struct search *s, enum tried tried)
{
    switch (tried) {
    case TRIED_SERVE:
        s->x->back = &back_files;
        return FILES_SERVE;
    case TRIED_PASS:
        return FILES_PASS;
    default:
        return FILES_NOT_FOUND;
    }
}

enum files_found files_try(struct exchange *x)
{
    struct search s = {.x = x, .settings = &x->opt->files};
    enum files_found otherwise = is_protocol_files(x) ? FILES_NOT_FOUND : FILES_PASS;
    if (!s.settings->root)
        return otherwise;
    if (x->req.method != METHOD_GET && x->req.method != METHOD_HEAD) {
        if (!is_protocol_files(x))
            return FILES_PASS;
        x->reason = REASON_FILE_METHOD;
        return found_of(&s, refuse(&s, 405, REASON_OK));
    }
    s.path = decode_path(&x->arena, message_str(&x->req, x->req.path));
    if (!s.path.p)
        return otherwise;
    if (is_internal(s.settings, s.path))
        return FILES_NOT_FOUND;
    return found_of(&s, try_all(&s));
}

/* ---- X-Accel-Redirect, X-Sendfile ---- */

static void drop(struct message *m, enum field_id id)
{
    for (uint16_t i = 0; i < m->field_count; i++)
        if (m->fields[i].id == id)
            m->fields[i].flags |= FIELD_FLAG_DROP;
}

/* The rest of an internal path below its prefix; empty when it is none. */
static struct str internal_rest(struct exchange *x, struct str target)
{
    struct str prefix = str_of(x->opt->files.internal_prefix);
    ptrdiff_t query = str_find(target, '?');
    if (query >= 0)
        target.n = (size_t)query;
    struct str path = decode_path(&x->arena, target);
    if (!path.p || !prefix.n || !str_starts(path, prefix))
        return STR_NULL;
    return str_make(path.p + prefix.n, path.n - prefix.n);
}

/* The root that an absolute path lies in, and the rest below it; NULL: in none. */
static const char *sendfile_root(const struct files_settings *s, struct str path, struct str *out_rest)
{
    for (size_t i = 0; i < s->sendfile_roots.n; i++) {
        struct str root = without_slash(str_of(s->sendfile_roots.v[i]));
        if (path.n > root.n + 1 && str_starts(path, root) && path.p[root.n] == '/') {
            *out_rest = str_make(path.p + root.n + 1, path.n - root.n - 1);
            return s->sendfile_roots.v[i];
        }
    }
    return NULL;
}

static enum reason reason_of(enum files_kind kind)
{
    switch (kind) {
    case FILES_REFUSED:
        return REASON_FILE_FORBIDDEN;
    case FILES_TROUBLE:
        return REASON_NO_MEMORY;
    default:
        return REASON_FILE_NOT_FOUND;
    }
}

static struct message *keep(struct exchange *x, struct message *m)
{
    struct message *copy = arena_alloc(&x->arena, sizeof *copy);
    if (!copy)
        return NULL;
    rules_drop_hop_by_hop(m);
    *copy = *m;
    return message_keep(copy, &x->arena) ? copy : NULL;
}

/* Everything that is needed from m is copied before its back is told to stop: m dies with that. */
static enum reason switch_to_file(struct exchange *x, struct message *m, const char *root, struct str rest)
{
    struct stat st;
    int fd;
    if (!root || !rest.n || files_is_denied(&x->opt->files.deny, rest))
        return REASON_FILE_NOT_FOUND;
    enum files_kind kind = files_open_kept(&x->pw->files_roots, root, rest, &st, &fd);
    if (kind != FILES_REGULAR)
        return reason_of(kind);
    struct message *kept = keep(x, m);
    x->internal_path = arena_copy(&x->arena, rest);
    if (kept && x->internal_path.p) {
        exchange_switch_back(x, &back_files);
        struct files_answer *f = files_answer_create(x);
        if (f) {
            files_answer_set(f, fd, &st, x->internal_path);
            f->kept = kept;
            files_answer_start(f);
            return REASON_OK;
        }
    }
    close(fd);
    return REASON_NO_MEMORY;
}

bool files_accel(struct exchange *x, struct message *m)
{
    const struct files_settings *s = &x->opt->files;
    struct str redirected = message_value(m, FIELD_X_ACCEL_REDIRECT),
               sent = message_value(m, FIELD_X_SENDFILE);
    struct str rest = STR_NULL;
    const char *root = NULL;
    drop(m, FIELD_X_ACCEL_REDIRECT);
    drop(m, FIELD_X_SENDFILE);
    if (redirected.p && s->internal_root) {
        root = s->internal_root;
        rest = internal_rest(x, redirected);
    } else if (sent.p && s->sendfile_roots.n) {
        root = sendfile_root(s, sent, &rest);
    } else {
        return false;
    }
    enum reason why = switch_to_file(x, m, root, rest);
    if (why != REASON_OK)
        exchange_reply(x, why);
    return true;
}
