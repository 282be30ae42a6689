#include "master/daemon.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "run/role.h"

static int wait_for_report(int fd, pid_t pid)
{
    char done;
    int status;
    if (read(fd, &done, 1) == 1)
        return EXIT_OK;
    if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return WEXITSTATUS(status);
    return EXIT_FAILED;
}

/* Before any child exists: one that held the caller's pipe would keep the caller waiting for its end. */
static void detach(bool keep_stderr)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    setsid();
    if (null < 0)
        return;
    dup2(null, 0);
    dup2(null, 1);
    if (!keep_stderr)
        dup2(null, 2);
    if (null > 2)
        close(null);
}

bool daemon_fork(struct daemon *d, bool keep_stderr)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return false;
    pid_t pid = fork();
    if (pid < 0) {
        close(ends[0]);
        close(ends[1]);
        return false;
    }
    if (pid > 0) {
        close(ends[1]);
        _exit(wait_for_report(ends[0], pid));
    }
    close(ends[0]);
    d->report_fd = ends[1];
    d->stderr_fd = fcntl(2, F_DUPFD_CLOEXEC, 3);
    detach(keep_stderr);
    return true;
}

void daemon_ready(struct daemon *d)
{
    if (d->report_fd < 0)
        return;
    ssize_t rc = write(d->report_fd, "+", 1);
    (void)rc; /* nobody waits: as well */
    close(d->report_fd);
    if (d->stderr_fd >= 0)
        close(d->stderr_fd);
    *d = (struct daemon){-1, -1};
}

bool pid_file_write(const char *path)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%d\n", (int)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, (size_t)n) == n;
    close(fd);
    return ok;
}

void pid_file_remove(const char *path)
{
    if (path && unlink(path) != 0)
        log_warn("cannot remove the pid file %s: %m", path);
}
