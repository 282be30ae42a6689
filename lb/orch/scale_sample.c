/* Samples: what is known of one set at one moment, from sums that are exact. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/panic.h"
#include "orch/scale_priv.h"

_Static_assert(LEDGER_SERVICE_BUCKETS == COX_SERVICE_BUCKETS, "scalers are given the ledger's histogram");
_Static_assert(1u << LEDGER_SERVICE_FIRST_LOG == COX_SERVICE_FIRST_NS, "with its scale");

#define FINE_NS      NS_PER_S        /* between readings of histograms */
#define BACKWARDS_NS (10 * NS_PER_S) /* a sum that stays behind what it was is another one */

/* ---- what was counted ---- */

static void take_words(const struct ledger_cluster_sum *sum, enum ledger_part part, uint64_t *w)
{
    w[WORD_HELD_NS] = sum->integral_ns[LEDGER_HELD];
    w[WORD_SERVING_NS] = sum->integral_ns[LEDGER_SERVING];
    w[WORD_FINISHING_NS] = sum->integral_ns[LEDGER_FINISHING];
    w[WORD_TUNNELS_NS] = sum->integral_ns[LEDGER_TUNNEL];
    w[WORD_ARRIVALS] = sum->requests;
    w[WORD_COMPLETED] = sum->completed;
    w[WORD_FAILED] = sum->failures[LEDGER_FAIL_CONNECT] + sum->failures[LEDGER_FAIL_SERVER] +
                     sum->failures[LEDGER_FAIL_TIMEOUT] + sum->failures[LEDGER_FAIL_INTERNAL];
    w[WORD_REJECTED] = sum->failures[LEDGER_FAIL_REFUSED];
    w[WORD_ABANDONED] = sum->abandoned;
    w[WORD_SERVICE_COUNT] = sum->service_count;
    w[WORD_SERVICE_SUM] = sum->service_sum_ns;
    w[WORD_SERVICE_SQUARE] = sum->service_square_us2;
    w[WORD_WAITED] = sum->waited;
    if (part == LEDGER_WHOLE)
        memcpy(w + WORD_SERVICE, sum->service, sizeof sum->service);
}

/* Adds what came since the last reading. A sum may be behind what it was for a moment: a reader adds time up
 * to now that its writer has not booked yet, and a generation that died is not in the totals at once. Then
 * the difference is left for later; if it stays, the sums are others than they were. */
static void add_words(struct scale_set *set, struct scale_cluster *c, enum ledger_part part,
                      const uint64_t *w, uint64_t now)
{
    if (!c->has_last) {
        memcpy(c->last, w, sizeof c->last);
        c->has_last = true;
        return;
    }
    const bool is_behind = (int64_t)(w[WORD_ARRIVALS] - c->last[WORD_ARRIVALS]) < 0;
    const int words = part == LEDGER_WHOLE ? WORDS : WORD_SERVICE;
    for (int i = 0; i < words; i++) {
        const uint64_t more = w[i] - c->last[i], real = (int64_t)more < 0 ? 0 : more;
        set->totals[i] += real;
        c->last[i] += real;
    }
    if (!is_behind)
        c->backwards_ns = 0;
    else if (!c->backwards_ns)
        c->backwards_ns = now;
    else if (now - c->backwards_ns > BACKWARDS_NS)
        c->has_last = false;
}

/* Reading histograms ten times a second would cost more than all the rest. Sets take turns, so that not all
 * of them do it in the same tick. */
static bool is_fine_due(const struct scale *s, struct scale_set *set, uint64_t now)
{
    if (!set->fine_ns)
        set->fine_ns = now - (uint64_t)(set - s->sets) % SCALE_TURNS * (FINE_NS / SCALE_TURNS);
    if (now - set->fine_ns < FINE_NS)
        return false;
    set->fine_ns = now;
    return true;
}

