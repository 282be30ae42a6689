/* The road of messages into a thread: order of one sender, nothing lost or doubled among many, the bell
 * wakes. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "run/worker.h"

#define SENDERS 4
#define EACH    5000

struct letter {
    struct mail mail;
    int sender, number;
};

struct reader {
    struct worker w; /* first: what mail functions are given */
    int got[SENDERS];
    int total, wrong, stop_at;
};

static void on_letter(struct worker *w, struct mail *m)
{
    struct reader *r = (struct reader *)w;
    struct letter *l = CONTAINER_OF(m, struct letter, mail);
    if (l->number != r->got[l->sender])
        r->wrong++;
    r->got[l->sender]++;
    if (++r->total == r->stop_at)
        worker_stop(w);
    free(l);
}

static void post(struct reader *r, int sender, int number)
{
    struct letter *l = malloc(sizeof *l);
    *l = (struct letter){.mail = {.fn = on_letter}, .sender = sender, .number = number};
    mailbox_send(&r->w.mailbox, &l->mail);
}

static struct reader *make(void)
{
    struct reader *r = aligned_alloc(64, (sizeof *r + 63) / 64 * 64);
    assert_non_null(r);
    memset(r, 0, sizeof *r);
    assert_true(worker_init(&r->w, 0));
    return r;
}

static void drop(struct reader *r)
{
    worker_fini(&r->w);
    free(r);
}

static void mail_is_run_in_the_order_of_sending(void **state)
{
    (void)state;
    struct reader *r = make();
    mailbox_run(&r->w.mailbox, &r->w); /* an empty box is fine */
    for (int i = 0; i < 100; i++)
        post(r, 0, i);
    mailbox_run(&r->w.mailbox, &r->w);
    assert_int_equal(r->total, 100);
    assert_int_equal(r->wrong, 0);
    drop(r);
}

static void on_chain(struct worker *w, struct mail *m)
{
    struct letter *l = CONTAINER_OF(m, struct letter, mail);
    post((struct reader *)w, 0, 0);
    free(l);
}

/* Mail that sends mail: the new one waits for the next run, so no run is endless. */
static void mail_may_send_mail(void **state)
{
    (void)state;
    struct reader *r = make();
    struct letter *l = malloc(sizeof *l);
    l->mail.fn = on_chain;
    mailbox_send(&r->w.mailbox, &l->mail);
    mailbox_run(&r->w.mailbox, &r->w);
    assert_int_equal(r->total, 0);
    mailbox_run(&r->w.mailbox, &r->w);
    assert_int_equal(r->total, 1);
    drop(r);
}

struct sender {
    struct reader *r;
    int index;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < EACH; i++)
        post(s->r, s->index, i);
    return NULL;
}

/* The worker sleeps in its loop; every letter of every thread arrives once, each thread's in order. */
static void many_senders_wake_a_sleeping_worker(void **state)
{
    (void)state;
    struct reader *r = make();
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    r->stop_at = SENDERS * EACH;
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){r, i};
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    worker_run(&r->w); /* ends when the last letter is there; a lost bell would hang here */
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(r->got[i], EACH);
    }
    assert_int_equal(r->wrong, 0);
    drop(r);
}

/* ---- the worker's own turn ---- */

struct runner {
    struct run_node node;
    struct reader *r;
    int runs, again;
};

static void on_run(struct run_node *n)
{
    struct runner *x = CONTAINER_OF(n, struct runner, node);
    x->runs++;
    if (x->again-- > 0)
        run_queue_add(&x->r->w, n);
    else
        worker_stop(&x->r->w);
}

static void the_loop_does_not_sleep_on_a_run_queue(void **state)
{
    (void)state;
    struct reader *r = make();
    struct runner x = {.r = r, .again = 100};
    run_node_init(&x.node, on_run);
    run_queue_add(&r->w, &x.node);
    run_queue_add(&r->w, &x.node); /* twice is once */
    worker_run(&r->w);
    assert_int_equal(x.runs, 101);
    drop(r);
}

struct timed {
    struct deadline d;
    struct reader *r;
    uint64_t fired_ms;
};

static void on_time(struct deadline *d)
{
    struct timed *t = CONTAINER_OF(d, struct timed, d);
    t->fired_ms = t->r->w.now_ms;
    worker_stop(&t->r->w);
}

static void a_deadline_wakes_the_loop(void **state)
{
    (void)state;
    struct reader *r = make();
    struct timed far = {.r = r}, near = {.r = r};
    deadline_init(&far.d, on_time);
    deadline_init(&near.d, on_time);
    uint64_t begin = r->w.now_ms;
    worker_deadline(&r->w, &far.d, 600000);
    worker_deadline(&r->w, &near.d, 40);
    worker_run(&r->w);
    assert_int_equal(far.fired_ms, 0);
    assert_true(near.fired_ms >= begin + 40);
    deadline_stop(&r->w.wheel, &far.d);
    drop(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_is_run_in_the_order_of_sending),
        cmocka_unit_test(mail_may_send_mail),
        cmocka_unit_test(many_senders_wake_a_sleeping_worker),
        cmocka_unit_test(the_loop_does_not_sleep_on_a_run_queue),
        cmocka_unit_test(a_deadline_wakes_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
