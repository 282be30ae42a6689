#include "http/h2_head.h"

#include "base/panic.h"
#include "http/rules.h"
#include "http/scan.h"

#define BIT(id)        (1ull << (id))
#define TEXT_BYTES_MIN 768
/* RFC 9113 8.2.2; HTTP2-Settings is of the same kind and dropped by the rules. */
#define CONNECTION_SPECIFIC                                                                                  \
    (BIT(FIELD_CONNECTION) | BIT(FIELD_PROXY_CONNECTION) | BIT(FIELD_KEEP_ALIVE) |                           \
     BIT(FIELD_TRANSFER_ENCODING) | BIT(FIELD_UPGRADE))

/* Those that are no fields of ours: they do not count against the limit of fields. */
#define PSEUDO_COUNT 3u

enum pseudo {
    PSEUDO_METHOD = 1,
    PSEUDO_SCHEME = 2,
    PSEUDO_AUTHORITY = 4,
    PSEUDO_PATH = 8,
    PSEUDO_PROTOCOL = 16,
    PSEUDO_STATUS = 32,
};

void h2_head_init(struct h2_head *h, enum h2_head_kind kind, struct message *m, struct arena *arena,
                  const struct h2_head_limits *limits)
{
    memset(h, 0, sizeof *h);
    h->kind = (uint8_t)kind;
    h->m = m;
    h->arena = arena;
    h->limits = *limits;
    if (m)
        m->base = "";
}

bool h2_head_is_bomb(const struct h2_head *h)
{
    return h->bytes / H2_BOMB_FACTOR > h->limits.bytes || h->seen / H2_BOMB_FACTOR > h->limits.fields;
}

static void fail(struct h2_head *h, enum reason why)
{
    if (!h->why)
        h->why = (uint8_t)why;
}

/* Room for n more bytes behind the text, which may move. */
static bool reserve(struct h2_head *h, size_t n)
{
    size_t want = h->len + n, cap = h->cap ? h->cap : TEXT_BYTES_MIN / 2;
    if (want <= h->cap)
        return true;
    do
        cap *= 2;
    while (cap < want);
    size_t here = h->cap ? arena_reach(h->arena, h->text, h->cap) : 0;
    if (cap > here && want <= here) /* it need not move yet */
        cap = here;
    char *text = h->cap ? arena_resize(h->arena, h->text, h->cap, cap) : arena_alloc(h->arena, cap);
    if (!text) {
        fail(h, REASON_NO_MEMORY);
        return false;
    }
    h->text = text;
    h->cap = (uint32_t)cap;
    h->m->base = text;
    return true;
}

/* Room for one more field, within the limit: who has few takes little. */
static bool reserve_field(struct h2_head *h)
{
    struct message *m = h->m;
    if (m->field_count < m->field_max)
        return true;
    if (m->field_max >= h->limits.fields) {
        fail(h, REASON_HEAD_LIMIT);
        return false;
    }
    uint16_t max = m->field_max * 2u < h->limits.fields ? (uint16_t)(m->field_max * 2u) : h->limits.fields;
    struct field *array = arena_alloc(h->arena, max * sizeof *array);
    if (!array) {
        fail(h, REASON_NO_MEMORY);
        return false;
    }
    if (m->field_count)
        memcpy(array, m->fields, m->field_count * sizeof *array);
    m->fields = array;
    m->field_max = max;
    return true;
}

static void append(struct h2_head *h, const char *p, size_t n)
{
    if (n)
        memcpy(h->text + h->len, p, n);
    h->len += (uint32_t)n;
    h->m->head_len = h->len;
}

static void store(struct h2_head *h, enum field_id id, struct str name, struct str value)
{
    struct message *m = h->m;
    if (!reserve_field(h) || !reserve(h, name.n + value.n + 4))
        return;
    struct field *f = &m->fields[m->field_count++];
    *f = (struct field){.name = h->len,
                        .name_len = (uint16_t)name.n,
                        .value = h->len + (uint32_t)name.n + 2,
                        .value_len = (uint32_t)value.n,
                        .id = (uint8_t)id};
    append(h, name.p, name.n);
    append(h, ": ", 2);
    append(h, value.p, value.n);
    append(h, "\r\n", 2);
    m->present |= BIT(id);
}

/* The authority stands as the first field, as in HTTP/1. A Host field beside :authority must be the same
 * (T11, RFC 9113 8.3.1). */
static void take_host(struct h2_head *h, struct str value)
{
    struct message *m = h->m;
    if (message_has(m, FIELD_HOST)) {
        if (h->host_seen || !str_ieq(value, message_str(m, m->authority)))
            fail(h, REASON_H2_MALFORMED);
        return;
    }
    uint32_t at = h->len + 6;
    store(h, FIELD_HOST, STR("host"), value);
    if (!h->why)
        m->authority = (struct span){at, (uint32_t)value.n};
}

