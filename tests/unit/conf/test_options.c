/* Tables at work: units, setting by text, copies, and the wire form. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/settings.h"

static const struct option_table *const all_tables[] = {
    &settings_table,  &cluster_table,     &cluster_options_table, &listener_table,
    &endpoint_table,  &route_table,       &plugin_table,          &port_table,
    &cartridge_table, &application_table, &alias_table,
};

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {{"0s", 0},       {"250ms", 250},    {"30s", 30000}, {"5m", 300000},
                {"1h", 3600000}, {"2d", 172800000}, {"1S", 1000}};
    static const char *const bad[] = {
        "", "10", "s", "-1s", "1.5s", "1 s", "1w", "1us", "99999999999999999999s", "9223372036854775807d"};
    uint64_t ms;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(duration_parse(str_of(good[i].text), &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (duration_parse(str_of(bad[i]), &ms))
            fail_msg("\"%s\" was taken", bad[i]);
}

static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},        {"4096", 4096},     {"16k", 16384},    {"16K", 16384},
                {"1m", 1048576}, {"2g", 2147483648}, {"1t", 1ull << 40}};
    static const char *const bad[] = {
        "", "k", "-1", "1kb", "1.5m", "9223372036854775808", "9007199254740993k"};
    uint64_t bytes;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(size_parse(str_of(good[i].text), &bytes));
        assert_int_equal(bytes, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (size_parse(str_of(bad[i]), &bytes))
            fail_msg("\"%s\" was taken", bad[i]);
}

/* What is printed is read back as the same. */
static void test_unit_round_trip(void **state)
{
    static const uint64_t values[] = {0,     1,       999,      1000, 1001,    60000,
                                      61000, 3600000, 86400000, 1536, 1048576, 1ull << 41};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct buf text;
        uint64_t back;
        buf_init(&text);
        duration_format(values[i], &text);
        assert_true(duration_parse(buf_str(&text), &back));
        assert_int_equal(back, values[i]);
        text.len = 0;
        size_format(values[i], &text);
        assert_true(size_parse(buf_str(&text), &back));
        assert_int_equal(back, values[i]);
        buf_fini(&text);
    }
}

/* Every default is valid (options_init panics otherwise), and every row has help and a manual line. */
static void check_table(const struct option_table *table)
{
    char *obj = malloc(table->struct_size);
    options_init(table, obj);
    options_free(table, obj);
    free(obj);
    assert_non_null(table->help);
    for (size_t i = 0; i < table->count; i++) {
        const struct option *row = &table->rows[i];
        if (row->type == OPT_INLINE) {
            check_table(row->table);
            continue;
        }
        if (!row->help || strlen(row->help) < 5)
            fail_msg("%s.%s has no help", table->name, row->key);
        assert_true(strlen(row->key) < 256);
        assert_true(row->type == OPT_RESERVED || row->offset < table->struct_size);
        for (size_t j = 0; j < i; j++)
            if (strcmp(table->rows[j].key, row->key) == 0)
                fail_msg("%s.%s is there twice", table->name, row->key);
        if (row->type == OPT_GROUP)
            check_table(row->table);
    }
}

static void test_tables(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof all_tables / sizeof *all_tables; i++)
        check_table(all_tables[i]);
}

static void test_defaults(void **state)
{
    struct cluster_options o;
    (void)state;
    options_init(&cluster_options_table, &o);
    assert_int_equal(o.protocol, PROTOCOL_HTTP);
    assert_int_equal(o.connect_timeout_ms, 5000);
    assert_int_equal(o.replay_limit_bytes, 16384);
    assert_int_equal(o.hold_max, 0);
    assert_false(o.request_buffer_set);
    assert_string_equal(o.fastcgi.index, "index.php");
    assert_int_equal(o.files.deny.n, 4);
    assert_string_equal(o.files.deny.v[1], ".phtml");
    assert_int_equal(o.probe.kind, PROBE_TCP);
    options_free(&cluster_options_table, &o);
}

static const char *set(struct cluster_options *o, const char *key, const char *text)
{
    static char said[512];
    struct buf message;
    buf_init(&message);
    const char *error = options_set(&cluster_options_table, o, key, text, &message);
    snprintf(said, sizeof said, "%s", error ? error : "");
    buf_fini(&message);
    return said;
}

