/* h1_write: puts heads and chunk framing on the wire.
 *
 * Writers append to a bounded run of bytes the caller lends; when it is too small they say so and the caller
 * answers for it (a head grows only by our own few fields, so 4 KiB above the input is always enough). Every
 * value that is not the peer's own checked text is validated here once more (H36). Pure. */
#ifndef COX_HTTP_H1_WRITE_H
#define COX_HTTP_H1_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "http/message.h"

/* A run of lent bytes. Once something did not fit, `overflow` stays set and nothing more is written. */
struct writer {
    char *p;
    size_t len, cap;
    bool overflow;
};

static inline void writer_init(struct writer *w, char *p, size_t cap)
{
    *w = (struct writer){.p = p, .cap = cap};
}

static inline void writer_put(struct writer *w, const char *p, size_t n)
{
    if (w->overflow || n > w->cap - w->len) {
        w->overflow = true;
        return;
    }
    if (n)
        memcpy(w->p + w->len, p, n);
    w->len += n;
}

static inline void writer_str(struct writer *w, struct str s)
{
    writer_put(w, s.p, s.n);
}
void writer_u64(struct writer *w, uint64_t v);
/* "Name: value\r\n" */
void writer_field(struct writer *w, struct str name, struct str value);

/* The fields that are not dropped, as they came. Content-Length, Transfer-Encoding, Connection, Keep-Alive,
 * Proxy-Connection, TE, Trailer and Upgrade are never written from here: h1_write_framing makes our own. */
void h1_write_fields(struct writer *w, const struct message *m);

/* "METHOD target HTTP/1.1\r\n" and "Host: authority\r\n". target: the normalised path and query. */
void h1_write_request_line(struct writer *w, const struct message *m, struct str target,
                           struct str authority);
/* "HTTP/1.1 200 OK\r\n"; the reason phrase of the RFC when m has none. */
void h1_write_status_line(struct writer *w, const struct message *m);

/* Request line, Host and fields, as the three above write them, in as few copies as the head that came
 * allows. target and authority may be parts of m. */
void h1_write_request_head(struct writer *w, const struct message *m, struct str target,
                           struct str authority);
/* Status line and fields. keep_length: the answer goes on with the length that it came with; true is returned
 * when its Content-Length was written already, and h1_write_framing must not write it again. */
bool h1_write_response_head(struct writer *w, const struct message *m, bool keep_length);

/* Content-Length or Transfer-Encoding as `framing` asks, then nothing else. */
void h1_write_framing(struct writer *w, enum body_framing framing, uint64_t content_length);

/* "0\r\n", those trailers that may be passed on (RFC 9110 6.5.1; NULL: none), and the empty line. */
void h1_write_last_chunk(struct writer *w, const struct message *trailers);

/* The chunk-size line of a chunk of n bytes, at most 18 bytes; returns its length. */
size_t h1_chunk_head(char *to, uint64_t n);

/* Reason phrase of a status code, "Unknown" when there is none. */
struct str status_phrase(uint16_t status);

#endif
