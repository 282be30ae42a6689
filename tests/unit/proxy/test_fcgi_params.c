/* What a FastCGI server is told: script names (F1 to F5), HTTP_* names (F8, H37), the config's own params
 * (F9). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "proxy/fcgi_params.h"

#define ARENA_BYTES 65536

struct fixture {
    struct arena arena;
    char block[ARENA_BYTES];
    char out[ARENA_BYTES];
    size_t out_n;
};

static struct fcgi_settings settings(int mode, bool path_info)
{
    return (struct fcgi_settings){.mode = mode,
                                  .document_root = (char *)"/srv/app/",
                                  .index = (char *)"index.php",
                                  .path_info = path_info};
}

static int set_up(void **state)
{
    static struct fixture f;
    arena_init(&f.arena, f.block, sizeof f.block, 1 << 20);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    arena_fini(&((struct fixture *)*state)->arena);
    return 0;
}

static void expect_str(struct str got, const char *want)
{
    if (!str_eq(got, str_of(want)))
        fail_msg("got \"%.*s\", want \"%s\"", STR_ARG(got), want);
}

static void front_mode_takes_no_name_from_the_path(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"/", "/a/b", "/x.php", "/upload.jpg/x.php", "/a%0Ab", "*"};
    struct fcgi_settings s = settings(FCGI_MODE_FRONT, false);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct fcgi_script script;
        assert_int_equal(fcgi_find_script(&s, str_of(paths[i]), &f->arena, &script), REASON_OK);
        expect_str(script.file, "/srv/app/index.php");
        expect_str(script.name, "/index.php");
        expect_str(script.uri, "/index.php");
        assert_int_equal(script.info.n, 0);
    }
}

static void front_mode_can_send_the_path_as_info(void **state)
{
    struct fixture *f = *state;
    struct fcgi_settings s = settings(FCGI_MODE_FRONT, true);
    struct fcgi_script script;
    assert_int_equal(fcgi_find_script(&s, STR("/caf%C3%A9/x"), &f->arena, &script), REASON_OK);
    expect_str(script.info, "/caf\xc3\xa9/x");
    expect_str(script.file, "/srv/app/index.php");
    assert_int_equal(fcgi_find_script(&s, STR("/a%0Ab"), &f->arena, &script), REASON_PATH);
}

static void script_mode_splits_at_the_first_script(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path, *name, *info;
    } cases[] = {
        {"/a.php", "/a.php", ""},
        {"/a.php/", "/a.php", "/"},
        {"/a.php/b/c", "/a.php", "/b/c"},
        {"/d/a.php/b.php", "/d/a.php", "/b.php"},
        {"/a%2Ephp", "/a.php", ""},
        {"/", "/index.php", ""},
        {"/blog/", "/blog/index.php", ""},
        {"/blog", "/index.php", ""},
        {"/a.PHP", "/index.php", ""}, /* F3: byte for byte */
        {"/a.phpx", "/index.php", ""},
        {"/a.php5", "/index.php", ""},
        {"/.php", "/index.php", ""}, /* no name before the suffix */
        {"/a%CC%81.php", "/a\xcc\x81.php", ""},
    };
    struct fcgi_settings s = settings(FCGI_MODE_SCRIPT, false);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fcgi_script script;
        char file[128];
        snprintf(file, sizeof file, "/srv/app%s", cases[i].name);
        assert_int_equal(fcgi_find_script(&s, str_of(cases[i].path), &f->arena, &script), REASON_OK);
        expect_str(script.name, cases[i].name);
        expect_str(script.info, cases[i].info);
        expect_str(script.file, file);
    }
}

static void script_mode_refuses_ambiguous_paths(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"/a.php%0A/b",
                                        "/a.php%0D",
                                        "/a.php%00.jpg",
                                        "/a%3Fb.php",
                                        "/a.php/%3fx",
                                        "/../a.php",
                                        "/x/../../a.php",
                                        "/./a.php",
                                        "*",
                                        "/a%zz.php",
                                        ""};
    struct fcgi_settings s = settings(FCGI_MODE_SCRIPT, false);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct fcgi_script script;
        if (fcgi_find_script(&s, str_of(paths[i]), &f->arena, &script) != REASON_PATH)
            fail_msg("%s was not refused", paths[i]);
    }
}

