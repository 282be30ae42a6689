/* tls_link: TLS on a connected non-blocking socket without a worker, for what asks now and then (health
 * probes).
 *
 * The caller waits for the socket: each call says what it needs next. One thread; owns nothing but its
 * memory, the socket stays the caller's and must outlive it. */
#ifndef COX_NET_TLS_LINK_H
#define COX_NET_TLS_LINK_H

#include <sys/types.h>

#include "net/tls.h"

enum tls_link_step { TLS_LINK_DONE, TLS_LINK_WANT_READ, TLS_LINK_WANT_WRITE, TLS_LINK_FAILED };

struct tls_link;

/* Of a socket that is connected to `to`; keeps a reference to tc. Offers HTTP/2 or HTTP/1.1. NULL when memory
 * is out. */
struct tls_link *tls_link_create(struct tls_client *tc, int fd, const struct addr *to, bool is_h2)
    __attribute__((warn_unused_result));
/* Says goodbye if there is room for it. */
void tls_link_destroy(struct tls_link **l);
/* Again and again until it is DONE. */
enum tls_link_step tls_link_handshake(struct tls_link *l);
/* Bytes, 0 at the end of the stream (read only), CONN_AGAIN, CONN_ERROR. A bare FIN is an error. */
ssize_t tls_link_read(struct tls_link *l, void *to, size_t n);
ssize_t tls_link_write(struct tls_link *l, const void *from, size_t n);
/* After a failure, in words; constant. */
const char *tls_link_why(const struct tls_link *l);

#endif
