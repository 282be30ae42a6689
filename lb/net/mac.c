#include "net/mac.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

bool mac_make(struct str key, struct str text, unsigned char out[MAC_BYTES])
{
    unsigned len = MAC_BYTES;
    return key.n <= INT_MAX &&
           HMAC(EVP_sha256(), key.p, (int)key.n, (const unsigned char *)text.p, text.n, out, &len) &&
           len == MAC_BYTES;
}
