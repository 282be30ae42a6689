#include "master/orchestrator.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "master/admin_token.h"
#include "master/child.h"
#include "master/master.h"
#include "topo/topology.h"

enum { LEAVE_MS = 3000 };

static const struct channel_ops orchestrator_channel;

const char *orchestrator_state_name(enum orchestrator_state state)
{
    static const char *const names[] = {"down", "starting", "up", "leaving"};
    return names[state];
}

static void set_state(struct orchestrator *o, enum orchestrator_state state)
{
    o->state = state;
    o->since_ns = o->heartbeat_ns = clock_now_ns();
    o->since_wall_ns = clock_wall_ns();
}

void orchestrator_tell(struct master *m, enum channel_type type, struct str payload, const int *fds,
                       int fd_count)
{
    if (m->orchestrator.channel)
        channel_send(m->orchestrator.channel, type, payload, fds, fd_count);
}

/* ---- joining it with proxies ---- */

void orchestrator_connect(struct master *m, struct generation *g)
{
    struct orchestrator *o = &m->orchestrator;
    bool is_there = o->state == ORCHESTRATOR_STARTING || o->state == ORCHESTRATOR_UP;
    int ends[2];
    if (!is_there || !o->channel || !g->channel)
        return;
    int ledger = master_read_only(g->ledger_fd);
    if (ledger < 0 || !channel_pair(ends)) {
        log_error("cannot join proxy %llu and the orchestrator: %m", (unsigned long long)g->number);
        if (ledger >= 0)
            close(ledger);
        return;
    }
    struct packer p = {.len = 0};
    pack_u64(&p, g->number);
    channel_send(o->channel, CHANNEL_PROXY_UP, pack_result(&p), (int[]){ends[0], ledger}, 2);
    channel_send(g->channel, CHANNEL_ORCHESTRATOR_UP, STR(""), (int[]){ends[1]}, 1);
    close(ends[0]);
    close(ends[1]);
    close(ledger);
}

static void connect_all(struct master *m)
{
    for (struct list *l = m->generations.all.next; l != &m->generations.all; l = l->next)
        orchestrator_connect(m, CONTAINER_OF(l, struct generation, node));
}

/* ---- starting ---- */

static size_t collect_left_out(const struct stalls *s, const char **out)
{
    size_t n = 0;
    for (int i = 0; i < s->count; i++)
        if (stalls_is_left_out(s, s->items[i].name))
            out[n++] = s->items[i].name;
    return n;
}

/* Without its secret the admin listener stays shut; requests are served all the same. */
static int admin_fd(const struct master *m, struct admin_token *token)
{
    struct buf error;
    int fd = listeners_admin_fd(&m->listeners, reload_settings(m));
    buf_init(&error);
    if (!admin_token_read(reload_settings(m), token, &error)) {
        log_error("the admin listener is not served: %.*s", STR_ARG(str_trim(buf_str(&error))));
        fd = -1;
    }
    buf_fini(&error);
    return fd;
}

static pid_t fork_orchestrator(struct master *m, int channel_fd, int past_fd)
{
    const char *left_out[STALLS_PLUGINS];
    struct admin_token token;
    struct orch_role role = {.settings = reload_settings(m),
                             .epoch = m->orchestrator.epoch,
                             .master_fd = channel_fd,
                             .topology_fd = published_fd(&m->published),
                             .past_fd = past_fd,
                             .tls_fd = tls_files_for_probes(reload_settings(m)),
                             .admin_fd = admin_fd(m, &token),
                             .admin_token = token.text[0] ? token.text : NULL,
                             .admin = &admin_ops,
                             .stall = m->orchestrator.stalls.note,
                             .left_out = left_out,
                             .left_out_count = collect_left_out(&m->orchestrator.stalls, left_out)};
    int keep[] = {channel_fd, role.topology_fd, past_fd, role.admin_fd, role.tls_fd}; /* -1 is passed over */
    struct child_plan plan = {.role = "orchestrator",
                              .settings = role.settings,
                              .launch = m->launch,
                              .logs = reload_logs(m),
                              .privileges = reload_privileges(m),
                              .keep = keep,
                              .keep_count = sizeof keep / sizeof keep[0],
                              .dies_with_master = true};
    pid_t pid = child_fork(&plan);
    if (pid == 0)
        exit(orch_main(&role));
    if (role.tls_fd >= 0)
        close(role.tls_fd);
    admin_token_wipe(&token);
    return pid;
}

