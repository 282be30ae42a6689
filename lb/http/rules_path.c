/* The path part of rules.h: one way to read every path that we forward. */
#include "http/rules.h"

#include "base/panic.h"
#include "http/scan.h"
#include "http/uri.h"

/* A path under construction: it never grows, so that `cap` is the length of the raw one. */
struct cleaner {
    char *out; /* begins with '/' */
    size_t n;
    bool merge_slashes;
};

#if defined(__SSE2__)
/* A bit for each of 16 bytes of a path that needs a closer look: % \ # ? and what no target may hold, and the
 * second byte of "//" and "/.". *io_slash says whether the byte before these was '/'. */
static inline unsigned wants_look16(__m128i x, unsigned *io_slash)
{
    __m128i bad = _mm_cmpeq_epi8(x, _mm_set1_epi8('%'));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(x, _mm_set1_epi8('\\')));
    bad = _mm_or_si128(bad, _mm_cmpeq_epi8(x, _mm_set1_epi8('?')));
    __m128i slash = _mm_cmpeq_epi8(x, _mm_set1_epi8('/'));
    unsigned slashes = (unsigned)_mm_movemask_epi8(slash);
    unsigned dots = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8('.')));
    unsigned pairs = (slashes << 1 | *io_slash) & (slashes | dots);
    *io_slash = slashes >> 15;
    return scan_bad_target16(x) | (unsigned)_mm_movemask_epi8(bad) | (pairs & 0xffff);
}
#endif

/* Length of the leading part of a path that stays as it is. `room` bytes may be read from p, n of them count.
 */
static size_t plain_prefix(const char *p, size_t n, size_t room)
{
    size_t i = 0;
    unsigned slash = 0;
    (void)room;
#if defined(__SSE2__)
    for (; i < n && room - i >= 16; i += 16) {
        unsigned look = wants_look16(scan_load16(p + i), &slash);
        if (look) {
            size_t at = i + (size_t)__builtin_ctz(look);
            return at < n ? at : n;
        }
    }
#endif
    for (; i < n; i++) {
        char c = p[i];
        if (!scan_is(c, SCAN_PATH_PLAIN) && ((c != '/' && c != '.') || slash))
            return i;
        slash = c == '/';
    }
    return n;
}

/* One byte of a segment, decoded if it is an unreserved octet, in the one spelling of its escape if not.
 * Returns the raw bytes used, 0 when the path must be refused (H18, H35). */
static size_t clean_octet(struct cleaner *c, const char *p, size_t n, bool *out_encoded_dot)
{
    static const char digits[] = "0123456789ABCDEF";
    if (*p != '%') {
        if (!scan_is(*p, SCAN_TARGET) || *p == '\\')
            return 0;
        c->out[c->n++] = *p;
        return 1;
    }
    int octet = uri_escape(p, n);
    if (octet < 0x20 || octet == 0x7f || octet == '/' || octet == '\\')
        return 0;
    if (octet < 0x80 && scan_is((char)octet, SCAN_UNRESERVED)) {
        *out_encoded_dot |= octet == '.';
        c->out[c->n++] = (char)octet;
        return 3;
    }
    c->out[c->n++] = '%';
    c->out[c->n++] = digits[octet >> 4];
    c->out[c->n++] = digits[octet & 15];
    return 3;
}

/* What a finished segment is: 0 an ordinary one, 1 ".", 2 "..", -1 something that some servers take for
 * those. */
static int dot_segment(struct str segment, bool encoded_dot)
{
    size_t dots = 0;
    while (dots < segment.n && segment.p[dots] == '.')
        dots++;
    if (dots == 0 || dots > 2 || (dots < segment.n && segment.p[dots] != ';'))
        return 0;
    if (encoded_dot || dots < segment.n)
        return -1; /* "%2e%2e" and "..;x" */
    return (int)dots;
}

/* Takes the last segment with its slash off again; false above the root. */
static bool step_up(struct cleaner *c)
{
    if (c->n < 2)
        return false;
    c->n--; /* the slash behind it */
    while (c->out[c->n - 1] != '/')
        c->n--;
    return true;
}

