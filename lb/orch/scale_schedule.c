/* Minimums by the calendar. */
#include "base/clock.h"
#include "orch/scale_priv.h"

uint32_t scale_schedule_floor(const struct scaling_settings *scaling, uint64_t wall_ns)
{
    uint32_t floor = 0;
    for (size_t i = 0; scaling && i < scaling->schedules.count; i++) {
        const struct schedule_settings *one = SETTINGS_AT(scaling->schedules, struct schedule_settings, i);
        int64_t since_s;
        if ((uint32_t)one->min > floor &&
            cron_is_within(&one->moments, (int64_t)(wall_ns / NS_PER_S), (int64_t)(one->for_ms / 1000),
                           one->zone == SCHEDULE_UTC, &since_s))
            floor = (uint32_t)one->min;
    }
    return floor;
}
