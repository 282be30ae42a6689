#include "net/tls_link.h"

#include <stdlib.h>

#include "net/tls_priv.h"

struct tls_link {
    SSL *ssl;                  /* owned */
    struct tls_client *client; /* counted */
    const char *why;
    bool ready;
};

static bool offer(SSL *ssl, bool is_h2)
{
    static const unsigned char http1[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'}, h2[] = {2, 'h', '2'};
    return SSL_set_alpn_protos(ssl, is_h2 ? h2 : http1, is_h2 ? sizeof h2 : sizeof http1) == 0;
}

struct tls_link *tls_link_create(struct tls_client *tc, int fd, const struct addr *to, bool is_h2)
{
    struct tls_link *l = calloc(1, sizeof *l);
    SSL *ssl = SSL_new(tc->ctx);
    if (!l || !ssl || SSL_set_fd(ssl, fd) != 1 || !offer(ssl, is_h2) || !tls_client_aim(ssl, tc, to)) {
        SSL_free(ssl);
        free(l);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_connect_state(ssl);
    l->ssl = ssl;
    l->client = tls_client_ref(tc);
    l->why = "";
    return l;
}

void tls_link_destroy(struct tls_link **pl)
{
    struct tls_link *l = *pl;
    *pl = NULL;
    if (!l)
        return;
    if (l->ready)
        (void)SSL_shutdown(l->ssl);
    ERR_clear_error();
    SSL_free(l->ssl);
    tls_client_unref(&l->client);
    free(l);
}

static enum tls_link_step judge(struct tls_link *l, int result)
{
    long verify = SSL_get_verify_result(l->ssl);
    unsigned long error = ERR_peek_error();
    switch (SSL_get_error(l->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return TLS_LINK_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_LINK_WANT_WRITE;
    default:
        l->ready = false;
        l->why = verify != X509_V_OK ? X509_verify_cert_error_string(verify)
                 : error             ? ERR_reason_error_string(error)
                                     : "closed in the middle of TLS";
        ERR_clear_error();
        return TLS_LINK_FAILED;
    }
}

enum tls_link_step tls_link_handshake(struct tls_link *l)
{
    int result = SSL_do_handshake(l->ssl);
    l->ready = result == 1;
    return l->ready ? TLS_LINK_DONE : judge(l, result);
}

ssize_t tls_link_read(struct tls_link *l, void *to, size_t n)
{
    int got = SSL_read(l->ssl, to, n < INT32_MAX ? (int)n : INT32_MAX);
    if (got > 0)
        return got;
    if (SSL_get_error(l->ssl, got) == SSL_ERROR_ZERO_RETURN)
        return 0;
    return judge(l, got) == TLS_LINK_FAILED ? CONN_ERROR : CONN_AGAIN;
}

ssize_t tls_link_write(struct tls_link *l, const void *from, size_t n)
{
    int put = SSL_write(l->ssl, from, n < INT32_MAX ? (int)n : INT32_MAX);
    if (put > 0)
        return put;
    return judge(l, put) == TLS_LINK_FAILED ? CONN_ERROR : CONN_AGAIN;
}

const char *tls_link_why(const struct tls_link *l)
{
    return l->why ? l->why : "unknown error";
}