/* False: something could not be read. */
static bool add_clusters(struct scale *s, struct scale_set *set, uint64_t now, bool is_fine,
                         uint64_t counts[LEDGER_COUNTS])
{
    bool all = true;
    for (size_t i = 0; i < set->cluster_count; i++) {
        struct scale_cluster *c = &set->clusters[i];
        const enum ledger_part part = is_fine || !c->has_last ? LEDGER_WHOLE : LEDGER_WITHOUT_SERVICE;
        struct ledger_cluster_sum sum;
        uint64_t words[WORDS];
        if (c->slot == LEDGER_NO_SLOT)
            continue;
        all &= s->ops->sum(s->ctx, c->slot, now, part, &sum);
        take_words(&sum, part, words);
        add_words(set, c, part, words, now);
        all &= c->backwards_ns == 0;
        for (int k = 0; k < LEDGER_COUNTS; k++)
            counts[k] += sum.count[k];
    }
    return all;
}

static bool has_slots(const struct scale_set *set)
{
    for (size_t i = 0; i < set->cluster_count; i++)
        if (set->clusters[i].slot == LEDGER_NO_SLOT)
            return false;
    return true;
}

/* The median, and the values that 90 % and 99 % do not exceed, of what came since the last look. */
static void find_quantiles(const uint64_t *all, const uint64_t *before, double out[3])
{
    static const double q[3] = {0.5, 0.9, 0.99};
    uint64_t since[LEDGER_HIST_BUCKETS], total = 0, seen = 0;
    int found = 0;
    for (int i = 0; i < LEDGER_HIST_BUCKETS; i++) {
        since[i] = all[i] > before[i] ? all[i] - before[i] : 0;
        total += since[i];
    }
    out[0] = out[1] = out[2] = NAN;
    for (uint32_t i = 0; total && found < 3 && i < LEDGER_HIST_BUCKETS; i++) {
        seen += since[i];
        while (found < 3 && (double)seen >= q[found] * (double)total)
            out[found++] = (double)ledger_hist_value(i);
    }
}

/* Over the last second or so. */
static void take_latency(struct scale *s, struct scale_set *set, bool is_fine, bool is_busy)
{
    uint64_t all[LEDGER_HIST_BUCKETS];
    if (set->latency ? !is_fine : !is_busy)
        return;
    memset(all, 0, sizeof all);
    for (size_t i = 0; i < set->cluster_count; i++)
        if (set->clusters[i].slot != LEDGER_NO_SLOT)
            s->ops->latency(s->ctx, set->clusters[i].slot, all);
    if (!set->latency)
        set->latency = must(malloc(sizeof all));
    else
        find_quantiles(all, set->latency, set->latency_p);
    memcpy(set->latency, all, sizeof all);
    if (is_busy || set->latency_p[0] == set->latency_p[0])
        return;
    free(set->latency); /* nothing was completed, and nothing is being served */
    set->latency = NULL;
}

/* ---- members ---- */

/* Kept until something changes: asking costs as much as the set has members. Room is asked for each time:
 * time makes some, and so do other sets in the same places. */
void scale_refresh_facts(struct scale *s, struct scale_set *set, uint64_t now)
{
    struct member_facts *f = &set->facts;
    if (set->has_facts && set->set->changes == set->facts_changes) {
        f->capacity = members_room(set->set, now, set->partitions, f->partition_count);
        return;
    }
    members_facts(s->members, set->set, f);
    set->has_facts = true;
    set->facts_changes = set->set->changes;
    set->facts_ns = now;
    for (uint32_t i = 0; i < f->starting_age_count; i++)
        set->created_ns[i] = now - f->starting_ages_ns[i];
    const uint32_t n = f->partition_count < SCALE_PARTITIONS_MAX ? f->partition_count : SCALE_PARTITIONS_MAX;
    set->partitions = must(realloc(set->partitions, (n + 1) * sizeof *set->partitions));
    memcpy(set->partitions, f->partitions, n * sizeof *set->partitions);
    f->partitions = set->partitions;
    f->partition_count = n;
}

static uint64_t grown(uint64_t age, uint64_t by)
{
    return age ? age + by : 0;
}

static void put_partitions(const struct scale_set *set, uint64_t now, struct scale_room *room,
                           struct cox_sample *out)
{
    const uint64_t later = now - set->facts_ns;
    for (uint32_t i = 0; i < set->facts.partition_count; i++) {
        const struct partition_facts *p = &set->partitions[i];
        (void)snprintf(room->names[i], sizeof room->names[i], "%s", p->partition);
        room->partitions[i] =
            (struct cox_partition_count){.size = sizeof room->partitions[i],
                                         .ready = p->ready,
                                         .starting = p->starting,
                                         .draining = p->draining,
                                         .capacity = p->capacity,
                                         .oldest_starting_ns = grown(p->oldest_starting_ns, later),
                                         .partition = room->names[i]};
    }
    out->partitions =
        (struct cox_array){room->partitions, set->facts.partition_count, sizeof room->partitions[0]};
}

