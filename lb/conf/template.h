/* template: a text with variables of the request in it: "https://$host$uri".
 *
 * $NAME or ${NAME}; $$ is a dollar. Parsed once, when a route is made; filled in by proxy/fill.h. */
#ifndef COX_CONF_TEMPLATE_H
#define COX_CONF_TEMPLATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/* VARIABLE(symbol, name, help). Those from CLUSTER on are known only when there is an answer. */
#define TEMPLATE_TABLE(VARIABLE)                                                                             \
    VARIABLE(CLIENT_IP, "client_ip", "address of the client, after trusted proxies")                         \
    VARIABLE(CLIENT_PORT, "client_port", "port of the peer")                                                 \
    VARIABLE(SCHEME, "scheme", "http or https, as the client came")                                          \
    VARIABLE(HOST, "host", "host that was asked for, without port")                                          \
    VARIABLE(PORT, "port", "port that the client connected to")                                              \
    VARIABLE(METHOD, "method", "method of the request")                                                      \
    VARIABLE(PATH, "path", "path as it was routed by, before rewrite_prefix")                                \
    VARIABLE(REST, "rest", "that path behind the route's own: empty, or it begins with a slash")             \
    VARIABLE(QUERY, "query", "query without its question mark")                                              \
    VARIABLE(URI, "uri", "path, and query with its question mark if there is one")                           \
    VARIABLE(REQUEST_ID, "request_id", "X-Request-Id, the client's or ours")                                 \
    VARIABLE(CLUSTER, "cluster", "id of the cluster that answers")                                           \
    VARIABLE(ENDPOINT, "endpoint", "id of the endpoint that answers")

enum template_variable {
    TEMPLATE_TEXT = 0, /* none: plain text */
#define TEMPLATE_ENUM(symbol, name, help) TEMPLATE_##symbol,
    TEMPLATE_TABLE(TEMPLATE_ENUM)
#undef TEMPLATE_ENUM
};

struct template_part {
    uint8_t variable; /* enum template_variable */
    struct str text;  /* of TEMPLATE_TEXT; borrowed from the source */
};

struct template
{
    struct template_part *parts; /* owned */
    uint32_t count;
};

/* in_answer: variables of the answer are allowed. False, and what is wrong in *why (may be NULL); *out then
 * owns nothing. The source must live as long as *out. */
bool template_parse(struct str source, bool in_answer, struct template *out, struct buf *why)
    __attribute__((warn_unused_result));
void template_fini(struct template *t);

/* "Name: value" of a header change. False when the name is no token or there is no colon. */
bool field_line_parse(struct str line, struct str *out_name, struct str *out_value)
    __attribute__((warn_unused_result));
/* Whether a route may set or remove a field of this name: framing, hop-by-hop fields and Host are the
 * proxy's own business. */
bool field_name_is_settable(struct str name);

#endif
