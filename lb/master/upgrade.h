/* upgrade: SIGUSR2. The file that this program was started from is run with -t first; then it takes this
 * process over by exec, with everything alive in descriptors that a state memfd names. When it cannot read
 * the state it goes back: the old executable is kept open and executed again. Embedded in the master. */
#ifndef COX_MASTER_UPGRADE_H
#define COX_MASTER_UPGRADE_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "master/launch.h"
#include "master/state.h"
#include "run/loop.h"

#define UPGRADE_STATE_ENV "COXSWAIN_STATE_FD"
#define UPGRADE_OLD_ENV   "COXSWAIN_OLD_FD"
#define UPGRADE_BACK_ENV  "COXSWAIN_WENT_BACK" /* the state comes from a newer one that could not read it */

struct master;

struct upgrade {
    struct master *master; /* borrowed */
    bool wanted;           /* asked for, waits for its turn */
    pid_t check_pid;
    int check_fd;
    struct watch check_watch;
    struct buf check_output;
    struct timer flush; /* gives channels a moment to empty their queues */
    int flush_left;
    int old_exe_fd; /* the executable before, until the new generation serves; -1 */
};

void upgrade_init(struct master *m);
void upgrade_request(struct master *m);
/* A reload has ended: an upgrade that waited may go on. */
void upgrade_continue(struct master *m);
void upgrade_on_check_exit(struct master *m, int status);
/* At start: true when the environment names a state; *out_ok says whether it could be read. *old_fd: the
 * former executable or -1. The variables are unset. */
bool upgrade_read_state(struct upgrade_state *out, bool *out_ok, int *out_state_fd, int *out_old_fd);
/* Executes the former executable again with the same state; returns only when that fails too. */
void upgrade_go_back(const struct launch *l, int state_fd, int old_fd);
/* The new generation serves: the way back is closed. */
void upgrade_settled(struct master *m);
/* It does not: back to the former executable, if there is one. */
void upgrade_failed(struct master *m);

#endif
