#include "orch/scale.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/scale_log.h"
#include "orch/scale_priv.h"

/* ---- sets ---- */

/* Nothing about it ever changes by itself: it has what min says. */
static bool is_static(const struct scale_set *set)
{
    const bool is_scheduled = set->scaling && set->scaling->schedules.count;
    const bool may_sleep = set->set->min == 0 && set->set->max > 0 && set->set->cartridge;
    return !set->policy && !set->is_left_out && !is_scheduled && !may_sleep && !set->has_hand;
}

static struct scaler *find_policy(struct scale *s, const char *name)
{
    if (s->only)
        return s->only;
    for (size_t i = 0; name && i < s->policy_count; i++)
        if (strcmp(s->policies[i].name, name) == 0)
            return &s->policies[i];
    return NULL;
}

static void add_clusters(struct scale_set *set)
{
    const size_t count = set->set->port_count;
    set->clusters = must(calloc(count + 1, sizeof *set->clusters));
    for (size_t i = 0; i < count; i++)
        set->clusters[i] = (struct scale_cluster){.id = set->set->ports[i].cluster, .slot = LEDGER_NO_SLOT};
    set->cluster_count = count;
}

static void add_set(struct scale *s, struct member_set *set, uint64_t now)
{
    struct scale_set *e = &s->sets[s->set_count++];
    *e = (struct scale_set){.set = set,
                            .scaling = set->scaling,
                            .policy = find_policy(s, set->scaling ? set->scaling->policy : NULL),
                            .epoch = ++s->epochs,
                            .wanted = NAN,
                            .latency_p = {NAN, NAN, NAN},
                            .schedule_minute = UINT64_MAX,
                            .first_ns = now};
    /* Records that nothing changed are written in turns. */
    e->logged_ns = now - SCALE_LOG_MS * NS_PER_MS +
                   (s->set_count - 1) % SCALE_TURNS * (SCALE_LOG_MS * NS_PER_MS / SCALE_TURNS);
    list_init(&e->reports);
    add_clusters(e);
    set->scale = e;
    e->is_left_out = e->policy && !e->policy->ops;
    if (e->is_left_out)
        e->policy = NULL;
    if (e->policy) {
        e->state = must(calloc(1, e->policy->state_bytes + 1));
        e->policy->ops->init_state(&e->policy->values.options, e->state);
    }
}

static void add_sets(struct scale *s)
{
    const uint64_t now = s->ops->now_ns(s->ctx);
    size_t count = 0, clusters = 0;
    for (struct list *n = s->members->sets.next; n != &s->members->sets; n = n->next)
        count++;
    s->sets = must(calloc(count + 1, sizeof *s->sets));
    for (struct list *n = s->members->sets.next; n != &s->members->sets; n = n->next)
        add_set(s, CONTAINER_OF(n, struct member_set, node), now);
    for (size_t i = 0; i < s->set_count; i++)
        clusters += s->sets[i].cluster_count;
    s->watches = must(calloc(clusters + 1, sizeof *s->watches));
    for (size_t i = 0; i < s->set_count; i++)
        for (size_t k = 0; k < s->sets[i].cluster_count; k++)
            s->watches[s->watch_count++] = (struct scale_watch){.slot = LEDGER_NO_SLOT, .set = (uint32_t)i};
}

/* It may be of a config that allowed more. */
static void mind_max(struct scale *s, struct scale_set *set)
{
    const uint32_t max = set->set->max;
    if (set->has_hand && set->hand > max) {
        log_warn("set %s: it was set by hand to %u, and max is %u now", set->set->id, set->hand, max);
        set->hand = max;
        set->is_changed = true;
        s->is_unsaved = s->are_hands_unsaved = true;
    }
    if (set->count > max)
        set->count = max;
}

/* What is known of the count before the first sample: what was decided before the restart, or what the config
 * says where nobody else decides. */
static void begin_counts(struct scale *s)
{
    for (size_t i = 0; i < s->set_count; i++) {
        struct scale_set *e = &s->sets[i];
        mind_max(s, e);
        if (is_static(e)) {
            e->count = e->set->min;
            e->due_ns = UINT64_MAX;
            continue;
        }
        e->set->waits_for_want = true;
        if (e->has_hand)
            e->count = e->hand;
        if (e->has_count || e->has_hand) {
            e->has_count = true;
            members_want(s->members, e->set, e->count, e->why);
        }
    }
}

/* ---- birth and end ---- */

static bool is_left_out(const struct scale_args *args, const char *plugin)
{
    for (size_t i = 0; i < args->left_out_count; i++)
        if (strcmp(args->left_out[i], plugin) == 0)
            return true;
    return false;
}

