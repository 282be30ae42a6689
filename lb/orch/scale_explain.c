/* Why there are as many members as there are, from the set as it is and from the log of decisions; and the
 * log made again, to see that it says the truth. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/panic.h"
#include "orch/scale_codec.h"
#include "orch/scale_priv.h"

#define REPLAY_MAX    1000
#define REPLAY_MAX_NS (50 * NS_PER_MS) /* of the orchestrator's time */
#define HISTORY       5u

static void put_moment(uint64_t wall_ns, struct buf *out)
{
    const time_t t = (time_t)(wall_ns / NS_PER_S);
    struct tm local;
    char text[40];
    if (localtime_r(&t, &local) && strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local))
        buf_printf(out, "%s.%03u", text, (unsigned)(wall_ns % NS_PER_S / NS_PER_MS));
}

static double ms(double ns)
{
    return ns / 1e6;
}

static void put_now(const struct scale_set *set, struct buf *out)
{
    const struct member_facts *f = &set->facts;
    buf_printf(out, "%s: %u member%s wanted; %u active", set->set->id, set->count,
               set->count == 1 ? " is" : "s are", f->ready);
    if (f->starting)
        buf_printf(out, ", %u starting", f->starting);
    if (f->draining)
        buf_printf(out, ", %u draining", f->draining);
    buf_printf(out, ".\n");
    if (set->has_hand) {
        buf_printf(out, "Set by hand to %u", set->hand);
        if (set->hand_until_wall_ns) {
            buf_printf(out, " until ");
            put_moment(set->hand_until_wall_ns, out);
        }
        buf_printf(out, "; its policy is not followed meanwhile.\n");
    }
}

static void put_limits(const struct scale_set *set, struct buf *out)
{
    uint32_t origin;
    const uint32_t floor = scale_floor(set, &origin);
    if (set->policy)
        buf_printf(out, "Policy \"%s\" (plugin %s) decides", set->policy->name, set->policy->plugin);
    else if (set->scaling && set->scaling->policy)
        buf_printf(out, "Its policy \"%s\" cannot be used now, so the count stays", set->scaling->policy);
    else
        buf_printf(out, "No policy: the config decides");
    buf_printf(out, ", between %u and %u", set->set->min, set->set->max);
    if (origin == COX_FLOOR_SCHEDULE)
        buf_printf(out, ", now at least %u by a schedule", floor);
    if (set->facts.capacity != UINT32_MAX)
        buf_printf(out, ", with room for %u", set->facts.capacity);
    buf_printf(out, ".\n");
    if (set->set->min == 0 && set->scaling)
        buf_printf(out, "Without a request for %llu s the last member goes.\n",
                   (unsigned long long)(set->scaling->zero_after_ms / 1000));
    if (set->scaling && set->scaling->objective_ms)
        buf_printf(out, "Its objective: no request waits for longer than %llu ms.\n",
                   (unsigned long long)set->scaling->objective_ms);
    if (set->why_not)
        buf_printf(out, "It does not shrink now: %s.\n", set->why_not);
}

