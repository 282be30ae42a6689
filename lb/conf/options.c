#include "conf/options.h"

#include <stdlib.h>

#include "base/panic.h"
#include "conf/options_row.h"

const struct option *option_find(const struct option_table *table, struct str key, void *obj, void **out_obj)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        if (row->type == OPT_INLINE) {
            void *inner = obj ? option_member(row, obj) : NULL;
            const struct option *found = option_find(row->table, key, inner, out_obj);
            if (found)
                return found;
        } else if (row->type != OPT_PLUGIN && str_eq(str_of(row->key), key)) {
            if (out_obj)
                *out_obj = obj;
            return row;
        }
    }
    return NULL;
}

const struct option *option_rest(const struct option_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        if (table->rows[i].type == OPT_PLUGIN)
            return &table->rows[i];
    return NULL;
}

/* How many letters differ (Levenshtein), for words of up to 40 letters. */
enum { WORD_MAX = 40 };

static unsigned edit_distance(struct str a, struct str b)
{
    unsigned row[WORD_MAX + 1];
    for (size_t j = 0; j <= b.n; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            unsigned best = diagonal + (a.p[i - 1] != b.p[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b.n];
}

static void suggest_from(const struct option_table *table, struct str key, const char **best, unsigned *limit)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        struct str known = str_of(row->key);
        if (row->type == OPT_INLINE) {
            suggest_from(row->table, key, best, limit);
        } else if (row->type != OPT_PLUGIN && row->type != OPT_RESERVED && known.n <= WORD_MAX) {
            unsigned distance = edit_distance(key, known);
            if (distance < *limit) {
                *limit = distance;
                *best = row->key;
            }
        }
    }
}

const char *option_suggest(const struct option_table *table, struct str key)
{
    if (key.n > WORD_MAX)
        return NULL;
    const char *best = NULL;
    unsigned limit = (unsigned)(key.n / 3 + 2); /* farther than that it is another word */
    suggest_from(table, key, &best, &limit);
    return best;
}

void options_init(const struct option_table *table, void *obj)
{
    memset(obj, 0, table->struct_size);
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        if (row->type == OPT_GROUP || row->type == OPT_INLINE) {
            options_init(row->table, option_member(row, obj));
        } else if (row->def) {
            struct buf message;
            buf_init(&message);
            if (!option_set_text(row, obj, str_of(row->def), NULL, &message))
                PANIC("default of %s.%s: %.*s", table->name, row->key, (int)message.len, message.p);
            buf_fini(&message);
        }
    }
}

static void strings_free(struct strings *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->v[i]);
    free(s->v);
}

static void vars_free(struct vars *vars)
{
    for (size_t i = 0; i < vars->n; i++) {
        free(vars->names[i]);
        free(vars->values[i]);
    }
    free(vars->names);
    free(vars->values);
}

static void raw_free(struct raw_options *raw)
{
    for (size_t i = 0; i < raw->n; i++) {
        free(raw->v[i].key);
        free(raw->v[i].s);
        free(raw->v[i].file);
    }
    free(raw->v);
}

static void list_free(const struct option_table *table, struct option_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        options_free(table, (char *)list->items + i * table->struct_size);
    free(list->items);
}

void option_clear(const struct option *row, void *obj)
{
    void *member = option_member(row, obj);
    switch (row->type) {
    case OPT_STRING:
    case OPT_PATH:
        free(*(char **)member);
        *(char **)member = NULL;
        break;
    case OPT_STRINGS:
    case OPT_PATHS:
        strings_free(member);
        *(struct strings *)member = (struct strings){0};
        break;
    case OPT_NETS:
        free(((struct cidr_list *)member)->nets);
        *(struct cidr_list *)member = (struct cidr_list){0};
        break;
    case OPT_VARS:
        vars_free(member);
        *(struct vars *)member = (struct vars){0};
        break;
    case OPT_PLUGIN:
        raw_free(member);
        *(struct raw_options *)member = (struct raw_options){0};
        break;
    case OPT_LIST:
        list_free(row->table, member);
        *(struct option_list *)member = (struct option_list){0};
        break;
    case OPT_GROUP:
    case OPT_INLINE:
        options_free(row->table, member);
        break;
    default: /* scalars own nothing */
        break;
    }
}

void options_free(const struct option_table *table, void *obj)
{
    for (size_t i = 0; i < table->count; i++)
        option_clear(&table->rows[i], obj);
    memset(obj, 0, table->struct_size);
}

void option_make_list(const struct option *row, void *obj, size_t n)
{
    ASSERT(row->type == OPT_LIST && n <= OPTION_LIST_MAX);
    option_clear(row, obj);
    struct option_list *list = option_member(row, obj);
    if (n == 0)
        return;
    list->items = must(calloc(n, row->table->struct_size));
    list->count = n;
    for (size_t i = 0; i < n; i++)
        options_init(row->table, (char *)list->items + i * row->table->struct_size);
}

