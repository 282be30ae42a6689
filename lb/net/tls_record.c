#include "net/tls_record.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/panic.h"

#define NONCE_BYTES  12
#define RECORD_BYTES 16384

static const struct {
    const char *name;
    uint16_t number;
    uint8_t key_bytes, secret_bytes;
} suites[TLS_SUITES] = {
    [TLS_AES_128] = {"AES-128-GCM", 0x1301, 16, 32},
    [TLS_AES_256] = {"AES-256-GCM", 0x1302, 32, 48},
    [TLS_CHACHA] = {"ChaCha20-Poly1305", 0x1303, 32, 32},
};

bool tls_suite_of(uint16_t number, enum tls_suite *out_suite)
{
    for (int i = 0; i < TLS_SUITES; i++)
        if (suites[i].number == number) {
            *out_suite = (enum tls_suite)i;
            return true;
        }
    return false;
}

size_t tls_suite_secret_bytes(enum tls_suite suite)
{
    return suites[suite].secret_bytes;
}

void tls_kit_fini(struct tls_kit *kit)
{
    for (int i = 0; i < TLS_SUITES; i++) {
        EVP_CIPHER_CTX_free(kit->contexts[0][i]);
        EVP_CIPHER_CTX_free(kit->contexts[1][i]);
        EVP_CIPHER_free(kit->ciphers[i]);
    }
    *kit = (struct tls_kit){0};
}

/* ---- secrets ---- */

/* HKDF-Expand-Label with an empty context (RFC 8446 7.1); one block of the hash is all that is ever needed.
 */
static bool expand(const struct tls_half *h, enum tls_suite suite, const char *label, size_t n,
                   unsigned char *out)
{
    const EVP_MD *md = suites[suite].secret_bytes == 48 ? EVP_sha384() : EVP_sha256();
    unsigned char info[32], block[EVP_MAX_MD_SIZE];
    size_t len = strlen(label), at = 0;
    ASSERT(len + 11 <= sizeof info && n <= suites[suite].secret_bytes);
    info[at++] = 0;
    info[at++] = (unsigned char)n;
    info[at++] = (unsigned char)(6 + len);
    memcpy(info + at, "tls13 ", 6);
    memcpy(info + at + 6, label, len);
    at += 6 + len;
    info[at++] = 0; /* no context */
    info[at++] = 1; /* the first block */
    bool ok = HMAC(md, h->secret, suites[suite].secret_bytes, info, at, block, NULL) != NULL;
    if (ok)
        memcpy(out, block, n);
    OPENSSL_cleanse(block, sizeof block);
    return ok;
}

bool tls_half_init(struct tls_half *h, const unsigned char *secret, size_t n)
{
    if (n > sizeof h->secret)
        return false;
    *h = (struct tls_half){.known = true};
    memcpy(h->secret, secret, n);
    return true;
}

static void forget(struct tls_kit *kit, const struct tls_half *h, enum tls_suite suite)
{
    for (int i = 0; i < 2; i++)
        if (kit->owners[i][suite] == h)
            kit->owners[i][suite] = NULL;
}

void tls_half_fini(struct tls_kit *kit, struct tls_half *h, enum tls_suite suite)
{
    forget(kit, h, suite);
    OPENSSL_cleanse(h, sizeof *h);
}

bool tls_half_update(struct tls_kit *kit, struct tls_half *h, enum tls_suite suite)
{
    unsigned char next[TLS_SECRET_BYTES];
    size_t n = suites[suite].secret_bytes;
    forget(kit, h, suite);
    bool ok = expand(h, suite, "traffic upd", n, next) && tls_half_init(h, next, n);
    OPENSSL_cleanse(next, sizeof next);
    if (!ok)
        ERR_clear_error();
    return ok;
}

static bool make_key(struct tls_half *h, enum tls_suite suite)
{
    ASSERT(h->known);
    h->keyed = expand(h, suite, "key", suites[suite].key_bytes, h->key) &&
               expand(h, suite, "iv", sizeof h->iv, h->iv);
    return h->keyed;
}

/* ---- one record ---- */

static EVP_CIPHER_CTX *context(struct tls_kit *kit, enum tls_suite suite, bool seals)
{
    EVP_CIPHER_CTX **ctx = &kit->contexts[seals][suite];
    if (*ctx)
        return *ctx;
    if (!kit->ciphers[suite])
        kit->ciphers[suite] = EVP_CIPHER_fetch(NULL, suites[suite].name, NULL);
    *ctx = kit->ciphers[suite] ? EVP_CIPHER_CTX_new() : NULL;
    if (*ctx && EVP_CipherInit_ex(*ctx, kit->ciphers[suite], NULL, NULL, NULL, seals) != 1) {
        EVP_CIPHER_CTX_free(*ctx);
        *ctx = NULL;
    }
    return *ctx;
}

