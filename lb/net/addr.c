#include "net/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "base/panic.h"

#define UNIX_PREFIX "unix:"

static bool parse_unix(struct str path, struct addr *a)
{
    /* "@name" is the abstract name space of Linux: there a NUL stands in front and the length counts. */
    if (!path.n || path.n >= sizeof(a->un.sun_path) || memchr(path.p, 0, path.n))
        return false;
    bool is_abstract = path.p[0] == '@';
    a->un.sun_family = AF_UNIX;
    memcpy(a->un.sun_path, path.p, path.n);
    if (is_abstract)
        a->un.sun_path[0] = 0;
    a->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + (is_abstract ? 0 : 1));
    return true;
}

static bool parse_ip(struct str text, int family, void *out_ip)
{
    char copy[INET6_ADDRSTRLEN];
    if (text.n >= sizeof(copy) || memchr(text.p, 0, text.n))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    return inet_pton(family, copy, out_ip) == 1;
}

static bool parse_port(struct str text, in_port_t *out_port)
{
    uint64_t port;
    if (text.n > 5 || !str_to_u64(text, &port) || port > 65535)
        return false;
    *out_port = htons((uint16_t)port);
    return true;
}

static bool parse_ip6(struct str text, struct addr *a)
{
    ptrdiff_t end = str_find(text, ']');
    if (end < 2 || (size_t)end + 2 >= text.n || text.p[end + 1] != ':')
        return false;
    a->in6.sin6_family = AF_INET6;
    a->len = sizeof(a->in6);
    return parse_ip(str_make(text.p + 1, (size_t)end - 1), AF_INET6, &a->in6.sin6_addr) &&
           parse_port(str_make(text.p + end + 2, text.n - (size_t)end - 2), &a->in6.sin6_port);
}

static bool parse_ip4(struct str text, struct addr *a)
{
    ptrdiff_t colon = str_find(text, ':');
    if (colon < 1)
        return false;
    a->in.sin_family = AF_INET;
    a->len = sizeof(a->in);
    return parse_ip(str_make(text.p, (size_t)colon), AF_INET, &a->in.sin_addr) &&
           parse_port(str_make(text.p + colon + 1, text.n - (size_t)colon - 1), &a->in.sin_port);
}

bool addr_parse(struct str text, struct addr *out_addr)
{
    memset(out_addr, 0, sizeof(*out_addr)); /* padding too: addresses are compared and sent as bytes */
    if (str_starts(text, STR(UNIX_PREFIX)))
        return parse_unix(str_make(text.p + sizeof(UNIX_PREFIX) - 1, text.n - (sizeof(UNIX_PREFIX) - 1)),
                          out_addr);
    if (text.n && text.p[0] == '[')
        return parse_ip6(text, out_addr);
    return parse_ip4(text, out_addr);
}

static bool is_mapped(const struct addr *a)
{
    return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr);
}

static size_t print_unix(const struct addr *a, char *to)
{
    size_t n =
        a->len > offsetof(struct sockaddr_un, sun_path) ? a->len - offsetof(struct sockaddr_un, sun_path) : 0;
    if (!n)
        return (size_t)snprintf(to, ADDR_TEXT_BYTES, "unix"); /* an unnamed client */
    bool is_abstract = a->un.sun_path[0] == 0;
    size_t path = is_abstract ? n : strnlen(a->un.sun_path, n);
    memcpy(to, UNIX_PREFIX, sizeof(UNIX_PREFIX) - 1);
    memcpy(to + sizeof(UNIX_PREFIX) - 1, a->un.sun_path, path);
    if (is_abstract)
        to[sizeof(UNIX_PREFIX) - 1] = '@';
    to[sizeof(UNIX_PREFIX) - 1 + path] = 0;
    return sizeof(UNIX_PREFIX) - 1 + path;
}

size_t addr_print_ip(const struct addr *a, char *to)
{
    const char *text = NULL;
    if (a->sa.sa_family == AF_INET)
        text = inet_ntop(AF_INET, &a->in.sin_addr, to, ADDR_TEXT_BYTES);
    else if (is_mapped(a))
        text = inet_ntop(AF_INET, &a->in6.sin6_addr.s6_addr[12], to, ADDR_TEXT_BYTES);
    else if (a->sa.sa_family == AF_INET6)
        text = inet_ntop(AF_INET6, &a->in6.sin6_addr, to, ADDR_TEXT_BYTES);
    return text ? strlen(text) : (size_t)snprintf(to, ADDR_TEXT_BYTES, "unix");
}

/* Up to five digits. */
static char *put_number(char *to, unsigned n)
{
    char digits[5];
    unsigned count = 0;
    do
        digits[count++] = (char)('0' + n % 10);
    while ((n /= 10) && count < sizeof digits);
    while (count)
        *to++ = digits[--count];
    return to;
}

/* By hand, because whoever writes out a large topology prints a hundred thousand of them. */
static size_t print_ip4(const struct addr *a, char *to)
{
    unsigned char ip[4];
    char *at = to;
    memcpy(ip, &a->in.sin_addr, sizeof ip);
    for (unsigned i = 0; i < 4; i++) {
        at = put_number(at, ip[i]);
        *at++ = i < 3 ? '.' : ':';
    }
    at = put_number(at, addr_port(a));
    *at = 0;
    return (size_t)(at - to);
}

size_t addr_print(const struct addr *a, char *to)
{
    char ip[ADDR_TEXT_BYTES];
    if (a->sa.sa_family == AF_INET)
        return print_ip4(a, to);
    if (a->sa.sa_family != AF_INET6)
        return print_unix(a, to);
    addr_print_ip(a, ip);
    return (size_t)snprintf(to, ADDR_TEXT_BYTES, is_mapped(a) ? "%.64s:%u" : "[%.64s]:%u", ip, addr_port(a));
}

uint16_t addr_port(const struct addr *a)
{
    if (a->sa.sa_family == AF_INET)
        return ntohs(a->in.sin_port);
    return a->sa.sa_family == AF_INET6 ? ntohs(a->in6.sin6_port) : 0;
}

bool addr_ip16(const struct addr *a, uint8_t out_ip[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (a->sa.sa_family == AF_INET6) {
        memcpy(out_ip, a->in6.sin6_addr.s6_addr, 16);
        return true;
    }
    if (a->sa.sa_family != AF_INET)
        return false;
    memcpy(out_ip, mapped, sizeof(mapped));
    memcpy(out_ip + 12, &a->in.sin_addr, 4);
    return true;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    if (a->sa.sa_family != b->sa.sa_family)
        return false;
    switch (a->sa.sa_family) {
    case AF_INET:
        return a->in.sin_port == b->in.sin_port && a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
    case AF_INET6:
        return a->in6.sin6_port == b->in6.sin6_port && a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
               memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0;
    default:
        return a->len == b->len && memcmp(&a->un, &b->un, a->len) == 0;
    }
}
