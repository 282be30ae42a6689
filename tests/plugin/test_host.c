/* What the host offers to plugins, called through the table as a plugin does. */
#include "support.h"

static struct plugin *good(struct fixture *f, const char *name)
{
    struct section s = section_of(name, "bad_good");
    struct plugin *p = create(f, &s, test_dir());
    start(p);
    return p;
}

/* ---- calls are timed ---- */

static void test_stall_is_logged(void **state)
{
    struct fixture *f = *state;
    struct section s = section_of("sleepy", "bad_stall");
    struct plugin *p = create(f, &s, test_dir());
    start(p);
    assert_int_equal(p->slow_calls, 1);
    assert_non_null(strstr(log_text(f), "plugin \"sleepy\": start took "));
}

static void test_quick_call_is_not_logged(void **state)
{
    struct fixture *f = *state;
    const struct plugin *p = good(f, "quick");
    assert_int_equal(p->slow_calls, 0);
}

static void test_leftover_timer_is_released(void **state)
{
    struct fixture *f = *state;
    struct section s = section_of("messy", "bad_leftover");
    struct plugin *p = create(f, &s, test_dir());
    start(p);
    plugin_destroy(&p);
    assert_non_null(strstr(log_text(f), "plugin \"messy\" left timers or watches behind"));
}

/* ---- timers ---- */

struct ticker {
    const struct cox_host *host;
    struct cox_timer *timer;
    int count;
};

static void on_tick(void *ctx)
{
    struct ticker *t = ctx;
    if (++t->count == 3)
        t->host->timer_stop(t->host, &t->timer); /* from within its own call */
}

static void test_timer_repeats_until_stopped(void **state)
{
    struct fixture *f = *state;
    struct plugin *p = good(f, "t");
    struct ticker t = {.host = &p->table};
    t.timer = p->table.timer_start(&p->table, 1, 1, on_tick, &t);
    UNTIL(f, t.count == 3);
    assert_null(t.timer);
    assert_true(list_is_empty(&p->timers));
}

/* ---- other threads ---- */

struct shared {
    struct plugin *plugin;
    pthread_t loop_thread;
    pthread_t worker;
    int posted, worked, done;
};

static void on_posted(void *ctx)
{
    struct shared *s = ctx;
    assert_true(pthread_equal(pthread_self(), s->loop_thread));
    s->posted++;
}

static void *post_from_thread(void *ctx)
{
    struct shared *s = ctx;
    for (int i = 0; i < 100; i++)
        if (s->plugin->table.post(&s->plugin->table, on_posted, s) != COX_OK)
            return NULL;
    return s;
}

static void test_post_from_another_thread(void **state)
{
    struct fixture *f = *state;
    struct shared s = {.plugin = good(f, "t"), .loop_thread = pthread_self()};
    void *result;
    assert_int_equal(pthread_create(&s.worker, NULL, post_from_thread, &s), 0);
    UNTIL(f, s.posted == 100);
    assert_int_equal(pthread_join(s.worker, &result), 0);
    assert_non_null(result);
}

static void work(void *ctx)
{
    struct shared *s = ctx;
    s->worker = pthread_self();
    s->worked = 1;
}

static void done(void *ctx)
{
    struct shared *s = ctx;
    assert_int_equal(s->worked, 1);
    s->done++;
}

static void test_offload(void **state)
{
    struct fixture *f = *state;
    struct shared s = {.plugin = good(f, "t"), .loop_thread = pthread_self()};
    assert_int_equal(s.plugin->table.offload(&s.plugin->table, work, done, &s), COX_OK);
    UNTIL(f, s.done == 1);
    assert_false(pthread_equal(s.worker, s.loop_thread));
}

static void test_done_is_called_before_close(void **state)
{
    struct fixture *f = *state;
    struct shared s = {.plugin = good(f, "t"), .loop_thread = pthread_self()};
    assert_int_equal(s.plugin->table.offload(&s.plugin->table, work, done, &s), COX_OK);
    plugin_destroy(&s.plugin);
    assert_int_equal(s.done, 1);
}

static void test_queue_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct shared s = {.plugin = good(f, "t"), .loop_thread = pthread_self()};
    for (int i = 0; i < HOST_POSTS_MAX; i++)
        assert_int_equal(s.plugin->table.post(&s.plugin->table, on_posted, &s), COX_OK);
    assert_int_equal(s.plugin->table.post(&s.plugin->table, on_posted, &s), COX_BUSY);
    UNTIL(f, s.posted == HOST_POSTS_MAX);
    assert_int_equal(s.plugin->table.post(&s.plugin->table, on_posted, &s), COX_OK);
    UNTIL(f, s.posted == HOST_POSTS_MAX + 1);
}

/* ---- discovery ---- */

