#include "proxy/files_range.h"

#include <stdio.h>
#include <time.h>

/* ---- dates (RFC 9110 5.6.7) ---- */

static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static void put_digits(char *to, int count, int value)
{
    for (int i = count - 1; i >= 0; i--) {
        to[i] = (char)('0' + value % 10);
        value /= 10;
    }
}

void http_date_write(char *to, int64_t unix_s)
{
    time_t t = (time_t)unix_s;
    struct tm tm;
    if (!gmtime_r(&t, &tm))
        tm = (struct tm){.tm_mday = 1, .tm_year = 70, .tm_wday = 4};
    memcpy(to, "Sun, 01 Jan 1970 00:00:00 GMT", HTTP_DATE_BYTES);
    memcpy(to, days[tm.tm_wday], 3);
    put_digits(to + 5, 2, tm.tm_mday);
    memcpy(to + 8, months[tm.tm_mon], 3);
    put_digits(to + 12, 4, tm.tm_year + 1900);
    put_digits(to + 17, 2, tm.tm_hour);
    put_digits(to + 20, 2, tm.tm_min);
    put_digits(to + 23, 2, tm.tm_sec);
}

static int digits_at(const char *p, int count)
{
    int value = 0;
    for (int i = 0; i < count; i++) {
        if (p[i] < '0' || p[i] > '9')
            return -1;
        value = value * 10 + p[i] - '0';
    }
    return value;
}

static int month_at(const char *p)
{
    for (int i = 0; i < 12; i++)
        if (memcmp(p, months[i], 3) == 0)
            return i;
    return -1;
}

bool http_date_parse(struct str text, int64_t *out_unix_s)
{
    const char *p = text.p;
    if (text.n != HTTP_DATE_BYTES || memcmp(p + 3, ", ", 2) != 0 || p[7] != ' ' || p[11] != ' ' ||
        p[16] != ' ' || p[19] != ':' || p[22] != ':' || memcmp(p + 25, " GMT", 4) != 0)
        return false;
    struct tm tm = {.tm_mday = digits_at(p + 5, 2),
                    .tm_mon = month_at(p + 8),
                    .tm_year = digits_at(p + 12, 4) - 1900,
                    .tm_hour = digits_at(p + 17, 2),
                    .tm_min = digits_at(p + 20, 2),
                    .tm_sec = digits_at(p + 23, 2)};
    if (tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_mon < 0 || tm.tm_year < -1900 || tm.tm_hour < 0 ||
        tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
        return false;
    *out_unix_s = (int64_t)timegm(&tm);
    return true;
}

/* ---- entity tags (RFC 9110 8.8.3) ---- */

size_t files_etag(char *to, uint64_t modified_ns, uint64_t size)
{
    char text[FILES_ETAG_MAX + 1];
    int n = snprintf(text, sizeof text, "\"%llx-%llx\"", (unsigned long long)modified_ns,
                     (unsigned long long)size);
    memcpy(to, text, (size_t)n);
    return (size_t)n;
}

/* A tag may hold commas, so elements end at their closing quote. */
static bool next_tag(struct str *rest, struct str *out_tag, bool *out_weak)
{
    size_t i = 0;
    while (i < rest->n && (rest->p[i] == ' ' || rest->p[i] == '\t' || rest->p[i] == ','))
        i++;
    *out_weak = rest->n - i >= 2 && memcmp(rest->p + i, "W/", 2) == 0;
    size_t from = *out_weak ? i + 2 : i;
    if (from >= rest->n || rest->p[from] != '"')
        return false;
    const char *close = memchr(rest->p + from + 1, '"', rest->n - from - 1);
    if (!close)
        return false;
    *out_tag = str_make(rest->p + from, (size_t)(close - rest->p) - from + 1);
    *rest = str_make(close + 1, rest->n - (size_t)(close + 1 - rest->p));
    return true;
}

static bool list_matches(struct str list, struct str etag, bool strong)
{
    struct str tag;
    bool weak;
    if (str_eq(list, STR("*")))
        return true;
    while (next_tag(&list, &tag, &weak))
        if (str_eq(tag, etag) && !(strong && weak))
            return true;
    return false;
}

/* Lists may be spread over several lines (RFC 9110 5.3). */
static bool field_matches(const struct message *req, enum field_id id, struct str etag, bool strong)
{
    for (uint16_t i = 0; i < req->field_count; i++) {
        const struct field *f = &req->fields[i];
        if (f->id == id && list_matches(field_value_of(req, f), etag, strong))
            return true;
    }
    return false;
}

/* ---- preconditions (RFC 9110 13.2.2) ---- */

static bool date_of(const struct message *req, enum field_id id, int64_t *out_s)
{
    return message_has(req, id) && http_date_parse(message_value(req, id), out_s);
}

/* 412, 304, or 0: go on. */
static uint16_t precondition(const struct message *req, const struct files_facts *f)
{
    int64_t date;
    if (message_has(req, FIELD_IF_MATCH)) {
        if (!field_matches(req, FIELD_IF_MATCH, f->etag, true))
            return 412;
    } else if (date_of(req, FIELD_IF_UNMODIFIED_SINCE, &date) && f->modified_s > date) {
        return 412;
    }
    if (message_has(req, FIELD_IF_NONE_MATCH))
        return field_matches(req, FIELD_IF_NONE_MATCH, f->etag, false) ? 304 : 0;
    if (date_of(req, FIELD_IF_MODIFIED_SINCE, &date) && f->modified_s <= date)
        return 304;
    return 0;
}

/* RFC 9110 13.1.5: a tag is compared strongly; a date must be the very one, and old enough to be a strong
 * validator. */
static bool if_range_holds(const struct message *req, const struct files_facts *f)
{
    if (!message_has(req, FIELD_IF_RANGE))
        return true;
    struct str value = message_value(req, FIELD_IF_RANGE);
    int64_t date;
    if (http_date_parse(value, &date))
        return date == f->modified_s && f->now_s > f->modified_s + 1;
    return str_eq(value, f->etag);
}

/* ---- ranges (RFC 9110 14.1.2) ---- */

/* Digits only, at least one; values beyond 64 bits are as good as the largest. */
static bool read_position(struct str s, uint64_t *out)
{
    if (!s.n)
        return false;
    *out = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        *out = *out > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *out * 10 + digit;
    }
    return true;
}

