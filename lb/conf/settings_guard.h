/* settings_guard: the guards of a config: reading the files that they name, and checking what no single row
 * can know. Used by settings_load and settings_free alone. */
#ifndef COX_CONF_SETTINGS_GUARD_H
#define COX_CONF_SETTINGS_GUARD_H

#include "conf/reader.h"
#include "conf/settings.h"

#define GUARD_USERS_MAX       10000
#define GUARD_USERS_FILE_MAX  (1u << 20)
#define GUARD_PAGE_MAX        (256u << 10)
#define GUARD_BCRYPT_COST_MAX 14      /* about a second of computing */
#define GUARD_SHA_ROUNDS_MAX  1000000 /* likewise */
#define GUARD_FIELDS_MAX      16      /* copied from one answer of an external server */

/* Reads password files and error pages, and makes numbers of rates. Errors go to the reader. */
void settings_guard_load(struct settings *s, struct reader *r);
/* References to guards and from them; names that are there twice. */
void settings_guard_check(const struct settings *s, struct reader *r);
void settings_guard_free(struct settings *s);

#endif
