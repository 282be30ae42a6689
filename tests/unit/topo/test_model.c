/* The model: owners, whole views, ledger slots from birth to reuse, sharing between snapshots, restarts, the
 * config, and long random edits of which every difference must give what the whole gives. */
#include "support.h"

#include "topo/index.h"

#include <unistd.h>

static struct topology *must_publish(struct model *m)
{
    struct topology *t = model_publish(m);
    assert_non_null(t);
    return t;
}

static void publish_and_drop(struct model *m)
{
    struct topology *t = must_publish(m);
    topology_unref(&t);
}

static void nothing_changed_nothing_published(void **state)
{
    (void)state;
    struct model *m = model_create(1, 4, 4);
    publish_and_drop(m); /* the first, though empty */
    assert_int_equal(model_current(m)->number, 1);
    assert_null(model_publish(m));
    assert_true(put_cluster(m, "a"));
    assert_true(put_endpoint(m, "a", "1.1.1.1:1"));
    assert_true(model_put_route(m, OWNER, STR("h"), STR("/"), STR("a"), NULL));
    publish_and_drop(m);
    assert_true(put_cluster(m, "a"));
    assert_true(put_endpoint(m, "a", "1.1.1.1:1"));
    assert_true(model_put_route(m, OWNER, STR("H"), STR("/"), STR("a"), NULL));
    assert_true(model_set_health(m, STR("a"), STR("1.1.1.1:1"), HEALTH_UNKNOWN));
    assert_null(model_publish(m));
    assert_int_equal(model_current(m)->number, 2);
    model_destroy(&m);
}

static void what_did_not_change_is_shared(void **state)
{
    (void)state;
    struct model *m = model_create(1, 4, 4);
    assert_true(put_cluster(m, "a") && put_cluster(m, "b") && put_endpoint(m, "b", "1.1.1.1:1"));
    struct topology *one = must_publish(m);
    assert_true(model_set_health(m, STR("b"), STR("1.1.1.1:1"), HEALTH_DOWN));
    struct topology *two = must_publish(m);
    assert_ptr_equal(one->clusters[0], two->clusters[0]);
    assert_ptr_not_equal(one->clusters[1], two->clusters[1]);
    assert_ptr_equal(one->routes, two->routes);
    assert_int_equal(one->clusters[1]->endpoints[0].health, HEALTH_UNKNOWN);
    assert_int_equal(two->clusters[1]->endpoints[0].service, SERVICE_UNHEALTHY);
    topology_unref(&one);
    topology_unref(&two);
    model_destroy(&m);
}

static void an_object_has_one_owner(void **state)
{
    (void)state;
    struct model *m = model_create(1, 4, 4);
    struct cluster_options options = default_options(BALANCE_P2C);
    struct endpoint_draft e = make_endpoint("1.1.1.1:1");
    struct buf error;
    buf_init(&error);
    assert_true(put_cluster(m, "a") && put_endpoint(m, "a", "1.1.1.1:1"));
    assert_true(model_put_route(m, OWNER, STR("h"), STR("/"), STR("a"), NULL));
    assert_false(model_put_cluster(m, STR("other"), STR("a"), &options, &error));
    assert_true(str_eq(buf_str(&error), STR("cluster 'a' belongs to 'test'")));
    assert_false(model_put_endpoint(m, STR("other"), STR("a"), &e, NULL));
    assert_false(model_put_route(m, STR("other"), STR("H"), STR("/"), STR("b"), NULL));
    model_remove_cluster(m, STR("other"), STR("a"));
    model_remove_endpoint(m, STR("other"), STR("a"), STR("1.1.1.1:1"));
    model_remove_route(m, STR("other"), STR("h"), STR("/"));
    publish_and_drop(m);
    assert_int_equal(model_current(m)->clusters[0]->endpoint_count, 1);
    e.id = STR("second"); /* a cluster may take endpoints of several owners */
    assert_true(model_put_endpoint(m, STR("other"), STR("a"), &e, NULL));
    error.len = 0;
    assert_false(model_put_endpoint(m, OWNER, STR("nowhere"), &e, &error));
    assert_true(str_eq(buf_str(&error), STR("no cluster 'nowhere'")));
    buf_fini(&error);
    free_options(&options);
    model_destroy(&m);
}

