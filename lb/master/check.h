/* check: trying a config file in a process of its own, as `-t` does: a broken plugin or a bug in reading
 * cannot take the master along. Used by -t, at start, and on reload. */
#ifndef COX_MASTER_CHECK_H
#define COX_MASTER_CHECK_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"

#define CHECK_ERRORS_MAX 65536

/* Starts the check; its errors come through *out_fd (non-blocking, close-on-exec), exit status 0: good. -1:
 * no fork. */
pid_t check_start(const char *file, int *out_fd) __attribute__((warn_unused_result));
/* The same, waiting for the end. False: errors hold every error, a line each. */
bool check_run(const char *file, struct buf *errors) __attribute__((warn_unused_result));

#endif
