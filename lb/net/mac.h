/* mac: keyed hashes (HMAC-SHA256, RFC 2104), for what only we may be able to make. Pure; any thread. */
#ifndef COX_NET_MAC_H
#define COX_NET_MAC_H

#include <stdbool.h>

#include "base/str.h"

#define MAC_BYTES 32

/* False when the library fails, for want of memory; the output must not be used then. */
bool mac_make(struct str key, struct str text, unsigned char out[MAC_BYTES])
    __attribute__((warn_unused_result));

#endif
