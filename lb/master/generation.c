#include "master/generation.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "master/child.h"
#include "master/master.h"
#include "master/processors.h"

#define GENERATION_MAGIC 0x67656e65u
enum { FIRST_STARTS_MAX = 3 };

static const struct channel_ops generation_channel;

const char *generation_state_name(enum generation_state state)
{
    static const char *const names[] = {"starting", "serving", "draining"};
    return names[state];
}

static void set_state(struct generation *g, enum generation_state state)
{
    g->state = state;
    g->since_ns = clock_now_ns();
    g->since_wall_ns = clock_wall_ns();
}

static struct generation *create(struct master *m, uint64_t number, int ledger_fd,
                                 enum generation_state state)
{
    struct generation *g = must(calloc(1, sizeof *g));
    g->magic = GENERATION_MAGIC;
    g->master = m;
    g->number = number;
    g->ledger_fd = ledger_fd;
    g->heartbeat_ns = clock_now_ns();
    list_init(&g->node);
    set_state(g, state);
    if (!ledger_open(&g->ledger, ledger_fd, false)) {
        log_warn("proxy %llu: its ledger cannot be read; its totals will be missing",
                 (unsigned long long)number);
        g->ledger = (struct ledger){0};
    } else if (!ledger_is_whole(&g->ledger)) {
        log_warn("proxy %llu: its ledger is of version %u: only its requests and what is in flight are known",
                 (unsigned long long)number, g->ledger.header->version);
    }
    list_push(&m->generations.all, &g->node);
    return g;
}

static void destroy(struct generation *g)
{
    list_remove(&g->node);
    channel_destroy(&g->channel);
    if (g->ledger.base)
        ledger_close(&g->ledger);
    if (g->ledger_fd >= 0)
        close(g->ledger_fd);
    g->magic = 0;
    free(g);
}

struct generation *generation_of_pid(struct master *m, pid_t pid)
{
    for (struct list *l = m->generations.all.next; l != &m->generations.all; l = l->next) {
        struct generation *g = CONTAINER_OF(l, struct generation, node);
        if (g->pid == pid)
            return g;
    }
    return NULL;
}

int generations_draining(const struct master *m)
{
    int n = 0;
    for (struct list *l = m->generations.all.next; l != &m->generations.all; l = l->next)
        n += CONTAINER_OF(l, struct generation, node)->state == GENERATION_DRAINING;
    return n;
}

void generations_tell(struct master *m, enum channel_type type, struct str payload, const int *fds,
                      int fd_count)
{
    for (struct list *l = m->generations.all.next; l != &m->generations.all; l = l->next) {
        struct generation *g = CONTAINER_OF(l, struct generation, node);
        if (g->channel)
            channel_send(g->channel, type, payload, fds, fd_count);
    }
}

/* ---- starting ---- */

static int listener_fd_count(const struct listener_fds *l, size_t n)
{
    int count = 0;
    for (size_t i = 0; i < n; i++)
        count += l[i].count;
    return count;
}

/* In the child: what it keeps beside the logs. */
static int *kept_fds(const struct proxy_role *role, int *out_count)
{
    size_t n = role->settings->listeners.count;
    int *keep = must(calloc((size_t)listener_fd_count(role->listeners, n) + 5, sizeof *keep)), at = 0;
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < role->listeners[i].count; k++)
            keep[at++] = role->listeners[i].fds[k];
    keep[at++] = role->master_fd;
    keep[at++] = role->ledger_fd;
    keep[at++] = role->topology_fd;
    keep[at++] = role->tls_fd;
    keep[at++] = role->places_fd;
    *out_count = at;
    return keep;
}

static pid_t fork_proxy(struct master *m, struct proxy_role *role)
{
    char name[32];
    int keep_count, *keep = kept_fds(role, &keep_count);
    snprintf(name, sizeof name, "proxy %llu", (unsigned long long)role->generation);
    struct child_plan plan = {.role = name,
                              .settings = role->settings,
                              .launch = m->launch,
                              .logs = reload_logs(m),
                              .privileges = reload_privileges(m),
                              .keep = keep,
                              .keep_count = keep_count};
    /* A generation started while a reload runs, but with the old settings, keeps the old user and logs. */
    if (role->settings == m->settings) {
        plan.logs = &m->logs;
        plan.privileges = &m->privileges;
    }
    role->access_fd = plan.logs->access_fd;
    role->access_syslog = plan.logs->access_syslog;
    pid_t pid = child_fork(&plan);
    if (pid == 0)
        exit(proxy_main(role));
    free(keep);
    return pid;
}

