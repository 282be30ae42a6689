/* Routing: which host and which prefix wins, also when there are thousands. */
#include "support.h"

static struct route_table *build(const char *const (*rows)[3], uint32_t count)
{
    struct route *routes = must(calloc(count + 1u, sizeof(*routes)));
    for (uint32_t i = 0; i < count; i++)
        routes[i] = (struct route){
            .host = str_of(rows[i][0]), .path = str_of(rows[i][1]), .cluster_id = str_of(rows[i][2])};
    struct route_table *t = route_table_build(routes, count, NULL, 0);
    free(routes);
    return t;
}

static void check(const struct route_table *t, const char *host, const char *path, const char *want)
{
    const struct route *r = route_table_find(t, str_of(host), str_of(path), NULL);
    struct str got = r ? r->cluster_id : STR("none");
    if (!str_eq(got, str_of(want)))
        fail_msg("%s%s went to %.*s, not %s", host, path, STR_ARG(got), want);
}

static void hosts_from_exact_to_any(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"Shop.Example.com", "/", "exact"},
        {"*.example.com", "/", "wild"},
        {"*.b.example.com", "/", "deep"},
        {"*", "/", "any"},
        {"[::1]", "/", "six"},
    };
    struct route_table *t = build(rows, 5);
    check(t, "shop.example.com", "/", "exact");
    check(t, "SHOP.EXAMPLE.COM:8080", "/", "exact");
    check(t, "shop.example.com.", "/", "exact");
    check(t, "shop.example.com.:80", "/", "exact");
    check(t, "shop.example.com:", "/", "exact");
    check(t, "x.example.com", "/", "wild");
    check(t, "x.y.example.com", "/", "wild");
    check(t, "x.b.example.com", "/", "deep");
    check(t, "b.example.com", "/", "wild");
    check(t, "example.com", "/", "any");
    check(t, ".example.com", "/", "any");
    check(t, "notexample.com", "/", "any");
    check(t, "", "/", "any");
    check(t, "[::1]:80", "/", "six");
    check(t, "[::1]", "/", "six");
    route_table_unref(&t);
}

static void prefixes_end_at_segments(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"*", "/a", "a"}, {"*", "/a/b", "ab"}, {"*", "/c/", "c"}, {"*", "/a/b/c/d", "deep"}};
    struct route_table *t = build(rows, 4);
    check(t, "x", "/a", "a");
    check(t, "x", "/a/", "a");
    check(t, "x", "/a/x", "a");
    check(t, "x", "/ab", "none");
    check(t, "x", "/a/bc", "a");
    check(t, "x", "/a/b", "ab");
    check(t, "x", "/a/b/c", "ab");
    check(t, "x", "/a/b/c/d/e", "deep");
    check(t, "x", "/c", "none");
    check(t, "x", "/c/", "c");
    check(t, "x", "/c/x", "c");
    check(t, "x", "/", "none");
    check(t, "x", "", "none");
    route_table_unref(&t);
}

static void a_host_without_the_path_gives_way(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"a.b.c", "/x", "exact"}, {"*.b.c", "/y", "wild"}, {"*.c", "/z", "wilder"}, {"*", "/", "any"}};
    struct route_table *t = build(rows, 4);
    check(t, "a.b.c", "/x", "exact");
    check(t, "a.b.c", "/y", "wild");
    check(t, "a.b.c", "/z", "wilder");
    check(t, "a.b.c", "/", "any");
    check(t, "a.b.c", "*", "any");
    route_table_unref(&t);
}

static void thousands_of_paths_on_one_host(void **state)
{
    (void)state;
    static char texts[5000][2][32];
    static const char *rows[5000][3];
    for (int i = 0; i < 5000; i++) {
        snprintf(texts[i][0], 32, "/p%d%s", i, i % 3 == 0 ? "/" : i % 3 == 1 ? "/deep/er" : "");
        snprintf(texts[i][1], 32, "c%d", i);
        rows[i][0] = "h";
        rows[i][1] = texts[i][0];
        rows[i][2] = texts[i][1];
    }
    struct route_table *t = build(rows, 5000);
    for (int i = 0; i < 5000; i++) {
        char path[64];
        check(t, "h", texts[i][0], texts[i][1]);
        snprintf(path, sizeof(path), "%s%sindex.php", texts[i][0], i % 3 == 0 ? "" : "/");
        check(t, "h", path, texts[i][1]);
        if (i % 3) {
            snprintf(path, sizeof(path), "%sx", texts[i][0]);
            check(t, "h", path, "none");
        }
    }
    check(t, "h", "////////////////////////////////////////", "none");
    route_table_unref(&t);
}

