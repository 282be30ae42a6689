/* fuzz_proxyproto: a PROXY header means the same however it arrives, and what we make of it means the same to
 * whoever reads it next. */
#include <stdlib.h>

#include "base/panic.h"
#include "net/proxyproto.h"

#define MAX 1024

static int parse(const char *p, size_t n, struct proxyproto *h)
{
    const char *why;
    int got = proxyproto_parse(p, n, MAX, h, &why);
    ASSERT(got <= (int)n && (got >= 0 || *why));
    return got;
}

/* Each prefix in a block of exactly its size. */
static int parse_prefix(const char *p, size_t n)
{
    struct proxyproto h;
    char *copy = malloc(n ? n : 1);
    ASSERT(copy);
    if (n)
        memcpy(copy, p, n);
    int got = parse(copy, n, &h);
    free(copy);
    return got;
}

static bool is_inside(struct str text, const char *p, size_t n)
{
    return !text.n || (text.p >= p && text.p + text.n <= p + n);
}

static void check_sane(const struct proxyproto *h, const char *p, size_t n)
{
    const struct str texts[] = {h->unique_id,   h->authority,  h->alpn,
                                h->tls_version, h->tls_cipher, h->tls_name};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        ASSERT(is_inside(texts[i], p, n));
        for (size_t k = 0; k < texts[i].n; k++)
            ASSERT((unsigned char)texts[i].p[k] >= ' ' && texts[i].p[k] != 0x7f);
    }
    if (!h->is_local)
        ASSERT(h->from.sa.sa_family == h->to.sa.sa_family && h->from.len <= sizeof h->from.un);
}

static void check_written(const struct proxyproto *h, int version)
{
    char out[PROXYPROTO_WRITE_MAX];
    struct proxyproto again;
    size_t n = proxyproto_write(h, version, out, sizeof out);
    ASSERT(n > 0);
    ASSERT(parse(out, n, &again) == (int)n);
    bool has_ip = !h->is_local && h->from.sa.sa_family != AF_UNIX;
    ASSERT(again.is_local == !has_ip);
    if (!has_ip)
        return;
    uint8_t a[16], b[16];
    ASSERT(addr_ip16(&h->from, a) && addr_ip16(&again.from, b) && memcmp(a, b, 16) == 0);
    ASSERT(addr_ip16(&h->to, a) && addr_ip16(&again.to, b) && memcmp(a, b, 16) == 0);
    ASSERT(addr_port(&h->from) == addr_port(&again.from) && addr_port(&h->to) == addr_port(&again.to));
    if (version == 1)
        return;
    ASSERT(str_eq(h->unique_id, again.unique_id) && str_eq(h->authority, again.authority));
    ASSERT(str_eq(h->alpn, again.alpn) && h->has_tls == again.has_tls);
    ASSERT(str_eq(h->tls_version, again.tls_version) && str_eq(h->tls_cipher, again.tls_cipher));
    ASSERT(str_eq(h->tls_name, again.tls_name) && h->tls_verify == again.tls_verify);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    struct proxyproto h;
    if (size > 2 * MAX)
        return 0;
    int got = parse(p, size, &h);
    size_t whole = got > 0 ? (size_t)got : size;
    for (size_t n = 0; n < whole; n++) {
        int early = parse_prefix(p, n);
        ASSERT(early <= 0 && (got < 0 || early == 0)); /* refused early only what is refused in the end */
    }
    if (got <= 0)
        return 0;
    check_sane(&h, p, size);
    ASSERT(parse_prefix(p, whole) == got);
    check_written(&h, 1);
    check_written(&h, 2);
    return 0;
}
