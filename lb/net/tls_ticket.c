/* Session tickets (RFC 5077 4, RFC 8446 4.6.1): AES-256-CBC, then HMAC-SHA256 over it; OpenSSL does the rest.
 */
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <time.h>

#include "net/tls_priv.h"

#define NAME_BYTES   16
#define AES_AT       16
#define HMAC_AT      48
#define HMAC_BYTES   32
#define IV_BYTES     16
#define NO_TICKET    0 /* what OpenSSL reads out of our answers */
#define GOOD         1
#define GOOD_BUT_OLD 2

static bool key_mac(EVP_MAC_CTX *mac, const unsigned char *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)(key + HMAC_AT), HMAC_BYTES),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int seal(const struct tls_worker *tw, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                EVP_MAC_CTX *mac)
{
    const unsigned char *key = tw->tickets.key[TICKET_CURRENT];
    if (RAND_bytes(iv, IV_BYTES) != 1 || !key_mac(mac, key) ||
        EVP_EncryptInit_ex(cipher, tw->cipher, NULL, key + AES_AT, iv) != 1)
        return -1;
    memcpy(name, key, NAME_BYTES);
    return GOOD;
}

/* Clients of TLS 1.3 use a ticket once (RFC 8446 C.4): one that came back gets another, else every second or
 * third connection would need a full handshake. Not where a certificate is asked for: it would never be
 * looked at again. */
static bool can_renew(const struct tls *t)
{
    return SSL_version(t->ssl) == TLS1_3_VERSION && t->auth_mode == CLIENT_AUTH_OFF;
}

static bool renews_at_once(const struct tls *t)
{
    return t->server->settings->ticket_renewal == TICKET_RENEWAL_ALWAYS && can_renew(t);
}

static int unseal(const struct tls *t, const unsigned char *name, const unsigned char *iv,
                  EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    const struct tls_worker *tw = t->worker;
    for (int i = 0; i < TICKET_KEYS; i++) {
        const unsigned char *key = tw->tickets.key[i];
        if (memcmp(name, key, NAME_BYTES) != 0)
            continue;
        if (!key_mac(mac, key) || EVP_DecryptInit_ex(cipher, tw->cipher, NULL, key + AES_AT, iv) != 1)
            return -1;
        return i == TICKET_PREVIOUS || renews_at_once(t) ? GOOD_BUT_OLD : GOOD;
    }
    return NO_TICKET; /* a full handshake, then */
}

int tls_on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                  int is_new)
{
    const struct tls *t = tls_of(ssl);
    if (!t || !t->worker->has_tickets)
        return NO_TICKET;
    return is_new ? seal(t->worker, name, iv, cipher, mac) : unseal(t, name, iv, cipher, mac);
}

static time_t made_at(const SSL_SESSION *session)
{
#if OPENSSL_VERSION_NUMBER >= 0x30300000L
    return SSL_SESSION_get_time_ex(session);
#else
    return SSL_SESSION_get_time(session);
#endif
}

/* Its age stands inside, so this is behind unseal. */
SSL_TICKET_RETURN tls_on_ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                       size_t name_len, SSL_TICKET_STATUS status, void *arg)
{
    const struct tls *t = tls_of(ssl);
    (void)name;
    (void)name_len;
    (void)arg;
    if (status == SSL_TICKET_SUCCESS_RENEW)
        return SSL_TICKET_RETURN_USE_RENEW;
    if (status != SSL_TICKET_SUCCESS)
        return SSL_TICKET_RETURN_IGNORE_RENEW; /* a full handshake, with tickets */
    bool is_aged = (time(NULL) - made_at(session)) * 2 >= SSL_SESSION_get_timeout(session);
    return is_aged && can_renew(t) ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}
