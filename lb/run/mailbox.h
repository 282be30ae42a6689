/* mailbox: the road of messages into a thread. Many senders, one reader, no locks.
 *
 * A mail is embedded in whatever is sent; from mailbox_send on it belongs to the receiving worker, whose
 * thread runs its function at the top of a loop turn, or when its bell is an event, in the order of sending.
 */
#ifndef COX_RUN_MAILBOX_H
#define COX_RUN_MAILBOX_H

#include <stdatomic.h>

#include "run/loop.h"

struct worker;

struct mail {
    struct mail *next;
    void (*fn)(struct worker *w, struct mail *m);
};

struct mailbox {
    struct watch watch;
    struct worker *worker; /* borrowed; NULL for the mailbox of a control thread */
    int fd;                /* eventfd, owned */
    /* Touched by senders and the reader; release on push, acquire on take. */
    struct {
        _Alignas(64) _Atomic(struct mail *) head;
    } shared;
};

bool mailbox_init(struct mailbox *b, struct loop *l, struct worker *w) __attribute__((warn_unused_result));
void mailbox_fini(struct mailbox *b);
/* Any thread. */
void mailbox_send(struct mailbox *b, struct mail *m);
/* The worker's own thread: runs what is there. */
void mailbox_run(struct mailbox *b, struct worker *w);

#endif
