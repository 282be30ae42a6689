/* Lanes: runs the steps that were put aside on all shadows at once.
 *
 * What a shadow would have cost and whom it would have let wait is wanted only when a choice is made. So a
 * step leaves its inputs in the batch, and eight of them are run together: the sums of a shadow are read and
 * written once in eight seconds, and while they are at hand the margins are worked on side by side. Loops
 * have a fixed length, no branches and no calls: compilers make vectors of them, and the same bits come out
 * with vectors of any length, as each lane is worked out by itself and no product is fused with a sum. */
#include <string.h>

#include "predict.h"

#define GROUP  8u /* margins that are looked at together */
#define COUNTS 64u
#define ALWAYS static inline __attribute__((always_inline))

const double shadow_margins[MARGINS] = {0.94, 0.96, 0.98, 1.0, 1.015, 1.03, 1.05, 1.08,
                                        1.12, 1.18, 1.27, 1.4, 1.6,   1.9,  2.3,  3.0};

/* Members for a load as a straight line of its margin: what is above the load grows so slowly that this will
 * do. Already with what makes rounding to the nearest rounding up. */
struct lines {
    double at_none[LANES], slope[LANES];
};

/* Whom a step would have let wait, by members. */
struct waits {
    double over[CURVE + 1];  /* by slots above the load; < 0: not worked out yet */
    double by_count[COUNTS]; /* by members above `base` */
    double base, top;        /* whole members: no more than the load, and the last entry of by_count */
    double width, per_width; /* of a point of the curve, and its inverse */
    double each, per_each;   /* exchanges a second of one member, and its inverse */
    double enough;           /* members: nobody waits, by chance or for want of them */
    bool is_by_count;
};

static double waits_over(const struct work *w, const struct came *c, struct waits *q, double slots)
{
    double x = (slots - c->load) * q->per_width;
    if (x >= CURVE)
        return 0;
    x = x > 0 ? x : 0;
    const uint32_t i = (uint32_t)x;
    for (uint32_t j = i; j <= i + 1; j++)
        if (q->over[j] < 0)
            q->over[j] = j < CURVE ? staffing_share(w, c->load, c->load + 1 + j * q->width) : 0;
    return q->over[i] + (q->over[i + 1] - q->over[i]) * (x - i);
}

static void waits_init(const struct work *w, const struct came *c, struct waits *q)
{
    q->width = staffing_reach(w, c->load) / CURVE;
    q->per_width = 1 / q->width;
    q->each = c->slots / c->service_s;
    q->per_each = 1 / q->each;
    q->enough = (c->load + CURVE * q->width) / c->slots;
    q->base = (double)(uint64_t)(c->load / c->slots);
    q->top = (double)(uint64_t)(q->enough - q->base) + 1;
    q->is_by_count = q->top < COUNTS;
    const double flow = c->arrivals / (q->each * c->seconds);
    q->enough = q->enough < flow ? flow : q->enough;
    for (uint32_t i = 0; i <= CURVE; i++)
        q->over[i] = -1;
    for (uint32_t i = 0; q->is_by_count && i <= (uint32_t)q->top; i++)
        q->by_count[i] = waits_over(w, c, q, (q->base + i) * c->slots);
}

/* ---- members ---- */

/* Slots for loads as staffing_slots() has them, for `n` lanes. */
ALWAYS void slots_of(const double *restrict extra, const double *restrict load, uint32_t n,
                     double *restrict out)
{
    uint64_t bits[LANES];
    double part[LANES], low[LANES], high[LANES];
    memcpy(bits, load, n * sizeof *bits);
    for (uint32_t j = 0; j < n; j++) {
        const uint32_t exponent = (uint32_t)(bits[j] >> 52) - 1023 + 4;
        const uint32_t i = load[j] > STAFF_LEAST ? exponent : 0;
        const uint32_t at = i < STAFF_POINTS - 1 ? i : STAFF_POINTS - 1;
        low[j] = extra[at];
        high[j] = extra[at + 1];
        bits[j] = (bits[j] & ((UINT64_C(1) << 52) - 1)) | (UINT64_C(1023) << 52);
    }
    memcpy(part, bits, n * sizeof *bits);
    for (uint32_t j = 0; j < n; j++) {
        const double between = load[j] + low[j] + (high[j] - low[j]) * (part[j] - 1);
        const double few = load[j] > 0 ? load[j] + low[j] : 0;
        out[j] = load[j] > STAFF_LEAST ? between : few;
    }
}

