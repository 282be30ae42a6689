/* The wire form: what is written is read, what is cut or broken is refused, a difference gives the same as
 * the whole. */
#include "support.h"

#include "topo/wire.h"

/* A bit of everything. */
static struct model *fill(void)
{
    struct model *m = model_create(3, 16, 64);
    assert_true(put_cluster(m, "php"));
    assert_true(put_cluster(m, "assets"));
    assert_true(put_cluster(m, "empty"));
    struct endpoint_draft e = make_endpoint("10.0.0.1:9000");
    e.id = STR("member-1:http");
    e.member = STR("member-1");
    e.platform_uid = STR("uid");
    e.revision = STR("v7");
    e.partition = STR("eu-1");
    e.network_partition = STR("eu");
    e.weight = 250;
    e.member_state = MEMBER_ACTIVE;
    e.health = HEALTH_UP;
    e.priority = 2;
    assert_true(model_put_endpoint(m, OWNER, STR("php"), &e, NULL));
    assert_true(put_endpoint(m, "php", "[2001:db8::1]:80"));
    assert_true(put_endpoint(m, "assets", "unix:/run/assets.sock"));
    assert_true(model_set_admin_drain(m, STR("unix:/run/assets.sock"), true));
    assert_true(model_put_route(m, OWNER, STR("Example.com"), STR("/assets/"), STR("assets"), NULL));
    assert_true(model_put_route(m, OWNER, STR("*"), STR("/"), STR("php"), NULL));
    assert_true(model_put_route(m, OWNER, STR("gone.example"), STR("/"), STR("gone"), NULL));
    struct route_options options;
    options_init(&route_options_table, &options);
    assert_null(options_set(&route_options_table, &options, "headers", "[ \"X-Beta=1\", \"!X-Old\" ]", NULL));
    assert_null(options_set(&route_options_table, &options, "clusters", "[ \"php=9\", \"gone=1\" ]", NULL));
    assert_null(options_set(&route_options_table, &options, "mirror.cluster", "assets", NULL));
    struct route_place place = {.host = STR("Example.com"), .path = STR("/assets/"), .label = STR("beta")};
    assert_true(model_put_ruled_route(m, OWNER, &place, STR(""), &options, NULL));
    place.label = STR("");
    assert_true(model_put_ruled_route(m, OWNER, &place, STR(""), &options, NULL));
    options_free(&route_options_table, &options);
    model_put_member(m, &(struct member_info){.id = STR("member-1"),
                                              .set = STR("shop/1/1/web"),
                                              .reason = STR("started"),
                                              .state = MEMBER_ACTIVE,
                                              .since_wall_ns = 123456789,
                                              .pid = 4711});
    return m;
}

static struct buf encode(const struct topology *t)
{
    struct buf b;
    buf_init(&b);
    topology_encode(t, &b);
    return b;
}

/* A copy of exactly that size, so that a sanitizer sees every byte read beyond. */
static struct topology *decode_exactly(const char *p, size_t n, struct buf *error)
{
    char *copy = must(malloc(n ? n : 1));
    memcpy(copy, p, n);
    struct topology *t = topology_decode(str_make(copy, n), error);
    free(copy);
    return t;
}

