/* Conditions and ranges of files (RFC 9110 13, 14), their types, and which of them are opened at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "http/h1_parse.h"
#include "proxy/files_open.h"
#include "proxy/files_range.h"
#include "proxy/files_types.h"

#define MODIFIED   784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */
#define MODIFIED_T "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE_T   "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER_T    "Sun, 06 Nov 1994 08:49:38 GMT"

static struct files_plan plan_of(const char *method, const char *fields, uint64_t size)
{
    static const struct h1_limits limits = {8192, 16384, 32};
    char text[4096];
    struct field array[32];
    struct h1_parser parser = {0};
    struct message m;
    struct files_plan plan;
    struct files_facts facts = {
        .size = size, .modified_s = MODIFIED, .now_s = MODIFIED + 3600, .etag = STR("\"abc\"")};
    int n = snprintf(text, sizeof text, "%s / HTTP/1.1\r\nHost: h\r\n%s\r\n", method, fields);
    message_init(&m, array, 32);
    assert_true(h1_parse_request(&parser, text, (size_t)n, &limits, &m) > 0);
    files_plan(&m, &facts, &plan);
    return plan;
}

static void expect_plan(const char *method, const char *fields, uint64_t size, struct files_plan want)
{
    struct files_plan got = plan_of(method, fields, size);
    if (got.status != want.status || got.from != want.from || got.size != want.size)
        fail_msg("%s [%s] of %llu: %u %llu+%llu", method, fields, (unsigned long long)size, got.status,
                 (unsigned long long)got.from, (unsigned long long)got.size);
}

static void conditions_follow_the_order_of_the_rfc(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        uint16_t status;
    } cases[] = {
        {"", 200},
        {"If-None-Match: \"abc\"\r\n", 304},
        {"If-None-Match: W/\"abc\"\r\n", 304},
        {"If-None-Match: *\r\n", 304},
        {"If-None-Match: \"x,\", \"abc\"\r\n", 304},
        {"If-None-Match: \"x\"\r\nIf-None-Match: \"abc\"\r\n", 304},
        {"If-None-Match: \"x\"\r\n", 200},
        {"If-None-Match: abc\r\n", 200},
        {"If-None-Match: \"x\"\r\nIf-Modified-Since: " AFTER_T "\r\n", 200}, /* the tag decides alone */
        {"If-Modified-Since: " MODIFIED_T "\r\n", 304},
        {"If-Modified-Since: " AFTER_T "\r\n", 304},
        {"If-Modified-Since: " BEFORE_T "\r\n", 200},
        {"If-Modified-Since: yesterday\r\n", 200},
        {"If-Match: \"abc\"\r\n", 200},
        {"If-Match: *\r\n", 200},
        {"If-Match: W/\"abc\"\r\n", 412}, /* compared strongly */
        {"If-Match: \"x\"\r\n", 412},
        {"If-Match: \"x\"\r\nIf-None-Match: \"abc\"\r\n", 412},
        {"If-Unmodified-Since: " BEFORE_T "\r\n", 412},
        {"If-Unmodified-Since: " MODIFIED_T "\r\n", 200},
        {"If-Match: \"abc\"\r\nIf-Unmodified-Since: " BEFORE_T "\r\n", 200},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint16_t status = cases[i].status;
        struct files_plan want = {.status = status, .size = status == 200 ? 100 : 0};
        expect_plan("GET", cases[i].fields, 100, want);
        expect_plan("HEAD", cases[i].fields, 100, want);
        expect_plan("POST", cases[i].fields, 100, (struct files_plan){.status = 200, .size = 100});
    }
}

