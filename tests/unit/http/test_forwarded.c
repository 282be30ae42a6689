/* forwarded and trace: nobody untrusted can say who he is (P4). */
#include "support.h"

#include "http/forwarded.h"
#include "http/trace.h"

#define REQUEST "GET / HTTP/1.1\r\nHost: shop.example.com\r\n"

static const struct forwarded_info someone = {
    .client_ip = {"192.0.2.7", 9}, .proto = {"https", 5}, .host = {"shop.example.com", 16}, .port = 8443};

static void parse(struct head *h, const char *fields)
{
    char text[4096] = REQUEST;
    memcpy(text + strlen(text), fields, strlen(fields) + 1);
    memcpy(text + strlen(text), "\r\n", 3);
    head_whole(h, HEAD_REQUEST, str_of(text), &test_limits);
    assert_true(h->got > 0);
}

/* All that goes to the server, into `out`, as a string. */
static void write_all(struct head *h, const struct forwarded_info *info, char *out, size_t cap)
{
    struct writer w;
    writer_init(&w, out, cap - 1);
    forwarded_drop_forged(&h->m, info->trusted_peer);
    forwarded_write_for(&h->m, &w, info);
    forwarded_write_rest(&h->m, &w, info);
    forwarded_write_rfc7239(&h->m, &w, info);
    forwarded_write_via(&h->m, &w, STR("coxswain"));
    h1_write_fields(&w, &h->m);
    assert_false(w.overflow);
    out[w.len] = 0;
}

#define FORGED                                                                                               \
    "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: ftp\r\nX-Forwarded-Host: h\r\nX-Forwarded-Port: 1\r\n"  \
    "X-Forwarded-Prefix: /p\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\nVia: 1.1 x\r\nA: b\r\n"

static void claims_of_strangers_are_replaced(void **state)
{
    (void)state;
    struct head h;
    char out[1024];
    parse(&h, FORGED);
    write_all(&h, &someone, out, sizeof out);
    assert_string_equal(out, "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
                             "X-Forwarded-Host: shop.example.com\r\nX-Forwarded-Port: 8443\r\n"
                             "Forwarded: for=192.0.2.7;host=\"shop.example.com\";proto=https\r\n"
                             "Via: 1.1 coxswain\r\nVia: 1.1 x\r\nA: b\r\n");
    head_free(&h);
}

static void claims_of_trusted_peers_grow(void **state)
{
    (void)state;
    struct head h;
    char out[1024];
    struct forwarded_info info = someone;
    info.trusted_peer = true;
    parse(&h, FORGED "X-Forwarded-For: 10.0.0.2\r\nX-Forwarded-For:\r\n");
    write_all(&h, &info, out, sizeof out);
    assert_string_equal(
        out,
        "X-Forwarded-For: 10.0.0.1, 10.0.0.2, 192.0.2.7\r\n"
        "Forwarded: for=10.0.0.1, for=192.0.2.7;host=\"shop.example.com\";proto=https\r\n"
        "Via: 1.1 coxswain\r\nX-Forwarded-Proto: ftp\r\nX-Forwarded-Host: h\r\n"
        "X-Forwarded-Port: 1\r\nX-Forwarded-Prefix: /p\r\nX-Real-IP: 10.0.0.1\r\nVia: 1.1 x\r\nA: b\r\n");
    head_free(&h);
}

static void addresses_take_their_form(void **state)
{
    (void)state;
    struct head h;
    char out[1024];
    struct forwarded_info info = someone;
    info.client_ip = STR("2001:db8::7");
    info.client_is_v6 = true;
    info.host = STR("a\"b");
    info.proto = STR_NULL;
    parse(&h, "");
    struct writer w;
    writer_init(&w, out, sizeof out);
    forwarded_write_for(&h.m, &w, &info);
    forwarded_write_rfc7239(&h.m, &w, &info);
    info.client_ip = STR("evil\r\nX: y");
    forwarded_write_for(&h.m, &w, &info);
    forwarded_write_rfc7239(&h.m, &w, &info);
    forwarded_write_via(&h.m, &w, STR("bad name"));
    assert_str(str_make(out, w.len),
               "X-Forwarded-For: 2001:db8::7\r\nForwarded: for=\"[2001:db8::7]\"\r\n"
               "X-Forwarded-For: unknown\r\nForwarded: for=unknown\r\nVia: 1.1 coxswain\r\n");
    head_free(&h);
}

static bool is_ten(void *arg, struct str ip)
{
    (*(int *)arg)++;
    return str_starts(ip, STR("10."));
}

