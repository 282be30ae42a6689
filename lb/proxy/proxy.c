#include "proxy/proxy.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/panic.h"
#include "proxy/access_syslog.h"
#include "run/channel.h"
#include "run/prompt.h"

#define TICK_MS          1000
#define HEARTBEAT_MAX_MS 5000 /* a worker that did not turn its loop for so long is not well */
#define SPARE_FDS        256  /* logs, channels, listeners, files */

static void begin_drain(struct proxy *p, uint64_t timeout_ms, bool final)
{
    p->draining = true;
    for (int i = 0; i < p->worker_count; i++)
        pworker_send_drain(&p->workers[i], timeout_ms, final);
}

/* The first descriptor of a message, now ours. */
static int take_fd(struct channel_message *m, int i)
{
    int fd = i < m->fd_count ? m->fds[i] : -1;
    if (fd >= 0)
        m->fds[i] = -1;
    return fd;
}

static void on_orch_message(void *owner, struct channel *c, struct channel_message *m)
{
    struct proxy *p = owner;
    (void)c;
    if (m->type == CHANNEL_TOPOLOGY || m->type == CHANNEL_TOPOLOGY_DIFF)
        proxy_on_topology(p, m->payload, m->type == CHANNEL_TOPOLOGY_DIFF);
    else if (m->type == CHANNEL_WAKE_ACK)
        wakes_on_ack(p, m->payload);
}

static void on_orch_gone(void *owner, struct channel *c)
{
    struct proxy *p = owner;
    (void)c;
    log_info("the orchestrator is gone; the last topology goes on serving");
    channel_destroy(&p->orchestrator);
}

static const struct channel_ops orch_ops = {.on_message = on_orch_message, .on_gone = on_orch_gone};

static void on_orchestrator_up(struct proxy *p, struct channel_message *m)
{
    int fd = take_fd(m, 0);
    if (fd < 0)
        return;
    if (p->orchestrator)
        channel_destroy(&p->orchestrator);
    p->orchestrator = channel_create(&p->loop, fd, &orch_ops, p);
    channel_send(p->orchestrator, CHANNEL_TOPOLOGY_ASK, STR_NULL, NULL, 0);
    secure_tell(p);
    wakes_tell_all(p);
}

static void on_log_fds(struct proxy *p, struct channel_message *m)
{
    int error_fd = take_fd(m, 0), access_fd = take_fd(m, 1);
    struct stat st;
    if (error_fd >= 0)
        log_reopen(error_fd);
    if (access_fd < 0)
        return;
    if (p->access_syslog || fstat(access_fd, &st) != 0 || S_ISSOCK(st.st_mode)) {
        close(access_fd); /* of another config: this generation ends as it began */
        return;
    }
    if (p->access_fd >= 0)
        close(p->access_fd);
    p->access_fd = access_fd;
}

static void on_drain(struct proxy *p, struct str payload)
{
    uint64_t timeout_ms = p->settings->drain_timeout_ms, final = 0;
    if (unpack_u64(&payload, &timeout_ms) && !unpack_u64(&payload, &final))
        final = 0;
    begin_drain(p, timeout_ms, final != 0);
}

static void on_master_message(void *owner, struct channel *c, struct channel_message *m)
{
    struct proxy *p = owner;
    (void)c;
    switch (m->type) {
    case CHANNEL_TOPOLOGY:
        proxy_on_topology(p, m->payload, false);
        break;
    case CHANNEL_ORCHESTRATOR_UP:
        on_orchestrator_up(p, m);
        break;
    case CHANNEL_DRAIN:
        on_drain(p, m->payload);
        break;
    case CHANNEL_LOG_FD:
        on_log_fds(p, m);
        break;
    case CHANNEL_FAIL_READY:
        p->fail_ready = true;
        break;
    case CHANNEL_TLS_FILES:
        secure_reload(p, take_fd(m, 0));
        break;
    case CHANNEL_TICKET_KEYS:
        secure_set_tickets(p, m->payload);
        break;
    default:
        break; /* of a newer master: nothing that must be understood */
    }
}

static void on_master_gone(void *owner, struct channel *c)
{
    struct proxy *p = owner;
    (void)c;
    channel_destroy(&p->master);
    log_warn("the master is gone: draining");
    begin_drain(p, p->settings->drain_timeout_ms, true);
}

static const struct channel_ops master_ops = {.on_message = on_master_message, .on_gone = on_master_gone};

static bool workers_are_well(const struct proxy *p)
{
    uint64_t now = clock_now_ns() / NS_PER_MS;
    for (int i = 0; i < p->worker_count; i++) {
        uint64_t beat = atomic_load_explicit(&p->workers[i].w.shared.heartbeat_ms, memory_order_relaxed);
        if (beat && now > beat + HEARTBEAT_MAX_MS)
            return false;
    }
    return true;
}

