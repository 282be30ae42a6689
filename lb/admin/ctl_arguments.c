#include "admin/ctl_arguments.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum argument { NONE, MEMBER, CLUSTER, CLUSTER_AND_COUNT };

struct command {
    const char *name;
    enum argument takes;
};

static const struct command commands[] = {
    {"status", NONE},  {"topology", NONE},  {"top", NONE},        {"reload", NONE},
    {"stop", NONE},    {"upgrade", NONE},   {"version", NONE},    {"help", NONE},
    {"drain", MEMBER}, {"undrain", MEMBER}, {"explain", CLUSTER}, {"scale", CLUSTER_AND_COUNT},
};

static bool take_options(struct ctl_arguments *a, int argc, char **argv)
{
    static const struct option options[] = {{"socket", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"for", required_argument, NULL, 'f'},
                                            {"replay", no_argument, NULL, 'r'},
                                            {"version", no_argument, NULL, 'V'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "s:jVh", options, NULL)) != -1;) {
        if (option == 's')
            a->socket = optarg;
        else if (option == 'j')
            a->json = true;
        else if (option == 'f')
            a->time = optarg;
        else if (option == 'r')
            a->replay = true;
        else if (option == 'V')
            a->version = true;
        else if (option == 'h')
            a->help = true;
        else if (option == '?')
            return false;
    }
    return true;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* Options belong to their command. */
static bool fits(const struct ctl_arguments *a, const struct command *c)
{
    static const char *const takes[] = {"no argument", "the name of one member", "the name of a cluster",
                                        "a cluster, and a count or \"auto\""};
    const bool has_all =
        (c->takes == NONE) == !a->member && (c->takes == CLUSTER_AND_COUNT) == (a->count != NULL);
    if (!has_all)
        fprintf(stderr, "coxctl: %s takes %s\n", c->name, takes[c->takes]);
    else if (a->time && (!a->count || strcmp(a->count, "auto") == 0))
        fprintf(stderr, "coxctl: --for belongs to scale CLUSTER COUNT\n");
    else if (a->replay && c->takes != CLUSTER)
        fprintf(stderr, "coxctl: --replay belongs to explain\n");
    else
        return true;
    return false;
}

bool ctl_arguments_take(struct ctl_arguments *a, int argc, char **argv)
{
    *a = (struct ctl_arguments){0};
    if (!take_options(a, argc, argv))
        return false;
    if (a->help || a->version)
        return true;
    const struct command *c = optind < argc ? find_command(argv[optind]) : NULL;
    if (!c) {
        fprintf(stderr, "coxctl: %s%s\n", optind < argc ? "unknown command " : "no command given",
                optind < argc ? argv[optind] : "");
        return false;
    }
    a->command = argv[optind++];
    if (c->takes != NONE && optind < argc)
        a->member = argv[optind++];
    if (c->takes == CLUSTER_AND_COUNT && optind < argc)
        a->count = argv[optind++];
    if (optind == argc)
        return fits(a, c);
    fprintf(stderr, "coxctl: too many arguments for %s\n", c->name);
    return false;
}
