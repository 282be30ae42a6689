/* engine_exact: request by request. Each has its arrival, waits in one line, gets any free slot of a ready
 * member, and takes its drawn service time. Ticks come every tick_s, and one more as soon as somebody begins
 * to wait. */
#include <stdlib.h>
#include <string.h>

#include "base/panic.h"
#include "run.h"

struct service {
    double ends_work, began_s, arrived_s; /* it ends when the clock of work says so */
    uint32_t member;
};

struct member {
    uint32_t busy;
    bool is_ready;
    double left_s; /* draining since; members are never used again */
};

struct exact {
    struct run *r;
    struct service *heap; /* owned: the one that ends first is on top */
    size_t heap_count, heap_cap;
    double *line; /* owned: arrival times of those that wait, a ring */
    size_t line_head, line_cap;
    struct member *members; /* owned */
    uint32_t *ready;        /* owned: indexes of the ready ones, oldest first */
    uint32_t member_count, member_cap, ready_count;
    uint64_t free_slots;
    double work_s, pace; /* the clock of work, and how fast it runs now: 1 unless members are slower or share
                          * something that is short */
    uint64_t buckets[COX_SERVICE_BUCKETS]; /* of services, to be shown */
    double slowness;                       /* of this tick */
    double tick_arrivals[2]; /* of the running tick: how many are to come, and when the last one came */
};

/* ---- services ---- */

static void heap_push(struct exact *x, struct service v)
{
    if (x->heap_count == x->heap_cap) {
        x->heap_cap = x->heap_cap ? x->heap_cap * 2 : 1024;
        x->heap = must(realloc(x->heap, x->heap_cap * sizeof(*x->heap)));
    }
    size_t i = x->heap_count++;
    for (; i && x->heap[(i - 1) / 2].ends_work > v.ends_work; i = (i - 1) / 2)
        x->heap[i] = x->heap[(i - 1) / 2];
    x->heap[i] = v;
}

static struct service heap_pop(struct exact *x)
{
    const struct service top = x->heap[0], last = x->heap[--x->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= x->heap_count)
            break;
        if (child + 1 < x->heap_count && x->heap[child + 1].ends_work < x->heap[child].ends_work)
            child++;
        if (x->heap[child].ends_work >= last.ends_work)
            break;
        x->heap[i] = x->heap[child];
        i = child;
    }
    x->heap[i] = last;
    return top;
}

/* Who is served gets on at the same pace: slower when members are, and when all of them together would do
 * more than what they share allows. */
static void set_pace(struct exact *x)
{
    const struct run *r = x->r;
    const double busy = (double)(r->serving + r->leaving), most = r->capped * r->config->law.mean_s;
    x->pace = busy > most * x->slowness ? most / busy : 1.0 / x->slowness;
}

static double next_end(const struct exact *x)
{
    return x->heap_count ? fmax(x->r->now_s, x->r->now_s + (x->heap[0].ends_work - x->work_s) / x->pace)
                         : INFINITY;
}

/* Brings the integrals up to `at_s`; the fleet's too. */
static void pass(struct exact *x, double at_s)
{
    struct run *r = x->r;
    const double dt = at_s - r->now_s;
    x->work_s += dt * x->pace;
    r->totals.held_s += dt * (double)r->held;
    r->totals.serving_s += dt * (double)(r->serving + r->leaving);
    r->now_s = at_s;
}

static double draw_service(struct exact *x)
{
    struct run *r = x->r;
    const double cv = r->config->service_cv;
    return r->config->law.mean_s *
           (cv > 0.0 ? random_lognormal(&r->service, cv) : random_exponential(&r->service));
}

/* There is a free slot: a few draws find it, else the first from a random place on. */
static uint32_t free_member(struct exact *x)
{
    const uint32_t limit = x->r->config->law.slots;
    uint32_t at = 0;
    for (int tries = 0; tries < 8; tries++) {
        at = (uint32_t)(random_bits(&x->r->service) % x->ready_count);
        if (x->members[x->ready[at]].busy < limit)
            return x->ready[at];
    }
    while (x->members[x->ready[at]].busy >= limit)
        at = at + 1 == x->ready_count ? 0 : at + 1;
    return x->ready[at];
}

static void serve(struct exact *x, double arrived_s)
{
    struct run *r = x->r;
    const uint32_t m = free_member(x);
    const double wait = r->now_s - arrived_s;
    x->members[m].busy++;
    x->free_slots--;
    r->serving++;
    heap_push(x, (struct service){.ends_work = x->work_s + draw_service(x),
                                  .began_s = r->now_s,
                                  .arrived_s = arrived_s,
                                  .member = m});
    run_sent(r, arrived_s, wait, 1.0, wait > r->config->law.objective_s);
}

