/* The ledger: exact counts and integrals on a scripted clock, reading while another thread writes, the
 * histogram's error, and totals that survive their generation. */
#include "support.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

struct fixture {
    struct ledger ledger;
    struct ledger_writer w[2];
};

static struct fixture open_ledger(uint64_t generation)
{
    struct fixture f;
    int fd = ledger_create(generation, 2, 8, 16);
    assert_true(fd >= 0);
    assert_true(ledger_open(&f.ledger, fd, true));
    close(fd);
    ledger_writer_init(&f.w[0], &f.ledger, 0);
    ledger_writer_init(&f.w[1], &f.ledger, 1);
    return f;
}

static struct ledger_cluster_sum sum_of(const struct fixture *f, uint32_t slot, uint64_t now)
{
    struct ledger_cluster_sum sum = {0};
    ledger_sum_cluster(&f->ledger, slot, true, now, &sum);
    return sum;
}

static void integrals_are_exact(void **state)
{
    (void)state;
    struct fixture f = open_ledger(1);
    ledger_cluster_move(&f.w[0], 3, LEDGER_COUNTS, LEDGER_HELD, 100);     /* one is held */
    ledger_cluster_move(&f.w[0], 3, LEDGER_COUNTS, LEDGER_SERVING, 150);  /* another is served at once */
    ledger_cluster_move(&f.w[0], 3, LEDGER_HELD, LEDGER_SERVING, 300);    /* the first waited for 200 ns */
    ledger_cluster_move(&f.w[1], 3, LEDGER_COUNTS, LEDGER_SERVING, 1000); /* the other worker */
    ledger_cluster_move(&f.w[0], 3, LEDGER_SERVING, LEDGER_FINISHING, 400);
    struct ledger_cluster_sum s = sum_of(&f, 3, 1100);
    assert_int_equal(s.count[LEDGER_HELD], 0);
    assert_int_equal(s.count[LEDGER_SERVING], 2);
    assert_int_equal(s.count[LEDGER_FINISHING], 1);
    assert_int_equal(s.integral_ns[LEDGER_HELD], 200);
    assert_int_equal(s.integral_ns[LEDGER_SERVING], 150 + 2 * 100 + 700 + 100);
    assert_int_equal(s.integral_ns[LEDGER_FINISHING], 700);
    assert_int_equal(s.requests, 3);
    assert_false(ledger_is_quiet(&f.ledger, &s));
    assert_int_equal(s.count[LEDGER_SERVING], 2);
    ledger_close(&f.ledger);
}

static void time_never_runs_backwards(void **state)
{
    (void)state;
    struct fixture f = open_ledger(1);
    ledger_cluster_move(&f.w[0], 0, LEDGER_COUNTS, LEDGER_SERVING, 1000);
    ledger_cluster_move(&f.w[0], 0, LEDGER_SERVING, LEDGER_COUNTS, 900);
    ledger_endpoint_attempt(&f.w[0], 0, +1, 1000);
    ledger_endpoint_attempt(&f.w[0], 0, -1, 900);
    struct ledger_endpoint_sum e = {0};
    ledger_sum_endpoint(&f.ledger, 0, true, 900, &e);
    assert_int_equal(sum_of(&f, 0, 900).integral_ns[LEDGER_SERVING], 0);
    assert_int_equal(e.integral_ns, 0);
    ledger_close(&f.ledger);
}

static void a_storm_returns_to_zero(void **state)
{
    (void)state;
    struct fixture f = open_ledger(1);
    struct ledger_cluster_sum s;
    for (uint64_t i = 0; i < 1000; i++) {
        struct ledger_writer *w = &f.w[i % 2];
        ledger_cluster_move(w, 1, LEDGER_COUNTS, LEDGER_HELD, i);
        ledger_cluster_move(w, 1, LEDGER_HELD, LEDGER_SERVING, i);
        ledger_endpoint_attempt(w, 5, +1, i);
        if (i % 3 == 0) {
            ledger_endpoint_tunnel(w, 5, +1, i);
            ledger_cluster_move(w, 1, LEDGER_SERVING, LEDGER_TUNNEL, i);
            ledger_endpoint_tunnel(w, 5, -1, i);
            ledger_cluster_move(w, 1, LEDGER_TUNNEL, LEDGER_COUNTS, i);
        } else {
            ledger_endpoint_attempt(w, 5, -1, i);
            ledger_cluster_move(w, 1, LEDGER_SERVING, LEDGER_COUNTS, i);
        }
        ledger_cluster_done(w, 1, i % 2 ? 200 : 0, 1000);
    }
    assert_true(ledger_is_quiet(&f.ledger, &s));
    s = sum_of(&f, 1, 5000);
    assert_int_equal(s.requests, 1000);
    assert_int_equal(s.completed, 1000);
    assert_int_equal(s.status_class[2], 500);
    assert_int_equal(s.status_class[0], 500);
    ledger_close(&f.ledger);
}

