#include "master/members.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "master/master.h"
#include "master/member_spawn.h"

#define MEMBER_MAGIC 0x6d656d62u
enum { STOP_FALLBACK_MS = 10000, READ_BYTES = 16384, EXEC_WAIT_MS = 2000 };

void member_table_init(struct master *m)
{
    list_init(&m->members.all);
}

static struct member_process *find(const struct master *m, struct str id)
{
    for (struct list *l = m->members.all.next; l != &m->members.all; l = l->next) {
        struct member_process *p = CONTAINER_OF(l, struct member_process, node);
        if (str_eq(str_of(p->id), id))
            return p;
    }
    return NULL;
}

static struct member_process *find_pid(const struct master *m, pid_t pid)
{
    for (struct list *l = m->members.all.next; l != &m->members.all; l = l->next) {
        struct member_process *p = CONTAINER_OF(l, struct member_process, node);
        if (p->pid == pid)
            return p;
    }
    return NULL;
}

bool members_has_pid(const struct master *m, pid_t pid)
{
    return find_pid(m, pid) != NULL;
}

static const struct cartridge_settings *cartridge_of(const struct settings *s, struct str name)
{
    for (size_t i = 0; i < s->cartridges.count; i++) {
        const struct cartridge_settings *c = SETTINGS_AT(s->cartridges, struct cartridge_settings, i);
        if (str_eq(str_of(c->name), name))
            return c;
    }
    return NULL;
}

/* ---- output ---- */

static void log_line(struct member_process *p)
{
    uint64_t second = clock_now_ns() / NS_PER_S;
    if (second != p->second) {
        if (p->left_out)
            log_warn("member %s: %u more lines were left out", p->id, p->left_out);
        p->second = second;
        p->lines = p->left_out = 0;
    }
    if (p->lines++ < MEMBER_LINES_PER_SECOND)
        log_info("member %s: %.*s", p->id, (int)p->line_len, p->line);
    else
        p->left_out++;
}

static void take_output(struct member_process *p, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != '\n' && bytes[i] != '\r')
            p->line[p->line_len++] = bytes[i];
        if ((bytes[i] == '\n' || p->line_len == sizeof p->line) && p->line_len) {
            log_line(p);
            p->line_len = 0;
        }
    }
}

static void close_output(struct member_process *p)
{
    watch_stop(&p->output);
    if (p->line_len)
        log_line(p);
    p->line_len = 0;
    if (p->output_fd >= 0)
        close(p->output_fd);
    p->output_fd = -1;
}

