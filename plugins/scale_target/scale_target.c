/* scale_target: keeps the exchanges in flight per member at a target.
 *
 *   wanted = mean in flight / target, over a long (stable) window, and over a short one when that asks for
 *            much more than there is (panic)
 *   then   : a band around the present count in which nothing happens (tolerance), the largest answer of the
 *            last while when shrinking and the smallest when growing (stabilization), limits on how fast
 *
 * The windows are Knative's, the rules behind them those of the horizontal autoscaler of Kubernetes, under
 * its names. Unlike both it counts members that are still starting, takes exact means of exact integrals, and
 * does not shrink before it has seen a whole window. See README.md. */
#include <string.h>

#include <coxswain/plugin.h>

#include "../common/pure.h"
#include "../common/say.h"
#include "history.h"

#define NS_PER_MS     1000000ull
#define SLOTS_UNKNOWN 100.0 /* what Knative takes when a service says nothing */
#define TARGET_MIN    0.01

enum {
    OPTION_TARGET,
    OPTION_UTILIZATION,
    OPTION_STABLE_WINDOW,
    OPTION_PANIC_PERCENTAGE,
    OPTION_PANIC_THRESHOLD,
    OPTION_UP, /* rows of a direction, in the order of enum rule_option */
    OPTION_DOWN = OPTION_UP + 7
};

/* Rows of one direction. */
enum rule_option {
    RULE_TOLERANCE,
    RULE_STABILIZATION,
    RULE_SELECT,
    RULE_PERCENT,
    RULE_PERCENT_PERIOD,
    RULE_PODS,
    RULE_PODS_PERIOD
};

enum select_policy { SELECT_MAX, SELECT_MIN, SELECT_DISABLED };

#define OPTION(t, k, d, lo, hi, h)                                                                           \
    {                                                                                                        \
        .size = sizeof(struct cox_option), .type = (t), .key = (k), .def = (d), .min = (lo), .max = (hi),    \
        .help = (h)                                                                                          \
    }
#define SELECT(k, h)                                                                                         \
    {                                                                                                        \
        .size = sizeof(struct cox_option), .type = COX_OPTION_ENUM, .key = (k), .def = "max",                \
        .words = "max min disabled", .help = (h)                                                             \
    }

static const struct cox_option options[] = {
    OPTION(COX_OPTION_REAL, "target", NULL, 0, 1000000,
           "Exchanges in flight that one member should have. Not given: `utilization` of its slots."),
    OPTION(COX_OPTION_REAL, "utilization", "0.7", 0, 1,
           "Share of a member's slots to be used when `target` is not given; 100 slots are assumed where a "
           "member has no limit. The rest is room for the time that a new member takes."),
    OPTION(COX_OPTION_DURATION, "stable_window", "60s", 1000, 3600000,
           "Over how long the load is averaged. Longer is calmer and follows later."),
    OPTION(COX_OPTION_INT, "panic_window_percentage", "10", 1, 100,
           "Length of the short window, in percent of the stable one."),
    OPTION(COX_OPTION_INT, "panic_threshold_percentage", "200", 101, 1000,
           "The short window counts when it asks for this many percent of the present members."),
    OPTION(COX_OPTION_REAL, "scale_up_tolerance", "0.1", 0, 1,
           "Nothing is added while the load is at most this share above what the members should carry."),
    OPTION(COX_OPTION_DURATION, "scale_up_stabilization_window", "0s", 0, 3600000,
           "Grows to the smallest answer of so long. 0: at once, since too few members hurt clients."),
    SELECT("scale_up_select_policy",
           "Which of the two limits below holds: the one that allows more, the one that allows less; or "
           "never add members."),
    OPTION(COX_OPTION_INT, "scale_up_percent", "0", 0, 1000000,
           "Adds at most so many percent of the members within scale_up_percent_period. 0: no such limit."),
    OPTION(COX_OPTION_DURATION, "scale_up_percent_period", "15s", 1000, 1800000,
           "Over how long scale_up_percent counts."),
    OPTION(COX_OPTION_INT, "scale_up_pods", "0", 0, 1000000,
           "Adds at most so many members within scale_up_pods_period. 0: no such limit."),
    OPTION(COX_OPTION_DURATION, "scale_up_pods_period", "15s", 1000, 1800000,
           "Over how long scale_up_pods counts."),
    OPTION(COX_OPTION_REAL, "scale_down_tolerance", "0.1", 0, 1,
           "Nothing is removed while the load is at most this share below what the members should carry."),
    OPTION(COX_OPTION_DURATION, "scale_down_stabilization_window", "60s", 0, 3600000,
           "Shrinks to the largest answer of so long: short valleys remove nobody."),
    SELECT("scale_down_select_policy",
           "Which of the two limits below holds: the one that allows more, the one that allows less; or "
           "never remove members."),
    OPTION(COX_OPTION_INT, "scale_down_percent", "0", 0, 100,
           "Removes at most so many percent of the members within scale_down_percent_period. 0: no such "
           "limit."),
    OPTION(COX_OPTION_DURATION, "scale_down_percent_period", "15s", 1000, 1800000,
           "Over how long scale_down_percent counts."),
    OPTION(COX_OPTION_INT, "scale_down_pods", "0", 0, 1000000,
           "Removes at most so many members within scale_down_pods_period. 0: no such limit."),
    OPTION(COX_OPTION_DURATION, "scale_down_pods_period", "15s", 1000, 1800000,
           "Over how long scale_down_pods counts."),
};