static bool put_ruled(struct model *m, const char *label, const char *key, const char *value,
                      struct buf *error)
{
    struct route_options options;
    options_init(&route_options_table, &options);
    assert_null(options_set(&route_options_table, &options, key, value, NULL));
    bool is_put = model_put_ruled_route(
        m, OWNER, &(struct route_place){.host = STR("h"), .path = STR("/"), .label = str_of(label)}, STR("a"),
        &options, error);
    options_free(&route_options_table, &options);
    return is_put;
}

static uint32_t count_routes(struct model *m)
{
    uint32_t count;
    topology_unref(&(struct topology *){model_publish(m)});
    route_table_all(model_current(m)->routes, &count);
    return count;
}

static void routes_with_rules_are_told_apart_by_label(void **state)
{
    (void)state;
    struct model *m = model_create(1, 4, 4);
    struct buf error;
    buf_init(&error);
    assert_true(put_cluster(m, "a"));
    assert_true(model_put_route(m, OWNER, STR("h"), STR("/"), STR("a"), NULL));
    assert_true(put_ruled(m, "", "methods", "GET", NULL)); /* labelled by its condition */
    assert_true(put_ruled(m, "", "methods", "PUT", NULL));
    assert_true(put_ruled(m, "one", "headers", "X-A", NULL));
    assert_int_equal(count_routes(m), 4);
    assert_true(put_ruled(m, "one", "headers", "X-A", NULL));
    assert_null(model_publish(m)); /* the same once more */
    assert_true(put_ruled(m, "one", "headers", "X-B", NULL));
    assert_int_equal(count_routes(m), 4);
    assert_false(put_ruled(m, "two", "rewrite_prefix", "x", &error));
    assert_non_null(strstr((buf_put(&error, "", 1), error.p), "is no path prefix"));
    model_remove_ruled_route(m, OWNER,
                             &(struct route_place){.host = STR("H"), .path = STR("/"), .label = STR("one")});
    assert_int_equal(count_routes(m), 3);
    model_remove_route(m, OWNER, STR("h"), STR("/")); /* the plain one */
    assert_int_equal(count_routes(m), 2);
    buf_fini(&error);
    model_destroy(&m);
}

static void a_whole_view_removes_the_rest(void **state)
{
    (void)state;
    struct model *m = model_create(1, 8, 8);
    struct endpoint_draft e = make_endpoint("2.2.2.2:2");
    assert_true(put_cluster(m, "a") && put_cluster(m, "b"));
    assert_true(put_endpoint(m, "a", "1.1.1.1:1") && put_endpoint(m, "a", "1.1.1.2:1") &&
                put_endpoint(m, "b", "1.1.1.3:1"));
    assert_true(model_put_route(m, OWNER, STR("h"), STR("/"), STR("a"), NULL));
    assert_true(model_put_endpoint(m, STR("other"), STR("a"), &e, NULL));
    publish_and_drop(m);
    model_view_begin(m, OWNER);
    assert_true(put_cluster(m, "a") && put_endpoint(m, "a", "1.1.1.2:1"));
    model_view_end(m, OWNER);
    publish_and_drop(m);
    const struct topology *t = model_current(m);
    uint32_t routes;
    route_table_all(t->routes, &routes);
    assert_int_equal(t->cluster_count, 1);
    assert_int_equal(routes, 0);
    assert_int_equal(t->clusters[0]->endpoint_count, 2); /* its own one, and the other owner's */
    assert_non_null(cluster_endpoint(t->clusters[0], STR("1.1.1.2:1")));
    assert_non_null(cluster_endpoint(t->clusters[0], STR("2.2.2.2:2")));
    model_view_begin(m, OWNER);
    model_view_end(m, OWNER);
    publish_and_drop(m);
    assert_int_equal(model_current(m)->cluster_count, 0);
    model_destroy(&m);
}

/* ---- slots ---- */

static bool is_quiet(void *ctx, bool is_cluster, uint32_t slot)
{
    (void)is_cluster;
    (void)slot;
    return *(const bool *)ctx;
}

static uint32_t slot_of(struct model *m, const char *cluster, const char *endpoint)
{
    return cluster_endpoint(topology_cluster(model_current(m), str_of(cluster)), str_of(endpoint))->slot;
}

