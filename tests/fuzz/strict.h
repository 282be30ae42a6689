/* strict: reads what a server behind us received as the strictest server would, with code of its own. */
#ifndef COX_TESTS_FUZZ_STRICT_H
#define COX_TESTS_FUZZ_STRICT_H

#include <string.h>
#include <strings.h>

#include "base/panic.h"
#include "base/str.h"

struct strict {
    const char *p, *end;
    int heads;       /* complete ones */
    bool is_tunnel;  /* a request asked for another protocol: what follows is not looked at */
    bool incomplete; /* the last request is not whole */
};

static inline bool strict_is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
                    s.p[i]) ||
            !s.p[i])
            return false;
    return s.n > 0;
}

/* A line without its CRLF; false when it is not whole. Neither CR nor LF may stand alone. */
static inline bool strict_line(struct strict *s, struct str *out)
{
    const char *lf = memchr(s->p, '\n', (size_t)(s->end - s->p));
    if (!lf)
        return false;
    ASSERT(lf > s->p && lf[-1] == '\r');
    *out = str_make(s->p, (size_t)(lf - s->p) - 1);
    ASSERT(!memchr(out->p, '\r', out->n) && !memchr(out->p, 0, out->n));
    s->p = lf + 1;
    return true;
}

static inline void strict_request_line(struct str line)
{
    ptrdiff_t blank = str_find(line, ' ');
    ASSERT(blank > 0 && strict_is_token(str_make(line.p, (size_t)blank)));
    struct str rest = str_make(line.p + blank + 1, line.n - (size_t)blank - 1);
    ASSERT(str_ends(rest, STR(" HTTP/1.1")));
    rest.n -= 9;
    ASSERT(rest.n > 0 && (rest.p[0] == '/' || str_eq(rest, STR("*"))));
    for (size_t i = 0; i < rest.n; i++)
        ASSERT((unsigned char)rest.p[i] > ' ' && rest.p[i] != 0x7f && rest.p[i] != '#');
}

/* What the head says about its body: length >= 0, -1 chunked. */
static inline bool strict_fields(struct strict *s, long long *out_length)
{
    int hosts = 0, lengths = 0, codings = 0;
    struct str line;
    *out_length = 0;
    for (;;) {
        if (!strict_line(s, &line))
            return false;
        if (!line.n)
            break;
        ptrdiff_t colon = str_find(line, ':');
        ASSERT(colon > 0);
        struct str name = str_make(line.p, (size_t)colon);
        struct str value = str_trim(str_make(line.p + colon + 1, line.n - (size_t)colon - 1));
        ASSERT(strict_is_token(name));
        hosts += str_ieq(name, STR("Host"));
        s->is_tunnel |= str_ieq(name, STR("Upgrade"));
        if (str_ieq(name, STR("Content-Length"))) {
            uint64_t n;
            ASSERT(++lengths == 1 && str_to_u64(value, &n));
            *out_length = (long long)n;
        }
        if (str_ieq(name, STR("Transfer-Encoding"))) {
            ASSERT(++codings == 1 && str_eq(value, STR("chunked")));
            *out_length = -1;
        }
    }
    ASSERT(hosts == 1 && lengths + codings <= 1);
    return true;
}

static inline bool strict_bytes(struct strict *s, uint64_t n)
{
    if ((uint64_t)(s->end - s->p) < n)
        return false;
    s->p += n;
    return true;
}

static inline bool strict_chunks(struct strict *s)
{
    struct str line;
    for (;;) {
        if (!strict_line(s, &line))
            return false;
        uint64_t n = 0;
        ASSERT(line.n > 0 && line.n <= 16);
        for (size_t i = 0; i < line.n; i++) {
            const char *hex = "0123456789abcdef", *at = strchr(hex, line.p[i]);
            ASSERT(at && line.p[i]);
            n = n << 4 | (uint64_t)(at - hex);
        }
        if (!n)
            break;
        if (!strict_bytes(s, n))
            return false;
        if (s->end - s->p < 2)
            return false;
        ASSERT(s->p[0] == '\r' && s->p[1] == '\n');
        s->p += 2;
    }
    do {
        if (!strict_line(s, &line))
            return false;
        ASSERT(!line.n || str_find(line, ':') > 0);
    } while (line.n);
    return true;
}

/* All requests of one connection. */
static inline void strict_requests(struct strict *s, const char *p, size_t n)
{
    *s = (struct strict){.p = p, .end = p + n};
    while (s->p < s->end && !s->is_tunnel) {
        struct str line;
        long long length;
        s->incomplete = true;
        if (!strict_line(s, &line))
            return;
        strict_request_line(line);
        if (!strict_fields(s, &length))
            return;
        s->heads++;
        if (!s->is_tunnel && !(length < 0 ? strict_chunks(s) : strict_bytes(s, (uint64_t)length)))
            return;
        s->incomplete = false;
    }
}

#endif
