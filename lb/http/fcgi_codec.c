#include "http/fcgi_codec.h"

#include "base/panic.h"

#define FCGI_VERSION        1
#define FCGI_REQUEST_ID     1
#define FCGI_ROLE_RESPONDER 1
#define FCGI_FLAG_KEEP_CONN 1
/* Body of an END_REQUEST record: app status, protocol status, 3 reserved (FastCGI 1.0 5.5). */
#define END_BODY_BYTES 8

void fcgi_put_header(struct writer *w, enum fcgi_type type, uint16_t content_len)
{
    ASSERT(content_len <= FCGI_RECORD_MAX);
    /* FastCGI 1.0 3.3; padding is never needed: what we send is whole, the kernel does not care (F6). */
    const unsigned char h[FCGI_HEADER_BYTES] = {FCGI_VERSION,
                                                (unsigned char)type,
                                                0,
                                                FCGI_REQUEST_ID,
                                                (unsigned char)(content_len >> 8),
                                                (unsigned char)(content_len & 255),
                                                0,
                                                0};
    writer_put(w, (const char *)h, sizeof h);
}

void fcgi_put_begin(struct writer *w, bool keep_conn)
{
    const char body[8] = {0, FCGI_ROLE_RESPONDER, keep_conn ? FCGI_FLAG_KEEP_CONN : 0};
    fcgi_put_header(w, FCGI_BEGIN_REQUEST, sizeof body);
    writer_put(w, body, sizeof body);
}

static size_t length_bytes(size_t n)
{
    return n < 128 ? 1 : 4;
}

/* FastCGI 1.0 3.4: seven bits, or 31 with the top bit set. */
static void put_length(struct writer *w, size_t n)
{
    ASSERT(n <= INT32_MAX);
    if (n < 128) {
        writer_put(w, (const char[]){(char)n}, 1);
        return;
    }
    const unsigned char b[4] = {(unsigned char)(n >> 24 | 0x80), (unsigned char)(n >> 16 & 255),
                                (unsigned char)(n >> 8 & 255), (unsigned char)(n & 255)};
    writer_put(w, (const char *)b, sizeof b);
}

void fcgi_put_param(struct writer *w, struct str name, struct str value)
{
    put_length(w, name.n);
    put_length(w, value.n);
    writer_str(w, name);
    writer_str(w, value);
}

size_t fcgi_param_bytes(struct str name, struct str value)
{
    return length_bytes(name.n) + length_bytes(value.n) + name.n + value.n;
}

void fcgi_put_params(struct writer *w, struct str params)
{
    while (params.n) {
        size_t n = params.n < FCGI_RECORD_MAX ? params.n : FCGI_RECORD_MAX;
        fcgi_put_header(w, FCGI_PARAMS, (uint16_t)n);
        writer_put(w, params.p, n);
        params = str_make(params.p + n, params.n - n);
    }
    fcgi_put_header(w, FCGI_PARAMS, 0);
}

static size_t fail(struct fcgi_event *ev, size_t used, const char *error)
{
    ev->kind = FCGI_EVENT_ERROR;
    ev->error = error;
    return used;
}

/* What is wrong with a complete record header, or NULL (F7). */
static const char *header_fault(const uint8_t *h)
{
    if (h[0] != FCGI_VERSION)
        return "unknown FastCGI version";
    if (h[2] != 0 || h[3] != FCGI_REQUEST_ID)
        return "record of another request";
    if (h[1] != FCGI_STDOUT && h[1] != FCGI_STDERR && h[1] != FCGI_END_REQUEST)
        return "unexpected record type";
    if (h[1] == FCGI_END_REQUEST && (h[4] != 0 || h[5] != END_BODY_BYTES))
        return "END_REQUEST of a wrong length";
    return NULL;
}

/* Bytes copied from p into a part of `want` bytes that has *io_len already. */
static size_t collect(uint8_t *part, uint8_t *io_len, size_t want, const char *p, size_t n)
{
    size_t take = want - *io_len < n ? want - *io_len : n;
    if (take)
        memcpy(part + *io_len, p, take);
    *io_len = (uint8_t)(*io_len + take);
    return take;
}

static void open_record(struct fcgi_decoder *d)
{
    d->type = d->header[1];
    d->content_left = (uint32_t)d->header[4] << 8 | d->header[5];
    d->padding_left = d->header[6];
    d->header_len = d->end_len = 0;
    d->in_record = true;
    d->ended = false;
}

/* Content of the record at p; true when an event is complete. */
static bool take_content(struct fcgi_decoder *d, const char *p, size_t n, size_t *io_used,
                         struct fcgi_event *ev)
{
    size_t take = d->content_left < n ? d->content_left : n;
    if (d->type == FCGI_END_REQUEST)
        take = collect(d->end_body, &d->end_len, END_BODY_BYTES, p, n);
    d->content_left -= (uint32_t)take;
    *io_used += take;
    if (d->type == FCGI_END_REQUEST || take == 0)
        return false;
    ev->kind = d->type == FCGI_STDOUT ? FCGI_EVENT_STDOUT : FCGI_EVENT_STDERR;
    ev->data = str_make(p, take);
    return true;
}

static void close_record(struct fcgi_decoder *d, struct fcgi_event *ev)
{
    d->in_record = false;
    if (d->type != FCGI_END_REQUEST)
        return;
    const uint8_t *b = d->end_body;
    d->ended = true;
    ev->kind = FCGI_EVENT_END;
    ev->app_status = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    ev->protocol_status = b[4];
}

size_t fcgi_decode(struct fcgi_decoder *d, const char *p, size_t n, struct fcgi_event *out_event)
{
    size_t used = 0;
    *out_event = (struct fcgi_event){.kind = FCGI_EVENT_MORE};
    for (;;) {
        if (!d->in_record) {
            used += collect(d->header, &d->header_len, FCGI_HEADER_BYTES, p + used, n - used);
            if (d->header_len < FCGI_HEADER_BYTES)
                return used;
            const char *fault = header_fault(d->header);
            if (fault)
                return fail(out_event, used, fault);
            open_record(d);
        }
        if (d->content_left && take_content(d, p + used, n - used, &used, out_event))
            return used;
        if (d->content_left)
            return used;
        size_t skip = d->padding_left < n - used ? d->padding_left : n - used;
        d->padding_left -= (uint32_t)skip;
        used += skip;
        if (d->padding_left)
            return used;
        close_record(d, out_event);
        if (out_event->kind == FCGI_EVENT_END)
            return used;
    }
}
