#include "net/conduit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/panic.h"

void conduits_init(struct conduits *all, uint32_t max)
{
    *all = (struct conduits){.max = max};
}

static void destroy(struct conduits *all, struct conduit *c)
{
    close(c->in);
    close(c->out);
    free(c);
    all->made--;
}

void conduits_fini(struct conduits *all)
{
    while (all->free) {
        struct conduit *c = all->free;
        all->free = c->next;
        destroy(all, c);
    }
    ASSERT(all->made == 0);
}

/* A user over the soft limit of pipe pages gets pipes of one or two pages, which are worth nothing here. */
static bool open_pipe(struct conduit *c)
{
    int ends[2];
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
        return false;
    int got = fcntl(ends[1], F_SETPIPE_SZ, (int)CONDUIT_BYTES);
    if (got < 0)
        got = fcntl(ends[1], F_GETPIPE_SZ);
    *c = (struct conduit){.in = ends[1], .out = ends[0], .capacity_bytes = got > 0 ? (uint32_t)got : 0};
    if (c->capacity_bytes >= CONDUIT_WORTH_BYTES)
        return true;
    close(ends[0]);
    close(ends[1]);
    return false;
}

struct conduit *conduit_take(struct conduits *all)
{
    struct conduit *c = all->free;
    if (c) {
        all->free = c->next;
        return c;
    }
    if (all->made >= all->max)
        return NULL;
    c = malloc(sizeof *c);
    if (!c || !open_pipe(c)) {
        free(c);
        return NULL; /* memory or descriptors are short now, perhaps not later */
    }
    all->made++;
    return c;
}

void conduit_give(struct conduits *all, struct conduit **cp, bool is_empty)
{
    struct conduit *c = *cp;
    *cp = NULL;
    if (!is_empty || all->made > all->max) {
        destroy(all, c);
        return;
    }
    c->next = all->free;
    all->free = c;
}

ssize_t conduit_fill(struct conduits *all, struct conduit *c, struct conn *from, size_t n)
{
    size_t most = n < c->capacity_bytes ? n : c->capacity_bytes;
    ssize_t got = splice(from->fd, NULL, c->in, NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (got < 0 && (errno == EINVAL || errno == ENOSYS)) {
        all->max = 0;
        return CONN_AGAIN;
    }
    return conn_note_read(from, got);
}

ssize_t conduit_empty(struct conduit *c, struct conn *to, size_t n)
{
    return conn_note_written(to, splice(c->out, NULL, to->fd, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}