static void one_range_is_served(void **state)
{
    (void)state;
    static const struct {
        const char *range;
        uint64_t size;
        struct files_plan want;
    } cases[] = {
        {"bytes=0-0", 100, {206, 0, 1}},
        {"bytes=0-99", 100, {206, 0, 100}},
        {"bytes=0-100", 100, {206, 0, 100}},
        {"Bytes=99-", 100, {206, 99, 1}},
        {"bytes=100-", 100, {416, 0, 0}},
        {"bytes=-1", 100, {206, 99, 1}},
        {"bytes=-100", 100, {206, 0, 100}},
        {"bytes=-101", 100, {206, 0, 100}},
        {"bytes=-0", 100, {416, 0, 0}},
        {"bytes=0-", 0, {416, 0, 0}},
        {"bytes=-5", 0, {416, 0, 0}},
        {"bytes=5-4", 100, {200, 0, 100}}, /* no range at all, so the field is void */
        {"bytes=a-b", 100, {200, 0, 100}},
        {"bytes=-", 100, {200, 0, 100}},
        {"bytes=", 100, {200, 0, 100}},
        {"bytes=1", 100, {200, 0, 100}},
        {"bytes=+1-2", 100, {200, 0, 100}},
        {"lines=0-1", 100, {200, 0, 100}},
        {"bytes=0-1,5-6", 100, {200, 0, 100}},
        {"bytes=0-1,", 100, {206, 0, 2}}, /* empty elements of a list do not count (5.6.1) */
        {"bytes=1-99999999999999999999999", 100, {206, 1, 99}},
        {"bytes=99999999999999999999999-", 100, {416, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char fields[128];
        snprintf(fields, sizeof fields, "Range: %s\r\n", cases[i].range);
        expect_plan("GET", fields, cases[i].size, cases[i].want);
        expect_plan("HEAD", fields, cases[i].size, (struct files_plan){.status = 200, .size = cases[i].size});
    }
    expect_plan("GET", "Range: bytes=0-0\r\nRange: bytes=1-1\r\n", 100,
                (struct files_plan){.status = 200, .size = 100});
}

static void a_range_depends_on_if_range(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        uint16_t status;
    } cases[] = {
        {"\"abc\"", 206}, {"W/\"abc\"", 200}, {"\"x\"", 200},          {MODIFIED_T, 206},
        {BEFORE_T, 200},  {AFTER_T, 200},     {"\"x\", \"abc\"", 200},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char fields[128];
        snprintf(fields, sizeof fields, "Range: bytes=0-9\r\nIf-Range: %s\r\n", cases[i].value);
        uint16_t status = cases[i].status;
        expect_plan("GET", fields, 100,
                    (struct files_plan){.status = status, .size = status == 206 ? 10 : 100});
    }
    expect_plan("GET", "Range: bytes=0-9\r\nIf-None-Match: \"abc\"\r\n", 100,
                (struct files_plan){.status = 304});
}

static void dates_are_written_and_read(void **state)
{
    (void)state;
    static const int64_t times[] = {0, MODIFIED, 951782399, 951782400, 951868800, 4102444800};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        char text[HTTP_DATE_BYTES];
        int64_t back = -1;
        http_date_write(text, times[i]);
        assert_true(http_date_parse(str_make(text, sizeof text), &back));
        assert_int_equal(back, times[i]);
    }
    char text[HTTP_DATE_BYTES];
    http_date_write(text, MODIFIED);
    assert_memory_equal(text, MODIFIED_T, HTTP_DATE_BYTES);
    static const char *const wrong[] = {"",
                                        "Sunday, 06-Nov-94 08:49:37 GMT",
                                        "Sun Nov  6 08:49:37 1994",
                                        "Sun, 06 Nov 1994 08:49:37 UTC",
                                        "Sun, 00 Nov 1994 08:49:37 GMT",
                                        "Sun, 06 Nix 1994 08:49:37 GMT",
                                        "Sun, 06 Nov 1994 24:49:37 GMT"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int64_t unused;
        assert_false(http_date_parse(str_of(wrong[i]), &unused));
    }
}

static void an_etag_holds_time_and_size(void **state)
{
    (void)state;
    char text[FILES_ETAG_MAX];
    size_t n = files_etag(text, 0x1f, 0x10);
    assert_true(str_eq(str_make(text, n), STR("\"1f-10\"")));
    n = files_etag(text, UINT64_MAX, UINT64_MAX);
    assert_true(n <= FILES_ETAG_MAX);
}

