/* What other threads hand to the orchestrator's thread, and what it hands to helper threads. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/panic.h"
#include "orch/host.h"

/* A call that waits: first on jobs when it has work to do on a helper, then on posts. */
struct post {
    struct list node;
    struct plugin *plugin;
    cox_call_fn *work; /* NULL: a plain post */
    cox_call_fn *fn;
    void *ctx;
};

static void ring(struct post_queue *q)
{
    const uint64_t one = 1;
    /* EAGAIN means that the bell rings already. */
    if (write(q->fd, &one, sizeof one) < 0)
        return;
}

static void run_posts(struct host *h)
{
    struct post_queue *q = &h->queue;
    uint64_t rung;
    if (read(q->fd, &rung, sizeof rung) < 0)
        rung = 0; /* nothing rang: the list decides */
    struct list mine, *node;
    list_init(&mine);
    pthread_mutex_lock(&q->lock);
    list_splice(&mine, &q->posts);
    pthread_mutex_unlock(&q->lock);
    while ((node = list_shift(&mine))) {
        struct post *post = CONTAINER_OF(node, struct post, node);
        struct plugin *p = post->plugin;
        struct call c = call_begin(p, post->work ? "the end of an offload" : "a post");
        post->fn(post->ctx);
        call_end(&c);
        pthread_mutex_lock(&q->lock);
        p->outstanding--;
        q->waiting--;
        pthread_mutex_unlock(&q->lock);
        free(post);
    }
}

static void on_bell(int fd, short events, void *ctx)
{
    (void)fd;
    (void)events;
    run_posts(CONTAINER_OF(ctx, struct host, queue));
}

bool queue_init(struct post_queue *q, struct loop *loop)
{
    q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->fd < 0)
        return false;
    ASSERT(pthread_mutex_init(&q->lock, NULL) == 0);
    ASSERT(pthread_cond_init(&q->work, NULL) == 0);
    list_init(&q->posts);
    list_init(&q->jobs);
    watch_start(&q->watch, loop, q->fd, EV_READ, on_bell, q);
    return true;
}

void queue_fini(struct post_queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->stop = true;
    pthread_cond_broadcast(&q->work);
    pthread_mutex_unlock(&q->lock);
    for (int i = 0; i < q->helper_count; i++)
        pthread_join(q->helpers[i], NULL);
    ASSERT(q->waiting == 0); /* plugin_destroy settled every plugin */
    watch_stop(&q->watch);
    close(q->fd);
    pthread_cond_destroy(&q->work);
    pthread_mutex_destroy(&q->lock);
}

static void *helper(void *ctx)
{
    struct post_queue *q = ctx;
    pthread_mutex_lock(&q->lock);
    for (;;) {
        struct list *node = list_shift(&q->jobs);
        if (!node && q->stop)
            break;
        if (!node) {
            pthread_cond_wait(&q->work, &q->lock);
            continue;
        }
        pthread_mutex_unlock(&q->lock);
        struct post *post = CONTAINER_OF(node, struct post, node);
        post->work(post->ctx);
        pthread_mutex_lock(&q->lock);
        list_push(&q->posts, &post->node);
        ring(q);
    }
    pthread_mutex_unlock(&q->lock);
    return NULL;
}

/* Signals belong to the orchestrator's own thread. */
static bool start_helpers(struct post_queue *q)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (q->helper_count < HOST_HELPERS &&
           pthread_create(&q->helpers[q->helper_count], NULL, helper, q) == 0)
        q->helper_count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return q->helper_count > 0;
}

static int32_t enqueue(struct plugin *p, cox_call_fn *work, cox_call_fn *fn, void *ctx)
{
    struct post_queue *q = &p->host->queue;
    struct post *post = fn ? malloc(sizeof *post) : NULL;
    if (!post)
        return fn ? COX_BUSY : COX_INVALID;
    *post = (struct post){.plugin = p, .work = work, .fn = fn, .ctx = ctx};
    pthread_mutex_lock(&q->lock);
    const bool room = q->waiting < HOST_POSTS_MAX;
    if (room) {
        q->waiting++;
        p->outstanding++;
        list_push(work ? &q->jobs : &q->posts, &post->node);
        if (work)
            pthread_cond_signal(&q->work);
        else
            ring(q);
    }
    pthread_mutex_unlock(&q->lock);
    if (!room)
        free(post);
    return room ? COX_OK : COX_BUSY;
}

int32_t queue_post(struct plugin *p, cox_call_fn *fn, void *ctx)
{
    return enqueue(p, NULL, fn, ctx);
}

int32_t queue_offload(struct plugin *p, cox_call_fn *work, cox_call_fn *done, void *ctx)
{
    if (!work || !done)
        return COX_INVALID;
    if (!start_helpers(&p->host->queue))
        return COX_BUSY;
    return enqueue(p, work, done, ctx);
}

static int outstanding(struct plugin *p)
{
    struct post_queue *q = &p->host->queue;
    pthread_mutex_lock(&q->lock);
    const int n = p->outstanding;
    pthread_mutex_unlock(&q->lock);
    return n;
}

void queue_settle(struct plugin *p)
{
    struct pollfd bell = {.fd = p->host->queue.fd, .events = POLLIN};
    while (outstanding(p) > 0) {
        run_posts(p->host);
        if (outstanding(p) > 0)
            (void)poll(&bell, 1, 100);
    }
}