static void in_flight_of_an_endpoint_sums_the_workers(void **state)
{
    (void)state;
    struct fixture f = open_ledger(1);
    ledger_endpoint_attempt(&f.w[0], 15, +1, 1);
    ledger_endpoint_attempt(&f.w[1], 15, +1, 1);
    ledger_endpoint_attempt(&f.w[1], 15, +1, 1);
    ledger_endpoint_tunnel(&f.w[1], 15, +1, 2);
    assert_int_equal(ledger_endpoint_in_flight(&f.ledger, 15), 3);
    struct ledger_endpoint_sum e = {0};
    ledger_sum_endpoint(&f.ledger, 15, true, 2, &e);
    assert_int_equal(e.attempts, 2);
    assert_int_equal(e.tunnels, 1);
    assert_int_equal(e.integral_ns, 3);
    ledger_close(&f.ledger);
}

static void slots_out_of_bounds_touch_nothing(void **state)
{
    (void)state;
    struct fixture f = open_ledger(1);
    struct ledger_cluster_sum s = {0};
    ledger_cluster_move(&f.w[0], 8, LEDGER_COUNTS, LEDGER_SERVING, 1);
    ledger_cluster_move(&f.w[0], LEDGER_NO_SLOT, LEDGER_COUNTS, LEDGER_SERVING, 1);
    ledger_cluster_done(&f.w[0], 8, 200, 1);
    ledger_cluster_failure(&f.w[0], 8, LEDGER_FAIL_SERVER);
    ledger_endpoint_attempt(&f.w[0], 16, +1, 1);
    ledger_endpoint_tunnel(&f.w[0], 16, -1, 1);
    ledger_sum_cluster(&f.ledger, 8, true, 1, &s);
    assert_int_equal(s.requests, 0);
    assert_int_equal(ledger_endpoint_in_flight(&f.ledger, 16), 0);
    assert_int_equal(atomic_load(&f.w[0].row->sequence), 0);
    assert_true(ledger_is_quiet(&f.ledger, NULL));
    ledger_close(&f.ledger);
}

static void a_dead_generation_counts_nothing_in_flight(void **state)
{
    (void)state;
    struct fixture f = open_ledger(1);
    struct ledger_cluster_sum s = {0};
    ledger_cluster_move(&f.w[0], 0, LEDGER_COUNTS, LEDGER_SERVING, 100);
    ledger_cluster_move(&f.w[0], 0, LEDGER_COUNTS, LEDGER_SERVING, 200);
    ledger_row_begin(&f.w[0]); /* it died while it wrote */
    ledger_sum_cluster(&f.ledger, 0, false, 9999, &s);
    assert_int_equal(s.count[LEDGER_SERVING], 0);
    assert_int_equal(s.integral_ns[LEDGER_SERVING], 100);
    assert_int_equal(s.requests, 2);
    ledger_close(&f.ledger);
}

/* ---- a writer and a reader ---- */

#define ROUNDS 200000

static void *write_pairs(void *arg)
{
    struct ledger_writer *w = arg;
    for (uint64_t i = 1; i <= ROUNDS; i++) { /* within a row: held + serving is always 1 between changes */
        ledger_cluster_move(w, 0, LEDGER_HELD, LEDGER_SERVING, 2 * i);
        ledger_cluster_move(w, 0, LEDGER_SERVING, LEDGER_HELD, 2 * i + 1);
    }
    return NULL;
}

