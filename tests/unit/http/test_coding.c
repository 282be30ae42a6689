/* Who wants gzip, what may be compressed, and the head of what was. */
#include "support.h"

#include <stdio.h>

#include "http/coding.h"
#include "http/h1_write.h"

static bool wants(const char *fields)
{
    char text[1024];
    struct head h;
    int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
    head_whole(&h, HEAD_REQUEST, str_make(text, (size_t)n), &test_limits);
    assert_true(h.got > 0);
    bool yes = coding_wants_gzip(&h.m);
    head_free(&h);
    return yes;
}

static void what_the_client_wants(void **state)
{
    static const char *const yes[] = {"gzip",
                                      "GZip",
                                      "x-gzip",
                                      "deflate, gzip, br",
                                      "br;q=1.0, gzip;q=0.8, *;q=0.1",
                                      "*",
                                      "gzip ; q=0.001",
                                      "gzip;Q=1.000",
                                      "gzip;q=0.5, identity;q=0.5",
                                      "identity;q=0, *;q=0.5",
                                      ", ,gzip"},
                             *const no[] = {"",
                                            "br",
                                            "identity",
                                            "gzip;q=0",
                                            "gzip;q=0.000",
                                            "*, gzip;q=0",
                                            "*;q=0",
                                            "gzip;q=0.5, identity",
                                            "gzip;q=0.5, identity;q=0.501",
                                            "gzip;q=1.001",
                                            "gzip;q=2",
                                            "gzip;q=0.1234",
                                            "gzip;q=x",
                                            "gzip;q=-1",
                                            "gzip;q=1x",
                                            "xgzip",
                                            "gzipx"};
    char line[256];
    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        snprintf(line, sizeof line, "Accept-Encoding: %s\r\n", yes[i]);
        if (!wants(line))
            fail_msg("refused: %s", yes[i]);
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        snprintf(line, sizeof line, "Accept-Encoding: %s\r\n", no[i]);
        if (wants(line))
            fail_msg("taken: %s", no[i]);
    }
    assert_false(wants(""));
    assert_true(wants("Accept-Encoding: br\r\naccept-encoding: gzip\r\n"));
    assert_false(wants("Accept-Encoding: gzip\r\nAccept-Encoding: gzip;q=0\r\n"));
}

static const struct strings types = {
    (char *[]){(char *)(uintptr_t) "text/html", (char *)(uintptr_t) "image/*"}, 2};

static bool may_as(enum http_method method, const char *request, const char *answer)
{
    struct head q, a;
    char text[512];
    int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", request);
    head_whole(&q, HEAD_REQUEST, str_make(text, (size_t)n), &test_limits);
    q.m.method = (uint8_t)method;
    head_whole(&a, (int)method, str_of(answer), &test_limits);
    assert_true(q.got > 0 && a.got > 0);
    bool yes = coding_may_compress(&q.m, &a.m, &types, 100);
    head_free(&q);
    head_free(&a);
    return yes;
}

static bool may(const char *answer)
{
    return may_as(METHOD_GET, "", answer);
}

#define OK   "HTTP/1.1 200 OK\r\n"
#define HTML "Content-Type: text/html\r\n"
#define LONG "Content-Length: 100\r\n"

