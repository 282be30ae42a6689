/* reason: why an exchange, a connection or an attempt ended. One table for all of it: the id stands in the
 * access log and the metrics, the text in the error log and the manual, the status is what the client is
 * sent.
 *
 * REASON(symbol, id, status, text). status 0: nothing can be sent, the connection is closed. */
#ifndef COX_BASE_REASON_H
#define COX_BASE_REASON_H

#include <stdint.h>

#include "base/str.h"

#define REASON_TABLE(REASON)                                                                                 \
    REASON(OK, "-", 0, "ended well")                                                                         \
    /* the client's fault: malformed input */                                                                \
    REASON(REQUEST_LINE, "request_line", 400, "malformed request line")                                      \
    REASON(VERSION, "version", 505, "HTTP major version not supported")                                      \
    REASON(FIELD_NAME, "field_name", 400, "malformed field name")                                            \
    REASON(FIELD_VALUE, "field_value", 400, "control character in a field value")                            \
    REASON(FIELD_FOLD, "field_fold", 400, "folded field line")                                               \
    REASON(LINE_END, "line_end", 400, "bare CR or LF where CRLF is required")                                \
    REASON(HOST, "host", 400, "missing, repeated or invalid Host")                                           \
    REASON(LENGTH, "length", 400, "invalid or contradictory Content-Length")                                 \
    REASON(LENGTH_AND_CODING, "length_and_coding", 400, "Content-Length beside Transfer-Encoding")           \
    REASON(CODING, "coding", 400, "malformed Transfer-Encoding")                                             \
    REASON(CODING_UNKNOWN, "coding_unknown", 501, "unknown transfer coding")                                 \
    REASON(CHUNK, "chunk", 400, "malformed chunked framing")                                                 \
    REASON(TRAILER, "trailer", 400, "malformed or forbidden trailer section")                                \
    REASON(TARGET, "target", 400, "invalid request target")                                                  \
    REASON(PATH, "path", 400, "ambiguous or unsafe path")                                                    \
    REASON(UPGRADE, "upgrade", 400, "upgrade with a request body")                                           \
    REASON(CONNECT_METHOD, "connect_method", 405, "CONNECT is not offered")                                  \
    REASON(METHOD, "method", 405, "method not allowed")                                                      \
    REASON(EXPECT, "expect", 417, "unknown expectation")                                                     \
    REASON(URI_LIMIT, "uri_limit", 414, "request line above its limit")                                      \
    REASON(HEAD_LIMIT, "head_limit", 431, "header section above its limit")                                  \
    REASON(BODY_LIMIT, "body_limit", 413, "request body above its limit")                                    \
    REASON(LENGTH_REQUIRED, "length_required", 411, "a length is required")                                  \
    REASON(H2_MALFORMED, "h2_malformed", 0, "malformed HTTP/2 message, stream reset")                        \
    REASON(H2_FLOOD, "h2_flood", 0, "HTTP/2 connection above a budget")                                      \
    /* the client's fault: time and connection */                                                            \
    REASON(CLIENT_HEADER_TIMEOUT, "client_header_timeout", 408, "request head took too long")                \
    REASON(CLIENT_BODY_TIMEOUT, "client_body_timeout", 408, "request body stalled or too slow")              \
    REASON(CLIENT_WRITE_TIMEOUT, "client_write_timeout", 0, "client does not read its answer")               \
    REASON(CLIENT_IDLE, "client_idle", 0, "idle client connection closed")                                   \
    REASON(CLIENT_GONE, "client_gone", 0, "client went away")                                                \
    REASON(MISDIRECTED, "misdirected", 421,                                                                  \
           "the host wants another rule for client certificates than the name in the handshake")             \
    REASON(TOO_EARLY, "too_early", 425, "sent before the handshake was over, and not safe to repeat")        \
    /* TLS with clients, in the order of enum tls_failure */                                                 \
    REASON(TLS_TIMEOUT, "tls_timeout", 0, "TLS handshake took too long")                                     \
    REASON(TLS_CLOSED, "tls_closed", 0, "client left in the middle of its TLS handshake")                    \
    REASON(TLS_NOT_TLS, "tls_not_tls", 0, "client does not speak TLS")                                       \
    REASON(TLS_VERSION, "tls_version", 0, "no TLS version in common with the client")                        \
    REASON(TLS_CIPHER, "tls_cipher", 0, "no cipher, group or signature in common with the client")           \
    REASON(TLS_ALPN, "tls_alpn", 0, "no protocol in common with the client")                                 \
    REASON(TLS_SNI, "tls_sni", 0, "no certificate for the name that the client asks for")                    \
    REASON(TLS_CERTIFICATE, "tls_certificate", 0, "the client's certificate is missing or not valid")        \
    REASON(TLS_ALERT, "tls_alert", 0, "the client refused the TLS handshake")                                \
    REASON(TLS_ABUSE, "tls_abuse", 0, "renegotiation, or too many KeyUpdates")                               \
    REASON(TLS_OTHER, "tls_other", 0, "TLS handshake failed otherwise")                                      \
    REASON(PROXY_PEER, "proxy_peer", 0, "peer not in proxy_protocol_from")                                   \
    REASON(PROXY_HEADER, "proxy_header", 0, "PROXY header missing, malformed or late")                       \
    /* routing */                                                                                            \
    REASON(NO_ROUTE, "no_route", 404, "no route for this host and path")                                     \
    REASON(ROUTE_REPLY, "route_reply", 0, "answered by its route")                                           \
    REASON(NO_CLUSTER, "no_cluster", 503, "the route's cluster does not exist")                              \
    REASON(NO_ENDPOINT, "no_endpoint", 503, "the cluster has no endpoint")                                   \
    REASON(SATURATED, "saturated", 503, "every server has max_in_flight requests")                           \
    REASON(HOLD_FULL, "hold_full", 503, "the cluster's waiting room is full")                                \
    REASON(HOLD_SHARE, "hold_share", 503, "the client has its share of the cluster's waiting room")          \
    REASON(HOLD_TIMEOUT, "hold_timeout", 503, "waited too long for an endpoint")                             \
    REASON(ASLEEP, "asleep", 503, "the cluster is asleep, and this route does not wake it")                  \
    /* guards */                                                                                             \
    REASON(MAINTENANCE, "maintenance", 503, "closed for maintenance")                                        \
    REASON(DENIED, "denied", 403, "the client's address may not pass")                                       \
    REASON(CLIENT_RATE, "client_rate", 429, "too many requests of this client")                              \
    REASON(CLIENT_IN_FLIGHT, "client_in_flight", 429, "too many requests of this client at a time")          \
    REASON(GUARD_RATE, "guard_rate", 429, "too many requests")                                               \
    REASON(GUARD_IN_FLIGHT, "guard_in_flight", 429, "too many requests at a time")                           \
    REASON(AUTH_REQUIRED, "auth_required", 401, "no user and password")                                      \
    REASON(AUTH_WRONG, "auth_wrong", 401, "unknown user or wrong password")                                  \
    REASON(AUTH_ATTEMPTS, "auth_attempts", 429, "too many passwords tried")                                  \
    REASON(AUTH_BUSY, "auth_busy", 503, "too many passwords wait to be checked")                             \
    REASON(AUTH_REFUSED, "auth_refused", 403, "the authentication server said no")                           \
    REASON(AUTH_FAILED, "auth_failed", 503, "the authentication server gave no usable answer")               \
    REASON(GUARD_UNKNOWN, "guard_unknown", 503, "a guard that this generation does not know")                \
    /* the server's fault */                                                                                 \
    REASON(CONNECT_FAILED, "connect_failed", 502, "connection to the server failed")                         \
    REASON(CONNECT_TIMEOUT, "connect_timeout", 504, "connection to the server timed out")                    \
    REASON(SERVER_CLOSED, "server_closed", 502, "server closed before its answer")                           \
    REASON(SERVER_RESET, "server_reset", 502, "server connection failed before its answer")                  \
    REASON(SERVER_HEAD, "server_head", 502, "malformed answer head")                                         \
    REASON(SERVER_HEAD_LIMIT, "server_head_limit", 502, "answer head above its limit")                       \
    REASON(SERVER_BODY, "server_body", 502, "malformed or short answer body")                                \
    REASON(SERVER_INTERIM, "server_interim", 502, "too many interim answers")                                \
    REASON(SERVER_TIMEOUT, "server_timeout", 504, "answer head took too long")                               \
    REASON(SERVER_STALL, "server_stall", 504, "server stalled in the middle of a body")                      \
    REASON(SERVER_PROTOCOL, "server_protocol", 502, "server broke its protocol")                             \
    REASON(SERVER_TLS, "server_tls", 502, "TLS handshake with the server failed")                            \
    REASON(SERVER_OVERLOADED, "server_overloaded", 503, "server says that it is overloaded")                 \
    /* tunnels, files, ourselves */                                                                          \
    REASON(TUNNEL_IDLE, "tunnel_idle", 0, "tunnel idle")                                                     \
    REASON(STREAM_IDLE, "stream_idle", 0, "neither side of an unfinished exchange said anything")            \
    REASON(FILE_NOT_FOUND, "file_not_found", 404, "no such file")                                            \
    REASON(FILE_FORBIDDEN, "file_forbidden", 403, "file not served")                                         \
    REASON(FILE_RANGE, "file_range", 416, "range not satisfiable")                                           \
    REASON(FILE_METHOD, "file_method", 405, "method not allowed on a file")                                  \
    REASON(NO_MEMORY, "no_memory", 503, "out of memory or descriptors")                                      \
    REASON(SPILL, "spill", 503, "temporary file failed or its limit was reached")                            \
    REASON(SHUTDOWN, "shutdown", 0, "draining, connection closed")                                           \
    REASON(RETRY, "retry", 0, "attempt given up, tried again elsewhere")                                     \
    REASON(INTERNAL, "internal", 500, "internal error")

enum reason {
#define REASON_ENUM(symbol, id, status, text) REASON_##symbol,
    REASON_TABLE(REASON_ENUM)
#undef REASON_ENUM
        REASON_COUNT
};

/* Short word for logs and metrics; "-" when all went well. */
const char *reason_id(enum reason reason);
/* The same as bytes and length. */
struct str reason_name(enum reason reason);
const char *reason_text(enum reason reason);
/* Status of the locally made reply, 0 when none is sent. */
uint16_t reason_status(enum reason reason);

#endif