static void a_reader_never_accepts_a_torn_row(void **state)
{
    (void)state;
    struct fixture f = open_ledger(1);
    pthread_t writer;
    uint64_t whole = 0, last = 0, words[2 * LEDGER_COUNTS + 1];
    ledger_cluster_move(&f.w[0], 0, LEDGER_COUNTS, LEDGER_HELD, 1);
    assert_int_equal(pthread_create(&writer, NULL, write_pairs, &f.w[0]), 0);
    do {
        if (!ledger_copy(f.w[0].row, f.w[0].clusters[0].count, words, 2 * LEDGER_COUNTS + 1))
            continue;
        whole++;
        uint64_t since = words[2 * LEDGER_COUNTS];
        assert_int_equal(words[LEDGER_HELD] + words[LEDGER_SERVING], 1);
        /* one exchange since time 1: the integrals together are exactly the time that went by */
        assert_int_equal(words[LEDGER_COUNTS + LEDGER_HELD] + words[LEDGER_COUNTS + LEDGER_SERVING],
                         since - 1);
        assert_true(since >= last);
        last = since;
    } while (last < 2 * ROUNDS + 1);
    pthread_join(writer, NULL);
    assert_true(whole > 0);
    ledger_close(&f.ledger);
}

/* ---- segments ---- */

static void a_sealed_segment_is_not_mapped_for_writing_again(void **state)
{
    (void)state;
    struct ledger writable, readable, late;
    struct ledger_writer w;
    int fd = ledger_create(7, 1, 4, 4);
    assert_true(ledger_open(&writable, fd, true));
    assert_true(ledger_seal(fd));
    assert_false(ledger_open(&late, fd, true));
    assert_true(ledger_open(&readable, fd, false));
    assert_int_equal(readable.header->generation, 7);
    ledger_writer_init(&w, &writable, 0);
    ledger_cluster_move(&w, 0, LEDGER_COUNTS, LEDGER_SERVING, 1);
    struct ledger_cluster_sum s = {0};
    ledger_sum_cluster(&readable, 0, true, 1, &s);
    assert_int_equal(s.count[LEDGER_SERVING], 1);
    ledger_close(&writable);
    ledger_close(&readable);
    close(fd);
}

static void a_malformed_header_is_refused(void **state)
{
    (void)state;
    struct ledger l;
    struct ledger_header good, bad;
    int fd = ledger_create(1, 2, 8, 16);
    assert_int_equal(pread(fd, &good, sizeof(good), 0), sizeof(good));
    for (size_t i = 0; i < offsetof(struct ledger_header, generation); i += 4) {
        bad = good;
        if (i == offsetof(struct ledger_header, version))
            continue; /* of another version, not malformed */
        memset((char *)&bad + i, 0xfe, 4);
        assert_int_equal(pwrite(fd, &bad, sizeof(bad), 0), sizeof(bad));
        if (ledger_open(&l, fd,
                        false)) /* a larger total is the only field that may differ, and it does not fit */
            fail_msg("accepted with byte %zu changed", i);
    }
    close(fd);
}

/* ---- other versions ---- */

/* A segment as a build with other cells and offsets makes it, one request in flight for 40 ns, two answered;
 * the word behind the frozen ones holds `mark`. */
static int foreign_segment(uint32_t version, uint32_t grown_from, uint32_t cluster_words, uint64_t mark)
{
    struct ledger_header h = {.magic = LEDGER_MAGIC,
                              .version = version,
                              .header_bytes = 8192,
                              .row_bytes = 65536,
                              .total_bytes = 8192 + 2 * 65536,
                              .cluster_bytes = cluster_words * 8,
                              .endpoint_bytes = 40,
                              .workers = 2,
                              .max_clusters = 4,
                              .max_endpoints = 4,
                              .hist_buckets = 5,
                              .clusters_off = 12288,
                              .endpoints_off = 20480,
                              .hists_off = 32768,
                              .generation = 9,
                              .grown_from = grown_from};
    const uint64_t cell[] = {0, 1, 0, 0, 0, 100, 0, 0, 1000, 3, 2, mark}, endpoint[] = {1, 70, 1000, 5, mark};
    int fd = memfd_create("foreign", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)h.total_bytes), 0);
    assert_int_equal(pwrite(fd, &h, sizeof h, 0), sizeof h);
    for (uint64_t row = 8192; row < h.total_bytes; row += h.row_bytes) {
        off_t at = (off_t)(row + h.clusters_off + 2 * h.cluster_bytes);
        assert_int_equal(pwrite(fd, cell, sizeof cell, at), sizeof cell);
        assert_int_equal(pwrite(fd, endpoint, sizeof endpoint, (off_t)(row + h.endpoints_off + 3 * 40)),
                         sizeof endpoint);
    }
    return fd;
}

