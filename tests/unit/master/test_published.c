/* The topology that children start from: the newest that can be read. */
#include "../topo/support.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "master/published.h"
#include "run/channel.h"

static int good(uint64_t epoch)
{
    struct model *m = model_create(epoch, 16, 64);
    struct buf bytes;
    assert_true(put_cluster(m, "php"));
    struct topology *t = model_publish(m);
    buf_init(&bytes);
    topology_encode(t, &bytes);
    int fd = sealed_memfd("topology", buf_str(&bytes));
    assert_true(fd >= 0);
    buf_fini(&bytes);
    topology_unref(&t);
    model_destroy(&m);
    return fd;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void the_newest_is_looked_at_when_it_is_asked_for(void **state)
{
    (void)state;
    struct published p = {good(1), -1};
    int first = p.fd, second = good(2), third = good(3);
    published_offer(&p, second);
    assert_int_equal(p.fd, first);
    published_offer(&p, third);
    assert_false(is_open(second));
    assert_int_equal(published_fd(&p), third);
    assert_false(is_open(first));
    assert_false(published_check(&p)); /* nothing new */
    assert_int_equal(published_fd(&p), third);
    published_fini(&p);
    assert_false(is_open(third));
}

static void one_that_cannot_be_read_leaves_the_last_good_one(void **state)
{
    (void)state;
    struct published p = {good(1), -1};
    int first = p.fd, unsealed = memfd_create("topology", MFD_CLOEXEC);
    int bad[] = {sealed_memfd("topology", STR("not a topology")), unsealed};
    for (unsigned i = 0; i < 2; i++) {
        published_offer(&p, bad[i]);
        assert_false(published_check(&p));
        assert_false(is_open(bad[i]));
        assert_int_equal(published_fd(&p), first);
    }
    int next = good(2);
    published_offer(&p, next);
    assert_true(published_check(&p));
    assert_int_equal(published_fd(&p), next);
    published_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_newest_is_looked_at_when_it_is_asked_for),
                                       cmocka_unit_test(one_that_cannot_be_read_leaves_the_last_good_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
