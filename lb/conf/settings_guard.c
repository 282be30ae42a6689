#include "conf/settings_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/panic.h"

#define EACH(type, item, list)                                                                               \
    for (type *item = (list).items, *item##_end = item ? item + (list).count : NULL; item != item##_end;     \
         item++)

#define USER_NAME_MAX 255
#define HASH_MAX      383 /* what crypt(3) ever makes (CRYPT_OUTPUT_SIZE) */

/* ---- files ---- */

/* A whole regular file with a NUL behind it; the caller frees. NULL, and an error at `at`. */
static char *read_whole(struct reader *r, const void *at, const char *path, size_t max, size_t *out_n)
{
    struct stat st;
    char *bytes = NULL;
    size_t n = 0;
    ssize_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0)
        reader_error(r, at, "\"%s\": %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        reader_error(r, at, "\"%s\" is not a file", path);
    else {
        bytes = must(malloc(max + 2));
        while (n <= max && (got = read(fd, bytes + n, max + 1 - n)) > 0)
            n += (size_t)got;
        if (got < 0)
            reader_error(r, at, "\"%s\": %s", path, strerror(errno));
        else if (n > max)
            reader_error(r, at, "\"%s\" is larger than %zu bytes", path, max);
    }
    if (fd >= 0)
        close(fd);
    if (bytes && (got < 0 || n > max)) {
        explicit_bzero(bytes, n);
        free(bytes);
        return NULL;
    }
    if (bytes)
        bytes[n] = 0;
    *out_n = n;
    return bytes;
}

/* ---- passwords ---- */

static bool is_number_up_to(const char *text, size_t n, uint64_t max)
{
    uint64_t v;
    return str_to_u64(str_make(text, n), &v) && v <= max;
}

/* NULL, or what is wrong with it. A hash that takes for ever to check is as bad as one that nobody can. */
static const char *hash_fault(const char *h)
{
    struct str s = str_of(h);
    bool is_sha = str_starts(s, STR("$5$")) || str_starts(s, STR("$6$"));
    bool is_bcrypt = s.n == 60 && s.p[0] == '$' && s.p[1] == '2' && strchr("aby", s.p[2]) && s.p[3] == '$' &&
                     s.p[6] == '$';
    if (s.n > HASH_MAX)
        return "the hash is too long";
    if (is_bcrypt)
        return is_number_up_to(s.p + 4, 2, GUARD_BCRYPT_COST_MAX) ? NULL
                                                                  : "the cost of its bcrypt hash is above 14";
    if (is_sha && str_starts(str_make(s.p + 3, s.n - 3), STR("rounds="))) {
        const char *end = strchr(s.p + 10, '$');
        return end && is_number_up_to(s.p + 10, (size_t)(end - s.p) - 10, GUARD_SHA_ROUNDS_MAX)
                   ? NULL
                   : "the rounds of its hash are above 1000000";
    }
    if (is_sha || str_starts(s, STR("$y$")) || str_starts(s, STR("$gy$")))
        return NULL;
    return "the hash is none of bcrypt ($2y$), $5$, $6$ and $y$; \"htpasswd -B\" makes one";
}

static bool is_user_name(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return false;
    return n > 0 && n <= USER_NAME_MAX;
}

/* "user:hash", already without its line end. Fields behind the hash are comments, as elsewhere. */
static void add_user(struct reader *r, struct basic_settings *b, char *line, int number)
{
    char *colon = strchr(line, ':');
    if (!colon) {
        reader_error(r, &b->file, "\"%s\" line %d: expected \"user:hash\"", b->file, number);
        return;
    }
    *colon = 0;
    char *hash = colon + 1, *rest = strchr(hash, ':');
    if (rest)
        *rest = 0;
    const char *fault = is_user_name(line) ? hash_fault(hash) : "no name of a user";
    if (fault)
        reader_error(r, &b->file, "\"%s\" line %d: %s", b->file, number, fault);
    else if (b->user_count == GUARD_USERS_MAX)
        reader_error(r, &b->file, "\"%s\" has more than %d users", b->file, GUARD_USERS_MAX);
    else
        b->users[b->user_count++] = (struct basic_user){line, hash};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct basic_user *)a)->name, ((const struct basic_user *)b)->name);
}