static void frozen_words_count(const struct ledger *l, bool has_mark)
{
    struct ledger_cluster_sum s = {0};
    struct ledger_endpoint_sum e = {0};
    ledger_sum_cluster(l, 2, true, 1040, &s);
    assert_int_equal(s.count[LEDGER_SERVING], 2);
    assert_int_equal(s.integral_ns[LEDGER_SERVING], 2 * 140);
    assert_int_equal(s.requests, 6);
    assert_int_equal(s.completed, 4);
    assert_int_equal(s.status_class[0], has_mark ? 2 * 7 : 0);
    ledger_sum_endpoint(l, 3, true, 1040, &e);
    assert_int_equal(e.attempts, 2);
    assert_int_equal(e.integral_ns, 2 * 110);
    assert_int_equal(e.requests, 10);
    assert_int_equal(e.connect_failures, has_mark ? 2 * 7 : 0);
    assert_false(ledger_is_quiet(l, NULL));
}

static void of_an_unknown_version_the_frozen_words_count(void **state)
{
    (void)state;
    struct ledger l;
    int fd = foreign_segment(LEDGER_VERSION + 2, LEDGER_VERSION + 1, 12, 7);
    assert_false(ledger_open(&l, fd, true));
    assert_true(ledger_open(&l, fd, false));
    assert_false(ledger_is_whole(&l));
    frozen_words_count(&l, false);
    uint64_t buckets[LEDGER_HIST_BUCKETS] = {0};
    ledger_sum_hist(&l, 2, buckets);
    assert_int_equal(ledger_hist_quantile(buckets, 0.5), 0);
    ledger_close(&l);
    close(fd);
}

static void of_a_grown_version_all_common_words_count(void **state)
{
    (void)state;
    struct ledger l;
    int fd = foreign_segment(LEDGER_VERSION + 2, LEDGER_VERSION, 12, 7);
    assert_true(ledger_open(&l, fd, false));
    assert_true(ledger_is_whole(&l));
    frozen_words_count(&l, true);
    ledger_close(&l);
    close(fd);
}

static void a_cell_without_its_frozen_words_is_refused(void **state)
{
    (void)state;
    struct ledger l;
    int fd = foreign_segment(LEDGER_VERSION + 2, LEDGER_VERSION, 10, 7);
    assert_false(ledger_open(&l, fd, false));
    close(fd);
}

static void an_unknown_version_is_folded_as_far_as_it_is_known(void **state)
{
    (void)state;
    struct ledger l;
    struct ledger_past past;
    struct ledger_cluster_sum s = {0};
    int fd = foreign_segment(LEDGER_VERSION + 2, LEDGER_VERSION + 1, 12, 7),
        past_fd = ledger_past_create(8, 8);
    assert_true(ledger_open(&l, fd, false));
    assert_true(ledger_past_open(&past, past_fd, true));
    ledger_past_fold(&past, &l);
    ledger_past_cluster(&past, 2, &s);
    assert_int_equal(s.requests, 6);
    assert_int_equal(s.count[LEDGER_SERVING], 0);
    assert_int_equal(s.integral_ns[LEDGER_SERVING], 200);
    ledger_past_close(&past);
    ledger_close(&l);
    close(fd);
    close(past_fd);
}

/* ---- histogram ---- */

static void a_bucket_is_at_most_a_32nd_off(void **state)
{
    (void)state;
    for (uint64_t ns = 16384; ns < 1ull << 40; ns += ns / 97 + 1) {
        double value = (double)ledger_hist_value(ledger_hist_bucket(ns));
        assert_true(fabs(value - (double)ns) <= (double)ns / 32);
    }
    assert_int_equal(ledger_hist_bucket(0), 0);
    assert_int_equal(ledger_hist_bucket((1ull << 40) - 1), LEDGER_HIST_BUCKETS - 1);
    assert_int_equal(ledger_hist_bucket(UINT64_MAX), LEDGER_HIST_BUCKETS - 1);
}

static void buckets_follow_each_other(void **state)
{
    (void)state;
    for (uint32_t b = 0; b < LEDGER_HIST_BUCKETS; b++)
        assert_int_equal(ledger_hist_bucket(ledger_hist_value(b)), b);
}

