/* Change detection: did the rate go up within the last ticks, for certain?
 *
 * Counts of the last 1, 2, 3, 4, 6 and 8 ticks are compared with what the level of the half minute before
 * would bring: log likelihood ratio of two Poisson rates, divided by the dispersion that the counts of this
 * set are known to have. At CERTAIN a stationary load cries wolf about once in a month. */
#include "predict.h"

#define CERTAIN  16.5
#define LEVEL_S  32.0
#define SAME_NS  UINT64_C(1000000000) /* within it, one change is all that happened */
#define BIG_JUMP 1.15                 /* from here on older counts are no longer used for the level */

static const uint32_t looks[] = {1, 2, 3, 4, 6, 8};
#define LOOKS (sizeof looks / sizeof *looks)

/* n counts where e were expected. */
static bool is_certain(const struct work *w, double n, double e, double dispersion)
{
    /* The ratio is never larger than half of the square of n's distance in sigmas. */
    if (n <= e || (n - e) * (n - e) < 2 * CERTAIN * e * dispersion)
        return false;
    return n * w->math->log(n / e) - (n - e) > CERTAIN * dispersion;
}

void change_look(struct work *w)
{
    struct state *s = w->s;
    const struct ring *r = &s->rings[0];
    if (s->steps < 2)
        return;
    const struct point *now = &r->at[(r->next + RING_POINTS - 1) % RING_POINTS];
    double best = 0, found = 0;
    uint64_t from_ns = 0;
    for (uint32_t i = 0; i < LOOKS && looks[i] < r->count; i++) {
        const struct point *p = &r->at[(r->next + RING_POINTS - 1 - looks[i]) % RING_POINTS];
        const double seconds = rates_seconds(p->t_ns, now->t_ns);
        const double n = (double)(now->arrivals - p->arrivals);
        const double e = s->level * seconds > 0.5 ? s->level * seconds : 0.5;
        if (!is_certain(w, n, e, 1 + (s->dispersion - 1) * seconds))
            continue;
        /* The shorter window has less of the old rate in it, the longer one less noise. */
        const double spread = w->math->sqrt(n);
        if ((n - spread / 2) / seconds > best) {
            best = (n - spread / 2) / seconds;
            found = (n + spread) / seconds;
            from_ns = p->t_ns;
        }
    }
    if (found <= s->jump)
        return;
    s->jump = found;
    /* The level stays what it was until the next step: the first tick of a rise has but a part of it. */
    if (best > BIG_JUMP * s->level && from_ns > s->change_ns + SAME_NS)
        s->change_ns = from_ns;
}

void change_learn(struct work *w, double arrivals, double seconds)
{
    struct state *s = w->s;
    const double e = s->level * seconds;
    if (s->steps > 8 && e > 1) {
        double d = (arrivals - e) * (arrivals - e) / (e * seconds);
        const double most = 25 * s->dispersion;
        d = d < most ? d : most; /* a step of the load is not noise */
        s->dispersion += (d - s->dispersion) / 300;
        s->dispersion = s->dispersion > 1 ? s->dispersion : 1;
    }
    const uint64_t age_ns = s->last_ns - s->change_ns;
    if (age_ns >= UINT64_C(500000000))
        s->level = rates_mean(s, LEVEL_S, 0, s->change_ns);
}
