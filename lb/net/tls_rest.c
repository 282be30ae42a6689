/* How a connection of OpenSSL becomes a compact one: its secrets are taken down and its records counted in
 * the handshake, and the rest is left once it rests. */
#include <openssl/crypto.h>
#include <stdlib.h>

#include "base/panic.h"
#include "net/tls_priv.h"

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

/* Called where a key begins to count. */
void tls_on_secret(struct tls *t, bool is_ours, const unsigned char *secret, size_t n)
{
    if (!t->own)
        t->own = calloc(1, sizeof *t->own);
    if (t->own && !tls_half_init(is_ours ? &t->own->out : &t->own->in, secret, n))
        tls_own_free(t);
}

/* A message after the handshake is a KeyUpdate, which OpenSSL answers by itself: it stays with such a
 * connection. */
void tls_count_record(struct tls *t, bool is_sent, int type, const unsigned char *p)
{
    if (!t->own)
        return;
    if (type == SSL3_RT_HEADER)
        (is_sent ? &t->own->out : &t->own->in)->seq++;
    if (!is_sent && (type == SSL3_RT_HEADER || type == SSL3_RT_INNER_CONTENT_TYPE))
        t->own->half_read = type == SSL3_RT_HEADER;
    if (type == SSL3_RT_INNER_CONTENT_TYPE && *p == TLS_IS_HANDSHAKE && !t->handshaking)
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
           !t->half_written && !t->own->half_read && c->may_write && SSL_get_shutdown(t->ssl) == 0 &&
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