static void only_plain_names_become_http_params(void **state)
{
    (void)state;
    static const char *const pass[] = {"Accept", "X-Forwarded-For", "Authorization", "Cookie", "x-1", "Via"};
    static const char *const stay[] = {"X_Forwarded_For",
                                       "Proxy",
                                       "proxy",
                                       "Content-Length",
                                       "Content-Type",
                                       "Content_Length",
                                       "Proxy-Authorization",
                                       "Host",
                                       "Transfer-Encoding",
                                       "Connection",
                                       "A.B",
                                       "A!",
                                       "",
                                       "Upgrade",
                                       "TE",
                                       "Expect"};
    for (size_t i = 0; i < sizeof pass / sizeof *pass; i++)
        assert_true(fcgi_field_passes(str_of(pass[i])));
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++)
        assert_false(fcgi_field_passes(str_of(stay[i])));
}

/* ---- whole lists ---- */

static size_t read_length(const unsigned char **p)
{
    if (**p < 128)
        return *(*p)++;
    size_t n = (size_t)((*p)[0] & 127) << 24 | (size_t)(*p)[1] << 16 | (size_t)(*p)[2] << 8 | (*p)[3];
    *p += 4;
    return n;
}

/* How often a param of this name is there; its value in *out. */
static int count_param(const struct fixture *f, const char *name, struct str *out)
{
    const unsigned char *p = (const unsigned char *)f->out, *end = p + f->out_n;
    int count = 0;
    while (p < end) {
        size_t name_n = read_length(&p), value_n = read_length(&p);
        assert_true((size_t)(end - p) >= name_n + value_n);
        if (str_eq(str_make((const char *)p, name_n), str_of(name))) {
            *out = str_make((const char *)p + name_n, value_n);
            count++;
        }
        p += name_n + value_n;
    }
    return count;
}

static void expect_param(const struct fixture *f, const char *name, const char *value)
{
    struct str got = STR_NULL;
    assert_int_equal(count_param(f, name, &got), value ? 1 : 0);
    if (value)
        expect_str(got, value);
}

static struct fcgi_request request(const struct fcgi_settings *s, struct fixture *f)
{
    struct fcgi_request r = {
        .settings = s,
        .method = STR("GET"),
        .uri = STR("/a?b=c"),
        .query = STR("b=c"),
        .protocol = STR("HTTP/1.1"),
        .scheme = STR("https"),
        .authority = STR("example.com:8443"),
        .content_type = STR(""),
        .content_length = STR(""),
        .client_ip = STR("192.0.2.1"),
        .server_ip = STR("198.51.100.1"),
        .client_port = 4711,
        .server_port = 8443,
    };
    assert_int_equal(fcgi_find_script(s, STR("/a"), &f->arena, &r.script), REASON_OK);
    return r;
}

static void write_out(struct fixture *f, const struct fcgi_request *r)
{
    struct writer w;
    size_t bound = fcgi_params_bound(r);
    assert_true(bound <= sizeof f->out);
    writer_init(&w, f->out, bound);
    fcgi_write_params(r, &w);
    assert_false(w.overflow);
    f->out_n = w.len;
}

static void php_finds_what_it_looks_for(void **state)
{
    struct fixture *f = *state;
    struct fcgi_settings s = settings(FCGI_MODE_FRONT, false);
    struct fcgi_request r = request(&s, f);
    write_out(f, &r);
    expect_param(f, "SCRIPT_FILENAME", "/srv/app/index.php");
    expect_param(f, "DOCUMENT_ROOT", "/srv/app");
    expect_param(f, "PATH_INFO", NULL);
    expect_param(f, "REQUEST_URI", "/a?b=c");
    expect_param(f, "QUERY_STRING", "b=c");
    expect_param(f, "CONTENT_LENGTH", "");
    expect_param(f, "SERVER_NAME", "example.com");
    expect_param(f, "SERVER_PORT", "8443");
    expect_param(f, "HTTP_HOST", "example.com:8443");
    expect_param(f, "HTTPS", "on");
    expect_param(f, "REDIRECT_STATUS", "200");
    expect_param(f, "REMOTE_PORT", "4711");
    r.scheme = STR("http");
    r.authority = STR("[::1]:80");
    write_out(f, &r);
    expect_param(f, "HTTPS", NULL);
    expect_param(f, "SERVER_NAME", "[::1]");
}

