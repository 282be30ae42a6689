/* message, fields and h1_write: names are known, heads can be kept, and what is written is what was read. */
#include "support.h"

#include "http/h1_write.h"

static void knows_every_name_in_any_case(void **state)
{
    (void)state;
    for (int id = 1; id < FIELD_COUNT; id++) {
        struct str name = field_name((enum field_id)id);
        char text[32];
        assert_true(name.n < sizeof text);
        for (int shift = 0; shift < 3; shift++) {
            for (size_t i = 0; i < name.n; i++) {
                char c = char_lower(name.p[i]);
                bool letter = c >= 'a' && c <= 'z';
                text[i] = shift == 0 ? c : shift == 1 && letter ? (char)(c - 32) : name.p[i];
            }
            assert_int_equal(field_lookup(str_make(text, name.n)), id);
        }
        /* One byte wrong anywhere, or one more or less, is another name. */
        for (size_t i = 0; i < name.n; i++) {
            for (int bit = 0; bit < 8; bit++) {
                memcpy(text, name.p, name.n);
                text[i] = (char)(text[i] ^ (1 << bit));
                if (!str_ieq(str_make(text, name.n), name))
                    assert_int_not_equal(field_lookup(str_make(text, name.n)), id);
            }
        }
        memcpy(text, name.p, name.n);
        text[name.n] = 'x';
        assert_int_not_equal(field_lookup(str_make(text, name.n + 1)), id);
        assert_int_not_equal(field_lookup(str_make(text, name.n - 1)), id);
    }
    assert_int_equal(field_lookup(STR("")), FIELD_OTHER);
    assert_int_equal(field_lookup(STR("x")), FIELD_OTHER);
}

static void keeps_a_head_in_an_arena(void **state)
{
    (void)state;
    struct head h;
    head_whole(&h, HEAD_REQUEST, STR("GET /p HTTP/1.1\r\nHost: a\r\nX: 1\r\nCookie: c\r\n\r\n"),
               &test_limits);
    char block[2048];
    struct arena a;
    arena_init(&a, block, 16, 0);
    struct message before = h.m;
    assert_false(message_keep(&h.m, &a));
    assert_memory_equal(&before, &h.m, sizeof before);
    arena_init(&a, block, sizeof block, 0);
    assert_true(message_keep(&h.m, &a));
    free((void *)(uintptr_t)before.base);
    memset(h.fields, 0xff, sizeof h.fields);
    assert_str(message_value(&h.m, FIELD_COOKIE), "c");
    assert_str(message_str(&h.m, h.m.target), "/p");
    assert_null(message_find(&h.m, FIELD_RANGE));
    h.m.fields[2].flags |= FIELD_FLAG_DROP;
    assert_null(message_value(&h.m, FIELD_COOKIE).p);
    arena_fini(&a);
}

static void knows_methods(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum http_method method;
        bool idempotent;
    } cases[] = {
        {"GET", METHOD_GET, true},      {"HEAD", METHOD_HEAD, true},     {"POST", METHOD_POST, false},
        {"PUT", METHOD_PUT, true},      {"DELETE", METHOD_DELETE, true}, {"OPTIONS", METHOD_OPTIONS, true},
        {"PATCH", METHOD_PATCH, false}, {"TRACE", METHOD_TRACE, true},   {"CONNECT", METHOD_CONNECT, false},
        {"get", METHOD_OTHER, false},   {"PURGE", METHOD_OTHER, false},  {"", METHOD_OTHER, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(method_lookup(str_of(cases[i].name)), cases[i].method);
        assert_int_equal(method_is_idempotent(cases[i].method), cases[i].idempotent);
    }
}

static void writes_what_stays(void **state)
{
    (void)state;
    struct head h;
    head_whole(
        &h, HEAD_REQUEST,
        STR("POST /x HTTP/1.1\r\nHost: a\r\nA: 1\r\nB:2\r\nC: 3 \r\nD: 4\r\nE: 5\r\nContent-Length: 3\r\n"
            "Connection: close\r\nTE: trailers\r\nF: 6\r\nDrop: 7\r\n\r\n"),
        &test_limits);
    assert_true(h.got > 0);
    h.m.fields[h.m.field_count - 1].flags |= FIELD_FLAG_DROP;
    char out[512];
    struct writer w;
    writer_init(&w, out, sizeof out);
    h1_write_request_line(&w, &h.m, STR("/y?z"), STR("b"));
    h1_write_fields(&w, &h.m);
    h1_write_framing(&w, BODY_LENGTH, 3);
    h1_write_framing(&w, BODY_NONE, 0);
    h1_write_framing(&w, BODY_CLOSE, 0);
    h1_write_framing(&w, BODY_STREAM, 0);
    assert_false(w.overflow);
    assert_str(str_make(w.p, w.len),
               "POST /y?z HTTP/1.1\r\nHost: b\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\nF: 6\r\n"
               "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n");
    head_free(&h);
}

static void a_writer_never_goes_beyond_its_room(void **state)
{
    (void)state;
    char out[8] = "XXXXXXX";
    struct writer w;
    writer_init(&w, out, 4);
    writer_put(&w, "abcd", 4);
    assert_false(w.overflow);
    writer_put(&w, "e", 1);
    assert_true(w.overflow && w.len == 4 && out[4] == 'X');
    writer_init(&w, out, 8);
    writer_put(&w, "123456789", 9);
    writer_put(&w, "1", 1);
    assert_true(w.overflow && w.len == 0);
}

