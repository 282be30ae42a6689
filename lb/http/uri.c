#include "http/uri.h"

#include "http/scan.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = char_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int uri_escape(const char *p, size_t n)
{
    if (n < 3 || p[0] != '%' || !scan_is(p[1], SCAN_HEX) || !scan_is(p[2], SCAN_HEX))
        return -1;
    return hex_value(p[1]) * 16 + hex_value(p[2]);
}

bool uri_decode(struct str path, struct writer *w)
{
    for (size_t i = 0; i < path.n; i++) {
        char c = path.p[i];
        if (c == '%') {
            int octet = uri_escape(path.p + i, path.n - i);
            if (octet < 0)
                return false;
            c = (char)octet;
            i += 2;
        }
        if ((unsigned char)c < 0x20 || c == 0x7f)
            return false;
        writer_put(w, &c, 1);
    }
    return !w->overflow;
}
