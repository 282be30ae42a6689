#include "base/str.h"

#include <stdlib.h>

#include "base/panic.h"

bool str_ieq(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (char_lower(a.p[i]) != char_lower(b.p[i]))
            return false;
    return true;
}

static bool is_ows(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
    while (s.n && is_ows(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_ows(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool str_next(struct str *rest, char sep, struct str *out_item)
{
    if (!rest->p)
        return false;
    ptrdiff_t at = str_find(*rest, sep);
    if (at < 0) {
        *out_item = str_trim(*rest);
        *rest = STR_NULL;
        return true;
    }
    *out_item = str_trim(str_make(rest->p, (size_t)at));
    *rest = str_make(rest->p + at + 1, rest->n - (size_t)at - 1);
    return true;
}

/* Nineteen digits always fit; only beyond them does each have to be weighed. */
#define SAFE_DIGITS 19

bool str_to_u64(struct str s, uint64_t *out_value)
{
    uint64_t v = 0;
    size_t i = 0, safe = s.n < SAFE_DIGITS ? s.n : SAFE_DIGITS;
    if (s.n == 0)
        return false;
    for (; i < safe; i++) {
        unsigned d = (unsigned char)s.p[i] - (unsigned)'0';
        if (d > 9)
            return false;
        v = v * 10 + d;
    }
    for (; i < s.n; i++) {
        unsigned d = (unsigned char)s.p[i] - (unsigned)'0';
        if (d > 9 || v > (UINT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    *out_value = v;
    return true;
}

ptrdiff_t str_find(struct str s, char c)
{
    const char *at = s.n ? memchr(s.p, c, s.n) : NULL;
    return at ? at - s.p : -1;
}

char *str_dup(struct str s)
{
    char *copy = must(malloc(s.n + 1));
    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = 0;
    return copy;
}

uint32_t str_hash(struct str s)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 16777619u;
    return h;
}