static void a_slot_is_used_again_when_all_is_settled(void **state)
{
    (void)state;
    bool quiet = false;
    struct model *m = model_create(1, 1, 2);
    assert_true(put_cluster(m, "a") && put_endpoint(m, "a", "1.1.1.1:1") &&
                put_endpoint(m, "a", "1.1.1.1:2"));
    assert_false(put_endpoint(m, "a", "1.1.1.1:3"));
    assert_false(put_cluster(m, "b"));
    publish_and_drop(m); /* 1 */
    uint32_t slot = slot_of(m, "a", "1.1.1.1:1");
    model_remove_endpoint(m, OWNER, STR("a"), STR("1.1.1.1:1"));
    assert_false(put_endpoint(m, "a", "1.1.1.1:3"));
    publish_and_drop(m); /* 2: the first without it */
    quiet = true;
    model_settled(m, 1, is_quiet, &quiet);
    assert_false(put_endpoint(m, "a", "1.1.1.1:3")); /* not yet acknowledged */
    assert_true(model_is_settled(m, 1));
    assert_false(model_is_settled(m, 2));
    quiet = false;
    model_settled(m, 2, is_quiet, &quiet);
    assert_false(put_endpoint(m, "a", "1.1.1.1:3")); /* requests still in flight there */
    assert_false(model_is_settled(m, 2));
    quiet = true;
    model_settled(m, 2, is_quiet, &quiet);
    assert_true(model_is_settled(m, 2));
    assert_true(put_endpoint(m, "a", "1.1.1.1:3"));
    publish_and_drop(m);
    assert_int_equal(slot_of(m, "a", "1.1.1.1:3"), slot);
    model_destroy(&m);
}

static void a_slot_stays_for_life(void **state)
{
    (void)state;
    struct model *m = model_create(1, 4, 8);
    assert_true(put_cluster(m, "a") && put_endpoint(m, "a", "1.1.1.1:1") &&
                put_endpoint(m, "a", "1.1.1.1:2"));
    publish_and_drop(m);
    uint32_t slot = slot_of(m, "a", "1.1.1.1:2");
    struct endpoint_draft e = make_endpoint("9.9.9.9:9");
    e.id = STR("1.1.1.1:2");
    e.weight = 1;
    assert_true(model_put_endpoint(m, OWNER, STR("a"), &e, NULL));
    model_remove_endpoint(m, OWNER, STR("a"), STR("1.1.1.1:1"));
    publish_and_drop(m);
    assert_int_equal(slot_of(m, "a", "1.1.1.1:2"), slot);
    model_destroy(&m);
}

/* ---- fields of the core ---- */

static void the_core_keeps_its_fields(void **state)
{
    (void)state;
    struct model *m = model_create(1, 4, 8);
    struct endpoint_draft e = make_endpoint("1.1.1.1:1");
    e.member = STR("m1");
    e.member_state = MEMBER_STARTING;
    assert_true(put_cluster(m, "a"));
    assert_true(model_put_endpoint(m, OWNER, STR("a"), &e, NULL));
    assert_true(model_set_member_state(m, STR("m1"), MEMBER_ACTIVE));
    assert_false(model_set_member_state(m, STR("m2"), MEMBER_ACTIVE));
    assert_true(model_set_health(m, STR("a"), STR("1.1.1.1:1"), HEALTH_UP));
    assert_false(model_set_health(m, STR("a"), STR("x"), HEALTH_UP));
    assert_true(model_set_admin_drain(m, STR("m1"), true));
    e.weight = 50; /* its source says something new, and nothing of what the core knows */
    assert_true(model_put_endpoint(m, OWNER, STR("a"), &e, NULL));
    publish_and_drop(m);
    const struct endpoint *now = &model_current(m)->clusters[0]->endpoints[0];
    assert_int_equal(now->weight, 50);
    assert_int_equal(now->member_state, MEMBER_ACTIVE);
    assert_int_equal(now->health, HEALTH_UP);
    assert_int_equal(now->admin_drain, 1);
    assert_true(addr_parse(STR("1.1.1.2:1"), &e.addr)); /* another address: what was probed is gone */
    assert_true(model_put_endpoint(m, OWNER, STR("a"), &e, NULL));
    publish_and_drop(m);
    assert_int_equal(model_current(m)->clusters[0]->endpoints[0].health, HEALTH_UNKNOWN);
    model_destroy(&m);
}

