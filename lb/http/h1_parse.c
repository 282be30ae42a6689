#include "http/h1_parse.h"

#include "base/panic.h"
#include "http/field_table.h"
#include "http/h1_check.h"
#include "http/rules.h"
#include "http/scan.h"
#include "http/word.h"

/* Values of h1_parser.state. */
enum { STATE_START, STATE_FIELDS };

/* What a field section may look like. */
enum section_flags {
    SECTION_CGI = 1,  /* bare LF ends a line too (RFC 3875 6.3) */
    SECTION_PLAIN = 2 /* repeated singletons do not matter */
};

/* Where the parser stands: [at, end) is what there is to see. */
struct cursor {
    const char *at, *end;
};

/* Internal result of one line: parsed. Otherwise H1_MORE or -(enum reason). */
#define LINE_DONE 1

static inline struct span span_between(const char *base, const char *from, const char *to)
{
    return (struct span){(uint32_t)(from - base), (uint32_t)(to - from)};
}

#define INLINE inline __attribute__((always_inline))

/* Has the unfinished line got its end by now? Bytes that were searched before are not searched again. */
static bool has_line_end(struct h1_parser *p, const char *base, size_t len)
{
    if (p->scanned <= p->at)
        return true; /* this line has not been looked at yet */
    if (p->scanned < len && memchr(base + p->scanned, '\n', len - p->scanned))
        return true;
    p->scanned = (uint32_t)len;
    return false;
}

/* What stands at p instead of the CRLF that must end a line here, and nothing else (H10, H13). */
static __attribute__((noinline)) int bad_line_end(const char *p, const char *end)
{
    if (p == end || (p[0] == '\r' && p + 1 == end))
        return H1_MORE;
    return p[0] == '\r' || p[0] == '\n' ? -REASON_LINE_END : -REASON_FIELD_VALUE;
}

/* At a byte that is neither data nor the end: the line end, and the cursor goes behind it. */
static inline int take_line_end(struct cursor *c, bool lf_allowed)
{
    const char *p = c->at;
    if (__builtin_expect(c->end - p >= 2 && word_load16(p) == word_load16("\r\n"), 1)) {
        c->at = p + 2;
        return LINE_DONE;
    }
    if (lf_allowed && p < c->end && *p == '\n') {
        c->at = p + 1;
        return LINE_DONE;
    }
    return bad_line_end(p, c->end);
}

/* Why a field line has no name (H11, H12). */
static int name_fault(const char *line, bool first)
{
    if (*line == ' ' || *line == '\t')
        return first ? -REASON_FIELD_NAME : -REASON_FIELD_FOLD;
    return -REASON_FIELD_NAME;
}

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* field-name ":" - the name, its id, and the cursor behind the colon (RFC 9112 5.1: no blank before
 * it). `present`: what this head had so far. */
static INLINE int take_name(struct cursor *c, struct field *f, const char *base, uint64_t present)
{
    const char *line = c->at, *colon = scan_colon(base, line, c->end);
    if (__builtin_expect(colon == c->end, 0))
        return H1_MORE;
    size_t n = (size_t)(colon - line);
    if (__builtin_expect(*colon != ':' || n - 1 >= UINT16_MAX, 0))
        return name_fault(line, present == 0);
    enum field_id id = field_lookup_inline(line, n);
    f->flags = 0;
    if (id == FIELD_OTHER) {
        if (__builtin_expect(scan_is_dashed(line, n, (size_t)(c->end - line)), 1))
            f->flags = FIELD_FLAG_DASHED;
        else if (!scan_is_token(line, n))
            return name_fault(line, present == 0);
    }
    f->name = (uint32_t)(line - base);
    f->name_len = (uint16_t)n;
    f->id = (uint8_t)id;
    c->at = colon + 1;
    return LINE_DONE;
}

/* OWS field-value OWS CRLF; the cursor goes to the next line. */
static INLINE int take_value(struct cursor *c, struct field *f, const char *base, bool lf_allowed)
{
    const char *from = c->at;
    uint8_t line = 0;
    if (__builtin_expect(c->end - from >= 2 && *from == ' ' && !is_blank(from[1]), 1)) {
        from++;
        line = FIELD_FLAG_LINE;
    } else
        while (from < c->end && is_blank(*from))
            from++;
    const char *to = scan_value(base, from, c->end);
    c->at = to;
    int got = take_line_end(c, lf_allowed);
    if (__builtin_expect(got != LINE_DONE, 0))
        return got;
    /* The colon at least stands before the value, so that one byte back may always be read. */
    while (__builtin_expect(is_blank(to[-1]), 0) && to > from) {
        to--;
        line = 0;
    }
    f->flags |= lf_allowed ? 0 : line;
    f->value = (uint32_t)(from - base);
    f->value_len = (uint32_t)(to - from);
    return LINE_DONE;
}