static int worker_count(const struct settings *s)
{
    return s->workers > 0 ? (int)s->workers : processors_usable();
}

static void give_row(struct master *m, struct proxy_role *role)
{
    int row = m->places.base ? places_enter(&m->places, role->generation) : -1;
    role->places_fd = row < 0 ? -1 : m->places_fd;
    role->places_row = row < 0 ? 0 : (uint32_t)row;
}

/* Its process is gone, or never was. */
static void take_row(struct master *m, uint64_t generation)
{
    if (m->places.base)
        places_leave(&m->places, generation);
}

bool generation_start(struct master *m, const struct settings *s)
{
    struct generations *gs = &m->generations;
    int ends[2];
    struct proxy_role role = {.settings = s, .generation = gs->last + 1, .workers = worker_count(s)};
    ASSERT(!gs->starting);
    timer_stop(&gs->restart);
    if (!channel_pair(ends)) {
        log_error("cannot make a channel: %m");
        return false;
    }
    role.master_fd = ends[1];
    role.topology_fd = published_fd(&m->published);
    role.tls_fd = s == m->settings ? m->tls.fd : m->reload.tls_fd;
    role.tickets = &m->tls.tickets;
    role.listeners = listeners_of(&m->listeners, s);
    role.ledger_fd =
        ledger_create(role.generation, (uint32_t)role.workers, m->max_clusters, m->max_endpoints);
    give_row(m, &role);
    pid_t pid = role.ledger_fd >= 0 ? fork_proxy(m, &role) : -1;
    if (pid < 0)
        log_error("cannot start proxy %llu: %m", (unsigned long long)role.generation);
    free(role.listeners);
    close(ends[1]);
    if (pid < 0) {
        take_row(m, role.generation);
        close(ends[0]);
        if (role.ledger_fd >= 0)
            close(role.ledger_fd);
        return false;
    }
    struct generation *g = create(m, ++gs->last, role.ledger_fd, GENERATION_STARTING);
    g->pid = pid;
    g->channel = channel_create(&m->loop, ends[0], &generation_channel, g);
    gs->starting = g;
    log_info("proxy %llu starts as process %d", (unsigned long long)g->number, (int)pid);
    orchestrator_connect(m, g);
    return true;
}

static void on_restart(void *ctx)
{
    struct master *m = ctx;
    CHECK_MAGIC(m, MASTER_MAGIC);
    if (m->generations.starting || m->generations.serving || is_stopping(m))
        return;
    if (!generation_start(m, m->settings))
        timer_arm(&m->generations.restart, BACKOFF_MAX_MS / 10);
}

void generations_init(struct master *m)
{
    list_init(&m->generations.all);
    timer_init(&m->generations.restart, &m->loop, on_restart, m);
}

void generations_fini(struct master *m)
{
    while (!list_is_empty(&m->generations.all))
        destroy(CONTAINER_OF(m->generations.all.next, struct generation, node));
}

void generation_adopt(struct master *m, uint64_t number, pid_t pid, int channel_fd, int ledger_fd,
                      enum generation_state state)
{
    struct generation *g = create(m, number, ledger_fd, state);
    g->pid = pid;
    g->drain_timeout_ms = m->settings->drain_timeout_ms;
    if (channel_fd >= 0)
        g->channel = channel_create(&m->loop, channel_fd, &generation_channel, g);
    if (state == GENERATION_SERVING)
        m->generations.serving = g;
}

/* ---- draining ---- */

void generation_drain(struct generation *g, uint64_t drain_timeout_ms, bool final)
{
    struct packer p = {.len = 0};
    if (g->state != GENERATION_DRAINING)
        set_state(g, GENERATION_DRAINING);
    if (g->master->generations.serving == g)
        g->master->generations.serving = NULL;
    if (g->master->generations.starting == g)
        g->master->generations.starting = NULL;
    g->drain_timeout_ms = drain_timeout_ms;
    pack_u64(&p, drain_timeout_ms);
    pack_u64(&p, final);
    if (g->channel)
        channel_send(g->channel, CHANNEL_DRAIN, pack_result(&p), NULL, 0);
}

/* ---- what a proxy says ---- */

