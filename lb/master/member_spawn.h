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

/* The pid, or -1 and a line in *error (no such command, user or folder too). *out_output reads what it
 * writes. */
pid_t member_spawn(const struct member_spawn *how, int *out_output, struct buf *error)
    __attribute__((warn_unused_result));

#endif
