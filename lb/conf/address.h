/* address: is a text of the config the address of a socket, or a host name with a port? lb/net/addr.h parses
 * addresses again where they are used. Pure. */
#ifndef COX_CONF_ADDRESS_H
#define COX_CONF_ADDRESS_H

#include "base/str.h"

/* "10.0.0.1:80", "[::1]:80" or "unix:/path". */
bool address_is_valid(struct str text);
/* "app.internal:80": a host name (RFC 1123, and '_' as services have it) of 253 bytes at most, a final dot or
 * not, whose last label is no number: what looks like an IPv4 address and is none must be a mistake. */
bool address_is_name(struct str text);
/* A name server: an IP address, with or without a port. */
bool address_is_server(struct str text);

#endif
