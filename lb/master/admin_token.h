/* admin_token: the secret of the admin listener, read by the master while it may still read its file. The
 * orchestrator gets it over the fork; it lies in no shared memory and in no message (P10). */
#ifndef COX_MASTER_ADMIN_TOKEN_H
#define COX_MASTER_ADMIN_TOKEN_H

#include <stdbool.h>

#include "base/buf.h"
#include "conf/settings.h"

#define ADMIN_TOKEN_MIN 16
#define ADMIN_TOKEN_MAX 512

struct admin_token {
    char text[ADMIN_TOKEN_MAX + 1]; /* empty: none is configured */
};

/* False and a line in *error when a token is configured that cannot be used; the admin listener must stay
 * shut then. */
bool admin_token_read(const struct settings *s, struct admin_token *out, struct buf *error)
    __attribute__((warn_unused_result));
/* Overwrites it. */
void admin_token_wipe(struct admin_token *t);

#endif
