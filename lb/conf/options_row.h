/* options_row: one row at work. What options*.c and reader.c share; nobody else includes it.
 *
 * `obj` is always the struct that the row's offset counts from. `dir` is the folder that relative paths
 * belong to, NULL to leave them as they are. Functions that return bool put what they expected into `message`
 * on false and leave a scalar as it was. */
#ifndef COX_CONF_OPTIONS_ROW_H
#define COX_CONF_OPTIONS_ROW_H

#include "conf/options.h"

/* One list of the program never has more items than this. */
#define OPTION_LIST_MAX  262144u
#define OPTION_WORDS_MAX 65536u

static inline void *option_member(const struct option *row, void *obj)
{
    return (char *)obj + row->offset;
}

static inline const void *option_value(const struct option *row, const void *obj)
{
    return (const char *)obj + row->offset;
}

/* The row of a key, in inline tables too; out_obj (may be NULL) is the struct its offset counts from. */
const struct option *option_find(const struct option_table *table, struct str key, void *obj, void **out_obj);
/* The known key that looks most like this one, or NULL when none is near. */
const char *option_suggest(const struct option_table *table, struct str key);
/* The row of an OPT_PLUGIN, or NULL. */
const struct option *option_rest(const struct option_table *table);

bool option_set_bool(const struct option *row, void *obj, bool value, struct buf *message);
bool option_set_int(const struct option *row, void *obj, int64_t value, struct buf *message);
bool option_set_real(const struct option *row, void *obj, double value, struct buf *message);
/* Any scalar from text; lists become lists of one or are read as `[ "a", "b" ]`. */
bool option_set_text(const struct option *row, void *obj, struct str text, const char *dir,
                     struct buf *message);
/* One more element of OPT_STRINGS, OPT_PATHS, OPT_NETS. */
bool option_add_text(const struct option *row, void *obj, struct str text, const char *dir,
                     struct buf *message);
/* Replaces the list by n items at their defaults. */
void option_make_list(const struct option *row, void *obj, size_t n);
/* One more item at its defaults; the array may move. */
void *option_add_item(const struct option *row, void *obj);
void vars_add(struct vars *vars, struct str name, struct str value);

/* Releases what the row owns and zeroes it. */
void option_clear(const struct option *row, void *obj);
/* Whether text may be the value of a string row. */
bool option_text_is_clean(const struct option *row, struct str text);
/* What the row wants, for messages: `a duration such as "30s"`. */
void option_expected(const struct option *row, struct buf *out);
/* The range in words, " between 1 and 10", or nothing when there is none. */
void option_range(const struct option *row, struct buf *out);
/* A number of this row with its unit: "30s", "16k", "7". */
void option_number(const struct option *row, int64_t value, struct buf *out);
/* The value in the syntax of the file; groups and lists of groups are not handled here. */
void option_format(const struct option *row, const void *obj, struct buf *out);

#endif
