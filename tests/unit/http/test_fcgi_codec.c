/* FastCGI records: lengths at their limits (F6), and what a broken responder may send (F7). */
#include "support.h"

#include "http/fcgi_codec.h"

static void parameters_have_two_lengths(void **state)
{
    (void)state;
    static char value[99000], out[100000];
    memset(value, 'v', sizeof value);
    for (size_t n = 126; n < 131; n++) {
        struct writer w;
        writer_init(&w, out, sizeof out);
        fcgi_put_param(&w, STR("A"), str_make(value, n));
        assert_int_equal(w.len, fcgi_param_bytes(STR("A"), str_make(value, n)));
        assert_int_equal(w.len, 2 + n + (n < 128 ? 1 : 4));
        assert_int_equal(out[0], 1);
        if (n < 128)
            assert_int_equal((unsigned char)out[1], n);
        else
            assert_memory_equal(out + 1, ((unsigned char[]){0x80, 0, 0, (unsigned char)n}), 4);
    }
}

/* Takes one PARAMS record off; returns its content. */
static struct str next_params(struct str *rest)
{
    const unsigned char *h = (const unsigned char *)rest->p;
    assert_true(rest->n >= FCGI_HEADER_BYTES);
    assert_int_equal(h[0], 1);
    assert_int_equal(h[1], FCGI_PARAMS);
    assert_int_equal(h[2] << 8 | h[3], 1);
    size_t n = (size_t)(h[4] << 8 | h[5]);
    assert_true(rest->n >= FCGI_HEADER_BYTES + n);
    struct str content = str_make(rest->p + FCGI_HEADER_BYTES, n);
    *rest = str_make(content.p + n, rest->n - FCGI_HEADER_BYTES - n);
    return content;
}

static void long_parameters_are_split(void **state)
{
    (void)state;
    static char in[99000], out[100000];
    static const size_t sizes[] = {
        0, 1, FCGI_RECORD_MAX - 1, FCGI_RECORD_MAX, FCGI_RECORD_MAX + 1, 65535, 65536, 99000};
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct writer w;
        writer_init(&w, out, sizeof out);
        fcgi_put_params(&w, str_make(in, sizes[i]));
        assert_false(w.overflow);
        struct str rest = str_make(out, w.len), part;
        size_t seen = 0;
        while ((part = next_params(&rest)).n) {
            assert_true(part.n <= FCGI_RECORD_MAX);
            assert_memory_equal(part.p, in + seen, part.n);
            seen += part.n;
        }
        assert_int_equal(seen, sizes[i]);
        assert_int_equal(rest.n, 0);
    }
}

static void a_request_begins(void **state)
{
    (void)state;
    char out[64];
    struct writer w;
    writer_init(&w, out, sizeof out);
    fcgi_put_begin(&w, true);
    assert_int_equal(w.len, 16);
    assert_memory_equal(out, "\1\1\0\1\0\10\0\0\0\1\1\0\0\0\0\0", 16);
    writer_init(&w, out, sizeof out);
    fcgi_put_begin(&w, false);
    assert_int_equal(out[10], 0);
}

/* What a run of events said. */
struct heard {
    char out[64], err[64];
    size_t out_n, err_n, used;
    struct fcgi_event last;
};

static void listen_to(struct heard *h, struct str text, size_t step)
{
    struct fcgi_decoder d = {0};
    *h = (struct heard){0};
    while (h->used < text.n) {
        size_t n = text.n - h->used < step ? text.n - h->used : step;
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, text.p + h->used, n);
        size_t used = fcgi_decode(&d, copy, n, &h->last);
        assert_true(used <= n);
        h->used += used;
        if (h->last.kind == FCGI_EVENT_STDOUT) {
            memcpy(h->out + h->out_n, h->last.data.p, h->last.data.n);
            h->out_n += h->last.data.n;
        } else if (h->last.kind == FCGI_EVENT_STDERR) {
            memcpy(h->err + h->err_n, h->last.data.p, h->last.data.n);
            h->err_n += h->last.data.n;
        }
        free(copy);
        if (h->last.kind == FCGI_EVENT_END || h->last.kind == FCGI_EVENT_ERROR)
            return;
        assert_true(used > 0);
    }
}

#define RECORD(type, len, pad) "\1" type "\0\1\0" len pad "\0"
#define END_OK                 RECORD("\3", "\10", "\0") "\0\0\1\2\0\0\0\0"

static void an_answer_is_heard_however_it_arrives(void **state)
{
    (void)state;
    struct str text = STR(RECORD("\6", "\5", "\3") "helloPAD" RECORD("\7", "\4", "\0") "oops" RECORD(
        "\6", "\1", "\0") "!" RECORD("\6", "\0", "\0") RECORD("\7", "\0", "\2") "xx" END_OK "next");
    for (size_t step = 1; step <= text.n; step++) {
        struct heard h;
        listen_to(&h, text, step);
        assert_int_equal(h.last.kind, FCGI_EVENT_END);
        assert_int_equal(h.last.app_status, 0x102);
        assert_int_equal(h.last.protocol_status, FCGI_REQUEST_COMPLETE);
        assert_int_equal(h.used, text.n - 4);
        assert_str(str_make(h.out, h.out_n), "hello!");
        assert_str(str_make(h.err, h.err_n), "oops");
    }
}

static void a_connection_carries_another_answer(void **state)
{
    (void)state;
    struct str text = STR(END_OK END_OK);
    struct fcgi_decoder d = {0};
    struct fcgi_event ev;
    assert_int_equal(fcgi_decode(&d, text.p, text.n, &ev), text.n / 2);
    assert_true(ev.kind == FCGI_EVENT_END && d.ended);
    assert_int_equal(fcgi_decode(&d, text.p, text.n / 2, &ev), text.n / 2);
    assert_true(ev.kind == FCGI_EVENT_END && d.ended);
}

static void broken_records_are_errors(void **state)
{
    (void)state;
    static const struct str cases[] = {
        STR("\2\6\0\1\0\0\0\0"),          /* version */
        STR("\1\6\0\0\0\0\0\0"),          /* id 0 with a request's type */
        STR("\1\12\0\0\0\0\0\0"),         /* management record */
        STR("\1\6\0\2\0\0\0\0"),          /* another request */
        STR("\1\6\1\1\0\0\0\0"),          /* id 257 */
        STR("\1\4\0\1\0\0\0\0"),          /* PARAMS from a responder */
        STR("\1\5\0\1\0\0\0\0"),          /* STDIN from a responder */
        STR("\1\14\0\1\0\0\0\0"),         /* unknown type */
        STR("\1\3\0\1\0\7\0\0abcdefg"),   /* END too short */
        STR("\1\3\0\1\1\10\0\0abcdefgh"), /* END too long */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step < 20; step += 18) {
            struct heard h;
            listen_to(&h, cases[i], step);
            assert_int_equal(h.last.kind, FCGI_EVENT_ERROR);
            assert_non_null(h.last.error);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_have_two_lengths),
        cmocka_unit_test(long_parameters_are_split),
        cmocka_unit_test(a_request_begins),
        cmocka_unit_test(an_answer_is_heard_however_it_arrives),
        cmocka_unit_test(a_connection_carries_another_answer),
        cmocka_unit_test(broken_records_are_errors),
    };
    return cmocka_run_group_tests_name("fcgi_codec", tests, NULL, NULL);
}
