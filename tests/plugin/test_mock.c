/* The mock actuator: what its script does to members, and what its journal remembers. */
#include "support.h"

#define OPTION_LIST(k, v)                                                                                    \
    ((struct raw_option){.key = (char *)(uintptr_t)(k), .type = 'l', .s = (char *)(uintptr_t)(v), .line = 9})

static struct section plain(void)
{
    struct section s = section_of("m", "mock");
    section_set(&s, OPTION_LIST("addresses", "127.0.0.1:9001-9003"));
    return s;
}

static struct plugin *begin(struct fixture *f, struct section *s)
{
    struct plugin *p = create(f, s, real_dir());
    start(p);
    assert_int_equal(f->told.list_done, 1);
    return p;
}

static int32_t start_member(struct plugin *p, const char *id, uint64_t ticket)
{
    static const struct cox_port ports[] = {{sizeof ports[0], 0, "http", "http"}};
    const struct cox_member_spec spec = {.size = sizeof spec,
                                         .member = id,
                                         .set = "shop/1/1/web",
                                         .cartridge = "app",
                                         .ports = COX_ARRAY(ports)};
    return p->module.plugin.actuator->start_member(p->instance, ticket, &spec);
}

static int32_t stop_member(struct plugin *p, const char *id, uint64_t ticket)
{
    const struct cox_stop stop = {.size = sizeof stop, .mode = COX_STOP_DRAINED, .member = id, .signo = 15};
    return p->module.plugin.actuator->stop_member(p->instance, ticket, &stop);
}

static bool was_told(struct fixture *f, const char *text)
{
    return strstr(f->told.text, text) != NULL;
}

static void forget_told(struct fixture *f)
{
    f->told.text[f->told.len = 0] = 0;
    f->told.list_done = 0;
}

static void test_life(void **state)
{
    struct fixture *f = *state;
    struct section s = plain();
    struct plugin *p = begin(f, &s);
    assert_int_equal(start_member(p, "m1", 7), COX_OK);
    assert_string_equal(f->told.text, "m: ticket 7 result 0 \n"); /* it runs later, never at once */
    UNTIL(f, was_told(f, "phase 2"));
    forget_told(f);
    assert_int_equal(start_member(p, "m1", 8), COX_OK); /* asked twice: it is the same */
    assert_string_equal(f->told.text, "m: ticket 8 result 0 \n");
    assert_int_equal(stop_member(p, "m1", 9), COX_OK);
    UNTIL(f, was_told(f, "ticket 9"));
    assert_string_equal(f->told.text, "m: ticket 8 result 0 \n"
                                      "m: member m1 phase 4 set shop/1/1/web pid 0 stopped\n"
                                      "m: ticket 9 result 0 \n");
    forget_told(f);
    assert_int_equal(stop_member(p, "m1", 10), COX_OK); /* what is not there is stopped */
    assert_string_equal(f->told.text, "m: ticket 10 result 0 \n");
}

static void test_addresses_in_turn(void **state)
{
    struct fixture *f = *state;
    struct section s = plain();
    struct plugin *p = begin(f, &s);
    const char *const ids[] = {"m1", "m2", "m3", "m4"};
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(start_member(p, ids[i], i + 1), COX_OK);
    UNTIL(f, was_told(f, "m4 phase 2"));
    assert_true(was_told(f, "m1 phase 2 set shop/1/1/web pid 0 http=127.0.0.1:9001\n"));
    assert_true(was_told(f, "m2 phase 2 set shop/1/1/web pid 0 http=127.0.0.1:9002\n"));
    assert_true(was_told(f, "m3 phase 2 set shop/1/1/web pid 0 http=127.0.0.1:9003\n"));
    assert_true(was_told(f, "m4 phase 2 set shop/1/1/web pid 0 http=127.0.0.1:9001\n")); /* shared */
    assert_int_equal(stop_member(p, "m2", 9), COX_OK);
    UNTIL(f, was_told(f, "ticket 9"));
    assert_int_equal(start_member(p, "m5", 10), COX_OK);
    UNTIL(f, was_told(f, "m5 phase 2 set shop/1/1/web pid 0 http=127.0.0.1:9002\n")); /* a free one first */
}

