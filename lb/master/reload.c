#include "master/reload.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "master/check.h"
#include "master/master.h"
#include "master/processors.h"
#include "master/sd_notify.h"
#include "run/bundle.h"

enum { CHECK_MS = 30000, ORCHESTRATOR_MS = 15000, PROXY_MS = 35000 };

static void start_run(struct master *m);

const struct settings *reload_settings(const struct master *m)
{
    return m->reload.settings ? m->reload.settings : m->settings;
}

const struct privileges *reload_privileges(const struct master *m)
{
    return m->reload.settings ? &m->reload.privileges : &m->privileges;
}

const struct logs *reload_logs(const struct master *m)
{
    return m->reload.settings ? &m->reload.logs : &m->logs;
}

/* ---- the end of a run ---- */

static void log_lines(const struct buf *text)
{
    struct str rest = buf_str(text), line;
    while (str_next(&rest, '\n', &line))
        if (line.n)
            log_error("%.*s", STR_ARG(line));
}

static void end_check(struct reload *r)
{
    watch_stop(&r->check_watch);
    if (r->check_fd >= 0)
        close(r->check_fd);
    r->check_fd = -1;
}

static void finish(struct master *m, bool ok)
{
    struct reload *r = &m->reload;
    uint64_t serial = r->serial;
    bool was_upgrade = r->is_upgrade;
    end_check(r);
    timer_stop(&r->deadline);
    r->phase = RELOAD_IDLE;
    r->last_ok = ok;
    r->last_wall_ns = clock_wall_ns();
    if (!is_stopping(m))
        sd_notify_ready(ok ? "serving" : "serving with the old configuration");
    control_on_reload_done(m, serial, ok, buf_str(&r->errors));
    r->is_upgrade = false;
    r->errors.len = 0;
    if (was_upgrade && ok)
        upgrade_settled(m);
    else if (was_upgrade)
        upgrade_failed(m);
    if (is_stopping(m))
        return;
    upgrade_continue(m);
    start_run(m);
}

/* What the run had made goes again; what it had replaced comes back. */
static void fail(struct master *m, const char *why)
{
    struct reload *r = &m->reload;
    enum reload_phase phase = r->phase;
    struct generation *starting = m->generations.starting;
    buf_printf(&r->errors, "%s\n", why);
    log_lines(&r->errors);
    log_error("%s failed; the old configuration stays in force", r->is_upgrade ? "upgrade" : "reload");
    if (r->settings) {
        listeners_unbind_last(&m->listeners);
        close(r->tls_fd);
        r->tls_fd = -1;
        settings_free(&r->settings);
        logs_close(&r->logs);
    }
    if (phase == RELOAD_PROXY && starting && m->generations.serving) {
        generation_drain(starting, 0, true); /* it never served, so there is nothing to lose */
        if (starting->pid > 0)
            kill(starting->pid, SIGKILL);
    }
    bool replaced = phase >= RELOAD_ORCHESTRATOR;
    finish(m, false);
    if (replaced && !is_stopping(m))
        orchestrator_replace(m);
}

static void succeed(struct master *m)
{
    struct reload *r = &m->reload;
    if (r->settings) {
        settings_free(&m->settings);
        m->settings = r->settings;
        r->settings = NULL;
        m->privileges = r->privileges;
        tls_files_take(m, r->tls_fd);
        r->tls_fd = -1;
        logs_close(&m->logs);
        m->logs = r->logs;
        logs_begin(&m->logs, "master", m->settings);
        master_tell_logs(m);
        listeners_close_unused(&m->listeners, m->settings);
    }
    log_info("%s done", r->is_upgrade ? "upgrade" : "reload");
    finish(m, true);
}

static void on_deadline(void *ctx)
{
    struct master *m = ctx;
    struct reload *r = &m->reload;
    CHECK_MAGIC(m, MASTER_MAGIC);
    if (r->phase == RELOAD_CHECKING && r->check_pid > 0)
        kill(r->check_pid, SIGKILL); /* its exit is then the failure */
    else if (r->phase == RELOAD_ORCHESTRATOR)
        fail(m, "the orchestrator did not come up in time");
    else if (r->phase == RELOAD_PROXY)
        fail(m, "the new proxy did not become ready in time");
}

void reload_init(struct master *m)
{
    m->reload.master = m;
    m->reload.check_fd = -1;
    buf_init(&m->reload.errors);
    timer_init(&m->reload.deadline, &m->loop, on_deadline, m);
}

/* ---- checking ---- */

static void on_check_output(int fd, short events, void *ctx)
{
    struct master *m = ctx;
    struct reload *r = &m->reload;
    CHECK_MAGIC(m, MASTER_MAGIC);
    (void)events;
    ssize_t n = read(fd, buf_reserve(&r->errors, 4096), 4096);
    if (n > 0 && r->errors.len < CHECK_ERRORS_MAX)
        r->errors.len += (size_t)n;
    else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
        watch_stop(&r->check_watch);
}

