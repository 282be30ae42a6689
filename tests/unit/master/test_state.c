/* state: what one executable leaves to the next survives the trip; damaged bytes are refused, unknown records
 * skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/buf.h"
#include "master/members.h"
#include "master/state.h"
#include "run/channel.h"

static void fill(struct upgrade_state *s)
{
    state_init(s);
    struct state_listener *l = state_add_listener(s);
    l->address = str_dup(STR("0.0.0.0:80"));
    l->fds = calloc(2, sizeof *l->fds);
    l->fds[0] = 5;
    l->fds[1] = 6;
    l->count = 2;
    l->is_given = true;
    *state_add_generation(s) = (struct state_generation){7, 1, 4711, 8, 9};
    *state_add_generation(s) = (struct state_generation){8, 2, 4712, -1, 10};
    struct state_member *m = state_add_member(s);
    m->id = str_dup(STR("shop-web-1"));
    m->cartridge = str_dup(STR("php"));
    m->pid = 99;
    m->output_fd = 11;
    m->since_wall_ns = 12345;
    member_vars_add(&m->vars, STR("PORT"), STR("9000"));
    member_vars_add(&m->vars, STR("EMPTY"), STR(""));
    s->orchestrator_pid = 77;
    s->orchestrator_fd = 12;
    s->last_generation = 8;
    s->last_epoch = 3;
    s->past_fd = 13;
    s->places_fd = 16;
    s->topology_fd = 14;
    s->control_fd = 15;
    s->control_path = str_dup(STR("/run/x.sock"));
    s->executable = str_dup(STR("/usr/sbin/coxswain"));
    s->files_soft = 1024;
    s->files_hard = 4096;
    s->restarts = 2;
}

static void count_fd(void *ctx, int fd)
{
    int *sum = ctx;
    *sum += fd;
}

static void everything_comes_back(void **state)
{
    struct upgrade_state in, out;
    struct buf bytes;
    int fds = 0;
    (void)state;
    fill(&in);
    buf_init(&bytes);
    state_encode(&in, &bytes);
    state_init(&out);
    assert_true(state_decode(buf_str(&bytes), &out));
    assert_int_equal(out.listener_count, 1);
    assert_string_equal(out.listeners[0].address, "0.0.0.0:80");
    assert_int_equal(out.listeners[0].fds[1], 6);
    assert_true(out.listeners[0].is_given);
    assert_int_equal(out.generation_count, 2);
    assert_int_equal(out.generations[1].channel_fd, -1);
    assert_int_equal(out.generations[1].ledger_fd, 10);
    assert_int_equal(out.generations[0].pid, 4711);
    assert_string_equal(out.members[0].id, "shop-web-1");
    assert_int_equal(out.members[0].vars.n, 2);
    assert_string_equal(out.members[0].vars.values[0], "9000");
    assert_string_equal(out.control_path, "/run/x.sock");
    assert_string_equal(out.executable, "/usr/sbin/coxswain");
    assert_int_equal(out.waiter_fd, -1);
    assert_int_equal(out.last_epoch, 3);
    assert_int_equal(out.files_hard, 4096);
    state_each_fd(&out, count_fd, &fds);
    assert_int_equal(fds, 5 + 6 + 8 + 9 + 10 + 11 + 12 + 13 + 14 + 15 + 16);
    assert_int_equal(out.places_fd, 16);
    state_fini(&in);
    state_fini(&out);
    buf_fini(&bytes);
}

/* A cut between two records is a shorter state, which the master refuses for want of descriptors; a cut
 * inside one is refused here. Either way nothing is read beyond the end (run under the sanitizers). */
static void every_truncation_ends_cleanly(void **state)
{
    struct upgrade_state in, out;
    struct buf bytes;
    int refused = 0;
    (void)state;
    fill(&in);
    buf_init(&bytes);
    state_encode(&in, &bytes);
    for (size_t n = 0; n < bytes.len; n++) {
        char *exact = malloc(n ? n : 1); /* so that a sanitizer sees a read behind it */
        memcpy(exact, bytes.p, n);
        state_init(&out);
        refused += !state_decode(str_make(exact, n), &out);
        state_fini(&out);
        free(exact);
    }
    assert_true(refused > (int)bytes.len - 16);
    state_fini(&in);
    buf_fini(&bytes);
}

static void another_version_is_refused_and_an_unknown_record_skipped(void **state)
{
    struct upgrade_state in, out;
    struct buf bytes;
    (void)state;
    fill(&in);
    buf_init(&bytes);
    state_encode(&in, &bytes);
    buf_pack_u64(&bytes, 4000);
    buf_pack_str(&bytes, STR("from the future"));
    state_init(&out);
    assert_true(state_decode(buf_str(&bytes), &out));
    assert_int_equal(out.member_count, 1);
    state_fini(&out);
    bytes.p[8]++; /* the version */
    state_init(&out);
    assert_false(state_decode(buf_str(&bytes), &out));
    state_fini(&out);
    state_fini(&in);
    buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_comes_back),
        cmocka_unit_test(every_truncation_ends_cleanly),
        cmocka_unit_test(another_version_is_refused_and_an_unknown_record_skipped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
