/* What members take of the machine, told to whoever scales. */
#include "process.h"
#include "usage.h"

#define REPORTS_TURN 25u  /* members that are looked at in one turn: it must not take long */
#define LOAD_NS      30e9 /* what a load average is the mean of, about */

static void report(struct instance *p, const struct member *m, const char *metric, double value, uint64_t now)
{
    p->host->report(p->host, p->host->instance, m->id, metric, value, now);
}

/* Of the part of the time since the last look that it was busy, as much comes in as that part of LOAD_NS. */
static void look(struct instance *p, struct member *m, uint64_t now)
{
    struct usage u;
    const uint64_t least =
        (uint64_t)p->member_count * REPORTS_MS * 1000000 / REPORTS_TURN; /* so all get a turn */
    m->due_ns = now + (p->report_ns > least ? p->report_ns : least);
    if (!usage_read(m->pid, &u))
        return;
    if (m->seen_ns && now > m->seen_ns && u.cpu_ns >= m->cpu_ns) {
        const double passed = (double)(now - m->seen_ns), busy = (double)(u.cpu_ns - m->cpu_ns) / passed;
        const double share = m->load < 0 || passed > LOAD_NS ? 1 : passed / LOAD_NS;
        m->load += (busy - m->load) * share;
        report(p, m, "load_average", 100 * m->load / p->processors, now);
    }
    m->seen_ns = now;
    m->cpu_ns = u.cpu_ns;
    report(p, m, "memory_consumption", 100 * (double)u.memory_bytes / p->memory_bytes, now);
}

void reports_turn(void *instance)
{
    struct instance *p = instance;
    const uint64_t now = p->host->now_ns(p->host);
    uint32_t looked = 0;
    for (struct member *m = p->members; m && looked < REPORTS_TURN; m = m->next)
        if (m->pid && now >= m->due_ns) {
            look(p, m, now);
            looked++;
        }
}
