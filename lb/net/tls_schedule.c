#define OPENSSL_SUPPRESS_DEPRECATED /* the hashes themselves: EVP would look them up again each time */

#include "net/tls_schedule.h"

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <string.h>

#include "base/str.h"
#include "net/tls_priv.h"

#define HASH_MAX  48
#define BLOCK_MAX 128
#define INFO_MAX  512

/* Of a thread, for OpenSSL tells a KDF nothing about whom it works for. */
static _Thread_local struct tls *current;

void tls_schedule_for(struct tls *t)
{
    current = t;
}

/* ---- HMAC (RFC 2104), of keys that are no longer than a block ---- */

enum hash { SHA_256, SHA_384 };

static size_t hash_bytes(enum hash h)
{
    return h == SHA_256 ? 32 : 48;
}

struct pieces {
    const unsigned char *first, *second;
    size_t first_len, second_len;
};

static void digest(enum hash h, const struct pieces *p, unsigned char *out)
{
    if (h == SHA_256) {
        SHA256_CTX c;
        SHA256_Init(&c);
        SHA256_Update(&c, p->first, p->first_len);
        SHA256_Update(&c, p->second, p->second_len);
        SHA256_Final(out, &c);
        OPENSSL_cleanse(&c, sizeof c);
    } else {
        SHA512_CTX c;
        SHA384_Init(&c);
        SHA384_Update(&c, p->first, p->first_len);
        SHA384_Update(&c, p->second, p->second_len);
        SHA384_Final(out, &c);
        OPENSSL_cleanse(&c, sizeof c);
    }
}

static void hmac(enum hash h, const unsigned char *key, const unsigned char *p, size_t n, unsigned char *out)
{
    unsigned char pad[BLOCK_MAX], inner[HASH_MAX];
    size_t block = h == SHA_256 ? 64 : 128;
    memset(pad, 0x36, block);
    for (size_t i = 0; i < hash_bytes(h); i++)
        pad[i] ^= key[i];
    digest(h, &(struct pieces){pad, p, block, n}, inner);
    for (size_t i = 0; i < block; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    digest(h, &(struct pieces){pad, inner, block, hash_bytes(h)}, out);
    OPENSSL_cleanse(pad, sizeof pad);
    OPENSSL_cleanse(inner, sizeof inner);
}

/* ---- the schedule ---- */

struct order {
    int mode;
    bool has_hash;
    enum hash hash;
    struct str key, salt, prefix, label, data;
};

/* HKDF-Expand-Label; never more than one block of the hash. */
static bool expand(const struct order *o, struct str secret, struct str data, unsigned char *out, size_t n)
{
    unsigned char info[INFO_MAX], block[HASH_MAX];
    size_t label = o->prefix.n + o->label.n, at = 0;
    if (secret.n != hash_bytes(o->hash) || n > secret.n || label > UINT8_MAX || data.n > HASH_MAX)
        return false;
    info[at++] = 0;
    info[at++] = (unsigned char)n;
    info[at++] = (unsigned char)label;
    memcpy(info + at, o->prefix.p, o->prefix.n);
    memcpy(info + at + o->prefix.n, o->label.p, o->label.n);
    at += label;
    info[at++] = (unsigned char)data.n;
    if (data.n)
        memcpy(info + at, data.p, data.n);
    at += data.n;
    info[at++] = 1;
    hmac(o->hash, (const unsigned char *)secret.p, info, at, block);
    memcpy(out, block, n);
    OPENSSL_cleanse(block, sizeof block);
    return true;
}

/* The next of the three secrets that all others come from: HKDF-Extract, with the one before, made fit, as
 * salt. What is missing is zeros. */
static bool extract(const struct order *o, unsigned char *out, size_t n)
{
    static const unsigned char zeros[HASH_MAX];
    unsigned char salt[HASH_MAX] = {0}, nothing[HASH_MAX];
    size_t len = hash_bytes(o->hash);
    if (n != len)
        return false;
    if (o->salt.p) {
        digest(o->hash, &(struct pieces){zeros, zeros, 0, 0}, nothing);
        if (!expand(o, o->salt, str_make((const char *)nothing, len), salt, len))
            return false;
    }
    if (o->key.p)
        hmac(o->hash, salt, (const unsigned char *)o->key.p, o->key.n, out);
    else
        hmac(o->hash, salt, zeros, len, out);
    OPENSSL_cleanse(salt, sizeof salt);
    return true;
}

static bool take_hash(struct order *o, struct str name)
{
    o->hash = str_eq(name, STR("SHA384")) || str_eq(name, STR("SHA2-384")) ? SHA_384 : SHA_256;
    o->has_hash = o->hash == SHA_384 || str_eq(name, STR("SHA256")) || str_eq(name, STR("SHA2-256"));
    return o->has_hash;
}

static bool take(struct order *o, const OSSL_PARAM *p)
{
    static const struct {
        const char *name;
        size_t at;
    } texts[] = {{OSSL_KDF_PARAM_KEY, offsetof(struct order, key)},
                 {OSSL_KDF_PARAM_SALT, offsetof(struct order, salt)},
                 {OSSL_KDF_PARAM_PREFIX, offsetof(struct order, prefix)},
                 {OSSL_KDF_PARAM_LABEL, offsetof(struct order, label)},
                 {OSSL_KDF_PARAM_DATA, offsetof(struct order, data)}};
    if (strcmp(p->key, OSSL_KDF_PARAM_MODE) == 0)
        return OSSL_PARAM_get_int(p, &o->mode) == 1;
    if (strcmp(p->key, OSSL_KDF_PARAM_DIGEST) == 0)
        return p->data && take_hash(o, str_make(p->data, p->data_size));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(p->key, texts[i].name) == 0)
            *(struct str *)(void *)((char *)o + texts[i].at) = str_make(p->data, p->data_size);
    return true;
}

