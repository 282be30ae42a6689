/* admin: the admin listener of the orchestrator: who may ask what, and what is answered.
 *
 *   server ──request──► admin: may it? ─► GET  /            the live page
 *                                         GET  /metrics     Prometheus
 *                                         GET  /v1/...      JSON; conf/api.json describes it
 *                                         POST /v1/drain, /v1/undrain
 *
 * Lives in the orchestrator, on its thread, from its start to its end; connections that come while there is
 * none wait in the master's socket. Rules (P7): nothing changes by GET; a change wants the field "X-Coxswain:
 * 1", which no foreign page can send without asking first; with a token everything but the bare page wants
 * it; without one the Host must be an address or localhost, so that a name that an attacker points here does
 * not help. */
#ifndef COX_ADMIN_ADMIN_H
#define COX_ADMIN_ADMIN_H

#include "admin/events.h"
#include "admin/server.h"
#include "base/clock.h"
#include "base/ledger.h"
#include "orch/orch.h"

#define ADMIN_MAGIC 0x61646d6eu

/* What grows with the topology is made in slices of so much time and text, so that probes, members and
 * topology never wait for it. A scrape holds the sums of all endpoints while it lasts, hence the limit: 503
 * beyond. */
#define ADMIN_SLICE_NS    (2 * NS_PER_MS)
#define ADMIN_SLICE_BYTES (128u << 10)
#define ADMIN_SCRAPES_MAX 8

struct admin {
    uint32_t magic;
    struct orch *orch; /* borrowed */
    struct server server;
    struct ledger_past past;
    bool has_past;
    uint64_t since_wall_ns;
    struct events events;
    int scrapes; /* of /metrics, being answered */
};

/* The bodies of /v1: appended to *out. */
struct survey;
struct api_pieces { /* of those that grow with the topology: head, each cluster of v->topology with commas
                       between, tail */
    void (*head)(struct admin *a, const struct survey *v, struct buf *out);
    void (*cluster)(const struct survey *v, const struct cluster *c, struct buf *out);
    void (*tail)(struct admin *a, const struct survey *v, struct buf *out);
};
extern const struct api_pieces api_status, api_topology;
void api_members(struct admin *a, const struct survey *v, struct buf *out);
void api_events(struct admin *a, const struct survey *v, struct buf *out);
void api_scale(struct admin *a, const struct survey *v, struct buf *out);
/* What each of them begins with, and one more member; takes the value over. */
void api_begin(const struct survey *v, struct buf *out);
struct json_t;
void api_put_member(const char *key, struct json_t *value, struct buf *out);
/* {"error": {"status": …, "message": …}} */
void api_error(uint16_t status, const char *message, struct buf *out);
/* The member "id" of a JSON object, NULL when it is none or no id. The caller frees. */
char *api_take_id(struct str body);

#endif
