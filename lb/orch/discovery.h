/* discovery: what sources say becomes edits of the model.
 *
 * Each plugin instance is an owner. A difference goes into the model at once; a whole view is gathered first,
 * checked, and applied at its end or not at all, so that the last good one stays when the source writes
 * nonsense. Nothing of a source is withdrawn before its first whole view. On the orchestrator's thread. */
#ifndef COX_ORCH_DISCOVERY_H
#define COX_ORCH_DISCOVERY_H

#include "orch/plugin.h"

int32_t discovery_view_begin(const struct cox_host *table);
int32_t discovery_view_end(const struct cox_host *table);
void discovery_view_drop(const struct cox_host *table);
int32_t discovery_put(const struct cox_host *table, const struct cox_object *object);
int32_t discovery_remove(const struct cox_host *table, const struct cox_object *object);
const char *discovery_refusal(const struct cox_host *table);
void discovery_source_state(const struct cox_host *table, const char *reason);
/* Frees an unfinished view. */
void discovery_release(struct plugin *p);

#endif
