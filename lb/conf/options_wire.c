/* The binary form of options. All numbers little-endian:
 *
 *   struct := record*            record := u8 key length, key, u8 enum option_type, u32 value length, value
 *
 * Keys and words travel as text, so rows may move and words may be added between versions: what a reader does
 * not know it leaves at the default. The type is checked, so a key that changed its type is skipped too. */
#include <stdlib.h>

#include "base/panic.h"
#include "conf/options_row.h"

static void put_u32(struct buf *out, size_t value)
{
    ASSERT(value <= UINT32_MAX);
    uint8_t le[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    buf_put(out, le, sizeof le);
}

static void put_u64(struct buf *out, uint64_t value)
{
    put_u32(out, value & 0xffffffff);
    put_u32(out, value >> 32);
}

static void put_text(struct buf *out, const char *text)
{
    struct str s = str_of(text);
    put_u32(out, s.n);
    buf_put_str(out, s);
}

/* The length of what follows is written when it is known. */
static size_t begin(struct buf *out)
{
    put_u32(out, 0);
    return out->len;
}

static void end(struct buf *out, size_t start)
{
    size_t n = out->len - start;
    ASSERT(n <= UINT32_MAX);
    for (size_t i = 0; i < 4; i++)
        out->p[start - 4 + i] = (char)(uint8_t)(n >> (8 * i));
}

static void put_list(const struct option_table *table, const struct option_list *list, struct buf *out)
{
    put_u32(out, list->count);
    for (size_t i = 0; i < list->count; i++) {
        size_t start = begin(out);
        options_encode(table, (const char *)list->items + i * table->struct_size, out);
        end(out, start);
    }
}

static void put_strings(const struct strings *list, struct buf *out)
{
    put_u32(out, list->n);
    for (size_t i = 0; i < list->n; i++)
        put_text(out, list->v[i]);
}

static void put_nets(const struct cidr_list *list, struct buf *out)
{
    put_u32(out, list->count);
    for (size_t i = 0; i < list->count; i++) {
        buf_put(out, list->nets[i].net, 16);
        buf_put(out, &list->nets[i].bits, 1);
    }
}

static void put_vars(const struct vars *vars, struct buf *out)
{
    put_u32(out, vars->n);
    for (size_t i = 0; i < vars->n; i++) {
        put_text(out, vars->names[i]);
        put_text(out, vars->values[i]);
    }
}

/* An absent string is the empty value; a present one begins with a 1. */
static void put_string(const char *text, struct buf *out)
{
    if (!text)
        return;
    buf_put(out, "\1", 1);
    buf_put_str(out, str_of(text));
}

static void put_value(const struct option *row, const void *obj, struct buf *out)
{
    const void *member = option_value(row, obj);
    switch (row->type) {
    case OPT_BOOL:
        buf_put(out, *(const bool *)member ? "\1" : "\0", 1);
        break;
    case OPT_AUTO:
        buf_put(out, ((const bool *)member)[0] ? "\1" : "\0", 1);
        buf_put(out, ((const bool *)member)[1] ? "\1" : "\0", 1);
        break;
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
    case OPT_REAL: {
        uint64_t bits;
        memcpy(&bits, member, sizeof bits);
        put_u64(out, bits);
        break;
    }
    case OPT_STRING:
    case OPT_PATH:
        put_string(*(char *const *)member, out);
        break;
    case OPT_ENUM:
        buf_put_str(out, str_of(row->words[*(const int *)member]));
        break;
    case OPT_STRINGS:
    case OPT_PATHS:
        put_strings(member, out);
        break;
    case OPT_NETS:
        put_nets(member, out);
        break;
    case OPT_VARS:
        put_vars(member, out);
        break;
    case OPT_GROUP:
        options_encode(row->table, member, out);
        break;
    case OPT_LIST:
        put_list(row->table, member, out);
        break;
    default:
        break;
    }
}

static bool travels(const struct option *row)
{
    return !row->secret && row->type != OPT_RESERVED && row->type != OPT_PLUGIN;
}

static bool same_value(const struct option *row, const void *a, const void *b)
{
    struct buf x, y;
    buf_init(&x);
    buf_init(&y);
    put_value(row, a, &x);
    put_value(row, b, &y);
    bool same = str_eq(buf_str(&x), buf_str(&y));
    buf_fini(&x);
    buf_fini(&y);
    return same;
}

static void encode_rows(const struct option_table *table, const void *obj, const void *def, struct buf *out)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        if (row->type == OPT_INLINE) {
            encode_rows(row->table, option_value(row, obj), option_value(row, def), out);
            continue;
        }
        if (!travels(row) || same_value(row, obj, def))
            continue;
        uint8_t head[2] = {(uint8_t)strlen(row->key), (uint8_t)row->type};
        buf_put(out, &head[0], 1);
        buf_put_str(out, str_of(row->key));
        buf_put(out, &head[1], 1);
        size_t start = begin(out);
        put_value(row, obj, out);
        end(out, start);
    }
}

