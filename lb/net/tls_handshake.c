/* Handshakes, within the budget of a loop turn, and why they fail. */
#include <stdlib.h>

#include "base/panic.h"
#include "net/tls_priv.h"
#include "net/tls_schedule.h"

#define KEY_UPDATE_MS 60000

/* ---- the line of those that wait ---- */

static uint64_t spent(struct tls_worker *tw)
{
    if (tw->turn_ns != tw->worker->turn_ns) {
        tw->turn_ns = tw->worker->turn_ns;
        tw->spent_ns = 0;
    }
    return tw->spent_ns;
}

/* The oldest first, until the time of this turn is up. */
static void on_run(struct run_node *n)
{
    struct tls_worker *tw = CONTAINER_OF(n, struct tls_worker, run);
    struct list *node;
    while (spent(tw) < TLS_HANDSHAKE_NS && (node = list_shift(&tw->waiting))) {
        struct conn *c = CONTAINER_OF(node, struct tls, node)->conn;
        if (tls_on_event(c))
            c->on_ready(c);
    }
    if (!list_is_empty(&tw->waiting))
        run_queue_add(tw->worker, &tw->run);
}

struct tls_worker *tls_worker_create(struct worker *w)
{
    struct tls_worker *tw = calloc(1, sizeof *tw);
    if (!tw)
        return NULL;
    tw->worker = w;
    tw->records_a_key = TLS_RECORDS_A_KEY;
    tw->bio = tls_bio_method();
    tw->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    list_init(&tw->waiting);
    run_node_init(&tw->run, on_run);
    if (!tw->bio || !tw->cipher)
        tls_worker_destroy(&tw);
    return tw;
}

void tls_worker_destroy(struct tls_worker **ptw)
{
    struct tls_worker *tw = *ptw;
    *ptw = NULL;
    if (!tw)
        return;
    ASSERT(list_is_empty(&tw->waiting));
    run_queue_remove(&tw->run);
    BIO_meth_free(tw->bio);
    EVP_CIPHER_free(tw->cipher);
    explicit_bzero(&tw->tickets, sizeof tw->tickets);
    tls_kit_fini(&tw->kit);
    free(tw->bench);
    free(tw);
}

void tls_worker_set_tickets(struct tls_worker *tw, const struct ticket_keys *keys)
{
    tw->tickets = *keys;
    tw->has_tickets = true;
}

/* ---- after the handshake ---- */

/* A minute's worth of KeyUpdates; each makes us derive keys, and may ask for an answer (RFC 8446 4.6.3). */
bool tls_is_flooding(struct tls *t)
{
    uint64_t now = t->conn->worker->now_ms;
    if (now - t->key_updates_ms >= KEY_UPDATE_MS) {
        t->key_updates_ms = now;
        t->key_updates = 0;
    }
    int64_t most = t->server   ? t->server->settings->max_key_updates
                   : t->client ? t->client->max_key_updates
                               : 0;
    return ++t->key_updates > most;
}

static void on_message(int is_sent, int version, int type, const void *p, size_t n, SSL *ssl, void *arg)
{
    struct tls *t = tls_of(ssl);
    const unsigned char *bytes = p;
    (void)version;
    (void)arg;
    if (t)
        tls_count_record(t, is_sent, type, bytes);
    if (!t || t->handshaking)
        return;
    /* OpenSSL answers renegotiation with a warning, again and again; once is enough. */
    bool asked_again = is_sent && type == SSL3_RT_ALERT && n == 2 && bytes[1] == SSL_AD_NO_RENEGOTIATION;
    bool key_update = !is_sent && type == SSL3_RT_HANDSHAKE && n && bytes[0] == SSL3_MT_KEY_UPDATE;
    if (asked_again || (key_update && tls_is_flooding(t)))
        tls_fail(t, TLS_FAIL_ABUSE);
}

bool tls_ctx_basics(SSL_CTX *ctx, int min_version, int max_version)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1); /* header and body of a record in one system call */
    SSL_CTX_set_msg_callback(ctx, on_message);
    return SSL_CTX_set_min_proto_version(ctx, versions[min_version]) &&
           SSL_CTX_set_max_proto_version(ctx, versions[max_version]);
}

struct tls *tls_create(struct conn *c, struct tls_worker *tw, SSL_CTX *ctx)
{
    struct tls *t = calloc(1, sizeof *t);
    BIO *bio = BIO_new(tw->bio);
    SSL *ssl = SSL_new(ctx);
    if (!t || !bio || !ssl || !SSL_set_app_data(ssl, t)) {
        free(t);
        BIO_free(bio);
        SSL_free(ssl);
        ERR_clear_error();
        return NULL;
    }
    t->magic = TLS_MAGIC;
    t->conn = c;
    t->worker = tw;
    t->ssl = ssl;
    t->handshaking = true;
    t->auth_mode = CLIENT_AUTH_OFF;
    list_init(&t->node);
    BIO_set_data(bio, t);
    SSL_set_bio(ssl, bio, bio);
    c->tls = t;
    c->ops = &conn_tls;
    return t;
}

/* ---- why it failed ---- */

