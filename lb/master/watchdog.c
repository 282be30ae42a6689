#include "master/watchdog.h"

#include <signal.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/panic.h"
#include "master/master.h"

enum { PERIOD_MS = 1000 };

/* True when it was sent a signal, this time or before. */
static bool look_at(const char *role, uint64_t number, pid_t pid, uint64_t heartbeat_ns, uint64_t limit_ns,
                    uint64_t now, bool *aborted)
{
    if (now < heartbeat_ns || now - heartbeat_ns < limit_ns)
        return false;
    if (!*aborted) {
        log_error("%s %llu (process %d) hangs: no sign of life for %llu s; ended", role,
                  (unsigned long long)number, (int)pid,
                  (unsigned long long)((now - heartbeat_ns) / NS_PER_S));
        *aborted = true;
        kill(pid, SIGABRT);
    } else if (now - heartbeat_ns > limit_ns + WATCHDOG_STACK_NS) {
        kill(pid, SIGKILL);
    }
    return true;
}

static void look_at_generation(struct generation *g, uint64_t now)
{
    if (look_at("proxy", g->number, g->pid, g->heartbeat_ns, WATCHDOG_LIMIT_NS, now, &g->aborted))
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

static void look_at_orchestrator(struct orchestrator *o, uint64_t now)
{
    char name[STALL_NAME_BYTES];
    uint64_t running = stalls_running(&o->stalls, now, name);
    if (o->pid <= 0 || o->state == ORCHESTRATOR_LEAVING)
        return;
    if (running >= STALL_LIMIT_NS && !o->aborted) {
        log_error("plugin \"%s\" has held up the orchestrator for %llu s; ended", name,
                  (unsigned long long)(running / NS_PER_S));
        o->aborted = true;
        kill(o->pid, SIGABRT);
        return;
    }
    look_at("orchestrator", o->epoch, o->pid, o->heartbeat_ns, WATCHDOG_ORCHESTRATOR_NS, now, &o->aborted);
}

static void on_tick(void *ctx)
{
    struct master *m = ctx;
    CHECK_MAGIC(m, MASTER_MAGIC);
    uint64_t now = clock_now_ns(), last = m->watchdog.last_ns;
    m->watchdog.last_ns = now;
    memory_decay();
    timer_arm(&m->watchdog.timer, PERIOD_MS);
    /* We were stopped ourselves (a debugger, a busy machine): their heartbeats lie unread, so look the next
     * time. */
    if (now - last > 3 * PERIOD_MS * NS_PER_MS)
        return;
    for (struct list *l = m->generations.all.next; l != &m->generations.all; l = l->next)
        look_at_generation(CONTAINER_OF(l, struct generation, node), now);
    look_at_orchestrator(&m->orchestrator, now);
}

void watchdog_start(struct master *m)
{
    timer_init(&m->watchdog.timer, &m->loop, on_tick, m);
    m->watchdog.last_ns = clock_now_ns();
    timer_arm(&m->watchdog.timer, PERIOD_MS);
}
