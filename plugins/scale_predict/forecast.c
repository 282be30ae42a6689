/* Forecasts: the rate at the end of the start-up delay, by several simple methods at once. Which of them is
 * used is not decided here: shadow.c lets every one of them run on what really arrives. */
#include "predict.h"

#define QUARTER_NS UINT64_C(900000000000)

struct method {
    double window_s;
    double trend;    /* how much of the local trend is carried on; 0: level only */
    uint32_t season; /* 1: ratio of the day's table, 2: of the week's */
};

static const struct method methods[FORECASTS] = {
    {1, 0, 0},  {4, 0, 0},   {16, 0, 0},   {64, 0, 0}, {256, 0, 0}, {16, 1, 0},
    {64, 1, 0}, {256, 1, 0}, {16, 0.5, 0}, {16, 0, 1}, {16, 0, 2},
};

/* Two windows side by side: level and slope at their end. Never below the rate as it is now: members that are
 * needed until the fall has happened cannot be given back before it. */
static double by_trend(const struct state *s, double window_s, double trend, double horizon_s)
{
    const double age_s = rates_seconds(s->change_ns, s->last_ns) / 2;
    const double w = age_s < window_s ? age_s : window_s;
    if (w < 1)
        return rates_mean(s, 1, 0, s->change_ns);
    const double late = rates_mean(s, w, 0, s->change_ns), early = rates_mean(s, 2 * w, w, s->change_ns);
    const double slope = trend * (late - early) / w;
    const double now = late + slope * w / 2;
    double then = now + slope * horizon_s;
    then = then < 3 * late ? then : 3 * late;
    const double most = then > now ? then : now;
    return most > late / 2 ? most : late / 2;
}

/* Rate of the table at a moment of the week, straight lines between the middles of the quarters; < 0:
 * unknown. */
static double season_rate(const float *table, uint32_t slots, uint64_t wall_ns)
{
    const uint64_t shifted = wall_ns + QUARTER_NS / 2;
    const uint32_t b = (uint32_t)(shifted / QUARTER_NS % slots), a = (b + slots - 1) % slots;
    if (table[a] < 0 || table[b] < 0)
        return -1;
    const double part = (double)(shifted % QUARTER_NS) / (double)QUARTER_NS;
    return (double)table[a] * (1 - part) + (double)table[b] * part;
}

static uint64_t wall(const struct cox_sample *in)
{
    return in->wall_ns + (uint64_t)((int64_t)in->utc_offset_s * 1000000000);
}

/* The level now, times what the table says that the horizon brings against now. */
static double by_season(const struct work *w, const struct method *m, double horizon_s)
{
    const struct season *t = &w->s->season;
    const float *table = m->season == 1 ? t->day : t->week;
    const uint32_t slots = m->season == 1 ? DAY_SLOTS : WEEK_SLOTS;
    const double level = rates_mean(w->s, m->window_s, 0, w->s->change_ns);
    const uint64_t now = wall(w->in);
    const double here = season_rate(table, slots, now);
    if (here <= 0)
        return level;
    double most = 1;
    for (int i = 1; i <= 2; i++) {
        const double there = season_rate(table, slots, now + (uint64_t)(horizon_s * 1e9 * i / 2));
        if (there / here > most)
            most = there / here;
    }
    return level * (most < 3 ? most : 3);
}

void forecast_lag(uint32_t k, double *out_lag_s, double *out_lasts_s)
{
    const struct method *m = &methods[k];
    *out_lag_s = m->window_s / (m->trend > 0 ? 4 : 2);
    *out_lasts_s = m->trend == 1 ? m->window_s : 0;
}

void forecast_all(struct work *w, double horizon_s)
{
    struct state *s = w->s;
    for (uint32_t k = 0; k < FORECASTS; k++) {
        const struct method *m = &methods[k];
        double f = m->season      ? by_season(w, m, horizon_s)
                   : m->trend > 0 ? by_trend(s, m->window_s, m->trend, horizon_s)
                                  : rates_mean(s, m->window_s, 0, s->change_ns);
        s->forecasts[k] = f > s->jump ? f : s->jump;
    }
}

static void learn_slot(float *slot, double rate, double share)
{
    *slot = *slot < 0 ? (float)rate : (float)((double)*slot + share * (rate - (double)*slot));
}

void season_learn(struct work *w, double arrivals, double seconds)
{
    struct season *t = &w->s->season;
    const uint32_t slot = (uint32_t)(wall(w->in) / QUARTER_NS % WEEK_SLOTS);
    if (!t->is_running || slot != t->slot) {
        if (t->is_running && t->seconds > 450) { /* half a quarter at least */
            learn_slot(&t->week[t->slot], t->sum / t->seconds, 0.5);
            learn_slot(&t->day[t->slot % DAY_SLOTS], t->sum / t->seconds, 0.3);
        }
        t->slot = slot;
        t->is_running = 1;
        t->sum = t->seconds = 0;
    }
    t->sum += arrivals;
    t->seconds += seconds;
}