static int32_t put(struct plugin *p, uint32_t kind, const char *id, const char *parent, const char *key,
                   const char *value)
{
    const struct cox_pair field = {.size = sizeof field, .key = key, .value = value};
    const struct cox_object o = {.size = sizeof o,
                                 .kind = kind,
                                 .id = id,
                                 .parent = parent,
                                 .fields = {&field, key ? 1u : 0u, (uint32_t)sizeof field}};
    return p->table.put(&p->table, &o);
}

static int32_t take_away(struct plugin *p, uint32_t kind, const char *id, const char *parent)
{
    const struct cox_object o = {.size = sizeof o, .kind = kind, .id = id, .parent = parent};
    return p->table.remove(&p->table, &o);
}

/* "cluster(endpoint …) …" of what would be published. */
static const char *published(struct fixture *f)
{
    static char text[1024];
    size_t at = 0;
    struct topology *t = model_publish(f->model);
    topology_unref(&t);
    t = model_current(f->model);
    text[0] = 0;
    for (uint32_t i = 0; t && i < t->cluster_count; i++) {
        const struct cluster *c = t->clusters[i];
        at += (size_t)snprintf(text + at, sizeof text - at, "%.*s(", STR_ARG(c->id));
        for (uint32_t k = 0; k < c->endpoint_count; k++)
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s", k ? " " : "",
                                   STR_ARG(endpoint_id(&c->endpoints[k])));
        at += (size_t)snprintf(text + at, sizeof text - at, ")");
    }
    return text;
}

static void test_whole_views(void **state)
{
    struct fixture *f = *state;
    struct plugin *p = good(f, "src");
    assert_int_equal(p->table.view_begin(&p->table), COX_OK);
    /* an endpoint may come before its cluster: a view has no order */
    assert_int_equal(put(p, COX_KIND_ENDPOINT, "e", "web", "address", "10.0.0.1:80"), COX_OK);
    assert_int_equal(put(p, COX_KIND_CLUSTER, "web", NULL, "balance", "round_robin"), COX_OK);
    assert_string_equal(published(f), ""); /* nothing before the end */
    assert_int_equal(p->table.view_end(&p->table), COX_OK);
    assert_string_equal(published(f), "web(e)");
    assert_int_equal(p->table.view_begin(&p->table), COX_OK);
    assert_int_equal(put(p, COX_KIND_CLUSTER, "api", NULL, NULL, NULL), COX_OK);
    assert_int_equal(p->table.view_end(&p->table), COX_OK);
    assert_string_equal(published(f), "api()");
}

static void test_bad_view_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct plugin *p = good(f, "src");
    assert_int_equal(put(p, COX_KIND_CLUSTER, "web", NULL, NULL, NULL), COX_OK);
    assert_int_equal(p->table.view_begin(&p->table), COX_OK);
    assert_int_equal(put(p, COX_KIND_CLUSTER, "api", NULL, NULL, NULL), COX_OK);
    assert_int_equal(put(p, COX_KIND_ENDPOINT, "e", "api", "address", "nonsense"), COX_INVALID);
    assert_non_null(strstr(p->table.discovery_error(&p->table), "wrong value of address: \"nonsense\""));
    assert_int_equal(p->table.view_end(&p->table), COX_INVALID);
    assert_string_equal(published(f), "web()");
}

static void test_differences(void **state)
{
    struct fixture *f = *state;
    struct plugin *p = good(f, "src");
    assert_int_equal(put(p, COX_KIND_CLUSTER, "web", NULL, NULL, NULL), COX_OK);
    assert_int_equal(put(p, COX_KIND_ENDPOINT, "a", "web", "address", "10.0.0.1:80"), COX_OK);
    assert_int_equal(put(p, COX_KIND_ENDPOINT, "b", "web", "address", "unix:/run/b.sock"), COX_OK);
    assert_int_equal(put(p, COX_KIND_ROUTE, "example.com/", NULL, "cluster", "web"), COX_OK);
    assert_int_equal(take_away(p, COX_KIND_ENDPOINT, "a", "web"), COX_OK);
    assert_string_equal(published(f), "web(b)");
    bool known;
    assert_non_null(topology_route(model_current(f->model), STR("example.com"), STR("/x"), &known));
    assert_int_equal(take_away(p, COX_KIND_ROUTE, "example.com/", NULL), COX_OK);
    assert_string_equal(published(f), "web(b)");
    assert_null(topology_route(model_current(f->model), STR("example.com"), STR("/x"), &known));
    assert_false(known);
}

