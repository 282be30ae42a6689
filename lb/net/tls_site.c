/* Which certificate a client is shown: by the name in its hello. */
#include <stdlib.h>

#include "base/panic.h"
#include "net/tls_priv.h"

static uint32_t bucket_of(const struct tls_store *s, struct str host)
{
    return str_hash(host) & (uint32_t)(s->bucket_count - 1);
}

static struct tls_site *find_exact(const struct tls_store *s, struct str host)
{
    struct tls_site *site = s->bucket_count ? s->buckets[bucket_of(s, host)] : NULL;
    while (site && !str_eq(str_of(site->host), host))
        site = site->next;
    return site;
}

/* A wildcard stands for exactly one label (RFC 6125 6.4.3). */
const struct tls_site *tls_site_find(const struct tls_store *s, struct str host, bool *out_known)
{
    char pattern[TLS_SNI_MAX + 2];
    const struct tls_site *site = host.n ? find_exact(s, host) : NULL;
    ptrdiff_t dot = str_find(host, '.');
    if (!site && dot > 0 && host.n <= TLS_SNI_MAX) {
        size_t tail = host.n - (size_t)dot;
        pattern[0] = '*';
        memcpy(pattern + 1, host.p + dot, tail);
        site = find_exact(s, str_make(pattern, tail + 1));
    }
    if (out_known)
        *out_known = site != NULL;
    return site ? site : s->fallback;
}

/* Routes take "*.x" for any number of labels, so a policy is everybody's below that name who has none nearer.
 */
const struct tls_policy *tls_policy_find(const struct tls_store *s, struct str host)
{
    char pattern[TLS_SNI_MAX + 2];
    const struct tls_site *site = host.n ? find_exact(s, host) : NULL;
    if (host.n > TLS_SNI_MAX)
        host.n = 0;
    for (size_t at = 0; !site && at < host.n; at++) {
        if (host.p[at] != '.')
            continue;
        pattern[0] = '*';
        memcpy(pattern + 1, host.p + at, host.n - at);
        site = find_exact(s, str_make(pattern, host.n - at + 1));
    }
    return site ? site->policy : s->fallback->policy;
}

static void grow(struct tls_store *s)
{
    size_t old_count = s->bucket_count;
    struct tls_site **old = s->buckets;
    s->bucket_count = old_count ? old_count * 2 : 16;
    s->buckets = must(calloc(s->bucket_count, sizeof *s->buckets));
    for (size_t i = 0; i < old_count; i++)
        for (struct tls_site *site = old[i], *next; site; site = next) {
            struct tls_site **to = &s->buckets[bucket_of(s, str_of(site->host))];
            next = site->next;
            site->next = *to;
            *to = site;
        }
    free(old);
}

struct tls_site *tls_site_make(struct tls_store *s, struct str host)
{
    char lower[TLS_SNI_MAX + 1];
    ASSERT(host.n <= TLS_SNI_MAX);
    for (size_t i = 0; i < host.n; i++)
        lower[i] = char_lower(host.p[i]);
    struct str name = str_make(lower, host.n);
    struct tls_site *site = host.p ? find_exact(s, name) : s->fallback;
    if (site)
        return site;
    site = must(calloc(1, sizeof *site));
    if (!host.p) {
        s->fallback = site;
        return site;
    }
    if (++s->site_count > s->bucket_count)
        grow(s);
    site->host = must(str_dup(name));
    struct tls_site **to = &s->buckets[bucket_of(s, name)];
    site->next = *to;
    *to = site;
    return site;
}

void tls_sites_free(struct tls_store *s)
{
    for (size_t i = 0; i < s->bucket_count; i++)
        for (struct tls_site *site = s->buckets[i], *next; site; site = next) {
            next = site->next;
            free(site->host);
            free(site);
        }
    free(s->buckets);
    free(s->fallback);
}

/* ---- server_name ---- */

static size_t take_u16(const unsigned char *p)
{
    return (size_t)p[0] << 8 | p[1];
}

