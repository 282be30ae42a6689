#include "conf/reader.h"

#include <errno.h>
#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/panic.h"
#include "conf/options_row.h"

static void read_group(struct reader *r, const config_setting_t *group, const struct option_table *table,
                       void *obj);

static int line_of(const config_setting_t *setting)
{
    return (int)config_setting_source_line(setting);
}

static void error_at(struct reader *r, const config_setting_t *setting, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void error_at(struct reader *r, const config_setting_t *setting, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    reader_error_at_line(r, line_of(setting), fmt, ap);
    va_end(ap);
}

/* ---- single values ---- */

static const char *type_name(const config_setting_t *setting)
{
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_GROUP:
        return "a group";
    case CONFIG_TYPE_LIST:
    case CONFIG_TYPE_ARRAY:
        return "a list";
    case CONFIG_TYPE_STRING:
        return "a string";
    case CONFIG_TYPE_BOOL:
        return config_setting_get_bool(setting) ? "true" : "false";
    case CONFIG_TYPE_FLOAT:
        return "a number with a fraction";
    default:
        return "an integer";
    }
}

static bool is_sequence(const config_setting_t *setting)
{
    return config_setting_is_list(setting) || config_setting_is_array(setting);
}

static void wrong_type(struct reader *r, const config_setting_t *setting, const struct option_table *table,
                       const struct option *row)
{
    struct buf what;
    buf_init(&what);
    option_expected(row, &what);
    error_at(r, setting, "\"%s\" in %s: expected %.*s, got %s", row->key, table->name, (int)what.len, what.p,
             type_name(setting));
    buf_fini(&what);
}

/* Says why a value was refused; `message` is used up. */
static void wrong_value(struct reader *r, const config_setting_t *setting, const struct option_table *table,
                        const char *key, struct buf *message)
{
    error_at(r, setting, "\"%s\" in %s: %.*s", key, table->name, (int)message->len, message->p);
    message->len = 0;
}

static size_t env_name_length(struct str s)
{
    size_t n = 0;
    while (n < s.n && ((s.p[n] >= '0' && s.p[n] <= '9') ||
                       (char_lower(s.p[n]) >= 'a' && char_lower(s.p[n]) <= 'z') || s.p[n] == '_'))
        n++;
    return n;
}

/* ${NAME} from the environment, $${ for a plain ${. The result is NUL-terminated behind its length. */
static bool expand(struct reader *r, const config_setting_t *setting, struct str text, struct buf *out)
{
    bool ok = true;
    while (text.n) {
        size_t step = 1;
        if (str_starts(text, STR("$${"))) {
            buf_put(out, "${", 2);
            step = 3;
        } else if (str_starts(text, STR("${"))) {
            size_t n = env_name_length(str_make(text.p + 2, text.n - 2));
            char name[128];
            const char *value = NULL;
            if (n == 0 || n >= sizeof name || n + 2 >= text.n || text.p[n + 2] != '}') {
                error_at(r, setting, "expected a name and a brace after \"${\" (\"$${\" stands for itself)");
                return false;
            }
            memcpy(name, text.p + 2, n);
            name[n] = 0;
            value = getenv(name);
            if (!value) {
                error_at(r, setting, "environment variable %s is not set", name);
                ok = false;
            }
            buf_put_str(out, str_of(value));
            step = n + 3;
        } else {
            buf_put(out, text.p, 1);
        }
        text = str_make(text.p + step, text.n - step);
    }
    return ok;
}

/* Folder of the file that a setting stands in, absolute; the caller frees. */
static char *folder_of(struct reader *r, const config_setting_t *setting)
{
    const char *file;
    int line;
    char here[4096];
    source_place(&r->source, line_of(setting), &file, &line);
    const char *slash = strrchr(file, '/');
    struct buf b;
    buf_init(&b);
    if (file[0] != '/' && getcwd(here, sizeof here))
        buf_printf(&b, "%s%s", here, slash ? "/" : "");
    if (slash)
        buf_put(&b, file, (size_t)(slash - file));
    buf_put(&b, "", 1);
    return b.p;
}

static bool is_path(const struct option *row)
{
    return row->type == OPT_PATH || row->type == OPT_PATHS;
}

