/* The body of one direction: bytes exact through memory and file, the two limits, replay, and all memory
 * given back. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "proxy/pipe.h"

#define BIG 400000u

struct stage {
    struct worker w;
    struct pipe p;
    struct quota q;
    char *want; /* what was pushed */
};

static char text_of(uint64_t at)
{
    return (char)(at * 31 + (at >> 9) * 17 + (at >> 17));
}

static int set_up(void **state)
{
    struct stage *s = aligned_alloc(64, (sizeof *s + 63) / 64 * 64);
    assert_non_null(s);
    memset(s, 0, sizeof *s);
    assert_true(worker_init(&s->w, 0));
    s->want = malloc(BIG * 2);
    for (uint64_t i = 0; i < BIG * 2; i++)
        s->want[i] = text_of(i);
    pipe_init(&s->p, &s->w);
    s->p.memory_max = 65536;
    s->p.quota = &s->q;
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct stage *s = *state;
    pipe_fini(&s->p);
    assert_int_equal(worker_chunks_taken(&s->w), 0);
    assert_int_equal(s->q.used_bytes, 0);
    assert_int_equal(s->w.temp.used_bytes, 0);
    worker_fini(&s->w);
    free(s->want);
    free(s);
    return 0;
}

/* The next n bytes of the pattern. */
static void push(struct stage *s, size_t n)
{
    assert_true(pipe_push(&s->p, s->want + s->p.pushed_bytes, n));
}

/* Takes up to n bytes in whatever runs they come, and compares them; returns how many there were. */
static size_t pull(struct stage *s, size_t n)
{
    size_t all = 0;
    bool ok = true;
    while (all < n) {
        struct str run = pipe_peek(&s->p, &ok);
        assert_true(ok);
        if (!run.n)
            break;
        size_t take = run.n < n - all ? run.n : n - all;
        assert_memory_equal(run.p, s->want + s->p.taken_bytes, take);
        pipe_take(&s->p, take);
        all += take;
    }
    return all;
}

static int open_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void an_empty_pipe_has_nothing(void **state)
{
    struct stage *s = *state;
    bool ok = false;
    assert_int_equal(pipe_peek(&s->p, &ok).n, 0);
    assert_true(ok);
    assert_false(pipe_is_full(&s->p));
    assert_true(pipe_is_low(&s->p));
    assert_false(pipe_is_done(&s->p));
    s->p.ended = true;
    assert_true(pipe_is_done(&s->p));
}

static void bytes_come_out_as_they_went_in(void **state)
{
    struct stage *s = *state;
    push(s, 100);
    push(s, 50000);
    push(s, 1);
    assert_int_equal(pipe_queued(&s->p), 50101);
    assert_int_equal(pull(s, 60), 60);
    push(s, 300);
    assert_int_equal(pull(s, BIG), 50341);
    assert_int_equal(pipe_queued(&s->p), 0);
}

/* An idle pipe holds no memory: the connection may stay open for hours. */
static void an_emptied_pipe_holds_nothing(void **state)
{
    struct stage *s = *state;
    push(s, 100000);
    assert_true(worker_chunks_taken(&s->w) > 0);
    assert_int_equal(pull(s, BIG), 100000);
    assert_int_equal(worker_chunks_taken(&s->w), 0);
}

/* A call's few bytes take a short piece; what follows them, or begins longer, takes long ones. */
static void little_takes_little_memory(void **state)
{
    struct stage *s = *state;
    const size_t most = CHUNK_SHORT_BYTES - sizeof(struct chunk);
    push(s, most);
    assert_int_equal(s->w.short_chunks.taken_count, 1);
    assert_int_equal(s->w.chunks.taken_count, 0);
    assert_int_equal(s->q.used_bytes, CHUNK_SHORT_BYTES);
    push(s, 1);
    assert_int_equal(s->w.short_chunks.taken_count, 1);
    assert_int_equal(s->w.chunks.taken_count, 1);
    assert_int_equal(s->q.used_bytes, CHUNK_SHORT_BYTES + CHUNK_BYTES); /* blocks, whole */
    assert_int_equal(pull(s, BIG), most + 1);
    assert_int_equal(worker_chunks_taken(&s->w), 0);
    assert_int_equal(s->q.used_bytes, 0);
    push(s, most + 1);
    push(s, 10);
    assert_int_equal(s->q.used_bytes, CHUNK_BYTES);
    assert_int_equal(s->w.short_chunks.taken_count, 0);
    assert_int_equal(s->w.chunks.taken_count, 1);
    assert_int_equal(pull(s, BIG), most + 11);
    assert_int_equal(worker_chunks_taken(&s->w), 0);
}

