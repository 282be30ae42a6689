/* The Prometheus text of a ledger that was written by hand: values, escaping, the histogram's buckets. */
#include "../topo/support.h"

#include <unistd.h>

#include "admin/metrics.h"
#include "base/clock.h"

struct fixture {
    struct model *model;
    struct ledger ledger;
    struct ledger_writer w;
    struct survey survey;
    struct buf out;
};

static void open_fixture(struct fixture *f)
{
    *f = (struct fixture){.model = model_create(1, 8, 16)};
    int fd = ledger_create(7, 1, 8, 16);
    assert_true(fd >= 0 && ledger_open(&f->ledger, fd, true));
    close(fd);
    ledger_writer_init(&f->w, &f->ledger, 0);
    assert_true(put_cluster(f->model, "web"));
    buf_init(&f->out);
}

static const char *text_of(struct fixture *f)
{
    survey_begin(&f->survey);
    f->survey.topology = model_publish(f->model);
    survey_lend_ledger(&f->survey, 7, &f->ledger);
    metrics_put(&f->survey, "1.2", &f->out);
    buf_put(&f->out, "", 1);
    return f->out.p;
}

static void close_fixture(struct fixture *f)
{
    survey_fini(&f->survey);
    buf_fini(&f->out);
    ledger_close(&f->ledger);
    model_destroy(&f->model);
}

static void assert_line(const char *text, const char *line)
{
    char with_ends[512];
    snprintf(with_ends, sizeof with_ends, "\n%s\n", line);
    if (!strstr(text, with_ends))
        fail_msg("no line %s in:\n%s", line, text);
}

static void one_request(struct fixture *f, unsigned status, uint64_t latency_ns)
{
    ledger_cluster_move(&f->w, 0, LEDGER_COUNTS, LEDGER_SERVING, 1000);
    ledger_cluster_move(&f->w, 0, LEDGER_SERVING, LEDGER_COUNTS, 1000 + latency_ns);
    ledger_cluster_done(&f->w, 0, status, latency_ns);
}

static void values_are_those_of_the_ledger(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f);
    assert_true(put_endpoint(f.model, "web", "10.0.0.1:80"));
    one_request(&f, 200, 3000000);
    one_request(&f, 503, 0);
    ledger_cluster_failure(&f.w, 0, LEDGER_FAIL_TIMEOUT);
    ledger_reason(&f.w, 0, REASON_SERVER_TIMEOUT);
    ledger_reason(&f.w, LEDGER_NO_SLOT, REASON_NO_ROUTE);
    const char *text = text_of(&f);
    assert_line(text, "coxswain_cluster_reasons_total{cluster=\"web\",reason=\"server_timeout\"} 1");
    assert_line(text, "coxswain_unrouted_reasons_total{reason=\"no_route\"} 1");
    assert_null(strstr(text, "reason=\"server_stall\""));
    assert_line(text, "coxswain_build_info{version=\"1.2\"} 1");
    assert_line(text, "coxswain_generation_info{generation=\"7\"} 1");
    assert_line(text, "coxswain_cluster_arrivals_total{cluster=\"web\"} 2");
    assert_line(text, "coxswain_cluster_requests_total{cluster=\"web\",class=\"2xx\"} 1");
    assert_line(text, "coxswain_cluster_requests_total{cluster=\"web\",class=\"5xx\"} 1");
    assert_line(text, "coxswain_cluster_failures_total{cluster=\"web\",reason=\"timeout\"} 1");
    assert_line(text, "coxswain_cluster_in_flight{cluster=\"web\",state=\"serving\"} 0");
    assert_line(text,
                "coxswain_cluster_in_flight_seconds_total{cluster=\"web\",state=\"serving\"} 0.003000000");
    assert_line(text, "coxswain_endpoint_up{cluster=\"web\",endpoint=\"10.0.0.1:80\"} 1");
    close_fixture(&f);
}

/* However small the pieces, they are the whole; none is longer than it may be, but for its last item. */
static void pieces_are_the_whole(void **state)
{
    enum { ITEM = 2048 }; /* of the histogram */
    struct fixture f;
    struct buf pieces;
    char id[32];
    (void)state;
    open_fixture(&f);
    assert_true(put_cluster(f.model, "empty") && put_cluster(f.model, "api"));
    for (int i = 0; i < 5; i++) {
        snprintf(id, sizeof id, "10.0.0.%d:80", i);
        assert_true(put_endpoint(f.model, i < 3 ? "web" : "api", id));
    }
    one_request(&f, 200, 3000000);
    const char *whole = text_of(&f);
    for (size_t max = 1; max < 5000; max += 1111) {
        struct metrics *m = metrics_begin(f.survey.topology, "1.2");
        bool more = true;
        buf_init(&pieces);
        while (more) {
            struct buf one;
            buf_init(&one);
            more = metrics_step(m, &f.survey, UINT64_MAX, max, &one);
            assert_true(one.len < max + ITEM);
            buf_put(&pieces, one.p, one.len);
            buf_fini(&one);
        }
        metrics_end(&m);
        assert_null(m);
        buf_put(&pieces, "", 1);
        assert_string_equal(pieces.p, whole);
        buf_fini(&pieces);
    }
    close_fixture(&f);
}