void *option_add_item(const struct option *row, void *obj)
{
    struct option_list *list = option_member(row, obj);
    size_t bytes = row->table->struct_size;
    ASSERT(list->count < OPTION_LIST_MAX);
    if ((list->count & (list->count - 1)) == 0) /* full at every power of two */
        list->items = must(realloc(list->items, (list->count ? list->count * 2 : 1) * bytes));
    void *item = (char *)list->items + list->count++ * bytes;
    options_init(row->table, item);
    return item;
}

void vars_add(struct vars *vars, struct str name, struct str value)
{
    vars->names = must(realloc(vars->names, (vars->n + 1) * sizeof *vars->names));
    vars->values = must(realloc(vars->values, (vars->n + 1) * sizeof *vars->values));
    vars->names[vars->n] = must(str_dup(name));
    vars->values[vars->n++] = must(str_dup(value));
}

static char *dup_or_null(const char *text)
{
    return text ? must(str_dup(str_of(text))) : NULL;
}

static void strings_copy(struct strings *dst, const struct strings *src)
{
    dst->n = src->n;
    dst->v = src->n ? must(calloc(src->n, sizeof *dst->v)) : NULL;
    for (size_t i = 0; i < src->n; i++)
        dst->v[i] = dup_or_null(src->v[i]);
}

static void raw_copy(struct raw_options *dst, const struct raw_options *src)
{
    dst->n = src->n;
    dst->v = src->n ? must(calloc(src->n, sizeof *dst->v)) : NULL;
    for (size_t i = 0; i < src->n; i++) {
        dst->v[i] = src->v[i];
        dst->v[i].key = dup_or_null(src->v[i].key);
        dst->v[i].s = dup_or_null(src->v[i].s);
        dst->v[i].file = dup_or_null(src->v[i].file);
    }
}

static void list_copy(const struct option_table *table, struct option_list *dst,
                      const struct option_list *src)
{
    dst->count = src->count;
    dst->items = src->count ? must(calloc(src->count, table->struct_size)) : NULL;
    for (size_t i = 0; i < src->count; i++)
        options_copy(table, (char *)dst->items + i * table->struct_size,
                     (const char *)src->items + i * table->struct_size);
}

/* dst holds a bitwise copy of the row's member; its pointers are replaced by copies of their own. */
static void member_copy(const struct option *row, void *dst, const void *src)
{
    switch (row->type) {
    case OPT_STRING:
    case OPT_PATH:
        *(char **)dst = dup_or_null(*(char *const *)src);
        break;
    case OPT_STRINGS:
    case OPT_PATHS:
        strings_copy(dst, src);
        break;
    case OPT_NETS: {
        const struct cidr_list *nets = src;
        struct cidr_list *copy = dst;
        copy->nets = nets->count ? must(malloc(nets->count * sizeof *nets->nets)) : NULL;
        if (nets->count)
            memcpy(copy->nets, nets->nets, nets->count * sizeof *nets->nets);
        break;
    }
    case OPT_VARS: {
        const struct vars *vars = src;
        *(struct vars *)dst = (struct vars){0};
        for (size_t i = 0; i < vars->n; i++)
            vars_add(dst, str_of(vars->names[i]), str_of(vars->values[i]));
        break;
    }
    case OPT_PLUGIN:
        raw_copy(dst, src);
        break;
    case OPT_LIST:
        list_copy(row->table, dst, src);
        break;
    case OPT_GROUP:
    case OPT_INLINE:
        options_copy(row->table, dst, src);
        break;
    default: /* scalars came with the struct */
        break;
    }
}

void options_copy(const struct option_table *table, void *dst, const void *src)
{
    memcpy(dst, src, table->struct_size);
    for (size_t i = 0; i < table->count; i++)
        if (table->rows[i].type != OPT_RESERVED)
            member_copy(&table->rows[i], option_member(&table->rows[i], dst),
                        option_value(&table->rows[i], src));
}

const char *options_set(const struct option_table *table, void *obj, const char *key, const char *text,
                        struct buf *message)
{
    struct str rest = str_of(key);
    const struct option *row = NULL;
    for (bool more = true; more;) {
        ptrdiff_t dot = str_find(rest, '.');
        more = dot >= 0;
        struct str word = more ? str_make(rest.p, (size_t)dot) : rest;
        row = option_find(table, word, obj, &obj);
        if (!row || (more && row->type != OPT_GROUP)) {
            buf_printf(message, "unknown key \"%s\" in %s", key, table->name);
            break;
        }
        if (more) {
            obj = option_member(row, obj);
            table = row->table;
            rest = str_make(rest.p + dot + 1, rest.n - (size_t)dot - 1);
        } else if (option_set_text(row, obj, str_of(text), NULL, message)) {
            return NULL;
        }
    }
    buf_put(message, "", 1); /* so that it can be returned as a C string */
    message->len--;
    return message->p;
}
