/* json_view: the parts of a view as JSON, for coxctl and for the admin listener alike. Every function makes a
 * new value that the caller owns; running out of memory ends the process. Texts that are not UTF-8 become
 * "?". */
#ifndef COX_ADMIN_JSON_VIEW_H
#define COX_ADMIN_JSON_VIEW_H

#include <jansson.h>

#include "admin/survey.h"

json_t *json_text(struct str s);
json_t *json_word(const char *s);
json_t *json_number(uint64_t v);
/* Seconds since the epoch, null when unknown. */
json_t *json_moment(uint64_t wall_ns);
/* These take the value over. */
void json_set(json_t *object, const char *key, json_t *value);
void json_append(json_t *array, json_t *value);

json_t *json_cluster(const struct survey *v, const struct cluster *c);
/* How often each reason ended a request, by its id; without those that never did. LEDGER_NO_SLOT: of no
 * cluster. */
json_t *json_reasons(const struct survey *v, uint32_t slot);
json_t *json_members(const struct survey *v);
json_t *json_routes(const struct topology *t);
json_t *json_sequence(const struct topology *t); /* t may be NULL */

#endif
