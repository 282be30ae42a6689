/* member_spawn: from a cartridge and variables to a running process. */
#ifndef COX_MASTER_MEMBER_SPAWN_H
#define COX_MASTER_MEMBER_SPAWN_H

#include <sys/types.h>

#include "base/buf.h"
#include "conf/settings.h"
#include "master/launch.h"
#include "master/privileges.h"

struct member_spawn {
    const struct settings *settings;
    const struct cartridge_settings *cartridge;
    const struct vars *vars;             /* from the orchestrator */
    const struct privileges *privileges; /* of the program */
    const struct launch *launch;
};

/* The pid of what is to become the member, or -1 and a line in *error (no such user, no descriptor).
 * *out_output reads what it writes, *out_status (non-blocking) how its exec went: the folder or the command
 * may be missing, or lie where nobody answers for a long time. Both are the caller's. */
pid_t member_spawn(const struct member_spawn *how, int *out_output, int *out_status, struct buf *error)
    __attribute__((warn_unused_result));
/* 1: it runs; 0: nobody knows yet; -1: it does not, and why is appended to *error. Its process has ended
 * then, or is about to, and is the caller's to reap. */
int member_spawn_outcome(int status_fd, struct buf *error) __attribute__((warn_unused_result));

#endif