/* Of one direction: what its rules remember. */
struct rules {
    struct peaks answers; /* negative ones when growing */
    struct changes percent, pods;
};

struct state {
    uint32_t is_on; /* 0: no sample was seen yet */
    uint32_t last_current;
    uint64_t epoch;
    uint64_t last_ns;
    uint64_t last_total_ns; /* held + serving of the last sample */
    uint64_t integral;      /* the same, since this state began: goes on over epochs */
    uint64_t blind_until_ns;
    uint64_t panic_until_ns; /* 0: calm */
    double panic_floor;
    struct marks marks;
    struct rules up, down;
};

/* One evaluation: what is looked up once. */
struct view {
    struct state *s;
    const struct cox_sample *sample;
    struct mark now;
    double target, current, stable, panic; /* members, the last two: what each window asks for */
    double in_flight;
    uint64_t stable_ns;
};

static int64_t option_i(const struct view *v, uint32_t row)
{
    return cox_option_at(v->sample->options, row)->i;
}

static uint64_t option_ns(const struct view *v, uint32_t row)
{
    return (uint64_t)option_i(v, row) * NS_PER_MS;
}

static uint64_t state_size(const struct cox_options *opts)
{
    (void)opts;
    return sizeof(struct state);
}

static void init_state(const struct cox_options *opts, void *state)
{
    (void)opts;
    memset(state, 0, sizeof(struct state));
}

static double target_of(const struct cox_sample *sample)
{
    const struct cox_value *given = cox_option_at(sample->options, OPTION_TARGET);
    double target = given->f;
    if (given->flags & COX_VALUE_ABSENT) {
        const double slots =
            sample->slots_per_member == sample->slots_per_member && sample->slots_per_member > 0
                ? sample->slots_per_member
                : SLOTS_UNKNOWN;
        target = slots * cox_option_at(sample->options, OPTION_UTILIZATION)->f;
    }
    return target > TARGET_MIN ? target : TARGET_MIN;
}

/* Starts anew where nothing of before can be compared with what comes: then a whole window has to be seen
 * before the count may fall. */
static void begin(struct state *s, const struct cox_sample *sample, uint64_t total_ns, uint64_t stable_ns)
{
    memset(s, 0, sizeof *s);
    s->is_on = 1;
    s->last_current = sample->current;
    s->epoch = sample->totals.epoch;
    s->last_total_ns = total_ns;
    s->blind_until_ns = sample->now_ns + stable_ns;
    marks_add(&s->marks, 0, (struct mark){.at_ns = sample->now_ns});
}

/* Takes the sample in; now is its mark. */
static struct mark take(struct state *s, const struct cox_sample *sample, uint64_t stable_ns)
{
    const uint64_t total_ns = sample->totals.held_ns + sample->totals.serving_ns;
    if (!s->is_on || sample->flags & COX_SAMPLE_FIRST || sample->now_ns < s->last_ns)
        begin(s, sample, total_ns, stable_ns);
    if (sample->totals.epoch != s->epoch) { /* this sample's share of the new epoch is known: all of it */
        s->epoch = sample->totals.epoch;
        s->last_total_ns = 0;
        s->blind_until_ns = sample->now_ns + stable_ns;
    }
    s->integral += total_ns - s->last_total_ns;
    s->last_total_ns = total_ns;
    s->last_ns = sample->now_ns;
    return (struct mark){.at_ns = sample->now_ns, .integral = s->integral};
}