static void the_client_is_the_rightmost_stranger(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *peer, *client;
    } cases[] = {
        {"", "10.0.0.9", "10.0.0.9"},
        {"X-Forwarded-For: 1.1.1.1\r\n", "9.9.9.9", "9.9.9.9"},
        {"X-Forwarded-For: 1.1.1.1\r\n", "10.0.0.9", "1.1.1.1"},
        {"X-Forwarded-For: 1.1.1.1, 2.2.2.2, 10.0.0.1\r\n", "10.0.0.9", "2.2.2.2"},
        {"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 10.0.0.2 , ,10.0.0.1\r\n", "10.0.0.9", "1.1.1.1"},
        {"X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n", "10.0.0.9", "10.0.0.3"},
        {"X-Forwarded-For: 1.1.1.1:80\r\n", "10.0.0.9", "1.1.1.1"},
        {"X-Forwarded-For: 2001:db8::1\r\n", "10.0.0.9", "2001:db8::1"},
        {"X-Forwarded-For: [2001:db8::1]:80\r\n", "10.0.0.9", "2001:db8::1"},
        {"X-Forwarded-For: 1.1.1.1, unknown, 10.0.0.2\r\n", "10.0.0.9", "10.0.0.2"},
        {"X-Forwarded-For: 1.1.1.1, [::1, 10.0.0.2\r\n", "10.0.0.9", "10.0.0.2"},
        {"X-Forwarded-For:\r\n", "10.0.0.9", "10.0.0.9"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct head h;
        int calls = 0;
        parse(&h, cases[i].fields);
        struct str got = forwarded_client(&h.m, str_of(cases[i].peer), is_ten, &calls);
        if (!str_eq(got, str_of(cases[i].client)))
            print_error("%s: %.*s\n", cases[i].fields, STR_ARG(got));
        assert_true(str_eq(got, str_of(cases[i].client)));
        head_free(&h);
    }
}

static void the_walk_is_bounded(void **state)
{
    (void)state;
    char fields[2048] = "X-Forwarded-For: 1.1.1.1";
    for (int i = 0; i < 100; i++)
        memcpy(fields + strlen(fields), ",10.0.0.1", 10);
    memcpy(fields + strlen(fields), "\r\n", 3);
    struct head h;
    int calls = 0;
    parse(&h, fields);
    assert_str(forwarded_client(&h.m, STR("10.0.0.9"), is_ten, &calls), "10.0.0.1");
    assert_int_equal(calls, 1 + FORWARDED_HOPS_MAX);
    head_free(&h);
}

static void trace_ids(void **state)
{
    (void)state;
    static const char good[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    assert_true(traceparent_valid(STR(good)));
    assert_true(traceparent_valid(STR("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")));
    assert_false(traceparent_valid(STR("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")));
    assert_false(traceparent_valid(STR("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")));
    assert_false(traceparent_valid(STR("00-00000000000000000000000000000000-00f067aa0ba902b7-01")));
    assert_false(traceparent_valid(STR("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01")));
    for (size_t i = 0; i < sizeof good - 1; i++) {
        char bad[sizeof good];
        memcpy(bad, good, sizeof good);
        bad[i] = good[i] == '-' ? '0' : 'A';
        assert_false(traceparent_valid(str_make(bad, sizeof good - 1)));
        assert_false(traceparent_valid(str_make(good, i)));
    }
    char a[TRACEPARENT_BYTES], b[TRACEPARENT_BYTES];
    traceparent_make(a, 0, 0);
    traceparent_make(b, 0x0123456789abcdef, 2);
    assert_true(traceparent_valid(str_make(a, sizeof a)) && traceparent_valid(str_make(b, sizeof b)));
    assert_memory_equal(b, "00-0123456789abcdef0000000000000002-", 36);
    assert_memory_not_equal(a, b, sizeof a);
}

static void request_ids(void **state)
{
    (void)state;
    char text[130];
    memset(text, 'a', sizeof text);
    assert_true(request_id_valid(STR("aZ09._-")));
    assert_true(request_id_valid(str_make(text, 127)) && request_id_valid(str_make(text, 128)));
    assert_false(request_id_valid(str_make(text, 129)));
    assert_false(request_id_valid(STR("")) || request_id_valid(STR("a b")) || request_id_valid(STR("a~")));
    assert_false(request_id_valid(STR("a\"b")) || request_id_valid(STR("a\0b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_of_strangers_are_replaced),
        cmocka_unit_test(claims_of_trusted_peers_grow),
        cmocka_unit_test(addresses_take_their_form),
        cmocka_unit_test(the_client_is_the_rightmost_stranger),
        cmocka_unit_test(the_walk_is_bounded),
        cmocka_unit_test(trace_ids),
        cmocka_unit_test(request_ids),
    };
    return cmocka_run_group_tests_name("forwarded", tests, NULL, NULL);
}
