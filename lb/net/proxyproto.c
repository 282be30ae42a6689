#include "net/proxyproto.h"

#include <string.h>

#include "net/proxyproto_wire.h"

#define UNIX_PATH 108 /* of either side */

static int bad(const char **out_why, const char *why)
{
    *out_why = why;
    return -1;
}

/* ---- version 1 ---- */

static bool take_word(struct str *line, struct str *out_word)
{
    ptrdiff_t blank = str_find(*line, ' ');
    size_t n = blank < 0 ? line->n : (size_t)blank;
    *out_word = str_make(line->p, n);
    *line = blank < 0 ? str_make(line->p + n, 0) : str_make(line->p + n + 1, line->n - n - 1);
    return n > 0;
}

/* "192.0.2.1" and "443" to an address of this family. */
static bool make_v1(int family, struct str ip, struct str port, struct addr *out)
{
    char text[ADDR_TEXT_BYTES];
    size_t n = 0;
    uint64_t number;
    if (ip.n > 64 || port.n > 5 || !str_to_u64(port, &number) || (port.n > 1 && port.p[0] == '0'))
        return false; /* section 2.1: decimal, without heading zeroes */
    if (family == AF_INET6)
        text[n++] = '[';
    memcpy(text + n, ip.p, ip.n);
    n += ip.n;
    if (family == AF_INET6)
        text[n++] = ']';
    text[n++] = ':';
    memcpy(text + n, port.p, port.n);
    n += port.n;
    return addr_parse(str_make(text, n), out) && out->sa.sa_family == family;
}

static int parse_v1_line(struct str line, struct proxyproto *out, const char **out_why)
{
    struct str word, from, to, from_port, to_port;
    for (size_t i = 0; i < line.n; i++)
        if (line.p[i] < 0x20 || line.p[i] > 0x7e)
            return bad(out_why, "a control character in a v1 line");
    line = str_make(line.p + 6, line.n - 6); /* "PROXY " */
    if (!take_word(&line, &word))
        return bad(out_why, "malformed v1 line");
    if (str_eq(word, STR("UNKNOWN"))) {
        out->is_local = true; /* section 2.1: the rest of the line is ignored */
        return 0;
    }
    int family = str_eq(word, STR("TCP4")) ? AF_INET : str_eq(word, STR("TCP6")) ? AF_INET6 : 0;
    if (!family)
        return bad(out_why, "unknown protocol in a v1 line");
    if (!take_word(&line, &from) || !take_word(&line, &to) || !take_word(&line, &from_port) ||
        !take_word(&line, &to_port) || line.n || to_port.p + to_port.n != line.p)
        return bad(out_why, "malformed v1 line");
    if (!make_v1(family, from, from_port, &out->from) || !make_v1(family, to, to_port, &out->to))
        return bad(out_why, "bad address or port in a v1 line");
    return 0;
}

static int parse_v1(const char *p, size_t n, struct proxyproto *out, const char **out_why)
{
    size_t look = n < PROXYPROTO_V1_MAX ? n : PROXYPROTO_V1_MAX;
    const char *end = memchr(p, '\n', look);
    if (!end)
        return n >= PROXYPROTO_V1_MAX ? bad(out_why, "v1 line above 107 bytes") : 0;
    if (end == p || end[-1] != '\r')
        return bad(out_why, "v1 line without CRLF");
    size_t line = (size_t)(end - p) - 1;
    if (line < 6)
        return bad(out_why, "malformed v1 line");
    return parse_v1_line(str_make(p, line), out, out_why) < 0 ? -1 : (int)line + 2;
}

/* ---- version 2 ---- */

static uint32_t get16(const char *p)
{
    return (uint32_t)((uint8_t)p[0] << 8 | (uint8_t)p[1]);
}

static uint32_t get32(const char *p)
{
    return get16(p) << 16 | get16(p + 2);
}