/* Addresses of every kind lie in one block, as long as they need to be; the last may be copied whole too. */
static void a_cluster_keeps_addresses_and_texts_of_any_length(void **state)
{
    (void)state;
    static const char *const addresses[] = {"unix:/run/a.sock", "unix:@abstract", "[2001:db8::1]:443",
                                            "10.0.0.1:80"};
    char long_id[TOPOLOGY_ID_MAX];
    struct endpoint_draft drafts[4];
    struct cluster_options options;
    memset(long_id, 'x', sizeof long_id);
    for (unsigned i = 0; i < 4; i++) {
        drafts[i] = (struct endpoint_draft){.slot = i,
                                            .weight = TOPOLOGY_WEIGHT_MAX,
                                            .readiness = ENDPOINT_READY,
                                            .id = str_of(addresses[i])};
        assert_true(addr_parse(drafts[i].id, &drafts[i].addr));
    }
    drafts[2].id = drafts[2].network_partition = str_make(long_id, sizeof long_id);
    options_init(&cluster_options_table, &options);
    struct cluster *c = cluster_build(STR("all"), OWNER, 0, &options, drafts, 4);
    for (unsigned i = 0; i < 4; i++) {
        const struct endpoint *e = cluster_endpoint(c, drafts[i].id);
        assert_non_null(e);
        assert_int_equal(e->slot, i);
        struct endpoint_draft again = endpoint_draft_of(e);
        struct addr whole = *e->addr;
        assert_true(addr_eq(&whole, &drafts[i].addr));
        assert_memory_equal(&again.addr, &drafts[i].addr, sizeof again.addr);
        assert_int_equal(again.weight, TOPOLOGY_WEIGHT_MAX);
        for (unsigned n = 0; n < ENDPOINT_TEXTS; n++)
            assert_true(str_eq(draft_text_of(&again, n), draft_text_of(&drafts[i], n)));
    }
    cluster_unref(&c);
    options_free(&cluster_options_table, &options);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct model *m = fill();
    struct topology *t = model_publish(m);
    struct buf b = encode(t), error;
    buf_init(&error);
    struct topology *copy = decode_exactly(b.p, b.len, &error);
    assert_non_null(copy);
    assert_same_topology(t, copy);
    assert_int_equal(copy->epoch, 3);
    assert_int_equal(copy->number, 1);
    assert_int_equal(copy->cluster_slots, 3);
    assert_int_equal(copy->endpoint_slots, 3);
    const struct cluster *php = topology_cluster(copy, STR("php"));
    const struct endpoint *e = cluster_endpoint(php, STR("member-1:http"));
    assert_true(str_eq(php->owner, OWNER) && str_eq(endpoint_text(e, TEXT_OWNER), OWNER));
    assert_true(str_eq(endpoint_id(e), STR("member-1:http")) && str_eq(endpoint_member(e), STR("member-1")));
    assert_true(str_eq(endpoint_text(e, TEXT_PLATFORM_UID), STR("uid")));
    assert_true(str_eq(endpoint_text(e, TEXT_REVISION), STR("v7")));
    assert_true(str_eq(endpoint_text(e, TEXT_PARTITION), STR("eu-1")));
    assert_true(str_eq(endpoint_text(e, TEXT_NETWORK_PARTITION), STR("eu")));
    assert_int_equal(e->weight, 250);
    assert_int_equal(e->member_state, MEMBER_ACTIVE);
    assert_int_equal(e->health, HEALTH_UP);
    assert_int_equal(e->priority, 2);
    assert_int_equal(e->service, SERVICE_ON);
    assert_int_equal(addr_port(e->addr), 9000);
    assert_int_equal(topology_cluster(copy, STR("assets"))->endpoints[0].service, SERVICE_DRAINING);
    assert_int_equal(copy->members[0].pid, 4711);
    assert_int_equal(copy->members[0].since_wall_ns, 123456789);
    assert_true(str_eq(copy->members[0].reason, STR("started")));
    buf_fini(&b);
    buf_fini(&error);
    topology_unref(&copy);
    topology_unref(&t);
    model_destroy(&m);
}

static void routes_tell_missing_from_unknown(void **state)
{
    (void)state;
    struct model *m = fill();
    struct topology *t = model_publish(m);
    bool is_known;
    assert_true(
        str_eq(topology_route(t, STR("EXAMPLE.com:80"), STR("/assets/a.css"), &is_known)->id, STR("assets")));
    assert_true(str_eq(topology_route(t, STR("example.com"), STR("/"), &is_known)->id, STR("php")));
    assert_null(topology_route(t, STR("gone.example"), STR("/"), &is_known));
    assert_true(is_known);
    model_remove_route(m, OWNER, STR("*"), STR("/"));
    topology_unref(&t);
    t = model_publish(m);
    assert_null(topology_route(t, STR("example.com"), STR("/"), &is_known));
    assert_false(is_known);
    topology_unref(&t);
    model_destroy(&m);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct model *m = fill();
    struct topology *t = model_publish(m);
    struct buf b = encode(t), error;
    size_t accepted = 0;
    buf_init(&error);
    for (size_t n = 0; n < b.len; n++) {
        error.len = 0;
        struct topology *cut = decode_exactly(b.p, n, &error);
        accepted += cut != NULL;
        if (!cut)
            assert_true(error.len > 0);
        topology_unref(&cut);
    }
    /* Only cuts between two objects are messages of their own: behind the head, each cluster, and the two
     * lists of routes. */
    assert_int_equal(accepted, 1 + 3 + 2);
    buf_fini(&b);
    buf_fini(&error);
    topology_unref(&t);
    model_destroy(&m);
}

static void no_changed_byte_does_harm(void **state)
{
    (void)state;
    struct model *m = fill();
    struct topology *t = model_publish(m);
    struct buf b = encode(t);
    static const char values[] = {0, 1, (char)0x7f, (char)0xff};
    for (size_t i = 0; i < b.len; i++)
        for (size_t k = 0; k < sizeof(values); k++) {
            char before = b.p[i];
            b.p[i] = values[k];
            struct topology *broken = decode_exactly(b.p, b.len, NULL);
            if (broken) { /* then it must be a sound one */
                struct buf again = encode(broken);
                struct topology *twice = decode_exactly(again.p, again.len, NULL);
                assert_non_null(twice);
                assert_same_topology(broken, twice);
                topology_unref(&twice);
                buf_fini(&again);
            }
            topology_unref(&broken);
            b.p[i] = before;
        }
    buf_fini(&b);
    topology_unref(&t);
    model_destroy(&m);
}

