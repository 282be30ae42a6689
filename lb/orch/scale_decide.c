/* From a sample to the count: the scaler is asked, then the core's own rules hold. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/scale_log.h"
#include "orch/scale_priv.h"

#define EPSILON 1e-6 /* of a member: what a sum of rounding errors may be above a whole number */

/* What is decided, while it is being decided. */
struct verdict {
    uint32_t count, cause;
    char why[sizeof((struct scale_set *)0)->why];
};

uint32_t scale_round(double wanted)
{
    if (!(wanted > EPSILON)) /* NaN too */
        return 0;
    if (wanted >= (double)MEMBERS_SET_MAX)
        return MEMBERS_SET_MAX;
    return (uint32_t)ceil(wanted - EPSILON);
}

uint32_t scale_floor(const struct scale_set *set, uint32_t *out_origin)
{
    if (set->has_hand) {
        *out_origin = COX_FLOOR_HAND;
        return set->hand;
    }
    uint32_t floor = set->set->min;
    *out_origin = floor ? COX_FLOOR_POLICY : COX_FLOOR_NONE;
    if (set->schedule_floor > floor) {
        *out_origin = COX_FLOOR_SCHEDULE;
        floor = set->schedule_floor;
    }
    return floor < set->set->max ? floor : set->set->max;
}

