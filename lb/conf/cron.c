#include "conf/cron.h"

#include <string.h>
#include <time.h>

#define DAY_S        86400
#define OFFSET_MAX_S (18 * 3600) /* no place is farther from UTC */

/* ---- reading ---- */

struct field {
    unsigned min, max, period; /* period: how many different ones there are */
    const char *names;         /* of min, min + 1 …, three letters each; NULL: none */
};

static const struct field fields[] = {{0, 59, 60, NULL},
                                      {0, 23, 24, NULL},
                                      {1, 31, 31, NULL},
                                      {1, 12, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
                                      {0, 7, 7, "sunmontuewedthufrisat"}};

static bool take_number(const struct field *f, struct str text, unsigned *out)
{
    uint64_t n;
    if (str_to_u64(text, &n)) {
        *out = (unsigned)(n > f->max ? f->max + 1 : n);
        return *out >= f->min && *out <= f->max;
    }
    for (unsigned i = 0; f->names && text.n == 3 && i < strlen(f->names) / 3; i++)
        if (str_ieq(text, str_make(f->names + 3 * i, 3))) {
            *out = f->min + i;
            return true;
        }
    return false;
}

/* "*", "8", "8-18", "mon-fri", each with or without "/15". A range whose end comes before its beginning goes
 * around: "22-2", "sat-sun". */
static bool take_item(const struct field *f, struct str item, uint64_t *bits)
{
    struct str range, step_text = item;
    unsigned from = f->min, to = f->max;
    uint64_t step = 1;
    const bool has_step = str_next(&step_text, '/', &range) && range.n < item.n;
    if (has_step && (!str_to_u64(step_text, &step) || step == 0 || step > 60))
        return false;
    const ptrdiff_t dash = str_find(range, '-');
    if (dash > 0) {
        if (!take_number(f, str_make(range.p, (size_t)dash), &from) ||
            !take_number(f, str_make(range.p + dash + 1, range.n - (size_t)dash - 1), &to))
            return false;
        to += from > to ? f->period : 0;
    } else if (!str_eq(range, STR("*"))) {
        if (!take_number(f, range, &from))
            return false;
        to = has_step ? f->max : from;
    }
    for (uint64_t i = from; i <= to; i += step)
        *bits |= 1ull << (i > f->max ? i - f->period : i);
    return true;
}

static bool take_field(const struct field *f, struct str text, uint64_t *out)
{
    struct str item;
    *out = 0;
    if (!text.n)
        return false;
    while (str_next(&text, ',', &item))
        if (!take_item(f, item, out))
            return false;
    return true;
}

bool cron_parse(struct str text, struct cron *out, const char **out_why)
{
    static const char *const what[] = {
        "the minute must be 0 to 59", "the hour must be 0 to 23", "the day of the month must be 1 to 31",
        "the month must be 1 to 12 or jan to dec", "the day of the week must be 0 to 7 or sun to sat"};
    uint64_t bits[5];
    struct str word, words[5];
    size_t n = 0;
    *out_why = "expected five fields, such as \"0 8 * * 1-5\"";
    while (str_next(&text, ' ', &word)) {
        if (!word.n)
            continue;
        if (n == 5)
            return false;
        words[n++] = word;
    }
    if (n != 5)
        return false;
    for (size_t i = 0; i < 5; i++) {
        *out_why = what[i];
        if (!take_field(&fields[i], words[i], &bits[i]))
            return false;
    }
    *out = (struct cron){.minutes = bits[0],
                         .hours = (uint32_t)bits[1],
                         .days = (uint32_t)bits[2],
                         .months = (uint32_t)bits[3],
                         .weekdays = (uint32_t)(bits[4] | bits[4] >> 7) & 127u,
                         .any_day = words[2].p[0] == '*',
                         .any_weekday = words[4].p[0] == '*'};
    return true;
}

/* ---- the calendar ---- */

static int64_t offset_at(int64_t at_s, bool utc)
{
    const time_t t = (time_t)at_s;
    struct tm local;
    if (utc || !localtime_r(&t, &local))
        return 0;
    return local.tm_gmtoff;
}

/* The moment that clocks show as `shown_s` (counted as if it were UTC). */
static int64_t moment_of(int64_t shown_s, bool utc)
{
    const int64_t before = offset_at(shown_s - DAY_S, utc), after = offset_at(shown_s + DAY_S, utc);
    const int64_t a = shown_s - before, b = shown_s - after;
    const bool is_a = offset_at(a, utc) == before, is_b = offset_at(b, utc) == after;
    if (is_a && is_b)
        return a < b ? a : b;
    return is_b ? b : a; /* neither: the clocks jump over it, and a lies as far behind the jump */
}

static bool has_day(const struct cron *c, int64_t day)
{
    const time_t t = (time_t)(day * DAY_S);
    struct tm d;
    if (!gmtime_r(&t, &d) || !(c->months >> (d.tm_mon + 1) & 1))
        return false;
    const bool is_day = c->days >> d.tm_mday & 1, is_weekday = c->weekdays >> d.tm_wday & 1;
    if (c->any_day || c->any_weekday)
        return is_day && is_weekday;
    return is_day || is_weekday;
}

/* The latest of that day which is in (from, to]; false: none. */
static bool latest_of_day(const struct cron *c, int64_t day, int64_t from_s, int64_t to_s, bool utc,
                          int64_t *out)
{
    for (int minute = 24 * 60 - 1; minute >= 0; minute--) {
        if (!(c->hours >> (minute / 60) & 1) || !(c->minutes >> (minute % 60) & 1))
            continue;
        const int64_t shown = day * DAY_S + minute * 60;
        if (shown - OFFSET_MAX_S > to_s || shown + OFFSET_MAX_S <= from_s)
            continue; /* whatever the time zone */
        const int64_t at = moment_of(shown, utc);
        if (at > from_s && at <= to_s) {
            *out = at;
            return true;
        }
    }
    return false;
}

bool cron_is_within(const struct cron *c, int64_t wall_s, int64_t for_s, bool utc, int64_t *out_since_s)
{
    const int64_t from = wall_s - (for_s < CRON_LOOK_BACK_S ? for_s : CRON_LOOK_BACK_S);
    for (int64_t day = wall_s / DAY_S + 1; day >= from / DAY_S - 1; day--)
        if (has_day(c, day) && latest_of_day(c, day, from, wall_s, utc, out_since_s))
            return true;
    return false;
}
