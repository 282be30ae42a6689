/* hex: sixteen hexadecimal digits at a time, without a loop over digits. Any thread. */
#ifndef COX_BASE_HEX_H
#define COX_BASE_HEX_H

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>

/* Sixteen lower-case digits of v at `to`, most significant first, no NUL. */
static inline void hex_write(char *to, uint64_t v)
{
    __m128i x = _mm_cvtsi64_si128((long long)__builtin_bswap64(v)), mask = _mm_set1_epi8(0x0f);
    __m128i nibbles = _mm_unpacklo_epi8(_mm_and_si128(_mm_srli_epi16(x, 4), mask), _mm_and_si128(x, mask));
    __m128i letters = _mm_and_si128(_mm_cmpgt_epi8(nibbles, _mm_set1_epi8(9)), _mm_set1_epi8('a' - '0' - 10));
    __m128i text = _mm_add_epi8(_mm_add_epi8(nibbles, _mm_set1_epi8('0')), letters);
    _mm_storeu_si128((__m128i *)(void *)to, text);
}
#else
/* The eight lower-case digits of v, most significant first, as the bytes of a little-endian word. */
static inline uint64_t hex_word(uint32_t v)
{
    uint64_t x = __builtin_bswap32(v);
    x = (x | x << 16) & 0x0000ffff0000ffffull;
    x = (x | x << 8) & 0x00ff00ff00ff00ffull;
    x = (x >> 4 | x << 8) & 0x0f0f0f0f0f0f0f0full; /* high nibble first */
    uint64_t letters = ((x + 0x0606060606060606ull) >> 4) & 0x0101010101010101ull;
    return x + 0x3030303030303030ull + letters * ('a' - '0' - 10);
}

/* Sixteen digits of v at `to`, no NUL. */
static inline void hex_write(char *to, uint64_t v)
{
    uint64_t words[2] = {hex_word((uint32_t)(v >> 32)), hex_word((uint32_t)v)};
    memcpy(to, words, sizeof words);
}
#endif

#endif
