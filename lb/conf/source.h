/* source: the text of a config file with all it includes, and the way back from a line to the file it came
 * from.
 *
 * libconfig's own @include ends the whole process on a directory, reads devices for ever, and takes paths
 * relative to the working directory. Here an included path is relative to the file that names it, files are
 * regular, their number and total size are bounded, and integers too large for 32 bits get the suffix that
 * libconfig 1.5 needs to not cut them silently. Made, used and freed within one settings_load. */
#ifndef COX_CONF_SOURCE_H
#define COX_CONF_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

#define SOURCE_TOTAL_MAX   (4u << 20)
#define SOURCE_INCLUDE_MAX 10 /* files within files */
#define SOURCE_NESTING_MAX 32 /* groups within groups */

struct source_line {
    int file; /* index in files */
    int line; /* counted from 1 */
};

struct source {
    struct buf text;           /* what libconfig reads */
    struct source_line *lines; /* owned; line i of text came from lines[i - 1] */
    size_t line_count, line_cap;
    char **files; /* owned, and each: as the user or the include wrote it, folder in front */
    int file_count;
    size_t error_count;
    struct buf *errors; /* borrowed */
};

void source_init(struct source *s, struct buf *errors);
void source_fini(struct source *s);
/* False when there was an error; each is in `errors` as "file:line: what\n". */
bool source_load(struct source *s, const char *file) __attribute__((warn_unused_result));
/* The same from memory; @include is an error there. */
bool source_load_text(struct source *s, const char *name, struct str text)
    __attribute__((warn_unused_result));
/* Where line `line` of text came from. */
void source_place(const struct source *s, int line, const char **out_file, int *out_line);

#endif
