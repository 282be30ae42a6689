/* h2_mem: where the HTTP/2 connections of one worker have their memory from.
 *
 * nghttp2 allocates for every stream and every head; it is given free lists by size, so that a request needs
 * no malloc once they are filled. What comes back above what a list keeps is freed.
 *
 * Besides, nghttp2 holds a buffer of 16 KiB in each connection, into which it writes the frame that it is
 * about to give out. A server's frames are taken at once (h2_server_send), so that nothing stands in there
 * between two calls: all connections of a worker are lent the same one, and an idle connection has none.
 * h2_client keeps frames back, and has its own. That nghttp2 works like this is checked by
 * tests/unit/http/test_h2_mem.c with the version at hand.
 *
 * Owned by its worker, touched by its thread only; outlives its connections. */
#ifndef COX_HTTP_H2_MEM_H
#define COX_HTTP_H2_MEM_H

#include <stdbool.h>
#include <stdint.h>

struct h2_mem;

/* NULL when memory is out. */
struct h2_mem *h2_mem_create(void) __attribute__((warn_unused_result));
void h2_mem_destroy(struct h2_mem **mem);

/* Frees an eighth of what lies in the lists; once a second, as pool_trim (base/pool.h). */
void h2_mem_trim(struct h2_mem *mem);

/* Blocks taken and not given back; for tests. */
uint32_t h2_mem_taken(const struct h2_mem *mem);

#endif
