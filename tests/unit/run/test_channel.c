/* channel: messages of all sizes with descriptors, a peer that does not read, a peer that talks nonsense,
 * destruction inside a callback. Both ends run on one loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "run/channel.h"

struct end {
    struct channel *channel;
    int messages, gone;
    enum channel_type last_type;
    size_t last_bytes;
    unsigned sum; /* of the payload's bytes */
    int taken_fd;
    bool destroy_on_message;
};

struct fixture {
    struct loop loop;
    struct end a, b;
    int raw; /* b's descriptor, when the test plays b by hand; -1 */
};

static void on_message(void *owner, struct channel *c, struct channel_message *m)
{
    struct end *e = owner;
    (void)c;
    e->messages++;
    e->last_type = m->type;
    e->last_bytes = m->payload.n;
    e->sum = 0;
    for (size_t i = 0; i < m->payload.n; i++)
        e->sum += (unsigned char)m->payload.p[i];
    if (m->fd_count) {
        e->taken_fd = m->fds[0];
        m->fds[0] = -1;
    }
    if (e->destroy_on_message)
        channel_destroy(&e->channel);
}

static void on_gone(void *owner, struct channel *c)
{
    struct end *e = owner;
    (void)c;
    e->gone++;
    channel_destroy(&e->channel);
}

static const struct channel_ops ops = {on_message, on_gone};

static void turn(struct fixture *f, int times)
{
    for (int i = 0; i < times; i++)
        event_base_loop(f->loop.base, EVLOOP_NONBLOCK);
}

static void create(struct fixture *f, bool with_b)
{
    int ends[2];
    memset(f, 0, sizeof *f);
    f->a.taken_fd = f->b.taken_fd = f->raw = -1;
    assert_true(loop_init(&f->loop));
    assert_true(channel_pair(ends));
    f->a.channel = channel_create(&f->loop, ends[0], &ops, &f->a);
    if (with_b)
        f->b.channel = channel_create(&f->loop, ends[1], &ops, &f->b);
    else
        f->raw = ends[1];
}

static void destroy(struct fixture *f)
{
    channel_destroy(&f->a.channel);
    channel_destroy(&f->b.channel);
    if (f->raw >= 0)
        close(f->raw);
    loop_fini(&f->loop);
}

static void a_small_message_arrives(void **state)
{
    struct fixture f;
    (void)state;
    create(&f, true);
    assert_true(channel_send(f.a.channel, CHANNEL_WAKE, STR("\1\2\3"), NULL, 0));
    turn(&f, 1);
    assert_int_equal(f.b.messages, 1);
    assert_int_equal(f.b.last_type, CHANNEL_WAKE);
    assert_int_equal(f.b.last_bytes, 3);
    assert_int_equal(f.b.sum, 6);
    destroy(&f);
}

/* At, below and above the limit of what travels in the message itself. */
static void payloads_of_every_size_arrive(void **state)
{
    static const size_t sizes[] = {0, CHANNEL_INLINE_MAX - 1, CHANNEL_INLINE_MAX, CHANNEL_INLINE_MAX + 1,
                                   3u << 20};
    struct fixture f;
    (void)state;
    create(&f, true);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *bytes = malloc(sizes[i] + 1);
        memset(bytes, 1, sizes[i]);
        assert_true(channel_send(f.a.channel, CHANNEL_TOPOLOGY, str_make(bytes, sizes[i]), NULL, 0));
        free(bytes);
        turn(&f, 1);
        assert_int_equal(f.b.last_bytes, sizes[i]);
        assert_int_equal(f.b.sum, sizes[i]);
    }
    destroy(&f);
}

