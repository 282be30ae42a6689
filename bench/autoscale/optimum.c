#include "optimum.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"

#define NOISE_POINTS 120

void over_table_init(struct over_table *t, const struct service_law *law, double noise_cv,
                     uint32_t members_max)
{
    *t = (struct over_table){.law = *law, .noise_cv = noise_cv, .width = members_max + 1};
    t->over = must(calloc((size_t)RATE_GRID * t->width, sizeof(*t->over)));
    t->known = must(calloc(RATE_GRID, 1));
}

void over_table_fini(struct over_table *t)
{
    free(t->over);
    free(t->known);
    t->over = NULL;
    t->known = NULL;
}

/* Requests over objective of one second at `rate` amid others at `usual`. Where the slots cannot keep up, the
 * wait grows by (ρ − 1) s a second, and only who comes after it has passed W is late; afterwards it falls
 * again by (1 − ρ) s a second, and until it has passed W who comes is late, too. */
static double second_over(const struct service_law *law, double steady, double rate, double usual,
                          uint32_t members)
{
    const double full = (double)members * law->slots / law->mean_s;
    if (rate <= full || members == 0)
        return rate * steady;
    const double growth = rate / full - 1.0, passed = law->objective_s / growth;
    if (passed >= 1.0)
        return 0.0;
    const double fall = fmax(0.1, 1.0 - usual / full);
    return rate * (1.0 - passed) + usual * (growth - law->objective_s) / fall;
}

/* A gamma law of mean 1, in NOISE_POINTS even steps; weights that sum up to 1. */
static double noise_point(size_t i)
{
    return 0.3 + 0.02 * (double)i;
}

static void noise_weights(double cv, double *out)
{
    const double shape = 1.0 / (cv * cv);
    double sum = 0.0;
    for (size_t i = 0; i < NOISE_POINTS; i++) {
        const double g = noise_point(i);
        sum += out[i] = exp((shape - 1.0) * log(g) - shape * (g - 1.0));
    }
    for (size_t i = 0; i < NOISE_POINTS; i++)
        out[i] /= sum;
}

/* The largest convex function that is nowhere above: what lies above the chord of its neighbours goes. */
static void make_convex(float *v, uint32_t n)
{
    uint32_t *hull = must(malloc(n * sizeof(*hull)));
    uint32_t count = 0;
    for (uint32_t i = 0; i < n; i++) {
        while (count >= 2) {
            const uint32_t a = hull[count - 2], b = hull[count - 1];
            if (((double)v[b] - v[a]) * (i - a) <= ((double)v[i] - v[a]) * (b - a))
                break;
            count--;
        }
        hull[count++] = i;
    }
    for (uint32_t h = 1; h < count; h++) {
        const uint32_t a = hull[h - 1], b = hull[h];
        const double from = v[a], slope = ((double)v[b] - from) / (b - a);
        for (uint32_t i = a + 1; i < b; i++)
            v[i] = (float)(from + slope * (i - a));
    }
    free(hull);
}

static void fill_row(struct over_table *t, uint32_t index)
{
    const double rate = rate_at(index);
    float *row = t->over + (size_t)index * t->width;
    double *shares = must(malloc(t->width * sizeof(*shares))), weights[NOISE_POINTS];
    const bool is_noisy = t->noise_cv > 0.0;
    if (is_noisy)
        noise_weights(t->noise_cv, weights);
    for (size_t p = 0; p < (is_noisy ? NOISE_POINTS : 1); p++) {
        const double now = is_noisy ? rate * noise_point(p) : rate;
        over_shares(&t->law, now, shares, t->width);
        for (uint32_t m = 0; m < t->width; m++)
            row[m] += (float)(is_noisy ? weights[p] * second_over(&t->law, shares[m], now, rate, m)
                                       : now * shares[m]);
    }
    make_convex(row, t->width);
    free(shares);
    t->known[index] = 1;
}

const float *over_table_row(struct over_table *t, double rate)
{
    const uint32_t index = rate_index(rate);
    if (!t->known[index])
        fill_row(t, index);
    return t->over + (size_t)index * t->width;
}

/* Member k: being there in second t is worth price × (over without it − over with it) and costs 1; coming
 * costs D. came[t] remembers the best way into each state. */
static void one_member(const float *const *rows, size_t n, double delay_s, double price, uint32_t k,
                       uint8_t *came, uint32_t *out)
{
    double out_cost = 0.0, in_cost = 0.0;
    for (size_t t = 0; t < n; t++) {
        const double gain = price * ((double)rows[t][k - 1] - rows[t][k]) - 1.0;
        const double enter = out_cost + delay_s, leave = in_cost;
        const int enters = t > 0 && enter<in_cost, leaves = t> 0 && leave <= out_cost;
        const double next_in = (enters ? enter : in_cost) - gain, next_out = leaves ? leave : out_cost;
        came[t] = (uint8_t)(enters | leaves << 1);
        in_cost = next_in;
        out_cost = next_out;
    }
    int is_in = in_cost < out_cost;
    for (size_t t = n; t-- > 0;) {
        out[t] += (uint32_t)is_in;
        is_in = is_in ? !(came[t] & 1) : came[t] >> 1;
    }
}

void optimum(struct over_table *t, const double *rates, size_t n, double delay_s, double price, uint32_t min,
             uint32_t *out)
{
    const float **rows = must(malloc(n * sizeof(*rows)));
    uint8_t *came = must(malloc(n));
    for (size_t i = 0; i < n; i++) {
        rows[i] = over_table_row(t, rates[i]);
        out[i] = min;
    }
    for (uint32_t k = min + 1; k < t->width; k++) {
        const uint32_t before = out[0];
        one_member(rows, n, delay_s, price, k, came, out);
        bool any = out[0] != before;
        for (size_t i = 0; i < n && !any; i++)
            any = out[i] == k;
        if (!any) /* nested: none above is worth it either */
            break;
    }
    free(came);
    free(rows);
}

double optimum_cost(struct over_table *t, const double *rates, size_t n, double delay_s, double price,
                    const uint32_t *members)
{
    double cost = 0.0;
    for (size_t i = 0; i < n; i++) {
        cost += members[i] + price * (double)over_table_row(t, rates[i])[members[i]];
        if (i && members[i] > members[i - 1])
            cost += delay_s * (members[i] - members[i - 1]);
    }
    return cost;
}
