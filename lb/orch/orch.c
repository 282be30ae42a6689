#include "orch/orch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/panic.h"
#include "run/prompt.h"

/* ---- publishing ---- */

/* With 100,000 members a topology takes so long that one after the other would leave time for nothing else.
 */
static void keep_distance(struct orch *o, uint64_t cost_ns)
{
    const uint64_t ms = cost_ns * ORCH_PUBLISH_SHARE / NS_PER_MS;
    o->publish_ms = ms < ORCH_PUBLISH_MS       ? ORCH_PUBLISH_MS
                    : ms > ORCH_PUBLISH_MAX_MS ? ORCH_PUBLISH_MAX_MS
                                               : ms;
}

static void publish(struct orch *o)
{
    const uint64_t begin_ns = clock_now_ns();
    for (size_t i = 0; i < o->state.drain_count;
         i++) /* what was drained by hand stays so when it comes back */
        (void)model_set_admin_drain(o->model, str_of(o->state.drains[i]), true);
    struct topology *before = model_current(o->model);
    if (before)
        topology_ref(before);
    struct topology *t = model_publish(o->model);
    const uint64_t now_ms = begin_ns / NS_PER_MS;
    o->hurry -= t && o->hurry && now_ms < o->published_ms + ORCH_PUBLISH_MS;
    o->published_ms = now_ms;
    if (t) {
        proxies_publish(o->proxies, t);
        probes_follow(o->probes, t);
        observers_on_topology(o, before, t);
        if (o->admin)
            o->role->admin->published(o->admin, before, t);
    }
    const struct topology *current = model_current(o->model);
    members_on_published(&o->members, current ? current->number : 0);
    if (o->scale)
        scale_published(o->scale);
    if (t)
        keep_distance(o, clock_now_ns() - begin_ns);
    topology_unref(&before);
    topology_unref(&t);
    orch_wake(o);
}

static void on_publish(void *ctx)
{
    publish(ctx);
}

void orch_touch(struct orch *o)
{
    const uint64_t now_ms = clock_now_ns() / 1000000, next_ms = o->published_ms + o->publish_ms;
    if (timer_is_armed(&o->publish) && !o->hurry)
        return;
    const bool is_early = next_ms > now_ms;
    timer_arm(&o->publish, is_early && !o->hurry ? next_ms - now_ms : 0);
}

static void on_tick(void *ctx)
{
    struct orch *o = ctx;
    const uint64_t again_ms = members_tick(&o->members);
    if (again_ms && !timer_is_armed(&o->tick))
        timer_arm(&o->tick, again_ms);
}

void orch_wake(struct orch *o)
{
    timer_arm(&o->tick, 0);
}

/* ---- once a second ---- */

static bool is_quiet(void *ctx, bool is_cluster, uint32_t slot)
{
    const struct orch *o = ctx;
    if (is_cluster) {
        struct ledger_cluster_sum sum;
        bool quiet = proxies_cluster(o->proxies, slot, &sum);
        for (int i = 0; i < LEDGER_COUNTS; i++)
            quiet &= sum.count[i] == 0;
        return quiet;
    }
    struct ledger_endpoint_sum sum;
    return proxies_endpoint(o->proxies, slot, &sum) && sum.attempts == 0 && sum.tunnels == 0;
}

