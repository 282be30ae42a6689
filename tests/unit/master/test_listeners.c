/* listeners: one address has the sockets it was bound with for as long as it is configured, a taken address
 * is told, and a failed reload takes back only what it made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "master/listeners.h"
#include "net/addr.h"

enum { LISTENERS = 3 };

struct fixture {
    struct listener_settings items[LISTENERS];
    char addresses[LISTENERS][128];
    struct settings settings;
    struct listener_set set;
    struct buf error;
};

/* A free port: bound once, told, and let go. */
static void free_address(char *to, size_t cap)
{
    struct addr a;
    assert_true(addr_parse(STR("127.0.0.1:0"), &a));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, &a.sa, a.len), 0);
    assert_int_equal(getsockname(fd, &a.sa, &a.len), 0);
    snprintf(to, cap, "127.0.0.1:%u", addr_port(&a));
    close(fd);
}

static void create(struct fixture *f, size_t count)
{
    memset(f, 0, sizeof *f);
    log_set_level(LOG_ERROR);
    for (size_t i = 0; i < LISTENERS; i++) {
        free_address(f->addresses[i], sizeof f->addresses[i]);
        f->items[i] = (struct listener_settings){.name = "test", .address = f->addresses[i], .backlog = 16};
    }
    f->settings.listeners = (struct option_list){f->items, count};
    listeners_init(&f->set);
    buf_init(&f->error);
}

static void destroy(struct fixture *f)
{
    listeners_close_all(&f->set, true);
    buf_fini(&f->error);
}

static void one_address_has_a_socket_for_each_worker(void **state)
{
    struct fixture f;
    (void)state;
    create(&f, 1);
    assert_true(listeners_bind(&f.set, &f.settings, 4, &f.error));
    struct listener_fds *fds = listeners_of(&f.set, &f.settings);
    assert_int_equal(fds[0].count, 4);
    free(fds);
    destroy(&f);
}

static void sockets_stay_over_a_reload_and_go_when_unnamed(void **state)
{
    struct fixture f;
    (void)state;
    create(&f, 2);
    assert_true(listeners_bind(&f.set, &f.settings, 2, &f.error));
    int before = f.set.items[0].sockets.fds[0];
    f.settings.listeners.count = 1;
    assert_true(listeners_bind(&f.set, &f.settings, 8, &f.error));
    listeners_close_unused(&f.set, &f.settings);
    assert_int_equal(f.set.count, 1);
    struct listener_fds *fds = listeners_of(&f.set, &f.settings);
    assert_int_equal(fds[0].fds[0], before);
    assert_int_equal(fds[0].count, 2);
    free(fds);
    destroy(&f);
}

static void a_taken_port_is_told_and_the_rest_taken_back(void **state)
{
    struct fixture f, other;
    (void)state;
    create(&f, 1);
    assert_true(listeners_bind(&f.set, &f.settings, 2, &f.error));
    create(&other, 1);
    snprintf(other.addresses[2], sizeof other.addresses[2], "%s", f.addresses[0]);
    assert_true(listeners_bind(&other.set, &other.settings, 2, &other.error));
    other.settings.listeners.count = 3; /* the second is new and free, the third is ours */
    assert_false(listeners_bind(&other.set, &other.settings, 2, &other.error));
    assert_int_equal(other.set.count, 1);
    buf_put(&other.error, "", 1);
    assert_non_null(strstr(other.error.p, "another program listens there already"));
    destroy(&other);
    destroy(&f);
}

static void a_stale_unix_socket_is_replaced_and_a_live_one_is_not(void **state)
{
    struct fixture f;
    struct stat st;
    char path[64];
    (void)state;
    create(&f, 1);
    snprintf(path, sizeof path, "/tmp/coxswain-test-%d.sock", (int)getpid());
    snprintf(f.addresses[0], sizeof f.addresses[0], "unix:%s", path);
    assert_true(listeners_bind(&f.set, &f.settings, 4, &f.error));
    assert_int_equal(f.set.items[0].sockets.count, 1);
    struct listener_set second;
    listeners_init(&second);
    assert_false(listeners_bind(&second, &f.settings, 4, &f.error));
    listeners_close_all(&second, false);
    listeners_close_all(&f.set, false); /* as a crash leaves it */
    assert_int_equal(stat(path, &st), 0);
    assert_true(listeners_bind(&f.set, &f.settings, 4, &f.error));
    destroy(&f);
    assert_int_equal(stat(path, &st), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_address_has_a_socket_for_each_worker),
        cmocka_unit_test(sockets_stay_over_a_reload_and_go_when_unnamed),
        cmocka_unit_test(a_taken_port_is_told_and_the_rest_taken_back),
        cmocka_unit_test(a_stale_unix_socket_is_replaced_and_a_live_one_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
