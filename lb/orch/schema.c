#include "orch/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/panic.h"

#define SECRET_BYTES_MAX 65536

struct reader {
    struct schema_values *out;
    const struct schema_place *place;
    const char *file; /* of the setting at work */
    int line;
    struct buf *errors;
    bool failed;
};

static void complain(struct reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void complain(struct reader *r, const char *fmt, ...)
{
    r->failed = true;
    const char *file = r->file ? r->file : r->place->file;
    buf_printf(r->errors, "%s:%d: plugin \"%s\": ", file ? file : "?", r->file ? r->line : r->place->line,
               r->place->plugin);
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(r->errors, fmt, ap);
    va_end(ap);
    buf_put_str(r->errors, STR("\n"));
}

static const char *keep(struct reader *r, struct str text)
{
    struct schema_values *v = r->out;
    if (v->text_count == v->text_cap) {
        v->text_cap = v->text_cap ? v->text_cap * 2 : 16;
        v->texts = must(realloc(v->texts, v->text_cap * sizeof *v->texts));
    }
    return v->texts[v->text_count++] = must(str_dup(text));
}

/* Joined by '\n' in the raw form. */
static void keep_list(struct reader *r, struct str joined, struct cox_value *out)
{
    size_t n = joined.n ? 1 : 0;
    for (size_t i = 0; i < joined.n; i++)
        n += joined.p[i] == '\n';
    const char **list = must(calloc(n + 1, sizeof *list));
    struct schema_values *v = r->out;
    v->lists = must(realloc(v->lists, (v->list_count + 1) * sizeof *v->lists));
    v->lists[v->list_count++] = list;
    struct str item;
    for (size_t i = 0; i < n && str_next(&joined, '\n', &item); i++)
        list[i] = keep(r, item);
    out->list = list;
    out->list_count = (uint32_t)n;
}

static bool in_range(struct reader *r, const struct cox_option *row, double value)
{
    if (row->min == 0 && row->max == 0)
        return true;
    if (value >= (double)row->min && value <= (double)row->max)
        return true;
    complain(r, "%s must be between %lld and %lld", row->key, (long long)row->min, (long long)row->max);
    return false;
}

static bool read_number(struct reader *r, const struct cox_option *row, const struct raw_option *raw,
                        struct cox_value *out)
{
    struct str text = str_of(raw->s);
    uint64_t n = 0;
    switch (row->type) {
    case COX_OPTION_INT:
        if (raw->type != 'i')
            break;
        out->i = raw->i;
        return in_range(r, row, (double)out->i);
    case COX_OPTION_REAL:
        if (raw->type != 'i' && raw->type != 'f')
            break;
        out->f = raw->type == 'i' ? (double)raw->i : raw->f;
        return in_range(r, row, out->f);
    case COX_OPTION_DURATION:
        if (raw->type != 's' || !duration_parse(text, &n) || n > INT64_MAX)
            break;
        out->i = (int64_t)n;
        return in_range(r, row, (double)n);
    default:
        if (raw->type == 'i' && raw->i >= 0)
            n = (uint64_t)raw->i;
        else if (raw->type != 's' || !size_parse(text, &n) || n > INT64_MAX)
            break;
        out->i = (int64_t)n;
        return in_range(r, row, (double)n);
    }
    static const char *const expected[] = {[COX_OPTION_INT] = "a whole number",
                                           [COX_OPTION_REAL] = "a number",
                                           [COX_OPTION_DURATION] = "a duration such as \"30s\"",
                                           [COX_OPTION_SIZE] = "a size such as \"16k\""};
    complain(r, "%s must be %s", row->key, expected[row->type]);
    return false;
}

static bool read_enum(struct reader *r, const struct cox_option *row, struct str text, struct cox_value *out)
{
    struct str rest = str_of(row->words), word;
    for (int64_t i = 0; str_next(&rest, ' ', &word); i++) {
        if (!str_eq(word, text))
            continue;
        out->i = i;
        out->text = keep(r, text);
        return true;
    }
    complain(r, "%s must be one of: %s", row->key, row->words ? row->words : "");
    return false;
}

static bool read_path(struct reader *r, struct str text, struct cox_value *out)
{
    const char *slash = r->file ? strrchr(r->file, '/') : NULL;
    if (text.n == 0 || text.p[0] == '/' || !slash) {
        out->text = keep(r, text);
        return true;
    }
    struct buf path;
    buf_init(&path);
    buf_put(&path, r->file, (size_t)(slash - r->file) + 1);
    buf_put_str(&path, text);
    out->text = keep(r, buf_str(&path));
    buf_fini(&path);
    return true;
}

static bool read_secret_file(struct reader *r, const char *key, const char *path, struct cox_value *out)
{
    char bytes[SECRET_BYTES_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
    if (n < 0)
        complain(r, "%s: cannot read %s: %s", key, path, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return false;
    while (n > 0 && (bytes[n - 1] == '\n' || bytes[n - 1] == '\r'))
        n--;
    out->text = keep(r, str_make(bytes, (size_t)n));
    explicit_bzero(bytes, sizeof bytes);
    return true;
}

/* A secret never stands in the config file itself, so that the file may be shown around. */
static bool read_secret(struct reader *r, const struct cox_option *row, const char *text,
                        struct cox_value *out)
{
    if (strncmp(text, "env:", 4) == 0) {
        const char *value = getenv(text + 4);
        if (value)
            out->text = keep(r, str_of(value));
        else
            complain(r, "%s: no environment variable %s", row->key, text + 4);
        return value != NULL;
    }
    if (strncmp(text, "file:", 5) == 0)
        return read_secret_file(r, row->key, text + 5, out);
    complain(r, "%s must be \"env:NAME\" or \"file:PATH\"", row->key);
    return false;
}

static bool read_text(struct reader *r, const struct cox_option *row, const struct raw_option *raw,
                      struct cox_value *out)
{
    struct str text = str_of(raw->s);
    if (row->type == COX_OPTION_STRINGS && (raw->type == 's' || raw->type == 'l')) {
        keep_list(r, text, out);
        return true;
    }
    if (raw->type != 's') {
        complain(r, "%s must be %s", row->key,
                 row->type == COX_OPTION_STRINGS ? "a list of strings" : "a string");
        return false;
    }
    switch (row->type) {
    case COX_OPTION_ENUM:
        return read_enum(r, row, text, out);
    case COX_OPTION_PATH:
        return read_path(r, text, out);
    case COX_OPTION_SECRET:
        return read_secret(r, row, raw->s ? raw->s : "", out);
    default:
        out->text = keep(r, text);
        return true;
    }
}

static bool read_row(struct reader *r, const struct cox_option *row, const struct raw_option *raw,
                     struct cox_value *out)
{
    switch (row->type) {
    case COX_OPTION_BOOL:
        if (raw->type != 'b') {
            complain(r, "%s must be true or false", row->key);
            return false;
        }
        out->i = raw->i;
        return true;
    case COX_OPTION_INT:
    case COX_OPTION_REAL:
    case COX_OPTION_DURATION:
    case COX_OPTION_SIZE:
        return read_number(r, row, raw, out);
    default:
        return read_text(r, row, raw, out);
    }
}

/* A default is text in the syntax of the file: made into a raw setting and read like one. */
static void read_default(struct reader *r, const struct cox_option *row, struct cox_value *out)
{
    if (!row->def) {
        out->flags |= COX_VALUE_ABSENT;
        if (row->flags & COX_OPTION_REQUIRED)
            complain(r, "%s is required: %s", row->key, row->help ? row->help : "");
        return;
    }
    char *text = must(str_dup(str_of(row->def)));
    struct raw_option raw = {.type = 's', .s = text};
    if (row->type == COX_OPTION_BOOL)
        raw = (struct raw_option){.type = 'b', .i = strcmp(text, "true") == 0};
    else if (row->type == COX_OPTION_INT)
        raw = (struct raw_option){.type = 'i', .i = strtoll(text, NULL, 10)};
    else if (row->type == COX_OPTION_REAL)
        raw = (struct raw_option){.type = 'f', .f = strtod(text, NULL)};
    (void)read_row(r, row, &raw, out); /* a mistake has been told as any other */
    free(text);
}

static const struct raw_option *find_raw(const struct raw_options *raw, const char *key)
{
    for (size_t i = 0; raw && i < raw->n; i++)
        if (strcmp(raw->v[i].key, key) == 0)
            return &raw->v[i];
    return NULL;
}

static void find_unknown(struct reader *r, struct cox_array schema, const struct raw_options *raw)
{
    for (size_t i = 0; raw && i < raw->n; i++) {
        uint32_t k = 0;
        while (k < schema.count && strcmp(COX_AT(struct cox_option, schema, k)->key, raw->v[i].key) != 0)
            k++;
        if (k < schema.count)
            continue;
        r->file = raw->v[i].file;
        r->line = raw->v[i].line;
        complain(r, "unknown option \"%s\"", raw->v[i].key);
    }
}

bool schema_read(struct cox_array schema, const struct raw_options *raw, const struct schema_place *place,
                 struct schema_values *out_values, struct buf *errors)
{
    struct reader r = {.out = out_values, .place = place, .errors = errors};
    *out_values = (struct schema_values){.count = schema.count};
    out_values->values = must(calloc(schema.count + 1, sizeof *out_values->values));
    find_unknown(&r, schema, raw);
    for (uint32_t i = 0; i < schema.count; i++) {
        const struct cox_option *row = COX_AT(struct cox_option, schema, i);
        const struct raw_option *set = find_raw(raw, row->key);
        struct cox_value *out = &out_values->values[i];
        *out = (struct cox_value){.size = sizeof *out, .key = row->key};
        r.file = set ? set->file : NULL;
        r.line = set ? set->line : 0;
        if (!set) {
            read_default(&r, row, out);
            continue;
        }
        out->flags |= COX_VALUE_SET;
        out->file = set->file ? keep(&r, str_of(set->file)) : NULL;
        out->line = set->line;
        (void)read_row(&r, row, set, out); /* told already */
    }
    out_values->options = (struct cox_options){
        .size = sizeof(struct cox_options),
        .values = {out_values->values, schema.count, (uint32_t)sizeof *out_values->values}};
    return !r.failed;
}

void schema_values_free(struct schema_values *v)
{
    for (size_t i = 0; i < v->text_count; i++)
        free(v->texts[i]);
    for (size_t i = 0; i < v->list_count; i++)
        free(v->lists[i]);
    free(v->texts);
    free(v->lists);
    free(v->values);
    *v = (struct schema_values){0};
}
