/* proxyproto: every rule of the specification at its limit, from both sides. P1 to P3 of the hostile input.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "net/proxyproto.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define MAX       4096

static int parse(struct str s, struct proxyproto *h)
{
    const char *why;
    int n = proxyproto_parse(s.p, s.n, MAX, h, &why);
    assert_true((n < 0) == (*why != 0) || n == 0);
    return n;
}

static void check_addresses(const struct proxyproto *h, const char *from, const char *to)
{
    char text[ADDR_TEXT_BYTES];
    assert_false(h->is_local);
    addr_print(&h->from, text);
    assert_string_equal(text, from);
    addr_print(&h->to, text);
    assert_string_equal(text, to);
}

/* ---- version 1 ---- */

static void test_v1_good(void **state)
{
    (void)state;
    struct proxyproto h;
    assert_int_equal(parse(STR("PROXY TCP4 192.0.2.1 198.51.100.7 51324 443\r\nGET /"), &h), 45);
    check_addresses(&h, "192.0.2.1:51324", "198.51.100.7:443");
    assert_int_equal(parse(STR("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"), &h), 44);
    check_addresses(&h, "0.0.0.0:0", "255.255.255.255:65535");
    assert_int_equal(parse(STR("PROXY TCP6 2001:db8::1 ::1 1 2\r\n"), &h), 32);
    check_addresses(&h, "[2001:db8::1]:1", "[::1]:2");
    assert_int_equal(parse(STR("PROXY UNKNOWN\r\n"), &h), 15);
    assert_true(h.is_local);
    assert_int_equal(parse(STR("PROXY UNKNOWN ffff:f...f:ffff anything 65535 65535\r\nx"), &h), 52);
    assert_true(h.is_local);
    /* The longest line there can be: 107 bytes. */
    static const char longest[] = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                                  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    assert_int_equal(sizeof longest - 1, PROXYPROTO_V1_MAX);
    assert_int_equal(parse(STR(longest), &h), PROXYPROTO_V1_MAX);
}

static void test_v1_malformed(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "GET / HTTP/1.1\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n",
        "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1  2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 -1\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 +1\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 01\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 0x1\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 99999999999\r\n",
        "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n",
        "PROXY TCP4 01.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4 ::1 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4:80 5.6.7.8 1 2\r\n",
        "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP6 ::1 5.6.7.8 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY TCP6 ::1%lo ::1 1 2\r\n",
        "PROXY TCP6 :::1 ::1 1 2\r\n",
        "PROXY TCP4 1.2.3.4\t5.6.7.8 1 2\r\n",
        "PROXY UNKNOWN \x01\r\n",
        "PROXY UNKNOWN\xff\r\n",
        " PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "\r\nPROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    };
    struct proxyproto h;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (parse(str_of(lines[i]), &h) != -1)
            fail_msg("taken: %s", lines[i]);
    char line[PROXYPROTO_V1_MAX + 2];
    memset(line, 'x', sizeof line);
    memcpy(line, "PROXY UNKNOWN ", 14);
    assert_int_equal(parse(str_make(line, PROXYPROTO_V1_MAX - 1), &h), 0);
    assert_int_equal(parse(str_make(line, PROXYPROTO_V1_MAX), &h), -1); /* without waiting for a line end */
    memcpy(line + PROXYPROTO_V1_MAX - 1, "\r\n", 2);
    assert_int_equal(parse(str_make(line, PROXYPROTO_V1_MAX + 1), &h), -1);
}

/* ---- version 2 ---- */

struct v2 {
    char p[8192];
    size_t n;
};

static void put(struct v2 *v, const void *p, size_t n)
{
    memcpy(v->p + v->n, p, n);
    v->n += n;
}

/* Head and addresses; the length says what is there when `finish` is called. */
static void begin(struct v2 *v, int ver_cmd, int family)
{
    const char two[4] = {(char)ver_cmd, (char)family, 0, 0};
    v->n = 0;
    put(v, SIGNATURE, 12);
    put(v, two, 4);
}

