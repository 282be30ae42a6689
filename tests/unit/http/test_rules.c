/* rules: one reading of every path, hop-by-hop fields, authorities, trailers, and decoding. */
#include "support.h"

#include "http/rules.h"
#include "http/uri.h"

struct path_case {
    const char *target, *path, *query; /* path NULL: refused; query NULL: none */
};

/* The target in a block of exactly that size, as HTTP/2 would bring it. */
static enum reason normalise(struct message *m, struct arena *arena, const char *target, bool merge)
{
    size_t n = strlen(target);
    char *copy = malloc(n + 1);
    assert_non_null(copy);
    copy[0] = '.';
    memcpy(copy + 1, target, n);
    *m = (struct message){
        .base = copy, .head_len = (uint32_t)n + 1, .target = {1, (uint32_t)n}, .method = METHOD_GET};
    enum reason why = rules_normalise_path(m, arena, merge);
    if (m->base != copy)
        free(copy);
    return why;
}

static void release(struct message *m, const char *block, size_t n)
{
    if (m->base < block || m->base >= block + n)
        free((void *)(uintptr_t)m->base);
}

static void check_path(const struct path_case *c, bool merge)
{
    char block[4096];
    struct arena arena;
    struct message m;
    arena_init(&arena, block, sizeof block, 0);
    enum reason why = normalise(&m, &arena, c->target, merge);
    if ((why == REASON_OK) != (c->path != NULL))
        print_error("%s: %s\n", c->target, reason_id(why));
    assert_int_equal(why == REASON_OK, c->path != NULL);
    if (c->path) {
        struct str path = message_str(&m, m.path), query = message_str(&m, m.query), want = str_of(c->path);
        if (!str_eq(path, want))
            print_error("%s: %.*s\n", c->target, STR_ARG(path));
        assert_true(str_eq(path, want));
        assert_int_equal(m.query.off != 0, c->query != NULL);
        assert_true(str_eq(query, c->query ? str_of(c->query) : str_make("", 0)));
        struct str whole = rules_target(&m);
        assert_int_equal(whole.n, path.n + (c->query ? 1 + query.n : 0));
        assert_true(whole.p == path.p);
    }
    release(&m, block, sizeof block);
    arena_fini(&arena);
}

