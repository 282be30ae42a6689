/* members: replacing variables in commands, and starting a process for real with what it was promised. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

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

static pid_t try_start(struct try *t, int *out_fd, struct buf *error)
{
    struct member_spawn how = {&t->settings, &t->cartridge, &t->vars, &t->privileges, &t->launch};
    buf_init(error);
    pid_t pid = member_spawn(&how, out_fd, error);
    member_vars_release(&t->vars);
    return pid;
}

static void a_member_gets_its_variables_folder_limits_and_group(void **state)
{
    struct try t;
    struct buf error;
    char text[512] = "";
    size_t len = 0;
    int fd = -1, status;
    (void)state;
    setenv("A_SECRET_OF_THE_PROGRAM", "x", 1);
    try_init(&t, "sh", "-c",
             "echo $PORT; pwd; ulimit -n; echo \"[$A_SECRET_OF_THE_PROGRAM]\" >&2; "
             "ps -o pgid= -p $$$$ | tr -d ' '");
    pid_t pid = try_start(&t, &fd, &error);
    assert_true(pid > 0);
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
    int fd = -1;
    (void)state;
    try_init(&t, "/does/not/exist", NULL, NULL);
    assert_int_equal(try_start(&t, &fd, &error), -1);
    assert_true(str_eq(buf_str(&error), STR("/does/not/exist: No such file or directory")));
    assert_int_equal(fd, -1);
    buf_fini(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variables_are_replaced),
        cmocka_unit_test(a_member_gets_its_variables_folder_limits_and_group),
        cmocka_unit_test(a_command_that_is_not_there_is_told_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
