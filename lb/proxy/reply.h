/* reply: answers that the proxy makes itself: errors, refusals. A short text, no-store, and for 503
 * Retry-After; a gRPC call gets its status. */
#ifndef COX_PROXY_REPLY_H
#define COX_PROXY_REPLY_H

#include "http/h1_write.h"
#include "proxy/exchange.h"

/* Sends a whole answer with this status and ends the exchange (at once, or when the client has read it). */
void reply_send(struct exchange *x, uint16_t status);
/* The same with a text of our own instead of the status (literal). */
void reply_text(struct exchange *x, uint16_t status, struct str text);
/* The same with everything that a page may have. */
struct reply_page {
    uint16_t status;
    struct str content_type, location; /* empty: none */
    struct str body;                   /* borrowed for the call */
};
void reply_page(struct exchange *x, const struct reply_page *page);
/* /healthz and /readyz of a listener that answers them. False: it is neither, and was not answered. */
bool reply_probe(struct exchange *x);
/* Appends a field to a message whose text lies in the arena block `w`; for answers made here. */
void reply_field(struct message *m, struct writer *w, struct str name, struct str value);

/* Takes X-Coxswain-Reason out of a server's answer: with reason_header on it is ours alone. */
void reply_hide_reason(struct message *m);

#endif
