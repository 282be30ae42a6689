/* Arenas: further blocks come from a pool and go back to it; larger ones, and without a pool, from malloc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"

struct fixture {
    struct pool pool;
    struct arena arena;
    char first[256];
};

static int set_up(void **state)
{
    static struct fixture f;
    pool_init(&f.pool, ARENA_POOL_BYTES, 4);
    arena_init(&f.arena, f.first, sizeof f.first, 1 << 20);
    f.arena.blocks = &f.pool;
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    arena_fini(&f->arena);
    assert_int_equal(f->pool.taken_count, 0);
    pool_fini(&f->pool);
    return 0;
}

static void what_fits_stays_in_the_first_block(void **state)
{
    struct fixture *f = *state;
    char *p = arena_alloc(&f->arena, 200);
    assert_true(p >= f->first && p + 200 <= f->first + sizeof f->first);
    assert_int_equal(f->pool.taken_count, 0);
}

static void a_further_block_is_of_the_pool_and_goes_back(void **state)
{
    struct fixture *f = *state;
    char *p = arena_alloc(&f->arena, 3000), *q = arena_alloc(&f->arena, ARENA_BLOCK_BYTES - 3000 - 8);
    assert_non_null(p);
    assert_int_equal(f->pool.taken_count, 1);
    assert_true(q == p + 3000); /* the rest of the same block */
    memset(q, 'x', ARENA_BLOCK_BYTES - 3000 - 8);
    assert_non_null(arena_alloc(&f->arena, 16));
    assert_int_equal(f->pool.taken_count, 2);
    arena_fini(&f->arena);
    assert_int_equal(f->pool.taken_count, 0);
}

static void a_large_block_is_not_of_the_pool(void **state)
{
    struct fixture *f = *state;
    char *at_most = arena_alloc(&f->arena, ARENA_BLOCK_BYTES);
    memset(at_most, 'x', ARENA_BLOCK_BYTES);
    assert_int_equal(f->pool.taken_count, 1);
    char *large = arena_alloc(&f->arena, ARENA_BLOCK_BYTES + 8);
    memset(large, 'x', ARENA_BLOCK_BYTES + 8);
    assert_int_equal(f->pool.taken_count, 1);
}

static void the_limit_counts_for_both(void **state)
{
    struct fixture *f = *state;
    arena_init(&f->arena, f->first, sizeof f->first, 2 * ARENA_BLOCK_BYTES);
    f->arena.blocks = &f->pool;
    assert_non_null(arena_alloc(&f->arena, ARENA_BLOCK_BYTES));
    assert_null(arena_alloc(&f->arena, ARENA_BLOCK_BYTES + 8));
    assert_non_null(arena_alloc(&f->arena, ARENA_BLOCK_BYTES));
    assert_null(arena_alloc(&f->arena, ARENA_BLOCK_BYTES));
}

/* What a storm left goes, and a pool that gives all the time keeps what it gives. */
static void what_lies_in_a_pool_is_given_back_slowly(void **state)
{
    (void)state;
    struct pool p;
    void *taken[1000];
    pool_init(&p, 64, 1000);
    for (int i = 0; i < 1000; i++)
        assert_non_null(taken[i] = pool_take(&p));
    pool_trim(&p);
    assert_int_equal(p.taken_count, 1000);
    for (int i = 0; i < 1000; i++)
        pool_give(&p, taken[i]);
#if !defined(__SANITIZE_ADDRESS__)
    assert_int_equal(p.free_count, 1000);
    pool_trim(&p);
    assert_int_equal(p.free_count, 875);
#endif
    for (int second = 0; second < 60; second++)
        pool_trim(&p);
    assert_true(p.free_count < 8);
    pool_fini(&p);
}

static void without_a_pool_it_works_too(void **state)
{
    struct fixture *f = *state;
    arena_init(&f->arena, f->first, sizeof f->first, 1 << 20);
    struct str copy = arena_copy(&f->arena, STR("copied"));
    assert_true(str_eq(copy, STR("copied")));
    assert_non_null(arena_alloc(&f->arena, 5000));
    assert_int_equal(f->pool.taken_count, 0);
}

