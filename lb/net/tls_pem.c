/* PEM out of memory. */
#include <openssl/bio.h>
#include <openssl/pem.h>

#include "net/tls_priv.h"

const char *tls_last_error(void)
{
    unsigned long error = ERR_peek_last_error();
    const char *text = error ? ERR_reason_error_string(error) : NULL;
    ERR_clear_error();
    return text ? text : "unknown error";
}

/* A passphrase is never asked for: nobody sits there. */
static int no_passphrase(char *to, int size, int is_writing, void *arg)
{
    (void)to;
    (void)size;
    (void)is_writing;
    (void)arg;
    return 0;
}

static BIO *reader_of(struct str pem)
{
    return pem.n && pem.n <= BUNDLE_FILE_MAX ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
}

/* After a loop over a file: nothing left but its end. */
static bool is_at_end(void)
{
    unsigned long error = ERR_peek_last_error();
    if (error && (ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE))
        return false;
    ERR_clear_error();
    return true;
}

bool tls_pem_certificates(struct str pem, STACK_OF(X509) * *out_list, struct buf *errors)
{
    BIO *bio = reader_of(pem);
    STACK_OF(X509) *list = sk_X509_new_null();
    X509 *x;
    while (bio && list && (x = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL)))
        if (!sk_X509_push(list, x))
            X509_free(x);
    BIO_free(bio);
    bool ok = is_at_end() && list && sk_X509_num(list) > 0;
    if (!ok) {
        if (ERR_peek_last_error())
            buf_printf(errors, "no certificate: %s", tls_last_error());
        else
            buf_printf(errors, "no certificate in it");
        sk_X509_pop_free(list, X509_free);
        list = NULL;
    }
    *out_list = list;
    return ok;
}

bool tls_pem_key(struct str pem, EVP_PKEY **out_key, struct buf *errors)
{
    BIO *bio = reader_of(pem);
    *out_key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;
    BIO_free(bio);
    if (!*out_key)
        buf_printf(errors, "no private key that can be read without a passphrase: %s", tls_last_error());
    ERR_clear_error();
    return *out_key != NULL;
}

bool tls_pem_store(struct str pem, X509_STORE *store, STACK_OF(X509_NAME) * names, struct buf *errors)
{
    STACK_OF(X509) * list;
    if (!tls_pem_certificates(pem, &list, errors))
        return false;
    bool ok = true;
    for (int i = 0; i < sk_X509_num(list); i++) {
        X509 *x = sk_X509_value(list, i);
        ok &= X509_STORE_add_cert(store, x) == 1;
        X509_NAME *name = names ? X509_NAME_dup(X509_get_subject_name(x)) : NULL;
        if (names && (!name || !sk_X509_NAME_push(names, name)))
            X509_NAME_free(name);
    }
    sk_X509_pop_free(list, X509_free);
    if (!ok)
        buf_printf(errors, "a certificate in it cannot be used: %s", tls_last_error());
    return ok;
}

bool tls_pem_crls(struct str pem, X509_STORE *store, struct buf *errors)
{
    BIO *bio = reader_of(pem);
    X509_CRL *crl;
    int count = 0;
    while (bio && (crl = PEM_read_bio_X509_CRL(bio, NULL, no_passphrase, NULL))) {
        count += X509_STORE_add_crl(store, crl) == 1;
        X509_CRL_free(crl);
    }
    BIO_free(bio);
    if (!is_at_end() || !count) {
        buf_printf(errors, "no list of revoked certificates that can be read");
        ERR_clear_error();
        return false;
    }
    return X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL) == 1;
}
