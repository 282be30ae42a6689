/* back_h2_tunnel: between "Upgrade: websocket" of HTTP/1.1 (RFC 6455) and the extended CONNECT of HTTP/2 (RFC
 * 8441).
 *
 * Exchanges know tunnels in the form of HTTP/1.1: a GET with Upgrade that is answered by 101. A server that
 * announces SETTINGS_ENABLE_CONNECT_PROTOCOL is sent a CONNECT with :protocol instead, and its 2xx becomes a
 * 101. To a server that does not, the request goes without its wish: it may be ignored (RFC 9110 7.8). */
#ifndef COX_PROXY_BACK_H2_TUNNEL_H
#define COX_PROXY_BACK_H2_TUNNEL_H

#include "proxy/exchange.h"

/* The client wants a WebSocket, and may have one. */
bool h2_tunnel_is_wanted(const struct exchange *x);
/* Turns a 2xx into the 101 that the client of HTTP/1.1 waits for. False: memory is out. */
bool h2_tunnel_answer(struct exchange *x, struct message *m) __attribute__((warn_unused_result));

#endif
