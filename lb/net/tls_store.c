/* The certificates of a listener, read and checked, with the hosts that they are for. */
#include <openssl/ocsp.h>
#include <stdlib.h>
#include <time.h>

#include "base/panic.h"
#include "net/tls_priv.h"

/* What one call of tls_store_create works on. */
struct making {
    struct tls_store *store;
    const struct bundle *bundle;
    const struct tls_store *old;
    const char *who;
    struct buf *errors;
    bool failed;
    int kept;
};

static void complain(struct making *m, const char *file, const struct buf *why)
{
    buf_printf(m->errors, "%s: \"%s\": %.*s\n", m->who, file, STR_ARG(buf_str(why)));
    m->failed = true;
}

/* ---- one pair ---- */

static int type_of(EVP_PKEY *key)
{
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
        return 0;
    case EVP_PKEY_EC:
        return 1;
    case EVP_PKEY_ED25519:
    case EVP_PKEY_ED448:
        return 2;
    default:
        return -1;
    }
}

static void pair_fini(struct tls_pair *p)
{
    X509_free(p->leaf);
    sk_X509_pop_free(p->chain, X509_free);
    EVP_PKEY_free(p->key);
    OPENSSL_free(p->ocsp);
    *p = (struct tls_pair){0};
}

/* By the number of the certificate, and by its issuer where the file of the certificate has that too (RFC
 * 6960 4.1.1). */
static bool is_about(OCSP_SINGLERESP *single, const struct tls_pair *p)
{
    const OCSP_CERTID *id = OCSP_SINGLERESP_get0_id(single);
    ASN1_OBJECT *digest;
    ASN1_INTEGER *serial;
    OCSP_id_get0_info(NULL, &digest, NULL, &serial, (OCSP_CERTID *)id);
    if (ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(p->leaf)))
        return false;
    X509 *issuer = sk_X509_num(p->chain) > 0 ? sk_X509_value(p->chain, 0) : NULL;
    const EVP_MD *md = EVP_get_digestbyobj(digest);
    if (!issuer || !md || X509_check_issued(issuer, p->leaf) != X509_V_OK)
        return true;
    OCSP_CERTID *ours = OCSP_cert_to_id(md, p->leaf, issuer);
    bool is_same = ours && OCSP_id_cmp(ours, id) == 0;
    OCSP_CERTID_free(ours);
    return is_same;
}

static OCSP_SINGLERESP *find_single(OCSP_BASICRESP *basic, const struct tls_pair *p)
{
    for (int i = 0; i < OCSP_resp_count(basic); i++)
        if (is_about(OCSP_resp_get0(basic, i), p))
            return OCSP_resp_get0(basic, i);
    return NULL;
}

/* The answer must be about this certificate; whether it is still valid is looked at when it is stapled. */
static bool read_ocsp(struct tls_pair *p, struct str der, struct buf *why)
{
    const unsigned char *at = (const unsigned char *)der.p;
    OCSP_RESPONSE *rsp = der.n ? d2i_OCSP_RESPONSE(NULL, &at, (long)der.n) : NULL;
    OCSP_BASICRESP *basic = rsp && OCSP_response_status(rsp) == OCSP_RESPONSE_STATUS_SUCCESSFUL
                                ? OCSP_response_get1_basic(rsp)
                                : NULL;
    ASN1_GENERALIZEDTIME *next = NULL;
    OCSP_SINGLERESP *single = basic ? find_single(basic, p) : NULL;
    bool ok = single != NULL;
    if (ok) {
        struct tm tm;
        OCSP_single_get0_status(single, NULL, NULL, NULL, &next);
        p->ocsp_until = next && ASN1_TIME_to_tm(next, &tm) ? (int64_t)timegm(&tm) : 0;
        p->ocsp = OPENSSL_memdup(der.p, der.n);
        p->ocsp_len = (int)der.n;
    } else
        buf_printf(why, basic ? "an OCSP answer for another certificate" : "no good OCSP answer");
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(rsp);
    ERR_clear_error();
    return ok;
}

/* An answer that does not fit costs the staple only when the files change under a running proxy: pair and
 * answer are seldom renewed in the same moment. */
static void add_staple(struct making *m, const struct tls_certificate_settings *s, struct tls_pair *p)
{
    struct buf why;
    buf_init(&why);
    if (!read_ocsp(p, bundle_file(m->bundle, s->ocsp), &why)) {
        bool was_failed = m->failed;
        complain(m, s->ocsp, &why);
        if (m->old)
            m->failed = was_failed;
    }
    buf_fini(&why);
}

