/* listeners: the bound sockets. Owned by the master, inherited by every proxy generation, never closed while
 * their address is configured: closing one would reset what waits in its queue. One address has as many
 * SO_REUSEPORT sockets as there are workers when it is first bound; unix sockets, and sockets that a service
 * manager passed (LISTEN_FDS), are one.
 *
 * A socket that was given is taken by the listener that has its name (LISTEN_FDNAMES) or else its address. It
 * belongs to the manager: it is neither shut down nor its file unlinked, and it stays open for a reload that
 * wants it again. */
#ifndef COX_MASTER_LISTENERS_H
#define COX_MASTER_LISTENERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "conf/settings.h"
#include "run/role.h"

struct bound {
    char *address;               /* owned; as it stands in the config */
    struct listener_fds sockets; /* owned */
    uint64_t batch; /* the listeners_bind that made it, so that a failed reload takes back only its own */
};

struct given_socket {
    int fd;
    char *name;    /* owned; "" if it has none */
    bool is_taken; /* by a listener */
};

struct listener_set {
    struct bound *items; /* owned */
    int count;
    uint64_t batch;
    struct given_socket *given; /* owned */
    int given_count;
};

/* Takes note of LISTEN_FDS and LISTEN_FDNAMES and unsets them. */
void listeners_init(struct listener_set *set);
/* Binds what settings name and the set does not have. On failure nothing new stays, one line goes to *error.
 */
bool listeners_bind(struct listener_set *set, const struct settings *s, int workers, struct buf *error)
    __attribute__((warn_unused_result));
/* Closes what the last listeners_bind made: a reload failed. */
void listeners_unbind_last(struct listener_set *set);
/* Closes what settings do not name any more. */
void listeners_close_unused(struct listener_set *set, const struct settings *s);
/* All sockets; unix paths are unlinked when `unlink_paths`. */
void listeners_close_all(struct listener_set *set, bool unlink_paths);
/* One entry per settings->listeners, borrowing the descriptors; the caller frees the array alone. */
struct listener_fds *listeners_of(const struct listener_set *set, const struct settings *s);
/* The admin listener: bound like the others, but one socket; -1 when there is none. Borrowed. */
int listeners_admin_fd(const struct listener_set *set, const struct settings *s);
/* Takes over sockets of a former executable. */
void listeners_adopt(struct listener_set *set, struct str address, const int *fds, int count, bool is_given);
/* Says which sockets of a service manager no listener has taken. */
void listeners_warn_unused(const struct listener_set *set);

#endif
