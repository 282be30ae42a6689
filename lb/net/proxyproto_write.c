#include <string.h>

#include "net/proxyproto.h"
#include "net/proxyproto_wire.h"

struct out {
    char *p;
    size_t len, cap;
    bool overflow;
};

static void put(struct out *o, const void *p, size_t n)
{
    if (n > o->cap - o->len) {
        o->overflow = true;
        return;
    }
    if (n)
        memcpy(o->p + o->len, p, n);
    o->len += n;
}

static void put_number(struct out *o, uint32_t v, size_t bytes)
{
    char big[4] = {(char)(v >> 24), (char)(v >> 16), (char)(v >> 8), (char)v};
    put(o, big + 4 - bytes, bytes);
}

static void put_text(struct out *o, struct str text)
{
    put(o, text.p, text.n);
}

static void put_tlv(struct out *o, uint32_t type, struct str value, size_t max)
{
    if (!value.n)
        return;
    o->overflow |= value.n > max;
    put_number(o, type, 1);
    put_number(o, (uint32_t)value.n, 2);
    put_text(o, value);
}

/* The length of what was written since `at` (the place behind the length itself), never one computed before
 * (P3). */
static void patch_length(struct out *o, size_t at)
{
    size_t n = o->len - at;
    if (o->overflow || n > 65535) {
        o->overflow = true;
        return;
    }
    o->p[at - 2] = (char)(n >> 8);
    o->p[at - 1] = (char)n;
}

static void put_tls(struct out *o, const struct proxyproto *h)
{
    put_number(o, TLV_SSL, 1);
    put_number(o, 0, 2);
    size_t at = o->len;
    put_number(o, h->tls_client, 1);
    put_number(o, h->tls_verify, 4);
    put_tlv(o, TLV_SSL_VERSION, h->tls_version, PROXYPROTO_NAME_MAX);
    put_tlv(o, TLV_SSL_CN, h->tls_name, PROXYPROTO_NAME_MAX);
    put_tlv(o, TLV_SSL_CIPHER, h->tls_cipher, PROXYPROTO_NAME_MAX);
    patch_length(o, at);
}

static void put_port(struct out *o, const struct addr *a)
{
    put_number(o, addr_port(a), 2);
}

/* What the two are sent as: AF_UNSPEC when one has no IP address. */
static int common_family(const struct proxyproto *h, uint8_t from[16], uint8_t to[16])
{
    if (h->is_local || !addr_ip16(&h->from, from) || !addr_ip16(&h->to, to))
        return AF_UNSPEC;
    bool both = IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)from) &&
                IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)(const void *)to);
    return both ? AF_INET : AF_INET6;
}

static void put_v2(struct out *o, const struct proxyproto *h)
{
    uint8_t from[16], to[16];
    int family = common_family(h, from, to);
    size_t skip = family == AF_INET ? 12 : 0;
    put(o, PROXYPROTO_SIGNATURE, SIGNATURE_BYTES);
    put_number(o, h->is_local ? 0x20 : 0x21, 1);
    put_number(o, family == AF_INET ? FAMILY_TCP4 : family == AF_INET6 ? FAMILY_TCP6 : FAMILY_UNSPEC, 1);
    put_number(o, 0, 2);
    size_t at = o->len;
    if (family != AF_UNSPEC) {
        put(o, from + skip, 16 - skip);
        put(o, to + skip, 16 - skip);
        put_port(o, &h->from);
        put_port(o, &h->to);
        put_tlv(o, TLV_ALPN, h->alpn, PROXYPROTO_NAME_MAX);
        put_tlv(o, TLV_AUTHORITY, h->authority, PROXYPROTO_NAME_MAX);
        put_tlv(o, TLV_UNIQUE_ID, h->unique_id, PROXYPROTO_UNIQUE_ID_MAX);
        if (h->has_tls)
            put_tls(o, h);
    }
    patch_length(o, at);
}

/* An address of v1 in text; in a TCP6 line IPv4 is v4-mapped, and must look so. */
static void put_v1_ip(struct out *o, const struct addr *a, int family)
{
    char text[ADDR_TEXT_BYTES];
    size_t n = addr_print_ip(a, text); /* v4-mapped comes out as IPv4 */
    if (family == AF_INET6 && str_find(str_make(text, n), ':') < 0)
        put_text(o, STR("::ffff:"));
    put_text(o, str_make(text, n));
}

static void put_v1_port(struct out *o, const struct addr *a)
{
    char digits[5];
    size_t n = sizeof digits;
    uint16_t v = addr_port(a);
    do
        digits[--n] = (char)('0' + v % 10);
    while (v /= 10);
    put(o, digits + n, sizeof digits - n);
}

static void put_v1(struct out *o, const struct proxyproto *h)
{
    uint8_t from[16], to[16];
    int family = common_family(h, from, to);
    if (family == AF_UNSPEC) {
        put_text(o, STR("PROXY UNKNOWN\r\n"));
        return;
    }
    put_text(o, family == AF_INET ? STR("PROXY TCP4 ") : STR("PROXY TCP6 "));
    put_v1_ip(o, &h->from, family);
    put_text(o, STR(" "));
    put_v1_ip(o, &h->to, family);
    put_text(o, STR(" "));
    put_v1_port(o, &h->from);
    put_text(o, STR(" "));
    put_v1_port(o, &h->to);
    put_text(o, STR("\r\n"));
}

size_t proxyproto_write(const struct proxyproto *h, int version, char *to, size_t cap)
{
    struct out o = {.p = to, .cap = cap};
    if (version == 1)
        put_v1(&o, h);
    else
        put_v2(&o, h);
    return o.overflow ? 0 : o.len;
}