/* One segment, raw[0..n) without its slashes; out ends with '/' before and has no '/' after it yet. */
static bool clean_segment(struct cleaner *c, const char *raw, size_t n, bool last)
{
    size_t from = c->n, used;
    bool encoded_dot = false;
    for (size_t i = 0; i < n; i += used) {
        used = clean_octet(c, raw + i, n - i, &encoded_dot);
        if (used == 0)
            return false;
    }
    int dots = dot_segment(str_make(c->out + from, c->n - from), encoded_dot);
    if (dots < 0)
        return false;
    if (dots > 0) {
        c->n = from;
        return dots == 1 || step_up(c);
    }
    bool empty = c->n == from;
    if (!last && !(empty && c->merge_slashes))
        c->out[c->n++] = '/';
    return true;
}

/* remove_dot_segments and the normalisations of RFC 3986 6.2.2, in one pass. */
static bool clean_path(struct cleaner *c, struct str raw)
{
    c->n = 0;
    c->out[c->n++] = '/';
    size_t at = 1;
    for (;;) {
        ptrdiff_t slash = str_find(str_make(raw.p + at, raw.n - at), '/');
        size_t n = slash < 0 ? raw.n - at : (size_t)slash;
        if (!clean_segment(c, raw.p + at, n, slash < 0))
            return false;
        if (slash < 0)
            return true;
        at += n + 1;
    }
}

/* Copies the head to a block that ends with the new path and query, and points the message at it. */
static enum reason rewrite(struct message *m, struct arena *arena, struct str path, struct span query,
                           bool merge)
{
    bool has_query = query.off != 0;
    size_t tail = path.n + (has_query ? 1 + (size_t)query.len : 0);
    char *text = arena_alloc(arena, m->head_len + tail + 1);
    if (!text)
        return REASON_NO_MEMORY;
    memcpy(text, m->base, m->head_len);
    struct cleaner c = {.out = text + m->head_len, .merge_slashes = merge};
    if (path.p[0] != '/')
        c.out[c.n++] = path.p[0]; /* "*" */
    else if (!clean_path(&c, path))
        return REASON_PATH;
    m->path = (struct span){m->head_len, (uint32_t)c.n};
    m->query = (struct span){0, 0};
    if (has_query) {
        c.out[c.n] = '?';
        memcpy(c.out + c.n + 1, m->base + query.off, query.len);
        m->query = (struct span){m->path.off + (uint32_t)c.n + 1, query.len};
        c.n += 1 + (size_t)query.len;
    }
    m->head_len += (uint32_t)c.n; /* so that message_keep takes these bytes along */
    m->base = text;
    return REASON_OK;
}

/* absolute-form without a path: "/", or "*" of OPTIONS (RFC 9112 3.2.1, 3.2.4). */
static enum reason normalise_empty(struct message *m, struct arena *arena, struct span query)
{
    if (m->method == METHOD_OPTIONS && !query.off) {
        m->flags |= MSG_ASTERISK;
        return rewrite(m, arena, STR("*"), query, false);
    }
    return rewrite(m, arena, STR("/"), query, false);
}

enum reason rules_normalise_path(struct message *m, struct arena *arena, bool merge_slashes)
{
    struct str t = message_str(m, m->target);
    m->path = m->target;
    m->query = (struct span){0, 0};
    if (m->flags & MSG_ASTERISK)
        return REASON_OK;
    if (t.n && t.p[0] != '/' && !(t.p[0] == '?' && (m->flags & MSG_ABSOLUTE_FORM)))
        return REASON_TARGET;
    size_t end = m->target.off + t.n;
    size_t plain = plain_prefix(t.p, t.n, (m->head_len > end ? m->head_len : end) - m->target.off);
    if (plain == t.n && plain)
        return REASON_OK;
    ptrdiff_t mark = str_find(str_make(t.p + plain, t.n - plain), '?');
    size_t path_n = mark < 0 ? t.n : plain + (size_t)mark;
    if (mark >= 0) {
        m->query = (struct span){m->target.off + (uint32_t)path_n + 1, (uint32_t)(t.n - path_n - 1)};
        struct str query = message_str(m, m->query);
        if (scan_target(query.p, query.p + query.n) != query.p + query.n)
            return REASON_TARGET; /* HTTP/2 may bring what h1_parse never lets through (H18) */
    }
    m->path.len = (uint32_t)path_n;
    if (path_n == 0)
        return normalise_empty(m, arena, m->query);
    if (plain == path_n)
        return REASON_OK;
    return rewrite(m, arena, str_make(t.p, path_n), m->query, merge_slashes);
}

struct str rules_target(const struct message *m)
{
    if (!m->query.off)
        return message_str(m, m->path);
    ASSERT(m->query.off == m->path.off + m->path.len + 1);
    return str_make(m->base + m->path.off, m->path.len + 1 + (size_t)m->query.len);
}
