/* Text to values and back: units, ranges, words. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/panic.h"
#include "conf/options_row.h"

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first: the printer takes the first that divides. */
static const struct unit durations[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit sizes[] = {
    {"t", 1ull << 40}, {"g", 1ull << 30}, {"m", 1ull << 20}, {"k", 1ull << 10}};

static bool unit_parse(struct str text, const struct unit *units, size_t count, uint64_t *out_value)
{
    size_t digits = 0;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    struct str unit = str_make(text.p + digits, text.n - digits);
    uint64_t number;
    if (!str_to_u64(str_make(text.p, digits), &number))
        return false;
    for (size_t i = 0; i < count; i++)
        if (str_ieq(unit, str_of(units[i].name)))
            return !__builtin_mul_overflow(number, units[i].factor, out_value) && *out_value <= INT64_MAX;
    return false;
}

bool duration_parse(struct str text, uint64_t *out_ms)
{
    return unit_parse(text, durations, sizeof durations / sizeof *durations, out_ms);
}

bool size_parse(struct str text, uint64_t *out_bytes)
{
    if (str_to_u64(text, out_bytes))
        return *out_bytes <= INT64_MAX;
    return unit_parse(text, sizes, sizeof sizes / sizeof *sizes, out_bytes);
}

void duration_format(uint64_t ms, struct buf *out)
{
    const struct unit *u = durations;
    if (ms == 0)
        u = &durations[3]; /* "0s" */
    while (ms % u->factor)
        u++;
    buf_printf(out, "%" PRIu64 "%s", ms / u->factor, u->name);
}

void size_format(uint64_t bytes, struct buf *out)
{
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (bytes && bytes % sizes[i].factor == 0) {
            buf_printf(out, "%" PRIu64 "%s", bytes / sizes[i].factor, sizes[i].name);
            return;
        }
    buf_printf(out, "%" PRIu64, bytes);
}

void option_number(const struct option *row, int64_t value, struct buf *out)
{
    if (row->type == OPT_DURATION)
        duration_format((uint64_t)value, out);
    else if (row->type == OPT_SIZE)
        size_format((uint64_t)value, out);
    else
        buf_printf(out, "%" PRId64, value);
}

static bool has_range(const struct option *row)
{
    return row->min != 0 || row->max != 0;
}

void option_range(const struct option *row, struct buf *out)
{
    if (!has_range(row) ||
        (row->type != OPT_INT && row->type != OPT_DURATION && row->type != OPT_SIZE && row->type != OPT_REAL))
        return;
    buf_printf(out, " between ");
    option_number(row, row->min, out);
    buf_printf(out, " and ");
    option_number(row, row->max, out);
}

static void words_format(const struct option *row, struct buf *out)
{
    buf_printf(out, "one of");
    for (size_t i = 0; row->words[i]; i++)
        buf_printf(out, "%s \"%s\"", i ? "," : "", row->words[i]);
}

void option_expected(const struct option *row, struct buf *out)
{
    static const char *const what[] = {
        [OPT_BOOL] = "true or false",
        [OPT_INT] = "an integer",
        [OPT_DURATION] = "a duration with its unit, such as \"250ms\", \"30s\" or \"5m\",",
        [OPT_SIZE] = "a size such as 4096, \"16k\" or \"1m\"",
        [OPT_REAL] = "a number",
        [OPT_STRING] = "a string without control characters",
        [OPT_PATH] = "a path without control characters",
        [OPT_STRINGS] = "a list of strings",
        [OPT_PATHS] = "a list of paths",
        [OPT_NETS] = "a list of networks such as \"10.0.0.0/8\", \"fd00::/8\", \"loopback\" or \"private\"",
        [OPT_GROUP] = "a group { ... }",
        [OPT_LIST] = "a list of groups ( { ... } )",
        [OPT_VARS] = "a group { ... } of strings",
        [OPT_RESERVED] = "nothing",
        [OPT_PLUGIN] = "options of a plugin",
        [OPT_AUTO] = "true or false",
    };
    if (row->type == OPT_ENUM) {
        words_format(row, out);
        return;
    }
    buf_printf(out, "%s", what[row->type]);
    option_range(row, out);
}

static bool refuse(const struct option *row, struct str text, struct buf *message)
{
    buf_printf(message, "expected ");
    option_expected(row, message);
    if (!row->secret)
        buf_printf(message, ", got \"%.*s\"", (int)(text.n > 100 ? 100 : text.n), text.p);
    return false;
}

static bool in_range(const struct option *row, int64_t value)
{
    return !has_range(row) || (value >= row->min && value <= row->max);
}

/* Integers, durations and sizes are all 64 bits wide and within INT64_MAX. */
static bool set_number(const struct option *row, void *obj, int64_t value, struct buf *message)
{
    if (!in_range(row, value)) {
        buf_printf(message, "expected a value");
        option_range(row, message);
        buf_printf(message, ", got ");
        option_number(row, value, message);
        return false;
    }
    *(int64_t *)option_member(row, obj) = value;
    return true;
}

bool option_set_bool(const struct option *row, void *obj, bool value, struct buf *message)
{
    if (row->type != OPT_BOOL && row->type != OPT_AUTO)
        return refuse(row, value ? STR("true") : STR("false"), message);
    bool *member = option_member(row, obj);
    if (row->type == OPT_AUTO)
        *member++ = true;
    *member = value;
    return true;
}

bool option_set_int(const struct option *row, void *obj, int64_t value, struct buf *message)
{
    if (row->type == OPT_REAL)
        return option_set_real(row, obj, (double)value, message);
    if (row->type == OPT_INT || (row->type == OPT_SIZE && value >= 0))
        return set_number(row, obj, value, message);
    buf_printf(message, "expected ");
    option_expected(row, message);
    buf_printf(message, ", got %" PRId64, value);
    return false;
}

bool option_set_real(const struct option *row, void *obj, double value, struct buf *message)
{
    bool fits =
        isfinite(value) && (!has_range(row) || (value >= (double)row->min && value <= (double)row->max));
    if (row->type != OPT_REAL || !fits) {
        buf_printf(message, "expected ");
        option_expected(row, message);
        buf_printf(message, ", got %g", value);
        return false;
    }
    *(double *)option_member(row, obj) = value;
    return true;
}

bool option_text_is_clean(const struct option *row, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == 0 || (!row->verbatim && (c < 0x20 || c == 0x7f)))
            return false;
    }
    return true;
}

