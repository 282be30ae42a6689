#include "http/cgi.h"

#include "http/scan.h"

#define DEFAULT_REDIRECT 302

/* What a head said about itself. */
struct facts {
    bool has_status, has_length, bad_length;
};

/* "404" [SP "Not Found"] (RFC 3875 6.3.3); interim answers cannot come this way. */
static bool read_status(struct message *m, const struct field *f)
{
    struct str v = field_value_of(m, f);
    if (v.n < 3 || !scan_is(v.p[0], SCAN_DIGIT) || !scan_is(v.p[1], SCAN_DIGIT) ||
        !scan_is(v.p[2], SCAN_DIGIT))
        return false;
    if (v.p[0] < '2' || (v.n > 3 && v.p[3] != ' '))
        return false;
    m->status = (uint16_t)((v.p[0] - '0') * 100 + (v.p[1] - '0') * 10 + (v.p[2] - '0'));
    if (v.n > 4)
        m->reason_text = (struct span){f->value + 4, f->value_len - 4};
    return true;
}

static void read_length(struct message *m, const struct field *f, struct facts *facts)
{
    uint64_t length;
    if (facts->has_length || !str_to_u64(field_value_of(m, f), &length) || length > INT64_MAX) {
        facts->bad_length = true;
        return;
    }
    facts->has_length = true;
    m->content_length = length;
}

static bool read_fields(struct message *m, struct facts *facts)
{
    for (unsigned i = 0; i < m->field_count; i++) {
        struct field *f = &m->fields[i];
        if (f->id == FIELD_STATUS) {
            if (facts->has_status || !read_status(m, f))
                return false;
            facts->has_status = true;
            f->flags |= FIELD_FLAG_DROP;
        } else if (f->id == FIELD_CONTENT_LENGTH) {
            read_length(m, f, facts);
        }
    }
    return true;
}

/* A length that is not to be believed is no length: the record layer says where the body ends. */
static void decide_framing(struct message *m, const struct facts *facts, enum http_method request_method)
{
    bool known = facts->has_length && !facts->bad_length;
    bool bodiless = m->status == 204 || m->status == 304 || request_method == METHOD_HEAD;
    m->framing = bodiless ? BODY_NONE : known ? BODY_LENGTH : BODY_STREAM;
    if (bodiless && known && m->status != 204)
        m->flags |= MSG_HAS_LENGTH;
    else if (m->framing != BODY_LENGTH)
        m->content_length = 0;
}

static int finish(struct message *m, enum http_method request_method)
{
    struct facts facts = {0};
    /* RFC 3875 6.2: a head says at least something. */
    if (m->field_count == 0 || !read_fields(m, &facts))
        return -REASON_SERVER_HEAD;
    if (!facts.has_status)
        m->status = message_has(m, FIELD_LOCATION) ? DEFAULT_REDIRECT : 200;
    m->version = 11;
    m->flags |= MSG_KEEP_ALIVE;
    decide_framing(m, &facts, request_method);
    return (int)m->head_len;
}

int cgi_parse_head(struct h1_parser *p, const char *base, size_t len, const struct h1_limits *limits,
                   enum http_method request_method, struct message *m)
{
    int got = h1_parse_fields(p, base, len, limits, true, m);
    if (got == H1_MORE)
        return H1_MORE;
    if (got < 0)
        return got == -REASON_HEAD_LIMIT ? -REASON_SERVER_HEAD_LIMIT : -REASON_SERVER_HEAD;
    return finish(m, request_method);
}