/* A string of the file into a scalar (add: as one more element of a list). */
static void read_string(struct reader *r, const config_setting_t *setting, const struct option_table *table,
                        const struct option *row, void *obj, bool add)
{
    struct buf text, message;
    buf_init(&text);
    buf_init(&message);
    struct str raw = str_of(config_setting_get_string(setting));
    char *dir = is_path(row) ? folder_of(r, setting) : NULL;
    bool ok = true;
    if (row->verbatim)
        buf_put_str(&text, raw);
    else
        ok = expand(r, setting, raw, &text);
    struct str s = text.len ? buf_str(&text) : STR("");
    if (ok &&
        !(add ? option_add_text(row, obj, s, dir, &message) : option_set_text(row, obj, s, dir, &message)))
        wrong_value(r, setting, table, row->key, &message);
    free(dir);
    buf_fini(&text);
    buf_fini(&message);
}

static void read_scalar(struct reader *r, const config_setting_t *setting, const struct option_table *table,
                        const struct option *row, void *obj)
{
    struct buf message;
    bool ok = true;
    buf_init(&message);
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_STRING:
        /* "true" in quotes is not a truth value, nor "5" a number: libconfig has types, so have we. */
        if (row->type == OPT_BOOL || row->type == OPT_AUTO || row->type == OPT_INT || row->type == OPT_REAL)
            wrong_type(r, setting, table, row);
        else
            read_string(r, setting, table, row, obj, false);
        break;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        ok = option_set_int(row, obj, config_setting_get_int64(setting), &message);
        break;
    case CONFIG_TYPE_FLOAT:
        ok = option_set_real(row, obj, config_setting_get_float(setting), &message);
        break;
    case CONFIG_TYPE_BOOL:
        if (row->type == OPT_BOOL || row->type == OPT_AUTO)
            ok = option_set_bool(row, obj, config_setting_get_bool(setting), &message);
        else
            wrong_type(r, setting, table, row);
        break;
    default:
        wrong_type(r, setting, table, row);
        break;
    }
    if (!ok)
        wrong_value(r, setting, table, row->key, &message);
    buf_fini(&message);
}

/* ---- lists ---- */

static void read_words(struct reader *r, const config_setting_t *setting, const struct option_table *table,
                       const struct option *row, void *obj)
{
    option_clear(row, obj); /* what the user names replaces the default, it does not join it */
    if (config_setting_type(setting) == CONFIG_TYPE_STRING) {
        read_string(r, setting, table, row, obj, true);
        return;
    }
    if (!is_sequence(setting)) {
        wrong_type(r, setting, table, row);
        return;
    }
    for (int i = 0; i < config_setting_length(setting); i++) {
        const config_setting_t *item = config_setting_get_elem(setting, (unsigned)i);
        if (config_setting_type(item) == CONFIG_TYPE_STRING)
            read_string(r, item, table, row, obj, true);
        else
            wrong_type(r, item, table, row);
    }
}

static void read_vars(struct reader *r, const config_setting_t *setting, const struct option_table *table,
                      const struct option *row, void *obj)
{
    struct buf text;
    if (!config_setting_is_group(setting)) {
        wrong_type(r, setting, table, row);
        return;
    }
    option_clear(row, obj);
    buf_init(&text);
    for (int i = 0; i < config_setting_length(setting); i++) {
        const config_setting_t *item = config_setting_get_elem(setting, (unsigned)i);
        struct str value = str_of(config_setting_get_string(item));
        text.len = 0;
        if (config_setting_type(item) != CONFIG_TYPE_STRING)
            error_at(r, item, "\"%s\" in %s: expected a string, got %s", config_setting_name(item), row->key,
                     type_name(item));
        else if (row->verbatim ? (buf_put_str(&text, value), true) : expand(r, item, value, &text)) {
            if (option_text_is_clean(row, buf_str(&text)))
                vars_add(option_member(row, obj), str_of(config_setting_name(item)), buf_str(&text));
            else
                error_at(r, item, "\"%s\" in %s: control character", config_setting_name(item), row->key);
        }
    }
    buf_fini(&text);
}

/* A group of its keys, or a plain string for its short key. */
static void read_item(struct reader *r, const config_setting_t *item, const struct option_table *table,
                      const struct option *row, void *obj)
{
    reader_record(r, obj, line_of(item));
    if (config_setting_is_group(item)) {
        read_group(r, item, row->table, obj);
    } else if (row->table->short_key && config_setting_type(item) == CONFIG_TYPE_STRING) {
        void *at = NULL;
        const struct option *inner = option_find(row->table, str_of(row->table->short_key), obj, &at);
        reader_record(r, option_member(inner, at), line_of(item));
        read_scalar(r, item, row->table, inner, at);
    } else {
        wrong_type(r, item, table, row);
    }
}

