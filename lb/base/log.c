#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The one piece of mutable state that is not handed down: a log line must be possible from anywhere. */
static struct {
    const char *role;
    _Atomic int fd;
    _Atomic int level;
} out = {"coxswain", 2, LOG_INFO};

void log_init(const char *role, int fd, enum log_level level)
{
    out.role = role;
    atomic_store_explicit(&out.fd, fd, memory_order_relaxed);
    atomic_store_explicit(&out.level, (int)level, memory_order_relaxed);
}

void log_set_fd(int fd)
{
    atomic_store_explicit(&out.fd, fd, memory_order_relaxed);
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
    size_t n = put_time(line, 64);
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
