#include "base/cidr.h"

#include <arpa/inet.h>
#include <string.h>

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* The text of an address without brackets; out_bits: the width of its family. */
static bool ip_parse(struct str text, uint8_t out_ip[16], unsigned *out_bits)
{
    char z[INET6_ADDRSTRLEN];
    if (text.n == 0 || text.n >= sizeof z || memchr(text.p, 0, text.n))
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = 0;
    if (str_find(text, ':') >= 0) {
        *out_bits = 128;
        return inet_pton(AF_INET6, z, out_ip) == 1;
    }
    *out_bits = 32;
    memcpy(out_ip, v4_mapped, sizeof v4_mapped);
    return inet_pton(AF_INET, z, out_ip + 12) == 1;
}

static struct str without_brackets(struct str text)
{
    if (text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']' && str_find(text, ':') >= 0)
        return str_make(text.p + 1, text.n - 2);
    return text;
}

bool cidr_ip_parse(struct str text, uint8_t out_ip[16])
{
    unsigned bits;
    return ip_parse(without_brackets(text), out_ip, &bits);
}

/* Whether a and b agree in their first `bits` bits. */
static bool prefix_eq(const uint8_t a[16], const uint8_t b[16], unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool has_host_bits(const struct cidr *net)
{
    uint8_t cut[16] = {0};
    unsigned whole = net->bits / 8u, rest = net->bits % 8u;
    memcpy(cut, net->net, whole);
    if (rest)
        cut[whole] = (uint8_t)(net->net[whole] & (0xff00 >> rest));
    return memcmp(cut, net->net, 16) != 0;
}

bool cidr_parse(struct str text, struct cidr *out_net)
{
    ptrdiff_t slash = str_find(text, '/');
    struct str ip = slash < 0 ? text : str_make(text.p, (size_t)slash);
    unsigned width;
    if (!ip_parse(without_brackets(ip), out_net->net, &width))
        return false;
    uint64_t bits = width;
    if (slash >= 0) {
        struct str digits = str_make(text.p + slash + 1, text.n - (size_t)slash - 1);
        if (digits.n > 3 || !str_to_u64(digits, &bits) || bits > width)
            return false;
    }
    out_net->bits = (uint8_t)(bits + (128 - width));
    return !has_host_bits(out_net);
}

bool cidr_list_has(const struct cidr_list *list, const uint8_t ip[16])
{
    for (size_t i = 0; i < list->count; i++)
        if (prefix_eq(list->nets[i].net, ip, list->nets[i].bits))
            return true;
    return false;
}
