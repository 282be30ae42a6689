/* Prior: what a load may do that it was not seen to do yet.
 *
 * An hour without a ramp or a jump does not mean that none comes. Both are expected with a small share of the
 * time and with sizes that become seldom exponentially. A ramp is below a forecast by what it grows by until
 * the forecast sees it and members have started: so one that looks at an old mean needs a larger margin than
 * one that follows at once, and one that carries the trend on is below it only for a while. */
#include "predict.h"

#define RAMPS       0.003  /* share of the time in ramps … */
#define RAMP_GROWTH 0.0003 /* … which grow by this part of the load a second, in the mean … */
#define RAMP_S      600.0  /* … and last for so long */
#define JUMPS       1e-5   /* share of the time after a jump until members have come */
#define JUMP_FOLD   0.15   /* logarithm of its mean size */

/* Of shadow_margins; below none it is nothing. */
static const double logs[MARGINS] = {
    0,         0,         0,         0,         0.01488861, 0.0295588, 0.04879016, 0.07696104,
    0.1133287, 0.1655144, 0.2390169, 0.3364722, 0.4700036,  0.6418539, 0.8329091,  1.098612,
};

void prior_learn(struct work *w)
{
    struct state *s = w->s;
    if (s->prior_delay_s == s->delay_s)
        return;
    s->prior_delay_s = s->delay_s;
    for (uint32_t k = 0; k < FORECASTS; k++) {
        double lag_s, lasts_s;
        forecast_lag(k, &lag_s, &lasts_s);
        lasts_s = lasts_s > 0 && lasts_s + s->delay_s < RAMP_S ? lasts_s + s->delay_s : RAMP_S;
        const double ramps = RAMPS * lasts_s / RAMP_S, fold = RAMP_GROWTH * (s->delay_s + lag_s);
        for (uint32_t m = 0; m < MARGINS; m++) {
            s->prior[k][m] =
                ramps * w->math->exp(-logs[m] / fold) + JUMPS * w->math->exp(-logs[m] / JUMP_FOLD);
        }
    }
}
