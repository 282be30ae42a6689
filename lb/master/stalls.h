/* stalls: which plugins held up their orchestrator until it had to be ended, and which of them are left out
 * for it. Embedded in the master's orchestrator. After STALLS_MAX times a plugin is not opened any more; a
 * reload or an upgrade, by which somebody has acted, gives it a new chance. What it brought into the topology
 * stays there meanwhile. */
#ifndef COX_MASTER_STALLS_H
#define COX_MASTER_STALLS_H

#include "conf/settings.h"
#include "run/stall.h"

#define STALLS_MAX     3
#define STALLS_PLUGINS 64

struct stalled {
    char name[STALL_NAME_BYTES];
    unsigned times;
};

struct stalls {
    struct stall *note; /* owned, shared with the orchestrator; NULL: none to be had, and nothing is blamed */
    struct stalled items[STALLS_PLUGINS];
    int count;
};

void stalls_init(struct stalls *s);
/* How long the call under way has lasted, and in whose plugin; 0: none. */
uint64_t stalls_running(const struct stalls *s, uint64_t now_ns, char out_name[STALL_NAME_BYTES]);
/* The orchestrator was reaped; `ended`: by us, since it hung. Blames the plugin that it was in, if it is one
 * of the config. */
void stalls_on_exit(struct stalls *s, const struct settings *settings, bool ended);
void stalls_forget(struct stalls *s);
bool stalls_is_left_out(const struct stalls *s, const char *name);

#endif
