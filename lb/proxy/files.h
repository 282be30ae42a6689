/* files: static files, served by the proxy itself.
 *
 *   exchange_start ─► files_try ─► FILES_SERVE: x->back = &back_files, the open file waits in x->back_state
 *                                  FILES_PASS: the cluster's own servers answer
 *                                  FILES_NOT_FOUND: 404
 *   exchange_response ─► files_accel: the answer of a server says X-Accel-Redirect or X-Sendfile; the file it
 * names takes the place of its body
 *
 * The open file is private to back_files.c: it lives in the arena of its exchange, so there are at most as
 * many as exchanges; its descriptor is closed when the answer is complete or back_files.abort is called,
 * whichever is first. Whoever ends an exchange with x->back_state set calls abort, also before start. Files
 * are resolved beneath a root by the kernel (files_open.h). Same thread as the exchange. */
#ifndef COX_PROXY_FILES_H
#define COX_PROXY_FILES_H

#include <stdbool.h>

#include "proxy/exchange.h"

enum files_found { FILES_SERVE, FILES_PASS, FILES_NOT_FOUND };

/* What opt->files has for this request; called at ROUTE time when opt->files.root is set or the protocol is
 * files. With FILES_SERVE x->back and x->back_state are set (the answer may also be a redirect or a 405): go
 * on with x->back->start. No endpoint is needed. */
enum files_found files_try(struct exchange *x) __attribute__((warn_unused_result));

/* Does the answer ask for a file in its place? True: the exchange went elsewhere (or was answered with an
 * error) and the back that delivered m must stop; m is dead. False: m is to be relayed as it is; the two
 * fields are marked as dropped in any case, for they are never forwarded. Call it for every answer that has
 * one of them. */
bool files_accel(struct exchange *x, struct message *m) __attribute__((warn_unused_result));

#endif
