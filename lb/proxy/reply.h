/* reply: answers that the proxy makes itself: errors, refusals. A short text, no-store, and for 503 Retry-After. */
#ifndef COX_PROXY_REPLY_H
#define COX_PROXY_REPLY_H

#include "http/h1_write.h"
#include "proxy/exchange.h"

/* Sends a whole answer with this status and ends the exchange (at once, or when the client has read it). */
void reply_send(struct exchange *x, uint16_t status);
/* Appends a field to a message whose text lies in the arena block `w`; for answers made here. */
void reply_field(struct message *m, struct writer *w, struct str name, struct str value);

#endif
