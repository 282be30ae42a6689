/* logs: the descriptors of the error log and the access log, opened by the master before privileges drop and
 * handed to the children. Opened again on SIGUSR1 and on reload. */
#ifndef COX_MASTER_LOGS_H
#define COX_MASTER_LOGS_H

#include <stdbool.h>

#include "base/buf.h"
#include "conf/settings.h"

struct logs {
    int error_fd;  /* never -1; 2 is standard error and is not closed */
    int access_fd; /* -1: off; 1 and 2 are not closed */
};

/* False and one line in *error when a file cannot be opened; *out is then untouched. */
bool logs_open(const struct settings *s, struct logs *out, struct buf *error)
    __attribute__((warn_unused_result));
void logs_close(struct logs *l);

#endif