static void members_are_replaced_by_id(void **state)
{
    (void)state;
    struct model *m = model_create(1, 1, 1);
    model_put_member(m, &(struct member_info){.id = STR("m1"), .state = MEMBER_STARTING});
    model_put_member(m, &(struct member_info){.id = STR("m0"), .state = MEMBER_STARTING});
    publish_and_drop(m);
    model_put_member(m, &(struct member_info){.id = STR("m1"), .state = MEMBER_STARTING});
    assert_null(model_publish(m));
    model_put_member(m, &(struct member_info){.id = STR("m1"), .state = MEMBER_ACTIVE});
    publish_and_drop(m);
    assert_int_equal(model_current(m)->member_count, 2);
    assert_int_equal(model_current(m)->members[1].state, MEMBER_ACTIVE);
    model_remove_member(m, STR("m1"));
    publish_and_drop(m);
    assert_int_equal(model_current(m)->member_count, 1);
    model_destroy(&m);
}

/* ---- restart ---- */

static void a_restart_goes_on_where_it_was(void **state)
{
    (void)state;
    bool quiet = true;
    struct buf bytes;
    struct model *m = model_create(1, 8, 8);
    assert_true(put_cluster(m, "a") && put_cluster(m, "b"));
    assert_true(put_endpoint(m, "a", "1.1.1.1:1") && put_endpoint(m, "a", "1.1.1.1:2"));
    assert_true(model_set_health(m, STR("a"), STR("1.1.1.1:2"), HEALTH_DOWN));
    model_remove_endpoint(m, OWNER, STR("a"), STR("1.1.1.1:1"));
    model_remove_cluster(m, OWNER,
                         STR("a")); /* slot 0 of the clusters, slots 0 and 1 of the endpoints are free */
    assert_true(put_endpoint(m, "b", "1.1.1.1:3"));
    assert_true(model_set_health(m, STR("b"), STR("1.1.1.1:3"), HEALTH_DOWN));
    assert_true(model_put_route(m, OWNER, STR("h"), STR("/"), STR("b"), NULL));
    publish_and_drop(m);
    buf_init(&bytes);
    topology_encode(model_current(m), &bytes);
    model_destroy(&m);

    struct topology *last = topology_decode(buf_str(&bytes), NULL);
    m = model_create(2, 8, 3);
    model_load(m, last);
    struct topology *next = must_publish(m);
    assert_int_equal(next->epoch, 2);
    assert_int_equal(next->number, last->number + 1);
    assert_ptr_equal(next->clusters[0], last->clusters[0]);
    assert_int_equal(next->clusters[0]->slot, 1);
    assert_int_equal(next->clusters[0]->endpoints[0].slot, 2);
    assert_int_equal(next->clusters[0]->endpoints[0].health, HEALTH_DOWN);
    topology_unref(&next);
    assert_false(put_endpoint(m, "b", "1.1.1.1:4")); /* slots 0 and 1 may still have requests in flight */
    model_settled(m, last->number, is_quiet, &quiet);
    assert_true(put_endpoint(m, "b", "1.1.1.1:4"));
    model_view_begin(m, OWNER); /* its source speaks again: what it does not name goes */
    assert_true(put_cluster(m, "b"));
    model_view_end(m, OWNER);
    publish_and_drop(m);
    assert_int_equal(model_current(m)->clusters[0]->endpoint_count, 0);
    topology_unref(&last);
    buf_fini(&bytes);
    model_destroy(&m);
}

/* ---- the config ---- */

static struct settings *load(const char *text)
{
    char name[] = "/tmp/test_model.XXXXXX";
    struct buf errors;
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    buf_init(&errors);
    struct settings *s = settings_load(name, &errors);
    unlink(name);
    if (!s)
        fail_msg("%.*s", STR_ARG(buf_str(&errors)));
    buf_fini(&errors);
    return s;
}

