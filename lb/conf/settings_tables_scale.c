/* The tables of what decides how many members there are. */
#include "conf/settings_rows.h"

static const char *const zone_words[] = {"local", "utc", NULL}; /* enum schedule_zone */

#define P(member) offsetof(struct plugin_settings, member)
static const struct option policy_rows[] = {
    ROW_REQUIRED("name", P(name), "What sets call it."),
    ROW_REQUIRED("plugin", P(plugin),
                 "A scaler: the name of a plugin, such as \"scale_target\", or of an instance in plugins. A scaler needs "
                 "no instance."),
    {.key = "",
     .type = OPT_PLUGIN,
     .offset = P(raw),
     .help = "All other keys are the scaler's own; its README has them."},
};
const struct option_table policy_table = {
    .name = "autoscaling policy",
    .help = "A scaler with its options. The same policy may serve many sets: each has a state of its own.",
    ROWS(policy_rows),
    .struct_size = sizeof(struct plugin_settings),
    .unique_key = "name",
};

#define H(member) offsetof(struct schedule_settings, member)
static const struct option schedule_rows[] = {
    ROW_REQUIRED("cron", H(cron),
                 "When it begins: minute, hour, day of the month, month, day of the week, as in crontab(5): "
                 "\"0 8 * * 1-5\" is eight o'clock on weekdays. Ranges may go around: \"22-2\", \"sat-sun\"."),
    {.key = "for",
     .type = OPT_DURATION,
     .offset = H(for_ms),
     .required = true,
     .min = SEC(60),
     .max = SCHEDULE_FOR_MAX_MS,
     .help = "How long it lasts from each of these moments on, in elapsed time."},
    {.key = "min",
     .type = OPT_INT,
     .offset = H(min),
     .required = true,
     .min = 0,
     .max = 10000,
     .help = "Members that there are at least meanwhile. Where several hold at a time, the largest counts."},
    ROW_ENUM("timezone", H(zone), "local", zone_words,
             "Whose clock: that of this machine (TZ), with its summer time, or UTC. When summer time begins, a moment that "
             "is left out comes as much later; when it ends, one that comes twice counts once."),
};
const struct option_table schedule_table = {
    .name = "schedule",
    .help = "A minimum by the calendar.",
    ROWS(schedule_rows),
    .struct_size = sizeof(struct schedule_settings),
};

#define Z(member) offsetof(struct scaling_settings, member)
static const struct option scaling_rows[] = {
    ROW_DURATION("objective", Z(objective_ms), "0s", 0, 60 * 60 * SEC(1),
                 "The longest that a request may wait for a member that is free to serve it. Scalers that know what to do "
                 "with it (scale_predict) keep as many members as that takes, and take it instead of their own option. "
                 "0s: nothing is said."),
    ROW_DURATION("scale_to_zero_after", Z(zero_after_ms), "5m", SEC(1), 7 * DAY,
                 "With min = 0: when nothing was in flight for so long, the last member goes. The next request waits (see "
                 "hold_max) while one starts."),
    ROW_LIST("schedules", Z(schedules), &schedule_table,
             "Minimums by the calendar, for example ( { cron = \"0 8 * * 1-5\"; for = \"10h\"; min = 5; } )."),
};
const struct option_table scaling_table = {
    .name = "scaling of a set",
    .help = "How many members a set has.",
    ROWS(scaling_rows),
    .struct_size = sizeof(struct scaling_settings),
};
