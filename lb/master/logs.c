#include "master/logs.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int open_log(const char *file, struct buf *error)
{
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    if (fd < 0)
        buf_printf(error, "cannot open the log %s: %m\n", file);
    return fd;
}

static void close_file(int fd)
{
    if (fd > 2)
        close(fd);
}

static bool open_access(const struct settings *s, int *out_fd, struct buf *error)
{
    const char *name = s->log.access;
    *out_fd = -1;
    if (!name || !*name || strcmp(name, "off") == 0)
        return true;
    if (strcmp(name, "stderr") == 0)
        *out_fd = 2;
    else if (strcmp(name, "stdout") == 0)
        *out_fd = 1;
    else
        *out_fd = open_log(name, error);
    return *out_fd >= 0;
}

bool logs_open(const struct settings *s, struct logs *out, struct buf *error)
{
    struct logs l = {2, -1};
    if (s->log.file && *s->log.file && strcmp(s->log.file, "stderr") != 0)
        l.error_fd = open_log(s->log.file, error);
    if (l.error_fd < 0)
        return false;
    if (!open_access(s, &l.access_fd, error)) {
        close_file(l.error_fd);
        return false;
    }
    *out = l;
    return true;
}

void logs_close(struct logs *l)
{
    close_file(l->error_fd);
    close_file(l->access_fd);
    *l = (struct logs){2, -1};
}
