#include "net/tls_facts.h"

#include <string.h>

#include "base/panic.h"
#include "net/tls_priv.h"

/* The subject's common name as UTF-8. The last one counts, as browsers have it. */
static void read_name(X509 *cert, struct tls_facts *out)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    int at = -1;
    for (int next; (next = X509_NAME_get_index_by_NID(subject, NID_commonName, at)) >= 0;)
        at = next;
    if (at < 0)
        return;
    unsigned char *text = NULL;
    int n = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    bool is_good = n > 0 && n <= TLS_FACTS_NAME_MAX;
    for (int i = 0; is_good && i < n; i++)
        is_good = text[i] >= ' ' && text[i] != 0x7f;
    if (is_good) {
        memcpy(out->name, text, (size_t)n);
        out->name_len = (size_t)n;
    }
    OPENSSL_free(text);
    ERR_clear_error(); /* of a name that is no text: the next connection is not to trip over it */
}

bool tls_facts_read(const struct conn *c, struct tls_facts *out)
{
    const struct tls *t = c->tls;
    if (!t || t->handshaking)
        return false;
    CHECK_MAGIC(t, TLS_MAGIC);
    if (!t->ssl) {
        *out = (struct tls_facts){.version = STR(TLS_COMPACT_VERSION),
                                  .cipher = str_of(t->own->cipher),
                                  .sni = t->own->sni ? str_of(t->own->sni) : STR_NULL,
                                  .is_resumed = t->own->resumed,
                                  .verify = 1};
        return true;
    }
    *out = (struct tls_facts){.version = str_of(SSL_get_version(t->ssl)),
                              .cipher = str_of(SSL_CIPHER_get_name(SSL_get_current_cipher(t->ssl))),
                              .sni = str_of(SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name)),
                              .is_resumed = SSL_session_reused(t->ssl) == 1,
                              .verify = 1};
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    if (!cert)
        return true;
    out->has_certificate = true;
    out->verify = (uint32_t)SSL_get_verify_result(t->ssl);
    read_name(cert, out);
    return true;
}
