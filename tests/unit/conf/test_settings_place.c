/* Partitions, network partitions, deployment policies, and scale in clusters: what is read, and what is
 * refused where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "conf/settings.h"

static struct settings *load(const char *text)
{
    struct buf errors;
    buf_init(&errors);
    struct settings *s = settings_load_text(text, strlen(text), &errors);
    if (!s)
        fail_msg("%.*s", STR_ARG(buf_str(&errors)));
    buf_fini(&errors);
    return s;
}

static void refuse(const char *text, const char *expected)
{
    struct buf errors;
    buf_init(&errors);
    assert_null(settings_load_text(text, strlen(text), &errors));
    buf_put(&errors, "", 1);
    assert_string_equal(errors.p, expected);
    buf_fini(&errors);
}

#define PLUGINS    "plugins = ( { name = \"process\"; }, { name = \"far\"; plugin = \"mock\"; } );\n"
#define PARTITIONS "partitions = ( { name = \"a\"; max = 3; }, { name = \"b\"; actuator = \"far\"; } );\n"
#define NETWORKS   "network_partitions = ( { name = \"n\"; partitions = [ \"a\", \"b\" ]; } );\n"
#define POLICY     "deployment_policies = ( { name = \"p\"; network_partitions = ( \"n\" ); } );\n"
#define CARTRIDGE  "cartridges = ( { name = \"app\"; actuator = \"far\"; ports = ( { } ); } );\n"
#define ALIAS      "alias = \"web\"; type = \"app\"; "

static void test_read(void **state)
{
    (void)state;
    struct settings *s = load(PLUGINS PARTITIONS NETWORKS CARTRIDGE
                              "deployment_policies = ( { name = \"p\"; network_partitions = ( { name = "
                              "\"n\"; algorithm = \"weighted\"; "
                              "partitions = ( { name = \"b\"; weight = 5; max = 7; }, \"a\" ); } ); } );\n"
                              "applications = ( { name = \"shop\"; cartridges = ( { " ALIAS
                              "deployment_policy = \"p\"; min = 9; } ); } );\n"
                              "clusters = ( { name = \"api\"; scale = { cartridge = \"app\"; min = 2; "
                              "deployment_policy = \"p\"; }; } );\n");
    const struct deployment_policy_settings *p = settings_deployment_policy(s, "p");
    assert_non_null(p);
    const struct policy_network_settings *n =
        SETTINGS_AT(p->network_partitions, struct policy_network_settings, 0);
    assert_int_equal(n->algorithm, PLACE_WEIGHTED);
    const struct policy_partition_settings *first =
        SETTINGS_AT(n->partitions, struct policy_partition_settings, 0);
    assert_string_equal(first->name, "b"); /* in the order of the policy */
    assert_int_equal(first->max, 7);
    assert_int_equal(first->weight, 5);
    assert_int_equal(settings_partition(s, "a")->max, 3);
    assert_null(settings_partition(s, "c"));
    assert_string_equal(settings_network_partition(s, "n")->partitions.v[1], "b");
    const struct cluster_settings *c = SETTINGS_AT(s->clusters, struct cluster_settings, 0);
    assert_true(SCALE_IS_SET(&c->scale));
    assert_int_equal(c->scale.max, 2);          /* as many as min */
    assert_int_equal(c->options.hold_max, 256); /* members come and go: a request may wait for one */
    settings_free(&s);
}

static void test_references(void **state)
{
    (void)state;
    refuse("partitions = (\n { name = \"a\"; actuator = \"x\"; } );",
           "text:2: partition \"a\" names actuator \"x\", but no plugin has that name\n");
    refuse("network_partitions = (\n { name = \"n\"; partitions = [ \"a\" ]; } );",
           "text:2: network partition \"n\" names partition \"a\", which does not exist\n");
    refuse("deployment_policies = ( { name = \"p\"; network_partitions = (\n \"n\" ); } );",
           "text:2: policy \"p\" names network partition \"n\", which does not exist\n");
    refuse(PLUGINS PARTITIONS
           "network_partitions = ( { name = \"n\"; partitions = [ \"a\" ]; } );\n"
           "deployment_policies = ( { name = \"p\"; network_partitions = ( { name = \"n\";\n"
           "partitions = (\n \"b\" ); } ); } );",
           "text:6: partition \"b\" is not in network partition \"n\"\n");
    refuse(PLUGINS CARTRIDGE "applications = ( { name = \"shop\"; cartridges = ( { " ALIAS
                             "\n deployment_policy = \"p\"; } ); } );",
           "text:4: deployment policy \"p\" does not exist\n");
    refuse("clusters = ( { name = \"api\"; scale = {\n cartridge = \"app\"; }; } );",
           "text:2: scale names cartridge \"app\", which does not exist\n");
    refuse("clusters = ( { name = \"api\"; scale = {\n actuator = \"far\"; }; } );",
           "text:2: scale names actuator \"far\", but no plugin has that name\n");
}