static void test_set(void **state)
{
    struct cluster_options o;
    (void)state;
    options_init(&cluster_options_table, &o);
    assert_string_equal(set(&o, "protocol", "fastcgi"), "");
    assert_int_equal(o.protocol, PROTOCOL_FASTCGI);
    assert_string_equal(set(&o, "fastcgi.document_root", "/srv/www"), "");
    assert_string_equal(o.fastcgi.document_root, "/srv/www");
    assert_string_equal(set(&o, "request_buffer", "false"), "");
    assert_true(o.request_buffer_set);
    assert_false(o.request_buffer);
    assert_string_equal(set(&o, "files.deny", ".txt"), "");
    assert_int_equal(o.files.deny.n, 1);
    assert_string_equal(set(&o, "files.deny", "[ \".a\", \".b\" ]"), "");
    assert_int_equal(o.files.deny.n, 2);
    assert_string_equal(set(&o, "files.deny", "[]"), "");
    assert_int_equal(o.files.deny.n, 0);
    assert_string_equal(set(&o, "retries", "10"), "");
    assert_string_equal(set(&o, "retries", "11"), "expected a value between 0 and 10, got 11");
    assert_int_equal(o.retries, 10);
    assert_non_null(strstr(set(&o, "retries", "-1"), "between 0 and 10"));
    assert_non_null(strstr(set(&o, "connect_timeout", "5"), "a duration with its unit"));
    assert_non_null(strstr(set(&o, "connect_timeout", "0s"), "between 1ms and 1d, got 0s"));
    assert_non_null(strstr(set(&o, "balance", "first"), "one of \"p2c\", \"round_robin\", "));
    assert_non_null(strstr(set(&o, "nothing", "1"), "unknown key \"nothing\" in cluster"));
    assert_non_null(strstr(set(&o, "fastcgi.nothing", "1"), "unknown key"));
    assert_non_null(strstr(set(&o, "fastcgi", "1"), "expected a group"));
    assert_non_null(strstr(set(&o, "protocol.x", "1"), "unknown key"));
    /* A Host with a line end in it would be a second header field. */
    assert_non_null(strstr(set(&o, "host", "a\r\nX: y"), "without control characters"));
    assert_null(o.host);
    options_free(&cluster_options_table, &o);
}

static void fill(struct cluster_options *o)
{
    options_init(&cluster_options_table, o);
    assert_string_equal(set(o, "protocol", "fastcgi"), "");
    assert_string_equal(set(o, "hold_max", "77"), "");
    assert_string_equal(set(o, "host", "inner.example"), "");
    assert_string_equal(set(o, "fastcgi.index", "app.php"), "");
    assert_string_equal(set(o, "fastcgi.keep_conn", "false"), "");
    assert_string_equal(set(o, "files.try_files", "[ \"$uri\", \"@app\" ]"), "");
    assert_string_equal(set(o, "files.index", ""), "");
    assert_string_equal(set(o, "probe.kind", "fastcgi"), "");
    assert_string_equal(set(o, "response_buffer", "false"), "");
    o->fastcgi.params.names = calloc(1, sizeof(char *));
    o->fastcgi.params.values = calloc(1, sizeof(char *));
    o->fastcgi.params.names[0] = strdup("APP_ENV");
    o->fastcgi.params.values[0] = strdup("production");
    o->fastcgi.params.n = 1;
}

static void check_filled(const struct cluster_options *o)
{
    assert_int_equal(o->protocol, PROTOCOL_FASTCGI);
    assert_int_equal(o->hold_max, 77);
    assert_string_equal(o->host, "inner.example");
    assert_string_equal(o->fastcgi.index, "app.php");
    assert_false(o->fastcgi.keep_conn);
    assert_int_equal(o->files.try_files.n, 2);
    assert_string_equal(o->files.try_files.v[1], "@app");
    assert_string_equal(o->files.index, "");
    assert_null(o->files.root);
    assert_int_equal(o->probe.kind, PROBE_FASTCGI);
    assert_true(o->response_buffer_set);
    assert_false(o->response_buffer);
    assert_int_equal(o->fastcgi.params.n, 1);
    assert_string_equal(o->fastcgi.params.values[0], "production");
    assert_int_equal(o->connect_timeout_ms, 5000);
}

static void test_wire_round_trip(void **state)
{
    struct cluster_options a, b, c;
    struct buf wire, again;
    (void)state;
    fill(&a);
    buf_init(&wire);
    buf_init(&again);
    options_encode(&cluster_options_table, &a, &wire);
    assert_true(options_decode(&cluster_options_table, &b, buf_str(&wire)));
    check_filled(&b);
    options_copy(&cluster_options_table, &c, &b);
    options_free(&cluster_options_table, &b);
    check_filled(&c);
    options_encode(&cluster_options_table, &c, &again);
    assert_true(str_eq(buf_str(&wire), buf_str(&again)));
    options_free(&cluster_options_table, &a);
    options_free(&cluster_options_table, &c);
    buf_fini(&wire);
    buf_fini(&again);
}

static void test_wire_of_defaults_is_empty(void **state)
{
    struct cluster_options o;
    struct buf wire;
    (void)state;
    buf_init(&wire);
    options_init(&cluster_options_table, &o);
    options_encode(&cluster_options_table, &o, &wire);
    assert_int_equal(wire.len, 0);
    assert_true(options_is_default(&cluster_options_table, &o, "hold_max"));
    assert_string_equal(set(&o, "hold_max", "1"), "");
    assert_false(options_is_default(&cluster_options_table, &o, "hold_max"));
    options_free(&cluster_options_table, &o);
    buf_fini(&wire);
}