/* On failure *out_file is the one to blame. */
static bool read_pair(struct making *m, const struct tls_certificate_settings *s, struct tls_pair *p,
                      const char **out_file, struct buf *why)
{
    const char *key_file = s->key ? s->key : s->cert;
    *out_file = p->file = s->cert;
    if (!tls_pem_certificates(bundle_file(m->bundle, s->cert), &p->chain, why))
        return false;
    p->leaf = sk_X509_shift(p->chain);
    *out_file = key_file;
    if (!tls_pem_key(bundle_file(m->bundle, key_file), &p->key, why))
        return false;
    int type = type_of(p->key);
    if (type < 0 || X509_check_private_key(p->leaf, p->key) != 1) {
        buf_printf(why, type < 0 ? "a key of a kind that is not known here"
                                 : "the key does not belong to the certificate");
        ERR_clear_error();
        return false;
    }
    p->type = (uint8_t)type;
    return true;
}

/* The pair that this file held before. */
static bool keep_old(struct making *m, const struct tls_certificate_settings *s, struct tls_pair *p)
{
    for (size_t i = 0; m->old && i < m->old->pair_count; i++) {
        const struct tls_pair *o = &m->old->pairs[i];
        if (!str_eq(str_of(o->file), str_of(s->cert)))
            continue;
        pair_fini(p);
        *p = *o;
        p->file = s->cert;
        p->chain = X509_chain_up_ref(o->chain);
        p->ocsp = o->ocsp ? OPENSSL_memdup(o->ocsp, (size_t)o->ocsp_len) : NULL;
        p->is_kept = true;
        X509_up_ref(p->leaf);
        EVP_PKEY_up_ref(p->key);
        m->kept++;
        return true;
    }
    return false;
}

/* ---- policies ---- */

static void digest_file(EVP_MD_CTX *ctx, const struct bundle *b, const char *file)
{
    struct str bytes = file ? bundle_file(b, file) : STR_NULL;
    EVP_DigestUpdate(ctx, bytes.p ? bytes.p : "", bytes.n);
    EVP_DigestUpdate(ctx, bytes.p ? "1" : "0", 1);
}

/* Two policies are the same when their modes and files are: tickets of one are then good for the other, in
 * this generation and in the next. */
static void set_sid(struct tls_policy *p, const struct bundle *b, const struct tls_auth_settings *s)
{
    EVP_MD_CTX *ctx = must(EVP_MD_CTX_new());
    unsigned char mode = (unsigned char)p->mode;
    EVP_DigestInit_ex(ctx, EVP_sha256(), NULL);
    EVP_DigestUpdate(ctx, &mode, 1);
    if (p->mode != CLIENT_AUTH_OFF) {
        digest_file(ctx, b, s->ca);
        digest_file(ctx, b, s->crl);
    }
    EVP_DigestFinal_ex(ctx, p->sid, NULL);
    EVP_MD_CTX_free(ctx);
}

static void policy_fini(struct tls_policy *p)
{
    X509_STORE_free(p->store);
    sk_X509_NAME_pop_free(p->names, X509_NAME_free);
}

static bool read_policy(struct making *m, const struct tls_auth_settings *s, struct tls_policy *p)
{
    struct buf why;
    const char *file = s->ca;
    buf_init(&why);
    *p = (struct tls_policy){.mode = s->mode == CLIENT_AUTH_INHERIT ? CLIENT_AUTH_OFF : s->mode,
                             .depth = (int)s->depth};
    set_sid(p, m->bundle, s);
    bool ok = true;
    if (p->mode != CLIENT_AUTH_OFF) {
        p->store = must(X509_STORE_new());
        p->names = must(sk_X509_NAME_new_null());
        ok = tls_pem_store(bundle_file(m->bundle, s->ca), p->store, p->names, &why);
        if (ok && s->crl) {
            file = s->crl;
            ok = tls_pem_crls(bundle_file(m->bundle, s->crl), p->store, &why);
        }
    }
    if (!ok)
        complain(m, file, &why);
    buf_fini(&why);
    return ok;
}

/* ---- sites ---- */

/* What comes first keeps its place: one pair for each kind of key. */
static void add_to_site(struct tls_site *site, const struct tls_pair *p, const struct tls_policy *policy)
{
    if (!site->policy)
        site->policy = policy;
    if (!site->pairs[p->type])
        site->pairs[p->type] = p;
}

static size_t add_named(struct making *m, const struct tls_pair *p, const struct tls_policy *policy)
{
    size_t count = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(p->leaf, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
        if (n->type != GEN_DNS)
            continue;
        struct str host = str_make((const char *)ASN1_STRING_get0_data(n->d.dNSName),
                                   (size_t)ASN1_STRING_length(n->d.dNSName));
        if (!host.n || host.n > TLS_SNI_MAX || memchr(host.p, 0, host.n))
            continue;
        add_to_site(tls_site_make(m->store, host), p, policy);
        count++;
    }
    GENERAL_NAMES_free(names);
    return count;
}

/* Old certificates have their name in the subject only. */
static void add_common_name(struct making *m, const struct tls_pair *p, const struct tls_policy *policy)
{
    char cn[TLS_SNI_MAX + 1];
    int n = X509_NAME_get_text_by_NID(X509_get_subject_name(p->leaf), NID_commonName, cn, sizeof cn);
    if (n > 0 && str_find(str_make(cn, (size_t)n), ' ') < 0)
        add_to_site(tls_site_make(m->store, str_make(cn, (size_t)n)), p, policy);
}

