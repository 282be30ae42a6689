/* stop: leaving in order. NO ─► DELAY (/readyz fails, accepting goes on) ─► DRAIN (proxies finish) ─► MEMBERS
 * (what they served with goes) ─► the loop stops. A second signal ends everything at once. */
#ifndef COX_MASTER_STOP_H
#define COX_MASTER_STOP_H

#include <stdbool.h>

#include "run/loop.h"

enum stop_phase { STOP_NO, STOP_DELAY, STOP_DRAIN, STOP_MEMBERS };

struct master;

struct stop {
    struct master *master; /* borrowed */
    enum stop_phase phase;
    struct timer timer;
};

void stop_init(struct master *m);
void stop_begin(struct master *m);
/* Kills what is left and ends the loop. */
void stop_now(struct master *m, int exit_code);
/* A child has gone: is it time for the next phase? */
void stop_progress(struct master *m);
bool is_stopping(const struct master *m);

#endif
