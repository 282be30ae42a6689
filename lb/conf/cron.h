/* cron: moments by the calendar, as the five fields of crontab(5) name them: minute, hour, day of the month,
 * month, day of the week. Pure; plain values, made by cron_parse.
 *
 * Fields are lists of numbers, ranges and steps ("0,30", "8-18", "*" with a step of 15), months and days of
 * the week also by name. When both days are restricted, either of them is enough, as everywhere.
 *
 * Of local time: a moment that the clocks jump over (02:30 in the night when summer time begins) is as much
 * later as they jump; one that comes twice counts the first time only. */
#ifndef COX_CONF_CRON_H
#define COX_CONF_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct cron {
    uint64_t minutes; /* bit n: minute n; likewise below */
    uint32_t hours, days, months, weekdays;
    bool any_day, any_weekday; /* the field was a star */
};

/* False: it is none; *out_why (never NULL then) says what was expected. */
bool cron_parse(struct str text, struct cron *out, const char **out_why) __attribute__((warn_unused_result));
/* Whether a moment of it lies in (wall_s - for_s, wall_s]; *out_since_s is the latest such. Unix time; utc:
 * its fields are of UTC, else of the local time zone (TZ). Looks at no more than CRON_LOOK_BACK_S. */
#define CRON_LOOK_BACK_S (8 * 86400)
bool cron_is_within(const struct cron *c, int64_t wall_s, int64_t for_s, bool utc, int64_t *out_since_s);

#endif