static void begin_tcp4(struct v2 *v)
{
    begin(v, 0x21, 0x11);
    put(v, "\xc0\x00\x02\x01\xc6\x33\x64\x07\xc8\x7c\x01\xbb", 12);
}

static void tlv(struct v2 *v, int type, struct str value)
{
    const char head[3] = {(char)type, (char)(value.n >> 8), (char)value.n};
    put(v, head, 3);
    put(v, value.p, value.n);
}

static struct str finish(struct v2 *v)
{
    v->p[14] = (char)((v->n - 16) >> 8);
    v->p[15] = (char)(v->n - 16);
    return str_make(v->p, v->n);
}

static void put_crc(struct v2 *v)
{
    tlv(v, 3, str_make("\0\0\0\0", 4));
    size_t at = v->n - 4;
    finish(v);
    uint32_t crc = proxyproto_crc32c(0, v->p, v->n);
    for (int i = 0; i < 4; i++)
        v->p[at + (size_t)i] = (char)(crc >> (24 - 8 * i));
}

static void test_v2_families(void **state)
{
    (void)state;
    struct proxyproto h;
    struct v2 v;
    begin_tcp4(&v);
    assert_int_equal(parse(finish(&v), &h), 28);
    check_addresses(&h, "192.0.2.1:51324", "198.51.100.7:443");
    begin(&v, 0x21, 0x21);
    put(&v, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
    put(&v, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
    put(&v, "\0\x01\xff\xff", 4);
    assert_int_equal(parse(finish(&v), &h), 52);
    check_addresses(&h, "[2001:db8::1]:1", "[::1]:65535");
    char paths[216];
    memset(paths, 'a', sizeof paths); /* not even a NUL behind them */
    begin(&v, 0x21, 0x31);
    put(&v, paths, sizeof paths);
    assert_int_equal(parse(finish(&v), &h), 232);
    assert_int_equal(h.from.sa.sa_family, AF_UNIX);
    assert_int_equal(h.to.sa.sa_family, AF_UNIX);
    assert_true(h.from.len <= sizeof h.from.un && h.from.un.sun_path[sizeof h.from.un.sun_path - 1] == 0);
}

static void test_v2_local(void **state)
{
    (void)state;
    struct proxyproto h;
    struct v2 v;
    begin(&v, 0x20, 0x00);
    assert_int_equal(parse(finish(&v), &h), 16);
    assert_true(h.is_local);
    begin(&v, 0x20, 0x77); /* "the family … is ignored", and so is what follows */
    put(&v, "\x20\xff\xff", 3);
    assert_int_equal(parse(finish(&v), &h), 19);
    assert_true(h.is_local);
    begin(&v, 0x21, 0x00);
    put(&v, "anything", 8);
    assert_int_equal(parse(finish(&v), &h), 24);
    assert_true(h.is_local);
}

static void test_v2_malformed_heads(void **state)
{
    (void)state;
    static const int heads[][2] = {{0x11, 0x11}, {0x31, 0x11}, {0x01, 0x11}, {0x22, 0x11}, {0x2f, 0x11},
                                   {0x21, 0x01}, {0x21, 0x10}, {0x21, 0x12}, {0x21, 0x13}, {0x21, 0x22},
                                   {0x21, 0x32}, {0x21, 0x41}, {0x21, 0xff}};
    struct proxyproto h;
    struct v2 v;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        begin(&v, heads[i][0], heads[i][1]);
        put(&v, "\xc0\x00\x02\x01\xc6\x33\x64\x07\xc8\x7c\x01\xbb", 12);
        if (parse(finish(&v), &h) != -1)
            fail_msg("taken: %x %x", heads[i][0], heads[i][1]);
        assert_int_equal(parse(str_make(v.p, 14), &h), -1); /* and at once, too */
    }
    /* Addresses that do not fit in. */
    static const struct {
        int family;
        size_t bytes;
    } short_ones[] = {{0x11, 11}, {0x11, 0}, {0x21, 35}, {0x31, 215}};
    for (size_t i = 0; i < sizeof short_ones / sizeof *short_ones; i++) {
        char zero[256] = {0};
        begin(&v, 0x21, short_ones[i].family);
        put(&v, zero, short_ones[i].bytes);
        assert_int_equal(parse(finish(&v), &h), -1);
    }
    for (size_t i = 0; i < 12; i++) { /* a signature with one wrong byte */
        begin_tcp4(&v);
        finish(&v);
        v.p[i] ^= 1;
        assert_int_equal(parse(str_make(v.p, v.n), &h), -1);
    }
}

/* Bytes arrive one by one: never an early verdict, never one more byte needed. */
static void test_in_pieces(void **state)
{
    (void)state;
    struct proxyproto h;
    struct v2 v;
    begin_tcp4(&v);
    tlv(&v, 5, STR("an-id"));
    struct str texts[] = {finish(&v), STR("PROXY TCP4 192.0.2.1 198.51.100.7 51324 443\r\n"),
                          STR("PROXY UNKNOWN\r\n")};
    for (size_t i = 0; i < 3; i++) {
        for (size_t n = 0; n < texts[i].n; n++)
            assert_int_equal(parse(str_make(texts[i].p, n), &h), 0);
        assert_int_equal(parse(texts[i], &h), (int)texts[i].n);
    }
}

static void test_v2_size_limit(void **state)
{
    (void)state;
    struct proxyproto h;
    const char *why;
    struct v2 v;
    char filler[MAX] = {0};
    begin_tcp4(&v);
    tlv(&v, 4, str_make(filler, MAX - 28 - 3)); /* NOOP */
    assert_int_equal(v.n, MAX);
    assert_int_equal(parse(finish(&v), &h), MAX);
    assert_int_equal(proxyproto_parse(v.p, v.n, MAX - 1, &h, &why), -1);
    assert_int_equal(proxyproto_parse(v.p, 16, MAX - 1, &h, &why), -1); /* before its bytes are waited for */
    begin(&v, 0x20, 0);
    v.p[14] = v.p[15] = (char)0xff; /* LOCAL has the same limit */
    assert_int_equal(parse(str_make(v.p, 16), &h), -1);
}

static void test_v2_tlvs(void **state)
{
    (void)state;
    struct proxyproto h;
    struct v2 v;
    begin_tcp4(&v);
    tlv(&v, 1, STR("h2"));
    tlv(&v, 2, STR("shop.example.com"));
    tlv(&v, 0xe0, STR("custom \x01\x02"));
    tlv(&v, 0x30, STR("netns"));
    tlv(&v, 4, STR(""));
    tlv(&v, 5, STR("4f7a-1"));
    tlv(&v, 0x20, STR("\x07\0\0\0\0\x21\0\x07TLSv1.3\x23\0\x02XY\x22\0\x05J Doe\x24\0\x01z"));
    put_crc(&v);
    assert_int_equal(parse(finish(&v), &h), (int)v.n);
    assert_true(str_eq(h.alpn, STR("h2")) && str_eq(h.authority, STR("shop.example.com")));
    assert_true(str_eq(h.unique_id, STR("4f7a-1")));
    assert_true(h.has_tls && h.tls_client == 7 && h.tls_verify == 0);
    assert_true(str_eq(h.tls_version, STR("TLSv1.3")) && str_eq(h.tls_cipher, STR("XY")));
    assert_true(str_eq(h.tls_name, STR("J Doe")));
}

static void test_v2_malformed_tlvs(void **state)
{
    (void)state;
    static const struct str tails[] = {
        {"\x05", 1},
        {"\x05\0", 2},
        {"\x05\0\x01", 3},    /* says one byte, has none */
        {"\x05\0\x02x", 4},   /* one short */
        {"\x05\xff\xffx", 4}, /* far beyond */
        {"\x05\0\0", 3},      /* an empty id */
        {"\x05\0\x01 ", 4},   /* a blank in it */
        {"\x05\0\x03"
         "a\nb",
         6}, /* a line end in it */
        {"\x02\0\x03"
         "a\0b",
         6}, /* a NUL in the authority */
        {"\x05\0\x01"
         "a\x05\0\x01"
         "a",
         8},                                      /* twice */
        {"\x20\0\x04\x01\0\0\0", 7},              /* an SSL TLV below its fixed part */
        {"\x20\0\x08\x01\0\0\0\0\x21\0\x01", 11}, /* a sub-TLV that leaves it */
        {"\x20\0\x06\x01\0\0\0\0\x21", 9},
        {"\x20\0\x0b\x01\0\0\0\0\x22\0\x03"
         "a\0b",
         14}, /* P5: a NUL in the certificate's name */
        {"\x20\0\x05\x01\0\0\0\0\x20\0\x05\x01\0\0\0\0", 16},
        {"\x03\0\x03\0\0\0", 6},
        {"\x03\0\x05\0\0\0\0\0", 8},
        {"\x03\0\x04\0\0\0\0", 7}, /* a wrong sum */
    };
    struct proxyproto h;
    struct v2 v;
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        begin_tcp4(&v);
        put(&v, tails[i].p, tails[i].n);
        if (parse(finish(&v), &h) != -1)
            fail_msg("tail %zu was taken", i);
    }
    char id[PROXYPROTO_UNIQUE_ID_MAX + 1];
    memset(id, 'i', sizeof id);
    begin_tcp4(&v);
    tlv(&v, 5, str_make(id, sizeof id - 1));
    assert_true(parse(finish(&v), &h) > 0);
    begin_tcp4(&v);
    tlv(&v, 5, str_make(id, sizeof id));
    assert_int_equal(parse(finish(&v), &h), -1);
}

