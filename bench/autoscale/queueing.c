#include "queueing.h"

#include <math.h>
#include <stdlib.h>

#include "base/panic.h"

#define GRID_FIRST 0.001
#define GRID_STEP  1.0025

/* Erlang B turned over: 1/B(c) = 1 + (c/R)/B(c−1). It overflows to infinity where blocking is nil. */
static double next_inverse(double inverse, double c, double offered)
{
    return 1.0 + c / offered * inverse;
}

static double share_from(const struct service_law *law, double inverse, double c, double offered)
{
    if (c <= offered)
        return 1.0;
    const double blocked = 1.0 / inverse, waits = blocked / (1.0 - offered / c * (1.0 - blocked));
    return waits * exp(-(c - offered) * law->objective_s / law->mean_s);
}

void over_shares(const struct service_law *law, double rate, double *out, uint32_t count)
{
    const double offered = rate * law->mean_s;
    double inverse = 1.0;
    for (uint32_t m = 0; m < count; m++) {
        const double c = (double)m * law->slots;
        if (offered <= 0.0) {
            out[m] = 0.0;
            continue;
        }
        out[m] = m ? share_from(law, inverse, c, offered) : 1.0;
        for (uint32_t i = 1; i <= law->slots; i++)
            inverse = next_inverse(inverse, c + i, offered);
    }
}

double over_share(const struct service_law *law, double rate, uint32_t members)
{
    const double offered = rate * law->mean_s;
    double inverse = 1.0;
    if (offered <= 0.0)
        return 0.0;
    for (uint32_t c = 1; c <= members * law->slots; c++)
        inverse = next_inverse(inverse, c, offered);
    return members ? share_from(law, inverse, (double)(members * law->slots), offered) : 1.0;
}

uint32_t least_members(const struct service_law *law, double rate, double allowed)
{
    const double offered = rate * law->mean_s;
    double inverse = 1.0;
    uint32_t c = 0;
    if (offered <= 0.0)
        return 1;
    for (uint32_t m = 1;; m++) {
        for (uint32_t i = 0; i < law->slots; i++)
            inverse = next_inverse(inverse, ++c, offered);
        if (share_from(law, inverse, c, offered) <= allowed)
            return m;
    }
}

uint32_t rate_index(double rate)
{
    if (rate < GRID_FIRST)
        return 0;
    const double x = log(rate / GRID_FIRST) / log(GRID_STEP);
    return x >= RATE_GRID - 2 ? RATE_GRID - 1 : (uint32_t)(x + 1.5);
}

double rate_at(uint32_t index)
{
    return index ? GRID_FIRST * pow(GRID_STEP, (double)index - 1.0) : 0.0;
}

void staffing_init(struct staffing *s, const struct service_law *law, double allowed)
{
    *s = (struct staffing){.law = *law, .allowed = allowed, .count = RATE_GRID};
    s->known = must(calloc(s->count, sizeof(*s->known)));
}

void staffing_fini(struct staffing *s)
{
    free(s->known);
    s->known = NULL;
}

uint32_t staffing_least(struct staffing *s, double rate)
{
    const uint32_t i = rate_index(rate);
    if (!s->known[i])
        s->known[i] = least_members(&s->law, rate_at(i), s->allowed);
    return s->known[i];
}
