/* What plugin tests share: a host with a loop and a model of its own, and what plugins told it. */
#ifndef COX_TESTS_PLUGIN_SUPPORT_H
#define COX_TESTS_PLUGIN_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/panic.h"
#include "orch/host.h"

struct told {
    char text[8192]; /* one line an event */
    size_t len;
    uint64_t last_ticket;
    bool has_orphans; /* what the host says of orphans is told too */
    int list_done, touched;
    struct packer last; /* last message to the master */
    enum channel_type last_type;
    double load_average, memory_consumption; /* last report of each */
    uint64_t report_ns;                      /* when the last was, as it says */
    unsigned reports_alike, reports_most;    /* of memory with one time in a row: now, and the most ever */
    bool is_reported[10];                    /* members "m0" to "m9" */
};

struct fixture {
    struct loop loop;
    struct model *model;
    struct host host;
    struct told told;
    int log_fd;
};

static inline void tell(struct told *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline void tell(struct told *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(t->text + t->len, sizeof t->text - t->len, fmt, ap);
    va_end(ap);
    assert_true(n >= 0 && (size_t)n < sizeof t->text - t->len);
    t->len += (size_t)n;
}

static inline void told_touched(void *ctx)
{
    ((struct fixture *)ctx)->told.touched++;
}

static inline void told_member(void *ctx, struct plugin *p, const struct cox_member_change *c)
{
    struct told *t = &((struct fixture *)ctx)->told;
    tell(t, "%s: member %s phase %u set %s pid %d", p->name, c->member, c->phase, c->set ? c->set : "-",
         (int)c->pid);
    for (uint32_t i = 0; i < c->addresses.count; i++) {
        const struct cox_port_address *a = COX_AT(struct cox_port_address, c->addresses, i);
        tell(t, " %s=%s", a->port, a->address);
    }
    tell(t, "%s%s\n", c->reason ? " " : "", c->reason ? c->reason : "");
}

static inline void told_ticket(void *ctx, struct plugin *p, uint64_t ticket, uint32_t result,
                               const char *reason)
{
    struct told *t = &((struct fixture *)ctx)->told;
    t->last_ticket = ticket;
    tell(t, "%s: ticket %llu result %u %s\n", p->name, (unsigned long long)ticket, result, reason);
}

static inline void told_report(void *ctx, struct plugin *p, const char *source, const char *subject,
                               const char *metric, double value, uint64_t time_ns)
{
    struct told *t = &((struct fixture *)ctx)->told;
    (void)p, (void)source;
    if (strcmp(metric, "load_average") == 0)
        t->load_average = value;
    else if (strcmp(metric, "memory_consumption") == 0)
        t->memory_consumption = value;
    if (strcmp(metric, "memory_consumption") != 0)
        return;
    t->reports_alike = time_ns == t->report_ns ? t->reports_alike + 1 : 1;
    t->reports_most = t->reports_alike > t->reports_most ? t->reports_alike : t->reports_most;
    t->report_ns = time_ns;
    if (subject[0] == 'm' && subject[1] >= '0' && subject[1] <= '9')
        t->is_reported[subject[1] - '0'] = true;
}

static inline void told_list(void *ctx, struct plugin *p)
{
    (void)p;
    ((struct fixture *)ctx)->told.list_done++;
}

static inline bool told_configured(void *ctx, const char *instance)
{
    (void)ctx;
    return strcmp(instance, "gone") != 0;
}

static inline void told_orphan(void *ctx, const char *actuator, const struct cox_member_change *c)
{
    struct told *t = &((struct fixture *)ctx)->told;
    if (t->has_orphans)
        tell(t, "orphan of \"%s\": %s phase %u set %s partition %s pid %d\n", actuator, c->member, c->phase,
             c->set ? c->set : "-", c->partition ? c->partition : "-", (int)c->pid);
}

static inline void told_orphans_listed(void *ctx)
{
    struct told *t = &((struct fixture *)ctx)->told;
    if (t->has_orphans)
        tell(t, "that is all\n");
}

static inline bool told_guard(void *ctx, const char *name)
{
    (void)ctx;
    return strcmp(name, "nobody") != 0;
}

static inline bool told_master(void *ctx, enum channel_type type, struct str payload)
{
    struct told *t = &((struct fixture *)ctx)->told;
    t->last_type = type;
    memcpy(t->last.bytes, payload.p, payload.n);
    t->last.len = payload.n;
    return true;
}

static const struct host_ops told_ops = {.touched = told_touched,
                                         .member_changed = told_member,
                                         .ticket_done = told_ticket,
                                         .list_done = told_list,
                                         .reported = told_report,
                                         .is_configured = told_configured,
                                         .orphan = told_orphan,
                                         .orphans_listed = told_orphans_listed,
                                         .has_guard = told_guard,
                                         .to_master = told_master};

static inline int setup(void **state)
{
    struct fixture *f = must(calloc(1, sizeof *f));
    assert_true(loop_init(&f->loop));
    f->model = model_create(1, 64, 256);
    f->log_fd = memfd_create("log", MFD_CLOEXEC);
    log_init("test", f->log_fd, LOG_DEBUG);
    assert_true(host_init(&f->host, &f->loop, f->model, &told_ops, f));
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    host_fini(&f->host);
    model_destroy(&f->model);
    loop_fini(&f->loop);
    log_set_fd(STDERR_FILENO);
    close(f->log_fd);
    free(f);
    return 0;
}

static inline const char *log_text(struct fixture *f)
{
    static char text[65536];
    const ssize_t n = pread(f->log_fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    return text;
}

/* Turns the loop until the condition holds; fails after five seconds. */
#define UNTIL(f, condition)                                                                                  \
    do {                                                                                                     \
        const uint64_t until_ns_ = clock_now_ns() + 5 * NS_PER_S;                                            \
        while (!(condition)) {                                                                               \
            assert_true(clock_now_ns() < until_ns_);                                                         \
            event_base_loopexit((f)->loop.base, &(struct timeval){.tv_usec = 20000});                        \
            event_base_loop((f)->loop.base, EVLOOP_ONCE);                                                    \
        }                                                                                                    \
    } while (0)

/* Folder of the test plugins: where libtool puts them beside this program. */
static inline const char *test_dir(void)
{
    static char dir[4096];
    const char *env = getenv("COX_TEST_PLUGIN_DIR");
    if (env)
        return env;
    char self[4000];
    const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = 0;
    *strrchr(self, '/') = 0;
    (void)snprintf(dir, sizeof dir, "%s/.libs", self);
    return dir;
}

/* Folder of the real plugins in a build tree. */
static inline const char *real_dir(void)
{
    const char *env = getenv("COXSWAIN_PLUGIN_DIR");
    return env ? env : "plugins";
}

#define RAW_MAX 4
struct section {
    struct plugin_settings settings;
    struct raw_option raw[RAW_MAX];
};

/* A section of the config with up to four settings; texts are borrowed. */
static inline struct section section_of(const char *name, const char *plugin)
{
    struct section s = {.settings = {.name = (char *)(uintptr_t)name,
                                     .plugin = (char *)(uintptr_t)plugin,
                                     .file = (char *)(uintptr_t) "/etc/c.cfg",
                                     .line = 7}};
    return s;
}

static inline void section_set(struct section *s, struct raw_option option)
{
    assert_true(s->settings.raw.n < RAW_MAX);
    option.file = (char *)(uintptr_t) "/etc/c.cfg";
    s->raw[s->settings.raw.n++] = option;
    s->settings.raw.v = s->raw;
}

#define OPTION_TEXT(k, v)                                                                                    \
    ((struct raw_option){.key = (char *)(uintptr_t)(k), .type = 's', .s = (char *)(uintptr_t)(v), .line = 9})
#define OPTION_INTEGER(k, v)                                                                                 \
    ((struct raw_option){.key = (char *)(uintptr_t)(k), .type = 'i', .i = (v), .line = 9})

/* Creates an instance or shows why not. */
static inline struct plugin *create(struct fixture *f, struct section *s, const char *dir)
{
    struct buf errors;
    buf_init(&errors);
    s->settings.raw.v = s->raw;
    struct plugin *p = plugin_create(&f->host, &s->settings, dir, &errors);
    if (!p)
        print_error("%.*s", STR_ARG(buf_str(&errors)));
    buf_fini(&errors);
    assert_non_null(p);
    return p;
}

static inline void start(struct plugin *p)
{
    struct buf errors;
    buf_init(&errors);
    assert_true(plugin_start(p, &errors));
    buf_fini(&errors);
}

#endif