static void suffixes_tell_the_type(void **state)
{
    (void)state;
    static const struct {
        const char *path, *type;
    } cases[] = {
        {"/a.html", "text/html; charset=utf-8"},
        {"/A.HTML", "text/html; charset=utf-8"},
        {"/7.7z", "application/x-7z-compressed"},
        {"/x.zst", "application/zstd"},
        {"/site.webmanifest", "application/manifest+json"},
        {"/a.tar.gz", "application/gzip"},
        {"/js", "application/octet-stream"},
        {"/a.js/b", "application/octet-stream"},
        {"/a.", "application/octet-stream"},
        {"", "application/octet-stream"},
        {"/a.unknownsuffix", "application/octet-stream"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_true(str_eq(files_type(str_of(cases[i].path)), str_of(cases[i].type)));
}

static void scripts_and_dot_files_are_denied(void **state)
{
    (void)state;
    char *suffixes[] = {".php", ".inc"};
    const struct strings deny = {suffixes, 2};
    static const char *const denied[] = {"/a.php",           "/a.PHP", "/.git/config", "/a/.env",
                                         "/x/.well-known/y", "/a.inc", "//.hidden"};
    static const char *const allowed[] = {"/a.css", "/a.php.txt", "/.well-known/acme",
                                          "/",      "/php",       "/a.phpx"};
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++)
        assert_true(files_is_denied(&deny, str_of(denied[i])));
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        assert_false(files_is_denied(&deny, str_of(allowed[i])));
}

/* ---- opening: a folder with a file, a folder, a FIFO and links that stay inside or lead out ---- */

static char root[] = "/tmp/coxswain-files-XXXXXX";

static void shell(const char *format)
{
    char command[512];
    snprintf(command, sizeof command, format, root);
    assert_int_equal(system(command), 0);
}

static int make_root(void **state)
{
    (void)state;
    if (!mkdtemp(root))
        return -1;
    shell("cd %s && mkdir -p in/sub && echo hello > in/f.txt && echo secret > secret && mkfifo in/fifo");
    shell("cd %s/in && ln -s f.txt inside && ln -s ../secret outside && ln -s /etc absolute && ln -s loop "
          "loop");
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    shell("rm -rf %s");
    return 0;
}

typedef enum files_kind open_fn(const char *root, struct str path, struct stat *out_stat, int *out_fd);

static enum files_kind kind_by(open_fn *open_it, const char *path)
{
    char folder[64];
    struct stat st;
    int fd;
    snprintf(folder, sizeof folder, "%s/in", root);
    enum files_kind kind = open_it(folder, str_of(path), &st, &fd);
    assert_int_equal(kind == FILES_REGULAR, fd >= 0);
    if (fd >= 0)
        close(fd);
    return kind;
}

static void nothing_outside_the_root_is_opened(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum files_kind beneath, walked; /* by the kernel; by the fallback, which follows no link */
    } cases[] = {
        {"/f.txt", FILES_REGULAR, FILES_REGULAR},       {"//f.txt", FILES_REGULAR, FILES_REGULAR},
        {"/", FILES_DIRECTORY, FILES_DIRECTORY},        {"/sub", FILES_DIRECTORY, FILES_DIRECTORY},
        {"/sub/", FILES_DIRECTORY, FILES_DIRECTORY},    {"/inside", FILES_REGULAR, FILES_ABSENT},
        {"/sub/../f.txt", FILES_REGULAR, FILES_ABSENT}, {"/../secret", FILES_ABSENT, FILES_ABSENT},
        {"/outside", FILES_ABSENT, FILES_ABSENT},       {"/absolute/passwd", FILES_ABSENT, FILES_ABSENT},
        {"/loop", FILES_ABSENT, FILES_ABSENT},          {"/fifo", FILES_ABSENT, FILES_ABSENT},
        {"/f.txt/", FILES_ABSENT, FILES_ABSENT},        {"/f.txt/x", FILES_ABSENT, FILES_ABSENT},
        {"/none", FILES_ABSENT, FILES_ABSENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (kind_by(files_open, cases[i].path) != cases[i].beneath)
            fail_msg("%s by openat2", cases[i].path);
        if (kind_by(files_open_walk, cases[i].path) != cases[i].walked)
            fail_msg("%s by the walk", cases[i].path);
    }
}

static struct files_roots kept;

static enum files_kind open_kept(const char *folder, struct str path, struct stat *out_stat, int *out_fd)
{
    return files_open_kept(&kept, folder, path, out_stat, out_fd);
}

static void a_kept_root_is_opened_once(void **state)
{
    (void)state;
    assert_int_equal(kind_by(open_kept, "f.txt"), FILES_REGULAR);
    assert_int_equal(kept.count, 1);
    const int fd = kept.v[0].fd;
    assert_int_equal(kind_by(open_kept, "f.txt"), FILES_REGULAR);
    assert_int_equal(kind_by(open_kept, "../secret"),
                     FILES_ABSENT); /* a miss: looks for the root anew, once */
    assert_int_equal(kind_by(open_kept, "none"), FILES_ABSENT);
    assert_int_equal(kept.count, 1);
    assert_true(kept.v[0].was_missed);
    assert_true(kept.v[0].fd == fd || fcntl(fd, F_GETFD) < 0); /* and lets go of the old one */
    files_roots_forget(&kept);
    assert_int_equal(kept.count, 0);
}

static void a_root_that_was_replaced_is_found(void **state)
{
    (void)state;
    assert_int_equal(kind_by(open_kept, "f.txt"), FILES_REGULAR);
    shell("cd %s && mv in old && mkdir in && echo new > in/new.txt");
    assert_int_equal(kind_by(open_kept, "new.txt"),
                     FILES_REGULAR); /* not in the old one, so it looked again */
    assert_int_equal(kind_by(open_kept, "f.txt"), FILES_ABSENT);
    shell("cd %s && rm -r in && mv old in");
    files_roots_forget(&kept); /* a second is over */
    assert_int_equal(kind_by(open_kept, "f.txt"), FILES_REGULAR);
    files_roots_forget(&kept);
}

static void more_roots_than_are_kept(void **state)
{
    (void)state;
    struct stat st;
    int fd;
    char folder[128];
    for (int i = 0; i < FILES_ROOTS_KEPT + 2; i++) {
        snprintf(folder, sizeof folder, "%s/in%.*s", root, i, "//////////////////");
        assert_int_equal(files_open_kept(&kept, folder, STR("f.txt"), &st, &fd), FILES_REGULAR);
        close(fd);
    }
    assert_int_equal(kept.count, FILES_ROOTS_KEPT);
    files_roots_forget(&kept);
}

static void the_path_has_a_limit(void **state)
{
    (void)state;
    char path[FILES_PATH_MAX + 8];
    struct stat st;
    int fd;
    memset(path, '/', sizeof path);
    memcpy(path + 1, "f.txt", 5);
    assert_int_equal(kind_by(files_open, "f.txt"), FILES_REGULAR);
    assert_int_equal(files_open("/", str_make(path, FILES_PATH_MAX + 1), &st, &fd), FILES_ABSENT);
    assert_int_equal(files_open("/", str_make("a\0b", 3), &st, &fd), FILES_ABSENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conditions_follow_the_order_of_the_rfc),
        cmocka_unit_test(one_range_is_served),
        cmocka_unit_test(a_range_depends_on_if_range),
        cmocka_unit_test(dates_are_written_and_read),
        cmocka_unit_test(an_etag_holds_time_and_size),
        cmocka_unit_test(suffixes_tell_the_type),
        cmocka_unit_test(scripts_and_dot_files_are_denied),
        cmocka_unit_test(nothing_outside_the_root_is_opened),
        cmocka_unit_test(a_kept_root_is_opened_once),
        cmocka_unit_test(a_root_that_was_replaced_is_found),
        cmocka_unit_test(more_roots_than_are_kept),
        cmocka_unit_test(the_path_has_a_limit),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
