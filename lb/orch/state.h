/* state: what the orchestrator keeps on disk: which endpoints were drained by hand.
 *
 * A versioned text file in `state_dir`, written whole beside the old one and renamed over it. Without a
 * state_dir it is kept in memory only. Members and their drains live in the topology instead, which outlives
 * this process. */
#ifndef COX_ORCH_STATE_H
#define COX_ORCH_STATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

#define STATE_DRAINS_MAX 4096

struct state {
    char *file;    /* owned; NULL: memory only */
    char **drains; /* owned, and each: endpoint ids */
    size_t drain_count;
};

/* Reads what is there; a file that is missing, of another version or malformed is as none, with a line in the
 * log. */
void state_open(struct state *s, const char *dir);
void state_close(struct state *s);
/* Writes when something changed. False: no room. */
bool state_set_drain(struct state *s, const char *id, bool drain) __attribute__((warn_unused_result));

#endif
