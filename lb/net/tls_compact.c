/* A conn of TLS 1.3 that has rested: OpenSSL's connection is gone, and its records are opened and sealed here
 * (tls_record.h).
 *
 * The handshake is OpenSSL's. Its traffic secrets are taken down as it makes them, and its records counted,
 * for their numbers are part of the nonces. Once such a connection rests with nothing under way, that is all
 * that is left of it: 13 KiB become a quarter of one. It never goes back. All else that TLS 1.3 knows after a
 * handshake is served: KeyUpdate both ways, alerts, padding; what only a client may be sent is refused. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/panic.h"
#include "net/tls_priv.h"

#define EMPTIES_MAX 32 /* as OpenSSL has it */
#define INBOX_BYTES (64u << 10)
#define WARNING     1
#define FATAL       2
#define KEY_UPDATE  24
#define PIECES_MAX  32 /* of one record; of more it is a shorter one */

/* Lent to one call at a time; nothing re-enters. One for each worker, once it is needed. */
struct tls_bench {
    unsigned char inbox[INBOX_BYTES];
    unsigned char plain[TLS_SEALED_MAX];
    unsigned char out[TLS_SEAL_BYTES];
};

bool tls_compact_prepare(struct tls_worker *tw)
{
    if (!tw->bench)
        tw->bench = malloc(sizeof *tw->bench);
    return tw->bench != NULL;
}

/* ---- sending ---- */