static bool start(struct master *m)
{
    struct orchestrator *o = &m->orchestrator;
    int ends[2];
    if (!channel_pair(ends))
        return false;
    int past_fd = master_read_only(m->past_fd);
    o->epoch++;
    pid_t pid = past_fd >= 0 ? fork_orchestrator(m, ends[1], past_fd) : -1;
    close(ends[1]);
    if (past_fd >= 0)
        close(past_fd);
    if (pid < 0) {
        close(ends[0]);
        return false;
    }
    o->pid = pid;
    o->aborted = false;
    o->channel = channel_create(&m->loop, ends[0], &orchestrator_channel, o);
    set_state(o, ORCHESTRATOR_STARTING);
    return true;
}

void orchestrator_start(struct master *m)
{
    struct orchestrator *o = &m->orchestrator;
    ASSERT(o->state == ORCHESTRATOR_DOWN);
    timer_stop(&o->restart);
    if (!start(m)) {
        log_error("cannot start the orchestrator: %m");
        timer_arm(&o->restart, BACKOFF_FIRST_MS * 10);
        return;
    }
    log_info("orchestrator starts as process %d, epoch %llu", (int)o->pid, (unsigned long long)o->epoch);
    connect_all(m);
}

static void on_restart(void *ctx)
{
    struct master *m = ctx;
    CHECK_MAGIC(m, MASTER_MAGIC);
    if (m->orchestrator.state == ORCHESTRATOR_DOWN && !is_stopping(m))
        orchestrator_start(m);
}

static void on_kill(void *ctx)
{
    struct master *m = ctx;
    CHECK_MAGIC(m, MASTER_MAGIC);
    if (m->orchestrator.pid > 0) {
        log_warn("the orchestrator does not leave; killed");
        kill(m->orchestrator.pid, SIGKILL);
    }
}

void orchestrator_init(struct master *m)
{
    m->orchestrator.master = m;
    stalls_init(&m->orchestrator.stalls);
    timer_init(&m->orchestrator.restart, &m->loop, on_restart, m);
    timer_init(&m->orchestrator.kill, &m->loop, on_kill, m);
}

/* ---- leaving ---- */

void orchestrator_quit(struct master *m)
{
    struct orchestrator *o = &m->orchestrator;
    timer_stop(&o->restart);
    if (o->state == ORCHESTRATOR_DOWN || o->state == ORCHESTRATOR_LEAVING)
        return;
    set_state(o, ORCHESTRATOR_LEAVING);
    orchestrator_tell(m, CHANNEL_QUIT, STR(""), NULL, 0);
    timer_arm(&o->kill, LEAVE_MS);
}

void orchestrator_replace(struct master *m)
{
    struct orchestrator *o = &m->orchestrator;
    if (o->state == ORCHESTRATOR_DOWN)
        orchestrator_start(m);
    else
        orchestrator_quit(m); /* on_exit starts the next one */
}

void orchestrator_adopt(struct master *m, pid_t pid, int channel_fd, uint64_t epoch)
{
    struct orchestrator *o = &m->orchestrator;
    o->epoch = epoch;
    if (pid <= 0) {
        if (channel_fd >= 0)
            close(channel_fd);
        return;
    }
    o->pid = pid;
    if (channel_fd >= 0)
        o->channel = channel_create(&m->loop, channel_fd, &orchestrator_channel, o);
    set_state(o, ORCHESTRATOR_UP);
    o->was_up = true;
}

