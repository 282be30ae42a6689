/* scan: finds the first byte that decides something, many bytes at a time.
 *
 * The first 16 bytes are looked at inline with SSE2, which every x86-64 has; what is longer goes through a
 * table chosen once, before main, by what the CPU can do (AVX2, SSE2, or the scalar twin that is always
 * compiled and that the tests compare the others with). No function reads a byte outside [p, end), or [floor,
 * end). Pure; any thread. */
#ifndef COX_HTTP_SCAN_H
#define COX_HTTP_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum scan_class {
    SCAN_TOKEN = 1u,      /* tchar, RFC 9110 5.6.2 */
    SCAN_VALUE = 2u,      /* field-content: HTAB, SP, VCHAR, obs-text */
    SCAN_TARGET = 4u,     /* 0x21 to 0x7e without '#' */
    SCAN_UNRESERVED = 8u, /* RFC 3986 2.3 */
    SCAN_REG_NAME = 16u,  /* what we allow in a host name: unreserved and sub-delims without ',' */
    SCAN_DIGIT = 32u,
    SCAN_HEX = 64u,
    SCAN_PATH_PLAIN =
        128u /* bytes of a path that never need work: no % \ # ? / . controls, spaces, non-ASCII */
};

/* Classes of each byte. */
extern const uint8_t scan_classes[256];

static inline bool scan_is(char c, unsigned classes)
{
    return (scan_classes[(unsigned char)c] & classes) != 0;
}

struct scan_ops {
    const char *name;
    /* First byte outside the class, or end. */
    const char *(*value)(const char *p, const char *end);
    const char *(*target)(const char *p, const char *end);
};

/* The i-th set this CPU can run, NULL behind the last; 0 is the scalar twin. */
const struct scan_ops *scan_ops_at(size_t i);
/* The set in use: the last of them. */
const struct scan_ops *scan_ops_best(void);

/* First byte that is not a token character, or end. */
static inline const char *scan_token(const char *p, const char *end)
{
    while (p < end && scan_is(*p, SCAN_TOKEN))
        p++;
    return p;
}

#if defined(__SSE2__)
/* A bit for each byte of x that may not stand in a field value. */
static inline unsigned scan_bad_value16(__m128i x)
{
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1f)), x);
    __m128i bad = _mm_andnot_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('\t')), low);
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f)));
    return (unsigned)_mm_movemask_epi8(bad);
}

/* The same for a request target. Signed comparison: bytes above 0x7f are negative and so not above SP. */
static inline unsigned scan_bad_target16(__m128i x)
{
    __m128i good = _mm_cmpgt_epi8(x, _mm_set1_epi8(' '));
    __m128i bad = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8(0x7f)), _mm_cmpeq_epi8(x, _mm_set1_epi8('#')));
    return ((unsigned)_mm_movemask_epi8(good) ^ 0xffffu) | (unsigned)_mm_movemask_epi8(bad);
}

static inline __m128i scan_load16(const char *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}
#endif

/* First byte that may not stand in a field value, or end. Bytes from `floor` on may be read, too: a short
 * rest is then looked at together with what stands before it. */
static inline __attribute__((always_inline)) const char *scan_value(const char *floor, const char *p,
                                                                    const char *end)
{
    (void)floor;
#if defined(__SSE2__)
    if (__builtin_expect(end - p >= 16, 1)) {
        unsigned bad = scan_bad_value16(scan_load16(p));
        if (bad)
            return p + __builtin_ctz(bad);
        p += 16;
        for (int i = 0; i < 3 && end - p >= 16; i++, p += 16)
            if ((bad = scan_bad_value16(scan_load16(p))))
                return p + __builtin_ctz(bad);
        if (end - p >= 32)
            return scan_ops_best()->value(p, end);
    }
    if (end - p <= 16 && end - floor >= 16) {
        unsigned bad = scan_bad_value16(scan_load16(end - 16)) >> (16 - (end - p));
        return bad ? p + __builtin_ctz(bad) : end;
    }
#endif
    return scan_ops_best()->value(p, end);
}

/* First byte that may not stand in a request target, or end. */
static inline const char *scan_target(const char *p, const char *end)
{
#if defined(__SSE2__)
    if (__builtin_expect(end - p >= 16, 1)) {
        unsigned bad = scan_bad_target16(scan_load16(p));
        if (bad)
            return p + __builtin_ctz(bad);
        p += 16;
    }
#endif
    return scan_ops_best()->target(p, end);
}

