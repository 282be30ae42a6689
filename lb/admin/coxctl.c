/* coxctl: what an operator says to a running coxswain. Talks to the master's unix socket; numbers it reads
 * from the shared memory that the master hands over, so it works whatever the orchestrator does. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/client.h"
#include "admin/ctl_arguments.h"
#include "admin/show.h"
#include "admin/top.h"
#include "base/buf.h"
#include "base/paths.h"
#include "conf/options.h"

#ifndef COX_VERSION
#define COX_VERSION "unknown"
#endif

enum coxctl_exit { CTL_OK = 0, CTL_REFUSED = 1, CTL_UNREACHABLE = 2, CTL_USAGE = 64 };
enum { ASK_SECONDS = 10, LONG_SECONDS = 180 };

static const char usage[] =
    "usage: coxctl [-s SOCKET] [--json] COMMAND\n"
    "\n"
    "  status            processes, clusters, endpoints, members and their numbers\n"
    "  topology          routes, clusters and endpoints as they are served now\n"
    "  top               the same live: rates, latencies, in flight; q ends it\n"
    "  reload            read the configuration again; waits, and says what is wrong with it\n"
    "  drain MEMBER      give a member or endpoint no more new requests\n"
    "  undrain MEMBER    take that back\n"
    "  scale CLUSTER N   keep so many members, with --for 1h for a while; \"auto\" takes it back\n"
    "  explain CLUSTER   why it has as many members as it has; --replay: decide again, and compare\n"
    "  upgrade           go over to the executable file as it is now; waits\n"
    "  stop              drain and leave; waits\n"
    "  version           of this program and of the running one\n"
    "  help\n"
    "\n"
    "  -s, --socket PATH  control socket; else $COXSWAIN_CONTROL, else the default of the user\n"
    "  -j, --json         status and topology as JSON\n"
    "  -V, --version      of this program\n"
    "\n"
    "exit codes: 0 ok, 1 refused or failed, 2 not reachable, 64 command line\n";

static char *default_socket(void)
{
    const char *named = getenv("COXSWAIN_CONTROL");
    return named && *named ? str_dup(str_of(named)) : control_default();
}

/* ---- commands ---- */

static bool is(const struct ctl_arguments *a, const char *command)
{
    return strcmp(a->command, command) == 0;
}

static int show(const struct ctl_arguments *a, struct client *c)
{
    struct survey v;
    bool ok;
    survey_init(&v, c);
    if (is(a, "status"))
        ok = a->json ? show_status_json(&v) : show_status(&v);
    else if (!v.topology) {
        fprintf(stderr, "coxctl: the topology is of a version that this program cannot read\n");
        ok = false;
    } else
        ok = a->json ? show_topology_json(&v) : show_topology(&v);
    survey_fini(&v);
    return ok ? CTL_OK : CTL_REFUSED;
}

static int report(const struct ctl_arguments *a, struct client *c)
{
    if (!c->ok) {
        fprintf(stderr, "coxctl: %s failed\n%.*s", a->command, STR_ARG(c->text));
        if (c->text.n && c->text.p[c->text.n - 1] != '\n')
            fputc('\n', stderr);
        return CTL_REFUSED;
    }
    if (is(a, "status") || is(a, "topology"))
        return show(a, c);
    if (is(a, "version"))
        printf("coxctl %s, coxswain %.*s\n", COX_VERSION, STR_ARG(str_trim(c->text)));
    else if (c->text.n)
        printf("%.*s%s", STR_ARG(c->text), c->text.p[c->text.n - 1] == '\n' ? "" : "\n");
    if (is(a, "stop"))
        client_wait_end(c);
    return CTL_OK;
}

/* False: it names no duration. */
static bool put_request(const struct ctl_arguments *a, struct buf *out)
{
    uint64_t for_ms = 0;
    buf_init(out);
    buf_printf(out, "%s%s%s",
               is(a, "topology") ? "status"
               : a->replay       ? "replay"
                                 : a->command,
               a->member ? " " : "", a->member ? a->member : "");
    if (a->count)
        buf_printf(out, " %s", a->count);
    const bool ok = !a->time || (duration_parse(str_of(a->time), &for_ms) && for_ms);
    if (a->time)
        buf_printf(out, " %llu", (unsigned long long)for_ms);
    buf_put(out, "", 1);
    return ok;
}

static int ask(const struct ctl_arguments *a, const char *socket)
{
    struct client c;
    struct buf request;
    int code = CTL_UNREACHABLE;
    if (!put_request(a, &request)) {
        fprintf(stderr, "coxctl: --for wants a duration such as 1h\n");
        buf_fini(&request);
        return CTL_USAGE;
    }
    if (!client_open(&c, socket)) {
        fprintf(stderr, "coxctl: cannot reach coxswain at %s: %s\n", socket, strerror(errno));
        client_close(&c);
        buf_fini(&request);
        return code;
    }
    bool is_long = is(a, "reload") || is(a, "upgrade");
    if (client_ask(&c, request.p, is_long ? LONG_SECONDS : ASK_SECONDS))
        code = report(a, &c);
    else
        fprintf(stderr, "coxctl: no answer from coxswain at %s\n", socket);
    buf_fini(&request);
    client_close(&c);
    return code;
}

static int run(const struct ctl_arguments *a)
{
    if (a->version) {
        printf("coxctl %s\n", COX_VERSION);
        return CTL_OK;
    }
    if (a->help || is(a, "help")) {
        printf("%s", usage);
        return CTL_OK;
    }
    char *socket = a->socket ? str_dup(str_of(a->socket)) : default_socket();
    int code = is(a, "top") ? (top_run(socket) ? CTL_OK : CTL_UNREACHABLE) : ask(a, socket);
    free(socket);
    return code;
}

int main(int argc, char **argv)
{
    struct ctl_arguments a;
    if (ctl_arguments_take(&a, argc, argv))
        return run(&a);
    fprintf(stderr, "%s", usage);
    return CTL_USAGE;
}
