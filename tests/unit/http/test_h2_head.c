/* h2_head: what HPACK decoded becomes a message, or is refused (RFC 9113 8.1 to 8.5, rows T4, T7 to T12). */
#include "support.h"

#include <stdio.h>

#include "http/h1_write.h"
#include "http/h2_head.h"
#include "http/h2_nv.h"

static const struct h2_head_limits limits = {.bytes = 4096, .path_bytes = 256, .fields = 20};

struct block {
    struct h2_head head;
    struct message m;
    struct field fields[TEST_FIELDS];
    struct arena arena;
    char first[1024];
};

/* "name|value\n" lines, fed from blocks of exactly their size. */
static void feed(struct block *b, enum h2_head_kind kind, const char *lines)
{
    struct str rest = str_of(lines);
    arena_init(&b->arena, b->first, sizeof b->first, 1 << 20);
    message_init(&b->m, b->fields, limits.fields);
    h2_head_init(&b->head, kind, &b->m, &b->arena, &limits);
    while (rest.n) {
        const char *end = memchr(rest.p, '\n', rest.n), *bar = memchr(rest.p, '|', rest.n);
        struct str name = {rest.p, (size_t)(bar - rest.p)}, value = {bar + 1, (size_t)(end - bar - 1)};
        char *n = str_dup(name), *v = str_dup(value);
        h2_head_field(&b->head, str_make(n, name.n), str_make(v, value.n));
        free(n);
        free(v);
        rest = str_make(end + 1, rest.n - (size_t)(end + 1 - rest.p));
    }
}

static enum reason request(struct block *b, const char *lines, bool end_stream)
{
    feed(b, H2_HEAD_REQUEST, lines);
    return h2_head_request_done(&b->head, end_stream);
}

#define GET ":method|GET\n:scheme|http\n:path|/a?b\n:authority|example.com\n"

static void a_request_becomes_a_message(void **state)
{
    (void)state;
    struct block b;
    assert_int_equal(request(&b, GET "accept|*/*\nx-y|\nte|trailers\n", true), REASON_OK);
    assert_int_equal(b.m.version, 20);
    assert_int_equal(b.m.method, METHOD_GET);
    assert_int_equal(b.m.framing, BODY_NONE);
    assert_str(message_str(&b.m, b.m.method_text), "GET");
    assert_str(message_str(&b.m, b.m.target), "/a?b");
    assert_str(message_str(&b.m, b.m.authority), "example.com");
    assert_str(message_value(&b.m, FIELD_HOST), "example.com");
    assert_true(b.m.flags & MSG_TE_TRAILERS);
    char text[512];
    struct writer w;
    writer_init(&w, text, sizeof text);
    h1_write_fields(&w, &b.m);
    assert_str(str_make(text, w.len), "accept: */*\r\nx-y: \r\n");
    arena_fini(&b.arena);
}

static void framing_follows_length_and_end(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        bool end;
        enum reason why;
        enum body_framing framing;
    } cases[] = {
        {GET, true, REASON_OK, BODY_NONE},
        {GET, false, REASON_OK, BODY_STREAM},
        {GET "content-length|5\n", false, REASON_OK, BODY_LENGTH},
        {GET "content-length|0\n", true, REASON_OK, BODY_LENGTH},
        {GET "content-length|5\n", true, REASON_H2_MALFORMED, 0},
        {GET "content-length|5\ncontent-length|5\n", false, REASON_H2_MALFORMED, 0},
        {GET "content-length|5, 5\n", false, REASON_H2_MALFORMED, 0},
        {GET "content-length|+5\n", false, REASON_H2_MALFORMED, 0},
        {GET "content-length|\n", false, REASON_H2_MALFORMED, 0},
        {GET "content-length|9223372036854775808\n", false, REASON_H2_MALFORMED, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct block b;
        assert_int_equal(request(&b, cases[i].lines, cases[i].end), cases[i].why);
        if (!cases[i].why)
            assert_int_equal(b.m.framing, cases[i].framing);
        arena_fini(&b.arena);
    }
}

