#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "random.h"

#define BINS_MAX   10000000u
#define LENGTH_MAX 100000000.0

static bool number(struct str text, double *out)
{
    char copy[64];
    if (text.n == 0 || text.n >= sizeof(copy))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    char *end;
    *out = strtod(copy, &end);
    return *end == 0 && isfinite(*out);
}

/* ---- traces ---- */

struct bins {
    double *count;
    size_t n;
    double width_s;
};

static bool bins_add(struct bins *b, size_t *cap, double count)
{
    if (b->n == *cap)
        b->count = must(realloc(b->count, (*cap = *cap ? *cap * 2 : 1024) * sizeof(*b->count)));
    b->count[b->n++] = count;
    return b->n < BINS_MAX;
}

/* One bin, and before it those that the trace leaves out, which are made up from both sides. */
static bool bins_line(struct bins *b, size_t *cap, double first_s, double second, double count)
{
    if (b->n == 1)
        b->width_s = second - first_s;
    const double at = b->n ? (second - first_s) / b->width_s : 0.0;
    if (b->n && (b->width_s < 1.0 || fabs(at - floor(at + 0.5)) > 1e-6 || at < (double)b->n - 0.5))
        return false; /* steps are multiples of the first */
    const size_t missing = (size_t)(at + 0.5) - b->n;
    const double before = b->n ? b->count[b->n - 1] : count;
    for (size_t i = 1; i <= missing; i++)
        if (!bins_add(b, cap, before + (count - before) * (double)i / (double)(missing + 1)))
            return false;
    return bins_add(b, cap, count);
}

static bool bins_read(struct bins *b, FILE *f)
{
    char line[256];
    size_t cap = 0;
    double first = 0.0;
    if (!fgets(line, sizeof(line), f))
        return false;
    while (fgets(line, sizeof(line), f)) {
        char *end, *comma = strchr(line, ',');
        const double second = strtod(line, &end);
        if (!comma || end != comma)
            return false;
        const double count = strtod(comma + 1, &end);
        if (end == comma + 1 || !(count >= 0.0))
            return false;
        first = b->n ? first : second;
        if (!bins_line(b, &cap, first, second, count))
            return false;
    }
    return b->n >= 2;
}

/* Between the middles of two bins the rate is linear, so that a bin holds about what was counted. */
static double bins_rate(const struct bins *b, double at_s, bool is_stepwise)
{
    const double x = at_s / b->width_s - (is_stepwise ? 0.0 : 0.5);
    if (x <= 0.0)
        return b->count[0] / b->width_s;
    const size_t i = (size_t)x;
    if (i + 1 >= b->n)
        return b->count[b->n - 1] / b->width_s;
    const double share = is_stepwise ? 0.0 : x - (double)i;
    return (b->count[i] * (1.0 - share) + b->count[i + 1] * share) / b->width_s;
}

/* Bins in blocks of so many seconds, the blocks in random order: what history there is means nothing. */
static void bins_shuffle(struct bins *b, double block_s, uint64_t seed)
{
    const size_t per = (size_t)fmax(1.0, block_s / b->width_s), blocks = b->n / per;
    struct random r = random_make(seed, 77);
    double *spare = must(malloc(per * sizeof(*spare)));
    for (size_t i = blocks; i > 1; i--) {
        double *one = b->count + (i - 1) * per, *other = b->count + random_bits(&r) % i * per;
        memcpy(spare, one, per * sizeof(*spare));
        memmove(one, other, per * sizeof(*spare));
        memcpy(other, spare, per * sizeof(*spare));
    }
    free(spare);
}

