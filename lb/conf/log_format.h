/* log_format: the layout of an access log line, compiled once when the config is read.
 *
 * A format is text with variables: "$client_ip $status"; ${status} where a letter follows, $$ for a dollar
 * sign. "combined" and "json" are formats that we bring along, "off" writes no line, and "default" is the
 * layout that lb/proxy/access.c writes without looking here. Compiling finds every fault, so that writing a
 * line (lb/proxy, access_format.c) can neither fail nor exceed its bounds: each segment knows how many bytes
 * those behind it need at least, and a text that a client chose gets what is left. Immutable; any thread. */
#ifndef COX_CONF_LOG_FORMAT_H
#define COX_CONF_LOG_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* VAR(symbol, name, kind, help). kind: TEXT is of any length and escaped, FIXED has at most LOG_FIXED_BYTES
 * of ours. */
#define LOG_VAR_TABLE(VAR)                                                                                   \
    VAR(CLIENT_IP, "client_ip", TEXT,                                                                        \
        "address of the client, behind trusted proxies the one that they name")                              \
    VAR(CLIENT_PORT, "client_port", FIXED, "port that the connection came from")                             \
    VAR(USER, "user", TEXT, "user whose password was right, or whom an external server named")               \
    VAR(LISTENER, "listener", TEXT, "name of the listener")                                                  \
    VAR(METHOD, "method", TEXT, "method of the request")                                                     \
    VAR(TARGET, "target", TEXT, "request target as it was received, query included")                         \
    VAR(PATH, "path", TEXT, "path as it was used for routing")                                               \
    VAR(QUERY, "query", TEXT, "what stands behind the question mark")                                        \
    VAR(PROTOCOL, "protocol", FIXED, "HTTP/1.0, HTTP/1.1 or HTTP/2.0")                                       \
    VAR(REQUEST, "request", TEXT, "method, target and protocol")                                             \
    VAR(SCHEME, "scheme", FIXED, "http or https")                                                            \
    VAR(HOST, "host", TEXT, "host that was asked for, with its port if one was given")                       \
    VAR(STATUS, "status", FIXED, "status that was sent, 0 if none")                                          \
    VAR(BYTES_SENT, "bytes_sent", FIXED, "bytes of the answer's body")                                       \
    VAR(BYTES_RECEIVED, "bytes_received", FIXED, "bytes of the request's body")                              \
    VAR(REFERER, "referer", TEXT, "Referer of the request")                                                  \
    VAR(USER_AGENT, "user_agent", TEXT, "User-Agent of the request")                                         \
    VAR(CLUSTER, "cluster", TEXT, "cluster that the request was routed to")                                  \
    VAR(ENDPOINT, "endpoint", TEXT, "endpoint of the last attempt")                                          \
    VAR(ATTEMPTS, "attempts", FIXED, "attempts that were begun")                                             \
    VAR(REASON, "reason", FIXED, "why it failed, an id of the table of reasons; - if all went well")         \
    VAR(HOLD_US, "hold_us", FIXED, "microseconds from the route to the choice of an endpoint")               \
    VAR(CONNECT_US, "connect_us", FIXED, "microseconds from that choice to a connection")                    \
    VAR(FIRST_BYTE_US, "first_byte_us", FIXED, "microseconds from that choice to the head of the answer")    \
    VAR(SERVER_US, "server_us", FIXED, "microseconds from that choice to the last byte of the server")       \
    VAR(TOTAL_US, "total_us", FIXED, "microseconds from the first byte of the request to the end")           \
    VAR(START_NS, "start_ns", FIXED, "monotonic clock at the first byte of the request, in nanoseconds")     \
    VAR(ROUTE_NS, "route_ns", FIXED,                                                                         \
        "the same clock when the request was routed; since then it is in flight")                            \
    VAR(END_NS, "end_ns", FIXED, "the same clock at the end")                                                \
    VAR(REQUEST_ID, "request_id", TEXT, "X-Request-Id")                                                      \
    VAR(TIME_LOCAL, "time_local", FIXED, "time of the end, as in 22/Nov/2026:16:23:22 +0000; always UTC")    \
    VAR(TIME_ISO8601, "time_iso8601", FIXED, "the same as in 2026-11-22T16:23:22.123Z")                      \
    VAR(TIME_MS, "time_ms", FIXED, "the same in milliseconds since 1970")                                    \
    VAR(WORKER, "worker", FIXED, "number of the worker")

enum log_var {
    LOG_VAR_LITERAL, /* the text of the segment itself */
    LOG_VAR_HEADER,  /* the request field that the text of the segment names, in small letters with '-' */
#define LOG_VAR_ENUM(symbol, name, kind, help) LOG_VAR_##symbol,
    LOG_VAR_TABLE(LOG_VAR_ENUM)
#undef LOG_VAR_ENUM
        LOG_VARS
};

#define LOG_FIXED_BYTES  40   /* of a variable whose values are ours */
#define LOG_FORMAT_MAX   4096 /* of the text of a format */
#define LOG_SEGMENTS_MAX 256
#define LOG_LINE_BYTES   16384                /* no line is longer */
#define LOG_RESERVED_MAX (LOG_LINE_BYTES / 2) /* what literals and fixed variables may need together */

struct log_segment {
    uint8_t var;      /* enum log_var */
    struct str text;  /* of literals and headers; borrowed from log_format.text */
    uint32_t reserve; /* bytes that the segments behind this one, and the line end, need at least */
};

struct log_format {
    struct log_segment *segments; /* owned */
    size_t count;                 /* 0: no line is written */
    bool json;                    /* escape as JSON strings want it, not as \xHH */
    char *text;                   /* owned */
};

/* Compiles text into *out, or into NULL for "default". False, with what is wrong in `message`, when it is no
 * format. */
bool log_format_create(const char *text, bool json, struct log_format **out, struct buf *message)
    __attribute__((warn_unused_result));
void log_format_destroy(struct log_format **f);

/* Rows of the manual: name and help of each variable. */
void log_format_manual(struct buf *out);

#endif
