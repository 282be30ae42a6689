/* role: what the master hands to each child after the fork. Plain values and descriptors; the child owns
 * them.
 *
 * The master forks without exec, so settings are simply there. Each child's main function returns its exit
 * code. */
#ifndef COX_RUN_ROLE_H
#define COX_RUN_ROLE_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/settings.h"
#include "run/stall.h"
#include "run/tickets.h"

/* Exit codes of every role, documented in coxswain.8. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1, /* ran and had to give up */
    EXIT_USAGE = 64, /* command line */
    EXIT_CONFIG = 2, /* config or plugin wrong */
    EXIT_BIND = 3,   /* a listener could not be bound */
    EXIT_OS = 71     /* fork, memory, descriptors */
};

/* The sockets of one listener: `count` SO_REUSEPORT sockets, or one (unix). Worker w serves fds[w % count].
 */
struct listener_fds {
    int *fds; /* owned by the array's owner */
    int count;
    bool is_given; /* by a service manager, which goes on listening: never shut down, its file never unlinked
                    */
};

struct syslog;

struct proxy_role {
    const struct settings *settings;
    uint64_t generation;
    int workers;
    struct listener_fds *listeners; /* one per settings->listeners, same order */
    int master_fd;                  /* M-P channel */
    int ledger_fd;                  /* read-write until sealed */
    int topology_fd;                /* sealed memfd of the topology to start from */
    int places_fd;                  /* max_in_flight of all generations (topo/places.h), -1: for itself */
    uint32_t places_row;
    int access_fd; /* access log, -1: off */
    const struct syslog
        *access_syslog; /* where it goes instead of a file (base/syslog.h); NULL: to the file */
    int tls_fd;         /* the files of TLS (run/bundle.h); kept open by the proxy */
    const struct ticket_keys *tickets;
};

struct orch_role {
    const struct settings *settings;
    uint64_t epoch;                     /* new for each orchestrator */
    int master_fd;                      /* M-O channel; proxies come by CHANNEL_PROXY_UP */
    int topology_fd;                    /* the last published, always there */
    int past_fd;                        /* ledger_past, read-only */
    int tls_fd;                         /* what probes need for TLS (run/bundle.h), -1: none; kept open */
    int admin_fd;                       /* bound and listening, -1: no admin listener */
    const char *admin_token;            /* borrowed; NULL: none is asked for */
    const struct orch_admin_ops *admin; /* orch/orch.h; may be NULL */
    struct stall *stall;                /* where to note the call that runs; may be NULL */
    const char *const *left_out;        /* plugin instances that stalled too often: not opened */
    size_t left_out_count;
};

/* proxy/proxy.c: runs a generation until it is drained; called in the child. */
int proxy_main(struct proxy_role *role);
/* orch/orch.c: runs the orchestrator; called in the child. */
int orch_main(struct orch_role *role);
/* admin/admin.c: what serves the orchestrator's admin listener. */
extern const struct orch_admin_ops admin_ops;
/* orch/check: loads every plugin of the config, checks its section against its schema and lets it go again.
 * Each error is a line in *errors. Called in a process of its own. */
bool orch_check(const struct settings *s, struct buf *errors);

#endif