static void add_sites(struct making *m, const struct tls_certificate_settings *s, const struct tls_pair *p,
                      const struct tls_policy *policy)
{
    for (size_t i = 0; i < s->hosts.n; i++)
        add_to_site(tls_site_make(m->store, str_of(s->hosts.v[i])), p, policy);
    if (!s->hosts.n && !add_named(m, p, policy))
        add_common_name(m, p, policy);
}

/* Clients that name nobody get what those get that ask for the first certificate: its own kind of key, and
 * any other that some site shows beside it. */
static void add_fallback(struct tls_store *s)
{
    struct tls_site *to = tls_site_make(s, STR_NULL);
    const struct tls_pair *first = &s->pairs[0];
    to->pairs[first->type] = first;
    to->policy = &s->policies[0];
    for (size_t i = 0; i < s->bucket_count; i++)
        for (const struct tls_site *site = s->buckets[i]; site; site = site->next)
            if (site->pairs[first->type] == first)
                for (int k = 0; k < TLS_KEY_TYPES; k++)
                    if (!to->pairs[k])
                        to->pairs[k] = site->pairs[k];
}

/* ---- the store ---- */

static void add_certificate(struct making *m, const struct tls_certificate_settings *s)
{
    struct tls_store *store = m->store;
    struct tls_pair *p = &store->pairs[store->pair_count++];
    const struct tls_policy *policy = &store->policies[0];
    const char *file;
    struct buf why;
    buf_init(&why);
    if (!read_pair(m, s, p, &file, &why)) {
        bool was_failed = m->failed;
        complain(m, file, &why);
        if (keep_old(m, s, p))
            m->failed = was_failed;
    } else if (s->ocsp)
        add_staple(m, s, p);
    buf_fini(&why);
    if (s->client_auth.mode != CLIENT_AUTH_INHERIT) {
        struct tls_policy *own = &store->policies[store->policy_count++];
        if (read_policy(m, &s->client_auth, own))
            policy = own;
    }
    if (p->leaf && p->key)
        add_sites(m, s, p, policy);
}

struct tls_store *tls_store_create(const struct tls_listener_settings *s, const struct bundle *b,
                                   const char *who, const struct tls_store *old, struct buf *errors,
                                   int *out_kept)
{
    size_t n = s->certificates.count;
    struct making m = {
        .store = must(calloc(1, sizeof *m.store)), .bundle = b, .old = old, .who = who, .errors = errors};
    ASSERT(n > 0);
    atomic_init(&m.store->refs, 1);
    m.store->pairs = must(calloc(n, sizeof *m.store->pairs));
    m.store->policies = must(calloc(n + 1, sizeof *m.store->policies));
    m.store->policy_count = 1;
    (void)read_policy(&m, &s->client_auth, &m.store->policies[0]);
    for (size_t i = 0; i < n; i++)
        add_certificate(&m, SETTINGS_AT(s->certificates, struct tls_certificate_settings, i));
    if (m.failed)
        tls_store_unref(&m.store);
    else
        add_fallback(m.store);
    *out_kept = m.kept;
    return m.store;
}

struct tls_store *tls_store_ref(struct tls_store *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void tls_store_unref(struct tls_store **ps)
{
    struct tls_store *s = *ps;
    *ps = NULL;
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    tls_sites_free(s);
    for (size_t i = 0; i < s->pair_count; i++)
        pair_fini(&s->pairs[i]);
    for (size_t i = 0; i < s->policy_count; i++)
        policy_fini(&s->policies[i]);
    free(s->pairs);
    free(s->policies);
    free(s);
}

static void first_host(const struct tls_store *s, const struct tls_pair *p, char *to, size_t cap)
{
    to[0] = 0;
    X509_NAME_get_text_by_NID(X509_get_subject_name(p->leaf), NID_commonName, to, (int)cap);
    for (size_t i = 0; !to[0] && i < s->bucket_count; i++)
        for (const struct tls_site *site = s->buckets[i]; site && !to[0]; site = site->next)
            if (site->pairs[p->type] == p && strlen(site->host) < cap)
                memcpy(to, site->host, strlen(site->host) + 1);
}

bool tls_store_certificate(const struct tls_store *s, size_t i, struct tls_certificate_info *out_info)
{
    if (i >= s->pair_count)
        return false;
    const struct tls_pair *p = &s->pairs[i];
    struct tm tm = {0};
    *out_info = (struct tls_certificate_info){.file = p->file, .is_rsa = p->type == 0, .is_kept = p->is_kept};
    first_host(s, p, out_info->subject, sizeof out_info->subject);
    if (ASN1_TIME_to_tm(X509_get0_notAfter(p->leaf), &tm))
        out_info->not_after = (int64_t)timegm(&tm);
    return true;
}
