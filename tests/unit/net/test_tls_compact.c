/* A server's conn that has given OpenSSL's connection back, and a client of OpenSSL that must not notice. */
#include <errno.h>

#include "net/tls_priv.h"
#include "tls_rig.h"

#define A(r) (&(r)->t->a.conn)
#define B(r) (&(r)->t->b.conn)

static void use_suite(struct rig *r, const char *name)
{
    struct buf errors;
    buf_init(&errors);
    conn_close(A(r));
    tls_server_destroy(&r->server);
    free(r->listener.ciphersuites);
    r->listener.ciphersuites = strdup(name);
    r->server = tls_server_create(&r->listener, r->store, 60, &errors);
    assert_non_null(r->server);
    buf_fini(&errors);
}

static void say(struct rig *r, struct conn *from, struct conn *to, const char *text)
{
    struct iovec iov = {(void *)(uintptr_t)text, strlen(text)};
    char got[64];
    size_t n = 0;
    assert_int_equal(conn_writev(from, &iov, 1), strlen(text));
    for (int i = 0; i < 100 && n < strlen(text); i++) {
        turns(r, 1);
        ssize_t more = conn_read(to, got + n, sizeof got - n);
        assert_true(more != CONN_ERROR && more != 0);
        n += more > 0 ? (size_t)more : 0;
    }
    assert_int_equal(n, strlen(text));
    assert_memory_equal(got, text, n);
}

/* Records go both ways before, so that their numbers matter. */
static void rest_one(struct rig *r)
{
    struct ticket_keys keys;
    memset(&keys, 7, sizeof keys);
    tls_worker_set_tickets(r->tw, &keys);
    shake_hands(r);
    turns(r, 10);
    say(r, B(r), A(r), "GET / HTTP/1.1");
    say(r, A(r), B(r), "HTTP/1.1 200 OK");
    assert_true(tls_rest(A(r)));
    assert_null(A(r)->tls->ssl);
    assert_false(tls_rest(A(r)));
}

static ssize_t read_end(struct rig *r, struct conn *c)
{
    char byte;
    ssize_t got = CONN_AGAIN;
    for (int i = 0; i < 100 && got == CONN_AGAIN; i++) {
        turns(r, 1);
        got = conn_read(c, &byte, 1);
    }
    return got;
}

static void transfer(struct rig *r, struct conn *from, struct conn *to, size_t piece)
{
    static char sent[100000], got[sizeof sent];
    size_t out = 0, in = 0;
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i * 7 + i / 251);
    for (int i = 0; i < 200000 && in < sizeof sent; i++) {
        size_t left = sizeof sent - out, half = left / 2;
        struct iovec iov[4] = {{sent + out, half}, {sent, 0}, {sent + out + half, left - half}, {sent, 0}};
        ssize_t put = left && from->may_write ? conn_writev(from, iov, 4) : CONN_AGAIN;
        assert_true(put != CONN_ERROR);
        out += put > 0 ? (size_t)put : 0;
        ssize_t n = conn_read(to, got + in, sizeof got - in < piece ? sizeof got - in : piece);
        assert_true(n != CONN_ERROR && n != 0);
        in += n > 0 ? (size_t)n : 0;
        turns(r, 1);
    }
    assert_int_equal(in, sizeof sent);
    assert_memory_equal(sent, got, sizeof sent);
}

static void each_suite_goes_on(void **state)
{
    static const char *const names[] = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                        "TLS_CHACHA20_POLY1305_SHA256"};
    struct rig *r = *state;
    for (int i = 0; i < 3; i++) {
        use_suite(r, names[i]);
        rest_one(r);
        assert_string_equal(tls_version(A(r)), "TLSv1.3");
        assert_string_equal(tls_cipher(A(r)), names[i]);
        assert_false(tls_is_resumed(A(r)));
        say(r, B(r), A(r), "more");
        say(r, A(r), B(r), "of it");
        transfer(r, A(r), B(r), 1000);
        transfer(r, B(r), A(r), 1000);
        transfer(r, B(r), A(r), 50000);
    }
}

static void several_take_turns(void **state)
{
    struct rig *r = *state;
    rest_one(r);
    say(r, B(r), A(r), "one");
    say(r, A(r), B(r), "two");
    say(r, B(r), A(r), "three");
    assert_ptr_equal(r->tw->kit.owners[0][A(r)->tls->own->suite], &A(r)->tls->own->in);
    rest_one(r); /* another connection, perhaps at the same place in memory */
    say(r, B(r), A(r), "one");
    say(r, A(r), B(r), "two");
}

