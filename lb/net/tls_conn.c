/* A conn that speaks TLS: reading, writing, the end. */
#include <unistd.h>

#include "base/panic.h"
#include "net/tls_priv.h"

static struct tls *tls_of_conn(struct conn *c)
{
    CHECK_MAGIC(c->tls, TLS_MAGIC);
    return c->tls;
}

/* What a call that got no further wants; true when that is nothing but time. */
static bool is_waiting(struct tls *t, int result)
{
    int error = SSL_get_error(t->ssl, result);
    if (error == SSL_ERROR_WANT_READ) {
        t->conn->may_read = false;
        return true;
    }
    if (error == SSL_ERROR_WANT_WRITE) {
        t->conn->may_write = false;
        return true;
    }
    return false;
}

static ssize_t read_ended(struct tls *t, int result)
{
    struct conn *c = t->conn;
    if (SSL_get_error(t->ssl, result) == SSL_ERROR_ZERO_RETURN) {
        c->eof = c->peer_done = true;
        c->may_read = false;
        return 0;
    }
    bool wants_write = SSL_want_write(t->ssl);
    if (!t->fatal && is_waiting(t, result)) {
        t->read_wants_write = wants_write;
        c->may_read = false;
        return CONN_AGAIN;
    }
    tls_fail(t, t->raw_eof ? TLS_FAIL_CLOSED : TLS_FAIL_OTHER);
    return CONN_ERROR;
}

/* What came early is handed over alone, one record a call: OpenSSL goes on with the handshake when it finds
 * no more of it, and whoever reads must see that it is early. */
static ssize_t read_early(struct tls *t, char *buf, size_t n)
{
    size_t have = 0, got = 0;
    if (t->has_early_byte) {
        buf[have++] = t->early_byte;
        t->has_early_byte = false;
    }
    int result =
        have < n ? SSL_read_early_data(t->ssl, buf + have, n - have, &got) : SSL_READ_EARLY_DATA_SUCCESS;
    have += got;
    if (result == SSL_READ_EARLY_DATA_FINISH)
        t->early = EARLY_OVER;
    else if (result == SSL_READ_EARLY_DATA_ERROR) {
        ssize_t end = read_ended(t, 0);
        if (!have)
            return end;
    }
    t->conn->may_read = true; /* the handshake's own messages are still to come */
    return (ssize_t)have;
}

/* A goodbye that had to wait for the handshake. */
static void catch_up(struct tls *t)
{
    if (!SSL_is_init_finished(t->ssl))
        return;
    t->early = EARLY_NONE;
    if (t->shut_pending) {
        t->shut_pending = false;
        conn_tls.shutdown(t->conn);
    }
}

static ssize_t tls_read(struct conn *c, void *buf, size_t n)
{
    struct tls *t = tls_of_conn(c);
    size_t have = 0;
    t->raw_empty = false;
    if (t->early != EARLY_NONE) {
        ssize_t early = t->early == EARLY_OPEN && !t->fatal ? read_early(t, buf, n) : 0;
        if (early)
            return early;
    }
    while (have < n && !t->fatal) {
        size_t more = n - have;
        int got = SSL_read(t->ssl, (char *)buf + have, more < INT32_MAX ? (int)more : INT32_MAX);
        if (got > 0) {
            have += (size_t)got;
            continue;
        }
        ssize_t end = read_ended(t, got);
        if (t->early != EARLY_NONE)
            catch_up(t);
        if (!have)
            return end;
        if (end != CONN_AGAIN) { /* what came before goes first; the next call says how it ended */
            c->may_read = true;
            c->eof = false;
        }
        return (ssize_t)have;
    }
    c->may_read = have > 0;
    if (have)
        return (ssize_t)have;
    c->broken = true;
    return CONN_ERROR;
}

/* Of up to one record from the front of what is left. Several small pieces become one record: `stage` has
 * room for it. */
struct pieces {
    const struct iovec *iov;
    int count;
    size_t skip; /* of iov[0] */
};