ALWAYS void lines_of(const struct came *c, const double *restrict extra, const double *restrict rate,
                     uint32_t n, struct lines *restrict out, uint32_t at)
{
    double load[LANES], more[LANES], low[LANES], high[LANES];
    for (uint32_t j = 0; j < n; j++) {
        load[j] = rate[at + j] * c->service_s;
        more[j] = load[j] * 1.5;
    }
    slots_of(extra, load, n, low);
    slots_of(extra, more, n, high);
    for (uint32_t j = 0; j < n; j++) {
        const double few = low[j] / c->slots, slope = (high[j] / c->slots - few) * 2;
        out->slope[at + j] = slope;
        out->at_none[at + j] = few - slope + 0.5 - 1e-9;
    }
}

/* Members with a margin, rounded up, at least one. Adding and taking away 2^52 rounds to the nearest whole
 * number. */
ALWAYS double members_of(double at_none, double slope, uint32_t m)
{
    const double big = 4503599627370496.0, n = (at_none + slope * shadow_margins[m] + big) - big;
    return n > 1 ? n : 1;
}

/* ---- one step of one shadow with each margin ---- */

/* Part of the arrivals that wait for too long by chance. */
ALWAYS void by_chance(const struct work *w, const struct came *c, struct waits *q,
                      const double *restrict members, double *restrict out)
{
    const double base = q->base, top = q->top;
    const double *restrict table = q->by_count;
    if (!q->is_by_count) {
        for (uint32_t m = 0; m < GROUP; m++)
            out[m] = waits_over(w, c, q, members[m] * c->slots);
        return;
    }
    for (uint32_t m = 0; m < GROUP; m++) {
        double x = members[m] - base;
        x = x > 0 ? x : 0;
        x = x < top ? x : top;
        out[m] = table[(int32_t)x];
    }
}

/* What an overload leaves behind: a fluid queue; arrivals wait from its length before to that after, in a
 * straight line. What waits for long is worked off by members that are added for it. */
ALWAYS void by_flow(const struct work *w, const struct came *c, const struct waits *q,
                    const double *restrict members, double *restrict part, double *restrict backlog,
                    double *restrict cost)
{
    const double kept = c->is_surprise ? 0 : 1, wait_s = w->wait_s;
    for (uint32_t m = 0; m < GROUP; m++) {
        const double rate = members[m] * q->each, before = backlog[m], inverse = 1 / rate;
        double left = before + c->arrivals - rate * c->seconds;
        left = left > 0 ? left : 0;
        const double a = before * inverse, b = left * inverse;
        const double low = a < b ? a : b, high = a < b ? b : a;
        const double between = (high - wait_s) / (high - low);
        const double some = low >= wait_s ? 1 : between;
        const double fluid = high <= wait_s ? 0 : some;
        part[m] = fluid > part[m] ? fluid : part[m];
        const double relief = left * c->relief;
        cost[m] += relief * q->per_each;
        backlog[m] = (left - relief) * kept;
    }
}

