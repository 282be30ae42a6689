#include "http/h1_body.h"

#include <limits.h>

#include "base/panic.h"
#include "http/scan.h"

/* Most digits of a chunk size, zeros in front included (H6). */
#define SIZE_DIGITS_MAX 16

/* Chunked framing, one state for each place between two bytes (RFC 9112 7.1, with erratum 7633 on
 * extensions). */
enum body_state {
    AT_DATA,       /* payload: `left` bytes of it */
    AT_SIZE,       /* hex digits, or what ends them */
    AT_EXT_BWS,    /* blank behind size or extension: ';' must follow */
    AT_EXT_NAME,   /* before the first byte of a name */
    IN_EXT_NAME,   /* in a name */
    AT_EXT_EQUALS, /* blank behind a name: '=' or ';' must follow */
    AT_EXT_VALUE,  /* before a value */
    IN_EXT_VALUE,  /* in a token value */
    IN_EXT_QUOTES, /* in a quoted value */
    AT_EXT_ESCAPE, /* behind its backslash */
    AT_EXT_END,    /* behind the closing quote */
    AT_SIZE_LF,    /* LF of the size line */
    AT_DATA_CR,    /* CR behind the payload */
    AT_DATA_LF,    /* LF behind the payload */
    AT_TRAILERS
};

#define BROKEN (-1)

void h1_body_init(struct h1_body *b, const struct message *m)
{
    *b = (struct h1_body){.framing = m->framing};
    switch ((enum body_framing)m->framing) {
    case BODY_NONE:
        b->done = true;
        break;
    case BODY_LENGTH:
        b->left = m->content_length;
        b->done = b->left == 0;
        break;
    case BODY_CHUNKED:
        b->state = AT_SIZE;
        break;
    case BODY_CLOSE:
        break;
    case BODY_STREAM:
        PANIC("a body without HTTP/1 framing");
    }
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = char_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What may end a size, a name or a value. */
static int after_item(char c)
{
    if (c == ';')
        return AT_EXT_NAME;
    if (c == '\r')
        return AT_SIZE_LF;
    return is_blank(c) ? AT_EXT_BWS : BROKEN;
}

/* H6: digits only, and no more than fit. */
static int on_size(struct h1_body *b, char c)
{
    int digit = hex_digit(c);
    if (digit < 0)
        return b->digits ? after_item(c) : BROKEN;
    if (b->digits == SIZE_DIGITS_MAX || b->left > (uint64_t)INT64_MAX >> 4)
        return BROKEN;
    b->left = b->left << 4 | (uint64_t)digit;
    b->digits++;
    return AT_SIZE;
}

static int on_ext_name(char c, bool started)
{
    if (scan_is(c, SCAN_TOKEN))
        return IN_EXT_NAME;
    if (!started)
        return is_blank(c) ? AT_EXT_NAME : BROKEN;
    if (c == '=')
        return AT_EXT_VALUE;
    return is_blank(c) ? AT_EXT_EQUALS : after_item(c);
}

static int on_ext_value(char c)
{
    if (is_blank(c))
        return AT_EXT_VALUE;
    if (c == '"')
        return IN_EXT_QUOTES;
    return scan_is(c, SCAN_TOKEN) ? IN_EXT_VALUE : BROKEN;
}

static int on_ext_quotes(char c)
{
    if (c == '"')
        return AT_EXT_END;
    if (c == '\\')
        return AT_EXT_ESCAPE;
    return scan_is(c, SCAN_VALUE) ? IN_EXT_QUOTES : BROKEN; /* no CR, no LF inside quotes (H7) */
}

/* Extensions are read to find the end of the line in the one right place, and dropped (H7). */
static int on_extension(const struct h1_body *b, char c)
{
    switch (b->state) {
    case AT_EXT_BWS:
        return c == ';' ? AT_EXT_NAME : is_blank(c) ? AT_EXT_BWS : BROKEN;
    case AT_EXT_NAME:
        return on_ext_name(c, false);
    case IN_EXT_NAME:
        return on_ext_name(c, true);
    case AT_EXT_EQUALS:
        return c == '=' ? AT_EXT_VALUE : c == ';' ? AT_EXT_NAME : is_blank(c) ? AT_EXT_EQUALS : BROKEN;
    case AT_EXT_VALUE:
        return on_ext_value(c);
    case IN_EXT_VALUE:
        return scan_is(c, SCAN_TOKEN) ? IN_EXT_VALUE : after_item(c);
    case IN_EXT_QUOTES:
        return on_ext_quotes(c);
    case AT_EXT_ESCAPE:
        return scan_is(c, SCAN_VALUE) ? IN_EXT_QUOTES : BROKEN;
    default:
        return after_item(c); /* AT_EXT_END */
    }
}

/* One byte of framing: the next state, or BROKEN. */
static int on_framing(struct h1_body *b, char c)
{
    switch (b->state) {
    case AT_SIZE:
        return on_size(b, c);
    case AT_SIZE_LF:
        if (c != '\n')
            return BROKEN;
        return b->left ? AT_DATA : AT_TRAILERS;
    case AT_DATA_CR:
        return c == '\r' ? AT_DATA_LF : BROKEN; /* H8 */
    case AT_DATA_LF:
        if (c != '\n')
            return BROKEN;
        b->digits = 0;
        return AT_SIZE;
    default:
        if (++b->ext_bytes > H1_CHUNK_EXT_MAX)
            return BROKEN;
        return on_extension(b, c);
    }
}

/* Payload: all there is, and not more than is due. */
static size_t take_data(struct h1_body *b, const char *p, size_t n, struct str *out_data)
{
    if (b->framing != BODY_CLOSE) {
        if (n > b->left)
            n = (size_t)b->left;
        b->left -= n;
    }
    *out_data = str_make(p, n);
    return n;
}

static ssize_t step_chunked(struct h1_body *b, const char *p, size_t n, struct str *out_data)
{
    size_t at = 0;
    while (at < n && b->state != AT_DATA) {
        int next = on_framing(b, p[at]);
        if (next == BROKEN)
            return -(ssize_t)REASON_CHUNK;
        b->state = (uint8_t)next;
        at++;
        if (next == AT_TRAILERS) {
            b->in_trailers = true;
            return (ssize_t)at;
        }
    }
    if (at < n) {
        at += take_data(b, p + at, n - at, out_data);
        if (b->left == 0)
            b->state = AT_DATA_CR;
    }
    return (ssize_t)at;
}

ssize_t h1_body_step(struct h1_body *b, const char *p, size_t n, struct str *out_data)
{
    *out_data = str_make(p, 0);
    if (b->done || b->in_trailers || n == 0)
        return 0;
    if (n > SSIZE_MAX)
        n = SSIZE_MAX;
    if (b->framing == BODY_CHUNKED)
        return step_chunked(b, p, n, out_data);
    size_t used = take_data(b, p, n, out_data);
    b->done = b->framing == BODY_LENGTH && b->left == 0;
    return (ssize_t)used;
}

void h1_body_trailers_done(struct h1_body *b)
{
    ASSERT(b->in_trailers);
    b->in_trailers = false;
    b->done = true;
}

bool h1_body_on_eof(struct h1_body *b)
{
    if (b->framing == BODY_CLOSE)
        b->done = true;
    return b->done;
}
