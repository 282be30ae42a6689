/* A whole file: what is valid, and each kind of error with its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/settings.h"

static struct settings *load(const char *text)
{
    struct buf errors;
    buf_init(&errors);
    struct settings *s = settings_load_text(text, strlen(text), &errors);
    if (!s)
        fail_msg("refused: %.*s", (int)errors.len, errors.p);
    assert_int_equal(errors.len, 0);
    buf_fini(&errors);
    return s;
}

static void accept(const char *text)
{
    struct settings *s = load(text);
    settings_free(&s);
    assert_null(s);
}

/* The messages are exactly these. */
static void refuse(const char *text, const char *expected)
{
    struct buf errors;
    buf_init(&errors);
    struct settings *s = settings_load_text(text, strlen(text), &errors);
    buf_put(&errors, "", 1);
    assert_null(s);
    assert_string_equal(errors.p, expected);
    buf_fini(&errors);
}

#define LISTENER "listeners = ( { name = \"web\"; address = \"0.0.0.0:8080\"; } );\n"
#define CLUSTER                                                                                              \
    "clusters = ( { name = \"php\"; endpoints = ( \"127.0.0.1:9001\", \"127.0.0.1:9002\" ); } );\n"
#define PLUGIN "plugins = ( { name = \"process\"; } );\n"
#define CARTRIDGE                                                                                            \
    "cartridges = ( { name = \"php\"; actuator = \"process\"; command = [ \"php-cgi\", \"-b\", "             \
    "\"127.0.0.1:$PORT\" ]; ports = ( { protocol = \"fastcgi\"; } ); document_root = \"/srv\"; index = "     \
    "\"app.php\"; } );\n"
#define APPLICATION                                                                                          \
    "applications = ( { name = \"shop\"; hosts = [ \"shop.example.com\" ]; cartridges = ( { alias = "        \
    "\"web\"; "                                                                                              \
    "type = \"php\"; min = 3; max = 8; } ); } );\n"

static void test_empty(void **state)
{
    (void)state;
    struct settings *s = load("");
    assert_int_equal(s->workers, 0);
    assert_int_equal(s->generations_max, 4);
    assert_int_equal(s->drain_timeout_ms, 30000);
    assert_string_equal(s->server_name, "coxswain");
    assert_string_equal(s->log.access, "off");
    assert_int_equal(s->log.level, 2);
    assert_null(s->control);
    assert_non_null(s->plugin_dir);
    settings_free(&s);
}

static void test_minimal(void **state)
{
    (void)state;
    struct settings *s = load("workers = 0;\n" LISTENER CLUSTER
                              "routes = ( { host = \"*\"; path = \"/\"; cluster = \"php\"; } );\n");
    assert_int_equal(s->listeners.count, 1);
    assert_string_equal(SETTINGS_AT(s->listeners, struct listener_settings, 0)->address, "0.0.0.0:8080");
    assert_int_equal(SETTINGS_AT(s->listeners, struct listener_settings, 0)->max_line_bytes, 8192);
    struct cluster_settings *c = SETTINGS_AT(s->clusters, struct cluster_settings, 0);
    assert_int_equal(c->endpoints.count, 2);
    assert_string_equal(SETTINGS_AT(c->endpoints, struct endpoint_settings, 1)->address, "127.0.0.1:9002");
    assert_int_equal(c->options.hold_max, 0);
    assert_false(c->options.request_buffer);
    assert_string_equal(SETTINGS_AT(s->routes, struct route_settings, 0)->cluster, "php");
    settings_free(&s);
}

