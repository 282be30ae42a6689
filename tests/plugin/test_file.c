/* The file plugin on a real file in a folder of its own. */
#include "support.h"

struct files {
    struct fixture *f;
    char dir[64], path[128], next[128];
    struct plugin *plugin;
};

static int setup_files(void **state)
{
    static struct files fs;
    void *fixture;
    if (setup(&fixture))
        return -1;
    fs = (struct files){.f = fixture};
    (void)snprintf(fs.dir, sizeof fs.dir, "/tmp/coxswain-file-XXXXXX");
    assert_non_null(mkdtemp(fs.dir));
    *state = &fs;
    return 0;
}

static void name(struct files *fs, const char *base)
{
    (void)snprintf(fs->path, sizeof fs->path, "%s/%s", fs->dir, base);
    (void)snprintf(fs->next, sizeof fs->next, "%s/next", fs->dir);
}

static int teardown_files(void **state)
{
    struct files *fs = *state;
    void *fixture = fs->f;
    (void)teardown(&fixture);
    (void)unlink(fs->path);
    (void)unlink(fs->next);
    return rmdir(fs->dir);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* As good tools do it: whole, beside the old one, then over it. */
static void replace(struct files *fs, const char *text)
{
    write_file(fs->next, text);
    assert_int_equal(rename(fs->next, fs->path), 0);
}

static void begin(struct files *fs, const char *settle)
{
    struct section s = section_of("src", "file");
    section_set(&s, OPTION_TEXT("path", fs->path));
    section_set(&s, OPTION_TEXT("settle", settle));
    section_set(&s, OPTION_TEXT("poll", "1h")); /* what is seen here is seen by inotify */
    fs->plugin = create(fs->f, &s, real_dir());
    start(fs->plugin);
}

static bool has_endpoint(struct fixture *f, const char *cluster, const char *id)
{
    struct topology *t = model_publish(f->model);
    topology_unref(&t);
    const struct cluster *c =
        model_current(f->model) ? topology_cluster(model_current(f->model), str_of(cluster)) : NULL;
    for (uint32_t i = 0; c && i < c->endpoint_count; i++)
        if (str_eq(endpoint_id(&c->endpoints[i]), str_of(id)))
            return true;
    return false;
}

static const char one[] = "{ \"clusters\": [ { \"name\": \"web\", \"probe\": { \"kind\": \"none\" },\n"
                          "  \"endpoints\": [ \"10.0.0.1:80\", { \"address\": \"10.0.0.2:80\", \"id\": "
                          "\"b\", \"weight\": 7 } ] } ],\n"
                          "  \"routes\": [ { \"host\": \"example.com\", \"cluster\": \"web\" } ] }\n";

static void test_reads(void **state)
{
    struct files *fs = *state;
    name(fs, "hosts.json");
    write_file(fs->path, one);
    begin(fs, "5ms");
    UNTIL(fs->f, has_endpoint(fs->f, "web", "b"));
    const struct topology *t = model_current(fs->f->model);
    const struct cluster *c = topology_cluster(t, STR("web"));
    assert_int_equal(c->endpoint_count, 2);
    assert_int_equal(c->options.probe.kind, PROBE_NONE);
    bool known;
    assert_ptr_equal(topology_route(t, STR("example.com"), STR("/x"), &known), c);
}

static void test_follows_changes(void **state)
{
    struct files *fs = *state;
    name(fs, "hosts.json");
    begin(fs, "5ms"); /* it is not there yet */
    UNTIL(fs->f, fs->plugin->source_problem != NULL);
    assert_non_null(strstr(fs->plugin->source_problem, "No such file"));
    replace(fs, one);
    UNTIL(fs->f, has_endpoint(fs->f, "web", "b"));
    assert_null(fs->plugin->source_problem);
    replace(fs, "{ \"clusters\": [ { \"name\": \"web\", \"endpoints\": [ \"10.0.0.9:80\" ] } ] }");
    UNTIL(fs->f, has_endpoint(fs->f, "web", "10.0.0.9:80"));
    assert_false(has_endpoint(fs->f, "web", "b"));
    assert_int_equal(unlink(fs->path), 0);
    UNTIL(fs->f, fs->plugin->source_problem != NULL);
    assert_true(has_endpoint(fs->f, "web", "10.0.0.9:80")); /* the last good view stays */
}

/* Written again long before it may be called settled, and read all the same. */
static void test_file_that_never_rests(void **state)
{
    struct files *fs = *state;
    name(fs, "hosts.json");
    write_file(fs->path, "{}");
    begin(fs, "100ms");
    UNTIL(fs->f, strstr(log_text(fs->f), ": read "));
    UNTIL(fs->f, (replace(fs, one), has_endpoint(fs->f, "web", "b")));
}

static void test_bad_file_keeps_the_last_good_view(void **state)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"{ \"clusters\": [\n  { \"name\": \"web\",\n    \"endpoints\": [ \"10.0.0.1:80\" ] ]\n",
         "hosts.json:3: "},
        {"{ \"clusters\": [ { \"name\": \"web\", \"balanse\": \"x\" } ] }",
         "clusters[0]: cluster \"web\": balanse"},
        {"{ \"clusters\": [ { \"endpoints\": [] } ] }", "clusters[0]: a cluster is an object with a name"},
        {"{ \"clusters\": [ { \"name\": \"w\", \"endpoints\": [ \"somewhere\" ] } ] }",
         "wrong value of address"},
        {"{ \"routes\": [ { \"host\": \"x\" } ] }", "a route needs a cluster"},
        {"{ \"roads\": [] }", "unknown key \"roads\""},
        {"[]", "must be one object"},
        {"", "hosts.json:1: "},
    };
    struct files *fs = *state;
    name(fs, "hosts.json");
    write_file(fs->path, one);
    begin(fs, "5ms");
    UNTIL(fs->f, has_endpoint(fs->f, "web", "b"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        replace(fs, cases[i].text);
        UNTIL(fs->f, fs->plugin->source_problem && strstr(fs->plugin->source_problem, cases[i].expected));
        assert_true(has_endpoint(fs->f, "web", "b"));
    }
    replace(fs, one);
    UNTIL(fs->f, !fs->plugin->source_problem);
}