/* A word that ends with a colon stands for all that begin with it. */
static bool is_word(const struct option *row, struct str text)
{
    for (size_t i = 0; row->words && row->words[i]; i++) {
        struct str word = str_of(row->words[i]);
        if (str_eq(text, word) || (str_ends(word, STR(":")) && str_starts(text, word)))
            return true;
    }
    return false;
}

/* A heap copy, with the folder in front when it is a relative path. */
static char *text_dup(const struct option *row, struct str text, const char *dir)
{
    bool is_path = row->type == OPT_PATH || row->type == OPT_PATHS;
    if (!is_path || !dir || text.n == 0 || text.p[0] == '/' || is_word(row, text))
        return must(str_dup(text));
    while (str_starts(text, STR("./")))
        text = str_make(text.p + 2, text.n - 2);
    struct buf b;
    buf_init(&b);
    buf_printf(&b, "%s/%.*s", dir, STR_ARG(text));
    buf_put(&b, "", 1);
    return b.p;
}

static bool set_string(const struct option *row, void *obj, struct str text, const char *dir,
                       struct buf *message)
{
    if (!option_text_is_clean(row, text)) {
        buf_printf(message, "expected ");
        option_expected(row, message);
        return false;
    }
    char **member = option_member(row, obj);
    free(*member);
    *member = text_dup(row, text, dir);
    return true;
}

static bool set_word(const struct option *row, void *obj, struct str text, struct buf *message)
{
    for (int i = 0; row->words[i]; i++)
        if (str_eq(text, str_of(row->words[i]))) {
            *(int *)option_member(row, obj) = i;
            return true;
        }
    return refuse(row, text, message);
}

static void nets_add(struct cidr_list *list, struct cidr net)
{
    list->nets = must(realloc(list->nets, (list->count + 1) * sizeof net));
    list->nets[list->count++] = net;
}

/* Short words for networks that everybody would otherwise have to spell out. */
static const char *const word_nets[][2] = {
    {"loopback", "127.0.0.0/8"},  {"loopback", "::1/128"},       {"private", "10.0.0.0/8"},
    {"private", "172.16.0.0/12"}, {"private", "192.168.0.0/16"}, {"private", "169.254.0.0/16"},
    {"private", "fc00::/7"},      {"private", "fe80::/10"},
};

static bool add_net(const struct option *row, struct cidr_list *list, struct str text, struct buf *message)
{
    struct cidr net;
    size_t before = list->count;
    for (size_t i = 0; i < sizeof word_nets / sizeof *word_nets; i++)
        if (str_eq(text, str_of(word_nets[i][0])) && cidr_parse(str_of(word_nets[i][1]), &net))
            nets_add(list, net);
    if (list->count > before)
        return true;
    if (!cidr_parse(text, &net))
        return refuse(row, text, message);
    nets_add(list, net);
    return true;
}