static void test_members(void **state)
{
    (void)state;
    struct settings *s =
        load(PLUGIN CARTRIDGE APPLICATION "routes = ( { cluster = \"shop/1/1/web:http\"; } );\n");
    struct cartridge_settings *c = SETTINGS_AT(s->cartridges, struct cartridge_settings, 0);
    assert_int_equal(c->command.n, 3);
    assert_string_equal(c->command.v[2], "127.0.0.1:$PORT");
    struct port_settings *port = SETTINGS_AT(c->ports, struct port_settings, 0);
    assert_string_equal(port->name, "http");
    assert_string_equal(port->options.fastcgi.document_root, "/srv");
    assert_string_equal(port->options.fastcgi.index, "app.php");
    assert_true(port->options.request_buffer);
    assert_int_equal(port->options.hold_max, 256);
    struct application_settings *app = SETTINGS_AT(s->applications, struct application_settings, 0);
    assert_int_equal(SETTINGS_AT(app->cartridges, struct alias_settings, 0)->max, 8);
    assert_string_equal(settings_plugin(s, "process")->plugin, "process");
    assert_string_equal(settings_plugin(s, "process")->file, "text");
    assert_int_equal(settings_plugin(s, "process")->line, 1);
    settings_free(&s);
}

/* A port's own keys win over the cartridge's, even when they say the default. */
static void test_port_wins(void **state)
{
    (void)state;
    struct settings *s =
        load(PLUGIN
             "cartridges = ( { name = \"php\"; actuator = \"process\"; command = \"x\"; index = \"app.php\";"
             " document_root = \"/a\"; ports = ( { protocol = \"fastcgi\"; hold_max = 0;"
             " fastcgi = { document_root = \"/b\"; index = \"index.php\"; }; } ); } );");
    struct cartridge_settings *c = SETTINGS_AT(s->cartridges, struct cartridge_settings, 0);
    struct port_settings *port = SETTINGS_AT(c->ports, struct port_settings, 0);
    assert_string_equal(port->options.fastcgi.document_root, "/b");
    assert_string_equal(port->options.fastcgi.index, "index.php");
    assert_int_equal(port->options.hold_max, 0);
    settings_free(&s);
}

static void test_forms(void **state)
{
    (void)state;
    accept("clusters = ( { name = \"a\"; endpoints = \"127.0.0.1:1\"; } );");
    accept("clusters = ( { name = \"a\"; endpoints = [ \"127.0.0.1:1\", \"[::1]:1\" ]; } );");
    accept("clusters = ( { name = \"a\"; endpoints = ( { address = \"unix:/x\"; weight = 5; }, "
           "\"127.0.0.1:1\" ); } );");
    accept("listeners = ( { name = \"a\"; address = \"[::]:80\"; max_body_size = 1048576; trusted = "
           "\"loopback\"; } );");
    accept("listeners = ( { name = \"a\"; address = \"[::]:80\"; max_body_size = 3000000000; } );");
    accept("clusters = ( { name = \"f\"; protocol = \"files\"; files = { root = \"/srv\"; }; } );");
    accept("clusters = ( { name = \"f\"; protocol = \"fastcgi\"; fastcgi = { params = { SCRIPT_FILENAME = "
           "\"/x\"; }; }; } );");
    accept("plugins = ( { name = \"dns\"; } ); routes = ( { cluster = \"comes-later\"; } );");
}

static void test_effective_buffers(void **state)
{
    (void)state;
    struct settings *s =
        load("clusters = ( { name = \"a\"; protocol = \"fastcgi\"; response_buffer = false;"
             " fastcgi = { document_root = \"/x\"; }; probe = { kind = \"fastcgi\"; }; } );");
    struct cluster_options *o = &SETTINGS_AT(s->clusters, struct cluster_settings, 0)->options;
    assert_true(o->request_buffer);
    assert_false(o->request_buffer_set);
    assert_false(o->response_buffer);
    assert_true(o->response_buffer_set);
    assert_string_equal(o->probe.path, "/ping");
    settings_free(&s);
}

