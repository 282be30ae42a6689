/* benchflip: a discovery plugin of the scale bench. Of two endpoints of one cluster it makes one ready and
 * the other not, whichever the last datagram on its socket names ("a" or "b"). The bench measures how long
 * after that datagram the first request goes there. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <coxswain/plugin.h>

enum { OPTION_SOCKET, OPTION_CLUSTER, OPTION_A, OPTION_B };

static const struct cox_option options[] = {
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_STRING,
     .key = "socket",
     .flags = COX_OPTION_REQUIRED,
     .help = "Where to listen for datagrams."},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_STRING,
     .key = "cluster",
     .flags = COX_OPTION_REQUIRED,
     .help = "Whose endpoints they are."},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_STRING,
     .key = "a",
     .flags = COX_OPTION_REQUIRED,
     .help = "Address of one."},
    {.size = sizeof(struct cox_option),
     .type = COX_OPTION_STRING,
     .key = "b",
     .flags = COX_OPTION_REQUIRED,
     .help = "Address of the other."},
};

struct instance {
    const struct cox_host *host; /* borrowed until close has returned */
    const char *cluster, *addresses[2];
    struct cox_watch *watch;
    int fd;
};

static int32_t put(struct instance *p, int which, bool ready)
{
    const struct cox_pair pairs[] = {
        {.size = sizeof(struct cox_pair), .key = "address", .value = p->addresses[which]},
        {.size = sizeof(struct cox_pair), .key = "ready", .value = ready ? "ready" : "not_ready"}};
    struct cox_object o = {.size = sizeof o,
                           .kind = COX_KIND_ENDPOINT,
                           .id = which == 0 ? "a" : "b",
                           .parent = p->cluster,
                           .fields = COX_ARRAY(pairs)};
    return p->host->put(p->host, &o);
}

static void on_datagram(void *ctx, int32_t fd, uint32_t events)
{
    struct instance *p = ctx;
    char c;
    (void)events;
    if (recv(fd, &c, 1, MSG_DONTWAIT) == 1) {
        put(p, c == 'b', true);
        put(p, c != 'b', false);
    }
}

static int32_t flip_open(const struct cox_host *host, const struct cox_open *args, void **out_instance)
{
    struct sockaddr_un here = {.sun_family = AF_UNIX};
    const char *path = cox_option_at(args->options, OPTION_SOCKET)->text;
    struct instance *p = calloc(1, sizeof *p);
    if (!p || strlen(path) >= sizeof here.sun_path) {
        free(p);
        return COX_FAILED;
    }
    p->host = host;
    p->cluster = cox_option_at(args->options, OPTION_CLUSTER)->text;
    p->addresses[0] = cox_option_at(args->options, OPTION_A)->text;
    p->addresses[1] = cox_option_at(args->options, OPTION_B)->text;
    memcpy(here.sun_path, path, strlen(path));
    unlink(path);
    p->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (p->fd < 0 || bind(p->fd, (struct sockaddr *)&here, sizeof here) < 0) {
        host->error(host, "the socket cannot be bound");
        free(p);
        return COX_FAILED;
    }
    *out_instance = p;
    return COX_OK;
}

static int32_t flip_start(void *instance)
{
    struct instance *p = instance;
    p->host->view_begin(p->host);
    put(p, 0, true);
    put(p, 1, false);
    if (p->host->view_end(p->host) != COX_OK)
        return COX_FAILED;
    p->watch = p->host->watch_start(p->host, p->fd, COX_READABLE, on_datagram, p);
    return p->watch ? COX_OK : COX_FAILED;
}

static void flip_stop(void *instance)
{
    struct instance *p = instance;
    p->host->watch_stop(p->host, &p->watch);
}

static void flip_close(void *instance)
{
    struct instance *p = instance;
    close(p->fd);
    free(p);
}

static const struct cox_discovery discovery = {.size = sizeof discovery};

COX_EXPORT const struct cox_plugin cox_plugin = {.size = sizeof cox_plugin,
                                                 .abi = COX_ABI,
                                                 .name = "benchflip",
                                                 .summary =
                                                     "two endpoints of the scale bench that take turns",
                                                 .version = "1",
                                                 .options = COX_ARRAY(options),
                                                 .open = flip_open,
                                                 .start = flip_start,
                                                 .stop = flip_stop,
                                                 .close = flip_close,
                                                 .discovery = &discovery};
