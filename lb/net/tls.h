/* tls: TLS as another kind of conn, the one door to OpenSSL.
 *
 *   tls_store   certificates of one listener with their hosts; immutable, counted, shared by workers
 *   tls_server  what one worker needs to accept on one listener: a context of OpenSSL and the current store
 *   tls_client  what connecting to the servers of one cluster needs; immutable, counted, shared by workers
 *   tls_worker  of each worker: its budget of handshakes, and those that wait for the next turn
 *
 *   conn_open ─► tls_accept ──handshake──► conn.on_ready, as with a plain conn from here on
 *   conn_connect ─► tls_connect ──────────┘    └─ failed: conn.broken is set, tls_failure says why
 *
 * on_ready is not called before the handshake is over. Rules of reading and writing are those of conn.h, with
 * one difference: may_read and may_write are cleared by WANT_READ and WANT_WRITE alone. End of the stream is
 * a close_notify; a bare FIN is an error (the stream may have been cut by anybody on the way). Between
 * requests a connection holds none of OpenSSL's buffers.
 *
 * Handshakes of one worker take at most TLS_HANDSHAKE_NS of a loop turn (one that is begun is not stopped in
 * the middle); the others wait in line, so that requests go on during a storm of them.
 *
 * Renegotiation is refused and ends the connection; KeyUpdate is bounded (listener tls.max_key_updates). */
#ifndef COX_NET_TLS_H
#define COX_NET_TLS_H

#include <stdatomic.h>

#include "conf/settings.h"
#include "net/conn.h"
#include "run/bundle.h"
#include "run/tickets.h"

#define TLS_HANDSHAKE_NS (1000 * 1000)
#define TLS_SNI_MAX      255
#define TLS_RECORD_BYTES 16384

/* Why a handshake, or a connection later, failed. Frozen order: they are metrics. */
enum tls_failure {
    TLS_FINE,
    TLS_FAIL_TIMEOUT,     /* handshake_timeout */
    TLS_FAIL_CLOSED,      /* the peer went away in the middle */
    TLS_FAIL_NOT_TLS,     /* it does not speak TLS */
    TLS_FAIL_VERSION,     /* no version in common */
    TLS_FAIL_CIPHER,      /* no cipher, group or signature algorithm in common */
    TLS_FAIL_ALPN,        /* no protocol in common */
    TLS_FAIL_SNI,         /* strict_sni */
    TLS_FAIL_CERTIFICATE, /* the peer's certificate: missing or not valid */
    TLS_FAIL_ALERT,       /* the peer refused us: it knows why */
    TLS_FAIL_ABUSE,       /* renegotiation, too many KeyUpdates */
    TLS_FAIL_OTHER,
    TLS_FAILURES
};
const char *tls_failure_name(enum tls_failure why);

struct tls_worker;
struct tls_store;
struct tls_server;
struct tls_client;

/* ---- of a worker ---- */

/* NULL when memory is out. */
struct tls_worker *tls_worker_create(struct worker *w) __attribute__((warn_unused_result));
/* What its servers seal tickets with from now on; before the first there are none. Copied. */
void tls_worker_set_tickets(struct tls_worker *tw, const struct ticket_keys *keys);
/* Every conn of it must be closed. */
void tls_worker_destroy(struct tls_worker **tw);

/* ---- certificates ---- */

/* Reads and checks what the settings of a listener name, out of the bundle. A pair that cannot be used is an
 * error, a line in *errors that begins with `who`; with `old`, the pair of the same file in there takes its
 * place, and only *out_kept counts it. NULL when there was an error and no old one. Any thread. */
struct tls_store *tls_store_create(const struct tls_listener_settings *s, const struct bundle *b,
                                   const char *who, const struct tls_store *old, struct buf *errors,
                                   int *out_kept) __attribute__((warn_unused_result));
struct tls_store *tls_store_ref(struct tls_store *s);
/* The last one frees. */
void tls_store_unref(struct tls_store **s);
/* One certificate of the store, for people; false behind the last. */
struct tls_certificate_info {
    const char *file;  /* borrowed from the settings that made the store */
    char subject[256]; /* its first host */
    int64_t not_after; /* seconds since 1970 */
    bool is_rsa, is_kept;
};
bool tls_store_certificate(const struct tls_store *s, size_t i, struct tls_certificate_info *out_info);

/* ---- accepting ---- */

/* NULL with a line in *errors when the settings cannot be used. Belongs to the worker; takes a reference.
 * ticket_seconds: how long a ticket is good. */
