#include "master/arguments.h"

#include <getopt.h>
#include <stdio.h>

enum { OPTION_MANUAL = 256, OPTION_REFERENCE };

static bool take(struct arguments *a, int option)
{
    switch (option) {
    case 'c':
        a->config_file = optarg;
        return true;
    case 't':
        return a->check = true;
    case 'd':
        return a->daemon = true;
    case 'f':
        a->daemon = false;
        return true;
    case 'p':
        a->pid_file = optarg;
        return true;
    case 'V':
        return a->version = true;
    case 'h':
        return a->help = true;
    case OPTION_MANUAL:
        return a->manual = true;
    case OPTION_REFERENCE:
        return a->reference = true;
    default:
        return false;
    }
}

bool arguments_take(struct arguments *a, int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"test", no_argument, NULL, 't'},
                                            {"daemon", no_argument, NULL, 'd'},
                                            {"foreground", no_argument, NULL, 'f'},
                                            {"pid-file", required_argument, NULL, 'p'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"manual", no_argument, NULL, OPTION_MANUAL},
                                            {"reference", no_argument, NULL, OPTION_REFERENCE},
                                            {NULL, 0, NULL, 0}};
    int option;
    *a = (struct arguments){0};
    while ((option = getopt_long(argc, argv, "c:tdfp:Vh", options, NULL)) != -1)
        if (!take(a, option))
            return false;
    if (optind == argc)
        return true;
    fprintf(stderr, "coxswain: unexpected argument \"%s\"\n", argv[optind]);
    return false;
}