/* ---- pseudo-header fields ---- */

static struct span keep(struct h2_head *h, struct str value)
{
    struct span s = {h->len, (uint32_t)value.n};
    if (!reserve(h, value.n + 1))
        return (struct span){0, 0};
    append(h, value.p, value.n);
    append(h, " ", 1);
    return s;
}

static enum pseudo pseudo_of(struct str name)
{
    static const struct {
        struct str name;
        enum pseudo id;
    } known[] = {
        {STR(":method"), PSEUDO_METHOD},     {STR(":path"), PSEUDO_PATH},
        {STR(":scheme"), PSEUDO_SCHEME},     {STR(":authority"), PSEUDO_AUTHORITY},
        {STR(":protocol"), PSEUDO_PROTOCOL}, {STR(":status"), PSEUDO_STATUS},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eq(name, known[i].name))
            return known[i].id;
    return 0;
}

static bool is_token(struct str s)
{
    return s.n > 0 && scan_token(s.p, s.p + s.n) == s.p + s.n;
}

static void take_method(struct h2_head *h, struct str value)
{
    if (!is_token(value)) {
        fail(h, REASON_H2_MALFORMED);
        return;
    }
    h->m->method = (uint8_t)method_lookup(value);
    h->m->method_text = keep(h, value);
}

/* T8: what could not stand in a request line of HTTP/1 is malformed. */
static void take_path(struct h2_head *h, struct str value)
{
    if (value.n == 0 || scan_target(value.p, value.p + value.n) != value.p + value.n)
        fail(h, REASON_H2_MALFORMED);
    else if (value.n > h->limits.path_bytes)
        fail(h, REASON_URI_LIMIT);
    else
        h->m->target = keep(h, value);
}

static void take_status(struct h2_head *h, struct str value)
{
    uint64_t status;
    if (value.n != 3 || !str_to_u64(value, &status) || status < 100)
        fail(h, REASON_H2_MALFORMED);
    else
        h->m->status = (uint16_t)status;
}

static void take_request_pseudo(struct h2_head *h, enum pseudo id, struct str value)
{
    if (id == PSEUDO_METHOD)
        take_method(h, value);
    else if (id == PSEUDO_PATH)
        take_path(h, value);
    else if (!value.n || scan_value(value.p, value.p, value.p + value.n) != value.p + value.n)
        fail(h, REASON_H2_MALFORMED);
    else if (id == PSEUDO_AUTHORITY)
        take_host(h, value);
    else if (id == PSEUDO_SCHEME)
        h->scheme = keep(h, value);
    else
        h->protocol = keep(h, value);
}

/* RFC 9113 8.3: only those of this kind of message, each once, all before the others. */
static void take_pseudo(struct h2_head *h, struct str name, struct str value)
{
    enum pseudo id = pseudo_of(name);
    bool of_answer = id == PSEUDO_STATUS;
    bool fits = h->kind == H2_HEAD_REQUEST ? !of_answer : h->kind == H2_HEAD_RESPONSE && of_answer;
    if (!id || !fits || h->fields_began || (h->pseudo & id)) {
        fail(h, REASON_H2_MALFORMED);
        return;
    }
    h->pseudo |= (uint8_t)id;
    if (of_answer)
        take_status(h, value);
    else
        take_request_pseudo(h, id, value);
}

/* ---- fields ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_lower_token(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] >= 'A' && name.p[i] <= 'Z')
            return false;
    return is_token(name);
}

/* RFC 9113 8.2, 8.2.1 (T7) */
static bool is_well_formed(struct str name, struct str value)
{
    if (name.n > UINT16_MAX) /* it would be cut to another name */
        return false;
    if (!scan_is_plain_name(name.p, name.n) && !is_lower_token(name))
        return false;
    if (value.n == 0)
        return true;
    return !is_space(value.p[0]) && !is_space(value.p[value.n - 1]) &&
           scan_value(value.p, value.p, value.p + value.n) == value.p + value.n;
}

/* Crumbs that follow each other grow together where they stand (RFC 9113 8.2.3); others wait for the end. */
static void store_cookie(struct h2_head *h, struct str name, struct str value)
{
    struct message *m = h->m;
    struct field *last = m->field_count ? &m->fields[m->field_count - 1] : NULL;
    if (!last || last->id != FIELD_COOKIE || !last->value_len || !value.n) {
        store(h, FIELD_COOKIE, name, value);
        if (h->cookies < UINT8_MAX)
            h->cookies++;
        return;
    }
    if (!reserve(h, value.n + 2))
        return;
    h->len -= 2; /* its line end */
    append(h, "; ", 2);
    append(h, value.p, value.n);
    append(h, "\r\n", 2);
    last->value_len += (uint32_t)value.n + 2;
}