static void full_at_the_limit_and_low_at_half(void **state)
{
    struct stage *s = *state;
    push(s, 65535);
    assert_false(pipe_is_full(&s->p));
    push(s, 1);
    assert_true(pipe_is_full(&s->p));
    pull(s, 32767);
    assert_false(pipe_is_full(&s->p));
    assert_false(pipe_is_low(&s->p));
    pull(s, 1);
    assert_true(pipe_is_low(&s->p));
}

static void passed_bytes_are_only_counted(void **state)
{
    struct stage *s = *state;
    s->p.keep = true;
    assert_true(pipe_can_rewind(&s->p));
    pipe_pass(&s->p, 5000);
    assert_int_equal(s->p.pushed_bytes, 5000);
    assert_int_equal(pipe_queued(&s->p), 0);
    assert_int_equal(worker_chunks_taken(&s->w), 0);
    assert_false(pipe_can_rewind(&s->p)); /* they are gone */
}

/* ---- the temporary file ---- */

static void what_memory_cannot_hold_goes_to_the_file(void **state)
{
    struct stage *s = *state;
    int fds = open_fds();
    s->p.file_max = BIG;
    for (int i = 0; i < 30; i++) {
        push(s, 10000);
        assert_true(s->p.memory_bytes <= s->p.memory_max);
    }
    assert_true(s->p.file_to > 0);
    assert_int_equal(s->p.memory_bytes + s->p.file_to, 300000);
    assert_int_equal(open_fds(), fds + 1);
    assert_true(worker_chunks_taken(&s->w) <= 5);
    assert_int_equal(pull(s, BIG), 300000);
    assert_int_equal(worker_chunks_taken(&s->w), 0);
    assert_int_equal(lseek(s->p.file_fd, 0, SEEK_END), 0); /* the disk is given back too */
    pipe_fini(&s->p);
    assert_int_equal(open_fds(), fds);
    pipe_init(&s->p, &s->w);
}

/* A consumer that rests leaves the rest in the file, all of it, and loses nothing. */
static void what_was_read_ahead_is_given_back_and_read_again(void **state)
{
    struct stage *s = *state;
    bool ok = false;
    s->p.file_max = BIG;
    push(s, 60000);
    push(s, 100000);
    assert_int_equal(pull(s, 60000 + 5000), 65000);
    for (int i = 0; i < 9; i++) {
        assert_true(pipe_peek(&s->p, &ok).n > 0);
        assert_true(s->q.used_bytes > 0);
        pipe_give_window(&s->p);
        pipe_give_window(&s->p);
        assert_int_equal(s->q.used_bytes, 0);
        assert_int_equal(worker_chunks_taken(&s->w), 0);
        assert_int_equal(pull(s, 10001), 10001);
    }
    assert_int_equal(pull(s, BIG), 95000 - 9 * 10001);
    assert_int_equal(pipe_queued(&s->p), 0);
}

/* Once something lies in the file all later bytes go behind it, even when memory has room. */
static void order_holds_across_memory_and_file(void **state)
{
    struct stage *s = *state;
    s->p.memory_max = 20000;
    s->p.file_max = BIG;
    push(s, 15000);
    push(s, 15000); /* file */
    pull(s, 15000); /* memory is empty now */
    push(s, 100);
    pull(s, 7);
    push(s, 5000);
    assert_int_equal(pull(s, BIG), 20093);
    push(s, 100); /* and starts in memory again */
    assert_int_equal(s->p.memory_bytes, 100);
    assert_int_equal(pull(s, BIG), 100);
}

