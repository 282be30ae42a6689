/* privileges: as whom the children run. The master looks names up while it may still read them; each child
 * drops on its own, for good. */
#ifndef COX_MASTER_PRIVILEGES_H
#define COX_MASTER_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"
#include "conf/settings.h"

struct privileges {
    bool drop; /* false: stay who we are */
    uid_t uid;
    gid_t gid;
    char user[64];
    char home[256];
};

/* Who serves: the whole decision, without the machine. */
enum privileges_choice { PRIVILEGES_STAY, PRIVILEGES_IGNORE_USER, PRIVILEGES_BECOME_USER, PRIVILEGES_REFUSE };
enum privileges_choice privileges_choose(bool is_root, bool has_user, bool in_container);

/* The user and group of the config. Running as root without saying a user is an error, but in containers,
 * where root is not the machine's. As another user than root the key is noted and ignored. */
bool privileges_resolve(const struct settings *s, struct privileges *out, struct buf *error)
    __attribute__((warn_unused_result));
/* One user by name, for a member; NULL or "": like base. */
bool privileges_of_user(const char *user, const struct privileges *base, struct privileges *out,
                        struct buf *error) __attribute__((warn_unused_result));
/* In a child: no way back. False with errno. */
bool privileges_drop(const struct privileges *p) __attribute__((warn_unused_result));
/* The folder for state, if there is none yet: made for who writes there. Not its parents: one that is missing
 * is more likely a typing error or a file system that is not mounted, and that is said. */
void privileges_make_folder(const struct privileges *p, const char *dir);
bool is_in_container(void);

#endif