/* More members let fewer wait: from the first margin on that lets nobody, none does. */
ALWAYS void serve(const struct work *w, const struct came *c, struct waits *q, const double *restrict ready,
                  struct shadows *restrict x)
{
    for (uint32_t g = 0; g < MARGINS; g += GROUP) {
        double part[GROUP];
        if (ready[g] >= q->enough && !(x->backlog[g] > 0))
            return;
        by_chance(w, c, q, ready + g, part);
        if (x->backlog[g] > 0 || x->backlog[g] + c->arrivals - ready[g] * q->each * c->seconds > 0)
            by_flow(w, c, q, ready + g, part, x->backlog + g, x->cost + g);
        for (uint32_t m = 0; !c->is_surprise && m < GROUP; m++)
            x->over[g + m] += c->arrivals * part[m];
        if (c->is_surprise && !g)
            x->surprised += c->arrivals * part[SHADOW_PLAIN];
    }
}

/* Members of one shadow: what is ordered for the maximum, and was for that of the step before, and what is
 * ready. */
struct orders {
    double held_none, held_slope, was_none, was_slope, least_none, least_slope;
};

/* Members ordered cost what they cost, and each start a little, or whoever follows every wave would win by a
 * hair. */
ALWAYS void pay(const struct orders *o, const struct came *c, bool is_start, bool is_fewer,
                double *restrict cost, double *restrict ready)
{
    const struct orders k = *o;
    const double seconds = c->seconds, start_s = c->start_s;
    for (uint32_t m = 0; m < MARGINS; m++) {
        const double n = members_of(k.held_none, k.held_slope, m);
        double sum = cost[m] + n * seconds;
        if (is_start) {
            const double more = n - members_of(k.was_none, k.was_slope, m);
            sum += (more > 0 ? more : 0) * start_s;
        }
        cost[m] = sum;
        ready[m] = is_fewer ? members_of(k.least_none, k.least_slope, m) : n;
    }
}

/* ---- functions of many numbers, in sums and products only ---- */

/* Natural logarithms of numbers from 1 on: the exponent, and the series of the area tangent of what is left,
 * from sqrt(1/2) to sqrt(2). */
ALWAYS void logs(const double *restrict x, double *restrict out)
{
    const double shift = 4503599627370496.0; /* 2^52: its last bits are a whole number's */
    uint64_t bits[LANES], exponent[LANES];
    double m[LANES], e[LANES];
    memcpy(bits, x, sizeof bits);
    for (uint32_t j = 0; j < LANES; j++) {
        exponent[j] = bits[j] >> 52 | UINT64_C(0x433) << 52;
        bits[j] = (bits[j] & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1023) << 52;
    }
    memcpy(m, bits, sizeof bits);
    memcpy(e, exponent, sizeof exponent);
    for (uint32_t j = 0; j < LANES; j++) {
        const bool is_upper = m[j] > 1.4142135623730951;
        const double part = is_upper ? m[j] * 0.5 : m[j], up = is_upper ? 1 : 0;
        const double f = (part - 1) / (part + 1), q = f * f;
        const double series =
            1 +
            q * (1.0 / 3 +
                 q * (1.0 / 5 +
                      q * (1.0 / 7 +
                           q * (1.0 / 9 + q * (1.0 / 11 +
                                               q * (1.0 / 13 + q * (1.0 / 15 + q * (1.0 / 17 + q / 19))))))));
        out[j] = (e[j] - shift - 1023 + up) * 0.6931471805599453 + 2 * f * series;
    }
}

