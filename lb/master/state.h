/* state: what one executable of the master leaves to the next, and its wire form. Plain data, no behaviour.
 *
 * A magic, a version, then records (tag, bytes). A reader skips tags that it does not know; the version
 * changes only when an old reader must not go on. Numbers of descriptors are those of this very process: exec
 * keeps them. */
#ifndef COX_MASTER_STATE_H
#define COX_MASTER_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "conf/options.h"
#include "run/tickets.h"

#define STATE_MAGIC     0x63787374u /* "cxst" */
#define STATE_VERSION   1
#define STATE_ITEMS_MAX 65536

struct state_listener {
    char *address; /* owned */
    int *fds;      /* owned array */
    int count;
    bool is_given; /* by a service manager */
};

struct state_generation {
    uint64_t number, state;
    pid_t pid;
    int channel_fd, ledger_fd; /* -1: none */
};

struct state_member {
    char *id, *cartridge; /* owned */
    pid_t pid;
    int output_fd;
    uint64_t since_wall_ns;
    struct vars vars; /* owned */
};

struct upgrade_state {
    struct state_listener *listeners; /* owned arrays */
    size_t listener_count;
    struct state_generation *generations;
    size_t generation_count;
    struct state_member *members;
    size_t member_count;
    pid_t orchestrator_pid; /* 0: none */
    int orchestrator_fd;
    uint64_t last_generation, last_epoch;
    int past_fd, topology_fd, control_fd, waiter_fd; /* -1: none */
    int places_fd;                                   /* likewise */
    char *control_path;                              /* owned */
    char *executable;                                /* owned; the path to upgrade from */
    uint64_t files_soft, files_hard;
    uint64_t restarts;          /* executables before this one */
    struct ticket_keys tickets; /* secret: the memory is this process's own */
    bool has_tickets;
};

void state_init(struct upgrade_state *s);
void state_fini(struct upgrade_state *s);
void state_encode(const struct upgrade_state *s, struct buf *out);
/* Into an initialised one; false when malformed or of a version that must not be read. */
bool state_decode(struct str in, struct upgrade_state *s) __attribute__((warn_unused_result));
/* Calls fn with every descriptor named, -1 left out. */
void state_each_fd(const struct upgrade_state *s, void (*fn)(void *ctx, int fd), void *ctx);
struct state_listener *state_add_listener(struct upgrade_state *s);
struct state_generation *state_add_generation(struct upgrade_state *s);
struct state_member *state_add_member(struct upgrade_state *s);

#endif