static void quantiles(void **state)
{
    (void)state;
    uint64_t buckets[LEDGER_HIST_BUCKETS] = {0};
    assert_int_equal(ledger_hist_quantile(buckets, 0.5), 0);
    for (uint64_t ms = 1; ms <= 1000; ms++)
        buckets[ledger_hist_bucket(ms * 1000000)]++;
    assert_true(fabs((double)ledger_hist_quantile(buckets, 0.5) - 500e6) <= 500e6 / 16);
    assert_true(fabs((double)ledger_hist_quantile(buckets, 0.99) - 990e6) <= 990e6 / 16);
    assert_int_equal(ledger_hist_quantile(buckets, 0), ledger_hist_value(ledger_hist_bucket(1000000)));
    assert_int_equal(ledger_hist_quantile(buckets, 1), ledger_hist_value(ledger_hist_bucket(1000000000)));
}

/* ---- past ---- */

static void work(struct fixture *f, uint32_t slot, uint64_t requests)
{
    for (uint64_t i = 0; i < requests; i++) {
        ledger_cluster_move(&f->w[i % 2], slot, LEDGER_COUNTS, LEDGER_SERVING, 10 * i);
        ledger_endpoint_attempt(&f->w[i % 2], slot, +1, 10 * i);
        ledger_add(&f->w[i % 2].endpoints[slot].requests, 1);
        ledger_endpoint_attempt(&f->w[i % 2], slot, -1, 10 * i + 5);
        ledger_cluster_move(&f->w[i % 2], slot, LEDGER_SERVING, LEDGER_COUNTS, 10 * i + 5);
        ledger_cluster_done(&f->w[i % 2], slot, 200, 20000);
    }
}

static void folding_twice_is_folding_once(void **state)
{
    (void)state;
    struct ledger_past past, reader;
    int fd = ledger_past_create(8, 16);
    assert_true(ledger_past_open(&past, fd, true));
    assert_true(ledger_past_open(&reader, fd, false));
    uint64_t total = 0;
    for (uint64_t generation = 1; generation <= 5; generation++) {
        struct fixture f = open_ledger(generation);
        work(&f, (uint32_t)generation % 3, generation * 10);
        ledger_cluster_move(&f.w[0], (uint32_t)generation % 3, LEDGER_COUNTS, LEDGER_SERVING,
                            1u << 20); /* died with it */
        ledger_past_fold(&past, &f.ledger);
        ledger_past_fold(&past, &f.ledger);
        ledger_close(&f.ledger);
        total += generation * 10;
        uint64_t requests = 0, completed = 0, attempts = 0, hist = 0, integral = 0;
        for (uint32_t slot = 0; slot < 8; slot++) {
            struct ledger_cluster_sum s = {0};
            struct ledger_endpoint_sum e = {0};
            uint64_t buckets[LEDGER_HIST_BUCKETS] = {0};
            ledger_past_cluster(&reader, slot, &s);
            ledger_past_endpoint(&reader, slot, &e);
            ledger_past_hist(&reader, slot, buckets);
            requests += s.requests;
            completed += s.completed;
            attempts += e.requests;
            hist += buckets[ledger_hist_bucket(20000)];
            integral += s.integral_ns[LEDGER_SERVING];
            assert_int_equal(s.count[LEDGER_SERVING], 0);
        }
        assert_int_equal(requests, total + generation);
        assert_int_equal(completed, total);
        assert_int_equal(attempts, total);
        assert_int_equal(hist, total);
        assert_int_equal(integral, 5 * total);
    }
    ledger_past_close(&past);
    ledger_past_close(&reader);
    close(fd);
}

static uint64_t reason_in(const struct ledger_past *p, uint32_t slot, enum reason why)
{
    uint64_t counts[REASON_COUNT] = {0};
    ledger_past_reasons(p, slot, counts);
    return counts[why];
}

/* Of living generations, of ended ones, and of what came to no cluster; of another order of reasons: nothing,
 * but all else. */
