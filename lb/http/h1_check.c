#include "http/h1_check.h"

#include "http/rules.h"
#include "http/scan.h"
#include "http/word.h"

#define BIT(id) (1ull << (id))
/* Fields that decide anything here. */
#define DECIDING                                                                                             \
    (H1_SINGLETONS | BIT(FIELD_CONNECTION) | BIT(FIELD_EXPECT) | BIT(FIELD_UPGRADE) | BIT(FIELD_TE) |        \
     BIT(FIELD_TRAILER))

/* What the fields said, before it is weighed. */
struct facts {
    bool has_length, has_coding;
    bool close, keep_alive, nominates_upgrade, upgrades;
};

static bool is_token(struct str s)
{
    return s.n > 0 && scan_token(s.p, s.p + s.n) == s.p + s.n;
}

/* RFC 9110 7.6.1. Empty elements are allowed in a list that is received (5.6.1.2). */
static enum reason read_connection(struct str list, struct facts *f)
{
    struct str option;
    if (list.n == 10 && word_same(list.p, "keep-alive", 10)) { /* by far the most common */
        f->keep_alive = true;
        return REASON_OK;
    }
    for (int n = 0; str_next(&list, ',', &option); n++) {
        if (n == H1_LIST_MAX)
            return REASON_HEAD_LIMIT;
        if (option.n == 5 && str_ieq(option, STR("close")))
            f->close = true;
        else if (option.n == 10 && str_ieq(option, STR("keep-alive")))
            f->keep_alive = true;
        else if (option.n == 7 && str_ieq(option, STR("upgrade")))
            f->nominates_upgrade = true;
        else if (option.n && !is_token(option))
            return REASON_FIELD_VALUE;
    }
    return REASON_OK;
}

/* H3: digits only, at most 2^63 - 1. */
static enum reason read_length(struct message *m, struct str value, struct facts *f)
{
    f->has_length = true;
    if (!str_to_u64(value, &m->content_length) || m->content_length > INT64_MAX)
        return REASON_LENGTH;
    return REASON_OK;
}

/* H4: exactly one coding, "chunked". What else stands there decides between malformed and merely unknown. */
static enum reason read_coding(struct str list, struct facts *f)
{
    f->has_coding = true;
    if (list.n == 7 && str_ieq(list, STR("chunked")))
        return REASON_OK;
    struct str coding;
    bool unknown = false, chunked = false;
    for (int n = 0; str_next(&list, ',', &coding); n++) {
        if (n == H1_LIST_MAX || !is_token(coding) || chunked)
            return REASON_CODING;
        if (str_ieq(coding, STR("chunked")))
            chunked = true;
        else
            unknown = true;
    }
    return unknown ? REASON_CODING_UNKNOWN : REASON_CODING;
}

/* H21: exactly this one expectation (RFC 9110 10.1.1). */
static enum reason read_expect(struct message *m, struct str value)
{
    if (m->version < 11 || m->status)
        return REASON_OK;
    if (!str_ieq(value, STR("100-continue")))
        return REASON_EXPECT;
    m->flags |= MSG_EXPECT_CONTINUE;
    return REASON_OK;
}

/* RFC 9110 7.8; a token of h2c alone asks for nothing that we offer (H23). */
static enum reason read_upgrade(struct str list, struct facts *f)
{
    struct str protocol;
    for (int n = 0; str_next(&list, ',', &protocol); n++) {
        if (n == H1_LIST_MAX)
            return REASON_HEAD_LIMIT;
        if (protocol.n && !str_ieq(protocol, STR("h2c")))
            f->upgrades = true;
    }
    return REASON_OK;
}

/* RFC 9110 10.1.4 */
static enum reason read_te(struct message *m, struct str list)
{
    struct str coding;
    for (int n = 0; str_next(&list, ',', &coding); n++) {
        if (n == H1_LIST_MAX)
            return REASON_HEAD_LIMIT;
        if (str_ieq(coding, STR("trailers")))
            m->flags |= MSG_TE_TRAILERS;
    }
    return REASON_OK;
}

static enum reason read_field(struct message *m, const struct field *field, struct facts *f)
{
    struct str value = field_value_of(m, field);
    switch (field->id) {
    case FIELD_CONNECTION:
        return read_connection(value, f);
    case FIELD_CONTENT_LENGTH:
        return read_length(m, value, f);
    case FIELD_TRANSFER_ENCODING:
        return read_coding(value, f);
    case FIELD_EXPECT:
        return read_expect(m, value);
    case FIELD_UPGRADE:
        return read_upgrade(value, f);
    case FIELD_TE:
        return read_te(m, value);
    case FIELD_TRAILER:
        m->flags |= MSG_HAS_TRAILERS;
        return REASON_OK;
    default:
        return REASON_OK;
    }
}

/* Reads all deciding fields. H1 comes before any single complaint about either of the two. */
static enum reason read_fields(struct message *m, struct facts *f)
{
    const uint64_t both = BIT(FIELD_CONTENT_LENGTH) | BIT(FIELD_TRANSFER_ENCODING);
    if ((m->present & both) == both)
        return REASON_LENGTH_AND_CODING;
    if (!(m->present & DECIDING & ~BIT(FIELD_HOST)))
        return REASON_OK;
    for (const struct field *field = m->fields, *end = field + m->field_count; field < end; field++) {
        if (!(BIT(field->id) & DECIDING))
            continue;
        enum reason why = read_field(m, field, f);
        if (why)
            return why;
    }
    return REASON_OK;
}

/* RFC 9112 9.3 */
static void decide_keep_alive(struct message *m, const struct facts *f)
{
    if (!f->close && (m->version >= 11 || f->keep_alive))
        m->flags |= MSG_KEEP_ALIVE;
}

