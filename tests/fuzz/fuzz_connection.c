/* fuzz_connection: whole connections through the real data path, with a fake server behind it: accept, PROXY
 * header, front, exchange, back and uplinks, over real sockets and on a scripted clock.
 *
 * The input is a play: acts with 0xff between them, the first byte of each says what happens.
 *   S bytes   the server sends them on its newest connection (or keeps them for the next)
 *   f, x      it half-closes, closes           F, X   the client half-closes, closes
 *   N         another client connects          P      another client, whose connection begins with a PROXY
 * header T c       time passes: 100 ms times c      else   the client sends these bytes
 *
 * What must hold: the server can read what it got strictly; it saw no more requests than were counted;
 * whatever the client got is HTTP; and afterwards everything is back: sessions, uplinks, exchanges, chunks,
 * counts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "proxy/intro.h"
#include "proxy/proxy.h"
#include "strict.h"
#include "topo/model.h"

#define CLIENTS_MAX 4
#define SERVERS_MAX 64
#define RECORD_MAX  (256u << 10)

struct player {
    int fd; /* -1: closed */
    char *got;
    size_t len;
};

struct world {
    struct pworker pw; /* first: aligned */
    struct proxy proxy;
    struct settings *settings;
    struct model *model;
    int listener;
    struct player clients[CLIENTS_MAX], servers[SERVERS_MAX];
    int client_count, server_count;
    char later[4096]; /* what a server sends when it is there */
    size_t later_len;
};

static uint64_t fake_ns = 1000000ull * NS_PER_MS;

/* The program's clock stands still unless the play says otherwise; libFuzzer's own goes on. */
int clock_gettime(clockid_t id, struct timespec *ts)
{
    if (id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE && id != CLOCK_MONOTONIC_RAW)
        return (int)syscall(SYS_clock_gettime, id, ts);
    ts->tv_sec = (time_t)(fake_ns / NS_PER_S);
    ts->tv_nsec = (long)(fake_ns % NS_PER_S);
    return 0;
}

/* HTTP/2 has a target of its own. */
static const char config[] =
    "listeners = ( { name = \"web\"; address = \"127.0.0.1:1\"; max_header_size = \"4k\"; max_line_size = "
    "\"1k\"; h2 = { prior_knowledge = false; }; },\n"
    "  { name = \"in\"; address = \"127.0.0.1:2\"; proxy_protocol = \"required\"; proxy_protocol_from = [ "
    "\"loopback\" ]; h2 = { prior_knowledge = false; }; } );\n"
    "clusters = ( { name = \"c\"; max_interim = 3; replay_limit = \"1k\"; retries = 1; "
    "max_response_header_size = \"4k\"; },\n"
    "  { name = \"p\"; send_proxy = \"v1\"; retries = 0; } );\n"
    "routes = ( { host = \"*\"; cluster = \"c\"; }, { path = \"/p\"; cluster = \"p\"; } );\n";

static void add_endpoint(struct world *w, struct str cluster, const struct addr *addr)
{
    struct endpoint_draft e = {.weight = 100, .readiness = ENDPOINT_READY, .id = STR("e"), .addr = *addr};
    ASSERT(model_put_endpoint(w->model, STR("fuzz"), cluster, &e, NULL));
}

static void listen_somewhere(struct world *w, struct addr *out_addr)
{
    char name[64];
    int n = snprintf(name, sizeof name, "unix:@coxswain-fuzz-%d", (int)getpid());
    ASSERT(addr_parse(str_make(name, (size_t)n), out_addr));
    w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ASSERT(bind(w->listener, &out_addr->sa, out_addr->len) == 0 && listen(w->listener, 64) == 0);
}