static void what_is_malformed_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        enum reason why;
    } cases[] = {
        /* T7 */
        {GET "Accept|x\n", REASON_H2_MALFORMED},
        {GET "a b|x\n", REASON_H2_MALFORMED},
        {GET "a:b|x\n", REASON_H2_MALFORMED},
        {GET "|x\n", REASON_H2_MALFORMED},
        {GET "a\r|x\n", REASON_H2_MALFORMED},
        {GET "a|x\ry\n", REASON_H2_MALFORMED},
        {GET "a| x\n", REASON_H2_MALFORMED},
        {GET "a|x\t\n", REASON_H2_MALFORMED},
        {GET "a|x\x01\n", REASON_H2_MALFORMED},
        {GET "a|x\x7f\n", REASON_H2_MALFORMED},
        {GET "a|x\xff\n", REASON_OK},
        /* T8 */
        {GET ":path|/b\n", REASON_H2_MALFORMED},
        {":method|GET\n:scheme|http\n:authority|a\nx|y\n:path|/\n", REASON_H2_MALFORMED},
        {GET ":status|200\n", REASON_H2_MALFORMED},
        {GET ":x|y\n", REASON_H2_MALFORMED},
        {":method|GET\n:scheme|http\n:authority|a\n", REASON_H2_MALFORMED},
        {":method|GET\n:path|/\n:authority|a\n", REASON_H2_MALFORMED},
        {":scheme|http\n:path|/\n:authority|a\n", REASON_H2_MALFORMED},
        {":method|GET\n:scheme|http\n:path|\n:authority|a\n", REASON_H2_MALFORMED},
        {":method|GET\n:scheme|http\n:path|a\n:authority|a\n", REASON_H2_MALFORMED},
        {":method|GET\n:scheme|http\n:path|/a b\n:authority|a\n", REASON_H2_MALFORMED},
        {":method|GET\n:scheme|http\n:path|/a#b\n:authority|a\n", REASON_H2_MALFORMED},
        {":method|GET\n:scheme|http\n:path|*\n:authority|a\n", REASON_H2_MALFORMED},
        {":method|OPTIONS\n:scheme|http\n:path|*\n:authority|a\n", REASON_OK},
        {":method|GET x\n:scheme|http\n:path|/\n:authority|a\n", REASON_H2_MALFORMED},
        {":method|\n:scheme|http\n:path|/\n:authority|a\n", REASON_H2_MALFORMED},
        {":method|GET\n:scheme|http://x\n:path|/\n:authority|a\n", REASON_H2_MALFORMED},
        {":method|GET\n:scheme|https\n:path|/\n:authority|a\n", REASON_OK},
        /* T9 */
        {GET "connection|x\n", REASON_H2_MALFORMED},
        {GET "transfer-encoding|chunked\n", REASON_H2_MALFORMED},
        {GET "keep-alive|x\n", REASON_H2_MALFORMED},
        {GET "proxy-connection|x\n", REASON_H2_MALFORMED},
        {GET "upgrade|x\n", REASON_H2_MALFORMED},
        {GET "te|gzip\n", REASON_H2_MALFORMED},
        {GET "te|trailers, deflate\n", REASON_H2_MALFORMED},
        /* T11 */
        {GET "host|example.com\n", REASON_OK},
        {GET "host|EXAMPLE.com\n", REASON_OK},
        {GET "host|other\n", REASON_H2_MALFORMED},
        {GET "host|\n", REASON_H2_MALFORMED},
        {":method|GET\n:scheme|http\n:path|/\nhost|a\n", REASON_OK},
        {":method|GET\n:scheme|http\n:path|/\nhost|a\nhost|a\n", REASON_H2_MALFORMED},
        {":method|GET\n:scheme|http\n:path|/\n", REASON_HOST},
        {":method|GET\n:scheme|http\n:path|/\n:authority|u@a\n", REASON_H2_MALFORMED},
        {":method|GET\n:scheme|http\n:path|/\n:authority|a,b\n", REASON_H2_MALFORMED},
        {":method|GET\n:scheme|http\n:path|/\n:authority|\n", REASON_H2_MALFORMED},
        /* T12 */
        {":method|CONNECT\n:authority|a:80\n", REASON_CONNECT_METHOD},
        {":method|CONNECT\n:authority|a:80\n:path|/\n", REASON_H2_MALFORMED},
        {":method|CONNECT\n:authority|a\n:path|/\n:scheme|http\n:protocol|websocket\n", REASON_OK},
        {GET ":protocol|websocket\n", REASON_H2_MALFORMED},
        {GET "expect|100-continue\n", REASON_OK},
        {GET "expect|x\n", REASON_EXPECT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct block b;
        enum reason why = request(&b, cases[i].lines, false);
        if (why != cases[i].why)
            print_error("%s: %s\n", cases[i].lines, reason_id(why));
        assert_int_equal(why, cases[i].why);
        arena_fini(&b.arena);
    }
}