/* A field that may stand once only stands twice (H2, H4, H15). */
static int repeated(enum field_id id)
{
    return id == FIELD_HOST ? -REASON_HOST : id == FIELD_CONTENT_LENGTH ? -REASON_LENGTH : -REASON_CODING;
}

/* Lines up to the empty one; *io_at stays behind the last complete line. `once`: ids that may stand once. */
static INLINE int take_lines(struct cursor *io_at, const char *base, const struct field *most,
                             bool lf_allowed, uint64_t once, struct field **io_field, uint64_t *io_present)
{
    struct cursor c = *io_at;
    struct field *f = *io_field;
    int got = LINE_DONE;
    while (c.at < c.end && *c.at != '\r' && *c.at != '\n') {
        if (__builtin_expect(f >= most, 0))
            return -REASON_HEAD_LIMIT; /* H31 */
        got = take_name(&c, f, base, *io_present);
        if (got == LINE_DONE)
            got = take_value(&c, f, base, lf_allowed);
        if (__builtin_expect(got != LINE_DONE, 0))
            break;
        uint64_t bit = 1ull << f->id;
        if (__builtin_expect((*io_present & bit & once) != 0, 0))
            return repeated((enum field_id)f->id);
        *io_present |= bit;
        f++;
        io_at->at = c.at;
    }
    *io_field = f;
    if (got != LINE_DONE)
        return got;
    got = take_line_end(&c, lf_allowed);
    if (got == LINE_DONE)
        io_at->at = c.at;
    return got;
}

/* Field lines up to the empty line. *io_at moves behind every complete line; LINE_DONE behind the empty one.
 */
static int take_fields(const char **io_at, const char *base, const char *end, const struct h1_limits *limits,
                       unsigned flags, struct message *m)
{
    const unsigned most = limits->field_count < m->field_max ? limits->field_count : m->field_max;
    struct cursor c = {*io_at, end};
    struct field *f = m->fields + m->field_count;
    uint64_t present = m->present;
    int got;
    if (flags & SECTION_PLAIN)
        got = take_lines(&c, base, m->fields + most, flags & SECTION_CGI, 0, &f, &present);
    else
        got = take_lines(&c, base, m->fields + most, false, H1_SINGLETONS, &f, &present);
    m->present = present;
    m->field_count = (uint16_t)(f - m->fields);
    *io_at = c.at;
    return got;
}

/* The last step of all three: fields, their limit, and what is kept for the next call. */
static int parse_section(struct h1_parser *p, const char *base, size_t len, const struct h1_limits *limits,
                         unsigned flags, struct message *m)
{
    const char *at = base + p->at;
    int got = take_fields(&at, base, base + len, limits, flags, m);
    p->at = (uint32_t)(at - base);
    if (got == H1_MORE) {
        p->scanned = (uint32_t)len;
        return len >= limits->head_bytes ? -REASON_HEAD_LIMIT : H1_MORE;
    }
    if (got < 0)
        return got;
    if (p->at > limits->head_bytes)
        return -REASON_HEAD_LIMIT;
    m->head_len = p->at;
    return (int)p->at;
}

/* Not enough bytes for the first line: are there already too many? */
static int wait_for_line(struct h1_parser *p, size_t len, const struct h1_limits *limits)
{
    p->scanned = (uint32_t)len;
    if (len - p->at >= (size_t)limits->line_bytes + 2)
        return -REASON_URI_LIMIT;
    return len >= limits->head_bytes ? -REASON_HEAD_LIMIT : H1_MORE;
}

/* Method SP (RFC 9112 3.1): the few common ones by one comparison, any other token by the table. */
static inline int take_method(struct cursor *c, const char *base, struct message *m)
{
    const char *from = c->at, *p;
    if (c->end - from >= 5 && word_load32(from) == word_load32("GET ")) {
        m->method = METHOD_GET;
        p = from + 3;
    } else if (c->end - from >= 5 && word_load32(from) == word_load32("POST") && from[4] == ' ') {
        m->method = METHOD_POST;
        p = from + 4;
    } else {
        p = scan_token(from, c->end);
        if (p == c->end)
            return H1_MORE;
        if (*p != ' ' || p == from)
            return *p == '\n' || *p == '\r' ? -REASON_LINE_END : -REASON_REQUEST_LINE;
        m->method = (uint8_t)method_lookup(str_make(from, (size_t)(p - from)));
    }
    m->method_text = span_between(base, from, p);
    c->at = p + 1;
    return LINE_DONE;
}