enum range { RANGE_VOID, RANGE_GOOD, RANGE_BEYOND };

static enum range suffix_range(struct str length, uint64_t size, struct files_plan *out)
{
    uint64_t n;
    if (!read_position(length, &n))
        return RANGE_VOID;
    if (!n || !size)
        return RANGE_BEYOND;
    out->size = n < size ? n : size;
    out->from = size - out->size;
    return RANGE_GOOD;
}

static enum range read_range(struct str spec, uint64_t size, struct files_plan *out)
{
    ptrdiff_t dash = str_find(spec, '-');
    uint64_t first, last = UINT64_MAX;
    if (dash < 0)
        return RANGE_VOID;
    struct str left = str_make(spec.p, (size_t)dash),
               right = str_make(spec.p + dash + 1, spec.n - (size_t)dash - 1);
    if (!left.n)
        return suffix_range(right, size, out);
    if (!read_position(left, &first) || (right.n && !read_position(right, &last)) || last < first)
        return RANGE_VOID;
    if (first >= size)
        return RANGE_BEYOND;
    out->from = first;
    out->size = (last < size ? last : size - 1) - first + 1;
    return RANGE_GOOD;
}

/* The one range-spec of the one Range field; empty when the field is not for us or asks for several. */
static struct str single_spec(const struct message *req)
{
    struct str value = STR_NULL, spec = STR_NULL, item;
    for (uint16_t i = 0; i < req->field_count; i++) {
        if (req->fields[i].id != FIELD_RANGE)
            continue;
        if (value.p)
            return STR_NULL;
        value = field_value_of(req, &req->fields[i]);
    }
    if (value.n < 6 || !str_ieq(str_make(value.p, 6), STR("bytes=")))
        return STR_NULL;
    value = str_make(value.p + 6, value.n - 6);
    while (str_next(&value, ',', &item)) {
        if (!item.n)
            continue;
        if (spec.n)
            return STR_NULL;
        spec = item;
    }
    return spec;
}

static void plan_range(const struct message *req, const struct files_facts *facts, struct files_plan *out)
{
    if (req->method != METHOD_GET || !message_has(req, FIELD_RANGE) || !if_range_holds(req, facts))
        return;
    struct str spec = single_spec(req);
    enum range got = spec.n ? read_range(spec, facts->size, out) : RANGE_VOID;
    if (got == RANGE_GOOD)
        out->status = 206;
    else if (got == RANGE_BEYOND)
        *out = (struct files_plan){.status = 416};
}

void files_plan(const struct message *req, const struct files_facts *facts, struct files_plan *out)
{
    *out = (struct files_plan){.status = 200, .size = facts->size};
    if (req->method != METHOD_GET && req->method != METHOD_HEAD)
        return;
    uint16_t status = precondition(req, facts);
    if (status)
        *out = (struct files_plan){.status = status};
    else
        plan_range(req, facts, out);
}
