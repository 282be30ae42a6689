/* Files that include files: where lines come from, what is refused, what paths are relative to. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/settings.h"
#include "conf/source.h"

static char folder[] = "/tmp/test_source.XXXXXX";
static char path[4][128]; /* main.cfg, sub/part.cfg, other.cfg, sub/fifo */

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

static int make_folder(void **state)
{
    char sub[128];
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(sub, sizeof sub, "%s/sub", folder);
    snprintf(path[0], sizeof path[0], "%s/main.cfg", folder);
    snprintf(path[1], sizeof path[1], "%s/sub/part.cfg", folder);
    snprintf(path[2], sizeof path[2], "%s/sub/other.cfg", folder);
    snprintf(path[3], sizeof path[3], "%s/sub/fifo", folder);
    return mkdir(sub, 0700);
}

static int remove_folder(void **state)
{
    char sub[128];
    (void)state;
    snprintf(sub, sizeof sub, "%s/sub", folder);
    for (size_t i = 0; i < 4; i++)
        if (unlink(path[i]) && errno != ENOENT)
            return -1;
    return rmdir(sub) || rmdir(folder);
}

/* Loads main.cfg; what it said, NUL-terminated, in a buffer of the test. */
static struct settings *load(char said[4096])
{
    struct buf errors;
    buf_init(&errors);
    struct settings *s = settings_load(path[0], &errors);
    assert_true(errors.len < 4096);
    if (errors.len)
        memcpy(said, errors.p, errors.len);
    said[errors.len] = 0;
    buf_fini(&errors);
    return s;
}

static void refuse(const char *expected_format, const char *file, const char *detail)
{
    char said[4096], expected[4096];
    assert_null(load(said));
    snprintf(expected, sizeof expected, expected_format, file, detail);
    assert_string_equal(said, expected);
}

static void test_include(void **state)
{
    char said[4096], expected[256];
    (void)state;
    write_file(path[0], "workers = 2;\n@include \"sub/part.cfg\"\nvia = false;\n");
    write_file(path[1], "user = \"a\";\n@include \"other.cfg\"\ntemp_dir = \"spill\";\n");
    write_file(path[2], "log = { file = \"./x/err.log\"; access = \"off\"; };");
    struct settings *s = load(said);
    assert_string_equal(said, "");
    assert_int_equal(s->workers, 2);
    assert_false(s->via);
    assert_string_equal(s->user, "a");
    snprintf(expected, sizeof expected, "%s/sub/spill", folder);
    assert_string_equal(s->temp_dir, expected); /* relative to the file that names it */
    snprintf(expected, sizeof expected, "%s/sub/x/err.log", folder);
    assert_string_equal(s->log.file, expected);
    assert_string_equal(s->log.access, "off"); /* a word, not a path */
    assert_string_equal(s->file, path[0]);
    settings_free(&s);
}

static void test_lines_of_includes(void **state)
{
    char said[4096], expected[1024];
    (void)state;
    write_file(path[0], "workers = 2;\n  @include \"sub/part.cfg\"\nbad1 = false;\n");
    write_file(path[1], "\n\nbad2 = 1;");
    assert_null(load(said));
    snprintf(expected, sizeof expected,
             "%s:3: unknown key \"bad2\" in the top level\n%s:3: unknown key \"bad1\" in the top level\n",
             path[1], path[0]);
    assert_string_equal(said, expected);
}

static void test_syntax_error_in_include(void **state)
{
    (void)state;
    write_file(path[0], "@include \"sub/part.cfg\"\n");
    write_file(path[1], "workers = 1;\nvia = = true;\n");
    refuse("%s:2: syntax error%s\n", path[1], "");
}

/* Only a directive at the beginning of a line is one. */
static void test_include_that_is_none(void **state)
{
    char said[4096];
    (void)state;
    write_file(path[0], "# @include \"a\"\n/*\n@include \"b\"\n*/\n// x\n@include \"sub/part.cfg\"\n");
    write_file(path[1], "plugins = ( { name = \"a\"; text = \"\n@include \\\"c\\\" /* \"; } );\n");
    struct settings *s = load(said);
    assert_string_equal(said, "");
    assert_string_equal(settings_plugin(s, "a")->raw.v[0].s, "\n@include \"c\" /* ");
    settings_free(&s);
}

