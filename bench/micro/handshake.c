/* handshake: what the server's half of a TLS 1.3 handshake costs in OpenSSL alone: no socket, no proxy. The
 * floor under the handshakes of the bench.
 *
 *   handshake ECDSA.crt ECDSA.key RSA.crt RSA.key [SECONDS]
 *
 * Client and server pass each other their bytes through memory. Only what the server does is timed (CPU time
 * of the thread): making its connection, its steps, session tickets (two; one when it is
 * resumed, none when the ticket is to be used again), freeing. AES-128-GCM and X25519, as in bench/load/tls.
 * Prints microseconds as one line of JSON: the median of all handshakes of a kind. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SAMPLES_MAX 100000u
#define SAMPLES_MIN 100u

struct bench {
    SSL_CTX *client, *server;
    SSL_SESSION *ticket; /* owned; the last that came */
    double us[SAMPLES_MAX];
};

static void die(const char *what)
{
    fprintf(stderr, "handshake: %s\n", what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct bench *b = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    SSL_SESSION_free(b->ticket);
    b->ticket = session;
    return 1;
}

/* OpenSSL's own rule is to answer a ticket that comes back with another. */
static SSL_TICKET_RETURN renew_none(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                    size_t name_len, SSL_TICKET_STATUS status, void *arg)
{
    (void)ssl, (void)session, (void)name, (void)name_len, (void)arg;
    return status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW
               ? SSL_TICKET_RETURN_USE
               : SSL_TICKET_RETURN_IGNORE_RENEW;
}

static SSL_CTX *server_context(const char *cert, const char *key)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
        die(cert);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    return ctx;
}

static SSL_CTX *client_context(struct bench *b)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") != 1 ||
        SSL_CTX_set1_groups_list(ctx, "X25519") != 1)
        die("client");
    SSL_CTX_set_app_data(ctx, b);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_ticket);
    return ctx;
}

static SSL *half(SSL_CTX *ctx, BIO *in, BIO *out)
{
    SSL *ssl = SSL_new(ctx);
    if (ssl == NULL || !BIO_up_ref(in) || !BIO_up_ref(out))
        die("SSL_new");
    SSL_set_bio(ssl, in, out);
    return ssl;
}

/* One handshake; what the server's half took. */
static double once(struct bench *b, bool resumes)
{
    BIO *up = BIO_new(BIO_s_mem()), *down = BIO_new(BIO_s_mem());
    SSL *client = half(b->client, down, up), *server;
    double took = 0, from;
    char byte;
    if (resumes) { /* OpenSSL takes each once */
        SSL_SESSION *copy = SSL_SESSION_dup(b->ticket);
        if (copy == NULL || SSL_set_session(client, copy) != 1)
            die("SSL_set_session");
        SSL_SESSION_free(copy);
    }
    SSL_set_connect_state(client);
    SSL_do_handshake(client);
    from = cpu_us();
    server = half(b->server, up, down);
    SSL_set_accept_state(server);
    SSL_do_handshake(server); /* up to Finished */
    took += cpu_us() - from;
    if (SSL_do_handshake(client) != 1)
        die("client");
    from = cpu_us();
    if (SSL_do_handshake(server) != 1) /* the client's Finished; two tickets */
        die("server");
    took += cpu_us() - from;
    if (SSL_read(client, &byte, 1) > 0 || SSL_session_reused(client) != resumes)
        die("not the kind of handshake that was asked for");
    from = cpu_us();
    SSL_set_shutdown(server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(server);
    took += cpu_us() - from;
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(client);
    BIO_free(up);
    BIO_free(down);
    ERR_clear_error();
    return took;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double measure(struct bench *b, bool resumes, double seconds)
{
    size_t n = 0;
    double until;
    once(b, false); /* a ticket of this server */
    until = cpu_us() + seconds * 1e6;
    while (n < SAMPLES_MAX && (n < SAMPLES_MIN || cpu_us() < until))
        b->us[n++] = once(b, resumes);
    qsort(b->us, n, sizeof(*b->us), by_size);
    return b->us[n / 2];
}

int main(int argc, char **argv)
{
    static struct bench b;
    double seconds = argc > 5 ? strtod(argv[5], NULL) : 1, ecdsa, resumed, reused;
    if (argc < 5) {
        fprintf(stderr, "usage: handshake ECDSA.crt ECDSA.key RSA.crt RSA.key [SECONDS]\n");
        return 64;
    }
    b.client = client_context(&b);
    b.server = server_context(argv[1], argv[2]);
    ecdsa = measure(&b, false, seconds);
    resumed = measure(&b, true, seconds);
    SSL_CTX_set_session_ticket_cb(b.server, NULL, renew_none, NULL);
    reused = measure(&b, true, seconds);
    SSL_CTX_free(b.server);
    b.server = server_context(argv[3], argv[4]);
    printf("{\"ecdsa\": %.1f, \"resumed\": %.1f, \"reused\": %.1f, \"rsa\": %.1f}\n", ecdsa, resumed, reused,
           measure(&b, false, seconds));
    SSL_SESSION_free(b.ticket);
    SSL_CTX_free(b.client);
    SSL_CTX_free(b.server);
    return 0;
}
