/* basic: what a client says about itself in Authorization: Basic (RFC 7617). Pure. */
#ifndef COX_HTTP_BASIC_H
#define COX_HTTP_BASIC_H

#include <stdbool.h>

#include "base/str.h"

/* Longest "user:password"; more is malformed. crypt(3) takes no more of a password anyway. */
#define BASIC_BYTES_MAX 512

/* Decodes the value of an Authorization field into `to`; user and password point into it, each with a NUL
 * behind. False when it is another scheme, broken base64, without a colon, or holds control bytes. */
bool basic_parse(struct str value, char to[BASIC_BYTES_MAX + 1], struct str *out_user,
                 struct str *out_password) __attribute__((warn_unused_result));

#endif
