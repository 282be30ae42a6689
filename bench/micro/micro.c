/* micro: what the small pieces of the request path cost, in nanoseconds an operation. One line a piece:
 *
 *   bench/micro/micro [--json] [seconds for each, default 0.3]
 *
 * Inputs vary from one operation to the next so that the branch predictor learns no single answer; the best
 * of five rounds is printed, as the machine's other work can only add. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "decide.h"

#include "base/clock.h"
#include "base/ledger.h"
#include "base/panic.h"
#include "http/h1_parse.h"
#include "topo/balance.h"
#include "topo/cluster.h"
#include "topo/route.h"

#define ROUTES    10000
#define ENDPOINTS 64
#define WORKERS   4
#define ROUNDS    5

struct bench {
    struct route_table *hosts, *paths; /* ROUTES over as many hosts; ROUTES of one host */
    char host_texts[ROUTES][40], path_texts[ROUTES][40];
    struct cluster *p2c, *round_robin;
    struct ledger ledger;
    struct ledger_writer w;
    struct decider *target;
    uint64_t random, sink;
    uint32_t cursor;
    char long_head[8192];
    struct field fields[MESSAGE_FIELDS_MAX];
};

static struct route_table *build_routes(struct bench *b, bool by_host)
{
    struct route *routes = must(calloc(ROUTES, sizeof(*routes)));
    for (uint32_t i = 0; i < ROUTES; i++)
        routes[i] = (struct route){.host = by_host ? str_of(b->host_texts[i]) : STR("h"),
                                   .path = by_host ? STR("/") : str_of(b->path_texts[i]),
                                   .cluster_id = STR("c")};
    struct route_table *t = route_table_build(routes, ROUTES, NULL, 0);
    free(routes);
    return t;
}

static struct cluster *build_cluster(int policy)
{
    struct cluster_options options;
    struct endpoint_draft e[ENDPOINTS];
    char ids[ENDPOINTS][8];
    options_init(&cluster_options_table, &options);
    options.balance = policy;
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        snprintf(ids[i], sizeof(ids[i]), "e%02u", i);
        e[i] = (struct endpoint_draft){
            .slot = i, .weight = 50 + i, .readiness = ENDPOINT_READY, .id = str_of(ids[i])};
    }
    struct cluster *c = cluster_build(STR("c"), STR("bench"), 0, &options, e, ENDPOINTS);
    options_free(&cluster_options_table, &options);
    return c;
}

/* A request with 64 fields. */
static void fill_long_head(struct bench *b)
{
    size_t n = (size_t)snprintf(b->long_head, sizeof(b->long_head), "GET / HTTP/1.1\r\nHost: bench\r\n");
    for (int i = 0; i < 63; i++)
        n += (size_t)snprintf(b->long_head + n, sizeof(b->long_head) - n,
                              "X-Field-%02d: value number %d of 63\r\n", i, i);
    ASSERT(n + 3 <= sizeof(b->long_head));
    memcpy(b->long_head + n, "\r\n", 3);
}

static struct bench *make(void)
{
    struct bench *b = must(calloc(1, sizeof(*b)));
    int fd = ledger_create(1, WORKERS, 4, ENDPOINTS);
    ASSERT(fd >= 0 && ledger_open(&b->ledger, fd, true));
    close(fd);
    ledger_writer_init(&b->w, &b->ledger, 0);
    for (uint32_t i = 0; i < ROUTES; i++) {
        snprintf(b->host_texts[i], sizeof(b->host_texts[i]), "shop%u.example.com", i);
        snprintf(b->path_texts[i], sizeof(b->path_texts[i]), "/app%u/v%u", i, i % 3);
    }
    b->random = 42;
    b->target = decider_create("scale_target");
    fill_long_head(b);
    b->hosts = build_routes(b, true);
    b->paths = build_routes(b, false);
    b->p2c = build_cluster(BALANCE_P2C);
    b->round_robin = build_cluster(BALANCE_ROUND_ROBIN);
    return b;
}

static void drop(struct bench *b)
{
    route_table_unref(&b->hosts);
    route_table_unref(&b->paths);
    cluster_unref(&b->p2c);
    cluster_unref(&b->round_robin);
    ledger_close(&b->ledger);
    decider_destroy(&b->target);
    free(b);
}

/* ---- the pieces: n operations each ---- */

static void route_by_host(struct bench *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        b->sink += (uintptr_t)route_table_find(b->hosts, str_of(b->host_texts[i * 7919 % ROUTES]),
                                               STR("/cart/42"), NULL);
}

/* The same host again and again, as traffic is: what the look-up itself costs when its lines are in the
 * cache. */
static void route_by_hot_host(struct bench *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        b->sink +=
            (uintptr_t)route_table_find(b->hosts, str_of(b->host_texts[i % 16]), STR("/cart/42"), NULL);
}

static void route_by_path(struct bench *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        b->sink +=
            (uintptr_t)route_table_find(b->paths, STR("h"), str_of(b->path_texts[i * 7919 % ROUTES]), NULL);
}

static const struct h1_limits limits = {.line_bytes = 8192, .head_bytes = 32768, .field_count = 100};

static void parse_requests(struct bench *b, const char *const *heads, uint32_t count, uint32_t n)
{
    size_t lens[8];
    for (uint32_t i = 0; i < count; i++)
        lens[i] = strlen(heads[i]);
    for (uint32_t i = 0; i < n; i++) {
        struct h1_parser p = {0};
        struct message m;
        message_init(&m, b->fields, MESSAGE_FIELDS_MAX);
        b->sink += (uint64_t)h1_parse_request(&p, heads[i % count], lens[i % count], &limits, &m);
    }
}