static void line_push(struct exact *x, double arrived_s)
{
    struct run *r = x->r;
    if (r->held == x->line_cap) {
        double *wider = must(malloc((x->line_cap ? x->line_cap * 2 : 1024) * sizeof(*wider)));
        for (size_t i = 0; i < r->held; i++)
            wider[i] = x->line[(x->line_head + i) % x->line_cap];
        free(x->line);
        x->line = wider;
        x->line_head = 0;
        x->line_cap = x->line_cap ? x->line_cap * 2 : 1024;
    }
    x->line[(x->line_head + r->held++) % x->line_cap] = arrived_s;
    r->totals.waited++;
}

static double line_pop(struct exact *x)
{
    const double arrived = x->line[x->line_head];
    x->line_head = (x->line_head + 1) % x->line_cap;
    x->r->held--;
    return arrived;
}

static void serve_line(struct exact *x)
{
    while (x->free_slots && x->r->held)
        serve(x, line_pop(x));
}

static void on_end(struct exact *x, double at_s)
{
    struct run *r = x->r;
    const struct service v = heap_pop(x);
    struct member *m = &x->members[v.member];
    const double took = at_s - v.began_s;
    uint32_t bucket = 0;
    pass(x, at_s);
    m->busy--;
    while (bucket + 1 < COX_SERVICE_BUCKETS && took * 1e9 >= cox_service_bucket_floor_ns(bucket + 1))
        bucket++;
    x->buckets[bucket]++;
    r->totals.completed++;
    r->totals.service_count++;
    r->totals.service_sum_s += took;
    r->totals.service_square_s2 += took * took;
    run_answered(r, v.arrived_s);
    if (m->is_ready) {
        r->serving--;
        x->free_slots++;
        serve_line(x);
        return;
    }
    r->leaving--;
    if (!m->busy && r->now_s >= 0.0)
        fleet_drained(&r->fleet, r->now_s - fmax(m->left_s, 0.0));
}

/* ---- members ---- */

static void add_members(struct exact *x, uint32_t n)
{
    for (; n; n--) {
        if (x->member_count == x->member_cap) {
            x->member_cap = x->member_cap ? x->member_cap * 2 : 64;
            x->members = must(realloc(x->members, x->member_cap * sizeof(*x->members)));
            x->ready = must(realloc(x->ready, x->member_cap * sizeof(*x->ready)));
        }
        x->members[x->member_count] = (struct member){.is_ready = true};
        x->ready[x->ready_count++] = x->member_count++;
        x->free_slots += x->r->config->law.slots;
    }
    serve_line(x);
}

/* The least loaded, and of equals the newest. */
static void drain_members(struct exact *x, uint32_t n)
{
    struct run *r = x->r;
    for (; n; n--) {
        uint32_t victim = x->ready_count - 1;
        for (uint32_t i = x->ready_count; i-- > 0;)
            if (x->members[x->ready[i]].busy < x->members[x->ready[victim]].busy)
                victim = i;
        struct member *m = &x->members[x->ready[victim]];
        memmove(x->ready + victim, x->ready + victim + 1, (x->ready_count - victim - 1) * sizeof(*x->ready));
        x->ready_count--;
        m->is_ready = false;
        m->left_s = r->now_s;
        r->serving -= m->busy;
        r->leaving += m->busy;
        x->free_slots -= r->config->law.slots - m->busy;
    }
}

static void fail_members(struct exact *x)
{
    struct run *r = x->r;
    const uint32_t lost = (uint32_t)(r->fleet.ready * run_failure(r) + 0.5);
    if (!lost)
        return;
    size_t kept = 0;
    for (uint32_t n = lost; n; n--) {
        struct member *m = &x->members[x->ready[--x->ready_count]];
        x->free_slots -= r->config->law.slots - m->busy;
        m->is_ready = false;
        m->left_s = INFINITY;
    }
    struct service *old = x->heap;
    const size_t count = x->heap_count;
    x->heap = NULL;
    x->heap_count = x->heap_cap = 0;
    for (; kept < count; kept++) {
        struct member *m = &x->members[old[kept].member];
        if (m->is_ready || !isinf(m->left_s)) {
            heap_push(x, old[kept]);
            continue;
        }
        m->busy--;
        r->serving--;
        r->totals.failed++;
        r->result.failed += 1.0;
        r->result.over += 1.0;
    }
    free(old);
    fleet_fail(&r->fleet, lost);
}

/* ---- time ---- */

static void decide(struct exact *x, uint32_t flags)
{
    struct run *r = x->r;
    r->oldest_held_s = r->held ? x->line[x->line_head] : 0.0;
    drain_members(x, run_tick(r, flags));
    add_members(x, fleet_advance(&r->fleet, r->now_s)); /* who needs no time to start */
}