const char *tls_failure_name(enum tls_failure why)
{
    static const char *const names[TLS_FAILURES] = {
        [TLS_FINE] = "-",
        [TLS_FAIL_TIMEOUT] = "timeout",
        [TLS_FAIL_CLOSED] = "closed",
        [TLS_FAIL_NOT_TLS] = "not_tls",
        [TLS_FAIL_VERSION] = "version",
        [TLS_FAIL_CIPHER] = "cipher",
        [TLS_FAIL_ALPN] = "alpn",
        [TLS_FAIL_SNI] = "sni",
        [TLS_FAIL_CERTIFICATE] = "certificate",
        [TLS_FAIL_ALERT] = "alert",
        [TLS_FAIL_ABUSE] = "abuse",
        [TLS_FAIL_OTHER] = "other",
    };
    ASSERT((unsigned)why < TLS_FAILURES && names[why]);
    return names[why];
}

static enum tls_failure classify(unsigned long error)
{
    int reason = ERR_GET_REASON(error);
    if (ERR_GET_LIB(error) != ERR_LIB_SSL)
        return TLS_FAIL_OTHER;
    switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        return TLS_FAIL_NOT_TLS;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
        return TLS_FAIL_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_GROUPS:
        return TLS_FAIL_CIPHER;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return TLS_FAIL_ALPN;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return TLS_FAIL_CERTIFICATE;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return TLS_FAIL_CLOSED;
    default: /* OpenSSL gives alerts of the peer numbers above 1000 */
        return reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256 ? TLS_FAIL_ALERT
                                                                                     : TLS_FAIL_OTHER;
    }
}

void tls_fail(struct tls *t, enum tls_failure why)
{
    unsigned long error = ERR_peek_error();
    if (why == TLS_FAIL_OTHER && error)
        why = classify(error);
    if (why == TLS_FAIL_CERTIFICATE && t->ssl && SSL_get_verify_result(t->ssl) != X509_V_OK)
        t->failure_text = X509_verify_cert_error_string(SSL_get_verify_result(t->ssl));
    else if (error)
        t->failure_text = ERR_reason_error_string(error);
    ERR_clear_error();
    if (t->failure == TLS_FINE)
        t->failure = (uint8_t)why;
    t->fatal = t->conn->broken = true;
    t->conn->may_read = t->conn->may_write = false;
    if (!t->handshaking) /* an event for the owner, who may be waiting for something else */
        shutdown(t->conn->fd, SHUT_RDWR);
}

/* ---- one step ---- */

/* The first bytes may have come along with the last message. If they have not, a read would be told nothing
 * but EAGAIN: the socket was asked for more than it had, and says so when there is more. */
static bool may_have_bytes(const struct tls *t)
{
    return t->early != EARLY_NONE || !t->raw_empty || t->ahead || SSL_has_pending(t->ssl);
}

static void succeed(struct tls *t)
{
    const unsigned char *alpn;
    unsigned n;
    SSL_get0_alpn_selected(t->ssl, &alpn, &n);
    t->alpn = (uint8_t)tls_alpn_of(alpn, n);
    t->handshaking = false;
    t->site = NULL;
    tls_store_unref(&t->store);
    ERR_clear_error(); /* what went well in the end may have left something that SSL_get_error looks at */
    t->conn->may_read = may_have_bytes(t);
    t->conn->may_write = true;
}

/* 1: the handshake is over, or so far that early data can be read. */
static int go_on(struct tls *t)
{
    size_t n = 0;
    if (t->early != EARLY_EXPECTED)
        return SSL_do_handshake(t->ssl);
    switch (SSL_read_early_data(t->ssl, &t->early_byte, 1, &n)) {
    case SSL_READ_EARLY_DATA_SUCCESS:
        t->early = EARLY_OPEN;
        t->has_early_byte = n == 1;
        return 1;
    case SSL_READ_EARLY_DATA_FINISH:
        t->early = EARLY_NONE;
        return SSL_do_handshake(t->ssl);
    default:
        return 0;
    }
}

static bool step(struct tls *t)
{
    struct conn *c = t->conn;
    t->raw_empty = false;
    t->staging = true;
    tls_schedule_for(t->server && t->server->settings->rest ? t : NULL);
    int result = go_on(t);
    tls_schedule_for(NULL);
    bool has_room = tls_push(t);
    t->staging = false;
    if (!tls_keep_ahead(t)) { /* no memory: never go on with a gap */
        tls_fail(t, TLS_FAIL_OTHER);
        return true;
    }
    if (result == 1) {
        succeed(t);
        c->may_write = has_room;
        return true;
    }
    c->may_write &= has_room;
    int error = SSL_get_error(t->ssl, result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        t->wants_write = error == SSL_ERROR_WANT_WRITE;
        *(t->wants_write ? &c->may_write : &c->may_read) = false;
        return t->fatal;
    }
    bool silent = !ERR_peek_error();
    tls_fail(t, silent ? TLS_FAIL_CLOSED : TLS_FAIL_OTHER);
    return true;
}

bool tls_handshake(struct tls *t)
{
    struct tls_worker *tw = t->worker;
    if (t->fatal)
        return true;
    if (!(t->wants_write ? t->conn->may_write : t->conn->may_read))
        return false;
    if (spent(tw) >= TLS_HANDSHAKE_NS) {
        if (list_is_empty(&t->node))
            list_push(&tw->waiting, &t->node);
        run_queue_add(tw->worker, &tw->run);
        return false;
    }
    list_remove(&t->node);
    uint64_t begin = clock_now_ns();
    bool over = step(t);
    tw->spent_ns += clock_now_ns() - begin;
    return over;
}
