/* scaling: what a tick of the scaling loop costs with many sets, in microseconds and as a share of a core at
 * 10 Hz.
 *
 *   bench/micro/scaling PLUGIN_DIR [sets, default 10000 [members of each, default 10 [scaler [STATE_DIR]]]]
 *
 * Real ledger cells of two workers, the real scaler scale_target; members are listed, not run. Between the
 * ticks (unmeasured) the busy sets get requests. After half a minute
 * (scale_predict counts what it would have done from then on) the best of four times eight seconds (it
 * chooses once in so many) is printed: the machine's other work can only add. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/scale_priv.h"

#define WORKERS 2
#define ROUNDS  4
#define WARM    300
#define PERIOD  80 /* ticks */

struct bench {
    struct settings *settings;
    struct model *model;
    struct members members;
    struct scale *scale;
    struct ledger ledger;
    struct ledger_writer w[WORKERS];
    uint64_t now;
    uint32_t sets;
};

/* ---- what the loop asks for ---- */

static uint64_t on_now(void *ctx)
{
    return ((struct bench *)ctx)->now;
}

static uint64_t on_wall(void *ctx)
{
    return 1785000000ull * NS_PER_S + ((struct bench *)ctx)->now;
}

static uint32_t on_slot(void *ctx, struct str cluster)
{
    const struct topology *t = model_current(((struct bench *)ctx)->model);
    const struct cluster *c = topology_cluster(t, cluster);
    return c ? c->slot : LEDGER_NO_SLOT;
}

static uint64_t on_arrivals(void *ctx, uint32_t slot)
{
    return ledger_cluster_arrivals(&((struct bench *)ctx)->ledger, slot);
}

static bool on_sum(void *ctx, uint32_t slot, uint64_t now, enum ledger_part part,
                   struct ledger_cluster_sum *out)
{
    memset(out, 0, ledger_part_bytes(part));
    ledger_sum_cluster_part(&((struct bench *)ctx)->ledger, slot, true, now, part, out);
    return true;
}

static void on_latency(void *ctx, uint32_t slot, uint64_t buckets[LEDGER_HIST_BUCKETS])
{
    ledger_sum_hist(&((struct bench *)ctx)->ledger, slot, buckets);
}

static void on_sources(void *ctx, struct scale_sources *out)
{
    (void)ctx;
    *out = (struct scale_sources){.expected = 1, .fresh = 1};
}

static uint64_t on_served(void *ctx, const struct member *m)
{
    (void)ctx, (void)m;
    return 1;
}

static const struct scale_ops scale_ops = {.now_ns = on_now,
                                           .wall_ns = on_wall,
                                           .slot = on_slot,
                                           .arrivals = on_arrivals,
                                           .sum = on_sum,
                                           .latency = on_latency,
                                           .sources = on_sources,
                                           .served = on_served};

/* ---- members that are only listed ---- */

static bool on_start(void *ctx, const struct member *m, uint64_t ticket)
{
    (void)ctx, (void)m, (void)ticket;
    return true;
}

static bool on_stop(void *ctx, const struct member *m, bool is_drained, uint64_t ticket)
{
    (void)ctx, (void)m, (void)is_drained, (void)ticket;
    return true;
}

static uint64_t on_in_flight(void *ctx, struct str cluster, struct str endpoint)
{
    (void)ctx, (void)cluster, (void)endpoint;
    return 0;
}