static void thousands_of_hosts(void **state)
{
    (void)state;
    static char texts[10000][2][40];
    static const char *rows[10000][3];
    for (int i = 0; i < 10000; i++) {
        snprintf(texts[i][0], 40, "%shost%d.example.com", i % 2 ? "*." : "", i);
        snprintf(texts[i][1], 40, "c%d", i);
        rows[i][0] = texts[i][0];
        rows[i][1] = "/";
        rows[i][2] = texts[i][1];
    }
    struct route_table *t = build(rows, 10000);
    for (int i = 0; i < 10000; i++) {
        char host[64];
        snprintf(host, sizeof(host), "%s%s", i % 2 ? "a.b" : "", texts[i][0] + (i % 2));
        check(t, host, "/", texts[i][1]);
    }
    check(t, "example.com", "/", "none");
    route_table_unref(&t);
}

static void long_hosts_match_any_alone(void **state)
{
    (void)state;
    char host[400];
    static const char *const rows[][3] = {{"*.c", "/", "wild"}, {"*", "/", "any"}};
    struct route_table *t = build(rows, 2);
    memset(host, 'a', sizeof(host));
    memcpy(host + 253, ".c", 2);
    assert_true(str_eq(route_table_find(t, str_make(host, 255), STR("/"), NULL)->cluster_id, STR("wild")));
    memcpy(host + 254, ".c", 2);
    assert_true(str_eq(route_table_find(t, str_make(host, 256), STR("/"), NULL)->cluster_id, STR("any")));
    memset(host, '.', sizeof(host)); /* as many labels as can be */
    memcpy(host + 253, ".c", 2);
    assert_true(str_eq(route_table_find(t, str_make(host, 255), STR("/"), NULL)->cluster_id, STR("wild")));
    route_table_unref(&t);
}

/* ---- conditions ---- */

/* "conditions priority" of a route; a request is the set of methods that fit. */
static struct route ruled(const char *path, const char *methods, const char *headers, int64_t priority,
                          const char *cluster)
{
    struct route_options options;
    options_init(&route_options_table, &options);
    if (methods)
        assert_null(options_set(&route_options_table, &options, "methods", methods, NULL));
    if (headers)
        assert_null(options_set(&route_options_table, &options, "headers", headers, NULL));
    options.priority = priority;
    struct route r = {.host = STR("h"), .path = str_of(path), .cluster_id = str_of(cluster)};
    r.rules = route_rules_build(&options, true, NULL);
    assert_non_null(r.rules);
    options_free(&route_options_table, &options);
    return r;
}

static bool method_fits(void *ctx, const struct route_rules *rules)
{
    const struct strings *methods = &rules->options.methods;
    return !methods->n || strcmp(methods->v[0], ctx) == 0;
}

static void ask(const struct route_table *t, const char *path, char *method, const char *want)
{
    struct route_asker asker = {.fits = method_fits, .ctx = method};
    const struct route *r = route_table_find(t, STR("h"), str_of(path), &asker);
    struct str got = r ? r->cluster_id : STR("none");
    if (!str_eq(got, str_of(want)))
        fail_msg("%s %s went to %.*s, not %s", method, path, STR_ARG(got), want);
}

