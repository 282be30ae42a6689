#include "master/child.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "base/str.h"
#include "master/crash.h"
#include "run/role.h"

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void close_between(unsigned first, unsigned last)
{
    if (first > last)
        return;
    if (syscall(SYS_close_range, first, last, 0) == 0)
        return;
    long end = sysconf(_SC_OPEN_MAX); /* kernels before 5.9 */
    for (unsigned fd = first; fd <= last && (long)fd < end; fd++)
        close((int)fd);
}

void child_close_others(const int *keep, int count)
{
    int *sorted = must(malloc(sizeof *sorted * (size_t)(count + 1)));
    if (count)
        memcpy(sorted, keep, sizeof *sorted * (size_t)count);
    qsort(sorted, (size_t)count, sizeof *sorted, by_number);
    unsigned first = 3;
    for (int i = 0; i < count; i++) {
        if (sorted[i] < (int)first)
            continue;
        close_between(first, (unsigned)sorted[i] - 1);
        first = (unsigned)sorted[i] + 1;
    }
    close_between(first, ~0u);
    free(sorted);
}

static void reset_signals(bool ignore_terminal)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP};
    for (int s = 1; s < NSIG; s++)
        if (s != SIGKILL && s != SIGSTOP)
            signal(s, SIG_DFL);
    for (size_t i = 0; ignore_terminal && i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
    if (ignore_terminal)
        signal(SIGPIPE, SIG_IGN);
}

pid_t child_fork_plain(bool ignore_terminal)
{
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before); /* no handler of the master may run in the child */
    pid_t pid = fork();
    if (pid == 0) {
        reset_signals(ignore_terminal);
        sigemptyset(&before);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid;
}

static void close_foreign(const struct child_plan *plan)
{
    int n = plan->keep_count, *keep = must(malloc(sizeof *keep * (size_t)(n + 3)));
    if (n)
        memcpy(keep, plan->keep, sizeof *keep * (size_t)n);
    keep[n++] = plan->logs->error_fd;
    if (plan->logs->access_fd >= 0)
        keep[n++] = plan->logs->access_fd;
    if (plan->logs->syslog_fd >= 0)
        keep[n++] = plan->logs->syslog_fd;
    child_close_others(keep, n);
    free(keep);
}

static void become(const struct child_plan *plan, pid_t master)
{
    char title[96];
    snprintf(title, sizeof title, "coxswain: %s", plan->role);
    launch_set_title(plan->launch, title);
    logs_begin(plan->logs, str_dup(str_of(plan->role)), plan->settings);
    close_foreign(plan);
    if (!privileges_drop(plan->privileges)) {
        log_error("cannot become user \"%s\": %m", plan->privileges->user);
        _exit(EXIT_OS);
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    /* After the change of user, which clears it. */
    if (plan->dies_with_master)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != master)
        _exit(EXIT_FAILED); /* it died between the fork and here */
    crash_init(plan->logs->error_fd);
}

pid_t child_fork(const struct child_plan *plan)
{
    pid_t master = getpid(), pid = child_fork_plain(true);
    if (pid == 0)
        become(plan, master);
    return pid;
}
