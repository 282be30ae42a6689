/* say: builds the short text of a decision's reason without the C library's formatter, which is neither pure
 * (locale) nor fast enough for ten million decisions a second.
 *
 * The text is cut when it is full and always ends with a NUL. For plugins that are compiled with the public
 * headers alone; everything is inline. */
#ifndef COX_PLUGINS_SAY_H
#define COX_PLUGINS_SAY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct say {
    char *text; /* borrowed: `bytes` long, of which one is the NUL's */
    size_t bytes, len;
};

/* Opens on an array of at least one byte. */
static inline struct say say_open(char *text, size_t bytes)
{
    text[0] = 0;
    return (struct say){.text = text, .bytes = bytes};
}

static inline void say_text(struct say *s, const char *text)
{
    const size_t n = strlen(text), room = s->bytes - 1 - s->len;
    memcpy(s->text + s->len, text, n < room ? n : room);
    s->len += n < room ? n : room;
    s->text[s->len] = 0;
}

/* One digit behind the point; at most 18 characters, and none when there is no room for so many. "?" for what
 * is no number or too large to be shown. */
static inline void say_number(struct say *s, double x)
{
    if (!(x > -1e15 && x < 1e15)) {
        say_text(s, "?");
        return;
    }
    if (s->bytes - s->len < 20)
        return;
    if (x < 0.0)
        s->text[s->len++] = '-';
    uint64_t whole = (uint64_t)(int64_t)((x < 0.0 ? -x : x) * 10.0 + 0.5);
    const char tenth = (char)('0' + whole % 10);
    whole /= 10;
    size_t digits = 1;
    for (uint64_t power = 10; whole >= power; power *= 10)
        digits++;
    char *end = s->text + s->len + digits;
    s->len += digits + 2;
    end[0] = '.';
    end[1] = tenth;
    end[2] = 0;
    do {
        *--end = (char)('0' + whole % 10);
        whole /= 10;
    } while (whole);
}

#endif