static void test_one_network_partition_each(void **state)
{
    (void)state;
    refuse(PLUGINS PARTITIONS NETWORKS "network_partitions = ( { name = \"n\"; partitions = [ \"a\", \"b\" "
                                       "]; },\n { name = \"m\"; partitions = [ \"b\" ]; } );",
           "text:4: duplicate setting name\n");
    refuse(PLUGINS PARTITIONS "network_partitions = (\n { name = \"n\"; partitions = [ \"a\", \"b\" ]; },\n "
                              "{ name = \"m\"; partitions = [ \"b\" ]; } );",
           "text:5: second partition in a network partition \"b\"; the first is at text:4\n");
}

static void test_empty(void **state)
{
    (void)state;
    refuse("network_partitions = (\n { name = \"n\"; } );",
           "text:2: a network partition needs at least one partition\n");
    refuse("deployment_policies = (\n { name = \"p\"; } );",
           "text:2: a deployment policy needs at least one network partition\n");
}

static void test_room_for_the_least(void **state)
{
    (void)state;
    const char *format = PLUGINS
        "partitions = ( { name = \"a\"; max = 3; }, { name = \"b\"; max = 9; } );\n" NETWORKS CARTRIDGE
        "deployment_policies = ( { name = \"p\"; network_partitions = ( { name = \"n\"; partitions = ( "
        "\"a\", { name = \"b\"; max = 2; } ); } ); } );\n"
        "applications = ( { name = \"shop\"; cartridges = ( { " ALIAS
        "min = %d; deployment_policy = \"p\"; } ); } );";
    char text[2048];
    (void)snprintf(text, sizeof text, format, 5);
    struct settings *s = load(text);
    settings_free(&s);
    (void)snprintf(text, sizeof text, format, 6);
    refuse(text, "text:6: policy \"p\" has room for 5 members, but min is 6\n");
}

static void test_process_needs_a_command(void **state)
{
    (void)state;
    refuse(PLUGINS "partitions = ( { name = \"a\"; actuator = \"process\"; } );\n"
                   "network_partitions = ( { name = \"n\"; partitions = [ \"a\" ]; } );\n" POLICY CARTRIDGE
                   "applications = ( { name = \"shop\"; cartridges = ( { " ALIAS
                   "\n deployment_policy = \"p\"; } ); } );",
           "text:7: a cartridge that \"process\" runs in partition \"a\" needs a command\n");
    refuse(PLUGINS "clusters = ( { name = \"api\"; scale = {\n actuator = \"process\"; }; } );",
           "text:3: \"process\" needs a cartridge, which says what it runs\n");
}

static void test_scale(void **state)
{
    (void)state;
    refuse("clusters = ( { name = \"api\"; \n scale = { min = 2; }; } );",
           "text:2: scale needs a cartridge or an actuator\n");
    refuse(PLUGINS CARTRIDGE
           "clusters = ( { name = \"api\"; scale = { cartridge = \"app\";\n actuator = \"far\"; }; } );",
           "text:4: a cartridge or an actuator, not both\n");
    refuse(PLUGINS "clusters = ( { name = \"api\"; scale = { actuator = \"far\";\n min = 3; max = 2; }; } );",
           "text:3: min is above max\n");
    refuse(PLUGINS "clusters = ( { name = \"a/b\"; scale = {\n actuator = \"far\"; }; } );",
           "text:3: cluster \"a/b\" with scale: its name must be 1 to 60 of A-Z a-z 0-9 . _ -\n");
    refuse(PLUGINS
           "cartridges = ( { name = \"app\"; actuator = \"far\"; ports = ( { }, { name = \"two\"; } ); } );\n"
           "clusters = ( { name = \"api\"; scale = {\n cartridge = \"app\"; }; } );",
           "text:4: cartridge \"app\" has 2 ports: a cluster is one\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_one_network_partition_each),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_room_for_the_least),
        cmocka_unit_test(test_process_needs_a_command),
        cmocka_unit_test(test_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
