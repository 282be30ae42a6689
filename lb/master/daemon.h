/* daemon: the classic way into the background. The first process waits until the master serves, and leaves with its
 * exit code, so that a script knows. */
#ifndef COX_MASTER_DAEMON_H
#define COX_MASTER_DAEMON_H

#include <stdbool.h>

/* Returns in the child the descriptor to report on, -1 when the fork failed; the parent does not return. */
int daemon_fork(void);
/* The master serves: releases the first process, detaches from the terminal. keep_stderr: the log goes there. */
void daemon_ready(int *report_fd, bool keep_stderr);

/* The pid file; false when it cannot be written. */
bool pid_file_write(const char *path);
void pid_file_remove(const char *path);

#endif