void options_encode(const struct option_table *table, const void *obj, struct buf *out)
{
    void *def = must(malloc(table->struct_size));
    options_init(table, def);
    encode_rows(table, obj, def, out);
    options_free(table, def);
    free(def);
}

bool options_is_default(const struct option_table *table, const void *obj, const char *key)
{
    void *def = must(malloc(table->struct_size)), *at = NULL;
    options_init(table, def);
    const struct option *row = option_find(table, str_of(key), def, &at);
    ASSERT(row != NULL);
    const char *same_at = (const char *)obj + ((const char *)at - (const char *)def);
    bool same = same_value(row, same_at, at);
    options_free(table, def);
    free(def);
    return same;
}

/* ---- reading: everything below takes from the front of *in and returns false when it is too short ---- */

static bool take(struct str *in, size_t n, struct str *out)
{
    if (in->n < n)
        return false;
    *out = str_make(in->p, n);
    *in = str_make(in->p + n, in->n - n);
    return true;
}

static bool take_number(struct str *in, size_t bytes, uint64_t *out)
{
    struct str s;
    if (!take(in, bytes, &s))
        return false;
    *out = 0;
    for (size_t i = 0; i < bytes; i++)
        *out |= (uint64_t)(uint8_t)s.p[i] << (8 * i);
    return true;
}

static bool take_text(struct str *in, struct str *out)
{
    uint64_t n;
    return take_number(in, 4, &n) && take(in, (size_t)n, out);
}

static bool read_bools(bool *members, size_t count, struct str in)
{
    if (in.n != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if ((uint8_t)in.p[i] > 1)
            return false;
        members[i] = in.p[i] == 1;
    }
    return true;
}

static bool read_number(const struct option *row, void *obj, struct str in)
{
    uint64_t bits;
    if (in.n != 8 || !take_number(&in, 8, &bits))
        return false;
    struct buf message;
    buf_init(&message);
    bool ok;
    if (row->type == OPT_REAL) {
        double real;
        memcpy(&real, &bits, sizeof real);
        ok = option_set_real(row, obj, real, &message);
    } else {
        /* Ranges are checked as in a file: both ends hold the same limits. */
        bool ranged = row->min != 0 || row->max != 0;
        int64_t value = (int64_t)bits;
        ok = ranged ? value >= row->min && value <= row->max : row->type == OPT_INT || value >= 0;
        if (ok)
            *(int64_t *)option_member(row, obj) = value;
    }
    buf_fini(&message);
    return ok;
}

static bool read_string(const struct option *row, void *obj, struct str in)
{
    struct str mark;
    option_clear(row, obj);
    if (in.n == 0)
        return true;
    if (!take(&in, 1, &mark) || mark.p[0] != 1 || !option_text_is_clean(row, in))
        return false;
    *(char **)option_member(row, obj) = must(str_dup(in));
    return true;
}

static bool read_word(const struct option *row, void *obj, struct str in)
{
    for (int i = 0; row->words[i]; i++)
        if (str_eq(in, str_of(row->words[i])))
            *(int *)option_member(row, obj) = i;
    return true; /* a word of a newer version: the default stands */
}

