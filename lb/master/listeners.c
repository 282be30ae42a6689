#include "master/listeners.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "net/addr.h"

enum { ACTIVATION_FIRST_FD = 3 }; /* sd_listen_fds(3) */

void listeners_init(struct listener_set *set)
{
    *set = (struct listener_set){0};
    uint64_t pid, count;
    if (str_to_u64(str_of(getenv("LISTEN_PID")), &pid) && pid == (uint64_t)getpid() &&
        str_to_u64(str_of(getenv("LISTEN_FDS")), &count) && count <= 256) {
        set->activated_first = ACTIVATION_FIRST_FD;
        set->activated_count = (int)count;
        for (int i = 0; i < set->activated_count; i++)
            fcntl(ACTIVATION_FIRST_FD + i, F_SETFD, FD_CLOEXEC);
    }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

static struct bound *find(const struct listener_set *set, const char *address)
{
    for (int i = 0; i < set->count; i++)
        if (str_eq(str_of(set->items[i].address), str_of(address)))
            return &set->items[i];
    return NULL;
}

/* ---- making sockets ---- */

static int activated_socket(struct listener_set *set, const struct addr *a)
{
    for (int i = 0; i < set->activated_count; i++) {
        int fd = set->activated_first + i, is_listening = 0;
        struct addr have = {.len = sizeof have.un};
        socklen_t len = sizeof is_listening;
        if (getsockname(fd, &have.sa, &have.len) != 0 || !addr_eq(&have, a))
            continue;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &len) != 0 || !is_listening)
            continue;
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        return fd;
    }
    return -1;
}