static struct world *make_world(void)
{
    struct world *w = aligned_alloc(64, (sizeof *w + 63) / 64 * 64);
    struct buf errors;
    struct addr addr;
    ASSERT(w);
    memset(w, 0, sizeof *w);
    log_init("fuzz", open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_ERROR);
    buf_init(&errors);
    w->settings = settings_load_text(config, sizeof config - 1, &errors);
    if (!w->settings)
        PANIC("%.*s", (int)errors.len, errors.p);
    buf_fini(&errors);
    w->proxy = (struct proxy){
        .settings = w->settings, .workers = &w->pw, .worker_count = 1, .access_fd = -1, .max_sessions = 100};
    ASSERT(loop_init(&w->proxy.loop) && mailbox_init(&w->proxy.mailbox, &w->proxy.loop, NULL));
    int fd = ledger_create(1, 1, 8, 32);
    ASSERT(ledger_open(&w->proxy.ledger, fd, true));
    close(fd);
    w->proxy.clients = clients_create();
    ASSERT((w->proxy.bound = calloc(w->settings->listeners.count, sizeof *w->proxy.bound)));
    ASSERT(hold_shared_init(&w->proxy, 8) && w->proxy.clients && gates_init(&w->proxy.gates, 8, 32));
    ASSERT(pworker_init(&w->pw, &w->proxy, 0));
    deadline_stop(&w->pw.w.wheel, &w->pw.tick);
    worker_read_clock(&w->pw.w);
    wheel_init(&w->pw.w.wheel, w->pw.w.now_ms);
    w->model = model_create(1, 8, 32);
    model_load_settings(w->model, w->settings);
    listen_somewhere(w, &addr);
    add_endpoint(w, STR("c"), &addr);
    add_endpoint(w, STR("p"), &addr);
    view_replace(&w->pw, view_create(model_publish(w->model)));
    for (int i = 0; i < CLIENTS_MAX; i++)
        ASSERT((w->clients[i].got = malloc(RECORD_MAX)));
    for (int i = 0; i < SERVERS_MAX; i++)
        ASSERT((w->servers[i].got = malloc(RECORD_MAX)));
    return w;
}

/* ---- turns ---- */

static bool read_player(struct player *p)
{
    if (p->fd < 0)
        return false;
    ssize_t n = recv(p->fd, p->got + p->len, RECORD_MAX - p->len, MSG_DONTWAIT);
    if (n > 0)
        p->len += (size_t)n;
    return n > 0;
}