static void the_config_gives_clusters_and_routes(void **state)
{
    (void)state;
    struct settings *s = load(
        "listeners = ( { name = \"web\"; address = \"127.0.0.1:8080\"; } );\n"
        "plugins = ( { name = \"process\"; } );\n"
        "clusters = ( { name = \"api\"; endpoints = ( \"127.0.0.1:1\", { address = \"127.0.0.1:2\"; weight = "
        "7; } ); } );\n"
        "routes = ( { host = \"api.example\"; path = \"/v1\"; cluster = \"api\"; } );\n"
        "cartridges = ( { name = \"php\"; actuator = \"process\"; command = [ \"php\" ];\n"
        "                 ports = ( { protocol = \"fastcgi\"; fastcgi = { document_root = \"/srv\"; index = "
        "\"index.php\"; }; },\n"
        "                           { name = \"extra\"; } ); } );\n"
        "applications = ( { name = \"shop\"; hosts = [ \"a.example\", \"b.example\" ];\n"
        "                   cartridges = ( { alias = \"web\"; type = \"php\"; min = 1; max = 2; } ); } );\n");
    struct model *m = model_create(1, 8, 8);
    model_load_settings(m, s);
    publish_and_drop(m);
    const struct topology *t = model_current(m);
    bool is_known;
    assert_int_equal(t->cluster_count, 3);
    const struct cluster *api = topology_route(t, STR("api.example"), STR("/v1/x"), &is_known);
    assert_true(api && str_eq(api->id, STR("api")) && str_eq(api->owner, STR("config")));
    assert_int_equal(api->endpoint_count, 2);
    assert_int_equal(cluster_endpoint(api, STR("127.0.0.1:2"))->weight, 7);
    const struct cluster *web = topology_route(t, STR("b.example"), STR("/"), &is_known);
    assert_true(web && str_eq(web->id, STR("shop/1/1/web:http")));
    assert_int_equal(web->options.protocol, PROTOCOL_FASTCGI);
    assert_int_equal(web->candidate_count, 0);
    assert_non_null(topology_cluster(t, STR("shop/1/1/web:extra")));
    model_load_settings(m, s); /* again: the same */
    assert_null(model_publish(m));
    settings_free(&s);
    model_destroy(&m);
}

/* ---- random edits ---- */

static uint64_t seed = 1;

static uint32_t draw(uint32_t below)
{
    return (uint32_t)((balance_random(&seed) >> 32) * below >> 32);
}

static void edit(struct model *m)
{
    char cluster[16], endpoint[32], host[32];
    snprintf(cluster, sizeof(cluster), "c%u", draw(8));
    snprintf(endpoint, sizeof(endpoint), "10.0.0.%u:80", draw(12));
    snprintf(host, sizeof(host), "%sh%u", draw(2) ? "*." : "", draw(6));
    struct endpoint_draft e = make_endpoint(endpoint);
    e.weight = draw(4) * 50;
    e.member = draw(2) ? STR_NULL : str_of(endpoint);
    e.member_state = (uint8_t)draw(8);
    e.readiness = (uint8_t)draw(3);
    struct member_info info = {.id = str_of(endpoint), .state = (uint8_t)draw(8)};
    bool done = true; /* refusals are part of the game */
    switch (draw(12)) {
    case 0:
        done = put_cluster(m, cluster);
        break;
    case 1:
        if (draw(4) == 0)
            model_remove_cluster(m, OWNER, str_of(cluster));
        break;
    case 2:
    case 3:
    case 4:
        done = model_put_endpoint(m, OWNER, str_of(cluster), &e, NULL);
        break;
    case 5:
        model_remove_endpoint(m, OWNER, str_of(cluster), e.id);
        break;
    case 6:
        done =
            model_put_route(m, OWNER, str_of(host), draw(2) ? STR("/") : STR("/a/b"), str_of(cluster), NULL);
        break;
    case 7:
        model_remove_route(m, OWNER, str_of(host), STR("/"));
        break;
    case 8:
        done = model_set_health(m, str_of(cluster), e.id, draw(3));
        break;
    case 9:
        done = model_set_member_state(m, e.id, draw(8));
        break;
    case 10:
        model_put_member(m, &info);
        break;
    default:
        model_remove_member(m, e.id);
    }
    (void)done;
}

/* The next table is made from the last one's order and what came since. */
static void members_stay_sorted(void **state)
{
    (void)state;
    struct model *m = model_create(1, 4, 16);
    char id[8];
    for (int step = 0; step < 2000; step++) {
        for (uint32_t n = draw(5) + 1; n-- > 0;) {
            (void)snprintf(id, sizeof id, "m%02u", draw(40));
            if (draw(2))
                model_remove_member(m, str_of(id));
            else
                model_put_member(m, &(struct member_info){.id = str_of(id), .state = (uint8_t)draw(8)});
        }
        struct topology *t = model_publish(m);
        for (uint32_t i = 1; t && i < t->member_count; i++)
            assert_true(str_order(t->members[i - 1].id, t->members[i].id) < 0);
        topology_unref(&t);
    }
    assert_in_range(model_current(m)->member_count, 5, 40);
    model_destroy(&m);
}

