/* seal: makes the sealed copy of a topology that the master keeps, on a thread of its own, because writing
 * out 100,000 endpoints takes longer than a change of one of them may.
 *
 * One at a time. Owned by `proxies`, on the orchestrator's loop; the thread sees nothing but an immutable,
 * counted topology and the folder's name, and touches neither log nor loop. */
#ifndef COX_ORCH_SEAL_H
#define COX_ORCH_SEAL_H

#include "run/loop.h"
#include "topo/topology.h"

struct seal;

/* fd: of the sealed memfd, borrowed for the call; -1: it could not be made (errno in `error`). keep_error:
 * why the copy in the folder could not be written, 0 if it was or none was wanted. On the loop's thread. */
typedef void seal_fn(void *ctx, int fd, int error, int keep_error);

/* NULL when descriptors are out. */
struct seal *seal_create(struct loop *loop, seal_fn *done, void *ctx);
/* Waits for one that is under way; `done` is not called any more. */
void seal_destroy(struct seal **s);
bool seal_is_busy(const struct seal *s);
/* Starts one; must not be busy. dir: borrowed for the life of the seal, NULL or "": no copy on disk. */
void seal_start(struct seal *s, struct topology *t, const char *dir);
/* Processor time of the last one; for `done` and later. */
uint64_t seal_cost_ms(const struct seal *s);
/* Waits for one that is under way and calls `done`. */
void seal_finish(struct seal *s);

#endif
