/* verified: which passwords were right a while ago, as keyed hashes (HMAC-SHA256 under a key of this worker
 * that is made at start and never leaves it). A fixed table of small sets: a full set forgets its oldest. One
 * worker's. */
#ifndef COX_PROXY_VERIFIED_H
#define COX_PROXY_VERIFIED_H

#include <stdbool.h>
#include <stdint.h>

#include "net/mac.h"

#define VERIFIED_SETS  1024
#define VERIFIED_A_SET 4

struct verified;

/* NULL when memory or randomness is out. */
struct verified *verified_create(void) __attribute__((warn_unused_result));
void verified_destroy(struct verified **v);
/* Borrowed. */
struct str verified_key(const struct verified *v);
bool verified_has(const struct verified *v, const unsigned char mac[MAC_BYTES], uint64_t now_ms);
void verified_add(struct verified *v, const unsigned char mac[MAC_BYTES], uint64_t now_ms, uint64_t for_ms);

#endif