/* The ':' when it stands within the first 32 bytes; else the first byte that is no token character, or end.
 * The caller checks the bytes before it. `floor` as above. */
static inline const char *scan_colon(const char *floor, const char *p, const char *end)
{
    (void)floor;
#if defined(__SSE2__)
    const __m128i colon = _mm_set1_epi8(':');
    unsigned hit = 0;
    if (__builtin_expect(end - p >= 16, 1))
        hit = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(scan_load16(p), colon));
    else if (end - floor >= 16)
        hit = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(scan_load16(end - 16), colon)) >> (16 - (end - p));
    if (__builtin_expect(hit != 0, 1))
        return p + __builtin_ctz(hit);
    if (end - p >= 32) {
        hit = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(scan_load16(p + 16), colon));
        if (hit)
            return p + 16 + __builtin_ctz(hit);
    }
#endif
    return scan_token(p, end);
}

#if defined(__SSE2__)
/* A bit for each byte of x whose twin in `letters` is a lower-case letter, or that is a digit or '-'. */
static inline unsigned scan_dashed16(__m128i x, __m128i letters)
{
    __m128i a = _mm_sub_epi8(letters, _mm_set1_epi8('a')), d = _mm_sub_epi8(x, _mm_set1_epi8('0'));
    __m128i ok = _mm_cmpeq_epi8(_mm_min_epu8(a, _mm_set1_epi8(25)), a);
    ok = _mm_or_si128(ok, _mm_cmpeq_epi8(_mm_min_epu8(d, _mm_set1_epi8(9)), d));
    ok = _mm_or_si128(ok, _mm_cmpeq_epi8(x, _mm_set1_epi8('-')));
    return (unsigned)_mm_movemask_epi8(ok);
}

/* A bit for each byte of x that is a letter, a digit or '-': what nearly all names are made of. */
static inline unsigned scan_common16(__m128i x)
{
    return scan_dashed16(x, _mm_or_si128(x, _mm_set1_epi8(0x20)));
}

/* The same without capitals. */
static inline unsigned scan_plain16(__m128i x)
{
    return scan_dashed16(x, x);
}
#endif

/* Are these n bytes, one at least, letters, digits and '-' only? `room` bytes may be read from p. */
static inline bool scan_is_dashed(const char *p, size_t n, size_t room)
{
    (void)room;
#if defined(__SSE2__)
    for (; room >= 16; p += 16, n -= 16, room -= 16) {
        unsigned want = n < 16 ? (1u << n) - 1 : 0xffff;
        if ((scan_common16(scan_load16(p)) & want) != want)
            return false;
        if (n <= 16)
            return true;
    }
#endif
    for (size_t i = 0; i < n; i++)
        if (!scan_is(p[i], SCAN_TOKEN) || (p[i] != '-' && !scan_is(p[i], SCAN_UNRESERVED)) || p[i] == '.' ||
            p[i] == '_' || p[i] == '~')
            return false;
    return true;
}

/* Are these bytes lower-case letters, digits and '-' only? What nearly all names in HTTP/2 are made of; false
 * only says that they have to be looked at one by one. */
static inline bool scan_is_plain_name(const char *p, size_t n)
{
#if defined(__SSE2__)
    uint64_t head, tail;
    if (n > 16) {
        for (size_t i = 0; i + 16 < n; i += 16)
            if (scan_plain16(scan_load16(p + i)) != 0xffff)
                return false;
        return scan_plain16(scan_load16(p + n - 16)) == 0xffff;
    }
    if (n >= 8) { /* two halves that overlap */
        memcpy(&head, p, 8);
        memcpy(&tail, p + n - 8, 8);
    } else if (n >= 4) {
        uint32_t first, last;
        memcpy(&first, p, 4);
        memcpy(&last, p + n - 4, 4);
        head = tail = (uint64_t)first << 32 | last;
    } else {
        return false;
    }
    return scan_plain16(_mm_set_epi64x((long long)tail, (long long)head)) == 0xffff;
#else
    (void)p;
    (void)n;
    return false;
#endif
}

/* Are these n bytes all token characters? */
static inline bool scan_is_token(const char *p, size_t n)
{
    return n > 0 && scan_token(p, p + n) == p + n;
}

#endif
