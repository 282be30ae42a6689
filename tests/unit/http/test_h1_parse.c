/* HTTP/1 heads: what is accepted, what is refused and why, at, below and above each limit. Every text is also
 * fed in all sizes of pieces. */
#include "support.h"

struct bad {
    const char *row; /* of the hostile-input table */
    const char *text;
    enum reason why;
};

#define GET  "GET / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define POST "POST / HTTP/1.1\r\n" HOST

static void accepts_a_plain_request(void **state)
{
    (void)state;
    struct head h;
    struct str text =
        STR("GET /index.html?a=1 HTTP/1.1\r\nHost: example.com:8080\r\nAccept:*/*\r\nX-Empty:\r\n"
            "X-Pad: \t v \t\r\n\r\nrest");
    assert_int_equal(head_all_ways(HEAD_REQUEST, text, &h), text.n - 4);
    assert_int_equal(h.m.head_len, text.n - 4);
    assert_int_equal(h.m.method, METHOD_GET);
    assert_str(message_str(&h.m, h.m.method_text), "GET");
    assert_str(message_str(&h.m, h.m.target), "/index.html?a=1");
    assert_str(message_str(&h.m, h.m.authority), "example.com:8080");
    assert_int_equal(h.m.field_count, 4);
    assert_str(field_value_of(&h.m, &h.m.fields[1]), "*/*");
    assert_str(field_value_of(&h.m, &h.m.fields[2]), "");
    assert_str(field_value_of(&h.m, &h.m.fields[3]), "v");
    assert_int_equal(h.m.framing, BODY_NONE);
    assert_int_equal(h.m.flags, MSG_KEEP_ALIVE);
    head_free(&h);
}

static void skips_empty_lines_before_a_request(void **state)
{
    (void)state;
    struct head h;
    struct str text = STR("\r\n\r\n" GET HOST "\r\n");
    assert_int_equal(head_all_ways(HEAD_REQUEST, text, &h), text.n);
    head_free(&h);
}