/* Resident bytes of this process, 0 when the system does not say. */
static uint64_t resident_bytes(void)
{
    char text[128];
    const int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (fd >= 0)
        close(fd);
    struct str rest = str_make(text, n > 0 ? (size_t)n : 0), word;
    uint64_t pages = 0;
    if (!str_next(&rest, ' ', &word) || !str_next(&rest, ' ', &word) || !str_to_u64(word, &pages))
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A plugin that leaks ends this process in order, long before it could end the machine: the master starts the
 * next one at once, which goes on where this one was. */
static void check_memory(struct orch *o)
{
    const uint64_t bytes = resident_bytes();
    if (bytes <= ORCH_MEMORY_MAX)
        return;
    log_error("%llu MiB of memory, the limit is %llu: a plugin leaks; the orchestrator starts anew",
              (unsigned long long)(bytes >> 20), (unsigned long long)(ORCH_MEMORY_MAX >> 20));
    o->exit_code = EXIT_FAILED;
    loop_stop(&o->loop);
}

static void on_beat(void *ctx)
{
    struct orch *o = ctx;
    memory_decay();
    check_memory(o);
    timer_arm(&o->beat, ORCH_HEARTBEAT_MS);
    (void)channel_send(o->master, CHANNEL_ORCH_HEARTBEAT, STR_NULL, NULL, 0); /* false: on_gone follows */
    if (proxies_count(o->proxies) == 0)
        return; /* we have not been told of them yet */
    const uint64_t acknowledged = proxies_acknowledged(o->proxies), current = model_current(o->model)->number;
    model_settled(o->model, acknowledged < current ? acknowledged : current, is_quiet, o);
}

/* ---- plugins ---- */

static void log_lines(struct buf *errors)
{
    struct str rest = buf_str(errors), line;
    while (str_next(&rest, '\n', &line))
        if (line.n)
            log_error("%.*s", STR_ARG(line));
    errors->len = 0;
}

/* The master ended too many orchestrators for it. */
static bool is_left_out(const struct orch *o, const struct plugin_settings *s)
{
    for (size_t i = 0; i < o->role->left_out_count; i++)
        if (strcmp(o->role->left_out[i], s->name) == 0)
            return true;
    return false;
}

/* A plugin that cannot be loaded, whose options are wrong, or that cannot be opened is a wrong config. */
static bool open_all(struct orch *o)
{
    struct buf errors;
    bool all = true;
    buf_init(&errors);
    for (size_t i = 0; i < o->settings->plugins.count; i++) {
        const struct plugin_settings *s = SETTINGS_AT(o->settings->plugins, struct plugin_settings, i);
        if (is_left_out(o, s))
            log_error("plugin \"%s\" is left out: it has stalled too often; reload to try again", s->name);
        else
            all &= plugin_create(&o->host, s, loader_dir(o->settings->plugin_dir), &errors) != NULL;
    }
    log_lines(&errors);
    buf_fini(&errors);
    return all;
}

static bool open_scale(struct orch *o)
{
    struct buf errors;
    buf_init(&errors);
    const bool ok = orch_scale_start(o, &errors);
    log_lines(&errors);
    buf_fini(&errors);
    return ok;
}

/* Starts one instance. What fails is closed and tried again later: the rest works meanwhile. */
static bool bring_up(struct orch *o, const struct plugin_settings *s)
{
    struct buf errors;
    buf_init(&errors);
    struct plugin *p = host_find(&o->host, s->name);
    if (!p)
        p = plugin_create(&o->host, s, loader_dir(o->settings->plugin_dir), &errors);
    const bool ok = p && plugin_start(p, &errors);
    log_lines(&errors);
    buf_fini(&errors);
    if (ok) {
        log_info("plugin \"%s\" started", p->name);
        observers_snapshot(o, p);
    } else {
        plugin_destroy(&p);
    }
    return ok;
}

static void bring_all_up(struct orch *o)
{
    bool all = true;
    for (size_t i = 0; i < o->settings->plugins.count; i++) {
        const struct plugin_settings *s = SETTINGS_AT(o->settings->plugins, struct plugin_settings, i);
        const struct plugin *p = host_find(&o->host, s->name);
        if (!is_left_out(o, s) && (!p || !p->is_started))
            all &= bring_up(o, s);
    }
    if (!all)
        timer_arm(&o->retry, ORCH_RETRY_MS);
}

static void on_retry(void *ctx)
{
    bring_all_up(ctx);
}

/* ---- messages ---- */

static bool handle(struct orch *o, struct channel_message *m)
{
    switch (m->type) {
    case CHANNEL_PROXY_UP:
        return proxies_on_up(o->proxies, m);
    case CHANNEL_PROXY_GONE:
        return proxies_on_gone(o->proxies, m);
    case CHANNEL_MEMBER_STARTED:
    case CHANNEL_MEMBER_EXIT:
    case CHANNEL_MEMBER_LIST:
        return host_on_process(&o->host, m);
    case CHANNEL_ADMIN:
        return orch_on_admin(o, m);
    case CHANNEL_LOG_FD:
        if (m->fd_count > 0 && m->fds[0] >= 0) {
            log_reopen(m->fds[0]);
            m->fds[0] = -1;
        }
        return true;
    case CHANNEL_TLS_FILES:
        if (m->fd_count > 0)
            probes_set_files(o->probes, m->fds[0]);
        return true;
    case CHANNEL_QUIT:
        loop_stop(&o->loop);
        return true;
    default:
        return true; /* of a later version */
    }
}

static void on_message(void *owner, struct channel *c, struct channel_message *m)
{
    struct orch *o = owner;
    (void)c;
    CHECK_MAGIC(o, ORCH_MAGIC);
    if (!handle(o, m))
        log_error("malformed message of type %d from the master", (int)m->type);
}

static void on_gone(void *owner, struct channel *c)
{
    struct orch *o = owner;
    (void)c;
    log_warn("the master is gone");
    o->exit_code = EXIT_FAILED;
    loop_stop(&o->loop);
}

static const struct channel_ops master_ops = {.on_message = on_message, .on_gone = on_gone};

static void on_woken(void *ctx, const struct wake *w)
{
    struct orch *o = ctx;
    const uint64_t late_us = (clock_now_ns() - w->route_ns) / 1000;
    log_debug("cluster %.*s %s: request %.*s, %llu us ago", STR_ARG(w->cluster),
              w->kind == WAKE_SATURATED ? "is saturated" : "holds requests", STR_ARG(w->request),
              (unsigned long long)late_us);
    if (o->on_wake.fn)
        o->on_wake.fn(o->on_wake.ctx, w);
    if (w->kind == WAKE_HELD) {
        o->hurry = ORCH_HURRY;
        probes_hurry(o->probes, w->cluster);
    }
    orch_wake(o);
}

static void on_moved(void *ctx)
{
    orch_wake(ctx);
}

static const struct proxies_ops proxies_ops = {.woken = on_woken, .moved = on_moved};

/* ---- birth and end ---- */

static void load_topology(struct orch *o)
{
    struct str bytes;
    struct buf error;
    if (o->role->topology_fd < 0 || !sealed_map(o->role->topology_fd, &bytes))
        return;
    buf_init(&error);
    o->loaded = topology_decode(bytes, &error);
    if (!o->loaded)
        log_error("the last topology cannot be used: %.*s", STR_ARG(buf_str(&error)));
    buf_fini(&error);
    sealed_unmap(bytes);
}

/* A source that is no longer in the config will never deliver a view: its objects go now. */
static bool has_owner(void *ctx, const char *owner)
{
    return strcmp(owner, "config") == 0 || strcmp(owner, MEMBERS_OWNER) == 0 ||
           names_has_owner(((struct orch *)ctx)->settings, owner) || orch_host_ops.is_configured(ctx, owner);
}

/* With tens of thousands of sets each of the steps takes its time, before there is a loop that beats. */
static void show_life(struct orch *o)
{
    (void)channel_send(o->master, CHANNEL_ORCH_HEARTBEAT, STR_NULL, NULL, 0); /* false: on_gone follows */
}

static void load(struct orch *o)
{
    const struct settings *s = o->settings;
    load_topology(o);
    show_life(o);
    o->model = model_create(o->role->epoch, (uint32_t)s->max_clusters, (uint32_t)s->max_endpoints);
    if (o->loaded) {
        model_load(o->model, o->loaded);
        model_keep_owners(o->model, o->loaded, has_owner, o);
        show_life(o);
    }
    model_load_settings(o->model, s);
    show_life(o);
    state_open(&o->state, s->state_dir);
    members_init(&o->members, o->model, &orch_members_ops, o);
    o->members.loaded = o->loaded;
    members_load_settings(&o->members, s);
    show_life(o);
}

static void init(struct orch *o)
{
    load(o);
    if (!host_init(&o->host, &o->loop, o->model, &orch_host_ops, o))
        PANIC("no descriptor for the plugin host: %s", strerror(errno));
    o->host.stall = o->role->stall;
    timer_init(&o->publish, &o->loop, on_publish, o);
    timer_init(&o->tick, &o->loop, on_tick, o);
    timer_init(&o->beat, &o->loop, on_beat, o);
    timer_init(&o->retry, &o->loop, on_retry, o);
    o->proxies = proxies_create(&o->loop, o->master, &proxies_ops, o);
    proxies_keep_in(o->proxies, o->settings->state_dir);
    o->probes = probes_create(&o->loop, &orch_probe_ops, o);
    probes_set_files(o->probes, o->role->tls_fd);
}

static void on_names(void *ctx)
{
    orch_touch(ctx);
}

static void start(struct orch *o)
{
    log_info("orchestrator started: epoch %llu, %zu plugins", (unsigned long long)o->role->epoch,
             o->settings->plugins.count);
    show_life(o);
    publish(o);
    show_life(o);
    o->names = names_create(&o->loop, o->model, o->settings, on_names, o);
    bring_all_up(o);
    host_list_orphans(&o->host);
    if (o->role->admin && o->role->admin_fd >= 0)
        o->admin = o->role->admin->start(o);
    on_beat(o);
}

static void end(struct orch *o)
{
    if (o->admin)
        o->role->admin->stop(o->admin);
    o->admin = NULL;
    orch_scale_stop(o);
    names_destroy(&o->names);
    host_fini(&o->host);
    if (o->exit_code == EXIT_OK)
        proxies_flush(o->proxies);
    probes_destroy(&o->probes);
    proxies_destroy(&o->proxies);
    timer_stop(&o->publish);
    timer_stop(&o->tick);
    timer_stop(&o->beat);
    timer_stop(&o->retry);
    members_fini(&o->members);
    state_close(&o->state);
    model_destroy(&o->model);
    topology_unref(&o->loaded);
    channel_destroy(&o->master);
    loop_fini(&o->loop);
}

int orch_main(struct orch_role *role)
{
    struct orch *o = must(calloc(1, sizeof *o));
    o->magic = ORCH_MAGIC;
    o->role = role;
    o->settings = role->settings;
    settings_guard_forget((struct settings *)(uintptr_t)role->settings); /* our copy since the fork */
    if (!loop_init(&o->loop)) {
        log_error("no event loop: %s", strerror(errno));
        free(o);
        return EXIT_OS;
    }
    o->master = channel_create(&o->loop, role->master_fd, &master_ops, o);
    ASSERT(o->master != NULL);
    init(o);
    if (open_all(o) && open_scale(o)) {
        start(o);
        prompt_thread();
        loop_run(&o->loop);
    } else {
        o->exit_code = EXIT_CONFIG;
    }
    end(o);
    const int code = o->exit_code;
    o->magic = 0;
    free(o);
    return code;
}