/* RFC 6066 3: a list, of which only one host_name (type 0) is known; its letters are those of DNS. */
bool tls_sni_parse(const unsigned char *p, size_t n, char out_host[TLS_SNI_MAX + 1], size_t *out_len)
{
    if (n < 5 || take_u16(p) != n - 2 || p[2] != 0)
        return false;
    size_t len = take_u16(p + 3);
    if (len != n - 5 || !len || len > TLS_SNI_MAX)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = (char)p[5 + i];
        if (c <= ' ' || c == 0x7f || c == '*')
            return false;
        out_host[i] = char_lower(c);
    }
    if (out_host[len - 1] == '.' && --len == 0) /* a root label must not be there, but some send it */
        return false;
    out_host[len] = 0;
    *out_len = len;
    return true;
}

static bool show(SSL *ssl, const struct tls_site *site)
{
    SSL_certs_clear(ssl);
    for (int i = 0; i < TLS_KEY_TYPES; i++) {
        const struct tls_pair *p = site->pairs[i];
        if (p && SSL_use_cert_and_key(ssl, p->leaf, p->key, p->chain, 1) != 1)
            return false;
    }
    return true;
}

static bool ask(struct tls *t, SSL *ssl, const struct tls_policy *p)
{
    memcpy(t->sid, p->sid, sizeof t->sid);
    t->auth_mode = p->mode;
    int mode = p->mode == CLIENT_AUTH_OFF        ? SSL_VERIFY_NONE
               : p->mode == CLIENT_AUTH_REQUIRED ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
                                                 : SSL_VERIFY_PEER;
    SSL_set_verify(ssl, mode, mode == SSL_VERIFY_NONE ? NULL : tls_on_client_certificate);
    if (!SSL_set_session_id_context(ssl, p->sid, sizeof p->sid))
        return false;
    if (p->mode == CLIENT_AUTH_OFF)
        return true;
    SSL_set_max_early_data(ssl, 0); /* who it is must be known before anything is done for them */
    SSL_set_verify_depth(ssl, p->depth);
    STACK_OF(X509_NAME) *names =
        sk_X509_NAME_deep_copy(p->names, (X509_NAME * (*)(const X509_NAME *)) X509_NAME_dup, X509_NAME_free);
    SSL_set0_CA_list(ssl, names);
    return names && SSL_set1_verify_cert_store(ssl, p->store);
}

/* The context shows its certificates already: those of the fallback, which are most sites'. Setting them anew
 * would check key against certificate in each handshake. */
static bool stands_in_context(const struct tls_server *ts, const struct tls *t)
{
    const struct tls_site *fallback = t->store->fallback;
    return !ts->show_fallback && memcmp(t->site->pairs, fallback->pairs, sizeof fallback->pairs) == 0;
}

int tls_on_client_hello(SSL *ssl, int *alert, void *arg)
{
    struct tls_server *ts = arg;
    struct tls *t = tls_of(ssl);
    const unsigned char *ext;
    char host[TLS_SNI_MAX + 1];
    size_t ext_len, len = 0;
    bool known = false;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &ext, &ext_len) &&
        !tls_sni_parse(ext, ext_len, host, &len)) {
        *alert = SSL_AD_DECODE_ERROR;
        tls_fail(t, TLS_FAIL_SNI);
        return SSL_CLIENT_HELLO_ERROR;
    }
    t->site = tls_site_find(t->store, str_make(host, len), &known);
    if (ts->settings->strict_sni && !known) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        tls_fail(t, TLS_FAIL_SNI);
        return SSL_CLIENT_HELLO_ERROR;
    }
    const struct tls_policy *policy =
        t->store->policy_count > 1 ? tls_policy_find(t->store, str_make(host, len)) : t->site->policy;
    if ((stands_in_context(ts, t) || show(ssl, t->site)) && ask(t, ssl, policy))
        return SSL_CLIENT_HELLO_SUCCESS;
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
}