uint32_t proxyproto_crc32c(uint32_t crc, const void *p, size_t n)
{
    const uint8_t *at = p;
    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

/* Of the whole header, with the four bytes of the sum itself taken as zero. */
static bool crc_is_right(const char *p, size_t n, const char *sum)
{
    static const char zero[4];
    uint32_t crc = proxyproto_crc32c(0, p, (size_t)(sum - p));
    crc = proxyproto_crc32c(crc, zero, 4);
    crc = proxyproto_crc32c(crc, sum + 4, n - (size_t)(sum - p) - 4);
    return crc == get32(sum);
}

/* The next TLV off the front of *rest; false when it does not fit in. */
static bool take_tlv(struct str *rest, uint8_t *out_type, struct str *out_value)
{
    if (rest->n < 3)
        return false;
    size_t n = get16(rest->p + 1);
    if (n > rest->n - 3)
        return false;
    *out_type = (uint8_t)rest->p[0];
    *out_value = str_make(rest->p + 3, n);
    *rest = str_make(rest->p + 3 + n, rest->n - 3 - n);
    return true;
}

/* A text that will stand in logs and headers: printable, no blanks, not longer than `max`, and not twice. */
static bool keep_text(struct str *to, struct str value, size_t max)
{
    if (to->p || value.n == 0 || value.n > max)
        return false;
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] <= ' ' || value.p[i] == 0x7f)
            return false;
    *to = value;
    return true;
}

/* A certificate's name may have blanks, but no NUL and no line end (P5). */
static bool keep_name(struct str *to, struct str value)
{
    if (to->p || value.n > PROXYPROTO_NAME_MAX)
        return false;
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < ' ' || value.p[i] == 0x7f)
            return false;
    *to = value;
    return true;
}

static bool take_tls(struct proxyproto *out, struct str value)
{
    if (value.n < 5 || out->has_tls)
        return false;
    out->has_tls = true;
    out->tls_client = (uint8_t)value.p[0];
    out->tls_verify = get32(value.p + 1);
    uint8_t type;
    struct str sub;
    for (struct str rest = str_make(value.p + 5, value.n - 5); rest.n;) {
        if (!take_tlv(&rest, &type, &sub))
            return false;
        if ((type == TLV_SSL_VERSION && !keep_text(&out->tls_version, sub, PROXYPROTO_NAME_MAX)) ||
            (type == TLV_SSL_CIPHER && !keep_text(&out->tls_cipher, sub, PROXYPROTO_NAME_MAX)) ||
            (type == TLV_SSL_CN && !keep_name(&out->tls_name, sub)))
            return false;
    }
    return true;
}

/* False: *out_why. Types that are not known are skipped (section 2.2.1). */
static bool take_tlvs(const char *p, size_t n, struct str rest, struct proxyproto *out, const char **out_why)
{
    bool has_crc = false;
    uint8_t type;
    struct str value;
    while (rest.n) {
        *out_why = "a TLV that does not fit in";
        if (!take_tlv(&rest, &type, &value))
            return false;
        *out_why = "malformed or repeated TLV";
        if ((type == TLV_UNIQUE_ID && !keep_text(&out->unique_id, value, PROXYPROTO_UNIQUE_ID_MAX)) ||
            (type == TLV_AUTHORITY && !keep_text(&out->authority, value, PROXYPROTO_NAME_MAX)) ||
            (type == TLV_ALPN && !keep_text(&out->alpn, value, PROXYPROTO_NAME_MAX)) ||
            (type == TLV_SSL && !take_tls(out, value)))
            return false;
        if (type != TLV_CRC32C)
            continue;
        if (has_crc || value.n != 4)
            return false;
        has_crc = true;
        *out_why = "wrong CRC32C";
        if (!crc_is_right(p, n, value.p))
            return false;
    }
    *out_why = "";
    return true;
}

static void take_ip(const char *ip, const char *port, int family, struct addr *out)
{
    memset(out, 0, sizeof *out);
    if (family == AF_INET) {
        out->len = sizeof out->in;
        out->in.sin_family = AF_INET;
        memcpy(&out->in.sin_addr, ip, 4);
        memcpy(&out->in.sin_port, port, 2);
        return;
    }
    out->len = sizeof out->in6;
    out->in6.sin6_family = AF_INET6;
    memcpy(&out->in6.sin6_addr, ip, 16);
    memcpy(&out->in6.sin6_port, port, 2);
}

