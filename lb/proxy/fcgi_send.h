/* fcgi_send: the sending half of the FastCGI back, on an uplink that back_fcgi.c has taken.
 *
 * Nothing here reports to the exchange: a write that fails is noted in the uplink, and its read side, which
 * may still find an answer, says so (H29). Worker's thread. */
#ifndef COX_PROXY_FCGI_SEND_H
#define COX_PROXY_FCGI_SEND_H

#include "net/addr.h"
#include "proxy/fcgi_params.h"
#include "proxy/uplink.h"

/* A request as the script will see it, and the texts that it borrows. */
struct fcgi_build {
    struct fcgi_request r;
    char server_ip[ADDR_TEXT_BYTES];
    char length[20];
};

/* REASON_OK, REASON_PATH, REASON_NO_MEMORY. Texts are in b, the exchange's arena and its request. */
enum reason fcgi_describe(struct exchange *x, struct fcgi_build *b) __attribute__((warn_unused_result));
/* BEGIN_REQUEST and PARAMS: corked, or when they are large sent. False when memory is out. */
bool fcgi_send_head(struct uplink *u, const struct fcgi_request *r) __attribute__((warn_unused_result));
/* STDIN records; with the end of the stream behind them when this is the last. */
void fcgi_send_body(struct uplink *u, const char *p, size_t n, bool last);
/* The end of STDIN, if it was not sent yet, and all that is corked. */
void fcgi_send_end(struct uplink *u);
/* The uplink takes no more; its read side goes on. */
void fcgi_write_failed(struct uplink *u);

#endif
