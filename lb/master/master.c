#include "master/master.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "base/paths.h"
#include "master/check.h"
#include "master/processors.h"
#include "master/sd_notify.h"
#include "topo/model.h"
#include "topo/topology_file.h"

#ifndef COX_VERSION
#define COX_VERSION "unknown"
#endif

enum { FIRST_EPOCH = 1 };

const char *master_version(void)
{
    return COX_VERSION;
}

int master_read_only(int fd)
{
    char path[48];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int copy = open(path, O_RDONLY | O_CLOEXEC);
    /* Without /proc the memory can at least not be mapped writable, once it is sealed. */
    return copy >= 0 ? copy : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* ---- children that ended ---- */

static void on_child_exit(struct master *m, pid_t pid, int status)
{
    struct generation *g = generation_of_pid(m, pid);
    if (g)
        generation_on_exit(g, status);
    else if (pid == m->orchestrator.pid)
        orchestrator_on_exit(m, status);
    else if (pid == m->reload.check_pid)
        reload_on_check_exit(m, status);
    else if (pid == m->upgrade.check_pid)
        upgrade_on_check_exit(m, status);
    else if (members_has_pid(m, pid))
        members_on_exit(m, pid, status);
    /* Others were adopted from members that left them behind. */
}

static void reap(struct master *m)
{
    for (;;) {
        siginfo_t info = {.si_pid = 0};
        int status;
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
            return;
        /* While the leader is not reaped its number cannot belong to another group: now is the moment to end
         * what a member leaves behind. */
        if (members_has_pid(m, info.si_pid))
            kill(-info.si_pid, SIGKILL);
        if (waitpid(info.si_pid, &status, WNOHANG) == info.si_pid)
            on_child_exit(m, info.si_pid, status);
    }
}

/* ---- signals ---- */

static void on_signal(int signo, void *ctx)
{
    struct master *m = ctx;
    CHECK_MAGIC(m, MASTER_MAGIC);
    switch (signo) {
    case SIGCHLD:
        reap(m);
        break;
    case SIGHUP:
        if (!is_stopping(m))
            reload_request(m);
        break;
    case SIGUSR1:
        master_reopen_logs(m);
        break;
    case SIGUSR2:
        if (!is_stopping(m))
            upgrade_request(m);
        break;
    default: /* TERM, INT, QUIT */
        stop_begin(m);
        break;
    }
}

static const int watched[] = {SIGCHLD, SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGQUIT};
enum { WATCHED = sizeof watched / sizeof watched[0] };
_Static_assert(WATCHED <= MASTER_SIGNALS, "room for every signal");

static void watch_signals(struct master *m)
{
    for (size_t i = 0; i < WATCHED; i++)
        signal_watch_start(&m->signals[i], &m->loop, watched[i], on_signal, m);
    signal(SIGPIPE, SIG_IGN);
    /* The executable before us blocked them, so that none of them met its default action, which is to end us.
     */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* We are leaving: from here on the default action of a signal would only spoil the exit code. */
static void unwatch_signals(struct master *m)
{
    sigset_t ours;
    sigemptyset(&ours);
    for (size_t i = 0; i < WATCHED; i++)
        sigaddset(&ours, watched[i]);
    sigprocmask(SIG_BLOCK, &ours, NULL);
    for (size_t i = 0; i < MASTER_SIGNALS; i++)
        if (m->signals[i].fn)
            signal_watch_stop(&m->signals[i]);
}

/* ---- logs ---- */

void master_tell_logs(struct master *m)
{
    /* A socket says that there is nothing to be opened again. */
    int fds[2] = {m->logs.syslog_fd >= 0 ? m->logs.syslog_fd : m->logs.error_fd, m->logs.access_fd};
    int count = m->logs.access_fd >= 0 ? 2 : 1;
    generations_tell(m, CHANNEL_LOG_FD, STR(""), fds, count);
    orchestrator_tell(m, CHANNEL_LOG_FD, STR(""), fds, 1);
}

void master_reopen_logs(struct master *m)
{
    struct buf error;
    struct logs next;
    buf_init(&error);
    if (logs_open(m->settings, &next, &error)) {
        logs_close(&m->logs);
        m->logs = next;
        logs_begin(&m->logs, "master", m->settings);
        master_tell_logs(m);
        log_info("logs opened again");
    } else {
        log_error("%.*s", (int)error.len, error.p);
    }
    buf_fini(&error);
}

/* ---- the first topology and the totals ---- */

/* Of the last run only what a configured source had discovered: the config speaks for itself, and the members
 * ended with the master that ran them, so their ports may be anybody's now. */
static bool is_source(void *ctx, const char *owner)
{
    const struct settings *s = ctx;
    for (size_t i = 0; i < s->plugins.count; i++)
        if (strcmp(SETTINGS_AT(s->plugins, struct plugin_settings, i)->name, owner) == 0)
            return strcmp(owner, MEMBERS_OWNER) != 0;
    return false;
}

static void load_last_topology(struct master *m, struct model *model)
{
    const char *dir = m->settings->state_dir;
    struct buf error;
    buf_init(&error);
    struct topology *t = dir && *dir ? topology_file_read(dir, &error) : NULL;
    if (error.len)
        log_warn("the topology in %s is not used: %.*s", dir, STR_ARG(buf_str(&error)));
    if (t) {
        model_load(model, t);
        model_keep_owners(model, t, is_source, m->settings);
        for (uint32_t i = 0; i < t->member_count; i++)
            model_remove_member(model, t->members[i].id);
        log_info("starting from the topology in %s", dir);
    }
    topology_unref(&t);
    buf_fini(&error);
}

static bool make_topology(struct master *m)
{
    struct model *model = model_create(FIRST_EPOCH, m->max_clusters, m->max_endpoints);
    struct buf bytes;
    buf_init(&bytes);
    load_last_topology(m, model);
    model_load_settings(model, m->settings);
    struct topology *t = model_publish(model);
    if (!t) { /* nothing configured is a topology too */
        t = model_current(model);
        topology_ref(t);
    }
    topology_encode(t, &bytes);
    m->published.fd = sealed_memfd("coxswain topology", buf_str(&bytes));
    topology_unref(&t);
    model_destroy(&model);
    buf_fini(&bytes);
    return m->published.fd >= 0;
}

/* Without it each generation counts max_in_flight for itself: a pity, and no reason to stop. */
static void make_places(struct master *m, int fd)
{
    m->places_fd = fd >= 0 ? fd : places_create(m->max_endpoints);
    if (m->places_fd < 0 || !places_open(&m->places, m->places_fd, 0))
        log_warn("max_in_flight holds for each generation alone: %m");
}

static bool make_past(struct master *m)
{
    m->past_fd = ledger_past_create(m->max_clusters, m->max_endpoints);
    return m->past_fd >= 0 && ledger_past_open(&m->past, m->past_fd, true);
}

/* ---- starting ---- */

void master_on_serving(struct master *m)
{
    daemon_ready(&m->daemon);
    if (m->reload.phase == RELOAD_IDLE)
        sd_notify_ready("serving");
}

static int say_and_fail(const struct master *m, const struct buf *error, int code)
{
    struct str rest = buf_str(error), line;
    while (str_next(&rest, '\n', &line))
        if (line.n) {
            log_error("%.*s", STR_ARG(line));
            if (m->daemon.stderr_fd >= 0 && m->logs.error_fd != 2)
                dprintf(m->daemon.stderr_fd, "%.*s\n", STR_ARG(line));
        }
    return code;
}

static void init_parts(struct master *m)
{
    generations_init(m);
    orchestrator_init(m);
    member_table_init(m);
    reload_init(m);
    upgrade_init(m);
    tls_files_start(m);
    stop_init(m);
}

static int load(struct master *m, struct buf *error)
{
    m->settings = settings_load(m->config_file, error);
    if (!m->settings || !privileges_resolve(m->settings, &m->privileges, error))
        return EXIT_CONFIG;
    if (!tls_files_load(&m->tls, m->settings, error))
        return EXIT_CONFIG;
    if (!logs_open(m->settings, &m->logs, error))
        return EXIT_OS;
    logs_begin(&m->logs, "master", m->settings);
    privileges_make_folder(&m->privileges, m->settings->state_dir);
    m->max_clusters = (uint32_t)m->settings->max_clusters;
    m->max_endpoints = (uint32_t)m->settings->max_endpoints;
    return EXIT_OK;
}

static int bind_all(struct master *m, struct buf *error)
{
    int sockets = m->settings->workers > 0 ? (int)m->settings->workers : processors_usable();
    const char *path = m->settings->control;
    char *fallback = path && *path ? NULL : control_default();
    listeners_init(&m->listeners);
    bool ok = listeners_bind(&m->listeners, m->settings, sockets, error) &&
              control_start(m, fallback ? fallback : path, error);
    free(fallback);
    if (ok)
        listeners_warn_unused(&m->listeners);
    return ok ? EXIT_OK : EXIT_BIND;
}

static int start_fresh(struct master *m, const struct master_options *options, struct buf *error)
{
    int code = bind_all(m, error);
    if (code != EXIT_OK)
        return code;
    make_places(m, -1);
    if (!make_past(m) || !make_topology(m)) {
        buf_printf(error, "cannot make shared memory: %s\n", strerror(errno));
        return EXIT_OS;
    }
    const char *pid_file = options->pid_file ? options->pid_file : m->settings->pid_file;
    if (pid_file && *pid_file) {
        if (!pid_file_write(pid_file)) {
            buf_printf(error, "cannot write the pid file %s: %s\n", pid_file, strerror(errno));
            return EXIT_OS;
        }
        m->pid_file = str_dup(str_of(pid_file));
    }
    orchestrator_start(m);
    if (!m->generations.starting && !generation_start(m, m->settings))
        return EXIT_OS;
    return EXIT_OK;
}

/* ---- after an upgrade ---- */

/* Totals of another layout are carried over into new ones: what both layouts have goes on counting. */
static void carry_past_over(struct master *m, int old_fd)
{
    struct ledger_past old;
    bool is_known = ledger_past_open(&old, old_fd, false);
    if (is_known) {
        m->max_clusters = old.max_clusters;
        m->max_endpoints = old.max_endpoints;
    }
    if (!make_past(m))
        PANIC("no memory for the totals: %s", strerror(errno));
    if (is_known) {
        log_info("upgrade: the totals are of another layout; carried over");
        ledger_past_take_over(&m->past, &old);
        ledger_past_close(&old);
    } else {
        log_warn("upgrade: the totals of the former executable cannot be read; counting begins anew");
    }
    close(old_fd);
}

static void adopt_memory(struct master *m, const struct upgrade_state *s)
{
    if (s->has_tickets)
        m->tls.tickets = s->tickets;
    m->published.fd = s->topology_fd;
    m->past_fd = s->past_fd;
    if (ledger_past_open(&m->past, s->past_fd, true)) {
        m->max_clusters = m->past.max_clusters;
        m->max_endpoints = m->past.max_endpoints;
    } else {
        carry_past_over(m, s->past_fd);
    }
    m->settings->max_clusters = m->max_clusters;
    m->settings->max_endpoints = m->max_endpoints;
    make_places(m, s->places_fd);
}

static void adopt_children(struct master *m, struct upgrade_state *s)
{
    m->generations.last = s->last_generation;
    m->generations.was_ready = true;
    for (size_t i = 0; i < s->generation_count; i++) {
        const struct state_generation *g = &s->generations[i];
        enum generation_state state =
            g->state == GENERATION_SERVING ? GENERATION_SERVING : GENERATION_DRAINING;
        generation_adopt(m, g->number, g->pid, g->channel_fd, g->ledger_fd, state);
    }
    for (size_t i = 0; i < s->member_count; i++) {
        struct state_member *p = &s->members[i];
        members_adopt(m, str_of(p->id), str_of(p->cartridge), p->pid, p->output_fd, &p->vars,
                      p->since_wall_ns);
    }
    orchestrator_adopt(m, s->orchestrator_pid, s->orchestrator_fd, s->last_epoch);
}

static void mark_close_on_exec(void *ctx, int fd)
{
    (void)ctx;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static int start_adopting(struct master *m, const struct master_options *options, struct upgrade_state *s,
                          struct buf *error)
{
    int sockets = m->settings->workers > 0 ? (int)m->settings->workers : processors_usable();
    state_each_fd(s, mark_close_on_exec, NULL);
    m->upgrades = s->restarts;
    m->launch->files = (struct rlimit){s->files_soft, s->files_hard};
    if (s->executable && *s->executable) { /* the path, not the file that it named when we were started */
        free(m->launch->executable);
        m->launch->executable = str_dup(str_of(s->executable));
    }
    for (size_t i = 0; i < s->listener_count; i++)
        listeners_adopt(&m->listeners, str_of(s->listeners[i].address), s->listeners[i].fds,
                        s->listeners[i].count, s->listeners[i].is_given);
    adopt_memory(m, s);
    control_adopt(m, s->control_path, s->control_fd, s->waiter_fd);
    if (getenv(UPGRADE_BACK_ENV)) {
        unsetenv(UPGRADE_BACK_ENV);
        control_on_upgrade_failed(m, "the new file could not take over; the former one goes on\n");
    }
    adopt_children(m, s);
    const char *pid_file = options->pid_file ? options->pid_file : m->settings->pid_file;
    if (pid_file && *pid_file)
        m->pid_file = str_dup(str_of(pid_file));
    if (!listeners_bind(&m->listeners, m->settings, sockets, error))
        say_and_fail(m, error, EXIT_BIND); /* a new one that cannot be had is no reason to drop the others */
    log_info("upgrade: version %s took over %zu proxies and %zu members", master_version(),
             s->generation_count, s->member_count);
    reap(m); /* who died between the two executables */
    reload_after_upgrade(m);
    return EXIT_OK;
}

/* ---- life ---- */

static void fini(struct master *m)
{
    unwatch_signals(m);
    control_stop(m, true);
    if (m->loop.base) {
        generations_fini(m);
        member_table_fini(m);
        channel_destroy(&m->orchestrator.channel);
    }
    listeners_close_all(&m->listeners, true);
    if (m->pid_file)
        pid_file_remove(m->pid_file);
    free(m->pid_file);
    places_close(&m->places);
    if (m->places_fd >= 0)
        close(m->places_fd);
    log_set_syslog(NULL);
    logs_close(&m->logs);
    buf_fini(&m->reload.errors);
    buf_fini(&m->upgrade.check_output);
    settings_free(&m->settings);
    if (m->past.base)
        ledger_past_close(&m->past);
    if (m->past_fd >= 0)
        close(m->past_fd);
    published_fini(&m->published);
    tls_files_fini(&m->tls);
    loop_fini(&m->loop);
}

static int start(struct master *m, const struct master_options *options, struct upgrade_state *state,
                 bool adopting, struct buf *error)
{
    if (!adopting && !check_run(m->config_file, error))
        return EXIT_CONFIG;
    int code = load(m, error);
    if (code != EXIT_OK)
        return code;
    bool wants_daemon = !adopting && (options->daemon || m->settings->daemon);
    if (wants_daemon && !daemon_fork(&m->daemon, m->logs.error_fd == 2 && !m->logs.error_syslog))
        return EXIT_OS;
    /* After the fork into the background: an epoll instance belongs to its process. */
    if (!loop_init(&m->loop))
        return EXIT_OS;
    init_parts(m);
    watch_signals(m);
    m->started_wall_ns = clock_wall_ns();
    code = adopting ? start_adopting(m, options, state, error) : start_fresh(m, options, error);
    if (code == EXIT_OK)
        watchdog_start(m);
    return code;
}

int master_run(struct launch *launch, const struct master_options *options)
{
    struct master m = {.magic = MASTER_MAGIC,
                       .launch = launch,
                       .config_file = options->config_file,
                       .places_fd = -1,
                       .logs = {.error_fd = 2, .access_fd = -1, .syslog_fd = -1},
                       .past_fd = -1,
                       .published = {-1, -1},
                       .tls = {.fd = -1},
                       .reload = {.tls_fd = -1},
                       .control = {.fd = -1},
                       .daemon = {-1, -1}};
    struct upgrade_state state;
    struct buf error;
    bool state_ok = false;
    int state_fd, old_fd;
    buf_init(&error);
    bool adopting = upgrade_read_state(&state, &state_ok, &state_fd, &old_fd);
    if (adopting && !state_ok)
        log_error("upgrade: the state of the former executable cannot be read");
    int code = adopting && !state_ok ? EXIT_FAILED : start(&m, options, &state, adopting, &error);
    if (code != EXIT_OK) {
        say_and_fail(&m, &error, code);
        if (adopting)
            upgrade_go_back(launch, state_fd, old_fd);
        if (m.loop.base)
            stop_now(&m, code);
    } else {
        m.upgrade.old_exe_fd = old_fd;
        if (old_fd >= 0)
            fcntl(old_fd, F_SETFD, FD_CLOEXEC);
        if (state_fd >= 0)
            close(state_fd);
        state_fini(&state);
        loop_run(&m.loop);
        code = m.exit_code;
    }
    buf_fini(&error);
    fini(&m);
    return code;
}
