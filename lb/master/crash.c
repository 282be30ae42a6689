#include "master/crash.h"

#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A signal handler has nobody to be handed state by. */
static struct {
    _Atomic int fd;
    _Atomic int dying;
} crash;

enum { FRAMES = 48, PER_THREAD_US = 20000 };

static void say(const char *text)
{
    ssize_t rc = write(atomic_load(&crash.fd), text, strlen(text));
    (void)rc;
}

static void print_stack(const char *title)
{
    void *frames[FRAMES];
    int n = backtrace(frames, FRAMES);
    say(title);
    backtrace_symbols_fd(frames, n, atomic_load(&crash.fd));
}

static void on_show_stack(int signo)
{
    (void)signo;
    print_stack("stack of another thread:\n");
}

static void ask_threads_of(const char *entries, size_t bytes, long self)
{
    for (size_t at = 0; at < bytes;) {
        const struct dirent64 *e = (const void *)(entries + at);
        long tid = strtol(e->d_name, NULL, 10);
        at += e->d_reclen;
        if (tid <= 0 || tid == self)
            continue;
        syscall(SYS_tgkill, getpid(), tid, SIGUSR2);
        usleep(PER_THREAD_US);
    }
}

/* opendir would allocate, and this process may hang with the allocator's lock held. */
static void ask_other_threads(void)
{
    _Alignas(struct dirent64) char entries[4096];
    int fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    for (long n; (n = syscall(SYS_getdents64, fd, entries, sizeof entries)) > 0;)
        ask_threads_of(entries, (size_t)n, syscall(SYS_gettid));
    close(fd);
}

static void on_fatal(int signo, siginfo_t *info, void *context)
{
    (void)context;
    if (atomic_exchange(&crash.dying, 1) == 0) {
        print_stack(signo == SIGABRT ? "aborted; stack:\n" : "crashed; stack:\n");
        if (signo == SIGABRT && info->si_code == SI_USER && info->si_pid == getppid())
            ask_other_threads();
    }
    signal(signo, SIG_DFL);
    raise(signo);
}

void crash_init(int fd)
{
    void *frames[2];
    struct sigaction a = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_RESETHAND};
    atomic_store(&crash.fd, fd);
    (void)backtrace(frames, 2);
    sigemptyset(&a.sa_mask);
    sigaction(SIGABRT, &a, NULL);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    /* Sanitizers have better handlers for these. */
    sigaction(SIGSEGV, &a, NULL);
    sigaction(SIGBUS, &a, NULL);
    sigaction(SIGILL, &a, NULL);
    sigaction(SIGFPE, &a, NULL);
#endif
    struct sigaction show = {.sa_handler = on_show_stack, .sa_flags = SA_RESTART};
    sigemptyset(&show.sa_mask);
    sigaction(SIGUSR2, &show, NULL);
}
