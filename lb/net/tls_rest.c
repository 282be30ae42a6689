/* How a connection of OpenSSL becomes a compact one: its secrets are taken down and its records counted in
 * the handshake, and the rest is left once it rests. */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/panic.h"
#include "net/tls_priv.h"

#define RANDOM_BYTES 32

/* ---- taking down ---- */

void tls_own_free(struct tls *t)
{
    struct tls_own *o = t->own;
    t->own = NULL;
    if (!o)
        return;
    tls_half_fini(&t->worker->kit, &o->in, (enum tls_suite)o->suite);
    tls_half_fini(&t->worker->kit, &o->out, (enum tls_suite)o->suite);
    free(o->sni);
    free(o->kept);
    if (o->plain)
        OPENSSL_cleanse(o->plain, o->plain_len);
    free(o->plain);
    free(o);
}

static int nibble(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool read_secret(const char *hex, struct tls_half *h)
{
    unsigned char secret[TLS_SECRET_BYTES];
    size_t n = strlen(hex) / 2;
    bool ok = n <= sizeof secret && strlen(hex) % 2 == 0;
    for (size_t i = 0; i < n && ok; i++) {
        int high = nibble(hex[2 * i]), low = nibble(hex[2 * i + 1]);
        ok = high >= 0 && low >= 0;
        secret[i] = (unsigned char)(high << 4 | low);
    }
    ok = ok && tls_half_init(h, secret, n);
    OPENSSL_cleanse(secret, sizeof secret);
    return ok;
}

/* "LABEL, what the client drew, the secret", as OpenSSL logs them. Called where a key begins to count. */
static void on_secret(const SSL *ssl, const char *line)
{
    struct tls *t = tls_of(ssl);
    struct str s = str_of(line), ours = STR("SERVER_TRAFFIC_SECRET_0 "),
               theirs = STR("CLIENT_TRAFFIC_SECRET_0 ");
    bool is_ours = str_starts(s, ours);
    if (!t || !t->own || (!is_ours && !str_starts(s, theirs)))
        return;
    size_t at = ours.n + RANDOM_BYTES * 2 + 1;
    if (s.n < at || !read_secret(line + at, is_ours ? &t->own->out : &t->own->in))
        tls_own_free(t);
}

/* OpenSSL prints each digit by itself: four microseconds a secret. */
void tls_listen_for_secrets(struct tls *t, bool on)
{
    if (t->server && t->server->settings->rest)
        SSL_CTX_set_keylog_callback(SSL_get_SSL_CTX(t->ssl), on ? on_secret : NULL);
}

/* The server's Finished is out: of all that follow, only secrets of the time after are of use. */
static void begin(struct tls *t)
{
    if (!t->server || !t->server->settings->rest || t->own || SSL_version(t->ssl) != TLS1_3_VERSION)
        return;
    t->own = calloc(1, sizeof *t->own);
    tls_listen_for_secrets(t, t->own != NULL);
}

/* A message after the handshake is a KeyUpdate, which OpenSSL answers by itself: it stays with such a
 * connection. */
void tls_note_message(struct tls *t, bool is_sent, int type, const unsigned char *p, size_t n)
{
    if (type == SSL3_RT_HANDSHAKE && is_sent && t->handshaking && n && *p == SSL3_MT_FINISHED)
        begin(t);
    if (!t->own)
        return;
    if (type == SSL3_RT_HEADER)
        (is_sent ? &t->own->out : &t->own->in)->seq++;
    else if (type == SSL3_RT_INNER_CONTENT_TYPE && *p == TLS_IS_HANDSHAKE && !t->handshaking)
        tls_own_free(t);
}

/* ---- going there ---- */

/* Nothing is under way, in either direction, and nothing is known that only OpenSSL could tell. */
static bool can_shrink(const struct tls *t)
{
    const struct conn *c = t->conn;
    bool calm = !t->handshaking && !t->fatal && t->early == EARLY_NONE && !t->held && !t->ahead &&
                !t->shut_pending && !t->read_wants_write && !t->write_wants_read;
    return calm && t->ssl && t->own && t->own->in.known && t->own->out.known && !c->shut && !c->eof &&
           !c->broken && !t->raw_eof && SSL_is_init_finished(t->ssl) && !SSL_has_pending(t->ssl) &&
           !SSL_want_write(t->ssl) && SSL_get_shutdown(t->ssl) == 0 &&
           SSL_version(t->ssl) == TLS1_3_VERSION && !SSL_get0_peer_certificate(t->ssl) &&
           SSL_SESSION_get_max_fragment_length(SSL_get0_session(t->ssl)) ==
               TLSEXT_max_fragment_length_DISABLED;
}

static bool take_facts(struct tls *t, const SSL_CIPHER *cipher)
{
    struct tls_own *o = t->own;
    const char *sni = SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name);
    enum tls_suite suite;
    if (!cipher || !tls_suite_of(SSL_CIPHER_get_protocol_id(cipher), &suite))
        return false;
    if (!tls_compact_prepare(t->worker) || (sni && !(o->sni = strdup(sni))))
        return false;
    o->suite = (uint8_t)suite;
    o->cipher = SSL_CIPHER_get_name(cipher);
    o->resumed = SSL_session_reused(t->ssl) == 1;
    return true;
}

bool tls_rest(struct conn *c)
{
    struct tls *t = c->tls;
    if (!t || !t->ssl || !can_shrink(t))
        return false;
    CHECK_MAGIC(t, TLS_MAGIC);
    if (!take_facts(t, SSL_get_current_cipher(t->ssl)))
        return false;
    SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    ERR_clear_error();
    t->ssl = NULL;
    c->ops = &conn_compact;
    return true;
}
