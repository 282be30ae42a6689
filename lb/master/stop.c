#include "master/stop.h"

#include <signal.h>

#include "base/log.h"
#include "base/panic.h"
#include "master/master.h"
#include "master/sd_notify.h"

bool is_stopping(const struct master *m)
{
    return m->stop.phase != STOP_NO;
}

static void drain_all(struct master *m)
{
    m->stop.phase = STOP_DRAIN;
    timer_stop(&m->generations.restart);
    for (struct list *l = m->generations.all.next; l != &m->generations.all; l = l->next)
        generation_drain(CONTAINER_OF(l, struct generation, node), m->settings->drain_timeout_ms, true);
    /* The proxies take what waits in the queues and close their copies; with ours gone, new clients are
     * refused instead of waiting for nobody. */
    listeners_close_all(&m->listeners, true);
    orchestrator_quit(m);
    stop_progress(m);
}

static void on_timer(void *ctx)
{
    struct master *m = ctx;
    CHECK_MAGIC(m, MASTER_MAGIC);
    if (m->stop.phase == STOP_DELAY)
        drain_all(m);
}

void stop_init(struct master *m)
{
    m->stop.master = m;
    timer_init(&m->stop.timer, &m->loop, on_timer, m);
}

void stop_begin(struct master *m)
{
    if (is_stopping(m)) {
        log_warn("told to stop again: ending at once");
        stop_now(m, EXIT_OK);
        return;
    }
    log_info("stopping: draining");
    m->stop.phase = STOP_DELAY;
    sd_notify_stopping();
    reload_cancel(m);
    generations_tell(m, CHANNEL_FAIL_READY, STR(""), NULL, 0);
    if (m->settings->shutdown_delay_ms)
        timer_arm(&m->stop.timer, m->settings->shutdown_delay_ms);
    else
        drain_all(m);
}

void stop_now(struct master *m, int exit_code)
{
    m->stop.phase = STOP_MEMBERS;
    m->exit_code = exit_code;
    for (struct list *l = m->generations.all.next; l != &m->generations.all; l = l->next)
        kill(CONTAINER_OF(l, struct generation, node)->pid, SIGKILL);
    if (m->orchestrator.pid > 0)
        kill(m->orchestrator.pid, SIGKILL);
    members_kill_all(m);
    loop_stop(&m->loop);
}

void stop_progress(struct master *m)
{
    if (m->stop.phase == STOP_DRAIN && list_is_empty(&m->generations.all)) {
        m->stop.phase = STOP_MEMBERS;
        members_stop_all(m); /* only now: they served what was in flight */
    }
    if (m->stop.phase == STOP_MEMBERS && list_is_empty(&m->members.all) && m->orchestrator.pid == 0) {
        log_info("stopped");
        loop_stop(&m->loop);
    }
}