static void describe_exit(const struct orchestrator *o, int status)
{
    if (WIFSIGNALED(status))
        log_error("the orchestrator was ended by signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0 || o->state != ORCHESTRATOR_LEAVING)
        log_error("the orchestrator left with code %d", WEXITSTATUS(status));
    else
        log_info("the orchestrator has left");
}

static void start_again(struct master *m)
{
    struct orchestrator *o = &m->orchestrator;
    uint64_t wait_ms = backoff_next(&o->backoff, clock_now_ns());
    if (!wait_ms) {
        orchestrator_start(m);
        return;
    }
    log_warn("the next orchestrator starts in %llu ms", (unsigned long long)wait_ms);
    timer_arm(&o->restart, wait_ms);
}

void orchestrator_on_exit(struct master *m, int status)
{
    struct orchestrator *o = &m->orchestrator;
    bool was_leaving = o->state == ORCHESTRATOR_LEAVING;
    bool is_config = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_CONFIG;
    describe_exit(o, status);
    stalls_on_exit(&o->stalls, reload_settings(m), o->aborted);
    timer_stop(&o->kill);
    channel_destroy(&o->channel);
    o->pid = 0;
    set_state(o, ORCHESTRATOR_DOWN);
    if (is_stopping(m)) {
        stop_progress(m);
        return;
    }
    if (!o->was_up && !was_leaving && is_config) {
        stop_now(m, EXIT_CONFIG); /* it has said what is wrong */
        return;
    }
    if (was_leaving) {
        orchestrator_start(m);
        return;
    }
    reload_on_orchestrator_death(m); /* may have started the next one already */
    if (o->state == ORCHESTRATOR_DOWN)
        start_again(m);
}

/* ---- what it says ---- */

static void on_published(struct orchestrator *o, struct channel_message *msg)
{
    struct master *m = o->master;
    int fd = msg->fd_count > 0 ? msg->fds[0] : sealed_memfd("coxswain topology", msg->payload);
    if (msg->fd_count > 0)
        msg->fds[0] = -1; /* taken */
    if (fd < 0)
        return;
    published_offer(&m->published, fd);
    if (o->state != ORCHESTRATOR_STARTING || !published_check(&m->published))
        return;
    set_state(o, ORCHESTRATOR_UP);
    o->was_up = true;
    reload_on_published(m);
}

static void on_admin_answer(struct master *m, struct str payload)
{
    uint64_t request;
    struct str text;
    if (unpack_u64(&payload, &request) && unpack_str(&payload, &text))
        control_on_admin_answer(m, request, text);
}

static void on_message(void *owner, struct channel *c, struct channel_message *msg)
{
    struct orchestrator *o = owner;
    struct master *m = o->master;
    CHECK_MAGIC(m, MASTER_MAGIC);
    (void)c;
    switch (msg->type) {
    case CHANNEL_ORCH_HEARTBEAT:
        o->heartbeat_ns = clock_now_ns();
        break;
    case CHANNEL_PUBLISHED:
        on_published(o, msg);
        break;
    case CHANNEL_MEMBER_START:
        members_on_start(m, msg->payload);
        break;
    case CHANNEL_MEMBER_STOP:
        members_on_stop(m, msg->payload);
        break;
    case CHANNEL_MEMBER_ASK_LIST:
        members_send_list(m);
        break;
    case CHANNEL_ADMIN_ANSWER:
        on_admin_answer(m, msg->payload);
        break;
    default:
        break;
    }
}

static void on_gone(void *owner, struct channel *c)
{
    struct orchestrator *o = owner;
    (void)c;
    channel_destroy(&o->channel);
    /* A closed channel without an exit is a process that cannot be used any more. */
    if (o->pid > 0 && !timer_is_armed(&o->kill))
        timer_arm(&o->kill, LEAVE_MS);
}

static const struct channel_ops orchestrator_channel = {on_message, on_gone};
