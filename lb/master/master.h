/* master: the process at the root. Reads the config, binds the sockets, holds ledger and topology, starts the
 * two roles and the members and starts them again. One struct on main's stack, one thread, one loop; nothing
 * heavy.
 *
 *   master ─┬─ listeners    bound sockets, inherited
 *           ├─ generations  proxies: one serves, some drain         generation.h
 *           ├─ orchestrator at most one                             orchestrator.h
 *           ├─ members      processes of the `process` actuator     members.h
 *           ├─ reload, upgrade, stop                                the three ways to change all that
 *           └─ control      coxctl                                  control.h */
#ifndef COX_MASTER_MASTER_H
#define COX_MASTER_MASTER_H

#include "base/ledger.h"
#include "master/control.h"
#include "master/daemon.h"
#include "master/generation.h"
#include "master/launch.h"
#include "master/listeners.h"
#include "master/logs.h"
#include "topo/places.h"
#include "master/members.h"
#include "master/orchestrator.h"
#include "master/privileges.h"
#include "master/published.h"
#include "master/reload.h"
#include "master/stop.h"
#include "master/tls_files.h"
#include "master/upgrade.h"
#include "master/watchdog.h"
#include "run/loop.h"
#include "run/role.h"

#define MASTER_MAGIC   0x6d617374u
#define MASTER_SIGNALS 8

struct master {
    uint32_t magic;
    struct loop loop;
    struct launch *launch;     /* borrowed from main */
    const char *config_file;   /* borrowed from main */
    struct settings *settings; /* owned; in force */
    struct privileges privileges;
    struct logs logs;
    int places_fd; /* of all generations; -1: none */
    struct places places;
    struct listener_set listeners;
    int past_fd; /* owned */
    struct ledger_past past;
    uint32_t max_clusters, max_endpoints; /* of `past`; fixed for the life of this process */
    struct published published;
    struct tls_files tls;
    struct generations generations;
    struct orchestrator orchestrator;
    struct members members;
    struct reload reload;
    struct upgrade upgrade;
    struct stop stop;
    struct control control;
    struct watchdog watchdog;
    struct signal_watch signals[MASTER_SIGNALS];
    uint64_t upgrades; /* executables before this one */
    uint64_t started_wall_ns;
    char *pid_file; /* owned, or NULL */
    struct daemon daemon;
    int exit_code;
};

struct master_options {
    const char *config_file;
    const char *pid_file; /* NULL: as the config says */
    bool daemon;
};

/* Serves until it is told to leave; the exit code. */
int master_run(struct launch *launch, const struct master_options *options);
/* A generation became ready for the first time or again: tells whoever waits. */
void master_on_serving(struct master *m);
/* Opens logs again (SIGUSR1) and hands them to the children. */
void master_reopen_logs(struct master *m);
void master_tell_logs(struct master *m);
/* Read-only descriptor of the same memory; the caller closes. -1 on failure. */
int master_read_only(int fd) __attribute__((warn_unused_result));
const char *master_version(void);

#endif
