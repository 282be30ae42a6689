/* patience: how long an exchange may stand still. Backs ask when the deadline of an attempt has passed; until
 * then they only note when something moved (moved_ms): a byte of the answer came, payload was taken by the
 * server, payload came that it is to take now, or the answer was asked for again.
 *
 * Whose turn is it?
 *   the client's  its answer waits here (client_write_timeout of the front), or it has not sent its request
 *   the server's  the request is complete, payload waits for it, or the client waits for its 100
 *   nobody's      both may speak and neither does: a conversation, bounded by stream_idle_timeout. Once the
 *                 answer of an unfinished HTTP/2 request without a length has begun, also when payload waits
 *
 * Every wait ends: what no side's own time-out watches over, stream_idle_timeout does, unless it is 0. On the
 * worker's thread; nothing here calls back. */
#ifndef COX_PROXY_PATIENCE_H
#define COX_PROXY_PATIENCE_H

#include "proxy/exchange.h"

/* An HTTP/2 stream that did not say its length, passed on as it comes: either side may rest, and that the
 * server leaves payload where it is may be its way to slow the client down. Uploads over HTTP/1.x are none,
 * chunked ones neither: no more than one of their sides speaks. For an exchange that has its back. */
bool patience_is_conversation(const struct exchange *x);
/* Before the answer's head: is it the client who keeps everybody waiting? The front's time-outs watch over
 * it. is_untaken: payload waits for the server. */
bool patience_is_clients(const struct exchange *x, bool is_untaken);
/* In the middle of the answer: milliseconds until it has to be looked at again, at most body_timeout; 0: it
 * is over, and *out_why says whose fault it is (SERVER_STALL) or that it is nobody's (STREAM_IDLE). */
uint64_t patience_left_ms(const struct exchange *x, bool is_untaken, uint64_t moved_ms, enum reason *out_why);

#endif
