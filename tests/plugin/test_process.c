/* The process plugin against a scripted master. */
#include "support.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

struct start {
    char cartridge[64], member[64];
    char names[32][64], values[32][128];
    uint64_t count;
};

static void copy(struct str s, char *to, size_t cap)
{
    assert_true(s.n < cap);
    memcpy(to, s.p, s.n);
    to[s.n] = 0;
}

/* What the plugin asked the master to start. */
static struct start asked(struct fixture *f)
{
    struct start out = {.count = 0};
    struct str in = str_make(f->told.last.bytes, f->told.last.len), s;
    assert_int_equal(f->told.last_type, CHANNEL_MEMBER_START);
    assert_true(unpack_str(&in, &s));
    copy(s, out.cartridge, sizeof out.cartridge);
    assert_true(unpack_str(&in, &s));
    copy(s, out.member, sizeof out.member);
    assert_true(unpack_u64(&in, &out.count) && out.count <= 32);
    for (uint64_t i = 0; i < out.count; i++) {
        assert_true(unpack_str(&in, &s));
        copy(s, out.names[i], sizeof out.names[i]);
        assert_true(unpack_str(&in, &s));
        copy(s, out.values[i], sizeof out.values[i]);
    }
    assert_int_equal(in.n, 0);
    return out;
}

static const char *variable(const struct start *s, const char *name)
{
    for (uint64_t i = 0; i < s->count; i++)
        if (strcmp(s->names[i], name) == 0)
            return s->values[i];
    return "(none)";
}

static void from_master(struct fixture *f, enum channel_type type, const struct packer *p)
{
    const struct channel_message m = {.type = type, .payload = pack_result(p)};
    assert_true(host_on_process(&f->host, &m));
}

static void started(struct fixture *f, const char *id, uint64_t pid, const char *error)
{
    struct packer p = {.len = 0};
    pack_str(&p, str_of(id));
    pack_u64(&p, pid);
    pack_str(&p, str_of(error));
    from_master(f, CHANNEL_MEMBER_STARTED, &p);
}

static void exited(struct fixture *f, const char *id, uint64_t status)
{
    struct packer p = {.len = 0};
    pack_str(&p, str_of(id));
    pack_u64(&p, status);
    from_master(f, CHANNEL_MEMBER_EXIT, &p);
}

static void list_of(struct fixture *f, const struct start *s, uint64_t pid)
{
    struct packer p = {.len = 0};
    pack_u64(&p, s ? 1 : 0);
    if (s) {
        pack_str(&p, str_of(s->member));
        pack_str(&p, str_of(s->cartridge));
        pack_u64(&p, pid);
        pack_u64(&p, s->count);
        for (uint64_t i = 0; i < s->count; i++) {
            pack_str(&p, str_of(s->names[i]));
            pack_str(&p, str_of(s->values[i]));
        }
    }
    from_master(f, CHANNEL_MEMBER_LIST, &p);
}

static struct plugin *begin(struct fixture *f, struct section *s)
{
    struct plugin *p = create(f, s, real_dir());
    start(p);
    assert_int_equal(f->told.last_type, CHANNEL_MEMBER_ASK_LIST);
    assert_int_equal(f->told.list_done, 0);
    return p;
}

static struct plugin *begin_plain(struct fixture *f)
{
    struct section s = section_of("local", "process");
    struct plugin *p = begin(f, &s);
    list_of(f, NULL, 0);
    assert_int_equal(f->told.list_done, 1);
    return p;
}

static int32_t start_member(struct plugin *p, const char *id, uint64_t ticket)
{
    static const struct cox_port ports[] = {{sizeof ports[0], 0, "http", "http"},
                                            {sizeof ports[0], 0, "fast-cgi", "fastcgi"}};
    const struct cox_member_spec spec = {.size = sizeof spec,
                                         .member = id,
                                         .set = "shop/1/1/web",
                                         .cartridge = "php",
                                         .ports = COX_ARRAY(ports)};
    return p->module.plugin.actuator->start_member(p->instance, ticket, &spec);
}