static void put_members(struct scale_set *set, uint64_t now, struct scale_room *room, struct cox_sample *out)
{
    const struct member_facts *f = &set->facts;
    out->ready = f->ready;
    out->starting = f->starting;
    out->draining = f->draining;
    out->start_p50_ns = f->start_p50_ns;
    out->start_p90_ns = f->start_p90_ns;
    out->slots_per_member = f->slots_per_member;
    out->oldest_starting_ns = grown(f->oldest_starting_ns, now - set->facts_ns);
    out->totals.ready_ns = set->ready_carry_ns + f->ready_ns + f->ready * (now - set->facts_ns);
    for (uint32_t i = 0; i < f->starting_age_count; i++)
        room->ages[i] = now - set->created_ns[i];
    out->starting_ages_ns = (struct cox_array){room->ages, f->starting_age_count, sizeof room->ages[0]};
    /* One nameless place that is everywhere says nothing beyond the counts. */
    if (f->partition_count > 1 || (f->partition_count == 1 && *set->partitions[0].partition))
        put_partitions(set, now, room, out);
}

/* ---- the sample ---- */

static void put_totals(const struct scale_set *set, struct cox_totals *t)
{
    const uint64_t *w = set->totals;
    t->size = sizeof *t;
    t->epoch = set->epoch;
    t->held_ns = w[WORD_HELD_NS];
    t->serving_ns = w[WORD_SERVING_NS];
    t->finishing_ns = w[WORD_FINISHING_NS];
    t->tunnels_ns = w[WORD_TUNNELS_NS];
    t->arrivals = w[WORD_ARRIVALS];
    t->completed = w[WORD_COMPLETED];
    t->failed = w[WORD_FAILED];
    t->rejected = w[WORD_REJECTED];
    t->abandoned = w[WORD_ABANDONED];
    t->service_count = w[WORD_SERVICE_COUNT];
    t->service_sum_ns = w[WORD_SERVICE_SUM];
    t->service_square_us2 = w[WORD_SERVICE_SQUARE];
    t->waited_count = w[WORD_WAITED];
    t->service_buckets = (struct cox_array){w + WORD_SERVICE, LEDGER_SERVICE_BUCKETS, sizeof w[0]};
}

static uint64_t since(const struct scale_set *set, enum scale_word word)
{
    return set->before_ns ? set->totals[word] - set->before[word] : 0;
}

static double mean(const struct scale_set *set, enum scale_word word, uint64_t window_ns, uint64_t now_count)
{
    return window_ns ? (double)since(set, word) / (double)window_ns : (double)now_count;
}

static void put_window(struct scale_set *set, uint64_t now, const uint64_t counts[LEDGER_COUNTS],
                       struct cox_sample *out)
{
    const uint64_t window = set->before_ns ? now - set->before_ns : 0;
    out->window_ns = window;
    out->held_now = counts[LEDGER_HELD];
    out->serving_now = counts[LEDGER_SERVING];
    out->finishing_now = counts[LEDGER_FINISHING];
    out->tunnels_now = counts[LEDGER_TUNNEL];
    out->held_mean = mean(set, WORD_HELD_NS, window, out->held_now);
    out->serving_mean = mean(set, WORD_SERVING_NS, window, out->serving_now);
    out->finishing_mean = mean(set, WORD_FINISHING_NS, window, out->finishing_now);
    out->tunnels_mean = mean(set, WORD_TUNNELS_NS, window, out->tunnels_now);
    out->arrivals = since(set, WORD_ARRIVALS);
    out->completed = since(set, WORD_COMPLETED);
    out->failed = since(set, WORD_FAILED);
    out->rejected = since(set, WORD_REJECTED);
    out->abandoned = since(set, WORD_ABANDONED);
    const uint64_t served = since(set, WORD_SERVICE_COUNT);
    out->service_mean_ns = served ? (double)since(set, WORD_SERVICE_SUM) / (double)served : (double)NAN;
    out->latency_p50_ns = set->latency_p[0];
    out->latency_p90_ns = set->latency_p[1];
    out->latency_p99_ns = set->latency_p[2];
}

