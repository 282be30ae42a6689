#include "run/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

static void on_bell(int fd, short events, void *ctx)
{
    struct mailbox *b = ctx;
    uint64_t n;
    (void)events;
    ssize_t rc = read(fd, &n, sizeof n);
    (void)rc;
    mailbox_run(b, b->worker);
}

bool mailbox_init(struct mailbox *b, struct loop *l, struct worker *w)
{
    *b = (struct mailbox){0};
    b->worker = w;
    b->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (b->fd < 0)
        return false;
    watch_start(&b->watch, l, b->fd, EV_READ, on_bell, b);
    return true;
}

void mailbox_fini(struct mailbox *b)
{
    watch_stop(&b->watch);
    close(b->fd);
}

void mailbox_send(struct mailbox *b, struct mail *m)
{
    struct mail *head = atomic_load_explicit(&b->shared.head, memory_order_relaxed);
    do
        m->next = head;
    while (!atomic_compare_exchange_weak_explicit(&b->shared.head, &head, m, memory_order_release,
                                                  memory_order_relaxed));
    if (!head) { /* the first since the box was emptied rings */
        uint64_t one = 1;
        ssize_t rc = write(b->fd, &one, sizeof one);
        (void)rc;
    }
}

void mailbox_run(struct mailbox *b, struct worker *w)
{
    if (!atomic_load_explicit(&b->shared.head, memory_order_relaxed))
        return;
    struct mail *stack = atomic_exchange_explicit(&b->shared.head, NULL, memory_order_acquire), *queue = NULL;
    while (stack) { /* newest first: turn it round */
        struct mail *m = stack;
        stack = m->next;
        m->next = queue;
        queue = m;
    }
    while (queue) {
        struct mail *m = queue;
        queue = m->next;
        m->fn(w, m);
    }
}
