#include "run/loop.h"

#include "base/panic.h"

bool loop_init(struct loop *l)
{
    *l = (struct loop){0};
    struct event_config *cfg = event_config_new();
    if (!cfg)
        return false;
    /* One thread owns it, so no locks; and the coarse cached time is enough, deadlines are lazy anyway. */
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(cfg, EVENT_BASE_FLAG_IGNORE_ENV);
    event_config_require_features(cfg, EV_FEATURE_ET);
    l->base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    return l->base != NULL;
}

void loop_fini(struct loop *l)
{
    if (l->base)
        event_base_free(l->base);
    l->base = NULL;
}

void loop_run(struct loop *l)
{
    while (!l->stop)
        if (event_base_loop(l->base, EVLOOP_ONCE) < 0)
            PANIC("event loop failed");
}

void loop_stop(struct loop *l)
{
    l->stop = true;
    event_base_loopbreak(l->base);
}

static void on_timer(evutil_socket_t fd, short events, void *ctx)
{
    struct timer *t = ctx;
    (void)fd;
    (void)events;
    t->fn(t->ctx);
}

void timer_init(struct timer *t, struct loop *l, loop_fn *fn, void *ctx)
{
    t->fn = fn;
    t->ctx = ctx;
    t->ready = true;
    ASSERT(event_assign(&t->ev, l->base, -1, 0, on_timer, t) == 0);
}

void timer_arm(struct timer *t, uint64_t after_ms)
{
    struct timeval tv = {.tv_sec = (time_t)(after_ms / 1000),
                         .tv_usec = (suseconds_t)(after_ms % 1000 * 1000)};
    ASSERT(t->ready);
    ASSERT(event_add(&t->ev, &tv) == 0);
}

void timer_stop(struct timer *t)
{
    if (t->ready)
        event_del(&t->ev);
}

bool timer_is_armed(struct timer *t)
{
    return t->ready && event_pending(&t->ev, EV_TIMEOUT, NULL);
}

static void on_watch(evutil_socket_t fd, short events, void *ctx)
{
    struct watch *w = ctx;
    w->fn(fd, events, w->ctx);
}

void watch_start(struct watch *w, struct loop *l, int fd, short events, loop_fd_fn *fn, void *ctx)
{
    ASSERT(!w->added);
    w->fn = fn;
    w->ctx = ctx;
    ASSERT(event_assign(&w->ev, l->base, fd, (short)(events | EV_PERSIST), on_watch, w) == 0);
    ASSERT(event_add(&w->ev, NULL) == 0);
    w->added = true;
}

void watch_stop(struct watch *w)
{
    if (w->added)
        event_del(&w->ev);
    w->added = false;
}

static void on_signal(evutil_socket_t signo, short events, void *ctx)
{
    struct signal_watch *w = ctx;
    (void)events;
    w->fn(signo, w->ctx);
}

void signal_watch_start(struct signal_watch *w, struct loop *l, int signo, loop_signal_fn *fn, void *ctx)
{
    w->fn = fn;
    w->ctx = ctx;
    ASSERT(event_assign(&w->ev, l->base, signo, EV_SIGNAL | EV_PERSIST, on_signal, w) == 0);
    ASSERT(event_add(&w->ev, NULL) == 0);
}

void signal_watch_stop(struct signal_watch *w)
{
    event_del(&w->ev);
}