static bool open_policies(struct scale *s, const struct scale_args *args, struct buf *errors)
{
    const struct settings *settings = args->settings;
    bool all = true;
    s->policies = must(calloc(settings->policies.count + 1, sizeof *s->policies));
    for (size_t i = 0; i < settings->policies.count; i++) {
        struct scaler *p = &s->policies[s->policy_count++];
        const struct plugin_settings *one = SETTINGS_AT(settings->policies, struct plugin_settings, i);
        if (is_left_out(args, one->plugin)) {
            *p = (struct scaler){.name = one->name, .plugin = one->plugin, .source = one->plugin};
            log_error("autoscaling policy \"%s\" is left out: its plugin has stalled too often; sets stay as "
                      "they are",
                      one->name);
        } else {
            all &= scaler_open(p, settings, one, args->plugin_dir, errors);
        }
    }
    return all;
}

struct scale *scale_create(const struct scale_args *args, struct buf *errors)
{
    return scale_create_with(args, NULL, errors);
}

struct scale *scale_create_with(const struct scale_args *args, struct scaler *only, struct buf *errors)
{
    struct scale *s = must(calloc(1, sizeof *s));
    const char *dir = args->settings->state_dir;
    *s = (struct scale){.settings = args->settings,
                        .members = args->members,
                        .ops = args->ops,
                        .ctx = args->ctx,
                        .only = only,
                        .saving = {.fd = -1},
                        .incarnation = must(str_dup(str_of(args->incarnation ? args->incarnation : ""))),
                        .dir = dir && *dir ? must(str_dup(str_of(dir))) : NULL,
                        .begun_ns = args->ops->now_ns(args->ctx),
                        .saved_ns = args->ops->now_ns(args->ctx),
                        .calm = {.bytes = SCALE_CALM_BURST, .at_ns = args->ops->now_ns(args->ctx)}};
    if (!open_policies(s, args, errors)) {
        scale_destroy(&s);
        return NULL;
    }
    add_sets(s);
    scale_index(s);
    scale_know_metrics(s);
    s->log = scale_log_open(s->dir);
    scale_restore(s);
    begin_counts(s);
    scale_published(s);
    return s;
}

static void set_fini(struct scale_set *set)
{
    free(set->clusters);
    free(set->state);
    free(set->latency);
    free(set->partitions);
    scale_forget_reports(set);
    set->set->scale = NULL;
}

void scale_destroy(struct scale **sp)
{
    struct scale *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    if (s->is_unsaved || s->saving.fd >= 0)
        scale_save(s, s->ops->now_ns(s->ctx));
    scale_save_stop(s);
    for (size_t i = 0; i < s->set_count; i++)
        set_fini(&s->sets[i]);
    for (size_t i = 0; i < s->policy_count; i++)
        scaler_close(&s->policies[i]);
    for (size_t i = 0; i < s->metric_count; i++)
        free(s->metrics[i]);
    scale_log_close(&s->log);
    free(s->sets);
    free(s->policies);
    free(s->watches);
    free(s->index);
    free(s->incarnation);
    free(s->dir);
    free(s);
}

/* ---- time ---- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When a set is sampled again. One that is idle and has been for a while is looked at seldom: what wakes it
 * comes by itself. */
static uint64_t next_sample(const struct scale_set *set, const struct cox_sample *sample)
{
    const uint64_t now = sample->now_ns;
    const bool moves =
        set->facts.starting || set->facts.draining || set->chain.is_open || !set->facts.is_listed;
    const uint64_t calm = sample->idle_ns;
    /* What has become static is that only once it has the count that it is to keep. */
    if (is_static(set) && (set->count <= sample->floor || !set->why_not))
        return UINT64_MAX;
    if (!calm || moves || now - set->changed_ns < SCALE_CALM_MS * NS_PER_MS ||
        calm < SCALE_CALM_MS * NS_PER_MS)
        return now + SCALE_TICK_MS * NS_PER_MS;
    const bool is_low = set->count <= sample->floor || (set->count <= 1 && set->set->min == 0);
    uint64_t next = now + (is_low ? SCALE_STILL_MS : SCALE_QUIET_MS) * NS_PER_MS;
    if (set->scaling && set->count && set->scaling->zero_after_ms * NS_PER_MS > calm)
        next = earlier(next, now + set->scaling->zero_after_ms * NS_PER_MS - calm);
    if (set->scaling && set->scaling->schedules.count)
        next = earlier(next, now + 60 * NS_PER_S - sample->wall_ns % (60 * NS_PER_S));
    if (set->has_hand && set->hand_until_wall_ns)
        next = earlier(next, now + SCALE_QUIET_MS * NS_PER_MS);
    return next;
}

/* What a set begins with that nobody knows anything about: what lives. */
static bool has_begun(struct scale *s, struct scale_set *set, uint64_t now)
{
    scale_refresh_facts(s, set, now);
    if (set->has_count)
        return true;
    if (!set->facts.is_listed) {
        set->due_ns = now + SCALE_TICK_MS * NS_PER_MS;
        return false;
    }
    const uint32_t lives = set->facts.ready + set->facts.starting;
    set->count = lives > set->set->min ? lives : set->set->min;
    if (set->count > set->set->max)
        set->count = set->set->max;
    return true;
}

/* What was counted while nobody looked belongs to the whole of that time: a recovered set is first sampled
 * when all of it can be read, or was not for a while. */
