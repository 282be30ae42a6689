/* loop: typed wrappers over libevent, the only place that knows it (with lb/net, which embeds struct event).
 *
 * A loop belongs to one thread. Callback contexts are checked pointers of the owner. Timers are libevent's
 * own: for the control plane only; workers use deadlines (run/deadline.h). */
#ifndef COX_RUN_LOOP_H
#define COX_RUN_LOOP_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdbool.h>
#include <stdint.h>

struct loop {
    struct event_base *base; /* owned */
    bool stop;
};

/* False when the kernel refuses (descriptors). */
bool loop_init(struct loop *l) __attribute__((warn_unused_result));
void loop_fini(struct loop *l);
/* Runs until loop_stop. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);

typedef void loop_fn(void *ctx);
typedef void loop_fd_fn(int fd, short events, void *ctx);
typedef void loop_signal_fn(int signo, void *ctx);

/* A timer: armed once or again and again. Embedded; zero before first use. */
struct timer {
    struct event ev;
    loop_fn *fn;
    void *ctx;
    bool ready;
};
void timer_init(struct timer *t, struct loop *l, loop_fn *fn, void *ctx);
void timer_arm(struct timer *t, uint64_t after_ms); /* again: moves it */
void timer_stop(struct timer *t);
bool timer_is_armed(struct timer *t);

/* Level-triggered persistent readiness of an fd (control plane). */
struct watch {
    struct event ev;
    loop_fd_fn *fn;
    void *ctx;
    bool added;
};
void watch_start(struct watch *w, struct loop *l, int fd, short events, loop_fd_fn *fn, void *ctx);
void watch_stop(struct watch *w);

struct signal_watch {
    struct event ev;
    loop_signal_fn *fn;
    void *ctx;
};
void signal_watch_start(struct signal_watch *w, struct loop *l, int signo, loop_signal_fn *fn, void *ctx);
void signal_watch_stop(struct signal_watch *w);

#endif