static void put_figures(const struct cox_sample *s, struct buf *out)
{
    const double window_s = (double)s->window_ns / 1e9;
    buf_printf(out,
               "  in flight (mean of %.3f s): %.2f served, %.2f held, %.2f finishing; now %llu, %llu, %llu\n",
               window_s, s->serving_mean, s->held_mean, s->finishing_mean, (unsigned long long)s->serving_now,
               (unsigned long long)s->held_now, (unsigned long long)s->finishing_now);
    if (window_s > 0)
        buf_printf(out, "  requests: %.1f/s arrived, %.1f/s ended", (double)s->arrivals / window_s,
                   (double)s->completed / window_s);
    if (window_s > 0 && s->failed + s->rejected + s->abandoned)
        buf_printf(out, "; %llu failed, %llu rejected, %llu gave up", (unsigned long long)s->failed,
                   (unsigned long long)s->rejected, (unsigned long long)s->abandoned);
    if (window_s > 0)
        buf_printf(out, "\n");
    if (!isnan(s->service_mean_ns))
        buf_printf(out, "  service: %.2f ms in the mean", ms(s->service_mean_ns));
    if (!isnan(s->service_mean_ns) && !isnan(s->latency_p99_ns))
        buf_printf(out, "; latency p50 %.2f, p99 %.2f ms", ms(s->latency_p50_ns), ms(s->latency_p99_ns));
    if (!isnan(s->service_mean_ns))
        buf_printf(out, "\n");
    buf_printf(out, "  members then: %u active", s->ready);
    if (s->starting)
        buf_printf(out, ", %u starting", s->starting);
    if (s->draining)
        buf_printf(out, ", %u draining", s->draining);
    if (!isnan(s->slots_per_member))
        buf_printf(out, "; %.0f slots each", s->slots_per_member);
    if (!isnan(s->start_p50_ns))
        buf_printf(out, "; a start takes %.2f s (p90 %.2f)", s->start_p50_ns / 1e9, s->start_p90_ns / 1e9);
    buf_printf(out, "\n");
    for (uint32_t i = 0; i < s->factors.count; i++) {
        const struct cox_factor *f = COX_AT(struct cox_factor, s->factors, i);
        buf_printf(out, "  %s: %g, mean of %u members\n", f->metric, f->value, f->count);
    }
}

static void put_answer(const struct scale_record *r, struct buf *out)
{
    const struct cox_decision *d = &r->decision;
    buf_printf(out, "  %.*s wanted %.3f (%s)", STR_ARG(r->plugin), d->wanted, scale_cause_name(d->cause));
    if (!d->reason[0])
        buf_printf(out, ", and gives no reason");
    else if (strcmp(d->reason, r->why) != 0) /* else it is said already */
        buf_printf(out, ": %s", d->reason);
    for (uint32_t i = 0; i < d->alternative_count; i++)
        buf_printf(out, "%s%.3f (%s)", i ? ", " : "\n  and looked at ", d->alternatives[i].wanted,
                   scale_cause_name(d->alternatives[i].cause));
    buf_printf(out, "\n");
    if (!isnan(d->demand))
        buf_printf(out, "  it plans for %.2f requests in service at a time\n", d->demand);
    if (!isnan(d->slots_per_member))
        buf_printf(out, "  it reckons with %.1f requests at a time in each member\n", d->slots_per_member);
    if (d->flags & COX_DECISION_NOT_CAPACITY)
        buf_printf(out, "  more members did not help: something that they share is the bottleneck\n");
}

static void put_record(const struct scale_record *r, bool in_full, struct buf *out)
{
    put_moment(r->wall_ns, out);
    buf_printf(out, ", decision %llu: ", (unsigned long long)r->number);
    if (r->from == r->to)
        buf_printf(out, "still %u: %s\n", r->to, r->why);
    else
        buf_printf(out, "%u -> %u: %s\n", r->from, r->to, r->why);
    if (r->origin.n)
        buf_printf(out, "  caused by request %.*s\n", STR_ARG(r->origin));
    if (!in_full)
        return;
    if (r->has_policy)
        put_answer(r, out);
    put_figures(&r->sample, out);
}

static void put_link(const char *what, uint64_t wall_ns, const char *name, struct buf *out)
{
    if (!wall_ns)
        return;
    buf_printf(out, "  ");
    put_moment(wall_ns, out);
    buf_printf(out, "  %s%s%s\n", what, *name ? " " : "", name);
}

static void put_chain(const struct scale_chain *c, struct buf *out)
{
    char number[96];
    if (!c->woken_ns)
        return;
    buf_printf(out, "How it last woke:\n");
    put_link("request", c->woken_ns, c->origin, out);
    (void)snprintf(number, sizeof number, "%llu", (unsigned long long)c->decision);
    put_link("decision", c->decided_ns, number, out);
    (void)snprintf(number, sizeof number, "%llu", (unsigned long long)c->ticket);
    if (c->ticket)
        put_link("ticket", c->created_ns, number, out);
    put_link("member", c->created_ns, c->member, out);
    put_link("serves at", c->active_ns, c->endpoint, out);
    put_link("first request served", c->served_ns, "", out);
}

