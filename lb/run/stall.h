/* stall: one page shared by the master and its orchestrator, in which the orchestrator notes whose call it is
 * in, so that the master can end one that does not come back and knows which plugin held it up.
 *
 * Made by the master before it forks, mapped in both ever after; the orchestrator alone writes while it
 * lives, the master once it is reaped. What a wild plugin scribbles here can end its own orchestrator and
 * nothing else: the master copies the name out, bounded, and looks it up in its own config. */
#ifndef COX_RUN_STALL_H
#define COX_RUN_STALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define STALL_NAME_BYTES 104
#define STALL_LIMIT_NS   (5ull * 1000 * 1000 * 1000) /* one call into a plugin may take no longer */

struct stall {
    _Atomic uint64_t since_ns; /* when the call began, monotonic; 0: in none. Published after the name */
    _Atomic uint64_t name[STALL_NAME_BYTES / 8];
};

/* NULL when the system refuses. Never given back: it lives as long as the master. */
struct stall *stall_create(void) __attribute__((warn_unused_result));
/* The orchestrator's side; s may be NULL (tests). A call inside another's names the inner one. */
void stall_enter(struct stall *s, const char *name, uint64_t since_ns);
void stall_leave(struct stall *s);
/* The master's side: true when a call is under way, with its beginning and the plugin's name. */
bool stall_look(const struct stall *s, uint64_t *out_since_ns, char out_name[STALL_NAME_BYTES]);

#endif
