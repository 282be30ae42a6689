/* The ties between the scaling loop and ledgers, model, plugins and whoever watches. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "orch/orch.h"
#include "topo/cluster.h"

static struct orch *orch_of(void *ctx)
{
    struct orch *o = ctx;
    CHECK_MAGIC(o, ORCH_MAGIC);
    return o;
}

static uint64_t now_ns(void *ctx)
{
    (void)ctx;
    return clock_now_ns();
}

static uint64_t wall_ns(void *ctx)
{
    (void)ctx;
    return clock_wall_ns();
}

static uint32_t slot_of(void *ctx, struct str cluster)
{
    const struct topology *t = model_current(orch_of(ctx)->model);
    const struct cluster *c = t ? topology_cluster(t, cluster) : NULL;
    return c ? c->slot : LEDGER_NO_SLOT;
}

/* ---- sums ---- */

struct summing {
    struct orch *orch;
    uint32_t slot;
    uint64_t now_ns, arrivals;
    enum ledger_part part;
    struct ledger_cluster_sum *sum;
    uint64_t *buckets;
    uint32_t expected, fresh;
    uint64_t oldest_ns;
};

/* A generation that ended is in the totals, though its segment may be here for a moment longer. */
static bool is_in_past(const struct orch *o, uint64_t generation)
{
    return o->has_past && ledger_past_has(&o->past, generation);
}

static void add_sum(void *ctx, uint64_t generation, uint64_t acknowledged, const struct ledger *ledger)
{
    struct summing *s = ctx;
    (void)acknowledged;
    s->expected++;
    s->fresh += ledger != NULL;
    if (ledger && !is_in_past(s->orch, generation))
        ledger_sum_cluster_part(ledger, s->slot, true, s->now_ns, s->part, s->sum);
}

static uint64_t past_turn(const struct orch *o)
{
    return o->has_past ? ledger_past_turn(&o->past) : 0;
}

static bool sum(void *ctx, uint32_t slot, uint64_t now, enum ledger_part part, struct ledger_cluster_sum *out)
{
    struct orch *o = orch_of(ctx);
    struct summing s = {.orch = o, .slot = slot, .now_ns = now, .part = part, .sum = out};
    uint64_t turn;
    do { /* again when a generation was moved from the living to the totals meanwhile */
        turn = past_turn(o);
        memset(out, 0, ledger_part_bytes(part));
        s.expected = s.fresh = 0;
        if (o->has_past && turn)
            ledger_past_cluster_part(&o->past, slot, part, out);
        proxies_each(o->proxies, add_sum, &s);
    } while (past_turn(o) != turn);
    return s.expected == s.fresh;
}

static void add_latency(void *ctx, uint64_t generation, uint64_t acknowledged, const struct ledger *ledger)
{
    struct summing *s = ctx;
    (void)acknowledged;
    if (ledger && !is_in_past(s->orch, generation))
        ledger_sum_hist(ledger, s->slot, s->buckets);
}

static void latency(void *ctx, uint32_t slot, uint64_t buckets[LEDGER_HIST_BUCKETS])
{
    struct orch *o = orch_of(ctx);
    struct summing s = {.orch = o, .slot = slot, .buckets = buckets};
    if (past_turn(o))
        ledger_past_hist(&o->past, slot, buckets);
    proxies_each(o->proxies, add_latency, &s);
}

static void add_arrivals(void *ctx, uint64_t generation, uint64_t acknowledged, const struct ledger *ledger)
{
    struct summing *s = ctx;
    (void)generation;
    (void)acknowledged;
    if (ledger)
        s->arrivals += ledger_cluster_arrivals(ledger, s->slot);
}

static uint64_t arrivals(void *ctx, uint32_t slot)
{
    struct summing s = {.slot = slot};
    proxies_each(((struct orch *)ctx)->proxies, add_arrivals, &s);
    return s.arrivals;
}

static void count_source(void *ctx, uint64_t generation, uint64_t acknowledged, const struct ledger *ledger)
{
    struct summing *s = ctx;
    (void)generation;
    (void)acknowledged;
    s->expected++;
    s->fresh += ledger != NULL;
    for (uint32_t i = 0; ledger && i < ledger->header->workers; i++) {
        const uint64_t beat = ledger_get(&ledger_row(ledger, i)->heartbeat_ns);
        if (beat && s->now_ns > beat && s->now_ns - beat > s->oldest_ns)
            s->oldest_ns = s->now_ns - beat;
    }
}

static void sources(void *ctx, struct scale_sources *out)
{
    struct summing s = {.now_ns = clock_now_ns()};
    proxies_each(orch_of(ctx)->proxies, count_source, &s);
    *out = (struct scale_sources){.expected = s.expected, .fresh = s.fresh, .oldest_ns = s.oldest_ns};
}