static bool has_counts(struct scale *s, const struct scale_set *set, uint64_t now)
{
    if (set->sampled_ns || !set->before_ns || now - s->begun_ns >= SCALE_RETURN_MS * NS_PER_MS)
        return true;
    return s->has_slots && s->sources.expected && s->sources.fresh == s->sources.expected;
}

static bool must_not_shrink(const struct scale_set *set, const struct cox_sample *sample)
{
    const uint64_t window = set->policy ? set->policy->window_ns : 0;
    return !set->facts.is_listed || sample->sources_fresh < sample->sources_expected ||
           !sample->sources_expected || (set->first_ns && sample->now_ns - set->first_ns < window);
}

static void end_hand(struct scale *s, struct scale_set *set)
{
    if (!set->has_hand || !set->hand_until_wall_ns || s->ops->wall_ns(s->ctx) < set->hand_until_wall_ns)
        return;
    set->has_hand = false;
    set->is_changed = true;
    s->are_hands_unsaved = true;
    log_info("set %s: the time of the count set by hand is over", set->set->id);
}

static void step(struct scale *s, struct scale_set *set, uint64_t now)
{
    struct scale_room room;
    struct cox_sample sample;
    end_hand(s, set);
    if (!has_begun(s, set, now))
        return;
    if (!has_counts(s, set, now)) {
        set->due_ns = now + SCALE_TICK_MS * NS_PER_MS;
        return;
    }
    scale_gather(s, set, now, &room, &sample);
    if (must_not_shrink(set, &sample))
        sample.flags |= COX_SAMPLE_NO_SHRINK;
    set->why_not = scale_may_not_shrink(set, &sample);
    scale_decide(s, set, &sample);
    scale_advance(set, &sample);
    if (set->chain.is_open)
        scale_chain_step(s, set);
    set->samples++;
    set->sampled_ns = now;
    set->early = SCALE_IN_TIME;
    set->origin[0] = 0;
    set->due_ns = next_sample(set, &sample);
    s->is_unsaved |= set->is_changed;
}

uint64_t scale_tick(struct scale *s)
{
    bool any = false;
    if (!s->set_count)
        return 0;
    const uint64_t now = s->ops->now_ns(s->ctx);
    scale_decide_begin(s, now);
    s->ops->sources(s->ctx, &s->sources);
    for (size_t i = 0; i < s->watch_count; i++) {
        struct scale_watch *w = &s->watches[i];
        struct scale_set *set = &s->sets[w->set];
        if (w->slot == LEDGER_NO_SLOT || set->due_ns <= now || set->due_ns == UINT64_MAX)
            continue;
        const uint64_t arrivals = s->ops->arrivals(s->ctx, w->slot);
        if (arrivals != w->arrivals && now - set->sampled_ns >= SCALE_WAKE_MS * NS_PER_MS)
            set->due_ns = now;
        w->arrivals = arrivals;
    }
    for (size_t i = 0; i < s->set_count; i++) {
        struct scale_set *set = &s->sets[i];
        any |= set->due_ns != UINT64_MAX;
        if (set->due_ns <= now)
            step(s, set, s->ops->now_ns(s->ctx));
    }
    if (s->are_hands_unsaved)
        scale_save_hands(s);
    scale_save_some(s, now);
    return any ? SCALE_TICK_MS : 0;
}

/* So many times a second at most. One that sleeps does not wait because it was looked at by the clock just
 * before its first request came. */
static uint64_t wake_due(const struct scale_set *set, bool is_saturated, uint64_t now)
{
    const bool sleeps = !is_saturated && !set->count && now >= set->sampled_ns + NS_PER_MS;
    const uint64_t last = sleeps ? set->woken_ns : set->sampled_ns;
    return last ? last + SCALE_WAKE_MS * NS_PER_MS : now;
}

bool scale_wake(struct scale *s, struct str cluster, bool is_saturated, struct str origin)
{
    struct scale_set *set = scale_find_id(s, cluster);
    const uint64_t now = s->ops->now_ns(s->ctx);
    if (!set || is_static(set))
        return false;
    set->early = is_saturated ? SCALE_SATURATED : SCALE_WAKE;
    (void)snprintf(set->origin, sizeof set->origin, "%.*s",
                   (int)(origin.n < sizeof set->origin ? origin.n : 0), origin.n ? origin.p : "");
    if (!is_saturated)
        scale_chain_wake(s, set, origin);
    const uint64_t next = wake_due(set, is_saturated, now);
    set->due_ns = next > now ? next : now;
    if (set->due_ns > now)
        return false;
    set->woken_ns = now;
    return true;
}

void scale_member_changed(struct scale *s, const struct member *m)
{
    struct scale_set *set = m->set->scale;
    if (set && set->chain.is_open)
        scale_chain_step(s, set); /* tickets are short-lived */
    if (set && !scale_heeds_reports(m))
        scale_drop_reports(s, set, m->id);
    if (set && !is_static(set))
        set->due_ns = earlier(set->due_ns, s->ops->now_ns(s->ctx) + SCALE_WAKE_MS * NS_PER_MS);
}