static void test_libconfig(void **state)
{
    struct files *fs = *state;
    name(fs, "hosts.cfg");
    write_file(fs->path,
               "clusters = ( { name = \"web\"; probe = { interval = \"3s\"; };\n"
               "  endpoints = ( \"10.0.0.1:80\", { address = \"10.0.0.2:80\"; id = \"b\"; } ); } );\n");
    begin(fs, "5ms");
    UNTIL(fs->f, has_endpoint(fs->f, "web", "b"));
    assert_int_equal(topology_cluster(model_current(fs->f->model), STR("web"))->options.probe.interval_ms,
                     3000);
    replace(fs, "clusters = (\n{ name = ; } );\n");
    UNTIL(fs->f,
          fs->plugin->source_problem && strstr(fs->plugin->source_problem, "hosts.cfg:2: syntax error"));
    replace(fs, "@include \"/etc/passwd\"\n");
    UNTIL(fs->f, fs->plugin->source_problem && strstr(fs->plugin->source_problem, "@include is not allowed"));
    assert_true(has_endpoint(fs->f, "web", "b"));
}

static void test_closes_while_reading(void **state)
{
    struct files *fs = *state;
    name(fs, "hosts.json");
    write_file(fs->path, one);
    begin(fs, "5ms");
    plugin_destroy(&fs->plugin); /* the helper may be in the middle of it */
    assert_false(has_endpoint(fs->f, "web", "b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reads, setup_files, teardown_files),
        cmocka_unit_test_setup_teardown(test_follows_changes, setup_files, teardown_files),
        cmocka_unit_test_setup_teardown(test_file_that_never_rests, setup_files, teardown_files),
        cmocka_unit_test_setup_teardown(test_bad_file_keeps_the_last_good_view, setup_files, teardown_files),
        cmocka_unit_test_setup_teardown(test_libconfig, setup_files, teardown_files),
        cmocka_unit_test_setup_teardown(test_closes_while_reading, setup_files, teardown_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