struct unique {
    const char *value;
    size_t index;
};

static int by_value(const void *a, const void *b)
{
    const struct unique *x = a, *y = b;
    int order = strcmp(x->value, y->value);
    return order ? order : (x->index < y->index ? -1 : 1);
}

static void check_unique(struct reader *r, const config_setting_t *setting, const struct option *list_row,
                         const struct option_list *list)
{
    const struct option_table *table = list_row->table;
    if (!table->unique_key || list->count < 2)
        return;
    struct unique *all = must(calloc(list->count, sizeof *all));
    size_t n = 0;
    for (size_t i = 0; i < list->count; i++) {
        void *at = NULL;
        const struct option *row =
            option_find(table, str_of(table->unique_key), (char *)list->items + i * table->struct_size, &at);
        const char *value = *(char *const *)option_value(row, at);
        if (value)
            all[n++] = (struct unique){value, i};
    }
    qsort(all, n, sizeof *all, by_value);
    for (size_t i = 1; i < n; i++)
        if (strcmp(all[i - 1].value, all[i].value) == 0) /* the file's order stands within equals */
            error_at(r, config_setting_get_elem(setting, (unsigned)all[i].index), "second %s with %s \"%s\"",
                     table->name, table->unique_key, all[i].value);
    free(all);
}

static void read_list(struct reader *r, const config_setting_t *setting, const struct option_table *table,
                      const struct option *row, void *obj)
{
    struct option_list *list = option_member(row, obj);
    if (config_setting_type(setting) == CONFIG_TYPE_STRING && row->table->short_key) {
        option_make_list(row, obj, 1);
        read_item(r, setting, table, row, list->items);
        return;
    }
    if (!is_sequence(setting)) {
        wrong_type(r, setting, table, row);
        return;
    }
    size_t n = (size_t)config_setting_length(setting);
    if (n > OPTION_LIST_MAX) {
        error_at(r, setting, "\"%s\" in %s: more than %u items", row->key, table->name, OPTION_LIST_MAX);
        return;
    }
    option_make_list(row, obj, n);
    for (size_t i = 0; i < n; i++)
        read_item(r, config_setting_get_elem(setting, (unsigned)i), table, row,
                  (char *)list->items + i * row->table->struct_size);
    check_unique(r, setting, row, list);
}

/* ---- sections of plugins: kept as they are until the plugin's own table is known ---- */

static bool raw_words(struct reader *r, const config_setting_t *setting, struct buf *out)
{
    for (int i = 0; i < config_setting_length(setting); i++) {
        const config_setting_t *item = config_setting_get_elem(setting, (unsigned)i);
        if (config_setting_type(item) != CONFIG_TYPE_STRING) {
            error_at(r, item, "\"%s\": expected a list of strings, got %s in it",
                     config_setting_name(setting), type_name(item));
            return false;
        }
        if (i)
            buf_put(out, "\n", 1);
        if (!expand(r, item, str_of(config_setting_get_string(item)), out))
            return false;
    }
    return true;
}

static bool raw_value(struct reader *r, const config_setting_t *setting, struct raw_option *raw)
{
    struct buf text;
    bool ok = true;
    buf_init(&text);
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        raw->type = 'i';
        raw->i = config_setting_get_int64(setting);
        break;
    case CONFIG_TYPE_FLOAT:
        raw->type = 'f';
        raw->f = config_setting_get_float(setting);
        break;
    case CONFIG_TYPE_BOOL:
        raw->type = 'b';
        raw->i = config_setting_get_bool(setting);
        break;
    case CONFIG_TYPE_STRING:
        raw->type = 's';
        ok = expand(r, setting, str_of(config_setting_get_string(setting)), &text);
        raw->s = ok ? must(str_dup(buf_str(&text))) : NULL;
        break;
    default:
        raw->type = 'l';
        ok = raw_words(r, setting, &text);
        raw->s = ok ? must(str_dup(buf_str(&text))) : NULL;
        break;
    }
    buf_fini(&text);
    return ok;
}