static void paths_have_one_reading(void **state)
{
    (void)state;
    static const struct path_case cases[] = {
        {"/", "/", NULL},
        {"/index.html", "/index.html", NULL},
        {"/a?b=c", "/a", "b=c"},
        {"/a?", "/a", ""},
        {"/?x?y", "/", "x?y"},
        {"/a/./b", "/a/b", NULL},
        {"/a/../b", "/b", NULL},
        {"/a/b/..", "/a/", NULL},
        {"/a/b/.", "/a/b/", NULL},
        {"/a/b/../../c?d", "/c", "d"},
        {"/..", NULL, NULL},
        {"/../a", NULL, NULL},
        {"/a/../../b", NULL, NULL},
        {"/...", "/...", NULL},
        {"/.well-known/x", "/.well-known/x", NULL},
        {"/a/..b/.c", "/a/..b/.c", NULL},
        {"/%7euser/%41%2D", "/~user/A-", NULL},
        {"/%e2%82%ac", "/%E2%82%AC", NULL},
        {"/a%20b%25", "/a%20b%25", NULL},
        {"/%252e%252e/x", "/%252e%252e/x", NULL},
        {"/x%2etxt", "/x.txt", NULL},
        {"/%2e", NULL, NULL},
        {"/%2e%2e/x", NULL, NULL},
        {"/.%2e/x", NULL, NULL},
        {"/a/%2E./x", NULL, NULL},
        {"/a/..;/x", NULL, NULL},
        {"/a/.;v=1/x", NULL, NULL},
        {"/a/...;/x", "/a/...;/x", NULL},
        {"/a;p=1/b", "/a;p=1/b", NULL},
        {"/a%2fb", NULL, NULL},
        {"/a%5cb", NULL, NULL},
        {"/a%00b", NULL, NULL},
        {"/a%0ab", NULL, NULL},
        {"/a%0Db", NULL, NULL},
        {"/a%7f", NULL, NULL},
        {"/a\\b", NULL, NULL},
        {"/a#b", NULL, NULL},
        {"/a?b#c", NULL, NULL},
        {"/a b", NULL, NULL},
        {"/a?b c", NULL, NULL},
        {"/a\x80", NULL, NULL},
        {"/a%", NULL, NULL},
        {"/a%4", NULL, NULL},
        {"/a%4g", NULL, NULL},
        {"/a?%zz%00%2f..", "/a", "%zz%00%2f.."},
        {"a", NULL, NULL},
        {"?a", NULL, NULL},
        {"/0123456789abcdef0123456789abcdef", "/0123456789abcdef0123456789abcdef", NULL},
        {"/0123456789abcd/../x", "/x", NULL},
        {"/0123456789abcde/./x", "/0123456789abcde/x", NULL},
        {"/0123456789abcdef%2fx", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_path(&cases[i], true);
        check_path(&cases[i], false);
    }
}

static void slashes_are_merged_when_asked(void **state)
{
    (void)state;
    static const struct path_case merged[] = {{"//", "/", NULL},
                                              {"//a///b//", "/a/b/", NULL},
                                              {"/a//../b", "/b", NULL},
                                              {"/0123456789abcd//x", "/0123456789abcd/x", NULL}};
    static const struct path_case kept[] = {
        {"//", "//", NULL}, {"//a///b//", "//a///b//", NULL}, {"/a//../b", "/a/b", NULL}};
    for (size_t i = 0; i < sizeof merged / sizeof *merged; i++)
        check_path(&merged[i], true);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        check_path(&kept[i], false);
}

static void a_plain_path_is_not_copied(void **state)
{
    (void)state;
    struct arena arena = {0};
    struct message m;
    assert_int_equal(normalise(&m, &arena, "/a/b.c/d?e=%2f//..", true), REASON_OK);
    assert_true(m.path.off == m.target.off);
    release(&m, NULL, 0);
    assert_int_equal(normalise(&m, &arena, "/a/../c", true), REASON_NO_MEMORY);
    release(&m, NULL, 0);
}

static void absolute_form_may_have_no_path(void **state)
{
    (void)state;
    static const struct {
        const char *request, *target;
    } cases[] = {
        {"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "/"},
        {"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n", "/?q"},
        {"GET http://a/x/../y?q HTTP/1.1\r\nHost: a\r\n\r\n", "/y?q"},
        {"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", "*"},
        {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char block[1024];
        struct arena arena;
        struct head h;
        arena_init(&arena, block, sizeof block, 0);
        head_whole(&h, HEAD_REQUEST, str_of(cases[i].request), &test_limits);
        const char *text = h.m.base;
        assert_int_equal(rules_normalise_path(&h.m, &arena, true), REASON_OK);
        assert_true(str_eq(rules_target(&h.m), str_of(cases[i].target)));
        assert_str(message_str(&h.m, h.m.authority), "a");
        assert_int_equal(!!(h.m.flags & MSG_ASTERISK), cases[i].target[0] == '*');
        free((void *)(uintptr_t)text);
    }
}

static void authorities(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
    } cases[] = {
        {"a", "a"},
        {"example.com", "example.com"},
        {"example.com:80", "example.com"},
        {"1.2.3.4:65535", "1.2.3.4"},
        {"[::1]", "[::1]"},
        {"[::1]:8080", "[::1]"},
        {"[2001:db8::1]:1", "[2001:db8::1]"},
        {"a_b-c~d", "a_b-c~d"},
        {"a;b=c", "a;b=c"},
        {"", NULL},
        {":80", NULL},
        {"a:", NULL},
        {"a:b", NULL},
        {"a:65536", NULL},
        {"a:000080", NULL},
        {"a:-1", NULL},
        {"u@a", NULL},
        {"a,b", NULL},
        {"a b", NULL},
        {"a/b", NULL},
        {"a\\b", NULL},
        {"a?b", NULL},
        {"a#b", NULL},
        {"%61", NULL},
        {"[::1", NULL},
        {"[::1]x", NULL},
        {"[::1]:", NULL},
        {"[]", NULL},
        {"[1.2.3.4]", NULL},
        {"[v1.x]", NULL},
        {"[fe80::1%25eth0]", NULL},
        {"::1", NULL},
        {"a:1:2", NULL},
        {"a\x80", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str text = str_of(cases[i].text);
        if (rules_authority_valid(text) != (cases[i].host != NULL))
            print_error("%s\n", cases[i].text);
        assert_int_equal(rules_authority_valid(text), cases[i].host != NULL);
        if (cases[i].host)
            assert_true(str_eq(rules_authority_host(text), str_of(cases[i].host)));
    }
}

/* The quick look of the parser must agree with the grammar: all hosts of a few interesting bytes. */
static void quick_authority_check_agrees(void **state)
{
    (void)state;
    static const char bytes[] = "a9.-_:@,~[%Z";
    char host[40];
    srand(1);
    for (int i = 0; i < 20000; i++) {
        size_t n = (size_t)(rand() % 36);
        for (size_t k = 0; k < n; k++) {
            int r = rand();
            host[k] = r % 8 ? "ab1"[r / 8 % 3] : bytes[r / 8 % (int)(sizeof bytes - 1)];
        }
        char text[160];
        size_t len = 0;
        struct str parts[] = {STR("GET / HTTP/1.1\r\nHost: "), str_make(host, n),
                              STR("\r\nX: 012345678901234567890123456789\r\n\r\n")};
        for (int k = 0; k < 3; k++) {
            memcpy(text + len, parts[k].p, parts[k].n);
            len += parts[k].n;
        }
        struct head h;
        head_whole(&h, HEAD_REQUEST, str_make(text, len), &test_limits);
        assert_int_equal(h.got > 0, rules_authority_valid(str_make(host, n)));
        head_free(&h);
    }
}

/* Names of the fields that are still there, each followed by a space. */
static void left_over(const struct message *m, char *out)
{
    for (unsigned i = 0; i < m->field_count; i++) {
        if (m->fields[i].flags & FIELD_FLAG_DROP)
            continue;
        memcpy(out, m->base + m->fields[i].name, m->fields[i].name_len);
        out += m->fields[i].name_len;
        *out++ = ' ';
    }
    *out = 0;
}

static void hop_by_hop_fields_go(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *left;
    } cases[] = {
        {"A: 1\r\n", "Host A "},
        {"Connection: close\r\nA: 1\r\n", "Host A "},
        {"Connection: A, b ,,\r\nA: 1\r\nB: 2\r\na: 3\r\nC: 4\r\n", "Host C "},
        {"Connection: A\r\nConnection: B\r\nA: 1\r\nB: 2\r\nC: 3\r\n", "Host C "},
        {"Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: x\r\nTransfer-Encoding: chunked\r\nHTTP2-Settings: "
         "x\r\n",
         "Host "},
        {"Connection: Range, Accept\r\nRange: x\r\nAccept: y\r\n", "Host "},
        /* H26 */
        {"Connection: Host, Cookie, Authorization, X-Forwarded-For, X-Forwarded-Foo, Forwarded, X-Real-IP, "
         "Via, "
         "X-Request-Id, Traceparent, Content-Type, Content-Foo\r\nCookie: c\r\nAuthorization: "
         "a\r\nX-Forwarded-For: "
         "f\r\nX-Forwarded-Foo: f\r\nForwarded: f\r\nX-Real-IP: i\r\nVia: v\r\nX-Request-Id: "
         "r\r\nTraceparent: "
         "t\r\nContent-Type: t\r\nContent-Foo: f\r\n",
         "Host Cookie Authorization X-Forwarded-For X-Forwarded-Foo Forwarded X-Real-IP Via X-Request-Id "
         "Traceparent "
         "Content-Type Content-Foo "},
        /* H23 */
        {"Upgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: x\r\n", "Host "},
        {"Upgrade: h2c, websocket, x\r\nUpgrade: y\r\nConnection: upgrade\r\n", "Host Upgrade "},
        {"Upgrade: websocket\r\n", "Host "},
        /* H37 */
        {"X_Forwarded_For: 1\r\nX-Forwarded_Host: 2\r\nContent_Length: 3\r\nTransfer_Encoding: 4\r\nmy_own: "
         "5\r\n",
         "Host my_own "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024] = "GET / HTTP/1.1\r\nHost: a\r\n", left[512];
        memcpy(text + strlen(text), cases[i].fields, strlen(cases[i].fields) + 1);
        memcpy(text + strlen(text), "\r\n", 3);
        struct head h;
        head_whole(&h, HEAD_REQUEST, str_of(text), &test_limits);
        assert_true(h.got > 0);
        rules_drop_hop_by_hop(&h.m);
        left_over(&h.m, left);
        assert_string_equal(left, cases[i].left);
        if (message_find(&h.m, FIELD_UPGRADE))
            assert_str(message_value(&h.m, FIELD_UPGRADE), "websocket");
        head_free(&h);
    }
}

static void some_trailers_may_pass(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool allowed;
    } cases[] = {
        {"grpc-status", true},
        {"X-Checksum", true},
        {"Server-Timing", true},
        {"ETag", true},
        {"Host", false},
        {"Content-Length", false},
        {"Transfer-Encoding", false},
        {"Authorization", false},
        {"Content-Foo", false},
        {"Cookie", false},
        {"Set-Cookie", false},
        {"X-Forwarded-For", false},
        {"Cache-Control", false},
        {"If-Foo", false},
        {"Content_Length", false},
        {"Accept", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str name = str_of(cases[i].name);
        assert_int_equal(rules_trailer_allowed(field_lookup(name), name), cases[i].allowed);
    }
}

static void decoding_refuses_what_no_path_holds(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"/a%20b%3f", "/a b?"}, {"/%E2%82%AC", "/\xe2\x82\xac"},
        {"/%2541", "/%41"},     {"/%", NULL},
        {"/%4", NULL},          {"/%0a", NULL},
        {"/%00", NULL},         {"/%7F", NULL},
        {"/%1f", NULL},         {"/a\nb", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[32];
        struct writer w;
        writer_init(&w, out, sizeof out);
        assert_int_equal(uri_decode(str_of(cases[i].from), &w), cases[i].to != NULL);
        if (cases[i].to)
            assert_true(str_eq(str_make(out, w.len), str_of(cases[i].to)));
    }
    char small[3];
    struct writer w;
    writer_init(&w, small, sizeof small);
    assert_false(uri_decode(STR("/abc"), &w));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_have_one_reading),
        cmocka_unit_test(slashes_are_merged_when_asked),
        cmocka_unit_test(a_plain_path_is_not_copied),
        cmocka_unit_test(absolute_form_may_have_no_path),
        cmocka_unit_test(authorities),
        cmocka_unit_test(quick_authority_check_agrees),
        cmocka_unit_test(hop_by_hop_fields_go),
        cmocka_unit_test(some_trailers_may_pass),
        cmocka_unit_test(decoding_refuses_what_no_path_holds),
    };
    return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