/* The oldest that is held now came after nobody was held: a bound, and exact for those who wait together. */
static void put_ages(struct scale_set *set, uint64_t now, struct cox_sample *out)
{
    const uint64_t in_flight = out->held_now + out->serving_now + out->finishing_now + out->tunnels_now;
    const uint64_t before = set->idle_since_ns;
    if (in_flight || out->arrivals)
        set->idle_since_ns = 0;
    else if (!set->idle_since_ns)
        set->idle_since_ns = now;
    set->is_changed |= set->idle_since_ns != before;
    out->idle_ns = set->idle_since_ns ? now - set->idle_since_ns + 1 : 0; /* 0 says that something is */
    if (!out->held_now)
        set->held_since_ns = 0;
    else if (!set->held_since_ns)
        set->held_since_ns = now - since(set, WORD_HELD_NS) / out->held_now;
    out->oldest_held_ns = set->held_since_ns ? now - set->held_since_ns : 0;
}

static int32_t utc_offset(uint64_t wall_ns)
{
    const time_t t = (time_t)(wall_ns / NS_PER_S);
    struct tm local;
    return localtime_r(&t, &local) ? (int32_t)local.tm_gmtoff : 0;
}

void scale_gather(struct scale *s, struct scale_set *set, uint64_t now, struct scale_room *room,
                  struct cox_sample *out)
{
    uint64_t counts[LEDGER_COUNTS] = {0};
    const uint64_t wall = s->ops->wall_ns(s->ctx);
    scale_refresh_facts(s, set, now);
    const bool is_fine = is_fine_due(s, set, now);
    const bool is_whole = add_clusters(s, set, now, is_fine, counts);
    const uint32_t fresh = s->sources.fresh;
    *out = (struct cox_sample){.size = sizeof *out,
                               .set = set->set->id,
                               .now_ns = now,
                               .wall_ns = wall,
                               .wanted = set->wanted,
                               .current = set->count,
                               .min = set->set->min,
                               .max = set->set->max,
                               .sources_expected = s->sources.expected,
                               .sources_fresh = is_whole ? fresh
                                                : fresh  ? fresh - 1
                                                         : 0,
                               .oldest_source_ns = s->sources.oldest_ns,
                               .math = &scale_math,
                               .interval_ns = SCALE_TICK_MS * NS_PER_MS,
                               .objective_wait_ns = set->scaling && set->scaling->objective_ms
                                                        ? (double)(set->scaling->objective_ms * NS_PER_MS)
                                                        : (double)NAN};
    if (set->schedule_minute != wall / (60 * NS_PER_S)) { /* clocks of people change by the minute */
        set->schedule_minute = wall / (60 * NS_PER_S);
        set->schedule_floor = scale_schedule_floor(set->scaling, wall);
        s->utc_offset_s = utc_offset(wall);
    }
    out->utc_offset_s = s->utc_offset_s;
    out->floor = scale_floor(set, &out->floor_origin);
    out->options = set->policy ? &set->policy->values.options : NULL;
    put_totals(set, &out->totals);
    put_members(set, now, room, out);
    if (!set->samples && !(is_whole && has_slots(set)))
        set->idle_since_ns = 0; /* recovered, but nobody knows whether it was idle since */
    take_latency(s, set, is_fine, counts[LEDGER_SERVING] || since(set, WORD_ARRIVALS));
    put_window(set, now, counts, out);
    put_ages(set, now, out);
    out->factors = (struct cox_array){
        room->factors, list_is_empty(&set->reports) ? 0 : scale_factors(s, set, now, room->factors),
        sizeof room->factors[0]};
    out->flags = (set->before_ns ? 0u : (uint32_t)COX_SAMPLE_FIRST) |
                 (set->early == SCALE_WAKE ? (uint32_t)COX_SAMPLE_WAKE : 0u) |
                 (set->early == SCALE_SATURATED ? (uint32_t)COX_SAMPLE_SATURATED : 0u);
}

void scale_advance(struct scale_set *set, const struct cox_sample *sample)
{
    memcpy(set->before, set->totals, sizeof set->before);
    set->before_ns = sample->now_ns;
}
