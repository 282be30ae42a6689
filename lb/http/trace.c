#include "http/trace.h"

#include "base/hex.h"
#include "http/scan.h"

static bool is_lower_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!scan_is(s.p[i], SCAN_HEX) || (s.p[i] >= 'A' && s.p[i] <= 'F'))
            return false;
    return true;
}

static bool is_zero(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '0')
            return false;
    return true;
}

bool traceparent_valid(struct str s)
{
    if (s.n < TRACEPARENT_BYTES || s.p[2] != '-' || s.p[35] != '-' || s.p[52] != '-')
        return false;
    struct str version = str_make(s.p, 2), trace = str_make(s.p + 3, 32);
    struct str parent = str_make(s.p + 36, 16), flags = str_make(s.p + 53, 2);
    if (!is_lower_hex(version) || !is_lower_hex(trace) || !is_lower_hex(parent) || !is_lower_hex(flags))
        return false;
    if (is_zero(trace) || is_zero(parent) || str_eq(version, STR("ff")))
        return false;
    return s.n == TRACEPARENT_BYTES || (!is_zero(version) && s.p[TRACEPARENT_BYTES] == '-');
}

/* A one-to-one mixing of 64 bits (the finaliser of splitmix64). */
static uint64_t mix(uint64_t v)
{
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9u;
    v = (v ^ v >> 27) * 0x94d049bb133111ebu;
    return v ^ v >> 31;
}

void traceparent_make(char *to, uint64_t random_high, uint64_t random_low)
{
    uint64_t parent = mix(random_high + mix(random_low + 0x9e3779b97f4a7c15u));
    memcpy(to, "00-", 3);
    hex_write(to + 3, random_high);
    hex_write(to + 19, random_low || random_high ? random_low : 1); /* all zeros is no id */
    to[35] = '-';
    hex_write(to + 36, parent ? parent : 1);
    memcpy(to + 52, "-01", 3);
}

bool request_id_valid(struct str s)
{
    if (s.n == 0 || s.n > REQUEST_ID_BYTES_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!scan_is(s.p[i], SCAN_UNRESERVED) || s.p[i] == '~')
            return false;
    return true;
}