static bool is_held_up(const struct master *m)
{
    return m->reload.phase != RELOAD_IDLE || is_stopping(m) || m->upgrade.check_pid > 0 ||
           timer_is_armed((struct timer *)(uintptr_t)&m->upgrade.flush) || m->generations.starting ||
           generations_draining(m) >= (int)m->settings->generations_max;
}

static void start_run(struct master *m)
{
    struct reload *r = &m->reload;
    if (!r->again || is_held_up(m))
        return;
    r->again = false;
    r->serial++;
    r->phase = RELOAD_CHECKING;
    r->errors.len = 0;
    sd_notify_reloading();
    log_info("reload: checking %s", m->config_file);
    r->check_pid = check_start(m->config_file, &r->check_fd);
    if (r->check_pid < 0) {
        fail(m, "cannot start the check");
        return;
    }
    watch_start(&r->check_watch, &m->loop, r->check_fd, EV_READ, on_check_output, m);
    timer_arm(&r->deadline, CHECK_MS);
}

void reload_request(struct master *m)
{
    m->reload.again = true;
    start_run(m);
}

void reload_on_drained(struct master *m)
{
    upgrade_continue(m);
    start_run(m);
}

/* ---- applying ---- */

/* These belong to memory and sockets that outlive a reload. */
static void keep_fixed(const struct master *m, struct settings *next)
{
    if (next->max_clusters != m->settings->max_clusters || next->max_endpoints != m->settings->max_endpoints)
        log_warn("reload: max_clusters and max_endpoints change at the next start only");
    next->max_clusters = m->settings->max_clusters;
    next->max_endpoints = m->settings->max_endpoints;
}

static bool prepare(struct master *m)
{
    struct reload *r = &m->reload;
    struct settings *next = settings_load(m->config_file, &r->errors);
    if (!next)
        return false;
    int sockets = next->workers > 0 ? (int)next->workers : processors_usable();
    if (!privileges_resolve(next, &r->privileges, &r->errors) || !logs_open(next, &r->logs, &r->errors)) {
        settings_free(&next);
        return false;
    }
    r->tls_fd = bundle_make(next, BUNDLE_ALL, &r->errors);
    if (r->tls_fd < 0 || !listeners_bind(&m->listeners, next, sockets, &r->errors)) {
        if (r->tls_fd >= 0)
            close(r->tls_fd);
        r->tls_fd = -1;
        logs_close(&r->logs);
        settings_free(&next);
        return false;
    }
    keep_fixed(m, next);
    privileges_make_folder(&r->privileges, next->state_dir);
    r->settings = next;
    return true;
}

static void go_on_with_orchestrator(struct master *m)
{
    m->reload.phase = RELOAD_ORCHESTRATOR;
    stalls_forget(&m->orchestrator.stalls); /* somebody has acted: every plugin has a new chance */
    timer_arm(&m->reload.deadline, ORCHESTRATOR_MS);
    orchestrator_replace(m);
}

void reload_on_check_exit(struct master *m, int status)
{
    struct reload *r = &m->reload;
    r->check_pid = 0;
    if (r->phase != RELOAD_CHECKING)
        return;
    while (r->check_watch.added) /* what is still in the pipe */
        on_check_output(r->check_fd, EV_READ, m);
    end_check(r);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail(m, "the configuration is not valid");
    else if (!prepare(m))
        fail(m, "the configuration cannot be used");
    else
        go_on_with_orchestrator(m);
}

void reload_after_upgrade(struct master *m)
{
    m->reload.serial++;
    m->reload.is_upgrade = true;
    go_on_with_orchestrator(m);
}

void reload_on_published(struct master *m)
{
    if (m->reload.phase != RELOAD_ORCHESTRATOR)
        return;
    m->reload.phase = RELOAD_PROXY;
    timer_arm(&m->reload.deadline, PROXY_MS);
    if (m->generations.starting) { /* the serving one died meanwhile and its successor has the old settings */
        fail(m, "a proxy died during the reload");
        return;
    }
    if (!generation_start(m, reload_settings(m)))
        fail(m, "cannot start a new proxy");
}

void reload_on_orchestrator_death(struct master *m)
{
    if (m->reload.phase == RELOAD_ORCHESTRATOR)
        fail(m, "the orchestrator died with the new configuration");
}

void reload_on_ready(struct master *m)
{
    if (m->reload.phase == RELOAD_PROXY)
        succeed(m);
    else
        start_run(m); /* one that waited for a restarted proxy */
}

void reload_on_proxy_death(struct master *m)
{
    if (m->reload.phase == RELOAD_PROXY)
        fail(m, "the new proxy died before it was ready");
}

void reload_cancel(struct master *m)
{
    struct reload *r = &m->reload;
    r->again = false;
    if (r->check_pid > 0)
        kill(r->check_pid, SIGKILL);
    if (r->phase != RELOAD_IDLE)
        fail(m, "the program is being stopped");
}