static void test_addresses_are_out(void **state)
{
    struct fixture *f = *state;
    struct section s = section_of("m", "mock");
    section_set(&s, OPTION_TEXT("addresses", "127.0.0.1:9001"));
    section_set(&s, (struct raw_option){.key = (char *)(uintptr_t) "share", .type = 'b', .i = 0});
    struct plugin *p = begin(f, &s);
    assert_int_equal(start_member(p, "m1", 1), COX_OK);
    assert_int_equal(start_member(p, "m2", 2), COX_OK);
    assert_true(was_told(f, "ticket 2 result 3 all addresses are in use\n"));
    assert_int_equal(stop_member(p, "m1", 3), COX_OK);
    UNTIL(f, was_told(f, "ticket 3 result 0"));
    assert_int_equal(start_member(p, "m3", 4), COX_OK);
    assert_true(was_told(f, "ticket 4 result 0"));
}

static void test_capacity(void **state)
{
    struct fixture *f = *state;
    struct section s = plain();
    section_set(&s, OPTION_INTEGER("capacity", 2));
    struct plugin *p = begin(f, &s);
    assert_int_equal(start_member(p, "m1", 1), COX_OK);
    assert_int_equal(start_member(p, "m2", 2), COX_OK);
    assert_int_equal(start_member(p, "m3", 3), COX_OK);
    assert_true(was_told(f, "ticket 2 result 0"));
    assert_true(was_told(f, "ticket 3 result 3 all of its capacity is in use\n"));
}

static void test_script(void **state)
{
    struct fixture *f = *state;
    struct section s = plain();
    section_set(&s, OPTION_LIST("script", "fail\nfinal\nno_capacity\nnever\ndie:1ms\nslow:50ms"));
    struct plugin *p = begin(f, &s);
    const char *const ids[] = {"m1", "m2", "m3", "m4", "m5", "m6", "m7"};
    const uint64_t before = clock_now_ns();
    for (uint64_t i = 0; i < 7; i++)
        assert_int_equal(start_member(p, ids[i], i + 1), COX_OK);
    assert_true(was_told(f, "ticket 1 result 1 as the script says\n"));
    assert_true(was_told(f, "ticket 2 result 2 as the script says\n"));
    assert_true(was_told(f, "ticket 3 result 3 as the script says\n"));
    UNTIL(f, was_told(f, "m6 phase 2"));
    assert_true(clock_now_ns() - before >= 49 * NS_PER_MS); /* wall clock: whole milliseconds */
    assert_true(was_told(f, "member m4 phase 2 set shop/1/1/web pid 0\n")); /* no address */
    assert_true(was_told(f, "member m5 phase 4 set shop/1/1/web pid 0 died, as the script says\n"));
    assert_true(was_told(f, "member m7 phase 2")); /* after the script all is well */
}

static void test_script_repeats(void **state)
{
    struct fixture *f = *state;
    struct section s = plain();
    section_set(&s, OPTION_LIST("script", "ok\nfail"));
    section_set(&s, (struct raw_option){.key = (char *)(uintptr_t) "repeat", .type = 'b', .i = 1});
    struct plugin *p = begin(f, &s);
    const char *const ids[] = {"m1", "m2", "m3", "m4"};
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(start_member(p, ids[i], i + 1), COX_OK);
    assert_string_equal(f->told.text, "m: ticket 1 result 0 \n"
                                      "m: ticket 2 result 1 as the script says\n"
                                      "m: ticket 3 result 0 \n"
                                      "m: ticket 4 result 1 as the script says\n");
}