static void test_start(void **state)
{
    struct fixture *f = *state;
    struct plugin *p = begin_plain(f);
    assert_int_equal(start_member(p, "m1", 7), COX_OK);
    const struct start s = asked(f);
    assert_string_equal(s.cartridge, "php");
    assert_string_equal(s.member, "m1");
    assert_string_equal(variable(&s, "MEMBER_ID"), "m1");
    assert_string_equal(variable(&s, "CARTRIDGE"), "php");
    assert_string_equal(variable(&s, "SET"), "shop/1/1/web");
    assert_string_equal(variable(&s, "HOST"), "127.0.0.1");
    assert_string_equal(variable(&s, "ACTUATOR"), "local");
    assert_string_equal(variable(&s, "PORT"), variable(&s, "PORT_HTTP"));
    assert_string_not_equal(variable(&s, "PORT_FAST_CGI"), variable(&s, "PORT_HTTP"));
    assert_string_equal(f->told.text, "");
    started(f, "m1", 4711, "");
    char expected[512];
    (void)snprintf(
        expected, sizeof expected,
        "local: ticket 7 result 0 \n"
        "local: member m1 phase 2 set shop/1/1/web pid 4711 http=127.0.0.1:%s fast-cgi=127.0.0.1:%s\n",
        variable(&s, "PORT_HTTP"), variable(&s, "PORT_FAST_CGI"));
    assert_string_equal(f->told.text, expected);
}

/* A child of the member is busy, and has 32 MiB. */
static void burn(void)
{
    const size_t bytes = 32u << 20;
    volatile char *memory = malloc(bytes);
    for (size_t i = 0; memory; i += 4096)
        memory[i % bytes]++;
}

static void test_load_and_memory_are_reported(void **state)
{
    struct fixture *f = *state;
    struct section s = section_of("local", "process");
    section_set(&s, OPTION_TEXT("report_interval", "300ms"));
    section_set(&s, OPTION_TEXT("member_memory", "64m"));
    struct plugin *p = begin(f, &s);
    list_of(f, NULL, 0);
    const pid_t member = fork();
    assert_true(member >= 0);
    if (member == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        const pid_t busy = fork();
        if (busy == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            burn();
        }
        (void)pause();
        _exit(0);
    }
    assert_int_equal(start_member(p, "m1", 7), COX_OK);
    started(f, "m1", (uint64_t)member, "");
    UNTIL(f, f->told.load_average > 5 && f->told.memory_consumption > 50);
    assert_true(f->told.load_average < 150 && f->told.memory_consumption < 80);
    (void)kill(member, SIGKILL);
    (void)waitpid(member, NULL, 0);
    exited(f, "m1", SIGKILL);
}

static bool are_reported(const struct told *t, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!t->is_reported[i])
            return false;
    return true;
}

/* However many processes members have: a turn looks at no further one when it has read enough, and the next
 * goes on there, although the first are due again. */
static void test_a_turn_of_reports_is_short(void **state)
{
    struct fixture *f = *state;
    struct section s = section_of("local", "process");
    section_set(&s, OPTION_TEXT("report_interval", "300ms"));
    struct plugin *p = begin(f, &s);
    list_of(f, NULL, 0);
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    const pid_t member = fork(); /* of all of them */
    assert_true(member >= 0);
    if (member == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (int i = 0; i < 60; i++)
            if (fork() == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void)pause();
                _exit(0);
            }
        (void)!write(ready[1], "", 1);
        (void)pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1); /* all are there */
    close(ready[0]);
    close(ready[1]);
    char id[] = "m0";
    for (int i = 0; i < 8; i++, id[1]++) {
        assert_int_equal(start_member(p, id, 7 + (uint64_t)i), COX_OK);
        started(f, id, (uint64_t)member, "");
    }
    UNTIL(f, are_reported(&f->told, 8));
    assert_int_equal(f->told.reports_most, 2); /* 61 processes each */
    (void)kill(member, SIGKILL);
    (void)waitpid(member, NULL, 0);
    for (id[1] = '0'; id[1] < '8'; id[1]++)
        exited(f, id, SIGKILL);
}

static void test_start_fails(void **state)
{
    struct fixture *f = *state;
    struct plugin *p = begin_plain(f);
    assert_int_equal(start_member(p, "m1", 7), COX_OK);
    started(f, "m1", 0, "php-fpm: no such file");
    assert_string_equal(f->told.text, "local: ticket 7 result 1 php-fpm: no such file\n");
}

