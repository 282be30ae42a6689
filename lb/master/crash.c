#include "master/crash.h"

#include <execinfo.h>
#include <dirent.h>
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

/* opendir is not on the list of safe functions, but this process is hung and about to be killed: worth the risk. */
static void ask_other_threads(void)
{
    DIR *d = opendir("/proc/self/task");
    long self = syscall(SYS_gettid);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        long tid = strtol(e->d_name, NULL, 10);
        if (tid <= 0 || tid == self)
            continue;
        syscall(SYS_tgkill, getpid(), tid, SIGUSR2);
        usleep(PER_THREAD_US);
    }
    closedir(d);
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
