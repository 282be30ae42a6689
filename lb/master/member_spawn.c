#include "master/member_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "master/child.h"
#include "master/members.h"

/* Everything made before the fork: the child of a program with big tables should not allocate. */
struct plan {
    char **argv, **env; /* owned */
    char *directory;    /* owned */
    struct privileges privileges;
    const struct rlimit *files;
    int output, status; /* write ends */
    pid_t master;
};

static void strings_free(char **v)
{
    for (size_t i = 0; v && v[i]; i++)
        free(v[i]);
    free(v);
}

/* What a member gets of our environment: places and languages, no secrets. */
static void inherit(struct vars *v)
{
    static const char *const names[] = {"LANG", "LC_ALL", "TZ", "TMPDIR", "HOME", "USER"};
    struct buf path;
    buf_init(&path);
    const char *have = getenv("PATH");
    buf_printf(&path, "%s:/usr/local/sbin:/usr/sbin:/sbin",
               have && *have ? have : "/usr/local/bin:/usr/bin:/bin");
    member_vars_add(v, STR("PATH"), buf_str(&path));
    buf_fini(&path);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (getenv(names[i]))
            member_vars_add(v, str_of(names[i]), str_of(getenv(names[i])));
}

/* The value given last under a name wins. */
static void put(struct vars *v, const char *name, const char *value)
{
    for (size_t i = 0; i < v->n; i++)
        if (strcmp(v->names[i], name) == 0) {
            free(v->values[i]);
            v->values[i] = str_dup(str_of(value));
            return;
        }
    member_vars_add(v, str_of(name), str_of(value));
}

static char **environment_of(const struct member_spawn *how, const struct privileges *as)
{
    struct vars all = {0};
    inherit(&all);
    if (as->user[0] && as->drop) {
        put(&all, "USER", as->user);
        put(&all, "HOME", as->home);
    }
    const struct vars *own = &how->cartridge->environment;
    for (size_t i = 0; i < own->n; i++) {
        char *value = member_expand(own->values[i], how->vars);
        put(&all, own->names[i], value);
        free(value);
    }
    for (size_t i = 0; i < how->vars->n;
         i++) /* $PORT and friends win: a member must listen where it is told */
        put(&all, how->vars->names[i], how->vars->values[i]);
    char **env = must(calloc(all.n + 1, sizeof *env));
    struct buf line;
    buf_init(&line);
    for (size_t i = 0; i < all.n; i++) {
        line.len = 0;
        buf_printf(&line, "%s=%s", all.names[i], all.values[i]);
        env[i] = str_dup(buf_str(&line));
    }
    buf_fini(&line);
    member_vars_release(&all);
    return env;
}

static char **command_of(const struct member_spawn *how)
{
    const struct strings *c = &how->cartridge->command;
    char **argv = must(calloc(c->n + 1, sizeof *argv));
    for (size_t i = 0; i < c->n; i++)
        argv[i] = member_expand(c->v[i], how->vars);
    return argv;
}

/* The folder of the config file when none is set, so that "./start-member" beside it is found. */
static char *directory_of(const struct member_spawn *how)
{
    if (how->cartridge->directory)
        return str_dup(str_of(how->cartridge->directory));
    const char *file = how->settings->file, *slash = file ? strrchr(file, '/') : NULL;
    if (!slash || slash == file)
        return str_dup(STR("/"));
    return str_dup(str_make(file, (size_t)(slash - file)));
}

/* ---- in the child ---- */

static _Noreturn void give_up(const struct plan *p, const char *what)
{
    char text[512];
    int n = snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
    ssize_t rc = write(p->status, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
    (void)rc;
    _exit(127);
}

static void become(const struct plan *p)
{
    setsid(); /* a session and a process group of its own: Ctrl-C is not for it, and one kill reaches all of
                 it */
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    dup2(p->output, 1);
    dup2(p->output, 2);
    int keep[] = {p->status};
    child_close_others(keep, 1);
    setrlimit(RLIMIT_NOFILE, p->files);
    if (!privileges_drop(&p->privileges))
        give_up(p, p->privileges.user);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* after the change of user, which clears it */
    if (getppid() != p->master)
        _exit(127);
    if (chdir(p->directory) != 0)
        give_up(p, p->directory);
}

static _Noreturn void run_member(const struct plan *p)
{
    become(p);
    for (char **e = p->env; *e; e++)
        if (strncmp(*e, "PATH=", 5) == 0)
            setenv("PATH", *e + 5, 1); /* execvpe looks in ours */
    execvpe(p->argv[0], p->argv, p->env);
    give_up(p, p->argv[0]);
}

/* ---- in the master ---- */

int member_spawn_outcome(int status_fd, struct buf *error)
{
    char text[512];
    const ssize_t n = read(status_fd, text, sizeof text);
    if (n > 0)
        buf_put(error, text, (size_t)n);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return n > 0 ? -1 : 1;
}

static pid_t fork_member(struct plan *p, struct buf *error)
{
    pid_t pid = child_fork_plain(false);
    if (pid == 0)
        run_member(p);
    if (pid < 0)
        buf_printf(error, "cannot fork: %m");
    return pid;
}

static pid_t spawn_with(struct plan *p, int *out_output, int *out_status, struct buf *error)
{
    int output[2], status[2];
    if (pipe2(output, O_CLOEXEC) != 0) {
        buf_printf(error, "cannot make a pipe: %m");
        return -1;
    }
    if (pipe2(status, O_CLOEXEC | O_NONBLOCK) != 0) {
        buf_printf(error, "cannot make a pipe: %m");
        close(output[0]);
        close(output[1]);
        return -1;
    }
    /* Programs open /proc/self/fd/2 to log; as another user they may only when the pipe is theirs. */
    if (p->privileges.drop && fchown(output[1], p->privileges.uid, p->privileges.gid) != 0)
        log_warn("cannot hand the output pipe to user \"%s\": %m", p->privileges.user);
    p->output = output[1];
    p->status = status[1];
    pid_t pid = fork_member(p, error);
    close(output[1]);
    close(status[1]);
    if (pid < 0) {
        close(output[0]);
        close(status[0]);
        return -1;
    }
    *out_output = output[0];
    *out_status = status[0];
    return pid;
}

pid_t member_spawn(const struct member_spawn *how, int *out_output, int *out_status, struct buf *error)
{
    struct plan p = {.files = &how->launch->files, .master = getpid()};
    if (how->cartridge->command.n == 0) {
        buf_printf(error, "the cartridge has no command");
        return -1;
    }
    if (!privileges_of_user(how->cartridge->user, how->privileges, &p.privileges, error))
        return -1;
    p.argv = command_of(how);
    p.env = environment_of(how, &p.privileges);
    p.directory = directory_of(how);
    pid_t pid = spawn_with(&p, out_output, out_status, error);
    strings_free(p.argv);
    strings_free(p.env);
    free(p.directory);
    return pid;
}
