/* refuse: a library for LD_PRELOAD that says no once. It counts calls of the allocator and of the kernel made
 * by one armed process on its worker threads, and refuses the n-th the way a system that ran out of something
 * would.
 *
 *   REFUSE_FILE names a file of struct control, which the test writes and every process of the program has
 * mapped.
 *
 * Only threads named "worker …" are refused anything: they must live through it. The control plane ends its
 * process when memory is out and is started again, which other tests look at. Nothing is refused before `pid`
 * is set. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

enum kind { KIND_MEMORY = 1, KIND_CALL = 2 };

struct control {         /* tests/wire/test_fault.py writes it, but for seen, refused and what */
    _Atomic int32_t pid; /* whom; 0: nobody */
    _Atomic uint32_t kinds;
    _Atomic uint32_t nth;  /* which call, from 1 */
    _Atomic uint32_t seen; /* calls so far */
    _Atomic uint32_t refused;
    char only[28]; /* calls of this name alone count; empty: all of the kinds */
    char what[28]; /* the name of the one that was refused */
};

static struct control *control;

__attribute__((constructor)) static void map_control(void)
{
    const char *path = getenv("REFUSE_FILE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED)
        control = p;
}

static bool is_worker(void)
{
    char name[16] = "";
    return prctl(PR_GET_NAME, name) == 0 && strncmp(name, "worker", 6) == 0;
}

/* Is this call the one? Does not disturb errno otherwise. */
static bool is_refused(enum kind kind, const char *what, int error)
{
    struct control *c = control;
    if (!c || !atomic_load_explicit(&c->pid, memory_order_acquire))
        return false;
    if (!(atomic_load(&c->kinds) & kind) || atomic_load(&c->pid) != getpid() || !is_worker())
        return false;
    if (c->only[0] && strcmp(c->only, what) != 0)
        return false;
    if (atomic_fetch_add(&c->seen, 1) + 1 != atomic_load(&c->nth))
        return false;
    strncpy(c->what, what, sizeof c->what - 1);
    atomic_fetch_add(&c->refused, 1);
    errno = error;
    return true;
}

#define NEXT(type, name, args)                                                                               \
    static type(*next) args;                                                                                 \
    if (!next)                                                                                               \
    *(void **)&next = dlsym(RTLD_NEXT, name)

/* ---- memory ---- */

/* dlsym itself may allocate before the next allocator is known: it gets bytes from here, which are never
 * given back. */
static _Alignas(16) char early[8192];
static size_t early_used;
static __thread bool looking_up;

static void *early_take(size_t n)
{
    size_t at = early_used;
    if (n > sizeof early - at - 16)
        return NULL;
    early_used += (n + 15) & ~(size_t)15;
    return early + at;
}

static bool is_early(const void *p)
{
    return (const char *)p >= early && (const char *)p < early + sizeof early;
}

#define NEXT_ALLOCATOR(type, name, args, bytes)                                                              \
    static type(*next) args;                                                                                 \
    if (!next) {                                                                                             \
        if (looking_up)                                                                                      \
            return early_take(bytes);                                                                        \
        looking_up = true;                                                                                   \
        *(void **)&next = dlsym(RTLD_NEXT, name);                                                            \
        looking_up = false;                                                                                  \
    }

void *malloc(size_t n)
{
    NEXT_ALLOCATOR(void *, "malloc", (size_t), n)
    return is_refused(KIND_MEMORY, "malloc", ENOMEM) ? NULL : next(n);
}

void *calloc(size_t count, size_t n)
{
    NEXT_ALLOCATOR(void *, "calloc", (size_t, size_t), count *n)
    return is_refused(KIND_MEMORY, "calloc", ENOMEM) ? NULL : next(count, n);
}

void *realloc(void *p, size_t n)
{
    NEXT_ALLOCATOR(void *, "realloc", (void *, size_t), n)
    if (is_early(p)) {
        void *q = malloc(n);
        if (q)
            memcpy(q, p, n < 1024 ? n : 1024);
        return q;
    }
    return is_refused(KIND_MEMORY, "realloc", ENOMEM) ? NULL : next(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    NEXT_ALLOCATOR(void *, "aligned_alloc", (size_t, size_t), n)
    return is_refused(KIND_MEMORY, "aligned_alloc", ENOMEM) ? NULL : next(align, n);
}

void free(void *p)
{
    static void (*next)(void *);
    if (is_early(p))
        return;
    if (!next)
        *(void **)&next = dlsym(RTLD_NEXT, "free");
    next(p);
}

/* ---- the kernel ---- */

int socket(int family, int type, int protocol)
{
    NEXT(int, "socket", (int, int, int));
    return is_refused(KIND_CALL, "socket", EMFILE) ? -1 : next(family, type, protocol);
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    NEXT(int, "connect", (int, const struct sockaddr *, socklen_t));
    return is_refused(KIND_CALL, "connect", ECONNREFUSED) ? -1 : next(fd, to, len);
}

/* The connection stays in the queue, as it does when descriptors are out. */
int accept4(int fd, struct sockaddr *from, socklen_t *len, int flags)
{
    NEXT(int, "accept4", (int, struct sockaddr *, socklen_t *, int));
    return is_refused(KIND_CALL, "accept4", EMFILE) ? -1 : next(fd, from, len, flags);
}

ssize_t recv(int fd, void *p, size_t n, int flags)
{
    NEXT(ssize_t, "recv", (int, void *, size_t, int));
    return is_refused(KIND_CALL, "recv", ECONNRESET) ? -1 : next(fd, p, n, flags);
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
    NEXT(ssize_t, "send", (int, const void *, size_t, int));
    return is_refused(KIND_CALL, "send", ECONNRESET) ? -1 : next(fd, p, n, flags);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    NEXT(ssize_t, "sendmsg", (int, const struct msghdr *, int));
    return is_refused(KIND_CALL, "sendmsg", ECONNRESET) ? -1 : next(fd, m, flags);
}

ssize_t sendfile(int to, int from, off_t *at, size_t n)
{
    NEXT(ssize_t, "sendfile", (int, int, off_t *, size_t));
    return is_refused(KIND_CALL, "sendfile", EIO) ? -1 : next(to, from, at, n);
}

ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t n, unsigned flags)
{
    NEXT(ssize_t, "splice", (int, off64_t *, int, off64_t *, size_t, unsigned));
    return is_refused(KIND_CALL, "splice", ECONNRESET) ? -1 : next(from, from_at, to, to_at, n, flags);
}

int pipe2(int fds[2], int flags)
{
    NEXT(int, "pipe2", (int *, int));
    return is_refused(KIND_CALL, "pipe2", EMFILE) ? -1 : next(fds, flags);
}

/* Taking out never fails for want of memory. */
int epoll_ctl(int ep, int op, int fd, struct epoll_event *ev)
{
    NEXT(int, "epoll_ctl", (int, int, int, struct epoll_event *));
    return op != EPOLL_CTL_DEL && is_refused(KIND_CALL, "epoll_ctl", ENOSPC) ? -1 : next(ep, op, fd, ev);
}

static mode_t mode_of(int flags, va_list ap)
{
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    NEXT(int, "open", (const char *, int, ...));
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_of(flags, ap);
    va_end(ap);
    return is_refused(KIND_CALL, "open", EMFILE) ? -1 : next(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
    NEXT(int, "openat", (int, const char *, int, ...));
    va_list ap;
    va_start(ap, flags);
    mode_t mode = mode_of(flags, ap);
    va_end(ap);
    return is_refused(KIND_CALL, "openat", EMFILE) ? -1 : next(dir, path, flags, mode);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
    NEXT(ssize_t, "pwrite", (int, const void *, size_t, off_t));
    return is_refused(KIND_CALL, "pwrite", ENOSPC) ? -1 : next(fd, p, n, at);
}

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
    NEXT(ssize_t, "pread", (int, void *, size_t, off_t));
    return is_refused(KIND_CALL, "pread", EIO) ? -1 : next(fd, p, n, at);
}

/* openat2 has no function of its own in this C library. Other numbers pass through with six words. */
long syscall(long number, ...)
{
    NEXT(long, "syscall", (long, ...));
    va_list ap;
    long a[6];
    va_start(ap, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    return is_refused(KIND_CALL, "syscall", EMFILE) ? -1 : next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
