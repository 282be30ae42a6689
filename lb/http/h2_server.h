/* h2_server: the server's half of one HTTP/2 connection (RFC 9113): frames in, events out; heads and bodies
 * in, frames out. No socket, no clock: the front brings both. nghttp2 does the framing, HPACK, the stream
 * states and the order of sending (RFC 9218); what it lacks against hostile clients is here (rows T1 to T6,
 * T17).
 *
 *   bytes ─► h2_server_recv ─► ops.open ─► ops.request ─► ops.data … ─► ops.end          ops.gone
 *   h2_server_respond ─► (h2_server_resume ─► ops.available ─► ops.pull …) ─► ops.sent_end ─► ops.gone
 *   h2_server_send ─► ops.emit
 *
 * Output is made by h2_server_send alone, at the top of a callback of the front, never from within an event.
 * While a stream's body waits (ops.available said 0) it must be resumed. Events may end streams and submit
 * heads, and nothing else happens from within them.
 *
 * Streams are the front's objects with a struct h2_stream in them: made in ops.open, forgotten here after
 * ops.gone, which every opened stream sees exactly once, or never when the connection is destroyed first.
 * Owned by its session; one thread. */
#ifndef COX_HTTP_H2_SERVER_H
#define COX_HTTP_H2_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/reason.h"
#include "http/h2_head.h"
#include "http/message.h"

struct h2_server;
struct h2_nv;

/* All that a client can make grow. */
struct h2_server_limits {
    struct h2_head_limits head;
    uint32_t streams;                     /* open at a time */
    uint32_t stream_window;               /* bytes of a request body that may wait for its server */
    uint32_t connection_window;           /* the same for all streams together */
    uint32_t reset_burst, reset_rate;     /* streams reset by the client, or by us for its faults (T1, T2) */
    uint32_t control_burst, control_rate; /* frames that carry nothing (T5) */
    uint32_t continuations;               /* CONTINUATION frames of one field block (T3) */
    uint32_t queued_frames; /* answers to control frames and resets that wait to be sent (T17) */
    bool extended_connect;  /* RFC 8441 is offered */
};

struct h2_stream {
    int32_t id;
    bool closed;       /* nothing can be sent any more */
    bool remote_ended; /* the request is complete */
    bool responded;    /* a final head was submitted */
    bool has_body;     /* and a body follows it */
    bool deferred;     /* ops.available said 0 */
    bool end_sent;     /* END_STREAM was sent */
    uint8_t why;       /* enum reason: set when we reset it for the client's fault */
    uint32_t unread;   /* bytes of the body that were not taken yet: see h2_server_consumed */
};

/* What is there to send of a body. */
struct h2_available {
    size_t bytes;
    bool last;                      /* nothing follows these bytes but trailers */
    const struct message *trailers; /* with `last`; NULL: none */
};

/* What is worth counting and the front would not see. A GOAWAY counts once a connection. */
enum h2_count {
    H2_RESET_RECEIVED,
    H2_RESET_SENT,
    H2_GOAWAY_DONE,
    H2_GOAWAY_FLOOD,
    H2_GOAWAY_MALFORMED,
    H2_GOAWAY_INTERNAL
};

struct h2_server_ops {
    /* A request begins. The front's stream, with where its head goes; NULL: refused (REFUSED_STREAM). */
    struct h2_stream *(*open)(void *ctx, struct message **out_m, struct arena **out_arena);
    /* Trailers begin: where they go. False: nobody wants them. */
    bool (*trailers)(void *ctx, struct h2_stream *st, struct message **out_m, struct arena **out_arena);
    /* The head is complete, or refused for a reason that can be answered. head->protocol: extended CONNECT.
     */
    void (*request)(void *ctx, struct h2_stream *st, enum reason why, struct h2_head *head);
    void (*data)(void *ctx, struct h2_stream *st, const char *p, size_t n);
    /* END_STREAM, unless it came with the head. */
    void (*end)(void *ctx, struct h2_stream *st, struct message *trailers);
    /* The stream is over. REASON_OK: both sides ended well; else the client reset it or it was reset. */
    void (*gone)(void *ctx, struct h2_stream *st, enum reason why);
    void (*available)(void *ctx, struct h2_stream *st, struct h2_available *out);
    /* Emit exactly n bytes of the body by h2_server_put; at most what `available` said. */
    void (*pull)(void *ctx, struct h2_stream *st, size_t n);
    /* The last frame of the answer was handed to `emit`. */
    void (*sent_end)(void *ctx, struct h2_stream *st);
    void (*emit)(void *ctx, const char *p, size_t n);
    /* May be NULL. */
    void (*count)(void *ctx, enum h2_count what);
};

