/* Counts at ages that grow geometrically: any window is the difference of two points, exactly. */
#include "predict.h"

struct point rates_point(const struct cox_sample *in)
{
    return (struct point){.t_ns = in->now_ns,
                          .arrivals = in->totals.arrivals,
                          .service_count = in->totals.service_count,
                          .service_sum_ns = in->totals.service_sum_ns};
}

static const struct point *back(const struct ring *r, uint32_t steps)
{
    return &r->at[(r->next + RING_POINTS - 1 - steps) % RING_POINTS];
}

void rates_add(struct state *s, const struct point *p)
{
    for (uint32_t j = 0; j < RINGS; j++) {
        struct ring *r = &s->rings[j];
        /* Half a tick of grace: a sample that comes a little early still counts as the next one. */
        if (r->count && p->t_ns + TICK_NS / 2 < back(r, 0)->t_ns + (TICK_NS << j))
            return; /* the rings above turn more seldom */
        r->at[r->next] = *p;
        r->next = (r->next + 1) % RING_POINTS;
        r->count += r->count < RING_POINTS;
    }
}

const struct point *rates_at(const struct state *s, uint64_t age_ns)
{
    const uint64_t now = back(&s->rings[0], 0)->t_ns;
    const uint64_t until = now > age_ns ? now - age_ns : 0;
    const struct point *oldest = back(&s->rings[0], s->rings[0].count - 1);
    for (uint32_t j = 0; j < RINGS && s->rings[j].count; j++) {
        const struct ring *r = &s->rings[j];
        const struct point *last = &r->at[r->count < RING_POINTS ? 0 : r->next];
        if (last->t_ns > until) {
            oldest = last->t_ns < oldest->t_ns ? last : oldest;
            continue;
        }
        /* The smallest step back that is old enough: samples mostly come in time. */
        const uint64_t guess = (now - until) / TICK_NS >> j;
        uint32_t i = guess < r->count ? (uint32_t)guess : r->count - 1;
        while (back(r, i)->t_ns > until)
            i++;
        while (i && back(r, i - 1)->t_ns <= until)
            i--;
        return back(r, i);
    }
    return oldest;
}

double rates_seconds(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? (double)(to_ns - from_ns) / 1e9 : 0;
}

double rates_mean(const struct state *s, double from_s, double to_s, uint64_t not_before_ns)
{
    const struct point *b = to_s > 0 ? rates_at(s, (uint64_t)(to_s * 1e9)) : back(&s->rings[0], 0);
    const struct point *a = rates_at(s, (uint64_t)(from_s * 1e9));
    if (a->t_ns < not_before_ns && not_before_ns < b->t_ns)
        a = rates_at(s, back(&s->rings[0], 0)->t_ns - not_before_ns);
    const double seconds = rates_seconds(a->t_ns, b->t_ns);
    return seconds > 0 ? (double)(b->arrivals - a->arrivals) / seconds : 0;
}
