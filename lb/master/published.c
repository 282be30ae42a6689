#include "master/published.h"

#include <unistd.h>

#include "base/log.h"
#include "run/channel.h"
#include "topo/topology.h"

static bool is_topology(int fd)
{
    struct str bytes;
    struct buf error;
    if (!sealed_map(fd, &bytes))
        return false;
    buf_init(&error);
    struct topology *t = topology_decode(bytes, &error);
    bool ok = t != NULL;
    if (!ok)
        log_error("the orchestrator published a topology that cannot be read: %.*s", (int)error.len, error.p);
    topology_unref(&t);
    buf_fini(&error);
    sealed_unmap(bytes);
    return ok;
}

static void drop(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void published_offer(struct published *p, int fd)
{
    drop(&p->fresh);
    p->fresh = fd;
}

bool published_check(struct published *p)
{
    int fd = p->fresh;
    p->fresh = -1;
    if (fd < 0)
        return false;
    if (!is_topology(fd)) {
        close(fd);
        return false;
    }
    drop(&p->fd);
    p->fd = fd;
    return true;
}

int published_fd(struct published *p)
{
    (void)published_check(p);
    return p->fd;
}

void published_fini(struct published *p)
{
    drop(&p->fd);
    drop(&p->fresh);
}
