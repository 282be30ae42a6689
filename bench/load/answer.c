#include "answer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void answer_reset(struct answer *a)
{
    a->at = AT_HEAD;
    a->left = a->line_len = 0;
    a->closes = false;
    free(a->kept);
    a->kept = NULL;
    a->kept_len = 0;
}

static bool is_field(const char *line, const char *end, const char *name, size_t n)
{
    return (size_t)(end - line) > n && line[n] == ':' && strncasecmp(line, name, n) == 0;
}

static bool has_word(const char *from, const char *end, const char *word)
{
    size_t n = strlen(word);
    for (; (size_t)(end - from) >= n; from++)
        if (strncasecmp(from, word, n) == 0)
            return true;
    return false;
}

/* One head, from the status line to the empty line. */
static enum answer_result read_head(struct answer *a, const char *head, const char *end)
{
    if (end - head < 12 || memcmp(head, "HTTP/1.", 7) != 0)
        return ANSWER_BAD;
    a->status = (int)strtol(head + 9, NULL, 10);
    a->at = AT_CLOSE;
    for (const char *line = memchr(head, '\n', (size_t)(end - head)); line != NULL && line + 1 < end;
         line = memchr(line, '\n', (size_t)(end - line))) {
        line++;
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        stop = stop == NULL ? end : stop;
        if ((line[0] | 0x20) == 'c' && is_field(line, stop, "content-length", 14)) {
            a->left = strtoull(line + 15, NULL, 10);
            a->at = AT_BODY;
        } else if ((line[0] | 0x20) == 't' && is_field(line, stop, "transfer-encoding", 17)) {
            a->at = AT_CHUNK_LINE;
        } else if ((line[0] | 0x20) == 'c' && is_field(line, stop, "connection", 10)) {
            a->closes = has_word(line + 11, stop, "close");
        }
    }
    if (a->status == 204 || a->status == 304)
        return ANSWER_DONE;
    return a->at == AT_BODY && a->left == 0 ? ANSWER_DONE : ANSWER_MORE;
}

/* Bytes taken of what came; 0: the head is not whole yet, and kept. SIZE_MAX: it is too long. */
static size_t take_head(struct answer *a, const char *p, size_t n, enum answer_result *out_result)
{
    const char *head = p, *end;
    size_t had = a->kept_len, whole = n;
    if (a->kept != NULL) {
        size_t room = ANSWER_HEAD_MAX - had;
        size_t part = n < room ? n : room;
        memcpy(a->kept + had, p, part);
        a->kept_len += part;
        head = a->kept;
        whole = a->kept_len;
    }
    end = memmem(head, whole, "\r\n\r\n", 4);
    if (end != NULL) {
        size_t taken = (size_t)(end + 4 - head) - had;
        *out_result = read_head(a, head, end + 2);
        return taken;
    }
    if (whole >= ANSWER_HEAD_MAX)
        return SIZE_MAX;
    if (a->kept == NULL) {
        a->kept = malloc(ANSWER_HEAD_MAX);
        if (a->kept == NULL)
            return SIZE_MAX;
        memcpy(a->kept, p, n);
        a->kept_len = n;
    }
    *out_result = ANSWER_MORE;
    return 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of what stands between chunks. */
static enum answer_result chunk_byte(struct answer *a, char c)
{
    switch (a->at) {
    case AT_CHUNK_LINE:
        if (hex_digit(c) >= 0 && a->line_len < 8)
            a->left = a->left * 16 + (size_t)hex_digit(c);
        else if (c == '\n')
            a->at = a->left > 0 ? AT_CHUNK : AT_TRAILER;
        a->line_len = c == '\n' ? 0 : hex_digit(c) >= 0 ? a->line_len : 8;
        return ANSWER_MORE;
    case AT_CHUNK_END:
        if (c == '\n')
            a->at = AT_CHUNK_LINE;
        return ANSWER_MORE;
    default: /* AT_TRAILER */
        if (c == '\n' && a->line_len == 0)
            return ANSWER_DONE;
        a->line_len = c == '\n' ? 0 : c == '\r' ? a->line_len : a->line_len + 1;
        return ANSWER_MORE;
    }
}

static size_t skip(struct answer *a, size_t n)
{
    size_t part = n < a->left ? n : a->left;
    a->left -= part;
    return part;
}

enum answer_result answer_feed(struct answer *a, const char *p, size_t n)
{
    enum answer_result result = ANSWER_MORE;
    size_t used = 0;
    while (used < n && result == ANSWER_MORE) {
        if (a->at == AT_HEAD) {
            size_t taken = take_head(a, p + used, n - used, &result);
            if (taken == SIZE_MAX)
                return ANSWER_BAD;
            if (taken == 0)
                return result;
            used += taken;
        } else if (a->at == AT_BODY || a->at == AT_CHUNK) {
            used += skip(a, n - used);
            if (a->left == 0 && a->at == AT_BODY)
                result = ANSWER_DONE;
            else if (a->left == 0)
                a->at = AT_CHUNK_END;
        } else if (a->at == AT_CLOSE) {
            used = n;
        } else {
            result = chunk_byte(a, p[used++]);
        }
    }
    return result == ANSWER_DONE && used < n ? ANSWER_BAD : result;
}

enum answer_result answer_end(const struct answer *a)
{
    return a->at == AT_CLOSE ? ANSWER_DONE : ANSWER_BAD;
}
