/* CGI heads become answers (F11). */
#include "support.h"

#include "http/cgi.h"

struct cgi_case {
    const char *text;
    enum http_method method;
    int status; /* 0: malformed */
    enum body_framing framing;
    uint64_t length;
};

static int parse(struct head *h, const char *text, size_t step, enum http_method method)
{
    struct h1_parser p = {0};
    size_t len = strlen(text), n = 0;
    message_init(&h->m, h->fields, TEST_FIELDS);
    do {
        n = n + step < len ? n + step : len;
        h->got = cgi_parse_head(&p, text, n, &test_limits, method, &h->m);
    } while (h->got == H1_MORE && n < len);
    return h->got;
}

static void heads_become_answers(void **state)
{
    (void)state;
    static const struct cgi_case cases[] = {
        {"Content-Type: text/html\r\n\r\n", METHOD_GET, 200, BODY_STREAM, 0},
        {"Content-Type: text/html\n\n", METHOD_GET, 200, BODY_STREAM, 0},
        {"Status: 404 Not Found\r\nX: y\r\n\r\n", METHOD_GET, 404, BODY_STREAM, 0},
        {"Status: 404\r\n\r\n", METHOD_GET, 404, BODY_STREAM, 0},
        {"Location: /x\r\n\r\n", METHOD_GET, 302, BODY_STREAM, 0},
        {"Location: /x\r\nStatus: 201 Created\r\n\r\n", METHOD_GET, 201, BODY_STREAM, 0},
        {"X: y\r\nContent-Length: 5\r\n\r\n", METHOD_GET, 200, BODY_LENGTH, 5},
        {"X: y\r\nContent-Length: five\r\n\r\n", METHOD_GET, 200, BODY_STREAM, 0},
        {"X: y\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", METHOD_GET, 200, BODY_STREAM, 0},
        {"X: y\r\nContent-Length: 5\r\n\r\n", METHOD_HEAD, 200, BODY_NONE, 5},
        {"Status: 304 Not Modified\r\nContent-Length: 5\r\n\r\n", METHOD_GET, 304, BODY_NONE, 5},
        {"Status: 204 No Content\r\nContent-Length: 5\r\n\r\n", METHOD_GET, 204, BODY_NONE, 0},
        {"\r\n", METHOD_GET, 0, 0, 0},
        {"HTTP/1.1 200 OK\r\nX: y\r\n\r\n", METHOD_GET, 0, 0, 0},
        {"Status: 20\r\n\r\n", METHOD_GET, 0, 0, 0},
        {"Status: 2000\r\n\r\n", METHOD_GET, 0, 0, 0},
        {"Status: 200OK\r\n\r\n", METHOD_GET, 0, 0, 0},
        {"Status: x00\r\n\r\n", METHOD_GET, 0, 0, 0},
        {"Status: 101 Switch\r\n\r\n", METHOD_GET, 0, 0, 0},
        {"Status: 200 OK\r\nStatus: 200 OK\r\n\r\n", METHOD_GET, 0, 0, 0},
        {"X: y\r\n folded\r\n\r\n", METHOD_GET, 0, 0, 0},
        {"X : y\r\n\r\n", METHOD_GET, 0, 0, 0},
        {"<b>Warning</b>: oops\r\n\r\n", METHOD_GET, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t step = 1; step < 100; step += 7) {
            const struct cgi_case *c = &cases[i];
            struct head h;
            int got = parse(&h, c->text, step, c->method);
            if (got != (c->status ? (int)strlen(c->text) : -REASON_SERVER_HEAD))
                print_error("%s\n", c->text);
            assert_int_equal(got, c->status ? (int)strlen(c->text) : -REASON_SERVER_HEAD);
            if (got < 0)
                continue;
            assert_int_equal(h.m.status, c->status);
            assert_int_equal(h.m.framing, c->framing);
            assert_true(h.m.content_length == c->length);
            assert_null(message_find(&h.m, FIELD_STATUS));
            assert_int_equal(!!(h.m.flags & MSG_HAS_LENGTH), c->framing == BODY_NONE && c->length);
        }
    }
}

static void the_phrase_is_the_scripts(void **state)
{
    (void)state;
    struct head h;
    assert_true(parse(&h, "Status: 418 I am a teapot\r\n\r\n", 100, METHOD_GET) > 0);
    assert_str(message_str(&h.m, h.m.reason_text), "I am a teapot");
}

static void limits_are_the_servers_fault(void **state)
{
    (void)state;
    static char text[40000];
    memset(text, 'a', sizeof text - 1);
    struct head h;
    assert_int_equal(parse(&h, text, 1000, METHOD_GET), -REASON_SERVER_HEAD_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_become_answers),
        cmocka_unit_test(the_phrase_is_the_scripts),
        cmocka_unit_test(limits_are_the_servers_fault),
    };
    return cmocka_run_group_tests_name("cgi", tests, NULL, NULL);
}
