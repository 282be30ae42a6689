#include "proxy/affinity.h"

#include <stdio.h>

#include "proxy/proxy.h"
#include "topo/token.h"

/* RFC 6265 4.2.1: pairs with "; " between them; some clients leave out the blank, some quote. */
static struct str cookie_in(struct str pairs, struct str name)
{
    struct str pair;
    while (str_next(&pairs, ';', &pair)) {
        if (pair.n <= name.n || pair.p[name.n] != '=' || memcmp(pair.p, name.p, name.n) != 0)
            continue;
        struct str value = str_make(pair.p + name.n + 1, pair.n - name.n - 1);
        bool quoted = value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"';
        return quoted ? str_make(value.p + 1, value.n - 2) : value;
    }
    return STR_NULL;
}

struct str affinity_cookie(const struct message *req, struct str name)
{
    if (!message_has(req, FIELD_COOKIE))
        return STR_NULL;
    for (uint16_t i = 0; i < req->field_count; i++) {
        const struct field *f = &req->fields[i];
        struct str value = f->id == FIELD_COOKIE ? cookie_in(field_value_of(req, f), name) : STR_NULL;
        if (value.p)
            return value;
    }
    return STR_NULL;
}

static struct str header_of(const struct message *req, struct str name)
{
    for (uint16_t i = 0; i < req->field_count; i++)
        if (str_ieq(field_name_of(req, &req->fields[i]), name))
            return field_value_of(req, &req->fields[i]);
    return STR_NULL;
}

/* Behind a trusted proxy the client that it names, else whoever connected. */
static struct str source_of(const struct exchange *x)
{
    return x->client_ip.n ? x->client_ip : str_make((const char *)x->session->ip, sizeof x->session->ip);
}

uint64_t affinity_hash(struct exchange *x, uint8_t kind, struct str name, uint64_t seed)
{
    struct str key = STR_NULL;
    if (kind == HASH_SOURCE)
        key = source_of(x);
    else if (kind == HASH_HEADER)
        key = header_of(&x->req, name);
    else if (kind == HASH_COOKIE)
        key = affinity_cookie(&x->req, name);
    else
        return balance_hash(message_str(&x->req, x->req.path),
                            balance_hash(message_str(&x->req, x->req.query), seed));
    return key.n ? balance_hash(key, seed) : balance_random(&x->pw->random);
}

void affinity_read(struct exchange *x)
{
    if (x->opt->balance == BALANCE_CONSISTENT_HASH)
        x->balance.hash = affinity_hash(x, x->cluster->hash_key, x->cluster->hash_name, 0);
    if (x->cluster->tokens)
        x->balance.preferred =
            1 + token_find(x->cluster, affinity_cookie(&x->req, str_of(x->opt->sticky.cookie)));
}

size_t affinity_set_cookie(const struct exchange *x, char to[AFFINITY_COOKIE_BYTES])
{
    char token[TOKEN_TEXT_BYTES], age[40] = "";
    if (!x->cluster || !x->cluster->tokens || !x->endpoint || x->reason)
        return 0;
    uint32_t index = (uint32_t)(x->endpoint - x->cluster->endpoints);
    if (x->balance.preferred == (int)index + 1)
        return 0;
    token_text(x->cluster, index, token);
    if (x->opt->sticky.max_age_s)
        snprintf(age, sizeof age, "; Max-Age=%lld", (long long)x->opt->sticky.max_age_s);
    int n = snprintf(to, AFFINITY_COOKIE_BYTES, "%s=%.*s; Path=/; HttpOnly; SameSite=Lax%s%s",
                     x->opt->sticky.cookie, TOKEN_TEXT_BYTES, token, age,
                     x->req.flags & MSG_SECURE ? "; Secure" : "");
    return n > 0 && n < AFFINITY_COOKIE_BYTES ? (size_t)n : 0;
}
