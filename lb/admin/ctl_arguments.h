/* ctl_arguments: the command line of coxctl, as plain values borrowed from argv. */
#ifndef COX_ADMIN_CTL_ARGUMENTS_H
#define COX_ADMIN_CTL_ARGUMENTS_H

#include <stdbool.h>

struct ctl_arguments {
    const char *socket; /* NULL: not given */
    bool json, help, version, replay;
    const char *command, *member; /* command is a known one unless help or version is set */
    const char *count;            /* of scale: a number, or "auto" */
    const char *time;             /* how long it is to hold, of scale; NULL: until it is taken back */
};

/* False when it is no valid command line; the reason is on standard error. */
bool ctl_arguments_take(struct ctl_arguments *a, int argc, char **argv) __attribute__((warn_unused_result));

#endif