static void fields_of_a_name_become_one(void **state)
{
    struct fixture *f = *state;
    struct fcgi_settings s = settings(FCGI_MODE_FRONT, false);
    struct fcgi_request r = request(&s, f);
    struct fcgi_pair pairs[] = {
        {STR("X-A"), STR("1"), false},      {STR("cookie"), STR("a=1"), false},
        {STR("x-a"), STR(""), false},       {STR("Cookie"), STR("b=2"), false},
        {STR("X-A"), STR("3"), false},      {STR("X_A"), STR("forged"), false},
        {STR("Proxy"), STR("evil"), false}, {STR("Empty"), STR(""), false},
    };
    assert_true(fcgi_merge_fields(pairs, 8, &f->arena));
    r.fields = pairs;
    r.field_count = 8;
    write_out(f, &r);
    expect_param(f, "HTTP_X_A", "1, , 3");
    expect_param(f, "HTTP_COOKIE", "a=1; b=2");
    expect_param(f, "HTTP_PROXY", NULL);
    expect_param(f, "HTTP_EMPTY", "");
}

static void the_config_wins_and_the_client_never_does(void **state)
{
    struct fixture *f = *state;
    struct fcgi_settings s = settings(FCGI_MODE_FRONT, false);
    char *names[] = {(char *)"SCRIPT_FILENAME", (char *)"HTTP_X_ENV", (char *)"APP_ENV"};
    char *values[] = {(char *)"/other.php", (char *)"ours", (char *)"production"};
    s.params = (struct vars){names, values, 3};
    s.server_name = (char *)"fixed.example";
    struct fcgi_request r = request(&s, f);
    struct fcgi_pair pairs[] = {{STR("X-Env"), STR("theirs"), false}, {STR("PHP-VALUE"), STR("x"), false}};
    r.fields = pairs;
    r.field_count = 2;
    write_out(f, &r);
    expect_param(f, "SCRIPT_FILENAME", "/other.php");
    expect_param(f, "HTTP_X_ENV", "ours");
    expect_param(f, "APP_ENV", "production");
    expect_param(f, "SERVER_NAME", "fixed.example");
    expect_param(f, "PHP_VALUE", NULL);
}

static void the_bound_holds_for_long_values(void **state)
{
    struct fixture *f = *state;
    static char text[20000];
    struct fcgi_settings s = settings(FCGI_MODE_FRONT, true);
    struct fcgi_request r = request(&s, f);
    memset(text, 'x', sizeof text);
    struct fcgi_pair pairs[] = {{STR("A"), {text, 127}, false},
                                {STR("B"), {text, 128}, false},
                                {STR("C"), {text, 20000}, false},
                                {STR("C"), {text, 20000}, false}};
    assert_true(fcgi_merge_fields(pairs, 4, &f->arena));
    r.fields = pairs;
    r.field_count = 4;
    struct writer w;
    size_t bound = fcgi_params_bound(&r);
    char *out = arena_alloc(&f->arena, bound);
    writer_init(&w, out, bound);
    fcgi_write_params(&r, &w);
    assert_false(w.overflow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(front_mode_takes_no_name_from_the_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(front_mode_can_send_the_path_as_info, set_up, tear_down),
        cmocka_unit_test_setup_teardown(script_mode_splits_at_the_first_script, set_up, tear_down),
        cmocka_unit_test_setup_teardown(script_mode_refuses_ambiguous_paths, set_up, tear_down),
        cmocka_unit_test(only_plain_names_become_http_params),
        cmocka_unit_test_setup_teardown(php_finds_what_it_looks_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fields_of_a_name_become_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_config_wins_and_the_client_never_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_bound_holds_for_long_values, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
