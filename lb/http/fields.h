/* fields: the field names that the proxy itself must understand, and a perfect look-up from bytes to id.
 *
 * FIELD(symbol, "Canonical-Name"). Every other name is FIELD_OTHER and passes through untouched.
 * Pure; any thread. */
#ifndef COX_HTTP_FIELDS_H
#define COX_HTTP_FIELDS_H

#include <stdint.h>

#include "base/str.h"

#define FIELD_TABLE(FIELD)                                                                                   \
    FIELD(HOST, "Host")                                                                                      \
    FIELD(CONNECTION, "Connection")                                                                          \
    FIELD(CONTENT_LENGTH, "Content-Length")                                                                  \
    FIELD(TRANSFER_ENCODING, "Transfer-Encoding")                                                            \
    FIELD(CONTENT_TYPE, "Content-Type")                                                                      \
    FIELD(EXPECT, "Expect")                                                                                  \
    FIELD(UPGRADE, "Upgrade")                                                                                \
    FIELD(KEEP_ALIVE, "Keep-Alive")                                                                          \
    FIELD(PROXY_CONNECTION, "Proxy-Connection")                                                              \
    FIELD(PROXY_AUTHENTICATE, "Proxy-Authenticate")                                                          \
    FIELD(PROXY_AUTHORIZATION, "Proxy-Authorization")                                                        \
    FIELD(TE, "TE")                                                                                          \
    FIELD(TRAILER, "Trailer")                                                                                \
    FIELD(HTTP2_SETTINGS, "HTTP2-Settings")                                                                  \
    FIELD(VIA, "Via")                                                                                        \
    FIELD(FORWARDED, "Forwarded")                                                                            \
    FIELD(X_FORWARDED_FOR, "X-Forwarded-For")                                                                \
    FIELD(X_FORWARDED_PROTO, "X-Forwarded-Proto")                                                            \
    FIELD(X_FORWARDED_HOST, "X-Forwarded-Host")                                                              \
    FIELD(X_FORWARDED_PORT, "X-Forwarded-Port")                                                              \
    FIELD(X_REAL_IP, "X-Real-IP")                                                                            \
    FIELD(X_REQUEST_ID, "X-Request-Id")                                                                      \
    FIELD(TRACEPARENT, "Traceparent")                                                                        \
    FIELD(TRACESTATE, "Tracestate")                                                                          \
    FIELD(MAX_FORWARDS, "Max-Forwards")                                                                      \
    FIELD(AUTHORIZATION, "Authorization")                                                                    \
    FIELD(COOKIE, "Cookie")                                                                                  \
    FIELD(SET_COOKIE, "Set-Cookie")                                                                          \
    FIELD(PROXY, "Proxy")                                                                                    \
    FIELD(SERVER, "Server")                                                                                  \
    FIELD(DATE, "Date")                                                                                      \
    FIELD(LOCATION, "Location")                                                                              \
    FIELD(STATUS, "Status")                                                                                  \
    FIELD(USER_AGENT, "User-Agent")                                                                          \
    FIELD(REFERER, "Referer")                                                                                \
    FIELD(RANGE, "Range")                                                                                    \
    FIELD(IF_RANGE, "If-Range")                                                                              \
    FIELD(IF_MATCH, "If-Match")                                                                              \
    FIELD(IF_NONE_MATCH, "If-None-Match")                                                                    \
    FIELD(IF_MODIFIED_SINCE, "If-Modified-Since")                                                            \
    FIELD(IF_UNMODIFIED_SINCE, "If-Unmodified-Since")                                                        \
    FIELD(ETAG, "ETag")                                                                                      \
    FIELD(LAST_MODIFIED, "Last-Modified")                                                                    \
    FIELD(ACCEPT_RANGES, "Accept-Ranges")                                                                    \
    FIELD(CONTENT_RANGE, "Content-Range")                                                                    \
    FIELD(CONTENT_ENCODING, "Content-Encoding")                                                              \
    FIELD(X_ACCEL_REDIRECT, "X-Accel-Redirect")                                                              \
    FIELD(X_ACCEL_BUFFERING, "X-Accel-Buffering")                                                            \
    FIELD(X_SENDFILE, "X-Sendfile")                                                                          \
    FIELD(RETRY_AFTER, "Retry-After")

enum field_id {
    FIELD_OTHER = 0,
#define FIELD_ENUM(symbol, name) FIELD_##symbol,
    FIELD_TABLE(FIELD_ENUM)
#undef FIELD_ENUM
        FIELD_COUNT /* at most 64: struct message keeps a bit for each */
};

_Static_assert(FIELD_COUNT <= 64, "struct message.present is one 64-bit word");

/* Case-insensitive; FIELD_OTHER when unknown. */
enum field_id field_lookup(struct str name);
/* "Canonical-Name"; FIELD_OTHER is a bug. */
struct str field_name(enum field_id id);

#endif
