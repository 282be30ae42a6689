/* show: the view as text for people, and as JSON for programs. Returns false when standard output fails. */
#ifndef COX_ADMIN_SHOW_H
#define COX_ADMIN_SHOW_H

#include <stdbool.h>

#include "admin/survey.h"

bool show_status(const struct survey *v);
bool show_topology(const struct survey *v);
bool show_status_json(const struct survey *v);
bool show_topology_json(const struct survey *v);

#endif
