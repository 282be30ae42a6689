/* tls_record: records of TLS 1.3 (RFC 8446 5), sealed and opened with the ciphers of OpenSSL, but without a
 * connection of OpenSSL.
 *
 *   traffic secret ─► tls_half: one direction of a connection, its key and the number of its next record
 *   tls_kit         the contexts of ciphers; one for each worker, shared by all its connections
 *
 * A half holds no context: 13 KiB of OpenSSL become a hundred bytes. The kit remembers whose key stands in a
 * context, so that records of the same half in a row cost no key schedule.
 *
 * A half belongs to its connection, a kit to its worker; touched by the worker's thread only. Pure: no
 * socket, no clock. */
#ifndef COX_NET_TLS_RECORD_H
#define COX_NET_TLS_RECORD_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define TLS_HEAD_BYTES   5
#define TLS_TAG_BYTES    16
#define TLS_SECRET_BYTES 48 /* of SHA-384 */
/* The longest record that a peer may send, and that we send (RFC 8446 5.2). */
#define TLS_SEALED_MAX (TLS_HEAD_BYTES + 16384 + 256)
#define TLS_SEAL_BYTES (TLS_HEAD_BYTES + 16384 + 1 + TLS_TAG_BYTES)

/* What a record holds, and alerts (RFC 8446 5.1, 6). */
enum { TLS_IS_ALERT = 21, TLS_IS_HANDSHAKE = 22, TLS_IS_DATA = 23 };
enum {
    TLS_ALERT_CLOSE = 0,
    TLS_ALERT_UNEXPECTED = 10,
    TLS_ALERT_BAD_RECORD = 20,
    TLS_ALERT_OVERFLOW = 22,
    TLS_ALERT_ILLEGAL = 47,
    TLS_ALERT_DECODE = 50,
    TLS_ALERT_INTERNAL = 80,
    TLS_ALERT_CANCELED = 90
};

enum tls_suite { TLS_AES_128, TLS_AES_256, TLS_CHACHA, TLS_SUITES };

struct tls_half {
    uint64_t seq; /* of the next record */
    bool known;   /* the secret is there */
    bool keyed;   /* key and iv follow from it */
    unsigned char secret[TLS_SECRET_BYTES], key[32], iv[12];
};

struct tls_kit {
    EVP_CIPHER *ciphers[TLS_SUITES];              /* owned; NULL: not needed yet */
    EVP_CIPHER_CTX *contexts[2][TLS_SUITES];      /* owned; [0] opens, [1] seals; likewise */
    const struct tls_half *owners[2][TLS_SUITES]; /* whose key stands in it; NULL: nobody's */
};

void tls_kit_fini(struct tls_kit *kit);

/* By its number in the handshake (RFC 8446 B.4). False: a suite that is not served here. */
bool tls_suite_of(uint16_t number, enum tls_suite *out_suite);
/* Of the hash of a suite: how long its secrets are. */
size_t tls_suite_secret_bytes(enum tls_suite suite);

/* A direction begins: seq is 0. False: n is longer than any secret. */
bool tls_half_init(struct tls_half *h, const unsigned char *secret, size_t n)
    __attribute__((warn_unused_result));
/* The next generation of its secret (RFC 8446 7.2). False when memory is out: the half is of no use then. */
bool tls_half_update(struct tls_kit *kit, struct tls_half *h, enum tls_suite suite)
    __attribute__((warn_unused_result));
/* Its keys are wiped, and no context remembers it. */
void tls_half_fini(struct tls_kit *kit, struct tls_half *h, enum tls_suite suite);

/* One record of these pieces, at most 16,384 bytes in all, into out (TLS_SEAL_BYTES). Its length; 0 when
 * memory is out. */
size_t tls_seal(struct tls_kit *kit, struct tls_half *h, enum tls_suite suite, int type,
                const struct iovec *iov, int count, unsigned char *out) __attribute__((warn_unused_result));

/* How long the record that begins at p is, head included; 0: its head is not here as a whole. Negative: the
 * alert that it deserves. */
int tls_record_bytes(const unsigned char *p, size_t n);
/* Opens a whole record of n bytes; `out` has room for n - TLS_HEAD_BYTES - TLS_TAG_BYTES and does not overlap
 * it. How much it holds, its type in *out_type; negative: the alert that it deserves, and what is in `out`
 * means nothing. */
int tls_open(struct tls_kit *kit, struct tls_half *h, enum tls_suite suite, const unsigned char *record,
             size_t n, unsigned char *out, int *out_type) __attribute__((warn_unused_result));

#endif
