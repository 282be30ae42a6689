/* reload: from one configuration to the next without a request noticing.
 *
 *   IDLE ─► CHECKING (a child tries the file) ─► ORCHESTRATOR (replaced, must publish) ─► PROXY (n+1 must be
 * READY) ▲                                                                                    │ n drains
 *     └──────────────── done, or failed: the old settings, sockets, orchestrator again ◄────┘
 *
 * Requests that come in between are merged into one that runs next. The upgrade uses the same steps from
 * ORCHESTRATOR on. Embedded in the master. */
#ifndef COX_MASTER_RELOAD_H
#define COX_MASTER_RELOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "master/logs.h"
#include "master/privileges.h"
#include "run/loop.h"

enum reload_phase { RELOAD_IDLE, RELOAD_CHECKING, RELOAD_ORCHESTRATOR, RELOAD_PROXY };

struct master;

struct reload {
    struct master *master; /* borrowed */
    enum reload_phase phase;
    uint64_t serial; /* of the run under way, or of the last */
    bool again;      /* asked for in the meantime */
    bool is_upgrade; /* the run under way follows an exec */
    pid_t check_pid;
    int check_fd;
    struct watch check_watch;
    struct buf errors;
    struct settings *settings;    /* owned; the next ones, until they are in force */
    struct privileges privileges; /* belong to settings */
    struct logs logs;
    int tls_fd;            /* likewise; -1: none */
    struct timer deadline; /* of the phase */
    uint64_t last_wall_ns; /* of the last end */
    bool last_ok;
};

void reload_init(struct master *m);
/* The next run, with the serial one above the present, is about this request. */
void reload_request(struct master *m);
/* After an upgrade: the settings are in force already; bring up orchestrator and proxy. */
void reload_after_upgrade(struct master *m);
void reload_cancel(struct master *m);
/* The settings that whoever starts now is started with. */
const struct settings *reload_settings(const struct master *m);
const struct privileges *reload_privileges(const struct master *m);
const struct logs *reload_logs(const struct master *m);
/* Reports from the others. */
void reload_on_published(struct master *m);
void reload_on_orchestrator_death(struct master *m);
void reload_on_ready(struct master *m);
void reload_on_proxy_death(struct master *m);
void reload_on_check_exit(struct master *m, int status);
void reload_on_drained(struct master *m); /* a draining generation has gone */

#endif
