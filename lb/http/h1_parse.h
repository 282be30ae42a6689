/* h1_parse: HTTP/1.x heads, strict (RFC 9110, 9112), incremental, without copies or allocation.
 *
 * The caller owns the bytes and shows them from the start of the head every time, more of them each time; the
 * parser remembers where it was (whole lines are never parsed twice; within an unfinished line only the
 * search for its end goes on). Bytes may move between calls: everything is kept as offsets.
 *
 * One pass: a SIMD scan (SSE4.2 or AVX2 where the CPU has them, a scalar twin elsewhere and in the tests)
 * finds the next byte that is not allowed, and that byte decides. Rows H1 to H24, H31 of the hostile-input
 * table are decided here, each named in the code. Pure: no clock, no socket, never logs. */
#ifndef COX_HTTP_H1_PARSE_H
#define COX_HTTP_H1_PARSE_H

#include <stddef.h>
#include <stdint.h>

#include "base/reason.h"
#include "http/message.h"

struct h1_limits {
    uint32_t line_bytes;  /* request line; above: REASON_URI_LIMIT */
    uint32_t head_bytes;  /* whole head; above: REASON_HEAD_LIMIT */
    uint16_t field_count; /* above: REASON_HEAD_LIMIT */
};

/* Zeroed before each head. */
struct h1_parser {
    uint32_t at;      /* start of the line that is not parsed yet */
    uint32_t scanned; /* up to here that line is known to hold no line end */
    uint8_t state;    /* private */
};

/* Need more bytes. */
#define H1_MORE 0

/* > 0: bytes of the head, and *m is complete and checked. H1_MORE: call again with more.
 * < 0: -(enum reason). message_init(m) before the first call; m->base is set on every call.
 * Empty lines (CRLF) before the request line are skipped and count as head bytes (RFC 9112 2.2). */
int h1_parse_request(struct h1_parser *p, const char *base, size_t len, const struct h1_limits *limits,
                     struct message *m) __attribute__((warn_unused_result));

/* The same for an answer to a request with this method: it decides about the body (RFC 9112 6.3).
 * Malformed input is -REASON_SERVER_HEAD, above a limit -REASON_SERVER_HEAD_LIMIT. Status 1xx is returned as
 * a message of its own, with BODY_NONE; the caller parses the next head behind it. */
int h1_parse_response(struct h1_parser *p, const char *base, size_t len, const struct h1_limits *limits,
                      enum http_method request_method, struct message *m) __attribute__((warn_unused_result));

/* A header section alone, up to and with the empty line: trailers (RFC 9112 7.1.2) and CGI heads (RFC 3875
 * 6.3, where bare LF line ends are allowed when `cgi`). Framing and routing fields are not looked at. Errors
 * as those of a request. */
int h1_parse_fields(struct h1_parser *p, const char *base, size_t len, const struct h1_limits *limits,
                    bool cgi, struct message *m) __attribute__((warn_unused_result));

#endif
