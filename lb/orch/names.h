/* names: the host names among the endpoints of static clusters. Every address that a name has is an endpoint,
 * for as long as its answer may be believed; then the name is looked up again.
 *
 *   names ──► name ("app.internal:8080") ──► its clusters and weights
 *                │ timer: TTL, or `retry` after a failure
 *                └─► resolve ─► model: whole view of owner "dns:app.internal:8080"
 *
 * Nothing waits for an answer: a cluster begins without these endpoints, or after a restart with those of the
 * last topology. While nobody can say, the last addresses stay. That there are none is believed when it is
 * said twice in a row, because withdrawing a whole cluster over one bad answer is worse than a late
 * withdrawal. Owned by the orchestrator, on its thread; at most NAMES_AT_ONCE lookups run at a time. */
#ifndef COX_ORCH_NAMES_H
#define COX_ORCH_NAMES_H

#include "conf/settings.h"
#include "orch/resolve.h"
#include "run/loop.h"
#include "topo/model.h"

#define NAMES_AT_ONCE 64
#define NAMES_OWNER   "dns:"

struct names;

/* Looks all of them up. changed(ctx): the model was edited. NULL when there is no name, or no resolver. */
struct names *names_create(struct loop *loop, struct model *model, const struct settings *s,
                           void (*changed)(void *ctx), void *ctx);
void names_destroy(struct names **n);
/* Is this the owner of endpoints that a name of these settings has? */
bool names_has_owner(const struct settings *s, const char *owner);

#endif
