#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/syslog.h"

/* The one piece of mutable state that is not handed down: a log line must be possible from anywhere. */
static struct {
    const char *role;
    _Atomic int fd;
    _Atomic int level;
    bool to_journal; /* fd is systemd's: it takes "<3>" in front of a line for its priority (sd-daemon(3)) */
    const struct syslog *syslog; /* NULL: to fd */
    _Atomic unsigned lost;       /* lines that the syslog server did not take */
} out = {.role = "coxswain", .fd = 2, .level = LOG_INFO};

/* systemd names the device and inode of the stream that it gave (systemd.exec(5), JOURNAL_STREAM). */
static bool is_journal(int fd)
{
    const char *told = getenv("JOURNAL_STREAM");
    char own[48];
    struct stat st;
    if (!told || fstat(fd, &st) != 0)
        return false;
    snprintf(own, sizeof own, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(told, own) == 0;
}

void log_init(const char *role, int fd, enum log_level level)
{
    out.role = role;
    out.to_journal = is_journal(fd);
    atomic_store_explicit(&out.fd, fd, memory_order_relaxed);
    atomic_store_explicit(&out.level, (int)level, memory_order_relaxed);
}

void log_set_fd(int fd)
{
    out.to_journal = is_journal(fd);
    atomic_store_explicit(&out.fd, fd, memory_order_relaxed);
}

void log_reopen(int fd)
{
    int at = atomic_load_explicit(&out.fd, memory_order_relaxed);
    struct stat st;
    if (!out.syslog && fstat(fd, &st) == 0 && !S_ISSOCK(st.st_mode))
        (void)!dup3(fd, at, at > STDERR_FILENO ? O_CLOEXEC : 0);
    close(fd);
}

void log_set_syslog(const struct syslog *s)
{
    out.syslog = s;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&out.level, (int)level, memory_order_relaxed);
}

static size_t put_time(char *to, size_t cap)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(to, cap, "%Y-%m-%dT%H:%M:%S", &tm);
    int more = snprintf(to + n, cap - n, ".%03ldZ", now.tv_nsec / 1000000);
    return n + (more > 0 ? (size_t)more : 0);
}

/* Copies text to `to`, control and non-ASCII bytes as \xHH; returns the bytes written. */
static size_t put_escaped(char *to, size_t cap, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;
    for (; *text && n + 5 < cap; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= 0x20 && c < 0x7f) {
            to[n++] = (char)c;
            continue;
        }
        to[n++] = '\\';
        to[n++] = 'x';
        to[n++] = hex[c >> 4];
        to[n++] = hex[c & 15];
    }
    return n;
}

static const enum syslog_severity severities[] = {SYSLOG_ERROR, SYSLOG_WARNING, SYSLOG_INFO, SYSLOG_DEBUG};

static bool send_line(const char *name, enum syslog_severity severity, const char *text)
{
    char head[SYSLOG_HEAD_BYTES], line[2048];
    size_t n = syslog_head(out.syslog, severity, name, head);
    int role = snprintf(line, sizeof line, "%s: ", out.role);
    size_t at = role > 0 ? (size_t)role : 0;
    at += put_escaped(line + at, sizeof line - at, text);
    return syslog_send(out.syslog, str_make(head, n), str_make(line, at));
}

static void send_to_syslog(enum log_level level, const char *name, const char *text)
{
    unsigned lost = atomic_exchange_explicit(&out.lost, 0, memory_order_relaxed);
    char note[64];
    if (lost) {
        snprintf(note, sizeof note, "%u lines before this one were lost", lost);
        if (send_line("warn", SYSLOG_WARNING, note))
            lost = 0;
    }
    lost += !send_line(name, severities[level], text);
    atomic_fetch_add_explicit(&out.lost, lost, memory_order_relaxed);
}

void log_write(enum log_level level, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if ((int)level > atomic_load_explicit(&out.level, memory_order_relaxed))
        return;
    int saved_errno = errno;
    char text[1600], line[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (out.syslog) {
        send_to_syslog(level, names[level], text);
        errno = saved_errno;
        return;
    }
    size_t n = out.to_journal ? (size_t)snprintf(line, 8, "<%d>", (int)severities[level]) : 0;
    n += put_time(line + n, 64);
    int more = snprintf(line + n, sizeof line - n, " %s[%d] %s: ", out.role, (int)getpid(), names[level]);
    n += more > 0 ? (size_t)more : 0;
    n += put_escaped(line + n, sizeof line - n - 1, text);
    line[n++] = '\n';
    ssize_t rc = write(atomic_load_explicit(&out.fd, memory_order_relaxed), line, n);
    (void)rc; /* a log that cannot be written has nowhere to complain */
    errno = saved_errno;
}

int log_limit_pass(struct log_limit *limit, int per_second)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    long second = atomic_load_explicit(&limit->second, memory_order_relaxed);
    if (second != (long)now.tv_sec) {
        atomic_store_explicit(&limit->second, (long)now.tv_sec, memory_order_relaxed);
        int left_out = atomic_exchange_explicit(&limit->count, 0, memory_order_relaxed) - per_second;
        if (left_out > 0)
            log_write(LOG_WARN, "%d more lines like the next were left out", left_out);
    }
    return atomic_fetch_add_explicit(&limit->count, 1, memory_order_relaxed) < per_second;
}
