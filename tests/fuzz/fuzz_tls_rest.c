/* fuzz_tls_rest: a connection that makes its TLS records itself, and a peer that knows the keys.
 *
 * The input is a script: what the peer sends (whole records of any type, contents and padding; pieces of
 * them; bytes that are none), and what the server's side does meanwhile (reads, writes, looks, says goodbye).
 * Whatever happens, the server reads exactly the data that the peer sealed, in order, up to where the peer
 * broke a rule; and the peer can open every record that the server sends. */
#include <openssl/crypto.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../tls_files.h"
#include "net/tls_priv.h"

#define DATA_MAX (1u << 20)

static struct {
    struct worker w;
    struct tls_worker *tw;
    struct tls_listener_settings settings;
    struct tls_certificate_settings certificate;
    struct tls_store *store;
    struct tls_server *server;
    bool ready;
    char sent[DATA_MAX];       /* data that was sealed by the peer */
    unsigned char in[1 << 16]; /* what the server sent, not opened yet */
} rig;

/* One script's. */
struct play {
    struct conn c;
    int peer;
    enum tls_suite suite;
    struct tls_kit kit;
    struct tls_half seals, opens; /* the peer's */
    size_t sent, got, in;         /* bytes of data; of rig.in */
    bool is_rude;                 /* the peer broke a rule: what comes then may be cut anywhere */
    bool has_goodbye;             /* of the server's */
    const uint8_t *p;
    size_t n;
};

static void on_ready(struct conn *c)
{
    (void)c;
}

static void make_rig(void)
{
    static char file[] = "one";
    struct buf bytes, errors;
    int kept;
    buf_init(&bytes);
    buf_init(&errors);
    ASSERT(worker_init(&rig.w, 0));
    options_init(&tls_listener_table, &rig.settings);
    put_pair(&bytes, file, "DNS:one.test");
    options_init(&tls_certificate_table, &rig.certificate);
    rig.certificate.cert = file;
    rig.settings.certificates = (struct option_list){&rig.certificate, 1};
    struct bundle b = {buf_str(&bytes)};
    rig.store = tls_store_create(&rig.settings, &b, "fuzz", NULL, &errors, &kept);
    rig.tw = tls_worker_create(&rig.w);
    rig.server = rig.store ? tls_server_create(&rig.settings, rig.store, 60, &errors) : NULL;
    ASSERT(rig.store && rig.tw && rig.server);
    buf_fini(&bytes);
    buf_fini(&errors);
    rig.ready = true;
}

/* As tls_rest leaves it, without the handshake before. */
static void open_play(struct play *y)
{
    unsigned char secret[TLS_SECRET_BYTES];
    int ends[2], room = 4096;
    size_t n = tls_suite_secret_bytes(y->suite);
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    y->peer = ends[1];
    ASSERT(conn_open(&y->c, &rig.w, ends[0], on_ready) && tls_accept(&y->c, rig.tw, rig.server));
    struct tls *t = y->c.tls;
    SSL_free(t->ssl);
    t->ssl = NULL;
    t->handshaking = false;
    t->early = EARLY_NONE;
    list_remove(&t->node);
    list_init(&t->node);
    t->own = must(calloc(1, sizeof *t->own));
    t->own->suite = (uint8_t)y->suite;
    t->own->cipher = "fuzz";
    memset(secret, 1, sizeof secret);
    ASSERT(tls_half_init(&t->own->in, secret, n) && tls_half_init(&y->seals, secret, n));
    memset(secret, 2, sizeof secret);
    ASSERT(tls_half_init(&t->own->out, secret, n) && tls_half_init(&y->opens, secret, n));
    ASSERT(tls_compact_prepare(rig.tw));
    y->c.ops = &conn_compact;
    y->c.may_read = y->c.may_write = true;
}

static void close_play(struct play *y)
{
    conn_close(&y->c);
    close(y->peer);
    tls_half_fini(&y->kit, &y->seals, y->suite);
    tls_half_fini(&y->kit, &y->opens, y->suite);
    tls_kit_fini(&y->kit);
}

static uint8_t take(struct play *y)
{
    if (!y->n)
        return 0;
    y->n--;
    return *y->p++;
}

