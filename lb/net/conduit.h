/* conduit: a pipe of the kernel through which bytes go from one socket to another without being copied
 * (splice(2)), and the worker's few of them.
 *
 * A conduit is borrowed by a sink (sink_splice) for as long as bytes are in it: for one call when the
 * receiver takes all, else until sink_drain has emptied it. What a slow receiver holds back is in the
 * kernel's memory, at most CONDUIT_BYTES each; when all conduits of a worker are out, bytes are read and
 * written as ever. Descriptors stay open between uses. One thread. */
#ifndef COX_NET_CONDUIT_H
#define COX_NET_CONDUIT_H

#include <stddef.h>
#include <stdint.h>

#include "net/conn.h"

/* Wanted from the kernel for each; it may grant less (fs.pipe-max-size, fs.pipe-user-pages-soft). */
#define CONDUIT_BYTES (512u << 10)
/* Less than this is read and written: two calls more would cost what one copy saves. */
#define CONDUIT_WORTH_BYTES (64u << 10)

struct conduit {
    struct conduit *next;
    int in, out; /* owned; what goes into `in` comes out of `out` */
    uint32_t capacity_bytes;
};

struct conduits {
    struct conduit *free; /* owned, empty */
    uint32_t made, max;   /* max 0: none is ever made, or the kernel has none for us */
};

void conduits_init(struct conduits *all, uint32_t max);
/* All are back. */
void conduits_fini(struct conduits *all);
/* An empty one; NULL: all are out, or there are none to be had. */
struct conduit *conduit_take(struct conduits *all) __attribute__((warn_unused_result));
/* *c becomes NULL. An empty one is kept; one with bytes in it is closed, and they are lost. */
void conduit_give(struct conduits *all, struct conduit **c, bool is_empty);
/* From a plain conn into an empty conduit, at most n bytes. Returns as conn_read; CONN_AGAIN may also mean
 * that this kind of socket cannot do it: then max is 0 from now on, and may_read as it was. */
ssize_t conduit_fill(struct conduits *all, struct conduit *c, struct conn *from, size_t n);
/* Up to n bytes out to a plain conn. Returns as conn_writev. */
ssize_t conduit_empty(struct conduit *c, struct conn *to, size_t n);

#endif
