/* TLS as a kind of conn: two of them, joined by sockets that take a few bytes at a time. */
#include "tls_rig.h"

static char second_file[] = "second", nonsense[] = "nonsense";

static void handshake_and_alpn(void **state)
{
    struct rig *r = *state;
    r->t->a.ready = r->t->b.ready = 0;
    shake_hands(r);
    assert_false(r->t->a.conn.broken || r->t->b.conn.broken);
    assert_int_equal(conn_alpn(&r->t->a.conn), ALPN_HTTP_1_1);
    assert_int_equal(conn_alpn(&r->t->b.conn), ALPN_HTTP_1_1);
    assert_true(conn_is_secure(&r->t->a.conn) && r->t->a.ready && r->t->b.ready);
    assert_string_equal(tls_version(&r->t->a.conn), "TLSv1.3");
}

/* What a step of the handshake wrote waits when the socket is full, and goes out when there is room. */
static void handshake_through_a_full_socket(void **state)
{
    struct rig *r = *state;
    struct conn *server = &r->t->a.conn, *client = &r->t->b.conn;
    char junk[512] = {0};
    size_t filled = 0, drained = 0;
    join(r);
    (void)tls_on_event(client); /* its hello */
    for (ssize_t n; (n = send(server->fd, junk, sizeof junk, MSG_DONTWAIT)) > 0;)
        filled += (size_t)n;
    assert_true(filled > 0);
    r->t->w.turn_ns++; /* a fresh budget */
    server->may_read = true;
    assert_false(tls_on_event(server));
    assert_false(server->broken);
    assert_false(server->may_write);
    for (ssize_t n; drained < filled && (n = recv(client->fd, junk, sizeof junk, MSG_DONTWAIT)) > 0;)
        drained += (size_t)n;
    assert_int_equal(drained, filled); /* not a byte of the handshake among it */
    assert_int_equal(recv(client->fd, junk, 1, MSG_DONTWAIT), -1);
    for (int i = 0; i < 100 && (tls_is_handshaking(server) || tls_is_handshaking(client)); i++)
        turns(r, 1);
    assert_false(server->broken || client->broken);
    assert_int_equal(conn_alpn(client), ALPN_HTTP_1_1);
    assert_true(server->may_write);
}

/* The last read of the handshake has emptied the socket: nobody asks it once more, until it tells of bytes.
 */
static void nothing_behind_the_handshake(void **state)
{
    struct rig *r = *state;
    struct conn *server = &r->t->a.conn, *client = &r->t->b.conn;
    char got[64];
    shake_hands(r);
    assert_false(tls_is_handshaking(server) || server->broken);
    assert_false(server->may_read);
    assert_true(server->may_write);
    struct iovec iov = {(void *)(uintptr_t) "GET / HTTP/1.1", 14};
    assert_int_equal(conn_writev(client, &iov, 1), 14);
    for (int i = 0; i < 100 && !server->may_read; i++)
        turns(r, 1);
    assert_int_equal(conn_read(server, got, sizeof got), 14);
}

/* Read together with the client's last message, it is neither lost nor left in the socket. */
static void a_request_right_behind_the_handshake(void **state)
{
    struct rig *r = *state;
    struct conn *server = &r->t->a.conn, *client = &r->t->b.conn;
    char got[64];
    join(r);
    for (int i = 0; i < 100 && tls_is_handshaking(client); i++) {
        r->t->w.turn_ns++; /* a fresh budget */
        client->may_read = client->may_write = server->may_read = server->may_write = true;
        (void)tls_on_event(client);
        if (tls_is_handshaking(client))
            (void)tls_on_event(server);
    }
    struct iovec iov = {(void *)(uintptr_t) "GET / HTTP/1.1", 14};
    assert_int_equal(conn_writev(client, &iov, 1), 14);
    conn_shutdown(client);
    assert_true(tls_is_handshaking(server));
    r->t->w.turn_ns++;
    server->may_read = true;
    assert_true(tls_on_event(server));
    assert_false(tls_is_handshaking(server) || server->broken);
    assert_true(server->may_read); /* no event will tell of them */
    assert_int_equal(recv(server->fd, got, sizeof got, MSG_DONTWAIT | MSG_PEEK), 0);
    assert_int_equal(conn_read(server, got, sizeof got), 14);
    assert_memory_equal(got, "GET / HTTP/1.1", 14);
    assert_int_equal(conn_read(server, got, sizeof got), 0);
}

