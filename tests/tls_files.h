/* tls_files: certificates made on the spot, as a bundle in memory. For unit tests and fuzz targets. */
#ifndef TESTS_TLS_FILES_H
#define TESTS_TLS_FILES_H

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/panic.h"
#include "run/bundle.h"
#include "run/channel.h"

static inline void put_pem(struct buf *to, const char *path, X509 *x, EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    ASSERT(bio && PEM_write_bio_X509(bio, x) &&
           PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL));
    long n = BIO_get_mem_data(bio, &text);
    buf_pack_str(to, str_of(path));
    buf_pack_str(to, str_make(text, (size_t)n));
    BIO_free(bio);
}

/* A certificate that signs itself, for `names` ("DNS:a.test,IP:127.0.0.1"), with its key in one file. */
static inline void put_pair(struct buf *to, const char *path, const char *names)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    ASSERT(key && x);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -60);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    X509_set_pubkey(x, key);
    X509_NAME *name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)path, -1, -1, 0);
    X509_set_issuer_name(x, name);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    ASSERT(ext && X509_add_ext(x, ext, -1) && X509_sign(x, key, EVP_sha256()));
    put_pem(to, path, x, key);
    X509_EXTENSION_free(ext);
    X509_free(x);
    EVP_PKEY_free(key);
}

#endif