/* Arrival times of a tick are in order: each is the next of n evenly spread ones. */
static double next_arrival(struct exact *x, double tick_ends_s)
{
    double *left = &x->tick_arrivals[0], *last = &x->tick_arrivals[1];
    if (*left < 1.0)
        return INFINITY;
    const double rest = tick_ends_s - *last;
    return *last + rest * (1.0 - pow(random_unit(&x->r->moments), 1.0 / *left));
}

static void on_arrival(struct exact *x, double at_s, bool *told)
{
    struct run *r = x->r;
    pass(x, at_s);
    x->tick_arrivals[0] -= 1.0;
    x->tick_arrivals[1] = at_s;
    r->totals.arrivals++;
    if (x->free_slots) {
        serve(x, at_s);
        return;
    }
    line_push(x, at_s);
    if (!*told && r->now_s - r->before_s >= 0.01) { /* the edge: once until the next tick */
        *told = true;
        add_members(x, fleet_advance(&r->fleet, r->now_s));
        decide(x, r->fleet.ready ? COX_SAMPLE_SATURATED : COX_SAMPLE_WAKE);
    }
}

static void one_tick(struct exact *x, double ends_s)
{
    struct run *r = x->r;
    bool told = r->held > 0;
    double arrival = next_arrival(x, ends_s);
    for (;;) {
        set_pace(x);
        const double end = next_end(x), born = fleet_next_ready(&r->fleet);
        const double next = fmin(fmin(arrival, end), fmin(born, ends_s));
        if (next == ends_s)
            break;
        if (next == born) {
            pass(x, born);
            add_members(x, fleet_advance(&r->fleet, born));
        } else if (next == end) {
            on_end(x, end);
        } else {
            on_arrival(x, arrival, &told);
            arrival = next_arrival(x, ends_s);
        }
    }
    pass(x, ends_s);
    add_members(x, fleet_advance(&r->fleet, ends_s));
}

static void give_up(struct exact *x)
{
    struct run *r = x->r;
    while (r->held && r->now_s - x->line[x->line_head] > r->config->patience_s) {
        const double arrived = line_pop(x);
        r->totals.abandoned++;
        r->result.abandoned += arrived >= 0.0;
        run_lost(r, arrived, 1.0);
    }
}

/* The tick's time in one piece, or in two around the jump of a step load. */
static double live(struct exact *x, double ends_s)
{
    struct run *r = x->r;
    const double jump = r->config->load->jump_s, from = r->now_s;
    double expected = 0.0;
    for (double at = from; at < ends_s; at = r->now_s) {
        const double upto = jump > at && jump < ends_s ? jump : ends_s;
        double part;
        x->tick_arrivals[0] = (double)run_arrivals(r, upto - at, &part);
        expected += part;
        x->tick_arrivals[1] = at;
        one_tick(x, upto);
    }
    return expected;
}

/* Who is in service when the aggregated engine hands over: of exponential law, so what is left is like a new
 * one. Who serves at draining members goes to one that is no longer there. */
static void take_over(struct exact *x)
{
    struct run *r = x->r;
    const uint64_t serving = r->serving, leaving = r->leaving, held = r->held;
    r->serving = r->leaving = r->held = 0;
    if (leaving) {
        add_members(x, 1);
        x->ready_count = 0;
        x->free_slots = 0;
        x->members[0] = (struct member){.busy = (uint32_t)leaving, .left_s = r->now_s};
    }
    add_members(x, r->fleet.ready);
    for (uint64_t i = 0; i < held + serving; i++)
        line_push(x, r->now_s);
    serve_line(x);
    r->totals.waited -= held + serving;
    for (uint64_t i = 0; i < leaving; i++)
        heap_push(x, (struct service){.ends_work = x->work_s + draw_service(x),
                                      .began_s = r->now_s,
                                      .arrived_s = r->now_s,
                                      .member = 0});
    r->leaving = leaving;
}

void engine_exact(struct run *r)
{
    struct exact x = {.r = r, .pace = 1.0, .slowness = 1.0};
    if (r->config->lead_s >= 0.0 && -r->config->lead_s > r->now_s)
        engine_sums(r, -r->config->lead_s);
    const double tick = r->config->tick_s, first = r->now_s;
    const uint64_t ticks = (uint64_t)((run_end_s(r) - first) / tick + 0.5);
    memcpy(x.buckets, r->totals.buckets, sizeof(x.buckets));
    take_over(&x);
    for (uint64_t i = 0; i < ticks; i++) {
        r->now_s = first + (double)i * tick;
        fail_members(&x);
        run_bottleneck(r, (uint64_t)r->fleet.ready * r->config->law.slots);
        x.slowness = run_slowness(r);
        decide(&x, 0);
        const double expected = live(&x, first + (double)(i + 1) * tick);
        give_up(&x);
        if (run_is_second(r)) /* no more often, as in the program */
            memcpy(r->totals.buckets, x.buckets, sizeof(x.buckets));
        run_note(r, expected);
    }
    free(x.heap);
    free(x.line);
    free(x.members);
    free(x.ready);
}