/* RFC 9113 8.2.3: one line for a server that speaks HTTP/1, wherever the crumbs stood. */
static void cookie_crumbs_are_joined(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *cookie;
    } cases[] = {
        {GET "cookie|a=1\n", "a=1"},
        {GET "cookie|a=1\ncookie|b=2\ncookie|c=3\n", "a=1; b=2; c=3"},
        {GET "cookie|a=1\nx|y\ncookie|b=2\nz|w\ncookie|c=3\ncookie|d=4\n", "a=1; b=2; c=3; d=4"},
        {GET "cookie|\ncookie|b=2\n", "b=2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct block b;
        int count = 0;
        assert_int_equal(request(&b, cases[i].lines, true), REASON_OK);
        for (uint16_t f = 0; f < b.m.field_count; f++)
            count += b.fields[f].id == FIELD_COOKIE;
        assert_int_equal(count, 1);
        assert_true(str_eq(message_value(&b.m, FIELD_COOKIE), str_of(cases[i].cookie)));
        arena_fini(&b.arena);
    }
}

static void count_fields(struct block *b, unsigned count, const char *name)
{
    feed(b, H2_HEAD_REQUEST, GET);
    for (unsigned i = 0; i < count; i++)
        h2_head_field(&b->head, str_of(name), STR("v"));
}

/* T4: fields are counted as they are decoded, crumbs too; :authority is one of them, as Host would be. */
static void limits_hold_at_below_and_above(void **state)
{
    (void)state;
    static const char *const names[] = {"x", "cookie"};
    for (size_t i = 0; i < 2; i++) {
        struct block b;
        count_fields(&b, limits.fields - 1u, names[i]);
        assert_int_equal(h2_head_request_done(&b.head, true), REASON_OK);
        arena_fini(&b.arena);
        count_fields(&b, limits.fields, names[i]);
        assert_int_equal(h2_head_request_done(&b.head, true), REASON_HEAD_LIMIT);
        arena_fini(&b.arena);
    }
    struct block b;
    char path[300];
    for (size_t n = limits.path_bytes - 1; n <= limits.path_bytes + 1; n++) {
        memset(path, 'a', sizeof path);
        path[0] = '/';
        feed(&b, H2_HEAD_REQUEST, ":method|GET\n:scheme|http\n:authority|a\n");
        h2_head_field(&b.head, STR(":path"), str_make(path, n));
        assert_int_equal(h2_head_request_done(&b.head, true),
                         n > limits.path_bytes ? REASON_URI_LIMIT : REASON_OK);
        arena_fini(&b.arena);
    }
}

