/* launch: how this process was started: command line, executable, the memory its title lives in. Made first
 * thing in main, kept for ever, used again by the binary upgrade. */
#ifndef COX_MASTER_LAUNCH_H
#define COX_MASTER_LAUNCH_H

#include <stddef.h>
#include <sys/resource.h>

struct launch {
    int argc;
    char **argv;               /* owned copy, NULL-terminated */
    char *executable;          /* owned; the path to run again, whatever lies there then */
    char **environment;        /* owned strings; environ points to them until launch_fini */
    char **environment_in_use; /* owned; the array that environ was set to */
    char *title_area;          /* the kernel's argv and environment bytes */
    size_t title_bytes;
    struct rlimit files; /* RLIMIT_NOFILE as we found it: members get it back */
};

void launch_init(struct launch *l, int argc, char **argv);
void launch_fini(struct launch *l);
/* What ps shows from now on, cut to what fits. */
void launch_set_title(const struct launch *l, const char *title);
/* Soft limit of descriptors up to the hard one. */
void launch_raise_limits(const struct launch *l);

#endif