/* Lists and networks travel too, though no topology has them yet. */
static void test_wire_lists(void **state)
{
    struct listener_settings l, m;
    struct cluster_settings a, b;
    struct buf wire, message;
    (void)state;
    buf_init(&wire);
    buf_init(&message);
    options_init(&listener_table, &l);
    assert_null(options_set(&listener_table, &l, "trusted", "[ \"loopback\", \"10.0.0.0/8\" ]", &message));
    options_encode(&listener_table, &l, &wire);
    assert_true(options_decode(&listener_table, &m, buf_str(&wire)));
    assert_int_equal(m.trusted.count, 3);
    options_free(&listener_table, &l);
    options_free(&listener_table, &m);

    wire.len = 0;
    options_init(&cluster_table, &a);
    assert_null(options_set(&cluster_table, &a, "endpoints",
                            "[ \"127.0.0.1:1\", \"127.0.0.1:2\", \"127.0.0.1:3\" ]", &message));
    assert_null(options_set(&cluster_table, &a, "retries", "1", &message)); /* a row of the inline table */
    options_encode(&cluster_table, &a, &wire);
    assert_true(options_decode(&cluster_table, &b, buf_str(&wire)));
    assert_int_equal(b.endpoints.count, 3);
    assert_string_equal(SETTINGS_AT(b.endpoints, struct endpoint_settings, 2)->address, "127.0.0.1:3");
    assert_int_equal(SETTINGS_AT(b.endpoints, struct endpoint_settings, 2)->weight, 100);
    assert_int_equal(b.options.retries, 1);
    options_free(&cluster_table, &a);
    options_free(&cluster_table, &b);
    buf_fini(&wire);
    buf_fini(&message);
}

/* Cut anywhere, a message is refused or, between two records, is a shorter valid one; nothing leaks or is
 * touched beyond its end (the copy has exactly that length, for the sanitizer to see). */
static void test_wire_truncated(void **state)
{
    struct cluster_options a, b;
    struct buf wire;
    size_t taken = 0;
    (void)state;
    fill(&a);
    buf_init(&wire);
    options_encode(&cluster_options_table, &a, &wire);
    for (size_t n = 0; n < wire.len; n++) {
        char *cut = malloc(n ? n : 1);
        memcpy(cut, wire.p, n);
        if (options_decode(&cluster_options_table, &b, str_make(cut, n))) {
            taken++;
            options_free(&cluster_options_table, &b);
        } else {
            assert_null(b.fastcgi.index); /* zeroed */
        }
        free(cut);
    }
    assert_true(taken >= 1 && taken < 10); /* one for each record at the top, the empty message first */
    options_free(&cluster_options_table, &a);
    buf_fini(&wire);
}

static bool decodes(struct str wire)
{
    struct cluster_options o;
    bool ok = options_decode(&cluster_options_table, &o, wire);
    if (ok)
        options_free(&cluster_options_table, &o);
    return ok;
}

static void test_wire_hostile(void **state)
{
    (void)state;
    assert_true(decodes(STR("\3new\1\2\0\0\0ab")));       /* a key of a later version */
    assert_true(decodes(STR("\7retries\5\1\0\0\0x")));    /* a key whose type has changed: a string now */
    assert_true(decodes(STR("\7balance\7\4\0\0\0best"))); /* a word of a later version */
    assert_false(decodes(STR("\7retries\1\1\0\0\0x")));   /* too short for an integer */
    assert_false(decodes(STR("\7retries\1\10\0\0\0\13\0\0\0\0\0\0\0"))); /* 11, above its limit */
    assert_true(decodes(STR("\7retries\1\10\0\0\0\12\0\0\0\0\0\0\0")));  /* 10 */
    assert_false(decodes(STR("\4host\5\4\0\0\0\1a\nb")));                /* a line end in a string */
    assert_false(decodes(STR("\4host\5\1\0\0\0\2")));                    /* neither absent nor present */
    assert_true(decodes(STR("\4host\5\0\0\0\0")));
    assert_false(decodes(STR("\4host\5\377\377\377\377")));
    assert_false(
        decodes(STR("\5files\13\16\0\0\0\4deny\10\4\0\0\0\377\377\377\377"))); /* four billion strings */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),       cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_unit_round_trip), cmocka_unit_test(test_tables),
        cmocka_unit_test(test_defaults),        cmocka_unit_test(test_set),
        cmocka_unit_test(test_wire_round_trip), cmocka_unit_test(test_wire_of_defaults_is_empty),
        cmocka_unit_test(test_wire_lists),      cmocka_unit_test(test_wire_truncated),
        cmocka_unit_test(test_wire_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