static void test_unknown_key(void **state)
{
    (void)state;
    refuse("\nwrokers = 1;\n",
           "text:2: unknown key \"wrokers\" in the top level; did you mean \"workers\"?\n");
    refuse("listeners = ( {\n name = \"a\";\n address = \"[::]:1\";\n adress = \"x\"; } );",
           "text:4: unknown key \"adress\" in listener; did you mean \"address\"?\n");
    refuse("zzzzzzzzzzzz = 1;", "text:1: unknown key \"zzzzzzzzzzzz\" in the top level\n");
    refuse("clusters = ( { name = \"a\"; probe = { knid = \"tcp\"; }; } );",
           "text:1: unknown key \"knid\" in probe; did you mean \"kind\"?\n");
}

static void test_wrong_type(void **state)
{
    (void)state;
    refuse("workers = \"4\";",
           "text:1: \"workers\" in the top level: expected an integer between 0 and 256, got a string\n");
    refuse("via = 1;", "text:1: \"via\" in the top level: expected true or false, got 1\n");
    refuse("drain_timeout = 30;",
           "text:1: \"drain_timeout\" in the top level: expected a duration with its unit, such as "
           "\"250ms\", \"30s\" or \"5m\", between 0s and 7d, got 30\n");
    refuse("listeners = 5;",
           "text:1: \"listeners\" in the top level: expected a list of groups ( { ... } ), got an integer\n");
    refuse("listeners = ( 5 );",
           "text:1: \"listeners\" in the top level: expected a list of groups ( { ... } ), got an integer\n");
    refuse("log = \"x\";", "text:1: \"log\" in the top level: expected a group { ... }, got a string\n");
    refuse("user = { };",
           "text:1: \"user\" in the top level: expected a string without control characters, got a group\n");
    refuse("user = true;",
           "text:1: \"user\" in the top level: expected a string without control characters, got true\n");
    refuse("workers = 1.5;",
           "text:1: \"workers\" in the top level: expected an integer between 0 and 256, got 1.5\n");
}

static void test_range(void **state)
{
    (void)state;
    accept("workers = 256;");
    refuse("workers = 257;",
           "text:1: \"workers\" in the top level: expected a value between 0 and 256, got 257\n");
    refuse("workers = -1;",
           "text:1: \"workers\" in the top level: expected a value between 0 and 256, got -1\n");
    /* libconfig 1.5 would make a 1 of it */
    refuse("workers = 4294967297;",
           "text:1: \"workers\" in the top level: expected a value between 0 and 256, got 4294967297\n");
    refuse("workers = 99999999999999999999;", "text:1: integer too large\n");
    accept("shutdown_delay = \"1h\";");
    refuse("shutdown_delay = \"61m\";",
           "text:1: \"shutdown_delay\" in the top level: expected a value between 0s and 1h, got 61m\n");
}

static void test_word(void **state)
{
    (void)state;
    refuse(
        "log = {\n level = \"loud\"; };",
        "text:2: \"level\" in log: expected one of \"error\", \"warn\", \"info\", \"debug\", got \"loud\"\n");
}

static void test_missing(void **state)
{
    (void)state;
    refuse("routes = (\n { host = \"*\"; } );",
           "text:2: a route needs a cluster, clusters, a redirect or a reply\n");
    refuse("listeners = ( { } );",
           "text:1: missing key \"name\" in listener\ntext:1: missing key \"address\" in listener\n");
}

static void test_twice(void **state)
{
    (void)state;
    refuse("listeners = (\n { name = \"a\"; address = \"[::]:1\"; },\n { name = \"a\"; address = \"[::]:2\"; "
           "} );",
           "text:3: second listener with name \"a\"\n");
    refuse("listeners = (\n { name = \"a\"; address = \"[::]:1\"; },\n { name = \"b\"; address = \"[::]:1\"; "
           "} );",
           "text:3: second listener with address \"[::]:1\"; the first is at text:2\n");
    refuse("clusters = (\n { name = \"a\"; },\n { name = \"a\"; } );",
           "text:3: second cluster \"a\"; the first is at text:2\n");
    refuse("clusters = ( { name = \"a\"; endpoints = ( \"127.0.0.1:1\",\n \"127.0.0.1:1\" ); } );",
           "text:2: second endpoint with address \"127.0.0.1:1\"\n");
    refuse(CLUSTER
           "routes = (\n { host = \"A.b\"; cluster = \"php\"; },\n { host = \"a.B\"; cluster = \"php\"; } );",
           "text:4: second route \"a.b /\"; the first is at text:3\n");
    refuse(PLUGIN CARTRIDGE APPLICATION "clusters = ( { name = \"shop/1/1/web:http\"; } );",
           "text:4: second cluster \"shop/1/1/web:http\"; the first is at text:3\n");
    refuse("workers = 1;\nworkers = 2;", "text:2: duplicate setting name\n");
}