static void refuse(struct fixture *f, struct raw_option option, const char *expected)
{
    struct section s = plain();
    struct buf errors;
    s.settings.raw.n = strcmp(option.key, "addresses") == 0 ? 0 : 1;
    section_set(&s, option);
    buf_init(&errors);
    assert_null(plugin_create(&f->host, &s.settings, real_dir(), &errors));
    buf_put(&errors, "", 1);
    assert_string_equal(errors.p, expected);
    buf_fini(&errors);
}

#define AT "/etc/c.cfg:7: plugin \"m\": open failed: "

static void test_wrong_options(void **state)
{
    struct fixture *f = *state;
    const char *const fates = "expected ok, fail, final, no_capacity, never, die:2s or slow:5s\n";
    const char *const wrong[] = {"okay", "die", "die:", "die:2", "slow:5d"};
    char expected[512];
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        (void)snprintf(expected, sizeof expected, AT "script: \"%s\": %s", wrong[i], fates);
        refuse(f, OPTION_TEXT("script", wrong[i]), expected);
    }
    const char *const addresses[] = {"127.0.0.1", "127.0.0.1:0", "127.0.0.1:2-1", "127.0.0.1:1-65536",
                                     "unix:/a b"};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        (void)snprintf(expected, sizeof expected,
                       AT "addresses: \"%s\": expected \"127.0.0.1:9001\", \"127.0.0.1:9001-9050\" or "
                          "\"unix:/path\", at most 65536\n",
                       addresses[i]);
        refuse(f, OPTION_TEXT("addresses", addresses[i]), expected);
    }
    refuse(f, OPTION_TEXT("reports", "load_average"),
           AT "reports: expected a metric and a number, such as \"load_average=0.7\"\n");
}

/* ---- the journal ---- */

static void in_folder(char path[64])
{
    (void)snprintf(path, 64, "/tmp/mock-test-XXXXXX");
    assert_non_null(mkdtemp(path));
    (void)snprintf(path + strlen(path), 64 - strlen(path), "/state");
}

static void remove_folder(char *path)
{
    unlink(path);
    *strrchr(path, '/') = 0;
    assert_int_equal(rmdir(path), 0);
}

static void test_journal(void **state)
{
    struct fixture *f = *state;
    char path[64];
    in_folder(path);
    struct section s = plain();
    section_set(&s, OPTION_TEXT("state", path));
    section_set(&s, OPTION_LIST("script", "ok\nslow:1h\nok\ndie:1ms"));
    struct plugin *p = begin(f, &s);
    const char *const ids[] = {"m1", "m2", "m3", "m4"};
    for (uint64_t i = 0; i < 4; i++)
        assert_int_equal(start_member(p, ids[i], i + 1), COX_OK);
    UNTIL(f, was_told(f, "m3 phase 2") && was_told(f, "m4 phase 4"));
    assert_int_equal(stop_member(p, "m3", 5), COX_OK);
    UNTIL(f, was_told(f, "ticket 5"));
    plugin_destroy(&p); /* killed or not: it had been written before it was told */
    forget_told(f);
    p = begin(f, &s);
    assert_true(was_told(f, "member m1 phase 2 set shop/1/1/web pid 0 http=127.0.0.1:9001\n"));
    assert_true(was_told(f, "member m2 phase 1 set shop/1/1/web pid 0\n"));
    assert_false(was_told(f, "m3"));
    assert_false(was_told(f, "m4"));
    forget_told(f);
    assert_int_equal(start_member(p, "m1", 8), COX_OK); /* it lives: nothing is started twice */
    assert_string_equal(f->told.text, "m: ticket 8 result 0 \n");
    remove_folder(path);
}

/* One that was told to stop is not told of again, and still ends. */
static void test_journal_of_a_stop(void **state)
{
    struct fixture *f = *state;
    char path[64], text[256];
    in_folder(path);
    struct section s = plain();
    section_set(&s, OPTION_TEXT("state", path));
    section_set(&s, OPTION_TEXT("stop_time", "20ms"));
    struct plugin *p = begin(f, &s);
    assert_int_equal(start_member(p, "m1", 1), COX_OK);
    UNTIL(f, was_told(f, "m1 phase 2"));
    assert_int_equal(stop_member(p, "m1", 2), COX_OK);
    plugin_destroy(&p);
    forget_told(f);
    p = begin(f, &s);
    assert_string_equal(f->told.text, "");
    UNTIL(f, was_told(f, "m1 phase 4"));
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    int gone = 0;
    while (fgets(text, sizeof text, file))
        gone += strcmp(text, "gone m1\n") == 0;
    fclose(file);
    assert_int_equal(gone, 1);
    remove_folder(path);
}

