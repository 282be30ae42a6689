/* addr: one socket address, parsed once. IPv4, IPv6, unix. Plain value, copied freely. */
#ifndef COX_NET_ADDR_H
#define COX_NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/str.h"

struct addr {
    socklen_t len;
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    };
};

/* "127.0.0.1:80", "[::1]:80", "unix:/path"; no names (those are resolved elsewhere). False when it is none.
 */
bool addr_parse(struct str text, struct addr *out_addr) __attribute__((warn_unused_result));
/* Text with port; at most ADDR_TEXT_BYTES with its NUL; returns the length. */
#define ADDR_TEXT_BYTES 128
size_t addr_print(const struct addr *a, char *to);
/* Address alone without port or brackets ("127.0.0.1", "::1", "unix"). v4-mapped IPv6 prints as IPv4. */
size_t addr_print_ip(const struct addr *a, char *to);
uint16_t addr_port(const struct addr *a);
/* 16 bytes in network order, IPv4 as v4-mapped; false for unix sockets. */
bool addr_ip16(const struct addr *a, uint8_t out_ip[16]);
bool addr_eq(const struct addr *a, const struct addr *b);

#endif