static void test_references(void **state)
{
    (void)state;
    refuse("routes = (\n { cluster = \"nowhere\"; } );",
           "text:2: route to cluster \"nowhere\", which nothing makes\n");
    refuse(PLUGIN "routes = (\n { cluster = \"nowhere\"; } );",
           "text:3: route to cluster \"nowhere\", which nothing makes\n");
    refuse(CARTRIDGE, "text:1: cartridge \"php\" names actuator \"process\", but no plugin has that name\n");
    refuse(PLUGIN APPLICATION,
           "text:2: alias \"web\" of application \"shop\" names cartridge \"php\", which does not exist\n");
}

static void test_contradictions(void **state)
{
    (void)state;
    refuse("clusters = ( { name = \"a\"; protocol = \"fastcgi\"; } );",
           "text:1: protocol = \"fastcgi\" needs document_root, the folder of the application as the PHP "
           "side sees it\n");
    refuse("clusters = ( { name = \"a\"; protocol = \"files\"; } );",
           "text:1: protocol = \"files\" needs files = { root = \"...\"; }\n");
    refuse("clusters = ( { name = \"a\"; probe = { kind = \"fastcgi\"; }; } );",
           "text:1: a fastcgi probe needs protocol = \"fastcgi\"\n");
    refuse("clusters = ( { name = \"a\"; probe = { status_min = 400; }; } );",
           "text:1: status_min is above status_max\n");
    refuse(PLUGIN CARTRIDGE "applications = ( { name = \"a\"; cartridges = (\n { alias = \"w\"; type = "
                            "\"php\"; min = 3; max = 2; } ); } );",
           "text:4: min is above max\n");
    refuse(PLUGIN "cartridges = ( { name = \"a\"; actuator = \"process\"; ports = ( { } ); } );",
           "text:2: a cartridge that \"process\" runs needs a command\n");
    refuse(PLUGIN "cartridges = ( { name = \"a\"; actuator = \"process\"; command = \"x\"; } );",
           "text:2: a cartridge needs at least one port\n");
}

static void test_addresses(void **state)
{
    static const char *const bad[] = {
        "",       "8080",  ":8080",        "localhost:80", "1.2.3.4", "1.2.3.4:0",   "1.2.3.4:65536",
        "::1:80", "[::1]", "[1.2.3.4]:80", "unix:",        "unix:x",  "1.2.3.4:80 ", "*:80"};
    static const char *const good[] = {"1.2.3.4:1", "1.2.3.4:65535", "[::1]:80", "unix:/run/x.sock"};
    char text[256];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(text, sizeof text, "listeners = ( { name = \"a\"; address = \"%s\"; } );", good[i]);
        accept(text);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf errors;
        buf_init(&errors);
        snprintf(text, sizeof text, "listeners = ( { name = \"a\";\n address = \"%s\"; } );", bad[i]);
        assert_null(settings_load_text(text, strlen(text), &errors));
        buf_put(&errors, "", 1);
        assert_non_null(strstr(errors.p, "text:2: "));
        assert_non_null(strstr(errors.p, "is no address"));
        buf_fini(&errors);
    }
}

