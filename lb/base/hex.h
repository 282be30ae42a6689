/* hex: sixteen hexadecimal digits at a time, without a loop over digits. Any thread. */
#ifndef COX_BASE_HEX_H
#define COX_BASE_HEX_H

#include <stdint.h>
#include <string.h>

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
