/* options: settings as data. One table row a key, and from the same rows come the parser of the config file,
 * its checks, the defaults, the manual (coxswain.cfg.5, conf/reference.cfg) and the wire form of a cluster.
 *
 * A table describes a plain C struct: each row has the offset of its member. Structs are heap trees owned by
 * whoever calls options_init; options_free releases what rows own. Nothing here knows libconfig: reader.c
 * does. Control plane only. */
#ifndef COX_CONF_OPTIONS_H
#define COX_CONF_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cidr.h"
#include "base/str.h"

enum option_type {
    OPT_BOOL,     /* bool */
    OPT_INT,      /* int64_t, min..max */
    OPT_DURATION, /* uint64_t milliseconds; "250ms" "30s" "5m" "1h" "1d"; min..max in ms */
    OPT_SIZE,     /* uint64_t bytes; "16k" "1m" "2g" or a plain number; min..max */
    OPT_REAL,     /* double */
    OPT_STRING,   /* char *, owned; NULL when absent and no default */
    OPT_PATH,     /* char *, owned; relative to the file that names it; a word of `words` is no path */
    OPT_ENUM,     /* int; words in `words` */
    OPT_STRINGS,  /* struct strings */
    OPT_PATHS,    /* struct strings, each relative to the file that names it */
    OPT_NETS,     /* struct cidr_list; "trusted" may name "loopback", "private" as short words */
    OPT_GROUP,    /* a struct in place; `table` */
    OPT_LIST,     /* struct option_list of heap structs; `table` */
    OPT_VARS,     /* struct vars: free keys with string values (FastCGI params, environment) */
    OPT_RESERVED, /* known, not available in this version: an error that says so */
    OPT_PLUGIN, /* the rest of a plugin's section, kept as key/value pairs until the plugin's schema is known:
                   struct raw_options */
    OPT_AUTO,   /* bool with a memory, struct { bool set, value; } laid out as two neighbouring bools */
    OPT_INLINE  /* the rows of `table` stand in this section itself; the key is never seen. Append new types
                   here: the numbers travel in the wire form */
};

struct strings {
    char **v; /* owned, and each of them */
    size_t n;
};

struct vars {
    char **names, **values; /* owned */
    size_t n;
};

/* One raw setting of a plugin section, for a schema that is checked later. */
struct raw_option {
    char *key; /* owned */
    int type;  /* 'i' integer, 'f' real, 'b' bool, 's' string, 'l' list of strings (joined by '\n') */
    int64_t i;
    double f;
    char *s;    /* owned, for 's' and 'l' */
    char *file; /* owned; where it stands */
    int line;
};

struct raw_options {
    struct raw_option *v; /* owned */
    size_t n;
};

/* `items` is one array of count structs of table->struct_size bytes each. */
struct option_list {
    void *items; /* owned */
    size_t count;
};

struct option_table;

struct option {
    const char *key;
    enum option_type type;
    size_t offset;
    const char *def; /* text in the syntax of the file; NULL: none, "" is the empty string */
    int64_t min, max;
    const char *const *words; /* OPT_ENUM: NULL-terminated; index is the value */
    const struct option_table *table;
    bool required;
    bool secret;      /* never printed, never in a topology */
    bool verbatim;    /* strings: ${NAME} is left alone and control characters are allowed */
    const char *help; /* one or two sentences: what it does, why this default */
};

struct option_table {
    const char *name; /* "listener", as it stands in messages and the manual */
    const char *help;
    const struct option *rows;
    size_t count;
    size_t struct_size;
    const char *unique_key; /* key whose value must differ between items of a list, or NULL */
    const char *short_key;  /* key that a plain string in the place of a group stands for, or NULL */
};

/* Zeroes obj, then sets every default. Tables are tested to have valid defaults. */
void options_init(const struct option_table *table, void *obj);
/* Releases all that obj owns; obj itself is the caller's. */
void options_free(const struct option_table *table, void *obj);
/* A deep copy of src into the uninitialised dst. */
void options_copy(const struct option_table *table, void *dst, const void *src);
/* Sets one key from text in the syntax of the file ("30s", "true", "p2c", `[ "a", "b" ]`, a single string for
 * a list of one); "fastcgi.index" reaches into a group. Relative paths stay as they are. Returns NULL, or a
 * message held by `message` that says what was expected; the old value is then kept for scalars. For
 * discovery and tests. */
const char *options_set(const struct option_table *table, void *obj, const char *key, const char *text,
                        struct buf *message);
/* Binary form: only rows that differ from the default, each as (key, type, value); unknown keys are skipped
 * on reading, so versions may differ. Secrets and raw plugin sections do not travel. Reading is
 * bounds-checked and takes an uninitialised obj; on malformed input it returns false and leaves obj zeroed,
 * owning nothing. */
void options_encode(const struct option_table *table, const void *obj, struct buf *out);
bool options_decode(const struct option_table *table, void *obj, struct str in)
    __attribute__((warn_unused_result));
/* Whether obj has this key at a value other than the default. */
bool options_is_default(const struct option_table *table, const void *obj, const char *key);
/* Parsers of the two units, used by every table and by coxctl. A duration needs its unit (ms s m h d). */
bool duration_parse(struct str text, uint64_t *out_ms) __attribute__((warn_unused_result));
bool size_parse(struct str text, uint64_t *out_bytes) __attribute__((warn_unused_result));

/* The shortest text of a value that the parser reads back as the same. */
void duration_format(uint64_t ms, struct buf *out);
void size_format(uint64_t bytes, struct buf *out);

/* The manual page body (troff) and the reference config of a table and everything below it. */
void options_manual(const struct option_table *table, struct buf *out);
void options_reference(const struct option_table *table, struct buf *out);

#endif
