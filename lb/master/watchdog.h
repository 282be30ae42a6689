/* watchdog: once a second looks for children that hang (no heartbeat for their limit: SIGABRT, so that their
 * stacks reach the log, then SIGKILL), do not become ready, or do not finish draining. */
#ifndef COX_MASTER_WATCHDOG_H
#define COX_MASTER_WATCHDOG_H

#include <stdint.h>

#include "run/loop.h"

#define WATCHDOG_LIMIT_NS (10ull * 1000 * 1000 * 1000)
/* Five seconds of silence after a heartbeat that was due; one that is in a plugin's call for STALL_LIMIT_NS
 * is ended even if a beat came since, and the plugin blamed (stalls.h). */
#define WATCHDOG_ORCHESTRATOR_NS (6ull * 1000 * 1000 * 1000)
#define WATCHDOG_STACK_NS        (3ull * 1000 * 1000 * 1000)  /* between SIGABRT and SIGKILL */
#define WATCHDOG_START_NS        (30ull * 1000 * 1000 * 1000) /* to become ready */
#define WATCHDOG_DRAIN_MORE_NS   (5ull * 1000 * 1000 * 1000)  /* beyond drain_timeout */

struct master;

struct watchdog {
    struct timer timer;
    uint64_t last_ns;
};

void watchdog_start(struct master *m);

#endif
