/* compress: gzip on the way of an answer to its client.
 *
 *   back ─► exchange_response_data ─► compress_data ─► exchange_pass_data ─► front, or x->rsp_body when it is
 * full
 *
 * It stands before the pipe, so what waits for a slow client waits compressed, and back-pressure is as
 * without it: a back that may not give on gives nothing to compress. The state (x->compress) is a block of
 * pworker.compress_pool, at most max_compressions of them: taken when the head goes out, given back when the
 * exchange ends. What zlib keeps to itself is flushed at the end of the loop turn, unless the answer is
 * buffered anyway: a server that writes now and then is heard at once. Same thread as the exchange. */
#ifndef COX_PROXY_COMPRESS_H
#define COX_PROXY_COMPRESS_H

#include "proxy/exchange.h"

struct compress;

#define COMPRESS_OUT_BYTES 16384

/* Size of a block of the pool. */
size_t compress_block_bytes(void);
/* opt->compress.gzip is on: decides about this answer, changes its head, and sets x->compress if it will be
 * compressed.
 */
void compress_head(struct exchange *x, struct message *m);
/* For x->compress: payload, and with `last` the end. x may be DONE afterwards. */
void compress_data(struct exchange *x, const char *p, size_t n, bool last);
/* The end, if it did not come with the last data. has_trailers: some are still to be sent. */
void compress_end(struct exchange *x, bool has_trailers);
/* Gives the state back; harmless without one. */
void compress_fini(struct exchange *x);

#endif