static void test_names_and_hosts(void **state)
{
    (void)state;
    refuse("clusters = ( { name = \"a b\"; } );",
           "text:1: \"a b\" is no cluster id: expected 1 to 200 of A-Z a-z 0-9 . _ / : @ -\n");
    refuse("plugins = ( { name = \"a/b\"; } );",
           "text:1: \"a/b\" is no name: expected 1 to 60 of A-Z a-z 0-9 . _ -\n"
           "text:1: \"a/b\" is no name of a plugin\n");
    refuse(CLUSTER "routes = ( { host = \"a..b\"; cluster = \"php\"; } );",
           "text:2: \"a..b\" is no host: expected \"shop.example.com\", \"*.example.com\" or \"*\"\n");
    refuse(CLUSTER "routes = ( { path = \"x\"; cluster = \"php\"; } );",
           "text:2: \"x\" is no path prefix: expected \"/...\" without ? # and blanks\n");
    accept(CLUSTER "routes = ( { host = \"*.example.com\"; path = \"/a/b.c\"; cluster = \"php\"; } );");
    refuse("server_name = \"a b\";", "text:1: server_name must be a token of RFC 9110, 1 to 64 letters\n");
}

static void test_id_lengths(void **state)
{
    char name[256];
    (void)state;
    memset(name, 'x', sizeof name);
    assert_true(cluster_id_is_valid(str_make(name, CLUSTER_ID_MAX)));
    assert_false(cluster_id_is_valid(str_make(name, CLUSTER_ID_MAX + 1)));
    assert_true(name_is_valid(str_make(name, NAME_MAX_BYTES)));
    assert_false(name_is_valid(str_make(name, NAME_MAX_BYTES + 1)));
    name[NAME_MAX_BYTES] = 0;
    struct buf id;
    buf_init(&id);
    settings_cluster_id(&id, name, name, name); /* the longest that an application can make */
    assert_true(cluster_id_is_valid(buf_str(&id)));
    buf_fini(&id);
}

static void test_reserved(void **state)
{
    (void)state;
    refuse("\n\ngroups = ( );",
           "text:3: \"groups\" in the top level is known, but not available in this version\n");
}

static void test_syntax(void **state)
{
    (void)state;
    refuse("workers = 1;\nvia = ;\n", "text:2: syntax error\n");
    refuse("\nuser = \"a\n\n", "text:2: string without an end\n");
    refuse("@include \"x\"\n", "text:1: @include is not allowed here\n");
}

static void test_all_errors_are_said(void **state)
{
    (void)state;
    refuse("workers = 999;\nvai = true;\nlisteners = ( { name = \"a\"; address = \"x\"; } );\nroutes = ( { "
           "cluster = \"b\"; } );\n",
           "text:1: \"workers\" in the top level: expected a value between 0 and 256, got 999\n"
           "text:2: unknown key \"vai\" in the top level; did you mean \"via\"?\n"
           "text:3: \"x\" is no address: expected \"10.0.0.1:80\", \"[::1]:80\" or \"unix:/path\"\n"
           "text:4: route to cluster \"b\", which nothing makes\n");
}

static void test_environment(void **state)
{
    (void)state;
    setenv("COX_TEST_NAME", "fromenv", 1);
    unsetenv("COX_TEST_NONE");
    struct settings *s = load("server_name = \"x-${COX_TEST_NAME}\"; user = \"$${A}\";" PLUGIN
                              "cartridges = ( { name = \"a\"; actuator = \"process\"; command = [ "
                              "\"${COX_TEST_NONE}\", \"a\\nb\" ];"
                              " environment = { X = \"${COX_TEST_NONE}\"; }; ports = ( { } ); } );");
    assert_string_equal(s->server_name, "x-fromenv");
    assert_string_equal(s->user, "${A}");
    struct cartridge_settings *c = SETTINGS_AT(s->cartridges, struct cartridge_settings, 0);
    assert_string_equal(c->command.v[0], "${COX_TEST_NONE}");
    assert_string_equal(c->environment.values[0], "${COX_TEST_NONE}");
    settings_free(&s);
    refuse("\nuser = \"${COX_TEST_NONE}\";", "text:2: environment variable COX_TEST_NONE is not set\n");
    refuse("user = \"${\";",
           "text:1: expected a name and a brace after \"${\" (\"$${\" stands for itself)\n");
}

