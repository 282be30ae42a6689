#include "http/coding.h"

#define WEIGHT_MAX 1000

/* ---- fields by name ---- */

/* The next field of that name at or behind *io_at, or STR_NULL. */
static struct str next_value(const struct message *m, struct str name, uint16_t *io_at)
{
    while (*io_at < m->field_count) {
        const struct field *f = &m->fields[(*io_at)++];
        if (!(f->flags & FIELD_FLAG_DROP) && str_ieq(field_name_of(m, f), name))
            return field_value_of(m, f);
    }
    return STR_NULL;
}

static bool has_field(const struct message *m, struct str name)
{
    uint16_t at = 0;
    return next_value(m, name, &at).p != NULL;
}

/* Whether a comma-separated list holds the word; a parameter or an argument behind it is not looked at. */
static bool list_has(const struct message *m, struct str name, struct str word)
{
    uint16_t at = 0;
    for (struct str value; (value = next_value(m, name, &at)).p;)
        for (struct str item; value.n && str_next(&value, ',', &item);)
            if (str_ieq(item, word))
                return true;
    return false;
}

/* ---- what the client wants ---- */

/* "0.5" as 500; RFC 9110 12.4.2: at most three digits. -1: malformed. */
static int weight_of(struct str q)
{
    int value = 0, scale = 1000;
    if (q.n == 0 || q.n > 5 || (q.p[0] != '0' && q.p[0] != '1') || (q.n > 1 && q.p[1] != '.'))
        return -1;
    for (size_t i = 0; i < q.n; i++) {
        if (i == 1)
            continue;
        if (q.p[i] < '0' || q.p[i] > '9')
            return -1;
        value += (q.p[i] - '0') * scale;
        scale /= 10;
    }
    return value <= WEIGHT_MAX ? value : -1;
}

/* "gzip;q=0.5": the name goes to *out_name. A weight that is malformed is none: better uncompressed than
 * unreadable. */
static int item_weight(struct str item, struct str *out_name)
{
    struct str part;
    int weight = WEIGHT_MAX;
    if (!str_next(&item, ';', out_name))
        return 0;
    while (item.n && str_next(&item, ';', &part))
        if (part.n > 2 && char_lower(part.p[0]) == 'q' && part.p[1] == '=')
            weight = weight_of(str_make(part.p + 2, part.n - 2));
    return weight > 0 ? weight : 0;
}

bool coding_wants_gzip(const struct message *request)
{
    int gzip = -1, any = -1, identity = -1;
    uint16_t at = 0;
    for (struct str value; (value = next_value(request, STR("Accept-Encoding"), &at)).p;)
        for (struct str item, name; value.n && str_next(&value, ',', &item);) {
            int weight = item_weight(item, &name);
            if (str_ieq(name, STR("gzip")) || str_ieq(name, STR("x-gzip")))
                gzip = weight;
            else if (str_eq(name, STR("*")))
                any = weight;
            else if (str_ieq(name, STR("identity")))
                identity = weight;
        }
    int wanted = gzip >= 0 ? gzip : any;
    return wanted > 0 && wanted >= identity;
}

/* ---- what the answer allows ---- */

static bool type_matches(struct str type, struct str want)
{
    if (str_eq(want, STR("*")))
        return true;
    if (str_ends(want, STR("/*")))
        return type.n >= want.n && str_ieq(str_make(type.p, want.n - 1), str_make(want.p, want.n - 1));
    return str_ieq(type, want);
}

static bool is_listed_type(const struct message *m, const struct strings *types)
{
    struct str value = message_value(m, FIELD_CONTENT_TYPE), type;
    if (!value.n || !str_next(&value, ';', &type))
        return false;
    for (size_t i = 0; i < types->n; i++)
        if (type_matches(type, str_of(types->v[i])))
            return true;
    return false;
}

static bool has_content(const struct message *m)
{
    return m->status >= 200 && m->status != 204 && m->status != 205 && m->status != 206 && m->status != 304;
}

static bool is_coded(const struct message *m)
{
    struct str coding = message_value(m, FIELD_CONTENT_ENCODING);
    return coding.n && !str_ieq(coding, STR("identity"));
}

static bool is_forbidden(const struct message *request, const struct message *m)
{
    return list_has(m, STR("Cache-Control"), STR("no-transform")) ||
           list_has(request, STR("Cache-Control"), STR("no-transform")) ||
           has_field(m, STR("Content-Digest")) || has_field(m, STR("Repr-Digest")) ||
           has_field(m, STR("Digest")) || has_field(m, STR("Content-MD5"));
}

bool coding_may_compress(const struct message *request, const struct message *answer,
                         const struct strings *types, uint64_t min_bytes)
{
    bool has_length = answer->framing == BODY_LENGTH || (answer->flags & MSG_HAS_LENGTH);
    if (!has_content(answer) || (answer->framing == BODY_NONE && request->method != METHOD_HEAD))
        return false;
    if (has_length && answer->content_length < (min_bytes ? min_bytes : 1))
        return false;
    return is_listed_type(answer, types) && !is_coded(answer) && !message_has(answer, FIELD_CONTENT_RANGE) &&
           !is_forbidden(request, answer);
}

/* ---- the new head ---- */

static void drop(struct message *m, enum field_id id)
{
    for (uint16_t i = 0; message_has(m, id) && i < m->field_count; i++)
        if (m->fields[i].id == id)
            m->fields[i].flags |= FIELD_FLAG_DROP;
}

/* The bytes differ from those that the tag was made for, what they mean does not (RFC 9110 8.8.1). */
static void weaken_etag(struct message *m, char *text)
{
    struct str tag = message_value(m, FIELD_ETAG);
    if (!tag.n || tag.p[0] != '"')
        return;
    memcpy(text, "W/", 2);
    memcpy(text + 2, tag.p, tag.n);
    drop(m, FIELD_ETAG);
    message_add(m, STR("ETag"), str_make(text, tag.n + 2));
}

bool coding_change_head(struct message *answer, struct arena *arena, bool gzip)
{
    size_t etag = message_value(answer, FIELD_ETAG).n;
    char *text = arena_alloc(arena, etag + 2);
    if (!text || !message_extend(answer, arena, 3, (uint32_t)etag + 128))
        return false;
    if (!list_has(answer, STR("Vary"), STR("Accept-Encoding")) && !list_has(answer, STR("Vary"), STR("*")))
        message_add(answer, STR("Vary"), STR("Accept-Encoding"));
    if (!gzip)
        return true;
    drop(answer, FIELD_CONTENT_LENGTH);
    drop(answer, FIELD_ACCEPT_RANGES);
    drop(answer, FIELD_CONTENT_ENCODING);
    weaken_etag(answer, text);
    message_add(answer, STR("Content-Encoding"), STR("gzip"));
    if (answer->framing != BODY_NONE)
        answer->framing = BODY_STREAM;
    answer->content_length = 0;
    answer->flags &= ~(uint32_t)MSG_HAS_LENGTH;
    return true;
}