/* A line that was cut off by a crash of the machine never happened. */
static void test_journal_cut_off(void **state)
{
    struct fixture *f = *state;
    char path[64];
    in_folder(path);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs("start m1 s - - 1 0 http=127.0.0.1:9001\nnonsense\n\nstop m9 5\ngone m9\nstart m2 s - - 1 0 "
          "http=127.0",
          file);
    fclose(file);
    struct section s = plain();
    section_set(&s, OPTION_TEXT("state", path));
    struct plugin *p = begin(f, &s);
    (void)p;
    assert_string_equal(f->told.text, "m: member m1 phase 2 set s pid 0 http=127.0.0.1:9001\n");
    remove_folder(path);
}

/* A member that cannot be written down does not exist. */
static void test_journal_is_full(void **state)
{
    struct fixture *f = *state;
    struct section s = plain();
    section_set(&s, OPTION_TEXT("state", "/dev/full"));
    struct plugin *p = begin(f, &s);
    assert_int_equal(start_member(p, "m1", 1), COX_OK);
    assert_string_equal(f->told.text, "m: ticket 1 result 1 cannot write the state\n");
    assert_int_equal(stop_member(p, "m1", 2), COX_OK);
    assert_true(was_told(f, "ticket 2 result 0"));
}

/* ---- times ---- */

static uint64_t run_at(const char *path, const char *id)
{
    char line[512], name[64], set[64], partition[64], network[64];
    unsigned long long at = 0, found = 0;
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "start %63s %63s %63s %63s %llu", name, set, partition, network, &at) == 5 &&
            strcmp(name, id) == 0)
            found = at;
    fclose(file);
    return found;
}

static void spread_of(struct fixture *f, uint64_t out_ms[5])
{
    char path[64];
    in_folder(path);
    struct section s = plain();
    section_set(&s, OPTION_TEXT("state", path));
    section_set(&s, OPTION_TEXT("start_time", "1h"));
    section_set(&s, (struct raw_option){.key = (char *)(uintptr_t) "start_spread", .type = 'f', .f = 0.5});
    struct plugin *p = begin(f, &s);
    const char *const ids[] = {"m1", "m2", "m3", "m4", "m5"};
    for (uint64_t i = 0; i < 5; i++) {
        const uint64_t before = clock_wall_ns() / NS_PER_MS;
        assert_int_equal(start_member(p, ids[i], i + 1), COX_OK);
        out_ms[i] = run_at(path, ids[i]) - before;
    }
    plugin_destroy(&p);
    forget_told(f);
    remove_folder(path);
}

static void test_start_times_follow_the_seed(void **state)
{
    struct fixture *f = *state;
    uint64_t first[5], second[5];
    spread_of(f, first);
    spread_of(f, second);
    bool all_alike = true;
    for (int i = 0; i < 5; i++) {
        assert_in_range(first[i], 3600000 / 20, 3600000ull * 20);     /* six sigma */
        assert_in_range(second[i] + 1000, first[i], first[i] + 2000); /* but for a slow machine */
        all_alike &= first[i] / 60000 == first[0] / 60000;
    }
    assert_false(all_alike);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_life, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses_are_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_capacity, setup, teardown),
        cmocka_unit_test_setup_teardown(test_script, setup, teardown),
        cmocka_unit_test_setup_teardown(test_script_repeats, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_options, setup, teardown),
        cmocka_unit_test_setup_teardown(test_journal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_journal_of_a_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_journal_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_journal_is_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_times_follow_the_seed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
