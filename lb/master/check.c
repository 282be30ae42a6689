#include "master/check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/settings.h"
#include "master/admin_token.h"
#include "master/child.h"
#include "master/privileges.h"
#include "proxy/secure.h"
#include "run/role.h"

static void write_all(int fd, struct str text)
{
    while (text.n) {
        ssize_t n = write(fd, text.p, text.n);
        if (n <= 0)
            return;
        text = str_make(text.p + n, text.n - (size_t)n);
    }
}

/* In the child. */
static int check_now(const char *file, int fd)
{
    struct buf errors;
    struct privileges p;
    buf_init(&errors);
    struct settings *s = settings_load(file, &errors);
    bool ok = s != NULL;
    if (s && !privileges_resolve(s, &p, &errors))
        ok = false;
    struct admin_token token;
    if (s && !admin_token_read(s, &token, &errors))
        ok = false;
    if (s && !secure_check(s, &errors))
        ok = false;
    if (s && !orch_check(s, &errors))
        ok = false;
    write_all(fd, str_make(errors.p, errors.len < CHECK_ERRORS_MAX ? errors.len : CHECK_ERRORS_MAX));
    settings_free(&s);
    buf_fini(&errors);
    return ok ? EXIT_OK : EXIT_CONFIG;
}

pid_t check_start(const char *file, int *out_fd)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    pid_t pid = child_fork_plain(true);
    if (pid == 0) {
        int keep[] = {ends[1]};
        child_close_others(keep, 1);
        log_set_level(LOG_ERROR);
        _exit(check_now(file, ends[1]));
    }
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -1;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    *out_fd = ends[0];
    return pid;
}

bool check_run(const char *file, struct buf *errors)
{
    int fd, status = 0;
    pid_t pid = check_start(file, &fd);
    if (pid < 0) {
        buf_printf(errors, "%s: cannot start the check: %m\n", file);
        return false;
    }
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll(&p, 1, -1);
        ssize_t n = read(fd, buf_reserve(errors, 4096), 4096);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n <= 0)
            break;
        errors->len += (size_t)n;
    }
    close(fd);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (errors->len == 0)
        buf_printf(errors, "%s: the check ended with signal %d\n", file,
                   WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    return false;
}
