#include "http/basic.h"

/* -1: not of the alphabet of RFC 4648 4. */
static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Strict: padded, and no bit beyond the last byte. Returns the bytes, or -1. */
static int decode(struct str in, char *to)
{
    int n = 0;
    if (!in.n || in.n % 4 || in.n / 4 * 3 > BASIC_BYTES_MAX)
        return -1;
    for (size_t i = 0; i < in.n; i += 4) {
        bool last = i + 4 == in.n;
        int pad = !last ? 0 : in.p[i + 3] != '=' ? 0 : in.p[i + 2] != '=' ? 1 : 2;
        uint32_t bits = 0;
        for (int k = 0; k < 4; k++) {
            int d = k >= 4 - pad ? 0 : digit_of(in.p[i + (size_t)k]);
            if (d < 0)
                return -1;
            bits = bits << 6 | (uint32_t)d;
        }
        if (bits & ((1u << 8 * pad) - 1))
            return -1;
        for (int k = 0; k < 3 - pad; k++)
            to[n++] = (char)(bits >> (16 - 8 * k));
    }
    return n;
}

bool basic_parse(struct str value, char to[BASIC_BYTES_MAX + 1], struct str *out_user,
                 struct str *out_password)
{
    if (value.n < 6 || !str_ieq(str_make(value.p, 5), STR("Basic")) || value.p[5] != ' ')
        return false;
    int n = decode(str_trim(str_make(value.p + 6, value.n - 6)), to);
    if (n < 0)
        return false;
    to[n] = 0;
    for (int i = 0; i < n; i++)
        if ((unsigned char)to[i] < 0x20 || to[i] == 0x7f)
            return false;
    ptrdiff_t colon = str_find(str_make(to, (size_t)n), ':');
    if (colon < 0)
        return false;
    to[colon] = 0;
    *out_user = str_make(to, (size_t)colon);
    *out_password = str_make(to + colon + 1, (size_t)n - (size_t)colon - 1);
    return true;
}