/* A producer that heeds pipe_is_full never drives the file beyond its limit and one push. */
static void the_file_has_a_limit(void **state)
{
    struct stage *s = *state;
    s->p.memory_max = 20000;
    s->p.file_max = 50000;
    while (!pipe_is_full(&s->p) && s->p.pushed_bytes < BIG)
        push(s, 3000);
    assert_in_range(s->p.pushed_bytes, 60000, 20000 + 50000 + 3000);
    pull(s, 25000);
    while (!pipe_is_full(&s->p) && s->p.pushed_bytes < BIG)
        push(s, 3000);
    assert_true(s->p.file_to <= 50000 + 3000);
    pull(s, BIG);
    assert_false(pipe_is_full(&s->p));
    assert_true(pipe_is_low(&s->p));
}

static void a_file_that_cannot_be_made_is_told(void **state)
{
    struct stage *s = *state;
    s->p.memory_max = 100;
    s->p.file_max = 1000;
    s->p.temp_dir = "/nonexistent/folder";
    push(s, 100);
    assert_false(pipe_push(&s->p, s->want + 100, 1));
    assert_int_equal(s->p.pushed_bytes, 100);
    assert_int_equal(pull(s, BIG), 100);
}

/* What comes while the memory of its client is used up does not take more of it, and is in order. */
static void with_a_short_quota_it_takes_no_more_memory(void **state)
{
    struct stage *s = *state;
    s->p.spills_early = true;
    s->q.limit_bytes = CHUNK_BYTES;
    push(s, 100);
    assert_int_equal(s->p.file_to, 0);
    push(s, 10000);
    assert_int_equal(s->q.used_bytes, CHUNK_SHORT_BYTES + CHUNK_BYTES);
    push(s, 20000);
    assert_int_equal(s->q.used_bytes, CHUNK_SHORT_BYTES + CHUNK_BYTES);
    assert_int_equal(s->p.file_to, 20000);
    assert_false(pipe_is_full(&s->p)); /* it counts as memory would */
    push(s, 40000);
    assert_true(pipe_is_full(&s->p));
    pull(s, 70000);
    assert_false(pipe_is_low(&s->p)); /* the file gets no smaller before it is empty */
    pull(s, BIG);
    assert_true(pipe_is_low(&s->p));
    assert_false(pipe_is_full(&s->p));
    assert_int_equal(s->q.used_bytes, 0);
    push(s, 100);
    assert_int_equal(s->p.file_to, 0); /* and in memory again */
    pull(s, BIG);
}

/* With all of it sent once, and kept for another time, its producer may go on all the same. */
static void what_was_spilled_early_can_be_sent_again(void **state)
{
    struct stage *s = *state;
    s->p.spills_early = s->p.keep = true;
    s->q.limit_bytes = 1;
    push(s, 5000);
    push(s, 64000);
    assert_true(pipe_is_full(&s->p));
    assert_int_equal(pull(s, BIG), 69000);
    assert_true(pipe_is_low(&s->p));
    push(s, 1000);
    pipe_rewind(&s->p);
    assert_int_equal(pull(s, BIG), 70000);
    pipe_forget(&s->p);
    assert_int_equal(s->w.temp.used_bytes, 0);
}

/* Another pipe's file may be all that there may be: then this one stops where its memory ends, or its file
 * is. */
