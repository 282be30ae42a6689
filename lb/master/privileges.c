#include "master/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

bool is_in_container(void)
{
    if (access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0 || getenv("container") ||
        getenv("KUBERNETES_SERVICE_HOST"))
        return true;
    char name[32] = "";
    int fd = open("/proc/1/comm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, name, sizeof name - 1);
    close(fd);
    name[n > 0 ? n : 0] = 0;
    name[strcspn(name, "\n")] = 0;
    return n > 0 && strcmp(name, "systemd") != 0 && strcmp(name, "init") != 0;
}

static bool look_up_user(const char *user, struct privileges *out, struct buf *error)
{
    errno = 0;
    const struct passwd *pw = getpwnam(user);
    if (!pw || strlen(user) >= sizeof out->user) {
        buf_printf(error, "user \"%s\" does not exist on this machine\n", user);
        return false;
    }
    *out = (struct privileges){.drop = true, .uid = pw->pw_uid, .gid = pw->pw_gid};
    snprintf(out->user, sizeof out->user, "%s", user);
    snprintf(out->home, sizeof out->home, "%s", pw->pw_dir);
    return true;
}

static bool look_up_group(const char *group, struct privileges *out, struct buf *error)
{
    const struct group *gr = getgrnam(group);
    if (!gr) {
        buf_printf(error, "group \"%s\" does not exist on this machine\n", group);
        return false;
    }
    out->gid = gr->gr_gid;
    return true;
}

enum privileges_choice privileges_choose(bool is_root, bool has_user, bool in_container)
{
    if (!is_root)
        return has_user ? PRIVILEGES_IGNORE_USER : PRIVILEGES_STAY;
    if (has_user)
        return PRIVILEGES_BECOME_USER;
    return in_container ? PRIVILEGES_STAY : PRIVILEGES_REFUSE;
}

static bool become_user(const struct settings *s, struct privileges *out, struct buf *error)
{
    if (!look_up_user(s->user, out, error))
        return false;
    if (s->group && *s->group && !look_up_group(s->group, out, error))
        return false;
    out->drop = out->uid != 0 || out->gid != getegid();
    return true;
}

bool privileges_resolve(const struct settings *s, struct privileges *out, struct buf *error)
{
    *out = (struct privileges){0};
    switch (privileges_choose(geteuid() == 0, s->user && *s->user, is_in_container())) {
    case PRIVILEGES_BECOME_USER:
        return become_user(s, out, error);
    case PRIVILEGES_REFUSE:
        buf_printf(error,
                   "%s: started by root, and no `user` is set to serve as; set one (user = \"root\" if it "
                   "must be)\n",
                   s->file ? s->file : "config");
        return false;
    case PRIVILEGES_IGNORE_USER:
        log_info("not started by root: `user` is ignored");
        return true;
    default:
        return true;
    }
}

bool privileges_of_user(const char *user, const struct privileges *base, struct privileges *out,
                        struct buf *error)
{
    *out = *base;
    if (!user || !*user || geteuid() != 0)
        return true;
    return look_up_user(user, out, error);
}

bool privileges_drop(const struct privileges *p)
{
    if (p->drop) {
        if (initgroups(p->user, p->gid) != 0 || setresgid(p->gid, p->gid, p->gid) != 0 ||
            setresuid(p->uid, p->uid, p->uid) != 0)
            return false;
        if (p->uid != 0 && setuid(0) == 0) { /* it must be impossible now */
            errno = EPERM;
            return false;
        }
    }
    return true;
}

void privileges_make_folder(const struct privileges *p, const char *dir)
{
    if (!dir || !*dir)
        return;
    bool is_new = mkdir(dir, 0750) == 0;
    if ((!is_new && errno != EEXIST) || (is_new && p->drop && chown(dir, p->uid, p->gid) != 0))
        log_warn("cannot make the folder for state %s: %s", dir, strerror(errno));
}
