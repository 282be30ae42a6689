/* orchestrator: the orchestrator process from the master's side. There is never more than one: a new one is
 * forked only when the old one was reaped. Embedded in the master.
 *
 *   DOWN ─► STARTING ──first PUBLISHED──► UP ──orchestrator_replace / stop──► LEAVING ──exit──► DOWN (and
 * again) */
#ifndef COX_MASTER_ORCHESTRATOR_H
#define COX_MASTER_ORCHESTRATOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "master/backoff.h"
#include "master/stalls.h"
#include "run/channel.h"

enum orchestrator_state { ORCHESTRATOR_DOWN, ORCHESTRATOR_STARTING, ORCHESTRATOR_UP, ORCHESTRATOR_LEAVING };

struct master;
struct generation;

struct orchestrator {
    struct master *master; /* borrowed */
    enum orchestrator_state state;
    pid_t pid;               /* 0: none */
    struct channel *channel; /* owned, or NULL */
    uint64_t epoch;          /* of the last one started */
    uint64_t since_ns, since_wall_ns, heartbeat_ns;
    bool aborted;
    bool was_up; /* some orchestrator of this master published */
    struct backoff backoff;
    struct stalls stalls;
    struct timer restart; /* starts the next */
    struct timer kill;    /* ends a LEAVING one that does not leave */
};

void orchestrator_init(struct master *m);
void orchestrator_start(struct master *m);
/* Ends the running one in order, then starts a new one with the settings then in force. */
void orchestrator_replace(struct master *m);
/* Ends it for good. */
void orchestrator_quit(struct master *m);
void orchestrator_on_exit(struct master *m, int status);
/* One made by a former executable: it is told to leave, and the next one started. */
void orchestrator_adopt(struct master *m, pid_t pid, int channel_fd, uint64_t epoch);
/* Joins a proxy and the orchestrator by a new channel, if both live. */
void orchestrator_connect(struct master *m, struct generation *g);
void orchestrator_tell(struct master *m, enum channel_type type, struct str payload, const int *fds,
                       int fd_count);
const char *orchestrator_state_name(enum orchestrator_state state);

#endif
