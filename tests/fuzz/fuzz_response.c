/* fuzz_response: the same for answer heads; the first byte chooses the method of the request. */
#include "heads.h"
#include "http/h1_write.h"
#include "http/rules.h"

static const struct h1_limits limits = {.line_bytes = 1024, .head_bytes = 4096, .field_count = 40};
static const struct h1_limits wide = {
    .line_bytes = 8192, .head_bytes = 16384, .field_count = HEAD_FIELDS_MAX};

/* kind: the method, with 16 added for the second reading. */
static int parse(struct h1_parser *p, const char *base, size_t len, struct message *m, int kind)
{
    return h1_parse_response(p, base, len, kind & 16 ? &wide : &limits, (enum http_method)(kind & 15), m);
}

static void forward(struct fuzz_head *h, int method)
{
    static char out[32768];
    struct writer w;
    struct message *m = &h->m;
    rules_drop_hop_by_hop(m);
    writer_init(&w, out, sizeof out);
    h1_write_status_line(&w, m);
    h1_write_fields(&w, m);
    bool told = m->flags & MSG_HAS_LENGTH;
    h1_write_framing(&w, told ? BODY_LENGTH : (enum body_framing)m->framing, m->content_length);
    writer_put(&w, "\r\n", 2);
    ASSERT(!w.overflow);
    struct fuzz_head again;
    parse_in_steps(&again, parse, method | 16, out, w.len, w.len);
    ASSERT(again.got == (int)w.len);
    check_fields_survived(m, &again.m, MADE_BY_WRITERS);
    ASSERT(again.m.status == m->status && again.m.framing == m->framing);
    ASSERT(again.m.content_length == m->content_length);
    ASSERT(!m->reason_text.len ||
           str_eq(message_str(m, m->reason_text), message_str(&again.m, again.m.reason_text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 8192)
        return 0;
    int method = data[0] % (METHOD_CONNECT + 1);
    const char *text = (const char *)data + 1;
    size--;
    struct fuzz_head whole, pieces;
    parse_in_steps(&whole, parse, method, text, size, size ? size : 1);
    static const size_t steps[] = {1, 2, 3, 7, 16, 31};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (size > 600 && steps[i] < 7)
            continue;
        parse_in_steps(&pieces, parse, method, text, size, steps[i]);
        check_same(&whole, &pieces);
    }
    if (whole.got < 0)
        ASSERT(whole.got == -REASON_SERVER_HEAD || whole.got == -REASON_SERVER_HEAD_LIMIT);
    if (whole.got > 0) {
        check_sane(&whole.m, size);
        forward(&whole, method);
    }
    return 0;
}