static void goodbyes(void **state)
{
    struct rig *r = *state;
    rest_one(r);
    conn_shutdown(A(r));
    assert_int_equal(read_end(r, B(r)), 0);
    assert_true(B(r)->eof && !B(r)->broken);
    say(r, B(r), A(r), "still");
    conn_shutdown(B(r));
    assert_int_equal(read_end(r, A(r)), 0);
    assert_true(A(r)->eof && !A(r)->broken);
    rest_one(r);
    conn_close(A(r));
    assert_int_equal(read_end(r, B(r)), 0);
}

static void a_bare_fin_is_an_error(void **state)
{
    struct rig *r = *state;
    rest_one(r);
    shutdown(B(r)->fd, SHUT_WR);
    assert_int_equal(read_end(r, A(r)), CONN_ERROR);
    assert_true(A(r)->broken && !A(r)->eof);
    assert_int_equal(tls_failure(A(r)), TLS_FAIL_CLOSED);
}

/* The last word waits for what the socket has not taken. */
static void goodbye_behind_a_full_socket(void **state)
{
    struct rig *r = *state;
    static char sent[16384], got[1 << 20];
    size_t out = 0, in = 0;
    rest_one(r);
    for (int i = 0; i < 64 && A(r)->may_write; i++) {
        struct iovec iov = {sent, sizeof sent};
        ssize_t put = conn_writev(A(r), &iov, 1);
        assert_true(put > 0 || put == CONN_AGAIN);
        out += put > 0 ? (size_t)put : 0;
    }
    assert_non_null(A(r)->tls->held);
    out += A(r)->tls->own->pending;
    conn_shutdown(A(r));
    for (ssize_t n = 1; n; in += n > 0 ? (size_t)n : 0) {
        turns(r, 1);
        n = conn_read(B(r), got, sizeof got);
        assert_true(n != CONN_ERROR);
    }
    assert_int_equal(in, out);
    assert_true(B(r)->eof);
}

