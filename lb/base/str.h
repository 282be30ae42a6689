/* str: a borrowed run of bytes, never NUL-terminated, never owned.
 *
 * Passed by value. Whoever makes one says how long the bytes live. All comparisons are bytewise ASCII:
 * nothing here depends on a locale. */
#ifndef COX_BASE_STR_H
#define COX_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
#define STR_NULL ((struct str){NULL, 0})
/* For printf: "%.*s", STR_ARG(s). */
#define STR_ARG(s) (int)(s).n, (s).p

static inline struct str str_make(const char *p, size_t n)
{
    return (struct str){p, n};
}

/* Of a C string; NULL gives the empty str. */
static inline struct str str_of(const char *cstr)
{
    return (struct str){cstr, cstr ? strlen(cstr) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

static inline bool str_ends(struct str s, struct str tail)
{
    return s.n >= tail.n && memcmp(s.p + s.n - tail.n, tail.p, tail.n) == 0;
}

static inline char char_lower(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c + 32) : c;
}

/* Equal but for ASCII case. */
bool str_ieq(struct str a, struct str b);

/* Without leading and trailing SP and HTAB (OWS of RFC 9110 5.6.3). */
struct str str_trim(struct str s);

/* Takes the next element of a list separated by `sep` off the front of *rest, trimmed; false at the end.
 * Empty elements are returned: the caller decides whether they are an error. */
bool str_next(struct str *rest, char sep, struct str *out_item);

/* 1*DIGIT only; false when empty, another byte, or above UINT64_MAX. */
bool str_to_u64(struct str s, uint64_t *out_value);

/* Index of the first `c`, or -1. */
ptrdiff_t str_find(struct str s, char c);

/* A NUL-terminated copy on the heap; the caller frees. */
char *str_dup(struct str s);

/* FNV-1a, for tables that no peer can choose the keys of. */
uint32_t str_hash(struct str s);

#endif