static void read_users(struct reader *r, struct basic_settings *b)
{
    size_t n, lines = 1, before = r->error_count;
    b->users_text = read_whole(r, &b->file, b->file, GUARD_USERS_FILE_MAX, &n);
    if (!b->users_text)
        return;
    if (memchr(b->users_text, 0, n)) {
        reader_error(r, &b->file, "\"%s\" is no text", b->file);
        return;
    }
    for (size_t i = 0; i < n; i++)
        lines += b->users_text[i] == '\n';
    b->users = must(calloc(lines, sizeof *b->users));
    int number = 1;
    for (char *line = b->users_text, *next; line && r->error_count - before < 10; line = next, number++) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        line[strcspn(line, "\r")] = 0;
        if (*line && *line != '#')
            add_user(r, b, line, number);
    }
    if (b->user_count)
        qsort(b->users, b->user_count, sizeof *b->users, by_name);
    for (size_t i = 1; i < b->user_count; i++)
        if (strcmp(b->users[i - 1].name, b->users[i].name) == 0)
            reader_error(r, &b->file, "\"%s\" has user \"%s\" twice", b->file, b->users[i].name);
    if (!b->user_count && r->error_count == before)
        reader_error(r, &b->file, "\"%s\" has no user", b->file);
}

/* ---- pages and rates ---- */

static void read_page(struct reader *r, struct page_settings *p)
{
    static const struct {
        const char *end, *type;
    } types[] = {{".html", "text/html; charset=utf-8"},
                 {".htm", "text/html; charset=utf-8"},
                 {".json", "application/json"},
                 {".svg", "image/svg+xml"}};
    size_t n = 0;
    if (!p->file)
        return;
    p->type = "text/plain; charset=utf-8";
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (str_ends(str_of(p->file), str_of(types[i].end)))
            p->type = types[i].type;
    char *bytes = read_whole(r, &p->file, p->file, GUARD_PAGE_MAX, &n);
    p->body = str_make(bytes, bytes ? n : 0);
}

static void read_rate(struct reader *r, char *const *text, int64_t burst, struct limit_rate *out)
{
    if (*text && !limit_rate_parse(str_of(*text), (uint32_t)burst, out))
        reader_error(r, text,
                     "\"%s\" is no rate: expected a number and /s, /m, /h or /d, such as \"100/s\", at most "
                     "%u a second, and a burst that comes back within a year",
                     *text, LIMIT_RATE_MAX);
}

void settings_guard_load(struct settings *s, struct reader *r)
{
    EACH(struct guard_settings, g, s->guards)
    {
        read_rate(r, &g->limit.client_rate, g->limit.client_burst, &g->limit.client_bucket);
        read_rate(r, &g->limit.rate, g->limit.burst, &g->limit.bucket);
        if (g->basic.file) {
            read_rate(r, &g->basic.attempts, g->basic.attempts_burst, &g->basic.attempts_bucket);
            read_users(r, &g->basic);
        }
        EACH(struct page_settings, p, g->error_pages)
        {
            read_page(r, p);
        }
    }
}

/* ---- checks ---- */

bool settings_has_guard(const struct settings *s, const char *name)
{
    EACH(const struct guard_settings, g, s->guards)
    {
        if (g->name && strcmp(g->name, name) == 0)
            return true;
    }
    return false;
}

static void check_reference(const struct settings *s, struct reader *r, char *const *name)
{
    if (*name && !settings_has_guard(s, *name))
        reader_error(r, name, "guard \"%s\" does not exist", *name);
}

static bool is_field_name(const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        char c = char_lower(text[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && !strchr("!#$%&'*+-.^_`|~", c))
            return false;
    }
    return n > 0 && n <= 128;
}

/* What frames a message or routes it is never set from outside. */
static bool is_settable(const char *name)
{
    static const char *const never[] = {"Host",
                                        "Connection",
                                        "Content-Length",
                                        "Transfer-Encoding",
                                        "Upgrade",
                                        "Keep-Alive",
                                        "TE",
                                        "Trailer",
                                        "Expect",
                                        "Proxy-Connection",
                                        "Via",
                                        "Forwarded",
                                        "HTTP2-Settings"};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++)
        if (str_ieq(str_of(never[i]), str_of(name)))
            return false;
    return !str_ieq(str_make(name, strlen(name) < 12 ? strlen(name) : 12), STR("X-Forwarded-"));
}