static void parse_small(struct bench *b, uint32_t n)
{
    static const char *const heads[] = {
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
        "GET /index.html HTTP/1.1\r\nHost: bench\r\nAccept: */*\r\n\r\n",
        "HEAD /a?b=c HTTP/1.1\r\nHost: shop.example.com\r\n\r\n",
    };
    parse_requests(b, heads, 3, n);
}

static void parse_browser(struct bench *b, uint32_t n)
{
    static const char *const heads[] = {
        "GET /cart/42?lang=en HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux "
        "x86_64; "
        "rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: "
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n"
        "Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nReferer: "
        "https://shop.example.com/\r\nConnection: keep-alive\r\nCookie: "
        "sid=0123456789abcdef0123456789abcdef; "
        "theme=dark\r\nUpgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: "
        "navigate\r\nSec-Fetch-Site: same-origin\r\nPriority: u=0, i\r\n\r\n"};
    parse_requests(b, heads, 1, n);
}

static void parse_long(struct bench *b, uint32_t n)
{
    const char *const heads[] = {b->long_head};
    parse_requests(b, heads, 1, n);
}

static void parse_answer(struct bench *b, uint32_t n)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n";
    for (uint32_t i = 0; i < n; i++) {
        struct h1_parser p = {0};
        struct message m;
        message_init(&m, b->fields, MESSAGE_FIELDS_MAX);
        b->sink += (uint64_t)h1_parse_response(&p, head, sizeof(head) - 1, &limits, METHOD_GET, &m);
    }
}

static void pick(struct bench *b, struct cluster *c, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct balance_request r = {.ledger = &b->ledger, .random = &b->random, .cursor = &b->cursor};
        b->sink += (uint64_t)balance_pick(c, &r);
    }
}

static void pick_p2c(struct bench *b, uint32_t n)
{
    pick(b, b->p2c, n);
}

static void pick_round_robin(struct bench *b, uint32_t n)
{
    pick(b, b->round_robin, n);
}

static void ledger_moves(struct bench *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 2) {
        ledger_cluster_move(&b->w, 0, LEDGER_COUNTS, LEDGER_SERVING, i + 1);
        ledger_cluster_move(&b->w, 0, LEDGER_SERVING, LEDGER_COUNTS, i + 2);
    }
}

static void ledger_attempts(struct bench *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i += 2) {
        ledger_endpoint_attempt(&b->w, i % ENDPOINTS, +1, i + 1);
        ledger_endpoint_attempt(&b->w, i % ENDPOINTS, -1, i + 2);
    }
}

/* All that one request writes: arrival, attempt, end of the attempt, finishing, end. */
static void ledger_request(struct bench *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        ledger_cluster_move(&b->w, 1, LEDGER_COUNTS, LEDGER_SERVING, i);
        ledger_endpoint_attempt(&b->w, i % ENDPOINTS, +1, i);
        ledger_endpoint_attempt(&b->w, i % ENDPOINTS, -1, i + 1);
        ledger_cluster_move(&b->w, 1, LEDGER_SERVING, LEDGER_COUNTS, i + 1);
        ledger_cluster_done(&b->w, 1, 200, i * 1000ull);
    }
}

static void decide_target(struct bench *b, uint32_t n)
{
    b->sink += decider_run(b->target, n);
}

static const struct {
    const char *name;
    void (*run)(struct bench *b, uint32_t n);
} pieces[] = {
    {"parse: request with 1 or 2 fields", parse_small},
    {"parse: request of a browser, 13 fields", parse_browser},
    {"parse: request with 64 fields", parse_long},
    {"parse: answer with 2 fields", parse_answer},
    {"route: 10,000 hosts, any of them", route_by_host},
    {"route: 10,000 hosts, 16 of them", route_by_hot_host},
    {"route: 10,000 paths of one host", route_by_path},
    {"pick: p2c, 64 endpoints, 4 workers", pick_p2c},
    {"pick: round robin, 64 endpoints", pick_round_robin},
    {"ledger: one move", ledger_moves},
    {"ledger: one attempt", ledger_attempts},
    {"ledger: all of one request", ledger_request},
    {"scale: one decision of scale_target", decide_target},
};

#define BATCH 20000u

static double measure(struct bench *b, void (*run)(struct bench *, uint32_t), double seconds)
{
    double best = 1e9;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = clock_now_ns(), now = start, n = 0;
        while ((double)(now - start) < seconds * 1e9 / ROUNDS) {
            run(b, BATCH);
            n += BATCH;
            now = clock_now_ns();
        }
        double each = (double)(now - start) / (double)n;
        best = each < best ? each : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    double seconds = argc > 1 + json ? strtod(argv[1 + json], NULL) : 0.3;
    struct bench *b = make();
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        double ns = measure(b, pieces[i].run, seconds);
        if (json)
            printf("%s\"%s\": %.2f", i == 0 ? "{" : ", ", pieces[i].name, ns);
        else
            printf("%-44s %7.1f ns\n", pieces[i].name, ns);
    }
    puts(json ? "}" : "");
    if (b->sink == 1) /* it is used, so none of it is optimised away */
        puts("");
    drop(b);
    return 0;
}
