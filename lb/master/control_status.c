#include <unistd.h>

#include "base/log.h"
#include "master/control.h"
#include "master/master.h"

/* A descriptor under a name, in the order of the line "fds". */
struct fd_list {
    int fds[CONTROL_FDS_MAX];
    int count;
    struct buf names;
};

/* What is handed out is a read-only copy: coxctl may be another user's who was given the socket. */
static void add(struct fd_list *l, int fd, const char *name, uint64_t number)
{
    if (fd < 0 || l->count == CONTROL_FDS_MAX)
        return;
    int copy = master_read_only(fd);
    if (copy < 0)
        return;
    l->fds[l->count++] = copy;
    if (number)
        buf_printf(&l->names, " %s:%llu", name, (unsigned long long)number);
    else
        buf_printf(&l->names, " %s", name);
}

static void put_master(const struct master *m, struct buf *b)
{
    buf_printf(b, "version %s\n", master_version());
    buf_printf(b, "master %d %s %llu %llu\n", (int)getpid(), is_stopping(m) ? "stopping" : "running",
               (unsigned long long)m->started_wall_ns, (unsigned long long)m->upgrades);
    buf_printf(b, "config %s\n", m->settings->file ? m->settings->file : m->config_file);
    if (m->reload.last_wall_ns)
        buf_printf(b, "reload %s %llu\n", m->reload.last_ok ? "ok" : "failed",
                   (unsigned long long)m->reload.last_wall_ns);
}

static void put_processes(const struct master *m, struct buf *b, struct fd_list *fds)
{
    const struct orchestrator *o = &m->orchestrator;
    buf_printf(b, "orchestrator %d %llu %s %llu\n", (int)o->pid, (unsigned long long)o->epoch,
               orchestrator_state_name(o->state), (unsigned long long)o->since_wall_ns);
    for (struct list *l = m->generations.all.next; l != &m->generations.all; l = l->next) {
        const struct generation *g = CONTAINER_OF(l, struct generation, node);
        buf_printf(b, "proxy %d %llu %s %llu\n", (int)g->pid, (unsigned long long)g->number,
                   generation_state_name(g->state), (unsigned long long)g->since_wall_ns);
        add(fds, g->ledger_fd, "ledger", g->number);
    }
}

static void put_listeners(const struct master *m, struct buf *b)
{
    for (size_t i = 0; i < m->settings->listeners.count; i++) {
        const struct listener_settings *ls = SETTINGS_AT(m->settings->listeners, struct listener_settings, i);
        buf_printf(b, "listener %s %s\n", ls->address, ls->name);
    }
}

static void put_members(const struct master *m, struct buf *b)
{
    for (struct list *l = m->members.all.next; l != &m->members.all; l = l->next) {
        const struct member_process *p = CONTAINER_OF(l, struct member_process, node);
        buf_printf(b, "member %d %s %llu %s\n", (int)p->pid, p->stopping ? "stopping" : "running",
                   (unsigned long long)p->since_wall_ns, p->id);
    }
}

static void put_stalls(const struct master *m, struct buf *b)
{
    const struct stalls *s = &m->orchestrator.stalls;
    for (int i = 0; i < s->count; i++)
        buf_printf(b, "plugin %s %u %s\n", stalls_is_left_out(s, s->items[i].name) ? "left_out" : "in_use",
                   s->items[i].times, s->items[i].name);
}

void control_status(struct control_client *c)
{
    struct master *m = c->master;
    struct fd_list fds = {.count = 0};
    struct buf b;
    buf_init(&b);
    buf_init(&fds.names);
    add(&fds, published_fd(&m->published), "topology", 0);
    add(&fds, m->past_fd, "past", 0);
    buf_printf(&b, "ok\n");
    put_master(m, &b);
    put_processes(m, &b, &fds);
    put_listeners(m, &b);
    put_members(m, &b);
    put_stalls(m, &b);
    tls_files_status(&m->tls, &b);
    buf_printf(&b, "fds%.*s\n", (int)fds.names.len, fds.names.p);
    control_answer(c, buf_str(&b), fds.fds, fds.count);
    for (int i = 0; i < fds.count; i++)
        close(fds.fds[i]);
    buf_fini(&fds.names);
    buf_fini(&b);
}
