/* members: replacing variables in commands, and starting a process for real with what it was promised. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "master/member_spawn.h"
#include "master/members.h"

static void variables_are_replaced(void **state)
{
    static const char *const cases[][2] = {
        {"127.0.0.1:$PORT", "127.0.0.1:9000"},
        {"${PORT}1", "90001"},
        {"$PORT_HTTP/$PORT", "9001/9000"},
        {"$UNKNOWN", "$UNKNOWN"},
        {"${PORT", "${PORT"},
        {"${}", "${}"},
        {"$", "$"},
        {"a$$PORT", "a$PORT"},
        {"", ""},
        {"$MEMBER_ID$PORT", "web-19000"},
    };
    struct vars v = {0};
    (void)state;
    member_vars_add(&v, STR("PORT"), STR("9000"));
    member_vars_add(&v, STR("PORT_HTTP"), STR("9001"));
    member_vars_add(&v, STR("MEMBER_ID"), STR("web-1"));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text = member_expand(cases[i][0], &v);
        assert_string_equal(text, cases[i][1]);
        free(text);
    }
    member_vars_release(&v);
}

struct
try {
    struct settings settings;
    struct cartridge_settings cartridge;
    struct privileges privileges;
    struct launch launch;
    struct vars vars;
    char *command[4];
};

static void try_init(struct try *t, char *a, char *b, char *c)
{
    memset(t, 0, sizeof *t);
    t->launch.files = (struct rlimit){256, 256};
    t->command[0] = a;
    t->command[1] = b;
    t->command[2] = c;
    t->cartridge.command = (struct strings){t->command, c ? 3 : 1};
    t->cartridge.directory = "/tmp";
    member_vars_add(&t->vars, STR("PORT"), STR("9000"));
}

static pid_t try_start(struct try *t, int *out_fd, int *out_status, struct buf *error)
{
    struct member_spawn how = {&t->settings, &t->cartridge, &t->vars, &t->privileges, &t->launch};
    buf_init(error);
    pid_t pid = member_spawn(&how, out_fd, out_status, error);
    member_vars_release(&t->vars);
    return pid;
}

/* When it is known. */
static int outcome_of(int fd, struct buf *error)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 30000), 1);
    const int outcome = member_spawn_outcome(fd, error);
    close(fd);
    return outcome;
}

static void a_member_gets_its_variables_folder_limits_and_group(void **state)
{
    struct try t;
    struct buf error;
    char text[512] = "";
    size_t len = 0;
    int fd = -1, how = -1, status;
    (void)state;
    setenv("A_SECRET_OF_THE_PROGRAM", "x", 1);
    try_init(&t, "sh", "-c",
             "echo $PORT; pwd; ulimit -n; echo \"[$A_SECRET_OF_THE_PROGRAM]\" >&2; "
             "ps -o pgid= -p $$$$ | tr -d ' '");
    pid_t pid = try_start(&t, &fd, &how, &error);
    assert_true(pid > 0);
    assert_int_equal(outcome_of(how, &error), 1);
    for (ssize_t n; (n = read(fd, text + len, sizeof text - 1 - len)) > 0;)
        len += (size_t)n;
    close(fd);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    char expected[128];
    snprintf(expected, sizeof expected, "9000\n/tmp\n256\n[]\n%d\n", (int)pid);
    assert_string_equal(text, expected);
    buf_fini(&error);
}

static void a_command_that_is_not_there_is_told_at_once(void **state)
{
    struct try t;
    struct buf error;
    int fd = -1, how = -1, status;
    (void)state;
    try_init(&t, "/does/not/exist", NULL, NULL);
    const pid_t pid = try_start(&t, &fd, &how, &error);
    assert_true(pid > 0);
    assert_int_equal(outcome_of(how, &error), -1);
    assert_true(str_eq(buf_str(&error), STR("/does/not/exist: No such file or directory")));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(fd);
    buf_fini(&error);
}

/* Nobody waits for a command that is not executed yet. */
static void an_exec_that_takes_its_time_is_not_waited_for(void **state)
{
    struct buf error;
    int ends[2];
    (void)state;
    buf_init(&error);
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(member_spawn_outcome(ends[0], &error), 0);
    assert_int_equal(write(ends[1], "no", 2), 2);
    assert_int_equal(member_spawn_outcome(ends[0], &error), -1);
    assert_true(str_eq(buf_str(&error), STR("no")));
    close(ends[1]);
    assert_int_equal(member_spawn_outcome(ends[0], &error), 1);
    close(ends[0]);
    buf_fini(&error);
}

/* No user of that name: nothing was forked, and nothing is left open. */
static void a_user_that_is_not_there_is_told_before_the_fork(void **state)
{
    struct try t;
    struct buf error;
    int fd = -1, how = -1;
    (void)state;
    try_init(&t, "true", NULL, NULL);
    t.privileges.drop = true;
    t.cartridge.user = (char *)(uintptr_t) "nobody-of-that-name";
    assert_int_equal(try_start(&t, &fd, &how, &error), -1);
    assert_true(error.len > 0);
    assert_true(fd == -1 && how == -1);
    buf_fini(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variables_are_replaced),
        cmocka_unit_test(a_member_gets_its_variables_folder_limits_and_group),
        cmocka_unit_test(a_command_that_is_not_there_is_told_at_once),
        cmocka_unit_test(an_exec_that_takes_its_time_is_not_waited_for),
        cmocka_unit_test(a_user_that_is_not_there_is_told_before_the_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