struct tls_server *tls_server_create(const struct tls_listener_settings *s, struct tls_store *store,
                                     uint64_t ticket_seconds, struct buf *errors)
    __attribute__((warn_unused_result));
void tls_server_destroy(struct tls_server **ts);
/* From now on; handshakes that run go on with what they have. */
void tls_server_set_store(struct tls_server *ts, struct tls_store *store);

/* Behind conn_open, before its first event. False when memory is out: close the conn. ts is borrowed until
 * the conn is closed. */
bool tls_accept(struct conn *c, struct tls_worker *tw, struct tls_server *ts)
    __attribute__((warn_unused_result));

/* ---- connecting ---- */

/* NULL with a line in *errors, which begins with `who`. Files that the bundle lacks are an error. Control
 * thread: may read the system's CAs. */
struct tls_client *tls_client_create(const struct tls_cluster_settings *s, const char *host,
                                     const struct bundle *b, const char *who, struct buf *errors)
    __attribute__((warn_unused_result));
struct tls_client *tls_client_ref(struct tls_client *tc);
void tls_client_unref(struct tls_client **tc);

/* What is remembered of a server, to come back without a full handshake. Zero before first use; one thread.
 */
struct tls_resume {
    void *session;    /* owned; of OpenSSL */
    uint64_t made_by; /* the client that may use it */
    struct addr addr;
};
void tls_resume_forget(struct tls_resume *r);

/* Of a conn that is connected; tls_on_event then makes the first step. The conn keeps a reference to tc.
 * alpn: what is offered unless the client has a list of its own ("http/1.1" or "h2,http/1.1"), may be NULL.
 * resume may be NULL, and must outlive the conn. False when memory is out: close the conn. */
bool tls_connect(struct conn *c, struct tls_worker *tw, struct tls_client *tc, const struct addr *to,
                 const char *alpn, struct tls_resume *resume) __attribute__((warn_unused_result));

/* ---- of a conn, TLS or not ---- */

enum alpn { ALPN_NONE, ALPN_HTTP_1_1, ALPN_H2 };

/* What was agreed on; NONE for a plain conn and before the handshake is over. */
enum alpn conn_alpn(const struct conn *c);
static inline bool conn_is_secure(const struct conn *c)
{
    return c->tls != NULL;
}
bool tls_is_handshaking(const struct conn *c);
bool tls_is_resumed(const struct conn *c);
/* Its handshake is not over: what was read so far came as early data, and may be a repetition (RFC 8446 8).
 */
bool tls_is_early(const struct conn *c);
/* "TLSv1.3" and the name of the cipher; "" for a plain conn. Constant. */
const char *tls_version(const struct conn *c);
const char *tls_cipher(const struct conn *c);
enum tls_failure tls_failure(const struct conn *c);
/* More of it for the log: OpenSSL's words, "" when there are none. Borrowed, constant. */
const char *tls_failure_text(const struct conn *c);

/* Who a client is. Texts of printable ASCII; they live as long as the conn. */
#define TLS_IDENTITY_TEXTS  5
#define TLS_CERTIFICATE_MAX 8192 /* a longer one is not told whole */
struct tls_identity {
    struct str subject, issuer; /* RFC 2253 */
    struct str serial;          /* hex */
    struct str fingerprint;     /* SHA-256 of the certificate, hex */
    struct str cert;            /* as Client-Cert has it (RFC 9440); empty when too long */
};
/* Whether its name made us ask for a certificate. */
bool tls_asks_for_certificate(const struct conn *c);
/* *out_identity is NULL for a client without one. False when memory is out. */
bool tls_identity(struct conn *c, const struct tls_identity **out_identity)
    __attribute__((warn_unused_result));
/* Whether a request for this host (it may have a port) falls under the same rule for certificates as the name
 * in the handshake; if not it is 421 (RFC 9110 15.5.20, P6). True for a plain conn. */
bool tls_serves_host(const struct conn *c, struct str host);

/* An idle connection of a client gives OpenSSL's memory back, if it can: of TLS 1.3, made with the listener's
 * tls.rest, without a client's certificate, and nothing under way. It behaves as before. False: it stays as
 * it is. Not from within a callback of the conn. */
bool tls_rest(struct conn *c);

/* For conn.c: an event came. False: the handshake goes on, nobody is to be told. */
bool tls_on_event(struct conn *c);
/* For conn.c: says goodbye, unless in a hurry, and frees. */
void tls_close(struct conn *c, bool in_a_hurry);

#endif