static void check_fields(struct reader *r, const struct strings *names)
{
    if (names->n > GUARD_FIELDS_MAX)
        reader_error(r, names, "more than %d fields", GUARD_FIELDS_MAX);
    for (size_t i = 0; i < names->n; i++)
        if (!is_field_name(names->v[i]) || !is_settable(names->v[i]))
            reader_error(r, names, "\"%s\" is no field that can be copied", names->v[i]);
}

static void check_external(const struct settings *s, struct reader *r, const struct external_settings *e)
{
    bool is_known = false;
    if (!e->cluster)
        return;
    if (!cluster_id_is_valid(str_of(e->cluster)))
        reader_error(r, &e->cluster, "\"%s\" is no cluster id", e->cluster);
    EACH(const struct cluster_settings, c, s->clusters)
    {
        is_known |= c->name && strcmp(c->name, e->cluster) == 0;
    }
    if (!is_known && !s->plugins.count && !s->applications.count)
        reader_error(r, &e->cluster, "external asks cluster \"%s\", which nothing makes", e->cluster);
    for (const char *p = e->path; *p; p++)
        if (e->path[0] != '/' || (unsigned char)*p <= ' ' || *p == 0x7f || *p == '#') {
            reader_error(r, &e->path, "\"%s\" in external: expected a path such as \"/verify\"", e->path);
            break;
        }
    check_fields(r, &e->copy);
    check_fields(r, &e->answer);
}

static void check_realm(struct reader *r, const struct basic_settings *b)
{
    for (const char *p = b->realm; p && *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '"' || *p == '\\') {
            reader_error(r, &b->realm, "the realm may hold neither quotes nor backslashes");
            return;
        }
    if (b->realm && strlen(b->realm) > 200)
        reader_error(r, &b->realm, "the realm is longer than 200 bytes");
}

static void check_guard(const struct settings *s, struct reader *r, const struct guard_settings *g)
{
    if (g->name && !name_is_valid(str_of(g->name)))
        reader_error(r, &g->name, "\"%s\" is no name: expected 1 to %d of A-Z a-z 0-9 . _ -", g->name,
                     NAME_MAX_BYTES);
    check_realm(r, &g->basic);
    check_external(s, r, &g->external);
    for (size_t i = 0; i < g->error_pages.count; i++)
        for (size_t k = 0; k < i; k++) {
            const struct page_settings *p = SETTINGS_AT(g->error_pages, struct page_settings, i);
            if (p->status == SETTINGS_AT(g->error_pages, struct page_settings, k)->status)
                reader_error(r, p, "second page for status %d", (int)p->status);
        }
}

void settings_guard_check(const struct settings *s, struct reader *r)
{
    EACH(const struct guard_settings, g, s->guards)
    {
        check_guard(s, r, g);
    }
    EACH(const struct listener_settings, l, s->listeners)
    {
        check_reference(s, r, &l->guard);
    }
    EACH(const struct cluster_settings, c, s->clusters)
    {
        check_reference(s, r, &c->options.guard);
    }
    EACH(const struct route_settings, route, s->routes)
    {
        check_reference(s, r, &route->options.guard);
    }
    EACH(const struct cartridge_settings, cartridge, s->cartridges)
    {
        EACH(const struct port_settings, port, cartridge->ports)
        {
            check_reference(s, r, &port->options.guard);
        }
    }
}

/* ---- the end ---- */

void settings_guard_forget(struct settings *s)
{
    EACH(struct guard_settings, g, s->guards)
    {
        if (g->basic.users_text)
            for (size_t i = 0; i < g->basic.user_count; i++)
                explicit_bzero((char *)(uintptr_t)g->basic.users[i].hash, strlen(g->basic.users[i].hash));
    }
}

void settings_guard_free(struct settings *s)
{
    settings_guard_forget(s);
    EACH(struct guard_settings, g, s->guards)
    {
        free(g->basic.users);
        free(g->basic.users_text);
        EACH(struct page_settings, p, g->error_pages)
        {
            free((char *)(uintptr_t)p->body.p);
        }
    }
}
