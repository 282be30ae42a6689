/* arguments: the command line of coxswain, as plain values. Strings are borrowed from argv. */
#ifndef COX_MASTER_ARGUMENTS_H
#define COX_MASTER_ARGUMENTS_H

#include <stdbool.h>

struct arguments {
    const char *config_file, *pid_file; /* NULL: not given */
    bool check, daemon, version, help, manual, reference;
};

/* False when it is no valid command line; the reason is on standard error. */
bool arguments_take(struct arguments *a, int argc, char **argv) __attribute__((warn_unused_result));

#endif