static uint64_t served(void *ctx, const struct member *m)
{
    struct orch *o = orch_of(ctx);
    const struct topology *t = model_current(o->model);
    uint64_t n = 0;
    for (size_t i = 0; t && i < m->set->port_count; i++) {
        const struct cluster *c = topology_cluster(t, str_of(m->set->ports[i].cluster));
        const struct endpoint *e = c ? cluster_endpoint(c, str_of(m->id)) : NULL;
        struct ledger_endpoint_sum sum_of_it;
        if (!e)
            continue;
        (void)proxies_endpoint(o->proxies, e->slot, &sum_of_it); /* what can be read counts */
        n += sum_of_it.requests;
    }
    return n;
}

/* ---- around a decision ---- */

static void enter(void *ctx, const char *plugin)
{
    stall_enter(orch_of(ctx)->host.stall, plugin, clock_now_ns());
}

static void leave(void *ctx, const char *plugin)
{
    (void)plugin;
    stall_leave(orch_of(ctx)->host.stall);
}

static void changed(void *ctx, const struct scale_change *change)
{
    struct orch *o = orch_of(ctx);
    observers_on_scale(o, change);
    if (o->admin && o->role->admin->scaled)
        o->role->admin->scaled(o->admin, change);
}

static const struct scale_ops scale_ops = {.now_ns = now_ns,
                                           .wall_ns = wall_ns,
                                           .slot = slot_of,
                                           .arrivals = arrivals,
                                           .sum = sum,
                                           .latency = latency,
                                           .sources = sources,
                                           .served = served,
                                           .enter = enter,
                                           .leave = leave,
                                           .changed = changed};

/* ---- life ---- */

/* Never later than it is armed already: many wakes would else put the tick off for ever. */
static void arm(struct orch *o, uint64_t after_ms)
{
    const uint64_t at_ns = clock_now_ns() + after_ms * NS_PER_MS;
    if (timer_is_armed(&o->scale_timer) && o->scale_at_ns <= at_ns)
        return;
    o->scale_at_ns = at_ns;
    timer_arm(&o->scale_timer, after_ms);
}

static void on_timer(void *ctx)
{
    struct orch *o = orch_of(ctx);
    const uint64_t again_ms = scale_tick(o->scale);
    if (again_ms)
        arm(o, again_ms);
}

static void on_wake(void *ctx, const struct wake *w)
{
    struct orch *o = orch_of(ctx);
    const bool is_due = scale_wake(o->scale, w->cluster, w->kind == WAKE_SATURATED, w->request);
    arm(o, is_due ? 0 : SCALE_WAKE_MS);
}

/* The ledgers' counts go on as long as this machine has not started anew and this very master lives; an
 * upgrade leaves both as they are. */
static void incarnation(char *out, size_t bytes)
{
    char boot[64] = "", stat[1024] = "", path[64];
    unsigned long long started = 0;
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f && !fgets(boot, 37, f))
        boot[0] = 0;
    if (f)
        fclose(f);
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)getppid());
    f = fopen(path, "re");
    if (f && !fgets(stat, sizeof stat, f))
        stat[0] = 0;
    if (f)
        fclose(f);
    const char *after = strrchr(stat, ')'); /* the name before it may hold anything */
    if (after)
        (void)sscanf(after + 1,
                     " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                     &started);
    (void)snprintf(out, bytes, "%s %ld %llu", boot, (long)getppid(), started);
}

bool orch_scale_start(struct orch *o, struct buf *errors)
{
    char text[160];
    incarnation(text, sizeof text);
    const struct scale_args args = {.settings = o->settings,
                                    .members = &o->members,
                                    .ops = &scale_ops,
                                    .ctx = o,
                                    .plugin_dir = loader_dir(o->settings->plugin_dir),
                                    .incarnation = text,
                                    .left_out = o->role->left_out,
                                    .left_out_count = o->role->left_out_count};
    o->has_past = o->role->past_fd >= 0 && ledger_past_open(&o->past, o->role->past_fd, false);
    o->scale = scale_create(&args, errors);
    if (!o->scale)
        return false;
    timer_init(&o->scale_timer, &o->loop, on_timer, o);
    o->on_wake.fn = on_wake;
    o->on_wake.ctx = o;
    arm(o, 0);
    return true;
}

void orch_scale_stop(struct orch *o)
{
    o->on_wake.fn = NULL;
    if (o->scale)
        timer_stop(&o->scale_timer);
    scale_destroy(&o->scale);
    if (o->has_past)
        ledger_past_close(&o->past);
    o->has_past = false;
}

void orch_scale_touch(struct orch *o)
{
    if (o->scale)
        arm(o, 0);
}