static bool load_trace(struct load *l, const struct load_spec *spec, struct str *parts, size_t n,
                       struct buf *why)
{
    char path[4096];
    struct bins b = {0};
    double from = 0.0, length = 0.0;
    snprintf(path, sizeof(path), "%.*s", STR_ARG(parts[1]));
    FILE *f = fopen(path, "re");
    if (!f) {
        buf_printf(why, "%s: %s", path, strerror(errno));
        return false;
    }
    bool is_good = bins_read(&b, f);
    fclose(f);
    const double total = (double)b.n * b.width_s;
    if (is_good && n == 4)
        is_good = number(parts[2], &from) && number(parts[3], &length) && from >= 0.0;
    if (length <= 0.0)
        length = total - from;
    if (!is_good || n == 3 || n > 4 || from + length > total + 1e-6 || length < 1.0) {
        buf_printf(why, "%s: not a trace of second,count in even steps, or no such part of it", path);
        free(b.count);
        return false;
    }
    if (spec->shuffle_s > 0.0)
        bins_shuffle(&b, spec->shuffle_s, spec->seed);
    l->seconds = (size_t)length;
    l->rate = must(calloc(l->seconds + 1, sizeof(*l->rate)));
    for (size_t i = 0; i <= l->seconds; i++)
        l->rate[i] = bins_rate(&b, from + (double)i, spec->is_noisy);
    free(b.count);
    return true;
}

/* ---- shapes ---- */

enum shape { SHAPE_CONSTANT, SHAPE_STEP, SHAPE_RAMP, SHAPE_SPIKE, SHAPE_SINE, SHAPE_ONOFF };

static const struct {
    const char *name;
    size_t parts;
} shapes[] = {{"constant", 2}, {"step", 4}, {"ramp", 5}, {"spike", 5}, {"sine", 4}, {"onoff", 4}};

static double shape_rate(enum shape shape, const double *p, double t)
{
    switch (shape) {
    case SHAPE_STEP:
        return t < p[2] ? p[0] : p[0] * p[1];
    case SHAPE_RAMP:
        return p[0] * (1.0 + (p[1] - 1.0) * fmin(1.0, fmax(0.0, (t - p[2]) / p[3])));
    case SHAPE_SPIKE:
        return t < p[2] || t >= p[2] + p[3] ? p[0] : p[0] * p[1];
    case SHAPE_SINE:
        return p[0] * (1.0 + p[1] * sin(2.0 * M_PI * t / p[2]));
    case SHAPE_ONOFF:
        return fmod(t, p[2]) < p[2] / 2.0 ? p[0] : p[1];
    default:
        return p[0];
    }
}

static bool load_shape(struct load *l, struct str *parts, size_t n, struct buf *why)
{
    double p[5] = {0};
    size_t kind = 0;
    while (kind < sizeof(shapes) / sizeof(shapes[0]) && !str_eq(parts[0], str_of(shapes[kind].name)))
        kind++;
    bool is_good = kind < sizeof(shapes) / sizeof(shapes[0]) && n == shapes[kind].parts + 1;
    for (size_t i = 1; i < n && is_good; i++)
        is_good = number(parts[i], &p[i - 1]) && p[i - 1] >= 0.0;
    if (!is_good || p[n - 2] < 1.0 || p[n - 2] > LENGTH_MAX) {
        buf_printf(why, "no such load: %.*s with %zu numbers", STR_ARG(parts[0]), n - 1);
        return false;
    }
    l->is_stepwise = kind == SHAPE_STEP || kind == SHAPE_SPIKE || kind == SHAPE_ONOFF;
    l->jump_s = kind == SHAPE_STEP ? p[2] : -1.0;
    l->seconds = (size_t)p[n - 2];
    l->rate = must(calloc(l->seconds + 1, sizeof(*l->rate)));
    for (size_t i = 0; i <= l->seconds; i++)
        l->rate[i] = fmax(0.0, shape_rate((enum shape)kind, p, (double)i));
    return true;
}