/* exp((margins[m - 1] - margins[m]) / fold): powers of two, and the series of what is left. */
ALWAYS void falls(const double *restrict gaps, double fold, double *restrict out)
{
    const double shift = 6755399441055744.0; /* 2^52 + 2^51 */
    uint64_t bits[MARGINS];
    double whole[MARGINS], part[MARGINS];
    for (uint32_t m = 0; m < MARGINS; m++) {
        const double x = gaps[m] / fold, low = x > -700 ? x : -700;
        const double k = low * 1.4426950408889634 + shift;
        const double r =
            low - (k - shift) * 0.693147180369123816490 - (k - shift) * 1.90821492927058770002e-10;
        whole[m] = k;
        part[m] =
            1 + r * (1 + r * (1.0 / 2 +
                              r * (1.0 / 6 +
                                   r * (1.0 / 24 +
                                        r * (1.0 / 120 +
                                             r * (1.0 / 720 +
                                                  r * (1.0 / 5040 +
                                                       r * (1.0 / 40320 +
                                                            r * (1.0 / 362880 +
                                                                 r * (1.0 / 3628800 + r / 39916800))))))))));
    }
    memcpy(bits, whole, sizeof bits);
    for (uint32_t m = 0; m < MARGINS; m++)
        bits[m] = (bits[m] + 1023) << 52;
    memcpy(whole, bits, sizeof bits);
    for (uint32_t m = 0; m < MARGINS; m++)
        out[m] = part[m] * whole[m];
}

/* Errors of the planned rate: what their tail looks like, before anybody had to wait for it. */
ALWAYS void learn_errors(struct candidates *restrict c, const struct came *came, const double *restrict least)
{
    const double rate = came->rate, part = came->error_part;
    double over[LANES], error[LANES];
    for (uint32_t j = 0; j < LANES; j++) {
        const double x = rate / least[j];
        over[j] = rate > least[j] && least[j] > 0 ? x : 1;
    }
    logs(over, error);
    for (uint32_t j = 0; j < LANES; j++) {
        const double known = least[j] > 0 ? part : 0, e = error[j];
        c->excess[j] += (e - c->excess[j]) * known;
        c->square[j] += (e * e - c->square[j]) * known;
    }
}

/* ---- all ---- */

struct run {
    struct waits waits[BATCH];
    struct lines held[BATCH], was[BATCH], least[BATCH];
};

/* Whether any of n is below. */
ALWAYS bool is_any_below(const double *restrict a, const double *restrict b, uint32_t n)
{
    bool is = false;
    for (uint32_t j = 0; j < n; j++)
        is |= a[j] < b[j];
    return is;
}

ALWAYS void run_lines(const struct batch *b, const double *restrict extra, struct run *r)
{
    for (uint32_t i = 0; i < b->count; i++) {
        const struct came *c = &b->came[i];
        const double *held = b->held[i], *was = i ? b->held[i - 1] : b->was, *least = b->least[i];
        for (uint32_t j = 0; j < LANES; j += GROUP) {
            lines_of(c, extra, held, GROUP, &r->held[i], j);
            if (is_any_below(was + j, held + j, GROUP))
                lines_of(c, extra, was, GROUP, &r->was[i], j);
            if (is_any_below(least + j, held + j, GROUP))
                lines_of(c, extra, least, GROUP, &r->least[i], j);
        }
    }
}

/* In pieces that fit into registers. */
ALWAYS void shadow_copy(const struct shadows *restrict from, struct shadows *restrict to)
{
    memcpy(to->backlog, from->backlog, sizeof to->backlog);
    memcpy(to->over, from->over, sizeof to->over);
    memcpy(to->cost, from->cost, sizeof to->cost);
    to->surprised = from->surprised;
}

ALWAYS void run_shadow(const struct work *w, const struct batch *b, struct run *r, uint32_t j,
                       struct shadows *restrict all)
{
    struct shadows here, *x = &here;
    shadow_copy(all, x);
    for (uint32_t i = 0; i < b->count; i++) {
        const struct came *c = &b->came[i];
        const double held = b->held[i][j], was = i ? b->held[i - 1][j] : b->was[j];
        const struct lines *h = &r->held[i], *p = &r->was[i], *l = &r->least[i];
        const struct orders o = {h->at_none[j], h->slope[j],   p->at_none[j],
                                 p->slope[j],   l->at_none[j], l->slope[j]};
        const bool is_start = was < held, is_fewer = b->least[i][j] < held;
        double ready[MARGINS];
        if (is_start && is_fewer)
            pay(&o, c, true, true, x->cost, ready);
        else if (is_start)
            pay(&o, c, true, false, x->cost, ready);
        else if (is_fewer)
            pay(&o, c, false, true, x->cost, ready);
        else
            pay(&o, c, false, false, x->cost, ready);
        serve(w, c, &r->waits[i], ready, x);
    }
    shadow_copy(x, all);
}

