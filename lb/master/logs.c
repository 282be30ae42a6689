#include "master/logs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "net/addr.h"

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

static struct syslog *open_syslog(struct str address, const struct settings *s, struct buf *error)
{
    struct addr to;
    if (!addr_parse(address, &to)) {
        buf_printf(error, "\"%.*s\" is no address of a syslog server\n", STR_ARG(address));
        return NULL;
    }
    int fd = socket(to.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        buf_printf(error, "cannot open a socket for syslog: %m\n");
        return NULL;
    }
    struct syslog *target = must(malloc(sizeof *target));
    syslog_init(target, fd, &to.sa, to.len, settings_syslog_facility(s));
    return target;
}

static bool open_access(const struct settings *s, struct logs *l, struct buf *error)
{
    const char *name = s->log.access;
    struct str server = settings_syslog_address(name);
    if (!name || !*name || strcmp(name, "off") == 0)
        return true;
    if (strcmp(name, "stderr") == 0)
        l->access_fd = 2;
    else if (strcmp(name, "stdout") == 0)
        l->access_fd = 1;
    else if (!server.n)
        l->access_fd = open_log(name, error);
    else if ((l->access_syslog = open_syslog(server, s, error)))
        l->access_fd = l->access_syslog->fd;
    return l->access_fd >= 0;
}

static bool open_error(const struct settings *s, struct logs *l, struct buf *error)
{
    const char *name = s->log.file;
    struct str server = settings_syslog_address(name);
    if (!name || !*name || strcmp(name, "stderr") == 0)
        return true;
    if (!server.n) {
        l->error_fd = open_log(name, error);
        return l->error_fd >= 0;
    }
    l->error_syslog = open_syslog(server, s, error);
    l->syslog_fd = l->error_syslog ? l->error_syslog->fd : -1;
    return l->error_syslog;
}

bool logs_open(const struct settings *s, struct logs *out, struct buf *error)
{
    struct logs l = {.error_fd = 2, .access_fd = -1, .syslog_fd = -1};
    if (!open_error(s, &l, error) || !open_access(s, &l, error)) {
        logs_close(&l);
        return false;
    }
    *out = l;
    return true;
}

void logs_close(struct logs *l)
{
    close_file(l->error_fd);
    close_file(l->access_fd);
    close_file(l->syslog_fd);
    free(l->error_syslog);
    free(l->access_syslog);
    *l = (struct logs){.error_fd = 2, .access_fd = -1, .syslog_fd = -1};
}

void logs_begin(const struct logs *l, const char *role, const struct settings *s)
{
    log_set_syslog(l->error_syslog);
    log_init(role, l->error_fd, (enum log_level)s->log.level);
}
