/* queueing: what theory says of members with slots: how many requests wait too long, and how few members do.
 *
 * A cluster of m members with C slots each is M/M/(m·C): the wait of a request exceeds W with probability
 * ErlangC(m·C, R) · exp(−(m·C − R)·W/S), where R = λ·S is the offered load. */
#ifndef COX_AUTOSCALE_QUEUEING_H
#define COX_AUTOSCALE_QUEUEING_H

#include <stddef.h>
#include <stdint.h>

/* The law of a cluster. */
struct service_law {
    double mean_s;      /* S */
    double objective_s; /* W: the longest wait that is fine */
    uint32_t slots;     /* C */
};

/* Share of requests that wait longer than W in the steady state; 1 where there is none. */
double over_share(const struct service_law *law, double rate, uint32_t members);
/* The same for 0..count-1 members at once. */
void over_shares(const struct service_law *law, double rate, double *out, uint32_t count);
/* The fewest members with a share of at most `allowed`, at least 1. */
uint32_t least_members(const struct service_law *law, double rate, double allowed);

/* least_members for many rates of one run: a table over a grid of 1/4 %. */
struct staffing {
    struct service_law law;
    double allowed;
    uint32_t *known; /* owned; 0: not asked for yet */
    size_t count;
};
void staffing_init(struct staffing *s, const struct service_law *law, double allowed);
void staffing_fini(struct staffing *s);
uint32_t staffing_least(struct staffing *s, double rate);

/* A grid of rates: 0, then 1/1000 a second and so on in steps of 1/4 %. */
#define RATE_GRID 8192u
uint32_t rate_index(double rate);
double rate_at(uint32_t index);

#endif
