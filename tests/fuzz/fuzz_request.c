/* fuzz_request: a request head means the same however it arrives, and what we would forward of it means the
 * same to the next parser. */
#include "heads.h"
#include "http/h1_write.h"
#include "http/rules.h"

static const struct h1_limits limits = {.line_bytes = 1024, .head_bytes = 4096, .field_count = 40};
static const struct h1_limits wide = {
    .line_bytes = 8192, .head_bytes = 16384, .field_count = HEAD_FIELDS_MAX};

static int parse(struct h1_parser *p, const char *base, size_t len, struct message *m, int kind)
{
    return h1_parse_request(p, base, len, kind ? &wide : &limits, m);
}

/* What goes to the server, read again. */
static void check_rewritten(struct message *m, const char *text, size_t n, bool merge)
{
    struct fuzz_head again;
    parse_in_steps(&again, parse, 1, text, n, n);
    ASSERT(again.got == (int)n);
    check_fields_survived(m, &again.m, MADE_BY_WRITERS);
    ASSERT(again.m.method == m->method && again.m.framing == m->framing);
    ASSERT(again.m.content_length == m->content_length);
    ASSERT(str_eq(message_str(&again.m, again.m.authority), message_str(m, m->authority)));
    ASSERT(str_eq(message_str(&again.m, again.m.target), rules_target(m)));
    /* Normalising is done once and for all. */
    char block[8192];
    struct arena arena;
    arena_init(&arena, block, sizeof block, 65536);
    ASSERT(rules_normalise_path(&again.m, &arena, merge) == REASON_OK);
    ASSERT(str_eq(rules_target(&again.m), rules_target(m)));
    arena_fini(&arena);
}

static void forward(struct fuzz_head *h, bool merge)
{
    char block[8192];
    static char out[32768];
    struct arena arena;
    struct writer w;
    arena_init(&arena, block, sizeof block, 65536);
    if (rules_normalise_path(&h->m, &arena, merge) == REASON_OK && h->m.authority.len) {
        struct str path = message_str(&h->m, h->m.path);
        ASSERT(path.n > 0 && (path.p[0] == '/' || str_eq(path, STR("*"))));
        rules_drop_hop_by_hop(&h->m);
        writer_init(&w, out, sizeof out);
        h1_write_request_line(&w, &h->m, rules_target(&h->m), message_str(&h->m, h->m.authority));
        h1_write_fields(&w, &h->m);
        h1_write_framing(&w, (enum body_framing)h->m.framing, h->m.content_length);
        writer_put(&w, "\r\n", 2);
        ASSERT(!w.overflow);
        check_rewritten(&h->m, out, w.len, merge);
    }
    arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct fuzz_head whole, pieces;
    if (size > 8192)
        return 0;
    parse_in_steps(&whole, parse, 0, text, size, size ? size : 1);
    static const size_t steps[] = {1, 2, 3, 7, 16, 31};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (size > 600 && steps[i] < 7)
            continue;
        parse_in_steps(&pieces, parse, 0, text, size, steps[i]);
        check_same(&whole, &pieces);
    }
    if (whole.got > 0) {
        check_sane(&whole.m, size);
        forward(&whole, size & 1);
    }
    return 0;
}
