/* logs: the descriptors of the error log and the access log, opened by the master before privileges drop and
 * handed to the children. Opened again on SIGUSR1 and on reload. */
#ifndef COX_MASTER_LOGS_H
#define COX_MASTER_LOGS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/syslog.h"
#include "conf/settings.h"

struct logs {
    int error_fd;  /* never -1; 2 is standard error and is not closed */
    int access_fd; /* -1: off; 1 and 2 are not closed. The socket with access_syslog */
    /* Servers that take the lines; NULL: files do. The error log keeps error_fd = 2 for what cannot be said
     * there: last words of a crash, and of sanitizers. Owned, for the life of the process (log.h). */
    struct syslog *error_syslog, *access_syslog;
    int syslog_fd; /* of the error log; -1: none */
};

/* False and one line in *error when a file cannot be opened; *out is then untouched. */
bool logs_open(const struct settings *s, struct logs *out, struct buf *error)
    __attribute__((warn_unused_result));
void logs_close(struct logs *l);
/* The error log of this process is that of l, in the name of `role` (borrowed for ever). */
void logs_begin(const struct logs *l, const char *role, const struct settings *s);

#endif