static void all_files_together_have_a_limit(void **state)
{
    struct stage *s = *state;
    struct pipe other;
    pipe_init(&other, &s->w);
    other.memory_max = s->p.memory_max = 1000;
    other.file_max = s->p.file_max = BIG;
    s->w.temp.limit_bytes = 50000;
    push(s, 1000);
    push(s, 1000);
    assert_true(pipe_push(&other, s->want, 48999));
    assert_int_equal(s->w.temp.used_bytes, 49999);
    assert_false(pipe_is_full(&s->p));
    assert_false(pipe_is_full(&other));
    push(s, 1);
    assert_true(pipe_is_full(&s->p));
    assert_false(pipe_is_low(&s->p));
    assert_true(pipe_is_full(&other));
    pull(s, BIG); /* nothing of its own is left: it may go on, and finds the limit again */
    assert_true(pipe_is_low(&s->p));
    assert_int_equal(s->w.temp.used_bytes, 48999);
    pipe_fini(&other);
    assert_int_equal(s->w.temp.used_bytes, 0);
    pipe_init(&other, &s->w);
    other.memory_max = 1000;
    other.file_max = BIG;
    s->w.temp.used_bytes = 50000;
    assert_true(pipe_push(&other, s->want, 1000));
    assert_true(pipe_is_full(&other)); /* no file is begun */
    s->w.temp.used_bytes = 0;
    assert_false(pipe_is_full(&other));
    pipe_fini(&other);
}

/* ---- replay ---- */

static void what_is_kept_can_be_sent_again(void **state)
{
    struct stage *s = *state;
    s->p.keep = true;
    push(s, 40000);
    for (int attempt = 0; attempt < 3; attempt++) {
        assert_int_equal(pull(s, 20000u + (uint32_t)attempt * 5000), 20000 + attempt * 5000);
        assert_true(pipe_can_rewind(&s->p));
        pipe_rewind(&s->p);
        assert_int_equal(pipe_queued(&s->p), 40000);
        assert_int_equal(s->p.memory_bytes, 40000);
    }
    assert_int_equal(pull(s, BIG), 40000);
    pipe_rewind(&s->p); /* all of it was sent */
    push(s, 1000);
    assert_int_equal(pull(s, BIG), 41000);
}

static void forgetting_frees_what_was_taken(void **state)
{
    struct stage *s = *state;
    s->p.keep = true;
    push(s, 60000);
    pull(s, 50000);
    uint32_t before = worker_chunks_taken(&s->w);
    pipe_forget(&s->p);
    assert_true(worker_chunks_taken(&s->w) < before);
    assert_false(pipe_can_rewind(&s->p));
    pipe_forget(&s->p); /* twice is once */
    assert_int_equal(pull(s, BIG), 10000);
    assert_int_equal(worker_chunks_taken(&s->w), 0);
}

static void forgetting_an_emptied_pipe_frees_all(void **state)
{
    struct stage *s = *state;
    s->p.keep = true;
    push(s, 60000);
    pull(s, 60000);
    assert_true(worker_chunks_taken(&s->w) > 0);
    pipe_forget(&s->p);
    assert_int_equal(worker_chunks_taken(&s->w), 0);
}

static void a_spilled_body_can_be_sent_again(void **state)
{
    struct stage *s = *state;
    s->p.keep = true;
    s->p.memory_max = 20000;
    s->p.file_max = BIG;
    for (int i = 0; i < 10; i++)
        push(s, 9000);
    for (int attempt = 0; attempt < 3; attempt++) {
        assert_int_equal(pull(s, 10000u + (uint32_t)attempt * 30000), 10000 + attempt * 30000);
        pipe_rewind(&s->p);
    }
    assert_int_equal(pull(s, BIG), 90000);
    push(s, 500); /* late bytes stand behind the file, or a rewind would mix them up */
    assert_int_equal(pull(s, BIG), 500);
    pipe_rewind(&s->p);
    assert_int_equal(pull(s, BIG), 90500);
    pipe_forget(&s->p);
    assert_int_equal(worker_chunks_taken(&s->w), 0);
}

static void forgetting_in_the_file_keeps_its_rest(void **state)
{
    struct stage *s = *state;
    s->p.keep = true;
    s->p.memory_max = 20000;
    s->p.file_max = BIG;
    for (int i = 0; i < 10; i++)
        push(s, 9000);
    pull(s, 45000);
    pipe_forget(&s->p);
    assert_int_equal(worker_chunks_taken(&s->w), 1); /* the window onto the file */
    assert_int_equal(pull(s, BIG), 45000);
    assert_int_equal(worker_chunks_taken(&s->w), 0);
}

