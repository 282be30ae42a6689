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

/* Members by margin, rounded up, at least one. Adding and taking away 2^52 rounds to the nearest whole
 * number. */
ALWAYS void members_of(const struct lines *l, uint32_t j, double *restrict out)
{
    const double big = 4503599627370496.0, slope = l->slope[j], at_none = l->at_none[j];
    for (uint32_t m = 0; m < MARGINS; m++) {
        const double n = (at_none + slope * shadow_margins[m] + big) - big;
        out[m] = n > 1 ? n : 1;
    }
}

/* ---- one step of one shadow with each margin ---- */

/* Part of the arrivals that wait for too long by chance. */
ALWAYS void by_chance(const struct work *w, const struct came *c, struct waits *q,
                      const double *restrict members, double *restrict out)
{
    int32_t at[GROUP];
    for (uint32_t m = 0; m < GROUP; m++) {
        double x = members[m] - q->base;
        x = x > 0 ? x : 0;
        x = x < q->top ? x : q->top;
        at[m] = (int32_t)x;
    }
    for (uint32_t m = 0; q->is_by_count && m < GROUP; m++)
        out[m] = q->by_count[at[m]];
    for (uint32_t m = 0; !q->is_by_count && m < GROUP; m++)
        out[m] = waits_over(w, c, q, members[m] * c->slots);
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

/* Members ordered cost what they cost, and each start a little, or whoever follows every wave would win by a
 * hair. */
ALWAYS void pay(const double *restrict n, double seconds, double *restrict cost)
{
    for (uint32_t m = 0; m < MARGINS; m++)
        cost[m] += n[m] * seconds;
}

ALWAYS void pay_starts(const double *restrict n, const double *restrict was, double start,
                       double *restrict cost)
{
    for (uint32_t m = 0; m < MARGINS; m++) {
        const double more = n[m] - was[m];
        cost[m] += (more > 0 ? more : 0) * start;
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

ALWAYS void run_shadow(const struct work *w, const struct batch *b, struct run *r, uint32_t j,
                       struct shadows *x)
{
    for (uint32_t i = 0; i < b->count; i++) {
        const struct came *c = &b->came[i];
        const double held = b->held[i][j], was = i ? b->held[i - 1][j] : b->was[j];
        double n[MARGINS], other[MARGINS];
        members_of(&r->held[i], j, n);
        pay(n, c->seconds, x->cost);
        if (was < held) {
            members_of(&r->was[i], j, other);
            pay_starts(n, other, c->start_s, x->cost);
        }
        const bool is_fewer = b->least[i][j] < held;
        if (is_fewer)
            members_of(&r->least[i], j, other);
        serve(w, c, &r->waits[i], is_fewer ? other : n, x);
    }
}

ALWAYS void run_all(const struct work *w, const struct batch *b, struct run *r)
{
    run_lines(b, w->s->staffing.extra, r);
    for (uint32_t j = 0; j < CANDIDATES; j++) {
        struct shadows x = w->s->shadows[j];
        run_shadow(w, b, r, j, &x);
        w->s->shadows[j] = x;
    }
}

static void run_any(const struct work *w, const struct batch *b, struct run *r)
{
    run_all(w, b, r);
}

#if defined __x86_64__
__attribute__((target("avx2"))) static void run_avx2(const struct work *w, const struct batch *b,
                                                     struct run *r)
{
    run_all(w, b, r);
}
#endif

/* Errors of the planned rate: what their tail looks like, before anybody had to wait for it. */
static void learn_errors(const struct work *w, const struct batch *b)
{
    struct candidates *c = &w->s->candidates;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct came *came = &b->came[i];
        for (uint32_t j = 0; j < CANDIDATES && !came->is_surprise; j++) {
            const double least = b->least[i][j];
            if (!(least > 0))
                continue;
            const double e = came->rate > least ? w->math->log(came->rate / least) : 0;
            c->excess[j] += (e - c->excess[j]) * came->error_part;
            c->square[j] += (e * e - c->square[j]) * came->error_part;
        }
    }
}

/* The staffing table is filled where loads of the batch are. */
static void fill_staffing(struct work *w, const struct batch *b)
{
    for (uint32_t i = 0; i < b->count; i++) {
        double least = b->least[i][0], most = b->held[i][0];
        for (uint32_t j = 1; j < CANDIDATES; j++) {
            const double was = i ? 0 : b->was[j];
            least = b->least[i][j] < least ? b->least[i][j] : least;
            most = b->held[i][j] > most ? b->held[i][j] : most;
            most = was > most ? was : most;
        }
        staffing_fill(w, least * b->came[i].service_s, most * 1.5 * b->came[i].service_s);
    }
}

void lanes_run(struct work *w)
{
    struct batch *b = &w->s->batch;
    struct run r;
    if (!b->count)
        return;
    learn_errors(w, b);
    fill_staffing(w, b);
    for (uint32_t i = 0; i < b->count; i++)
        waits_init(w, &b->came[i], &r.waits[i]);
#if defined __x86_64__
    if (__builtin_cpu_supports("avx2"))
        run_avx2(w, b, &r);
    else
#endif
        run_any(w, b, &r);
    b->count = 0;
}
