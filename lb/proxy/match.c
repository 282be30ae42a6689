#include "proxy/match.h"

#include "http/uri.h"

static bool fits_method(const struct message *m, const struct strings *methods)
{
    struct str method = message_str(m, m->method_text);
    for (size_t i = 0; i < methods->n; i++)
        if (str_eq(method, str_of(methods->v[i]))) /* RFC 9110 9.1: case-sensitive */
            return true;
    return methods->n == 0;
}

/* What the request has of this name: `seen` is set; true when one of the values fits. */
static bool fits_header(const struct message *m, const struct condition *c, bool *seen)
{
    enum field_id id = field_lookup(c->name);
    if (!message_has(m, id))
        return false;
    for (const struct field *f = m->fields, *end = f + m->field_count; f < end; f++) {
        if (f->id != id || (f->flags & FIELD_FLAG_DROP) ||
            (id == FIELD_OTHER && !str_ieq(field_name_of(m, f), c->name)))
            continue;
        *seen = true;
        if (condition_fits(c, field_value_of(m, f)))
            return true;
    }
    return false;
}

/* RFC 6265 4.2.1; the same reading as of the sticky cookie. */
static bool fits_cookie(const struct message *m, const struct condition *c, bool *seen)
{
    if (!message_has(m, FIELD_COOKIE))
        return false;
    for (const struct field *f = m->fields, *end = f + m->field_count; f < end; f++) {
        if (f->id != FIELD_COOKIE || (f->flags & FIELD_FLAG_DROP))
            continue;
        struct str pairs = field_value_of(m, f), pair;
        while (pairs.n && str_next(&pairs, ';', &pair)) {
            if (pair.n <= c->name.n || pair.p[c->name.n] != '=' || memcmp(pair.p, c->name.p, c->name.n) != 0)
                continue;
            struct str value = str_make(pair.p + c->name.n + 1, pair.n - c->name.n - 1);
            if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
                value = str_make(value.p + 1, value.n - 2);
            *seen = true;
            if (condition_fits(c, value))
                return true;
        }
    }
    return false;
}

/* ---- query ---- */

/* One octet of a query off the front, decoded. What is no escape stands for itself. */
static unsigned char take_octet(struct str *raw)
{
    unsigned char c = (unsigned char)raw->p[0];
    int escaped = c == '%' ? uri_escape(raw->p, raw->n) : -1;
    if (escaped >= 0) {
        *raw = str_make(raw->p + 3, raw->n - 3);
        return (unsigned char)escaped;
    }
    *raw = str_make(raw->p + 1, raw->n - 1);
    return c == '+' ? ' ' : c;
}

/* Decoded, raw is `want`, or begins with it. */
static bool is_decoded(struct str raw, struct str want, bool prefix)
{
    for (size_t i = 0; i < want.n; i++)
        if (!raw.n || take_octet(&raw) != (unsigned char)want.p[i])
            return false;
    return prefix || !raw.n;
}

static bool fits_value(const struct condition *c, struct str raw)
{
    if (c->test == CONDITION_EXACT || c->test == CONDITION_PREFIX)
        return is_decoded(raw, c->value, c->test == CONDITION_PREFIX);
    return true;
}

static bool fits_query(const struct message *m, const struct condition *c, bool *seen)
{
    struct str rest = m->query.off ? message_str(m, m->query) : STR_NULL;
    while (rest.n) {
        ptrdiff_t at = str_find(rest, '&');
        struct str pair = str_make(rest.p, at < 0 ? rest.n : (size_t)at);
        rest = at < 0 ? STR_NULL : str_make(rest.p + at + 1, rest.n - (size_t)at - 1);
        ptrdiff_t equals = str_find(pair, '=');
        size_t n = equals < 0 ? pair.n : (size_t)equals;
        if (!is_decoded(str_make(pair.p, n), c->name, false))
            continue;
        *seen = true;
        if (fits_value(c, equals < 0 ? STR_NULL : str_make(pair.p + n + 1, pair.n - n - 1)))
            return true;
    }
    return false;
}

static bool fits_one(const struct message *m, const struct condition *c)
{
    bool seen = false, fits;
    if (c->kind == CONDITION_HEADER)
        fits = fits_header(m, c, &seen);
    else if (c->kind == CONDITION_QUERY)
        fits = fits_query(m, c, &seen);
    else
        fits = fits_cookie(m, c, &seen);
    return c->test == CONDITION_ABSENT ? !seen : fits;
}

bool match_request(const struct message *m, const struct route_rules *rules)
{
    if (!fits_method(m, &rules->options.methods))
        return false;
    for (uint32_t i = 0; i < rules->condition_count; i++)
        if (!fits_one(m, &rules->conditions[i]))
            return false;
    return true;
}
