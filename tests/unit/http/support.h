/* support: what the unit tests of lb/http share: a parsed head and the two ways to feed one. */
#ifndef COX_TESTS_HTTP_SUPPORT_H
#define COX_TESTS_HTTP_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/h1_parse.h"

#define TEST_FIELDS 128

static const struct h1_limits test_limits = {.line_bytes = 8192, .head_bytes = 32768, .field_count = 100};

struct head {
    struct field fields[TEST_FIELDS];
    struct message m;
    int got;
};

/* What is parsed: a request, an answer to a method, or a field section. */
enum head_kind { HEAD_REQUEST = -1, HEAD_FIELDS = -2, HEAD_CGI_FIELDS = -3 };

static inline int head_step(struct head *h, struct h1_parser *p, int kind, const char *text, size_t n,
                            const struct h1_limits *limits)
{
    if (kind == HEAD_REQUEST)
        return h1_parse_request(p, text, n, limits, &h->m);
    if (kind < HEAD_REQUEST)
        return h1_parse_fields(p, text, n, limits, kind == HEAD_CGI_FIELDS, &h->m);
    return h1_parse_response(p, text, n, limits, (enum http_method)kind, &h->m);
}

/* All at once, in a block of exactly that size, so that a sanitizer sees a read beyond it. The block is left
 * to the message. */
static inline void head_whole(struct head *h, int kind, struct str text, const struct h1_limits *limits)
{
    char *copy = malloc(text.n ? text.n : 1);
    assert_non_null(copy);
    memcpy(copy, text.p, text.n);
    struct h1_parser p = {0};
    message_init(&h->m, h->fields, TEST_FIELDS);
    h->got = head_step(h, &p, kind, copy, text.n, limits);
}

static inline void head_free(struct head *h)
{
    free((void *)(uintptr_t)h->m.base);
    h->m.base = NULL;
}

/* In pieces of `step` bytes, each time in a block that moved. */
static inline void head_pieces(struct head *h, int kind, struct str text, const struct h1_limits *limits,
                               size_t step)
{
    struct h1_parser p = {0};
    char *old = NULL;
    message_init(&h->m, h->fields, TEST_FIELDS);
    for (size_t n = step < text.n ? step : text.n;; n = n + step < text.n ? n + step : text.n) {
        char *copy = malloc(n ? n : 1);
        assert_non_null(copy);
        memcpy(copy, text.p, n);
        h->got = head_step(h, &p, kind, copy, n, limits);
        free(old);
        old = copy;
        if (h->got != H1_MORE || n == text.n)
            break;
    }
    h->m.base = old;
}

/* Do two parses of one text say the same? */
static inline void assert_same_head(const struct head *a, const struct head *b)
{
    assert_int_equal(a->got, b->got);
    if (a->got <= 0)
        return;
    assert_int_equal(a->m.field_count, b->m.field_count);
    assert_memory_equal(a->fields, b->fields, a->m.field_count * sizeof *a->fields);
    assert_true(a->m.present == b->m.present && a->m.flags == b->m.flags);
    assert_true(a->m.framing == b->m.framing && a->m.content_length == b->m.content_length);
    assert_true(a->m.method == b->m.method && a->m.status == b->m.status && a->m.version == b->m.version);
    assert_memory_equal(&a->m.target, &b->m.target, sizeof(struct span));
    assert_memory_equal(&a->m.authority, &b->m.authority, sizeof(struct span));
}

/* Parses whole and in every size of pieces; all must agree. */
static inline int head_all_ways(int kind, struct str text, struct head *h)
{
    head_whole(h, kind, text, &test_limits);
    for (size_t step = 1; step <= text.n && step < 80; step++) {
        struct head piece;
        head_pieces(&piece, kind, text, &test_limits, step);
        assert_same_head(h, &piece);
        head_free(&piece);
    }
    return h->got;
}

#define assert_str(s, lit)                                                                                   \
    do {                                                                                                     \
        struct str s_ = (s);                                                                                 \
        assert_int_equal(s_.n, sizeof(lit) - 1);                                                             \
        assert_memory_equal(s_.p, lit, sizeof(lit) - 1);                                                     \
    } while (0)

#endif
