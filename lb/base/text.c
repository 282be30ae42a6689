#include "base/text.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

static inline uint64_t load64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline uint32_t load32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* Printable ASCII but the quote and the backslash. */
static inline bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Are all eight bytes plain? May say no to bytes that are (never the other way round), when a borrow runs on.
 */
static inline bool are_plain(uint64_t v)
{
    const uint64_t ones = 0x0101010101010101ull, high = ones << 7;
    uint64_t quote = v ^ ones * '"', slash = v ^ ones * '\\', del = v ^ ones * 0x7f;
    uint64_t bad = (v - ones * 0x20) | (quote - ones) | (slash - ones) | (del - ones) | v;
    return !(bad & high);
}

static char *put_escaped(char *to, struct str s)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (is_plain(c)) {
            *to++ = (char)c;
            continue;
        }
        *to++ = '\\';
        *to++ = 'x';
        *to++ = hex[c >> 4];
        *to++ = hex[c & 15];
    }
    return to;
}

/* The copies below may be thrown away again: what comes out wrong is written over from the start. The last
 * piece overlaps the one before, so that no byte outside the text is read. */

#ifdef __SSE2__
static inline bool copy_16(char *to, const char *from)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)from);
    /* signed: all from 0x80 on are below the blank as well */
    __m128i bad =
        _mm_or_si128(_mm_cmplt_epi8(v, _mm_set1_epi8(0x20)), _mm_cmpeq_epi8(v, _mm_set1_epi8(0x7f)));
    bad = _mm_or_si128(
        bad, _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')), _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))));
    _mm_storeu_si128((__m128i *)(void *)to, v);
    return !_mm_movemask_epi8(bad);
}
#else
static inline bool copy_16(char *to, const char *from)
{
    memcpy(to, from, 16);
    return are_plain(load64(from)) && are_plain(load64(from + 8));
}
#endif

static bool copy_long(char *to, const char *from, size_t n)
{
    bool plain = true;
    size_t i = 0;
    for (; i + 16 <= n && plain; i += 16)
        plain = copy_16(to + i, from + i);
    return plain && copy_16(to + n - 16, from + n - 16);
}

static bool copy_short(char *to, const char *from, size_t n)
{
    if (n >= 8) {
        uint64_t a = load64(from), b = load64(from + n - 8);
        memcpy(to, &a, sizeof a);
        memcpy(to + n - 8, &b, sizeof b);
        return are_plain(a) && are_plain(b);
    }
    if (n >= 4) {
        uint32_t a = load32(from), b = load32(from + n - 4);
        memcpy(to, &a, sizeof a);
        memcpy(to + n - 4, &b, sizeof b);
        return are_plain((uint64_t)a << 32 | b);
    }
    if (n == 0)
        return true;
    /* the first, the middle and the last byte are all there are */
    unsigned char a = (unsigned char)from[0], b = (unsigned char)from[n / 2], c = (unsigned char)from[n - 1];
    to[0] = (char)a;
    to[n / 2] = (char)b;
    to[n - 1] = (char)c;
    return are_plain(0x2020202020000000ull | (uint64_t)a << 16 | (uint64_t)b << 8 | c);
}

char *text_put_safe(char *to, struct str s)
{
    bool plain = s.n >= 16 ? copy_long(to, s.p, s.n) : copy_short(to, s.p, s.n);
    return __builtin_expect(plain, 1) ? to + s.n : put_escaped(to, s);
}

const char text_pairs[200] =
    "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
    "8081828384858687888990919293949596979899";

char *text_put_u64_long(char *to, uint64_t v)
{
    char digits[TEXT_U64_BYTES];
    size_t at = sizeof digits;
    for (; v >= 100; v /= 100)
        memcpy(digits + (at -= 2), text_pairs + v % 100 * 2, 2);
    if (v >= 10)
        memcpy(digits + (at -= 2), text_pairs + v * 2, 2);
    else
        digits[--at] = (char)('0' + v);
    memcpy(to, digits + at, sizeof digits - at);
    return to + (sizeof digits - at);
}