/* A field that the front adds. name: a lower-case literal. */
struct h2_extra {
    struct str name, value;
};

/* nv: room for a head, and memory (h2_mem.h), shared by all connections of a worker (h2_nv_create); borrowed.
 * NULL when memory is out.
 */
struct h2_server *h2_server_create(const struct h2_server_ops *ops, void *ctx,
                                   const struct h2_server_limits *limits, struct h2_nv *nv);
void h2_server_destroy(struct h2_server **srv);
struct h2_nv *h2_nv_create(void);
/* Frees some of what lies idle in there; once a second. */
void h2_nv_trim(struct h2_nv *nv);
void h2_nv_destroy(struct h2_nv **nv);

/* Bytes from the client. False: the connection is to end, GOAWAY is queued; h2_server_why says why. */
bool h2_server_recv(struct h2_server *srv, const char *p, size_t n, uint64_t now_ms)
    __attribute__((warn_unused_result));
/* It has been idle for a while: gives back memory that stands for no stream. Done again, it is nothing. */
void h2_server_rest(struct h2_server *srv);
/* Emits frames until about `budget` bytes are out or nothing is left. False: out of memory or of order; the
 * connection is to be closed. */
bool h2_server_send(struct h2_server *srv, size_t budget) __attribute__((warn_unused_result));
bool h2_server_wants_send(const struct h2_server *srv);
/* Neither side has anything to say any more. */
bool h2_server_is_over(const struct h2_server *srv);
/* The message and arena that `open` or `trailers` gave for a head that is still coming in go now: the rest of
 * it is decoded and thrown away. */
void h2_server_forget_head(struct h2_server *srv, const struct h2_stream *st);
/* The preface and the first frame are here. */
bool h2_server_has_begun(const struct h2_server *srv);
/* The number of the field block that is not here as a whole, 0: none. */
uint32_t h2_server_block(const struct h2_server *srv);
/* By the time of its last bytes many of its streams had been reset, for few that ended well (T1, T2). */
bool h2_server_is_unruly(const struct h2_server *srv);
/* REASON_OK, H2_FLOOD or H2_MALFORMED: a budget was used up, or the connection is in error. */
enum reason h2_server_why(const struct h2_server *srv);

/* A final head. end: no body and no trailers follow. length: put content_length in. Connection-specific
 * fields are left out. False: it did not fit, or the stream has gone. */
bool h2_server_respond(struct h2_server *srv, struct h2_stream *st, const struct message *m, bool length,
                       const struct h2_extra *extra, size_t extra_count, bool end)
    __attribute__((warn_unused_result));
/* A 1xx head. */
void h2_server_interim(struct h2_server *srv, struct h2_stream *st, const struct message *m);
/* There is body to send, or its end. */
void h2_server_resume(struct h2_server *srv, struct h2_stream *st);
/* n more of the bytes that ops.data brought were passed on: the client may send as many again. */
void h2_server_consumed(struct h2_server *srv, struct h2_stream *st, uint32_t n);
/* Only within ops.pull. */
void h2_server_put(struct h2_server *srv, const char *p, size_t n);

/* Resets: why = REASON_OK: the answer is complete and the rest of the request is not wanted (RFC 9113 8.1);
 * else it is cut for that reason. */
void h2_server_reset(struct h2_server *srv, struct h2_stream *st, enum reason why);
/* Graceful end, first step: tells the client that the connection will close, while streams already on their
 * way are still taken (RFC 9113 6.8); the second follows when its PING is answered, or by the second call. */
void h2_server_shutdown(struct h2_server *srv);
/* No further stream is taken from now on. */
bool h2_server_is_shut(const struct h2_server *srv);
/* An error of the connection: GOAWAY with ENHANCE_YOUR_CALM (H2_FLOOD), NO_ERROR (REASON_OK) or
 * INTERNAL_ERROR.
 */
void h2_server_fail(struct h2_server *srv, enum reason why);
/* Can this stream send no more because the client gave it, or the connection, no window? */
bool h2_server_is_stalled(const struct h2_server *srv, const struct h2_stream *st);

#endif
