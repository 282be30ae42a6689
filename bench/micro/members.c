/* members: what keeping very many sets at their count costs, without plugins and sockets.
 *
 *   bench/micro/members [sets, default 10000] [members of each, default 10] [active sets, default 100]
 *
 * An actuator that answers at once, on the real clock. Printed: bringing all up; a tick in which nothing
 * moves; a tick in which every active set wants one more or one less; reading the facts of a set; publishing
 * after such a tick, which the orchestrator does at most every 5 ms, and
 * less often when it takes long. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/members.h"

#define MEMBERS 512 /* most members of a set */
#define TICKS   200

struct bench {
    struct settings *settings;
    struct model *model;
    struct members members;
    uint32_t sets, each, active;
    struct member_set **by_number;
    /* What the actuator is still to say: answered between ticks, as a loop would. */
    struct member_change {
        char id[96];
        bool starts;
    } * said;
    uint32_t said_count, said_cap;
};

static void say(struct bench *b, const struct member *m, bool starts)
{
    if (b->said_count == b->said_cap) {
        b->said_cap = b->said_cap ? b->said_cap * 2 : 1024;
        b->said = must(realloc(b->said, b->said_cap * sizeof *b->said));
    }
    struct member_change *c = &b->said[b->said_count++];
    (void)snprintf(c->id, sizeof c->id, "%s", m->id);
    c->starts = starts;
}

static bool on_start(void *ctx, const struct member *m, uint64_t ticket)
{
    struct bench *b = ctx;
    say(b, m, true);
    members_on_ticket(&b->members, ticket, COX_TICKET_DONE, "");
    return true;
}

static bool on_stop(void *ctx, const struct member *m, bool is_drained, uint64_t ticket)
{
    (void)is_drained;
    (void)ticket;
    say(ctx, m, false);
    return true;
}

static uint64_t on_in_flight(void *ctx, struct str cluster, struct str endpoint)
{
    (void)ctx;
    (void)cluster;
    (void)endpoint;
    return 0;
}

static bool on_acknowledged(void *ctx, uint64_t number)
{
    (void)ctx;
    (void)number;
    return true;
}

static uint64_t on_now(void *ctx)
{
    (void)ctx;
    return clock_now_ns();
}

static void on_touched(void *ctx)
{
    (void)ctx;
}

static void on_event(void *ctx, const struct member *m, enum member_state from)
{
    (void)ctx;
    (void)m;
    (void)from;
}

static const struct members_ops ops = {.start = on_start,
                                       .stop = on_stop,
                                       .in_flight = on_in_flight,
                                       .is_acknowledged = on_acknowledged,
                                       .now_ns = on_now,
                                       .touched = on_touched,
                                       .wake = on_touched,
                                       .event = on_event};

/* ---- the world ---- */

static void load(struct bench *b)
{
    struct buf text, errors;
    buf_init(&text);
    buf_init(&errors);
    buf_printf(&text,
               "listeners = ( { name = \"l\"; address = \"127.0.0.1:8080\"; } );\nmax_clusters = "
               "%u;\nmax_endpoints = "
               "%u;\nplugins = ( { name = \"mock\"; } );\nclusters = (\n",
               b->sets + 16, b->sets * b->each * 2 + 1024);
    for (uint32_t i = 0; i < b->sets; i++)
        buf_printf(&text, "%s{ name = \"c%u\"; scale = { actuator = \"mock\"; min = %u; max = %u; }; }",
                   i ? ",\n" : "", i, b->each, MEMBERS);
    buf_printf(&text, ");\n");
    b->settings = settings_load_text(text.p, text.len, &errors);
    if (!b->settings)
        PANIC("%.*s", STR_ARG(buf_str(&errors)));
    buf_fini(&text);
    buf_fini(&errors);
    b->model = model_create(1, b->sets + 16, b->sets * b->each * 2 + 1024);
    model_load_settings(b->model, b->settings);
    members_init(&b->members, b->model, &ops, b);
    members_load_settings(&b->members, b->settings);
    b->by_number = must(calloc(b->sets, sizeof(struct member_set *)));
    uint32_t n = 0;
    for (struct list *l = b->members.sets.next; l != &b->members.sets; l = l->next)
        b->by_number[n++] = CONTAINER_OF(l, struct member_set, node);
    ASSERT(n == b->sets);
}

