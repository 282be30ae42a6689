/* history: what scale_target remembers, as fixed-width little-endian fields without pointers: means over
 * windows from a ring of cumulative values, extremes over a window, and changes within a period.
 *
 * Every call is O(1) over many: a granule (a fixed share of the window) is closed at most once per granule of
 * time. Times are nanoseconds and never run backwards here; the caller starts anew when they do. */
#ifndef COX_SCALE_TARGET_HISTORY_H
#define COX_SCALE_TARGET_HISTORY_H

#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "states are little-endian");

/* ---- means ---- */

#define MARKS        128u /* a power of two */
#define MARKS_WINDOW 100u /* granules in the longest window: the ring holds somewhat more than that */

struct mark {
    uint64_t at_ns, integral; /* exchange-nanoseconds since the state was made, modulo 2^64 */
};

/* Cumulative values; two cursors find the beginnings of the long and the short window. */
struct marks {
    uint32_t written; /* in all; the ring holds the last MARKS of them */
    uint32_t cursor[2];
    uint32_t reserved;
    struct mark ring[MARKS];
};

/* Adds a value unless the last one is younger than granule_ns. */
static inline void marks_add(struct marks *m, uint64_t granule_ns, struct mark now)
{
    if (m->written && now.at_ns - m->ring[(m->written - 1) % MARKS].at_ns < granule_ns)
        return;
    m->ring[m->written++ % MARKS] = now;
    for (int i = 0; i < 2; i++)
        if (m->written - m->cursor[i] > MARKS)
            m->cursor[i] = m->written - MARKS;
}

/* Exact mean of the count over the window that ends now; over less while less is known. There must be a mark.
 * NaN when no time has passed since the first one. */
static inline double marks_mean(struct marks *m, int cursor, uint64_t window_ns, struct mark now)
{
    uint32_t at = m->cursor[cursor];
    while (at + 1 != m->written && now.at_ns - m->ring[(at + 1) % MARKS].at_ns >= window_ns)
        at++;
    m->cursor[cursor] = at;
    const struct mark *from = &m->ring[at % MARKS];
    return (double)(now.integral - from->integral) / (double)(now.at_ns - from->at_ns);
}

/* ---- extremes ---- */

#define PEAKS 32u

/* The largest value of the last window (and up to a 31st more). For a smallest one: hand in negatives. */
struct peaks {
    uint64_t next_ns; /* the running granule ends then; 0: nothing was seen */
    uint32_t at;      /* the running granule */
    uint32_t reserved;
    double top; /* over all */
    double granule[PEAKS];
};

static inline void peaks_turn(struct peaks *p, uint64_t granule_ns, uint64_t now_ns, double value)
{
    if (p->next_ns == 0 || now_ns - p->next_ns >= granule_ns * PEAKS) { /* all that is known is too old */
        for (uint32_t i = 0; i < PEAKS; i++)
            p->granule[i] = value;
        p->next_ns = now_ns + granule_ns;
        p->top = value;
        return;
    }
    while (now_ns >= p->next_ns) {
        p->at = (p->at + 1) % PEAKS;
        p->granule[p->at] = value;
        p->next_ns += granule_ns;
    }
    p->top = p->granule[0];
    for (uint32_t i = 1; i < PEAKS; i++)
        p->top = p->granule[i] > p->top ? p->granule[i] : p->top;
}

/* Notes the value and returns the largest of the window. window_ns 0: the value itself. */
static inline double peaks_note(struct peaks *p, uint64_t window_ns, uint64_t now_ns, double value)
{
    if (window_ns == 0)
        return value;
    if (now_ns >= p->next_ns)
        peaks_turn(p, window_ns / (PEAKS - 1) + 1, now_ns, value);
    if (value > p->granule[p->at])
        p->granule[p->at] = value;
    if (value > p->top)
        p->top = value;
    return p->top;
}

/* ---- changes ---- */

#define CHANGES 16u

/* Members added less members removed within the last period (and up to a 15th more). */
struct changes {
    uint64_t next_ns;
    uint32_t at;
    int32_t net;
    int32_t granule[CHANGES];
};

static inline void changes_turn(struct changes *c, uint64_t granule_ns, uint64_t now_ns)
{
    if (c->next_ns == 0 || now_ns - c->next_ns >= granule_ns * CHANGES) {
        for (uint32_t i = 0; i < CHANGES; i++)
            c->granule[i] = 0;
        c->net = 0;
        c->next_ns = now_ns + granule_ns;
        return;
    }
    while (now_ns >= c->next_ns) {
        c->at = (c->at + 1) % CHANGES;
        c->net -= c->granule[c->at];
        c->granule[c->at] = 0;
        c->next_ns += granule_ns;
    }
}

/* Notes how the count changed since the call before and returns the sum of the period. */
static inline int32_t changes_note(struct changes *c, uint64_t period_ns, uint64_t now_ns, int32_t change)
{
    if (now_ns >= c->next_ns)
        changes_turn(c, period_ns / (CHANGES - 1) + 1, now_ns);
    c->granule[c->at] += change;
    c->net += change;
    return c->net;
}

#endif