/* The time that it was given is over: it says so soon, and goes on where it was. */
static void a_step_ends_in_time(void **state)
{
    struct fixture f;
    struct buf out;
    int steps = 1;
    (void)state;
    open_fixture(&f);
    assert_true(put_endpoint(f.model, "web", "10.0.0.1:80"));
    const char *whole = text_of(&f);
    struct metrics *m = metrics_begin(f.survey.topology, "1.2");
    buf_init(&out);
    while (metrics_step(m, &f.survey, 0, SIZE_MAX, &out))
        steps++;
    assert_in_range(steps, 2, 100);
    buf_put(&out, "", 1);
    assert_string_equal(out.p, whole);
    buf_fini(&out);
    metrics_end(&m);
    close_fixture(&f);
}

static void without_a_topology(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f);
    survey_begin(&f.survey);
    metrics_put(&f.survey, "1.2", &f.out);
    buf_put(&f.out, "", 1);
    assert_line(f.out.p, "coxswain_build_info{version=\"1.2\"} 1");
    assert_null(strstr(f.out.p, "cluster_"));
    close_fixture(&f);
}

/* What lies at or above a bound does not count below it, whatever octave it falls into. */
static void buckets_split_at_their_bounds(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f);
    one_request(&f, 200, (1ull << METRICS_LE_FIRST) - 1);
    one_request(&f, 200, 1ull << METRICS_LE_FIRST);
    one_request(&f, 200, (1ull << METRICS_LE_LAST) - 1);
    one_request(&f, 200, 1ull << METRICS_LE_LAST);
    const char *text = text_of(&f);
    assert_line(text,
                "coxswain_cluster_request_duration_seconds_bucket{cluster=\"web\",le=\"0.000131072\"} 1");
    assert_line(text,
                "coxswain_cluster_request_duration_seconds_bucket{cluster=\"web\",le=\"0.000262144\"} 2");
    assert_line(text,
                "coxswain_cluster_request_duration_seconds_bucket{cluster=\"web\",le=\"17.1798692\"} 2");
    assert_line(text,
                "coxswain_cluster_request_duration_seconds_bucket{cluster=\"web\",le=\"34.3597384\"} 3");
    assert_line(text, "coxswain_cluster_request_duration_seconds_bucket{cluster=\"web\",le=\"+Inf\"} 4");
    assert_line(text, "coxswain_cluster_request_duration_seconds_count{cluster=\"web\"} 4");
    close_fixture(&f);
}

/* Rows of one name are one family: its head stands once, before them. */
static void goaways_are_one_family(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f);
    ledger_add(&f.w.row->h2_sessions, 2);
    ledger_add(&f.w.row->h2_goaways[LEDGER_GOAWAY_FLOOD], 3);
    const char *text = text_of(&f), *head = strstr(text, "# TYPE coxswain_h2_goaways_total counter\n");
    assert_non_null(head);
    assert_null(strstr(head + 1, "# TYPE coxswain_h2_goaways_total"));
    assert_line(text, "coxswain_h2_sessions{generation=\"7\"} 2");
    assert_line(text, "coxswain_h2_goaways_total{generation=\"7\",reason=\"done\"} 0");
    assert_line(text, "coxswain_h2_goaways_total{generation=\"7\",reason=\"flood\"} 3");
    close_fixture(&f);
}

static void label_values_are_escaped(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f);
    struct endpoint_draft e = make_endpoint("10.0.0.1:80");
    e.id = STR("a\"b\\c\nd\xff");
    assert_true(model_put_endpoint(f.model, OWNER, STR("web"), &e, NULL));
    assert_line(text_of(&f),
                "coxswain_endpoint_weight{cluster=\"web\",endpoint=\"a\\\"b\\\\c\\nd\\\\xff\"} 100");
    close_fixture(&f);
}

static void members_are_counted_by_set(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f);
    struct member_info m = {.id = STR("a-1"), .set = STR("a"), .state = MEMBER_ACTIVE};
    model_put_member(f.model, &m);
    m.id = STR("b-1");
    m.set = STR("b");
    model_put_member(f.model, &m);
    m.id = STR("c-1");
    m.set = STR("a");
    model_put_member(f.model, &m);
    const char *text = text_of(&f);
    assert_line(text, "coxswain_members{set=\"a\",state=\"active\"} 2");
    assert_line(text, "coxswain_members{set=\"a\",state=\"starting\"} 0");
    assert_line(text, "coxswain_members{set=\"b\",state=\"active\"} 1");
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_the_ledger),
        cmocka_unit_test(pieces_are_the_whole),
        cmocka_unit_test(a_step_ends_in_time),
        cmocka_unit_test(without_a_topology),
        cmocka_unit_test(buckets_split_at_their_bounds),
        cmocka_unit_test(goaways_are_one_family),
        cmocka_unit_test(label_values_are_escaped),
        cmocka_unit_test(members_are_counted_by_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
