/* h1_check: what the fields of a parsed HTTP/1.x head mean for its framing, its connection and its host.
 *
 * h1_parse cuts a head into fields; this decides about them (RFC 9112 6 and 9, RFC 9110 7.2, 7.8, 10.1.1) and
 * fills framing, content_length, flags and authority. Rows H1 to H5, H15 to H17, H21 to H24. Pure. */
#ifndef COX_HTTP_H1_CHECK_H
#define COX_HTTP_H1_CHECK_H

#include "base/reason.h"
#include "http/message.h"

/* Options of one Connection, Transfer-Encoding, TE or Upgrade field; above: malformed (H26). */
#define H1_LIST_MAX 64

/* Fields that may stand in a head once only. */
#define H1_SINGLETONS                                                                                        \
    ((1ull << FIELD_HOST) | (1ull << FIELD_CONTENT_LENGTH) | (1ull << FIELD_TRANSFER_ENCODING))

/* Fields are in place, method, version and target are known. REASON_OK or why the request is refused. */
enum reason h1_check_request(struct message *m) __attribute__((warn_unused_result));

/* Status and version are known. REASON_OK or REASON_SERVER_HEAD. */
enum reason h1_check_response(struct message *m, enum http_method request_method)
    __attribute__((warn_unused_result));

#endif
