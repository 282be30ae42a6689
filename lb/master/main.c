/* The coxswain program: one executable, three roles; this is where the master begins. */
#include <stdio.h>

#include "base/log.h"
#include "conf/settings.h"
#include "master/arguments.h"
#include "master/check.h"
#include "master/master.h"

#ifndef COX_CONF_DIR
#define COX_CONF_DIR "/etc/coxswain"
#endif
#define DEFAULT_CONFIG COX_CONF_DIR "/coxswain.cfg"

static const char usage[] =
    "usage: coxswain [-t] [-d] [-c FILE] [-p FILE]\n"
    "\n"
    "  -c, --config FILE    configuration, default " DEFAULT_CONFIG "\n"
    "  -t, --test           check the configuration, say every error with file and line, and leave\n"
    "  -d, --daemon         go into the background once requests are served\n"
    "  -f, --foreground     stay in the foreground (the default)\n"
    "  -p, --pid-file FILE  write the process number there\n"
    "  -V, --version\n"
    "  -h, --help\n"
    "      --manual         print the manual page of the configuration (troff)\n"
    "      --reference      print a configuration with every key at its default\n"
    "\n"
    "signals: HUP reload, USR2 upgrade to the file this was started from, USR1 reopen logs,\n"
    "         TERM, INT, QUIT drain and leave (a second one ends at once)\n"
    "exit codes: 0 ok, 1 gave up, 2 configuration or plugin wrong, 3 a socket cannot be bound,\n"
    "            64 command line, 71 out of processes, memory or descriptors\n";

static int print_buf(void (*make)(struct buf *))
{
    struct buf b;
    buf_init(&b);
    make(&b);
    bool ok = fwrite(b.p, 1, b.len, stdout) == b.len && fflush(stdout) == 0;
    buf_fini(&b);
    return ok ? EXIT_OK : EXIT_FAILED;
}

static int check_only(const char *file)
{
    struct buf errors;
    buf_init(&errors);
    bool ok = check_run(file, &errors);
    if (ok)
        printf("%s: ok\n", file);
    else
        fprintf(stderr, "%.*s", (int)errors.len, errors.p);
    buf_fini(&errors);
    return ok ? EXIT_OK : EXIT_CONFIG;
}

static int serve(struct launch *launch, const struct arguments *a, const char *config)
{
    struct master_options options = {.config_file = config, .pid_file = a->pid_file, .daemon = a->daemon};
    log_init("master", 2, LOG_INFO);
    launch_set_title(launch, "coxswain: master");
    launch_raise_limits(launch);
    return master_run(launch, &options);
}

static int run(struct launch *launch)
{
    struct arguments a;
    if (!arguments_take(&a, launch->argc, launch->argv)) {
        fprintf(stderr, "%s", usage);
        return EXIT_USAGE;
    }
    const char *config = a.config_file ? a.config_file : DEFAULT_CONFIG;
    if (a.help || a.version) {
        if (a.help)
            printf("%s", usage);
        else
            printf("coxswain %s\n", master_version());
        return EXIT_OK;
    }
    if (a.manual || a.reference)
        return print_buf(a.manual ? settings_manual : settings_reference);
    return a.check ? check_only(config) : serve(launch, &a, config);
}

int main(int argc, char **argv)
{
    struct launch launch;
    launch_init(&launch, argc, argv);
    int code = run(&launch);
    launch_fini(&launch);
    return code;
}
