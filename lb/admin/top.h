/* top: the numbers of a running coxswain, live in a terminal. Asks the master anew every second and shows
 * what happened in between; "q" ends it. Without a terminal it prints one second's worth and returns. */
#ifndef COX_ADMIN_TOP_H
#define COX_ADMIN_TOP_H

#include <stdbool.h>

/* False when coxswain is not reachable; the reason is on standard error. */
bool top_run(const char *socket_path);

#endif