static void on_ready(struct generation *g)
{
    struct master *m = g->master;
    struct generation *before = m->generations.serving;
    if (g->state != GENERATION_STARTING)
        return;
    set_state(g, GENERATION_SERVING);
    /* The workers have it mapped: nobody maps it writable from now on. */
    if (!ledger_seal(g->ledger_fd))
        log_warn("proxy %llu: cannot seal its ledger: %m", (unsigned long long)g->number);
    m->generations.starting = NULL;
    m->generations.serving = g;
    m->generations.was_ready = true;
    m->generations.starts_failed = 0;
    log_info("proxy %llu serves", (unsigned long long)g->number);
    if (before)
        generation_drain(before, m->settings->drain_timeout_ms, false);
    reload_on_ready(m);
    master_on_serving(m);
}

/* Of the newest that can say; a draining one has others, perhaps. */
static void take_certificates(struct generation *g, struct str text)
{
    struct buf *b = &g->master->tls.certificates;
    if (g->state == GENERATION_DRAINING)
        return;
    b->len = 0;
    buf_put_str(b, text);
}

static void on_message(void *owner, struct channel *c, struct channel_message *msg)
{
    struct generation *g = owner;
    CHECK_MAGIC(g, GENERATION_MAGIC);
    (void)c;
    switch (msg->type) {
    case CHANNEL_READY:
        g->heartbeat_ns = clock_now_ns();
        on_ready(g);
        break;
    case CHANNEL_PROXY_HEARTBEAT:
        g->heartbeat_ns = clock_now_ns();
        break;
    case CHANNEL_CERTIFICATES:
        take_certificates(g, msg->payload);
        break;
    case CHANNEL_DRAINED:
        log_info("proxy %llu is drained", (unsigned long long)g->number);
        break;
    default: /* of a later version, or HELLO */
        break;
    }
}

static void on_gone(void *owner, struct channel *c)
{
    struct generation *g = owner;
    CHECK_MAGIC(g, GENERATION_MAGIC);
    (void)c;
    channel_destroy(&g->channel); /* its end follows by SIGCHLD; the watchdog sees to it */
}

static const struct channel_ops generation_channel = {on_message, on_gone};

/* ---- its end ---- */

static void describe_exit(const struct generation *g, int status)
{
    unsigned long long n = (unsigned long long)g->number;
    if (WIFSIGNALED(status))
        log_error("proxy %llu was ended by signal %d while %s", n, WTERMSIG(status),
                  generation_state_name(g->state));
    else if (WEXITSTATUS(status) != 0 || g->state != GENERATION_DRAINING)
        log_error("proxy %llu left with code %d while %s", n, WEXITSTATUS(status),
                  generation_state_name(g->state));
    else
        log_info("proxy %llu has gone", n);
}

static void fold(struct generation *g)
{
    struct packer p = {.len = 0};
    if (g->ledger.base)
        ledger_past_fold(&g->master->past, &g->ledger);
    pack_u64(&p, g->number);
    orchestrator_tell(g->master, CHANNEL_PROXY_GONE, pack_result(&p), NULL, 0);
}

static void start_again(struct master *m)
{
    struct generations *gs = &m->generations;
    if (!gs->was_ready && ++gs->starts_failed >= FIRST_STARTS_MAX) {
        log_error("no proxy became ready; giving up");
        stop_now(m, EXIT_FAILED);
        return;
    }
    uint64_t wait_ms = backoff_next(&gs->backoff, clock_now_ns());
    if (wait_ms)
        log_warn("the next proxy starts in %llu ms", (unsigned long long)wait_ms);
    if (wait_ms || !generation_start(m, m->settings))
        timer_arm(&gs->restart, wait_ms ? wait_ms : BACKOFF_FIRST_MS);
}

void generation_on_exit(struct generation *g, int status)
{
    struct master *m = g->master;
    bool was_starting = m->generations.starting == g, was_serving = m->generations.serving == g;
    describe_exit(g, status);
    take_row(m, g->number);
    fold(g);
    if (was_starting)
        m->generations.starting = NULL;
    if (was_serving)
        m->generations.serving = NULL;
    destroy(g);
    if (is_stopping(m)) {
        stop_progress(m);
        return;
    }
    if (was_starting)
        reload_on_proxy_death(m);
    reload_on_drained(m);
    bool is_covered =
        m->generations.serving || m->generations.starting || timer_is_armed(&m->generations.restart);
    if (!is_covered && !is_stopping(m))
        start_again(m);
}