/* Is this an authority of the most common make: letters, digits, '-', '.', '_', and a port of up to four
 * digits, or of five below 60000? One look at 16 or 32 bytes; `room` may be read from p, and `before` in
 * front of it. False decides nothing. */
static inline bool is_plain_authority(const char *p, size_t n, size_t before, size_t room)
{
#if defined(__SSE2__)
    const unsigned looks = n > 16 ? 32 : 16;
    /* What stands behind is looked at as well, or for a short one at the end of the head what stands before.
     */
    const unsigned back = n <= 16 && room < 16 ? 16 - (unsigned)n : 0;
    if (n == 0 || n > 31 || room + back < looks || before < back)
        return false;
    unsigned plain = 0, digits = 0, colons = 0;
    for (unsigned i = 0; i < looks; i += 16) {
        __m128i x = scan_load16(p + i - back), lower = _mm_or_si128(x, _mm_set1_epi8(0x20));
        __m128i a = _mm_sub_epi8(lower, _mm_set1_epi8('a')), d = _mm_sub_epi8(x, _mm_set1_epi8('0'));
        __m128i letter = _mm_cmpeq_epi8(_mm_min_epu8(a, _mm_set1_epi8(25)), a);
        __m128i digit = _mm_cmpeq_epi8(_mm_min_epu8(d, _mm_set1_epi8(9)), d);
        __m128i dash = _mm_sub_epi8(x, _mm_set1_epi8('-')); /* '-' and '.' are neighbours */
        __m128i mark = _mm_cmpeq_epi8(_mm_min_epu8(dash, _mm_set1_epi8(1)), dash);
        mark = _mm_or_si128(mark, _mm_cmpeq_epi8(x, _mm_set1_epi8('_')));
        digits |= (unsigned)_mm_movemask_epi8(digit) << i;
        plain |= (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(letter, digit), mark)) << i;
        colons |= (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8(':'))) << i;
    }
    const unsigned all = (1u << n) - 1;
    plain >>= back;
    digits >>= back;
    colons >>= back;
    if ((plain & all) == all)
        return true;
    if (!(colons & all))
        return false;
    unsigned host = (unsigned)__builtin_ctz(colons), port = (unsigned)n - host - 1;
    unsigned behind = all & ~((2u << host) - 1);
    if (port == 5 && p[host + 1] > '5')
        return false;
    return host > 0 && port - 1 < 5 && (plain & ((1u << host) - 1)) == (1u << host) - 1 &&
           (digits & behind) == behind;
#else
    (void)p, (void)n, (void)before, (void)room;
    return false;
#endif
}

/* H15 to H17: one valid Host; with absolute-form the target's authority, and no Host that differs from it. */
static enum reason decide_authority(struct message *m)
{
    const struct field *host = message_find(m, FIELD_HOST);
    if (!host)
        return m->version >= 11 ? REASON_HOST : REASON_OK;
    struct str value = field_value_of(m, host);
    if (!is_plain_authority(value.p, value.n, host->value, m->head_len - host->value) &&
        !rules_authority_valid(value))
        return REASON_HOST;
    if (m->flags & MSG_ABSOLUTE_FORM)
        return str_ieq(value, message_str(m, m->authority)) ? REASON_OK : REASON_HOST;
    m->authority = (struct span){host->value, host->value_len};
    return REASON_OK;
}

enum reason h1_check_request(struct message *m)
{
    struct facts f = {0};
    enum reason why = read_fields(m, &f);
    if (why)
        return why;
    why = decide_authority(m);
    if (why)
        return why;
    if (f.has_coding && m->version < 11)
        return REASON_CODING; /* H5, RFC 9112 6.1 */
    m->framing = f.has_coding ? BODY_CHUNKED : f.has_length ? BODY_LENGTH : BODY_NONE;
    decide_keep_alive(m, &f);
    if (m->version >= 11 && f.upgrades && f.nominates_upgrade) {
        if (m->framing == BODY_CHUNKED || m->content_length > 0)
            return REASON_UPGRADE; /* H22 */
        m->flags |= MSG_UPGRADE;
    }
    return REASON_OK;
}

/* Answers that never have a body (RFC 9112 6.3, 1 and 2). */
static bool is_bodiless(const struct message *m, enum http_method request_method)
{
    return m->status < 200 || m->status == 204 || m->status == 304 || request_method == METHOD_HEAD ||
           (request_method == METHOD_CONNECT && m->status < 300);
}

static void decide_answer_framing(struct message *m, const struct facts *f, enum http_method request_method)
{
    if (!is_bodiless(m, request_method)) {
        m->framing = f->has_coding ? BODY_CHUNKED : f->has_length ? BODY_LENGTH : BODY_CLOSE;
        if (m->framing == BODY_CLOSE)
            m->flags &= ~(uint32_t)MSG_KEEP_ALIVE;
        return;
    }
    m->framing = BODY_NONE;
    bool never = m->status < 200 || m->status == 204;
    /* A server that announces a body where there can be none may well send it: do not use it again. */
    if (never && (f->has_coding || m->content_length > 0))
        m->flags &= ~(uint32_t)MSG_KEEP_ALIVE;
    if (f->has_length && !never)
        m->flags |= MSG_HAS_LENGTH;
    else
        m->content_length = 0;
}

enum reason h1_check_response(struct message *m, enum http_method request_method)
{
    struct facts f = {0};
    if (read_fields(m, &f) || (f.has_coding && m->version < 11))
        return REASON_SERVER_HEAD; /* H28 */
    decide_keep_alive(m, &f);
    decide_answer_framing(m, &f, request_method);
    if (m->status == 101 && m->version >= 11 && f.upgrades && f.nominates_upgrade)
        m->flags |= MSG_UPGRADE;
    return REASON_OK;
}
