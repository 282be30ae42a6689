/* Lines of the access log, byte for byte; what a client sends can neither break a line nor make it too long.
 */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proxy/access_format.h"
#include "proxy/proxy.h"

#define NOW_NS 5000000000ull
#define WALL_S 1795364602ull /* 22 November 2026, 16:23:22 UTC */

struct desk {
    struct pworker pw;
    struct session session;
    struct listener_settings listener;
    struct exchange x;
    struct cluster cluster;
    struct endpoint endpoint;
    struct field fields[8];
    char head[8192];
    char line[LOG_LINE_BYTES + 1];
};

static int set_up(void **state)
{
    struct desk *d = aligned_alloc(64, (sizeof *d + 63) / 64 * 64);
    assert_non_null(d);
    memset(d, 0, sizeof *d);
    d->pw.w.index = 3;
    d->pw.w.now_ns = NOW_NS;
    d->pw.w.wall_offset_ns = (int64_t)(WALL_S * NS_PER_S + 7 * NS_PER_MS - NOW_NS);
    d->listener.name = (char *)(uintptr_t) "web";
    d->session.listener = &d->listener;
    d->session.family = AF_INET;
    d->session.port = 4711;
    memcpy(d->session.ip, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1", 16);
    d->x.pw = &d->pw;
    d->x.session = &d->session;
    d->x.start_ns = 1000;
    message_init(&d->x.req, d->fields, 8);
    *state = d;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static struct span append(struct desk *d, struct str text)
{
    struct message *m = &d->x.req;
    struct span at = {m->head_len, (uint32_t)text.n};
    assert_true(m->head_len + text.n <= sizeof d->head);
    memcpy(d->head + m->head_len, text.p, text.n);
    m->base = d->head;
    m->head_len += (uint32_t)text.n;
    return at;
}

static void add_field(struct desk *d, const char *name, struct str value)
{
    struct message *m = &d->x.req;
    struct field *f = &m->fields[m->field_count++];
    f->name = append(d, str_of(name)).off;
    f->name_len = (uint16_t)strlen(name);
    f->id = (uint8_t)field_lookup(str_of(name));
    f->value = append(d, value).off;
    f->value_len = (uint32_t)value.n;
    m->present |= 1ull << f->id;
}

/* A request that was served. */
static void fill(struct desk *d)
{
    struct exchange *x = &d->x;
    x->req.version = 11;
    x->req.method_text = append(d, STR("GET"));
    x->req.target = append(d, STR("/a//b?c=\"d\""));
    x->req.path = append(d, STR("/a/b"));
    x->req.query = append(d, STR("c=\"d\""));
    x->req.authority = append(d, STR("shop.test"));
    add_field(d, "User-Agent", STR("curl\\1\xe4\n"));
    add_field(d, "X-My-Field", STR("mine"));
    d->cluster.id = STR("php");
    d->endpoint.texts = "10.0.0.1:80";
    d->endpoint.text_bytes[TEXT_ID] = 11;
    x->cluster = &d->cluster;
    x->endpoint = &d->endpoint;
    x->client_ip = STR("192.0.2.7");
    x->request_id = STR("id1");
    x->status = 200;
    x->attempts = 2;
    x->tx_bytes = 13;
    x->rx_bytes = 4;
    x->route_ns = 2000;
    x->pick_ns = 12000;
    x->connect_ns = 15000;
    x->first_byte_ns = 32000;
}

static const char *line_of(struct desk *d, const char *format, bool json)
{
    struct log_format *f;
    struct buf message;
    buf_init(&message);
    assert_true(log_format_create(format, json, &f, &message));
    size_t n = access_format_line(&d->x, f, d->line);
    assert_in_range(n, 1, LOG_LINE_BYTES);
    assert_ptr_equal(memchr(d->line, '\n', n), d->line + n - 1);
    d->line[n] = '\0';
    buf_fini(&message);
    log_format_destroy(&f);
    return d->line;
}

static void test_combined(void **state)
{
    struct desk *d = *state;
    fill(d);
    assert_string_equal(
        line_of(d, "combined", false),
        "192.0.2.7 - - [22/Nov/2026:16:23:22 +0000] \"GET /a//b?c=\\x22d\\x22 HTTP/1.1\" 200 13 "
        "\"-\" \"curl\\x5c1\\xe4\\x0a\"\n");
}

static void test_json(void **state)
{
    struct desk *d = *state;
    fill(d);
    assert_string_equal(
        line_of(d, "json", false),
        "{\"time\":\"2026-11-22T16:23:22.007Z\",\"client_ip\":\"192.0.2.7\",\"client_port\":4711,\"user\":"
        "\"\","
        "\"listener\":\"web\","
        "\"scheme\":\"http\",\"method\":\"GET\",\"host\":\"shop.test\",\"target\":\"/a//b?c=\\\"d\\\"\","
        "\"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes_sent\":13,\"bytes_received\":4,\"referer\":\"\","
        "\"user_agent\":\"curl\\\\1\\u00e4\\u000a\",\"cluster\":\"php\",\"endpoint\":\"10.0.0.1:80\","
        "\"attempts\":2,"
        "\"reason\":\"-\",\"hold_us\":10,\"connect_us\":3,\"first_byte_us\":20,\"server_us\":null,\"total_"
        "us\":4999999,"
        "\"start_ns\":1000,\"request_id\":\"id1\"}\n");
}

static void test_own(void **state)
{
    struct desk *d = *state;
    fill(d);
    d->x.reason = REASON_SERVER_BODY;
    d->x.req.version = 20;
    assert_string_equal(
        line_of(d, "${path}?$query $header_x_my_field $header_none $protocol $worker $reason $time_ms",
                false),
        "/a/b?c=\\x22d\\x22 mine - HTTP/2.0 3 server_body 1795364602007\n");
    assert_string_equal(line_of(d, "[\"$header_x_my_field\",\"$header_none\",$server_us]", true),
                        "[\"mine\",\"\",null]\n");
}

/* Refused before there was a head, or anybody knew the client. */
static void test_nothing_known(void **state)
{
    struct desk *d = *state;
    d->x.status = 400;
    d->x.reason = REASON_REQUEST_LINE;
    assert_string_equal(line_of(d, "combined", false),
                        "127.0.0.1 - - [22/Nov/2026:16:23:22 +0000] \"-\" 400 0 \"-\" \"-\"\n");
    assert_string_equal(line_of(d, "$client_ip $cluster $endpoint $hold_us $request_id $reason", false),
                        "127.0.0.1 - - - - request_line\n");
    d->session.family = AF_UNIX;
    assert_string_equal(line_of(d, "$client_ip $path", false), "- -\n");
}

/* As long as it may be, all of it in need of an escape: cut, but never within one, and what follows is whole.
 */
static void test_bounds(void **state)
{
    struct desk *d = *state;
    char bytes[ACCESS_TEXT_MAX + 1], big[LOG_FORMAT_MAX];
    fill(d);
    memset(bytes, 1, sizeof bytes);
    add_field(d, "X-Big", str_make(bytes, sizeof bytes));
    const char *line = line_of(d, "<$header_x_big>$status", false);
    assert_int_equal(strlen(line), 1 + 4 * ACCESS_TEXT_MAX + 1 + 3 + 1);
    big[0] = '\0';
    for (int i = 0; i < 30; i++)
        strncat(big, "{\"$header_x_big\":$status}", sizeof big - strlen(big) - 1);
    line = line_of(d, big, true);
    size_t braces = 0;
    for (const char *p = line; *p; p++)
        braces += *p == '}';
    assert_int_equal(braces, 30);
    assert_string_equal(line + strlen(line) - 7, "\":200}\n"); /* only texts were cut */
    for (const char *p = line; (p = strstr(p, "\\u")) != NULL; p += 2)
        assert_memory_equal(p, "\\u0001", 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_combined, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_known, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