static void test_crc(void **state)
{
    (void)state;
    struct proxyproto h;
    struct v2 v;
    /* RFC 3720 B.4. */
    char zero[32] = {0};
    assert_int_equal(proxyproto_crc32c(0, zero, 32), 0x8a9136aa);
    assert_int_equal(proxyproto_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(proxyproto_crc32c(proxyproto_crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
    begin_tcp4(&v);
    tlv(&v, 5, STR("before"));
    put_crc(&v);
    assert_true(parse(finish(&v), &h) > 0);
    for (size_t i = 16; i < v.n; i++) { /* any changed bit is noticed, but one that makes it another TLV */
        if (i == v.n - 7)
            continue;
        v.p[i] ^= 0x40;
        assert_int_equal(parse(str_make(v.p, v.n), &h), -1);
        v.p[i] ^= 0x40;
    }
    put_crc(&v); /* a second one */
    assert_int_equal(parse(finish(&v), &h), -1);
}

/* ---- writing ---- */

static struct str written(const struct proxyproto *h, int version)
{
    static char to[PROXYPROTO_WRITE_MAX];
    size_t n = proxyproto_write(h, version, to, sizeof to);
    assert_true(n > 0);
    for (size_t cap = 0; cap < n; cap++) { /* too little room is said, and nothing is written beyond it */
        char small[PROXYPROTO_WRITE_MAX + 1];
        memset(small, '#', sizeof small);
        assert_int_equal(proxyproto_write(h, version, small, cap), 0);
        assert_int_equal(small[cap], '#');
    }
    return str_make(to, n);
}

static void make(struct proxyproto *h, const char *from, const char *to)
{
    *h = (struct proxyproto){0};
    assert_true(addr_parse(str_of(from), &h->from) && addr_parse(str_of(to), &h->to));
}

static void check_text(struct str got, const char *want)
{
    if (!str_eq(got, str_of(want)))
        fail_msg("got %.*s", STR_ARG(got));
}

static void test_write_v1(void **state)
{
    (void)state;
    struct proxyproto h;
    make(&h, "192.0.2.1:51324", "198.51.100.7:443");
    check_text(written(&h, 1), "PROXY TCP4 192.0.2.1 198.51.100.7 51324 443\r\n");
    make(&h, "[2001:db8::1]:1", "[::1]:65535");
    check_text(written(&h, 1), "PROXY TCP6 2001:db8::1 ::1 1 65535\r\n");
    make(&h, "[::ffff:192.0.2.1]:7", "198.51.100.7:0");
    check_text(written(&h, 1), "PROXY TCP4 192.0.2.1 198.51.100.7 7 0\r\n");
    make(&h, "192.0.2.1:7", "[::1]:8");
    check_text(written(&h, 1), "PROXY TCP6 ::ffff:192.0.2.1 ::1 7 8\r\n");
    make(&h, "unix:/run/a", "unix:/run/b");
    check_text(written(&h, 1), "PROXY UNKNOWN\r\n");
    h = (struct proxyproto){.is_local = true};
    check_text(written(&h, 1), "PROXY UNKNOWN\r\n");
}

static void test_write_v2(void **state)
{
    (void)state;
    struct proxyproto h;
    struct v2 v;
    make(&h, "192.0.2.1:51324", "198.51.100.7:443");
    begin_tcp4(&v);
    assert_true(str_eq(written(&h, 2), finish(&v)));
    h = (struct proxyproto){.is_local = true, .unique_id = STR("no")};
    assert_true(str_eq(written(&h, 2), str_make(SIGNATURE "\x20\0\0\0", 16)));
    make(&h, "unix:/run/a", "unix:/run/b");
    assert_true(str_eq(written(&h, 2), str_make(SIGNATURE "\x21\0\0\0", 16)));
}

/* P3: what is written is read back as it was, at the longest too. */
static void test_round_trip(void **state)
{
    (void)state;
    static char name[PROXYPROTO_NAME_MAX + 1];
    struct proxyproto h, again;
    memset(name, 'n', sizeof name);
    struct str longest = str_make(name, PROXYPROTO_NAME_MAX);
    make(&h, "[2001:db8::1]:1", "[2001:db8::2]:2");
    h.alpn = h.authority = h.tls_version = h.tls_cipher = h.tls_name = longest;
    h.unique_id = str_make(name, PROXYPROTO_UNIQUE_ID_MAX);
    h.has_tls = true;
    h.tls_client = PROXYPROTO_TLS | PROXYPROTO_TLS_CERT;
    h.tls_verify = 0x01020304;
    struct str text = written(&h, 2);
    assert_int_equal(parse(text, &again), (int)text.n);
    assert_true(addr_eq(&h.from, &again.from) && addr_eq(&h.to, &again.to));
    assert_true(str_eq(h.alpn, again.alpn) && str_eq(h.authority, again.authority));
    assert_true(str_eq(h.unique_id, again.unique_id) && str_eq(h.tls_name, again.tls_name));
    assert_true(str_eq(h.tls_version, again.tls_version) && str_eq(h.tls_cipher, again.tls_cipher));
    assert_true(again.has_tls && again.tls_client == h.tls_client && again.tls_verify == h.tls_verify);
    h.authority = str_make(name, PROXYPROTO_NAME_MAX + 1);
    static char to[2 * PROXYPROTO_WRITE_MAX];
    assert_int_equal(proxyproto_write(&h, 2, to, sizeof to), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v1_good),
        cmocka_unit_test(test_v1_malformed),
        cmocka_unit_test(test_v2_families),
        cmocka_unit_test(test_v2_local),
        cmocka_unit_test(test_v2_malformed_heads),
        cmocka_unit_test(test_in_pieces),
        cmocka_unit_test(test_v2_size_limit),
        cmocka_unit_test(test_v2_tlvs),
        cmocka_unit_test(test_v2_malformed_tlvs),
        cmocka_unit_test(test_crc),
        cmocka_unit_test(test_write_v1),
        cmocka_unit_test(test_write_v2),
        cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