static void reasons_are_counted_and_folded(void **state)
{
    (void)state;
    struct ledger_past past, foreign, next;
    struct fixture f = open_ledger(3);
    struct ledger_cluster_sum s = {0};
    uint64_t counts[REASON_COUNT] = {0};
    int fd = ledger_past_create(8, 16), next_fd = ledger_past_create(8, 16);
    assert_true(ledger_past_open(&past, fd, true) && ledger_past_open(&next, next_fd, true));
    work(&f, 5, 1);
    ledger_reason(&f.w[0], 5, REASON_HOLD_TIMEOUT);
    ledger_reason(&f.w[1], 5, REASON_HOLD_TIMEOUT);
    ledger_reason(&f.w[1], 8, REASON_HOST);
    ledger_reason(&f.w[1], LEDGER_NO_SLOT, REASON_INTERNAL);
    ledger_sum_reasons(&f.ledger, 5, counts);
    assert_int_equal(counts[REASON_HOLD_TIMEOUT], 2);
    ledger_sum_reasons(&f.ledger, 8, counts); /* out of bounds is no slot to read */
    assert_int_equal(counts[REASON_HOST], 0);
    ledger_sum_reasons(&f.ledger, LEDGER_NO_SLOT, counts);
    assert_true(counts[REASON_HOST] == 1 && counts[REASON_INTERNAL] == 1);
    ledger_past_fold(&past, &f.ledger);
    ledger_past_fold(&past, &f.ledger);
    assert_int_equal(reason_in(&past, 5, REASON_HOLD_TIMEOUT), 2);
    assert_int_equal(reason_in(&past, LEDGER_NO_SLOT, REASON_INTERNAL), 1);
    ledger_past_take_over(&next, &past);
    assert_int_equal(reason_in(&next, 5, REASON_HOLD_TIMEOUT), 2);
    assert_int_equal(reason_in(&next, LEDGER_NO_SLOT, REASON_HOST), 1);
    uint32_t other = ~ledger_reasons_id();
    assert_int_equal(pwrite(fd, &other, sizeof other, 68), sizeof other);
    assert_false(ledger_past_open(&foreign, fd, true));
    assert_true(ledger_past_open(&foreign, fd, false));
    assert_int_equal(reason_in(&foreign, 5, REASON_HOLD_TIMEOUT), 0);
    ledger_past_cluster(&foreign, 5, &s);
    assert_int_equal(s.requests, 1);
    ledger_past_close(&past);
    ledger_past_close(&foreign);
    ledger_past_close(&next);
    ledger_close(&f.ledger);
    close(fd);
    close(next_fd);
}

/* Totals as a build with longer sums makes them, from our own: the head and the layout of totals are words.
 */
static void totals_of_another_layout_are_carried_over(void **state)
{
    (void)state;
    struct ledger_past ours, foreign, next;
    struct fixture f = open_ledger(3);
    struct ledger_cluster_sum s = {0};
    struct ledger_endpoint_sum e = {0};
    uint64_t buckets[LEDGER_HIST_BUCKETS] = {0};
    int fd = ledger_past_create(8, 16), next_fd = ledger_past_create(8, 16);
    assert_true(ledger_past_open(&ours, fd, true));
    work(&f, 5, 20);
    ledger_past_fold(&ours, &f.ledger);
    uint32_t version = LEDGER_VERSION + 1;
    assert_int_equal(pwrite(fd, &version, sizeof version, 4), sizeof version);
    assert_false(ledger_past_open(&foreign, fd, true));
    assert_true(ledger_past_open(&foreign, fd, false));
    assert_true(ledger_past_open(&next, next_fd, true));
    ledger_past_take_over(&next, &foreign);
    ledger_past_fold(&next, &f.ledger); /* it is in there already */
    ledger_past_cluster(&next, 5, &s);
    ledger_past_endpoint(&next, 5, &e);
    ledger_past_hist(&next, 5, buckets);
    assert_int_equal(s.requests, 20);
    assert_int_equal(s.status_class[2], 20);
    assert_int_equal(e.requests, 20);
    assert_int_equal(buckets[ledger_hist_bucket(20000)], 20);
    ledger_past_close(&ours);
    ledger_past_close(&foreign);
    ledger_past_close(&next);
    ledger_close(&f.ledger);
    close(fd);
    close(next_fd);
}

static void past_refuses_what_it_is_not(void **state)
{
    (void)state;
    struct ledger_past past;
    struct ledger l;
    int ledger_fd = ledger_create(1, 1, 1, 1), past_fd = ledger_past_create(1, 1);
    assert_false(ledger_past_open(&past, ledger_fd, false));
    assert_false(ledger_open(&l, past_fd, false));
    close(ledger_fd);
    close(past_fd);
}

