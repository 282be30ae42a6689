/* A worker's hold on topologies: an exchange pins the one it was routed by, without touching a line that
 * another thread writes. */
#include <stdlib.h>

#include "base/panic.h"
#include "proxy/proxy.h"

struct view *view_ref(struct pworker *pw)
{
    pw->view->users++;
    return pw->view;
}

void view_unref(struct pworker *pw, struct view **v)
{
    struct view *gone = *v;
    (void)pw;
    *v = NULL;
    ASSERT(gone->users > 0);
    if (--gone->users)
        return;
    topology_unref(&gone->topology);
    free(gone);
}

struct view *view_create(struct topology *t)
{
    struct view *v = must(malloc(sizeof *v));
    *v = (struct view){.topology = t, .users = 1};
    topology_ref(t);
    return v;
}

void view_replace(struct pworker *pw, struct view *fresh)
{
    struct view *old = pw->view;
    pw->view = fresh;
    if (old)
        view_unref(pw, &old);
}