static void bytes_are_limited_with_overhead(void **state)
{
    (void)state;
    struct block b;
    char value[4096];
    memset(value, 'v', sizeof value);
    for (int more = -1; more <= 1; more++) {
        feed(&b, H2_HEAD_REQUEST, GET);
        size_t left = limits.bytes - b.head.bytes - H2_FIELD_OVERHEAD - 1;
        h2_head_field(&b.head, STR("x"), str_make(value, left + (size_t)more));
        assert_int_equal(h2_head_request_done(&b.head, true), more > 0 ? REASON_HEAD_LIMIT : REASON_OK);
        arena_fini(&b.arena);
    }
}

static void a_bomb_is_known_as_one(void **state)
{
    (void)state;
    struct block b;
    size_t before = 0;
    feed(&b, H2_HEAD_REQUEST, GET);
    for (unsigned i = 0; i < 4u * limits.fields + 4; i++) {
        assert_false(h2_head_is_bomb(&b.head) && i < 3u * limits.fields);
        h2_head_field(&b.head, STR("x"), STR("v"));
        if (i == 30)
            before = b.arena.used_bytes;
    }
    assert_true(h2_head_is_bomb(&b.head));
    assert_int_equal(b.arena.used_bytes, before); /* nothing was kept beyond the limit */
    arena_fini(&b.arena);
}

/* However it came, a head holds what it is long: no former copies, and room for few fields only while it has
 * few. */
static void a_head_holds_no_more_than_it_is_long(void **state)
{
    (void)state;
    static const struct h2_head_limits wide = {.bytes = 40000, .path_bytes = 256, .fields = 100};
    struct block b;
    char value[901];
    memset(value, 'v', sizeof value);
    for (int count = 0; count <= 35; count += 5) {
        arena_init(&b.arena, b.first, sizeof b.first, 1 << 20);
        message_init(&b.m, b.fields, 4);
        h2_head_init(&b.head, H2_HEAD_REQUEST, &b.m, &b.arena, &wide);
        h2_head_field(&b.head, STR(":method"), STR("GET"));
        h2_head_field(&b.head, STR(":scheme"), STR("http"));
        h2_head_field(&b.head, STR(":path"), STR("/"));
        h2_head_field(&b.head, STR(":authority"), STR("a"));
        for (int i = 0; i < count; i++)
            h2_head_field(&b.head, STR("x"), str_make(value, sizeof value));
        assert_int_equal(h2_head_request_done(&b.head, true), REASON_OK);
        assert_int_equal(b.m.field_count, count + 1);
        for (int i = 0; i < count; i++) {
            struct str v = field_value_of(&b.m, &b.m.fields[1 + i]);
            assert_int_equal(v.n, sizeof value);
            assert_memory_equal(v.p, value, v.n);
        }
        size_t fields = count > 5 ? ARENA_BLOCK_BYTES : 0; /* a block for the array */
        assert_true(b.arena.used_bytes <= fields + b.m.head_len + 256);
        if (!count)
            assert_int_equal(b.arena.used_bytes, 0);
        arena_fini(&b.arena);
    }
}

static void more_fields_than_fit_at_first_are_kept_up_to_the_limit(void **state)
{
    (void)state;
    struct block b;
    char name[16];
    for (int over = 0; over <= 1; over++) {
        arena_init(&b.arena, b.first, sizeof b.first, 1 << 20);
        message_init(&b.m, b.fields, 3);
        h2_head_init(&b.head, H2_HEAD_TRAILERS, &b.m, &b.arena, &limits);
        for (int i = 0; i < limits.fields + over; i++) {
            snprintf(name, sizeof name, "x-%d", i);
            h2_head_field(&b.head, str_of(name), STR("v"));
        }
        assert_int_equal(h2_head_trailers_done(&b.head), over ? REASON_HEAD_LIMIT : REASON_OK);
        assert_int_equal(b.m.field_count, limits.fields);
        for (int i = 0; i < limits.fields; i++) {
            snprintf(name, sizeof name, "x-%d", i);
            assert_true(str_eq(field_name_of(&b.m, &b.m.fields[i]), str_of(name)));
        }
        arena_fini(&b.arena);
    }
}

