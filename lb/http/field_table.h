/* field_table: the tables behind field_lookup, and the look-up itself for the one caller that cannot afford
 * the call (h1_parse). Private to lb/http. Pure. */
#ifndef COX_HTTP_FIELD_TABLE_H
#define COX_HTTP_FIELD_TABLE_H

#include "http/fields.h"
#include "http/word.h"

/* The longest known name has 19 bytes; a row is 32, for cheap indexing. */
#define FIELD_NAME_BYTES_MAX 19

struct field_row {
    char text[31];
    uint8_t len;
};

extern const struct field_row field_rows[FIELD_COUNT];
extern const uint8_t field_slots[256];

/* A perfect hash over length, first, last and one inner byte (at three quarters of the length). */
#define FIELD_HASH(n, first, last, inner) (((n) + (first)*3 + (last)*29 + (inner)) & 255)

static inline __attribute__((always_inline)) enum field_id field_lookup_inline(const char *name, size_t n)
{
    const unsigned char *s = (const unsigned char *)name;
    if (__builtin_expect(n - 2 > FIELD_NAME_BYTES_MAX - 2, 0))
        return FIELD_OTHER;
    unsigned first = s[0] | 0x20u, last = s[n - 1] | 0x20u, inner = s[n * 3 / 4] | 0x20u;
    unsigned id = field_slots[FIELD_HASH((unsigned)n, first, last, inner)];
    const struct field_row *row = &field_rows[id];
    if (row->len != n)
        return FIELD_OTHER;
    bool same = __builtin_expect(n >= 4, 1) ? word_same(name, row->text, n)
                                            : str_ieq(str_make(name, n), str_make(row->text, n));
    return same ? (enum field_id)id : FIELD_OTHER;
}

#endif
