/* The reason of an answer, in words, without the library's formatting. */
#include "predict.h"

struct line {
    char *at, *end;
};

static void text(struct line *l, const char *words)
{
    while (*words && l->at < l->end)
        *l->at++ = *words++;
}

/* With one decimal below a hundred. */
static void number(struct line *l, double value)
{
    char digits[24];
    uint32_t n = 0;
    const bool is_small = value < 99.95;
    double scaled = is_small ? value * 10 + 0.5 : value + 0.5;
    scaled = scaled < 1e18 ? scaled : 1e18;
    uint64_t v = (uint64_t)scaled;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v || (is_small && n < 2));
    while (n && l->at < l->end) {
        if (is_small && n == 1)
            text(l, ".");
        if (l->at < l->end)
            *l->at++ = digits[--n];
    }
}

static void figures(struct work *w, struct line *l)
{
    const struct state *s = w->s;
    text(l, ": ");
    number(l, s->level);
    text(l, "/s of ");
    number(l, service_plan_s(s) * 1000);
    text(l, " ms, ");
    number(l, s->plan_rate);
    text(l, "/s within ");
    number(l, s->delay_s);
    text(l, " s, need ");
    number(l, s->need);
    text(l, " of ");
    number(l, w->slots);
    text(l, " slots");
}

static const char *cause_words(uint32_t cause)
{
    switch (cause) {
    case COX_CAUSE_LOAD:
        return "load grew";
    case COX_CAUSE_FORECAST:
        return "load will grow";
    case COX_CAUSE_HELD:
        return "requests wait";
    case COX_CAUSE_VALLEY:
        return "load was low for long enough";
    case COX_CAUSE_STABILISED:
        return "load may come back";
    case COX_CAUSE_SLOW_SERVICE:
        return "service is slow";
    case COX_CAUSE_NO_DATA:
        return "counts are missing or new, nothing is taken away";
    case COX_CAUSE_IDLE:
        return "idle";
    case COX_CAUSE_SEASON:
        return "this hour usually brings more";
    default:
        return "the count fits";
    }
}

void words_reason(struct work *w, double wanted)
{
    struct state *s = w->s;
    const uint32_t key = s->cause + 64 * (uint32_t)(wanted < 1e6 ? wanted : 1e6) + 1;
    if (key == s->reason_key)
        return;
    s->reason_key = key;
    struct line l = {.at = s->reason, .end = s->reason + sizeof s->reason - 1};
    text(&l, cause_words(s->cause));
    if (s->service.phase == PROBE_STARTING || s->service.phase == PROBE_WATCHING)
        text(&l, ", a few more members to see whether they help");
    if (s->service.phase == PROBE_USELESS)
        text(&l, ", more members did not help");
    figures(w, &l);
    *l.at = 0;
}