static double positive(double x)
{
    return x > 0.0 ? x : 0.0;
}

/* Members for so many exchanges, whole; a hair above a whole number is that number. */
static double members_for(const struct view *v, double in_flight)
{
    return positive(v->sample->math->ceil(in_flight / v->target - 1e-6));
}

static void measure(struct view *v)
{
    const struct cox_sample *sample = v->sample;
    const uint64_t panic_ns = v->stable_ns / 100u * (uint64_t)option_i(v, OPTION_PANIC_PERCENTAGE);
    const double at_once = (double)(sample->serving_now + sample->held_now);
    double stable = marks_mean(&v->s->marks, 0, v->stable_ns, v->now);
    double panic = marks_mean(&v->s->marks, 1, panic_ns, v->now);
    if (stable != stable) /* the very first sample */
        stable = panic = at_once;
    marks_add(&v->s->marks, v->stable_ns / MARKS_WINDOW, v->now);
    v->in_flight = stable;
    v->stable = members_for(v, stable);
    v->panic = members_for(v, panic);
    if (sample->flags & COX_SAMPLE_WAKE && v->panic < 1.0)
        v->panic = 1.0;
}

/* What the windows ask for. In panic the count does not fall, and it ends a stable window after the last
 * cause for it. */
static double ask(struct view *v, uint32_t *out_cause)
{
    struct state *s = v->s;
    const double threshold = (double)option_i(v, OPTION_PANIC_THRESHOLD) / 100.0;
    const double present = v->current > 1.0 ? v->current : 1.0;
    const uint64_t now_ns = v->now.at_ns;
    if (v->panic >= threshold * present || (v->current < 1.0 && v->panic >= 1.0))
        s->panic_until_ns = now_ns + v->stable_ns;
    *out_cause = COX_CAUSE_LOAD;
    if (now_ns >= s->panic_until_ns) {
        s->panic_until_ns = 0;
        s->panic_floor = 0.0;
        return v->stable;
    }
    const double most = v->panic > v->stable ? v->panic : v->stable;
    s->panic_floor = most > s->panic_floor ? most : s->panic_floor;
    *out_cause = v->sample->flags & COX_SAMPLE_WAKE ? COX_CAUSE_HELD : COX_CAUSE_PANIC;
    return s->panic_floor;
}

/* The band in which nothing happens. From nothing to something there is none. */
static double tolerate(const struct view *v, double asked, uint32_t *cause)
{
    const double up = cox_option_at(v->sample->options, OPTION_UP + RULE_TOLERANCE)->f;
    const double down = cox_option_at(v->sample->options, OPTION_DOWN + RULE_TOLERANCE)->f;
    const double load = v->in_flight / v->target; /* members, not rounded */
    if (asked == v->current)
        *cause = COX_CAUSE_STEADY;
    if (*cause != COX_CAUSE_LOAD || v->current < 1.0)
        return asked;
    if (load > v->current * (1.0 + up) || load < v->current * (1.0 - down))
        return asked;
    *cause = COX_CAUSE_STEADY;
    return v->current;
}

static double stabilise(struct view *v, double asked, uint32_t *cause)
{
    struct state *s = v->s;
    const uint64_t now_ns = v->now.at_ns;
    const double least =
        -peaks_note(&s->up.answers, option_ns(v, OPTION_UP + RULE_STABILIZATION), now_ns, -asked);
    const double most =
        peaks_note(&s->down.answers, option_ns(v, OPTION_DOWN + RULE_STABILIZATION), now_ns, asked);
    double kept = v->current;
    if (kept < least)
        kept = least;
    if (kept > most)
        kept = most;
    if (kept != asked && asked != v->current)
        *cause = COX_CAUSE_STABILISED;
    return kept;
}

