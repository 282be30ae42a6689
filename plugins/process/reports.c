/* What members take of the machine, told to whoever scales. */
#include "process.h"
#include "usage.h"

/* What is looked at in one turn, which must not take long: so many members, and no further one once so many
 * processes were read. */
#define REPORTS_TURN   25u
#define PROCESSES_TURN 100u
#define LOAD_NS        30e9 /* what a load average is the mean of, about */

static void report(struct instance *p, const struct member *m, const char *metric, double value, uint64_t now)
{
    p->host->report(p->host, p->host->instance, m->id, metric, value, now);
}

/* Of the part of the time since the last look that it was busy, as much comes in as that part of LOAD_NS.
 * Returns how many processes were read. */
static uint32_t look(struct instance *p, struct member *m, uint64_t now)
{
    struct usage u;
    const uint64_t least =
        (uint64_t)p->member_count * REPORTS_MS * 1000000 / REPORTS_TURN; /* so all get a turn */
    m->due_ns = now + (p->report_ns > least ? p->report_ns : least);
    const uint32_t read = usage_read(m->pid, &u);
    if (!read)
        return 1;
    if (m->seen_ns && now > m->seen_ns && u.cpu_ns >= m->cpu_ns) {
        const double passed = (double)(now - m->seen_ns), busy = (double)(u.cpu_ns - m->cpu_ns) / passed;
        const double share = m->load < 0 || passed > LOAD_NS ? 1 : passed / LOAD_NS;
        m->load += (busy - m->load) * share;
        report(p, m, "load_average", 100 * m->load / p->processors, now);
    }
    m->seen_ns = now;
    m->cpu_ns = u.cpu_ns;
    report(p, m, "memory_consumption", 100 * (double)u.memory_bytes / p->memory_bytes, now);
    return read;
}

static struct member *at(const struct instance *p, uint32_t n)
{
    struct member *m = p->members;
    while (m && n--)
        m = m->next;
    return m;
}

/* Goes on where the last turn ended, so that each has its turn however many processes the others have. */
void reports_turn(void *instance)
{
    struct instance *p = instance;
    const uint64_t now = p->host->now_ns(p->host);
    const uint32_t count = p->member_count, from = count ? p->report_cursor % count : 0;
    struct member *m = at(p, from);
    uint32_t passed = 0, looked = 0, read = 0;
    for (; passed < count && looked < REPORTS_TURN && read < PROCESSES_TURN; passed++) {
        if (m->pid && now >= m->due_ns) {
            read += look(p, m, now);
            looked++;
        }
        m = m->next ? m->next : p->members;
    }
    p->report_cursor = count ? (from + passed) % count : 0;
}
