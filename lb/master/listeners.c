#include "master/listeners.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "net/addr.h"

enum { GIVEN_FIRST_FD = 3, GIVEN_MAX = 256 }; /* sd_listen_fds(3) */

static void add_given(struct listener_set *set, int fd, struct str name, bool is_taken)
{
    set->given = must(realloc(set->given, sizeof *set->given * (size_t)(set->given_count + 1)));
    set->given[set->given_count++] = (struct given_socket){fd, must(str_dup(name)), is_taken};
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void listeners_init(struct listener_set *set)
{
    *set = (struct listener_set){0};
    uint64_t pid, count;
    struct str names = str_of(getenv("LISTEN_FDNAMES")), name;
    if (str_to_u64(str_of(getenv("LISTEN_PID")), &pid) && pid == (uint64_t)getpid() &&
        str_to_u64(str_of(getenv("LISTEN_FDS")), &count) && count <= GIVEN_MAX)
        for (int i = 0; i < (int)count; i++)
            add_given(set, GIVEN_FIRST_FD + i, names.n && str_next(&names, ':', &name) ? name : STR(""),
                      false);
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

static bool is_listening(int fd)
{
    int is_stream = 0, accepts = 0;
    socklen_t len = sizeof is_stream;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &is_stream, &len) != 0 || is_stream != SOCK_STREAM)
        return false;
    len = sizeof accepts;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &len) == 0 && accepts;
}

static bool has_address(int fd, const struct addr *a)
{
    struct addr have = {.len = sizeof have.un};
    return getsockname(fd, &have.sa, &have.len) == 0 && addr_eq(&have, a);
}

/* By name, so that a manager may bind what no config can spell, such as one socket for IPv4 and IPv6; else by
 * address. */
static struct given_socket *find_given(struct listener_set *set, const char *name, const struct addr *a)
{
    struct given_socket *found = NULL;
    for (int i = 0; i < set->given_count; i++) {
        struct given_socket *g = &set->given[i];
        if (g->is_taken || !is_listening(g->fd))
            continue;
        if (strcmp(g->name, name) == 0)
            return g;
        if (!found && has_address(g->fd, a))
            found = g;
    }
    return found;
}

static bool take_given(struct listener_set *set, const char *name, const struct addr *a,
                       struct listener_fds *out)
{
    struct given_socket *g = find_given(set, name, a);
    if (!g)
        return false;
    fcntl(g->fd, F_SETFL, fcntl(g->fd, F_GETFL) | O_NONBLOCK);
    g->is_taken = true;
    out->fds[0] = g->fd;
    out->count = 1;
    out->is_given = true;
    return true;
}

void listeners_warn_unused(const struct listener_set *set)
{
    for (int i = 0; i < set->given_count; i++) {
        struct addr a = {.len = sizeof a.un};
        char text[ADDR_TEXT_BYTES] = "no socket";
        if (set->given[i].is_taken)
            continue;
        if (getsockname(set->given[i].fd, &a.sa, &a.len) == 0)
            addr_print(&a, text);
        log_warn("socket \"%s\" (%s) of the service manager: no listener has this name or address",
                 set->given[i].name, text);
    }
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

/* What was given stays open: a later config may want it. */
static void give_back(struct listener_set *set, int fd)
{
    for (int i = 0; i < set->given_count; i++)
        if (set->given[i].fd == fd)
            set->given[i].is_taken = false;
}

static void close_sockets(struct listener_set *set, struct listener_fds *f)
{
    for (int i = 0; i < f->count; i++)
        if (f->is_given)
            give_back(set, f->fds[i]);
        else
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
    if (take_given(set, ls->name, &a, out))
        return true;
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
    if (unlink_path && !b->sockets.is_given && addr_parse(str_of(b->address), &a) &&
        a.sa.sa_family == AF_UNIX && a.un.sun_path[0])
        unlink(a.un.sun_path);
    close_sockets(set, &b->sockets);
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
        close_sockets(set, &sockets);
        return false;
    }
    if (!sockets.is_given && addr_parse(str_of(ls.address), &a) && a.sa.sa_family == AF_UNIX &&
        a.un.sun_path[0] && chmod(a.un.sun_path, 0600) != 0)
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
            close_sockets(set, &sockets);
            listeners_unbind_last(set);
            return false;
        }
        add(set, str_of(ls->address), sockets);
        log_info("listener \"%s\": %s, %d socket%s%s", ls->name, ls->address, sockets.count,
                 sockets.count == 1 ? "" : "s", sockets.is_given ? " of the service manager" : "");
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
    for (int i = 0; i < set->given_count; i++) {
        close(set->given[i].fd);
        free(set->given[i].name);
    }
    free(set->given);
    set->given = NULL;
    set->given_count = 0;
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

void listeners_adopt(struct listener_set *set, struct str address, const int *fds, int count, bool is_given)
{
    struct listener_fds f = {must(calloc((size_t)count + 1, sizeof(int))), count, is_given};
    for (int i = 0; i < count; i++) {
        f.fds[i] = fds[i];
        if (is_given)
            add_given(set, fds[i], STR(""), true);
        fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    }
    add(set, address, f);
}
