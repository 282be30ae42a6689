/* view: everything `coxctl status` and `topology` show, read from what the master handed over: its list of processes,
 * the last topology, the totals of ended generations and the ledgers of the living ones. The orchestrator is not asked:
 * this works while it is down. One thread, short-lived; all sums are computed when asked for. */
#ifndef COX_ADMIN_VIEW_H
#define COX_ADMIN_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "admin/client.h"
#include "base/ledger.h"
#include "topo/topology.h"

#define VIEW_LEDGERS_MAX CLIENT_FDS_MAX

struct view_process {
    struct str role, state, id; /* id: of a member process */
    uint64_t pid, number, since_wall_ns; /* number: generation or epoch */
};

struct view_listener {
    struct str name, address;
};

/* A plugin that stalled the orchestrator. */
struct view_plugin {
    struct str name;
    uint64_t stalls;
    bool is_left_out;
};

struct view {
    struct client *client; /* borrowed; all texts point into its answer */
    struct str version, config, state, reload;
    uint64_t pid, since_wall_ns, upgrades, reload_wall_ns, now_ns, now_wall_ns;
    struct view_process *processes; /* owned */
    size_t process_count;
    struct view_listener *listeners; /* owned */
    size_t listener_count;
    struct view_plugin *plugins; /* owned */
    size_t plugin_count;
    struct topology *topology; /* NULL: could not be read */
    struct ledger_past past;
    bool has_past;
    struct ledger ledgers[VIEW_LEDGERS_MAX];
    uint64_t generations[VIEW_LEDGERS_MAX];
    int ledger_count, unreadable_count;
    int partial_count; /* of an unknown version: counts, integrals and requests only */
};

struct view_rows {
    uint64_t sessions, accepted, uplinks, unrouted, log_dropped;
};

void view_init(struct view *v, struct client *answered);
void view_fini(struct view *v);
/* Past and living generations together. */
void view_cluster(const struct view *v, uint32_t slot, struct ledger_cluster_sum *out);
void view_endpoint(const struct view *v, uint32_t slot, struct ledger_endpoint_sum *out);
/* Quantile of the latency in ns. */
uint64_t view_latency(const struct view *v, uint32_t slot, double q);
void view_rows(const struct view *v, struct view_rows *out);
/* No in-flight cell of any living generation is other than zero. */
bool view_is_quiet(const struct view *v);
const char *view_member_state(unsigned state);
const char *view_service(unsigned service);
const char *view_health(unsigned health);
const char *view_protocol(int protocol);

#endif