static void refuses_malformed_requests(void **state)
{
    (void)state;
    static const struct bad cases[] = {
        {"H1", POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", REASON_LENGTH_AND_CODING},
        {"H1", POST "Transfer-Encoding: xchunked\r\nContent-Length: x\r\n\r\n", REASON_LENGTH_AND_CODING},
        {"H2", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", REASON_LENGTH},
        {"H2", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", REASON_LENGTH},
        {"H2", POST "Content-Length: 5, 5\r\n\r\n", REASON_LENGTH},
        {"H3", POST "Content-Length: +5\r\n\r\n", REASON_LENGTH},
        {"H3", POST "Content-Length: -5\r\n\r\n", REASON_LENGTH},
        {"H3", POST "Content-Length: 0x5\r\n\r\n", REASON_LENGTH},
        {"H3", POST "Content-Length: 5_0\r\n\r\n", REASON_LENGTH},
        {"H3", POST "Content-Length: 5 0\r\n\r\n", REASON_LENGTH},
        {"H3", POST "Content-Length:\r\n\r\n", REASON_LENGTH},
        {"H3", POST "Content-Length: 9223372036854775808\r\n\r\n", REASON_LENGTH},
        {"H3", POST "Content-Length: 99999999999999999999\r\n\r\n", REASON_LENGTH},
        {"H4", POST "Transfer-Encoding: xchunked\r\n\r\n", REASON_CODING_UNKNOWN},
        {"H4", POST "Transfer-Encoding: identity\r\n\r\n", REASON_CODING_UNKNOWN},
        {"H4", POST "Transfer-Encoding: gzip, chunked\r\n\r\n", REASON_CODING_UNKNOWN},
        {"H4", POST "Transfer-Encoding: chunked,\r\n\r\n", REASON_CODING},
        {"H4", POST "Transfer-Encoding: ,chunked\r\n\r\n", REASON_CODING},
        {"H4", POST "Transfer-Encoding: chunked, chunked\r\n\r\n", REASON_CODING},
        {"H4", POST "Transfer-Encoding: chunked, gzip\r\n\r\n", REASON_CODING},
        {"H4", POST "Transfer-Encoding: chunked;q=1\r\n\r\n", REASON_CODING},
        {"H4", POST "Transfer-Encoding: \"chunked\"\r\n\r\n", REASON_CODING},
        {"H4", POST "Transfer-Encoding:\r\n\r\n", REASON_CODING},
        {"H4",
         POST "Transfer-Encoding: \x0b"
              "chunked\r\n\r\n",
         REASON_FIELD_VALUE},
        {"H4", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", REASON_CODING},
        {"H5", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", REASON_CODING},
        {"H10", GET HOST "X: a\rb\r\n\r\n", REASON_LINE_END},
        {"H10", GET HOST "X: a\x01\r\n\r\n", REASON_FIELD_VALUE},
        {"H10", GET HOST "X: a\x7f\r\n\r\n", REASON_FIELD_VALUE},
        {"H10", GET HOST "X\x80: a\r\n\r\n", REASON_FIELD_NAME},
        {"H11", GET HOST "X : a\r\n\r\n", REASON_FIELD_NAME},
        {"H11", GET HOST "X\t: a\r\n\r\n", REASON_FIELD_NAME},
        {"H11", GET HOST ": a\r\n\r\n", REASON_FIELD_NAME},
        {"H11", GET HOST "no colon here\r\n\r\n", REASON_FIELD_NAME},
        {"H11", GET HOST "nocolon\r\nX: y\r\n\r\n", REASON_FIELD_NAME},
        {"H11", GET " Host: a\r\n\r\n", REASON_FIELD_NAME},
        {"H11", GET HOST "Content\rLength: 5\r\n\r\n", REASON_FIELD_NAME},
        {"H12", GET HOST "X: a\r\n b\r\n\r\n", REASON_FIELD_FOLD},
        {"H12", GET HOST "X: a\r\n\tb: c\r\n\r\n", REASON_FIELD_FOLD},
        {"H13", GET "Host: a\n\r\n", REASON_LINE_END},
        {"H13", GET HOST "\n", REASON_LINE_END},
        {"H13", "GET / HTTP/1.1\nHost: a\r\n\r\n", REASON_LINE_END},
        {"H13", "\n" GET HOST "\r\n", REASON_LINE_END},
        {"H13", "\r" GET HOST "\r\n", REASON_LINE_END},
        {"H14", "GET  / HTTP/1.1\r\n\r\n", REASON_REQUEST_LINE},
        {"H14", "GET /  HTTP/1.1\r\n\r\n", REASON_REQUEST_LINE},
        {"H14", "GET / HTTP/1.1 \r\n\r\n", REASON_REQUEST_LINE},
        {"H14", "GET\t/ HTTP/1.1\r\n\r\n", REASON_REQUEST_LINE},
        {"H14", "GET /\t HTTP/1.1\r\n\r\n", REASON_TARGET},
        {"H14", "GET /\x80 HTTP/1.1\r\n\r\n", REASON_TARGET},
        {"H14", "G\x80T / HTTP/1.1\r\n\r\n", REASON_REQUEST_LINE},
        {"H14", " GET / HTTP/1.1\r\n\r\n", REASON_REQUEST_LINE},
        {"H14", "GET /\r\n\r\n", REASON_REQUEST_LINE},
        {"H14", "GET / \r\n\r\n", REASON_REQUEST_LINE},
        {"H14", "GET / HTTP/1.10\r\n\r\n", REASON_REQUEST_LINE},
        {"H14", "GET / HTTP/11\r\n\r\n\r\n\r\n", REASON_REQUEST_LINE},
        {"H14", "GET / http/1.1\r\n\r\n", REASON_REQUEST_LINE},
        {"H14", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", REASON_VERSION},
        {"H14", "GET / HTTP/0.9\r\n\r\n", REASON_VERSION},
        {"H15", GET "\r\n", REASON_HOST},
        {"H15", GET "Host:\r\n\r\n", REASON_HOST},
        {"H15", GET HOST HOST "\r\n", REASON_HOST},
        {"H15", "GET / HTTP/1.0\r\n" HOST HOST "\r\n", REASON_HOST},
        {"H16", "GET http://b/ HTTP/1.1\r\n" HOST "\r\n", REASON_HOST},
        {"H16", "GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n", REASON_TARGET},
        {"H16", "GET http:/// HTTP/1.1\r\n" HOST "\r\n", REASON_TARGET},
        {"H17", "GET http://u@a/ HTTP/1.1\r\n" HOST "\r\n", REASON_TARGET},
        {"H17", GET "Host: u@a\r\n\r\n", REASON_HOST},
        {"H17", GET "Host: a,b\r\n\r\n", REASON_HOST},
        {"H17", GET "Host: a b\r\n\r\n", REASON_HOST},
        {"H17", GET "Host: a/b\r\n\r\n", REASON_HOST},
        {"H17", GET "Host: a:8x\r\nX: 0123456789012345678901234567890\r\n\r\n", REASON_HOST},
        {"H17", GET "Host: a:\r\n\r\n", REASON_HOST},
        {"H17", GET "Host: a:65536\r\n\r\n", REASON_HOST},
        {"H18", "GET /#f HTTP/1.1\r\n" HOST "\r\n", REASON_TARGET},
        {"H18", "GET x HTTP/1.1\r\n" HOST "\r\n", REASON_TARGET},
        {"H18", "GET * HTTP/1.1\r\n" HOST "\r\n", REASON_TARGET},
        {"H21", GET HOST "Expect: y 100-continue\r\n\r\n", REASON_EXPECT},
        {"H21", GET HOST "Expect: 100-continue, x\r\n\r\n", REASON_EXPECT},
        {"H21", GET HOST "Expect:\r\n\r\n", REASON_EXPECT},
        {"H22", POST "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\n",
         REASON_UPGRADE},
        {"H22", POST "Connection: upgrade\r\nUpgrade: w\r\nTransfer-Encoding: chunked\r\n\r\n",
         REASON_UPGRADE},
        {"H24", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", REASON_CONNECT_METHOD},
        {"H26", GET HOST "Connection: a b\r\n\r\n", REASON_FIELD_VALUE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct head h;
        int got = head_all_ways(HEAD_REQUEST, str_of(cases[i].text), &h);
        if (got != -(int)cases[i].why)
            print_error("%s: %s: got %d, want %s\n", cases[i].row, cases[i].text, got,
                        reason_id(cases[i].why));
        assert_int_equal(got, -(int)cases[i].why);
        head_free(&h);
    }
}

static void refuses_nul_bytes(void **state)
{
    (void)state;
    struct head h;
    assert_int_equal(head_all_ways(HEAD_REQUEST, STR(GET HOST "X: a\0b\r\n\r\n"), &h), -REASON_FIELD_VALUE);
    head_free(&h);
    assert_int_equal(head_all_ways(HEAD_REQUEST, STR(GET HOST "X\0: b\r\n\r\n"), &h), -REASON_FIELD_NAME);
    head_free(&h);
}

struct good {
    const char *text;
    uint32_t flags;
    enum body_framing framing;
    uint64_t length;
};

static void understands_framing_and_connection(void **state)
{
    (void)state;
    static const struct good cases[] = {
        {"GET / HTTP/1.0\r\n\r\n", 0, BODY_NONE, 0},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", MSG_KEEP_ALIVE, BODY_NONE, 0},
        {"GET / HTTP/1.0\r\nExpect: nonsense\r\n\r\n", 0, BODY_NONE, 0},
        {"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n", 0, BODY_NONE, 0},
        {"GET / HTTP/1.2\r\n" HOST "\r\n", MSG_KEEP_ALIVE, BODY_NONE, 0},
        {GET HOST "Connection: close\r\n\r\n", 0, BODY_NONE, 0},
        {GET HOST "Connection: Keep-Alive, x, CLOSE\r\n\r\n", 0, BODY_NONE, 0},
        {GET HOST "Connection: keep-alive\r\nConnection: close\r\n\r\n", 0, BODY_NONE, 0},
        {GET HOST "Connection: , ,\r\n\r\n", MSG_KEEP_ALIVE, BODY_NONE, 0},
        {POST "Content-Length: 0\r\n\r\n", MSG_KEEP_ALIVE, BODY_LENGTH, 0},
        {POST "Content-Length: 9223372036854775807\r\n\r\n", MSG_KEEP_ALIVE, BODY_LENGTH, INT64_MAX},
        {GET HOST "Content-Length: 5\r\n\r\n", MSG_KEEP_ALIVE, BODY_LENGTH, 5},
        {POST "Transfer-Encoding: CHUNKED\r\n\r\n", MSG_KEEP_ALIVE, BODY_CHUNKED, 0},
        {POST "Transfer-Encoding: \t chunked \t\r\n\r\n", MSG_KEEP_ALIVE, BODY_CHUNKED, 0},
        {GET HOST "Upgrade: websocket\r\nConnection: x, Upgrade\r\n\r\n", MSG_KEEP_ALIVE | MSG_UPGRADE,
         BODY_NONE, 0},
        {GET HOST "Upgrade: websocket\r\n\r\n", MSG_KEEP_ALIVE, BODY_NONE, 0},
        {GET HOST "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n", MSG_KEEP_ALIVE, BODY_NONE, 0},
        {GET HOST "Upgrade: h2c, w\r\nConnection: Upgrade\r\n\r\n", MSG_KEEP_ALIVE | MSG_UPGRADE, BODY_NONE,
         0},
        {POST "Expect: 100-Continue\r\n\r\n", MSG_KEEP_ALIVE | MSG_EXPECT_CONTINUE, BODY_NONE, 0},
        {GET HOST "TE: gzip, Trailers\r\n\r\n", MSG_KEEP_ALIVE | MSG_TE_TRAILERS, BODY_NONE, 0},
        {POST "Trailer: X\r\nTransfer-Encoding: chunked\r\n\r\n", MSG_KEEP_ALIVE | MSG_HAS_TRAILERS,
         BODY_CHUNKED, 0},
        {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", MSG_KEEP_ALIVE | MSG_ASTERISK, BODY_NONE, 0},
        {"FETCH-IT /x HTTP/1.1\r\n" HOST "\r\n", MSG_KEEP_ALIVE, BODY_NONE, 0},
        {GET "Host: [2001:db8::1]:80\r\n\r\n", MSG_KEEP_ALIVE, BODY_NONE, 0},
        {GET HOST "X: \x80\xff caf\xc3\xa9\r\n\r\n", MSG_KEEP_ALIVE, BODY_NONE, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct head h;
        int got = head_all_ways(HEAD_REQUEST, str_of(cases[i].text), &h);
        if (got <= 0)
            print_error("%s: %s\n", cases[i].text, reason_id((enum reason) - got));
        assert_int_equal(got, strlen(cases[i].text));
        assert_int_equal(h.m.flags, cases[i].flags);
        assert_int_equal(h.m.framing, cases[i].framing);
        assert_true(h.m.content_length == cases[i].length);
        head_free(&h);
    }
}

static void takes_the_authority_of_absolute_form(void **state)
{
    (void)state;
    struct head h;
    struct str text = STR("GET HTTP://Example.com:80/p?q HTTP/1.1\r\nHost: example.COM:80\r\n\r\n");
    assert_int_equal(head_all_ways(HEAD_REQUEST, text, &h), text.n);
    assert_str(message_str(&h.m, h.m.authority), "Example.com:80");
    assert_str(message_str(&h.m, h.m.target), "/p?q");
    assert_true(h.m.flags & MSG_ABSOLUTE_FORM);
    head_free(&h);
    text = STR("GET https://a?x HTTP/1.0\r\n\r\n");
    assert_int_equal(head_all_ways(HEAD_REQUEST, text, &h), text.n);
    assert_str(message_str(&h.m, h.m.authority), "a");
    assert_str(message_str(&h.m, h.m.target), "?x");
    head_free(&h);
}

/* A request of `target` bytes target and `fields` small fields. */
static struct str make_request(size_t target, size_t fields, size_t value)
{
    static char text[65536];
    char *p = text;
    memcpy(p, "GET /", 5);
    memset(p + 5, 'a', target - 1);
    p += 4 + target;
    memcpy(p, " HTTP/1.1\r\nHost: a\r\n", 20);
    p += 20;
    for (size_t i = 1; i < fields; i++) {
        memcpy(p, "X: ", 3);
        memset(p + 3, 'v', value);
        memcpy(p + 3 + value, "\r\n", 2);
        p += 5 + value;
    }
    memcpy(p, "\r\n", 2);
    return str_make(text, (size_t)(p + 2 - text));
}

static int parse_limited(struct str text, struct h1_limits limits, size_t step)
{
    struct head h;
    head_pieces(&h, HEAD_REQUEST, text, &limits, step);
    head_free(&h);
    return h.got;
}

static void holds_its_limits(void **state)
{
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        size_t step = pass ? 1 : 65536;
        struct h1_limits l = {.line_bytes = 113, .head_bytes = 4096, .field_count = 10}; /* 4 + target + 9 */
        assert_true(parse_limited(make_request(99, 1, 0), l, step) > 0);
        assert_true(parse_limited(make_request(100, 1, 0), l, step) > 0);
        assert_int_equal(parse_limited(make_request(101, 1, 0), l, step), -REASON_URI_LIMIT);
        assert_true(parse_limited(make_request(5, 10, 3), l, step) > 0);
        assert_int_equal(parse_limited(make_request(5, 11, 3), l, step), -REASON_HEAD_LIMIT);
        struct str text = make_request(5, 3, 50);
        l.head_bytes = (uint32_t)text.n + 1;
        assert_true(parse_limited(text, l, step) > 0);
        l.head_bytes = (uint32_t)text.n;
        assert_true(parse_limited(text, l, step) > 0);
        l.head_bytes = (uint32_t)text.n - 1;
        assert_int_equal(parse_limited(text, l, step), -REASON_HEAD_LIMIT);
    }
}

static void bounds_what_never_ends(void **state)
{
    (void)state;
    static char text[40000];
    struct head h;
    memset(text, 'A', sizeof text);
    head_pieces(&h, HEAD_REQUEST, str_make(text, sizeof text), &test_limits, 100);
    assert_int_equal(h.got, -REASON_URI_LIMIT);
    head_free(&h);
    memcpy(text, GET "X: ", strlen(GET "X: "));
    head_pieces(&h, HEAD_REQUEST, str_make(text, sizeof text), &test_limits, 100);
    assert_int_equal(h.got, -REASON_HEAD_LIMIT);
    head_free(&h);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "\r\n"[i & 1];
    head_pieces(&h, HEAD_REQUEST, str_make(text, sizeof text), &test_limits, 100);
    assert_int_equal(h.got, -REASON_HEAD_LIMIT);
    head_free(&h);
}

static void bounds_the_options_of_connection(void **state)
{
    (void)state;
    for (int options = 63; options <= 65; options++) {
        char text[512] = GET HOST "Connection: x";
        for (int i = 1; i < options; i++)
            memcpy(text + strlen(text), ",x", 3);
        memcpy(text + strlen(text), "\r\n\r\n", 5);
        struct head h;
        head_whole(&h, HEAD_REQUEST, str_of(text), &test_limits);
        assert_int_equal(h.got > 0, options <= 64);
        head_free(&h);
    }
}

struct answer {
    const char *text;
    int method;
    int status; /* 0: malformed */
    enum body_framing framing;
    uint32_t flags;
    uint64_t length;
};

static void understands_answers(void **state)
{
    (void)state;
#define OK11 "HTTP/1.1 200 OK\r\n"
    static const struct answer cases[] = {
        {OK11 "Content-Length: 5\r\n\r\n", METHOD_GET, 200, BODY_LENGTH, MSG_KEEP_ALIVE, 5},
        {OK11 "Transfer-Encoding: chunked\r\n\r\n", METHOD_GET, 200, BODY_CHUNKED, MSG_KEEP_ALIVE, 0},
        {OK11 "\r\n", METHOD_GET, 200, BODY_CLOSE, 0, 0},
        {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", METHOD_GET, 200, BODY_LENGTH, MSG_KEEP_ALIVE, 0},
        {"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", METHOD_GET, 200, BODY_LENGTH, MSG_KEEP_ALIVE, 0},
        {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", METHOD_GET, 200, BODY_LENGTH, 0, 1},
        {OK11 "Content-Length: 5\r\n\r\n", METHOD_HEAD, 200, BODY_NONE, MSG_KEEP_ALIVE | MSG_HAS_LENGTH, 5},
        {OK11 "\r\n", METHOD_HEAD, 200, BODY_NONE, MSG_KEEP_ALIVE, 0},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", METHOD_GET, 304, BODY_NONE,
         MSG_KEEP_ALIVE | MSG_HAS_LENGTH, 5},
        {"HTTP/1.1 204 No Content\r\n\r\n", METHOD_GET, 204, BODY_NONE, MSG_KEEP_ALIVE, 0},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", METHOD_GET, 204, BODY_NONE, 0, 0},
        {"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET, 204, BODY_NONE, 0, 0},
        {"HTTP/1.1 100 Continue\r\n\r\n", METHOD_GET, 100, BODY_NONE, MSG_KEEP_ALIVE, 0},
        {"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: w\r\n\r\n", METHOD_GET, 101, BODY_NONE,
         MSG_KEEP_ALIVE | MSG_UPGRADE, 0},
        {OK11 "Connection: close\r\nContent-Length: 5\r\n\r\n", METHOD_GET, 200, BODY_LENGTH, 0, 5},
        {OK11 "Expect: whatever\r\nContent-Length: 5\r\n\r\n", METHOD_GET, 200, BODY_LENGTH, MSG_KEEP_ALIVE,
         5},
        /* H28 */
        {OK11 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {OK11 "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {OK11 "Content-Length: x\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {OK11 "Transfer-Encoding: gzip\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {OK11 "X : y\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {OK11 "X: y\r\n z\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {OK11 "X: y\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {"HTTP/1.1 099 Low\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {"HTTP/1.1 2000 OK\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {"HTTP/1.1 20 OK\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {"HTTP/1.1  200 OK\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {"HTTP/2.0 200 OK\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {"ICY 200 OK okay\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {"HTTP/1.1 200 O\x01K\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {"220 smtp.example.com ready\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
        {"\r\nHTTP/1.1 200 OK\r\n\r\n", METHOD_GET, 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct answer *c = &cases[i];
        struct head h;
        int got = head_all_ways(c->method, str_of(c->text), &h);
        int want = c->status ? (int)strlen(c->text) : -REASON_SERVER_HEAD;
        if (got != want)
            print_error("%s\n", c->text);
        assert_int_equal(got, want);
        if (got > 0) {
            assert_int_equal(h.m.status, c->status);
            assert_int_equal(h.m.framing, c->framing);
            assert_int_equal(h.m.flags, c->flags);
            assert_true(h.m.content_length == c->length);
        }
        head_free(&h);
    }
}

static void limits_answers(void **state)
{
    (void)state;
    struct str text = STR("HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\n\r\n");
    struct h1_limits l = {.line_bytes = 15, .head_bytes = (uint32_t)text.n, .field_count = 2};
    struct head h;
    head_whole(&h, METHOD_GET, text, &l);
    assert_int_equal(h.got, text.n);
    head_free(&h);
    for (int i = 0; i < 3; i++) {
        struct h1_limits tight = {l.line_bytes - (i == 0), l.head_bytes - (i == 1), (uint16_t)(2 - (i == 2))};
        head_pieces(&h, METHOD_GET, text, &tight, 1);
        assert_int_equal(h.got, -REASON_SERVER_HEAD_LIMIT);
        head_free(&h);
    }
}

static void parses_field_sections(void **state)
{
    (void)state;
    struct head h;
    assert_int_equal(head_all_ways(HEAD_FIELDS, STR("\r\n"), &h), 2);
    head_free(&h);
    assert_int_equal(
        head_all_ways(HEAD_FIELDS, STR("A: 1\r\nContent-Length: x\r\nHost: a b\r\nHost: c\r\n\r\n"), &h), 47);
    assert_int_equal(h.m.field_count, 4);
    head_free(&h);
    assert_int_equal(head_all_ways(HEAD_FIELDS, STR("A: 1\n\n"), &h), -REASON_LINE_END);
    head_free(&h);
    assert_int_equal(head_all_ways(HEAD_CGI_FIELDS, STR("A: 1\nB: 2\r\n\nbody"), &h), 12);
    assert_int_equal(h.m.field_count, 2);
    assert_str(field_value_of(&h.m, &h.m.fields[0]), "1");
    head_free(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_a_plain_request),
        cmocka_unit_test(skips_empty_lines_before_a_request),
        cmocka_unit_test(refuses_malformed_requests),
        cmocka_unit_test(refuses_nul_bytes),
        cmocka_unit_test(understands_framing_and_connection),
        cmocka_unit_test(takes_the_authority_of_absolute_form),
        cmocka_unit_test(holds_its_limits),
        cmocka_unit_test(bounds_what_never_ends),
        cmocka_unit_test(bounds_the_options_of_connection),
        cmocka_unit_test(understands_answers),
        cmocka_unit_test(limits_answers),
        cmocka_unit_test(parses_field_sections),
    };
    return cmocka_run_group_tests_name("h1_parse", tests, NULL, NULL);
}