/* The last decision in full if it is not the last change, then the changes. */
static void put_history(struct scale *s, const struct scale_set *set, struct buf *out)
{
    struct scale_record r;
    uint64_t cursor = 0;
    unsigned shown = 0;
    bool has_last = false;
    while (shown < HISTORY && scale_log_before(s->log, str_of(set->set->id), &cursor, &r)) {
        const bool is_change = r.from != r.to;
        if (!has_last || is_change) {
            buf_printf(out, !has_last && !is_change ? "Looked at last "
                            : is_change && !shown   ? "Changed last "
                                                    : "Before that ");
            put_record(&r, !has_last || (is_change && !shown), out);
            shown += is_change;
        }
        has_last = true;
        scale_record_fini(&r);
    }
    if (!has_last)
        buf_printf(out, "Nothing was decided yet that is worth a record.\n");
}

void scale_explain(struct scale *s, struct str cluster, struct buf *out)
{
    struct scale_set *set = scale_find(s, str_trim(cluster));
    if (!set) {
        buf_printf(out, "error: no set or cluster with members of that name, or several: \"%.*s\"\n",
                   STR_ARG(cluster));
        return;
    }
    scale_refresh_facts(s, set, s->ops->now_ns(s->ctx));
    buf_printf(out, "ok\n");
    put_now(set, out);
    put_limits(set, out);
    put_chain(&set->chain, out);
    put_history(s, set, out);
}

/* ---- once more ---- */

struct replay {
    unsigned same, differ, others;
    uint64_t first_difference;
};

static void replay_one(const struct scale_set *set, struct scale_record *r, struct replay *result)
{
    const struct scaler *p = set->policy;
    struct cox_decision again;
    if (!r->has_policy)
        return;
    if (!p || r->fingerprint != p->fingerprint || r->state_bytes != p->state_bytes) {
        result->others++;
        return;
    }
    uint8_t *state = must(malloc(p->state_bytes + 1));
    if (p->state_bytes)
        memcpy(state, r->state, p->state_bytes);
    r->sample.set = set->set->id;
    r->sample.options = &p->values.options;
    scaler_ask(p, state, &r->sample, &again);
    if (scale_same_decision(&again, &r->decision) &&
        scale_checksum(state, p->state_bytes) == r->state_after) {
        result->same++;
    } else {
        result->differ++;
        result->first_difference = r->number;
    }
    free(state);
}

void scale_replay(struct scale *s, struct str cluster, struct buf *out)
{
    struct scale_set *set = scale_find(s, str_trim(cluster));
    struct replay result = {0};
    struct scale_record r;
    uint64_t cursor = 0;
    if (!set) {
        buf_printf(out, "error: no set or cluster with members of that name, or several: \"%.*s\"\n",
                   STR_ARG(cluster));
        return;
    }
    const uint64_t until = clock_now_ns() + REPLAY_MAX_NS;
    while (result.same + result.differ < REPLAY_MAX && clock_now_ns() < until &&
           scale_log_before(s->log, str_of(set->set->id), &cursor, &r)) {
        replay_one(set, &r, &result);
        scale_record_fini(&r);
    }
    buf_printf(out, result.differ ? "error: " : "ok: ");
    buf_printf(out, "%u decision%s of %s made again: %u the same bit for bit, %u differ\n",
               result.same + result.differ, result.same + result.differ == 1 ? "" : "s", set->set->id,
               result.same, result.differ);
    if (result.differ)
        buf_printf(out, "the first that differs is decision %llu\n",
                   (unsigned long long)result.first_difference);
    if (result.others)
        buf_printf(out,
                   "%u of another policy, with other options, of another version of the plugin, or without a "
                   "state are left "
                   "out\n",
                   result.others);
}
