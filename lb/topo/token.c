#include "topo/token.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/hex.h"
#include "base/panic.h"
#include "net/mac.h"

/* Lengths in front, so that no two pairs of ids give the same text. */
static bool make_token(struct str secret, const struct cluster *c, const struct endpoint *e,
                       struct token *out)
{
    unsigned char mac[MAC_BYTES];
    struct buf text;
    buf_init(&text);
    buf_printf(&text, "coxswain sticky %zu %zu ", c->id.n, endpoint_id(e).n);
    buf_put_str(&text, c->id);
    buf_put_str(&text, endpoint_id(e));
    bool ok = mac_make(secret, buf_str(&text), mac);
    buf_fini(&text);
    if (ok)
        memcpy(out, mac, sizeof *out);
    return ok;
}

static int order_of(const struct token *a, const struct token *b)
{
    if (a->high != b->high)
        return a->high < b->high ? -1 : 1;
    return (a->low > b->low) - (a->low < b->low);
}

static int by_token(const void *a, const void *b, void *table)
{
    const struct token_table *t = table;
    return order_of(&t->v[*(const uint32_t *)a], &t->v[*(const uint32_t *)b]);
}

static bool sign_cluster(struct cluster *c, struct str secret)
{
    uint32_t n = c->endpoint_count;
    struct token_table *t = must(malloc(sizeof *t + n * (sizeof *t->v + sizeof *t->order)));
    t->count = n;
    t->order = (uint32_t *)(void *)(t->v + n);
    for (uint32_t i = 0; i < n; i++) {
        t->order[i] = i;
        if (!make_token(secret, c, &c->endpoints[i], &t->v[i])) {
            free(t);
            return false;
        }
    }
    qsort_r(t->order, n, sizeof *t->order, by_token, t);
    c->tokens = t;
    return true;
}

bool topology_sign(struct topology *t, struct str secret)
{
    bool ok = true;
    for (uint32_t i = 0; i < t->cluster_count; i++) {
        struct cluster *c = t->clusters[i];
        if (c->options.sticky.cookie && !c->tokens) /* those that have tables are published already */
            ok &= secret.n && sign_cluster(c, secret);
    }
    return ok;
}

static bool parse_half(struct str text, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        char ch = text.p[i];
        if (!(ch >= '0' && ch <= '9') && !(ch >= 'a' && ch <= 'f'))
            return false;
        v = v << 4 | (uint64_t)(ch <= '9' ? ch - '0' : ch - 'a' + 10);
    }
    *out = v;
    return true;
}

int token_find(const struct cluster *c, struct str text)
{
    const struct token_table *t = c->tokens;
    struct token wanted;
    if (!t || text.n != TOKEN_TEXT_BYTES || !parse_half(str_make(text.p, 16), &wanted.high) ||
        !parse_half(str_make(text.p + 16, 16), &wanted.low))
        return -1;
    uint32_t low = 0, high = t->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = order_of(&t->v[t->order[middle]], &wanted);
        if (!order)
            return (int)t->order[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

void token_text(const struct cluster *c, uint32_t endpoint, char to[TOKEN_TEXT_BYTES])
{
    ASSERT(c->tokens && endpoint < c->tokens->count);
    hex_write(to, c->tokens->v[endpoint].high);
    hex_write(to + 16, c->tokens->v[endpoint].low);
}