static void put(struct play *y, const unsigned char *p, size_t n)
{
    if (send(y->peer, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n)
        y->is_rude = true; /* a record in part, and nothing behind it makes sense */
    y->c.may_read = true;
}

/* Type, contents, padding; the contents are the script's own bytes, or as many of one kind. */
static void send_record(struct play *y)
{
    static unsigned char text[16384], sealed[TLS_SEAL_BYTES];
    int type = TLS_IS_DATA, choice = take(y);
    size_t n = take(y), padding = choice & 64 ? take(y) : 0;
    if (choice & 128)
        n *= 60;
    if ((choice & 7) == 1)
        type = TLS_IS_HANDSHAKE;
    else if ((choice & 7) == 2)
        type = TLS_IS_ALERT;
    else if ((choice & 7) == 3)
        type = choice >> 3 & 7;
    for (size_t i = 0; i < n; i++)
        text[i] = i < 8 ? take(y) : (unsigned char)i;
    if (type == TLS_IS_DATA && y->sent + n > DATA_MAX)
        return;
    memset(text + n, 0, padding);
    struct iovec iov = {text, n};
    if (padding) { /* the type stands before it */
        text[n] = (unsigned char)type;
        iov.iov_len = n + padding;
    }
    size_t len = tls_seal(&y->kit, &y->seals, y->suite, padding ? 0 : type, &iov, 1, sealed);
    ASSERT(len > 0);
    bool is_update = type == TLS_IS_HANDSHAKE && n == 5 && memcmp(text, "\x18\0\0\1", 4) == 0 && text[4] < 2;
    if (type == TLS_IS_DATA) {
        memcpy(rig.sent + y->sent, text, n);
        y->sent += n;
    }
    if (!is_update && (type != TLS_IS_DATA || !n))
        y->is_rude = true; /* or a warning: it may go on */
    put(y, sealed, len);
    if (is_update)
        ASSERT(tls_half_update(&y->kit, &y->seals, y->suite));
}

static void send_bytes(struct play *y)
{
    size_t n = take(y) % 64;
    n = n < y->n ? n : y->n;
    y->is_rude |= n > 0;
    put(y, y->p, n);
    y->p += n;
    y->n -= n;
}

static void check_read(struct play *y, size_t n)
{
    static char got[1 << 15];
    ssize_t have = conn_read(&y->c, got, n < sizeof got ? n : sizeof got);
    if (have > 0) {
        ASSERT(y->got + (size_t)have <= y->sent);
        ASSERT(memcmp(got, rig.sent + y->got, (size_t)have) == 0);
        y->got += (size_t)have;
    }
    ASSERT(have != CONN_ERROR || y->is_rude || y->c.broken);
    ASSERT(have != 0 || y->is_rude);
}

/* Whole records of the server's, each of which can be opened. */
static void open_all(struct play *y)
{
    static unsigned char plain[TLS_SEALED_MAX];
    size_t at = 0;
    for (;;) {
        int len = tls_record_bytes(rig.in + at, y->in - at), type = 0;
        ASSERT(len >= 0);
        if (!len || (size_t)len > y->in - at)
            break;
        ASSERT(!y->has_goodbye);
        int n = tls_open(&y->kit, &y->opens, y->suite, rig.in + at, (size_t)len, plain, &type);
        ASSERT(n >= 0);
        if (type == TLS_IS_HANDSHAKE) {
            ASSERT(n == 5 && plain[0] == 24);
            ASSERT(tls_half_update(&y->kit, &y->opens, y->suite));
        } else if (type == TLS_IS_ALERT) {
            ASSERT(n == 2 && (plain[1] != TLS_ALERT_CLOSE || plain[0] == 1));
            y->has_goodbye = true;
        } else
            ASSERT(type == TLS_IS_DATA);
        at += (size_t)len;
    }
    memmove(rig.in, rig.in + at, y->in - at);
    y->in -= at;
}

static void look_at_server(struct play *y)
{
    ssize_t got = recv(y->peer, rig.in + y->in, sizeof rig.in - y->in, MSG_DONTWAIT);
    if (got > 0) {
        y->in += (size_t)got;
        open_all(y);
        y->c.may_write = true;
    }
}

static void write_some(struct play *y)
{
    static char text[1 << 15];
    size_t n = (size_t)take(y) << (take(y) & 7);
    struct iovec iov[2] = {{text, n / 3}, {text, n - n / 3}};
    if (y->c.may_write && !y->c.shut && !y->c.broken)
        (void)conn_writev(&y->c, iov, 2);
}

static void step(struct play *y)
{
    switch (take(y) & 7) {
    case 0:
        send_bytes(y);
        break;
    case 1:
        look_at_server(y);
        break;
    case 2:
        write_some(y);
        break;
    case 3:
        (void)conn_peek(&y->c);
        break;
    case 4:
        if (take(y) == 7 && !y->c.shut)
            conn_shutdown(&y->c);
        break;
    case 5:
        check_read(y, 1u + take(y) * 131u);
        break;
    default:
        send_record(y);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct play y = {.p = data, .n = size};
    if (!rig.ready)
        make_rig();
    if (size < 2)
        return 0;
    y.suite = (enum tls_suite)(take(&y) % TLS_SUITES);
    open_play(&y);
    while (y.n && !y.c.broken)
        step(&y);
    for (int i = 0; i < 100 && !y.c.broken && y.c.may_read && !y.c.eof; i++)
        check_read(&y, 30000);
    ASSERT(y.is_rude || y.c.broken || y.got == y.sent);
    for (int i = 0; i < 20; i++)
        look_at_server(&y);
    close_play(&y);
    return 0;
}
