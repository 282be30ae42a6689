/* types: the alphabet of the plugin ABI. Everything a plugin exchanges with coxswain is made of what stands
 * here.
 *
 * Rules that hold in every header of this folder:
 *  - Every struct begins with `size`, the bytes its maker knew. A reader looks at a member only when `size`
 * reaches it (COX_HAS) and ignores what lies behind its own knowledge. Members are only ever appended.
 *  - Every array crosses as struct cox_array: pointer, count, stride. Step by `stride` (COX_AT), never by
 * sizeof.
 *  - Enumerations travel as fixed-width integers. A value you do not know is to be ignored, not to be
 * guessed.
 *  - Text is UTF-8 with a NUL behind it. Whoever hands text over owns it; it is lent for the call and copied
 * by whoever wants to keep it, unless a comment says otherwise.
 *  - Times are nanoseconds of the monotonic clock unless the name says `wall`.
 *  - Functions that can fail return an int32_t of enum cox_result. Optional functions may be NULL. */
#ifndef COXSWAIN_TYPES_H
#define COXSWAIN_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the whole ABI. It changes only when something incompatible is unavoidable; growth does not
 * change it. */
#define COX_ABI 1u

#if defined(__GNUC__)
#define COX_EXPORT                            __attribute__((visibility("default")))
#define COX_PRINTF(format_index, first_index) __attribute__((format(printf, format_index, first_index)))
#else
#define COX_EXPORT
#define COX_PRINTF(format_index, first_index)
#endif

enum cox_result {
    COX_OK = 0,
    COX_FAILED = 1,      /* it did not work; host->error or a reason says why */
    COX_UNSUPPORTED = 2, /* this side cannot do that at all */
    COX_INVALID = 3,     /* an argument is wrong */
    COX_CONFLICT = 4,    /* the object belongs to another owner */
    COX_BUSY = 5         /* a bounded queue is full: later */
};

/* A run of `count` equal items, `stride` bytes apart. Not counted among the structs that begin with a size.
 */
struct cox_array {
    const void *items; /* NULL when count is 0 */
    uint32_t count;
    uint32_t stride;
};

/* COX_ARRAY(table) makes one of a C array; COX_AT(type, array, i) points at an item. */
#define COX_ARRAY(table)                                                                                     \
    {                                                                                                        \
        (table), (uint32_t)(sizeof(table) / sizeof((table)[0])), (uint32_t)sizeof((table)[0])                \
    }
#define COX_AT(type, array, i)                                                                               \
    ((const type *)(const void *)((const char *)(array).items + (size_t)(i) * (array).stride))

/* Whether the struct at p reaches to the end of `member`, so that it may be read. */
#define COX_HAS(p, type, member) ((p)->size >= offsetof(type, member) + sizeof(((type *)0)->member))

/* A name and its text. */
struct cox_pair {
    uint32_t size;
    uint32_t reserved;
    const char *key;
    const char *value;
};

enum cox_level { COX_LOG_ERROR = 0, COX_LOG_WARN = 1, COX_LOG_INFO = 2, COX_LOG_DEBUG = 3 };

/* ---- options: what a plugin may be told in its section of the config file ---- */

enum cox_option_type {
    COX_OPTION_BOOL = 1,     /* true or false → i */
    COX_OPTION_INT = 2,      /* → i, within min..max */
    COX_OPTION_REAL = 3,     /* → f, within min..max */
    COX_OPTION_DURATION = 4, /* "250ms", "30s", "5m", "1h", "1d" → i in milliseconds, within min..max */
    COX_OPTION_SIZE = 5,     /* "16k", "1m", "2g" or a number → i in bytes, within min..max */
    COX_OPTION_STRING = 6,   /* → text */
    COX_OPTION_STRINGS = 7,  /* → list */
    COX_OPTION_PATH = 8,     /* → text, made absolute: relative to the file that names it */
    COX_OPTION_ENUM = 9,     /* one of the words → i its index, and text */
    COX_OPTION_SECRET = 10 /* "env:NAME" or "file:PATH" → text, its content without the final line end; never
                            * logged and never shown */
};

enum cox_option_flags { COX_OPTION_REQUIRED = 1u << 0 };

/* One row of a schema. The core reads, checks and defaults by it and prints the manual from it. */
struct cox_option {
    uint32_t size;
    uint32_t type;  /* enum cox_option_type */
    uint32_t flags; /* enum cox_option_flags */
    uint32_t reserved;
    const char *key;
    const char *def;   /* in the syntax of the file, without quotes; NULL: no value */
    const char *words; /* COX_OPTION_ENUM: the words, one space between them */
    int64_t min, max;  /* both 0: no limit */
    const char *help;  /* what it does and why this default, one or two sentences */
};

enum cox_value_flags {
    COX_VALUE_SET = 1u << 0,   /* the user gave it */
    COX_VALUE_ABSENT = 1u << 1 /* neither given nor defaulted: no member below means anything */
};

/* The value of one row, in the order of the schema. */
struct cox_value {
    uint32_t size;
    uint32_t flags; /* enum cox_value_flags */
    const char *key;
    int64_t i;
    double f;
    const char *text;
    const char *const *list;
    uint32_t list_count;
    int32_t line;     /* where it stands, for messages; 0 for a default */
    const char *file; /* NULL for a default */
};

/* All values of a schema: item n belongs to row n. Lives from open until close returns (or until reload
 * does). */
struct cox_options {
    uint32_t size;
    uint32_t reserved;
    struct cox_array values; /* struct cox_value */
};

/* Value of the row `index` of your own schema. */
static inline const struct cox_value *cox_option_at(const struct cox_options *options, uint32_t index)
{
    return COX_AT(struct cox_value, options->values, index);
}

#ifdef __cplusplus
}
#endif

#endif
