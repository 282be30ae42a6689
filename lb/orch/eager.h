/* eager: calls things again and again in fractions of a millisecond, for the few moments in which somebody
 * waits for each.
 *
 * The loop's timers count whole milliseconds, and a request that is held for a member should not wait for
 * one: so this has a clock of its own (timerfd), armed only while something is queued. A thing begins with a
 * pause of EAGER_FIRST_NS, which grows to a twenty-thousandth of its age, and to EAGER_LAST_NS at most. Many
 * at a time share EAGER_A_SECOND calls. One thread. */
#ifndef COX_ORCH_EAGER_H
#define COX_ORCH_EAGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "run/loop.h"

#define EAGER_FIRST_NS 250000ull
#define EAGER_LAST_NS  50000000ull
#define EAGER_GROWTH   20000ull
#define EAGER_A_SECOND 16000ull /* connects of some 15 us each: a fourth of a core */
#define EAGER_MAX      256u     /* queued at a time; beyond, the usual timers must do */

struct eager_node {
    struct list node;  /* while it is queued */
    uint64_t since_ns; /* 0: never queued; its age counts from here */
    uint64_t due_ns;
    void (*fn)(struct eager_node *n); /* may queue itself again, or go */
};

struct eager {
    struct watch watch;
    struct list queue;
    uint32_t count;
    bool is_calling;
    int fd; /* timerfd; -1: none, then callers keep to their timers */
};

void eager_init(struct eager *e, struct loop *loop);
void eager_fini(struct eager *e);
void eager_node_init(struct eager_node *n, void (*fn)(struct eager_node *n));
/* To be called once, after the pause of its age but not before at_least_ns from now. False when there is no
 * clock, or no room. */
bool eager_add(struct eager *e, struct eager_node *n, uint64_t now_ns, uint64_t at_least_ns)
    __attribute__((warn_unused_result));
/* Harmless when it is not queued. forget: its age begins anew. */
void eager_remove(struct eager *e, struct eager_node *n, bool forget);
/* How long a thing of this age waits for its next call, when so many are queued. */
uint64_t eager_pause_ns(uint64_t age_ns, uint32_t count);

#endif