static void on_output(int fd, short events, void *ctx)
{
    struct member_process *p = ctx;
    char bytes[READ_BYTES];
    CHECK_MAGIC(p, MEMBER_MAGIC);
    (void)events;
    ssize_t n = read(fd, bytes, sizeof bytes);
    if (n > 0)
        take_output(p, bytes, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        close_output(p);
}

/* ---- life ---- */

/* Reaches all that belongs to it. Before its exec it may not lead its group yet. */
static void send_signal(const struct member_process *p, int signo)
{
    if (kill(-p->pid, signo) == 0)
        return;
    if (errno == ESRCH && p->status_fd >= 0 && kill(p->pid, signo) == 0)
        return;
    if (errno != ESRCH)
        log_warn("member %s: cannot send signal %d: %m", p->id, signo);
}

static void close_status(struct member_process *p)
{
    watch_stop(&p->status);
    timer_stop(&p->slow);
    if (p->status_fd >= 0)
        close(p->status_fd);
    p->status_fd = -1;
}

static void on_kill(void *ctx)
{
    struct member_process *p = ctx;
    CHECK_MAGIC(p, MEMBER_MAGIC);
    log_warn("member %s does not leave; killed", p->id);
    send_signal(p, SIGKILL);
}

static void report_started(struct master *m, struct str id, pid_t pid, struct str error)
{
    struct packer p = {.len = 0};
    pack_str(&p, id);
    pack_u64(&p, pid > 0 ? (uint64_t)pid : 0);
    pack_str(&p, error.n < 1024 ? error : str_make(error.p, 1024));
    orchestrator_tell(m, CHANNEL_MEMBER_STARTED, pack_result(&p), NULL, 0);
}

/* It runs, as far as anybody knows. */
static void settle_well(struct member_process *p)
{
    close_status(p);
    log_info("member %s starts as process %d", p->id, (int)p->pid);
    report_started(p->master, str_of(p->id), p->pid, STR(""));
}

static void settle_badly(struct member_process *p, struct str error)
{
    close_status(p);
    p->has_failed = true;
    log_error("member %s cannot be started: %.*s", p->id, STR_ARG(error));
    report_started(p->master, str_of(p->id), 0, error);
}

/* How its exec went, if that can be told by now. */
static void look_at_status(struct member_process *p)
{
    struct buf error;
    buf_init(&error);
    const int outcome = member_spawn_outcome(p->status_fd, &error);
    if (outcome > 0)
        settle_well(p);
    else if (outcome < 0)
        settle_badly(p, buf_str(&error));
    buf_fini(&error);
}

static void on_status(int fd, short events, void *ctx)
{
    struct member_process *p = ctx;
    CHECK_MAGIC(p, MEMBER_MAGIC);
    (void)fd, (void)events;
    look_at_status(p);
}

/* Slow, but on its way: its exit will tell. */
static void on_slow(void *ctx)
{
    struct member_process *p = ctx;
    CHECK_MAGIC(p, MEMBER_MAGIC);
    settle_well(p);
}

void members_settle(struct master *m)
{
    for (struct list *l = m->members.all.next; l != &m->members.all; l = l->next) {
        struct member_process *p = CONTAINER_OF(l, struct member_process, node);
        if (p->status_fd >= 0)
            look_at_status(p);
        if (p->status_fd >= 0)
            settle_well(p);
    }
}

static struct member_process *create(struct master *m, struct str id, struct str cartridge, pid_t pid,
                                     int output_fd)
{
    struct member_process *p = must(calloc(1, sizeof *p));
    p->magic = MEMBER_MAGIC;
    p->master = m;
    p->id = str_dup(id);
    p->cartridge = str_dup(cartridge);
    p->pid = pid;
    p->since_wall_ns = clock_wall_ns();
    p->output_fd = output_fd;
    p->status_fd = -1;
    timer_init(&p->kill, &m->loop, on_kill, p);
    timer_init(&p->slow, &m->loop, on_slow, p);
    if (output_fd >= 0) {
        fcntl(output_fd, F_SETFL, O_NONBLOCK);
        watch_start(&p->output, &m->loop, output_fd, EV_READ, on_output, p);
    }
    list_init(&p->node);
    list_push(&m->members.all, &p->node);
    m->members.count++;
    return p;
}

static void destroy(struct member_process *p)
{
    list_remove(&p->node);
    p->master->members.count--;
    timer_stop(&p->kill);
    close_status(p);
    close_output(p);
    member_vars_release(&p->vars);
    free(p->id);
    free(p->cartridge);
    p->magic = 0;
    free(p);
}

void member_table_fini(struct master *m)
{
    while (!list_is_empty(&m->members.all))
        destroy(CONTAINER_OF(m->members.all.next, struct member_process, node));
}

void members_adopt(struct master *m, struct str id, struct str cartridge, pid_t pid, int output_fd,
                   struct vars *vars, uint64_t since_wall_ns)
{
    struct member_process *p = create(m, id, cartridge, pid, output_fd);
    p->vars = *vars;
    *vars = (struct vars){0};
    p->since_wall_ns = since_wall_ns;
}

/* ---- the orchestrator's wishes ---- */

static bool take_vars(struct str *in, struct vars *out)
{
    uint64_t count;
    if (!unpack_u64(in, &count) || count > MEMBER_VARS_MAX)
        return false;
    for (uint64_t i = 0; i < count; i++) {
        struct str name, value;
        if (!unpack_str(in, &name) || !unpack_str(in, &value) || name.n == 0 || memchr(name.p, 0, name.n) ||
            memchr(name.p, '=', name.n) || (value.n && memchr(value.p, 0, value.n)))
            return false;
        member_vars_add(out, name, value);
    }
    return true;
}

static void start(struct master *m, const struct cartridge_settings *c, struct str id, struct vars *vars)
{
    struct member_spawn how = {.settings = reload_settings(m),
                               .cartridge = c,
                               .vars = vars,
                               .privileges = reload_privileges(m),
                               .launch = m->launch};
    struct buf error;
    int output_fd = -1, status_fd = -1;
    buf_init(&error);
    pid_t pid = member_spawn(&how, &output_fd, &status_fd, &error);
    if (pid > 0) {
        struct member_process *p = create(m, id, str_of(c->name), pid, output_fd);
        p->vars = *vars;
        *vars = (struct vars){0};
        p->status_fd = status_fd;
        watch_start(&p->status, &m->loop, status_fd, EV_READ, on_status, p);
        timer_arm(&p->slow, EXEC_WAIT_MS);
    } else {
        log_error("member %.*s cannot be started: %.*s", STR_ARG(id), (int)error.len, error.p);
        report_started(m, id, 0, buf_str(&error));
    }
    buf_fini(&error);
}

void members_on_start(struct master *m, struct str payload)
{
    struct str cartridge, id;
    struct vars vars = {0};
    if (!unpack_str(&payload, &cartridge) || !unpack_str(&payload, &id) || id.n == 0 ||
        memchr(id.p, 0, id.n) || !take_vars(&payload, &vars)) {
        log_error("a malformed request to start a member was ignored");
        member_vars_release(&vars);
        return;
    }
    const struct cartridge_settings *c = cartridge_of(reload_settings(m), cartridge);
    struct member_process *have = find(m, id);
    if (is_stopping(m))
        report_started(m, id, 0, STR("the program is being stopped"));
    else if (have && (have->status_fd >= 0 || have->has_failed))
        ;          /* asked for twice: it is told, or was */
    else if (have) /* the id says it is the same */
        report_started(m, id, have->pid, STR(""));
    else if (!c)
        report_started(m, id, 0, STR("there is no such cartridge"));
    else if (m->members.count >= MEMBERS_MAX)
        report_started(m, id, 0, STR("there are too many members on this machine"));
    else
        start(m, c, id, &vars);
    member_vars_release(&vars);
}

static void stop_member(struct member_process *p, int signo, uint64_t kill_after_ms)
{
    p->stopping = true;
    timer_arm(&p->kill, kill_after_ms);
    send_signal(p, signo);
}

void members_on_stop(struct master *m, struct str payload)
{
    struct str id;
    uint64_t signo, kill_after_ms;
    if (!unpack_str(&payload, &id) || !unpack_u64(&payload, &signo) || !unpack_u64(&payload, &kill_after_ms))
        return;
    if (signo != SIGTERM && signo != SIGQUIT && signo != SIGINT && signo != SIGKILL)
        signo = SIGTERM;
    struct member_process *p = find(m, id);
    if (p && !p->has_failed) {
        stop_member(p, (int)signo, kill_after_ms);
        return;
    }
    struct packer gone = {.len = 0}; /* stopping what is not there is done */
    pack_str(&gone, id);
    pack_u64(&gone, 0);
    if (!gone.overflow)
        orchestrator_tell(m, CHANNEL_MEMBER_EXIT, pack_result(&gone), NULL, 0);
}

/* One that is stopping is as good as gone: it must not serve again, and its end is our business. */
static bool is_listed(const struct member_process *p)
{
    return !p->stopping && !p->has_failed;
}

void members_send_list(struct master *m)
{
    struct buf b;
    uint64_t count = 0;
    for (struct list *l = m->members.all.next; l != &m->members.all; l = l->next)
        count += is_listed(CONTAINER_OF(l, struct member_process, node));
    buf_init(&b);
    buf_pack_u64(&b, count);
    for (struct list *l = m->members.all.next; l != &m->members.all; l = l->next) {
        const struct member_process *p = CONTAINER_OF(l, struct member_process, node);
        if (!is_listed(p))
            continue;
        buf_pack_str(&b, str_of(p->id));
        buf_pack_str(&b, str_of(p->cartridge));
        buf_pack_u64(&b, (uint64_t)p->pid);
        buf_pack_u64(&b, p->vars.n);
        for (size_t i = 0; i < p->vars.n; i++) {
            buf_pack_str(&b, str_of(p->vars.names[i]));
            buf_pack_str(&b, str_of(p->vars.values[i]));
        }
    }
    orchestrator_tell(m, CHANNEL_MEMBER_LIST, buf_str(&b), NULL, 0);
    buf_fini(&b);
}

/* ---- the end ---- */

void members_stop_all(struct master *m)
{
    static const int signals[] = {SIGTERM, SIGQUIT, SIGINT};
    for (struct list *l = m->members.all.next; l != &m->members.all; l = l->next) {
        struct member_process *p = CONTAINER_OF(l, struct member_process, node);
        const struct cartridge_settings *c = cartridge_of(m->settings, str_of(p->cartridge));
        bool is_known = c && c->stop_signal >= 0 && c->stop_signal < 3;
        stop_member(p, is_known ? signals[c->stop_signal] : SIGTERM,
                    c ? c->stop_timeout_ms : STOP_FALLBACK_MS);
    }
}

void members_kill_all(struct master *m)
{
    for (struct list *l = m->members.all.next; l != &m->members.all; l = l->next)
        send_signal(CONTAINER_OF(l, struct member_process, node), SIGKILL);
}

void members_on_exit(struct master *m, pid_t pid, int status)
{
    struct member_process *p = find_pid(m, pid);
    struct packer packed = {.len = 0};
    if (p->output_fd >= 0)
        on_output(p->output_fd, EV_READ, p); /* its last words */
    if (p->status_fd >= 0)
        look_at_status(p);
    if (p->has_failed) { /* that was told */
        destroy(p);
        stop_progress(m);
        return;
    }
    if (WIFSIGNALED(status) && !p->stopping)
        log_warn("member %s was ended by signal %d", p->id, WTERMSIG(status));
    else
        log_info("member %s has left with code %d", p->id, WIFEXITED(status) ? WEXITSTATUS(status) : 0);
    pack_str(&packed, str_of(p->id));
    pack_u64(&packed, (uint64_t)(uint32_t)status);
    orchestrator_tell(m, CHANNEL_MEMBER_EXIT, pack_result(&packed), NULL, 0);
    destroy(p);
    stop_progress(m);
}