static void the_most_conditions_are_tried_first(void **state)
{
    (void)state;
    struct route routes[] = {
        {.host = STR("h"), .path = STR("/a"), .cluster_id = STR("plain")},
        ruled("/a", "GET", NULL, 0, "get"),
        ruled("/a", "GET", "X", 0, "get-x"),
        ruled("/a", "PUT", "X", -1, "put-late"), /* behind the plain one: never */
        ruled("/a", "PATCH", NULL, 0, "patch"),
        ruled("/a", "PATCH", "[ \"X\", \"Y\" ]", 5, "patch-first"),
        ruled("/a/b", "GET", NULL, 0, "deep"),
        ruled("/", NULL, NULL, 1, "root"), /* rules without a condition */
    };
    uint32_t n = sizeof(routes) / sizeof(routes[0]), count;
    struct route_table *t = route_table_build(routes, n, NULL, 0);
    ask(t, "/a", "GET", "get-x");
    ask(t, "/a/x", "PUT", "plain");
    ask(t, "/a", "PATCH", "patch-first");
    ask(t, "/a/b", "GET", "deep");
    ask(t, "/a/b/c", "POST", "plain"); /* the next shorter path */
    ask(t, "/x", "PUT", "root");
    assert_true(str_eq(route_table_find(t, STR("h"), STR("/a/b"), NULL)->cluster_id, STR("plain")));
    const struct route *all = route_table_all(t, &count);
    assert_int_equal(count, n);
    assert_true(str_eq(route_rules_match(all[1].rules), STR("PATCH header(X) header(Y)")));
    assert_int_equal(all[1].group, 6);
    for (uint32_t i = 0; i < n; i++)
        route_rules_unref(&routes[i].rules); /* the table has its own */
    ask(t, "/a", "GET", "get-x");
    route_table_unref(&t);
}

static void thousands_of_paths_with_conditions(void **state)
{
    (void)state;
    static struct route routes[4000];
    static char texts[2000][16];
    for (int i = 0; i < 2000; i++) {
        snprintf(texts[i], sizeof(texts[i]), "/p%d", i);
        routes[2 * i] = ruled(texts[i], "GET", NULL, 0, "get");
        routes[2 * i + 1] = ruled(texts[i], "PUT", NULL, 0, "put");
    }
    struct route_table *t = route_table_build(routes, 4000, NULL, 0);
    for (int i = 0; i < 2000; i++) {
        ask(t, texts[i], "GET", "get");
        ask(t, texts[i], "PUT", "put");
        ask(t, texts[i], "POST", "none");
    }
    route_table_unref(&t);
    for (int i = 0; i < 4000; i++)
        route_rules_unref(&routes[i].rules);
}

static void doubles_keep_one(void **state)
{
    (void)state;
    static const char *const rows[][3] = {{"a", "/", "one"}, {"A", "/", "one"}};
    struct route_table *t = build(rows, 2);
    uint32_t count;
    route_table_all(t, &count);
    assert_int_equal(count, 1);
    check(t, "a", "/", "one");
    route_table_unref(&t);
}

static void what_may_be_put(void **state)
{
    (void)state;
    char path[1026] = "/";
    memset(path + 1, 'a', sizeof(path) - 1);
    assert_true(route_is_valid(STR("*"), STR("/")));
    assert_true(route_is_valid(STR("*.a"), STR("/")));
    assert_true(route_is_valid(STR("a"), str_make(path, 1024)));
    assert_false(route_is_valid(STR("a"), str_make(path, 1025)));
    assert_false(route_is_valid(STR(""), STR("/")));
    assert_false(route_is_valid(STR("*."), STR("/")));
    assert_false(route_is_valid(STR("a*b"), STR("/")));
    assert_false(route_is_valid(STR("*.*.a"), STR("/")));
    assert_false(route_is_valid(STR("a"), STR("x")));
    assert_false(route_is_valid(STR("a"), STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_from_exact_to_any),
        cmocka_unit_test(prefixes_end_at_segments),
        cmocka_unit_test(a_host_without_the_path_gives_way),
        cmocka_unit_test(thousands_of_paths_on_one_host),
        cmocka_unit_test(thousands_of_hosts),
        cmocka_unit_test(long_hosts_match_any_alone),
        cmocka_unit_test(the_most_conditions_are_tried_first),
        cmocka_unit_test(thousands_of_paths_with_conditions),
        cmocka_unit_test(doubles_keep_one),
        cmocka_unit_test(what_may_be_put),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
