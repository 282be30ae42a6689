#include "base/syslog.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

void syslog_init(struct syslog *s, int fd, const struct sockaddr *to, socklen_t to_len, int facility)
{
    *s = (struct syslog){.fd = fd, .facility = facility, .to_len = to_len};
    memcpy(&s->to, to, to_len);
    tzset(); /* localtime_r alone need not */
    if (gethostname(s->host, sizeof s->host - 1) != 0)
        s->host[0] = 0;
    for (char *p = s->host; *p; p++)
        if (*p <= ' ' || *p > '~')
            s->host[0] = 0;
    if (!s->host[0])
        memcpy(s->host, "-", 2);
}

/* The names are English whatever the locale. */
static int local_head(int priority, time_t now, const char *id, char *to)
{
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm;
    localtime_r(&now, &tm);
    return snprintf(to, SYSLOG_HEAD_BYTES, "<%d>%s %2d %02d:%02d:%02d coxswain%s[%d]: ", priority,
                    months[tm.tm_mon], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                    strcmp(id, "access") == 0 ? "/access" : "", (int)getpid());
}

size_t syslog_head(const struct syslog *s, enum syslog_severity severity, const char *id, char *to)
{
    struct timespec now;
    struct tm tm;
    char date[32];
    int priority = s->facility * 8 + (int)severity;
    clock_gettime(CLOCK_REALTIME, &now);
    if (s->to.ss_family == AF_UNIX)
        return (size_t)local_head(priority, now.tv_sec, id, to);
    gmtime_r(&now.tv_sec, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    int n = snprintf(to, SYSLOG_HEAD_BYTES, "<%d>1 %s.%06ldZ %s coxswain %d %.32s - ", priority, date,
                     now.tv_nsec / 1000, s->host, (int)getpid(), id);
    return n > 0 ? (size_t)n : 0; /* all its parts are bounded: it fits */
}

bool syslog_send(const struct syslog *s, struct str head, struct str text)
{
    struct iovec parts[2] = {{.iov_base = (void *)(uintptr_t)head.p, .iov_len = head.n},
                             {.iov_base = (void *)(uintptr_t)text.p,
                              .iov_len = text.n < SYSLOG_TEXT_MAX ? text.n : SYSLOG_TEXT_MAX}};
    struct msghdr m = {
        .msg_name = (void *)(uintptr_t)&s->to, .msg_namelen = s->to_len, .msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = sendmsg(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == ECONNREFUSED && s->to.ss_family != AF_UNIX)
        n = sendmsg(s->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL); /* that was about an earlier one (ICMP) */
    if (n < 0 && errno == ENOBUFS)
        errno = EAGAIN;
    return n >= 0;
}