/* Groups become keys with dots: tls = { ca = "x"; } is "tls.ca". */
static void read_raw(struct reader *r, const config_setting_t *setting, const char *prefix,
                     struct raw_options *all)
{
    struct buf key;
    buf_init(&key);
    buf_printf(&key, "%s%s%s", prefix, *prefix ? "." : "", config_setting_name(setting));
    buf_put(&key, "", 1);
    if (config_setting_is_group(setting)) {
        for (int i = 0; i < config_setting_length(setting); i++)
            read_raw(r, config_setting_get_elem(setting, (unsigned)i), key.p, all);
        buf_fini(&key);
        return;
    }
    struct raw_option raw = {.line = 0};
    const char *file;
    if (!raw_value(r, setting, &raw)) {
        buf_fini(&key);
        return;
    }
    source_place(&r->source, line_of(setting), &file, &raw.line);
    raw.file = must(str_dup(str_of(file)));
    raw.key = key.p;
    all->v = must(realloc(all->v, (all->n + 1) * sizeof *all->v));
    all->v[all->n++] = raw;
}

/* ---- groups ---- */

static void read_known(struct reader *r, const config_setting_t *setting, const struct option_table *table,
                       const struct option *row, void *obj)
{
    reader_record(r, option_member(row, obj), line_of(setting));
    switch (row->type) {
    case OPT_RESERVED:
        error_at(r, setting, "\"%s\" in %s is known, but not available in this version", row->key,
                 table->name);
        break;
    case OPT_GROUP:
        if (config_setting_is_group(setting))
            read_group(r, setting, row->table, option_member(row, obj));
        else
            wrong_type(r, setting, table, row);
        break;
    case OPT_LIST:
        read_list(r, setting, table, row, obj);
        break;
    case OPT_VARS:
        read_vars(r, setting, table, row, obj);
        break;
    case OPT_STRINGS:
    case OPT_PATHS:
    case OPT_NETS:
        read_words(r, setting, table, row, obj);
        break;
    default:
        read_scalar(r, setting, table, row, obj);
        break;
    }
}

static void unknown_key(struct reader *r, const config_setting_t *setting, const struct option_table *table)
{
    const char *key = config_setting_name(setting);
    const char *near = option_suggest(table, str_of(key));
    if (near)
        error_at(r, setting, "unknown key \"%s\" in %s; did you mean \"%s\"?", key, table->name, near);
    else
        error_at(r, setting, "unknown key \"%s\" in %s", key, table->name);
}

static void check_required(struct reader *r, const config_setting_t *group, const struct option_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        if (row->type == OPT_INLINE)
            check_required(r, group, row->table);
        else if (row->required && !config_setting_get_member(group, row->key))
            error_at(r, group, "missing key \"%s\" in %s", row->key, table->name);
    }
}

static void read_group(struct reader *r, const config_setting_t *group, const struct option_table *table,
                       void *obj)
{
    const struct option *rest = option_rest(table);
    for (int i = 0; i < config_setting_length(group); i++) {
        const config_setting_t *setting = config_setting_get_elem(group, (unsigned)i);
        void *at = obj;
        const struct option *row = option_find(table, str_of(config_setting_name(setting)), obj, &at);
        if (row)
            read_known(r, setting, table, row, at);
        else if (rest)
            read_raw(r, setting, "", option_member(rest, obj));
        else
            unknown_key(r, setting, table);
    }
    check_required(r, group, table);
}

static void syntax_error(struct reader *r, const config_t *config)
{
    const char *file;
    int line;
    source_place(&r->source, config_error_line(config), &file, &line);
    buf_printf(r->errors, "%s:%d: %s\n", file, line,
               config_error_text(config) ? config_error_text(config) : "syntax error");
    r->error_count++;
}

static bool read_source(struct reader *r, const struct option_table *table, void *obj)
{
    config_t config;
    config_init(&config);
    buf_put(&r->source.text, "", 1);
    if (config_read_string(&config, r->source.text.p) != CONFIG_TRUE) {
        syntax_error(r, &config);
    } else {
        reader_record(r, obj, line_of(config_root_setting(&config)));
        read_group(r, config_root_setting(&config), table, obj);
    }
    config_destroy(&config);
    return r->error_count == 0;
}

bool reader_read_file(struct reader *r, const char *file, const struct option_table *table, void *obj)
{
    return source_load(&r->source, file) && read_source(r, table, obj);
}

bool reader_read_text(struct reader *r, const char *name, struct str text, const struct option_table *table,
                      void *obj)
{
    return source_load_text(&r->source, name, text) && read_source(r, table, obj);
}
