/* What a probe says, and what it makes of every kind of answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "http/fcgi_codec.h"
#include "orch/probe_talk.h"

static struct probe_settings settings(int kind)
{
    return (struct probe_settings){.kind = kind, .status_min = 200, .status_max = 399};
}

static enum probe_verdict judge(int kind, const char *text, bool is_end)
{
    const struct probe_settings s = settings(kind);
    const char *why;
    return probe_judge(&s, str_of(text), is_end, &why);
}

static void test_http_request(void **state)
{
    struct probe_settings s = settings(PROBE_HTTP);
    char to[PROBE_REQUEST_MAX];
    (void)state;
    s.path = (char *)(uintptr_t) "/health?x=1";
    s.host = (char *)(uintptr_t) "shop.example.com";
    const size_t n = probe_request(&s, to, sizeof to);
    assert_true(str_eq(str_make(to, n), STR("GET /health?x=1 HTTP/1.1\r\nHost: shop.example.com\r\n"
                                            "User-Agent: coxswain-probe\r\nConnection: close\r\n\r\n")));
    assert_int_equal(probe_request(&s, to, n - 1), 0); /* does not fit: says nothing rather than half */
}

static void test_http_answers(void **state)
{
    (void)state;
    assert_int_equal(judge(PROBE_HTTP, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", false), PROBE_GOOD);
    assert_int_equal(judge(PROBE_HTTP, "HTTP/1.1 399 X\r\n\r\n", false), PROBE_GOOD);
    assert_int_equal(judge(PROBE_HTTP, "HTTP/1.1 400 X\r\n\r\n", false), PROBE_BAD);
    assert_int_equal(judge(PROBE_HTTP, "HTTP/1.1 503 X\r\n\r\n", false), PROBE_BAD);
    assert_int_equal(judge(PROBE_HTTP, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 X\r\n\r\n", false),
                     PROBE_GOOD);
    assert_int_equal(judge(PROBE_HTTP, "HTTP/1.1 103 Early Hints\r\n\r\n", false), PROBE_MORE);
    assert_int_equal(judge(PROBE_HTTP, "HTTP/1.1 200 O", false), PROBE_MORE);
    assert_int_equal(judge(PROBE_HTTP, "HTTP/1.1 200 O", true), PROBE_BAD);
    assert_int_equal(judge(PROBE_HTTP, "", true), PROBE_BAD);
    assert_int_equal(judge(PROBE_HTTP, "SSH-2.0-OpenSSH\r\n\r\n", false), PROBE_BAD);
}

/* ---- HTTP/2 ---- */

static struct str frame(char *to, char kind, char flags, const char *payload, size_t n)
{
    const char head[9] = {0, (char)(n >> 8), (char)n, kind, flags, 0, 0, 0, kind == 4 ? 0 : 1};
    memcpy(to, head, 9);
    memcpy(to + 9, payload, n);
    return str_make(to, n + 9);
}

static void test_h2_request(void **state)
{
    char to[PROBE_REQUEST_MAX];
    const struct probe_settings s = settings(PROBE_H2);
    (void)state;
    const size_t n = probe_request(&s, to, sizeof to);
    assert_true(n > 24 && n < 200 && memcmp(to, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24) == 0);
    assert_int_equal(probe_request(&s, to, n - 1), 0);
}

static enum probe_verdict judge_h2(const char *status, size_t cut)
{
    char bytes[128], block[5] = {8, 3};
    const struct probe_settings s = settings(PROBE_H2);
    const char *why;
    memcpy(block + 2, status, 3);
    size_t n = frame(bytes, 4, 0, "", 0).n;
    n += frame(bytes + n, 1, 4, block, sizeof block).n;
    return probe_judge(&s, str_make(bytes, n - cut), false, &why);
}

static void test_h2_answers(void **state)
{
    (void)state;
    assert_int_equal(judge_h2("200", 0), PROBE_GOOD);
    assert_int_equal(judge_h2("399", 0), PROBE_GOOD);
    assert_int_equal(judge_h2("400", 0), PROBE_BAD);
    assert_int_equal(judge_h2("503", 0), PROBE_BAD);
    assert_int_equal(judge_h2("103", 0), PROBE_MORE);
    assert_int_equal(judge_h2("200", 1), PROBE_MORE);
    assert_int_equal(judge_h2("2x0", 0), PROBE_BAD);
    assert_int_equal(judge(PROBE_H2, "", false), PROBE_MORE);
    assert_int_equal(judge(PROBE_H2, "", true), PROBE_BAD);
    assert_int_equal(judge(PROBE_H2, "HTTP/1.1 400 Bad Request\r\n\r\n", false), PROBE_BAD);
}

static enum probe_verdict judge_grpc(const char *message, size_t len, const char *grpc_status,
                                     const char **out_why)
{
    char bytes[256], late[32] = "\x00\x0bgrpc-status\x01";
    const struct probe_settings s = settings(PROBE_GRPC);
    size_t n = frame(bytes, 4, 0, "", 0).n;
    n += frame(bytes + n, 1, 4, "\x88", 1).n;
    n += frame(bytes + n, 0, 0, message, len).n;
    late[14] = grpc_status[0];
    n += frame(bytes + n, 1, 5, late, 15).n;
    return probe_judge(&s, str_make(bytes, n), false, out_why);
}

static void test_grpc(void **state)
{
    char to[PROBE_REQUEST_MAX];
    struct probe_settings s = settings(PROBE_GRPC);
    const char *why;
    (void)state;
    s.path = (char *)(uintptr_t) "/shop.Cart";
    const size_t n = probe_request(&s, to, sizeof to);
    assert_true(n > 20 && memcmp(to + n - 16, "\0\0\0\0\x0b\x0a\x09shop.Cart", 16) == 0);
    assert_int_equal(judge_grpc("\0\0\0\0\2\x08\1", 7, "0", &why), PROBE_GOOD);
    assert_int_equal(judge_grpc("\0\0\0\0\2\x08\2", 7, "0", &why), PROBE_BAD);
    assert_string_equal(why, "not serving");
    assert_int_equal(judge_grpc("\0\0\0\0\0", 5, "0", &why), PROBE_BAD);
    assert_int_equal(judge_grpc("", 0, "5", &why), PROBE_BAD);
    assert_string_equal(why, "it does not know the service");
}

static void put_stdout(struct writer *w, const char *text)
{
    fcgi_put_header(w, FCGI_STDOUT, (uint16_t)strlen(text));
    writer_str(w, str_of(text));
}

static void put_end(struct writer *w, char protocol_status)
{
    const char body[8] = {0, 0, 0, 0, protocol_status, 0, 0, 0};
    fcgi_put_header(w, FCGI_END_REQUEST, 8);
    writer_put(w, body, 8);
}

static enum probe_verdict judge_records(const struct writer *w, bool is_end)
{
    const struct probe_settings s = settings(PROBE_FASTCGI);
    const char *why;
    return probe_judge(&s, str_make(w->p, w->len), is_end, &why);
}

static void test_fastcgi_answers(void **state)
{
    char bytes[1024];
    struct writer w;
    (void)state;
    writer_init(&w, bytes, sizeof bytes);
    put_stdout(&w, "Content-Type: text/plain\r\n");
    assert_int_equal(judge_records(&w, false), PROBE_MORE);
    put_stdout(&w, "\r\npong"); /* the head lies over two records */
    assert_int_equal(judge_records(&w, false), PROBE_GOOD);
    put_end(&w, FCGI_REQUEST_COMPLETE);
    assert_int_equal(judge_records(&w, false), PROBE_GOOD);

    writer_init(&w, bytes, sizeof bytes);
    put_stdout(&w, "Status: 404 Not Found\r\nContent-Type: text/html\r\n\r\nFile not found.\n");
    put_end(&w, FCGI_REQUEST_COMPLETE);
    assert_int_equal(judge_records(&w, false), PROBE_BAD);

    writer_init(&w, bytes, sizeof bytes);
    put_end(&w, FCGI_OVERLOADED);
    assert_int_equal(judge_records(&w, false), PROBE_BAD);

    writer_init(&w, bytes, sizeof bytes);
    put_end(&w, FCGI_REQUEST_COMPLETE); /* an end without a head */
    assert_int_equal(judge_records(&w, false), PROBE_BAD);

    writer_init(&w, bytes, sizeof bytes);
    writer_str(&w, STR("HTTP/1.1 400 Bad Request\r\n\r\n")); /* no FastCGI at all */
    assert_int_equal(judge_records(&w, false), PROBE_BAD);
}

static void test_fastcgi_request(void **state)
{
    struct probe_settings s = settings(PROBE_FASTCGI);
    char to[PROBE_REQUEST_MAX];
    (void)state;
    s.path = (char *)(uintptr_t) "/status";
    const size_t n = probe_request(&s, to, sizeof to);
    assert_true(n > 16 && to[0] == 1 && to[1] == FCGI_BEGIN_REQUEST);
    assert_non_null(memmem(to, n, "SCRIPT_NAME/status", 18));
    assert_non_null(memmem(to, n, "SCRIPT_FILENAME/status", 22));
    assert_int_equal(to[n - 8 + 1], FCGI_STDIN); /* ends with the empty record of standard input */
    assert_int_equal(to[n - 8 + 5], 0);
}

static void test_tcp_says_nothing(void **state)
{
    const struct probe_settings s = settings(PROBE_TCP);
    char to[PROBE_REQUEST_MAX];
    (void)state;
    assert_int_equal(probe_request(&s, to, sizeof to), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_request),     cmocka_unit_test(test_http_answers),
        cmocka_unit_test(test_fastcgi_answers),  cmocka_unit_test(test_fastcgi_request),
        cmocka_unit_test(test_tcp_says_nothing), cmocka_unit_test(test_h2_request),
        cmocka_unit_test(test_h2_answers),       cmocka_unit_test(test_grpc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