static void test_second_claimant_is_refused(void **state)
{
    struct fixture *f = *state;
    struct plugin *a = good(f, "a"), *b = good(f, "b");
    assert_int_equal(put(a, COX_KIND_CLUSTER, "web", NULL, NULL, NULL), COX_OK);
    assert_int_equal(put(b, COX_KIND_CLUSTER, "web", NULL, NULL, NULL), COX_CONFLICT);
    assert_non_null(strstr(b->table.discovery_error(&b->table), "belongs to 'a'"));
    assert_int_equal(b->conflicts, 1);
    /* but its endpoints may join somebody else's cluster */
    assert_int_equal(put(b, COX_KIND_ENDPOINT, "e", "web", "address", "10.0.0.1:80"), COX_OK);
    assert_int_equal(take_away(b, COX_KIND_CLUSTER, "web", NULL), COX_OK); /* not its own: stays */
    assert_string_equal(published(f), "web(e)");
}

static void test_refusals(void **state)
{
    struct plugin *p = good(*state, "src");
    const char *const why = p->table.discovery_error(&p->table);
    assert_string_equal(why, "");
    assert_int_equal(put(p, COX_KIND_CLUSTER, "web", NULL, "balanse", "x"), COX_INVALID);
    assert_non_null(strstr(p->table.discovery_error(&p->table), "balanse"));
    assert_int_equal(put(p, COX_KIND_CLUSTER, "", NULL, NULL, NULL), COX_INVALID);
    assert_int_equal(put(p, COX_KIND_ENDPOINT, "e", NULL, "address", "10.0.0.1:80"), COX_INVALID);
    assert_int_equal(put(p, COX_KIND_ENDPOINT, "e", "web", "colour", "red"), COX_INVALID);
    assert_int_equal(put(p, COX_KIND_ENDPOINT, "e", "web", "weight", "1"), COX_INVALID); /* no address */
    assert_int_equal(put(p, COX_KIND_ROUTE, "nohost", NULL, "cluster", "web"), COX_INVALID);
    assert_int_equal(put(p, COX_KIND_POLICY, "x", NULL, NULL, NULL), COX_UNSUPPORTED);
    assert_int_equal(put(p, 4711, "x", NULL, NULL, NULL), COX_UNSUPPORTED);
    assert_int_equal(p->table.view_end(&p->table), COX_INVALID);
}

/* It would refuse all of its requests; the route that was there goes on. */
static void test_unknown_guard_is_refused(void **state)
{
    struct fixture *f = *state;
    struct plugin *p = good(f, "src");
    bool known;
    assert_int_equal(put(p, COX_KIND_CLUSTER, "web", NULL, "guard", "wall"), COX_OK);
    assert_int_equal(put(p, COX_KIND_ROUTE, "example.com/", NULL, "cluster", "web"), COX_OK);
    assert_int_equal(p->table.view_begin(&p->table), COX_OK);
    assert_int_equal(put(p, COX_KIND_CLUSTER, "web", NULL, "guard", "nobody"), COX_INVALID);
    assert_string_equal(p->table.discovery_error(&p->table),
                        "cluster \"web\": guard \"nobody\" does not exist");
    assert_int_equal(put(p, COX_KIND_ROUTE, "example.com/", NULL, "guard", "nobody"), COX_INVALID);
    assert_int_equal(p->table.view_end(&p->table), COX_INVALID);
    assert_string_equal(published(f), "web()");
    assert_string_equal(topology_cluster(model_current(f->model), STR("web"))->options.guard, "wall");
    assert_non_null(topology_route(model_current(f->model), STR("example.com"), STR("/x"), &known));
}

/* As in the config file: what no single field can know. */
static void test_contradictions_are_refused(void **state)
{
    struct plugin *p = good(*state, "src");
    assert_int_equal(put(p, COX_KIND_CLUSTER, "web", NULL, "hash_on", "moon"), COX_INVALID);
    assert_non_null(strstr(p->table.discovery_error(&p->table), "hash_on = \"moon\""));
    assert_int_equal(put(p, COX_KIND_CLUSTER, "web", NULL, "tls.alpn", "h2"), COX_INVALID);
    assert_non_null(strstr(p->table.discovery_error(&p->table), "needs protocol = \"h2\""));
}

static void test_metrics_are_bounded(void **state)
{
    struct plugin *p = good(*state, "src");
    char name[32];
    for (int i = 0; i < 2 * PLUGIN_METRICS_MAX; i++) {
        (void)snprintf(name, sizeof name, "m%d", i);
        p->table.metric(&p->table, name, i);
    }
    p->table.metric(&p->table, "m0", 42);
    assert_int_equal(p->metric_count, PLUGIN_METRICS_MAX);
    assert_true(p->metrics[0].value == 42.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_stall_is_logged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_quick_call_is_not_logged, setup, teardown),
        cmocka_unit_test_setup_teardown(test_leftover_timer_is_released, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_repeats_until_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_post_from_another_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_offload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_done_is_called_before_close, setup, teardown),
        cmocka_unit_test_setup_teardown(test_queue_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whole_views, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_view_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_differences, setup, teardown),
        cmocka_unit_test_setup_teardown(test_second_claimant_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_guard_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_contradictions_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_metrics_are_bounded, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