static void test_exit(void **state)
{
    struct fixture *f = *state;
    struct plugin *p = begin_plain(f);
    assert_int_equal(start_member(p, "m1", 7), COX_OK);
    started(f, "m1", 4711, "");
    f->told.len = 0;
    exited(f, "m1", 9);
    assert_string_equal(f->told.text, "local: member m1 phase 4 set - pid 0 killed by signal 9\n");
    f->told.len = 0;
    f->told.text[0] = 0;
    exited(f, "m1", 9); /* nobody's any more */
    assert_string_equal(f->told.text, "");
}

static void test_stop(void **state)
{
    struct fixture *f = *state;
    struct plugin *p = begin_plain(f);
    assert_int_equal(start_member(p, "m1", 7), COX_OK);
    started(f, "m1", 4711, "");
    const struct cox_stop stop = {.size = sizeof stop, .member = "m1", .signo = 15, .deadline_ms = 2500};
    assert_int_equal(p->module.plugin.actuator->stop_member(p->instance, 8, &stop), COX_OK);
    assert_int_equal(f->told.last_type, CHANNEL_MEMBER_STOP);
    struct str in = str_make(f->told.last.bytes, f->told.last.len), id;
    uint64_t signo = 0, after = 0;
    assert_true(unpack_str(&in, &id) && unpack_u64(&in, &signo) && unpack_u64(&in, &after));
    assert_int_equal(signo, 15);
    assert_int_equal(after, 2500);
    f->told.len = 0;
    exited(f, "m1", 0);
    assert_string_equal(
        f->told.text,
        "local: member m1 phase 4 set - pid 0 exited with status 0\nlocal: ticket 8 result 0 \n");
}

/* A new orchestrator finds what the last one started, by the environment it was given. */
static void test_adoption(void **state)
{
    struct fixture *f = *state;
    struct plugin *p = begin_plain(f);
    assert_int_equal(start_member(p, "m1", 7), COX_OK);
    const struct start s = asked(f);
    plugin_destroy(&p);
    f->told.len = 0;
    f->told.list_done = 0;
    struct section again = section_of("local", "process");
    p = begin(f, &again);
    list_of(f, &s, 4711);
    char expected[512];
    (void)snprintf(
        expected, sizeof expected,
        "local: member m1 phase 2 set shop/1/1/web pid 4711 http=127.0.0.1:%s fast-cgi=127.0.0.1:%s\n",
        variable(&s, "PORT_HTTP"), variable(&s, "PORT_FAST_CGI"));
    assert_string_equal(f->told.text, expected);
    assert_int_equal(f->told.list_done, 1);
}

/* Members of an instance that the config no longer has are told to the core as such, and their end too. */
static void test_orphans_are_told(void **state)
{
    struct fixture *f = *state;
    struct section s = section_of("local", "process");
    (void)begin(f, &s);
    f->told.has_orphans = true;
    struct start orphan = {.cartridge = "php", .member = "old", .count = 3};
    static const char *const pairs[][2] = {
        {"ACTUATOR", "gone"}, {"SET", "shop/1/1/web"}, {"PARTITION", "p1"}};
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(orphan.names[i], sizeof orphan.names[i], "%s", pairs[i][0]);
        (void)snprintf(orphan.values[i], sizeof orphan.values[i], "%s", pairs[i][1]);
    }
    list_of(f, &orphan, 4711);
    assert_string_equal(f->told.text,
                        "orphan of \"gone\": old phase 2 set shop/1/1/web partition p1 pid 4711\n"
                        "that is all\n");
    assert_int_equal(f->told.list_done, 1);
    assert_int_equal(f->told.last_type, CHANNEL_MEMBER_ASK_LIST); /* nobody was told to stop */
    assert_true(host_stop_orphan(&f->host, "old", SIGQUIT, 2500));
    assert_int_equal(f->told.last_type, CHANNEL_MEMBER_STOP);
    struct str in = str_make(f->told.last.bytes, f->told.last.len), id;
    uint64_t signo = 0, after = 0;
    assert_true(unpack_str(&in, &id) && unpack_u64(&in, &signo) && unpack_u64(&in, &after));
    assert_true(str_eq(id, STR("old")));
    assert_int_equal(signo, SIGQUIT);
    assert_int_equal(after, 2500);
    f->told.len = 0;
    exited(f, "old", 0);
    assert_string_equal(f->told.text, "orphan of \"\": old phase 4 set - partition - pid 0\n");
}

