/* cgi: the head of a CGI answer (RFC 3875 6), as FastCGI responders send it, made into an answer like any
 * other. Row F11 of the hostile-input table is decided here. Pure. */
#ifndef COX_HTTP_CGI_H
#define COX_HTTP_CGI_H

#include "http/h1_parse.h"

/* Called as h1_parse_response is: > 0 bytes of the head and *m complete, H1_MORE, or -REASON_SERVER_HEAD,
 * -REASON_SERVER_HEAD_LIMIT. The Status field becomes m->status and is dropped; without it 302 when there is
 * a Location, else 200. Framing: BODY_LENGTH when the script said one valid Content-Length, else BODY_STREAM;
 * BODY_NONE for 204, 304 and HEAD. Whether the connection is used again is for the record layer to know;
 * MSG_KEEP_ALIVE is set. */
int cgi_parse_head(struct h1_parser *p, const char *base, size_t len, const struct h1_limits *limits,
                   enum http_method request_method, struct message *m) __attribute__((warn_unused_result));

#endif
