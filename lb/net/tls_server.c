/* Accepting: what a worker needs for one listener. */
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <time.h>

#include "base/panic.h"
#include "net/tls_priv.h"
#include "net/tls_schedule.h"

/* ---- ALPN (RFC 7301) ---- */

unsigned tls_alpn_encode(const struct strings *list, unsigned char out[TLS_ALPN_BYTES])
{
    unsigned n = 0;
    for (size_t i = 0; i < list->n; i++) {
        size_t len = strlen(list->v[i]);
        if (!len || n + 1 + len > TLS_ALPN_BYTES)
            return 0;
        out[n++] = (unsigned char)len;
        memcpy(out + n, list->v[i], len);
        n += (unsigned)len;
    }
    return n;
}

enum alpn tls_alpn_of(const unsigned char *p, unsigned n)
{
    struct str name = str_make((const char *)p, n);
    if (str_eq(name, STR("h2")))
        return ALPN_H2;
    return str_eq(name, STR("http/1.1")) ? ALPN_HTTP_1_1 : ALPN_NONE;
}

/* A client that wants none of ours is refused: taking whatever it says for HTTP is how one protocol is
 * smuggled into another. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned in_len, void *arg)
{
    const struct tls_server *ts = arg;
    unsigned char *chosen;
    (void)ssl;
    if (!ts->alpn_len)
        return SSL_TLSEXT_ERR_NOACK;
    if (SSL_select_next_proto(&chosen, out_len, ts->alpn, ts->alpn_len, in, in_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* ---- stapling ---- */

/* Called once the certificate is chosen: that of the key that signs. */
static int on_status(SSL *ssl, void *arg)
{
    const struct tls *t = tls_of(ssl);
    const struct tls_site *site = t ? t->site : NULL;
    X509 *leaf = SSL_get_certificate(ssl);
    (void)arg;
    for (int i = 0; site && i < TLS_KEY_TYPES; i++) {
        const struct tls_pair *p = site->pairs[i];
        if (!p || p->leaf != leaf || !p->ocsp || (p->ocsp_until && p->ocsp_until <= (int64_t)time(NULL)))
            continue;
        unsigned char *copy = OPENSSL_memdup(p->ocsp, (size_t)p->ocsp_len);
        if (copy && SSL_set_tlsext_status_ocsp_resp(ssl, copy, p->ocsp_len))
            return SSL_TLSEXT_ERR_OK;
        OPENSSL_free(copy);
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* ---- the context ---- */

static bool set_up(struct tls_server *ts, uint64_t ticket_seconds)
{
    const struct tls_listener_settings *s = ts->settings;
    SSL_CTX *ctx = ts->ctx;
    if (!ctx || !tls_ctx_basics(ctx, s->min_version, s->max_version))
        return false;
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* the client keeps it, in a ticket */
    if (!s->tickets)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_timeout(ctx, (long)ticket_seconds);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, tls_on_ticket);
    if (s->ticket_renewal == TICKET_RENEWAL_AGED)
        SSL_CTX_set_session_ticket_cb(ctx, NULL, tls_on_ticket_opened, NULL);
    if (s->early_data) {
        /* OpenSSL's own guard against repetitions is a memory of one process; ours is the method (RFC 8470
         * 3). */
        SSL_CTX_set_options(ctx, SSL_OP_NO_ANTI_REPLAY);
        SSL_CTX_set_max_early_data(ctx, (uint32_t)s->max_early_data_bytes);
        SSL_CTX_set_recv_max_early_data(ctx, (uint32_t)s->max_early_data_bytes);
    }
    SSL_CTX_set_client_hello_cb(ctx, tls_on_client_hello, ts);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, ts);
    SSL_CTX_set_tlsext_status_cb(ctx, on_status);
    return SSL_CTX_set_num_tickets(ctx, (size_t)s->tickets) && SSL_CTX_set_cipher_list(ctx, s->ciphers) &&
           (!s->ciphersuites || SSL_CTX_set_ciphersuites(ctx, s->ciphersuites)) &&
           (!s->groups || SSL_CTX_set1_groups_list(ctx, s->groups));
}

struct tls_server *tls_server_create(const struct tls_listener_settings *s, struct tls_store *store,
                                     uint64_t ticket_seconds, struct buf *errors)
{
    struct tls_server *ts = calloc(1, sizeof *ts);
    if (!ts)
        return NULL;
    ts->settings = s;
    const char *query = s->rest && tls_schedule_load() ? TLS_SCHEDULE_QUERY : NULL;
    ts->ctx = SSL_CTX_new_ex(NULL, query, TLS_server_method());
    ts->alpn_len = tls_alpn_encode(&s->alpn, ts->alpn);
    if (!set_up(ts, ticket_seconds)) {
        buf_printf(errors, "ciphers, ciphersuites, groups or versions of tls: %s\n", tls_last_error());
        tls_server_destroy(&ts);
        return NULL;
    }
    tls_server_set_store(ts, store);
    return ts;
}

void tls_server_destroy(struct tls_server **pts)
{
    struct tls_server *ts = *pts;
    *pts = NULL;
    if (!ts)
        return;
    SSL_CTX_free(ts->ctx);
    tls_store_unref(&ts->store);
    free(ts);
}

/* The fallback's certificates stand in the context, so that clients that want them cost nothing more. */
void tls_server_set_store(struct tls_server *ts, struct tls_store *store)
{
    struct tls_store *old = ts->store;
    ts->store = tls_store_ref(store);
    for (int i = 0; i < TLS_KEY_TYPES; i++) {
        const struct tls_pair *p = store->fallback->pairs[i];
        ts->show_fallback |= !p && old && old->fallback->pairs[i];
        if (p)
            (void)SSL_CTX_use_cert_and_key(ts->ctx, p->leaf, p->key, p->chain, 1);
    }
    ERR_clear_error();
    tls_store_unref(&old);
}

bool tls_accept(struct conn *c, struct tls_worker *tw, struct tls_server *ts)
{
    struct tls *t = tls_create(c, tw, ts->ctx);
    if (!t)
        return false;
    t->is_server = true;
    t->server = ts;
    t->store = tls_store_ref(ts->store);
    t->early = ts->settings->early_data ? EARLY_EXPECTED : EARLY_NONE;
    SSL_set_accept_state(t->ssl);
    return true;
}
