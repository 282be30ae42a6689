/* h1_body: takes the framing off an HTTP/1.x body. Shared by the front (requests) and the back (answers).
 *
 * A pull decoder without a buffer: each step looks at the bytes the caller has and says how many it used up
 * and which of them are payload. Rows H6 to H9 of the hostile-input table are decided here. Pure. */
#ifndef COX_HTTP_H1_BODY_H
#define COX_HTTP_H1_BODY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/reason.h"
#include "base/str.h"
#include "http/message.h"

/* Extension bytes allowed in one whole body (H7). */
#define H1_CHUNK_EXT_MAX 4096

struct h1_body {
    uint64_t left;      /* payload bytes of this chunk or body still to come */
    uint32_t ext_bytes; /* extension bytes seen so far, all chunks */
    uint8_t framing;    /* enum body_framing */
    uint8_t state;      /* private */
    uint8_t digits;     /* private: hex digits of this size */
    bool done;          /* the body, with its trailer section, is complete */
    bool in_trailers;   /* next comes the trailer section: call h1_parse_fields, then h1_body_trailers_done */
};

/* For a message whose head was parsed; BODY_NONE and length 0 are done at once. */
void h1_body_init(struct h1_body *b, const struct message *m);

/* One step over p[0..n): returns the bytes used (0: nothing more can be done with these, give more), or
 * -(enum reason). *out_data is the payload among them, possibly empty, borrowed from p. At most one run of
 * payload a step; loop until it returns 0, done or in_trailers. After the last chunk `in_trailers` is set and
 * the trailer section (at least its CRLF) is left to the caller. */
ssize_t h1_body_step(struct h1_body *b, const char *p, size_t n, struct str *out_data)
    __attribute__((warn_unused_result));

/* Puts a run of payload behind another one that lies before it in the same writable buffer. */
static inline void h1_body_join(struct str *data, struct str run)
{
    if (!data->n)
        *data = run;
    else if (run.n) {
        memmove((char *)(uintptr_t)data->p + data->n, run.p, run.n);
        data->n += run.n;
    }
}

/* How much payload stands behind one another with no framing in between, from here on: 0 with chunks,
 * UINT64_MAX up to the end of the connection. Whoever takes n of it past h1_body_step says so with
 * h1_body_skip. */
static inline uint64_t h1_body_run(const struct h1_body *b)
{
    return b->framing == BODY_LENGTH ? b->left : b->framing == BODY_CLOSE && !b->done ? UINT64_MAX : 0;
}

static inline void h1_body_skip(struct h1_body *b, uint64_t n)
{
    if (b->framing != BODY_LENGTH)
        return;
    b->left -= n;
    b->done = b->left == 0;
}

/* After h1_parse_fields took the trailer section: the body is done. */
void h1_body_trailers_done(struct h1_body *b);

/* The peer closed: true when that is how this body may end (BODY_CLOSE), and it is done then. */
bool h1_body_on_eof(struct h1_body *b) __attribute__((warn_unused_result));

#endif
