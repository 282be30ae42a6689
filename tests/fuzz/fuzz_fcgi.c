/* fuzz_fcgi: records from a responder give the same events however they arrive; what it says on STDOUT goes
 * through the CGI head parser as it would in the proxy. */
#include <stdlib.h>

#include "base/panic.h"
#include "http/cgi.h"
#include "http/fcgi_codec.h"

struct result {
    char *out; /* owned: STDOUT, then STDERR from the far end */
    size_t out_n, err_n, used;
    struct fcgi_event last;
};

static struct result decode(const char *data, size_t size, size_t step)
{
    struct result r = {.out = malloc(size + 1)};
    struct fcgi_decoder d = {0};
    ASSERT(r.out);
    r.last.kind = FCGI_EVENT_MORE;
    while (r.used < size) {
        size_t n = size - r.used < step ? size - r.used : step;
        size_t used = fcgi_decode(&d, data + r.used, n, &r.last);
        ASSERT(used > 0 && used <= n);
        r.used += used;
        struct str s = r.last.data;
        ASSERT(r.out_n + r.err_n + s.n <= size);
        if (r.last.kind == FCGI_EVENT_STDOUT) {
            memcpy(r.out + r.out_n, s.p, s.n);
            r.out_n += s.n;
        } else if (r.last.kind == FCGI_EVENT_STDERR) {
            r.err_n += s.n;
        } else if (r.last.kind == FCGI_EVENT_END || r.last.kind == FCGI_EVENT_ERROR) {
            break;
        }
    }
    ASSERT(d.ended == (r.last.kind == FCGI_EVENT_END));
    return r;
}

static bool is_over(const struct result *r)
{
    return r->last.kind == FCGI_EVENT_END || r->last.kind == FCGI_EVENT_ERROR;
}

static void check_same(const struct result *a, const struct result *b)
{
    ASSERT(a->used == b->used && a->out_n == b->out_n && a->err_n == b->err_n && is_over(a) == is_over(b));
    ASSERT(memcmp(a->out, b->out, a->out_n) == 0);
    if (!is_over(a))
        return;
    ASSERT(a->last.kind == b->last.kind && a->last.error == b->last.error);
    ASSERT(a->last.app_status == b->last.app_status && a->last.protocol_status == b->last.protocol_status);
}

static void check_cgi(const char *text, size_t n)
{
    static const struct h1_limits limits = {.line_bytes = 1024, .head_bytes = 2048, .field_count = 32};
    struct field fields[32], late_fields[32];
    struct message m, late;
    struct h1_parser p = {0}, late_p = {0};
    message_init(&m, fields, 32);
    message_init(&late, late_fields, 32);
    int got = cgi_parse_head(&p, text, n, &limits, METHOD_GET, &m), late_got = H1_MORE;
    for (size_t at = 0; at <= n && late_got == H1_MORE; at++)
        late_got = cgi_parse_head(&late_p, text, at, &limits, METHOD_GET, &late);
    ASSERT(got < 0 ? late_got <= 0 : late_got == got);
    if (got <= 0)
        return;
    ASSERT(got <= (int)n && m.status >= 200 && m.status == late.status && m.framing == late.framing);
    ASSERT(m.framing == BODY_LENGTH || m.framing == BODY_STREAM || m.framing == BODY_NONE);
    ASSERT(message_find(&m, FIELD_STATUS) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    if (size > 8192)
        return 0;
    struct result whole = decode(text, size, size ? size : 1);
    for (size_t step = 1; step < 24; step += 1 + step / 2) {
        struct result pieces = decode(text, size, step);
        check_same(&whole, &pieces);
        free(pieces.out);
    }
    check_cgi(whole.out, whole.out_n < 3000 ? whole.out_n : 3000);
    check_cgi(text, size < 3000 ? size : 3000);
    free(whole.out);
    return 0;
}