static void take_unix(const char *path, struct addr *out)
{
    memset(out, 0, sizeof *out);
    out->un.sun_family = AF_UNIX;
    size_t n = strnlen(path, UNIX_PATH);
    if (n >= sizeof out->un.sun_path)
        n = sizeof out->un.sun_path - 1;
    memcpy(out->un.sun_path, path, n);
    out->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
}

/* The two addresses at p; returns how long they are. */
static size_t take_addresses(const char *p, uint8_t family, struct proxyproto *out)
{
    switch (family) {
    case FAMILY_TCP4:
        take_ip(p, p + 8, AF_INET, &out->from);
        take_ip(p + 4, p + 10, AF_INET, &out->to);
        return 12;
    case FAMILY_TCP6:
        take_ip(p, p + 32, AF_INET6, &out->from);
        take_ip(p + 16, p + 34, AF_INET6, &out->to);
        return 36;
    default:
        take_unix(p, &out->from);
        take_unix(p + UNIX_PATH, &out->to);
        return 2 * UNIX_PATH;
    }
}

static size_t addresses_bytes(uint8_t family)
{
    return family == FAMILY_TCP4 ? 12 : family == FAMILY_TCP6 ? 36 : 2 * UNIX_PATH;
}

/* The whole header is there. */
static int parse_v2_whole(const char *p, size_t n, struct proxyproto *out, const char **out_why)
{
    uint8_t command = (uint8_t)p[12] & 15, family = (uint8_t)p[13];
    if (command == 0) { /* LOCAL: whatever else it says is not heeded (section 2.2) */
        out->is_local = true;
        return (int)n;
    }
    if (family == FAMILY_UNSPEC) {
        out->is_local = true;
        return (int)n;
    }
    size_t used = addresses_bytes(family);
    if (n - V2_HEAD < used)
        return bad(out_why, "v2 header too short for its addresses");
    take_addresses(p + V2_HEAD, family, out);
    struct str tlvs = str_make(p + V2_HEAD + used, n - V2_HEAD - used);
    return take_tlvs(p, n, tlvs, out, out_why) ? (int)n : -1;
}

static bool is_known_family(uint8_t family)
{
    return family == FAMILY_UNSPEC || family == FAMILY_TCP4 || family == FAMILY_TCP6 || family == FAMILY_UNIX;
}

static int parse_v2(const char *p, size_t n, size_t max, struct proxyproto *out, const char **out_why)
{
    if (n > 12 && (uint8_t)p[12] >> 4 != 2)
        return bad(out_why, "unknown version");
    if (n > 12 && ((uint8_t)p[12] & 15) > 1)
        return bad(out_why, "unknown command");
    if (n > 13 && ((uint8_t)p[12] & 15) == 1 && !is_known_family((uint8_t)p[13]))
        return bad(out_why, "unknown family or protocol");
    if (n < V2_HEAD)
        return 0;
    size_t all = V2_HEAD + get16(p + 14);
    if (all > max)
        return bad(out_why, "v2 header above max_proxy_header_size");
    return n < all ? 0 : parse_v2_whole(p, all, out, out_why);
}

int proxyproto_parse(const char *p, size_t n, size_t max, struct proxyproto *out, const char **out_why)
{
    static const char v1[6] = {'P', 'R', 'O', 'X', 'Y', ' '};
    size_t first = n < sizeof v1 ? n : sizeof v1, second = n < SIGNATURE_BYTES ? n : SIGNATURE_BYTES;
    memset(out, 0, sizeof *out);
    *out_why = "";
    if (n == 0)
        return 0;
    if (memcmp(p, v1, first) == 0)
        return n < sizeof v1 ? 0 : parse_v1(p, n, out, out_why);
    if (memcmp(p, PROXYPROTO_SIGNATURE, second) == 0)
        return n < SIGNATURE_BYTES ? 0 : parse_v2(p, n, max, out, out_why);
    return bad(out_why, "no PROXY header");
}
