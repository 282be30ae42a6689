/* The sealed copy of a topology: the same bytes as ever, made elsewhere, told here. */
#include "../topo/support.h"

#include <errno.h>
#include <unistd.h>

#include "orch/seal.h"
#include "run/channel.h"

struct heard {
    int calls, error, keep_error;
    struct buf bytes; /* of the last memfd */
};

static void on_done(void *ctx, int fd, int error, int keep_error)
{
    struct heard *h = ctx;
    struct str bytes;
    h->calls++;
    h->error = error;
    h->keep_error = keep_error;
    assert_true(fd >= 0);
    assert_true(sealed_map(fd, &bytes));
    buf_fini(&h->bytes);
    buf_init(&h->bytes);
    buf_put_str(&h->bytes, bytes);
    sealed_unmap(bytes);
}

static struct topology *topology_with(const char *endpoint)
{
    struct model *m = model_create(3, 16, 64);
    assert_true(put_cluster(m, "php"));
    assert_true(put_endpoint(m, "php", endpoint));
    struct topology *t = model_publish(m);
    model_destroy(&m);
    return t;
}

static void assert_holds(const struct heard *h, const struct topology *t)
{
    struct buf wanted;
    buf_init(&wanted);
    topology_encode(t, &wanted);
    assert_true(str_eq(buf_str(&h->bytes), buf_str(&wanted)));
    buf_fini(&wanted);
}

static void test_result_comes_through_the_loop(void **state)
{
    struct loop loop;
    struct heard h = {0};
    (void)state;
    assert_true(loop_init(&loop));
    struct seal *s = seal_create(&loop, on_done, &h);
    assert_non_null(s);
    for (int i = 1; i <= 3; i++) {
        struct topology *t = topology_with(i % 2 ? "10.0.0.1:9000" : "10.0.0.2:9000");
        seal_start(s, t, NULL);
        assert_true(seal_is_busy(s));
        while (h.calls < i)
            assert_true(event_base_loop(loop.base, EVLOOP_ONCE) >= 0);
        assert_false(seal_is_busy(s));
        assert_int_equal(h.error, 0);
        assert_int_equal(h.keep_error, 0);
        assert_holds(&h, t);
        topology_unref(&t);
    }
    seal_destroy(&s);
    loop_fini(&loop);
    buf_fini(&h.bytes);
}

static void test_finish_waits(void **state)
{
    struct loop loop;
    struct heard h = {0};
    (void)state;
    assert_true(loop_init(&loop));
    struct seal *s = seal_create(&loop, on_done, &h);
    struct topology *t = topology_with("10.0.0.1:9000");
    seal_finish(s); /* nothing is under way */
    assert_int_equal(h.calls, 0);
    seal_start(s, t, "/nonexistent/folder");
    seal_finish(s);
    assert_int_equal(h.calls, 1);
    assert_int_equal(h.keep_error, ENOENT);
    assert_holds(&h, t);
    assert_true(event_base_loop(loop.base, EVLOOP_NONBLOCK) >= 0);
    assert_int_equal(h.calls, 1); /* told once */
    topology_unref(&t);
    seal_destroy(&s);
    loop_fini(&loop);
    buf_fini(&h.bytes);
}

static void test_destroy_tells_nobody(void **state)
{
    struct loop loop;
    struct heard h = {0};
    (void)state;
    assert_true(loop_init(&loop));
    struct seal *s = seal_create(&loop, on_done, &h);
    struct topology *t = topology_with("10.0.0.1:9000");
    seal_start(s, t, NULL);
    topology_unref(&t); /* it holds its own reference */
    seal_destroy(&s);
    assert_null(s);
    assert_int_equal(h.calls, 0);
    loop_fini(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_result_comes_through_the_loop),
        cmocka_unit_test(test_finish_waits),
        cmocka_unit_test(test_destroy_tells_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