static void what_may_be_compressed(void **state)
{
    (void)state;
    assert_true(may(OK HTML LONG "\r\n"));
    assert_true(may(OK HTML "Transfer-Encoding: chunked\r\n\r\n"));
    assert_true(may(OK HTML "\r\n")); /* until the connection ends */
    assert_true(may(OK "Content-Type: TEXT/HTML; charset=utf-8\r\n" LONG "\r\n"));
    assert_true(may(OK "Content-Type: image/svg+xml\r\n" LONG "\r\n"));
    assert_true(may("HTTP/1.1 404 Not Found\r\n" HTML LONG "\r\n"));
    assert_true(may(OK HTML LONG "Content-Encoding: identity\r\n\r\n"));
    assert_true(may_as(METHOD_HEAD, "", OK HTML LONG "\r\n"));
    assert_false(may(OK HTML "Content-Length: 99\r\n\r\n"));
    assert_false(may(OK LONG "\r\n"));
    assert_false(may(OK "Content-Type: text/htmlx\r\n" LONG "\r\n"));
    assert_false(may(OK "Content-Type: application/json\r\n" LONG "\r\n"));
    assert_false(may(OK HTML LONG "Content-Encoding: gzip\r\n\r\n"));
    assert_false(may(OK HTML LONG "Content-Encoding: br\r\n\r\n"));
    assert_false(may(OK HTML LONG "Cache-Control: public, No-Transform\r\n\r\n"));
    assert_false(may(OK HTML LONG "Repr-Digest: sha-256=:x:\r\n\r\n"));
    assert_false(may(OK HTML LONG "Content-MD5: x\r\n\r\n"));
    assert_false(may("HTTP/1.1 206 Partial Content\r\n" HTML LONG "Content-Range: bytes 0-99/1000\r\n\r\n"));
    assert_false(
        may("HTTP/1.1 416 Range Not Satisfiable\r\n" HTML LONG "Content-Range: bytes */1000\r\n\r\n"));
    assert_false(may("HTTP/1.1 204 No Content\r\n" HTML "\r\n"));
    assert_false(may("HTTP/1.1 304 Not Modified\r\n" HTML LONG "\r\n"));
    assert_false(may_as(METHOD_GET, "Cache-Control: no-transform\r\n", OK HTML LONG "\r\n"));
}

static void change(const char *answer, bool gzip, const char *expected)
{
    struct head h;
    struct arena arena;
    char block[4096], out[2048];
    struct writer w;
    head_whole(&h, METHOD_GET, str_of(answer), &test_limits);
    assert_true(h.got > 0);
    void *text = (void *)(uintptr_t)h.m.base;
    arena_init(&arena, block, sizeof block, 0);
    assert_true(coding_change_head(&h.m, &arena, gzip));
    free(text); /* all of it was copied */
    writer_init(&w, out, sizeof out - 1);
    h1_write_fields(&w, &h.m);
    out[w.len] = '\0';
    assert_string_equal(out, expected);
    assert_int_equal(h.m.framing, gzip ? BODY_STREAM : BODY_LENGTH);
    assert_int_equal(h.m.content_length, gzip ? 0 : 100);
    arena_fini(&arena);
}

static void the_new_head(void **state)
{
    (void)state;
    change(OK HTML LONG "\r\n", false, HTML "Vary: Accept-Encoding\r\n");
    change(OK HTML LONG "\r\n", true, HTML "Vary: Accept-Encoding\r\nContent-Encoding: gzip\r\n");
    change(OK HTML "ETag: \"a\"\r\n" LONG "Accept-Ranges: bytes\r\nX: 1\r\n\r\n", true,
           HTML "X: 1\r\nVary: Accept-Encoding\r\nETag: W/\"a\"\r\nContent-Encoding: gzip\r\n");
    change(OK HTML "ETag: W/\"a\"\r\n" LONG "Vary: Cookie\r\n\r\n", true,
           HTML "ETag: W/\"a\"\r\nVary: Cookie\r\nVary: Accept-Encoding\r\nContent-Encoding: gzip\r\n");
    change(OK HTML LONG "Vary: origin, accept-encoding\r\nETag: \"a\"\r\n\r\n", false,
           HTML "Vary: origin, accept-encoding\r\nETag: \"a\"\r\n");
    change(OK HTML LONG "Vary: *\r\nContent-Encoding: identity\r\n\r\n", true,
           HTML "Vary: *\r\nContent-Encoding: gzip\r\n");
}

static void no_room_changes_nothing(void **state)
{
    struct head h;
    struct arena arena;
    char block[64];
    (void)state;
    head_whole(&h, METHOD_GET, STR(OK HTML LONG "ETag: \"a\"\r\n\r\n"), &test_limits);
    struct message before = h.m;
    arena_init(&arena, block, sizeof block, 0);
    assert_false(coding_change_head(&h.m, &arena, true));
    assert_memory_equal(&before, &h.m, sizeof before);
    arena_fini(&arena);
    head_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_client_wants),
        cmocka_unit_test(what_may_be_compressed),
        cmocka_unit_test(the_new_head),
        cmocka_unit_test(no_room_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
