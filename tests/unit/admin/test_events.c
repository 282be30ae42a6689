/* What changed when: one line for what changed between two snapshots, none for what did not; bounded. */
#include "../topo/support.h"

#include "admin/events.h"

struct fixture {
    struct model *model;
    struct topology *last;
    struct events events;
};

static void open_fixture(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    f->model = model_create(1, 512, 4096);
    assert_true(put_cluster(f->model, "web"));
    assert_true(put_endpoint(f->model, "web", "10.0.0.1:80"));
    f->last = model_publish(f->model);
}

/* Publishes, and returns how many events that made. */
static uint64_t next(struct fixture *f)
{
    uint64_t before = f->events.count;
    struct topology *t = model_publish(f->model);
    events_on_topology(&f->events, f->last, t);
    topology_unref(&f->last);
    f->last = t;
    return f->events.count - before;
}

static void close_fixture(struct fixture *f)
{
    topology_unref(&f->last);
    model_destroy(&f->model);
}

static void assert_last(const struct fixture *f, const char *kind, const char *subject, const char *text)
{
    const struct event_row *row = events_at(&f->events, events_known(&f->events) - 1);
    assert_string_equal(row->kind, kind);
    assert_string_equal(row->subject, subject);
    assert_string_equal(row->text, text);
}

static void each_change_is_one_event(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f);
    assert_true(put_endpoint(f.model, "web", "10.0.0.2:80"));
    assert_int_equal(next(&f), 1);
    assert_last(&f, "endpoint", "web 10.0.0.2:80", "added, on");
    assert_true(model_set_admin_drain(f.model, STR("10.0.0.1:80"), true));
    assert_int_equal(next(&f), 1);
    assert_last(&f, "endpoint", "web 10.0.0.1:80", "on \xe2\x86\x92 draining");
    model_remove_endpoint(f.model, OWNER, STR("web"), STR("10.0.0.1:80"));
    assert_int_equal(next(&f), 1);
    assert_last(&f, "endpoint", "web 10.0.0.1:80", "removed");
    assert_true(put_cluster(f.model, "api"));
    assert_int_equal(next(&f), 1);
    assert_last(&f, "cluster", "api", "added");
    model_remove_cluster(f.model, OWNER, STR("api"));
    assert_int_equal(next(&f), 1);
    assert_last(&f, "cluster", "api", "removed");
    assert_int_equal(f.events.rows[0].number, 1);
    close_fixture(&f);
}

static void routes_change_only_when_one_does(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f);
    assert_true(model_put_route(f.model, OWNER, STR("a.test"), STR("/"), STR("web"), NULL));
    assert_int_equal(next(&f), 1);
    assert_last(&f, "routes", "", "changed");
    assert_true(put_cluster(f.model, "api")); /* moves the places of clusters in the table */
    assert_int_equal(next(&f), 1);
    assert_last(&f, "cluster", "api", "added");
    assert_true(model_put_route(f.model, OWNER, STR("a.test"), STR("/"), STR("api"), NULL));
    assert_int_equal(next(&f), 1);
    assert_last(&f, "routes", "", "changed");
    close_fixture(&f);
}

static void members_by_state(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f);
    struct member_info m = {.id = STR("shop-1"), .set = STR("shop"), .state = MEMBER_STARTING};
    model_put_member(f.model, &m);
    assert_int_equal(next(&f), 1);
    assert_last(&f, "member", "shop-1", "starting");
    m.state = MEMBER_ACTIVE;
    model_put_member(f.model, &m);
    assert_int_equal(next(&f), 1);
    assert_last(&f, "member", "shop-1", "starting \xe2\x86\x92 active");
    model_remove_member(f.model, STR("shop-1"));
    assert_int_equal(next(&f), 1);
    assert_last(&f, "member", "shop-1", "gone");
    close_fixture(&f);
}

static void add_clusters(struct fixture *f, int from, int count)
{
    char id[32];
    for (int i = from; i < from + count; i++) {
        snprintf(id, sizeof id, "c%d", i);
        assert_true(put_cluster(f->model, id));
    }
}

static void a_flood_is_cut(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f);
    add_clusters(&f, 0, EVENTS_AT_ONCE);
    assert_int_equal(next(&f), EVENTS_AT_ONCE); /* at the limit: all of them */
    add_clusters(&f, 100, EVENTS_AT_ONCE + 3);
    assert_int_equal(next(&f), EVENTS_AT_ONCE + 1);
    assert_last(&f, "topology", "", "and 3 more changes");
    close_fixture(&f);
}

static void the_ring_forgets_the_oldest(void **state)
{
    struct fixture f;
    (void)state;
    open_fixture(&f);
    for (int i = 0; i < 2 * EVENTS_MAX; i++) {
        assert_true(model_set_admin_drain(f.model, STR("10.0.0.1:80"), i % 2 == 0));
        assert_int_equal(next(&f), 1);
    }
    assert_int_equal(events_known(&f.events), EVENTS_MAX);
    for (uint64_t i = 0; i < EVENTS_MAX; i++)
        assert_int_equal(events_at(&f.events, i)->number, EVENTS_MAX + i + 1);
    close_fixture(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_change_is_one_event),
        cmocka_unit_test(routes_change_only_when_one_does),
        cmocka_unit_test(members_by_state),
        cmocka_unit_test(a_flood_is_cut),
        cmocka_unit_test(the_ring_forgets_the_oldest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