/* What the socket did not take is held, and goes before anything else. False: the connection is broken. */
static bool send_bytes(struct tls *t, const unsigned char *p, size_t n, bool more)
{
    ssize_t put = send(t->conn->fd, p, n, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
    if (put == (ssize_t)n)
        return true;
    if (put < 0 && errno != EAGAIN && errno != EINTR)
        return false;
    size_t sent = put > 0 ? (size_t)put : 0;
    ASSERT(!t->held);
    t->held = malloc(n - sent);
    if (!t->held)
        return false;
    memcpy(t->held, p + sent, n - sent);
    t->held_len = (uint32_t)(n - sent);
    t->conn->may_write = false;
    return true;
}

static bool send_record(struct tls *t, int type, const struct iovec *iov, int count, bool more)
{
    struct tls_own *o = t->own;
    unsigned char *out = t->worker->bench->out;
    size_t n = tls_seal(&t->worker->kit, &o->out, (enum tls_suite)o->suite, type, iov, count, out);
    if (o->out.seq >= t->worker->records_a_key)
        o->owes_update = true;
    return n && send_bytes(t, out, n, more);
}

static bool send_alert(struct tls *t, int level, int what)
{
    unsigned char alert[2] = {(unsigned char)level, (unsigned char)what};
    struct iovec iov = {alert, sizeof alert};
    return t->held || send_record(t, TLS_IS_ALERT, &iov, 1, false);
}

/* Everything that has to go before the next record. False: not now; broken says whether ever. */
static bool catch_up(struct tls *t)
{
    struct tls_own *o = t->own;
    unsigned char message[5] = {KEY_UPDATE, 0, 0, 1, 0};
    struct iovec iov = {message, sizeof message};
    if (t->held && !tls_push(t)) {
        t->conn->may_write = false;
        return false;
    }
    if (!o->owes_update || o->said_goodbye) /* nothing goes behind close_notify (RFC 8446 6.1) */
        return true;
    o->owes_update = false;
    if (!send_record(t, TLS_IS_HANDSHAKE, &iov, 1, false) ||
        !tls_half_update(&t->worker->kit, &o->out, (enum tls_suite)o->suite))
        t->conn->broken = true;
    o->owes_update = false; /* the new key has sealed nothing yet */
    return !t->held && !t->conn->broken;
}

bool tls_compact_flush(struct tls *t)
{
    return catch_up(t);
}

static ssize_t give_up_writing(struct conn *c)
{
    c->broken = true;
    c->may_write = false;
    return CONN_ERROR;
}

/* What is left to be written. */
struct rest {
    const struct iovec *iov;
    int count;
    size_t skip; /* of iov[0] */
    size_t bytes;
};

/* The next pieces of it, up to so many bytes; how many bytes they are. */
static size_t gather(struct rest *r, size_t most, struct iovec out[PIECES_MAX], int *out_count)
{
    size_t all = 0;
    *out_count = 0;
    while (r->count && all < most && *out_count < PIECES_MAX) {
        size_t left = r->iov->iov_len - r->skip, n = left < most - all ? left : most - all;
        out[*out_count] = (struct iovec){(char *)r->iov->iov_base + r->skip, n};
        *out_count += n > 0;
        all += n;
        r->skip += n;
        if (r->skip == r->iov->iov_len) {
            r->iov++;
            r->count--;
            r->skip = 0;
        }
    }
    r->bytes -= all;
    return all;
}

/* A record that had to be held is offered again, and was sealed then already. How many bytes of it. */
static size_t pass_over(struct tls_own *o, struct rest *r)
{
    struct iovec pieces[PIECES_MAX];
    size_t all = 0, n;
    int count;
    while (all < o->pending && (n = gather(r, o->pending - all, pieces, &count)))
        all += n;
    o->pending -= (uint32_t)all;
    return all;
}

static ssize_t compact_writev(struct conn *c, const struct iovec *iov, int count)
{
    struct tls *t = c->tls;
    struct iovec pieces[PIECES_MAX];
    struct rest r = {.iov = iov, .count = count};
    int piece_count;
    for (int i = 0; i < count; i++)
        r.bytes += iov[i].iov_len;
    if (t->fatal)
        return give_up_writing(c);
    if (!catch_up(t))
        return c->broken ? give_up_writing(c) : CONN_AGAIN;
    size_t offered = r.bytes, all = pass_over(t->own, &r), n;
    while ((n = gather(&r, TLS_RECORD_BYTES, pieces, &piece_count))) {
        if (!send_record(t, TLS_IS_DATA, pieces, piece_count, r.bytes > 0))
            return give_up_writing(c);
        if (t->held)
            t->own->pending = (uint32_t)n; /* not written before the socket has all of it */
        else
            all += n;
        if (t->held || (t->own->owes_update && !catch_up(t)))
            break;
    }
    return c->broken ? give_up_writing(c) : all || !offered ? (ssize_t)all : CONN_AGAIN;
}

static ssize_t compact_send_file(struct conn *c, int fd, off_t *offset, size_t n)
{
    char piece[TLS_RECORD_BYTES];
    if (c->tls->held && !catch_up(c->tls))
        return c->broken ? give_up_writing(c) : CONN_AGAIN;
    ssize_t got = pread(fd, piece, n < sizeof piece ? n : sizeof piece, *offset);
    if (got <= 0)
        return got < 0 ? CONN_ERROR : 0;
    struct iovec iov = {piece, (size_t)got};
    ssize_t put = compact_writev(c, &iov, 1);
    if (put > 0)
        *offset += put;
    return put;
}

void tls_compact_goodbye(struct tls *t)
{
    if (t->own->said_goodbye || t->held)
        return;
    t->own->said_goodbye = true;
    (void)send_alert(t, WARNING, TLS_ALERT_CLOSE);
}

static void compact_shutdown(struct conn *c)
{
    struct tls *t = c->tls;
    if (!t->fatal && !c->broken && (!t->held || catch_up(t)))
        tls_compact_goodbye(t);
    if (t->held) {
        t->shut_pending = true;
        c->may_write = false;
        return;
    }
    shutdown(c->fd, SHUT_WR);
}

/* ---- opening ---- */

/* The peer's fault: it is told, and that was the end. */
static int refuse(struct tls *t, int alert)
{
    (void)send_alert(t, FATAL, alert);
    tls_fail(t, TLS_FAIL_OTHER);
    return CONN_ERROR;
}

/* Fatal but for two (RFC 8446 6). */
static int take_alert(struct tls *t, const unsigned char *p, int n)
{
    if (n != 2)
        return refuse(t, TLS_ALERT_DECODE);
    if (p[1] == TLS_ALERT_CANCELED)
        return ++t->own->empties > EMPTIES_MAX ? refuse(t, TLS_ALERT_UNEXPECTED) : 0;
    if (p[1] == TLS_ALERT_CLOSE) {
        t->own->closed = true;
        return 0;
    }
    tls_fail(t, TLS_FAIL_ALERT);
    return CONN_ERROR;
}

/* KeyUpdate alone (RFC 8446 4.6.3), and nothing behind it under the old key (5.1). */
static int take_message(struct tls *t, const unsigned char *p, int n)
{
    struct tls_own *o = t->own;
    static const uint8_t update[4] = {KEY_UPDATE, 0, 0, 1};
    if (!n || n > (int)sizeof o->message - o->message_len)
        return refuse(t, TLS_ALERT_UNEXPECTED);
    memcpy(o->message + o->message_len, p, (size_t)n);
    o->message_len = (uint8_t)(o->message_len + n);
    for (int i = 0; i < 4 && i < o->message_len; i++)
        if (o->message[i] != update[i])
            return refuse(t, TLS_ALERT_UNEXPECTED);
    if (o->message_len < sizeof o->message)
        return 0;
    o->message_len = 0;
    if (o->message[4] > 1)
        return refuse(t, TLS_ALERT_ILLEGAL);
    if (tls_is_flooding(t)) {
        tls_fail(t, TLS_FAIL_ABUSE);
        return CONN_ERROR;
    }
    o->owes_update |= o->message[4] == 1;
    return tls_half_update(&t->worker->kit, &o->in, (enum tls_suite)o->suite) ? 0
                                                                              : refuse(t, TLS_ALERT_INTERNAL);
}

/* Opened bytes: into buf as far as they go, the rest is kept. */
static int deliver(struct tls *t, const unsigned char *p, size_t n, char *buf, size_t room)
{
    struct tls_own *o = t->own;
    size_t now = n < room ? n : room;
    if (now && (const char *)p != buf)
        memcpy(buf, p, now);
    if (now == n)
        return (int)now;
    ASSERT(!o->plain);
    o->plain = malloc(n - now);
    if (!o->plain)
        return refuse(t, TLS_ALERT_INTERNAL);
    memcpy(o->plain, p + now, n - now);
    o->plain_at = 0;
    o->plain_len = (uint32_t)(n - now);
    return (int)now;
}

/* One whole record of n bytes. How many bytes came into buf; CONN_ERROR. */
static int open_record(struct tls *t, const unsigned char *record, size_t n, char *buf, size_t room)
{
    struct tls_own *o = t->own;
    unsigned char *to = n <= room ? (unsigned char *)buf : t->worker->bench->plain;
    int type = 0, len = tls_open(&t->worker->kit, &o->in, (enum tls_suite)o->suite, record, n, to, &type);
    if (len < 0)
        return refuse(t, -len);
    if (type != TLS_IS_HANDSHAKE && o->message_len)
        return refuse(t, TLS_ALERT_UNEXPECTED);
    if (type == TLS_IS_ALERT)
        return take_alert(t, to, len);
    if (type == TLS_IS_HANDSHAKE)
        return take_message(t, to, len);
    if (type != TLS_IS_DATA || (!len && ++o->empties > EMPTIES_MAX))
        return refuse(t, TLS_ALERT_UNEXPECTED);
    if (len)
        o->empties = 0;
    return deliver(t, to, (size_t)len, buf, room);
}

/* ---- reading ---- */

static size_t take_plain(struct tls_own *o, char *buf, size_t n)
{
    size_t left = o->plain_len - o->plain_at;
    if (!o->plain || !n)
        return 0;
    n = n < left ? n : left;
    memcpy(buf, o->plain + o->plain_at, n);
    o->plain_at += (uint32_t)n;
    if (n == left) {
        OPENSSL_cleanse(o->plain, o->plain_len);
        free(o->plain);
        o->plain = NULL;
    }
    return n;
}

/* Of one call: sealed bytes in the worker's inbox. */
struct inbox {
    unsigned char *p;
    size_t at, len;
};

/* More from the socket. 0: not now, or never (t->raw_eof); CONN_ERROR: it is broken. */
static int pull(struct tls *t, struct inbox *in)
{
    memmove(in->p, in->p + in->at, in->len - in->at);
    in->len -= in->at;
    in->at = 0;
    if (t->raw_empty || t->raw_eof)
        return 0;
    size_t room = INBOX_BYTES - in->len;
    ssize_t got = recv(t->conn->fd, in->p + in->len, room, 0);
    if (got > 0) {
        in->len += (size_t)got;
        t->raw_empty = (size_t)got < room && !t->conn->peer_done;
        return (int)got;
    }
    if (got < 0 && errno != EAGAIN && errno != EINTR)
        return CONN_ERROR;
    *(got == 0 ? &t->raw_eof : &t->raw_empty) = true;
    return 0;
}

/* The next record, from the socket if need be: as open_record. *out_over: there is none. */
static int open_next(struct tls *t, struct inbox *in, char *buf, size_t room, bool *out_over)
{
    int len;
    for (;;) {
        len = tls_record_bytes(in->p + in->at, in->len - in->at);
        if (len < 0)
            return refuse(t, -len);
        if (len && (size_t)len <= in->len - in->at)
            break;
        int got = pull(t, in);
        if (got < 0)
            tls_fail(t, TLS_FAIL_CLOSED);
        *out_over = got <= 0;
        if (got <= 0)
            return got;
    }
    int put = open_record(t, in->p + in->at, (size_t)len, buf, room);
    in->at += (size_t)len;
    return put;
}

/* Opens what is there until buf is full, or, without one, until something is kept for the next reader. How
 * many bytes are in buf; CONN_ERROR when none is and none will be. Stops in front of the end of the stream.
 */
static ssize_t open_all(struct tls *t, struct inbox *in, char *buf, size_t n)
{
    size_t have = 0;
    bool over = false;
    while (!over && !t->own->plain && !t->own->closed && (have < n || !n)) {
        int put = open_next(t, in, n ? buf + have : NULL, n - have, &over);
        if (put < 0)
            return have ? (ssize_t)have : CONN_ERROR; /* what came before goes first */
        have += (size_t)put;
    }
    return (ssize_t)have;
}

/* The inbox is the worker's: what is left in there stays with the connection. */
static bool keep(struct tls *t, const struct inbox *in)
{
    struct tls_own *o = t->own;
    size_t n = in->len - in->at;
    if (!n && !o->kept)
        return true;
    unsigned char *kept = n ? realloc(o->kept, n) : NULL;
    if (!kept)
        free(o->kept);
    o->kept = kept;
    o->kept_len = kept ? (uint32_t)n : 0;
    if (kept)
        memcpy(kept, in->p + in->at, n);
    return kept || !n;
}

static bool has_more(const struct tls_own *o)
{
    int len = tls_record_bytes(o->kept, o->kept_len);
    return o->plain || o->closed || len < 0 || (len && (size_t)len <= o->kept_len);
}

/* As conn_read; n 0: only looks, and keeps what it finds. */
static ssize_t read_some(struct conn *c, char *buf, size_t n)
{
    struct tls *t = c->tls;
    struct tls_own *o = t->own;
    struct inbox in = {t->worker->bench->inbox, 0, o->kept_len};
    t->raw_empty = false;
    if (t->fatal)
        return CONN_ERROR;
    if (o->kept)
        memcpy(in.p, o->kept, o->kept_len);
    ssize_t have = open_all(t, &in, buf, n);
    if (have >= 0 && !t->fatal && !keep(t, &in))
        have = refuse(t, TLS_ALERT_INTERNAL);
    if (have < 0)
        return CONN_ERROR;
    c->may_read = t->fatal || has_more(o) || !t->raw_empty;
    if (!t->fatal && o->owes_update && c->may_write && !t->held)
        (void)catch_up(t);
    return have;
}

static ssize_t compact_read(struct conn *c, void *buf, size_t n)
{
    struct tls *t = c->tls;
    struct tls_own *o = t->own;
    size_t have = take_plain(o, buf, n);
    if (have)
        return (ssize_t)have; /* may_read stays: nobody has asked the socket */
    ssize_t got = read_some(c, buf, n);
    if (got > 0)
        return got;
    if (got < 0) {
        c->broken = true;
        return CONN_ERROR;
    }
    if (o->closed) {
        c->eof = c->peer_done = true;
        c->may_read = false;
        return 0;
    }
    if (!t->raw_eof)
        return CONN_AGAIN;
    tls_fail(t, TLS_FAIL_CLOSED); /* without a goodbye */
    return CONN_ERROR;
}

static int compact_peek(struct conn *c)
{
    struct tls *t = c->tls;
    if (!t->own->plain && !t->own->closed && read_some(c, NULL, 0) < 0)
        return CONN_ERROR;
    if (t->own->plain)
        return 1;
    if (t->own->closed)
        return 0;
    c->may_read |= t->raw_eof; /* looked at, not taken: the next read says it */
    return t->raw_eof ? CONN_ERROR : CONN_AGAIN;
}

const struct conn_ops conn_compact = {
    .name = "tls",
    .read = compact_read,
    .writev = compact_writev,
    .send_file = compact_send_file,
    .shutdown = compact_shutdown,
    .peek = compact_peek,
};
