/* A file that was written is put in its place by a thread of its own: only once its bytes are on the disk,
 * or a loss of power would leave an empty one, and that may take longer than the loop can wait. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/panic.h"
#include "orch/scale_priv.h"

/* Of `result` while the thread is at work. */
#define AT_WORK (-1)

static int put_in_place(const struct scale_keep *k)
{
    if (fdatasync(k->fd) != 0 && errno != EINVAL && errno != EROFS)
        return errno;
    return rename(k->fresh, k->path) == 0 ? 0 : errno;
}

static void *thread_main(void *arg)
{
    struct scale_keep *k = arg;
    atomic_store_explicit(&k->result, put_in_place(k), memory_order_release);
    return NULL;
}

void scale_keep_start(struct scale_keep *k, int fd, const char *fresh, const char *path)
{
    sigset_t all, before;
    ASSERT(!k->is_busy);
    *k = (struct scale_keep){.is_busy = true,
                             .fd = fd,
                             .fresh = must(str_dup(str_of(fresh))),
                             .path = must(str_dup(str_of(path))),
                             .result = AT_WORK};
    /* Signals belong to the orchestrator's own thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    k->has_thread = pthread_create(&k->thread, NULL, thread_main, k) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!k->has_thread)
        (void)thread_main(k);
}

bool scale_keep_is_at_work(const struct scale_keep *k)
{
    return k->is_busy && atomic_load_explicit(&k->result, memory_order_acquire) == AT_WORK;
}

int scale_keep_end(struct scale_keep *k)
{
    if (!k->is_busy)
        return 0;
    if (k->has_thread)
        pthread_join(k->thread, NULL);
    close(k->fd);
    free(k->fresh);
    free(k->path);
    k->is_busy = false;
    return atomic_load_explicit(&k->result, memory_order_relaxed);
}