/* Ready for the half's next record; its number is part of the nonce (RFC 8446 5.3). NULL when memory is out.
 */
static EVP_CIPHER_CTX *begin(struct tls_kit *kit, struct tls_half *h, enum tls_suite suite, bool seals,
                             const unsigned char head[TLS_HEAD_BYTES])
{
    EVP_CIPHER_CTX *ctx = context(kit, suite, seals);
    unsigned char nonce[NONCE_BYTES];
    int n;
    if (!ctx || (!h->keyed && !make_key(h, suite)))
        return NULL;
    memcpy(nonce, h->iv, sizeof nonce);
    for (int i = 0; i < 8; i++)
        nonce[NONCE_BYTES - 1 - i] ^= (unsigned char)(h->seq >> 8 * i);
    const unsigned char *key = kit->owners[seals][suite] == h ? NULL : h->key;
    kit->owners[seals][suite] = NULL;
    if (EVP_CipherInit_ex(ctx, NULL, NULL, key, nonce, seals) != 1 ||
        EVP_CipherUpdate(ctx, NULL, &n, head, TLS_HEAD_BYTES) != 1)
        return NULL;
    kit->owners[seals][suite] = h;
    h->seq++;
    return ctx;
}

static void put_head(unsigned char head[TLS_HEAD_BYTES], size_t n)
{
    head[0] = TLS_IS_DATA; /* whatever it holds: RFC 8446 5.2 */
    head[1] = head[2] = 3;
    head[3] = (unsigned char)(n >> 8);
    head[4] = (unsigned char)n;
}

size_t tls_seal(struct tls_kit *kit, struct tls_half *h, enum tls_suite suite, int type,
                const struct iovec *iov, int count, unsigned char *out)
{
    unsigned char inner = (unsigned char)type, *to = out + TLS_HEAD_BYTES;
    size_t all = 0;
    int n;
    for (int i = 0; i < count; i++)
        all += iov[i].iov_len;
    ASSERT(all <= RECORD_BYTES);
    put_head(out, all + 1 + TLS_TAG_BYTES);
    EVP_CIPHER_CTX *ctx = begin(kit, h, suite, true, out);
    bool ok = ctx != NULL;
    for (int i = 0; i < count && ok; i++) {
        ok = !iov[i].iov_len || EVP_CipherUpdate(ctx, to, &n, iov[i].iov_base, (int)iov[i].iov_len) == 1;
        to += iov[i].iov_len;
    }
    ok = ok && EVP_CipherUpdate(ctx, to, &n, &inner, 1) == 1 && EVP_CipherFinal_ex(ctx, to + 1, &n) == 1 &&
         EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TLS_TAG_BYTES, to + 1) == 1;
    if (ok)
        return (size_t)(to - out) + 1 + TLS_TAG_BYTES;
    ERR_clear_error();
    return 0;
}

int tls_record_bytes(const unsigned char *p, size_t n)
{
    if (n && p[0] != TLS_IS_DATA)
        return -TLS_ALERT_UNEXPECTED;
    if (n < TLS_HEAD_BYTES)
        return 0;
    int len = p[3] << 8 | p[4];
    if (p[1] != 3 || len > TLS_SEALED_MAX - TLS_HEAD_BYTES)
        return p[1] != 3 ? -TLS_ALERT_DECODE : -TLS_ALERT_OVERFLOW;
    return len > TLS_TAG_BYTES ? TLS_HEAD_BYTES + len : -TLS_ALERT_BAD_RECORD;
}

int tls_open(struct tls_kit *kit, struct tls_half *h, enum tls_suite suite, const unsigned char *record,
             size_t n, unsigned char *out, int *out_type)
{
    unsigned char tag[TLS_TAG_BYTES];
    ASSERT(n > TLS_HEAD_BYTES + TLS_TAG_BYTES && n <= TLS_SEALED_MAX);
    size_t len = n - TLS_HEAD_BYTES - TLS_TAG_BYTES;
    int put;
    memcpy(tag, record + n - TLS_TAG_BYTES, sizeof tag);
    EVP_CIPHER_CTX *ctx = begin(kit, h, suite, false, record);
    bool ok = ctx && EVP_CipherUpdate(ctx, out, &put, record + TLS_HEAD_BYTES, (int)len) == 1 &&
              EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, sizeof tag, tag) == 1 &&
              EVP_CipherFinal_ex(ctx, out + len, &put) == 1;
    if (!ok) {
        ERR_clear_error();
        return ctx ? -TLS_ALERT_BAD_RECORD : -TLS_ALERT_INTERNAL;
    }
    while (len && !out[len - 1]) /* padding: RFC 8446 5.4 */
        len--;
    if (!len)
        return -TLS_ALERT_UNEXPECTED;
    *out_type = out[--len];
    return len <= RECORD_BYTES ? (int)len : -TLS_ALERT_OVERFLOW;
}