static void what_came_last_grows_where_it_is(void **state)
{
    struct fixture *f = *state;
    char *p = arena_alloc(&f->arena, 16);
    memcpy(p, "sixteen letters", 16);
    assert_int_equal(arena_reach(&f->arena, p, 16), (size_t)(f->arena.end - p));
    assert_ptr_equal(arena_resize(&f->arena, p, 16, 200), p);
    assert_ptr_equal(arena_resize(&f->arena, p, 200, 21), p);
    assert_ptr_equal(arena_alloc(&f->arena, 8), p + 24); /* what it gave back is there for others */
    assert_int_equal(arena_reach(&f->arena, p, 21), 21);
    assert_string_equal(p, "sixteen letters");
    assert_int_equal(f->arena.used_bytes, 0);
}

/* A text that grows and grows leaves none of its former blocks behind. */
static void what_grows_has_one_block(void **state)
{
    struct fixture *f = *state;
    struct quota q = {.limit_bytes = 30000};
    f->arena.quota = &q;
    size_t n = 100;
    char *p = arena_alloc(&f->arena, n);
    memset(p, 'x', n);
    for (; n < 30000; n *= 2) {
        p = arena_resize(&f->arena, p, n, n * 2);
        assert_non_null(p);
        memset(p + n, 'x', n);
        assert_true(q.used_bytes <= n * 2);
        assert_int_equal(quota_is_short(&q), n * 2 >= 30000);
    }
    p = arena_resize(&f->arena, p, n, 20000);
    assert_int_equal(q.used_bytes, 20000);
    for (size_t i = 0; i < 20000; i++)
        assert_int_equal(p[i], 'x');
    assert_ptr_equal(arena_resize(&f->arena, p, 20000, 19900), p); /* not worth it */
    assert_ptr_equal(arena_alloc(&f->arena, 100), f->first);       /* where it began is free again */
    assert_int_equal(q.used_bytes, 20000);
    arena_leave_quota(&f->arena);
    assert_int_equal(q.used_bytes, 0);
}

/* With others behind it, and after others came, it still has one. */
static void what_grows_between_others_has_one_block(void **state)
{
    struct fixture *f = *state;
    struct quota q = {0};
    f->arena.quota = &q;
    char *p = arena_alloc(&f->arena, 5000), *others[5];
    assert_int_equal(q.used_bytes, ARENA_BLOCK_BYTES);
    memset(p, 'y', 5000);
    for (size_t i = 0; i < 5; i++) {
        others[i] = memset(arena_alloc(&f->arena, 100), (int)i, 100);
        p = arena_resize(&f->arena, p, 5000 + i * 1000, 6000 + i * 1000);
        memset(p + 5000 + i * 1000, 'y', 1000);
        assert_int_equal(q.used_bytes, ARENA_BLOCK_BYTES + 6000 + i * 1000);
    }
    assert_int_equal(f->pool.taken_count, 1);
    for (size_t i = 0; i < 10000; i++)
        assert_int_equal(p[i], 'y');
    for (int i = 0; i < 5; i++)
        assert_int_equal(others[i][99], i);
    assert_false(quota_is_short(&q)); /* no limit */
    arena_fini(&f->arena);
    assert_int_equal(q.used_bytes, 0);
}

static void growth_is_limited_and_leaves_all_as_it_was(void **state)
{
    struct fixture *f = *state;
    arena_init(&f->arena, f->first, sizeof f->first, 10000);
    char *p = arena_alloc(&f->arena, 200);
    memset(p, 'z', 200);
    assert_null(arena_resize(&f->arena, p, 200, 10008));
    char *q = arena_resize(&f->arena, p, 200, 10000);
    assert_non_null(q);
    assert_int_equal(q[199], 'z');
    assert_null(arena_resize(&f->arena, q, 10000, 10008));
    assert_int_equal(f->arena.used_bytes, 10000);
    assert_int_equal(q[199], 'z');
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_fits_stays_in_the_first_block),       TEST(a_further_block_is_of_the_pool_and_goes_back),
        TEST(a_large_block_is_not_of_the_pool),         TEST(the_limit_counts_for_both),
        TEST(what_lies_in_a_pool_is_given_back_slowly), TEST(without_a_pool_it_works_too),
        TEST(what_came_last_grows_where_it_is),         TEST(what_grows_has_one_block),
        TEST(what_grows_between_others_has_one_block),  TEST(growth_is_limited_and_leaves_all_as_it_was)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