static void send_player(struct player *p, const char *bytes, size_t n)
{
    if (p->fd >= 0)
        (void)!send(p->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void close_player(struct player *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

static bool accept_server(struct world *w)
{
    if (w->server_count == SERVERS_MAX)
        return false;
    int fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return false;
    struct player *p = &w->servers[w->server_count++];
    p->fd = fd;
    p->len = 0;
    send_player(p, w->later, w->later_len);
    w->later_len = 0;
    return true;
}

static void end_turn(struct world *w)
{
    struct worker *k = &w->pw.w;
    struct list batch, *node;
    list_init(&batch);
    list_splice(&batch, &k->run_queue);
    while ((node = list_shift(&batch)))
        CONTAINER_OF(node, struct run_node, node)->fn(CONTAINER_OF(node, struct run_node, node));
    while (k->parked) {
        struct parked *p = k->parked;
        k->parked = p->next;
        p->reclaim(p);
    }
}

/* Until nothing moves any more. */
static void settle(struct world *w)
{
    bool moved = true;
    for (int quiet = 0, turns = 0; quiet < 2; turns++) {
        ASSERT(turns < 100000); /* two that wake each other for ever */
        moved = !list_is_empty(&w->pw.w.run_queue);
        event_base_loop(w->pw.w.loop.base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
        end_turn(w);
        moved |= accept_server(w);
        for (int i = 0; i < w->server_count; i++)
            moved |= read_player(&w->servers[i]);
        for (int i = 0; i < w->client_count; i++)
            moved |= read_player(&w->clients[i]);
        quiet = moved ? 0 : quiet + 1;
    }
}

static void pass_time(struct world *w, uint64_t ms)
{
    fake_ns += ms * NS_PER_MS;
    worker_read_clock(&w->pw.w);
    wheel_run(&w->pw.w.wheel, w->pw.w.now_ms);
    settle(w);
}

/* ---- the play ---- */

static void connect_client(struct world *w, size_t listener)
{
    static const struct addr peer = {.len = sizeof(struct sockaddr_in), .in = {.sin_family = AF_INET}};
    struct addr from = peer;
    int fds[2];
    if (w->client_count == CLIENTS_MAX)
        return;
    from.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    struct player *p = &w->clients[w->client_count++];
    p->fd = fds[1];
    p->len = 0;
    const struct listener_settings *l =
        SETTINGS_AT(w->settings->listeners, struct listener_settings, listener);
    if (listener)
        intro_open(&w->pw, l, fds[0], &from);
    else
        session_open(&w->pw, l, fds[0], &from, NULL);
}

static void server_sends(struct world *w, const char *p, size_t n)
{
    if (w->server_count) {
        send_player(&w->servers[w->server_count - 1], p, n);
        return;
    }
    size_t room = sizeof w->later - w->later_len;
    n = n < room ? n : room;
    memcpy(w->later + w->later_len, p, n);
    w->later_len += n;
}

static void act(struct world *w, const char *p, size_t n)
{
    struct player *client = &w->clients[w->client_count - 1];
    struct player *server = w->server_count ? &w->servers[w->server_count - 1] : NULL;
    switch (n ? p[0] : 0) {
    case 'S':
        server_sends(w, p + 1, n - 1);
        break;
    case 'f':
        if (server && server->fd >= 0)
            shutdown(server->fd, SHUT_WR);
        break;
    case 'x':
        if (server)
            close_player(server);
        break;
    case 'F':
        if (client->fd >= 0)
            shutdown(client->fd, SHUT_WR);
        break;
    case 'X':
        close_player(client);
        break;
    case 'N':
    case 'P':
        connect_client(w, p[0] == 'P');
        if (n > 1)
            send_player(&w->clients[w->client_count - 1], p + 1, n - 1);
        break;
    case 'T':
        pass_time(w, 100ull * (n > 1 ? (unsigned char)p[1] : 1));
        break;
    default:
        send_player(client, p, n);
    }
    settle(w);
}

static void play(struct world *w, const char *p, size_t n)
{
    connect_client(w, 0);
    settle(w);
    while (n) {
        const char *end = memchr(p, 0xff, n);
        size_t len = end ? (size_t)(end - p) : n;
        act(w, p, len);
        n -= len + (end != NULL);
        p += len + (end != NULL);
    }
}

/* ---- what must hold ---- */

static uint64_t counted(struct world *w)
{
    uint64_t all = 0;
    for (uint32_t i = 0; i < 32; i++)
        all += ledger_get(&w->pw.ledger.endpoints[i].requests);
    return all;
}

/* An uplink of the cluster with send_proxy begins with its header. */
static void skip_proxy_line(struct player *p, size_t *at)
{
    const char *end = p->len >= 6 && memcmp(p->got, "PROXY ", 6) == 0 ? memchr(p->got, '\n', p->len) : NULL;
    *at = end ? (size_t)(end - p->got) + 1 : 0;
}

static void check_players(struct world *w, uint64_t requests)
{
    uint64_t heads = 0;
    for (int i = 0; i < w->server_count; i++) {
        struct strict s;
        size_t at;
        skip_proxy_line(&w->servers[i], &at);
        strict_requests(&s, w->servers[i].got + at, w->servers[i].len - at);
        heads += (uint64_t)s.heads;
    }
    ASSERT(heads <= requests);
    for (int i = 0; i < w->client_count; i++) {
        size_t n = w->clients[i].len < 9 ? w->clients[i].len : 9;
        ASSERT(memcmp(w->clients[i].got, "HTTP/1.1 ", n) == 0);
    }
}

static void close_all(struct world *w)
{
    for (int i = 0; i < w->client_count; i++)
        close_player(&w->clients[i]);
    settle(w);
    for (int i = 0; i < w->server_count; i++)
        close_player(&w->servers[i]);
    settle(w);
    for (int i = 0; i < 40 && w->pw.session_count + w->pw.uplink_count; i++)
        pass_time(w, 5000);
    int fd;
    while ((fd = accept4(w->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        close(fd);
}

static void check_empty(struct world *w)
{
    ASSERT(w->pw.session_count == 0 && w->pw.uplink_count == 0 && w->pw.held_count == 0);
    ASSERT(w->pw.exchange_pool.taken_count == 0 && w->pw.session_pool.taken_count == 0);
    ASSERT(w->pw.intro_pool.taken_count == 0 && w->pw.uplink_pool_mem.taken_count == 0);
    ASSERT(worker_chunks_taken(&w->pw.w) == 0 && w->pw.view->users == 1);
    ASSERT(w->pw.w.wheel.count == 0 && !w->pw.w.cork_owner);
    ASSERT(ledger_is_quiet(&w->proxy.ledger, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world *w;
    if (size > 16384)
        return 0;
    if (!w)
        w = make_world();
    uint64_t before = counted(w);
    w->client_count = w->server_count = 0;
    w->later_len = 0;
    play(w, (const char *)data, size);
    check_players(w, counted(w) - before);
    close_all(w);
    check_empty(w);
    return 0;
}
