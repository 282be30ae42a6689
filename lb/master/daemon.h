/* daemon: the classic way into the background. The first process waits until the master serves, and leaves
 * with its exit code, so that a script knows. */
#ifndef COX_MASTER_DAEMON_H
#define COX_MASTER_DAEMON_H

#include <stdbool.h>

struct daemon {
    int report_fd; /* to the first process; -1: not in the background, or reported */
    int stderr_fd; /* standard error as it was, for what goes wrong before we serve; -1 */
};

/* In the child: detached from the terminal, standard streams at /dev/null (standard error stays if the log
 * goes there: keep_stderr). False when the fork failed. The parent does not return. */
bool daemon_fork(struct daemon *d, bool keep_stderr) __attribute__((warn_unused_result));
/* The master serves: releases the first process with success. */
void daemon_ready(struct daemon *d);

/* The pid file; false when it cannot be written. */
bool pid_file_write(const char *path);
void pid_file_remove(const char *path);

#endif
