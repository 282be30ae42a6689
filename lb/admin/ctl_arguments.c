#include "admin/ctl_arguments.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static bool take_options(struct ctl_arguments *a, int argc, char **argv)
{
    static const struct option options[] = {{"socket", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "s:jVh", options, NULL)) != -1;) {
        if (option == 's')
            a->socket = optarg;
        else if (option == 'j')
            a->json = true;
        else if (option == 'V')
            a->version = true;
        else if (option == 'h')
            a->help = true;
        else
            return false;
    }
    return true;
}

static bool is_command(const char *name, bool *out_needs_member)
{
    static const char *const plain[] = {"status", "topology", "top",     "reload",
                                        "stop",   "upgrade",  "version", "help"};
    *out_needs_member = strcmp(name, "drain") == 0 || strcmp(name, "undrain") == 0;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        if (strcmp(name, plain[i]) == 0)
            return true;
    return *out_needs_member;
}

bool ctl_arguments_take(struct ctl_arguments *a, int argc, char **argv)
{
    bool needs_member;
    *a = (struct ctl_arguments){0};
    if (!take_options(a, argc, argv))
        return false;
    if (a->help || a->version)
        return true;
    if (optind >= argc || !is_command(argv[optind], &needs_member)) {
        fprintf(stderr, "coxctl: %s%s\n", optind < argc ? "unknown command " : "no command given",
                optind < argc ? argv[optind] : "");
        return false;
    }
    a->command = argv[optind++];
    if (needs_member && optind < argc)
        a->member = argv[optind++];
    if (optind == argc && needs_member == (a->member != NULL))
        return true;
    fprintf(stderr, "coxctl: %s takes %s\n", a->command,
            needs_member ? "the name of one member" : "no argument");
    return false;
}
