/* settings_scale: what decides how many members a set has: policies, and what a set says of itself. Part of
 * conf/settings.h. */
#ifndef COX_CONF_SETTINGS_SCALE_H
#define COX_CONF_SETTINGS_SCALE_H

#include "conf/cron.h"
#include "conf/options.h"

enum schedule_zone { SCHEDULE_LOCAL, SCHEDULE_UTC };

struct schedule_settings {
    char *cron;          /* five fields, as crontab(5) has them */
    uint64_t for_ms;     /* from each of its moments on */
    int64_t min;         /* so many members at least */
    int zone;            /* enum schedule_zone */
    struct cron moments; /* settings_load has read cron */
};
#define SCHEDULE_FOR_MAX_MS ((int64_t)(CRON_LOOK_BACK_S - 86400) * 1000)

/* Of a set, whoever makes it: its rows stand in that section itself, but for the name of the policy. */
struct scaling_settings {
    char *policy; /* of an autoscaling policy; NULL: the count stays at min, or where it was put by hand */
    uint64_t objective_ms;        /* longest wait of a request for its server that is fine; 0: not said */
    uint64_t zero_after_ms;       /* idle for so long: to zero, where min allows it */
    struct option_list schedules; /* struct schedule_settings */
};

extern const struct option_table scaling_table, schedule_table, policy_table;

#endif