/* The furthest that the limits of one direction (+1 up, -1 down) allow. Negative: as far as one likes. */
static double furthest(struct view *v, uint32_t base, struct rules *r, double direction, int32_t change)
{
    const double percent = (double)option_i(v, base + RULE_PERCENT);
    const double pods = (double)option_i(v, base + RULE_PODS);
    const int64_t select = option_i(v, base + RULE_SELECT);
    if (select == SELECT_DISABLED)
        return v->current;
    double by_percent = -1.0, by_pods = -1.0;
    if (percent > 0.0) {
        const uint64_t period = option_ns(v, base + RULE_PERCENT_PERIOD);
        const double start =
            positive(v->current - (double)changes_note(&r->percent, period, v->now.at_ns, change));
        const double far = start * (1.0 + direction * percent / 100.0);
        by_percent =
            direction > 0.0 ? v->sample->math->ceil(far > 1.0 ? far : 1.0) : v->sample->math->floor(far);
    }
    if (pods > 0.0) {
        const uint64_t period = option_ns(v, base + RULE_PODS_PERIOD);
        const double start =
            positive(v->current - (double)changes_note(&r->pods, period, v->now.at_ns, change));
        by_pods = positive(start + direction * pods);
    }
    if (by_percent < 0.0 || by_pods < 0.0)
        return by_percent < 0.0 ? by_pods : by_percent;
    const int take_percent = ((by_percent - by_pods) * direction > 0.0) == (select == SELECT_MAX);
    return take_percent ? by_percent : by_pods;
}

static double pace(struct view *v, double asked, uint32_t *cause)
{
    struct state *s = v->s;
    const int32_t change = (int32_t)(v->sample->current - s->last_current);
    s->last_current = v->sample->current;
    const double up = furthest(v, OPTION_UP, &s->up, 1.0, change);
    const double down = furthest(v, OPTION_DOWN, &s->down, -1.0, change);
    double paced = asked;
    if (up >= 0.0 && asked > v->current && asked > up)
        paced = up > v->current ? up : v->current;
    if (down >= 0.0 && asked < v->current && asked < down)
        paced = down < v->current ? down : v->current;
    if (paced != asked)
        *cause = COX_CAUSE_RATE_LIMITED;
    return paced;
}

static int is_blind(const struct view *v)
{
    const struct cox_sample *sample = v->sample;
    return v->now.at_ns < v->s->blind_until_ns || sample->flags & COX_SAMPLE_NO_SHRINK ||
           sample->sources_fresh < sample->sources_expected;
}

static void explain(const struct view *v, struct cox_decision *out, uint32_t cause)
{
    struct say say = say_open(out->reason, sizeof out->reason);
    say_text(&say, "in flight ");
    say_number(&say, v->in_flight);
    say_text(&say, ", target ");
    say_number(&say, v->target);
    say_text(&say, ": stable window asks for ");
    say_number(&say, v->stable);
    say_text(&say, ", short one for ");
    say_number(&say, v->panic);
    if (!COX_HAS(out, struct cox_decision, horizon_ns))
        return;
    out->cause = cause;
    out->flags = v->s->panic_until_ns ? COX_DECISION_PANIC : 0;
    out->alternative_count = 2;
    out->alternatives[0] = (struct cox_alternative){.wanted = v->stable, .cause = COX_CAUSE_LOAD};
    out->alternatives[1] = (struct cox_alternative){.wanted = v->panic, .cause = COX_CAUSE_PANIC};
    out->demand = v->in_flight;
}

static void decide(void *state, const struct cox_sample *sample, struct cox_decision *out_decision)
{
    struct view v = {.s = state, .sample = sample, .current = (double)sample->current};
    if (!COX_HAS(sample, struct cox_sample, totals)) { /* a host from before there were totals */
        out_decision->wanted = v.current;
        return;
    }
    v.target = target_of(sample);
    v.stable_ns = option_ns(&v, OPTION_STABLE_WINDOW);
    v.now = take(v.s, sample, v.stable_ns);
    measure(&v);
    uint32_t cause = COX_CAUSE_NONE;
    double wanted = ask(&v, &cause);
    wanted = tolerate(&v, wanted, &cause);
    wanted = stabilise(&v, wanted, &cause);
    wanted = pace(&v, wanted, &cause);
    if (wanted < v.current && is_blind(&v)) {
        wanted = v.current;
        cause = COX_CAUSE_NO_DATA;
    }
    out_decision->wanted = wanted;
    explain(&v, out_decision, cause);
}

static const struct cox_scaler scaler = {.size = sizeof scaler,
                                         .state_version = 1,
                                         .state_size = state_size,
                                         .init_state = init_state,
                                         .decide = decide};

COX_EXPORT const struct cox_plugin cox_plugin = {.size = sizeof cox_plugin,
                                                 .abi = COX_ABI,
                                                 .name = "scale_target",
                                                 .summary =
                                                     "keeps the exchanges in flight per member at a target",
                                                 .version = "1",
                                                 .options = COX_ARRAY(options),
                                                 PURE_LIFE,
                                                 .scaler = &scaler};
