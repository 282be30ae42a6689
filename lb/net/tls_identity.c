/* Who the client is, by its certificate, as texts that fit into a header field. */
#include <openssl/evp.h>
#include <stdlib.h>

#include "net/tls_priv.h"

#define FINGERPRINT_BYTES 32

/* Printable ASCII only: all else is escaped (RFC 2253 2.4), so no name can break out of a field. */
static bool put_name(struct buf *b, const X509_NAME *name)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    if (!bio || X509_NAME_print_ex(bio, name, 0,
                                   XN_FLAG_RFC2253 | ASN1_STRFLGS_ESC_CTRL | ASN1_STRFLGS_ESC_MSB) < 0) {
        BIO_free(bio);
        return false;
    }
    long n = BIO_get_mem_data(bio, &text);
    for (long i = 0; i < n; i++) {
        char c = text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?';
        buf_put(b, &c, 1);
    }
    BIO_free(bio);
    return true;
}

static void put_hex(struct buf *b, const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%02x", p[i]);
}

static bool put_serial(struct buf *b, const X509 *x)
{
    BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
    char *hex = n ? BN_bn2hex(n) : NULL;
    if (hex)
        buf_put_str(b, str_of(hex));
    OPENSSL_free(hex);
    BN_free(n);
    return hex != NULL;
}

/* A byte sequence of structured fields, as Client-Cert has it (RFC 9440 2.2). */
static bool put_certificate(struct buf *b, X509 *x)
{
    unsigned char *der = NULL;
    int n = i2d_X509(x, &der);
    if (n <= 0 || n > TLS_CERTIFICATE_MAX) {
        OPENSSL_free(der);
        return n > 0; /* an empty text: too long to be told */
    }
    size_t room = 4 * (((size_t)n + 2) / 3) + 1;
    buf_put(b, ":", 1);
    char *at = buf_reserve(b, room);
    b->len += (size_t)EVP_EncodeBlock((unsigned char *)at, der, n);
    buf_put(b, ":", 1);
    OPENSSL_free(der);
    return true;
}

static bool put_fingerprint(struct buf *b, const X509 *x)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (!X509_digest(x, EVP_sha256(), digest, &n) || n != FINGERPRINT_BYTES)
        return false;
    put_hex(b, digest, n);
    return true;
}

static bool describe(X509 *x, struct buf *b, size_t ends[TLS_IDENTITY_TEXTS])
{
    bool ok = put_name(b, X509_get_subject_name(x));
    ends[0] = b->len;
    ok = ok && put_name(b, X509_get_issuer_name(x));
    ends[1] = b->len;
    ok = ok && put_serial(b, x);
    ends[2] = b->len;
    ok = ok && put_fingerprint(b, x);
    ends[3] = b->len;
    ok = ok && put_certificate(b, x);
    ends[4] = b->len;
    return ok;
}

/* Once a connection, not once a request. */
static struct tls_identity *make(X509 *x)
{
    struct buf b;
    size_t ends[TLS_IDENTITY_TEXTS], from = 0;
    buf_init(&b);
    bool ok = describe(x, &b, ends);
    struct tls_identity *id = ok ? malloc(sizeof *id + b.len) : NULL;
    if (id) {
        struct str *texts[TLS_IDENTITY_TEXTS] = {&id->subject, &id->issuer, &id->serial, &id->fingerprint,
                                                 &id->cert};
        char *to = (char *)(id + 1);
        memcpy(to, b.p, b.len);
        for (int i = 0; i < TLS_IDENTITY_TEXTS; i++) {
            *texts[i] = str_make(to + from, ends[i] - from);
            from = ends[i];
        }
    }
    buf_fini(&b);
    ERR_clear_error();
    return id;
}

/* ---- names that are none ---- */

static bool has_nul(const X509_NAME *name)
{
    bool found = false;
    for (int i = 0; i < X509_NAME_entry_count(name) && !found; i++) {
        unsigned char *text = NULL;
        int n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
        found = n < 0 || memchr(text, 0, (size_t)n);
        OPENSSL_free(text);
    }
    return found;
}

int tls_on_client_certificate(int ok, X509_STORE_CTX *ctx)
{
    X509 *x = X509_STORE_CTX_get_current_cert(ctx);
    if (!ok || X509_STORE_CTX_get_error_depth(ctx) || !x ||
        !(has_nul(X509_get_subject_name(x)) || has_nul(X509_get_issuer_name(x))))
        return ok;
    X509_STORE_CTX_set_error(ctx, X509_V_ERR_UNSPECIFIED);
    return 0;
}

bool tls_asks_for_certificate(const struct conn *c)
{
    return c->tls && c->tls->auth_mode != CLIENT_AUTH_OFF;
}

bool tls_identity(struct conn *c, const struct tls_identity **out_identity)
{
    struct tls *t = c->tls;
    *out_identity = NULL;
    /* One with a certificate is never compact (tls_rest). */
    X509 *x = tls_asks_for_certificate(c) && t->ssl ? SSL_get0_peer_certificate(t->ssl) : NULL;
    if (!x)
        return true;
    if (!t->identity)
        t->identity = make(x);
    *out_identity = t->identity;
    return t->identity != NULL;
}

bool tls_serves_host(const struct conn *c, struct str host)
{
    const struct tls *t = c->tls;
    char lower[TLS_SNI_MAX + 1];
    if (!t || !t->server || t->server->store->policy_count == 1)
        return true;
    ptrdiff_t colon = str_find(host, ':');
    if (colon >= 0 && (!host.n || host.p[0] != '['))
        host.n = (size_t)colon;
    if (host.n && host.p[host.n - 1] == '.')
        host.n--;
    if (host.n > TLS_SNI_MAX)
        return false;
    for (size_t i = 0; i < host.n; i++)
        lower[i] = char_lower(host.p[i]);
    const struct tls_policy *policy = tls_policy_find(t->server->store, str_make(lower, host.n));
    return memcmp(policy->sid, t->sid, TLS_SID_BYTES) == 0;
}