/* A far copy lives on differences alone; a third is read from the whole each time. */
static void differences_follow_any_edits(void **state)
{
    (void)state;
    bool quiet = true;
    struct model *m = model_create(9, 10, 64);
    struct topology *here = must_publish(m), *far;
    struct buf b;
    buf_init(&b);
    topology_encode(here, &b);
    far = topology_decode(buf_str(&b), NULL);
    for (int step = 0; step < 3000; step++) {
        for (uint32_t n = draw(4) + 1; n-- > 0;)
            edit(m);
        if (draw(3) == 0)
            model_settled(m, here->number, is_quiet, &quiet);
        struct topology *next = model_publish(m);
        if (!next)
            continue;
        b.len = 0;
        topology_diff_encode(here, next, &b);
        struct topology *far_next = topology_diff_apply(far, buf_str(&b), NULL);
        assert_non_null(far_next);
        assert_same_topology(next, far_next);
        b.len = 0;
        topology_encode(next, &b);
        struct topology *whole = topology_decode(buf_str(&b), NULL);
        assert_non_null(whole);
        assert_same_topology(next, whole);
        topology_unref(&whole);
        topology_unref(&here);
        topology_unref(&far);
        here = next;
        far = far_next;
    }
    assert_true(here->number > 1000);
    topology_unref(&here);
    topology_unref(&far);
    buf_fini(&b);
    model_destroy(&m);
}

/* Slots of living objects are all different, whatever happened. */
static void no_slot_is_given_twice(void **state)
{
    (void)state;
    bool quiet = true;
    struct model *m = model_create(9, 10, 64);
    for (int step = 0; step < 2000; step++) {
        edit(m);
        struct topology *t = model_publish(m);
        if (!t)
            continue;
        uint64_t clusters = 0, endpoints = 0;
        for (uint32_t i = 0; i < t->cluster_count; i++) {
            assert_false(clusters >> t->clusters[i]->slot & 1);
            clusters |= 1ull << t->clusters[i]->slot;
            for (uint32_t k = 0; k < t->clusters[i]->endpoint_count; k++) {
                assert_false(endpoints >> t->clusters[i]->endpoints[k].slot & 1);
                endpoints |= 1ull << t->clusters[i]->endpoints[k].slot;
            }
        }
        model_settled(m, t->number, is_quiet, &quiet);
        topology_unref(&t);
    }
    model_destroy(&m);
}

/* Dropping all entries in one walk: none is left out, none seen twice, wherever removal moves the others. */
static void test_index_walk_that_removes(void **state)
{
    enum { COUNT = 5000 };
    static char keys[COUNT][16];
    static unsigned seen[COUNT];
    struct index x = {0};
    uint32_t at = 0;
    char *key;
    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(keys[i], sizeof keys[i], "key-%u", i * 7919);
        index_put(&x, str_of(keys[i]), keys[i]);
    }
    while ((key = index_next(&x, &at))) {
        seen[(key - keys[0]) / (ptrdiff_t)sizeof keys[0]]++;
        index_remove(&x, str_of(key));
        at--;
    }
    assert_int_equal(x.count, 0);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(seen[i], 1);
    index_fini(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index_walk_that_removes),
        cmocka_unit_test(nothing_changed_nothing_published),
        cmocka_unit_test(what_did_not_change_is_shared),
        cmocka_unit_test(an_object_has_one_owner),
        cmocka_unit_test(routes_with_rules_are_told_apart_by_label),
        cmocka_unit_test(a_whole_view_removes_the_rest),
        cmocka_unit_test(a_slot_is_used_again_when_all_is_settled),
        cmocka_unit_test(a_slot_stays_for_life),
        cmocka_unit_test(the_core_keeps_its_fields),
        cmocka_unit_test(members_are_replaced_by_id),
        cmocka_unit_test(members_stay_sorted),
        cmocka_unit_test(a_restart_goes_on_where_it_was),
        cmocka_unit_test(the_config_gives_clusters_and_routes),
        cmocka_unit_test(differences_follow_any_edits),
        cmocka_unit_test(no_slot_is_given_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
