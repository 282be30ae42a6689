#include "proxy/files_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* O_NONBLOCK: a FIFO somebody put there must not stop the worker. */
#define OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
#define RACES_MAX  8

/* A NUL-terminated relative path in to[FILES_PATH_MAX]; false when it is too long. */
static bool relative(struct str path, char *to)
{
    while (path.n && path.p[0] == '/')
        path = str_make(path.p + 1, path.n - 1);
    if (!path.n)
        path = STR(".");
    if (path.n >= FILES_PATH_MAX || memchr(path.p, 0, path.n))
        return false;
    memcpy(to, path.p, path.n);
    to[path.n] = 0;
    return true;
}

static enum files_kind kind_of_errno(int err)
{
    switch (err) {
    case EACCES:
    case EPERM:
        return FILES_REFUSED;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return FILES_TROUBLE;
    default: /* ENOENT, ENOTDIR, ELOOP, EXDEV (it leads out), ENAMETOOLONG, ENXIO … */
        return FILES_ABSENT;
    }
}

static enum files_kind examine(int fd, struct stat *out_stat, int *out_fd)
{
    bool known = fstat(fd, out_stat) == 0;
    if (known && S_ISREG(out_stat->st_mode)) {
        *out_fd = fd;
        return FILES_REGULAR;
    }
    close(fd);
    return known && S_ISDIR(out_stat->st_mode) ? FILES_DIRECTORY : FILES_ABSENT;
}

/* A rename in the middle of the resolution is EAGAIN: nothing was found out, so ask again. */
static int open_beneath(int root, const char *path)
{
    struct open_how how = {.flags = OPEN_FLAGS, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = -1;
    for (int i = 0; i < RACES_MAX; i++) {
        fd = syscall(SYS_openat2, root, path, &how, sizeof how);
        if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return (int)fd;
}

/* One folder after the other; takes over `at`. */
static int walk(int at, char *path)
{
    for (;;) {
        char *slash = strchr(path, '/');
        bool last = !slash;
        if (slash)
            *slash = 0;
        int next = -1;
        if (strcmp(path, "..") == 0)
            errno = EXDEV;
        else if (!*path)
            next = last ? openat(at, ".", OPEN_FLAGS) : fcntl(at, F_DUPFD_CLOEXEC, 0);
        else
            next = openat(at, path,
                          last ? OPEN_FLAGS | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int saved = errno;
        close(at);
        errno = saved;
        if (next < 0 || last)
            return next;
        at = next;
        path = slash + 1;
    }
}

static int open_root(const char *root)
{
    return open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

enum files_kind files_open_walk(const char *root, struct str path, struct stat *out_stat, int *out_fd)
{
    char text[FILES_PATH_MAX];
    *out_fd = -1;
    if (!relative(path, text))
        return FILES_ABSENT;
    int at = open_root(root);
    if (at < 0)
        return kind_of_errno(errno);
    int fd = walk(at, text);
    return fd < 0 ? kind_of_errno(errno) : examine(fd, out_stat, out_fd);
}

/* Beneath a root that is open. */
static enum files_kind open_at(int at, const char *root, struct str path, struct stat *out_stat, int *out_fd)
{
    char text[FILES_PATH_MAX];
    *out_fd = -1;
    if (!relative(path, text))
        return FILES_ABSENT;
    int fd = open_beneath(at, text);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        return files_open_walk(root, path, out_stat, out_fd);
    return fd < 0 ? kind_of_errno(errno) : examine(fd, out_stat, out_fd);
}

enum files_kind files_open(const char *root, struct str path, struct stat *out_stat, int *out_fd)
{
    *out_fd = -1;
    int at = open_root(root);
    if (at < 0)
        return kind_of_errno(errno);
    enum files_kind kind = open_at(at, root, path, out_stat, out_fd);
    close(at);
    return kind;
}

void files_roots_forget(struct files_roots *r)
{
    while (r->count > 0) {
        struct files_root *last = &r->v[--r->count];
        close(last->fd);
        free(last->path);
    }
}

static struct files_root *kept_root(struct files_roots *r, const char *root)
{
    for (unsigned i = 0; i < r->count; i++)
        if (strcmp(r->v[i].path, root) == 0)
            return &r->v[i];
    return NULL;
}

/* Opens it and keeps it if there is room; *out_kept says whether. */
static int open_new_root(struct files_roots *r, const char *root, bool was_missed, bool *out_kept)
{
    int at = open_root(root);
    char *copy = at >= 0 && r->count < FILES_ROOTS_KEPT ? strdup(root) : NULL;
    *out_kept = copy != NULL;
    if (copy)
        r->v[r->count++] = (struct files_root){.path = copy, .fd = at, .was_missed = was_missed};
    return at;
}

enum files_kind files_open_kept(struct files_roots *r, const char *root, struct str path,
                                struct stat *out_stat, int *out_fd)
{
    bool is_kept, was_missed = false;
    const struct files_root *held = kept_root(r, root);
    if (held) {
        enum files_kind kind = open_at(held->fd, root, path, out_stat, out_fd);
        if (kind != FILES_ABSENT || held->was_missed)
            return kind;
        files_roots_forget(r); /* perhaps it is not the root any more */
        was_missed = true;
    }
    *out_fd = -1;
    int at = open_new_root(r, root, was_missed, &is_kept);
    if (at < 0)
        return kind_of_errno(errno);
    enum files_kind kind = open_at(at, root, path, out_stat, out_fd);
    if (!is_kept)
        close(at);
    return kind;
}

static bool ends_without_case(struct str path, struct str tail)
{
    return tail.n && path.n >= tail.n && str_ieq(str_make(path.p + path.n - tail.n, tail.n), tail);
}

bool files_is_denied(const struct strings *suffixes, struct str path)
{
    struct str rest = path, segment;
    for (bool first = true; str_next(&rest, '/', &segment);) {
        if (!segment.n)
            continue;
        if (segment.p[0] == '.' && !(first && str_eq(segment, STR(".well-known"))))
            return true;
        first = false;
    }
    for (size_t i = 0; i < suffixes->n; i++)
        if (ends_without_case(path, str_of(suffixes->v[i])))
            return true;
    return false;
}
