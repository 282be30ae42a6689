/* websocket: the one sum that the opening handshake of RFC 6455 asks of a server. A proxy has to make it when
 * its server speaks HTTP/2, where nobody sends it (RFC 8441 5.1). Pure. */
#ifndef COX_HTTP_WEBSOCKET_H
#define COX_HTTP_WEBSOCKET_H

#include "base/str.h"

#define WEBSOCKET_ACCEPT_BYTES 28

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 4.2.2), without a final NUL. */
void websocket_accept(struct str key, char to[WEBSOCKET_ACCEPT_BYTES]);

#endif
