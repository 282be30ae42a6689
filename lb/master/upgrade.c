#include "master/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "master/child.h"
#include "master/master.h"
#include "run/channel.h"

enum { OUTPUT_MAX = 65536, FLUSH_STEP_MS = 20, FLUSH_STEPS = 50 };

static void refuse(struct master *m, const char *why)
{
    struct str rest = buf_str(&m->upgrade.check_output), line;
    while (str_next(&rest, '\n', &line))
        if (line.n)
            log_error("%.*s", STR_ARG(line));
    log_error("upgrade refused: %s", why);
    struct buf text;
    buf_init(&text);
    buf_put_str(&text, buf_str(&m->upgrade.check_output));
    buf_printf(&text, "%s\n", why);
    buf_put(&text, "", 1);
    m->upgrade.wanted = false;
    control_on_upgrade_failed(m, text.p);
    buf_fini(&text);
    if (m->reload.again)
        reload_on_drained(m);
}

/* ---- the state ---- */

static void collect_generations(const struct master *m, struct upgrade_state *s)
{
    for (struct list *l = m->generations.all.next; l != &m->generations.all; l = l->next) {
        const struct generation *g = CONTAINER_OF(l, struct generation, node);
        *state_add_generation(s) =
            (struct state_generation){.number = g->number,
                                      .state = g->state,
                                      .pid = g->pid,
                                      .channel_fd = g->channel ? channel_fd(g->channel) : -1,
                                      .ledger_fd = g->ledger_fd};
    }
}

static void collect_members(struct master *m, struct upgrade_state *s)
{
    members_settle(m);
    for (struct list *l = m->members.all.next; l != &m->members.all; l = l->next) {
        const struct member_process *p = CONTAINER_OF(l, struct member_process, node);
        if (p->has_failed)
            continue; /* its end is nobody's concern */
        struct state_member *to = state_add_member(s);
        to->id = str_dup(str_of(p->id));
        to->cartridge = str_dup(str_of(p->cartridge));
        to->pid = p->pid;
        to->output_fd = p->output_fd;
        to->since_wall_ns = p->since_wall_ns;
        for (size_t i = 0; i < p->vars.n; i++)
            member_vars_add(&to->vars, str_of(p->vars.names[i]), str_of(p->vars.values[i]));
    }
}

static void collect_listeners(const struct master *m, struct upgrade_state *s)
{
    for (int i = 0; i < m->listeners.count; i++) {
        const struct bound *b = &m->listeners.items[i];
        struct state_listener *to = state_add_listener(s);
        to->address = str_dup(str_of(b->address));
        to->fds = must(calloc((size_t)b->sockets.count + 1, sizeof *to->fds));
        memcpy(to->fds, b->sockets.fds, sizeof *to->fds * (size_t)b->sockets.count);
        to->count = b->sockets.count;
        to->is_given = b->sockets.is_given;
    }
}

static void collect(struct master *m, struct upgrade_state *s)
{
    state_init(s);
    collect_listeners(m, s);
    collect_generations(m, s);
    collect_members(m, s);
    s->orchestrator_pid = m->orchestrator.pid;
    s->orchestrator_fd = m->orchestrator.channel ? channel_fd(m->orchestrator.channel) : -1;
    s->last_generation = m->generations.last;
    s->last_epoch = m->orchestrator.epoch;
    s->past_fd = m->past_fd;
    s->places_fd = m->places_fd;
    s->topology_fd = published_fd(&m->published);
    s->control_fd = m->control.fd;
    s->control_path = str_dup(str_of(m->control.path));
    s->waiter_fd = control_upgrade_waiter(m);
    s->executable = str_dup(str_of(m->launch->executable));
    s->files_soft = m->launch->files.rlim_cur;
    s->files_hard = m->launch->files.rlim_max;
    s->restarts = m->upgrades + 1;
    s->tickets = m->tls.tickets;
    s->has_tickets = true;
}

/* ---- exec ---- */

static void keep_over_exec(void *ctx, int fd)
{
    (void)ctx;
    fcntl(fd, F_SETFD, 0);
}

static void close_on_exec(void *ctx, int fd)
{
    (void)ctx;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static void set_env_fd(const char *name, int fd)
{
    char text[16];
    snprintf(text, sizeof text, "%d", fd);
    setenv(name, text, 1);
}

/* Returns only when it failed. path NULL: the file behind exe_fd. */
static void exec_with(struct master *m, const char *path, int exe_fd, int old_fd)
{
    struct upgrade_state state;
    struct buf bytes;
    buf_init(&bytes);
    collect(m, &state);
    state_encode(&state, &bytes);
    int fd = sealed_memfd("coxswain state", buf_str(&bytes));
    if (fd >= 0) {
        state_each_fd(&state, keep_over_exec, NULL);
        keep_over_exec(NULL, fd);
        set_env_fd(UPGRADE_STATE_ENV, fd);
        if (old_fd >= 0) {
            keep_over_exec(NULL, old_fd);
            set_env_fd(UPGRADE_OLD_ENV, old_fd);
        }
        /* A signal that comes before the new executable listens would end it by default. */
        sigset_t all, before;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, &before);
        if (path)
            execve(path, m->launch->argv, environ);
        else
            fexecve(exe_fd, m->launch->argv, environ);
        int why = errno;
        sigprocmask(SIG_SETMASK, &before, NULL);
        state_each_fd(&state, close_on_exec, NULL);
        unsetenv(UPGRADE_STATE_ENV);
        unsetenv(UPGRADE_OLD_ENV);
        close(fd);
        errno = why;
    }
    buf_fini(&bytes);
    state_fini(&state);
}