static void say(struct verdict *v, uint32_t count, uint32_t cause, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

static void say(struct verdict *v, uint32_t count, uint32_t cause, const char *fmt, ...)
{
    va_list ap;
    v->count = count;
    v->cause = cause;
    va_start(ap, fmt);
    (void)vsnprintf(v->why, sizeof v->why, fmt, ap);
    va_end(ap);
}

/* A plugin that answers nonsense must not take members away. */
static void ask(struct scale *s, struct scale_set *set, const struct cox_sample *sample, struct verdict *v)
{
    struct cox_decision *d = &set->decision;
    if (s->ops->enter)
        s->ops->enter(s->ctx, set->policy->source);
    scaler_ask(set->policy, set->state, sample, d);
    if (s->ops->leave)
        s->ops->leave(s->ctx, set->policy->source);
    set->is_changed = true;
    if (!isfinite(d->wanted)) {
        say(v, set->count, COX_CAUSE_NO_DATA, "%s gave no number", set->policy->plugin);
        return;
    }
    set->wanted = d->wanted;
    say(v, scale_round(d->wanted), d->cause, "%s", d->reason[0] ? d->reason : "its scaler gives no reason");
}

/* Its policy is left out: nobody knows better than who decided last. But who sleeps is woken as ever. */
static void stay(const struct scale_set *set, const struct cox_sample *sample, struct verdict *v)
{
    if (set->count == 0 && (sample->held_now || sample->flags & COX_SAMPLE_WAKE))
        say(v, 1, COX_CAUSE_HELD, "a request waits, and nothing can serve it");
    else
        say(v, set->count, COX_CAUSE_NO_DATA, "its policy is left out, so the count stays");
}

/* Without a policy: what the floors say, and one member for as long as there is work. */
static void keep(const struct scale_set *set, const struct cox_sample *sample, struct verdict *v)
{
    if (sample->floor)
        say(v, sample->floor, COX_CAUSE_NONE, "min is %u", sample->floor);
    else if (set->count && (!set->scaling || sample->idle_ns < set->scaling->zero_after_ms * NS_PER_MS))
        say(v, 1, COX_CAUSE_LOAD, "it is in use");
    else
        say(v, 0, COX_CAUSE_IDLE, "nothing is in flight");
}

/* Zero is for those who may, and who were idle for as long as was said. */
static void mind_zero(const struct scale_set *set, const struct cox_sample *sample, struct verdict *v)
{
    const uint64_t after_ms = set->scaling ? set->scaling->zero_after_ms : 0;
    if (sample->floor || v->count > 1)
        return;
    if (set->scaling && sample->idle_ns >= after_ms * NS_PER_MS)
        say(v, 0, COX_CAUSE_IDLE, "idle for %llu s, and min is 0",
            (unsigned long long)(sample->idle_ns / NS_PER_S));
    else if (v->count == 0 && set->count)
        say(v, 1, COX_CAUSE_IDLE, "the last one stays until it was idle for %llu s",
            (unsigned long long)(after_ms / 1000));
    /* A little that came and went, such as what is told to wake nobody, does not: only who asks for a whole
     * one. */
    if (set->count == 0 && v->count == 1 && set->policy && !(set->decision.wanted >= 1 - EPSILON))
        say(v, 0, COX_CAUSE_IDLE, "nobody waits");
    if (v->count == 0 && (sample->held_now || sample->flags & COX_SAMPLE_WAKE))
        say(v, 1, COX_CAUSE_HELD, "a request waits, and nothing can serve it");
}

const char *scale_may_not_shrink(const struct scale_set *set, const struct cox_sample *sample)
{
    if (!(sample->flags & COX_SAMPLE_NO_SHRINK))
        return NULL;
    if (!set->facts.is_listed)
        return "the actuator has not told yet what lives";
    if (sample->sources_fresh < sample->sources_expected || !sample->sources_expected)
        return "a source of counts is missing";
    return "no whole window was seen since the start";
}

static void mind_bounds(const struct scale_set *set, const struct cox_sample *sample, struct verdict *v)
{
    const uint32_t asked = v->count, max = set->set->max;
    const char *why_not = scale_may_not_shrink(set, sample);
    if (v->count < sample->floor)
        say(v, sample->floor, v->cause, "%s is %u",
            sample->floor_origin == COX_FLOOR_SCHEDULE ? "the minimum of a schedule" : "min", sample->floor);
    if (v->count < set->count && why_not)
        say(v, set->count, COX_CAUSE_NO_DATA, "would be %u, but it does not shrink: %s", asked, why_not);
    char before[sizeof v->why];
    memcpy(before, v->why, sizeof before);
    if (v->count > max)
        say(v, max, v->cause, "max is %u, wanted are %u: %.140s", max, asked, before);
    if (v->count > set->facts.capacity)
        say(v, set->facts.capacity, v->cause, "there is room for %u only, wanted are %u: %.120s",
            set->facts.capacity, asked, before);
}

static void tell(struct scale *s, const struct scale_set *set, uint32_t from, const struct verdict *v)
{
    const struct scale_change change = {
        .set = set->set->id, .why = v->why, .from = from, .to = v->count, .cause = v->cause};
    if (s->ops->changed)
        s->ops->changed(s->ctx, &change);
}

/* That a set would need more than it may have is worth a word, once: others may have room to give. */
static void mind_shortage(struct scale *s, struct scale_set *set, const struct verdict *v)
{
    const uint32_t most = set->set->max < set->facts.capacity ? set->set->max : set->facts.capacity;
    const bool is_short = set->policy && !set->has_hand && scale_round(set->wanted) > most;
    const bool is_news = is_short && !set->is_short && v->count == set->count;
    set->is_short = is_short;
    if (!is_news)
        return;
    log_info("set %s: %s", set->set->id, v->why);
    tell(s, set, set->count, v);
}

static void apply(struct scale *s, struct scale_set *set, const struct cox_sample *sample,
                  const struct verdict *v)
{
    const uint32_t from = set->count;
    const bool is_first = !set->has_count;
    set->cause = v->cause;
    set->causes[v->cause < 15 ? v->cause : 15]++;
    set->decisions++;
    if (!is_first && from == v->count)
        return;
    set->has_count = true;
    set->count = v->count;
    set->changed_ns = sample->now_ns;
    set->changed_wall_ns = sample->wall_ns;
    memcpy(set->why, v->why, sizeof set->why);
    set->is_changed = true;
    members_want(s->members, set->set, v->count, v->why);
    if (from == v->count)
        return;
    *(v->count > from ? &set->ups : &set->downs) += 1;
    log_info("set %s: %u -> %u members: %s", set->set->id, from, v->count, v->why);
    tell(s, set, from, v);
}

/* The log keeps what changes something, and now and then what does not, while there is anything to see: with
 * many sets more seldom, or it would hold nothing else and only seconds of that. */
static bool is_record_due(const struct scale *s, const struct scale_set *set, const struct cox_sample *sample)
{
    return !sample->idle_ns && sample->now_ns - set->logged_ns >= SCALE_LOG_MS * NS_PER_MS && s->calm.bytes &&
           (size_t)(set - s->sets) >= s->calm.from;
}

static void pay(struct scale *s, const struct scale_set *set, uint64_t bytes)
{
    s->calm.bytes -= bytes < s->calm.bytes ? bytes : s->calm.bytes;
    s->calm.from = (size_t)(set - s->sets) + 1;
    s->calm.was_used = true;
}

void scale_decide_begin(struct scale *s, uint64_t now)
{
    const uint64_t more = (now - s->calm.at_ns) * SCALE_CALM_RATE / NS_PER_S;
    s->calm.bytes = more < SCALE_CALM_BURST - s->calm.bytes ? s->calm.bytes + more : SCALE_CALM_BURST;
    s->calm.at_ns = now;
    if (!s->calm.was_used)
        s->calm.from = 0; /* all had their turn */
    s->calm.was_used = false;
    s->keep_bytes = SCALE_KEEP_BYTES;
}

/* The state before a decision, in case it turns out to be worth a record. With very many busy sets at a time
 * copying all states would cost more than deciding: then a change may be logged without. */
static const uint8_t *keep_state(struct scale *s, const struct scale_set *set,
                                 const struct cox_sample *sample)
{
    const uint64_t bytes = set->policy->state_bytes;
    if (bytes > s->keep_bytes && !is_record_due(s, set, sample))
        return NULL;
    s->keep_bytes -= bytes < s->keep_bytes ? bytes : s->keep_bytes;
    return scale_log_keep(s->log, set->state, bytes);
}

void scale_decide(struct scale *s, struct scale_set *set, const struct cox_sample *sample)
{
    struct verdict v = {0};
    struct scale_record record = {.from = set->count};
    if (set->policy) {
        record.state = keep_state(s, set, sample);
        ask(s, set, sample, &v);
    } else if (set->is_left_out) {
        stay(set, sample, &v);
    } else {
        keep(set, sample, &v);
    }
    if (!set->is_left_out)
        mind_zero(set, sample, &v);
    mind_bounds(set, sample, &v);
    if (set->has_hand)
        say(&v, set->hand, COX_CAUSE_NONE, "set by hand to %u", set->hand);
    mind_shortage(s, set, &v);
    apply(s, set, sample, &v);
    const bool is_calm = record.from == set->count;
    if (is_calm && !is_record_due(s, set, sample))
        return;
    set->logged_ns = sample->now_ns;
    record.to = set->count;
    record.cause = v.cause;
    memcpy(record.why, v.why, sizeof record.why);
    uint64_t bytes;
    const uint64_t number = scale_log_put(s->log, set, sample, &record, &bytes);
    if (is_calm)
        pay(s, set, bytes);
    else
        scale_chain_decided(s, set, number);
}