static void answers_have_their_own_rules(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        enum http_method method;
        bool end;
        enum reason why;
        enum body_framing framing;
        uint64_t length;
    } cases[] = {
        {":status|200\n", METHOD_GET, false, REASON_OK, BODY_STREAM, 0},
        {":status|200\ncontent-length|7\n", METHOD_GET, false, REASON_OK, BODY_LENGTH, 7},
        {":status|200\ncontent-length|7\n", METHOD_HEAD, true, REASON_OK, BODY_NONE, 7},
        {":status|304\ncontent-length|7\n", METHOD_GET, true, REASON_OK, BODY_NONE, 7},
        {":status|204\n", METHOD_GET, true, REASON_OK, BODY_NONE, 0},
        {":status|103\n", METHOD_GET, false, REASON_OK, BODY_NONE, 0},
        {":status|103\n", METHOD_GET, true, REASON_SERVER_HEAD, 0, 0},
        {":status|101\n", METHOD_GET, false, REASON_SERVER_HEAD, 0, 0},
        {":status|200\ncontent-length|7\n", METHOD_GET, true, REASON_SERVER_HEAD, 0, 0},
        {"x|y\n", METHOD_GET, false, REASON_SERVER_HEAD, 0, 0},
        {":status|20\n", METHOD_GET, false, REASON_SERVER_HEAD, 0, 0},
        {":status|200\nconnection|x\n", METHOD_GET, false, REASON_SERVER_HEAD, 0, 0},
        {":status|200\n:path|/\n", METHOD_GET, false, REASON_SERVER_HEAD, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct block b;
        feed(&b, H2_HEAD_RESPONSE, cases[i].lines);
        assert_int_equal(h2_head_response_done(&b.head, cases[i].method, cases[i].end), cases[i].why);
        if (!cases[i].why) {
            assert_int_equal(b.m.framing, cases[i].framing);
            assert_int_equal(b.m.content_length, cases[i].length);
        }
        arena_fini(&b.arena);
    }
}

static void trailers_hold_no_pseudo_fields(void **state)
{
    (void)state;
    struct block b;
    feed(&b, H2_HEAD_TRAILERS, "grpc-status|0\nx|y\n");
    assert_int_equal(h2_head_trailers_done(&b.head), REASON_OK);
    assert_int_equal(b.m.field_count, 2);
    arena_fini(&b.arena);
    feed(&b, H2_HEAD_TRAILERS, ":path|/\n");
    assert_int_equal(h2_head_trailers_done(&b.head), REASON_H2_MALFORMED);
    arena_fini(&b.arena);
    h2_head_init(&b.head, H2_HEAD_TRAILERS, NULL, NULL, &limits); /* nobody waits for them */
    h2_head_field(&b.head, STR("x"), STR("y"));
    assert_int_equal(h2_head_trailers_done(&b.head), REASON_OK);
}

static bool has(const struct h2_nv *nv, uint32_t i, const char *name, const char *value)
{
    return nv->v[i].namelen == strlen(name) && memcmp(nv->v[i].name, name, nv->v[i].namelen) == 0 &&
           nv->v[i].valuelen == strlen(value) && memcmp(nv->v[i].value, value, nv->v[i].valuelen) == 0;
}

