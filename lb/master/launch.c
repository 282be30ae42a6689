#include "master/launch.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/panic.h"

/* The environment moves to the heap so that the title may grow over where it was. unsetenv() forgets strings,
 * so the launch remembers them in an array of its own. */
static void environment_move(struct launch *l)
{
    size_t n = 0;
    while (environ[n])
        n++;
    l->environment = must(calloc(n + 1, sizeof *l->environment));
    l->environment_in_use = must(calloc(n + 1, sizeof *l->environment_in_use));
    for (size_t i = 0; i < n; i++)
        l->environment_in_use[i] = l->environment[i] = str_dup(str_of(environ[i]));
    environ = l->environment_in_use;
}

static void environment_free(struct launch *l)
{
    clearenv();
    for (size_t i = 0; l->environment[i]; i++)
        free(l->environment[i]);
    free(l->environment);
    free(l->environment_in_use);
}

/* argv strings, then the environment's, lie one behind the other; stop where they do not. */
static size_t contiguous_bytes(int argc, char **argv)
{
    char *end = argv[0];
    for (int i = 0; i < argc; i++)
        if (argv[i] == end)
            end = argv[i] + strlen(argv[i]) + 1;
    for (char **e = environ; *e; e++)
        if (*e == end)
            end = *e + strlen(*e) + 1;
    return (size_t)(end - argv[0]);
}

static char *own_executable(void)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        return NULL;
    path[n] = 0;
    return str_dup(str_of(path));
}

/* argv[0] when it names this very file: a symlink that is moved to a new version is then followed by the
 * upgrade. */
static char *find_executable(const char *argv0)
{
    char *own = own_executable();
    struct stat a, b;
    if (!strchr(argv0, '/') || stat(argv0, &a) != 0 || stat("/proc/self/exe", &b) != 0 ||
        a.st_dev != b.st_dev || a.st_ino != b.st_ino)
        return own ? own : str_dup(str_of(argv0));
    free(own);
    if (argv0[0] == '/')
        return str_dup(str_of(argv0));
    char cwd[PATH_MAX];
    struct buf path;
    buf_init(&path);
    buf_printf(&path, "%s/%s", getcwd(cwd, sizeof cwd) ? cwd : ".", argv0);
    char *copy = str_dup(buf_str(&path));
    buf_fini(&path);
    return copy;
}

void launch_init(struct launch *l, int argc, char **argv)
{
    *l = (struct launch){.argc = argc};
    l->argv = must(calloc((size_t)argc + 1, sizeof *l->argv));
    for (int i = 0; i < argc; i++)
        l->argv[i] = str_dup(str_of(argv[i]));
    l->executable = find_executable(l->argv[0]);
    l->title_area = argv[0];
    l->title_bytes = contiguous_bytes(argc, argv);
    environment_move(l);
    if (getrlimit(RLIMIT_NOFILE, &l->files) != 0)
        l->files = (struct rlimit){1024, 1024};
}

void launch_fini(struct launch *l)
{
    for (int i = 0; i < l->argc; i++)
        free(l->argv[i]);
    free(l->argv);
    free(l->executable);
    environment_free(l);
    *l = (struct launch){0};
}

void launch_set_title(const struct launch *l, const char *title)
{
    size_t n = strlen(title);
    if (l->title_bytes < 2)
        return;
    if (n > l->title_bytes - 1)
        n = l->title_bytes - 1;
    memcpy(l->title_area, title, n);
    memset(l->title_area + n, 0, l->title_bytes - n);
}

void launch_raise_limits(const struct launch *l)
{
    struct rlimit r = {l->files.rlim_max, l->files.rlim_max};
    /* "Unlimited" would make tables by the limit absurd; a million connections is more than one machine's
     * ports. */
    if (r.rlim_cur > 1048576)
        r.rlim_cur = 1048576;
    if (r.rlim_cur > l->files.rlim_cur && setrlimit(RLIMIT_NOFILE, &r) != 0)
        log_warn("cannot raise the limit of open files to %lu: %m", (unsigned long)r.rlim_cur);
}