/* Target SP (H14, H18): printable ASCII without '#'. */
static inline int take_target(struct cursor *c, const char *base, struct message *m)
{
    const char *from = c->at, *to = scan_target(from, c->end);
    if (to == c->end)
        return H1_MORE;
    if (*to != ' ')
        return *to == '#'                   ? -REASON_TARGET
               : *to == '\r' || *to == '\n' ? -REASON_REQUEST_LINE
                                            : -REASON_TARGET;
    if (to == from)
        return -REASON_REQUEST_LINE;
    m->target = span_between(base, from, to);
    c->at = to + 1;
    return LINE_DONE;
}

/* "HTTP/1.1" and its kin, 8 bytes at p; the version times ten, -1 when malformed (H14). A higher minor
 * version is one that understands ours (RFC 9110 2.5). */
static int read_version(const char *p)
{
    if (__builtin_expect(word_load64(p) == word_load64("HTTP/1.1"), 1))
        return 11;
    if (memcmp(p, "HTTP/", 5) != 0 || !scan_is(p[5], SCAN_DIGIT) || p[6] != '.' || !scan_is(p[7], SCAN_DIGIT))
        return -1;
    if (p[5] != '1')
        return (p[5] - '0') * 10;
    return p[7] == '0' ? 10 : 11;
}

/* HTTP-version CRLF */
static inline int take_version(struct cursor *c, struct message *m)
{
    if (c->end - c->at < 8) /* a CR this early is no version either; it shows when the line is complete */
        return memchr(c->at, '\n', (size_t)(c->end - c->at)) ? -REASON_REQUEST_LINE : H1_MORE;
    int version = read_version(c->at);
    if (version < 0)
        return -REASON_REQUEST_LINE;
    c->at += 8;
    int got = take_line_end(c, false);
    if (got != LINE_DONE)
        return got == -REASON_FIELD_VALUE ? -REASON_REQUEST_LINE : got;
    if (version / 10 != 1)
        return -REASON_VERSION;
    m->version = (uint8_t)version;
    return LINE_DONE;
}

/* http://authority[/path][?query] (RFC 9112 3.2.2): authority and what is left of the target. */
static int split_absolute(struct message *m)
{
    struct str t = message_str(m, m->target);
    size_t scheme = t.n > 7 && str_ieq(str_make(t.p, 7), STR("http://"))    ? 7
                    : t.n > 8 && str_ieq(str_make(t.p, 8), STR("https://")) ? 8
                                                                            : 0;
    if (!scheme)
        return -REASON_TARGET;
    size_t end = scheme;
    while (end < t.n && t.p[end] != '/' && t.p[end] != '?')
        end++;
    if (!rules_authority_valid(str_make(t.p + scheme, end - scheme)))
        return -REASON_TARGET;
    m->authority = (struct span){m->target.off + (uint32_t)scheme, (uint32_t)(end - scheme)};
    m->target = (struct span){m->target.off + (uint32_t)end, m->target.len - (uint32_t)end};
    m->flags |= MSG_ABSOLUTE_FORM;
    return LINE_DONE;
}

/* The four forms of a target (RFC 9112 3.2). */
static int check_target(struct message *m)
{
    struct str t = message_str(m, m->target);
    if (m->method == METHOD_CONNECT)
        return -REASON_CONNECT_METHOD; /* H24 */
    if (t.p[0] == '/')
        return LINE_DONE;
    if (t.n == 1 && t.p[0] == '*') {
        m->flags |= MSG_ASTERISK;
        return m->method == METHOD_OPTIONS ? LINE_DONE : -REASON_TARGET;
    }
    return split_absolute(m);
}

/* CRLFs before the request line (RFC 9112 2.2), and only whole ones. */
static int skip_empty_lines(struct cursor *c)
{
    while (c->at < c->end && (*c->at == '\r' || *c->at == '\n')) {
        int got = take_line_end(c, false);
        if (got != LINE_DONE)
            return got;
    }
    return c->at == c->end ? H1_MORE : LINE_DONE;
}

static int take_request_line(struct cursor *c, const char *base, struct message *m)
{
    int got = take_method(c, base, m);
    if (got == LINE_DONE)
        got = take_target(c, base, m);
    if (got == LINE_DONE)
        got = take_version(c, m);
    return got == LINE_DONE ? check_target(m) : got;
}

/* The request line and the empty lines before it; LINE_DONE when p->at is behind them. */
static int parse_request_line(struct h1_parser *p, const char *base, size_t len,
                              const struct h1_limits *limits, struct message *m)
{
    struct cursor c = {base + p->at, base + len};
    int got = skip_empty_lines(&c);
    p->at = (uint32_t)(c.at - base);
    if (got == LINE_DONE)
        got = take_request_line(&c, base, m);
    if (got == H1_MORE)
        return wait_for_line(p, len, limits);
    if (got != LINE_DONE)
        return got;
    if ((size_t)(c.at - base) - p->at > (size_t)limits->line_bytes + 2)
        return -REASON_URI_LIMIT; /* H31 */
    p->at = (uint32_t)(c.at - base);
    p->state = STATE_FIELDS;
    return LINE_DONE;
}