static void no_value_can_become_a_line(void **state)
{
    (void)state;
    static const struct {
        struct str name, value;
        bool good;
    } cases[] = {
        {STR("X"), STR("v"), true},     {STR("X"), STR(""), true},      {STR("X"), STR("a\r\nB: c"), false},
        {STR("X"), STR("a\nb"), false}, {STR("X"), STR("a\0b"), false}, {STR("X: y\r\nZ"), STR("a"), false},
        {STR(""), STR("a"), false},     {STR("X "), STR("a"), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[64];
        struct writer w;
        writer_init(&w, out, sizeof out);
        writer_field(&w, cases[i].name, cases[i].value);
        assert_int_equal(!w.overflow, cases[i].good);
    }
}

static void writes_numbers_and_status_lines(void **state)
{
    (void)state;
    char out[128];
    struct writer w;
    writer_init(&w, out, sizeof out);
    writer_u64(&w, 0);
    writer_u64(&w, UINT64_MAX);
    assert_str(str_make(out, w.len), "018446744073709551615");
    struct message m = {.status = 404, .base = ""};
    writer_init(&w, out, sizeof out);
    h1_write_status_line(&w, &m);
    m.status = 799;
    h1_write_status_line(&w, &m);
    m = (struct message){.status = 200, .base = "Fine", .reason_text = {0, 4}};
    h1_write_status_line(&w, &m);
    assert_str(str_make(out, w.len),
               "HTTP/1.1 404 Not Found\r\nHTTP/1.1 799 Unknown\r\nHTTP/1.1 200 Fine\r\n");
    assert_int_equal(h1_chunk_head(out, 0), 3);
    assert_memory_equal(out, "0\r\n", 3);
    assert_int_equal(h1_chunk_head(out, 0x1a2f), 6);
    assert_memory_equal(out, "1a2f\r\n", 6);
    assert_int_equal(h1_chunk_head(out, UINT64_MAX), 18);
}

/* What h1_write_request_head makes of a head, with its own target or another. */
static void check_request_head(const char *text, const char *target, const char *want)
{
    struct head h;
    head_whole(&h, HEAD_REQUEST, str_of(text), &test_limits);
    assert_true(h.got > 0);
    h.m.head_len = (uint32_t)h.got;
    char out[512];
    struct writer w;
    writer_init(&w, out, sizeof out);
    h1_write_request_head(&w, &h.m, target ? str_of(target) : message_str(&h.m, h.m.target),
                          message_str(&h.m, h.m.authority));
    assert_false(w.overflow);
    assert_true(str_eq(str_make(w.p, w.len), str_of(want)));
    head_free(&h);
}

static void a_head_that_may_stay_is_copied_as_it_came(void **state)
{
    (void)state;
    check_request_head("GET /a?b HTTP/1.1\r\nA: 1\r\nHost: h:1\r\nB: 2\r\n\r\n", NULL,
                       "GET /a?b HTTP/1.1\r\nA: 1\r\nHost: h:1\r\nB: 2\r\n");
    check_request_head("GET /a?b HTTP/1.1\r\nA: 1\r\nHost: h\r\nB: 2\r\n\r\n", "/c",
                       "GET /c HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\n");
    check_request_head("\r\nGET / HTTP/1.3\r\nHost:h \r\n\r\n", NULL, "GET / HTTP/1.1\r\nHost: h\r\n");
    check_request_head("GET http://x/y HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nC:  3\r\n\r\n", NULL,
                       "GET /y HTTP/1.1\r\nHost: x\r\nC: 3\r\n");
    check_request_head("GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nC: 3\r\n\r\n", NULL,
                       "GET / HTTP/1.1\r\nHost: x\r\nC: 3\r\n");
}

static void check_response_head(const char *text, bool keep_length, bool kept, const char *want)
{
    struct head h;
    head_whole(&h, METHOD_GET, str_of(text), &test_limits);
    assert_true(h.got > 0);
    h.m.head_len = (uint32_t)h.got;
    char out[512];
    struct writer w;
    writer_init(&w, out, sizeof out);
    assert_int_equal(h1_write_response_head(&w, &h.m, keep_length), kept);
    assert_false(w.overflow);
    assert_true(str_eq(str_make(w.p, w.len), str_of(want)));
    head_free(&h);
}

static void an_answer_keeps_its_length_only_when_told_and_plain(void **state)
{
    (void)state;
    const char *head = "HTTP/1.1 200 Fine\r\nA: 1\r\nContent-Length: 12\r\nB: 2\r\nConnection: x\r\n\r\n";
    check_response_head(head, true, true, "HTTP/1.1 200 Fine\r\nA: 1\r\nContent-Length: 12\r\nB: 2\r\n");
    check_response_head(head, false, false, "HTTP/1.1 200 Fine\r\nA: 1\r\nB: 2\r\n");
    check_response_head("HTTP/1.0 404\r\nContent-Length: 0\r\n\r\n", true, true,
                        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n");
    check_response_head("HTTP/1.1 200 OK\r\nContent-Length: 012\r\n\r\n", true, false, "HTTP/1.1 200 OK\r\n");
    check_response_head("HTTP/1.1 200 OK\r\nContent-Length:12\r\n\r\n", true, false, "HTTP/1.1 200 OK\r\n");
    check_response_head("HTTP/1.1 200 OK\r\nA: 1\r\n\r\n", true, false, "HTTP/1.1 200 OK\r\nA: 1\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_every_name_in_any_case),
        cmocka_unit_test(keeps_a_head_in_an_arena),
        cmocka_unit_test(knows_methods),
        cmocka_unit_test(writes_what_stays),
        cmocka_unit_test(a_writer_never_goes_beyond_its_room),
        cmocka_unit_test(no_value_can_become_a_line),
        cmocka_unit_test(writes_numbers_and_status_lines),
        cmocka_unit_test(a_head_that_may_stay_is_copied_as_it_came),
        cmocka_unit_test(an_answer_keeps_its_length_only_when_told_and_plain),
    };
    return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
