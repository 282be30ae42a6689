/* proxyproto: the header of the PROXY protocol, versions 1 and 2, read and written. It stands before
 * everything else on a connection, TLS too, and says whose connection a proxy passes on.
 *
 *   v1   PROXY TCP4 192.0.2.1 198.51.100.7 51324 443\r\n          at most 107 bytes
 *   v2   12 bytes of signature, version and command, family, length, two addresses, TLVs
 *
 * Written from the specification "The PROXY protocol, versions 1 & 2" (2020/03/05). Pure: no socket, no
 * clock; any thread. The parser is strict: what the specification does not define is malformed, because what
 * follows is believed. Texts point into the parsed bytes, or into what the writer is given. */
#ifndef COX_NET_PROXYPROTO_H
#define COX_NET_PROXYPROTO_H

#include "net/addr.h"

#define PROXYPROTO_V1_MAX        107 /* with its CRLF */
#define PROXYPROTO_V2_MAX        (16 + 65535)
#define PROXYPROTO_UNIQUE_ID_MAX 128
#define PROXYPROTO_NAME_MAX      255 /* authority, ALPN, and each text about TLS */
/* The longest that proxyproto_write makes: two unix addresses and all TLVs at their longest. */
#define PROXYPROTO_WRITE_MAX (16 + 216 + 3 * (3 + PROXYPROTO_NAME_MAX) + 8 + 3 * (3 + PROXYPROTO_NAME_MAX))

/* enum proxyproto_tls: bits of the SSL TLV's client byte. */
#define PROXYPROTO_TLS      1u /* the client came over TLS */
#define PROXYPROTO_TLS_CERT 2u /* and gave a certificate on this connection */
#define PROXYPROTO_TLS_SESS 4u /* or earlier in the same TLS session */

struct proxyproto {
    /* The connection is the sender's own (LOCAL, a health check), or the sender does not know (UNKNOWN,
     * AF_UNSPEC): the addresses of the socket hold, from and to are not set. */
    bool is_local;
    struct addr from, to; /* AF_INET, AF_INET6 or AF_UNIX, both of one family */
    /* TLVs; empty when absent. */
    struct str unique_id, authority, alpn;
    bool has_tls;                                 /* there is an SSL TLV: the next four are set */
    uint8_t tls_client;                           /* bits above */
    uint32_t tls_verify;                          /* 0: a certificate was given and is good */
    struct str tls_version, tls_cipher, tls_name; /* "TLSv1.3", the cipher, the certificate's common name */
};

/* Looks at the n bytes that came so far. Returns the length of the header (> 0), 0 when more bytes are
 * needed, -1 when it is none, or one above `max` bytes (v2; a v1 line has its own limit): *out_why (static)
 * says what is wrong with it. Bytes behind the header are not looked at. */
int proxyproto_parse(const char *p, size_t n, size_t max, struct proxyproto *out, const char **out_why)
    __attribute__((warn_unused_result));

/* Writes the header of version 1 or 2; returns its length, 0 when cap is too small or a text too long.
 * Addresses of two families are both sent as IPv6. A client at a unix socket has no address to speak of: v1
 * says UNKNOWN, v2 AF_UNSPEC. Version 1 has no TLVs. is_local: v2 says LOCAL, v1 UNKNOWN. */
size_t proxyproto_write(const struct proxyproto *h, int version, char *to, size_t cap)
    __attribute__((warn_unused_result));

/* CRC-32C (RFC 3720 appendix B.4) of p[0..n), continuing from `crc`; begin with 0. */
uint32_t proxyproto_crc32c(uint32_t crc, const void *p, size_t n);

#endif
