/* survey: everything that is shown of a running coxswain: its processes, the last topology, the totals of
 * ended generations and the ledgers of the living ones.
 *
 * coxctl makes one from what the master handed over (survey_client.c), so that it works while the
 * orchestrator is down; the admin listener makes one from what the orchestrator has, which it only borrows.
 * One thread, short-lived; all sums are computed when asked for. */
#ifndef COX_ADMIN_SURVEY_H
#define COX_ADMIN_SURVEY_H

#include <stdbool.h>
#include <stdint.h>

#include "admin/client.h"
#include "base/ledger.h"
#include "base/str.h"
#include "topo/topology.h"

struct scale;

#define SURVEY_LEDGERS_MAX CLIENT_FDS_MAX

struct survey_process {
    struct str role, state, id;          /* id: of a member process */
    uint64_t pid, number, since_wall_ns; /* number: generation or epoch */
};

struct survey_listener {
    struct str name, address;
};

struct survey_certificate {
    struct str listener, host, file;
    uint64_t end_s; /* since 1970 */
    bool is_kept;   /* the file is broken now, and the one before is in use */
};

/* A plugin that stalled the orchestrator. */
struct survey_plugin {
    struct str name;
    uint64_t stalls;
    bool is_left_out;
};

struct survey {
    struct client *client; /* borrowed; all texts point into its answer; NULL: of the orchestrator */
    struct str version, config, state, reload;
    uint64_t pid, since_wall_ns, upgrades, reload_wall_ns, now_ns, now_wall_ns;
    struct survey_process *processes; /* owned */
    size_t process_count;
    struct survey_listener *listeners; /* owned */
    size_t listener_count;
    struct survey_plugin *plugins; /* owned */
    size_t plugin_count;
    struct survey_certificate *certificates; /* owned */
    size_t certificate_count;
    struct topology *topology; /* NULL: could not be read */
    struct ledger_past past;
    bool has_past;
    bool is_borrowed; /* past and ledgers are somebody else's */
    struct ledger ledgers[SURVEY_LEDGERS_MAX];
    uint64_t generations[SURVEY_LEDGERS_MAX];
    int ledger_count, unreadable_count;
    struct scale *scale; /* borrowed; NULL: of a coxctl, or not running */
    int partial_count;   /* of an unknown version: counts, integrals and requests only */
};

struct survey_rows {
    uint64_t sessions, accepted, uplinks, unrouted, log_dropped;
    uint64_t tls_handshakes, tls_resumed, tls_out_handshakes, tls_out_resumed;
    uint64_t h2_sessions, h2_streams, h2_sessions_begun, h2_streams_begun;
    uint64_t h2_resets_received, h2_resets_sent, h2_goaways[LEDGER_GOAWAYS], h2_stalls;
};

/* survey_client.c */
void survey_init(struct survey *v, struct client *answered);
/* An empty one of this moment; then what it is made of. Past first: it says which ledgers are in it already.
 */
void survey_begin(struct survey *v);
void survey_lend_past(struct survey *v, const struct ledger_past *past);
void survey_lend_ledger(struct survey *v, uint64_t generation,
                        const struct ledger *ledger); /* NULL: cannot be read */
/* What a proxy says (CHANNEL_CERTIFICATES); texts are borrowed. */
void survey_lend_certificates(struct survey *v, struct str said);
struct survey_certificate *survey_add_certificate(struct survey *v);
/* A generation ended and was added to the totals while we summed: what was read may have it twice. Begin
 * again. */
bool survey_is_stale(const struct survey *v);
void survey_fini(struct survey *v);
/* Past and living generations together. */
void survey_cluster(const struct survey *v, uint32_t slot, struct ledger_cluster_sum *out);
void survey_endpoint(const struct survey *v, uint32_t slot, struct ledger_endpoint_sum *out);
/* All LEDGER_HIST_BUCKETS of the latency. */
void survey_hist(const struct survey *v, uint32_t slot, uint64_t *buckets);
/* All REASON_COUNT, past and living; LEDGER_NO_SLOT: of requests without a cluster. */
void survey_reasons(const struct survey *v, uint32_t slot, uint64_t *counts);
/* Quantile of the latency in ns. */
uint64_t survey_latency(const struct survey *v, uint32_t slot, double q);
/* Of one generation, added; of all living ones. Rows end with their generation: these are not in the totals.
 */
void survey_add_rows(const struct ledger *l, struct survey_rows *sum);
void survey_rows(const struct survey *v, struct survey_rows *out);
/* No in-flight cell of any living generation is other than zero. */
bool survey_is_quiet(const struct survey *v);
const char *survey_member_state(unsigned state);
const char *survey_service(unsigned service);
const char *survey_health(unsigned health);
const char *survey_goaway(int why); /* enum ledger_goaway */
const char *survey_protocol(int protocol);
extern const char *const survey_counts[LEDGER_COUNTS],
    *const survey_failures[LEDGER_FAILURES], *const survey_classes[6], *const survey_guards[LEDGER_GUARDS];

#endif