/* Every byte arrives, whatever pieces the sockets take, and whatever pieces it is written and read in. */
static void bytes_through_narrow_sockets(void **state)
{
    struct rig *r = *state;
    static char sent[100000], got[sizeof sent + 1];
    size_t out = 0, in = 0;
    shake_hands(r);
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i * 7 + i / 251);
    for (int i = 0; i < 100000 && in < sizeof sent; i++) {
        size_t left = sizeof sent - out, half = left / 2;
        struct iovec iov[3] = {{sent + out, half}, {sent, 0}, {sent + out + half, left - half}};
        ssize_t put = left && r->t->a.conn.may_write ? conn_writev(&r->t->a.conn, iov, 3) : CONN_AGAIN;
        assert_true(put != CONN_ERROR);
        out += put > 0 ? (size_t)put : 0;
        ssize_t n = conn_read(&r->t->b.conn, got + in, sizeof got - in < 1000 ? sizeof got - in : 1000);
        assert_true(n != CONN_ERROR);
        in += n > 0 ? (size_t)n : 0;
        turns(r, 1);
    }
    assert_int_equal(in, sizeof sent);
    assert_memory_equal(sent, got, sizeof sent);
}

static void goodbye_is_the_end(void **state)
{
    struct rig *r = *state;
    char byte;
    shake_hands(r);
    conn_shutdown(&r->t->a.conn);
    for (int i = 0; i < 100 && !r->t->b.conn.eof; i++) {
        turns(r, 1);
        if (conn_read(&r->t->b.conn, &byte, 1) == 0)
            break;
    }
    assert_true(r->t->b.conn.eof && !r->t->b.conn.broken);
}

static void a_bare_fin_is_an_error(void **state)
{
    struct rig *r = *state;
    ssize_t got = CONN_AGAIN;
    char byte;
    shake_hands(r);
    shutdown(r->t->a.conn.fd, SHUT_WR);
    for (int i = 0; i < 100 && got == CONN_AGAIN; i++) {
        turns(r, 1);
        got = conn_read(&r->t->b.conn, &byte, 1);
    }
    assert_int_equal(got, CONN_ERROR);
    assert_true(r->t->b.conn.broken && !r->t->b.conn.eof);
}

/* Session tickets come behind the handshake, and belong to no request. */
static void tickets_do_not_wake_an_idle_conn(void **state)
{
    struct rig *r = *state;
    struct ticket_keys keys;
    memset(&keys, 7, sizeof keys);
    tls_worker_set_tickets(r->tw, &keys);
    shake_hands(r);
    turns(r, 20);
    assert_true(conn_is_quiet(&r->t->b.conn));
    const struct iovec iov = {host, 1};
    assert_int_equal(conn_writev(&r->t->a.conn, &iov, 1), 1);
    turns(r, 20);
    assert_false(conn_is_quiet(&r->t->b.conn));
    assert_int_equal(conn_peek(&r->t->b.conn), 1);
}

static void another_name_is_refused(void **state)
{
    struct rig *r = *state;
    static char other[] = "other.test";
    r->cluster.hostname = other;
    make_client(r);
    shake_hands(r);
    assert_true(r->t->b.conn.broken);
    assert_int_equal(tls_failure(&r->t->b.conn), TLS_FAIL_CERTIFICATE);
    turns(r, 10);
    assert_int_equal(tls_failure(&r->t->a.conn), TLS_FAIL_ALERT);
}

