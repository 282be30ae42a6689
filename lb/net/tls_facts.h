/* tls_facts: what a TLS connection is like, for whoever tells others about it (the PROXY protocol, logs). */
#ifndef COX_NET_TLS_FACTS_H
#define COX_NET_TLS_FACTS_H

#include "net/tls.h"

#define TLS_FACTS_NAME_MAX 255

struct tls_facts {
    struct str version, cipher, sni; /* "TLSv1.3", "TLS_AES_128_GCM_SHA256", the name asked for; borrowed from
                                        the conn, empty: none */
    bool has_certificate;            /* the peer gave one, now or when the session that is resumed was made */
    bool is_resumed;
    uint32_t
        verify; /* 0: a good one; else the number of OpenSSL's complaint, 1 when there is no certificate */
    size_t name_len; /* of the certificate's common name; 0: none, or one with control characters (P5) */
    char name[TLS_FACTS_NAME_MAX];
};

/* False, and nothing is filled in, when c speaks no TLS or not yet. Worker's thread. */
bool tls_facts_read(const struct conn *c, struct tls_facts *out) __attribute__((warn_unused_result));

#endif