ALWAYS void run_all(const struct work *w, const struct batch *b, struct run *r)
{
    for (uint32_t i = 0; i < b->count; i++)
        if (!b->came[i].is_surprise)
            learn_errors(&w->s->candidates, &b->came[i], b->least[i]);
    run_lines(b, w->s->staffing.extra, r);
    for (uint32_t j = 0; j < CANDIDATES; j++)
        run_shadow(w, b, r, j, &w->s->shadows[j]);
}

ALWAYS void all_falls(const double *restrict folds, double (*restrict out)[MARGINS])
{
    double gaps[MARGINS] = {0};
    for (uint32_t m = 1; m < MARGINS; m++)
        gaps[m] = shadow_margins[m - 1] - shadow_margins[m];
    for (uint32_t j = 0; j < CANDIDATES; j++)
        falls(gaps, folds[j], out[j]);
}

/* ---- the same for each set of instructions ---- */

#if defined __x86_64__
#define VARIANT(name, target_)                                                                               \
    __attribute__((target(target_))) static void run_##name(const struct work *w, const struct batch *b,     \
                                                            struct run *r)                                   \
    {                                                                                                        \
        run_all(w, b, r);                                                                                    \
    }                                                                                                        \
    __attribute__((target(target_))) static void falls_##name(const double *folds, double(*out)[MARGINS])    \
    {                                                                                                        \
        all_falls(folds, out);                                                                               \
    }
VARIANT(avx2, "avx2")
VARIANT(avx512, "avx512f,avx512vl,avx512dq")

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
}
#endif

static void run_best(const struct work *w, const struct batch *b, struct run *r)
{
#if defined __x86_64__
    if (has_avx512()) {
        run_avx512(w, b, r);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        run_avx2(w, b, r);
        return;
    }
#endif
    run_all(w, b, r);
}

void lanes_falls(const double *folds, double (*out)[MARGINS])
{
#if defined __x86_64__
    if (has_avx512()) {
        falls_avx512(folds, out);
        return;
    }
    if (__builtin_cpu_supports("avx2")) {
        falls_avx2(folds, out);
        return;
    }
#endif
    all_falls(folds, out);
}

/* The staffing table is filled where loads of the batch are. */
static void fill_staffing(struct work *w, const struct batch *b)
{
    double least[LANES], most[LANES], low = b->least[0][0], high = 0, service_s = 0;
    memcpy(least, b->least[0], sizeof least);
    memcpy(most, b->was, sizeof most);
    for (uint32_t i = 0; i < b->count; i++) {
        service_s = b->came[i].service_s > service_s ? b->came[i].service_s : service_s;
        for (uint32_t j = 0; j < LANES; j++) {
            least[j] = b->least[i][j] < least[j] ? b->least[i][j] : least[j];
            most[j] = b->held[i][j] > most[j] ? b->held[i][j] : most[j];
        }
    }
    for (uint32_t j = 0; j < CANDIDATES; j++) {
        low = least[j] < low ? least[j] : low;
        high = most[j] > high ? most[j] : high;
    }
    /* The table is begun anew before the service time has moved by more than a part of this. */
    staffing_fill(w, low * service_s * 0.9, high * service_s * 1.5);
}

void lanes_run(struct work *w)
{
    struct batch *b = &w->s->batch;
    struct run r;
    if (!b->count)
        return;
    fill_staffing(w, b);
    for (uint32_t i = 0; i < b->count; i++)
        waits_init(w, &b->came[i], &r.waits[i]);
    run_best(w, b, &r);
    b->count = 0;
}
