/* Connecting: what a cluster's servers must prove, and what is remembered of them. */
#include <openssl/x509_vfy.h>
#include <stdlib.h>

#include "base/panic.h"
#include "net/tls_priv.h"

/* A session that may be taken up again came: with TLS 1.3 any time after the handshake. A copy is kept, and
 * copies of it are used: OpenSSL spoils a session whose connection ends in an error, and every server that
 * leaves without close_notify would be one. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls *t = tls_of(ssl);
    SSL_SESSION *copy = t && t->resume && SSL_SESSION_is_resumable(session) ? SSL_SESSION_dup(session) : NULL;
    if (!copy)
        return 0;
    tls_resume_forget(t->resume);
    *t->resume = (struct tls_resume){.session = copy, .made_by = t->client->id, .addr = t->to};
    return 0; /* theirs stays theirs */
}

void tls_resume_forget(struct tls_resume *r)
{
    SSL_SESSION_free(r->session);
    *r = (struct tls_resume){0};
}

/* ---- the client ---- */

static bool trust(struct tls_client *tc, const struct tls_cluster_settings *s, const struct bundle *b,
                  struct buf *why)
{
    if (!s->verify) {
        SSL_CTX_set_verify(tc->ctx, SSL_VERIFY_NONE, NULL);
        return true;
    }
    SSL_CTX_set_verify(tc->ctx, SSL_VERIFY_PEER, NULL);
    if (s->ca)
        return tls_pem_store(bundle_file(b, s->ca), SSL_CTX_get_cert_store(tc->ctx), NULL, why);
    if (SSL_CTX_set_default_verify_paths(tc->ctx))
        return true;
    buf_printf(why, "the CAs of the system cannot be read: %s", tls_last_error());
    return false;
}

static bool show(struct tls_client *tc, const struct tls_cluster_settings *s, const struct bundle *b,
                 struct buf *why)
{
    STACK_OF(X509) *chain = NULL;
    EVP_PKEY *key = NULL;
    if (!s->cert)
        return true;
    bool ok = tls_pem_certificates(bundle_file(b, s->cert), &chain, why) &&
              tls_pem_key(bundle_file(b, s->key ? s->key : s->cert), &key, why);
    X509 *leaf = ok ? sk_X509_shift(chain) : NULL;
    if (ok && (X509_check_private_key(leaf, key) != 1 ||
               SSL_CTX_use_cert_and_key(tc->ctx, leaf, key, chain, 1) != 1)) {
        buf_printf(why, "the key does not belong to the certificate, or is of no use: %s", tls_last_error());
        ok = false;
    }
    X509_free(leaf);
    sk_X509_pop_free(chain, X509_free);
    EVP_PKEY_free(key);
    return ok;
}

static bool is_address(struct str name)
{
    uint8_t ip[16];
    return cidr_ip_parse(name, ip);
}

/* Names as a handshake has them: no port. */
static char *name_of(const char *text)
{
    struct str s = str_of(text);
    if (s.n && s.p[0] == '[') {
        ptrdiff_t end = str_find(s, ']');
        return must(str_dup(end > 0 ? str_make(s.p + 1, (size_t)end - 1) : s));
    }
    ptrdiff_t colon = str_find(s, ':');
    if (colon > 0 && !is_address(s))
        s.n = (size_t)colon;
    return must(str_dup(s));
}

static bool set_up(struct tls_client *tc, const struct tls_cluster_settings *s, const char *host,
                   const struct bundle *b, struct buf *why)
{
    unsigned char alpn[TLS_ALPN_BYTES];
    unsigned alpn_len = tls_alpn_encode(&s->alpn, alpn);
    const char *name = s->hostname ? s->hostname : host;
    if (!tc->ctx || !tls_ctx_basics(tc->ctx, s->min_version, s->max_version)) {
        buf_printf(why, "%s", tls_last_error());
        return false;
    }
    SSL_CTX_set_session_cache_mode(tc->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tc->ctx, on_session);
    tc->verify = s->verify;
    tc->has_alpn = alpn_len > 0;
    tc->hostname = name ? name_of(name) : NULL;
    if (s->sni)
        tc->sni = must(str_dup(str_of(s->sni)));
    else if (tc->hostname && !is_address(str_of(tc->hostname)))
        tc->sni = must(str_dup(str_of(tc->hostname)));
    if (alpn_len && SSL_CTX_set_alpn_protos(tc->ctx, alpn, alpn_len) != 0) {
        buf_printf(why, "%s", tls_last_error());
        return false;
    }
    return trust(tc, s, b, why) && show(tc, s, b, why);
}

