/* random: streams of numbers that are the same on every machine: xoshiro256++ seeded by splitmix64.
 *
 * Each purpose (arrivals, noise of the rate, service, start-up) has a stream of its own, so that two policies
 * under the same seed meet the same arrivals whatever they do. */
#ifndef COX_AUTOSCALE_RANDOM_H
#define COX_AUTOSCALE_RANDOM_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/panic.h"

struct random {
    uint64_t s[4];
    double spare; /* the second of a pair of normals */
    int has_spare;
};

static inline uint64_t random_mix(uint64_t *x)
{
    uint64_t z = *x += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline struct random random_make(uint64_t seed, uint64_t purpose)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u + purpose;
    struct random r = {.has_spare = 0};
    for (int i = 0; i < 4; i++)
        r.s[i] = random_mix(&x);
    return r;
}

static inline uint64_t random_bits(struct random *r)
{
    uint64_t *s = r->s;
    const uint64_t sum = s[0] + s[3], out = (sum << 23 | sum >> 41) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = s[3] << 45 | s[3] >> 19;
    return out;
}

/* In (0, 1). */
static inline double random_unit(struct random *r)
{
    return ((double)(random_bits(r) >> 11) + 0.5) * 0x1p-53;
}

static inline double random_exponential(struct random *r)
{
    return -log(random_unit(r));
}

static inline double random_normal(struct random *r)
{
    if (r->has_spare) {
        r->has_spare = 0;
        return r->spare;
    }
    double u, v, q;
    do {
        u = 2.0 * random_unit(r) - 1.0;
        v = 2.0 * random_unit(r) - 1.0;
        q = u * u + v * v;
    } while (q >= 1.0);
    q = sqrt(-2.0 * log(q) / q);
    r->spare = v * q;
    r->has_spare = 1;
    return u * q;
}

/* Like a normal, within three and a half deviations: for the noise of sums whose law matters little. */
static inline double random_bell(struct random *r)
{
    const uint64_t bits = random_bits(r);
    const double sum = (double)(bits & 0xffff) + (double)(bits >> 16 & 0xffff) +
                       (double)(bits >> 32 & 0xffff) + (double)(bits >> 48);
    return (sum - 2.0 * 65535.0) * (1.7320508075688772 / 65535.6);
}

/* Above a mean of 30: a normal with its skewness set right, off by less than 1 in 1,000 in the tails. */
static inline uint64_t random_poisson(struct random *r, double mean)
{
    if (mean > 30.0) {
        const double z = random_normal(r), x = mean + sqrt(mean) * z + (z * z - 1.0) / 6.0;
        return x > 0.0 ? (uint64_t)(x + 0.5) : 0;
    }
    const double least = exp(-mean);
    uint64_t n = 0;
    for (double p = random_unit(r); p > least; p *= random_unit(r))
        n++;
    return n;
}

static inline uint64_t random_binomial(struct random *r, uint64_t n, double p)
{
    if (p <= 0.0 || n == 0)
        return 0;
    if (p >= 1.0)
        return n;
    if (p > 0.5)
        return n - random_binomial(r, n, 1.0 - p);
    const double q = 1.0 - p, mean = (double)n * p, variance = mean * q;
    if (variance > 9.0) {
        const double z = random_normal(r), x = mean + sqrt(variance) * z + (z * z - 1.0) * (q - p) / 6.0;
        return x <= 0.0 ? 0 : x + 0.5 >= (double)n ? n : (uint64_t)(x + 0.5);
    }
    const double odds = p / q;
    double term = exp((double)n * log(q)), u = random_unit(r), left = (double)n, k = 0.0;
    while (u > term && left > 0.0) {
        u -= term;
        k += 1.0;
        term *= left * odds / k;
        left -= 1.0;
    }
    return (uint64_t)k;
}

/* Of n, each with a chance of one half. */
static inline uint64_t random_half(struct random *r, uint64_t n)
{
    uint64_t k = 0;
    if (n > 1024)
        return random_binomial(r, n, 0.5);
    for (; n >= 64; n -= 64)
        k += (uint64_t)__builtin_popcountll(random_bits(r));
    return n ? k + (uint64_t)__builtin_popcountll(random_bits(r) >> (64 - n)) : k;
}

/* random_binomial for one p and many n, by tables; zero before its use. */
#define THIN_MAX 128u
struct thin_row {
    double below[THIN_MAX]; /* chances of at most 0 .. n */
    uint8_t from[256];      /* where the search begins, by the first bits of the draw */
};

struct thin {
    double p;
    struct thin_row *rows[THIN_MAX]; /* owned */
};

static inline void thin_free(struct thin *t)
{
    for (uint32_t n = 0; n < THIN_MAX; n++)
        free(t->rows[n]);
    *t = (struct thin){0};
}

static inline struct thin_row *thin_make(double p, uint32_t n)
{
    struct thin_row *row = must(malloc(sizeof(*row)));
    double sum = 0.0;
    for (uint32_t k = 0; k < n; k++) {
        sum +=
            exp(lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0) + k * log(p) + (n - k) * log1p(-p));
        row->below[k] = sum < 1.0 ? sum : 1.0;
    }
    row->below[n] = 1.0;
    for (uint32_t i = 0, k = 0; i < 256; i++) {
        while (row->below[k] <= i / 256.0)
            k++;
        row->from[i] = (uint8_t)k;
    }
    return row;
}

static inline uint64_t random_thin(struct random *r, struct thin *t, uint64_t n)
{
    if (n >= THIN_MAX || t->p <= 0.0 || t->p >= 1.0)
        return random_binomial(r, n, t->p);
    if (n == 0)
        return 0;
    if (!t->rows[n])
        t->rows[n] = thin_make(t->p, (uint32_t)n);
    const struct thin_row *row = t->rows[n];
    const double u = random_unit(r);
    uint64_t k = row->from[(int)(u * 256.0)];
    while (u >= row->below[k]) /* the last one is 1 */
        k++;
    return k;
}

/* Mean 1, of the given coefficient of variation. Marsaglia and Tsang, for shapes of at least 1. */
static inline double random_gamma(struct random *r, double cv)
{
    const double shape = 1.0 / (cv * cv), d = shape - 1.0 / 3.0, c = 1.0 / sqrt(9.0 * d);
    for (;;) {
        const double x = random_normal(r), t = 1.0 + c * x, v = t * t * t;
        if (v > 0.0 && log(random_unit(r)) < 0.5 * x * x + d - d * v + d * log(v))
            return d * v / shape;
    }
}

/* Mean 1. */
static inline double random_lognormal(struct random *r, double cv)
{
    const double square = log(1.0 + cv * cv);
    return exp(sqrt(square) * random_normal(r) - square / 2.0);
}

#endif
