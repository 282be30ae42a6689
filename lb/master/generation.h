/* generation: one proxy process from the master's side.
 *
 *   generation_start ─► STARTING ──READY──► SERVING ──a newer one is READY──► DRAINING ──► (exit) folded,
 * gone └── exit: reload failed, or start again with back-off ──┘
 *
 * At most one is STARTING and one SERVING; at most settings.generations_max are DRAINING. Heap objects in a
 * list of the master; destroyed when their process was reaped, never before. */
#ifndef COX_MASTER_GENERATION_H
#define COX_MASTER_GENERATION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/ledger.h"
#include "base/list.h"
#include "conf/settings.h"
#include "master/backoff.h"
#include "run/channel.h"

enum generation_state { GENERATION_STARTING, GENERATION_SERVING, GENERATION_DRAINING };

struct master;

struct generation {
    uint32_t magic;
    struct list node;
    struct master *master; /* borrowed */
    uint64_t number;
    enum generation_state state;
    pid_t pid;
    struct channel *channel; /* owned; NULL when the peer closed it */
    int ledger_fd;           /* owned */
    struct ledger ledger;    /* read-only; base NULL when it cannot be read */
    uint64_t since_ns;       /* of the state, monotonic */
    uint64_t since_wall_ns;
    uint64_t heartbeat_ns;
    uint64_t drain_timeout_ms; /* that was told */
    bool aborted;              /* the watchdog sent SIGABRT */
};

struct generations {
    struct list all;                       /* of struct generation */
    struct generation *serving, *starting; /* borrowed, or NULL */
    uint64_t last;                         /* number of the newest */
    unsigned starts_failed;                /* in a row, before the first was ever ready */
    bool was_ready;                        /* some generation of this master served */
    struct backoff backoff;
    struct timer restart;
};

void generations_init(struct master *m);
/* Lets go of those that are left; their processes were ended before. */
void generations_fini(struct master *m);
/* Forks generation n+1; false with a line in the log. */
bool generation_start(struct master *m, const struct settings *s);
void generation_drain(struct generation *g, uint64_t drain_timeout_ms, bool final);
/* Its process ended. */
void generation_on_exit(struct generation *g, int status);
struct generation *generation_of_pid(struct master *m, pid_t pid);
/* A generation that a former executable of this master started. */
void generation_adopt(struct master *m, uint64_t number, pid_t pid, int channel_fd, int ledger_fd,
                      enum generation_state state);
int generations_draining(const struct master *m);
const char *generation_state_name(enum generation_state state);
/* Any message to all that live. */
void generations_tell(struct master *m, enum channel_type type, struct str payload, const int *fds,
                      int fd_count);

#endif