static void key_updates(void **state)
{
    struct rig *r = *state;
    rest_one(r);
    for (int i = 0; i < 4; i++) {
        int kind = i % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED;
        assert_int_equal(SSL_key_update(B(r)->tls->ssl, kind), 1);
        say(r, B(r), A(r), "with another key");
        say(r, A(r), B(r), "and back");
    }
    r->tw->records_a_key = 3; /* ours */
    for (int i = 0; i < 10; i++)
        say(r, A(r), B(r), "one after the other");
    transfer(r, A(r), B(r), 1000);
    r->listener.max_key_updates = 5;
    assert_int_equal(SSL_key_update(B(r)->tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    say(r, B(r), A(r), "the last");
    assert_int_equal(SSL_key_update(B(r)->tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    struct iovec iov = {host, 1};
    assert_int_equal(conn_writev(B(r), &iov, 1), 1);
    assert_int_equal(read_end(r, A(r)), CONN_ERROR);
    assert_int_equal(tls_failure(A(r)), TLS_FAIL_ABUSE);
}

/* One that comes as an answer is owed even when nothing else is to be said. */
static void an_update_is_answered_at_once(void **state)
{
    struct rig *r = *state;
    char byte;
    rest_one(r);
    assert_int_equal(SSL_key_update(B(r)->tls->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
    assert_int_equal(SSL_do_handshake(B(r)->tls->ssl), 1);
    turns(r, 5);
    assert_int_equal(conn_read(A(r), &byte, 1), CONN_AGAIN);
    assert_int_equal(A(r)->tls->own->out.seq, 0);
    turns(r, 5);
    assert_int_equal(conn_read(B(r), &byte, 1), CONN_AGAIN);
    say(r, A(r), B(r), "hello");
}

/* ---- forged by hand: a copy of the client's half seals what no client of OpenSSL would ---- */

struct forger {
    struct tls_kit kit;
    struct tls_half half;
    struct rig *r;
};

static struct forger forge(struct rig *r)
{
    rest_one(r);
    return (struct forger){.half = A(r)->tls->own->in, .r = r};
}

static void put_record(struct forger *f, int type, const void *p, size_t n)
{
    unsigned char out[TLS_SEAL_BYTES];
    struct iovec iov = {(void *)(uintptr_t)p, n};
    size_t len = tls_seal(&f->kit, &f->half, (enum tls_suite)A(f->r)->tls->own->suite, type, &iov, 1, out);
    assert_true(len > 0);
    assert_int_equal(send(B(f->r)->fd, out, len, 0), len);
}

static void refused(struct forger *f, enum tls_failure why)
{
    assert_int_equal(read_end(f->r, A(f->r)), CONN_ERROR);
    assert_true(A(f->r)->broken && A(f->r)->tls->fatal);
    assert_int_equal(tls_failure(A(f->r)), why);
    tls_kit_fini(&f->kit);
}

static void what_only_a_liar_sends(void **state)
{
    static const struct {
        int type;
        const char *bytes;
        size_t n;
        enum tls_failure why;
    } cases[] = {
        {TLS_IS_HANDSHAKE, "\x18\0\0\1\2", 5, TLS_FAIL_OTHER},   /* neither asked for nor not */
        {TLS_IS_HANDSHAKE, "\x18\0\0\2\0\0", 6, TLS_FAIL_OTHER}, /* too long */
        {TLS_IS_HANDSHAKE, "\x18\0\0\1\0\x18", 6, TLS_FAIL_OTHER},
        {TLS_IS_HANDSHAKE, "\4\0\0\1\0", 5, TLS_FAIL_OTHER}, /* a ticket */
        {TLS_IS_HANDSHAKE, "\1", 1, TLS_FAIL_OTHER},         /* a hello begins */
        {TLS_IS_HANDSHAKE, "", 0, TLS_FAIL_OTHER},
        {TLS_IS_ALERT, "\1", 1, TLS_FAIL_OTHER},
        {TLS_IS_ALERT, "\1\0\1", 3, TLS_FAIL_OTHER},
        {TLS_IS_ALERT, "\2\x28", 2, TLS_FAIL_ALERT},
        {20, "\1", 1, TLS_FAIL_OTHER},
        {24, "\1", 1, TLS_FAIL_OTHER},
    };
    struct rig *r = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct forger f = forge(r);
        put_record(&f, cases[i].type, cases[i].bytes, cases[i].n);
        refused(&f, cases[i].why);
    }
}

/* What came before a fault is read first; then the client hears why. */
static void data_before_a_fault(void **state)
{
    struct rig *r = *state;
    struct forger f = forge(r);
    char got[16];
    put_record(&f, TLS_IS_DATA, "hello", 5);
    assert_int_equal(send(B(r)->fd, "\x14\3\3\0\1\1", 6, 0), 6);
    turns(r, 1);
    assert_int_equal(conn_read(A(r), got, sizeof got), 5);
    assert_true(A(r)->may_read);
    refused(&f, TLS_FAIL_OTHER);
    assert_int_equal(read_end(r, B(r)), CONN_ERROR);
    assert_int_equal(tls_failure(B(r)), TLS_FAIL_ALERT);
}

static void a_message_in_pieces(void **state)
{
    struct rig *r = *state;
    struct forger f = forge(r);
    char byte;
    put_record(&f, TLS_IS_HANDSHAKE, "\x18\0", 2);
    turns(r, 1);
    assert_int_equal(conn_read(A(r), &byte, 1), CONN_AGAIN);
    put_record(&f, TLS_IS_HANDSHAKE, "\0\1\0", 3);
    assert_true(tls_half_update(&f.kit, &f.half, (enum tls_suite)A(r)->tls->own->suite));
    put_record(&f, TLS_IS_DATA, "x", 1);
    turns(r, 1);
    assert_int_equal(conn_read(A(r), &byte, 1), 1);
    put_record(&f, TLS_IS_HANDSHAKE, "\x18\0", 2);
    put_record(&f, TLS_IS_DATA, "x", 1); /* in between */
    refused(&f, TLS_FAIL_OTHER);
}

static void empty_records(void **state)
{
    struct rig *r = *state;
    struct forger f = forge(r);
    char byte;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 32; i++) {
            put_record(&f, i % 2 ? TLS_IS_DATA : TLS_IS_ALERT, "\1\x5a", i % 2 ? 0 : 2);
            turns(r, 1);
            assert_int_equal(conn_read(A(r), &byte, 1), CONN_AGAIN);
        }
        put_record(&f, TLS_IS_DATA, "x", 1);
        turns(r, 1);
        assert_int_equal(conn_read(A(r), &byte, 1), 1);
    }
    for (int i = 0; i < 33; i++) {
        put_record(&f, TLS_IS_DATA, "", 0);
        turns(r, 1);
        assert_int_equal(conn_read(A(r), &byte, 1), i < 32 ? CONN_AGAIN : CONN_ERROR);
    }
    refused(&f, TLS_FAIL_OTHER);
}

/* Byte by byte; nothing is lost between calls, and looking takes nothing. */
static void a_record_in_crumbs(void **state)
{
    struct rig *r = *state;
    struct forger f = forge(r);
    unsigned char out[TLS_SEAL_BYTES];
    struct iovec iov = {host, 5};
    char got[8];
    size_t n = tls_seal(&f.kit, &f.half, (enum tls_suite)A(r)->tls->own->suite, TLS_IS_DATA, &iov, 1, out);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(conn_peek(A(r)), CONN_AGAIN);
        assert_false(A(r)->may_read);
        assert_int_equal(send(B(r)->fd, out + i, 1, 0), 1);
        turns(r, 1);
        assert_true(A(r)->may_read);
    }
    assert_int_equal(conn_peek(A(r)), 1);
    assert_int_equal(conn_read(A(r), got, 2), 2);
    assert_int_equal(conn_peek(A(r)), 1);
    assert_int_equal(conn_read(A(r), got + 2, 6), 3);
    assert_memory_equal(got, host, 5);
    assert_int_equal(conn_peek(A(r)), CONN_AGAIN);
    assert_int_equal(conn_read(A(r), got, 6), CONN_AGAIN);
    assert_false(A(r)->may_read);
    tls_kit_fini(&f.kit);
}

/* ---- who stays as it is ---- */

static void not_before_the_handshake_is_over(void **state)
{
    struct rig *r = *state;
    join(r);
    assert_false(tls_rest(A(r)));
    (void)tls_on_event(B(r));
    turns(r, 1);
    assert_false(tls_rest(A(r)));
}

static void not_with_something_unread(void **state)
{
    struct rig *r = *state;
    struct iovec iov = {host, 9};
    char byte;
    shake_hands(r);
    say(r, B(r), A(r), "GET");
    assert_int_equal(conn_writev(B(r), &iov, 1), 9);
    turns(r, 5);
    assert_int_equal(conn_read(A(r), &byte, 1), 1);
    assert_false(tls_rest(A(r)));
    for (int i = 0; i < 8; i++)
        assert_int_equal(conn_read(A(r), &byte, 1), 1);
    assert_true(tls_rest(A(r)));
}

static void not_after_a_key_update(void **state)
{
    struct rig *r = *state;
    shake_hands(r);
    say(r, B(r), A(r), "GET");
    assert_int_equal(SSL_key_update(B(r)->tls->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
    say(r, B(r), A(r), "GET");
    assert_false(tls_rest(A(r)));
    say(r, A(r), B(r), "200");
}

static void not_a_client_nor_an_older_version(void **state)
{
    struct rig *r = *state;
    shake_hands(r);
    assert_false(tls_rest(B(r)));
    conn_shutdown(A(r));
    assert_false(tls_rest(A(r)));
    r->cluster.max_version = r->cluster.min_version;
    make_client(r);
    shake_hands(r);
    assert_string_equal(tls_version(A(r)), "TLSv1.2");
    say(r, B(r), A(r), "GET");
    assert_false(tls_rest(A(r)));
    conn_close(B(r));
    conn_close(A(r));
    assert_false(tls_rest(A(r)));
}

static void not_against_the_listener(void **state)
{
    struct rig *r = *state;
    r->listener.rest = false;
    use_suite(r, "TLS_AES_128_GCM_SHA256");
    shake_hands(r);
    say(r, B(r), A(r), "GET");
    assert_false(tls_rest(A(r)));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_up, rig_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_suite_goes_on),
        TEST(several_take_turns),
        TEST(goodbyes),
        TEST(a_bare_fin_is_an_error),
        TEST(goodbye_behind_a_full_socket),
        TEST(key_updates),
        TEST(an_update_is_answered_at_once),
        TEST(what_only_a_liar_sends),
        TEST(data_before_a_fault),
        TEST(a_message_in_pieces),
        TEST(empty_records),
        TEST(a_record_in_crumbs),
        TEST(not_before_the_handshake_is_over),
        TEST(not_with_something_unread),
        TEST(not_after_a_key_update),
        TEST(not_a_client_nor_an_older_version),
        TEST(not_against_the_listener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