/* What scalers are told of the buckets (include/coxswain/scale.h) holds. */
static void service_times_fall_into_their_buckets(void **state)
{
    (void)state;
    for (uint32_t i = 1; i < LEDGER_SERVICE_BUCKETS; i++) {
        const uint64_t floor = (1ull << LEDGER_SERVICE_FIRST_LOG << (i / 4)) / 4 * (4 + i % 4);
        assert_int_equal(ledger_service_bucket(floor), i);
        assert_int_equal(ledger_service_bucket(floor - 1), i - 1);
    }
    assert_int_equal(ledger_service_bucket(0), 0);
    assert_int_equal(ledger_service_bucket(UINT64_MAX), LEDGER_SERVICE_BUCKETS - 1);
}

static void moments_of_service_times_are_summed_over_workers_and_generations(void **state)
{
    (void)state;
    struct ledger l;
    struct ledger_writer w[2];
    struct ledger_past past;
    int fd = ledger_create(7, 2, 4, 4), past_fd = ledger_past_create(4, 4);
    assert_true(ledger_open(&l, fd, true) && ledger_past_open(&past, past_fd, true));
    for (uint32_t i = 0; i < 2; i++) {
        ledger_writer_init(&w[i], &l, i);
        ledger_cluster_service(&w[i], 1, (i + 1) * 1500000);
        ledger_add(&w[i].clusters[1].waited, 1);
    }
    for (int folded = 0; folded < 2; folded++) {
        struct ledger_cluster_sum sum = {0};
        if (folded) {
            ledger_past_fold(&past, &l);
            ledger_past_cluster(&past, 1, &sum);
        } else {
            ledger_sum_cluster(&l, 1, true, 0, &sum);
        }
        assert_int_equal(sum.service_count, 2);
        assert_int_equal(sum.service_sum_ns, 4500000);
        assert_int_equal(sum.service_square_us2, 1500 * 1500 + 3000 * 3000);
        assert_int_equal(sum.waited, 2);
        assert_int_equal(sum.service[ledger_service_bucket(1500000)], 1);
        assert_int_equal(sum.service[ledger_service_bucket(3000000)], 1);
        struct ledger_cluster_sum part;
        memset(&part, 0x5a, sizeof part);
        memset(&part, 0, ledger_part_bytes(LEDGER_WITHOUT_SERVICE));
        if (folded)
            ledger_past_cluster_part(&past, 1, LEDGER_WITHOUT_SERVICE, &part);
        else
            ledger_sum_cluster_part(&l, 1, true, 0, LEDGER_WITHOUT_SERVICE, &part);
        assert_memory_equal(&part, &sum, ledger_part_bytes(LEDGER_WITHOUT_SERVICE));
        assert_int_equal(part.service[0], 0x5a5a5a5a5a5a5a5a);
    }
    ledger_past_close(&past);
    ledger_close(&l);
    close(fd);
    close(past_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integrals_are_exact),
        cmocka_unit_test(service_times_fall_into_their_buckets),
        cmocka_unit_test(moments_of_service_times_are_summed_over_workers_and_generations),
        cmocka_unit_test(time_never_runs_backwards),
        cmocka_unit_test(a_storm_returns_to_zero),
        cmocka_unit_test(in_flight_of_an_endpoint_sums_the_workers),
        cmocka_unit_test(slots_out_of_bounds_touch_nothing),
        cmocka_unit_test(a_dead_generation_counts_nothing_in_flight),
        cmocka_unit_test(a_reader_never_accepts_a_torn_row),
        cmocka_unit_test(a_sealed_segment_is_not_mapped_for_writing_again),
        cmocka_unit_test(a_malformed_header_is_refused),
        cmocka_unit_test(a_bucket_is_at_most_a_32nd_off),
        cmocka_unit_test(buckets_follow_each_other),
        cmocka_unit_test(quantiles),
        cmocka_unit_test(folding_twice_is_folding_once),
        cmocka_unit_test(reasons_are_counted_and_folded),
        cmocka_unit_test(of_an_unknown_version_the_frozen_words_count),
        cmocka_unit_test(of_a_grown_version_all_common_words_count),
        cmocka_unit_test(a_cell_without_its_frozen_words_is_refused),
        cmocka_unit_test(an_unknown_version_is_folded_as_far_as_it_is_known),
        cmocka_unit_test(totals_of_another_layout_are_carried_over),
        cmocka_unit_test(past_refuses_what_it_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