static void answer_one(struct bench *b, const struct member_change *c)
{
    struct member *m = members_find(&b->members, c->id);
    const struct cox_port_address a = {.size = sizeof a, .port = "http", .address = "127.0.0.1:9000"};
    const struct cox_member_change change = {.size = sizeof change,
                                             .phase = c->starts ? COX_PHASE_RUNNING : COX_PHASE_TERMINATED,
                                             .member = c->id,
                                             .addresses = {&a, 1, (uint32_t)sizeof a}};
    if (!m)
        return;
    members_on_change(&b->members, "mock", &change);
    if (c->starts)
        members_on_probe(&b->members, str_of(m->set->ports[0].cluster), str_of(c->id), true);
}

static void answer(struct bench *b)
{
    for (uint32_t i = 0; i < b->said_count; i++)
        answer_one(b, &b->said[i]);
    b->said_count = 0;
}

static void publish(struct bench *b)
{
    struct topology *t = model_publish(b->model);
    topology_unref(&t);
    members_on_published(&b->members, model_current(b->model)->number);
}

static void settle(struct bench *b)
{
    do {
        (void)members_tick(&b->members);
        answer(b);
        publish(b);
    } while (!list_is_empty(&b->members.awake));
}

/* ---- what is measured ---- */

static void row(const char *what, double ns)
{
    printf("%-56s %12.3f us\n", what, ns / 1e3);
}

static void bring_up(struct bench *b)
{
    const uint64_t before = clock_now_ns();
    members_on_listed(&b->members, "mock");
    settle(b);
    row("all up, with publishing", (double)(clock_now_ns() - before));
    uint64_t ready = 0;
    for (uint32_t i = 0; i < b->sets; i++)
        ready += b->by_number[i]->ready;
    ASSERT(ready == (uint64_t)b->sets * b->each);
}

static void idle(struct bench *b)
{
    const uint64_t before = clock_now_ns();
    for (int i = 0; i < 100000; i++)
        (void)members_tick(&b->members);
    row("a tick in which nothing moves", (double)(clock_now_ns() - before) / 100000);
}

static void move(struct bench *b)
{
    uint64_t tick_ns = 0, publish_ns = 0;
    for (uint32_t i = 0; i < TICKS; i++) {
        const uint64_t begin = clock_now_ns();
        for (uint32_t k = 0; k < b->active; k++)
            members_want(&b->members, b->by_number[k], b->each + (i & 1 ? 0 : 1), "the bench");
        (void)members_tick(&b->members);
        answer(b);
        (void)members_tick(&b->members);
        const uint64_t middle = clock_now_ns();
        publish(b);
        tick_ns += middle - begin;
        publish_ns += clock_now_ns() - middle;
    }
    row("one more or less wanted in each active set", (double)tick_ns / TICKS);
    row("publishing that", (double)publish_ns / TICKS);
    settle(b);
}

static void facts(struct bench *b)
{
    struct member_facts f;
    uint64_t sum = 0;
    const uint64_t before = clock_now_ns();
    for (int i = 0; i < 100; i++)
        for (uint32_t k = 0; k < b->active; k++) {
            members_facts(&b->members, b->by_number[k], &f);
            sum += f.ready;
        }
    row("the facts of one set", (double)(clock_now_ns() - before) / (100.0 * b->active));
    ASSERT(sum > 0);
}

static uint32_t number(int argc, char **argv, int at, uint32_t otherwise)
{
    return argc > at ? (uint32_t)strtoul(argv[at], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    struct bench b = {.sets = number(argc, argv, 1, 10000),
                      .each = number(argc, argv, 2, 10),
                      .active = number(argc, argv, 3, 100)};
    if (!b.sets || !b.each || b.each >= MEMBERS || !b.active || b.active > b.sets) {
        fprintf(stderr, "usage: members [sets] [members of each, below %d] [active sets]\n", MEMBERS);
        return 2;
    }
    log_init("members", 2, LOG_ERROR);
    load(&b);
    printf("%u sets of %u members, %u of them active\n", b.sets, b.each, b.active);
    bring_up(&b);
    idle(&b);
    facts(&b);
    move(&b);
    members_fini(&b.members);
    model_destroy(&b.model);
    settings_free(&b.settings);
    free(b.by_number);
    free(b.said);
    return 0;
}
