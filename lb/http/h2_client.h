/* h2_client: the client's half of one HTTP/2 connection (RFC 9113): bytes in, bytes out, streams in between.
 *
 *   h2_client_request ─► (stream opens) ─► h2_client_fill puts frames into a buffer of the caller
 *   h2_client_feed takes what the server sent ─► on_head, on_data, on_end ─► on_closed: the stream is
 * forgotten
 *
 * No socket and no clock: the caller says what time it is. All calls of one connection come from one thread,
 * and feed and fill never from within an `on_…`; everything else may be called from there. A stream's object
 * is the caller's; it must live until on_closed or until the whole connection is destroyed (then nothing is
 * called).
 *
 * Flow control: what arrives is taken off the connection's window at once, so that one slow reader never
 * stops the others; a stream's window is opened by h2_client_consume alone, which bounds what one stream can
 * pile up.
 *
 * What a server can do to us is bounded: size and number of fields after decoding and of CONTINUATION frames
 * (T3, T4), frames that carry nothing (T5), windows so small that we would send crumbs (T6), queued answers
 * to its frames (T17). Server push is refused (T14). */
#ifndef COX_HTTP_H2_CLIENT_H
#define COX_HTTP_H2_CLIENT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "http/h2_head.h"
#include "http/h2_mem.h"
#include "http/message.h"

struct h2_client;

/* Least room that h2_client_fill wants: one frame of the default size and its head. */
#define H2_FILL_BYTES 32768u

struct h2_client_limits {
    uint32_t head_bytes; /* of one head or of trailers, decoded */
    uint32_t stream_window, connection_window;
    uint32_t control_frames; /* a second; see h2_client.c for what earns more */
};

/* How a stream ended. */
enum h2_closed {
    H2_CLOSED_DONE,       /* both sides said their last */
    H2_CLOSED_NOT_SENT,   /* no byte of it was ever written */
    H2_CLOSED_REFUSED,    /* REFUSED_STREAM: the server did nothing */
    H2_CLOSED_GOAWAY,     /* above the last id of a GOAWAY: the server did nothing */
    H2_CLOSED_RESET,      /* by the server */
    H2_CLOSED_MALFORMED,  /* by us: the server broke the rules */
    H2_CLOSED_HEAD_LIMIT, /* by us */
    H2_CLOSED_ABANDONED   /* by h2_client_reset */
};

struct h2_client_stream {
    int32_t id;      /* 0: none yet */
    uint8_t method;  /* enum http_method of the request */
    bool sent;       /* its head was put into a fill */
    bool abandoned;  /* h2_client_reset: nothing but on_closed follows */
    bool peer_reset; /* RST_STREAM came */
    bool head_done;  /* of the final answer */
    bool ended;      /* on_end was called */
    bool end_sent;   /* END_STREAM was put into a fill */
    uint8_t fault;   /* enum reason: why we reset it, else 0 */
    /* What the request still has to send. The caller changes these and calls h2_client_resume. */
    bool out_ended;                     /* nothing follows out_bytes */
    uint32_t out_bytes;                 /* waiting in the caller's queue */
    const struct message *out_trailers; /* borrowed until end_sent; NULL: none */
};

/* Called from within feed (all) and fill (copy, on_closed). s is never an abandoned stream but in on_closed.
 */
struct h2_client_ops {
    /* A 1xx head, or the final one. m is borrowed for the call. */
    void (*on_head)(struct h2_client_stream *s, struct message *m);
    /* Payload. last: the stream ends with it; on_end follows. */
    void (*on_data)(struct h2_client_stream *s, const char *p, size_t n, bool last);
    /* The answer is complete. trailers may be NULL. */
    void (*on_end)(struct h2_client_stream *s, struct message *trailers);
    /* The last that is heard of it. Must not write anything: a buffer of fill may be half full. */
    void (*on_closed)(struct h2_client_stream *s, enum h2_closed how);
    /* Takes n of out_bytes out of the caller's queue, and off out_bytes. Must not call back. */
    void (*copy)(struct h2_client_stream *s, char *to, size_t n);
};

/* What a request says beside its fields. */
struct h2_request {
    const struct message *m;
    struct str scheme, authority, target;
    struct str own_fields;  /* field lines that the proxy adds; "Name: value\r\n" */
    struct str protocol;    /* RFC 8441: extended CONNECT with this :protocol; empty: none */
    int64_t content_length; /* -1: none is sent */
    bool has_body;          /* DATA or trailers follow */
};

/* NULL when memory is out. mem: where it has its memory from, borrowed; NULL: malloc. */
struct h2_client *h2_client_create(const struct h2_client_ops *ops, const struct h2_client_limits *limits,
                                   struct h2_mem *mem) __attribute__((warn_unused_result));
/* Not from within an `on_…`. */
void h2_client_destroy(struct h2_client **c);

/* Opens a stream. False when memory is out or ids are used up. */
bool h2_client_request(struct h2_client *c, struct h2_client_stream *s, const struct h2_request *r)
    __attribute__((warn_unused_result));
/* There is more to send. */
void h2_client_resume(struct h2_client *c, struct h2_client_stream *s);
/* Gives the stream up: RST_STREAM, unless it is over. on_closed follows, now or in a later fill. error_code:
 * 8 CANCEL, 0 NO_ERROR. */
void h2_client_reset(struct h2_client *c, struct h2_client_stream *s, uint32_t error_code);
/* n bytes of the answer have been passed on: the server may send as many again. */
void h2_client_consume(struct h2_client *c, struct h2_client_stream *s, size_t n);

/* What the server sent. False: the connection is beyond repair (h2_client_fill may still have a GOAWAY to say
 * so). */
bool h2_client_feed(struct h2_client *c, const char *p, size_t n, uint64_t now_ms)
    __attribute__((warn_unused_result));
/* Puts frames into to[0..room), room at least H2_FILL_BYTES; returns how many bytes, 0: there is nothing to
 * send, < 0: beyond repair. */
ssize_t h2_client_fill(struct h2_client *c, char *to, size_t room);
bool h2_client_wants_write(const struct h2_client *c);

void h2_client_ping(struct h2_client *c);
/* No more streams will be opened. */
void h2_client_goaway(struct h2_client *c);

/* SETTINGS arrived. */
bool h2_client_is_ready(const struct h2_client *c);
/* The server takes no new streams (GOAWAY), or ids are used up. */
bool h2_client_is_leaving(const struct h2_client *c);
/* Most streams that the server wants at a time; 0 may be meant. UINT32_MAX: it did not say. */
uint32_t h2_client_max_streams(const struct h2_client *c);
/* RFC 8441 3: it understands extended CONNECT. */
bool h2_client_has_connect(const struct h2_client *c);
/* Why feed or fill said no: literal text. */
const char *h2_client_trouble(const struct h2_client *c);

#endif
