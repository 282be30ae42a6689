/* tls_rig: a server and a client of TLS as conns, joined by sockets that take a few bytes at a time. */
#ifndef NET_TLS_RIG_H
#define NET_TLS_RIG_H

#include "support.h"

#include "../../tls_files.h"
#include "net/tls.h"

struct rig {
    struct bench *t;
    struct tls_worker *tw;
    struct tls_listener_settings listener;
    struct tls_certificate_settings certificates[2];
    struct tls_cluster_settings cluster;
    struct buf files;
    struct tls_store *store;
    struct tls_server *server;
    struct tls_client *client;
};

static char first_file[] = "first", host[] = "first.test";

static inline void add_certificate(struct rig *r, size_t i, char *file, const char *names)
{
    put_pair(&r->files, file, names);
    options_init(&tls_certificate_table, &r->certificates[i]);
    r->certificates[i].cert = file;
    r->listener.certificates = (struct option_list){r->certificates, i + 1};
}

static inline struct tls_store *make_store(struct rig *r, const struct tls_store *old, struct buf *errors,
                                           int *kept)
{
    struct bundle b = {buf_str(&r->files)};
    return tls_store_create(&r->listener, &b, "test", old, errors, kept);
}

/* a is the server, b the client; their sockets are one pair. */
static inline void join(struct rig *r)
{
    struct bench *t = r->t;
    int fds[2];
    conn_close(&t->a.conn);
    conn_close(&t->b.conn);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    shrink(fds[0]);
    shrink(fds[1]);
    assert_true(conn_open(&t->a.conn, &t->w, fds[0], on_end_ready));
    assert_true(conn_open(&t->b.conn, &t->w, fds[1], on_end_ready));
    const struct addr to = {.len = sizeof(struct sockaddr_un), .un.sun_family = AF_UNIX};
    assert_true(tls_accept(&t->a.conn, r->tw, r->server));
    assert_true(tls_connect(&t->b.conn, r->tw, r->client, &to, "http/1.1", NULL));
    assert_int_equal(conn_alpn(&t->a.conn), ALPN_NONE);
}

static inline void make_client(struct rig *r)
{
    struct bundle b = {buf_str(&r->files)};
    struct buf errors;
    buf_init(&errors);
    tls_client_unref(&r->client);
    r->client = tls_client_create(&r->cluster, NULL, &b, "test", &errors);
    assert_non_null(r->client);
    buf_fini(&errors);
}

static inline int rig_up(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    struct buf errors;
    int kept;
    assert_non_null(r);
    void *bench = NULL;
    set_up(&bench);
    r->t = bench;
    buf_init(&r->files);
    buf_init(&errors);
    options_init(&tls_listener_table, &r->listener);
    options_init(&tls_cluster_table, &r->cluster);
    r->cluster.ca = first_file;
    r->cluster.hostname = host;
    add_certificate(r, 0, first_file, "DNS:first.test,DNS:*.first.test");
    r->store = make_store(r, NULL, &errors, &kept);
    assert_non_null(r->store);
    r->tw = tls_worker_create(&r->t->w);
    r->server = tls_server_create(&r->listener, r->store, 60, &errors);
    assert_non_null(r->server);
    make_client(r);
    buf_fini(&errors);
    *state = r;
    return 0;
}

static inline int rig_down(void **state)
{
    struct rig *r = *state;
    void *bench = r->t;
    conn_close(&r->t->a.conn);
    conn_close(&r->t->b.conn);
    tls_server_destroy(&r->server);
    tls_client_unref(&r->client);
    tls_store_unref(&r->store);
    tls_worker_destroy(&r->tw);
    tear_down(&bench);
    r->listener.certificates = (struct option_list){NULL, 0};
    r->cluster.ca = r->cluster.hostname = NULL;
    options_free(&tls_listener_table, &r->listener);
    options_free(&tls_cluster_table, &r->cluster);
    buf_fini(&r->files);
    free(r);
    return 0;
}

/* As the worker does: a fresh budget, those that wait, then events. */
static inline void turns(struct rig *r, int n)
{
    for (int i = 0; i < n; i++) {
        r->t->w.turn_ns++;
        struct list *node;
        while ((node = list_shift(&r->t->w.run_queue))) {
            struct run_node *run = CONTAINER_OF(node, struct run_node, node);
            run->fn(run);
        }
        turn(r->t);
    }
}

static inline void shake_hands(struct rig *r)
{
    struct conn *a = &r->t->a.conn, *b = &r->t->b.conn;
    join(r);
    (void)tls_on_event(b);
    for (int i = 0; i < 1000 && (tls_is_handshaking(a) || tls_is_handshaking(b)) && !a->broken && !b->broken;
         i++)
        turns(r, 1);
}

#endif
