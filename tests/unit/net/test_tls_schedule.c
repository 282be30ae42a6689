/* Our key schedule against OpenSSL's: the same bytes for whatever a handshake asks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include "net/tls_schedule.h"

struct order {
    int mode;
    const char *digest, *label;
    const unsigned char *key, *salt, *data;
    size_t key_len, salt_len, data_len, out_len;
};

static int ask(const char *query, const struct order *o, unsigned char *out)
{
    OSSL_PARAM p[8], *at = p;
    int mode = o->mode;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", query);
    assert_non_null(kdf);
    bool is_ours = strcmp(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(kdf)), "coxswain") == 0;
    assert_int_equal(is_ours, strcmp(query, TLS_SCHEDULE_QUERY) == 0);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
    *at++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    *at++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t)o->digest, 0);
    if (o->key)
        *at++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)o->key, o->key_len);
    if (o->salt)
        *at++ =
            OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)o->salt, o->salt_len);
    *at++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (void *)(uintptr_t) "tls13 ", 6);
    *at++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (void *)(uintptr_t)o->label,
                                              strlen(o->label));
    if (o->data)
        *at++ =
            OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_DATA, (void *)(uintptr_t)o->data, o->data_len);
    *at = OSSL_PARAM_construct_end();
    int ok = EVP_KDF_derive(ctx, out, o->out_len, p);
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return ok;
}

static void same(const struct order *o)
{
    unsigned char ours[64], theirs[64];
    assert_int_equal(ask(TLS_SCHEDULE_QUERY, o, ours), 1);
    assert_int_equal(ask("provider=default", o, theirs), 1);
    assert_memory_equal(ours, theirs, o->out_len);
}

static void as_openssl_has_it(void **state)
{
    static const struct {
        const char *name;
        size_t bytes;
    } hashes[] = {{"SHA256", 32}, {"SHA2-256", 32}, {"SHA384", 48}, {"SHA2-384", 48}};
    static const char *const labels[] = {"derived", "c hs traffic", "key", "iv", "res master", "x"};
    unsigned char secret[200], data[48];
    (void)state;
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (unsigned char)(i * 37 + 5);
    memset(data, 9, sizeof data);
    for (size_t h = 0; h < 4; h++) {
        size_t n = hashes[h].bytes;
        struct order o = {EVP_KDF_HKDF_MODE_EXPAND_ONLY, hashes[h].name, "", secret, NULL, NULL, n, 0, 0, n};
        for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
            o.label = labels[i];
            for (o.out_len = 1; o.out_len <= n; o.out_len++)
                same(&o);
            o.out_len = n;
            o.data = data;
            o.data_len = n;
            same(&o);
            o.data = NULL;
        }
        o = (struct order){
            EVP_KDF_HKDF_MODE_EXTRACT_ONLY, hashes[h].name, "derived", NULL, NULL, NULL, 0, 0, 0, n};
        same(&o); /* neither a secret before nor one that comes in */
        o.salt = secret + 20;
        o.salt_len = n;
        same(&o);
        o.key = secret;
        for (o.key_len = 1; o.key_len < sizeof secret; o.key_len += 31) /* key exchanges differ in length */
            same(&o);
        o.key_len = n;
        o.salt = NULL;
        same(&o);
    }
}

static void what_it_does_not_know_is_refused(void **state)
{
    unsigned char secret[64] = {0}, out[64];
    const struct order cases[] = {
        {EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA512", "key", secret, NULL, NULL, 64, 0, 0, 16},
        {EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA256", "key", secret, NULL, NULL, 48, 0, 0, 16},
        {EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA256", "key", secret, NULL, NULL, 32, 0, 0, 33},
        {EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA256", "key", NULL, NULL, NULL, 0, 0, 0, 16},
        {EVP_KDF_HKDF_MODE_EXPAND_ONLY, "SHA256", "key", secret, NULL, secret, 32, 0, 49, 16},
        {EVP_KDF_HKDF_MODE_EXTRACT_ONLY, "SHA256", "derived", secret, secret, NULL, 32, 31, 0, 32},
        {EVP_KDF_HKDF_MODE_EXTRACT_ONLY, "SHA256", "derived", secret, secret, NULL, 32, 32, 0, 31},
        {EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND, "SHA256", "derived", secret, secret, NULL, 32, 32, 0, 32},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(ask(TLS_SCHEDULE_QUERY, &cases[i], out), 0);
}

static int load(void **state)
{
    (void)state;
    return tls_schedule_load() && tls_schedule_load() ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_openssl_has_it),
        cmocka_unit_test(what_it_does_not_know_is_refused),
    };
    return cmocka_run_group_tests(tests, load, NULL);
}