static int open_socket(const struct addr *a, bool reuse_port)
{
    int fd = socket(a->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a->sa.sa_family == AF_INET6) /* so that 0.0.0.0 and [::] can both be configured */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
        goto fail;
    if (bind(fd, &a->sa, a->len) == 0)
        return fd;
fail:;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static void explain(const struct listener_settings *ls, struct buf *error)
{
    int why = errno;
    buf_printf(error, "listener \"%s\": cannot bind %s: ", ls->name, ls->address);
    if (why == EADDRINUSE)
        buf_printf(error, "the address is in use: another program listens there already; stop it (`ss -ltnp` "
                          "shows it) or choose another address\n");
    else if (why == EACCES)
        buf_printf(error, "ports below 1024 and foreign folders need root or CAP_NET_BIND_SERVICE\n");
    else if (why == EADDRNOTAVAIL)
        buf_printf(error, "this machine does not have that address\n");
    else
        buf_printf(error, "%s\n", strerror(why));
}

/* A socket file that nobody accepts on is left over from a crash. */
static bool unlink_stale(const struct addr *a)
{
    struct stat st;
    if (lstat(a->un.sun_path, &st) != 0)
        return errno == ENOENT;
    if (!S_ISSOCK(st.st_mode)) {
        errno = EADDRINUSE;
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    int rc = connect(fd, &a->sa, a->len);
    int why = errno;
    close(fd);
    if (rc != 0 && why == ECONNREFUSED)
        return unlink(a->un.sun_path) == 0;
    errno = EADDRINUSE;
    return false;
}

static bool bind_unix(const struct addr *a, struct listener_fds *out)
{
    bool is_abstract = a->un.sun_path[0] == 0;
    if (!is_abstract && !unlink_stale(a))
        return false;
    out->fds[0] = open_socket(a, false);
    out->count = out->fds[0] >= 0 ? 1 : 0;
    /* Like a port: who may connect is decided by the folder it lies in. */
    if (out->count && !is_abstract && chmod(a->un.sun_path, 0666) != 0)
        log_warn("cannot set the mode of %s: %m", a->un.sun_path);
    return out->count == 1;
}

static bool bind_inet(const struct addr *a, int sockets, struct listener_fds *out)
{
    /* With SO_REUSEPORT a second instance of ours would share the port in silence; without it the kernel
     * refuses. */
    int trial = open_socket(a, false);
    if (trial < 0)
        return false;
    bool is_free = listen(trial, 1) == 0;
    int why = errno;
    close(trial);
    errno = why;
    while (is_free && out->count < sockets) {
        int fd = open_socket(a, true);
        if (fd < 0)
            return false;
        out->fds[out->count++] = fd;
    }
    return is_free;
}

static void close_sockets(struct listener_fds *f)
{
    for (int i = 0; i < f->count; i++)
        close(f->fds[i]);
    free(f->fds);
    *f = (struct listener_fds){0};
}

static bool listen_all(const struct listener_fds *f, int64_t backlog)
{
    for (int i = 0; i < f->count; i++)
        if (listen(f->fds[i], (int)backlog) != 0)
            return false;
    return true;
}

static bool make_sockets(struct listener_set *set, const struct listener_settings *ls, int workers,
                         struct listener_fds *out)
{
    struct addr a;
    *out = (struct listener_fds){.fds = must(calloc((size_t)workers, sizeof(int)))};
    if (!addr_parse(str_of(ls->address), &a)) {
        errno = EINVAL;
        return false;
    }
    int given = activated_socket(set, &a);
    if (given >= 0) {
        out->fds[0] = given;
        out->count = 1;
        return true;
    }
    bool ok = a.sa.sa_family == AF_UNIX ? bind_unix(&a, out) : bind_inet(&a, workers, out);
    return ok && listen_all(out, ls->backlog);
}

/* ---- the set ---- */

static struct bound *add(struct listener_set *set, struct str address, struct listener_fds sockets)
{
    set->items = must(realloc(set->items, sizeof *set->items * (size_t)(set->count + 1)));
    struct bound *b = &set->items[set->count++];
    *b = (struct bound){str_dup(address), sockets, set->batch};
    return b;
}

static void drop(struct listener_set *set, int i, bool unlink_path)
{
    struct bound *b = &set->items[i];
    struct addr a;
    if (unlink_path && addr_parse(str_of(b->address), &a) && a.sa.sa_family == AF_UNIX && a.un.sun_path[0])
        unlink(a.un.sun_path);
    close_sockets(&b->sockets);
    free(b->address);
    set->items[i] = set->items[--set->count];
}

/* One socket, for there is one orchestrator; a socket file is its owner's alone (P7). */
static bool bind_admin(struct listener_set *set, const struct settings *s, struct buf *error)
{
    const struct listener_settings ls = {
        .name = (char *)(uintptr_t) "admin", .address = s->admin.address, .backlog = 64};
    struct listener_fds sockets;
    struct addr a;
    if (!ls.address || find(set, ls.address))
        return true;
    if (!make_sockets(set, &ls, 1, &sockets)) {
        explain(&ls, error);
        close_sockets(&sockets);
        return false;
    }
    if (addr_parse(str_of(ls.address), &a) && a.sa.sa_family == AF_UNIX && a.un.sun_path[0] &&
        chmod(a.un.sun_path, 0600) != 0)
        log_warn("cannot set the mode of %s: %m", a.un.sun_path);
    add(set, str_of(ls.address), sockets);
    log_info("admin listener: %s", ls.address);
    return true;
}

bool listeners_bind(struct listener_set *set, const struct settings *s, int workers, struct buf *error)
{
    set->batch++;
    if (!bind_admin(set, s, error)) {
        listeners_unbind_last(set);
        return false;
    }
    for (size_t i = 0; i < s->listeners.count; i++) {
        const struct listener_settings *ls = SETTINGS_AT(s->listeners, struct listener_settings, i);
        struct bound *have = find(set, ls->address);
        struct listener_fds sockets;
        if (have) {
            if (!listen_all(&have->sockets, ls->backlog)) /* again: only the backlog changes */
                log_warn("listener \"%s\": cannot change the backlog: %m", ls->name);
            continue;
        }
        if (!make_sockets(set, ls, workers, &sockets)) {
            explain(ls, error);
            close_sockets(&sockets);
            listeners_unbind_last(set);
            return false;
        }
        add(set, str_of(ls->address), sockets);
        log_info("listener \"%s\": %s, %d socket%s", ls->name, ls->address, sockets.count,
                 sockets.count == 1 ? "" : "s");
    }
    return true;
}

void listeners_unbind_last(struct listener_set *set)
{
    for (int i = set->count - 1; i >= 0; i--)
        if (set->items[i].batch == set->batch)
            drop(set, i, true);
}

static bool is_named(const struct settings *s, const char *address)
{
    for (size_t i = 0; i < s->listeners.count; i++)
        if (str_eq(str_of(SETTINGS_AT(s->listeners, struct listener_settings, i)->address), str_of(address)))
            return true;
    return s->admin.address && str_eq(str_of(s->admin.address), str_of(address));
}

void listeners_close_unused(struct listener_set *set, const struct settings *s)
{
    for (int i = set->count - 1; i >= 0; i--)
        if (!is_named(s, set->items[i].address)) {
            log_info("listener at %s closed", set->items[i].address);
            drop(set, i, true);
        }
    set->batch++; /* what is left is no longer "the last" */
}

void listeners_close_all(struct listener_set *set, bool unlink_paths)
{
    while (set->count)
        drop(set, set->count - 1, unlink_paths);
    free(set->items);
    set->items = NULL;
}

struct listener_fds *listeners_of(const struct listener_set *set, const struct settings *s)
{
    struct listener_fds *out = must(calloc(s->listeners.count + 1, sizeof *out));
    for (size_t i = 0; i < s->listeners.count; i++) {
        const struct bound *b = find(set, SETTINGS_AT(s->listeners, struct listener_settings, i)->address);
        if (b)
            out[i] = b->sockets;
    }
    return out;
}

int listeners_admin_fd(const struct listener_set *set, const struct settings *s)
{
    const struct bound *b = s->admin.address ? find(set, s->admin.address) : NULL;
    return b && b->sockets.count ? b->sockets.fds[0] : -1;
}

void listeners_adopt(struct listener_set *set, struct str address, const int *fds, int count)
{
    struct listener_fds f = {must(calloc((size_t)count + 1, sizeof(int))), count};
    for (int i = 0; i < count; i++) {
        f.fds[i] = fds[i];
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    }
    add(set, address, f);
}
