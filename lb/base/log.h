/* log: the error log of a process. Not the access log, which never comes near this.
 *
 * One line an entry, written with one write(2) to a descriptor that the process was given, so lines of
 * several processes never mix; or one message an entry to a syslog server (base/syslog.h), and when that took
 * nothing for a while the next line says how many were lost. Bytes that are not printable ASCII are escaped:
 * a peer cannot forge a line (H36). In front of lines to systemd's journal stands their priority. Any thread
 * may log. The state of this module is the process's own: role, descriptor, level. */
#ifndef COX_BASE_LOG_H
#define COX_BASE_LOG_H

enum log_level { LOG_ERROR = 0, LOG_WARN = 1, LOG_INFO = 2, LOG_DEBUG = 3 };

/* `role` (borrowed for ever) stands in every line: "master", "proxy 3", "orchestrator". */
void log_init(const char *role, int fd, enum log_level level);
void log_set_fd(int fd);
/* The same log, opened again: takes the place of the descriptor that lines go to, whose number stays, and is
 * closed. Nothing happens when lines go to a syslog server, or fd is a socket for one. Any thread. */
void log_reopen(int fd);
struct syslog;
/* Lines go there from now on; s is borrowed for ever. NULL: to the descriptor. Before threads start. */
void log_set_syslog(const struct syslog *s);
void log_set_level(enum log_level level);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* At most `per_second` lines a second and call site; the count of what was left out follows. */
#define LOG_LIMITED(level, per_second, ...)                                                                  \
    do {                                                                                                     \
        static struct log_limit limit_;                                                                      \
        if (log_limit_pass(&limit_, (per_second)))                                                           \
            log_write((level), __VA_ARGS__);                                                                 \
    } while (0)

struct log_limit {
    _Atomic long second;
    _Atomic int count;
};
int log_limit_pass(struct log_limit *limit, int per_second);

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

#endif
