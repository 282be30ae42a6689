#include "master/watchdog.h"

#include <signal.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "master/master.h"

enum { PERIOD_MS = 1000 };

/* True when it was sent a signal. */
static bool look_at(const char *role, uint64_t number, pid_t pid, uint64_t heartbeat_ns, uint64_t now, bool *aborted)
{
    if (now < heartbeat_ns || now - heartbeat_ns < WATCHDOG_LIMIT_NS)
        return false;
    if (!*aborted) {
        log_error("%s %llu (process %d) hangs: no sign of life for %llu s; ended", role, (unsigned long long)number,
                  (int)pid, (unsigned long long)((now - heartbeat_ns) / NS_PER_S));
        *aborted = true;
        kill(pid, SIGABRT);
    } else if (now - heartbeat_ns > WATCHDOG_LIMIT_NS + WATCHDOG_STACK_NS) {
        kill(pid, SIGKILL);
    }
    return true;
}

static void look_at_generation(struct generation *g, uint64_t now)
{
    if (look_at("proxy", g->number, g->pid, g->heartbeat_ns, now, &g->aborted))
        return;
    if (g->state == GENERATION_STARTING && now - g->since_ns > WATCHDOG_START_NS) {
        log_error("proxy %llu does not become ready; killed", (unsigned long long)g->number);
        kill(g->pid, SIGKILL);
    }
    if (g->state == GENERATION_DRAINING &&
        now - g->since_ns > g->drain_timeout_ms * NS_PER_MS + WATCHDOG_DRAIN_MORE_NS) {
        log_warn("proxy %llu does not finish draining; killed", (unsigned long long)g->number);
        kill(g->pid, SIGKILL);
    }
}

static void on_tick(void *ctx)
{
    struct master *m = ctx;
    struct orchestrator *o = &m->orchestrator;
    CHECK_MAGIC(m, MASTER_MAGIC);
    uint64_t now = clock_now_ns(), last = m->watchdog.last_ns;
    m->watchdog.last_ns = now;
    timer_arm(&m->watchdog.timer, PERIOD_MS);
    /* We were stopped ourselves (a debugger, a busy machine): their heartbeats lie unread, so look the next time. */
    if (now - last > 3 * PERIOD_MS * NS_PER_MS)
        return;
    for (struct list *l = m->generations.all.next; l != &m->generations.all; l = l->next)
        look_at_generation(CONTAINER_OF(l, struct generation, node), now);
    if (o->pid > 0 && o->state != ORCHESTRATOR_LEAVING)
        look_at("orchestrator", o->epoch, o->pid, o->heartbeat_ns, now, &o->aborted);
}

void watchdog_start(struct master *m)
{
    timer_init(&m->watchdog.timer, &m->loop, on_tick, m);
    m->watchdog.last_ns = clock_now_ns();
    timer_arm(&m->watchdog.timer, PERIOD_MS);
}
