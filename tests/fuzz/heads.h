/* heads: what the fuzz targets of heads share: parse whole, parse in pieces, compare. */
#ifndef COX_TESTS_FUZZ_HEADS_H
#define COX_TESTS_FUZZ_HEADS_H

#include <stdlib.h>

#include "base/panic.h"
#include "http/h1_parse.h"

#define HEAD_FIELDS_MAX 64

struct fuzz_head {
    struct field fields[HEAD_FIELDS_MAX];
    struct message m;
    int got;
};

/* One call of the parser under test. */
typedef int parse_fn(struct h1_parser *p, const char *base, size_t len, struct message *m, int kind);

/* In steps; each call sees a fresh block of exactly as many bytes as have arrived. */
static inline void parse_in_steps(struct fuzz_head *h, parse_fn *parse, int kind, const char *data,
                                  size_t size, size_t step)
{
    struct h1_parser p = {0};
    message_init(&h->m, h->fields, HEAD_FIELDS_MAX);
    size_t n = 0;
    do {
        n = size - n > step ? n + step : size;
        char *copy = malloc(n ? n : 1);
        ASSERT(copy);
        if (n)
            memcpy(copy, data, n);
        h->got = parse(&p, copy, n, &h->m, kind);
        free(copy);
    } while (h->got == H1_MORE && n < size);
    h->m.base = data;
}

/* Pieces may only differ from the whole in when and why a bad head is refused, never in whether or in
 * meaning. */
static inline void check_same(const struct fuzz_head *whole, const struct fuzz_head *pieces)
{
    if (whole->got < 0) {
        ASSERT(pieces->got <= 0);
        return;
    }
    ASSERT(pieces->got == whole->got);
    if (whole->got == 0)
        return;
    const struct message *a = &whole->m, *b = &pieces->m;
    ASSERT(a->field_count == b->field_count && a->present == b->present && a->flags == b->flags);
    ASSERT(a->framing == b->framing && a->content_length == b->content_length && a->version == b->version);
    ASSERT(a->method == b->method && a->status == b->status && a->head_len == b->head_len);
    ASSERT(memcmp(&a->target, &b->target, sizeof a->target) == 0);
    ASSERT(memcmp(&a->authority, &b->authority, sizeof a->authority) == 0);
    ASSERT(memcmp(&a->reason_text, &b->reason_text, sizeof a->reason_text) == 0);
    ASSERT(memcmp(whole->fields, pieces->fields, a->field_count * sizeof(struct field)) == 0);
}

/* No span leaves the head, no value holds a byte that ends a line. */
static inline void check_sane(const struct message *m, size_t size)
{
    ASSERT(m->head_len <= size);
    uint64_t present = 0;
    for (unsigned i = 0; i < m->field_count; i++) {
        const struct field *f = &m->fields[i];
        ASSERT(f->name_len > 0 && f->name + f->name_len < f->value + 1);
        ASSERT(f->value + f->value_len <= m->head_len);
        struct str v = field_value_of(m, f);
        ASSERT(v.n == 0 || (!memchr(v.p, '\r', v.n) && !memchr(v.p, '\n', v.n) && !memchr(v.p, 0, v.n)));
        ASSERT(field_lookup(field_name_of(m, f)) == f->id);
        present |= 1ull << f->id;
    }
    ASSERT(present == m->present);
}

/* The fields that stay are, in order, those of the head that was written from them; `skip` says which are
 * not. */
static inline void check_fields_survived(const struct message *from, const struct message *to, uint64_t skip)
{
    unsigned at = 0;
    for (unsigned i = 0; i < from->field_count; i++) {
        const struct field *f = &from->fields[i];
        if ((f->flags & FIELD_FLAG_DROP) || (skip >> f->id & 1))
            continue;
        while (at < to->field_count && (skip >> to->fields[at].id & 1))
            at++;
        ASSERT(at < to->field_count);
        ASSERT(str_eq(field_name_of(from, f), field_name_of(to, &to->fields[at])));
        ASSERT(str_eq(field_value_of(from, f), field_value_of(to, &to->fields[at])));
        at++;
    }
    while (at < to->field_count && (skip >> to->fields[at].id & 1))
        at++;
    ASSERT(at == to->field_count);
}

/* Fields that a writer makes itself, or leaves to others. */
#define MADE_BY_WRITERS                                                                                      \
    (1ull << FIELD_HOST | 1ull << FIELD_CONTENT_LENGTH | 1ull << FIELD_TRANSFER_ENCODING |                   \
     1ull << FIELD_CONNECTION | 1ull << FIELD_KEEP_ALIVE | 1ull << FIELD_PROXY_CONNECTION |                  \
     1ull << FIELD_TE | 1ull << FIELD_TRAILER | 1ull << FIELD_UPGRADE)

#endif
