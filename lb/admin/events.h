/* events: what changed when, for the live page: the last EVENTS_MAX changes of the topology in a ring.
 *
 * Made from the difference of two snapshots: costs what changed, for unchanged clusters are shared between
 * snapshots. Owned by the admin listener, on the orchestrator's thread; forgotten with it. */
#ifndef COX_ADMIN_EVENTS_H
#define COX_ADMIN_EVENTS_H

#include <stdint.h>

#include "topo/topology.h"

#define EVENTS_MAX        256
#define EVENTS_AT_ONCE    64 /* of one snapshot; what is more is one event that says how many */
#define EVENT_SUBJECT_MAX 256
#define EVENT_TEXT_MAX    192

struct event_row {
    uint64_t number, wall_ns;
    const char *kind;                /* "cluster", "endpoint", "member", "routes", "topology" */
    char subject[EVENT_SUBJECT_MAX]; /* id; cut, never without its NUL */
    char text[EVENT_TEXT_MAX];
};

struct events {
    uint64_t count; /* ever */
    struct event_row rows[EVENTS_MAX];
};

/* from may be NULL: the first snapshot. */
void events_on_topology(struct events *e, const struct topology *from, const struct topology *to);
/* The wanted count of a set changed. */
void events_on_scale(struct events *e, struct str set, uint32_t from, uint32_t to, const char *why);
/* i-th oldest that is still known, i below events_known. */
const struct event_row *events_at(const struct events *e, uint64_t i);
uint64_t events_known(const struct events *e);

#endif