static bool load_event(struct load *l, struct str text, struct buf *why)
{
    static const char *const names[] = {"slower", "bottleneck", "failure"};
    struct load_event e = {0};
    struct str name, amount, from;
    bool is_good = str_next(&text, '=', &name) && str_next(&text, '@', &amount) &&
                   str_next(&text, '-', &from) && number(amount, &e.amount) && number(from, &e.from_s);
    e.until_s = e.from_s;
    if (is_good && text.n)
        is_good = number(text, &e.until_s);
    size_t kind = 0;
    while (is_good && kind < 3 && !str_eq(name, str_of(names[kind])))
        kind++;
    if (!is_good || kind == 3 || l->event_count == LOAD_EVENTS_MAX) {
        buf_printf(why, "no such event of a load");
        return false;
    }
    e.kind = (enum load_event_kind)kind;
    l->events[l->event_count++] = e;
    return true;
}

static void scale_to(struct load *l, double mean)
{
    const double factor = mean / load_mean(l);
    for (size_t i = 0; i <= l->seconds; i++)
        l->rate[i] *= factor;
}

struct load *load_create(const struct load_spec *spec, struct buf *why)
{
    struct str rest = str_of(spec->text), what, parts[8], event;
    struct load *l = must(calloc(1, sizeof(*l)));
    size_t n = 0;
    l->jump_s = -1.0;
    bool is_good = str_next(&rest, ',', &what);
    while (is_good && n < 8 && str_next(&what, ':', &parts[n]))
        n++;
    if (n >= 2 && str_eq(parts[0], STR("trace")))
        is_good = load_trace(l, spec, parts, n, why);
    else
        is_good = n >= 2 && load_shape(l, parts, n, why);
    while (is_good && str_next(&rest, ',', &event))
        is_good = load_event(l, event, why);
    if (!is_good) {
        if (buf_str(why).n == 0)
            buf_printf(why, "no such load: %s", spec->text);
        load_destroy(&l);
        return NULL;
    }
    if (spec->is_noisy) {
        l->is_stepwise = true;
        l->noise_cv = spec->noise_cv;
    }
    if (spec->mean > 0.0)
        scale_to(l, spec->mean);
    return l;
}

void load_destroy(struct load **l)
{
    if (*l)
        free((*l)->rate);
    free(*l);
    *l = NULL;
}

double load_rate(const struct load *l, double at_s)
{
    if (at_s <= 0.0)
        return l->rate[0];
    if (at_s >= (double)l->seconds)
        return l->rate[l->seconds - 1];
    const size_t i = (size_t)at_s;
    if (l->is_stepwise)
        return l->jump_s > (double)i && l->jump_s < (double)i + 1.0 && at_s >= l->jump_s ? l->rate[i + 1]
                                                                                         : l->rate[i];
    return l->rate[i] + (l->rate[i + 1] - l->rate[i]) * (at_s - (double)i);
}

double load_expected(const struct load *l, double from_s, double length_s)
{
    if (l->jump_s > from_s && l->jump_s < from_s + length_s) {
        const double before = l->jump_s - from_s;
        return load_rate(l, from_s) * before + load_rate(l, l->jump_s) * (length_s - before);
    }
    return load_rate(l, from_s + length_s / 2.0) * length_s;
}

double load_mean(const struct load *l)
{
    double sum = 0.0;
    for (size_t i = 0; i < l->seconds; i++)
        sum += load_rate(l, (double)i + 0.5);
    return sum / (double)l->seconds;
}

double load_members(const struct load *l, double each, double min, bool is_whole)
{
    double sum = 0.0;
    for (size_t i = 0; i < l->seconds; i++) {
        const double m = load_rate(l, (double)i + 0.5) / each;
        sum += fmax(min, is_whole ? ceil(m - 1e-9) : m);
    }
    return sum;
}

double load_unforeseeable(const struct load *l, double delay_s)
{
    double above = 0.0, all = 0.0;
    for (size_t i = 0; i < l->seconds; i++) {
        const double at = (double)i + 0.5, rate = load_rate(l, at);
        above += fmax(0.0, rate - 1.1 * load_rate(l, at - delay_s));
        all += rate;
    }
    return all > 0.0 ? above / all : 0.0;
}