static bool on_acknowledged(void *ctx, uint64_t number)
{
    (void)ctx, (void)number;
    return true;
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static void on_event(void *ctx, const struct member *m, enum member_state from)
{
    (void)ctx, (void)m, (void)from;
}

static const struct members_ops members_ops = {.start = on_start,
                                               .stop = on_stop,
                                               .in_flight = on_in_flight,
                                               .is_acknowledged = on_acknowledged,
                                               .now_ns = on_now,
                                               .touched = on_nothing,
                                               .wake = on_nothing,
                                               .event = on_event};

/* ---- making ---- */

static struct settings *config(uint32_t sets, uint32_t members, const char *scaler)
{
    struct buf text, errors;
    buf_init(&text);
    buf_init(&errors);
    buf_printf(
        &text,
        "plugins = ( { name = \"process\"; } ); max_clusters = %u; max_endpoints = 1000000;\n"
        "autoscaling_policies = ( { name = \"p\"; plugin = \"%s\"; } );\n"
        "cartridges = ( { name = \"c\"; actuator = \"process\"; command = [ \"x\" ]; ports = ( { } ); } );\n"
        "applications = ( { name = \"a\"; cartridges = (\n",
        sets + 16, scaler);
    for (uint32_t i = 0; i < sets; i++)
        buf_printf(&text, "%s{alias=\"s%u\";type=\"c\";min=%u;max=%u;autoscaling_policy=\"p\";}\n",
                   i ? "," : "", i, members, members);
    buf_printf(&text, "); } );\n");
    struct settings *s = settings_load_text(text.p, text.len, &errors);
    if (!s)
        PANIC("%.*s", STR_ARG(buf_str(&errors)));
    buf_fini(&text);
    buf_fini(&errors);
    return s;
}

static void list_members(struct bench *b, uint32_t each)
{
    for (uint32_t i = 0; i < b->sets; i++)
        for (uint32_t k = 0; k < each; k++) {
            char id[64], set[64], cluster[80];
            (void)snprintf(id, sizeof id, "a-s%u-m%u", i, k);
            (void)snprintf(set, sizeof set, "a/1/1/s%u", i);
            (void)snprintf(cluster, sizeof cluster, "%s:http", set);
            const struct cox_member_change change = {
                .size = sizeof change, .phase = COX_PHASE_RUNNING, .member = id, .set = set};
            members_on_change(&b->members, "process", &change);
            members_on_probe(&b->members, str_of(cluster), str_of(id), true);
        }
    members_on_listed(&b->members, "process");
}

static struct bench *make(const char *plugins, uint32_t sets, uint32_t members, const char *scaler,
                          const char *dir)
{
    struct bench *b = must(calloc(1, sizeof *b));
    struct buf errors;
    buf_init(&errors);
    b->now = 1000 * NS_PER_S;
    b->sets = sets;
    b->settings = config(sets, members, scaler);
    b->settings->state_dir = dir ? must(str_dup(str_of(dir))) : NULL;
    b->model = model_create(1, sets + 16, 1000000);
    model_load_settings(b->model, b->settings);
    struct topology *t = model_publish(b->model);
    topology_unref(&t);
    members_init(&b->members, b->model, &members_ops, b);
    members_load_settings(&b->members, b->settings);
    const int fd = ledger_create(1, WORKERS, sets + 16, 16);
    if (fd < 0 || !ledger_open(&b->ledger, fd, true))
        PANIC("no ledger");
    for (uint32_t i = 0; i < WORKERS; i++)
        ledger_writer_init(&b->w[i], &b->ledger, i);
    list_members(b, members);
    const struct scale_args args = {.settings = b->settings,
                                    .members = &b->members,
                                    .ops = &scale_ops,
                                    .ctx = b,
                                    .plugin_dir = plugins,
                                    .incarnation = "bench"};
    b->scale = scale_create(&args, &errors);
    if (!b->scale)
        PANIC("%.*s", STR_ARG(buf_str(&errors)));
    buf_fini(&errors);
    return b;
}

/* ---- measuring ---- */

/* One request of each busy set comes and goes on each worker. */
static void work(struct bench *b, uint32_t busy)
{
    for (uint32_t i = 0; i < busy; i++)
        for (uint32_t k = 0; k < WORKERS; k++) {
            const uint32_t slot = b->scale->watches[(uint64_t)i * b->sets / busy].slot;
            ledger_cluster_move(&b->w[k], slot, LEDGER_COUNTS, LEDGER_SERVING, b->now - 50 * NS_PER_MS);
            ledger_cluster_service(&b->w[k], slot, (20 + i % 50) * NS_PER_MS);
            ledger_cluster_move(&b->w[k], slot, LEDGER_SERVING, LEDGER_COUNTS, b->now - 10 * NS_PER_MS);
        }
}

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void ticks(struct bench *b, uint32_t busy, const char *what)
{
    double least = 1e18, longest = 0;
    for (int i = 0; i < WARM; i++) { /* those that were busy before come to rest */
        b->now += SCALE_TICK_MS * NS_PER_MS;
        work(b, busy);
        (void)scale_tick(b->scale);
    }
    for (int i = 0; i < ROUNDS; i++) {
        double sum = 0, most = 0;
        for (int k = 0; k < PERIOD; k++) {
            b->now += SCALE_TICK_MS * NS_PER_MS;
            work(b, busy);
            const double before = cpu_us();
            (void)scale_tick(b->scale);
            const double tick = cpu_us() - before;
            sum += tick;
            most = tick > most ? tick : most;
        }
        longest = sum < least ? most : longest;
        least = sum < least ? sum : least;
    }
    least /= PERIOD;
    printf("%-20s %9.1f us a tick, %6.2f %% of a core, the longest %9.1f us\n", what, least, least / 1e3,
           longest);
}

/* The two halves of what an active set costs, each for all sets. */
static void halves(struct bench *b)
{
    static struct scale_room room;
    double gather = 0, decide = 0;
    struct cox_decision decision;
    struct cox_sample sample;
    for (int i = 0; i < PERIOD; i++) {
        b->now += SCALE_TICK_MS * NS_PER_MS;
        work(b, b->sets);
        for (uint32_t k = 0; k < b->sets; k++) {
            struct scale_set *set = &b->scale->sets[k];
            const double begun = cpu_us();
            scale_gather(b->scale, set, b->now, &room, &sample);
            const double between = cpu_us();
            scaler_ask(set->policy, set->state, &sample, &decision);
            decide += cpu_us() - between;
            gather += between - begun;
            scale_advance(set, &sample);
        }
    }
    double clock = cpu_us();
    for (int i = 0; i < 100000; i++)
        (void)cpu_us();
    clock = (cpu_us() - clock) / 100000;
    const double n = (double)PERIOD * b->sets;
    printf("gather %26.0f ns a set\ndecide %26.0f ns a set\n", (gather / n - clock) * 1e3,
           (decide / n - clock) * 1e3);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: scaling PLUGIN_DIR [sets [members of each]]\n");
        return 64;
    }
    uint64_t sets = 10000, members = 10;
    if ((argc > 2 && !str_to_u64(str_of(argv[2]), &sets)) ||
        (argc > 3 && !str_to_u64(str_of(argv[3]), &members)) || !sets || sets > 100000 || members > 1000) {
        fprintf(stderr, "scaling: up to 100000 sets with up to 1000 members\n");
        return 64;
    }
    log_init("bench", 2, LOG_ERROR);
    struct bench *b = make(argv[1], (uint32_t)sets, (uint32_t)members, argc > 4 ? argv[4] : "scale_target",
                           argc > 5 ? argv[5] : NULL);
    printf("%llu sets with %llu members each, %d workers, 10 ticks a second\n", (unsigned long long)sets,
           (unsigned long long)members, WORKERS);
    if (argc > 5)
        printf("state is kept in %s\n", argv[5]);
    ticks(b, 1, "one set busy");
    ticks(b, b->sets < 100 ? b->sets : 100, "100 sets busy");
    ticks(b, b->sets, "all sets busy");
    halves(b);
    return 0; /* memory goes with the process */
}