static struct str next_record(const struct pieces *p, char *stage)
{
    size_t have = 0, skip = p->skip;
    struct str first = STR_NULL;
    for (int i = 0; i < p->count && have < TLS_RECORD_BYTES; i++, skip = 0) {
        size_t n = p->iov[i].iov_len - skip, room = TLS_RECORD_BYTES - have;
        const char *from = (const char *)p->iov[i].iov_base + skip;
        if (!n)
            continue;
        if (n > room)
            n = room;
        if (!first.n) { /* alone it needs no copy */
            first = str_make(from, n);
            have = n;
            continue;
        }
        if (have == first.n)
            memcpy(stage, first.p, first.n);
        memcpy(stage + have, from, n);
        have += n;
    }
    return have == first.n ? first : str_make(stage, have);
}

static void advance(struct pieces *p, size_t n)
{
    while (p->count && n >= p->iov->iov_len - p->skip) {
        n -= p->iov->iov_len - p->skip;
        p->iov++;
        p->count--;
        p->skip = 0;
    }
    p->skip += n;
}

/* Before the handshake is over the client is not known to be more than a repetition; it may be answered,
 * though. */
static int write_early(struct tls *t, struct str bytes)
{
    size_t put = 0;
    if (SSL_is_init_finished(t->ssl))
        return SSL_write(t->ssl, bytes.p, (int)bytes.n);
    return SSL_write_early_data(t->ssl, bytes.p, bytes.n, &put) == 1 ? (int)put : 0;
}

static ssize_t write_one(struct tls *t, struct str bytes)
{
    int put = t->fatal                 ? -1
              : t->early != EARLY_NONE ? write_early(t, bytes)
                                       : SSL_write(t->ssl, bytes.p, (int)bytes.n);
    t->half_written = put <= 0;
    if (put > 0)
        return put;
    if (!t->fatal && is_waiting(t, put)) {
        t->write_wants_read = t->conn->may_write;
        t->conn->may_write = false;
        return CONN_AGAIN;
    }
    ERR_clear_error();
    t->conn->broken = true;
    t->conn->may_write = false;
    return CONN_ERROR;
}

static ssize_t tls_writev(struct conn *c, const struct iovec *iov, int count)
{
    struct tls *t = tls_of_conn(c);
    struct pieces p = {iov, count, 0};
    char stage[TLS_RECORD_BYTES];
    ssize_t all = 0;
    size_t left = 0;
    t->raw_empty = false;
    for (int i = 0; i < count; i++)
        left += iov[i].iov_len;
    for (;;) {
        struct str bytes = next_record(&p, stage);
        if (!bytes.n)
            return all;
        t->has_more = left > bytes.n;
        ssize_t put = write_one(t, bytes);
        t->has_more = false;
        if (put < 0)
            return all ? all : put;
        all += put;
        left -= (size_t)put;
        advance(&p, (size_t)put);
    }
}

/* One record a call; the caller comes back. A record that the socket did not take is offered again with the
 * same length: *offset has not moved. */
static ssize_t tls_send_file(struct conn *c, int fd, off_t *offset, size_t n)
{
    char stage[TLS_RECORD_BYTES];
    ssize_t got = pread(fd, stage, n < sizeof stage ? n : sizeof stage, *offset);
    if (got < 0)
        return CONN_ERROR;
    if (got == 0)
        return 0;
    ssize_t put = write_one(tls_of_conn(c), str_make(stage, (size_t)got));
    if (put > 0)
        *offset += put;
    return put;
}

/* close_notify, then FIN: RFC 8446 6.1. False: the socket has no room for it yet. */
static bool say_goodbye(struct tls *t)
{
    int result = SSL_shutdown(t->ssl);
    if (result >= 0)
        return true;
    bool wait = SSL_get_error(t->ssl, result) == SSL_ERROR_WANT_WRITE;
    ERR_clear_error();
    return !wait;
}

static void tls_shutdown(struct conn *c)
{
    struct tls *t = tls_of_conn(c);
    if (t->early != EARLY_NONE && !t->fatal && !SSL_is_init_finished(t->ssl)) {
        t->shut_pending = true; /* reading goes on, and with it the handshake */
        return;
    }
    if (!t->handshaking && !t->fatal && !say_goodbye(t)) {
        t->shut_pending = true;
        c->may_write = false;
        return;
    }
    shutdown(c->fd, SHUT_WR);
}

