/* uri: percent-encoding of a path (RFC 3986 2.1). Pure. */
#ifndef COX_HTTP_URI_H
#define COX_HTTP_URI_H

#include <stdbool.h>

#include "base/str.h"
#include "http/h1_write.h"

/* The octet that "%XX" at p stands for, or -1 when those are no two hex digits; n bytes may be read. */
int uri_escape(const char *p, size_t n);

/* Appends the path with every escape decoded once. False when an escape is broken or decodes to a control
 * byte (NUL, CR, LF and the rest: no file name and no CGI variable shall hold one, F1), or when w overflowed.
 */
bool uri_decode(struct str path, struct writer *w) __attribute__((warn_unused_result));

#endif
