#include "orch/seal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/panic.h"
#include "run/channel.h"
#include "run/mailbox.h"
#include "topo/topology_file.h"

struct seal {
    struct mailbox mailbox;
    struct mail mail; /* from the thread: it is done */
    seal_fn *done;
    void *ctx;
    struct topology *topology; /* counted; NULL: not busy */
    const char *dir;
    pthread_t thread;
    bool has_thread; /* else the work was done at once, for want of one */
    int fd, error, keep_error;
    uint64_t cost_ms; /* of processor time, the last one */
};

/* Behind the workers and those who bring them changes, which may have to share a processor with it. Linux
 * knows niceness of single threads. */
#define SEAL_NICE 10

/* Any thread: nothing here is touched by another one while it runs. */
static void work(struct seal *s)
{
    struct buf bytes;
    buf_init(&bytes);
    topology_encode(s->topology, &bytes);
    s->fd = sealed_memfd("topology", buf_str(&bytes));
    s->error = s->fd < 0 ? errno : 0;
    s->keep_error = 0;
    if (s->dir && *s->dir && !topology_file_write(s->dir, buf_str(&bytes)))
        s->keep_error = errno;
    buf_fini(&bytes);
}

static uint64_t thread_time_ms(void)
{
    struct timespec t = {0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return ((uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec) / NS_PER_MS;
}

static void make(struct seal *s)
{
    uint64_t begun_ms = thread_time_ms();
    work(s);
    s->cost_ms = thread_time_ms() - begun_ms;
    mailbox_send(&s->mailbox, &s->mail);
}

static void *thread_main(void *arg)
{
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), SEAL_NICE); /* failing, it is only less polite */
    make(arg);
    return NULL;
}

static void join(struct seal *s)
{
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    s->has_thread = false;
    topology_unref(&s->topology);
}

static void on_mail(struct worker *none, struct mail *m)
{
    struct seal *s = CONTAINER_OF(m, struct seal, mail);
    (void)none;
    join(s);
    int fd = s->fd;
    s->fd = -1;
    if (s->done)
        s->done(s->ctx, fd, s->error, s->keep_error);
    if (fd >= 0)
        close(fd);
}

struct seal *seal_create(struct loop *loop, seal_fn *done, void *ctx)
{
    struct seal *s = must(calloc(1, sizeof *s));
    s->done = done;
    s->ctx = ctx;
    s->fd = -1;
    if (mailbox_init(&s->mailbox, loop, NULL))
        return s;
    free(s);
    return NULL;
}

bool seal_is_busy(const struct seal *s)
{
    return s->topology != NULL;
}

void seal_start(struct seal *s, struct topology *t, const char *dir)
{
    sigset_t all, before;
    ASSERT(!seal_is_busy(s));
    topology_ref(t);
    s->topology = t;
    s->dir = dir;
    s->mail = (struct mail){.fn = on_mail};
    /* Signals belong to the orchestrator's own thread. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    s->has_thread = pthread_create(&s->thread, NULL, thread_main, s) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!s->has_thread)
        make(s);
}

uint64_t seal_cost_ms(const struct seal *s)
{
    return s->cost_ms;
}

void seal_finish(struct seal *s)
{
    if (!seal_is_busy(s))
        return;
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    s->has_thread = false;
    mailbox_run(&s->mailbox, NULL); /* its mail is there now */
}

void seal_destroy(struct seal **sp)
{
    struct seal *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    s->done = NULL;
    seal_finish(s);
    mailbox_fini(&s->mailbox);
    free(s);
}