static void on_tick(void *ctx)
{
    struct proxy *p = ctx;
    if (p->master && workers_are_well(p))
        channel_send(p->master, CHANNEL_PROXY_HEARTBEAT, STR_NULL, NULL, 0);
    memory_decay();
    timer_arm(&p->tick, TICK_MS);
}

/* Two descriptors a session in the worst case: the client's and the server's. And two for each pipe. */
static void set_session_limit(struct proxy *p)
{
    struct rlimit lim;
    uint64_t sessions = (uint64_t)p->settings->max_sessions;
    if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
        lim.rlim_cur = lim.rlim_max;
        setrlimit(RLIMIT_NOFILE, &lim);
        uint64_t spare = SPARE_FDS + 2 * (uint64_t)p->settings->splice_pipes * (uint64_t)p->worker_count;
        uint64_t fds = lim.rlim_cur > 2 * spare ? lim.rlim_cur - spare : lim.rlim_cur / 2;
        if (!sessions || sessions > fds / 2)
            sessions = fds / 2;
    }
    uint64_t each = sessions / (uint64_t)p->worker_count;
    p->max_sessions = each < 1 ? 1 : each > 1u << 20 ? 1u << 20 : (uint32_t)each;
}

static bool start_workers(struct proxy *p)
{
    p->workers = aligned_alloc(64, (size_t)p->worker_count * sizeof *p->workers);
    if (!p->workers)
        return false;
    for (int i = 0; i < p->worker_count; i++)
        if (!pworker_init(&p->workers[i], p, i))
            return false;
    for (int i = 0; i < p->worker_count; i++)
        if (pthread_create(&p->workers[i].w.thread, NULL, pworker_main, &p->workers[i]) != 0)
            return false;
    return true;
}

static bool set_up(struct proxy *p, struct proxy_role *role)
{
    *p = (struct proxy){.settings = role->settings,
                        .role = role,
                        .worker_count = role->workers,
                        .access_fd = role->access_fd};
    signal(SIGPIPE, SIG_IGN);
    if (!loop_init(&p->loop) || !mailbox_init(&p->mailbox, &p->loop, NULL))
        return false;
    if (!ledger_open(&p->ledger, role->ledger_fd, true)) {
        log_error("the ledger segment cannot be used");
        return false;
    }
    p->clients = clients_create();
    if (!hold_shared_init(p, p->ledger.header->max_clusters) || !p->clients ||
        !guards_create(p->settings, &p->guards) ||
        !gates_init(&p->gates, p->ledger.header->max_clusters, p->ledger.header->max_endpoints))
        return false;
    if (role->places_fd >= 0 && !gates_share(&p->gates, role->places_fd, role->places_row))
        log_warn("max_in_flight holds for this generation alone");
    if (role->access_syslog && !(p->access_syslog = access_syslog_create(role->access_syslog, &p->loop)))
        return false;
    set_session_limit(p);
    timer_init(&p->tick, &p->loop, on_tick, p);
    timer_arm(&p->tick, TICK_MS);
    p->master = channel_create(&p->loop, role->master_fd, &master_ops, p);
    return secure_load(p) && proxy_look_at_bound(p) && start_workers(p) && proxy_first_topology(p);
}

static void tear_down(struct proxy *p)
{
    for (int i = 0; i < p->worker_count; i++)
        pthread_join(p->workers[i].w.thread, NULL);
    guards_stop(p->guards);
    mailbox_run(&p->mailbox, NULL); /* the last lines of the access log */
    access_syslog_destroy(&p->access_syslog);
    for (int i = 0; i < p->worker_count; i++)
        mailbox_run(&p->workers[i].w.mailbox,
                    &p->workers[i].w); /* buffers and topologies that came too late */
    mailbox_run(&p->mailbox, NULL);    /* publications that are done with these */
    for (int i = 0; i < p->worker_count; i++)
        pworker_fini(&p->workers[i]);
    free(p->workers);
    hold_shared_fini(p);
    free(p->clients);
    free(p->bound);
    guards_destroy(&p->guards);
    gates_fini(&p->gates);
    if (p->topology)
        topology_unref(&p->topology);
    secure_unload(p);
    if (p->orchestrator)
        channel_destroy(&p->orchestrator);
    if (p->master) {
        channel_send(p->master, CHANNEL_DRAINED, STR_NULL, NULL, 0);
        channel_destroy(&p->master);
    }
    timer_stop(&p->tick);
    timer_stop(&p->guard_timer);
    mailbox_fini(&p->mailbox);
    ledger_close(&p->ledger);
    loop_fini(&p->loop);
}

int proxy_main(struct proxy_role *role)
{
    struct proxy p;
    if (!set_up(&p, role))
        return EXIT_FAILED;
    prompt_thread(); /* workers wait for its topologies, and share processors with it */
    log_info("generation %llu: %d workers, up to %u sessions each", (unsigned long long)role->generation,
             p.worker_count, p.max_sessions);
    loop_run(&p.loop);
    tear_down(&p);
    return EXIT_OK;
}
