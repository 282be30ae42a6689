/* schema: the options of a plugin instance, read by the plugin's own table from the raw settings of its
 * section.
 *
 * Every mistake becomes one line "file:line: what, what was expected". Made when a plugin is opened or
 * checked, freed after it is closed. Control plane only. */
#ifndef COX_ORCH_SCHEMA_H
#define COX_ORCH_SCHEMA_H

#include <coxswain/types.h>

#include "base/buf.h"
#include "conf/options.h"

/* A schema never has more rows than this; a plugin with more is refused. */
#define SCHEMA_ROWS_MAX 256

struct schema_values {
    struct cox_options options; /* points at values */
    struct cox_value *values;   /* owned */
    size_t count;
    char **texts; /* owned, and each: what values point at */
    size_t text_count, text_cap;
    const char ***lists; /* owned, and each */
    size_t list_count;
};

/* Where the section stands, and who is to be named in messages. */
struct schema_place {
    const char *plugin;
    const char *file; /* NULL: unknown */
    int line;
};

/* Reads raw by the schema; false when anything was wrong (every mistake is in errors). schema_values_free is
 * to be called in either case. */
bool schema_read(struct cox_array schema, const struct raw_options *raw, const struct schema_place *place,
                 struct schema_values *out_values, struct buf *errors) __attribute__((warn_unused_result));
void schema_values_free(struct schema_values *v);

#endif