static void test_plugin_section(void **state)
{
    (void)state;
    struct settings *s =
        load("plugins = ( { name = \"eu\"; plugin = \"kubernetes\";\n interval = 5; ratio = 0.5; on = true;\n"
             " hosts = [ \"a\", \"b\" ]; tls = { ca = \"x\"; }; } );");
    const struct plugin_settings *p = settings_plugin(s, "eu");
    assert_string_equal(p->plugin, "kubernetes");
    assert_int_equal(p->raw.n, 5);
    assert_string_equal(p->raw.v[0].key, "interval");
    assert_int_equal(p->raw.v[0].type, 'i');
    assert_int_equal(p->raw.v[0].i, 5);
    assert_int_equal(p->raw.v[0].line, 2);
    assert_int_equal(p->raw.v[1].type, 'f');
    assert_int_equal(p->raw.v[2].type, 'b');
    assert_string_equal(p->raw.v[3].s, "a\nb");
    assert_int_equal(p->raw.v[3].line, 3);
    assert_string_equal(p->raw.v[4].key, "tls.ca");
    settings_free(&s);
}

static void test_error_count_is_bounded(void **state)
{
    struct buf text, errors;
    size_t lines = 0;
    (void)state;
    buf_init(&text);
    buf_init(&errors);
    for (int i = 0; i < 3000; i++)
        buf_printf(&text, "zzzzzzzzz%d = 1;\n", i);
    assert_null(settings_load_text(text.p, text.len, &errors));
    for (size_t i = 0; i < errors.len; i++)
        lines += errors.p[i] == '\n';
    assert_int_equal(lines, 1001); /* the last says that there are more */
    buf_fini(&text);
    buf_fini(&errors);
}

/* The printed reference is itself a valid file, and says the defaults. */
static void test_reference(void **state)
{
    struct buf text, wire, def;
    (void)state;
    buf_init(&text);
    buf_init(&wire);
    buf_init(&def);
    settings_reference(&text);
    buf_put(&text, "", 1);
    struct settings *s = load(text.p), *empty = load("");
    options_encode(&settings_table, s, &wire);
    options_encode(&settings_table, empty, &def);
    assert_true(str_eq(buf_str(&wire), buf_str(&def)));
    assert_null(strstr(text.p, empty->plugin_dir)); /* the committed file is the same whatever the prefix */
    assert_non_null(strstr(text.p, "client_header_timeout = \"10s\";"));
    settings_free(&s);
    settings_free(&empty);
    buf_fini(&text);
    buf_fini(&wire);
    buf_fini(&def);
}

static void test_manual(void **state)
{
    struct buf text;
    (void)state;
    buf_init(&text);
    settings_manual(&text);
    buf_put(&text, "", 1);
    assert_true(strncmp(text.p, ".TH COXSWAIN.CFG 5", 18) == 0);
    assert_non_null(strstr(text.p, "\n.SH LISTENER\n"));
    assert_non_null(strstr(text.p, "\n.B hold_max\n"));
    assert_null(strstr(text.p, "\n\n")); /* troff frowns on empty lines */
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_minimal),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_port_wins),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_effective_buffers),
        cmocka_unit_test(test_unknown_key),
        cmocka_unit_test(test_wrong_type),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_word),
        cmocka_unit_test(test_missing),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_contradictions),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_names_and_hosts),
        cmocka_unit_test(test_id_lengths),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_syntax),
        cmocka_unit_test(test_all_errors_are_said),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_plugin_section),
        cmocka_unit_test(test_error_count_is_bounded),
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_manual),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