static bool read_strings(const struct option *row, void *obj, struct str in)
{
    uint64_t n;
    struct str item;
    struct strings *list = option_member(row, obj);
    option_clear(row, obj);
    /* Each takes four bytes at least, so n is bounded by what was really sent. */
    if (!take_number(&in, 4, &n) || n > in.n / 4 || n > OPTION_WORDS_MAX)
        return false;
    list->v = n ? must(calloc((size_t)n, sizeof *list->v)) : NULL;
    for (; n; n--) {
        if (!take_text(&in, &item) || !option_text_is_clean(row, item))
            return false;
        list->v[list->n++] = must(str_dup(item));
    }
    return in.n == 0;
}

static bool read_nets(const struct option *row, void *obj, struct str in)
{
    uint64_t n;
    struct cidr_list *list = option_member(row, obj);
    option_clear(row, obj);
    if (!take_number(&in, 4, &n) || n * 17 != in.n)
        return false;
    list->nets = n ? must(calloc((size_t)n, sizeof *list->nets)) : NULL;
    for (struct str one; list->count < n && take(&in, 17, &one); list->count++) {
        memcpy(list->nets[list->count].net, one.p, 16);
        list->nets[list->count].bits = (uint8_t)one.p[16];
        if ((uint8_t)one.p[16] > 128)
            return false;
    }
    return true;
}

static bool read_vars(const struct option *row, void *obj, struct str in)
{
    uint64_t n;
    struct str name, value;
    option_clear(row, obj);
    if (!take_number(&in, 4, &n) || n > in.n / 8 || n > OPTION_WORDS_MAX)
        return false;
    for (; n; n--) {
        if (!take_text(&in, &name) || !take_text(&in, &value) || !option_text_is_clean(row, name) ||
            !option_text_is_clean(row, value))
            return false;
        vars_add(option_member(row, obj), name, value);
    }
    return in.n == 0;
}

static bool decode_rows(const struct option_table *table, void *obj, struct str in);

static bool read_list(const struct option *row, void *obj, struct str in)
{
    uint64_t n;
    struct str item;
    option_clear(row, obj);
    if (!take_number(&in, 4, &n) || n > in.n / 4 || n > OPTION_LIST_MAX)
        return false;
    for (; n; n--)
        if (!take_text(&in, &item) || !decode_rows(row->table, option_add_item(row, obj), item))
            return false;
    return in.n == 0;
}

static bool read_value(const struct option *row, void *obj, struct str in)
{
    void *member = option_member(row, obj);
    switch (row->type) {
    case OPT_BOOL:
        return read_bools(member, 1, in);
    case OPT_AUTO:
        return read_bools(member, 2, in);
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
    case OPT_REAL:
        return read_number(row, obj, in);
    case OPT_STRING:
    case OPT_PATH:
        return read_string(row, obj, in);
    case OPT_ENUM:
        return read_word(row, obj, in);
    case OPT_STRINGS:
    case OPT_PATHS:
        return read_strings(row, obj, in);
    case OPT_NETS:
        return read_nets(row, obj, in);
    case OPT_VARS:
        return read_vars(row, obj, in);
    case OPT_GROUP:
        return decode_rows(row->table, member, in);
    case OPT_LIST:
        return read_list(row, obj, in);
    default:
        return false;
    }
}

static bool decode_rows(const struct option_table *table, void *obj, struct str in)
{
    while (in.n) {
        uint64_t key_bytes, type;
        struct str key, value;
        void *at = NULL;
        if (!take_number(&in, 1, &key_bytes) || !take(&in, (size_t)key_bytes, &key) ||
            !take_number(&in, 1, &type) || !take_text(&in, &value))
            return false;
        const struct option *row = option_find(table, key, obj, &at);
        if (!row || row->type != (enum option_type)type || !travels(row))
            continue;
        if (!read_value(row, at, value))
            return false;
    }
    return true;
}

bool options_decode(const struct option_table *table, void *obj, struct str in)
{
    options_init(table, obj);
    if (decode_rows(table, obj, in))
        return true;
    options_free(table, obj); /* which zeroes it */
    return false;
}
