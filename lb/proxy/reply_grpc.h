/* reply_grpc: our own failures as gRPC wants to hear them: HTTP status 200, and a grpc-status in the head,
 * which is all of the answer. Its libraries look for that status, and guess when there is none. */
#ifndef COX_PROXY_REPLY_GRPC_H
#define COX_PROXY_REPLY_GRPC_H

#include "proxy/exchange.h"

/* The request is a call of gRPC. */
bool reply_is_grpc(const struct exchange *x);
/* Answers by x->reason and what its status would have been, and ends the exchange. */
void reply_grpc(struct exchange *x, uint16_t status);

#endif