bool option_add_text(const struct option *row, void *obj, struct str text, const char *dir,
                     struct buf *message)
{
    if (row->type == OPT_NETS)
        return add_net(row, option_member(row, obj), text, message);
    ASSERT(row->type == OPT_STRINGS || row->type == OPT_PATHS);
    struct strings *list = option_member(row, obj);
    if (!option_text_is_clean(row, text) || list->n >= OPTION_WORDS_MAX)
        return refuse(row, STR(""), message);
    list->v = must(realloc(list->v, (list->n + 1) * sizeof *list->v));
    list->v[list->n++] = text_dup(row, text, dir);
    return true;
}

static bool add_any(const struct option *row, void *obj, struct str text, const char *dir,
                    struct buf *message)
{
    if (row->type != OPT_LIST)
        return option_add_text(row, obj, text, dir, message);
    struct option_list *list = option_member(row, obj);
    if (!row->table->short_key || list->count >= OPTION_LIST_MAX)
        return refuse(row, text, message);
    void *item = option_add_item(row, obj), *at = item;
    const struct option *inner = option_find(row->table, str_of(row->table->short_key), item, &at);
    return option_set_text(inner, at, text, dir, message);
}

/* `[ "a", "b" ]`; "[::1]" is not one of these. Only what we ourselves print: no escapes. */
static bool is_bracketed(struct str text)
{
    if (text.n < 2 || text.p[0] != '[' || text.p[text.n - 1] != ']')
        return false;
    struct str inner = str_trim(str_make(text.p + 1, text.n - 2));
    return inner.n == 0 || inner.p[0] == '"';
}

static bool set_list(const struct option *row, void *obj, struct str text, const char *dir,
                     struct buf *message)
{
    option_clear(row, obj);
    if (!is_bracketed(text))
        return add_any(row, obj, text, dir, message);
    struct str rest = str_trim(str_make(text.p + 1, text.n - 2)), item;
    while (rest.n && str_next(&rest, ',', &item)) {
        if (item.n < 2 || item.p[0] != '"' || item.p[item.n - 1] != '"')
            return refuse(row, item, message);
        if (!add_any(row, obj, str_make(item.p + 1, item.n - 2), dir, message))
            return false;
    }
    return true;
}

static bool set_real_text(const struct option *row, void *obj, struct str text, struct buf *message)
{
    char z[64], *end;
    if (text.n == 0 || text.n >= sizeof z || !strchr("-.0123456789", text.p[0]))
        return refuse(row, text, message);
    memcpy(z, text.p, text.n);
    z[text.n] = 0;
    double value = strtod(z, &end);
    return *end ? refuse(row, text, message) : option_set_real(row, obj, value, message);
}

static bool set_int_text(const struct option *row, void *obj, struct str text, struct buf *message)
{
    bool negative = text.n && text.p[0] == '-';
    struct str digits = negative ? str_make(text.p + 1, text.n - 1) : text;
    uint64_t u;
    if (!str_to_u64(digits, &u) || u > INT64_MAX)
        return refuse(row, text, message);
    return set_number(row, obj, negative ? -(int64_t)u : (int64_t)u, message);
}

bool option_set_text(const struct option *row, void *obj, struct str text, const char *dir,
                     struct buf *message)
{
    uint64_t u;
    switch (row->type) {
    case OPT_BOOL:
    case OPT_AUTO:
        if (!str_eq(text, STR("true")) && !str_eq(text, STR("false")))
            return refuse(row, text, message);
        return option_set_bool(row, obj, text.n == 4, message);
    case OPT_INT:
        return set_int_text(row, obj, text, message);
    case OPT_DURATION:
        return duration_parse(text, &u) ? set_number(row, obj, (int64_t)u, message)
                                        : refuse(row, text, message);
    case OPT_SIZE:
        return size_parse(text, &u) ? set_number(row, obj, (int64_t)u, message) : refuse(row, text, message);
    case OPT_REAL:
        return set_real_text(row, obj, text, message);
    case OPT_STRING:
    case OPT_PATH:
        return set_string(row, obj, text, dir, message);
    case OPT_ENUM:
        return set_word(row, obj, text, message);
    case OPT_STRINGS:
    case OPT_PATHS:
    case OPT_NETS:
    case OPT_LIST:
        return set_list(row, obj, text, dir, message);
    default: /* groups have no text */
        return refuse(row, text, message);
    }
}