static void unknown_fields_are_skipped(void **state)
{
    (void)state;
    struct model *m = fill();
    struct topology *t = model_publish(m);
    struct buf b = encode(t);
    wire_put_text(&b, 999, STR("from a later version"));
    struct topology *copy = decode_exactly(b.p, b.len, NULL);
    assert_non_null(copy);
    assert_same_topology(t, copy);
    b.p[4] = 2; /* another version of the frame itself */
    assert_null(decode_exactly(b.p, b.len, NULL));
    buf_fini(&b);
    topology_unref(&copy);
    topology_unref(&t);
    model_destroy(&m);
}

static void texts_have_limits(void **state)
{
    (void)state;
    char id[300];
    memset(id, 'x', sizeof(id));
    for (size_t n = 254; n <= 257; n++) {
        struct buf b;
        buf_init(&b);
        wire_put_head(&b, &(struct wire_head){.kind = WIRE_WHOLE});
        size_t begun = wire_begin(&b, WIRE_CLUSTER);
        wire_put_text(&b, CLUSTER_ID, str_make(id, n));
        wire_end(&b, begun);
        struct topology *t = decode_exactly(b.p, b.len, NULL);
        assert_true((t != NULL) == (n <= TOPOLOGY_ID_MAX));
        topology_unref(&t);
        buf_fini(&b);
    }
}

static void order_is_part_of_the_form(void **state)
{
    (void)state;
    static const char *const ids[][2] = {{"a", "b"}, {"b", "a"}, {"a", "a"}};
    for (size_t i = 0; i < 3; i++) {
        struct buf b;
        buf_init(&b);
        wire_put_head(&b, &(struct wire_head){.kind = WIRE_WHOLE});
        for (size_t k = 0; k < 2; k++) {
            size_t begun = wire_begin(&b, WIRE_CLUSTER);
            wire_put_text(&b, CLUSTER_ID, str_of(ids[i][k]));
            wire_end(&b, begun);
        }
        struct topology *t = decode_exactly(b.p, b.len, NULL);
        assert_true((t != NULL) == (i == 0));
        topology_unref(&t);
        buf_fini(&b);
    }
}

/* ---- differences ---- */

static struct topology *apply(struct topology *base, const struct topology *from, const struct topology *to)
{
    struct buf b;
    buf_init(&b);
    topology_diff_encode(from, to, &b);
    char *copy = must(malloc(b.len));
    memcpy(copy, b.p, b.len);
    struct topology *t = topology_diff_apply(base, str_make(copy, b.len), NULL);
    free(copy);
    buf_fini(&b);
    return t;
}

static void a_difference_gives_the_whole(void **state)
{
    (void)state;
    struct model *m = fill();
    struct topology *one = model_publish(m);
    struct buf b = encode(one);
    struct topology *far = decode_exactly(b.p, b.len, NULL);
    assert_true(put_cluster(m, "new"));
    assert_true(put_endpoint(m, "php", "10.0.0.9:80"));
    model_remove_cluster(m, OWNER, STR("empty"));
    model_remove_route(m, OWNER, STR("*"), STR("/"));
    struct topology *two = model_publish(m), *far_two = apply(far, one, two);
    assert_non_null(far_two);
    assert_same_topology(two, far_two);
    /* what did not change is the same object */
    assert_ptr_equal(topology_cluster(far, STR("assets")), topology_cluster(far_two, STR("assets")));
    assert_ptr_equal(far->members, far_two->members);
    assert_null(apply(far_two, one, two)); /* it starts from another one */
    buf_fini(&b);
    topology_unref(&one);
    topology_unref(&two);
    topology_unref(&far);
    assert_int_equal(topology_cluster(far_two, STR("php"))->endpoint_count,
                     3); /* it lives on without its base */
    topology_unref(&far_two);
    model_destroy(&m);
}

static void an_empty_difference_moves_the_number(void **state)
{
    (void)state;
    struct model *m = fill();
    struct topology *one = model_publish(m);
    assert_true(model_set_health(m, STR("php"), STR("[2001:db8::1]:80"), HEALTH_UP));
    struct topology *two = model_publish(m);
    assert_true(model_set_health(m, STR("php"), STR("[2001:db8::1]:80"), HEALTH_UNKNOWN));
    assert_null(apply(two, one, two));
    struct topology *same = apply(one, one, two);
    assert_same_topology(two, same);
    assert_ptr_equal(same->routes, one->routes);
    topology_unref(&same);
    topology_unref(&one);
    topology_unref(&two);
    model_destroy(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_keeps_addresses_and_texts_of_any_length),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(routes_tell_missing_from_unknown),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(no_changed_byte_does_harm),
        cmocka_unit_test(unknown_fields_are_skipped),
        cmocka_unit_test(texts_have_limits),
        cmocka_unit_test(order_is_part_of_the_form),
        cmocka_unit_test(a_difference_gives_the_whole),
        cmocka_unit_test(an_empty_difference_moves_the_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
