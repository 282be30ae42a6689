/* reader: the one door to libconfig. Fills a struct from a config file by its option table, collects every
 * error with its place, and remembers where each value stood so that checks across sections can point at it.
 *
 * Lives as long as one settings_load. Values land at addresses that do not move afterwards: lists are made at
 * their full length, so an address is the name of a place. */
#ifndef COX_CONF_READER_H
#define COX_CONF_READER_H

#include <stdarg.h>

#include "conf/options.h"
#include "conf/source.h"

#define READER_ERRORS_MAX 1000

struct place {
    const void *at; /* the member that was set, or the item it belongs to */
    int line;       /* of source.text */
};

struct reader {
    struct source source;
    struct place *places; /* owned; sorted by address once reading is done */
    size_t place_count, place_cap;
    bool sorted;
    struct buf *errors; /* borrowed */
    size_t error_count;
};

void reader_init(struct reader *r, struct buf *errors);
void reader_fini(struct reader *r);
/* obj is initialised by options_init and stays the caller's, complete or not. False when there was an error.
 */
bool reader_read_file(struct reader *r, const char *file, const struct option_table *table, void *obj)
    __attribute__((warn_unused_result));
bool reader_read_text(struct reader *r, const char *name, struct str text, const struct option_table *table,
                      void *obj) __attribute__((warn_unused_result));
/* Whether the user set the member at this address. */
bool reader_has(struct reader *r, const void *at);
/* Where the member, or failing that the item before it in memory, was set. */
void reader_place(struct reader *r, const void *at, const char **out_file, int *out_line);
/* One more error, at the place of a member. */
void reader_error(struct reader *r, const void *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* For reader.c: `line` is of source.text. */
void reader_record(struct reader *r, const void *at, int line);
void reader_error_at_line(struct reader *r, int line, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));

#endif