static void descriptors_come_along(void **state)
{
    struct fixture f;
    int pipe_ends[2];
    char byte = 0;
    (void)state;
    create(&f, true);
    assert_int_equal(pipe(pipe_ends), 0);
    assert_true(channel_send(f.a.channel, CHANNEL_LOG_FD, STR("x"), (int[]){pipe_ends[1], pipe_ends[0]}, 2));
    close(pipe_ends[1]);
    turn(&f, 1);
    assert_true(f.b.taken_fd >= 0);
    assert_true(fcntl(f.b.taken_fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(write(f.b.taken_fd, "!", 1), 1);
    assert_int_equal(read(pipe_ends[0], &byte, 1), 1);
    assert_int_equal(byte, '!');
    close(f.b.taken_fd);
    /* The one that was not taken has been closed: no writer and no second reader is left. */
    assert_int_equal(read(pipe_ends[0], &byte, 1), 0);
    close(pipe_ends[0]);
    destroy(&f);
}

static void a_peer_that_does_not_read_blocks_nobody(void **state)
{
    struct fixture f;
    static char bytes[CHANNEL_INLINE_MAX];
    (void)state;
    create(&f, false);
    for (int i = 0; i < CHANNEL_QUEUE_MAX * 2; i++)
        assert_true(channel_send(f.a.channel, CHANNEL_TOPOLOGY_DIFF, str_make(bytes, 1024), NULL, 0));
    assert_true(channel_take_lost(f.a.channel)); /* the oldest went, and the sender learns it once */
    assert_false(channel_take_lost(f.a.channel));
    assert_false(channel_is_idle(f.a.channel));
    /* When the peer reads after all, what is queued arrives. */
    f.b.channel = channel_create(&f.loop, f.raw, &ops, &f.b);
    f.raw = -1;
    for (int i = 0; i < 4000 && !channel_is_idle(f.a.channel); i++)
        turn(&f, 1);
    turn(&f, 100);
    assert_true(f.b.messages >= CHANNEL_QUEUE_MAX);
    assert_true(f.b.messages < CHANNEL_QUEUE_MAX * 2);
    destroy(&f);
}

static void a_queue_full_of_what_must_arrive_ends_the_channel(void **state)
{
    struct fixture f;
    bool ok = true;
    (void)state;
    create(&f, false);
    for (int i = 0; i < CHANNEL_QUEUE_MAX * 4 && ok; i++)
        ok = channel_send(f.a.channel, CHANNEL_MEMBER_START, STR("start me"), NULL, 0);
    assert_false(ok);
    turn(&f, 2);
    assert_int_equal(f.a.gone, 1);
    destroy(&f);
}

static void hints_are_dropped_when_the_queue_is_full(void **state)
{
    struct fixture f;
    (void)state;
    create(&f, false);
    for (int i = 0; i < CHANNEL_QUEUE_MAX * 4; i++)
        assert_true(channel_send(f.a.channel, CHANNEL_WAKE, STR("cluster"), NULL, 0));
    assert_int_equal(f.a.gone, 0);
    destroy(&f);
}

static void the_end_of_the_peer_is_told_once(void **state)
{
    struct fixture f;
    (void)state;
    create(&f, true);
    channel_send(f.b.channel, CHANNEL_READY, STR(""), NULL, 0);
    channel_destroy(&f.b.channel);
    turn(&f, 2);
    assert_int_equal(f.a.messages, 1); /* what it said before is not lost */
    assert_int_equal(f.a.gone, 1);
    destroy(&f);
}

static void nonsense_is_the_end_of_the_peer(void **state)
{
    static const struct str nonsense[] = {{"", 1},
                                          {"GET / HTTP/1.1", 14},
                                          {"hcxc\1\0\1\0\0\0\0\0\5\0\0\0", 16},
                                          {"hcxc\2\0\1\0\0\0\0\0\0\0\0\0", 16},
                                          {"hcxc\1\0\1\0\1\0\0\0\0\0\0\0", 16}};
    (void)state;
    for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
        struct fixture f;
        create(&f, false);
        assert_true(send(f.raw, nonsense[i].p, nonsense[i].n, 0) >= 0);
        turn(&f, 2);
        assert_int_equal(f.a.messages, 0);
        assert_int_equal(f.a.gone, 1);
        destroy(&f);
    }
}

static void a_payload_that_its_sender_can_still_change_is_refused(void **state)
{
    struct fixture f;
    struct str bytes;
    (void)state;
    create(&f, false);
    int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_false(sealed_map(fd, &bytes));
    close(fd);
    fd = sealed_memfd("sealed", STR("abc"));
    assert_true(sealed_map(fd, &bytes));
    assert_true(str_eq(bytes, STR("abc")));
    assert_int_equal(write(fd, "x", 1), -1);
    sealed_unmap(bytes);
    close(fd);
    destroy(&f);
}

static void a_channel_may_be_destroyed_by_its_message(void **state)
{
    struct fixture f;
    (void)state;
    create(&f, true);
    f.b.destroy_on_message = true;
    channel_send(f.a.channel, CHANNEL_QUIT, STR(""), NULL, 0);
    channel_send(f.a.channel, CHANNEL_QUIT, STR(""), NULL, 0);
    turn(&f, 2);
    assert_int_equal(f.b.messages, 1);
    assert_int_equal(f.b.gone, 0);
    assert_int_equal(f.a.gone, 1);
    destroy(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_message_arrives),
        cmocka_unit_test(payloads_of_every_size_arrive),
        cmocka_unit_test(descriptors_come_along),
        cmocka_unit_test(a_peer_that_does_not_read_blocks_nobody),
        cmocka_unit_test(a_queue_full_of_what_must_arrive_ends_the_channel),
        cmocka_unit_test(hints_are_dropped_when_the_queue_is_full),
        cmocka_unit_test(the_end_of_the_peer_is_told_once),
        cmocka_unit_test(nonsense_is_the_end_of_the_peer),
        cmocka_unit_test(a_payload_that_its_sender_can_still_change_is_refused),
        cmocka_unit_test(a_channel_may_be_destroyed_by_its_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