static int tls_peek(struct conn *c)
{
    struct tls *t = tls_of_conn(c);
    char byte;
    if (t->fatal)
        return CONN_ERROR;
    if (t->early == EARLY_OPEN)
        return t->has_early_byte ? 1 : CONN_AGAIN;
    t->raw_empty = false;
    int got = SSL_peek(t->ssl, &byte, 1);
    if (got > 0)
        return 1;
    if (SSL_get_error(t->ssl, got) == SSL_ERROR_ZERO_RETURN)
        return 0;
    bool was_broken = c->broken;
    ssize_t end = read_ended(t, got);
    c->broken = was_broken; /* looked at, not taken: the next read says it */
    c->may_read |= end == CONN_ERROR;
    return end == CONN_AGAIN ? CONN_AGAIN : CONN_ERROR;
}

const struct conn_ops conn_tls = {
    .name = "tls",
    .read = tls_read,
    .writev = tls_writev,
    .send_file = tls_send_file,
    .shutdown = tls_shutdown,
    .peek = tls_peek,
};

bool tls_on_event(struct conn *c)
{
    struct tls *t = tls_of_conn(c);
    if (t->held && c->may_write)
        c->may_write = tls_push(t);
    if (t->handshaking)
        return tls_handshake(t);
    if (!t->ssl && c->may_write && !tls_compact_flush(t))
        return true;
    if (t->read_wants_write && c->may_write) {
        t->read_wants_write = false;
        c->may_read = true;
    }
    if (t->write_wants_read && c->may_read) {
        t->write_wants_read = false;
        c->may_write = true;
    }
    if (t->shut_pending && c->may_write) {
        t->shut_pending = false;
        c->ops->shutdown(c);
    }
    return true;
}

void tls_close(struct conn *c, bool in_a_hurry)
{
    struct tls *t = tls_of_conn(c);
    bool polite = !in_a_hurry && !t->handshaking && !t->fatal && !c->shut && !c->broken;
    if (polite && !t->ssl)
        tls_compact_goodbye(t);
    else if (polite)
        (void)say_goodbye(t);
    list_remove(&t->node);
    if (t->ssl)
        SSL_set_shutdown(t->ssl,
                         SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* else its session counts as bad */
    SSL_free(t->ssl);
    tls_own_free(t);
    tls_store_unref(&t->store);
    tls_client_unref(&t->client);
    t->magic = 0;
    free(t->held);
    free(t->ahead);
    free(t->identity);
    free(t);
    c->tls = NULL;
    c->ops = &conn_plain;
}

/* ---- asked about ---- */

enum alpn conn_alpn(const struct conn *c)
{
    return c->tls && !c->tls->handshaking ? (enum alpn)c->tls->alpn : ALPN_NONE;
}

bool tls_is_handshaking(const struct conn *c)
{
    return c->tls && c->tls->handshaking;
}

bool tls_is_resumed(const struct conn *c)
{
    const struct tls *t = c->tls;
    return t && !t->handshaking && (t->ssl ? SSL_session_reused(t->ssl) : t->own->resumed);
}

bool tls_is_early(const struct conn *c)
{
    return c->tls && c->tls->early != EARLY_NONE && !SSL_is_init_finished(c->tls->ssl);
}

const char *tls_version(const struct conn *c)
{
    return !c->tls ? "" : c->tls->ssl ? SSL_get_version(c->tls->ssl) : TLS_COMPACT_VERSION;
}

const char *tls_cipher(const struct conn *c)
{
    return !c->tls ? "" : c->tls->ssl ? SSL_get_cipher_name(c->tls->ssl) : c->tls->own->cipher;
}

enum tls_failure tls_failure(const struct conn *c)
{
    return c->tls ? (enum tls_failure)c->tls->failure : TLS_FINE;
}

const char *tls_failure_text(const struct conn *c)
{
    return c->tls && c->tls->failure_text ? c->tls->failure_text : "";
}
