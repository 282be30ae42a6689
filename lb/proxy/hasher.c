#include "proxy/hasher.h"

#include <crypt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/panic.h"

#define HASHER_NICE 10

struct hasher {
    pthread_t thread;
    struct loop loop;
    struct mailbox mailbox;
    struct mail stop;
    struct crypt_data *data; /* owned; 32 KiB, the thread's alone */
    struct {
        _Alignas(64) _Atomic uint32_t pending; /* workers add, the hasher subtracts */
        _Atomic bool stopping;
    } shared;
};

/* In a time that says nothing about where they differ. */
static bool is_same(const char *a, const char *b)
{
    size_t n = strlen(a);
    unsigned char differs = n != strlen(b);
    for (size_t i = 0; !differs && i < n; i++)
        differs |= (unsigned char)(a[i] ^ b[i]);
    return !differs;
}

static void on_back(struct worker *w, struct mail *m)
{
    struct hash_job *job = CONTAINER_OF(m, struct hash_job, mail);
    (void)w;
    job->done(job);
}

/* The hasher's thread. */
static void on_job(struct worker *none, struct mail *m)
{
    struct hash_job *job = CONTAINER_OF(m, struct hash_job, mail);
    struct hasher *h = job->hasher;
    (void)none;
    job->ok = false;
    if (!atomic_load_explicit(&h->shared.stopping, memory_order_relaxed)) {
        const char *made = crypt_r(job->password, job->hash, h->data);
        job->ok = made && made[0] != '*' && is_same(made, job->hash) && job->is_known;
        explicit_bzero(h->data, sizeof *h->data);
    }
    explicit_bzero(job->password, sizeof job->password);
    atomic_fetch_sub_explicit(&h->shared.pending, 1, memory_order_relaxed);
    job->mail.fn = on_back;
    mailbox_send(&job->worker->mailbox, &job->mail);
}

static void on_stop(struct worker *none, struct mail *m)
{
    (void)none;
    loop_stop(&CONTAINER_OF(m, struct hasher, stop)->loop);
}

static void *hasher_main(void *arg)
{
    struct hasher *h = arg;
    pthread_setname_np(pthread_self(), "hasher");
    setpriority(PRIO_PROCESS, (id_t)gettid(), HASHER_NICE); /* of this thread alone: workers come first */
    loop_run(&h->loop);
    return NULL;
}

struct hasher *hasher_create(void)
{
    struct hasher *h = aligned_alloc(64, (sizeof *h + 63) / 64 * 64);
    if (!h)
        return NULL;
    memset(h, 0, sizeof *h);
    h->data = calloc(1, sizeof *h->data);
    if (!h->data)
        goto no_data;
    if (!loop_init(&h->loop))
        goto no_loop;
    if (!mailbox_init(&h->mailbox, &h->loop, NULL))
        goto no_mailbox;
    if (pthread_create(&h->thread, NULL, hasher_main, h) == 0)
        return h;
    mailbox_fini(&h->mailbox);
no_mailbox:
    loop_fini(&h->loop);
no_loop:
    free(h->data);
no_data:
    free(h);
    return NULL;
}

void hasher_destroy(struct hasher **hp)
{
    struct hasher *h = *hp;
    *hp = NULL;
    if (!h)
        return;
    atomic_store_explicit(&h->shared.stopping, true, memory_order_relaxed);
    h->stop.fn = on_stop;
    mailbox_send(&h->mailbox, &h->stop);
    pthread_join(h->thread, NULL);
    mailbox_fini(&h->mailbox);
    loop_fini(&h->loop);
    free(h->data);
    free(h);
}

bool hasher_submit(struct hasher *h, struct hash_job *job)
{
    if (atomic_fetch_add_explicit(&h->shared.pending, 1, memory_order_relaxed) >= HASHER_PENDING_MAX) {
        atomic_fetch_sub_explicit(&h->shared.pending, 1, memory_order_relaxed);
        return false;
    }
    job->hasher = h;
    job->mail.fn = on_job;
    mailbox_send(&h->mailbox, &job->mail);
    return true;
}
