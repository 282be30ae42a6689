/* fuzz_chunked: a chunked body has one payload and one end, however it arrives, and our own chunks give it
 * back. */
#include <stdlib.h>

#include "base/panic.h"
#include "http/h1_body.h"
#include "http/h1_parse.h"
#include "http/h1_write.h"
#include "http/rules.h"

struct result {
    char *payload; /* owned */
    size_t n;
    ssize_t used; /* or -(enum reason) */
    bool in_trailers;
};

static struct result decode(const char *data, size_t size, size_t step)
{
    struct message m = {.framing = BODY_CHUNKED};
    struct result r = {.payload = malloc(size + 1)};
    struct h1_body b;
    size_t at = 0;
    ASSERT(r.payload);
    h1_body_init(&b, &m);
    while (at < size && !b.in_trailers) {
        size_t n = size - at < step ? size - at : step;
        struct str piece;
        ssize_t used = h1_body_step(&b, data + at, n, &piece);
        if (used < 0) {
            r.used = used;
            return r;
        }
        ASSERT(used > 0 && (size_t)used <= n && r.n + piece.n <= size);
        if (piece.n) {
            ASSERT(piece.p >= data + at && piece.p + piece.n <= data + at + n);
            memcpy(r.payload + r.n, piece.p, piece.n);
        }
        r.n += piece.n;
        at += (size_t)used;
    }
    ASSERT(!b.done && !h1_body_on_eof(&b));
    r.used = (ssize_t)at;
    r.in_trailers = b.in_trailers;
    return r;
}

static void check_same(const struct result *a, const struct result *b)
{
    ASSERT(a->used == b->used && a->n == b->n && a->in_trailers == b->in_trailers);
    ASSERT(memcmp(a->payload, b->payload, a->n) == 0);
}

/* Wraps the payload in chunks of ours and takes it out again. */
static void check_again(const struct result *r)
{
    char *text = malloc(r->n + 64), *p = text;
    ASSERT(text);
    if (r->n) {
        p += h1_chunk_head(p, r->n);
        memcpy(p, r->payload, r->n);
        memcpy(p + r->n, "\r\n", 2);
        p += r->n + 2;
    }
    p += h1_chunk_head(p, 0);
    struct result again = decode(text, (size_t)(p - text), 5);
    ASSERT(again.in_trailers && again.used == p - text && again.n == r->n);
    ASSERT(memcmp(again.payload, r->payload, r->n) == 0);
    free(again.payload);
    free(text);
}

/* Whatever stands behind the last chunk is a trailer section, or is refused. */
static void check_trailers(const char *data, size_t size)
{
    static const struct h1_limits limits = {.line_bytes = 1024, .head_bytes = 2048, .field_count = 16};
    struct field fields[16];
    struct message m;
    struct h1_parser p = {0};
    message_init(&m, fields, 16);
    int got = h1_parse_fields(&p, data, size, &limits, false, &m);
    ASSERT(got <= (int)size);
    if (got <= 0)
        return;
    for (unsigned i = 0; i < m.field_count; i++)
        if (rules_trailer_allowed((enum field_id)fields[i].id, field_name_of(&m, &fields[i])))
            ASSERT(fields[i].id == FIELD_OTHER || fields[i].id == FIELD_ETAG);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    if (size > 16384)
        return 0;
    struct result whole = decode(text, size, size ? size : 1);
    for (size_t step = 1; step < 24; step += 1 + step / 2) {
        struct result pieces = decode(text, size, step);
        check_same(&whole, &pieces);
        free(pieces.payload);
    }
    if (whole.in_trailers) {
        check_again(&whole);
        check_trailers(text + whole.used, size - (size_t)whole.used);
    }
    free(whole.payload);
    return 0;
}
