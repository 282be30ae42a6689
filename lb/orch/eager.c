#include "orch/eager.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

uint64_t eager_pause_ns(uint64_t age_ns, uint32_t count)
{
    uint64_t pause = age_ns / EAGER_GROWTH, share = count * NS_PER_S / EAGER_A_SECOND;
    pause = pause < EAGER_FIRST_NS ? EAGER_FIRST_NS : pause;
    pause = pause < share ? share : pause;
    return pause > EAGER_LAST_NS ? EAGER_LAST_NS : pause;
}

/* For the one that is due first; stops when there is none. */
static void set_clock(const struct eager *e)
{
    struct itimerspec at = {.it_value = {0, 0}};
    uint64_t first = UINT64_MAX;
    for (const struct list *l = e->queue.next; l != &e->queue; l = l->next) {
        const struct eager_node *n = CONTAINER_OF(l, struct eager_node, node);
        first = n->due_ns < first ? n->due_ns : first;
    }
    if (first != UINT64_MAX) {
        at.it_value.tv_sec = (time_t)(first / NS_PER_S);
        at.it_value.tv_nsec = (long)(first % NS_PER_S);
    }
    timerfd_settime(e->fd, TFD_TIMER_ABSTIME, &at, NULL);
}

static void on_clock(int fd, short events, void *ctx)
{
    struct eager *e = ctx;
    struct list all, *l;
    uint64_t times, now = clock_now_ns();
    (void)events;
    (void)!read(fd, &times, sizeof times); /* EAGAIN: it was set anew meanwhile */
    e->is_calling = true;
    list_init(&all);
    list_splice(&all, &e->queue);
    while ((l = list_shift(&all))) { /* one that goes meanwhile leaves `all` by itself */
        struct eager_node *n = CONTAINER_OF(l, struct eager_node, node);
        if (n->due_ns > now) {
            list_push(&e->queue, &n->node);
            continue;
        }
        e->count--;
        n->fn(n);
    }
    e->is_calling = false;
    set_clock(e);
}

void eager_init(struct eager *e, struct loop *loop)
{
    *e = (struct eager){.count = 0};
    list_init(&e->queue);
    e->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (e->fd >= 0)
        watch_start(&e->watch, loop, e->fd, EV_READ, on_clock, e);
    else
        log_warn("no timer for eager probes: held requests wait for the usual ones");
}

void eager_fini(struct eager *e)
{
    watch_stop(&e->watch);
    if (e->fd >= 0)
        close(e->fd);
    e->fd = -1;
}

void eager_node_init(struct eager_node *n, void (*fn)(struct eager_node *n))
{
    *n = (struct eager_node){.fn = fn};
    list_init(&n->node);
}

bool eager_add(struct eager *e, struct eager_node *n, uint64_t now_ns, uint64_t at_least_ns)
{
    if (e->fd < 0 || (list_is_empty(&n->node) && e->count >= EAGER_MAX))
        return false;
    if (!n->since_ns)
        n->since_ns = now_ns;
    uint64_t pause = eager_pause_ns(now_ns - n->since_ns, e->count + 1);
    n->due_ns = now_ns + (pause > at_least_ns ? pause : at_least_ns);
    if (list_is_empty(&n->node)) {
        list_push(&e->queue, &n->node);
        e->count++;
    }
    if (!e->is_calling)
        set_clock(e);
    return true;
}

void eager_remove(struct eager *e, struct eager_node *n, bool forget)
{
    if (forget)
        n->since_ns = 0;
    if (list_is_empty(&n->node))
        return;
    list_remove(&n->node);
    e->count--;
}
