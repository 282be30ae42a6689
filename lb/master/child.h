/* child: forking the roles. What a child is before its main function runs: signals reset (those that a
 * terminal or an operator sends to the group are ignored: children leave when the master says so), all
 * descriptors closed but those named, title and log set, privileges dropped, stack printer installed. */
#ifndef COX_MASTER_CHILD_H
#define COX_MASTER_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "conf/settings.h"
#include "master/launch.h"
#include "master/logs.h"
#include "master/privileges.h"

struct child_plan {
    const char *role; /* "proxy 3": title and log; copied */
    const struct settings *settings;
    const struct launch *launch;
    const struct logs *logs;
    const struct privileges *privileges;
    const int *keep; /* descriptors beside 0, 1, 2 and the logs */
    int keep_count;
    bool dies_with_master; /* killed with it; else it sees its channel end and drains */
};

/* fork: the pid in the parent, 0 in the ready child, -1 with errno. */
pid_t child_fork(const struct child_plan *plan) __attribute__((warn_unused_result));
/* A bare fork with all signals blocked; in the child they are reset to `ignore_terminal` and unblocked. */
pid_t child_fork_plain(bool ignore_terminal) __attribute__((warn_unused_result));
/* Closes all descriptors above 2 but these. */
void child_close_others(const int *keep, int count);

#endif