/* One Content-Length of digits; a second one, equal or not, is malformed (T10). */
static void take_length(struct h2_head *h, struct str value)
{
    struct message *m = h->m;
    if (message_has(m, FIELD_CONTENT_LENGTH) || !str_to_u64(value, &m->content_length) ||
        m->content_length > INT64_MAX)
        fail(h, REASON_H2_MALFORMED);
}

/* True when the field is not to be stored. */
static bool take_special(struct h2_head *h, enum field_id id, struct str value)
{
    if (BIT(id) & CONNECTION_SPECIFIC) {
        fail(h, REASON_H2_MALFORMED); /* T9 */
        return true;
    }
    switch (id) {
    case FIELD_HOST:
        if (h->kind != H2_HEAD_REQUEST)
            return false;
        take_host(h, value);
        h->host_seen = true;
        return true;
    case FIELD_CONTENT_LENGTH:
        take_length(h, value);
        return false;
    case FIELD_TE:
        if (!str_ieq(value, STR("trailers")))
            fail(h, REASON_H2_MALFORMED);
        h->m->flags |= MSG_TE_TRAILERS;
        return false;
    case FIELD_TRAILER:
        h->m->flags |= MSG_HAS_TRAILERS;
        return false;
    default:
        return false;
    }
}

static void take_field(struct h2_head *h, struct str name, struct str value)
{
    h->fields_began = true;
    if (!is_well_formed(name, value)) {
        fail(h, REASON_H2_MALFORMED);
        return;
    }
    enum field_id id = field_lookup(name);
    if (h->kind != H2_HEAD_TRAILERS && id != FIELD_OTHER && take_special(h, id, value))
        return;
    if (h->kind == H2_HEAD_TRAILERS && (BIT(id) & CONNECTION_SPECIFIC)) {
        fail(h, REASON_H2_MALFORMED);
        return;
    }
    if (id == FIELD_COOKIE)
        store_cookie(h, name, value);
    else if (!h->why)
        store(h, id, name, value);
}

void h2_head_field(struct h2_head *h, struct str name, struct str value)
{
    h->seen++;
    h->bytes += (uint32_t)(name.n + value.n) + H2_FIELD_OVERHEAD;
    if (h->bytes > h->limits.bytes || h->seen > h->limits.fields + PSEUDO_COUNT)
        fail(h, REASON_HEAD_LIMIT); /* H31, T4: before anything is stored */
    if (h->why || !h->m)
        return;
    if (name.n && name.p[0] == ':')
        take_pseudo(h, name, value);
    else
        take_field(h, name, value);
}

/* ---- the end of a block ---- */

/* Cookie fields that stood apart become one, at the end (RFC 9113 8.2.3). */
static void join_cookies(struct h2_head *h)
{
    struct message *m = h->m;
    uint16_t kept = 0;
    size_t room = 16;
    for (uint16_t i = 0; i < m->field_count; i++)
        room += m->fields[i].id == FIELD_COOKIE ? m->fields[i].value_len + 2 : 0;
    if (!reserve(h, room))
        return;
    struct field joined = {.name = h->len, .name_len = 6, .id = FIELD_COOKIE, .value = h->len + 8};
    append(h, "cookie: ", 8);
    for (uint16_t i = 0; i < m->field_count; i++) {
        struct field *f = &m->fields[i];
        if (f->id != FIELD_COOKIE) {
            m->fields[kept++] = *f;
            continue;
        }
        if (h->len > joined.value && f->value_len)
            append(h, "; ", 2);
        append(h, m->base + f->value, f->value_len);
    }
    joined.value_len = h->len - joined.value;
    append(h, "\r\n", 2);
    m->fields[kept++] = joined;
    m->field_count = kept;
}

static void decide_framing(struct message *m, bool end_stream)
{
    if (message_has(m, FIELD_CONTENT_LENGTH))
        m->framing = BODY_LENGTH;
    else
        m->framing = end_stream ? BODY_NONE : BODY_STREAM;
}

static bool is_scheme(struct str s)
{
    return str_eq(s, STR("http")) || str_eq(s, STR("https"));
}