/* The way out: lower case, nothing of one connection, no white space at the ends. */
static void fields_go_out_clean(void **state)
{
    (void)state;
    static struct h2_nv nv;
    struct head h;
    head_whole(&h, METHOD_GET,
               STR("HTTP/1.1 200 OK\r\nX-Abc:  v w \r\nConnection: close\r\nKeep-Alive: x\r\n"
                   "Content-Length: 3\r\nSet-Cookie: a=b\r\nEmpty:\r\n\r\n"),
               &test_limits);
    assert_true(h.got > 0);
    h2_nv_init(&nv);
    h2_nv_fields(&nv, &h.m);
    h2_nv_lines(&nv, STR("Via: 1.1 x\r\nX-Real-IP: 1.2.3.4\r\n"));
    assert_int_equal(nv.count, 5);
    assert_true(has(&nv, 0, "x-abc", "v w"));
    assert_true(has(&nv, 1, "set-cookie", "a=b"));
    assert_true(nv.v[1].flags & NGHTTP2_NV_FLAG_NO_INDEX);
    assert_true(has(&nv, 2, "empty", ""));
    assert_true(has(&nv, 3, "via", "1.1 x"));
    assert_true(has(&nv, 4, "x-real-ip", "1.2.3.4"));
    h2_nv_field(&nv, STR("x"), STR("a\r\nb: c")); /* H36 */
    assert_true(nv.overflow);
    head_free(&h);
}

/* Capitals become small letters wherever they stand, and nothing else changes. */
static void names_of_any_length_are_lowered(void **state)
{
    (void)state;
    static struct h2_nv nv;
    static const char others[] = "!#$%&'*+-.^_`|~09azAZ";
    char name[40], want[40], text[100];
    for (size_t n = 1; n < sizeof name; n++)
        for (size_t i = 0; i < n * (sizeof others - 1); i++) {
            memset(name, i % 2 ? 'X' : 'x', n);
            name[i % n] = others[i / n];
            for (size_t k = 0; k < n; k++)
                want[k] = char_lower(name[k]);
            name[n] = want[n] = 0;
            h2_nv_init(&nv);
            h2_nv_field(&nv, str_of(name), STR("v"));
            snprintf(text, sizeof text, "%s: \tv \r\n%s:v", name, name);
            h2_nv_lines(&nv, str_of(text));
            assert_false(nv.overflow);
            for (uint32_t k = 0; k < 3; k++)
                assert_true(has(&nv, k, want, "v"));
            assert_int_equal(nv.count, 3);
        }
}

/* The length of a name is kept in 16 bits: one that is longer must not become another name. */
static void a_name_that_cannot_be_kept_whole_is_malformed(void **state)
{
    (void)state;
    static const struct h2_head_limits wide = {.bytes = 256 << 10, .path_bytes = 256, .fields = 20};
    static const struct str codings = STR("transfer-encoding");
    for (size_t n = UINT16_MAX; n <= UINT16_MAX + 1u + codings.n; n += 1 + codings.n) {
        struct block b;
        char *name = malloc(n);
        assert_non_null(name);
        memset(name, 'a', n);
        memcpy(name, codings.p, codings.n);
        feed(&b, H2_HEAD_REQUEST, GET);
        b.head.limits = wide;
        h2_head_field(&b.head, str_make(name, n), STR("chunked"));
        assert_int_equal(h2_head_request_done(&b.head, true),
                         n > UINT16_MAX ? REASON_H2_MALFORMED : REASON_OK);
        free(name);
        arena_fini(&b.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_becomes_a_message),
        cmocka_unit_test(framing_follows_length_and_end),
        cmocka_unit_test(what_is_malformed_is_refused),
        cmocka_unit_test(cookie_crumbs_are_joined),
        cmocka_unit_test(limits_hold_at_below_and_above),
        cmocka_unit_test(bytes_are_limited_with_overhead),
        cmocka_unit_test(a_bomb_is_known_as_one),
        cmocka_unit_test(a_head_holds_no_more_than_it_is_long),
        cmocka_unit_test(more_fields_than_fit_at_first_are_kept_up_to_the_limit),
        cmocka_unit_test(answers_have_their_own_rules),
        cmocka_unit_test(trailers_hold_no_pseudo_fields),
        cmocka_unit_test(fields_go_out_clean),
        cmocka_unit_test(names_of_any_length_are_lowered),
        cmocka_unit_test(a_name_that_cannot_be_kept_whole_is_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
