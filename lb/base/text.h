/* text: bytes put one behind another into room that the caller has made sure of. For lines that are written
 * once a request, where a look at the end of the buffer for each piece costs more than the piece.
 *
 * Each function returns the place behind what it put. Nothing is terminated; nothing overlaps. Pure; any
 * thread. */
#ifndef COX_BASE_TEXT_H
#define COX_BASE_TEXT_H

#include <stdint.h>
#include <string.h>

#include "base/str.h"

#define TEXT_U64_BYTES 20 /* most digits of a number */

static inline char *text_put(char *to, struct str s)
{
    memcpy(to, s.p, s.n);
    return to + s.n;
}

/* Every byte that a reader of a line could mistake for something else goes out as \\xHH: controls, the quote,
 * the backslash, DEL and all above (H36). Room: four times s.n. */
char *text_put_safe(char *to, struct str s);

/* Several digits at once of numbers that are not small. Room: TEXT_U64_BYTES. */
char *text_put_u64_long(char *to, uint64_t v);

extern const char text_pairs[200]; /* "00" to "99" */

static inline char *text_put_u64(char *to, uint64_t v)
{
    if (v >= 10000)
        return text_put_u64_long(to, v);
    uint32_t n = (uint32_t)v, high = n / 100;
    if (n < 10) {
        *to = (char)('0' + n);
        return to + 1;
    }
    if (high >= 10) {
        memcpy(to, text_pairs + 2 * high, 2);
        to += 2;
    } else if (high) {
        *to++ = (char)('0' + high);
    }
    memcpy(to, text_pairs + 2 * (n - high * 100), 2);
    return to + 2;
}

#endif