int h1_parse_request(struct h1_parser *p, const char *base, size_t len, const struct h1_limits *limits,
                     struct message *m)
{
    ASSERT(len <= INT32_MAX);
    m->base = base;
    if (!has_line_end(p, base, len))
        return p->state == STATE_START     ? wait_for_line(p, len, limits)
               : len >= limits->head_bytes ? -REASON_HEAD_LIMIT
                                           : H1_MORE;
    if (p->state == STATE_START) {
        int got = parse_request_line(p, base, len, limits, m);
        if (got != LINE_DONE)
            return got;
    }
    int got = parse_section(p, base, len, limits, 0, m);
    if (got <= 0)
        return got;
    enum reason why = h1_check_request(m);
    return why ? -(int)why : got;
}

/* HTTP-version SP 3DIGIT [SP reason-phrase] CRLF (RFC 9112 4); without the second SP, too, as many servers
 * do. */
static int take_status_line(struct cursor *c, const char *base, struct message *m)
{
    const char *p = c->at;
    if (c->end - p < 14)
        return memchr(p, '\n', (size_t)(c->end - p)) ? -REASON_SERVER_HEAD : H1_MORE;
    int version = read_version(p);
    if (version / 10 != 1 || p[8] != ' ' || !scan_is(p[9], SCAN_DIGIT) || !scan_is(p[10], SCAN_DIGIT) ||
        !scan_is(p[11], SCAN_DIGIT) || p[9] == '0')
        return -REASON_SERVER_HEAD;
    m->version = (uint8_t)version;
    m->status = (uint16_t)((p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0'));
    const char *from = p + 12, *to = from;
    if (*from == ' ') {
        from++;
        to = scan_value(base, from, c->end);
    }
    c->at = to;
    int got = take_line_end(c, false);
    if (got == LINE_DONE)
        m->reason_text = span_between(base, from, to);
    return got;
}

static int parse_status_line(struct h1_parser *p, const char *base, size_t len,
                             const struct h1_limits *limits, struct message *m)
{
    struct cursor c = {base + p->at, base + len};
    int got = take_status_line(&c, base, m);
    if (got == H1_MORE)
        return wait_for_line(p, len, limits);
    if (got != LINE_DONE)
        return got;
    if ((size_t)(c.at - base) > (size_t)limits->line_bytes + 2)
        return -REASON_URI_LIMIT;
    p->at = (uint32_t)(c.at - base);
    p->state = STATE_FIELDS;
    return LINE_DONE;
}

/* Every fault in an answer is one of two reasons. */
static int answer_fault(int got)
{
    if (got >= 0)
        return got;
    return got == -REASON_HEAD_LIMIT || got == -REASON_URI_LIMIT ? -REASON_SERVER_HEAD_LIMIT
                                                                 : -REASON_SERVER_HEAD;
}

static int parse_answer(struct h1_parser *p, const char *base, size_t len, const struct h1_limits *limits,
                        struct message *m)
{
    if (!has_line_end(p, base, len))
        return p->state == STATE_START     ? wait_for_line(p, len, limits)
               : len >= limits->head_bytes ? -REASON_HEAD_LIMIT
                                           : H1_MORE;
    if (p->state == STATE_START) {
        int got = parse_status_line(p, base, len, limits, m);
        if (got != LINE_DONE)
            return got;
    }
    return parse_section(p, base, len, limits, 0, m);
}

int h1_parse_response(struct h1_parser *p, const char *base, size_t len, const struct h1_limits *limits,
                      enum http_method request_method, struct message *m)
{
    ASSERT(len <= INT32_MAX);
    m->base = base;
    int got = parse_answer(p, base, len, limits, m);
    if (got <= 0)
        return answer_fault(got);
    enum reason why = h1_check_response(m, request_method);
    return why ? -(int)why : got;
}

int h1_parse_fields(struct h1_parser *p, const char *base, size_t len, const struct h1_limits *limits,
                    bool cgi, struct message *m)
{
    ASSERT(len <= INT32_MAX);
    m->base = base;
    if (!has_line_end(p, base, len))
        return len >= limits->head_bytes ? -REASON_HEAD_LIMIT : H1_MORE;
    return parse_section(p, base, len, limits, SECTION_PLAIN | (cgi ? SECTION_CGI : 0u), m);
}