/* Random pushes, pulls, rewinds and forgets against the plain row of bytes, with every mix of limits. */
static void behaves_as_a_plain_queue_would(void **state)
{
    struct stage *s = *state;
    srand(3);
    for (int round = 0; round < 300; round++) {
        s->p.memory_max = (uint64_t)(1 + rand() % 70000);
        s->p.file_max = rand() % 2 ? (uint64_t)(1 + rand() % 200000) : 0;
        s->p.keep = rand() % 2;
        for (int step = 0; step < 60; step++) {
            size_t n = (size_t)(1 + rand() % (rand() % 4 ? 2000 : 40000));
            switch (rand() % 8) {
            case 0:
                if (pipe_can_rewind(&s->p)) {
                    pipe_rewind(&s->p);
                    assert_int_equal(pipe_queued(&s->p), s->p.pushed_bytes);
                }
                break;
            case 1:
                if (rand() % 6 == 0)
                    pipe_forget(&s->p);
                break;
            case 2:
            case 3:
            case 4:
                if (pipe_is_full(&s->p) || s->p.pushed_bytes + n >= BIG)
                    break;
                uint32_t before = s->p.memory_bytes;
                push(s, n);
                if (s->p.file_max && s->p.memory_bytes > before)
                    assert_true(s->p.memory_bytes <= s->p.memory_max);
                assert_true(s->p.file_max || s->p.memory_bytes < s->p.memory_max + n);
                assert_true(!s->p.file_to || s->p.file_to < s->p.file_max + n);
                break;
            default: {
                uint64_t queued = pipe_queued(&s->p);
                assert_int_equal(pull(s, n), n < queued ? n : queued);
            }
            }
        }
        pipe_fini(&s->p);
        assert_int_equal(worker_chunks_taken(&s->w), 0);
        pipe_init(&s->p, &s->w);
    }
}

/* Memory, file, and what was kept for a second attempt; afterwards it is as good as new. */
static void what_is_dropped_was_taken_and_holds_nothing(void **state)
{
    struct stage *s = *state;
    s->p.file_max = BIG;
    s->p.keep = true;
    s->p.keep_max = UINT64_MAX;
    push(s, 50000);
    assert_int_equal(pull(s, 20000), 20000);
    push(s, 100000);
    assert_true(s->p.file_to > 0);
    pipe_drop(&s->p);
    assert_int_equal(pipe_queued(&s->p), 0);
    assert_int_equal(s->p.taken_bytes, 150000);
    assert_int_equal(worker_chunks_taken(&s->w), 0);
    assert_true(pipe_is_low(&s->p));
    pipe_drop(&s->p);
    push(s, 1000);
    assert_int_equal(pipe_queued(&s->p), 1000);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(an_empty_pipe_has_nothing),
        T(bytes_come_out_as_they_went_in),
        T(an_emptied_pipe_holds_nothing),
        T(little_takes_little_memory),
        T(full_at_the_limit_and_low_at_half),
        T(passed_bytes_are_only_counted),
        T(what_memory_cannot_hold_goes_to_the_file),
        T(what_was_read_ahead_is_given_back_and_read_again),
        T(order_holds_across_memory_and_file),
        T(the_file_has_a_limit),
        T(a_file_that_cannot_be_made_is_told),
        T(with_a_short_quota_it_takes_no_more_memory),
        T(what_was_spilled_early_can_be_sent_again),
        T(all_files_together_have_a_limit),
        T(what_is_kept_can_be_sent_again),
        T(forgetting_frees_what_was_taken),
        T(forgetting_an_emptied_pipe_frees_all),
        T(a_spilled_body_can_be_sent_again),
        T(forgetting_in_the_file_keeps_its_rest),
        T(what_is_dropped_was_taken_and_holds_nothing),
        T(behaves_as_a_plain_queue_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