/* The forms of a target that HTTP/2 knows (RFC 9113 8.3.1, 8.5; RFC 8441 4). */
static enum reason check_target(struct h2_head *h)
{
    struct message *m = h->m;
    unsigned all = PSEUDO_METHOD | PSEUDO_SCHEME | PSEUDO_PATH;
    if (m->method == METHOD_CONNECT && !(h->pseudo & PSEUDO_PROTOCOL)) {
        bool fits = h->pseudo == (PSEUDO_METHOD | PSEUDO_AUTHORITY);
        return fits ? REASON_CONNECT_METHOD : REASON_H2_MALFORMED; /* H24, T12 */
    }
    if ((h->pseudo & all) != all || !is_scheme(message_str(m, h->scheme)))
        return REASON_H2_MALFORMED;
    if ((h->pseudo & PSEUDO_PROTOCOL) && (m->method != METHOD_CONNECT || !m->authority.len))
        return REASON_H2_MALFORMED;
    struct str path = message_str(m, m->target);
    if (path.n == 1 && path.p[0] == '*' && m->method == METHOD_OPTIONS) {
        m->flags |= MSG_ASTERISK;
        return REASON_OK;
    }
    return path.p[0] == '/' ? REASON_OK : REASON_H2_MALFORMED;
}

static enum reason check_expect(struct message *m)
{
    struct str value = message_value(m, FIELD_EXPECT);
    if (!value.p)
        return REASON_OK;
    if (!str_ieq(value, STR("100-continue")))
        return REASON_EXPECT; /* H21 */
    m->flags |= MSG_EXPECT_CONTINUE;
    return REASON_OK;
}

/* What the text has too much goes back. */
static void trim(struct h2_head *h)
{
    if (!h->cap)
        return;
    h->text = arena_resize(h->arena, h->text, h->cap, h->len);
    h->cap = h->len;
    h->m->base = h->text;
}

/* The first fault; a message is complete after it. */
static enum reason finish(struct h2_head *h)
{
    if (h->m)
        trim(h);
    if (!h->m || h->why)
        return (enum reason)h->why;
    h->m->version = 20;
    h->m->flags |= MSG_KEEP_ALIVE;
    if (h->cookies > 1)
        join_cookies(h);
    return (enum reason)h->why;
}

enum reason h2_head_request_done(struct h2_head *h, bool end_stream)
{
    struct message *m = h->m;
    enum reason why = finish(h);
    if (why || !m)
        return why;
    why = check_target(h);
    if (why)
        return why;
    if (!rules_authority_valid(message_str(m, m->authority))) /* H15, H17, T11 */
        return m->authority.len ? REASON_H2_MALFORMED : REASON_HOST;
    decide_framing(m, end_stream);
    if (end_stream && m->content_length)
        return REASON_H2_MALFORMED; /* T10 */
    return check_expect(m);
}

bool h2_head_as_upgrade(struct h2_head *h, struct str key)
{
    struct message *m = h->m;
    char protocol[16];
    struct str asked = message_str(m, h->protocol);
    if (asked.n > sizeof protocol)
        return false;
    memcpy(protocol, asked.p, asked.n); /* the text may move */
    for (uint16_t i = 0; i < m->field_count; i++)
        if (str_eq(field_name_of(m, &m->fields[i]), STR("sec-websocket-key")))
            m->fields[i].flags |= FIELD_FLAG_DROP;
    store(h, FIELD_UPGRADE, STR("upgrade"), str_make(protocol, asked.n));
    store(h, FIELD_OTHER, STR("sec-websocket-key"), key);
    m->method = METHOD_GET;
    m->method_text = keep(h, STR("GET"));
    m->framing = BODY_NONE;
    m->flags |= MSG_UPGRADE;
    return !h->why;
}

static bool is_bodiless(const struct message *m, enum http_method request_method)
{
    return m->status < 200 || m->status == 204 || m->status == 304 || request_method == METHOD_HEAD;
}

enum reason h2_head_response_done(struct h2_head *h, enum http_method request_method, bool end_stream)
{
    struct message *m = h->m;
    enum reason why = finish(h);
    if (why == REASON_HEAD_LIMIT)
        return REASON_SERVER_HEAD_LIMIT;
    if (why == REASON_NO_MEMORY || !m)
        return why;
    bool early_end = end_stream && m->status < 200;
    m->flags |= end_stream ? MSG_COMPLETE : 0;
    if (why || !(h->pseudo & PSEUDO_STATUS) || m->status == 101 || early_end)
        return REASON_SERVER_HEAD;
    if (!is_bodiless(m, request_method)) {
        decide_framing(m, end_stream);
        return end_stream && m->content_length ? REASON_SERVER_HEAD : REASON_OK;
    }
    m->framing = BODY_NONE;
    if (message_has(m, FIELD_CONTENT_LENGTH) && m->status >= 200 && m->status != 204)
        m->flags |= MSG_HAS_LENGTH;
    else
        m->content_length = 0;
    return REASON_OK;
}

enum reason h2_head_trailers_done(struct h2_head *h)
{
    return finish(h);
}
