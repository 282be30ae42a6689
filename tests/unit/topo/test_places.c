/* max_in_flight over several generations: one word an endpoint, and what each process holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "topo/places.h"

#define ENDPOINTS 100

struct fixture {
    int fd;
    struct places master, one, two;
};

static int setup(void **state)
{
    static struct fixture f;
    f.fd = places_create(ENDPOINTS);
    assert_true(f.fd >= 0 && places_open(&f.master, f.fd, 0));
    assert_true(places_open(&f.one, f.fd, (uint32_t)places_enter(&f.master, 1)));
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    places_close(&f->master);
    places_close(&f->one);
    places_close(&f->two);
    close(f->fd);
    return 0;
}

static void begin_second(struct fixture *f)
{
    assert_false(places_are_shared(&f->one));
    assert_true(places_open(&f->two, f->fd, (uint32_t)places_enter(&f->master, 2)));
    assert_true(places_are_shared(&f->one) && places_are_shared(&f->two));
}

static void the_limit_is_that_of_all(void **state)
{
    struct fixture *f = *state;
    begin_second(f);
    assert_true(places_take(&f->one, 7, 3));
    assert_true(places_take(&f->two, 7, 3));
    assert_false(places_is_full(&f->two, 7, 3));
    assert_true(places_take(&f->one, 7, 3));
    assert_true(places_is_full(&f->two, 7, 3));
    assert_false(places_take(&f->two, 7, 3));
    assert_true(places_take(&f->two, 8, 3)); /* another endpoint */
    places_give(&f->one, 7);
    assert_true(places_take(&f->two, 7, 3));
}

static void the_dead_hold_nothing(void **state)
{
    struct fixture *f = *state;
    begin_second(f);
    for (int i = 0; i < 5; i++)
        assert_true(places_take(&f->one, ENDPOINTS - 1, 9));
    assert_true(places_take(&f->two, ENDPOINTS - 1, 9));
    places_leave(&f->master, 1);
    assert_int_equal(f->two.v[ENDPOINTS - 1].taken, 1);
    assert_false(places_are_shared(&f->two));
    places_leave(&f->master, 1); /* nobody's any more */
    places_give(&f->two, ENDPOINTS - 1);
    assert_int_equal(f->two.v[ENDPOINTS - 1].taken, 0);
    assert_int_equal(places_enter(&f->master, 3), 0);
}

/* It was killed between its own count and the word: too low by one, and never below zero. */
static void killed_in_between(void **state)
{
    struct fixture *f = *state;
    begin_second(f);
    assert_true(places_take(&f->two, 0, 9));
    f->one.v[0].by[f->one.row] = 1; /* it had not taken the place yet */
    places_leave(&f->master, 1);
    assert_int_equal(f->two.v[0].taken, 0);
    places_give(&f->two, 0);
    assert_int_equal(f->two.v[0].taken, 0);
}

static void rows_are_few(void **state)
{
    struct fixture *f = *state;
    for (uint64_t n = 2; n <= PLACES_ROWS; n++)
        assert_int_equal(places_enter(&f->master, n), (int)n - 1);
    assert_int_equal(places_enter(&f->master, 99), -1);
    places_leave(&f->master, 4);
    assert_int_equal(places_enter(&f->master, 99), 3);
}

static void what_is_no_segment(void **state)
{
    struct fixture *f = *state;
    struct places p;
    int fd = memfd_create("x", MFD_CLOEXEC);
    assert_false(places_open(&p, fd, 0)); /* empty */
    char zeros[8192] = {0};
    assert_int_equal(write(fd, zeros, sizeof zeros), sizeof zeros);
    assert_false(places_open(&p, fd, 0));
    assert_false(places_open(&p, f->fd, PLACES_ROWS));
    assert_false(places_open(&p, -1, 0));
    close(fd);
    assert_true(places_open_private(&p, 3));
    assert_true(places_take(&p, 2, 1) && !places_take(&p, 2, 1) && !places_are_shared(&p));
    places_close(&p);
}

#define ROUNDS 20000

/* Takes and gives against others at a limit of 2; says when it saw more. */
static void *fight(void *ctx)
{
    struct places *p = ctx;
    uintptr_t most = 0;
    for (int i = 0; i < ROUNDS; i++) {
        if (!places_take(p, 5, 2))
            continue;
        uint32_t now = p->v[5].taken;
        most = now > most ? now : most;
        places_give(p, 5);
    }
    return (void *)most;
}

static void many_at_once_never_overshoot(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[6];
    begin_second(f);
    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fight, i % 2 ? &f->one : &f->two), 0);
    for (int i = 0; i < 6; i++) {
        void *most;
        pthread_join(threads[i], &most);
        assert_in_range((uintptr_t)most, 0, 2);
    }
    assert_int_equal(f->one.v[5].taken, 0);
    for (int i = 0; i < PLACES_ROWS; i++)
        assert_int_equal(f->one.v[5].by[i], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_limit_is_that_of_all, setup, teardown),
        cmocka_unit_test_setup_teardown(the_dead_hold_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(killed_in_between, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_are_few, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(many_at_once_never_overshoot, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
