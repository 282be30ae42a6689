/* word: compares bytes with a known name, ignoring case, a machine word at a time. Pure. */
#ifndef COX_HTTP_WORD_H
#define COX_HTTP_WORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t word_load64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t word_load32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint16_t word_load16(const char *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Bits that differ other than the case of a letter. In our names exactly the letters have bit 0x40 set, so a
 * CR is never taken for a '-' nor a control byte for a digit. */
static inline uint64_t word_differ64(const char *a, const char *ours)
{
    uint64_t x = word_load64(a), c = word_load64(ours);
    return (x ^ c) & ~((c & 0x4040404040404040u) >> 1);
}

static inline uint32_t word_differ32(const char *a, const char *ours)
{
    uint32_t x = word_load32(a), c = word_load32(ours);
    return (x ^ c) & ~((c & 0x40404040u) >> 1);
}

/* Are the n bytes at a the first n of `ours`, which are letters, digits and '-' only? 4 ≤ n ≤ 24. */
static inline bool word_same(const char *a, const char *ours, size_t n)
{
    if (n < 8)
        return (word_differ32(a, ours) | word_differ32(a + n - 4, ours + n - 4)) == 0;
    uint64_t diff = word_differ64(a, ours) | word_differ64(a + n - 8, ours + n - 8);
    if (n > 16)
        diff |= word_differ64(a + 8, ours + 8);
    return diff == 0;
}

#endif
