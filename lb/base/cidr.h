/* cidr: sets of IPv4 and IPv6 networks, for "is this peer trusted". Immutable once filled; any thread may
 * ask. */
#ifndef COX_BASE_CIDR_H
#define COX_BASE_CIDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct cidr {
    uint8_t net[16]; /* IPv4 as v4-mapped */
    uint8_t bits;    /* of 128 */
};

struct cidr_list {
    struct cidr *nets; /* owned, heap */
    size_t count;
};

/* "10.0.0.0/8", "::1", "fd00::/8"; host bits beyond the prefix are an error. */
bool cidr_parse(struct str text, struct cidr *out_net) __attribute__((warn_unused_result));
/* ip: 16 bytes in network order, IPv4 as v4-mapped. */
bool cidr_list_has(const struct cidr_list *list, const uint8_t ip[16]);
/* Text of an address to 16 bytes; brackets of IPv6 allowed. */
bool cidr_ip_parse(struct str text, uint8_t out_ip[16]) __attribute__((warn_unused_result));

#endif
