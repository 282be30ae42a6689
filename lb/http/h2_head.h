/* h2_head: the fields that HPACK decoded, one by one, become a struct message: checked, bounded, and laid out
 * as HTTP/1 lines.
 *
 *   init ─► field, field, … (as decoded) ─► request_done | response_done | trailers_done
 *
 * Text grows in the arena given ("name: value CRLF", names in lower case as they came), so that h1_write
 * copies runs of lines and every rule that knows a message from HTTP/1 works on it; so does the array of
 * fields, up to limits.fields. A head holds what it is long and no former copies of itself. Serves both
 * sides: requests of clients and answers of servers, and the trailers of both. Strict by itself, whatever the
 * frame library has looked at before (T7 to T11): upper case, connection-specific fields, pseudo-header
 * fields that are unknown, repeated, late or not of this kind, white space at the ends of a value, and
 * control bytes are malformed (RFC 9113 8.1.1, 8.2, 8.3).
 *
 * After the first fault nothing is stored any more, but counting goes on, because the block must be decoded
 * to its end for the sake of the connection: h2_head_is_bomb says when that has to end, too (T4). Embedded
 * beside its stream; the message and the arena are borrowed. Pure. */
#ifndef COX_HTTP_H2_HEAD_H
#define COX_HTTP_H2_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/reason.h"
#include "http/message.h"

/* What the decoded size of a field counts beside its bytes (RFC 9113 6.5.2). */
#define H2_FIELD_OVERHEAD 32u
/* A block may be so many times its limits before decoding it is no longer worth the connection. */
#define H2_BOMB_FACTOR 4u

enum h2_head_kind { H2_HEAD_REQUEST, H2_HEAD_RESPONSE, H2_HEAD_TRAILERS };

struct h2_head_limits {
    uint32_t bytes;      /* names, values and H2_FIELD_OVERHEAD for each; above: HEAD_LIMIT */
    uint32_t path_bytes; /* of :path; above: URI_LIMIT */
    uint16_t fields;     /* cookie crumbs count one by one; above: HEAD_LIMIT */
};

struct h2_head {
    struct message *m;   /* borrowed; NULL: nobody wants it, count only */
    struct arena *arena; /* borrowed */
    struct h2_head_limits limits;
    char *text; /* in the arena; = m->base */
    uint32_t len, cap;
    uint32_t bytes, seen;         /* decoded so far */
    uint8_t kind;                 /* enum h2_head_kind */
    uint8_t why;                  /* enum reason: the first fault */
    uint8_t pseudo;               /* bit per pseudo-header field that was there */
    uint8_t cookies;              /* cookie fields stored (not joined), 255: that many or more */
    bool fields_began;            /* a regular field was there: no pseudo-header field may follow */
    bool host_seen;               /* a Host field, not :authority */
    struct span scheme, protocol; /* of a request; len 0: absent */
};

/* m has been through message_init and takes the fields; both may be NULL to discard (trailers that come when
 * nobody waits for them). */
void h2_head_init(struct h2_head *h, enum h2_head_kind kind, struct message *m, struct arena *arena,
                  const struct h2_head_limits *limits);

/* One field as decoded; the bytes are copied. The verdict is in h->why, and returned by the …_done call. */
void h2_head_field(struct h2_head *h, struct str name, struct str value);

/* The block is so far above its limits that the connection should end (ENHANCE_YOUR_CALM). */
bool h2_head_is_bomb(const struct h2_head *h);

/* The block is complete. REASON_OK: m is complete and checked as h1_parse_request leaves it: version 20,
 * framing is BODY_NONE (end_stream), BODY_LENGTH or BODY_STREAM, authority from :authority or Host (both must
 * agree; it stands among the fields as Host), cookie crumbs joined (RFC 9113 8.2.3). A request with :protocol
 * (RFC 8441) has METHOD_CONNECT, h->protocol and a path. REASON_H2_MALFORMED is a stream error; all other
 * reasons can be answered. */
enum reason h2_head_request_done(struct h2_head *h, bool end_stream) __attribute__((warn_unused_result));
/* Turns a request with :protocol, as request_done left it, into the one that asks an HTTP/1.1 server for the
 * same (RFC 8441 5, RFC 6455 4.1): GET with Upgrade and a Sec-WebSocket-Key of `key`, 24 bytes of base64 that
 * nobody can guess; one that the client sent is left out. False when a limit or memory is out. */
bool h2_head_as_upgrade(struct h2_head *h, struct str key) __attribute__((warn_unused_result));
/* The same for an answer to a request with that method; 1xx heads come alone. Faults are REASON_SERVER_HEAD
 * (101 among them: RFC 9113 8.6) and REASON_SERVER_HEAD_LIMIT. */
enum reason h2_head_response_done(struct h2_head *h, enum http_method request_method, bool end_stream)
    __attribute__((warn_unused_result));
/* The same for trailers: REASON_H2_MALFORMED or REASON_HEAD_LIMIT. What may be passed on of them is for
 * rules_trailer_allowed to say. */
enum reason h2_head_trailers_done(struct h2_head *h) __attribute__((warn_unused_result));

#endif