struct tls_client *tls_client_create(const struct tls_cluster_settings *s, const char *host,
                                     const struct bundle *b, const char *who, struct buf *errors)
{
    struct tls_client *tc = must(calloc(1, sizeof *tc));
    struct buf why;
    buf_init(&why);
    atomic_init(&tc->refs, 1);
    tc->id = clock_now_ns(); /* one thread makes them all */
    tc->max_key_updates = s->max_key_updates;
    tc->ctx = SSL_CTX_new(TLS_client_method());
    if (!set_up(tc, s, host, b, &why)) {
        buf_printf(errors, "%s: %.*s\n", who, STR_ARG(buf_str(&why)));
        tls_client_unref(&tc);
    }
    ERR_clear_error();
    buf_fini(&why);
    return tc;
}

struct tls_client *tls_client_ref(struct tls_client *tc)
{
    atomic_fetch_add_explicit(&tc->refs, 1, memory_order_relaxed);
    return tc;
}

void tls_client_unref(struct tls_client **ptc)
{
    struct tls_client *tc = *ptc;
    *ptc = NULL;
    if (!tc || atomic_fetch_sub_explicit(&tc->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(tc->ctx);
    free(tc->hostname);
    free(tc->sni);
    free(tc);
}

/* ---- one connection ---- */

/* Whom the certificate must be for (RFC 9110 4.3.4). */
static bool expect(SSL *ssl, const struct tls_client *tc, const struct addr *to)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    char text[ADDR_TEXT_BYTES];
    if (!tc->verify)
        return true;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (tc->hostname && !is_address(str_of(tc->hostname)))
        return X509_VERIFY_PARAM_set1_host(param, tc->hostname, 0) == 1;
    size_t n = tc->hostname ? strlen(tc->hostname) : addr_print_ip(to, text);
    const char *ip = tc->hostname ? tc->hostname : text;
    if (n >= sizeof text)
        return false;
    memmove(text, ip, n);
    text[n] = 0;
    /* A unix socket has no address: without a hostname nothing could be right. */
    return X509_VERIFY_PARAM_set1_ip_asc(param, text) == 1;
}

bool tls_client_aim(SSL *ssl, const struct tls_client *tc, const struct addr *to)
{
    return expect(ssl, tc, to) && (!tc->sni || SSL_set_tlsext_host_name(ssl, tc->sni));
}

static bool offer(struct tls *t, const struct tls_client *tc, const char *alpn)
{
    unsigned char wire[TLS_ALPN_BYTES];
    unsigned n = 0;
    struct str rest = str_of(alpn), word;
    if (tc->has_alpn || !alpn)
        return true;
    while (str_next(&rest, ',', &word) && n + 1 + word.n <= sizeof wire) {
        wire[n++] = (unsigned char)word.n;
        memcpy(wire + n, word.p, word.n);
        n += (unsigned)word.n;
    }
    return SSL_set_alpn_protos(t->ssl, wire, n) == 0;
}

static void take_up(struct tls *t, const struct tls_client *tc)
{
    struct tls_resume *r = t->resume;
    if (!r || !r->session || r->made_by != tc->id || !addr_eq(&r->addr, &t->to))
        return;
    SSL_SESSION *copy = SSL_SESSION_dup(r->session);
    if (copy)
        (void)SSL_set_session(t->ssl, copy);
    SSL_SESSION_free(copy);
}

bool tls_connect(struct conn *c, struct tls_worker *tw, struct tls_client *tc, const struct addr *to,
                 const char *alpn, struct tls_resume *resume)
{
    struct tls *t = tls_create(c, tw, tc->ctx);
    if (!t)
        return false;
    t->client = tls_client_ref(tc);
    t->to = *to;
    t->resume = resume;
    t->wants_write = true;
    SSL_set_connect_state(t->ssl);
    take_up(t, tc);
    if (offer(t, tc, alpn) && tls_client_aim(t->ssl, tc, to))
        return true;
    ERR_clear_error();
    return false; /* whoever closes the conn frees it all */
}