/* When no plugin asks for the list, the host does. */
static void test_the_list_is_asked_for_once(void **state)
{
    struct fixture *f = *state;
    struct section s = section_of("local", "process");
    host_list_orphans(&f->host);
    assert_int_equal(f->told.last_type, CHANNEL_MEMBER_ASK_LIST);
    (void)begin(f, &s);
    f->told.last_type = CHANNEL_QUIT;
    host_list_orphans(&f->host);
    assert_int_equal(f->told.last_type, CHANNEL_QUIT); /* the plugin has */
}

/* One that is to go before its start is answered, and cannot be started: both tickets end, and it is told to
 * be gone, for the core waits for nothing but that. */
static void test_stopped_before_its_start_fails(void **state)
{
    struct fixture *f = *state;
    struct plugin *p = begin_plain(f);
    const struct cox_stop stop = {.size = sizeof stop, .member = "m1", .signo = 15, .deadline_ms = 2500};
    assert_int_equal(start_member(p, "m1", 7), COX_OK);
    assert_int_equal(p->module.plugin.actuator->stop_member(p->instance, 8, &stop), COX_OK);
    started(f, "m1", 0, "no such file");
    assert_string_equal(f->told.text, "local: ticket 7 result 1 no such file\n"
                                      "local: member m1 phase 4 set - pid 0 no such file\n"
                                      "local: ticket 8 result 0 \n");
    f->told.len = 0;
    exited(f, "m1", 0); /* the master's answer to the stop */
    assert_int_equal(p->module.plugin.actuator->stop_member(p->instance, 9, &stop), COX_OK);
    assert_string_equal(f->told.text, "local: member m1 phase 4 set - pid 0 there is no such process\n"
                                      "local: ticket 9 result 0 \n");
}

static void test_ports_are_not_given_twice(void **state)
{
    struct fixture *f = *state;
    struct section s = section_of("local", "process");
    section_set(&s, OPTION_INTEGER("port_min", 47100));
    section_set(&s, OPTION_INTEGER("port_max", 47103));
    struct plugin *p = begin(f, &s);
    list_of(f, NULL, 0);
    assert_int_equal(start_member(p, "m1", 1), COX_OK); /* two ports each */
    assert_int_equal(start_member(p, "m2", 2), COX_OK);
    f->told.len = 0;
    exited(f, "m1", 0);
    f->told.len = 0;
    assert_int_equal(start_member(p, "m3", 3), COX_OK); /* those of m1 rest for a minute */
    assert_string_equal(f->told.text, "local: ticket 3 result 3 no free port\n");
}

static void test_wrong_options(void **state)
{
    struct fixture *f = *state;
    struct section s = section_of("local", "process");
    struct buf errors;
    buf_init(&errors);
    section_set(&s, OPTION_TEXT("address", "localhost"));
    assert_null(plugin_create(&f->host, &s.settings, real_dir(), &errors));
    buf_put(&errors, "", 1);
    assert_non_null(strstr(errors.p, "address must be an IPv4 or IPv6 address without a port"));
    buf_fini(&errors);
}

static void test_malformed_messages(void **state)
{
    struct fixture *f = *state;
    (void)begin_plain(f);
    static const enum channel_type types[] = {CHANNEL_MEMBER_STARTED, CHANNEL_MEMBER_EXIT,
                                              CHANNEL_MEMBER_LIST};
    struct packer p = {.len = 0};
    pack_u64(&p, UINT64_MAX);
    for (size_t i = 0; i < 3; i++) {
        const struct channel_message m = {.type = types[i], .payload = pack_result(&p)};
        assert_false(host_on_process(&f->host, &m));
        const struct channel_message empty = {.type = types[i], .payload = STR("")};
        assert_false(host_on_process(&f->host, &empty));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_load_and_memory_are_reported, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_turn_of_reports_is_short, setup, teardown),
        cmocka_unit_test_setup_teardown(test_start_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_exit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stop, setup, teardown),
        cmocka_unit_test_setup_teardown(test_adoption, setup, teardown),
        cmocka_unit_test_setup_teardown(test_orphans_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_list_is_asked_for_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stopped_before_its_start_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ports_are_not_given_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_wrong_options, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed_messages, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