static void take_over(struct master *m)
{
    struct upgrade *u = &m->upgrade;
    int old = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    log_info("upgrade: executing %s", m->launch->executable);
    exec_with(m, m->launch->executable, -1, old);
    buf_printf(&u->check_output, "%s: %s\n", m->launch->executable, strerror(errno));
    if (old >= 0)
        close(old);
    refuse(m, "cannot execute the new file");
}

static bool is_flushed(const struct master *m)
{
    if (m->orchestrator.channel && !channel_is_idle(m->orchestrator.channel))
        return false;
    for (struct list *l = m->generations.all.next; l != &m->generations.all; l = l->next) {
        const struct generation *g = CONTAINER_OF(l, struct generation, node);
        if (g->channel && !channel_is_idle(g->channel))
            return false;
    }
    return true;
}

static void on_flush(void *ctx)
{
    struct master *m = ctx;
    CHECK_MAGIC(m, MASTER_MAGIC);
    if (is_stopping(m))
        return;
    if (!is_flushed(m) && m->upgrade.flush_left-- > 0)
        timer_arm(&m->upgrade.flush, FLUSH_STEP_MS);
    else
        take_over(m);
}

/* ---- the check of the new file ---- */

static void on_output(int fd, short events, void *ctx)
{
    struct master *m = ctx;
    struct upgrade *u = &m->upgrade;
    (void)events;
    ssize_t n = read(fd, buf_reserve(&u->check_output, 4096), 4096);
    if (n > 0 && u->check_output.len < OUTPUT_MAX)
        u->check_output.len += (size_t)n;
    else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        watch_stop(&u->check_watch);
}

static pid_t fork_check(struct master *m, int *out_fd)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    pid_t pid = child_fork_plain(false);
    if (pid == 0) {
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        execl(m->launch->executable, m->launch->executable, "-t", "-c", m->config_file, (char *)NULL);
        dprintf(2, "%s: %s\n", m->launch->executable, strerror(errno));
        _exit(127);
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -1;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *out_fd = ends[0];
    return pid;
}

void upgrade_continue(struct master *m)
{
    struct upgrade *u = &m->upgrade;
    bool held_up = m->reload.phase != RELOAD_IDLE || m->generations.starting || !m->generations.serving ||
                   generations_draining(m) >= (int)m->settings->generations_max;
    if (!u->wanted || u->check_pid > 0 || timer_is_armed(&u->flush) || is_stopping(m) || held_up)
        return;
    u->check_output.len = 0;
    u->check_pid = fork_check(m, &u->check_fd);
    if (u->check_pid < 0) {
        u->check_pid = 0;
        refuse(m, "cannot start the check");
        return;
    }
    watch_start(&u->check_watch, &m->loop, u->check_fd, EV_READ, on_output, m);
}

void upgrade_request(struct master *m)
{
    log_info("upgrade asked for");
    m->upgrade.wanted = true;
    upgrade_continue(m);
}

void upgrade_on_check_exit(struct master *m, int status)
{
    struct upgrade *u = &m->upgrade;
    u->check_pid = 0;
    while (u->check_watch.added)
        on_output(u->check_fd, EV_READ, m);
    close(u->check_fd);
    u->check_fd = -1;
    if (is_stopping(m))
        return;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        refuse(m, "the new file does not accept the configuration");
        return;
    }
    u->check_output.len = 0;
    u->flush_left = FLUSH_STEPS;
    timer_arm(&u->flush, 1);
}

void upgrade_init(struct master *m)
{
    m->upgrade.master = m;
    m->upgrade.check_fd = -1;
    m->upgrade.old_exe_fd = -1;
    buf_init(&m->upgrade.check_output);
    timer_init(&m->upgrade.flush, &m->loop, on_flush, m);
}

/* ---- in the new executable ---- */

static int take_env_fd(const char *name)
{
    uint64_t fd;
    bool ok = str_to_u64(str_of(getenv(name)), &fd) && fd < INT32_MAX;
    unsetenv(name);
    return ok ? (int)fd : -1;
}

bool upgrade_read_state(struct upgrade_state *out, bool *out_ok, int *out_state_fd, int *out_old_fd)
{
    struct str bytes;
    state_init(out);
    *out_state_fd = take_env_fd(UPGRADE_STATE_ENV);
    *out_old_fd = take_env_fd(UPGRADE_OLD_ENV);
    if (*out_state_fd < 0)
        return false;
    *out_ok = sealed_map(*out_state_fd, &bytes);
    if (*out_ok) {
        *out_ok =
            state_decode(bytes, out) && out->topology_fd >= 0 && out->past_fd >= 0 && out->control_fd >= 0;
        sealed_unmap(bytes);
    }
    return true;
}

void upgrade_go_back(const struct launch *l, int state_fd, int old_fd)
{
    if (old_fd < 0 || state_fd < 0)
        return;
    log_error("upgrade: going back to the former executable");
    set_env_fd(UPGRADE_STATE_ENV, state_fd);
    setenv(UPGRADE_BACK_ENV, "1", 1);
    fcntl(state_fd, F_SETFD, 0);
    fexecve(old_fd, l->argv, environ);
    log_error("upgrade: cannot go back: %m");
}

void upgrade_settled(struct master *m)
{
    if (m->upgrade.old_exe_fd >= 0)
        close(m->upgrade.old_exe_fd);
    m->upgrade.old_exe_fd = -1;
}

void upgrade_failed(struct master *m)
{
    if (m->upgrade.old_exe_fd < 0)
        return;
    if (is_stopping(m)) { /* told to stop in the middle of it: the former executable would not know */
        upgrade_settled(m);
        return;
    }
    log_error("upgrade: no proxy of the new executable became ready; going back to the former one");
    exec_with(m, NULL, m->upgrade.old_exe_fd, -1);
    log_error("upgrade: cannot go back: %m");
    upgrade_settled(m);
}
