/* What is shown of the scaling loop, and the counts that people set. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "orch/scale_priv.h"

const char *scale_cause_name(uint32_t cause)
{
    static const char *const names[] = {
        "none",         "steady",       "load",   "forecast",     "panic",   "held", "valley", "stabilised",
        "rate_limited", "load_average", "memory", "slow_service", "no_data", "idle", "season"};
    return cause < sizeof names / sizeof names[0] ? names[cause] : "other";
}

const char *scale_floor_name(uint32_t origin)
{
    static const char *const names[] = {"none", "min", "parent", "schedule", "hand"};
    return origin < sizeof names / sizeof names[0] ? names[origin] : "other";
}

size_t scale_count(const struct scale *s)
{
    return s->set_count;
}

void scale_look(struct scale *s, size_t i, struct scale_view *out)
{
    struct scale_set *set = &s->sets[i];
    uint32_t origin;
    scale_refresh_facts(s, set, s->ops->now_ns(s->ctx));
    *out = (struct scale_view){.set = set->set->id,
                               .policy = set->policy ? set->policy->name : NULL,
                               .plugin = set->policy ? set->policy->plugin : NULL,
                               .why = set->why,
                               .count = set->count,
                               .ready = set->facts.ready,
                               .starting = set->facts.starting,
                               .draining = set->facts.draining,
                               .min = set->set->min,
                               .max = set->set->max,
                               .floor = scale_floor(set, &origin),
                               .cause = set->cause,
                               .wanted = set->wanted,
                               .is_by_hand = set->has_hand,
                               .is_not_capacity = set->decision.flags & COX_DECISION_NOT_CAPACITY,
                               .may_not_shrink = set->why_not != NULL,
                               .hand_until_wall_ns = set->hand_until_wall_ns,
                               .changed_wall_ns = set->changed_wall_ns,
                               .samples = set->samples,
                               .decisions = set->decisions,
                               .ups = set->ups,
                               .downs = set->downs};
    out->floor_origin = origin;
    memcpy(out->causes, set->causes, sizeof out->causes);
}

/* ---- by hand ---- */

#define FOR_MAX_MS (10ull * 365 * 24 * 3600 * 1000)

static void touch(struct scale *s, struct scale_set *set)
{
    set->is_changed = true;
    set->due_ns = s->ops->now_ns(s->ctx);
    s->is_unsaved = true;
    scale_save_hands(s); /* what a person says is not lost with the second that follows */
}

static void put_by_hand(struct scale *s, struct scale_set *set, uint64_t count, uint64_t for_ms,
                        struct buf *out)
{
    if (count > set->set->max) {
        buf_printf(out, "error: max of %s is %u\n", set->set->id, set->set->max);
        return;
    }
    if (for_ms > FOR_MAX_MS) {
        buf_printf(out, "error: at most ten years; without a time it holds until \"scale %s auto\"\n",
                   set->set->id);
        return;
    }
    set->has_hand = true;
    set->hand = (uint32_t)count;
    set->hand_until_wall_ns = for_ms ? s->ops->wall_ns(s->ctx) + for_ms * NS_PER_MS : 0;
    log_info("set %s: set by hand to %u%s", set->set->id, set->hand, for_ms ? " for a while" : "");
    touch(s, set);
    buf_printf(out, "ok: %s is kept at %u", set->set->id, set->hand);
    if (for_ms)
        buf_printf(out, " for %llu s\n", (unsigned long long)(for_ms / 1000));
    else
        buf_printf(out, " until \"scale %s auto\"\n", set->set->id);
}

void scale_by_hand(struct scale *s, struct str arguments, struct buf *out)
{
    struct str name, count_text, for_text;
    uint64_t count, for_ms = 0;
    const bool has_two = str_next(&arguments, ' ', &name) && str_next(&arguments, ' ', &count_text);
    const bool has_for = has_two && str_next(&arguments, ' ', &for_text);
    struct scale_set *set = has_two ? scale_find(s, name) : NULL;
    if (!has_two) {
        buf_printf(out, "error: expected CLUSTER and a count or \"auto\"\n");
    } else if (!set) {
        buf_printf(out, "error: no set or cluster with members of that name, or several: \"%.*s\"\n",
                   STR_ARG(name));
    } else if (str_eq(count_text, STR("auto"))) {
        set->has_hand = false;
        log_info("set %s: no longer set by hand", set->set->id);
        touch(s, set);
        buf_printf(out, "ok: %s is %s\n", set->set->id,
                   set->policy ? "in the hands of its policy" : "kept at what its config says");
    } else if (!str_to_u64(count_text, &count) || (has_for && (!str_to_u64(for_text, &for_ms) || !for_ms))) {
        buf_printf(out, "error: expected CLUSTER and a count or \"auto\"\n");
    } else {
        put_by_hand(s, set, count, for_ms, out);
    }
}