static void test_refused_includes(void **state)
{
    (void)state;
    write_file(path[0], "\n@include \"sub/none.cfg\"\n");
    refuse("%s:2: cannot read \"%s/sub/none.cfg\": No such file or directory\n", path[0], folder);
    write_file(path[0], "\n@include \"sub\"\n");
    refuse("%s:2: cannot read \"%s/sub\": not a regular file\n", path[0], folder);
    write_file(path[0], "\n@include \"/dev/zero\"\n");
    refuse("%s:2: cannot read \"/dev/zero\": not a regular file%s\n", path[0], "");
    assert_int_equal(mkfifo(path[3], 0600), 0);
    write_file(path[0], "\n@include \"sub/fifo\"\n");
    refuse("%s:2: cannot read \"%s/sub/fifo\": not a regular file\n", path[0], folder);
    write_file(path[0], "\n@include sub\n");
    refuse("%s:2: expected a path in quotes after @include%s\n", path[0], "");
    write_file(path[0], "@include \"main.cfg\"\n");
    refuse("%s:1: cannot read \"%s/main.cfg\": more than 10 files include each other\n", path[0], folder);
}

static void test_main_file_missing(void **state)
{
    struct buf errors;
    (void)state;
    buf_init(&errors);
    assert_null(settings_load("/nonexistent/x.cfg", &errors));
    buf_put(&errors, "", 1);
    assert_string_equal(
        errors.p, "/nonexistent/x.cfg: cannot read \"/nonexistent/x.cfg\": No such file or directory\n");
    buf_fini(&errors);
}

static bool takes(struct str text)
{
    struct source s;
    struct buf errors;
    buf_init(&errors);
    source_init(&s, &errors);
    bool ok = source_load_text(&s, "text", text);
    source_fini(&s);
    buf_fini(&errors);
    return ok;
}

static void test_limits(void **state)
{
    char nested[128];
    size_t size = SOURCE_TOTAL_MAX;
    char *big = malloc(size + 1);
    (void)state;
    memset(nested, '(', sizeof nested);
    assert_true(takes(str_make(nested, SOURCE_NESTING_MAX)));
    assert_false(takes(str_make(nested, SOURCE_NESTING_MAX + 1)));
    memset(big, ' ', size + 1);
    assert_true(takes(str_make(big, size)));
    assert_false(takes(str_make(big, size + 1)));
    free(big);
    assert_false(takes(STR("a = 1;\0")));
}

static void expect_text(const char *in, const char *out)
{
    struct source s;
    struct buf errors;
    buf_init(&errors);
    source_init(&s, &errors);
    assert_true(source_load_text(&s, "text", str_of(in)));
    buf_put(&s.text, "", 1);
    assert_string_equal(s.text.p, out);
    source_fini(&s);
    buf_fini(&errors);
}

static void test_large_integers(void **state)
{
    (void)state;
    expect_text("a = 2147483647;", "a = 2147483647;");
    expect_text("a = 2147483648;", "a = 2147483648L;");
    expect_text("a = -3000000000;", "a = -3000000000L;");
    expect_text("a = 3000000000L;", "a = 3000000000L;");
    expect_text("a = 0xffffffff;", "a = 0xffffffffL;");
    expect_text("a = 0x7f; b = 1.5e10; c3000000000 = \"3000000000\";",
                "a = 0x7f; b = 1.5e10; c3000000000 = \"3000000000\";");
    assert_false(takes(STR("a = 9223372036854775808;")));
    assert_false(takes(STR("a = 0x8000000000000000;")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_include),
        cmocka_unit_test(test_lines_of_includes),
        cmocka_unit_test(test_syntax_error_in_include),
        cmocka_unit_test(test_include_that_is_none),
        cmocka_unit_test(test_refused_includes),
        cmocka_unit_test(test_main_file_missing),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_large_integers),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