static int derive(void *ctx, unsigned char *out, size_t n, const OSSL_PARAM params[])
{
    struct order o = {.mode = -1};
    (void)ctx;
    for (const OSSL_PARAM *p = params; p && p->key; p++)
        if (!take(&o, p))
            return 0;
    if (!o.has_hash)
        return 0;
    if (o.mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY)
        return extract(&o, out, n);
    if (o.mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY || !expand(&o, o.key, o.data, out, n))
        return 0;
    bool is_ours = str_eq(o.label, STR("s ap traffic"));
    if (current && (is_ours || str_eq(o.label, STR("c ap traffic"))))
        tls_on_secret(current, is_ours, out, n);
    return 1;
}

/* ---- as OpenSSL has it ---- */

/* All that is needed comes with each call: the provider itself serves as the context. */
static void *new_context(void *provider)
{
    return provider;
}

static void ignore(void *ctx)
{
    (void)ctx;
}

static int set_params(void *ctx, const OSSL_PARAM params[])
{
    (void)ctx;
    (void)params;
    return 1;
}

static const OSSL_PARAM *settable(void *ctx, void *provider)
{
    static const OSSL_PARAM none[] = {OSSL_PARAM_END};
    (void)ctx;
    (void)provider;
    return none;
}

typedef void (*any_fn)(void);

static const OSSL_DISPATCH kdf_functions[] = {{OSSL_FUNC_KDF_NEWCTX, (any_fn)new_context},
                                              {OSSL_FUNC_KDF_FREECTX, (any_fn)ignore},
                                              {OSSL_FUNC_KDF_RESET, (any_fn)ignore},
                                              {OSSL_FUNC_KDF_DERIVE, (any_fn)derive},
                                              {OSSL_FUNC_KDF_SET_CTX_PARAMS, (any_fn)set_params},
                                              {OSSL_FUNC_KDF_SETTABLE_CTX_PARAMS, (any_fn)settable},
                                              {0, NULL}};

static const OSSL_ALGORITHM *query(void *provider, int operation, int *out_no_cache)
{
    static const OSSL_ALGORITHM kdfs[] = {{"TLS13-KDF", "provider=coxswain", kdf_functions, NULL},
                                          {NULL, NULL, NULL, NULL}};
    (void)provider;
    *out_no_cache = 0;
    return operation == OSSL_OP_KDF ? kdfs : NULL;
}

static int begin(const OSSL_CORE_HANDLE *core, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
                 void **provider)
{
    static const OSSL_DISPATCH functions[] = {{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (any_fn)query}, {0, NULL}};
    (void)in;
    *out = functions;
    *provider = (void *)(uintptr_t)core; /* anything but NULL */
    return 1;
}

/* Its place in OpenSSL's global context; never given back. */
static OSSL_PROVIDER *loaded;

static void load(void)
{
    if (OSSL_PROVIDER_add_builtin(NULL, "coxswain", begin))
        loaded =
            OSSL_PROVIDER_try_load(NULL, "coxswain", 1); /* besides those that are there without asking */
    ERR_clear_error();
}

bool tls_schedule_load(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, load);
    return loaded != NULL;
}
