/* proxyproto_wire: numbers of the PROXY protocol, version 2. What proxyproto*.c share; nobody else includes
 * it. */
#ifndef COX_NET_PROXYPROTO_WIRE_H
#define COX_NET_PROXYPROTO_WIRE_H

/* Section 2.2: the fixed part of version 2. */
#define V2_HEAD              16
#define SIGNATURE_BYTES      12
#define PROXYPROTO_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

enum {
    FAMILY_UNSPEC = 0x00,
    FAMILY_TCP4 = 0x11,
    FAMILY_TCP6 = 0x21,
    FAMILY_UNIX = 0x31,
};

/* Section 2.2.2 ff. */
enum {
    TLV_ALPN = 0x01,
    TLV_AUTHORITY = 0x02,
    TLV_CRC32C = 0x03,
    TLV_UNIQUE_ID = 0x05,
    TLV_SSL = 0x20,
    TLV_SSL_VERSION = 0x21,
    TLV_SSL_CN = 0x22,
    TLV_SSL_CIPHER = 0x23,
};

#endif