/* With its budget used up a worker leaves handshakes for the next turn, and goes on with them there. */
static void handshakes_wait_for_their_turn(void **state)
{
    struct rig *r = *state;
    join(r);
    r->t->w.turn_ns++;
    (void)tls_on_event(&r->t->b.conn);
    turn(r->t);
    for (int i = 0; i < 50; i++) { /* all in one turn: each step adds to what is spent */
        r->t->a.conn.may_read = r->t->b.conn.may_read = true;
        turn(r->t);
    }
    for (int i = 0; i < 1000 && tls_is_handshaking(&r->t->a.conn); i++)
        turns(r, 1);
    assert_false(tls_is_handshaking(&r->t->a.conn) || r->t->a.conn.broken);
}

static void a_store_keeps_what_is_no_good_now(void **state)
{
    struct rig *r = *state;
    struct tls_certificate_info info;
    struct buf errors;
    int kept = 0;
    buf_init(&errors);
    r->files.len = 0;
    buf_pack_str(&r->files, str_of(first_file));
    buf_pack_str(&r->files, STR("no certificate"));
    assert_null(make_store(r, NULL, &errors, &kept));
    assert_non_null(strstr(errors.p, "test: \"first\": no certificate"));
    struct tls_store *next = make_store(r, r->store, &errors, &kept);
    assert_non_null(next);
    assert_int_equal(kept, 1);
    assert_true(tls_store_certificate(next, 0, &info) && info.is_kept);
    assert_string_equal(info.subject, "first");
    assert_false(tls_store_certificate(next, 1, &info));
    tls_store_unref(&next);
    buf_fini(&errors);
}

static void bad_ciphers_are_an_error(void **state)
{
    struct rig *r = *state;
    struct buf errors;
    char *ciphers = r->listener.ciphers;
    buf_init(&errors);
    r->listener.ciphers = nonsense;
    assert_null(tls_server_create(&r->listener, r->store, 60, &errors));
    assert_true(errors.len > 0);
    r->listener.ciphers = ciphers;
    buf_fini(&errors);
}

static void a_host_under_another_rule(void **state)
{
    struct rig *r = *state;
    struct buf errors;
    int kept;
    buf_init(&errors);
    add_certificate(r, 1, second_file, "DNS:second.test");
    r->certificates[1].client_auth.mode = CLIENT_AUTH_OPTIONAL;
    r->certificates[1].client_auth.ca = second_file;
    struct tls_store *store = make_store(r, NULL, &errors, &kept);
    assert_non_null(store);
    tls_server_set_store(r->server, store);
    make_client(r);
    shake_hands(r);
    const struct conn *a = &r->t->a.conn;
    assert_false(tls_asks_for_certificate(a));
    assert_true(tls_serves_host(a, STR("first.test")) && tls_serves_host(a, STR("x.FIRST.test:443")));
    assert_true(tls_serves_host(a, STR("unknown.test")) && tls_serves_host(a, STR("")));
    assert_false(tls_serves_host(a, STR("second.test")) || tls_serves_host(a, STR("SECOND.test.:8443")));
    tls_store_unref(&store);
    r->certificates[1].client_auth.ca = NULL;
    buf_fini(&errors);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_up, rig_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(handshake_and_alpn),
        TEST(handshake_through_a_full_socket),
        TEST(nothing_behind_the_handshake),
        TEST(a_request_right_behind_the_handshake),
        TEST(bytes_through_narrow_sockets),
        TEST(goodbye_is_the_end),
        TEST(a_bare_fin_is_an_error),
        TEST(tickets_do_not_wake_an_idle_conn),
        TEST(another_name_is_refused),
        TEST(handshakes_wait_for_their_turn),
        TEST(a_store_keeps_what_is_no_good_now),
        TEST(bad_ciphers_are_an_error),
        TEST(a_host_under_another_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
